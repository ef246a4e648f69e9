"""The order of side effects, and branches."""

from __future__ import annotations

from typing import Any

from conv3d.framework import context
from conv3d.framework.execute import apply_op
from conv3d.framework.graph import Operation
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops

# --- NoOp -----------------------------------------------------------------------------------------------

register(
    "NoOp",
    infer=lambda attrs, inputs: [],
    compute=lambda ctx, attrs: None,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
)


def no_op(name: str | None = None) -> Any:
    """An operation that does nothing; good for control dependencies."""
    return apply_op("NoOp", [], None, name)


def group(*inputs: Any, **kwargs: Any) -> Any:
    """One operation that runs all of `inputs` (operations, tensors, variables, lists of these).

    Raises:
        TypeError: an unknown keyword, or an input that is no part of a graph.

    Source: `tf.group`.
    """
    name = kwargs.pop("name", None)
    if kwargs:
        raise TypeError(f"group() takes the keyword name only, not {sorted(kwargs)}.")
    if context.executing_eagerly():
        return None
    flat = list(_flatten(inputs))
    graph = context.get_default_graph()
    for item in flat:
        if not hasattr(item, "_as_graph_element") and not isinstance(item, (Tensor, Operation)):
            raise TypeError(f"group() takes operations and tensors, not {item!r}.")
    with context.name_scope(name, "group_deps", flat) as scope:
        graph = context.get_default_graph()
        with graph.control_dependencies([item for item in flat if item is not None]):
            return no_op(name=scope)


def _flatten(items: Any) -> Any:
    for item in items:
        if isinstance(item, dict):
            yield from _flatten(item[k] for k in sorted(item))
        elif isinstance(item, (list, tuple)):
            yield from _flatten(item)
        elif item is not None:
            yield item


def with_dependencies(dependencies: Any, output_tensor: Any, name: str | None = None) -> Any:
    """`output_tensor`, available only after `dependencies` have run."""
    if context.executing_eagerly():
        return output_tensor
    with context.name_scope(name, "control_dependency", [*dependencies, output_tensor]) as scope:
        with context.control_dependencies(list(dependencies)):
            return array_ops.identity(output_tensor, name=scope)
