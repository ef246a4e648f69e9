"""Batch normalization: arguments, variables, updates, both modes.

Values of training, inference, renormalization and virtual batches stand in
`ops/test_nn_reference.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf

_SHAPE = (2, 3, 4, 2, 3)


def _x(shape: Any = _SHAPE, dtype: str = "f4") -> np.ndarray:
    return np.random.RandomState(0).standard_normal(shape).astype(dtype)


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        return s.run(fetches, feed)


def test_training_normalizes_by_the_batch() -> None:
    y = _run(tf.layers.batch_normalization(tf.constant(_x()), training=True))
    np.testing.assert_allclose(y.mean((0, 1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(y.var((0, 1, 2, 3)), 1, rtol=2e-3)


def test_inference_uses_the_averages() -> None:
    layer = tf.layers.BatchNormalization(
        moving_mean_initializer=tf.constant_initializer([1.0, 2.0, 3.0]),
        moving_variance_initializer=tf.constant_initializer([4.0, 1.0, 0.25]),
    )
    y = layer(tf.constant(_x()))
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == []
    want = (_x() - [1, 2, 3]) / np.sqrt(np.array([4, 1, 0.25]) + 1e-3)
    np.testing.assert_allclose(_run(y), want, rtol=1e-5, atol=1e-6)


def test_variables() -> None:
    layer = tf.layers.BatchNormalization(name="b")
    layer(tf.constant(_x()), training=True)
    assert [v.name for v in layer.weights] == [
        "b/gamma:0",
        "b/beta:0",
        "b/moving_mean:0",
        "b/moving_variance:0",
    ]
    assert layer.trainable_weights == [layer.gamma, layer.beta]
    assert [v.shape.as_list() for v in layer.weights] == [[3]] * 4
    assert len(layer.updates) == 2
    assert tf.get_collection(tf.GraphKeys.UPDATE_OPS) == layer.updates
    assert tf.trainable_variables() == [layer.gamma, layer.beta]


def test_reuse_shares_variables_and_updates_twice() -> None:
    for _ in range(2):
        tf.layers.batch_normalization(
            tf.constant(_x()), training=True, name="b", reuse=tf.AUTO_REUSE
        )
    assert len(tf.global_variables()) == 4
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 4


def test_training_by_a_tensor() -> None:
    training = tf.placeholder(tf.bool, [])
    layer = tf.layers.BatchNormalization(momentum=0.9)
    y = layer(tf.constant(_x()), training=training)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        s.run(updates, {training: False})
        assert s.run(layer.moving_mean).tolist() == [0, 0, 0]
        np.testing.assert_allclose(s.run(y, {training: False}), _x() / np.sqrt(1.001), rtol=1e-5)
        s.run(updates, {training: True})
        x = _x()
        np.testing.assert_allclose(
            s.run(layer.moving_mean), 0.1 * x.mean((0, 1, 2, 3)), rtol=1e-4, atol=1e-7
        )
        np.testing.assert_allclose(
            s.run(layer.moving_variance), 0.9 + 0.1 * x.var((0, 1, 2, 3)), rtol=1e-5
        )


def test_updates_that_nobody_runs_change_nothing() -> None:
    layer = tf.layers.BatchNormalization()
    y = layer(tf.constant(_x()), training=True)
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        s.run(y)
        assert s.run(layer.moving_variance).tolist() == [1, 1, 1]


def test_gradients_flow_through_the_moments() -> None:
    x = tf.placeholder(tf.float64, _SHAPE)
    weights = np.random.RandomState(1).standard_normal(_SHAPE)
    loss = tf.reduce_sum(tf.layers.batch_normalization(x, training=True) * weights)
    grad = tf.gradients(loss, x)[0]
    direction = np.random.RandomState(2).standard_normal(_SHAPE)
    value = _x(dtype="f8")
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        got = (s.run(grad, {x: value}) * direction).sum()
        ends = [s.run(loss, {x: value + h * direction}) for h in (1e-5, -1e-5)]
    assert got == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-8)


def test_half_precision_has_float32_variables() -> None:
    layer = tf.layers.BatchNormalization()
    y = layer(tf.constant(_x(dtype="f2")), training=True)
    assert y.dtype == tf.float16
    assert {v.dtype.base_dtype for v in layer.weights} == {tf.float32}
    assert _run(y).dtype == np.float16


@pytest.mark.parametrize("shape", [(2, 4, 3, 3), (6, 3), _SHAPE])
def test_fused_is_accepted_and_agrees(shape) -> None:
    x = tf.constant(_x(shape))
    ys = [tf.layers.batch_normalization(x, training=True, fused=f) for f in (True, False, None)]
    a, b, c = _run(ys)
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(a, c)
    assert ("FusedBatchNorm" in ys[0].name) == (len(shape) == 4)


def test_channels_first() -> None:
    x = _x()
    y = tf.layers.batch_normalization(tf.constant(x), training=True)
    z = tf.layers.batch_normalization(tf.constant(np.moveaxis(x, 4, 1)), axis=1, training=True)
    a, b = _run([y, z])
    np.testing.assert_allclose(a, np.moveaxis(b, 1, 4), rtol=1e-4, atol=1e-5)


def test_regularizers_and_constraints() -> None:
    layer = tf.layers.BatchNormalization(
        gamma_regularizer=lambda v: tf.reduce_sum(v),
        beta_regularizer=lambda v: tf.reduce_sum(v) + 5.0,
        gamma_constraint=lambda v: v,
    )
    layer(tf.constant(_x()))
    assert _run(layer.losses) == [3.0, 5.0]
    assert layer.gamma.constraint is not None and layer.beta.constraint is None


def test_averages_are_not_cut_into_slices() -> None:
    with tf.variable_scope("s", partitioner=tf.fixed_size_partitioner(3)):
        tf.layers.batch_normalization(tf.constant(_x()), training=True, name="b")
    names = [v.name for v in tf.global_variables()]
    assert "s/b/moving_mean:0" in names and "s/b/gamma/part_0:0" in names


def test_refusals() -> None:
    x = tf.constant(_x())
    for arguments in (
        {"fused": True, "renorm": True},
        {"fused": True, "virtual_batch_size": 2},
        {"renorm": True, "renorm_clipping": {"smax": 1.0}},
    ):
        with pytest.raises(ValueError):
            tf.layers.BatchNormalization(**arguments)
    for arguments in ({"axis": 5}, {"axis": [1, 1]}, {"virtual_batch_size": 0}, {"axis": -6}):
        with pytest.raises(ValueError):
            tf.layers.batch_normalization(x, **arguments)
    with pytest.raises(TypeError, match="axis"):
        tf.layers.batch_normalization(x, axis="last")
    with pytest.raises(TypeError, match="training"):
        tf.layers.batch_normalization(x, training="yes")
    with pytest.raises(ValueError, match="known"):
        tf.layers.batch_normalization(tf.placeholder(tf.float32, [2, None]))
    with pytest.raises(ValueError, match="known"):
        tf.layers.batch_normalization(tf.placeholder(tf.float32))


def test_in_eager_mode(eager) -> None:
    layer = tf.layers.BatchNormalization(momentum=0.5)
    x = _x()
    y = layer(tf.constant(x), training=True)
    np.testing.assert_allclose(y.numpy().mean((0, 1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_allclose(
        layer.moving_mean.numpy(), 0.5 * x.mean((0, 1, 2, 3)), rtol=1e-4, atol=1e-7
    )
    before = layer.moving_mean.numpy()
    layer(tf.constant(x), training=False)
    layer.trainable = False
    layer(tf.constant(x), training=True)
    np.testing.assert_array_equal(layer.moving_mean.numpy(), before)
    with tf.GradientTape() as tape:
        layer.trainable = True
        loss = tf.reduce_sum(layer(tf.constant(x), training=True) ** 3)
    grads = tape.gradient(loss, [layer.gamma, layer.beta])
    assert [g.shape.as_list() for g in grads] == [[3], [3]]


def test_fused_with_a_flag_moves_always_by_a_momentum_that_the_flag_decides() -> None:
    x = tf.constant(_x((4, 3, 3, 2)))
    flag = tf.placeholder(tf.bool)
    layer = tf.layers.BatchNormalization(fused=True, momentum=0.5, name="b")
    y = layer(x, training=flag)
    assert y.name == "b/cond/Merge:0"
    assert [u.name for u in layer.updates] == ["b/AssignMovingAvg:0", "b/AssignMovingAvg_1:0"]
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        s.run(layer.updates, {flag: False})
        np.testing.assert_array_equal(s.run(layer.moving_mean), [0, 0])
        s.run(layer.updates, {flag: True})
        want = _x((4, 3, 3, 2)).mean((0, 1, 2)) / 2
        np.testing.assert_allclose(s.run(layer.moving_mean), want, rtol=1e-5, atol=1e-6)
