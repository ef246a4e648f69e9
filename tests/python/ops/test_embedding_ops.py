"""Rows by their numbers, of one table and of several."""

from __future__ import annotations

import numpy as np
import pytest

import conv3d as tf

TABLE = np.arange(10, dtype="f4").reshape(5, 2)


def run(fetches):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(fetches)


def test_one_table():
    v = tf.get_variable("v", initializer=TABLE)
    rows = tf.nn.embedding_lookup(v, [[1, 2], [0, 3]])
    assert rows.name == "embedding_lookup:0" and rows.shape == [2, 2, 2]
    np.testing.assert_array_equal(run(rows), TABLE[[[1, 2], [0, 3]]])
    assert isinstance(tf.gradients(rows, v)[0], tf.IndexedSlices)


def test_several_tables():
    ids = [4, 0, 3, 1]
    dealt = [tf.constant(TABLE[i::3]) for i in range(3)]
    np.testing.assert_array_equal(run(tf.nn.embedding_lookup(dealt, ids)), TABLE[ids])
    blocks = tf.get_variable("b", initializer=TABLE, partitioner=tf.fixed_size_partitioner(2))
    rows = tf.nn.embedding_lookup(blocks, ids, partition_strategy="div")
    np.testing.assert_array_equal(run(rows), TABLE[ids])


def test_norms_are_bounded():
    rows = run(tf.nn.embedding_lookup(tf.constant(TABLE), [0, 4], max_norm=1.0))
    np.testing.assert_allclose(rows, [[0, 1], TABLE[4] / np.linalg.norm(TABLE[4])], rtol=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="params"):
        tf.nn.embedding_lookup([], [0])
    with pytest.raises(ValueError, match="partition_strategy"):
        tf.nn.embedding_lookup(TABLE, [0], partition_strategy="rows")
    with pytest.raises(ValueError, match="known"):
        unknown = tf.placeholder(tf.float32, [None, 2])
        tf.nn.embedding_lookup([unknown, unknown], [0])
    with pytest.raises(tf.errors.InvalidArgumentError, match="7"):
        run(tf.nn.embedding_lookup(tf.constant(TABLE), [7]))
