"""`IndexedSlices`: gradients of gather, what becomes of them, and the steps of optimizers by them.

The numbers of steps are those of TensorFlow 1.8.0 for the same programs.
"""

from __future__ import annotations

import numpy as np
import pytest

import conv3d as tf
from conv3d.framework.indexed_slices import IndexedSlicesValue


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


def run(fetches):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches)


def rows(name="v", shape=(4, 2), value=1.0, **kwargs):
    return tf.get_variable(name, shape, initializer=tf.constant_initializer(value), **kwargs)


def test_gradient_of_gather_by_a_variable():
    v = rows(shape=(3, 2))
    g = tf.gradients(tf.gather(v, [0, 2, 0]), v)[0]
    assert isinstance(g, tf.IndexedSlices)
    assert g.values.name == g.name == "gradients/GatherV2_grad/Reshape:0"
    assert g.indices.name == "gradients/GatherV2_grad/Reshape_1:0"
    assert g.dtype == tf.float32 and g.op is g.values.op and g.graph is v.graph
    assert "IndexedSlices" in repr(g)
    fetched = run(g)
    assert isinstance(fetched, IndexedSlicesValue)
    np.testing.assert_array_equal(fetched.values, np.ones((3, 2)))
    np.testing.assert_array_equal(fetched.indices, [0, 2, 0])
    np.testing.assert_array_equal(fetched.dense_shape, [3, 2])
    np.testing.assert_array_equal(run(tf.convert_to_tensor(g)), [[2, 2], [0, 0], [1, 1]])


def test_indices_of_any_rank_and_unknown_shapes():
    v = rows(shape=(4, 2, 3))
    ids = tf.placeholder(tf.int32, None)
    g = tf.gradients(tf.gather(v, ids) * 2.0, v)[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        got = session.run(tf.convert_to_tensor(g), {ids: [[0, 1], [1, 3]]})
    np.testing.assert_array_equal(got[:, 0, 0], [2, 4, 0, 2])


def test_another_axis_and_a_computed_tensor_have_dense_gradients():
    v = rows(shape=(3, 2))
    assert isinstance(tf.gradients(tf.gather(v, [1], axis=1), v)[0], tf.Tensor)
    by_product = tf.gradients(tf.gather(v * 2.0, [1, 1]), v)[0]
    assert isinstance(by_product, tf.Tensor)
    np.testing.assert_array_equal(run(by_product), [[0, 0], [4, 4], [0, 0]])


def test_sums_of_gradients():
    v = rows()
    both = tf.gradients([tf.gather(v, [1, 2]), tf.gather(v, [2])], v)[0]
    assert isinstance(both, tf.IndexedSlices)
    mixed = tf.gradients([tf.reduce_sum(tf.gather(v, [1, 2])), tf.reduce_sum(v)], v)[0]
    got = run([tf.convert_to_tensor(both), tf.convert_to_tensor(mixed)])
    np.testing.assert_array_equal(got[0][:, 0], [0, 1, 2, 0])
    np.testing.assert_array_equal(got[1][:, 0], [1, 2, 2, 1])


def test_the_class():
    values, places = tf.ones([2, 3]), tf.constant([1, 3])
    open_ended = tf.IndexedSlices(values, places)
    assert open_ended.dense_shape is None and run(open_ended).dense_shape is None
    with pytest.raises(ValueError, match="dense_shape"):
        tf.convert_to_tensor(open_ended)
    whole = tf.IndexedSlices(values, places, tf.constant([5, 3]))
    np.testing.assert_array_equal(run(tf.identity(-whole))[:, 0], [0, -1, 0, -1, 0])
    with pytest.raises(ValueError, match="int32"):
        tf.convert_to_tensor(whole, dtype=tf.int32)
    assert tf.convert_to_tensor_or_indexed_slices(whole) is whole
    assert isinstance(tf.convert_to_tensor_or_indexed_slices([1.0]), tf.Tensor)
    with pytest.raises(ValueError, match="int32"):
        tf.convert_to_tensor_or_indexed_slices(whole, dtype=tf.int32)


def test_clipping():
    v = rows()
    g = tf.gradients(tf.reduce_sum(tf.gather(v, [1, 2]) * 3.0), v)
    clipped, norm = tf.clip_by_global_norm([*g, None], 1.0)
    assert isinstance(clipped[0], tf.IndexedSlices) and clipped[1] is None
    got = run([clipped[0].values, norm, tf.clip_by_norm(g[0], 1.0)])
    np.testing.assert_allclose(got[0], np.full((2, 2), 0.5))
    np.testing.assert_allclose(got[1], 6.0)
    np.testing.assert_allclose(got[2][:, 0], [0, 0.5, 0.5, 0])


def test_tuple_keeps_the_form():
    v = rows()
    g = tf.gradients(tf.gather(v, [1]), v)[0]
    kept = tf.tuple([g, tf.constant(1.0)])
    assert isinstance(kept[0], tf.IndexedSlices)
    np.testing.assert_array_equal(run(kept)[0].indices, [1])


OPTIMIZERS = {
    "descent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "adam": lambda: tf.train.AdamOptimizer(0.1),
    "momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "rmsprop": lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5),
    "centered": lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5, centered=True),
    "adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "adadelta": lambda: tf.train.AdadeltaOptimizer(10.0),
    "ftrl": lambda: tf.train.FtrlOptimizer(0.1),
    "proximal": lambda: tf.train.ProximalGradientDescentOptimizer(0.1, 0.01, 0.01),
    "proximal_adagrad": lambda: tf.train.ProximalAdagradOptimizer(0.1, 0.1, 0.01, 0.01),
}
# The second column after a step by rows 0, 2, 0 and one by rows 2, 1.
STEPPED = {
    "adadelta": [-0.7455279, -0.2455279, 0.2410388, 0.75],
    "adagrad": [-0.650551, -0.1654846, 0.1166614, 0.75],
    "adam": [-0.5829944, -0.1755866, 0.0542514, 0.75],
    "centered": [-0.5205843, -0.1979421, 0.1287448, 0.75],
    "descent": [-0.45, -0.2, 0.16, 0.75],
    "ftrl": [-0.5719296, -0.031854, 0.0211473, 0.75],
    "momentum": [-0.45, -0.2, 0.115, 0.75],
    "nesterov": [-0.18, -0.155, 0.0556, 0.75],
    "proximal": [-0.4485514, -0.1988012, 0.1578831, 0.75],
    "proximal_adagrad": [-0.650004, -0.1635179, 0.1134913, 0.75],
    "rmsprop": [-0.5263932, -0.1980125, 0.1290178, 0.75],
}


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_steps_by_rows(name):
    v = tf.get_variable(
        "v", initializer=tf.constant(np.arange(8, dtype="f4").reshape(4, 2) / 4 - 1)
    )
    ids = tf.placeholder(tf.int32, [None])
    step = OPTIMIZERS[name]().minimize(tf.reduce_sum(tf.gather(v, ids) ** 2))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step, {ids: [0, 2, 0]})
        session.run(step, {ids: [2, 1]})
        got = session.run(v)
    np.testing.assert_allclose(got[:, 1], STEPPED[name], rtol=1e-5, atol=1e-6)


