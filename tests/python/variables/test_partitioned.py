"""Partitioned variables: slices, names, sharing, reading, training."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d.variables.partitioned import (
    PartitionedVariable,
    PartitionInfo,
    SaveSliceInfo,
    slice_extents,
)


def shapes(values: Any) -> list[list[int]]:
    return [v.get_shape().as_list() for v in values]


def names(values: Any) -> list[str]:
    return [v.name for v in values]


def two(axis: int = 0) -> Any:
    return tf.fixed_size_partitioner(2, axis=axis)


@pytest.mark.parametrize(
    ("size", "pieces", "extents"),
    [
        (7, 3, [(0, 3), (3, 2), (5, 2)]),
        (5, 4, [(0, 2), (2, 1), (3, 1), (4, 1)]),
        (9, 2, [(0, 5), (5, 4)]),
        (3, 3, [(0, 1), (1, 1), (2, 1)]),
    ],
)
def test_extents(size: int, pieces: int, extents: list[tuple[int, int]]) -> None:
    assert slice_extents(size, pieces) == extents


def test_the_whole_and_its_slices() -> None:
    with tf.variable_scope("p", partitioner=two()):
        v = tf.get_variable("v", [5, 3])
        scalar = tf.get_variable("scalar", [])
    assert isinstance(v, PartitionedVariable) and isinstance(scalar, tf.Variable)
    assert (v.name, v.dtype.name, v.get_shape().as_list(), len(v)) == ("p/v", "float32", [5, 3], 2)
    assert names(v) == ["p/v/part_0:0", "p/v/part_1:0"] and shapes(v) == [[3, 3], [2, 3]]
    assert tf.global_variables() == [*v, scalar] and tf.trainable_variables() == [*v, scalar]
    assert all(isinstance(p._get_save_slice_info(), tf.Variable.SaveSliceInfo) for p in v)
    assert [p._get_save_slice_info().spec for p in v] == ["5 3 0,3:0,3", "5 3 3,2:0,3"]
    assert names([tf.convert_to_tensor(v), v.as_tensor()]) == ["p/v:0", "p/v_1:0"]
    assert tf.convert_to_tensor(v).op.inputs[0].name == "p/v/ConcatPartitions/concat_2:0"
    with pytest.raises(NotImplementedError):
        v.assign(0.0)
    with pytest.raises(TypeError):
        v + 1.0


def test_one_slice_is_partitioned_too() -> None:
    v = tf.get_variable("v", [3, 2], partitioner=tf.fixed_size_partitioner(1))
    assert isinstance(v, PartitionedVariable) and names(v) == ["v/part_0:0"]
    assert tf.convert_to_tensor(v).name == "v:0"


def test_an_initial_value_is_cut() -> None:
    value = np.arange(6.0).reshape(3, 2)
    v = tf.get_variable("v", initializer=tf.constant(value), partitioner=two())
    eye = tf.get_variable("eye", [4, 4], partitioner=two(1), initializer=tf.initializers.identity())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        whole, parts, unit = session.run([v.as_tensor(), list(v), eye.as_tensor()])
    np.testing.assert_array_equal(whole, value)
    assert [p.shape for p in parts] == [(2, 2), (1, 2)]
    np.testing.assert_array_equal(unit, np.eye(4))


def test_initializers_are_told_where_they_are() -> None:
    seen = []

    def initializer(shape: Any, dtype: Any, partition_info: Any) -> Any:
        seen.append((list(shape), partition_info.full_shape, partition_info.var_offset))
        return tf.zeros(shape, dtype)

    tf.get_variable("v", [5, 3], partitioner=two(), initializer=initializer)
    assert seen == [([3, 3], [5, 3], [0, 0]), ([2, 3], [5, 3], [3, 0])]


def test_sharing() -> None:
    with tf.variable_scope("p", partitioner=two()):
        v = tf.get_variable("v", [5, 3])
        with pytest.raises(ValueError):
            tf.get_variable("v", [5, 3])
    with tf.variable_scope("p", reuse=True, partitioner=two()):
        assert tf.get_variable("v", [5, 3]) is v
        for arguments in ({"shape": [5, 4]}, {"shape": [5, 3], "dtype": tf.float64}):
            with pytest.raises(ValueError):
                tf.get_variable("v", **arguments)
        with pytest.raises(ValueError):
            tf.get_variable("w", [5, 3])
    with tf.variable_scope("p", reuse=True):
        assert tf.get_variable("v") is v
    with tf.variable_scope("p", reuse=True, partitioner=tf.fixed_size_partitioner(3)):
        with pytest.raises(ValueError):
            tf.get_variable("v", [5, 3])
    with tf.variable_scope("p"), pytest.raises(ValueError):
        tf.get_variable("v", [5, 3])
    with tf.variable_scope("p", reuse=tf.AUTO_REUSE, partitioner=two()):
        assert tf.get_variable("v", [5, 3]) is v
    assert len(tf.global_variables()) == 2


@pytest.mark.parametrize("counts", [[2, 2], [2], [0, 1], "ab", 3])
def test_bad_partitioners(counts: Any) -> None:
    with pytest.raises(ValueError):
        tf.get_variable("v", [4, 4], partitioner=lambda shape, dtype: counts)


def test_a_partitioner_has_to_be_callable() -> None:
    with pytest.raises(ValueError):
        tf.get_variable("v", [4, 4], partitioner=3)


def test_training() -> None:
    with tf.variable_scope("p", partitioner=two(1)):
        v = tf.get_variable("v", [2, 4], initializer=tf.ones_initializer())
    loss = tf.reduce_sum(tf.square(v.as_tensor()))
    step = tf.train.GradientDescentOptimizer(0.25).minimize(loss)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        np.testing.assert_allclose(session.run(v.as_tensor()), np.full((2, 4), 0.5))


def test_regularizers_see_each_slice() -> None:
    tf.get_variable("v", [4], partitioner=two(), regularizer=lambda v: tf.reduce_sum(v))
    losses = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert names(losses) == ["v/part_0/Regularizer/Sum:0", "v/part_1/Regularizer/Sum:0"]


def test_partition_info() -> None:
    info = PartitionInfo([10, 4], [5, 0])
    assert info.single_slice_dim([5, 4]) == 0 and info.single_offset([5, 4]) == 5
    assert PartitionInfo([10, 4], [0, 0]).single_slice_dim([10, 4]) is None
    for shape in ([6, 4], [5, 4, 1], [4, 3]):
        with pytest.raises(ValueError):
            info.single_slice_dim(shape)
    for full, offset in (([1, 2], [0]), ([2], [2])):
        with pytest.raises(ValueError):
            PartitionInfo(full, offset)
    with pytest.raises(TypeError):
        PartitionInfo(3, [0])


def test_the_container_checks_its_parts() -> None:
    a, b = (tf.get_variable(n, [2]) for n in "ab")
    with pytest.raises(ValueError):
        PartitionedVariable("w", [4], tf.float32, [a, b], [2])
    a._set_save_slice_info(SaveSliceInfo("w", [4], [2], [2]))
    b._set_save_slice_info(SaveSliceInfo("w", [4], [0], [2]))
    assert list(PartitionedVariable("w", [4], tf.float32, [a, b], [2])) == [b, a]
    for parts, counts in (([a, b], [3]), ([], [1]), ([a], [0])):
        with pytest.raises(ValueError):
            PartitionedVariable("w", [4], tf.float32, parts, counts)
    for parts, counts in ((a, [1]), ([a], 1)):
        with pytest.raises(TypeError):
            PartitionedVariable("w", [4], tf.float32, parts, counts)


def test_create_partitioned_variables() -> None:
    value = np.arange(12.0, dtype="float32").reshape(4, 3)
    parts = tf.create_partitioned_variables([4, 3], [2, 1], tf.constant(value), name="w")
    again = tf.create_partitioned_variables([4, 3], [2, 1], None, name="w", reuse=True)
    unnamed = tf.create_partitioned_variables([2], [1], tf.zeros_initializer())
    assert names(parts) == ["w/part_0:0", "w/part_1:0"] and again == parts
    assert names(unnamed) == ["PartitionedVariable/part_0:0"]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(np.concatenate(session.run(parts)), value)
    for shape, slicing in (([4, 4], [2, 2]), ([4], [1, 2]), ([], [])):
        with pytest.raises(ValueError):
            tf.create_partitioned_variables(shape, slicing, tf.zeros_initializer())


def test_a_partitioner_has_to_give_whole_numbers() -> None:
    with pytest.raises(TypeError, match="whole"):
        tf.get_variable("w", [4, 4], partitioner=lambda shape, dtype: [1, 1.5])


def test_a_partitioned_variable_has_no_reference_as_a_whole() -> None:
    v = tf.get_variable("r", [4, 2], partitioner=tf.fixed_size_partitioner(2))
    loss = tf.reduce_sum(tf.multiply(v, 2.0))
    with pytest.raises(NotImplementedError, match="slices"):
        tf.gradients(loss, v)
    assert all(g is not None for g in tf.gradients(loss, list(v)))
