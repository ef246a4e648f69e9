"""What the engine does between convolutions, against NumPy in double."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d import engine

SHAPES = [(2, 5, 6, 7, 3), (1000, 8), (4, 17), (3, 40, 40, 40, 1), (1, 1), (50, 100)]


def _random(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(3, 2, shape).astype(dtype)


def _others(x, data_format):
    return tuple(
        i for i in range(x.ndim) if i != (x.ndim - 1 if data_format == "channels_last" else 1)
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_channels(shape, dtype, data_format):
    x, y = _random(shape, dtype), _random(shape, dtype, 1)
    axes = _others(x, data_format)
    channels = x.shape[-1 if data_format == "channels_last" else 1]
    center, scale, shift = (_random(channels, dtype, i) for i in (2, 3, 4))
    tolerance = 1e-5 if dtype == np.float32 else 1e-13

    def spread(v):
        size = [1] * x.ndim
        size[-1 if data_format == "channels_last" else 1] = channels
        return v.reshape(size).astype(np.float64)

    wide = x.astype(np.float64)
    mean, variance = engine.channel_moments(x, data_format)
    np.testing.assert_allclose(mean, wide.mean(axes), rtol=tolerance)
    np.testing.assert_allclose(variance, wide.var(axes), rtol=tolerance, atol=1e-30)
    total, product = engine.channel_sums(x, y, center, data_format)
    scale_of_sum = np.abs(wide).sum(axes)
    assert (np.abs(total - wide.sum(axes)) <= tolerance * scale_of_sum).all()
    terms = wide * (y.astype(np.float64) - spread(center))
    assert (np.abs(product - terms.sum(axes)) <= tolerance * np.abs(terms).sum(axes)).all()
    np.testing.assert_array_equal(engine.channel_sums(x, data_format=data_format), total)
    got = engine.channel_affine(x, scale, shift, True, y, center, data_format)
    wanted = np.maximum(wide * spread(scale) + y * spread(center) + spread(shift), 0)
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=100 * tolerance)
    out = x.copy()
    assert engine.channel_affine(out, scale, data_format=data_format, out=out) is out
    np.testing.assert_array_equal(out, (x * spread(scale).astype(dtype)))


def test_a_large_mean_costs_the_variance_nothing():
    x = np.random.default_rng(3).normal(1000, 1, (60000, 5)).astype(np.float32)
    _, variance = engine.channel_moments(x)
    np.testing.assert_allclose(variance, x.astype(np.float64).var(0), rtol=1e-6)


def test_same_bits_for_any_number_of_threads():
    x, y = _random((3, 33, 35, 37, 6), np.float32), _random((3, 33, 35, 37, 6), np.float32, 1)
    center = _random(6, np.float32)
    results = []
    for threads in (1, 2, 3):
        with engine.num_threads(threads):
            results.append(
                [*engine.channel_moments(x), *engine.channel_sums(x, y, center), engine.softmax(x)]
            )
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows(dtype):
    x = (10 * _random((7, 11, 3), dtype)).astype(dtype)
    labels = np.random.default_rng(5).integers(0, 3, (7, 11)).astype(np.int32)
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)
    tolerance = 2e-6 if dtype == np.float32 else 1e-14
    y = engine.softmax(x)
    # x - max is rounded: an error of eps |x - max| / 2 in the exponent.
    np.testing.assert_allclose(y, p, rtol=10 * tolerance, atol=1e-37)
    loss, grad = engine.sparse_softmax_cross_entropy(x, labels)
    one_hot = np.eye(3)[labels]
    wanted = np.log(e.sum(-1)) + x.max(-1) - (x.astype(np.float64) * one_hot).sum(-1)
    np.testing.assert_allclose(loss, wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(grad, p - one_hot, atol=tolerance)
    g = _random(x.shape, dtype, 6)
    inner = (g.astype(np.float64) * y).sum(-1, keepdims=True)
    np.testing.assert_allclose(engine.softmax_grad(y, g), (g - inner) * y, atol=10 * tolerance)


def test_a_masked_class_has_no_probability():
    y = engine.softmax(np.array([[0.0, -np.inf, 0.0], [np.nan, 1.0, 2.0]], np.float32))
    np.testing.assert_array_equal(y[0], [0.5, 0.0, 0.5])
    assert np.isnan(y[1]).all()


def test_refusals():
    x = np.ones((4, 3), np.float32)
    for bad in (np.ones((4, 3), np.float16), np.ones((4, 3), np.int32)):
        for call in (engine.channel_moments, engine.channel_sums, engine.softmax):
            with pytest.raises(TypeError, match="float32 and float64 are accepted"):
                call(bad)
    with pytest.raises(ValueError, match="center has shape"):
        engine.channel_sums(x, x, np.ones(4, np.float32))
    with pytest.raises(ValueError, match="other has shape"):
        engine.channel_sums(x, np.ones((3, 4), np.float32))
    with pytest.raises(ValueError, match="other is given without"):
        engine.channel_affine(x, other=x)
    with pytest.raises(ValueError, match=r"labels\[2\] is 3; 0 to 2"):
        engine.sparse_softmax_cross_entropy(x, np.array([0, 1, 3, 0]))
    with pytest.raises(ValueError, match="labels has shape"):
        engine.sparse_softmax_cross_entropy(x, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="activation is 'selu'"):
        engine.activation_grad("selu", x, x)
    with pytest.raises(ValueError, match="rule is 'sgd'"):
        engine.optimizer_step("sgd", [1.0], x, x)
    with pytest.raises(ValueError, match="adam takes 2"):
        engine.optimizer_step("adam", [1.0], x, x, [x])
    with pytest.raises(ValueError, match="arrays is empty"):
        engine.add_n([])
    with pytest.raises(ValueError, match="a tensor with channels"):
        engine.channel_moments(np.float32(1))


def test_steps_leave_what_they_were_given():
    arrays = [_random((9, 5), np.float32, i) ** 2 for i in range(4)]
    for array in arrays:
        array.setflags(write=False)
    g, var, m, v = arrays
    new = engine.optimizer_step("adam", [0.1, 0.9, 1e-3, 0.99], g, var, [m, v])
    one = np.float32(1)
    m_new = (g - m) * (one - np.float32(0.9)) + m
    v_new = (g * g - v) * (one - np.float32(0.99)) + v
    step = m_new * np.float32(0.1) / (np.sqrt(v_new) + np.float32(1e-3))
    for got, wanted in zip(new, (var - step, m_new, v_new), strict=True):
        np.testing.assert_array_equal(got, wanted)
    np.testing.assert_array_equal(engine.add_n([g, m, v]), g + m + v)


@pytest.mark.parametrize(
    ("shapes", "axis"),
    [
        ([(3, 5, 8), (3, 5, 8)], -1),
        ([(3, 5, 7), (3, 2, 7)], 1),
        ([(2000, 3), (2000, 1), (2000, 9)], -1),
        ([(4, 70000), (4, 3)], 1),
        ([(0, 3), (5, 3)], 0),
        ([(2, 8, 20, 30, 4), (2, 3, 20, 30, 4)], -4),
        ([(7,)], 0),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.complex128])
def test_concat_and_split(shapes, axis, dtype):
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 100, s).astype(dtype) for s in shapes]
    arrays[0] = np.asfortranarray(arrays[0])
    joined = engine.concat(arrays, axis)
    np.testing.assert_array_equal(joined, np.concatenate(arrays, axis))
    parts = engine.split(joined, [s[axis] for s in shapes], axis)
    for part, array in zip(parts, arrays, strict=True):
        np.testing.assert_array_equal(part, array)
        assert part.flags.c_contiguous


def test_concat_and_split_refuse_what_does_not_fit():
    a, b = np.ones((2, 3), np.float32), np.ones((3, 3), np.float32)
    with pytest.raises(ValueError, match="arrays is empty"):
        engine.concat([])
    with pytest.raises(ValueError, match=r"arrays\[1\] has shape \(3, 3\)"):
        engine.concat([a, b], 1)
    with pytest.raises(ValueError, match="dtype float64"):
        engine.concat([a, np.ones((2, 3))])
    with pytest.raises(ValueError, match="axis is 2"):
        engine.concat([a, a], 2)
    with pytest.raises(ValueError, match="sizes are"):
        engine.split(a, [1, 1], 1)
    with pytest.raises(ValueError, match="axis is"):
        engine.split(np.float32(1), [1], 0)
    with pytest.raises(ValueError, match="an array of numbers"):
        engine.split(np.array(["a"], object), [1], 0)


def test_memory_of_large_results_returns_to_the_cache():
    engine.clear_cache()
    x = np.ones((1, 32, 32, 32, 8), np.float32)
    y = engine.concat([x, x])
    address = y.ctypes.data
    assert address % 64 == 0
    kept = y[0, 0]
    del y
    assert engine.stats()["workspace_bytes"] == 0, "a view still shows it"
    del kept
    assert engine.stats()["workspace_bytes"] >= 2 * x.nbytes
    assert engine.concat([x, x]).ctypes.data == address
    engine.clear_cache()
    assert engine.stats()["workspace_bytes"] == 0


def test_empty_is_as_numpys():
    for shape in ((), (0, 3), (5, 7), (300, 1000)):
        for dtype in (np.float32, "int64", np.dtype(bool), object):
            array = engine.empty(shape, dtype)
            assert array.shape == shape and array.dtype == np.dtype(dtype)
            assert array.flags.c_contiguous and array.flags.writeable
    first, second = engine.empty((300, 1000), np.float32), engine.empty((300, 1000), np.float32)
    first[...], second[...] = 1, 2
    assert (first == 1).all() and (second == 2).all()
    with pytest.raises(ValueError, match="negative"):
        engine.empty((-1, 3), np.float32)
