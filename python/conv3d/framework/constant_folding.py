"""Values that are known while the graph is built.

Shape arithmetic such as `tf.concat([tf.shape(x)[:-1], [8, -1]], 0)` is evaluated as far as static
shapes allow, element by element, so that static shapes survive dynamic code. An element that is not
known is marked `UNKNOWN` in an int64 array.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from conv3d.framework import registry
from conv3d.framework.tensor import EagerTensor
from conv3d.framework.tensor_shape import TensorShape, unknown_shape

UNKNOWN = np.iinfo(np.int64).min

# Larger results are not shape arithmetic; longer chains are not worth the time.
_MAX_ELEMENTS = 4096
_MAX_DEPTH = 50

# Ops that only move elements, and which of their inputs hold these: unknown ones move along.
_FIRST, _SECOND, _ALL, _ALL_BUT_LAST = slice(0, 1), slice(1, 2), slice(None), slice(0, -1)
_MOVES = {
    **dict.fromkeys(
        "Identity StopGradient Unpack StridedSlice Slice SplitV GatherV2 Reshape ExpandDims "
        "Squeeze Transpose Tile ReverseV2".split(),
        _FIRST,
    ),
    "Split": _SECOND,
    "Pack": _ALL,
    "ConcatV2": _ALL_BUT_LAST,
}
# Ops that work element by element: unknown where any operand is.
_ELEMENTWISE = frozenset(
    "Add Sub Mul FloorDiv FloorMod Maximum Minimum Neg Abs Cast Div RealDiv".split()
)


def constant_value(tensor: Any) -> np.ndarray | None:
    """The value of `tensor` if it follows from constants and static shapes, else None.

    The array is read-only or private to the caller's use: do not write to it.
    """
    if isinstance(tensor, EagerTensor):
        return tensor._value
    if not hasattr(tensor, "op"):
        return None
    op = tensor.op
    if op.type == "Const":
        return op._attrs["value"]
    value = _fold(tensor, {}, 0)
    if value is None or (value.dtype == np.int64 and (value == UNKNOWN).any()):
        return None
    return value.astype(tensor.dtype.as_numpy_dtype, copy=False)


def constant_value_as_shape(tensor: Any) -> TensorShape:
    """The shape that an integer vector means; elements that are -1 or not known are unknown."""
    if isinstance(tensor, EagerTensor):
        value: np.ndarray | None = tensor._value
    else:
        value = _fold(tensor, {}, 0) if hasattr(tensor, "op") else None
    if value is None:
        shape = tensor.shape
        return unknown_shape(None if shape.ndims != 1 else shape._dims[0])
    if value.ndim == 0:
        return unknown_shape()
    return TensorShape([None if d in (UNKNOWN, -1) else int(d) for d in value])


def _fold(tensor: Any, known: dict[Any, Any], depth: int) -> np.ndarray | None:
    """The value, with integers as int64 and perhaps partly UNKNOWN; None if nothing is known.

    `known` holds what was found in this search: without it, x + x would be looked at twice, and a
    chain of such sums exponentially often.
    """
    if tensor not in known:
        known[tensor] = _find(tensor, known, depth)
    value: np.ndarray | None = known[tensor]
    return value


def _find(tensor: Any, known: dict[Any, Any], depth: int) -> np.ndarray | None:
    op = tensor.op
    if op.type == "Const":
        return _widen(op._attrs["value"])
    if op.type in ("Shape", "Size", "Rank"):
        return _of_static_shape(op.type, op.inputs[0].shape)
    op_def = registry.get(op.type)
    size = tensor.shape.num_elements()
    if op_def.stateful or depth > _MAX_DEPTH or size is None or size > _MAX_ELEMENTS:
        return None
    inputs = []
    partly = False
    for source in op.inputs:
        value = _fold(source, known, depth + 1)
        if value is None and op.type in _MOVES:
            # One size that only a run can tell does not hide those beside it: stack([n, 4]).
            value = _all_unknown(source)
        if value is None:
            return None
        partly = partly or _has_unknown(value)
        inputs.append(value)
    if partly and op.type in _MOVES:
        moved = inputs[_MOVES[op.type]]
        if any(_has_unknown(v) and not any(v is m for m in moved) for v in inputs):
            return None
    elif partly and op.type not in _ELEMENTWISE:
        return None
    try:
        with np.errstate(all="ignore"):
            return _evaluate(op_def, tensor, inputs, partly)
    except Exception:
        # Whatever is wrong will be reported when the op runs.
        return None


def _all_unknown(tensor: Any) -> np.ndarray | None:
    """An integer tensor of known, small size whose elements are not known."""
    size = tensor.shape.num_elements()
    if not tensor.dtype.is_integer or size is None or size > _MAX_ELEMENTS:
        return None
    return np.full(tensor.shape.as_list(), UNKNOWN, np.int64)


def _evaluate(
    op_def: registry.OpDef, tensor: Any, inputs: list[np.ndarray], partly: bool
) -> np.ndarray | None:
    op = tensor.op
    if not partly:
        exact = [v.astype(t.dtype.as_numpy_dtype) for v, t in zip(inputs, op.inputs, strict=False)]
        return _widen(_output(op_def.compute(op._attrs, *exact), tensor.value_index))
    if op.type in _MOVES:
        return _output(op_def.compute(op._attrs, *inputs), tensor.value_index)
    if not tensor.dtype.is_integer:
        return None
    # 1 stands in for what is not known: it divides.
    filled = [np.where(v == UNKNOWN, 1, v) for v in inputs]
    mask = np.zeros((), bool)
    for v in inputs:
        mask = mask | (v == UNKNOWN)
    result = _output(op_def.compute(op._attrs, *filled), tensor.value_index)
    return np.where(mask, UNKNOWN, result.astype(np.int64))


def _of_static_shape(op_type: str, shape: TensorShape) -> np.ndarray | None:
    if shape.ndims is None:
        return None
    if op_type == "Rank":
        return np.asarray(shape.ndims, np.int64)
    if op_type == "Size":
        size = shape.num_elements()
        return np.asarray(UNKNOWN if size is None else size, np.int64)
    return np.asarray([UNKNOWN if d is None else d for d in shape._dims or ()], np.int64)


def _has_unknown(value: np.ndarray) -> bool:
    return value.dtype == np.int64 and bool((value == UNKNOWN).any())


def _widen(value: Any) -> np.ndarray:
    value = np.asarray(value)
    return value.astype(np.int64) if value.dtype.kind in "iu" else value


def _output(result: Any, index: int) -> np.ndarray:
    return np.asarray(result[index] if isinstance(result, (tuple, list)) else result)
