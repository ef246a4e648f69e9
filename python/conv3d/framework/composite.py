"""Ops that stand in a graph spelled out in smaller ones, whose names programs know.

TensorFlow 1.x has no op for the moments of a tensor or for batch normalization: its functions add a
handful of small ops, and programs find these by name. Each of them is a pass over memory. So a
function that spells an op out says so here, and where nobody looks inside, the one op stands for
the small ones: when a session plans a run, and when a gradient is made. In eager mode, which has no
names, the function calls the op itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from conv3d.framework import context, execute, registry
from conv3d.framework.tensor import Tensor

__all__ = ["Composite", "collapse", "spell_out"]


class Composite:
    """An op that stands for `members`; looks like an operation to planning and differentiation."""

    __slots__ = (
        "_attrs",
        "_control_inputs",
        "_def",
        "_id",
        "graph",
        "inputs",
        "members",
        "outputs",
    )

    def __init__(
        self,
        op_def: registry.OpDef,
        attrs: dict[str, Any],
        inputs: Sequence[Tensor],
        outputs: Sequence[Tensor],
        members: frozenset[Any],
    ):
        self._def = op_def
        self._attrs = attrs
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.members = members
        self.graph = outputs[0].graph
        self._id = max(op._id for op in members)
        awaited = {c for op in members for c in op._control_inputs}
        self._control_inputs = [c for c in awaited if c not in members]

    @property
    def type(self) -> str:
        return self._def.name

    @property
    def name(self) -> str:
        return self.outputs[0].op.name

    def get_attr(self, name: str) -> Any:
        if name not in self._attrs and name == "T":
            return self.inputs[0].dtype.base_dtype
        return self._attrs[name]


def spell_out(
    op_type: str,
    inputs: Sequence[Any],
    attrs: dict[str, Any],
    build: Callable[[], Sequence[Any]],
) -> list[Any]:
    """Adds small ops to the graph and notes which op they amount to; calls that op in eager mode.

    Args:
        op_type: the op; registered, with a gradient.
        inputs: its inputs, tensors.
        attrs: its attributes.
        build: adds the small ops and returns the tensors that are the op's outputs.
    """
    if context.executing_eagerly():
        found = execute.apply_op(op_type, list(inputs), attrs)
        return list(found) if isinstance(found, list) else [found]
    graph = context.get_default_graph()
    first = graph._last_id
    outputs = list(build())
    members = _made(outputs, inputs, first)
    if members is not None:
        known = Composite(registry.get(op_type), attrs, inputs, outputs, members)
        graph._composites.append(known)
    return outputs


def _made(outputs: Sequence[Any], inputs: Sequence[Any], first: int) -> frozenset[Any] | None:
    """The operations later than `first` between inputs and outputs; None if others take part."""
    given = set(map(id, inputs))
    members: dict[Any, None] = {}
    todo = list(outputs)
    while todo:
        tensor = todo.pop()
        if id(tensor) in given or tensor.op in members:
            continue
        if tensor.op._id <= first:
            return None
        members[tensor.op] = None
        todo.extend(tensor.op.inputs)
    return frozenset(members)


def collapse(
    ops: Iterable[Any], composites: Sequence[Composite], wanted: Iterable[Any]
) -> tuple[list[Any], dict[Any, Composite]]:
    """Puts composites in the place of their members where nothing else needs one of these.

    Args:
        ops: the operations that take part.
        composites: those of the graph.
        wanted: tensors and operations that must stay; an output of a composite does.

    Returns:
        The operations with the composites, and the composite of each member that is gone.
    """
    present = set(ops)
    kept = set(wanted)
    owner: dict[Any, Composite] = {}
    for known in composites:
        members = known.members & present
        if members and not any(_sees_inside(item, known) for item in kept):
            owner.update(dict.fromkeys(members, known))
    if not owner:
        return list(ops), owner
    # Whoever reads what is inside a composite, or waits for a member, breaks it up.
    broken: set[int] = set()
    for op in present:
        mine = owner.get(op)
        for tensor in op.inputs:
            source = owner.get(tensor.op)
            if source is not None and source is not mine and tensor not in source.outputs:
                broken.add(id(source))
        for other in op._control_inputs:
            source = owner.get(other)
            if source is not None and source is not mine:
                broken.add(id(source))
    owner = {op: known for op, known in owner.items() if id(known) not in broken}
    rest = [op for op in ops if op not in owner]
    return rest + list(dict.fromkeys(owner.values())), owner


def _sees_inside(item: Any, known: Composite) -> bool:
    if isinstance(item, Tensor):
        return item.op in known.members and item not in known.outputs
    return item in known.members
