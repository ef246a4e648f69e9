"""Rows: eager mode."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from .rows import raises, row

SECTION = "Eager mode"


def eager_row(what: str, here: str, differs: str = "") -> Any:
    return row(SECTION, what, here, differs, eager=True)


def array(tf: Any, *shape: int) -> Any:
    return tf.constant(np.ones(shape or (1, 4, 4, 4, 2), np.float32))


@eager_row("`enable_eager_execution`", "at the start of a program; after a graph op: ValueError")
def enable(tf: Any) -> None:
    assert tf.executing_eagerly()
    raises(RuntimeError, tf.placeholder, tf.float32)


@eager_row("calling a layer", "computes at once; the result has `numpy()`")
def eager_call(tf: Any) -> None:
    assert tf.layers.Conv3D(3, 2)(array(tf)).numpy().shape == (1, 3, 3, 3, 3)


@eager_row("a NumPy array as input", "converted", "AttributeError; 1.15 converts")
def eager_array(tf: Any) -> None:
    assert tf.layers.Conv3D(3, 2)(np.ones((1, 4, 4, 4, 2), np.float32)).shape[-1] == 3


@eager_row("`GradientTape`", "watches trainable variables by itself; once, unless persistent")
def tape(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    layer(array(tf))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(array(tf)))
    kernel, bias = tape.gradient(loss, layer.trainable_variables)
    assert kernel.numpy().ravel().tolist() == [64, 64] and bias.numpy().tolist() == [64]
    raises(RuntimeError, tape.gradient, loss, layer.kernel)


@eager_row("optimizers", "`apply_gradients`, and `minimize` of a function; constraints are applied")
def eager_optimizer(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, kernel_constraint=lambda v: v * 0.0 + 7.0)
    layer(array(tf))
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    optimizer.minimize(lambda: tf.reduce_sum(layer(array(tf))))
    assert (layer.kernel.numpy() == 7).all() and layer.bias.numpy() < -6
    raises(RuntimeError, optimizer.minimize, tf.reduce_sum(layer(array(tf))))


@eager_row("variables", "never shared by name; names carry their scopes")
def eager_variables(tf: Any) -> None:
    layers = [tf.layers.Conv3D(1, 1, name="c") for _ in range(2)]
    with tf.variable_scope("outer"):
        for layer in layers:
            layer(array(tf))
    assert layers[0].kernel is not layers[1].kernel
    assert layers[0].kernel.name == "outer/c/kernel:0"


@eager_row("`tf.Variable`", "works", "RuntimeError; 1.15 works")
def eager_variable(tf: Any) -> None:
    variable = tf.Variable([1.0, 2.0])
    variable.assign_add([1.0, 1.0])
    assert variable.numpy().tolist() == [2, 3]


@eager_row(
    "`input`, `output`, `input_shape`, `output_shape`, `graph`, `updates`, `get_*_at`, "
    "`get_losses_for`, `get_updates_for`, `add_loss`",
    "RuntimeError, as documented and as in 1.7",
    "1.8 lost some of these checks",
)
def eager_refuses(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    layer(array(tf))
    for name in ("input", "output", "input_shape", "output_shape", "graph", "updates"):
        raises(RuntimeError, getattr, layer, name)
    for name in ("input", "output", "input_shape", "output_shape"):
        raises(RuntimeError, getattr(layer, f"get_{name}_at"), 0)
    raises(RuntimeError, layer.get_losses_for, None)
    raises(RuntimeError, layer.get_updates_for, None)
    raises(RuntimeError, layer.add_loss, array(tf))


@eager_row("`losses`", "the regularizers' values now")
def eager_losses(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1, kernel_regularizer=tf.reduce_sum)
    assert layer.losses == []
    layer(array(tf))
    layer.kernel.assign(np.full((1, 1, 1, 2, 1), 3.0, np.float32))
    assert [float(loss.numpy()) for loss in layer.losses] == [6.0]


@eager_row("`activity_regularizer`", "ValueError in the constructor")
def eager_activity_regularizer(tf: Any) -> None:
    raises(ValueError, tf.layers.Conv3D, 1, 1, activity_regularizer=tf.reduce_sum)


@eager_row("a partitioner", "NotImplementedError, which is a RuntimeError")
def eager_partitioner(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    partitioner = tf.fixed_size_partitioner(2)
    raises(RuntimeError, layer.add_variable, "v", [4], partitioner=partitioner)


@eager_row("`global_variables` and its kin", "ValueError: collections of variables need a graph")
def eager_collections(tf: Any) -> None:
    raises(ValueError, tf.global_variables)
    raises(ValueError, tf.trainable_variables)


@eager_row(
    "a changed number of channels",
    "ValueError, as in graph mode",
    "reaches the kernel: InvalidArgumentError",
)
def eager_channels(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    layer(array(tf))
    raises(ValueError, layer, array(tf, 1, 4, 4, 4, 3))


@eager_row("a wrong rank", "ValueError")
def eager_rank(tf: Any) -> None:
    raises(ValueError, tf.layers.Conv3D(1, 1), array(tf, 4, 4, 4, 2))


@eager_row("the layer's dtype and another input's", "ValueError")
def eager_dtype(tf: Any) -> None:
    raises(ValueError, tf.layers.Conv3D(1, 1, dtype=tf.float64), array(tf))


@eager_row(
    "`copy.deepcopy` of a built layer",
    "an independent copy",
    "shares the variables' storage, and its end destroys them",
)
def eager_deepcopy(tf: Any) -> None:
    layer = tf.layers.Conv3D(1, 1)
    layer(array(tf))
    before = layer.kernel.numpy()
    twin = copy.deepcopy(layer)
    twin.kernel.assign(np.full((1, 1, 1, 2, 1), 3.0, np.float32))
    assert (layer.kernel.numpy() == before).all()
    del twin
    assert (layer.kernel.numpy() == before).all()


@eager_row(
    "`with tf.Graph().as_default()`",
    "graph mode inside",
    "stays eager; 1.15 is in graph mode",
)
def eager_graph(tf: Any) -> None:
    with tf.Graph().as_default():
        assert not tf.executing_eagerly()
        y = tf.layers.conv3d(tf.placeholder(tf.float32, [None, 2, 2, 2, 1]), 1, 1)
        assert y.op.type == "BiasAdd"
    assert tf.executing_eagerly()


@eager_row("`tf.gradients`, `Session.run`", "RuntimeError")
def eager_graph_calls(tf: Any) -> None:
    raises(RuntimeError, tf.gradients, array(tf), array(tf))


@eager_row("`count_params`, `compute_output_shape`, `build`, `trainable`", "as in graph mode")
def eager_rest(tf: Any) -> None:
    layer = tf.layers.Conv3D(3, 2)
    assert layer.compute_output_shape((1, 4, 4, 4, 2)).as_list() == [1, 3, 3, 3, 3]
    layer.build((None, None, None, None, 2))
    assert layer.count_params() == 8 * 2 * 3 + 3
    layer.trainable = False
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 2
