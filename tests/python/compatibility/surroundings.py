"""Rows: initializers, regularizers, constraints, numerics, errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rows import raises, row, volume

INITIALIZERS = "Initializers"
REGULARIZERS = "Regularizers and constraints"
NUMERICS = "Numerics"
ERRORS = "Errors"


def values(tf: Any, initializer: Any, *shape: int) -> Any:
    """What a kernel of a shape holds after initialization."""
    variable = tf.get_variable("v", shape or (3, 3, 3, 8, 16), initializer=initializer)
    with tf.Session() as session:
        session.run(variable.initializer)
        return session.run(variable)


@row(INITIALIZERS, "`zeros_initializer`, `ones_initializer`", "that")
def zeros_and_ones(tf: Any) -> None:
    assert (values(tf, tf.zeros_initializer()) == 0).all()
    with tf.variable_scope("other"):
        assert (values(tf, tf.ones_initializer()) == 1).all()
    assert tf.zeros_initializer is tf.initializers.zeros


@row(
    INITIALIZERS, "`constant_initializer`", "a number or an array in C order; short: the last stays"
)
def constant(tf: Any) -> None:
    assert values(tf, tf.constant_initializer([1.0, 2.0]), 2, 2).tolist() == [[1, 2], [2, 2]]
    with tf.variable_scope("other"):
        kernel = np.arange(6.0).reshape(1, 1, 1, 2, 3)
        assert (values(tf, tf.constant_initializer(kernel), 1, 1, 1, 2, 3) == kernel).all()


@row(INITIALIZERS, "`random_normal_initializer`, `random_uniform_initializer`", "mean and spread")
def random(tf: Any) -> None:
    got = values(tf, tf.random_normal_initializer(1.0, 0.5))
    assert abs(got.mean() - 1) < 0.05 and abs(got.std() - 0.5) < 0.05
    with tf.variable_scope("other"):
        got = values(tf, tf.random_uniform_initializer(-2.0, 4.0))
        assert -2 <= got.min() < -1.9 and 3.9 < got.max() < 4


@row(INITIALIZERS, "`truncated_normal_initializer`", "nothing beyond two standard deviations")
def truncated_normal(tf: Any) -> None:
    got = values(tf, tf.truncated_normal_initializer(stddev=1.0))
    assert 1.9 < abs(got).max() <= 2 and abs(got.std() - 0.88) < 0.05


@row(
    INITIALIZERS,
    "`variance_scaling_initializer`, truncated",
    "the standard deviation is the nominal one",
    "0.88 of it; 1.15 corrects",
)
def variance_scaling(tf: Any) -> None:
    got = values(tf, tf.variance_scaling_initializer(scale=2.0))
    assert abs(got.std() / (2 / (27 * 8)) ** 0.5 - 1) < 0.05


@row(INITIALIZERS, "`glorot_uniform_initializer`, `glorot_normal_initializer`", "by both fans")
def glorot(tf: Any) -> None:
    limit = (6 / (27 * 8 + 27 * 16)) ** 0.5
    assert 0.98 * limit < abs(values(tf, tf.glorot_uniform_initializer())).max() <= limit
    with tf.variable_scope("other"):
        spread = values(tf, tf.glorot_normal_initializer()).std()
        assert 0.8 < spread / (limit / 3**0.5) < 1.1


@row(
    INITIALIZERS,
    "seeds",
    "the same graph and op seed give the same values on every machine and thread count",
    "gives other values: its own random streams are not reproduced",
)
def seeds(tf: Any) -> None:
    got = []
    for _ in range(2):
        with tf.Graph().as_default():
            tf.set_random_seed(7)
            got.append(values(tf, tf.glorot_uniform_initializer(seed=3)))
    assert (got[0] == got[1]).all()


@row(
    REGULARIZERS,
    "`contrib.layers.l2_regularizer`, `l1_regularizer`",
    "half the sum of squares; the sum",
)
def contrib_regularizers(tf: Any) -> None:
    x = tf.constant([3.0, -4.0])
    with tf.Session() as session:
        assert abs(session.run(tf.contrib.layers.l2_regularizer(0.5)(x)) - 6.25) < 1e-6
        assert abs(session.run(tf.contrib.layers.l1_regularizer(0.5)(x)) - 3.5) < 1e-6


@row(REGULARIZERS, "`keras.regularizers.l2`, `l1`, `l1_l2`", "the sum of squares, without the half")
def keras_regularizers(tf: Any) -> None:
    x = tf.constant([3.0, -4.0])
    with tf.Session() as session:
        assert abs(session.run(tf.keras.regularizers.l2(0.5)(x)) - 12.5) < 1e-6
        assert abs(session.run(tf.keras.regularizers.l1_l2(0.5, 0.5)(x)) - 16) < 1e-6


@row(REGULARIZERS, "a regularizer that returns None", "no loss")
def regularizer_none(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, kernel_regularizer=lambda v: None)
    layer(volume(tf))
    assert layer.losses == []


@row(
    REGULARIZERS, "`keras.constraints.non_neg`, `max_norm`, `unit_norm`", "functions of a variable"
)
def constraints(tf: Any) -> None:
    x = tf.constant([[3.0, -1.0], [4.0, 0.0]])
    with tf.Session() as session:
        keras = tf.keras.constraints
        assert session.run(keras.non_neg()(x)).min() == 0
        norms = np.linalg.norm(session.run(keras.unit_norm(axis=0)(x)), axis=0)
        np.testing.assert_allclose(norms, 1, rtol=1e-5)
        norms = np.linalg.norm(session.run(keras.max_norm(2.0, axis=0)(x)), axis=0)
        np.testing.assert_allclose(norms, [2, 1], rtol=1e-5)


@row(REGULARIZERS, "a constraint", "applied by every optimizer after its update; not by `assign`")
def constraint_by_optimizer(tf: Any) -> None:
    kinds = [
        tf.train.GradientDescentOptimizer(0.1),
        tf.train.MomentumOptimizer(0.1, 0.9),
        tf.train.AdamOptimizer(0.1),
        tf.train.RMSPropOptimizer(0.1),
        tf.train.AdagradOptimizer(0.1),
    ]
    for i, optimizer in enumerate(kinds):
        v = tf.get_variable(f"v{i}", [2], constraint=lambda v: tf.clip_by_value(v, 0.0, 0.5))
        train = optimizer.minimize(-tf.reduce_sum(v), var_list=[v])
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            session.run(v.assign([5.0, 5.0]))
            assert session.run(v).tolist() == [5, 5]
            session.run(train)
            assert session.run(v).tolist() == [0.5, 0.5]


def run(tf: Any, x: Any, layer: Any, dtype: Any = None) -> Any:
    y = layer(tf.constant(x, dtype=dtype))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(y)


@row(NUMERICS, "cross-correlation", "the kernel is not flipped; activation of sum plus bias")
def cross_correlation(tf: Any) -> None:
    kernel = np.arange(8.0).reshape(2, 2, 2, 1, 1)
    layer = tf.layers.Conv3D(1, 2, kernel_initializer=tf.constant_initializer(kernel))
    x = np.zeros((1, 2, 2, 2, 1))
    x[0, 1, 0, 1, 0] = 1
    assert run(tf, x, layer, tf.float32).ravel().tolist() == [kernel[1, 0, 1, 0, 0]]


@row(NUMERICS, "`same` with strides", "the output is ceil(n / s); what is odd is padded at the end")
def same_padding(tf: Any) -> None:
    ones = tf.ones_initializer()
    layer = tf.layers.Conv3D(1, (1, 1, 2), padding="same", kernel_initializer=ones)
    x = np.array([1.0, 10.0, 100.0]).reshape(1, 1, 1, 3, 1)
    assert run(tf, x, layer, tf.float32).ravel().tolist() == [11, 110, 100]
    layer = tf.layers.Conv3D(1, 3, strides=2, padding="same")
    assert layer.compute_output_shape((1, 5, 6, 7, 1)).as_list() == [1, 3, 3, 4, 1]


@row(NUMERICS, "float16, float32, float64", "compute; float16 is added up in float32")
def dtypes(tf: Any) -> None:
    for dtype in (np.float16, np.float32, np.float64):
        with tf.variable_scope(np.dtype(dtype).name):
            got = run(tf, np.ones((1, 3, 3, 3, 2), dtype), tf.layers.Conv3D(2, 2))
        assert got.dtype == dtype and got.shape == (1, 2, 2, 2, 2)


@row(NUMERICS, "bfloat16", "computes", "has no CPU kernel; 1.15 has")
def bfloat16(tf: Any) -> None:
    x = tf.cast(tf.constant(np.ones((1, 2, 2, 2, 1), np.float32)), tf.bfloat16)
    layer = tf.layers.Conv3D(1, 2, kernel_initializer=tf.ones_initializer())
    y = tf.cast(layer(x), tf.float32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(y).ravel().tolist() == [8]


@row(NUMERICS, "integers, booleans as input", "TypeError")
def integers(tf: Any) -> None:
    for dtype in (tf.int32, tf.bool):
        raises(TypeError, tf.layers.Conv3D(1, 1), volume(tf, dtype=dtype))


@row(NUMERICS, "an empty batch", "an empty result; gradients of the weights are zeros")
def empty_batch(tf: Any) -> None:
    x = volume(tf)
    layer = tf.layers.Conv3D(3, 2)
    y = layer(x)
    gradient = tf.gradients(y, layer.kernel)[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        out, zeros = session.run([y, gradient], {x: np.zeros((0, 6, 6, 6, 2))})
        assert out.shape == (0, 5, 5, 5, 3) and (zeros == 0).all()


@row(
    NUMERICS,
    "a kernel larger than a volume of known size, `valid`",
    "ValueError; the layer is built",
)
def too_large(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 8)
    raises(ValueError, layer, volume(tf))


@row(
    NUMERICS,
    "the same, size known at run time",
    "output of 0: an empty result; below 0: InvalidArgumentError",
)
def too_large_at_run_time(tf: Any) -> None:
    x = tf.placeholder(tf.float32, [None, None, None, None, 1])
    y = tf.layers.conv3d(x, 1, (4, 1, 1))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(y, {x: np.ones((1, 3, 2, 2, 1))}).shape == (1, 0, 2, 2, 1)
        raises("InvalidArgumentError", session.run, y, {x: np.ones((1, 2, 2, 2, 1))})


@row(NUMERICS, "second derivatives", "through the convolution, both ways")
def second_derivatives(tf: Any) -> None:
    x = volume(tf)
    layer = tf.layers.Conv3D(1, 2)
    gradient = tf.gradients(tf.square(layer(x)), x)[0]
    second = tf.gradients(gradient, [x, layer.kernel])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got = session.run(second, {x: np.ones((1, 6, 6, 6, 2))})
        assert [g.shape for g in got] == [(1, 6, 6, 6, 2), (2, 2, 2, 2, 1)]


@row(
    NUMERICS,
    "threads",
    "the same bits for any number of threads and any batch split",
    "gradients differ between thread counts",
)
def threads(tf: Any) -> None:
    from conv3d import engine

    rng = np.random.default_rng(0)
    x = rng.random((2, 9, 10, 11, 16), dtype=np.float32)
    kernel = rng.random((3, 3, 3, 16, 16), dtype=np.float32)
    one = engine.forward(x, kernel, num_threads=1)
    assert np.array_equal(one, engine.forward(x, kernel, num_threads=3))
    assert np.array_equal(one[:1], engine.forward(x[:1], kernel, num_threads=2))


@row(
    ERRORS,
    "messages",
    "our own words: the argument, what was given, what is accepted; classes are TensorFlow's",
    "has its own words",
)
def messages(tf: Any) -> None:
    try:
        tf.layers.Conv3D(1, (3, -2, 3))
    except ValueError as error:
        assert "kernel_size" in str(error) and "-2" in str(error)
    else:
        raise AssertionError("no error")


@row(ERRORS, "input of another rank, or of unknown rank", "ValueError")
def rank(tf: Any) -> None:
    raises(ValueError, tf.layers.Conv3D(1, 1), volume(tf, 6, 6, 6, 2))
    raises(ValueError, tf.layers.Conv3D(1, 1), tf.placeholder(tf.float32))


@row(ERRORS, "channels unknown at the build, or changed after it", "ValueError")
def channels(tf: Any) -> None:
    raises(ValueError, tf.layers.Conv3D(1, 1), volume(tf, 1, 6, 6, 6, None))
    layer = tf.layers.Conv3D(1, 1)
    layer(volume(tf))
    raises(ValueError, layer, volume(tf, 1, 6, 6, 6, 3))


@row(ERRORS, "the layer's dtype and another input's", "TypeError")
def dtype_mismatch(tf: Any) -> None:
    raises(TypeError, tf.layers.Conv3D(1, 1, dtype=tf.float64), volume(tf))


@row(ERRORS, "a variable without a value", "FailedPreconditionError when run")
def uninitialized(tf: Any) -> None:
    y = tf.layers.conv3d(tf.constant(np.ones((1, 2, 2, 2, 1), np.float32)), 1, 1)
    with tf.Session() as session:
        raises("FailedPreconditionError", session.run, y)


@row(ERRORS, "feeding", "another shape: ValueError; a placeholder not fed: InvalidArgumentError")
def feeding(tf: Any) -> None:
    x = volume(tf)
    with tf.Session() as session:
        raises(ValueError, session.run, x, {x: np.ones((1, 6, 6, 5, 2))})
        raises("InvalidArgumentError", session.run, tf.identity(x))


@row(ERRORS, "a closed session, a tensor of another graph", "RuntimeError; ValueError")
def session(tf: Any) -> None:
    x = tf.constant(1.0)
    closed = tf.Session()
    closed.close()
    raises(RuntimeError, closed.run, x)
    with tf.Graph().as_default(), tf.Session() as other:
        tf.constant(2.0)
        raises(ValueError, other.run, x)


@row(ERRORS, "`tf.nn.conv3d`", "five strides and upper-case padding, else ValueError")
def nn_conv3d(tf: Any) -> None:
    x, kernel = volume(tf), tf.zeros([1, 1, 1, 2, 1])
    assert tf.nn.conv3d(x, kernel, [1, 2, 2, 2, 1], "SAME").shape.as_list() == [None, 3, 3, 3, 1]
    raises(ValueError, tf.nn.conv3d, x, kernel, [1, 1, 1], "SAME")
    raises(ValueError, tf.nn.conv3d, x, kernel, [1] * 5, "same")


@row(
    ERRORS,
    "a name of TensorFlow that is not here",
    "AttributeError that says what there is instead",
    "has the name",
)
def absent_name(tf: Any) -> None:
    raises(AttributeError, lambda: tf.raw_rnn_of_no_kind)
    raises(AttributeError, lambda: tf.layers.no_such_layer)
