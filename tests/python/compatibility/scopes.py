"""Rows: names, scopes, reuse, collections, partitioners."""

from __future__ import annotations

from typing import Any

import numpy as np

from .rows import names, raises, row, volume

SCOPES = "Names, scopes, reuse"
COLLECTIONS = "Collections"
PARTITIONERS = "Partitioned variables"


def variable_names(tf: Any) -> list[str]:
    return [name.replace(":0", "") for name in names(tf.global_variables())]


@row(SCOPES, "an unnamed layer", "scope `conv3d`, `conv3d_1`, ... by first call in its scope")
def unnamed(tf: Any) -> None:
    first, second = tf.layers.Conv3D(1, 1), tf.layers.Conv3D(1, 1)
    second(volume(tf))
    first(volume(tf))
    with tf.variable_scope("outer"):
        third = tf.layers.conv3d(volume(tf), 1, 1)
    assert (second.scope_name, first.scope_name) == ("conv3d", "conv3d_1")
    assert (first.name, third.name) == ("conv3d_1", "outer/conv3d/BiasAdd:0")


@row(SCOPES, "two class layers of one name", "scopes `c` and `c_1`: no sharing, no error")
def class_twice(tf: Any) -> None:
    for _ in range(2):
        tf.layers.Conv3D(1, 1, use_bias=False, name="c")(volume(tf))
    assert variable_names(tf) == ["c/kernel", "c_1/kernel"]


@row(SCOPES, "two functional layers of one name", "ValueError without `reuse`")
def function_twice(tf: Any) -> None:
    tf.layers.conv3d(volume(tf), 1, 1, name="c")
    raises(ValueError, tf.layers.conv3d, volume(tf), 1, 1, name="c")


@row(SCOPES, "`reuse=True`", "the variables there are; ValueError where there are none")
def reuse(tf: Any) -> None:
    raises(ValueError, tf.layers.conv3d, volume(tf), 1, 1, name="none", reuse=True)
    tf.layers.conv3d(volume(tf), 1, 1, name="c")
    tf.layers.conv3d(volume(tf), 1, 1, name="c", reuse=True)
    assert [name for name in variable_names(tf) if name.startswith("c")] == ["c/kernel", "c/bias"]


@row(SCOPES, "`reuse=tf.AUTO_REUSE`", "makes them the first time, shares them after")
def auto_reuse(tf: Any) -> None:
    for _ in range(2):
        with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
            tf.layers.conv3d(volume(tf), 1, 1)
    assert variable_names(tf) == ["s/conv3d/kernel", "s/conv3d/bias"]


@row(SCOPES, "a scope entered again with `reuse`", "unnamed layers count from the start again")
def scope_again(tf: Any) -> None:
    for again in (None, True):
        with tf.variable_scope("s", reuse=again):
            tf.layers.conv3d(volume(tf), 1, 1, use_bias=False)
            tf.layers.conv3d(volume(tf), 1, 1, use_bias=False)
    assert variable_names(tf) == ["s/conv3d/kernel", "s/conv3d_1/kernel"]


@row(SCOPES, "sharing with another shape or dtype", "ValueError")
def conflict(tf: Any) -> None:
    tf.layers.conv3d(volume(tf), 1, 1, name="c")
    raises(ValueError, tf.layers.conv3d, volume(tf), 2, 1, name="c", reuse=True)
    x = volume(tf, dtype=tf.float64)
    raises(ValueError, tf.layers.conv3d, x, 1, 1, name="c", reuse=True)


@row(SCOPES, "`name_scope`", "names ops, not variables")
def name_scope(tf: Any) -> None:
    with tf.name_scope("ns") as entered:
        y = tf.layers.conv3d(volume(tf), 1, 1)
    assert entered == "ns/" and y.name == "ns/conv3d/BiasAdd:0"
    assert variable_names(tf)[0] == "conv3d/kernel"


