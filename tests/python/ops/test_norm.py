"""`tf.norm` of vectors and matrices against NumPy, and products with a scalar."""

from __future__ import annotations

import numpy as np
import pytest

import conv3d as tf

X = np.arange(-5.0, 7.0, dtype="f4").reshape(3, 4)


def run(fetches):
    with tf.Session() as session:
        return session.run(fetches)


@pytest.mark.parametrize(("order", "axis"), [
    ("euclidean", None), (1, 0), (2, 1), (3, 1), (np.inf, -1), ("euclidean", [0]),
    ("fro", [0, 1]), (1, [0, 1]), (np.inf, [-2, -1]),
])  # fmt: skip
@pytest.mark.parametrize("keep", [False, True])
def test_norm(order, axis, keep):
    got = tf.norm(tf.constant(X), order, axis, keep)
    where = tuple(axis) if isinstance(axis, list) and len(axis) == 2 else axis
    where = axis[0] if isinstance(axis, list) and len(axis) == 1 else where
    plain = None if order == "euclidean" else order
    if axis is None:
        want = np.linalg.norm(X.ravel())
        want = np.full((1, 1), want) if keep else want
    else:
        want = np.linalg.norm(X, plain, where, keepdims=keep)
    assert got.shape == np.shape(want)
    np.testing.assert_allclose(run(got), want, rtol=1e-6)


def test_old_name_and_gradient():
    x = tf.constant(X)
    y = tf.norm(x, axis=1, keep_dims=True)
    assert y.shape == [3, 1]
    gradient = run(tf.gradients(y, x)[0])
    want = X / np.linalg.norm(X, axis=1, keepdims=True)
    np.testing.assert_allclose(gradient, want, rtol=1e-5)


def test_refusals():
    for arguments in (
        {"ord": "most"}, {"ord": "fro"}, {"ord": -1}, {"axis": [0, 1, 2]},
        {"ord": 3, "axis": [0, 1]},
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"ord|axis"):
            tf.norm(tf.constant(X), **arguments)


def test_scalar_mul():
    x = tf.constant([1.0, 2.0])
    slices = tf.scalar_mul(2.0, tf.IndexedSlices(tf.ones([1, 2]), tf.constant([1])))
    assert isinstance(slices, tf.IndexedSlices)
    assert run([tf.scalar_mul(3.0, x), slices.values])[0].tolist() == [3.0, 6.0]
    with pytest.raises(ValueError, match="scalar"):
        tf.scalar_mul([1.0, 2.0], x)
