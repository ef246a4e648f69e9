"""Initializers: values, statistics, configurations, seeds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d import initializers


def value(initializer: Any, shape: Any, dtype: Any = None, info: Any = None) -> np.ndarray:
    with tf.Graph().as_default() as graph:
        graph.seed = 11
        tensor = initializer(shape, dtype=dtype, partition_info=info)
        with tf.Session() as session:
            return session.run(tensor)


def test_zeros_and_ones() -> None:
    np.testing.assert_array_equal(value(initializers.Zeros(), [2, 3]), np.zeros((2, 3), "f"))
    ones = value(initializers.Ones(dtype=tf.int32), [2])
    assert ones.dtype == np.int32 and ones.tolist() == [1, 1]
    assert value(initializers.Zeros(), [2], tf.bool).tolist() == [False, False]


def test_constant_repeats_the_last_element() -> None:
    got = value(initializers.Constant([1.0, 2.0, 3.0]), [2, 3])
    assert got.tolist() == [[1.0, 2.0, 3.0], [3.0, 3.0, 3.0]]


def test_constant_takes_arrays_in_c_order() -> None:
    array = np.arange(6.0).reshape(2, 3)
    got = value(initializers.Constant(array.T), [2, 3])
    np.testing.assert_array_equal(got, array.T.reshape(2, 3))


def test_constant_refuses_too_many_elements_and_other_types() -> None:
    with pytest.raises(ValueError):
        value(initializers.Constant([1.0, 2.0, 3.0]), [2])
    with pytest.raises(TypeError):
        initializers.Constant({"a": 1})
    with pytest.raises(TypeError):
        value(initializers.Constant([1.0, 2.0], verify_shape=True), [3])


def test_uniform_and_normal() -> None:
    uniform = value(initializers.RandomUniform(-3.0, 5.0), [20000])
    assert uniform.min() >= -3 and uniform.max() < 5
    assert abs(uniform.mean() - 1) < 0.1 and abs(uniform.std() - 8 / math.sqrt(12)) < 0.05
    normal = value(initializers.RandomNormal(1.0, 2.0), [20000])
    assert abs(normal.mean() - 1) < 0.1 and abs(normal.std() - 2) < 0.05


def test_truncated_normal_is_cut_at_two_deviations() -> None:
    got = value(initializers.TruncatedNormal(0.5, 0.1), [20000])
    assert np.abs(got - 0.5).max() <= 0.2
    # 0.1 is the deviation before the cut: what is left has 0.8796 of it.
    assert abs(got.std() - 0.08796) < 0.002


SHAPE = [3, 3, 3, 16, 32]
FAN_IN, FAN_OUT = 27 * 16, 27 * 32


@pytest.mark.parametrize("distribution", ["normal", "uniform", "untruncated_normal"])
@pytest.mark.parametrize(
    ("mode", "n"),
    [("fan_in", FAN_IN), ("fan_out", FAN_OUT), ("fan_avg", (FAN_IN + FAN_OUT) / 2)],
)
def test_variance_scaling_has_the_variance_asked_for(
    distribution: str, mode: str, n: float
) -> None:
    got = value(initializers.VarianceScaling(2.0, mode, distribution), SHAPE)
    assert abs(got.std() / math.sqrt(2.0 / n) - 1) < 0.02


@pytest.mark.parametrize(
    ("initializer", "variance"),
    [
        (initializers.glorot_uniform_initializer(), 2 / (FAN_IN + FAN_OUT)),
        (initializers.glorot_normal_initializer(), 2 / (FAN_IN + FAN_OUT)),
        (initializers.he_normal(), 2 / FAN_IN),
        (initializers.he_uniform(), 2 / FAN_IN),
        (initializers.lecun_normal(), 1 / FAN_IN),
        (initializers.lecun_uniform(), 1 / FAN_IN),
    ],
)
def test_named_scalings(initializer: Any, variance: float) -> None:
    assert abs(value(initializer, SHAPE).std() / math.sqrt(variance) - 1) < 0.02


def test_glorot_uniform_limit() -> None:
    got = value(initializers.glorot_uniform_initializer(), SHAPE)
    limit = math.sqrt(6 / (FAN_IN + FAN_OUT))
    assert 0.99 * limit < np.abs(got).max() <= limit


@pytest.mark.parametrize(
    ("shape", "fans"),
    [
        ([], (1, 1)),
        ([7], (7, 7)),
        ([3, 5], (3, 5)),
        ([2, 3, 5], (6, 10)),
        ([3, 3, 3, 2, 4], (54, 108)),
        ([3, 3, 3, 0, 4], (0, 108)),
    ],
)
def test_fans(shape: list[int], fans: tuple[int, int]) -> None:
    assert initializers.compute_fans(shape) == fans


def test_empty_weights() -> None:
    for initializer in (
        initializers.GlorotUniform(),
        initializers.VarianceScaling(mode="fan_in"),
        initializers.UniformUnitScaling(),
        initializers.Orthogonal(),
    ):
        assert value(initializer, [2, 0, 4]).shape == (2, 0, 4)


def test_uniform_unit_scaling() -> None:
    got = value(initializers.UniformUnitScaling(1.43), [100, 200])
    limit = math.sqrt(3 / 100) * 1.43
    assert 0.99 * limit < np.abs(got).max() <= limit


def test_partition_info_gives_the_fans_of_the_whole() -> None:
    class Info:
        full_shape = (4, 1000)
        var_offset = (0, 500)

    whole = math.sqrt(6 / 1004)
    got = value(initializers.GlorotUniform(), [4, 500], info=Info())
    assert 0.98 * whole < np.abs(got).max() <= whole
    eye = value(
        initializers.Identity(),
        [4, 3],
        info=type("I", (), {"full_shape": [4, 6], "var_offset": [0, 3]})(),
    )
    np.testing.assert_array_equal(eye, np.eye(4, 6)[:, 3:])


def test_identity() -> None:
    got = value(initializers.Identity(gain=0.9), [3, 5])
    np.testing.assert_array_equal(got, (np.eye(3, 5) * 0.9).astype("f"))
    with pytest.raises(ValueError):
        initializers.Identity()([3, 3, 3])
    with pytest.raises(ValueError):
        initializers.Identity(dtype=tf.int32)


@pytest.mark.parametrize("shape", [[10, 10], [6, 14], [14, 6], [3, 4, 2, 5], [2, 2, 2, 3, 30]])
def test_orthogonal(shape: list[int]) -> None:
    got = value(initializers.Orthogonal(gain=3.0), shape).reshape(-1, shape[-1]) / 3.0
    product = got @ got.T if got.shape[0] < got.shape[1] else got.T @ got
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-5)


def test_orthogonal_needs_two_dimensions() -> None:
    with pytest.raises(ValueError):
        initializers.Orthogonal()([5])
    with pytest.raises(ValueError):
        initializers.Orthogonal(dtype=tf.int32)


def test_delta_orthogonal_keeps_the_norm() -> None:
    kernel = value(initializers.ConvolutionDeltaOrthogonal(gain=2.0), [3, 5, 3, 4, 6])
    assert np.count_nonzero(np.abs(kernel).sum(axis=(3, 4))) == 1
    centre = kernel[1, 2, 1]
    np.testing.assert_allclose(centre @ centre.T, 4 * np.eye(4), atol=1e-5)


def _circular(signal: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Circular convolution over the leading axes."""
    rank = kernel.ndim - 2
    out = np.zeros((*signal.shape[:-1], kernel.shape[-1]))
    for tap in np.ndindex(*kernel.shape[:rank]):
        rolled = np.roll(signal, tap, axis=tuple(range(rank)))
        out += rolled @ kernel[tap].astype(np.float64)
    return out


