"""Pooling against loops over its definition; gradients of ties; refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf

_PROBLEMS = [
    # padding, window, strides, input size
    ("VALID", (2, 2, 2), (2, 2, 2), (4, 5, 6)),
    ("SAME", (2, 3, 2), (2, 2, 3), (5, 4, 5)),
    ("SAME", (3, 1, 4), (1, 2, 1), (2, 3, 3)),
    ("VALID", (1, 3, 2), (3, 1, 1), (4, 3, 4)),
]


def _by_definition(x: np.ndarray, kind: str, padding: str, window: Any, strides: Any) -> np.ndarray:
    n = x.shape[1:4]
    out, before = [], []
    for i in range(3):
        same = padding == "SAME"
        o = -(-n[i] // strides[i]) if same else (n[i] - window[i]) // strides[i] + 1
        out.append(o)
        before.append(max((o - 1) * strides[i] + window[i] - n[i], 0) // 2 if same else 0)
    y = np.zeros((x.shape[0], *out, x.shape[4]), x.dtype)
    for at in np.ndindex(*out):
        low = [max(at[i] * strides[i] - before[i], 0) for i in range(3)]
        high = [min(at[i] * strides[i] - before[i] + window[i], n[i]) for i in range(3)]
        cells = x[:, low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        reduce = np.max if kind == "max" else np.mean
        y[(slice(None), *at)] = reduce(cells, axis=(1, 2, 3))
    return y


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        return s.run(fetches, feed)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(("padding", "window", "strides", "size"), _PROBLEMS)
def test_forward(kind, padding, window, strides, size, first) -> None:
    x = np.random.RandomState(0).standard_normal((2, *size, 3))
    function = tf.nn.max_pool3d if kind == "max" else tf.nn.avg_pool3d
    before, after = ([1, 1], []) if first else ([1], [1])
    y = function(
        np.moveaxis(x, 4, 1) if first else x,
        [*before, *window, *after],
        [*before, *strides, *after],
        padding,
        data_format="NCDHW" if first else "NDHWC",
    )
    value = _run(y)
    assert list(value.shape) == y.shape.as_list()
    want = _by_definition(x, kind, padding, window, strides)
    np.testing.assert_allclose(np.moveaxis(value, 1, 4) if first else value, want, rtol=1e-12)


def test_negative_values_beat_the_padding() -> None:
    x = np.full((1, 3, 3, 3, 1), -5.0, "f")
    assert (_run(tf.nn.max_pool3d(x, [1, 2, 2, 2, 1], [1, 1, 1, 1, 1], "SAME")) == -5).all()
    assert (_run(tf.nn.avg_pool3d(x, [1, 2, 2, 2, 1], [1, 1, 1, 1, 1], "SAME")) == -5).all()


def test_the_first_of_equal_maxima_gets_the_gradient() -> None:
    x = tf.zeros([1, 2, 2, 2, 1])
    y = tf.nn.max_pool3d(x, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "VALID")
    g = _run(tf.gradients(y, x)[0])
    assert g.ravel().tolist() == [1, 0, 0, 0, 0, 0, 0, 0]


def test_second_order_takes_from_the_place_of_the_maximum() -> None:
    x = tf.constant(np.array([1.0, 5.0, 5.0, 2.0]).reshape(1, 4, 1, 1, 1))
    y = tf.nn.max_pool3d(x, [1, 4, 1, 1, 1], [1, 4, 1, 1, 1], "VALID")
    slope = tf.gradients(y * y, x)[0]
    # slope = 2 * max at the first maximum; the gradient of its first entry's weight is 2 there.
    second = tf.gradients(slope * np.arange(1.0, 5).reshape(1, 4, 1, 1, 1), x)[0]
    assert _run(slope).ravel().tolist() == [0, 10, 0, 0]
    assert _run(second).ravel().tolist() == [0, 4, 0, 0]


def test_nothing_in_nothing_out() -> None:
    x = tf.placeholder(tf.float32, [None, None, 4, 4, 2])
    for function in (tf.nn.max_pool3d, tf.nn.avg_pool3d):
        y = function(x, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "VALID")
        g = tf.gradients(y, x)[0]
        for shape in ((0, 4, 4, 4, 2), (2, 1, 4, 4, 2)):
            value, grad = _run([y, g], {x: np.ones(shape, "f")})
            assert value.shape == (shape[0], shape[1] // 2, 2, 2, 2)
            assert grad.shape == shape and not grad.any()


def test_whole_numbers_are_exact() -> None:
    x = np.array([2**60, 2**60 + 1, 3, 4], np.int64).reshape(1, 2, 2, 1)
    y = _run(tf.nn.max_pool(x, [1, 2, 2, 1], [1, 2, 2, 1], "SAME"))
    assert y.ravel().tolist() == [2**60 + 1]


def test_refusals() -> None:
    x = tf.placeholder(tf.float32, [1, 4, 4, 4, 1])
    ones = [1, 1, 1, 1, 1]
    with pytest.raises(ValueError, match="5 dimensions"):
        tf.nn.max_pool3d(x, [1, 2, 2, 1], ones, "SAME")
    with pytest.raises(ValueError, match="in capitals"):
        tf.nn.max_pool3d(x, ones, ones, "same")
    with pytest.raises(ValueError, match="Negative output size"):
        tf.nn.avg_pool3d(x, [1, 5, 1, 1, 1], ones, "VALID")
    with pytest.raises(ValueError, match="positive"):
        tf.nn.avg_pool3d(x, ones, [1, 0, 1, 1, 1], "VALID")
    with pytest.raises(ValueError, match="rank"):
        tf.nn.max_pool3d(tf.zeros([2, 2, 2]), ones, ones, "SAME")
    with pytest.raises(TypeError, match="bool"):
        tf.nn.max_pool3d(tf.zeros([1, 2, 2, 2, 1], tf.bool), ones, ones, "SAME")
    for window in ([2, 1, 1, 1, 1], [1, 1, 1, 1, 2]):
        y = tf.nn.max_pool3d(x, window, ones, "SAME")
        with pytest.raises(tf.errors.InvalidArgumentError, match="batch or the channels"):
            _run(y, {x: np.ones((1, 4, 4, 4, 1), "f")})
    with pytest.raises(ValueError, match="MAX"):
        tf.nn.pool(x, [2, 2, 2], "MIN", "SAME")
    with pytest.raises(ValueError, match="dilation_rate"):
        tf.nn.pool(x, [2, 2, 2], "MAX", "SAME", dilation_rate=[2, 1, 1])


def test_eager(eager) -> None:
    x = tf.constant(np.arange(8.0).reshape(1, 2, 2, 2, 1))
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.max_pool3d(x, [1, 2, 2, 2, 1], [1, 2, 2, 2, 1], "VALID")
    assert y.numpy().item() == 7
    assert tape.gradient(y, x).numpy().ravel().tolist() == [0] * 7 + [1]


def test_integers_and_floats_pool_alike() -> None:
    """Integers are pooled by NumPy, floats by the engine."""
    x = np.random.default_rng(8).integers(-50, 50, (2, 9, 8, 3))
    results = []
    for dtype in (np.int32, np.float32):
        y = tf.nn.max_pool(tf.constant(x.astype(dtype)), [1, 3, 2, 1], [1, 2, 1, 1], "SAME")
        with tf.Session() as session:
            results.append(session.run(y))
    np.testing.assert_array_equal(results[0], results[1])