@row(SCOPES, "a variable scope entered again", "the same variables' names, fresh names of ops")
def op_names(tf: Any) -> None:
    outs = []
    for _ in range(2):
        with tf.variable_scope("a", reuse=tf.AUTO_REUSE):
            outs.append(tf.layers.conv3d(volume(tf), 1, 1, name="c").name)
    assert outs == ["a/c/BiasAdd:0", "a_1/c/BiasAdd:0"]


@row(SCOPES, "a scope's `initializer`", "for the kernel; for the bias if `bias_initializer=None`")
def scope_initializer(tf: Any) -> None:
    with tf.variable_scope("s", initializer=tf.constant_initializer(5.0)):
        layer = tf.layers.Conv3D(1, 1)
        both = tf.layers.Conv3D(1, 1, bias_initializer=None)
        layer(volume(tf))
        both(volume(tf))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        values = session.run([layer.kernel, layer.bias, both.kernel, both.bias])
        assert [float(value.max()) for value in values] == [5, 0, 5, 5]


@row(SCOPES, "a scope's `regularizer`", "fills the collection, not `layer.losses`")
def scope_regularizer(tf: Any) -> None:
    with tf.variable_scope("s", regularizer=tf.reduce_sum):
        layer = tf.layers.Conv3D(1, 1)
        layer(volume(tf))
    assert layer.losses == []
    assert len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == 2


@row(SCOPES, "a scope's `custom_getter`", "called for each variable; may return a tensor")
def custom_getter(tf: Any) -> None:
    def doubled(getter: Any, name: str, *arguments: Any, **keywords: Any) -> Any:
        return getter(name, *arguments, **keywords) * 2.0

    with tf.variable_scope("s", custom_getter=doubled, initializer=tf.ones_initializer()):
        layer = tf.layers.Conv3D(1, 1)
        layer(volume(tf))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(layer.kernel).max() == 2


@row(SCOPES, "a scope's `dtype` and `constraint`", "not inherited: the input's dtype holds")
def scope_not_inherited(tf: Any) -> None:
    with tf.variable_scope("s", dtype=tf.float64, constraint=tf.abs):
        layer = tf.layers.Conv3D(1, 1)
        layer(volume(tf))
    assert layer.kernel.dtype.base_dtype == tf.float32 and layer.kernel.constraint is None


@row(COLLECTIONS, "GLOBAL_VARIABLES, TRAINABLE_VARIABLES", "kernel, then bias, at creation")
def variable_collections(tf: Any) -> None:
    tf.layers.conv3d(volume(tf), 1, 1)
    for collection in (tf.global_variables(), tf.trainable_variables()):
        assert names(collection) == ["conv3d/kernel:0", "conv3d/bias:0"]
    assert names(tf.global_variables("conv3d/k")) == ["conv3d/kernel:0"]


@row(COLLECTIONS, "REGULARIZATION_LOSSES", "each loss once, once a variable; reuse adds none")
def regularization_losses(tf: Any) -> None:
    for again in (None, True):
        tf.layers.conv3d(volume(tf), 1, 1, name="c", reuse=again, kernel_regularizer=tf.reduce_sum)
    assert len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == 1
    assert tf.losses.get_regularization_loss().shape.as_list() == []


@row(COLLECTIONS, "UPDATE_OPS", "two for each batch normalization that trains")
def update_ops(tf: Any) -> None:
    tf.layers.batch_normalization(tf.layers.conv3d(volume(tf), 1, 1), training=True)
    assert len(tf.get_collection(tf.GraphKeys.UPDATE_OPS)) == 2


@row(COLLECTIONS, "`get_collection`", "a copy; `get_collection_ref` is the list itself")
def collection_copy(tf: Any) -> None:
    tf.add_to_collection("mine", 1)
    tf.get_collection("mine").append(2)
    assert tf.get_collection("mine") == [1]
    tf.get_collection_ref("mine").append(3)
    assert tf.get_collection("mine") == [1, 3]


def partitioned(tf: Any, partitioner: Any, **keywords: Any) -> Any:
    with tf.variable_scope("p", partitioner=partitioner):
        layer = tf.layers.Conv3D(7, 1, use_bias=False, name="c", **keywords)
        layer(volume(tf))
    return layer


