"""Rows: the arguments of `tf.layers.Conv3D`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rows import names, raises, row, volume

SECTION = "Constructor arguments"
WRONG_SIZES: list[Any] = [
    0,
    -1,
    2.5,
    "3",
    (3, 3),
    (3, 3, 3, 3),
    (3, 0, 3),
    (1.5, 1, 1),
    "123",
    None,
]


@row(
    SECTION,
    "`filters`",
    "a positive integer, also of NumPy, or a `Dimension`; anything else is a ValueError",
    "takes anything, then fails when the variable is made, or crashes when run",
)
def filters(tf: Any) -> None:
    x = volume(tf)
    assert tf.layers.Conv3D(x.shape[-1] * 2, 1)(x).shape.as_list() == [None, 6, 6, 6, 4]
    assert tf.layers.Conv3D(np.int64(3), 1)(x).shape.as_list()[-1] == 3
    for wrong in (0, -1, 2.5, "a", None):
        raises(ValueError, tf.layers.Conv3D, wrong, 1)


@row(
    SECTION,
    "`kernel_size`",
    "an integer, or three; kept as a tuple; not positive, not an integer or not three: ValueError",
    "takes 0, negative numbers, floats and strings such as '123', and crashes the process later",
)
def kernel_size(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 3).kernel_size == (3, 3, 3)
    assert tf.layers.Conv3D(1, [1, 2, 3]).kernel_size == (1, 2, 3)
    assert tf.layers.Conv3D(1, np.array([1, 2, 3])).kernel_size == (1, 2, 3)
    for wrong in WRONG_SIZES:
        raises(ValueError, tf.layers.Conv3D, 1, wrong)


@row(
    SECTION,
    "`strides`",
    "as `kernel_size`; default 1",
    "takes what is not positive and reports it when the layer is built",
)
def strides(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 1).strides == (1, 1, 1)
    layer = tf.layers.Conv3D(1, 3, strides=(1, 2, 3), padding="same")
    assert layer(volume(tf)).shape.as_list() == [None, 6, 3, 2, 1]
    for wrong in WRONG_SIZES:
        raises(ValueError, tf.layers.Conv3D, 1, 1, strides=wrong)


@row(
    SECTION,
    "`padding`",
    "'valid' (default) or 'same' in any case, kept in lower case; anything else is a ValueError",
    "AttributeError for None or a number",
)
def padding(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 1).padding == "valid"
    assert tf.layers.Conv3D(1, 1, padding="SAME").padding == "same"
    for wrong in ("full", "same ", None, 3):
        raises(ValueError, tf.layers.Conv3D, 1, 1, padding=wrong)


@row(
    SECTION,
    "`data_format`",
    "'channels_last' (default) or 'channels_first', and both compute, forward and backward",
    "has no CPU kernel for channels_first; AttributeError for None",
)
def data_format(tf: Any) -> None:
    first = tf.layers.Conv3D(3, 2, data_format="channels_first")
    last = tf.layers.Conv3D(3, 2)
    x = np.random.RandomState(0).rand(1, 2, 4, 5, 6).astype(np.float32)
    a = first(tf.constant(x))
    b = last(tf.constant(x.transpose(0, 2, 3, 4, 1)))
    gradient = tf.gradients(a, first.kernel)[0]
    assert first.kernel.shape.as_list() == [2, 2, 2, 2, 3]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(tf.assign(last.kernel, first.kernel))
        out = session.run(a)
        assert out.shape == (1, 3, 3, 4, 5)
        np.testing.assert_allclose(out.transpose(0, 2, 3, 4, 1), session.run(b), atol=1e-5)
        assert np.isfinite(session.run(gradient)).all()
    for wrong in ("NDHWC", "channels_middle", None, 1):
        raises(ValueError, tf.layers.Conv3D, 1, 1, data_format=wrong)


@row(
    SECTION,
    "`dilation_rate`",
    "as `kernel_size`; default 1; trains on the CPU",
    "dilates by moving voxels to the batch and back; 1.8's CPU has no direct form",
)
def dilation_rate(tf: Any) -> None:
    layer = tf.layers.Conv3D(2, 3, dilation_rate=(1, 2, 1))
    y = layer(volume(tf))
    assert y.shape.as_list() == [None, 4, 2, 4, 2]
    gradient = tf.gradients(y, layer.kernel)[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        feed = {"Placeholder:0": np.ones((1, 6, 6, 6, 2))}
        assert session.run(gradient, feed).shape == (3, 3, 3, 2, 2)
    for wrong in WRONG_SIZES:
        raises(ValueError, tf.layers.Conv3D, 1, 1, dilation_rate=wrong)


@row(
    SECTION,
    "`strides` with `dilation_rate`",
    "both above 1, on whichever axes: ValueError when the layer is built, not before",
)
def strides_and_dilation(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 2, strides=(2, 1, 1), dilation_rate=(1, 1, 2))
    raises(ValueError, layer, volume(tf))
    assert not layer.built


@row(
    SECTION,
    "`activation`",
    "None, a function, or the name of one; an unknown name is a ValueError",
    "a string fails when the layer is called; 1.15 takes names",
)
def activation(tf: Any) -> None:
    assert tf.layers.conv3d(volume(tf), 1, 1, activation=tf.nn.relu, name="a").op.type == "Relu"
    assert tf.layers.conv3d(volume(tf), 1, 1, activation="relu", name="b").op.type == "Relu"
    assert tf.layers.conv3d(volume(tf), 1, 1, name="c").op.type == "BiasAdd"
    raises(ValueError, tf.layers.Conv3D, 1, 1, activation="no such thing")


@row(SECTION, "an activation that returns None", "ValueError")
def activation_none(tf: Any) -> None:
    raises(ValueError, tf.layers.Conv3D(1, 1, activation=lambda x: None), volume(tf))


@row(SECTION, "`use_bias`", "False: no bias, `layer.bias` is None, the output is the op Conv3D")
def use_bias(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, use_bias=False, name="c")
    assert layer(volume(tf)).name == "c/Conv3D:0"
    assert layer.bias is None and names(layer.weights) == ["c/kernel:0"]


@row(
    SECTION,
    "`kernel_initializer`",
    "an initializer, a class of one or a function of `(shape, dtype, partition_info)`; None: the "
    "scope's, else glorot uniform; a name: ValueError, `tf.keras.initializers.get` knows names",
)
def kernel_initializer(tf: Any) -> None:
    def twos(shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        return tf.fill(shape, tf.cast(2.0, dtype))

    made = [tf.ones_initializer(), tf.ones_initializer, twos]
    layers = [tf.layers.Conv3D(2, 1, kernel_initializer=one) for one in made]
    default = tf.layers.Conv3D(2, 3)
    for layer in [*layers, default]:
        layer(volume(tf))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert [session.run(layer.kernel).max() for layer in layers] == [1, 1, 2]
        limit = (6 / (27 * 2 + 27 * 2)) ** 0.5
        assert 0.8 * limit < abs(session.run(default.kernel)).max() <= limit
    raises(ValueError, tf.layers.Conv3D, 1, 1, kernel_initializer="ones")
    made_by_name = tf.keras.initializers.get("ones")
    assert tf.layers.Conv3D(1, 1, kernel_initializer=made_by_name).kernel_initializer


@row(SECTION, "`bias_initializer`", "as `kernel_initializer`; default zeros")
def bias_initializer(tf: Any) -> None:
    assert type(tf.layers.Conv3D(1, 1).bias_initializer).__name__ == "Zeros"
    layer = tf.layers.Conv3D(2, 1, bias_initializer=tf.constant_initializer([3.0, 4.0]))
    layer(volume(tf))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(layer.bias).tolist() == [3, 4]


@row(SECTION, "`kernel_regularizer`", "called once, when the kernel is made; fills `losses`")
def kernel_regularizer(tf: Any) -> None:
    calls: list[str] = []

    def regularizer(variable: Any) -> Any:
        calls.append(variable.op.name)
        return tf.reduce_sum(variable)

    layer = tf.layers.Conv3D(1, 1, kernel_regularizer=regularizer, name="c")
    layer(volume(tf))
    layer(volume(tf))
    assert len(calls) == 1 and names(layer.losses) == ["c/kernel/Regularizer/Sum:0"]


@row(SECTION, "`bias_regularizer`", "as `kernel_regularizer`; its loss follows the kernel's")
def bias_regularizer(tf: Any) -> None:
    keep: Any = tf.reduce_sum
    layer = tf.layers.Conv3D(1, 1, kernel_regularizer=keep, bias_regularizer=keep, name="c")
    layer(volume(tf))
    assert names(layer.losses) == ["c/kernel/Regularizer/Sum:0", "c/bias/Regularizer/Sum:0"]


@row(
    SECTION,
    "`activity_regularizer`",
    "called on the output of each call; its losses depend on the inputs; not divided by the batch",
)
def activity_regularizer(tf: Any) -> None:
    x, other = volume(tf), volume(tf)
    layer = tf.layers.Conv3D(1, 1, activity_regularizer=tf.reduce_sum)
    layer(x)
    layer(other)
    assert len(layer.losses) == 2
    assert layer.get_losses_for(x) == layer.losses[:1] and layer.get_losses_for(None) == []


@row(SECTION, "`kernel_constraint`", "kept as `kernel.constraint`; applied after each update")
def kernel_constraint(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, kernel_constraint=lambda v: v * 0.0 + 7.0)
    y = layer(volume(tf))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(layer.kernel).max() != 7
        session.run(train, {"Placeholder:0": np.ones((1, 6, 6, 6, 2))})
        assert (session.run(layer.kernel) == 7).all()


@row(SECTION, "`bias_constraint`", "as `kernel_constraint`")
def bias_constraint(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, bias_constraint=tf.abs)
    layer(volume(tf))
    assert layer.bias.constraint is tf.abs


@row(
    SECTION,
    "`trainable`",
    "False: the variables are not in TRAINABLE_VARIABLES and not in `trainable_weights`",
)
def trainable(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, trainable=False)
    layer(volume(tf))
    assert tf.trainable_variables() == [] and layer.trainable_weights == []
    assert len(tf.global_variables()) == len(layer.non_trainable_weights) == 2


@row(
    SECTION,
    "`name`",
    "any string, also with '/'; None or '': `conv3d_1`, `conv3d_2`, ... by construction",
)
def name(tf: Any) -> None:
    assert [tf.layers.Conv3D(1, 1).name for _ in range(2)] == ["conv3d_1", "conv3d_2"]
    assert tf.layers.Conv3D(1, 1, name="same").name == tf.layers.Conv3D(1, 1, name="same").name
    assert tf.layers.conv3d(volume(tf), 1, 1, name="a/b").name == "a/b/BiasAdd:0"
    raises(ValueError, tf.layers.Conv3D(1, 1, name="a b"), volume(tf))


@row(SECTION, "`dtype`", "a float type; kept as its name; default: that of the first input")
def dtype(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 1, dtype=tf.float64).dtype == "float64"
    layer = tf.layers.Conv3D(1, 1)
    assert layer(volume(tf, dtype=tf.float64)).dtype == tf.float64 and layer.dtype == "float64"
    raises(TypeError, tf.layers.Conv3D, 1, 1, dtype="no such type")


@row(SECTION, "`_scope`", "fixes the layer's variable scope when it is constructed")
def scope_argument(tf: Any) -> None:
    assert tf.layers.Conv3D(1, 1, _scope="here").scope_name == "here"


@row(SECTION, "`_reuse`", "True, False, None or AUTO_REUSE: as `reuse` of a variable scope")
def reuse_argument(tf: Any) -> None:
    tf.layers.conv3d(volume(tf), 1, 1, name="c")
    layer = tf.layers.Conv3D(1, 1, name="c", _scope="c", _reuse=True)
    layer(volume(tf))
    assert names(tf.global_variables()) == ["c/kernel:0", "c/bias:0"]


@row(SECTION, "other keywords", "TypeError; `input_shape` and `batch_size` are taken and unused")
def other_keywords(tf: Any) -> None:
    tf.layers.Conv3D(1, 1, input_shape=(4, 4, 4, 1), batch_size=2)
    raises(TypeError, tf.layers.Conv3D, 1, 1, kernel_sise=3)


@row(SECTION, "positional arguments", "in TensorFlow's order")
def positional(tf: Any) -> None:
    y = tf.layers.conv3d(volume(tf), 4, 5, 2, "SAME")
    assert y.shape.as_list() == [None, 3, 3, 3, 4]
