"""Array ops that programs around a network use now and then: diagonals, grids, unique values."""

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

# IdentityN.

register(
    "IdentityN",
    infer=lambda attrs, inputs: [(t.dtype.base_dtype, t.shape) for t in inputs],
    compute=lambda attrs, *arrays: list(arrays),
    gradient=lambda op, *grads: list(grads),
    inputs=["input*"],
    samples=lambda: [({}, [np.ones(2), np.arange(3.0)])],
)


def identity_n(input: Any, name: str | None = None) -> list[Tensor]:
    """Tensors of the same values."""
    out = apply_op("IdentityN", list(input), None, name)
    return out if isinstance(out, list) else [out]


# MatrixDiag, MatrixDiagPart.


def _diag(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    n = x.shape[-1]
    out = np.zeros((*x.shape, n), x.dtype)
    out[..., np.arange(n), np.arange(n)] = x
    return out


def _infer_diag(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape = inputs[0].shape.with_rank_at_least(1)
    if shape.ndims is None:
        return [(inputs[0].dtype.base_dtype, unknown_shape())]
    return [(inputs[0].dtype.base_dtype, shape.concatenate(shape[-1:]))]


def _infer_diag_part(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape = inputs[0].shape.with_rank_at_least(2)
    dtype = inputs[0].dtype.base_dtype
    if shape.ndims is None:
        return [(dtype, unknown_shape())]
    rows, columns = shape[-2].value, shape[-1].value
    n = None if rows is None or columns is None else min(rows, columns)
    return [(dtype, shape[:-2].concatenate([n]))]


def _grad_diag_part(op: Any, grad: Tensor) -> list[Any]:
    x = op.inputs[0]
    spread = apply_op("MatrixDiag", [grad])
    if x.shape.ndims is not None and x.shape[-2].value is not None:
        if x.shape[-2].value == x.shape[-1].value:
            return [spread]
    extra = array_ops.shape(x) - array_ops.shape(spread)
    borders = array_ops.stack([array_ops.zeros_like(extra), extra], axis=1)
    return [array_ops.pad(spread, borders)]


register(
    "MatrixDiag",
    infer=_infer_diag,
    compute=_diag,
    gradient=lambda op, grad: [apply_op("MatrixDiagPart", [grad])],
    inputs=["diagonal"],
    samples=lambda: [({}, [np.arange(6.0).reshape(2, 3)])],
)
register(
    "MatrixDiagPart",
    infer=_infer_diag_part,
    compute=lambda attrs, x: np.array(np.diagonal(x, axis1=-2, axis2=-1)),
    gradient=_grad_diag_part,
    inputs=["input"],
    samples=lambda: [
        ({}, [np.arange(18.0).reshape(2, 3, 3)]),
        ({}, [np.arange(12.0).reshape(2, 2, 3)]),
    ],
)


def matrix_diag(diagonal: Any, name: str | None = None) -> Tensor:
    """Square matrices with the last axis as their diagonals."""
    return apply_op("MatrixDiag", [diagonal], None, name)


def matrix_diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonals of matrices."""
    return apply_op("MatrixDiagPart", [input], None, name)


diag_part = matrix_diag_part


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """The square matrix with a vector as its diagonal. Raises ValueError for other ranks."""
    diagonal = convert.convert_to_tensor(diagonal)
    diagonal.shape.assert_has_rank(1)
    return apply_op("MatrixDiag", [diagonal], None, name or "Diag")


def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = dtypes.float32,
    name: str | None = None,
) -> Tensor:
    """The unit matrix, or a stack of them."""
    with context.name_scope(name, "eye", [num_rows, num_columns, batch_shape]):
        columns = num_rows if num_columns is None else num_columns
        rows = apply_op("Range", [0, num_rows, 1], same=(0, 1, 2))
        out = array_ops.one_hot(rows, columns, dtype=dtype)
        if batch_shape is None:
            return out
        batch = convert.convert_to_tensor(batch_shape, preferred_dtype=dtypes.int32)
        return array_ops.broadcast_to(out, array_ops.concat([batch, array_ops.shape(out)], 0))


# MatrixBandPart.


def _band(attrs: dict[str, Any], x: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    i, j = np.indices(x.shape[-2:])
    keep = ((low < 0) | (i - j <= low)) & ((high < 0) | (j - i <= high))
    return np.where(keep, x, np.zeros((), x.dtype))


register(
    "MatrixBandPart",
    infer=shape_rules.like(),
    compute=_band,
    gradient=lambda op, grad: [
        apply_op("MatrixBandPart", [grad, op.inputs[1], op.inputs[2]]),
        None,
        None,
    ],
    inputs=["input", "num_lower", "num_upper"],
    samples=lambda: [
        ({}, [np.arange(9.0).reshape(3, 3), np.array(1, np.int64), np.array(0, np.int64)])
    ],
)


def matrix_band_part(
    input: Any,
    num_lower: Any,
    num_upper: Any,
    name: str | None = None,
) -> Tensor:
    """Matrices with zeros outside a band; -1 keeps that whole side."""
    hints = [None, dtypes.int64, dtypes.int64]
    return apply_op("MatrixBandPart", [input, num_lower, num_upper], None, name, dtypes=hints)


# Unique.


def _unique(attrs: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    _, first, inverse = np.unique(x, return_index=True, return_inverse=True)
    order = np.argsort(first)  # by first appearance, not by value
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    index = place[inverse.reshape(-1)].astype(attrs["out_idx"].as_numpy_dtype)
    return [x[first[order]], index]


register(
    "Unique",
    infer=lambda attrs, inputs: [
        (inputs[0].dtype.base_dtype, unknown_shape(1)),
        (attrs["out_idx"], inputs[0].shape.with_rank(1)),
    ],
    compute=_unique,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["x"],
    samples=lambda: [({"out_idx": dtypes.int32}, [np.array([3.0, 1.0, 3.0])])],
)


def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> list[Tensor]:
    """The values of a vector in order of first appearance, and where each element's value is."""
    return apply_op("Unique", [x], {"out_idx": dtypes.as_dtype(out_idx)}, name)


# Grids.


def meshgrid(*args: Any, **kwargs: Any) -> list[Tensor]:
    """Coordinates of a grid: one tensor an axis, each over the whole grid.

    Args:
        *args: a vector for each axis.
        **kwargs: `indexing`, "xy" (the first two axes exchanged) or "ij"; `name`, a name scope.

    Raises:
        TypeError: an unknown keyword.
        ValueError: another `indexing`.

    Source: `tf.meshgrid`.
    """
    indexing = kwargs.pop("indexing", "xy")
    name = kwargs.pop("name", "meshgrid")
    if kwargs:
        raise TypeError(f"meshgrid() has no argument {sorted(kwargs)[0]!r}.")
    if indexing not in ("xy", "ij"):
        raise ValueError(f"indexing must be 'xy' or 'ij', not {indexing!r}.")
    with context.name_scope(name, "meshgrid", list(args)):
        n = len(args)
        axes = list(range(n))
        if indexing == "xy" and n > 1:
            axes[:2] = [1, 0]
        vectors = [convert.convert_to_tensor(a) for a in args]
        lengths = [array_ops.size(v) for v in vectors]
        shape = array_ops.stack([lengths[axes.index(i)] for i in range(n)]) if n else None
        out = []
        for v, at in zip(vectors, axes, strict=False):
            dims = [1] * n
            dims[at] = -1
            out.append(array_ops.broadcast_to(array_ops.reshape(v, dims), shape))
        return out


def broadcast_static_shape(shape_x: Any, shape_y: Any) -> TensorShape:
    """The shape of x + y, by shapes. Raises ValueError if they do not fit together."""
    return shape_rules.broadcast_shapes(TensorShape(shape_x), TensorShape(shape_y))


def _broadcast_shape(attrs: dict[str, Any], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.array(np.broadcast_shapes(tuple(a.tolist()), tuple(b.tolist())), a.dtype)


register(
    "BroadcastArgs",
    infer=lambda attrs, inputs: [
        (
            shape_rules.same_dtype(inputs),
            TensorShape(
                [
                    None
                    if any(t.shape.num_elements() is None for t in inputs)
                    else max(t.shape.num_elements() for t in inputs)
                ]
            ),
        )
    ],
    compute=_broadcast_shape,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["s0", "s1"],
    samples=lambda: [({}, [np.array([2, 1], np.int32), np.array([3], np.int32)])],
)


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Tensor:
    """The shape of x + y, by shape tensors."""
    return apply_op("BroadcastArgs", [shape_x, shape_y], dtypes=[dtypes.int32, dtypes.int32])
