"""The global step: one integer variable per graph that counts training steps.

Source: `tf.train.get_global_step` and its siblings.
"""

from __future__ import annotations

from typing import Any

from conv3d import initializers
from conv3d.framework import context, dtypes
from conv3d.framework.graph import Graph, GraphKeys
from conv3d.framework.tensor import Tensor
from conv3d.variables import variable_scope
from conv3d.variables.variable import Variable

__all__ = [
    "assert_global_step",
    "create_global_step",
    "get_global_step",
    "get_or_create_global_step",
    "global_step",
]


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """The value of the step in the session `sess`; in eager mode `sess` is not used."""
    if context.executing_eagerly():
        return int(global_step_tensor.numpy())
    return int(sess.run(global_step_tensor))


def get_global_step(graph: Graph | None = None) -> Any:
    """The global step of `graph` (by default the current one), or None.

    It is the only element of the collection `GraphKeys.GLOBAL_STEP`, or else the tensor
    `global_step:0`.

    Raises:
        TypeError: what is found is no integer scalar.
    """
    graph = graph or context.get_default_graph()
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) == 1:
        step = found[0]
    elif not found:
        try:
            step = graph.get_tensor_by_name("global_step:0")
        except KeyError:
            return None
    else:
        return None
    assert_global_step(step)
    return step


def create_global_step(graph: Graph | None = None) -> Any:
    """Makes the variable `global_step`, an int64 that starts at 0.

    Raises:
        ValueError: there is a global step already.
    """
    graph = graph or context.get_default_graph()
    if get_global_step(graph) is not None:
        raise ValueError("graph: it has a global step already; use get_or_create_global_step")
    keys = [GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP]
    arguments: dict[str, Any] = {
        "shape": [],
        "dtype": dtypes.int64,
        "initializer": initializers.zeros_initializer(),
        "trainable": False,
    }
    if context.executing_eagerly():
        step = variable_scope.get_variable("global_step", **arguments)
        graph.add_to_collection(GraphKeys.GLOBAL_STEP, step)
        return step
    with graph.as_default(), context.name_scope(None):
        return variable_scope.get_variable("global_step", collections=keys, **arguments)


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """The global step of `graph`, made where there is none."""
    graph = graph or context.get_default_graph()
    step = get_global_step(graph)
    return create_global_step(graph) if step is None else step


def assert_global_step(global_step_tensor: Any) -> None:
    """Checks that something can be a global step.

    Raises:
        TypeError: it is no variable or tensor, not of an integer type, or no scalar.
    """
    if not isinstance(global_step_tensor, (Variable, Tensor)):
        raise TypeError(
            f"global_step_tensor: a variable or tensor is accepted, got {global_step_tensor!r}"
        )
    if not global_step_tensor.dtype.base_dtype.is_integer:
        raise TypeError(
            "global_step_tensor: an integer type is needed, got "
            f"{global_step_tensor.dtype.base_dtype.name}"
        )
    shape = global_step_tensor.get_shape()
    if shape.ndims != 0 and shape.is_fully_defined():
        raise TypeError(f"global_step_tensor: a scalar is needed, got the shape {shape}")
