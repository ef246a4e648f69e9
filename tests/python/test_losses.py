"""Losses: what is refused, collected and differentiated. Values: `ops/test_nn_reference.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d import losses


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        return s.run(fetches, feed)


def test_shapes_that_do_not_fit() -> None:
    x = tf.zeros([2, 3])
    for function in (losses.mean_squared_error, losses.absolute_difference, losses.huber_loss,
                     losses.log_loss, losses.hinge_loss):  # fmt: skip
        with pytest.raises(ValueError):
            function(x, tf.zeros([2, 4]))
        with pytest.raises(ValueError, match="None"):
            function(None, x)
    with pytest.raises(ValueError):
        losses.softmax_cross_entropy(x, tf.zeros([2, 4]))
    with pytest.raises(ValueError, match="axis"):
        losses.cosine_distance(x, x)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (4, 3), (1, 2, 3)])
def test_weights_that_do_not_fit(shape) -> None:
    with pytest.raises(ValueError, match="spread"):
        losses.mean_squared_error(tf.zeros([2, 3]), tf.zeros([2, 3]), weights=np.ones(shape, "f"))


def test_weights_of_unknown_shape() -> None:
    w = tf.placeholder(tf.float32)
    y = losses.compute_weighted_loss(tf.ones([2, 3]), w, reduction=losses.Reduction.SUM)
    assert _run(y, {w: 2.0}) == 12.0
    assert _run(y, {w: [[1.0], [0.0]]}) == 3.0
    with pytest.raises(tf.errors.InvalidArgumentError):
        _run(y, {w: np.ones((5, 3), "f")})
    with pytest.raises(tf.errors.InvalidArgumentError):
        # Wider than the losses: it would make more of them.
        _run(y, {w: np.ones((4, 2, 3), "f")})


def test_reductions() -> None:
    with pytest.raises(ValueError, match="reduction"):
        losses.compute_weighted_loss(tf.ones([2]), reduction="mean")
    assert losses.Reduction.SUM_BY_NONZERO_WEIGHTS in losses.Reduction.all()


def test_collections() -> None:
    a = losses.mean_squared_error(tf.ones([2]), tf.zeros([2]))
    losses.mean_squared_error(tf.ones([2]), tf.zeros([2]), loss_collection=None)
    with tf.name_scope("deep"):
        b = losses.absolute_difference(tf.ones([2]) * 3, tf.zeros([2]))
    assert losses.get_losses() == [a, b]
    assert losses.get_losses("deep") == [b]
    tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, tf.constant(10.0))
    assert _run(losses.get_total_loss()) == 14.0
    assert _run(losses.get_total_loss(add_regularization_losses=False)) == 4.0
    assert _run(losses.get_regularization_loss()) == 10.0


def test_no_losses() -> None:
    with pytest.raises(ValueError, match="no losses"):
        losses.get_total_loss()
    assert _run(losses.get_regularization_loss()) == 0.0


def test_gradients() -> None:
    p = tf.constant([1.0, 2.0, 3.0])
    w = tf.constant([1.0, 0.0, 3.0])
    y = losses.mean_squared_error(tf.zeros([3]), p, w)
    by_p, by_w = _run(tf.gradients(y, [p, w]))
    np.testing.assert_allclose(by_p, [1.0, 0.0, 9.0])
    np.testing.assert_allclose(by_w, [0.5, 2.0, 4.5])
    zero = losses.mean_squared_error(tf.zeros([3]), p, 0.0)
    value, grad = _run([zero, tf.gradients(zero, p)[0]])
    assert value == 0.0 and grad.tolist() == [0.0, 0.0, 0.0]


def test_in_eager_mode(eager) -> None:
    y = losses.mean_squared_error(np.ones(4, "f"), tf.zeros([4]))
    assert y.numpy() == 1.0
    z = losses.sparse_softmax_cross_entropy([0, 1], tf.zeros([2, 4]))
    assert z.numpy() == pytest.approx(np.log(4))
