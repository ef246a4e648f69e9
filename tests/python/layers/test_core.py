"""Dense, Dropout and Flatten: arguments, shapes, both modes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        return s.run(fetches, feed)


@pytest.mark.parametrize("rank", [2, 3, 5])
def test_dense_along_the_last_axis(rank) -> None:
    x = np.random.RandomState(0).standard_normal(
        (2, 3, 2, 2, 4)[:rank] if rank == 5 else (3,) * rank
    )
    layer = tf.layers.Dense(5, bias_initializer=tf.constant_initializer(0.5), activation="relu")
    y = layer(tf.constant(x))
    assert y.shape.as_list() == [*x.shape[:-1], 5]
    assert layer.dtype == "float64"
    value, kernel = _run([y, layer.kernel])  # two runs would draw two kernels
    np.testing.assert_allclose(value, np.maximum(x @ kernel + 0.5, 0), rtol=1e-10)
    assert layer.count_params() == x.shape[-1] * 5 + 5
    assert layer.compute_output_shape(x.shape).as_list() == y.shape.as_list()


def test_dense_with_unknown_sizes() -> None:
    x = tf.placeholder(tf.float32, [None, None, 4])
    y = tf.layers.dense(x, 3)
    assert y.shape.as_list() == [None, None, 3]
    assert _run(y, {x: np.ones((2, 5, 4), "f")}).shape == (2, 5, 3)


def test_dense_gradients() -> None:
    x = tf.constant(np.ones((2, 3, 2, 2, 4), "f"))
    layer = tf.layers.Dense(5)
    g = tf.gradients(layer(x), [x, layer.kernel, layer.bias])
    assert [t.shape.as_list() for t in _run(g[:0]) or g] == [[2, 3, 2, 2, 4], [4, 5], [5]]
    assert _run(g[2]).tolist() == [24.0] * 5


def test_dense_reuse_and_losses() -> None:
    x = tf.constant(np.ones((2, 4), "f"))
    for _ in range(2):
        tf.layers.dense(
            x, 3, name="d", reuse=tf.AUTO_REUSE, kernel_regularizer=lambda v: tf.reduce_sum(v * 0)
        )
    assert [v.name for v in tf.trainable_variables()] == ["d/kernel:0", "d/bias:0"]
    assert len(tf.losses.get_regularization_losses()) == 1
    tf.layers.dense(x, 3, use_bias=False, name="e")
    assert [v.name for v in tf.trainable_variables()][2:] == ["e/kernel:0"]


def test_dense_units_by_dimension() -> None:
    x = tf.placeholder(tf.float32, [None, 8])
    assert tf.layers.dense(x, x.shape[-1] // 2).shape.as_list() == [None, 4]


def test_dense_refuses() -> None:
    for units in (0, -1, 2.5, "3", None, (2, 3)):
        with pytest.raises(ValueError, match="units"):
            tf.layers.Dense(units)
    with pytest.raises(ValueError, match="known"):
        tf.layers.dense(tf.placeholder(tf.float32, [2, None]), 3)
    with pytest.raises(ValueError, match="rank"):
        tf.layers.dense(tf.zeros([3]), 3)
    layer = tf.layers.Dense(3)
    layer(tf.zeros([2, 4]))
    with pytest.raises(ValueError, match="axis"):
        layer(tf.zeros([2, 5]))


def test_dropout() -> None:
    x = tf.ones([50, 40])
    assert _run(tf.layers.dropout(x, 0.5)).min() == 1.0
    y = _run(tf.layers.dropout(x, rate=0.25, training=True, seed=1))
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)}
    assert 0.2 < (y == 0).mean() < 0.3
    z = _run(tf.layers.Dropout(0.5, noise_shape=(None, 1), seed=1)(x, training=True))
    assert (z == z[:, :1]).all() and 0 < (z == 0).mean() < 1
    w = _run(tf.layers.Dropout(0.5, noise_shape=[1, 40], seed=1)(x, training=True))
    assert (w == w[:1]).all() and 0 < (w == 0).mean() < 1


def test_dropout_by_a_tensor() -> None:
    training = tf.placeholder_with_default(False, [])
    y = tf.layers.dropout(tf.ones([100]), 0.5, training=training)
    assert y.shape.as_list() == [100]
    assert _run(y).min() == 1.0
    assert _run(y, {training: True}).min() == 0.0


def test_dropout_with_a_flag_as_its_third_argument() -> None:
    # It lands in noise_shape; programs are written so, and nothing is dropped.
    assert _run(tf.layers.dropout(tf.ones([20]), 0.5, True)).min() == 1.0
    assert _run(tf.layers.dropout(tf.ones([20]), 0.5, False, training=True)).min() == 0.0


def test_flatten() -> None:
    x = np.arange(24.0).reshape(2, 3, 4)
    y = tf.layers.flatten(tf.constant(x))
    np.testing.assert_array_equal(_run(y), x.reshape(2, 12))
    p = tf.placeholder(tf.float32, [None, 3, 4])
    assert tf.layers.flatten(p).shape.as_list() == [None, 12]
    q = tf.placeholder(tf.float32, [2, None, 4])
    assert tf.layers.flatten(q).shape.as_list() == [2, None]
    with pytest.raises(ValueError, match="rank"):
        tf.layers.flatten(tf.zeros([3]))
    assert tf.layers.Flatten().compute_output_shape([None, 2, 5]).as_list() == [None, 10]


def test_in_eager_mode(eager) -> None:
    layer = tf.layers.Dense(3, kernel_initializer=tf.ones_initializer())
    x = np.ones((2, 2, 4), "f")
    assert layer(x).numpy().tolist() == np.full((2, 2, 3), 4.0).tolist()
    assert tf.layers.flatten(x).numpy().shape == (2, 8)
    assert tf.layers.dropout(x, 0.5).numpy().min() == 1.0
    assert tf.layers.dropout(np.ones(200, "f")[None], 0.5, training=True).numpy().min() == 0.0