@row(PARTITIONERS, "`fixed_size_partitioner`", "slices differ by at most one, the larger first")
def fixed_size_partitioner(tf: Any) -> None:
    layer = partitioned(tf, tf.fixed_size_partitioner(3, axis=4))
    assert [v.shape.as_list()[-1] for v in layer.kernel] == [3, 2, 2]
    assert variable_names(tf) == ["p/c/kernel/part_0", "p/c/kernel/part_1", "p/c/kernel/part_2"]
    assert layer.kernel.get_shape().as_list() == [1, 1, 1, 2, 7]
    assert layer.kernel.name == "p/c/kernel"


@row(PARTITIONERS, "`variable_axis_size_partitioner`", "as many slices as the bytes allow")
def variable_axis_size_partitioner(tf: Any) -> None:
    layer = partitioned(tf, tf.variable_axis_size_partitioner(max_shard_bytes=16, axis=4))
    assert [v.shape.as_list()[-1] for v in layer.kernel] == [2, 2, 2, 1]
    raises(ValueError, tf.variable_axis_size_partitioner, 0)


@row(PARTITIONERS, "`min_max_variable_partitioner`", "slices of at least a size, at most a number")
def min_max_variable_partitioner(tf: Any) -> None:
    partitioner = tf.min_max_variable_partitioner(max_partitions=2, axis=4, min_slice_size=8)
    assert len(list(partitioned(tf, partitioner).kernel)) == 2


@row(PARTITIONERS, "more than one axis, or a list of another length", "ValueError")
def partition_two_axes(tf: Any) -> None:
    for wrong in ([1, 1, 1, 2, 2], [1, 2]):
        raises(ValueError, partitioned, tf, lambda shape, dtype, wrong=wrong: wrong)


@row(PARTITIONERS, "the bias", "sliced by the same partitioner")
def partition_bias(tf: Any) -> None:
    with tf.variable_scope("p", partitioner=tf.fixed_size_partitioner(2)):
        layer = tf.layers.Conv3D(4, 2, name="c")
        layer(volume(tf))
    assert [v.shape.as_list() for v in layer.bias] == [[2], [2]]


@row(PARTITIONERS, "a regularizer", "called for each slice")
def partition_regularizer(tf: Any) -> None:
    layer = partitioned(tf, tf.fixed_size_partitioner(3, axis=4), kernel_regularizer=tf.reduce_sum)
    assert len(layer.losses) == 3


@row(PARTITIONERS, "an initializer", "sees the whole variable: fans are those of the whole")
def partition_initializer(tf: Any) -> None:
    layer = partitioned(tf, tf.fixed_size_partitioner(7, axis=4))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        largest = max(abs(session.run(v)).max() for v in layer.kernel)
        assert largest <= (6 / (2 + 7)) ** 0.5 < (6 / (2 + 1)) ** 0.5


@row(PARTITIONERS, "`assign` of a partitioned variable", "NotImplementedError; slices have theirs")
def partition_assign(tf: Any) -> None:
    layer = partitioned(tf, tf.fixed_size_partitioner(2, axis=4))
    raises(NotImplementedError, layer.kernel.assign, np.zeros((1, 1, 1, 2, 7)))


@row(PARTITIONERS, "the result", "that of the same layer unpartitioned; the slices train")
def partition_result(tf: Any) -> None:
    layer = partitioned(tf, tf.fixed_size_partitioner(3, axis=4))
    x = tf.constant(np.random.RandomState(0).rand(1, 4, 4, 4, 2).astype(np.float32))
    y = layer(x)
    same = tf.nn.conv3d(x, layer.kernel.as_tensor(), [1] * 5, "VALID")
    train = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(y))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_allclose(*session.run([y, same]), atol=1e-6)
        before = session.run(list(layer.kernel))
        session.run(train)
        after = session.run(list(layer.kernel))
        assert all((a != b).any() for a, b in zip(before, after, strict=True))