@pytest.mark.parametrize(
    ("cls", "rank"),
    [
        (initializers.ConvolutionOrthogonal1D, 1),
        (initializers.ConvolutionOrthogonal2D, 2),
        (initializers.ConvolutionOrthogonal3D, 3),
    ],
)
@pytest.mark.parametrize("side", [1, 2, 3])
def test_orthogonal_convolution_keeps_the_norm(cls: Any, rank: int, side: int) -> None:
    kernel = value(cls(), [side] * rank + [3, 5])
    signal = np.random.default_rng(0).standard_normal([6] * rank + [3])
    ratio = np.linalg.norm(_circular(signal, kernel)) / np.linalg.norm(signal)
    assert abs(ratio - 1) < 1e-5


def test_orthogonal_convolution_refuses_what_cannot_be() -> None:
    for shape in ([3, 3, 3, 5, 4], [3, 2, 3, 2, 4], [3, 3, 2, 4]):
        with pytest.raises(ValueError):
            initializers.ConvolutionOrthogonal3D()(shape)
    with pytest.raises(ValueError):
        initializers.ConvolutionDeltaOrthogonal()([2, 4])


RANDOM = [
    initializers.RandomUniform,
    initializers.RandomNormal,
    initializers.TruncatedNormal,
    initializers.VarianceScaling,
    initializers.GlorotNormal,
    initializers.UniformUnitScaling,
    initializers.Orthogonal,
]


