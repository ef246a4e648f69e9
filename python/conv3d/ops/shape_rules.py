"""Shape and dtype rules that several ops share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import dtypes
from conv3d.framework.tensor_shape import TensorShape, unknown_shape

FLOATS = (dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.float64)
COMPLEX = (dtypes.complex64, dtypes.complex128)
SIGNED = (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64)
UNSIGNED = (dtypes.uint8, dtypes.uint16, dtypes.uint32, dtypes.uint64)
INTEGERS = SIGNED + UNSIGNED
REAL = FLOATS + INTEGERS
NUMBERS = REAL + COMPLEX
INDEX = (dtypes.int32, dtypes.int64)


def check_dtype(what: str, dtype: Any, allowed: Sequence[Any]) -> None:
    """Raises TypeError unless `dtype` (reference or not) is one of `allowed`."""
    if dtype.base_dtype not in allowed:
        names = ", ".join(d.name for d in allowed)
        raise TypeError(f"{what} is {dtype.base_dtype.name}; allowed are {names}.")


def same_dtype(inputs: Sequence[Any], names: Sequence[str] = ()) -> dtypes.DType:
    """The one dtype of all inputs. Raises TypeError if there are two."""
    first = inputs[0].dtype.base_dtype
    for i, t in enumerate(inputs):
        if t.dtype.base_dtype != first:
            label = names[i] if i < len(names) else f"input {i}"
            raise TypeError(
                f"{label} is {t.dtype.base_dtype.name}, but the first input is {first.name}; they "
                "must be of one type (see tf.cast)."
            )
    return first


def unary(allowed: Sequence[Any]) -> Callable[..., Any]:
    """Rule of an op whose output is like its only input."""

    def infer(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
        check_dtype("the input", inputs[0].dtype, allowed)
        return [(inputs[0].dtype.base_dtype, inputs[0].shape)]

    return infer


def broadcast_shapes(a: TensorShape, b: TensorShape) -> TensorShape:
    """The shape of an element-by-element result, by NumPy's rules.

    Raises:
        ValueError: two sizes differ and neither is 1.
    """
    if a.ndims is None or b.ndims is None:
        return unknown_shape()
    rank = max(a.ndims, b.ndims)
    left = (1,) * (rank - a.ndims) + tuple(a._dims or ())
    right = (1,) * (rank - b.ndims) + tuple(b._dims or ())
    out: list[int | None] = []
    for x, y in zip(left, right, strict=False):
        if x == 1:
            out.append(y)
        elif y == 1 or x == y:
            out.append(x)
        elif x is None or y is None:
            # One of the two may still turn out to be 1; a size above 1 wins.
            out.append(y if x is None else x)
        else:
            raise ValueError(f"Shapes {a} and {b} do not fit together: {x} and {y} differ.")
    return TensorShape._of(tuple(out))


def binary(allowed: Sequence[Any], out: Any = None) -> Callable[..., Any]:
    """Rule of an op of two operands of one dtype; `out` is the result's dtype if another."""

    def infer(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
        x, y = inputs
        dtype = same_dtype(inputs, ("x", "y"))
        check_dtype("x", dtype, allowed)
        return [(dtype if out is None else out, broadcast_shapes(x.shape, y.shape))]

    return infer


def like(index: int = 0) -> Callable[..., Any]:
    """Rule of an op whose output has dtype and shape of input `index`, of any dtype."""

    def infer(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
        return [(inputs[index].dtype.base_dtype, inputs[index].shape)]

    return infer


def axis_in_range(axis: int, rank: int, what: str = "axis") -> int:
    """`axis` as a number from 0. Raises ValueError if it is outside [-rank, rank)."""
    if not -rank <= axis < rank:
        raise ValueError(f"{what} is {axis}; the tensor of rank {rank} has [{-rank}, {rank}).")
    return axis + rank if axis < 0 else axis


def in_order(array: np.ndarray) -> np.ndarray:
    """`array` with its elements in C order in memory, copied only if they are not."""
    # Not np.ascontiguousarray, which turns shape () into (1,).
    return np.asarray(array, order="C")


# NumPy's innermost loop runs along the last axis; one this short costs more in starting the loop
# than in moving the elements.
_SHORT_AXIS = 8
_MANY_ELEMENTS = 4096


def has_short_rows(array: np.ndarray) -> bool:
    """Whether `array` is better worked on index by index of its last axis."""
    return array.ndim > 1 and array.shape[-1] <= _SHORT_AXIS and array.size >= _MANY_ELEMENTS


def assign(out: np.ndarray, value: Any) -> None:
    """`out[...] = value`, by index of the last axis where that axis is short."""
    if not has_short_rows(out):
        out[...] = value
        return
    value = np.broadcast_to(value, out.shape)
    for i in range(out.shape[-1]):
        out[..., i] = value[..., i]


def dense(array: np.ndarray) -> np.ndarray:
    """`in_order`, quick for views whose last axis is short and for broadcast ones."""
    if array.flags.c_contiguous:
        return array
    out = engine.empty(array.shape, array.dtype)
    assign(out, array)
    return out


def elementwise(function: np.ufunc, *arrays: np.ndarray) -> Any:
    """`function(*arrays)`; large results of their dtype in memory that has been used before.

    Fresh memory costs a page fault per 4 KiB, more than the arithmetic.
    """
    first = arrays[0]
    large = max(a.nbytes for a in arrays) >= engine.BUFFER_BYTES
    if not large or first.dtype not in (np.float32, np.float64):
        return function(*arrays)
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    out = engine.empty(shape, first.dtype)
    if has_short_rows(out) and any(a.shape != shape and a.ndim > 0 for a in arrays):
        views = [np.broadcast_to(a, shape) for a in arrays]
        for i in range(shape[-1]):
            function(*(v[..., i] for v in views), out=out[..., i])
        return out
    return function(*arrays, out=out)


def for_engine(*arrays: np.ndarray) -> bool:
    """Whether the engine's element-wise functions take these arrays: one shape, one wide type."""
    first = arrays[0]
    return (
        first.dtype in (np.float32, np.float64)
        and first.ndim > 0
        and all(a.dtype == first.dtype and a.shape == first.shape for a in arrays[1:])
    )