def test_an_index_out_of_range_changes_nothing():
    v = rows()
    slot_free = tf.train.AdagradOptimizer(0.1)
    bad = tf.IndexedSlices(tf.ones([1, 2]), tf.constant([9]), tf.constant([4, 2]))
    step = slot_free.apply_gradients([(bad, v)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        with pytest.raises(tf.errors.InvalidArgumentError, match="9"):
            session.run(step)
        np.testing.assert_array_equal(session.run(v), np.ones((4, 2)))


def test_a_constraint_refuses_a_sparse_gradient():
    v = rows(constraint=lambda t: t)
    loss = tf.reduce_sum(tf.gather(v, [0, 2]))
    for name in ("descent", "adam", "momentum"):
        with pytest.raises(RuntimeError, match="constraint"):
            OPTIMIZERS[name]().minimize(loss)


def test_an_optimizer_that_knows_no_rows():
    class Plain(tf.train.Optimizer):
        def __init__(self):
            super().__init__(False, "Plain")

        def _apply_dense(self, grad, var):
            return tf.assign_sub(var, grad).op

    v = rows()
    with pytest.raises(NotImplementedError, match="Plain"):
        Plain().minimize(tf.reduce_sum(tf.gather(v, [0])))


def test_a_rule_of_ones_own_sees_each_row_once():
    seen = []

    class Own(tf.train.Optimizer):
        def __init__(self):
            super().__init__(False, "Own")

        def _apply_sparse(self, grad, var):
            seen.append(grad)
            return tf.no_op()

    v = rows()
    Own().minimize(tf.reduce_sum(tf.gather(v, [2, 0, 2])))
    got = run(seen[0])
    np.testing.assert_array_equal(got.indices, [2, 0])
    np.testing.assert_array_equal(got.values[:, 0], [2, 1])
