"""`IndexedSlices`: a tensor of which only some slices along the first axis are given.

The gradient of `tf.gather` by a variable has this form, so that an optimizer can touch the rows
that a step used and leave the others alone. A slice named twice counts twice.

Source: `tf.IndexedSlices`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from conv3d.framework import context, convert, dtypes, execute

__all__ = ["IndexedSlices", "IndexedSlicesValue", "add_all", "convert_or_slices"]


class IndexedSlicesValue(NamedTuple):
    """What a session gives for `IndexedSlices`: the same three as arrays."""

    values: Any
    indices: Any
    dense_shape: Any


class IndexedSlices:
    """Slices `values[i]` at the places `indices[i]` of an otherwise zero tensor.

    Args:
        values: tensor `[n, ...]`, the slices.
        indices: integer tensor `[n]`, where each belongs.
        dense_shape: integer tensor, the shape of the whole; None where it is not known.

    Source: `tf.IndexedSlices`.
    """

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None) -> None:
        self._values = values
        self._indices = indices
        self._dense_shape = dense_shape

    @property
    def values(self) -> Any:
        """The slices."""
        return self._values

    @property
    def indices(self) -> Any:
        """Where the slices belong."""
        return self._indices

    @property
    def dense_shape(self) -> Any:
        """Shape of the whole, or None."""
        return self._dense_shape

    @property
    def name(self) -> str:
        """Name of `values`."""
        return self._values.name

    @property
    def dtype(self) -> Any:
        """Type of `values`."""
        return self._values.dtype

    @property
    def op(self) -> Any:
        """The operation that makes `values`."""
        return self._values.op

    @property
    def graph(self) -> Any:
        """The graph of `values`."""
        return self._values.graph

    @property
    def device(self) -> Any:
        """The device of `values`."""
        return self._values.device

    def __neg__(self) -> IndexedSlices:
        return IndexedSlices(-self._values, self._indices, self._dense_shape)

    def __repr__(self) -> str:
        shape = "" if self._dense_shape is None else f", dense_shape={self._dense_shape}"
        return f"IndexedSlices(indices={self._indices}, values={self._values}{shape})"


def _to_tensor(
    value: IndexedSlices, dtype: Any = None, name: Any = None, as_ref: Any = False
) -> Any:
    if dtype is not None and not dtypes.as_dtype(dtype).is_compatible_with(value.dtype):
        raise ValueError(
            f"A tensor of type {dtypes.as_dtype(dtype).name} is wanted, and {value!r} is "
            f"{value.dtype.name}."
        )
    if value.dense_shape is None:
        raise ValueError(f"{value!r} has no dense_shape, so it cannot become one tensor.")
    inputs = [value.values, value.indices, value.dense_shape[0]]
    return execute.apply_op("UnsortedSegmentSum", inputs, None, name)


convert.register_tensor_conversion_function(IndexedSlices, _to_tensor)


def convert_or_slices(value: Any, dtype: Any = None, name: str | None = None) -> Any:
    """A tensor, except that `IndexedSlices` stay what they are.

    Raises:
        ValueError: `IndexedSlices` of another dtype.

    Source: `tf.convert_to_tensor_or_indexed_slices`.
    """
    if not isinstance(value, IndexedSlices):
        return convert.convert_to_tensor(value, dtype=dtype, name=name)
    if dtype is not None and not dtypes.as_dtype(dtype).is_compatible_with(value.dtype):
        raise ValueError(
            f"IndexedSlices of type {dtypes.as_dtype(dtype).name} are wanted, and {value!r} is "
            f"{value.dtype.name}."
        )
    return value


def add_all(parts: Sequence[Any]) -> Any:
    """The sum of gradients; it stays `IndexedSlices` only if every one of them is."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, IndexedSlices) for part in parts):
        return IndexedSlices(
            _joined([part.values for part in parts]),
            _joined([part.indices for part in parts]),
            parts[0].dense_shape,
        )
    tensors = [convert.convert_to_tensor(part) for part in parts]
    return execute.apply_op("AddN", tensors, {"N": len(tensors)})


def _joined(tensors: Sequence[Any]) -> Any:
    if not context.executing_eagerly() and len({t.dtype.base_dtype for t in tensors}) > 1:
        tensors = [execute.apply_op("Cast", [t], {"DstT": dtypes.int64}) for t in tensors]
    axis = convert.convert_to_tensor(0, name="axis")
    return execute.apply_op("ConcatV2", [*tensors, axis], {"N": len(tensors)}, "concat")
