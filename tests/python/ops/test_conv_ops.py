"""Convolution ops against loops over their definition, and their gradients against differences."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d.framework import fusion
from conv3d.ops import conv_ops

_PROBLEMS = [
    # padding, strides, dilations, input size, kernel size
    ("VALID", (1, 1, 1), (1, 1, 1), (4, 5, 3), (2, 3, 2)),
    ("SAME", (1, 1, 1), (1, 1, 1), (3, 4, 5), (3, 2, 1)),
    ("SAME", (2, 3, 1), (1, 1, 1), (5, 4, 3), (2, 2, 3)),
    ("VALID", (2, 1, 3), (1, 1, 1), (5, 4, 7), (1, 3, 3)),
    ("VALID", (1, 1, 1), (2, 1, 3), (5, 3, 8), (2, 2, 3)),
    ("SAME", (1, 1, 1), (4, 2, 1), (3, 4, 2), (2, 3, 2)),
]
_LAYOUTS = ["NDHWC", "NCDHW"]


def _by_definition(
    x: np.ndarray, f: np.ndarray, padding: str, strides: Any, dilations: Any
) -> np.ndarray:
    """Channels last, in float64, one output cell and one tap at a time."""
    n, k = x.shape[1:4], f.shape[:3]
    out, before = [], []
    for i in range(3):
        extent = (k[i] - 1) * dilations[i] + 1
        if padding == "SAME":
            o = -(-n[i] // strides[i])
            before.append(max((o - 1) * strides[i] + extent - n[i], 0) // 2)
        else:
            o = (n[i] - extent) // strides[i] + 1
            before.append(0)
        out.append(o)
    y = np.zeros((x.shape[0], *out, f.shape[4]))
    for at in np.ndindex(*out):
        for tap in np.ndindex(*k):
            cell = [at[i] * strides[i] + tap[i] * dilations[i] - before[i] for i in range(3)]
            if all(0 <= c < m for c, m in zip(cell, n, strict=False)):
                y[(slice(None), *at)] += x[(slice(None), *cell)] @ f[tap]
    return y


def _whole(values: Any, layout: str) -> list[int]:
    return [1, *values, 1] if layout == "NDHWC" else [1, 1, *values]


def _to(layout: str, x: np.ndarray) -> np.ndarray:
    return x if layout == "NDHWC" else np.moveaxis(x, -1, 1)


def _from(layout: str, x: np.ndarray) -> np.ndarray:
    return x if layout == "NDHWC" else np.moveaxis(x, 1, -1)


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        return s.run(fetches, feed)


def _arrays(size: Any, kernel: Any, dtype: str = "float64") -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    x = rng.standard_normal((2, *size, 2)).astype(dtype)
    return x, rng.standard_normal((*kernel, 2, 3)).astype(dtype)


@pytest.mark.parametrize("layout", _LAYOUTS)
@pytest.mark.parametrize(("padding", "strides", "dilations", "size", "kernel"), _PROBLEMS)
def test_forward(padding, strides, dilations, size, kernel, layout) -> None:
    x, f = _arrays(size, kernel)
    y = tf.nn.conv3d(
        tf.constant(_to(layout, x)),
        tf.constant(f),
        _whole(strides, layout),
        padding,
        data_format=layout,
        dilations=_whole(dilations, layout),
    )
    want = _by_definition(x, f, padding, strides, dilations)
    assert y.shape.as_list() == list(_to(layout, want).shape)
    np.testing.assert_allclose(_from(layout, _run(y)), want, rtol=1e-12, atol=1e-12)


def _difference(function: Any, x: np.ndarray, direction: np.ndarray, step: float = 1e-4) -> float:
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


@pytest.mark.parametrize("layout", _LAYOUTS)
@pytest.mark.parametrize(("padding", "strides", "dilations", "size", "kernel"), _PROBLEMS)
def test_gradients_of_first_and_second_order(
    padding, strides, dilations, size, kernel, layout
) -> None:
    x, f = _arrays(size, kernel)
    x = _to(layout, x)
    px, pf = tf.placeholder(tf.float64, x.shape), tf.placeholder(tf.float64, f.shape)
    y = tf.nn.conv3d(
        px,
        pf,
        _whole(strides, layout),
        padding,
        data_format=layout,
        dilations=_whole(dilations, layout),
    )
    # Neither linear in x nor in f, so that second derivatives and mixed ones are there.
    loss = tf.reduce_sum(y * y * y) / 6.0
    first = tf.gradients(loss, [px, pf])
    assert [g.op.type for g in first] == ["Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"]
    rng = np.random.RandomState(1)
    dx, df = rng.standard_normal(x.shape), rng.standard_normal(f.shape)
    slope = tf.reduce_sum(first[0] * dx) + tf.reduce_sum(first[1] * df)
    second = tf.gradients(slope, [px, pf])
    with tf.Session() as s:
        values = s.run([*first, *second], {px: x, pf: f})
        for objective, (gx, gf) in ((loss, values[:2]), (slope, values[2:])):

            def at(vx: np.ndarray, vf: np.ndarray, objective: Any = objective) -> float:
                return s.run(objective, {px: vx, pf: vf})

            for direction in (rng.standard_normal(x.shape), dx):
                want = _difference(lambda v: at(v, f), x, direction)
                scale = max(1, np.abs(gx * direction).sum())
                assert abs((gx * direction).sum() - want) <= 1e-6 * scale
            for direction in (rng.standard_normal(f.shape), df):
                want = _difference(lambda v: at(x, v), f, direction)
                scale = max(1, np.abs(gf * direction).sum())
                assert abs((gf * direction).sum() - want) <= 1e-6 * scale


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtypes(dtype) -> None:
    x, f = _arrays((4, 3, 5), (3, 2, 2), dtype)
    y = tf.nn.conv3d(x, f, [1, 1, 1, 1, 1], "SAME")
    assert y.dtype.name == dtype
    want = _by_definition(x.astype("f8"), f.astype("f8"), "SAME", (1, 1, 1), (1, 1, 1))
    tolerance = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    np.testing.assert_allclose(_run(y).astype("f8"), want, rtol=tolerance, atol=tolerance)


def test_transpose_is_the_gradient_of_the_forward_op() -> None:
    x, f = _arrays((5, 4, 6), (3, 2, 2), "float32")
    strides = [1, 2, 1, 3, 1]
    y = tf.nn.conv3d(tf.constant(x), tf.constant(f), strides, "SAME")
    v = np.random.RandomState(2).standard_normal(y.shape.as_list()).astype("f")
    back = tf.nn.conv3d_transpose(v, f, x.shape, strides, "SAME")
    assert back.op.type == "Conv3DBackpropInputV2"
    assert back.name == "conv3d_transpose:0"
    a, b = _run([y, back])
    # <conv(x), v> = <x, transpose(v)>
    assert float((a * v).sum()) == pytest.approx(float((x * b).sum()), rel=1e-4)


def test_transpose_with_a_shape_that_is_partly_known() -> None:
    v = tf.placeholder(tf.float32, [None, 2, 3, 2, 4])
    f = tf.constant(np.ones((2, 2, 2, 5, 4), "f"))
    shape = tf.stack([tf.shape(v)[0], 4, 6, 4, 5])
    y = tf.nn.conv3d_transpose(v, f, shape, [1, 2, 2, 2, 1])
    assert y.shape.as_list() == [None, 4, 6, 4, 5]
    assert _run(y, {v: np.ones((3, 2, 3, 2, 4), "f")}).shape == (3, 4, 6, 4, 5)


def test_two_dimensions_as_three() -> None:
    rng = np.random.RandomState(0)
    x, f = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((3, 2, 3, 4))
    y = _run(tf.nn.conv2d(x, f, [1, 2, 1, 1], "SAME"))
    want = _by_definition(x[:, None], f[None], "SAME", (1, 2, 1), (1, 1, 1))[:, 0]
    np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)
    first = _run(tf.nn.conv2d(np.moveaxis(x, 3, 1), f, [1, 1, 2, 1], "SAME", data_format="NCHW"))
    np.testing.assert_allclose(np.moveaxis(first, 1, 3), want, rtol=1e-12, atol=1e-12)


def test_one_dimension_with_dilation() -> None:
    rng = np.random.RandomState(0)
    x, f = rng.standard_normal((2, 9, 3)), rng.standard_normal((3, 3, 4))
    want = _by_definition(x[:, None, None], f[None, None], "VALID", (1, 1, 1), (1, 1, 2))[:, 0, 0]
    y = _run(tf.nn.convolution(x, f, "VALID", dilation_rate=[2]))
    np.testing.assert_allclose(y, want, rtol=1e-12, atol=1e-12)
    first = tf.nn.convolution(
        np.moveaxis(x, 2, 1), f, "VALID", dilation_rate=[2], data_format="NCW"
    )
    np.testing.assert_allclose(np.moveaxis(_run(first), 1, 2), want, rtol=1e-12, atol=1e-12)


def test_nothing_in_nothing_out() -> None:
    x = tf.placeholder(tf.float32, [None, None, None, None, 2])
    f = tf.constant(np.ones((2, 2, 2, 2, 3), "f"))
    y = tf.nn.conv3d(x, f, [1, 1, 1, 1, 1], "VALID")
    g = tf.gradients(y, [x, f])
    for shape, out in (((0, 4, 4, 4, 2), (0, 3, 3, 3, 3)), ((2, 1, 4, 4, 2), (2, 0, 3, 3, 3))):
        values = _run([y, *g], {x: np.ones(shape, "f")})
        assert [v.shape for v in values] == [out, shape, f.shape]
        assert not values[1].any() and not values[2].any()


def test_an_output_below_zero_is_refused() -> None:
    x = tf.placeholder(tf.float32, [None, None, None, None, 1])
    y = tf.nn.conv3d(x, np.ones((4, 1, 1, 1, 1), "f"), [1, 1, 1, 1, 1], "VALID")
    assert _run(y, {x: np.ones((1, 3, 2, 2, 1), "f")}).shape == (1, 0, 2, 2, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="negative output size"):
        _run(y, {x: np.ones((1, 2, 2, 2, 1), "f")})


def _placeholders(x_shape: Any, f_shape: Any, f_type: Any = None) -> tuple[Any, Any]:
    return tf.placeholder(tf.float32, x_shape), tf.placeholder(f_type or tf.float32, f_shape)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([1, 1, 1], "SAME"), ValueError),
        (([1, 1, 1, 1, 1, 1], "SAME"), ValueError),
        ((1, "SAME"), TypeError),
        (([1, 1.5, 1, 1, 1], "SAME"), TypeError),
        (([1, 1, 1, 1, 1], "same"), ValueError),
        (([1, 1, 1, 1, 1], None), TypeError),
        (([1, 0, 1, 1, 1], "SAME"), ValueError),
        (([1, 1, 1, 1, 1], "SAME", "NHWC"), ValueError),
        (([1, 1, 1, 1, 1], "SAME", 3), TypeError),
        (([1, 2, 1, 1, 1], "SAME", "NDHWC", [1, 2, 1, 1, 1]), ValueError),
        (([1, 2, 1, 1, 1], "SAME", "NDHWC", [1, 1, 1, 2, 1]), ValueError),
    ],
)
def test_attributes_that_are_refused(arguments, error) -> None:
    x, f = _placeholders([1, 5, 5, 5, 2], [2, 2, 2, 2, 3])
    with pytest.raises(error):
        tf.nn.conv3d(x, f, *arguments)


@pytest.mark.parametrize(
    ("x_shape", "f_shape", "f_type", "error"),
    [
        ([1, 5, 5, 5, 2], [2, 2, 2, 3, 3], None, ValueError),
        ([1, 5, 5, 5, 2], [6, 2, 2, 2, 3], None, ValueError),
        ([1, 5, 5, 2], [2, 2, 2, 2, 3], None, ValueError),
        ([1, 5, 5, 5, 2], [2, 2, 2, 3], None, ValueError),
        ([1, 5, 5, 5, 2], [2, 2, 2, 2, 3], tf.float64, TypeError),
    ],
)
def test_tensors_that_are_refused(x_shape, f_shape, f_type, error) -> None:
    x, f = _placeholders(x_shape, f_shape, f_type)
    with pytest.raises(error):
        tf.nn.conv3d(x, f, [1, 1, 1, 1, 1], "VALID")


def test_integers_are_refused() -> None:
    with pytest.raises(TypeError, match="int32"):
        tf.nn.conv3d(
            np.ones((1, 2, 2, 2, 1), "i4"), np.ones((1, 1, 1, 1, 1), "i4"), [1] * 5, "SAME"
        )


def test_refusals_at_run_time() -> None:
    x, f = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    ones = np.ones((1, 3, 3, 3, 2), "f")
    y = tf.nn.conv3d(x, f, [1, 1, 1, 1, 1], "SAME")
    with pytest.raises(tf.errors.InvalidArgumentError, match="2 channels"):
        _run(y, {x: ones, f: np.ones((1, 1, 1, 3, 2), "f")})
    with pytest.raises(tf.errors.InvalidArgumentError, match="5 dimensions"):
        _run(y, {x: ones[0], f: np.ones((1, 1, 1, 2, 2), "f")})
    with pytest.raises(tf.errors.InvalidArgumentError, match="no taps"):
        _run(y, {x: ones, f: np.ones((0, 1, 1, 2, 2), "f")})
    for strides in ([2, 1, 1, 1, 1], [1, 1, 1, 1, 2]):
        z = tf.nn.conv3d(x, f, strides, "SAME")
        with pytest.raises(tf.errors.InvalidArgumentError, match="batch or the channels"):
            _run(z, {x: ones, f: np.ones((1, 1, 1, 2, 2), "f")})


def test_gradients_of_another_size_are_refused_at_run_time() -> None:
    x, f = _arrays((5, 5, 5), (2, 2, 2), "float32")
    grad = np.ones((2, 3, 4, 4, 3), "f")
    ones = [1, 1, 1, 1, 1]
    filter_grad = tf.nn.conv3d_backprop_filter_v2(x, f.shape, grad, ones, "VALID")
    input_grad = tf.nn.conv3d_transpose(grad, f, x.shape, ones, "VALID")
    for tensor in (filter_grad, input_grad):
        with pytest.raises(tf.errors.InvalidArgumentError, match="out_backprop"):
            _run(tensor)


def test_convolution_refuses() -> None:
    x, f = _placeholders([1, 5, 5, 5, 2], [2, 2, 2, 2, 3])
    with pytest.raises(ValueError, match="dilation"):
        tf.nn.convolution(x, f, "SAME", strides=[2, 1, 1], dilation_rate=[1, 1, 2])
    with pytest.raises(ValueError, match="channels"):
        tf.nn.convolution(x, tf.zeros([2, 2, 2, 3, 3]), "SAME")
    with pytest.raises(ValueError, match="dimensions"):
        tf.nn.convolution(tf.zeros([2, 3]), tf.zeros([1, 1]), "SAME")
    with pytest.raises(ValueError, match="positive"):
        tf.nn.convolution(x, f, "SAME", strides=[0, 1, 1])
    with pytest.raises(ValueError, match="data_format"):
        tf.nn.convolution(x, f, "SAME", data_format="last")


def test_eager(eager) -> None:
    x, f = _arrays((4, 3, 5), (3, 2, 2))
    with tf.GradientTape() as tape:
        filter = tf.constant(f)
        tape.watch(filter)
        y = tf.nn.conv3d(x, filter, [1, 1, 1, 1, 1], "SAME")
    want = _by_definition(x, f, "SAME", (1, 1, 1), (1, 1, 1))
    np.testing.assert_allclose(y.numpy(), want, rtol=1e-12, atol=1e-12)
    assert tape.gradient(y, filter).shape.as_list() == list(f.shape)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.nn.conv3d(x, f[:, :, :, :1], [1, 1, 1, 1, 1], "SAME")
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.nn.conv3d(x, np.ones((6, 1, 1, 2, 1)), [1, 1, 1, 1, 1], "VALID")
    with pytest.raises(ValueError, match="float32"):
        tf.nn.conv3d(tf.constant(x), tf.constant(f.astype("f")), [1, 1, 1, 1, 1], "SAME")


# -- packed filters and fused chains ---------------------------------------------------------------


@pytest.fixture
def cache(monkeypatch) -> Any:
    fresh = conv_ops._PlanCache(1 << 20)
    monkeypatch.setattr(conv_ops, "plan_cache", fresh)
    return fresh


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


_ATTRS = {
    "strides": [1] * 5,
    "dilations": [1] * 5,
    "padding": "SAME",
    "data_format": "NDHWC",
}


def test_a_filter_is_packed_when_it_comes_again(cache) -> None:
    x, f = _arrays((4, 3, 5), (3, 2, 2), "float32")
    f = _frozen(f)
    outputs = []
    for packed in (0, 1, 1):
        outputs.append(conv_ops.convolve(3, _ATTRS, x, f))
        assert len(cache) == packed
    np.testing.assert_array_equal(outputs[0], outputs[1])
    np.testing.assert_array_equal(outputs[0], outputs[2])
    # Another bias, other settings: plans of their own.
    bias = _frozen(np.ones(3, "f"))
    conv_ops.convolve(3, _ATTRS, x, f, bias)
    conv_ops.convolve(3, {**_ATTRS, "padding": "VALID"}, x, f)
    assert len(cache) == 3


def test_a_packed_filter_goes_with_its_array(cache) -> None:
    x, f = _arrays((4, 3, 5), (3, 2, 2), "float32")
    f = _frozen(f)
    for _ in range(2):
        conv_ops.convolve(3, _ATTRS, x, f)
    assert len(cache) == 1 and cache.nbytes > 0
    del f
    gc.collect()
    assert len(cache) == 0 and cache.nbytes == 0


def test_an_array_that_may_change_is_never_packed(cache) -> None:
    x, f = _arrays((4, 3, 5), (3, 2, 2), "float32")
    view = f.view()
    view.flags.writeable = False
    for _ in range(3):
        before = conv_ops.convolve(3, _ATTRS, x, view)
    assert len(cache) == 0
    f *= 2
    np.testing.assert_allclose(conv_ops.convolve(3, _ATTRS, x, view), 2 * before, rtol=1e-6)


def test_the_packed_filters_keep_to_their_budget(cache) -> None:
    x = np.ones((1, 2, 2, 2, 1), "f")
    filters = [_frozen(np.full((3, 3, 3, 1, 8), i, "f")) for i in range(5)]
    cache.budget = 5 * filters[0].nbytes
    for _ in range(2):
        for f in filters:
            conv_ops.convolve(3, _ATTRS, x, f)
    assert len(cache) == 2
    assert cache.nbytes <= cache.budget


_ACTIVATIONS = {
    "none": None,
    "relu": tf.nn.relu,
    "leaky": tf.nn.leaky_relu,
    "leaky_other": lambda x: tf.nn.leaky_relu(x, 0.4),
    "sigmoid": tf.nn.sigmoid,
    "tanh": tf.nn.tanh,
    "elu": tf.nn.elu,
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("activation", _ACTIVATIONS)
def test_fused_chains_give_what_their_links_give(
    activation, data_format, transposed, monkeypatch
) -> None:
    size = [3, 4, 5]
    first = data_format == "channels_first"
    shape = [None, 2, *size] if first else [None, *size, 2]
    x = tf.placeholder(tf.float32, shape)
    layer = tf.layers.conv3d_transpose if transposed else tf.layers.conv3d
    y = layer(
        x,
        3,
        2,
        padding="same",
        data_format=data_format,
        activation=_ACTIVATIONS[activation],
        bias_initializer=tf.constant_initializer([0.5, -0.5, 0.25]),
    )
    feed = {x: np.random.RandomState(0).standard_normal([2, *shape[1:]]).astype("f")}
    init = tf.global_variables_initializer()
    variables = tf.global_variables()
    with tf.Session() as s:
        s.run(init)
        values = s.run(variables)
        fused = s.run(y, feed)
    monkeypatch.setattr(fusion, "_PATTERNS", {})
    with tf.Session() as s:
        for variable, value in zip(variables, values, strict=False):
            variable.load(value, s)
        plain = s.run(y, feed)
        # Every link can still be fetched by itself.
        assert s.run(
            [op.outputs[0] for op in x.graph.get_operations() if op.type == "BiasAdd"], feed
        )
    np.testing.assert_allclose(fused, plain, rtol=1e-6, atol=1e-6)


def test_bias_and_relu_run_inside_of_the_convolution(monkeypatch) -> None:
    seen = []
    forward = conv_ops.engine.forward

    def spy(x: Any, f: Any, bias: Any = None, **keywords: Any) -> Any:
        seen.append((bias is not None, keywords["activation"]))
        return forward(x, f, bias, **keywords)

    monkeypatch.setattr(conv_ops.engine, "forward", spy)
    x = tf.placeholder(tf.float32, [1, 4, 4, 4, 1])
    y = tf.layers.conv3d(x, 2, 3, activation=tf.nn.relu)
    _run(y, {x: np.ones((1, 4, 4, 4, 1), "f")})
    assert seen == [(True, "relu")]


def test_a_bias_along_another_axis_is_not_fused() -> None:
    # As many rows as channels: only the axis tells the two biases apart.
    x, f = _arrays((3, 3, 3), (1, 1, 1), "float32")
    bias = np.array([1.0, 2.0, 3.0], "f")
    y = tf.nn.conv3d(x, f, [1] * 5, "SAME")
    z = tf.nn.bias_add(y, bias, data_format="NCHW")
    plain, shifted = _run([y, z])
    want = plain + bias[None, :, None, None, None]
    np.testing.assert_allclose(shifted, want, rtol=1e-6)
    np.testing.assert_allclose(_run(z), want, rtol=1e-6)


def test_scale_and_shift_in_one_pass() -> None:
    x = np.random.RandomState(0).standard_normal((2, 3, 4)).astype("f")
    px = tf.placeholder(tf.float32, [None, 3, 4])
    factor, shift = np.array([1, 2, 3, 4], "f"), np.array([-1, 0, 1, 2], "f")
    wide = np.ones((5, 1, 1, 1), "f")
    results = _run(
        [tf.nn.relu(px * factor + shift), px * factor + wide, tf.nn.relu(px * factor + wide)],
        {px: x},
    )
    np.testing.assert_allclose(results[0], np.maximum(x * factor + shift, 0), rtol=1e-6)
    np.testing.assert_allclose(results[1], x * factor + wide, rtol=1e-6)
    np.testing.assert_allclose(results[2], np.maximum(x * factor + wide, 0), rtol=1e-6)
    assert _run(tf.constant(2.0) * 3.0 + 1.0) == 7.0
