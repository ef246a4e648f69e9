"""Slices, indexing by tensors, choice by conditions, and blocks of space moved to the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.indexed_slices import IndexedSlices
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import Tensor
from conv3d.framework.tensor_shape import Dimension, TensorShape, unknown_shape
from conv3d.ops import array_ops, shape_rules
from conv3d.ops.shape_rules import INDEX, axis_in_range, check_dtype, in_order

_INT32 = dtypes.int32
_slice = slice  # the builtin: the op of this name hides it below

# Slice.


def _infer_slice(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, begin, size = inputs
    check_dtype("begin", begin.dtype, INDEX)
    rank = x.shape.ndims
    if rank is None:
        rank = begin.shape.num_elements()
    if rank is None:
        return [(x.dtype.base_dtype, unknown_shape())]
    known = x.shape.with_rank(rank).as_list()
    starts, sizes = begin.constant_value(), size.constant_value()
    if sizes is None:
        return [(x.dtype.base_dtype, unknown_shape(rank))]
    out: list[int | None] = []
    for i in range(rank):
        n = int(sizes[i])
        if n >= 0:
            out.append(n)
        elif starts is None or known[i] is None:
            out.append(None)
        else:
            out.append(known[i] - int(starts[i]))
        limit, count = known[i], out[i]
        if starts is not None and limit is not None and count is not None:
            if starts[i] < 0 or count < 0 or starts[i] + count > limit:
                raise ValueError(
                    f"begin={starts.tolist()}, size={sizes.tolist()} leave shape {x.shape}."
                )
    return [(x.dtype.base_dtype, TensorShape(out))]


def _take(attrs: dict[str, Any], x: np.ndarray, begin: np.ndarray, size: np.ndarray) -> np.ndarray:
    parts = []
    for i, (start, n) in enumerate(zip(begin.tolist(), size.tolist(), strict=False)):
        n = x.shape[i] - start if n == -1 else n
        if start < 0 or n < 0 or start + n > x.shape[i]:
            raise ValueError(f"begin={begin.tolist()}, size={size.tolist()} leave shape {x.shape}.")
        parts.append(_slice(start, start + n))
    if len(parts) != x.ndim:
        raise ValueError(f"begin and size have {len(parts)} entries for shape {x.shape}.")
    return x[tuple(parts)]


def _grad_slice(op: Any, grad: Tensor) -> list[Any]:
    x, begin, _ = op.inputs
    kind = begin.dtype.base_dtype
    after = array_ops.shape(x, out_type=kind) - begin - array_ops.shape(grad, out_type=kind)
    return [array_ops.pad(grad, array_ops.stack([begin, after], axis=1)), None, None]


register(
    "Slice",
    infer=_infer_slice,
    compute=_take,
    gradient=_grad_slice,
    inputs=["input", "begin", "size"],
    samples=lambda: [
        (
            {},
            [
                np.arange(12.0).reshape(3, 4),
                np.array([1, 0], np.int32),
                np.array([2, -1], np.int32),
            ],
        )
    ],
)


def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """The block of `size` elements that starts at `begin`; a size of -1 goes to the end."""
    return apply_op("Slice", [input_, begin, size], None, name, dtypes=[None, _INT32, _INT32])


# StridedSlice: Python indexing.

_MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def _index(attrs: dict[str, Any], begin: Any, end: Any, strides: Any) -> tuple[Any, ...]:
    """Python's index for NumPy. `begin`, ... are lists; None stands for a bound not known."""
    out: list[Any] = []
    masks = {m: int(attrs.get(m, 0)) for m in _MASKS}
    for i in range(len(begin)):
        bit = 1 << i
        if masks["ellipsis_mask"] & bit:
            out.append(Ellipsis)
        elif masks["new_axis_mask"] & bit:
            out.append(None)
        elif masks["shrink_axis_mask"] & bit:
            out.append(begin[i])
        else:
            low = None if masks["begin_mask"] & bit else begin[i]
            high = None if masks["end_mask"] & bit else end[i]
            out.append(_slice(low, high, strides[i]))
    return tuple(out)


def _strided(
    attrs: dict[str, Any], x: np.ndarray, begin: np.ndarray, end: np.ndarray, strides: np.ndarray
) -> np.ndarray:
    if not np.all(strides):
        raise ValueError("a stride is 0.")
    view = x[_index(attrs, begin.tolist(), end.tolist(), strides.tolist())]
    # A view costs nothing, but what computes with short pieces of rows is slow.
    return shape_rules.dense(view) if shape_rules.has_short_rows(view) else view


