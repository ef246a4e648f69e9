"""Constraints: projections, names, configurations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d import constraints

W = np.random.default_rng(5).standard_normal((2, 2, 2, 3, 4)).astype("float32")
AXES = [0, 1, 2, 3]


def projected(constraint: Any, w: np.ndarray = W) -> np.ndarray:
    with tf.Session() as session:
        return session.run(constraint(tf.constant(w)))


def norms(w: np.ndarray) -> np.ndarray:
    return np.sqrt((w.astype("float64") ** 2).sum(axis=tuple(AXES)))


def test_max_norm() -> None:
    limit = float(np.median(norms(W)))
    got = norms(projected(constraints.max_norm(limit, axis=AXES)))
    np.testing.assert_allclose(got, np.minimum(norms(W), limit), rtol=1e-5)


def test_unit_norm() -> None:
    np.testing.assert_allclose(norms(projected(constraints.unit_norm(AXES))), 1.0, rtol=1e-5)


def test_min_max_norm() -> None:
    low, high = np.quantile(norms(W), [0.4, 0.6])
    strict = norms(projected(constraints.min_max_norm(low, high, axis=AXES)))
    np.testing.assert_allclose(strict, np.clip(norms(W), low, high), rtol=1e-5)
    half = norms(projected(constraints.min_max_norm(low, high, rate=0.5, axis=AXES)))
    np.testing.assert_allclose(half, (np.clip(norms(W), low, high) + norms(W)) / 2, rtol=1e-5)


def test_non_neg() -> None:
    np.testing.assert_array_equal(projected(constraints.non_neg()), np.maximum(W, 0))


def test_zero_vectors_stay_zero() -> None:
    zero = np.zeros((2, 3), "float32")
    for constraint in (constraints.unit_norm(), constraints.max_norm(1.0)):
        np.testing.assert_array_equal(projected(constraint, zero), zero)


def test_names_and_configurations() -> None:
    assert constraints.max_norm is constraints.MaxNorm
    assert isinstance(constraints.get("non_neg"), constraints.NonNeg)
    again = constraints.get(constraints.serialize(constraints.MinMaxNorm(0.5, 2.0, 0.1, 1)))
    assert again.get_config() == {"min_value": 0.5, "max_value": 2.0, "rate": 0.1, "axis": 1}
    assert constraints.get(None) is None
    for wrong in ("max", 3):
        with pytest.raises(ValueError):
            constraints.get(wrong)


def test_types_are_kept() -> None:
    for constraint in (constraints.max_norm(1.0), constraints.non_neg(), constraints.unit_norm()):
        assert projected(constraint, W.astype("float64")).dtype == np.float64
