"""Convolution layers: arguments, variables, values in both layouts, shapes, functions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d.framework import context


def names(values: Any) -> list[str]:
    return [v.name for v in values]


def volume(*shape: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches, feed)


def correlate(x: np.ndarray, k: np.ndarray, strides: Any, padding: str, rate: Any) -> np.ndarray:
    """Cross-correlation of channels-last data of any rank, in double."""
    rank = k.ndim - 2
    x = x.astype(np.float64)
    if padding == "same":
        pads = []
        for n, size, s, d in zip(x.shape[1:-1], k.shape[:rank], strides, rate, strict=True):
            total = max((-(-n // s) - 1) * s + (size - 1) * d + 1 - n, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [(0, 0), *pads, (0, 0)])
    out = [
        max(-(-(n - (size - 1) * d) // s), 0)
        for n, size, s, d in zip(x.shape[1:-1], k.shape[:rank], strides, rate, strict=True)
    ]
    y = np.zeros((x.shape[0], *out, k.shape[-1]))
    for tap in itertools.product(*map(range, k.shape[:rank])):
        window = tuple(
            slice(t * d, t * d + (o - 1) * s + 1, s)
            for t, d, o, s in zip(tap, rate, out, strides, strict=True)
        )
        y += x[(slice(None), *window)] @ k[tap].astype(np.float64)
    return y


# --- arguments --------------------------------------------------------------------------

WRONG: list[dict[str, Any]] = [
    {name: value}
    for name in ("kernel_size", "strides", "dilation_rate")
    for value in (
        0,
        -1,
        2.5,
        None,
        "3",
        "123",
        (3, 3),
        (1, 1, 1, 1),
        (),
        (2.5, 1, 1),
        (1, 0, 1),
        (1, None, 1),
        (1, "x", 2),
        {1: 1}.items(),
        np.float32(1.0),
        2**63,
        (1, 1, 2**70),
    )
]
WRONG += [{"filters": value} for value in (0, -1, 2.5, "a", None, True, (4,), 2**63)]
WRONG += [{"padding": value} for value in ("full", " same", None, 1, b"same")]
WRONG += [{"data_format": value} for value in ("NDHWC", "last", None, 1)]
WRONG += [
    {name: "no such thing"}
    for name in (
        "activation",
        "kernel_regularizer",
        "bias_regularizer",
        "activity_regularizer",
        "kernel_constraint",
        "bias_constraint",
    )
]


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_refused_arguments(wrong: dict[str, Any]) -> None:
    arguments = {"filters": 4, "kernel_size": 3, **wrong}
    with pytest.raises(ValueError, match=next(iter(wrong))):
        tf.layers.Conv3D(**arguments)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, (2, 2, 2)),
        (True, (1, 1, 1)),
        ([1, 2, 3], (1, 2, 3)),
        (np.array([1, 2, 3]), (1, 2, 3)),
        (np.int32(3), (3, 3, 3)),
        ((i + 1 for i in range(3)), (1, 2, 3)),
        (tf.Dimension(2), (2, 2, 2)),
        ((tf.Dimension(1), np.int64(2), 3), (1, 2, 3)),
    ],
    ids=repr,
)
def test_sizes(value: Any, expected: tuple[int, ...]) -> None:
    layer = tf.layers.Conv3D(4, value)
    assert layer.kernel_size == expected and type(layer.kernel_size) is tuple
    assert all(type(size) is int for size in layer.kernel_size)


def test_attributes() -> None:
    layer = tf.layers.Conv3D(
        np.int64(4),
        3,
        2,
        "SAME",
        "Channels_First",
        activation="relu",
        kernel_regularizer="l2",
        kernel_constraint="non_neg",
        bias_initializer=tf.ones_initializer(),
    )
    assert (layer.rank, layer.filters, layer.strides) == (3, 4, (2, 2, 2))
    assert (layer.padding, layer.data_format) == ("same", "channels_first")
    assert layer.activation is tf.nn.relu and layer.kernel_regularizer.l2 == 0.01
    assert isinstance(layer.kernel_constraint, tf.keras.constraints.NonNeg)
    assert isinstance(layer.bias_initializer, tf.ones_initializer)
    assert isinstance(tf.layers.Conv3D(1, 1).bias_initializer, tf.zeros_initializer)
    assert (
        tf.layers.Conv3D(1, 1).activation is tf.layers.Conv3D(1, 1, activation="linear").activation
    )
    assert isinstance(layer, tf.layers.Layer)
    assert not hasattr(layer, "kernel")


def test_unknown_keywords_come_first() -> None:
    with pytest.raises(TypeError):
        tf.layers.Conv3D(0, -1, padding=3, nonsense=1)
    with pytest.raises(TypeError):
        tf.layers.Conv3D(0, -1, dtype="nope")
    with pytest.raises(TypeError, match="activation"):
        tf.layers.Conv3D(1, 1, activation=3)


# --- building ---------------------------------------------------------------------------


def test_build() -> None:
    layer = tf.layers.Conv3D(4, (1, 2, 3))
    layer.build((None, 5, 6, 7, 2))
    assert names(layer.weights) == ["conv3d/kernel:0", "conv3d/bias:0"]
    assert layer.kernel.shape.as_list() == [1, 2, 3, 2, 4] and layer.count_params() == 52
    assert str(layer.input_spec) == "InputSpec(ndim=5, axes={-1: 2})"
    assert (layer.dtype, layer.graph, layer.built) == (None, None, True)
    layer.build([None, 5, 6, 7, 2])
    assert len(tf.global_variables()) == 2
    assert layer(tf.ones([1, 5, 6, 7, 2])).name == "conv3d/BiasAdd:0"


def test_channels_have_to_be_known() -> None:
    for shape in ((None, 5, 6, 7, None), tf.TensorShape(None)):
        with pytest.raises(ValueError):
            tf.layers.Conv3D(4, 1).build(shape)
    layer = tf.layers.Conv3D(4, 1)
    with pytest.raises(ValueError):
        layer(tf.placeholder(tf.float32, [1, 2, 2, 2, None]))
    assert (layer.built, layer.dtype, layer.scope_name) == (False, "float32", "conv3d")
    layer(tf.placeholder(tf.float32, [1, 2, 2, 2, 3]))
    # Later calls may leave them open.
    y = layer(tf.placeholder(tf.float32, [1, 2, 2, 2, None]))
    assert y.shape.as_list() == [1, 2, 2, 2, 4]
    with pytest.raises(ValueError):
        layer(tf.placeholder(tf.float32, [1, 2, 2, 2, 4]))


def test_strides_and_dilation_together() -> None:
    layer = tf.layers.Conv3D(4, 3, strides=(2, 1, 1), dilation_rate=(1, 1, 2))
    with pytest.raises(ValueError):
        layer.build((None, 9, 9, 9, 2))
    assert not layer.built and len(layer.weights) == 2
    assert layer.compute_output_shape((1, 9, 9, 9, 2)).as_list() == [1, 4, 7, 5, 4]
    changed = tf.layers.Conv3D(4, 3)
    changed.strides = (1, -1, 1)
    with pytest.raises(ValueError):
        changed.build((None, 9, 9, 9, 2))


def test_no_bias() -> None:
    for nothing in (False, None):
        layer = tf.layers.Conv3D(4, 1, use_bias=nothing)
        assert layer(tf.ones([1, 2, 2, 2, 1])).op.type == "Conv3D"
        assert layer.bias is None and len(layer.weights) == 1


def test_types() -> None:
    layer = tf.layers.Conv3D(4, 1)
    y = layer(tf.placeholder(tf.float16, [1, 2, 2, 2, 1]))
    assert (layer.dtype, y.dtype.name, layer.kernel.dtype.name) == (
        "float16",
        "float16",
        "float16_ref",
    )
    with pytest.raises(TypeError):
        tf.layers.Conv3D(4, 1, dtype="float64")(tf.ones([1, 2, 2, 2, 1]))
    with pytest.raises(TypeError):
        tf.layers.Conv3D(4, 1)(tf.placeholder(tf.int32, [1, 2, 2, 2, 1]))


# --- values -----------------------------------------------------------------------------

CASES = [
    (3, (2, 5, 6, 7, 3), (3, 2, 1), (1, 1, 1), "valid", (1, 1, 1)),
    (3, (1, 5, 6, 7, 2), (2, 3, 3), (2, 1, 3), "same", (1, 1, 1)),
    (3, (1, 7, 6, 8, 2), (2, 3, 3), (1, 1, 1), "same", (1, 2, 3)),
    (3, (1, 7, 6, 8, 2), (2, 2, 3), (1, 1, 1), "valid", (3, 2, 1)),
    (2, (2, 6, 7, 3), (3, 2), (2, 1), "same", (1, 1)),
    (2, (2, 6, 7, 3), (3, 2), (1, 1), "valid", (2, 3)),
    (1, (2, 9, 3), (3,), (2,), "same", (1,)),
    (1, (2, 9, 3), (3,), (1,), "valid", (2,)),
]


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_values(case: Any, first: bool) -> None:
    rank, shape, size, strides, padding, rate = case
    x, k, b = volume(*shape), volume(*size, shape[-1], 4), volume(4)
    layer = (tf.layers.Conv1D, tf.layers.Conv2D, tf.layers.Conv3D)[rank - 1](
        4,
        size,
        strides,
        padding,
        "channels_first" if first else "channels_last",
        rate,
        activation=tf.nn.relu,
        kernel_initializer=tf.constant_initializer(k),
        bias_initializer=tf.constant_initializer(b),
    )
    there = np.moveaxis(x, -1, 1) if first else x
    placeholder = tf.placeholder(tf.float32, [None, *there.shape[1:]])
    y = layer(placeholder)
    got = run(y, {placeholder: there})
    assert y.shape.as_list() == [None, *got.shape[1:]]
    assert layer.compute_output_shape(there.shape).as_list() == list(got.shape)
    want = np.maximum(correlate(x, k, strides, padding, rate) + b, 0)
    np.testing.assert_allclose(np.moveaxis(got, 1, -1) if first else got, want, atol=2e-5)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("rank", "strides"), [(2, (2, 1)), (3, (1, 2, 3)), (3, (2, 2, 2))])
def test_transposed_values(rank: int, strides: Any, padding: str, first: bool) -> None:
    """The transpose is the gradient of the convolution: <conv(u), x> = <u, transpose(x)>."""
    size = (2, 3, 3)[:rank]
    x, k, b = volume(2, *(3, 4, 2)[:rank], 3), volume(*size, 5, 3), volume(5)
    layer = (tf.layers.Conv2DTranspose, tf.layers.Conv3DTranspose)[rank - 2](
        5,
        size,
        strides,
        padding,
        "channels_first" if first else "channels_last",
        kernel_initializer=tf.constant_initializer(k),
        bias_initializer=tf.constant_initializer(b),
    )
    there = np.moveaxis(x, -1, 1) if first else x
    placeholder = tf.placeholder(tf.float32, [None] * (rank + 2))
    placeholder.set_shape(
        [None] + [3 if a == (1 if first else rank + 1) else None for a in range(1, rank + 2)]
    )
    y = layer(placeholder)
    got = run(y, {placeholder: there})
    assert list(got.shape) == layer.compute_output_shape(there.shape).as_list()
    assert y.shape.is_compatible_with(got.shape)
    got = (np.moveaxis(got, 1, -1) if first else got).astype(np.float64) - b
    u = volume(*got.shape).astype(np.float64)
    left = (correlate(u, k, strides, padding, (1,) * rank) * x).sum()
    np.testing.assert_allclose(left, (u * got).sum(), rtol=1e-5, atol=1e-4)


def test_transposed_shapes() -> None:
    layer = tf.layers.Conv3DTranspose(3, (2, 3, 4), strides=(1, 2, 3))
    assert layer.compute_output_shape((None, 4, 5, 6, 2)).as_list() == [None, 5, 11, 19, 3]
    y = layer(tf.placeholder(tf.float32, [None, 4, 5, 6, 2]))
    assert (y.name, y.shape.as_list()) == ("conv3d_transpose/Reshape_1:0", [None, 5, 11, 19, 3])
    assert layer.kernel.shape.as_list() == [2, 3, 4, 3, 2]
    with pytest.raises(ValueError):
        tf.layers.Conv3DTranspose(3, 2).build((None, 4, 4, 2))


def test_channels_first_with_unknown_sizes() -> None:
    x = volume(2, 3, 5, 6, 7)
    k = volume(2, 2, 2, 3, 4)
    layer = tf.layers.Conv3D(
        4,
        2,
        data_format="channels_first",
        kernel_initializer=tf.constant_initializer(k),
        bias_initializer=tf.ones_initializer(),
    )
    placeholder = tf.placeholder(tf.float32, [None, 3, None, None, None])
    y = layer(placeholder)
    assert (y.name, y.shape.as_list()) == ("conv3d/Reshape_1:0", [None, 4, None, None, None])
    got = run([y, *tf.gradients(y, [layer.kernel, layer.bias])], {placeholder: x})
    last = np.moveaxis(x, 1, -1)
    want = correlate(last, k, (1, 1, 1), "valid", (1, 1, 1)) + 1
    np.testing.assert_allclose(np.moveaxis(got[0], 1, -1), want, atol=2e-5)
    assert got[1].shape == k.shape
    np.testing.assert_allclose(got[2], np.full(4, want[..., 0].size), rtol=1e-6)


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_small_floats_train(dtype: str, first: bool) -> None:
    if dtype == "bfloat16":
        pytest.importorskip("ml_dtypes")
    kind = tf.as_dtype(dtype)
    layer = tf.layers.Conv3D(
        3,
        2,
        padding="same",
        dilation_rate=2,
        activation=tf.nn.relu,
        data_format="channels_first" if first else "channels_last",
        dtype=kind,
        kernel_initializer=tf.constant_initializer(0.25),
    )
    x = tf.ones([1, 2, 4, 4, 4] if first else [1, 4, 4, 4, 2], dtype=kind)
    y = layer(x)
    step = tf.train.GradientDescentOptimizer(2.0**-7).minimize(tf.reduce_mean(y))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(y)
        session.run(step)
        after = session.run(y)
    assert before.dtype == kind.as_numpy_dtype and before.max() == 4.0
    assert after.astype("float32").sum() < before.astype("float32").sum()


def test_kernels_that_do_not_fit() -> None:
    with pytest.raises(ValueError):
        tf.layers.conv3d(tf.placeholder(tf.float32, [1, 3, 5, 5, 2]), 4, 4)
    with pytest.raises(ValueError):
        tf.layers.Conv3D(4, 4).compute_output_shape((1, 2, 5, 5, 2))


def test_compute_output_shape() -> None:
    shape = tf.layers.Conv3D(4, 3, strides=2).compute_output_shape
    assert shape((None, 9, 8, 7, None)).as_list() == [None, 4, 3, 3, 4]
    assert shape(tf.TensorShape([2, None, 5, 5, 1])).as_list() == [2, None, 2, 2, 4]
    assert shape((1, 5, 5, 2)).as_list() == [1, 2, 2, 4]
    for error, wrong in ((ValueError, None), (TypeError, "abcde"), (IndexError, (1,) * 7)):
        with pytest.raises(error):
            shape(wrong)


def test_empty_batch() -> None:
    layer = tf.layers.Conv3D(2, 2)
    x = tf.placeholder(tf.float32, [None, 3, 3, 3, 1])
    y = layer(x)
    got = run([y, *tf.gradients(y, layer.weights)], {x: np.zeros((0, 3, 3, 3, 1), "float32")})
    assert got[0].shape == (0, 2, 2, 2, 2)
    assert not got[1].any() and not got[2].any()


# --- activations, losses, constraints ---------------------------------------------------


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("relu", lambda z: np.maximum(z, 0)),
        ("sigmoid", lambda z: 1 / (1 + np.exp(-z))),
        ("tanh", np.tanh),
        ("softplus", lambda z: np.log1p(np.exp(z))),
        ("elu", lambda z: np.where(z > 0, z, np.expm1(z))),
        ("hard_sigmoid", lambda z: np.clip(0.2 * z + 0.5, 0, 1)),
        ("leaky_relu", lambda z: np.where(z > 0, z, 0.2 * z)),
        ("linear", lambda z: z),
    ],
)
def test_activations_by_name(name: str, function: Any) -> None:
    x = volume(1, 2, 2, 2, 1)
    y = tf.layers.conv3d(x, 1, 1, activation=name, kernel_initializer=tf.ones_initializer())
    np.testing.assert_allclose(run(y), function(x.astype(np.float64)), atol=1e-6)


def test_regularizers() -> None:
    layer = tf.layers.Conv3D(
        2,
        1,
        kernel_initializer=tf.constant_initializer(2.0),
        bias_initializer=tf.ones_initializer(),
        kernel_regularizer=tf.keras.regularizers.l2(0.1),
        bias_regularizer=lambda b: None,
        activity_regularizer=lambda y: tf.reduce_sum(y),
    )
    layer(tf.ones([1, 1, 1, 1, 1]))
    np.testing.assert_allclose(run(layer.losses), [0.8, 6.0], rtol=1e-6)
    again = tf.layers.Conv3D(
        2,
        1,
        name="conv3d",
        _scope="conv3d",
        _reuse=True,
        kernel_regularizer=lambda k: tf.reduce_sum(k),
    )
    again(tf.ones([1, 1, 1, 1, 1]))
    assert again.losses == [] and again.weights == layer.weights


def test_constraints_are_kept_and_act_after_a_step() -> None:
    layer = tf.layers.Conv3D(
        1,
        1,
        kernel_initializer=tf.constant_initializer(9.0),
        kernel_constraint=lambda k: tf.clip_by_value(k, -1.0, 1.0),
    )
    y = layer(tf.ones([1, 1, 1, 1, 1]))
    step = tf.train.GradientDescentOptimizer(0.5).minimize(tf.reduce_sum(y))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(y).item() == 9.0
        session.run(step)
        assert session.run(layer.kernel).item() == 1.0
    assert layer.kernel.constraint is layer.kernel_constraint and layer.bias.constraint is None


def test_partitioned_kernels_compute_the_same() -> None:
    x, k = volume(2, 4, 5, 6, 3), volume(2, 2, 2, 3, 7)
    results = []
    for partitioner in (None, tf.fixed_size_partitioner(3, axis=4), tf.fixed_size_partitioner(2)):
        with tf.variable_scope(None, "s", partitioner=partitioner):
            layer = tf.layers.Conv3D(
                7,
                2,
                use_bias=False,
                kernel_initializer=(
                    tf.constant_initializer(k) if partitioner is None else tf.ones_initializer()
                ),
                kernel_regularizer=lambda v: tf.reduce_sum(v),
            )
            results.append((layer, layer(x)))
    (_, plain), (by_filter, y), (by_depth, z) = results
    assert [v.shape.as_list()[4] for v in by_filter.kernel] == [3, 2, 2]
    assert by_filter.count_params() == k.size and len(by_depth.losses) == 2
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for v, part in zip(by_filter.kernel, np.split(k, [3, 5], axis=4), strict=True):
            v.load(part, session)
        for v, part in zip(by_depth.kernel, np.split(k, 2), strict=True):
            v.load(part, session)
        want, *got = session.run([plain, y, z])
    for values in got:
        np.testing.assert_allclose(values, want, atol=1e-5)


# --- functions --------------------------------------------------------------------------


def test_functions_share_by_name_and_reuse() -> None:
    x = tf.ones([1, 3, 3, 3, 1])
    a = tf.layers.conv3d(x, 2, 1, name="c")
    b = tf.layers.conv3d(x, 2, 1, name="c", reuse=True)
    c = tf.layers.conv3d(x, 2, 1, name="c", reuse=tf.AUTO_REUSE)
    assert names([a, b, c]) == ["c/BiasAdd:0", "c_1/BiasAdd:0", "c_2/BiasAdd:0"]
    assert names(tf.global_variables()) == ["c/kernel:0", "c/bias:0"]
    for arguments in ({"name": "c"}, {"name": "new", "reuse": True}, {"reuse": True}):
        with pytest.raises(ValueError):
            tf.layers.conv3d(x, 2, 1, **arguments)
    with pytest.raises(ValueError):
        tf.layers.conv3d(tf.ones([1, 3, 3, 3, 2]), 2, 1, name="c", reuse=True)


def test_a_scope_as_a_name() -> None:
    x = tf.ones([1, 3, 3, 3, 1])
    with tf.variable_scope("s") as scope:
        tf.layers.conv3d(x, 2, 1, name="c")
    y = tf.layers.conv3d(x, 2, 1, name=scope, reuse=tf.AUTO_REUSE)
    assert names(tf.global_variables())[2:] == ["s/kernel:0", "s/bias:0"]
    assert y.name == "s/BiasAdd:0"
    with tf.variable_scope("t") as scope:
        pass
    layer = tf.layers.Conv3D(1, 1, name=scope)
    layer(x)
    assert layer.scope_name == "t"


def test_no_filters() -> None:
    y = tf.layers.conv3d(tf.ones([1, 3, 3, 3, 2]), 0, 2)
    assert run(y).shape == (1, 2, 2, 2, 0)


def test_filters_from_a_dimension() -> None:
    x = tf.placeholder(tf.float32, [None, 4, 4, 4, 16])
    assert tf.layers.conv3d(x, x.shape[-1] // 8, 1).shape.as_list() == [None, 4, 4, 4, 2]


def test_positional_arguments() -> None:
    y = tf.layers.conv3d(tf.ones([1, 4, 4, 4, 2]), 40, 3, 2, "SAME")
    assert y.shape.as_list() == [1, 2, 2, 2, 40]


@pytest.mark.parametrize(
    ("function", "shape", "expected"),
    [
        ("conv1d", [1, 5, 2], [1, 4, 3]),
        ("conv2d", [1, 5, 6, 2], [1, 4, 5, 3]),
        ("conv3d", [1, 5, 6, 7, 2], [1, 4, 5, 6, 3]),
        ("conv2d_transpose", [1, 5, 6, 2], [1, 6, 7, 3]),
        ("conv3d_transpose", [1, 5, 6, 7, 2], [1, 6, 7, 8, 3]),
    ],
)
def test_every_function(function: str, shape: list[int], expected: list[int]) -> None:
    y = getattr(tf.layers, function)(tf.ones(shape), 3, 2, name="f")
    assert y.shape.as_list() == expected and y.name.startswith("f/")
    assert names(tf.global_variables()) == ["f/kernel:0", "f/bias:0"]


# --- eager mode -------------------------------------------------------------------------


def test_eager(eager: None) -> None:
    x, k = volume(1, 4, 4, 4, 2), volume(2, 2, 2, 2, 3)
    layer = tf.layers.Conv3D(3, 2, kernel_initializer=tf.constant_initializer(k))
    with tf.GradientTape() as tape:
        y = layer(x)
        loss = tf.reduce_sum(y)
    want = correlate(x, k, (1, 1, 1), "valid", (1, 1, 1))
    np.testing.assert_allclose(y.numpy(), want, atol=1e-5)
    kernel, bias = tape.gradient(loss, layer.weights)
    assert bias.numpy().tolist() == [27.0] * 3 and kernel.shape.as_list() == list(k.shape)
    assert type(layer.kernel).__name__ == "ResourceVariable"
    with pytest.raises(ValueError):
        layer(x.astype("float64"))


def test_eager_layers_of_one_name_share_nothing(eager: None) -> None:
    x = tf.ones([1, 3, 3, 3, 1])
    a, b = (tf.layers.Conv3D(2, 2, name="c") for _ in range(2))
    a(x)
    b(x)
    assert names([a.kernel, b.kernel]) == ["c/kernel:0", "c_1/kernel:0"]
    y, z = (tf.layers.conv3d(x, 2, 2, name="f", reuse=reuse) for reuse in (None, True))
    assert not np.array_equal(y.numpy(), z.numpy())


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
@pytest.mark.parametrize("activation", ["linear", "relu", "leaky_relu", "sigmoid", "tanh", "elu"])
def test_eager_and_graph_agree(activation: str, first: bool) -> None:
    x = volume(2, 3, 4, 5, 3).astype("float64")
    arguments: dict[str, Any] = {
        "filters": 3,
        "kernel_size": 2,
        "activation": activation,
        "data_format": "channels_first" if first else "channels_last",
        "kernel_initializer": tf.constant_initializer(volume(2, 2, 2, 3, 3)),
        "bias_initializer": tf.constant_initializer([0.5, -0.5, 0.0]),
    }

    def loss(y: Any) -> Any:
        return tf.reduce_sum(tf.square(y) + y)

    layer = tf.layers.Conv3D(**arguments)
    data = np.moveaxis(x, -1, 1) if first else x
    placeholder = tf.placeholder(tf.float64, data.shape)
    y = layer(placeholder)
    want = run([y, *tf.gradients(loss(y), [placeholder, *layer.weights])], {placeholder: data})
    context.program.eager = True
    try:
        layer, given = tf.layers.Conv3D(**arguments), tf.constant(data)
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = layer(given)
            total = loss(y)
        got = [y, *tape.gradient(total, [given, *layer.weights])]
    finally:
        context.program.eager = False
    for have, should in zip(got, want, strict=True):
        np.testing.assert_allclose(have.numpy(), should, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("argument", ["kernel_initializer", "bias_initializer"])
def test_initializers_take_no_names(argument: str) -> None:
    with pytest.raises(ValueError, match=rf"{argument}.*tf\.keras\.initializers\.get\('ones'\)"):
        tf.layers.conv3d(volume(1, 2, 2, 2, 1), 1, 1, **{argument: "ones"})
