"""What a layer was called on, and which losses and updates depend on which tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.framework.graph import Operation
from conv3d.framework.tensor import Tensor

__all__ = ["Node", "at", "reachable", "the_only", "the_same"]


def _shape_of(value: Any) -> Any:
    """Shape as a tuple of int or None; for several tensors, one each in the same structure."""
    if isinstance(value, (list, tuple)):
        return [_shape_of(v) for v in value]
    if isinstance(value, dict):
        return {key: _shape_of(v) for key, v in value.items()}
    shape = value.get_shape()
    return None if shape.ndims is None else tuple(shape.as_list())


class Node:
    """One call of a layer in graph mode.

    Shapes are kept as they were at the call: a later `set_shape` does not change them.
    """

    def __init__(self, inputs: Any, outputs: Any) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.input_shape = _shape_of(inputs)
        self.output_shape = _shape_of(outputs) if _has_shapes(outputs) else None


def _has_shapes(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_has_shapes(v) for v in value)
    if isinstance(value, dict):
        return all(_has_shapes(v) for v in value.values())
    return hasattr(value, "get_shape")


def at(nodes: Sequence[Node], index: int, what: str, layer_name: Any) -> Node:
    """The node of one call.

    Raises:
        RuntimeError: the layer was never called.
        ValueError: there is no such call.
    """
    if not nodes:
        raise RuntimeError(f"layer {layer_name} was never called and so has no {what}")
    if not -len(nodes) <= index < len(nodes):
        raise ValueError(
            f"`node_index` is {index}, but layer {layer_name} was called {len(nodes)} times"
        )
    return nodes[index]


def the_only(nodes: Sequence[Node], what: str, layer_name: Any) -> Any:
    """Input or output of the one call.

    Raises:
        AttributeError: no call, or several.
    """
    if not nodes:
        raise AttributeError(f"layer {layer_name} was never called and so has no {what}")
    if len(nodes) > 1:
        raise AttributeError(
            f"layer {layer_name} was called {len(nodes)} times, so `{what}` is not one tensor; use "
            f"`get_{what}_at(node_index)`"
        )
    return getattr(nodes[0], what + "s")


def the_same(nodes: Sequence[Node], what: str, layer_name: Any) -> Any:
    """Shape of the inputs or outputs of all calls.

    Raises:
        AttributeError: no call, or different shapes.
    """
    if not nodes:
        raise AttributeError(f"layer {layer_name} was never called and so has no {what} shape")
    shapes = [getattr(node, what + "_shape") for node in nodes]
    if any(shape != shapes[0] for shape in shapes):
        raise AttributeError(
            f"layer {layer_name} was called with different {what} shapes: {shapes}; use "
            f"`get_{what}_shape_at(node_index)`"
        )
    return shapes[0]


def _operation_of(value: Any) -> Any:
    """The operation that makes a tensor; tensors, variables and operations are taken."""
    if isinstance(value, Operation):
        return value
    element = value if isinstance(value, Tensor) else value._as_graph_element()
    return element.op


def reachable(targets: Sequence[Any], sources: Sequence[Any]) -> list[Any]:
    """Those of `targets` (tensors or operations) that depend on one of `sources`.

    Dependence is that of the graph: through inputs and control inputs.
    """
    tensors: set[int] = set()
    operations: set[Any] = set()
    for source in sources:
        if isinstance(source, Operation):
            operations.add(source)
            continue
        for part in _tensors_of(source):
            tensors.add(id(part))
    known: dict[Any, bool] = {}
    return [
        target
        for target in targets
        if id(_element(target)) in tensors
        or _depends(_operation_of(target), tensors, operations, known)
    ]


def _element(value: Any) -> Any:
    return value if isinstance(value, (Tensor, Operation)) else value._as_graph_element()


def _tensors_of(source: Any) -> list[Any]:
    if isinstance(source, Tensor):
        return [source]
    if hasattr(source, "_as_graph_element"):
        return [source._as_graph_element()]
    return [part for item in source for part in _tensors_of(item)]


def _depends(
    operation: Any, tensors: set[int], operations: set[Any], known: dict[Any, bool]
) -> bool:
    """Whether `operation` needs one of the sources. Iterative: graphs are deep."""
    stack = [(operation, False)]
    while stack:
        op, children_done = stack.pop()
        if op in known and not children_done:
            continue
        before = [t.op for t in op.inputs] + list(op.control_inputs)
        if children_done:
            known[op] = known[op] or any(known[b] for b in before)
            continue
        known[op] = op in operations or any(id(t) in tensors for t in op.inputs)
        if not known[op]:
            stack.append((op, True))
            stack.extend((b, False) for b in before if b not in known)
    return known[operation]
