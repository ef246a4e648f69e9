"""Ops that change how a tensor lies: the order of axes, repetition, borders, direction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import Tensor
from conv3d.framework.tensor_shape import TensorShape, unknown_shape
from conv3d.ops import array_ops, shape_rules
from conv3d.ops.shape_rules import INDEX, axis_in_range, check_dtype, in_order

_INT32 = dtypes.int32

# Transpose.


def _infer_transpose(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, perm = inputs
    check_dtype("perm", perm.dtype, INDEX)
    rank_ = x.shape.ndims if x.shape.ndims is not None else perm.shape.num_elements()
    order = perm.constant_value()
    if rank_ is None:
        return [(x.dtype.base_dtype, unknown_shape())]
    if order is None or x.shape.ndims is None:
        return [(x.dtype.base_dtype, unknown_shape(rank_))]
    dims = x.shape.as_list()
    return [(x.dtype.base_dtype, TensorShape([dims[i] for i in _order(order, rank_)]))]


def _order(perm: np.ndarray, rank_: int) -> list[int]:
    order = [axis_in_range(int(p), rank_, "an entry of perm") for p in perm]
    if sorted(order) != list(range(rank_)):
        raise ValueError(f"perm={perm.tolist()} does not name each of the {rank_} axes once.")
    return order


register(
    "Transpose",
    infer=_infer_transpose,
    compute=lambda attrs, x, perm: in_order(np.transpose(x, _order(perm, x.ndim))),
    gradient=lambda op, grad: [
        transpose(grad, apply_op("InvertPermutation", [op.inputs[1]])),
        None,
    ],
    inputs=["x", "perm"],
    samples=lambda: [
        ({}, [np.arange(24.0).reshape(2, 3, 4), np.array([2, 0, 1], np.int32)]),
        ({}, [np.arange(6.0).reshape(2, 3), np.array([1, 0], np.int32)]),
    ],
)
register(
    "InvertPermutation",
    infer=shape_rules.unary(INDEX),
    compute=lambda attrs, x: np.argsort(_order(x, len(x))).astype(x.dtype),
    gradient=NOT_DIFFERENTIABLE,
    inputs=["x"],
    samples=lambda: [({}, [np.array([2, 0, 1], np.int32)])],
)


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """The permutation that undoes `x`."""
    return apply_op("InvertPermutation", [x], None, name)


def transpose(a: Any, perm: Any = None, name: str = "transpose", conjugate: bool = False) -> Tensor:
    """The tensor with its axes in the order `perm`, default reversed.

    Raises:
        ValueError: `perm` does not name each axis once.

    Source: `tf.transpose`.
    """
    with context.name_scope(name, "transpose", [a]) as scope:
        a = convert.convert_to_tensor(a)
        if conjugate and a.dtype.is_complex:
            raise TypeError("conjugate=True is not offered for complex tensors.")
        if perm is None:
            if a.shape.ndims is not None:
                perm = np.arange(a.shape.ndims - 1, -1, -1, dtype=np.int32)
            else:
                n = array_ops.rank(a)
                perm = (n - 1) - apply_op("Range", [0, n, 1], same=(0, 1, 2))
        return apply_op("Transpose", [a, perm], None, scope or None, dtypes=[None, _INT32])


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """The tensor with its last two axes exchanged."""
    a = convert.convert_to_tensor(a, name="a")
    if a.shape.ndims is None:
        raise ValueError("matrix_transpose needs a tensor of known rank.")
    if a.shape.ndims < 2:
        raise ValueError(f"matrix_transpose needs rank 2 or more, not shape {a.shape}.")
    order = list(range(a.shape.ndims - 2)) + [a.shape.ndims - 1, a.shape.ndims - 2]
    return transpose(a, order, name, conjugate)


# Tile.


def _infer_tile(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, multiples = inputs
    check_dtype("multiples", multiples.dtype, INDEX)
    times = convert.constant_value_as_shape(multiples)
    if x.shape.ndims is None:
        return [(x.dtype.base_dtype, unknown_shape(times.ndims))]
    times = times.with_rank(x.shape.ndims)
    return [
        (x.dtype.base_dtype, TensorShape([a * b for a, b in zip(x.shape, times, strict=False)]))
    ]


def _grad_tile(op: Any, grad: Tensor) -> list[Any]:
    # [m0*d0, m1*d1, ...] -> [m0, d0, m1, d1, ...], summed over the m.
    x, multiples = op.inputs
    n = x.shape.ndims
    if n is None:
        raise ValueError("The gradient of tile needs a tensor of known rank.")
    pairs = transpose(
        array_ops.stack([multiples, array_ops.shape(x, out_type=multiples.dtype)]), [1, 0]
    )
    spread = array_ops.reshape(grad, array_ops.reshape(pairs, [-1]))
    axes = np.arange(0, 2 * n, 2, dtype=np.int32)
    return [apply_op("Sum", [spread, axes], {"keep_dims": False}), None]


def _tile(attrs: dict[str, Any], x: np.ndarray, multiples: np.ndarray) -> np.ndarray:
    if len(multiples) != x.ndim or (multiples < 0).any():
        raise ValueError(f"multiples={multiples.tolist()} does not fit shape {x.shape}.")
    return np.tile(x, multiples.tolist())


register(
    "Tile",
    infer=_infer_tile,
    compute=_tile,
    gradient=_grad_tile,
    inputs=["input", "multiples"],
    samples=lambda: [({}, [np.arange(6.0).reshape(2, 3), np.array([2, 2], np.int32)])],
)


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """The tensor repeated `multiples[i]` times along axis i."""
    return apply_op("Tile", [input, multiples], None, name, dtypes=[None, _INT32])


# Pad, MirrorPad.


def _infer_pad(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, paddings = inputs[:2]
    check_dtype("paddings", paddings.dtype, INDEX)
    shape_ = paddings.shape.with_rank(2)
    if shape_.ndims is not None and shape_[1].value not in (None, 2):
        raise ValueError(f"paddings must have shape [rank, 2], not {shape_}.")
    rank_ = x.shape.ndims if x.shape.ndims is not None else paddings.shape[0].value
    amounts = paddings.constant_value()
    if rank_ is None:
        return [(x.dtype.base_dtype, unknown_shape())]
    known = x.shape.with_rank(rank_)
    if paddings.shape.ndims is not None and paddings.shape[0].value not in (None, rank_):
        raise ValueError(f"paddings has {paddings.shape[0]} rows for a tensor of rank {rank_}.")
    if amounts is None:
        return [(x.dtype.base_dtype, unknown_shape(rank_))]
    _check_amounts(amounts)
    dims = [d + int(lo) + int(hi) for d, (lo, hi) in zip(known, amounts, strict=False)]
    return [(x.dtype.base_dtype, TensorShape(dims))]


def _check_amounts(amounts: np.ndarray) -> list[list[int]]:
    if amounts.ndim != 2 or amounts.shape[1] != 2 or (amounts < 0).any():
        raise ValueError(f"paddings={amounts.tolist()}: a pair of sizes of 0 or more an axis.")
    return amounts.tolist()


def _pad(attrs: dict[str, Any], x: np.ndarray, paddings: np.ndarray, *value: Any) -> np.ndarray:
    fill_ = value[0] if value else np.zeros((), x.dtype)
    return np.pad(x, _check_amounts(paddings), constant_values=fill_)


def _inner(op: Any, grad: Tensor) -> Tensor:
    """The part of a padded tensor that the tensor itself fills."""
    x, paddings = op.inputs[:2]
    begin = array_ops.reshape(slice_columns(paddings, 0), [-1])
    return apply_op("Slice", [grad, begin, array_ops.shape(x, out_type=paddings.dtype)])


def slice_columns(matrix: Any, column: int) -> Tensor:
    """Column `column` of a matrix, as a matrix of one column."""
    return apply_op("Slice", [matrix, [0, column], [-1, 1]], dtypes=[None, _INT32, _INT32])


def _grad_pad_v2(op: Any, grad: Tensor) -> list[Any]:
    inner = _inner(op, grad)
    return [inner, None, array_ops.sum_all(grad) - array_ops.sum_all(inner)]


_PAD_SAMPLE = [np.arange(6.0).reshape(2, 3), np.array([[1, 0], [2, 1]], np.int32)]
register(
    "Pad",
    infer=_infer_pad,
    compute=_pad,
    gradient=lambda op, grad: [_inner(op, grad), None],
    inputs=["input", "paddings"],
    samples=lambda: [({}, _PAD_SAMPLE)],
)
register(
    "PadV2",
    infer=_infer_pad,
    compute=_pad,
    gradient=_grad_pad_v2,
    inputs=["input", "paddings", "constant_values"],
    samples=lambda: [({}, [*_PAD_SAMPLE, np.array(1.5)])],
)


def _mirror(attrs: dict[str, Any], x: np.ndarray, paddings: np.ndarray) -> np.ndarray:
    mode = attrs["mode"].lower()
    amounts = _check_amounts(paddings)
    for i, (low, high) in enumerate(amounts):
        most = x.shape[i] - (mode == "reflect")
        if max(low, high) > most:
            raise ValueError(f"paddings of axis {i} are {[low, high]}; mode={mode} allows {most}.")
    return np.pad(x, amounts, mode=mode)


def _mirror_grad(attrs: dict[str, Any], g: np.ndarray, paddings: np.ndarray) -> np.ndarray:
    """Adds what lies in the border to the cells that it mirrors, axis by axis."""
    skip = int(attrs["mode"].lower() == "reflect")
    for axis, (low, high) in enumerate(paddings.tolist()):
        moved = np.moveaxis(g, axis, 0)
        n = len(moved) - low - high
        inner = moved[low : low + n].copy()
        inner[skip : skip + low] += moved[:low][::-1]
        if high:
            inner[n - skip - high : n - skip] += moved[low + n :][::-1]
        g = np.moveaxis(inner, 0, axis)
    return in_order(g)


def _infer_mirror_grad(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    g, paddings = inputs
    amounts = paddings.constant_value()
    if amounts is None or g.shape.ndims is None:
        return [(g.dtype.base_dtype, unknown_shape(g.shape.ndims))]
    dims = [d - int(lo) - int(hi) for d, (lo, hi) in zip(g.shape, amounts, strict=False)]
    return [(g.dtype.base_dtype, TensorShape(dims))]


def _mirror_samples(inner: tuple[int, int]) -> Any:
    paddings = np.array([[1, 0], [2, 1]], np.int32)
    x = np.random.default_rng(2).normal(size=inner)
    return lambda: [({"mode": m}, [x, paddings]) for m in ("REFLECT", "SYMMETRIC")]


register(
    "MirrorPad",
    infer=_infer_pad,
    compute=_mirror,
    gradient=lambda op, grad: [
        apply_op("MirrorPadGrad", [grad, op.inputs[1]], {"mode": op.get_attr("mode")}),
        None,
    ],
    inputs=["input", "paddings"],
    samples=_mirror_samples((2, 3)),
)
register(
    "MirrorPadGrad",
    infer=_infer_mirror_grad,
    compute=_mirror_grad,
    gradient=lambda op, grad: [
        apply_op("MirrorPad", [grad, op.inputs[1]], {"mode": op.get_attr("mode")}),
        None,
    ],
    inputs=["input", "paddings"],
    samples=_mirror_samples((3, 6)),
)


def pad(
    tensor: Any,
    paddings: Any,
    mode: str = "CONSTANT",
    name: str | None = None,
    constant_values: Any = 0,
) -> Tensor:
    """The tensor with a border.

    Args:
        tensor: the tensor.
        paddings: int32 `[rank, 2]`: cells before and after, an axis.
        mode: "CONSTANT", "REFLECT" (without the edge) or "SYMMETRIC" (with the edge); any case.
        name: name of the operation.
        constant_values: what fills the border in mode "CONSTANT".

    Raises:
        ValueError: an unknown mode; paddings that do not fit.

    Source: `tf.pad`.
    """
    mode = str(mode).upper()
    hints = [None, _INT32]
    if mode == "CONSTANT":
        if not isinstance(constant_values, Tensor) and constant_values == 0:
            return apply_op("Pad", [tensor, paddings], None, name, dtypes=hints)
        inputs = [tensor, paddings, constant_values]
        return apply_op("PadV2", inputs, None, name, dtypes=[*hints, None], same=(0, 2))
    if mode in ("REFLECT", "SYMMETRIC"):
        return apply_op("MirrorPad", [tensor, paddings], {"mode": mode}, name, dtypes=hints)
    raise ValueError(f"mode must be CONSTANT, REFLECT or SYMMETRIC, not {mode!r}.")


# ReverseV2.

register(
    "ReverseV2",
    infer=shape_rules.like(),
    compute=lambda attrs, x, axes: in_order(
        np.flip(x, tuple(axis_in_range(int(a), x.ndim) for a in axes))
    ),
    gradient=lambda op, grad: [apply_op("ReverseV2", [grad, op.inputs[1]]), None],
    inputs=["tensor", "axis"],
    samples=lambda: [({}, [np.arange(6.0).reshape(2, 3), np.array([1], np.int32)])],
)


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """The tensor with its elements in opposite order along the axes of a list."""
    return apply_op("ReverseV2", [tensor, axis], None, name, dtypes=[None, _INT32])


reverse_v2 = reverse