def _infer_strided(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, begin, end, strides = inputs
    dtype = x.dtype.base_dtype
    if x.shape.ndims is None:
        return [(dtype, unknown_shape())]
    count = begin.shape.num_elements()
    if count is None:
        return [(dtype, unknown_shape())]
    values = [t.constant_value() for t in (begin, end, strides)]
    steps = values[2]
    if steps is not None and not np.all(steps):
        raise ValueError("a stride is 0.")
    lists = [[None] * count if v is None else v.tolist() for v in values]
    index = _index(attrs, *lists)
    dims = x.shape.as_list()
    used = sum(1 for part in index if part is not None and part is not Ellipsis)
    if used > len(dims):
        raise IndexErrorAsValue(f"{used} indices for shape {x.shape}.")
    if Ellipsis not in index:
        index = (*index, Ellipsis)
    out: list[int | None] = []
    at = 0
    unsure = [values[0] is None, values[1] is None, values[2] is None]
    # A mask bit hides the bound, which then is known.
    for i, part in enumerate(index):
        if part is Ellipsis:
            keep = len(dims) - used
            out += dims[at : at + keep]
            at += keep
        elif part is None and _is_new_axis(attrs, i):
            out.append(1)
        elif isinstance(part, _slice):
            out.append(_length(part, dims[at], unsure, attrs, i))
            at += 1
        else:
            if part is not None and dims[at] is not None:
                if not -dims[at] <= part < dims[at]:
                    raise ValueError(f"index {part} is out of range for axis {at} of {x.shape}.")
            at += 1
    return [(dtype, TensorShape(out))]


class IndexErrorAsValue(ValueError):
    """Too many indices for the rank."""


def _is_new_axis(attrs: dict[str, Any], i: int) -> bool:
    return bool(int(attrs.get("new_axis_mask", 0)) & (1 << i))


def _length(
    part: Any, size: int | None, unsure: Sequence[bool], attrs: dict[str, Any], i: int
) -> int | None:
    bit = 1 << i
    whole_begin = bool(int(attrs.get("begin_mask", 0)) & bit)
    whole_end = bool(int(attrs.get("end_mask", 0)) & bit)
    if unsure[2] or (unsure[0] and not whole_begin) or (unsure[1] and not whole_end):
        return None
    if size is not None:
        return len(range(*part.indices(size)))
    if part == _slice(None, None, 1):
        return None
    # The size is not known, but bounds of one sign may still fix the length, as TensorFlow does
    # not say for positive ones: the axis may be shorter.
    return 0 if _empty(part) else None


def _empty(part: Any) -> bool:
    low, high, step = part.start, part.stop, part.step
    if low is None or high is None or (low < 0) != (high < 0):
        return False
    return low >= high if step > 0 else low <= high


def _grad_strided(op: Any, grad: Tensor) -> list[Any]:
    x, begin, end, strides = op.inputs
    attrs = {m: op.get_attr(m) for m in _MASKS}
    shape = array_ops.shape(x, out_type=begin.dtype.base_dtype)
    return [apply_op("StridedSliceGrad", [shape, begin, end, strides, grad], attrs), *[None] * 3]


def _strided_grad(
    attrs: dict[str, Any],
    shape: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    strides: np.ndarray,
    dy: np.ndarray,
) -> np.ndarray:
    out = np.zeros(shape.tolist(), dy.dtype)
    index = _index(attrs, begin.tolist(), end.tolist(), strides.tolist())
    target = out[index]
    if isinstance(target, np.ndarray):
        shape_rules.assign(target, dy)
    else:
        out[index] = dy  # one element is no view
    return out


def _grad_strided_grad(op: Any, grad: Tensor) -> list[Any]:
    attrs = {m: op.get_attr(m) for m in _MASKS}
    _, begin, end, strides, _ = op.inputs
    return [*[None] * 4, apply_op("StridedSlice", [grad, begin, end, strides], attrs)]


def _masks(**given: int) -> dict[str, int]:
    return {m: given.get(m, 0) for m in _MASKS}


def _ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


register(
    "StridedSlice",
    infer=_infer_strided,
    compute=_strided,
    gradient=_grad_strided,
    inputs=["input", "begin", "end", "strides"],
    samples=lambda: [
        (_masks(), [np.arange(12.0).reshape(3, 4), _ints(0, 1), _ints(2, 4), _ints(1, 2)]),
        (
            _masks(begin_mask=3, end_mask=1),
            [np.arange(12.0).reshape(3, 4), _ints(0, 0), _ints(0, -1), _ints(-1, 1)],
        ),
        (
            _masks(shrink_axis_mask=1, new_axis_mask=2, ellipsis_mask=4),
            [np.arange(12.0).reshape(3, 4), _ints(-1, 0, 0), _ints(0, 0, 0), _ints(1, 1, 1)],
        ),
    ],
)
register(
    "StridedSliceGrad",
    infer=lambda attrs, inputs: [
        (inputs[4].dtype.base_dtype, convert.constant_value_as_shape(inputs[0]))
    ],
    compute=_strided_grad,
    gradient=_grad_strided_grad,
    inputs=["shape", "begin", "end", "strides", "dy"],
    samples=lambda: [
        (_masks(), [_ints(3, 4), _ints(0, 1), _ints(2, 4), _ints(1, 2), np.ones((2, 2))])
    ],
)


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """Python's indexing, written out. See `tf.strided_slice`.

    Args:
        input_: the tensor.
        begin: an integer vector, one entry an index.
        end: the same.
        strides: the same; default 1.
        begin_mask: bit i: index i has no begin.
        end_mask: bit i: index i has no end.
        ellipsis_mask: bit i: index i is `...`; one bit at most.
        new_axis_mask: bit i: index i makes an axis of size 1.
        shrink_axis_mask: bit i: index i is a single element; the axis goes.
        var: accepted and ignored.
        name: name of the operation.

    Raises:
        ValueError: two ellipses, a stride of 0, an index out of range.
    """
    if bin(ellipsis_mask).count("1") > 1:
        raise ValueError("ellipsis_mask has two bits; one `...` at most is allowed.")
    if strides is None:
        strides = array_ops.ones_like(begin)
    attrs = dict(
        zip(
            _MASKS,
            (begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask),
            strict=False,
        )
    )
    hints = [None, _INT32, _INT32, _INT32]
    return apply_op("StridedSlice", [input_, begin, end, strides], attrs, name, dtypes=hints)


def _scalar_index(value: Any) -> Any:
    if isinstance(value, Dimension):
        return value.value
    return value


def _check_index(value: Any) -> None:
    if isinstance(value, (int, np.integer, Dimension)) and not isinstance(value, bool):
        return
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "iu":
        return
    if hasattr(value, "dtype") and not isinstance(value, np.ndarray):
        dtype = dtypes.as_dtype(value.dtype).base_dtype
        if dtype in (dtypes.int16, dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.int8):
            return
    raise TypeError(
        f"Indices are integers, slices, `...`, tf.newaxis and integer tensors of shape (), not "
        f"{value!r}."
    )


def slice_helper(tensor: Any, index: Any, var: Any = None) -> Tensor:
    """`tensor[index]`.

    Raises:
        TypeError: an index of a kind that is not allowed.
        ValueError: out of range, or more indices than axes.
    """
    if isinstance(index, list) and any(isinstance(i, (_slice, type(Ellipsis))) for i in index):
        index = tuple(index)
    parts = index if isinstance(index, (tuple, list)) else (index,)
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = dict.fromkeys(_MASKS, 0)
    for i, part in enumerate(parts):
        bit = 1 << i
        if isinstance(part, _slice):
            for bound in (part.start, part.stop, part.step):
                if bound is not None:
                    _check_index(bound)
            begin.append(0 if part.start is None else _scalar_index(part.start))
            end.append(0 if part.stop is None else _scalar_index(part.stop))
            strides.append(1 if part.step is None else _scalar_index(part.step))
            masks["begin_mask"] |= bit * (part.start is None)
            masks["end_mask"] |= bit * (part.stop is None)
        elif part is Ellipsis:
            begin.append(0)
            end.append(0)
            strides.append(1)
            masks["ellipsis_mask"] |= bit
        elif part is None:
            begin.append(0)
            end.append(0)
            strides.append(1)
            masks["new_axis_mask"] |= bit
        else:
            _check_index(part)
            part = _scalar_index(part)
            begin.append(part)
            end.append(part + 1)
            strides.append(1)
            masks["shrink_axis_mask"] |= bit
    with context.name_scope(None, "strided_slice", [tensor, *begin, *end, *strides]) as scope:
        if begin:
            bounds = [
                _vector(v, n) for v, n in ((begin, "stack"), (end, "stack_1"), (strides, "stack_2"))
            ]
        else:
            bounds = [array_ops.constant([], _INT32)] * 3
        if len({b.dtype.base_dtype for b in bounds}) > 1:
            bounds = [apply_op("Cast", [b], {"DstT": dtypes.int64}) for b in bounds]
        return apply_op("StridedSlice", [tensor, *bounds], masks, scope or None)


def _vector(values: Sequence[Any], name: str) -> Tensor:
    values = [v[()] if isinstance(v, np.ndarray) else v for v in values]
    if not any(isinstance(v, Tensor) or hasattr(v, "_as_graph_element") for v in values):
        return array_ops.constant(np.array(values, np.int64).tolist(), name=name)
    tensors = [v for v in values if isinstance(v, Tensor) or hasattr(v, "_as_graph_element")]
    widest = dtypes.int64 if any(t.dtype.base_dtype == dtypes.int64 for t in tensors) else _INT32
    same = [
        apply_op("Cast", [v], {"DstT": widest})
        if v in tensors and v.dtype.base_dtype != widest
        else convert.convert_to_tensor(v, None if v in tensors else widest)
        for v in values
    ]
    return array_ops.stack(same, name=name)


Tensor.__getitem__ = slice_helper  # type: ignore[method-assign]


# Gather.


def _infer_gather(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    params, indices, axis = inputs
    check_dtype("indices", indices.dtype, INDEX)
    dtype = params.dtype.base_dtype
    at = axis.constant_value()
    if params.shape.ndims is None or indices.shape.ndims is None:
        return [(dtype, unknown_shape())]
    if params.shape.ndims == 0:
        raise ValueError("params has shape (); there is nothing to gather from.")
    if at is None:
        return [(dtype, unknown_shape(params.shape.ndims - 1 + indices.shape.ndims))]
    at = axis_in_range(int(at), params.shape.ndims)
    dims = params.shape.as_list()
    return [(dtype, TensorShape(dims[:at] + indices.shape.as_list() + dims[at + 1 :]))]


def _gather(
    attrs: dict[str, Any], params: np.ndarray, indices: np.ndarray, axis: np.ndarray
) -> np.ndarray:
    at = axis_in_range(int(axis), params.ndim)
    n = params.shape[at]
    bad = (indices < 0) | (indices >= n)
    if bad.any():
        raise ValueError(f"indices holds {indices[bad].flat[0]}; params has [0, {n}) there.")
    return np.take(params, indices, axis=at)


def _grad_gather(op: Any, grad: Tensor) -> list[Any]:
    params, indices, axis = op.inputs
    shape = array_ops.shape(params)
    at = convert.constant_value(axis)
    if at is None or at != 0:
        return [apply_op("GatherGrad", [grad, indices, axis, shape]), None, None]
    count = array_ops.size(indices)
    rest = params.shape[1:]
    if rest.is_fully_defined():
        rows = array_ops.reshape(grad, [count, *rest.as_list()])
    else:
        rows = array_ops.reshape(grad, array_ops.concat([[count], shape[1:]], 0))
    flat = array_ops.reshape(indices, [-1])
    return [IndexedSlices(rows, flat, shape), None, None]


def _gather_grad(
    attrs: dict[str, Any], g: np.ndarray, indices: np.ndarray, axis: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    """Adds each slice of g to the place that it was gathered from."""
    at = axis_in_range(int(axis), len(shape))
    out = np.zeros(shape.tolist(), g.dtype)
    moved = np.moveaxis(g, range(at, at + indices.ndim), range(indices.ndim))
    moved = moved.reshape(indices.size, *np.delete(shape, at))
    np.add.at(np.moveaxis(out, at, 0), indices.ravel(), moved)
    return out


register(
    "GatherV2",
    infer=_infer_gather,
    compute=_gather,
    gradient=_grad_gather,
    inputs=["params", "indices", "axis"],
    samples=lambda: [
        ({}, [np.arange(12.0).reshape(3, 4), _ints(2, 0, 2), np.array(0, np.int32)]),
        (
            {},
            [np.arange(12.0).reshape(3, 4), np.array([[3, 1]], np.int32), np.array(1, np.int32)],
        ),
    ],
)
register(
    "GatherGrad",
    infer=lambda attrs, inputs: [
        (inputs[0].dtype.base_dtype, convert.constant_value_as_shape(inputs[3]))
    ],
    compute=_gather_grad,
    gradient=lambda op, grad: [
        apply_op("GatherV2", [grad, op.inputs[1], op.inputs[2]]),
        None,
        None,
        None,
    ],
    inputs=["grad", "indices", "axis", "shape"],
    samples=lambda: [
        ({}, [np.ones((3, 4)), _ints(2, 0, 2), np.array(0, np.int32), _ints(3, 4)]),
        (
            {},
            [
                np.arange(6.0).reshape(3, 1, 2),
                np.array([[3, 1]], np.int32),
                np.array(1, np.int32),
                _ints(3, 4),
            ],
        ),
    ],
)


def gather(
    params: Any, indices: Any, validate_indices: Any = None, name: str | None = None, axis: Any = 0
) -> Tensor:
    """The slices of `params` along `axis` that `indices` name.

    Raises:
        InvalidArgumentError: an index out of range, when it is run.

    Source: `tf.gather`.
    """
    return apply_op("GatherV2", [params, indices, axis], None, name, dtypes=[None, _INT32, _INT32])


def _infer_gather_nd(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    params, indices = inputs
    check_dtype("indices", indices.dtype, INDEX)
    dtype = params.dtype.base_dtype
    if params.shape.ndims is None or indices.shape.ndims is None:
        return [(dtype, unknown_shape())]
    depth = indices.shape[-1].value
    if depth is None:
        return [(dtype, unknown_shape())]
    if depth > params.shape.ndims:
        raise ValueError(f"indices of length {depth} for params of shape {params.shape}.")
    return [(dtype, indices.shape[:-1].concatenate(params.shape[depth:]))]


def _nd(indices: np.ndarray, shape: Sequence[int]) -> tuple[np.ndarray, ...]:
    limits = np.array(shape[: indices.shape[-1]], indices.dtype)
    if indices.size and ((indices < 0) | (indices >= limits)).any():
        raise ValueError(f"indices leave shape {tuple(shape)}.")
    return tuple(np.moveaxis(indices, -1, 0))


def _scatter_nd(
    attrs: dict[str, Any], indices: np.ndarray, updates: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    out = np.zeros(shape.tolist(), updates.dtype)
    np.add.at(out, _nd(indices, out.shape), updates)
    return out


register(
    "GatherNd",
    infer=_infer_gather_nd,
    compute=lambda attrs, params, indices: params[_nd(indices, params.shape)],
    gradient=lambda op, grad: [
        apply_op(
            "ScatterNd",
            [op.inputs[1], grad, array_ops.shape(op.inputs[0], out_type=op.inputs[1].dtype)],
        ),
        None,
    ],
    inputs=["params", "indices"],
    samples=lambda: [
        ({}, [np.arange(6.0).reshape(2, 3), np.array([[1, 2], [0, 0], [1, 2]], np.int32)]),
        ({}, [np.arange(6.0).reshape(2, 3), np.array([[1], [1]], np.int32)]),
    ],
)
register(
    "ScatterNd",
    infer=lambda attrs, inputs: [
        (inputs[1].dtype.base_dtype, convert.constant_value_as_shape(inputs[2]))
    ],
    compute=_scatter_nd,
    gradient=lambda op, grad: [None, apply_op("GatherNd", [grad, op.inputs[0]]), None],
    inputs=["indices", "updates", "shape"],
    samples=lambda: [
        ({}, [np.array([[1], [3], [1]], np.int32), np.array([1.0, 2.0, 3.0]), _ints(5)])
    ],
)


def gather_nd(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """The elements or slices of `params` at the positions in the last axis of `indices`."""
    return apply_op("GatherNd", [params, indices], None, name, dtypes=[None, _INT32])


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Zeros of `shape` with `updates` added at the positions `indices`."""
    hints = [_INT32, None, _INT32]
    return apply_op("ScatterNd", [indices, updates, shape], None, name, dtypes=hints)


# OneHot.


def _infer_one_hot(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    indices, depth, on, off = inputs
    dtype = shape_rules.same_dtype([on, off], ("on_value", "off_value"))
    check_dtype("indices", indices.dtype, (dtypes.uint8, *INDEX))
    n = depth.constant_value()
    if n is not None and n < 0:
        raise ValueError(f"depth is {int(n)}; it must be 0 or more.")
    if indices.shape.ndims is None:
        return [(dtype, unknown_shape())]
    rank = indices.shape.ndims
    at = rank if attrs["axis"] == -1 else axis_in_range(attrs["axis"], rank + 1)
    dims = indices.shape.as_list()
    return [(dtype, TensorShape([*dims[:at], None if n is None else int(n), *dims[at:]]))]


def _one_hot(
    attrs: dict[str, Any], indices: np.ndarray, depth: np.ndarray, on: np.ndarray, off: np.ndarray
) -> np.ndarray:
    if depth < 0:
        raise ValueError(f"depth is {int(depth)}; it must be 0 or more.")
    n = int(depth)
    out = engine.empty((*indices.shape, n), on.dtype)
    out[...] = off
    which = indices.reshape(-1)
    inside = (which >= 0) & (which < n)
    rows = np.arange(which.size)
    if not inside.all():
        which, rows = which[inside], rows[inside]
    out.reshape(-1)[rows * n + which] = on
    at = attrs["axis"]
    return in_order(out if at == -1 else np.moveaxis(out, -1, at))


register(
    "OneHot",
    infer=_infer_one_hot,
    compute=_one_hot,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["indices", "depth", "on_value", "off_value"],
    samples=lambda: [
        ({"axis": a}, [_ints(1, 5, -1), np.array(3, np.int32), np.array(1.0), np.array(0.0)])
        for a in (-1, 0)
    ],
)


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """Vectors with `on_value` at the place that an index names and `off_value` elsewhere.

    Args:
        indices: integers; those outside [0, depth) give `off_value` everywhere.
        depth: length of the vectors.
        on_value: default 1.
        off_value: default 0.
        axis: where the new axis goes; default last.
        dtype: default by the values, else float32.
        name: name of the operation.

    Raises:
        TypeError: the values are not of one type, or not of `dtype`.

    Source: `tf.one_hot`.
    """
    with context.name_scope(name, "one_hot", [indices, depth, on_value, off_value]) as scope:
        given = [
            convert.convert_to_tensor(v, preferred_dtype=dtype, name=n).dtype.base_dtype
            for v, n in ((on_value, "on_value"), (off_value, "off_value"))
            if v is not None
        ]
        wanted = None if dtype is None else dtypes.as_dtype(dtype).base_dtype
        if len(set(given)) > 1:
            raise TypeError(f"on_value is {given[0].name}, but off_value is {given[1].name}.")
        if given and wanted is not None and given[0] != wanted:
            raise TypeError(f"on_value and off_value are {given[0].name}, dtype is {wanted.name}.")
        kind = wanted or (given[0] if given else dtypes.float32)
        on = convert.convert_to_tensor(
            (True if kind.is_bool else 1) if on_value is None else on_value, kind, name="on_value"
        )
        off = convert.convert_to_tensor(
            (False if kind.is_bool else 0) if off_value is None else off_value,
            kind,
            name="off_value",
        )
        return apply_op(
            "OneHot",
            [indices, depth, on, off],
            {"axis": -1 if axis is None else axis},
            scope or None,
            dtypes=[None, _INT32, None, None],
        )


# Where, Select.


register(
    "Where",
    infer=lambda attrs, inputs: [(dtypes.int64, TensorShape([None, inputs[0].shape.ndims]))],
    compute=lambda attrs, x: np.argwhere(x).astype(np.int64),
    gradient=NOT_DIFFERENTIABLE,
    inputs=["input"],
    samples=lambda: [({}, [np.array([[True, False], [False, True]])])],
)


def _infer_select(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    condition, x, y = inputs
    check_dtype("condition", condition.dtype, (dtypes.bool,))
    dtype = shape_rules.same_dtype([x, y], ("x", "y"))
    out = x.shape.merge_with(y.shape)
    if condition.shape.ndims == 1 and out.ndims is not None and out.ndims > 1:
        out[:1].assert_is_compatible_with(condition.shape)
    elif condition.shape.ndims not in (None, 0):
        out.assert_is_compatible_with(condition.shape)
    return [(dtype, out)]


def _select(
    attrs: dict[str, Any], condition: np.ndarray, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    if x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape} and y has {y.shape}.")
    if condition.ndim == 0:
        return x if condition else y
    if condition.ndim == 1 and x.ndim > 1:
        condition = condition.reshape(-1, *[1] * (x.ndim - 1))
        if len(condition) != len(x):
            raise ValueError(f"condition has {len(condition)} entries for {len(x)} rows.")
    elif condition.shape != x.shape:
        raise ValueError(f"condition has shape {condition.shape}, x has {x.shape}.")
    return np.where(condition, x, y)


def _grad_select(op: Any, grad: Tensor) -> list[Any]:
    condition = op.inputs[0]
    nothing = array_ops.zeros_like(grad)
    return [
        None,
        apply_op("Select", [condition, grad, nothing]),
        apply_op("Select", [condition, nothing, grad]),
    ]


register(
    "Select",
    infer=_infer_select,
    compute=_select,
    gradient=_grad_select,
    inputs=["condition", "t", "e"],
    samples=lambda: [
        ({}, [np.array([True, False]), np.arange(2.0), np.ones(2)]),
        ({}, [np.array([True, False]), np.arange(6.0).reshape(2, 3), np.ones((2, 3))]),
        ({}, [np.array(True), np.arange(2.0), np.ones(2)]),
    ],
)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """X where the condition holds, else y; without x and y, where the condition holds.

    Raises:
        ValueError: only one of x and y is given; shapes that do not fit.

    Source: `tf.where` of TensorFlow 1.x: `condition` has the shape of x or is a vector of rows.
    """
    if x is None and y is None:
        with context.name_scope(name, "Where", [condition]) as scope:
            condition = convert.convert_to_tensor(condition, preferred_dtype=dtypes.bool)
            return apply_op("Where", [condition], None, scope or None)
    if x is None or y is None:
        raise ValueError("Either both x and y must be given, or neither.")
    hints = [dtypes.bool, None, None]
    return apply_op("Select", [condition, x, y], None, name, dtypes=hints, same=(1, 2))


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: Any = None) -> Tensor:
    """The slices of `tensor` for which `mask` is true.

    Args:
        tensor: the tensor.
        mask: bool, of a shape that agrees with `tensor` from `axis` on; rank 1 or more.
        name: name scope.
        axis: where the mask starts; default 0.

    Raises:
        ValueError: a mask of shape () or unknown rank, or of another shape than the tensor.

    Source: `tf.boolean_mask`.
    """
    with context.name_scope(name, None, [tensor, mask]):
        tensor = convert.convert_to_tensor(tensor, name="tensor")
        mask = convert.convert_to_tensor(mask, name="mask", preferred_dtype=dtypes.bool)
        n = mask.shape.ndims
        if n is None:
            raise ValueError("mask must have a known rank, even if its sizes are not known.")
        if n == 0:
            raise ValueError("mask must not have shape ().")
        at = 0 if axis is None else int(axis)
        tensor.shape[at : at + n].assert_is_compatible_with(mask.shape)
        sizes = array_ops.shape(tensor)
        joined = array_ops.concat([sizes[:at], [-1], sizes[at + n :]], 0)
        flat = array_ops.reshape(tensor, joined)
        if tensor.shape.ndims is not None and type(flat) is Tensor:
            middle = tensor.shape[at : at + n].num_elements()
            flat.set_shape(
                tensor.shape[:at].concatenate([middle]).concatenate(tensor.shape[at + n :])
            )
        places = where(array_ops.reshape(mask, [-1]))
        return gather(flat, array_ops.squeeze(places, axis=[1]), axis=at)


def sequence_mask(
    lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool, name: str | None = None
) -> Tensor:
    """Rows whose first `lengths[i]` entries are true."""
    with context.name_scope(name, "SequenceMask", [lengths, maxlen]):
        lengths = convert.convert_to_tensor(lengths)
        kind = lengths.dtype.base_dtype
        if maxlen is None:
            every = apply_op("Range", [0, array_ops.rank(lengths), 1], same=(0, 1, 2))
            maxlen = apply_op("Max", [lengths, every], {"keep_dims": False})
        maxlen = convert.convert_to_tensor(maxlen, preferred_dtype=kind)
        zero, one = (convert.convert_to_tensor(v, maxlen.dtype.base_dtype) for v in (0, 1))
        row = apply_op("Range", [zero, maxlen, one])
        column = array_ops.expand_dims(lengths, -1)
        row = apply_op("Cast", [row], {"DstT": kind})
        found = apply_op("Less", [row, column])
        wanted = dtypes.as_dtype(dtype)
        return found if wanted.is_bool else apply_op("Cast", [found], {"DstT": wanted})


# SpaceToBatchND, BatchToSpaceND.


def _space_to_batch(
    attrs: dict[str, Any], x: np.ndarray, block: np.ndarray, paddings: np.ndarray
) -> np.ndarray:
    b = _block(block)
    m = len(b)
    if (paddings < 0).any():
        raise ValueError(f"paddings={paddings.tolist()}: sizes are 0 or more.")
    rest = x.ndim - 1 - m
    padded = np.pad(x, [(0, 0), *[tuple(p) for p in paddings.tolist()], *[(0, 0)] * rest])
    for i in range(m):
        if padded.shape[1 + i] % b[i]:
            raise ValueError(
                f"axis {1 + i} has size {padded.shape[1 + i]} with paddings, which the block "
                f"size {b[i]} does not divide."
            )
    dims = [padded.shape[0]]
    for i in range(m):
        dims += [padded.shape[1 + i] // b[i], b[i]]
    dims += padded.shape[1 + m :]
    # [n, s1/b1, b1, ..., rest] -> [b1, ..., n, s1/b1, ..., rest]
    order = [2 * i + 2 for i in range(m)] + [0] + [2 * i + 1 for i in range(m)]
    order += list(range(2 * m + 1, len(dims)))
    moved = padded.reshape(dims).transpose(order)
    out = [padded.shape[0] * int(np.prod(b)), *[padded.shape[1 + i] // b[i] for i in range(m)]]
    return in_order(moved).reshape([*out, *padded.shape[1 + m :]])


def _batch_to_space(
    attrs: dict[str, Any], x: np.ndarray, block: np.ndarray, crops: np.ndarray
) -> np.ndarray:
    b = _block(block)
    m = len(b)
    blocks = int(np.prod(b))
    if x.shape[0] % blocks:
        raise ValueError(f"the batch size {x.shape[0]} is no multiple of the block's {blocks}.")
    n = x.shape[0] // blocks
    split = x.reshape([*b, n, *x.shape[1:]])
    order = [m]
    for i in range(m):
        order += [m + 1 + i, i]
    order += list(range(2 * m + 1, split.ndim))
    spatial = [x.shape[1 + i] * b[i] for i in range(m)]
    whole = in_order(split.transpose(order)).reshape([n, *spatial, *x.shape[1 + m :]])
    keep: list[Any] = [_slice(None)]
    for size, (low, high) in zip(spatial, crops.tolist(), strict=False):
        if low < 0 or high < 0 or low + high > size:
            raise ValueError(f"crops {[low, high]} leave nothing of size {size}.")
        keep.append(_slice(low, size - high))
    return in_order(whole[tuple(keep)])


def _block(block: np.ndarray) -> list[int]:
    if (block < 1).any():
        raise ValueError(f"block_shape={block.tolist()}: sizes are 1 or more.")
    return block.tolist()


def _infer_blocks(to_batch: bool) -> Any:
    def infer(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
        x, block, borders = inputs
        dtype = x.dtype.base_dtype
        b, p = block.constant_value(), borders.constant_value()
        if x.shape.ndims is None or b is None:
            return [(dtype, unknown_shape(x.shape.ndims))]
        _block(b)
        m = len(b)
        dims = x.shape.dims or []
        if len(dims) < m + 1:
            raise ValueError(f"block_shape has {m} entries for shape {x.shape}.")
        blocks = int(np.prod(b, dtype=np.int64))
        out = [dims[0] * blocks if to_batch else dims[0] // blocks]
        for i in range(m):
            if p is None:
                out.append(Dimension(None))
                continue
            edge = int(p[i].sum())
            if to_batch:
                size = dims[1 + i] + edge
                if size.value is not None and size.value % int(b[i]):
                    raise ValueError(
                        f"axis {1 + i} has size {size} with paddings, which the block size "
                        f"{b[i]} does not divide."
                    )
                out.append(size // int(b[i]))
            else:
                out.append(dims[1 + i] * int(b[i]) - edge)
        return [(dtype, TensorShape([*out, *dims[1 + m :]]))]

    return infer


_BORDERS = np.array([[0, 1], [1, 0]], np.int32)
register(
    "SpaceToBatchND",
    infer=_infer_blocks(True),
    compute=_space_to_batch,
    gradient=lambda op, grad: [
        apply_op("BatchToSpaceND", [grad, op.inputs[1], op.inputs[2]]),
        None,
        None,
    ],
    inputs=["input", "block_shape", "paddings"],
    samples=lambda: [({}, [np.arange(30.0).reshape(1, 3, 5, 2), _ints(2, 3), _BORDERS])],
)
register(
    "BatchToSpaceND",
    infer=_infer_blocks(False),
    compute=_batch_to_space,
    gradient=lambda op, grad: [
        apply_op("SpaceToBatchND", [grad, op.inputs[1], op.inputs[2]]),
        None,
        None,
    ],
    inputs=["input", "block_shape", "crops"],
    samples=lambda: [({}, [np.arange(48.0).reshape(6, 2, 2, 2), _ints(2, 3), _BORDERS])],
)


def space_to_batch_nd(
    input: Any,
    block_shape: Any,
    paddings: Any,
    name: str | None = None,
) -> Tensor:
    """Moves blocks of space into the batch: `[N*prod(b), (s+p)/b, ...]`."""
    inputs = [input, block_shape, paddings]
    return apply_op("SpaceToBatchND", inputs, None, name, dtypes=[None, _INT32, _INT32])


def batch_to_space_nd(
    input: Any,
    block_shape: Any,
    crops: Any,
    name: str | None = None,
) -> Tensor:
    """Undoes `space_to_batch_nd`."""
    inputs = [input, block_shape, crops]
    return apply_op("BatchToSpaceND", inputs, None, name, dtypes=[None, _INT32, _INT32])


def required_space_to_batch_paddings(
    input_shape: Any, block_shape: Any, base_paddings: Any = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """The least paddings (and the crops that undo them) that make sizes multiples of the block.

    Args:
        input_shape: spatial sizes, known while building.
        block_shape: block sizes.
        base_paddings: `[m, 2]`, paddings that there are to be at least.
        name: name scope.

    Raises:
        ValueError: a size is not known.

    Source: `tf.required_space_to_batch_paddings`.
    """
    known = [
        v if isinstance(v, np.ndarray) or not isinstance(v, Tensor) else v.constant_value()
        for v in (input_shape, block_shape, base_paddings)
    ]
    if known[0] is None or known[1] is None:
        raise ValueError("input_shape and block_shape must be known while building.")
    sizes, block = np.array(known[0]), np.array(known[1])
    base = np.zeros((len(sizes), 2), np.int32) if known[2] is None else np.array(known[2])
    full = sizes + base.sum(axis=1)
    extra = (block - full % block) % block
    paddings = np.stack([base[:, 0], base[:, 1] + extra], axis=1).astype(np.int32)
    crops = np.stack([np.zeros_like(extra), extra], axis=1).astype(np.int32)
    with context.name_scope(name, "required_space_to_batch_paddings"):
        return (
            array_ops.constant(paddings, name="paddings"),
            array_ops.constant(crops, name="crops"),
        )


#: Stands for a new axis in an index, as `None` does.
newaxis = None
