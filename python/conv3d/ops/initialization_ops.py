"""Reading a variable that may not have a value yet.

`InitializedValue(ref, initial)` is the value of the variable, or `initial` while it has none. With
it in place of plain reads, `Variable(w * 2)` can be initialised in one run with `w`, in any order.
"""

from __future__ import annotations

from typing import Any

from conv3d.framework import execute, registry
from conv3d.framework.tensor import Tensor

__all__ = ["initialized_value", "with_initialized_reads"]


registry.register(
    "InitializedValue",
    infer=lambda attrs, inputs: [(inputs[1].dtype.base_dtype, inputs[0].shape)],
    compute=lambda ctx, attrs, ref, initial: ref.get() if ref.initialized else initial,
    gradient=lambda op, grad: [grad, None],
    stateful=True,
    inputs=("ref", "initial"),
)


def initialized_value(ref: Tensor, initial: Tensor, name: str | None = None) -> Any:
    """The value of a variable, or `initial` while it has none.

    Args:
        ref: reference of the variable.
        initial: tensor of its type.
        name: name of the operation.
    """
    return execute.apply_op("InitializedValue", [ref, initial], name=name)


def _ancestors(tensor: Tensor) -> list[Any]:
    """All operations that `tensor` depends on, inputs before users."""
    found = {tensor.op}
    todo = [tensor.op]
    while todo:
        for used in todo.pop().inputs:
            if used.op not in found:
                found.add(used.op)
                todo.append(used.op)
    return sorted(found, key=lambda op: op._id)


def with_initialized_reads(tensor: Tensor, initial_values: dict[Any, Tensor]) -> Tensor:
    """`tensor`, computed from initialised values where it reads variables.

    Args:
        tensor: tensor of a graph.
        initial_values: the initial value of each variable, by the operation of its reference.

    Returns:
        `tensor` itself if it reads no variable, else a copy of the nodes that do.
    """
    replaced: dict[int, Tensor] = {}
    for op in _ancestors(tensor):
        if op in initial_values:
            reference = op.outputs[0]
            replaced[id(reference)] = initialized_value(reference, initial_values[op])
        elif any(id(used) in replaced for used in op.inputs):
            if op.op_def.stateful or op._control_flow_context is not None:
                # A copy would draw other random numbers or leave its branch: read as it stands.
                continue
            inputs = [replaced.get(id(used), used) for used in op.inputs]
            name = op.name.rsplit("/", 1)[-1]
            copied = op.graph.create_op(op.type, inputs, dict(op._attrs), name)
            replaced.update(
                (id(old), new) for old, new in zip(op.outputs, copied.outputs, strict=True)
            )
    return replaced.get(id(tensor), tensor)