@pytest.mark.parametrize("cls", RANDOM)
def test_one_seed_gives_one_stream(cls: Any) -> None:
    first, again, other = (value(cls(seed=s), [8, 9]) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("cls", RANDOM)
def test_two_unseeded_ones_differ(cls: Any) -> None:
    with tf.Graph().as_default():
        a, b = cls()([8, 9]), cls()([8, 9])
        with tf.Session() as session:
            va, vb = session.run([a, b])
    assert not np.array_equal(va, vb)


@pytest.mark.parametrize(
    "initializer",
    [
        initializers.Zeros(tf.int32),
        initializers.Ones(),
        initializers.Constant(np.array([[1.0], [2.0]])),
        initializers.RandomUniform(-1.0, 2.0, seed=3),
        initializers.RandomNormal(1.0, 2.0, 5, tf.float64),
        initializers.TruncatedNormal(1.0, 2.0, 5),
        initializers.VarianceScaling(2.0, "fan_out", "uniform", 4),
        initializers.GlorotUniform(7),
        initializers.GlorotNormal(7),
        initializers.he_normal(2),
        initializers.Identity(2.0),
        initializers.Orthogonal(2.0, 3),
        initializers.UniformUnitScaling(2.0, 3),
        initializers.ConvolutionOrthogonal2D(2.0, 3),
    ],
    ids=lambda i: type(i).__name__,
)
def test_configurations_come_back(initializer: Any) -> None:
    again = type(initializer).from_config(initializer.get_config())
    assert again.get_config() == initializer.get_config()
    served = initializers.get(initializers.serialize(initializer))
    assert type(served) is type(initializer) and served.get_config() == again.get_config()


def test_names() -> None:
    assert initializers.zeros_initializer is initializers.zeros is initializers.Zeros
    assert isinstance(initializers.get("he_uniform"), initializers.VarianceScaling)
    assert isinstance(initializers.get("glorot_uniform"), initializers.GlorotUniform)
    assert isinstance(initializers.get("Ones"), initializers.Ones)
    assert initializers.get(None) is None
    with pytest.raises(ValueError):
        initializers.get("glorott")
    with pytest.raises(ValueError):
        initializers.get(3)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scale": 0.0},
        {"scale": -1.0},
        {"mode": "fan"},
        {"distribution": "gauss"},
        {"distribution": None},
        {"dtype": tf.int32},
    ],
)
def test_variance_scaling_refuses(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        initializers.VarianceScaling(**arguments)


def test_random_initializers_refuse_integers() -> None:
    for cls in (initializers.RandomNormal, initializers.TruncatedNormal, initializers.Orthogonal):
        with pytest.raises(ValueError):
            cls(dtype=tf.int64)


def test_eager(eager: None) -> None:
    assert initializers.Constant(2.0)([2]).numpy().tolist() == [2.0, 2.0]
    q = initializers.Orthogonal(seed=1)([4, 4]).numpy()
    np.testing.assert_allclose(q @ q.T, np.eye(4), atol=1e-6)
