"""Partitioners: callables `p(shape, dtype) -> [slices per axis]` for sharded variables.

They go to `variable_scope(partitioner=...)` or `get_variable(partitioner=...)`. Only one axis may
be cut. Slices differ by at most one in size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from conv3d.framework import dtypes, tensor_shape

__all__ = [
    "fixed_size_partitioner",
    "min_max_variable_partitioner",
    "variable_axis_size_partitioner",
]

Partitioner = Callable[..., list[int]]


def _checked(shape: Any, dtype: Any) -> tuple[list[int], dtypes.DType]:
    if not isinstance(shape, tensor_shape.TensorShape):
        raise ValueError(f"`shape` is {shape!r}; a partitioner takes a TensorShape")
    if not shape.is_fully_defined():
        raise ValueError(f"`shape` is {shape}; a partitioner needs a fully defined one")
    if not isinstance(dtype, dtypes.DType):
        raise ValueError(f"`dtype` is {dtype!r}; a partitioner takes a DType")
    return [size for size in shape.as_list() if size is not None], dtype


def _bytes_of_one_slice(
    sizes: list[int], dtype: dtypes.DType, axis: int, bytes_per_string_element: int
) -> int:
    """Bytes of a slice of extent 1 along `axis`."""
    element = bytes_per_string_element if dtype.base_dtype == dtypes.string else dtype.size
    axis %= len(sizes)
    return max(1, math.prod(sizes[:axis] + sizes[axis + 1 :])) * element


def variable_axis_size_partitioner(
    max_shard_bytes: int,
    axis: int = 0,
    bytes_per_string_element: int = 16,
    max_shards: int | None = None,
) -> Partitioner:
    """Cuts so that no slice is larger than a number of bytes.

    Args:
        max_shard_bytes: largest slice, in bytes; one row along `axis` may exceed it.
        axis: axis that is cut.
        bytes_per_string_element: size reckoned for one string.
        max_shards: upper bound of the number of slices; None or 0 for none.

    Raises:
        ValueError: a number of bytes or `max_shards` is not positive.

    Source: `tf.variable_axis_size_partitioner`.
    """
    if max_shard_bytes < 1 or bytes_per_string_element < 1:
        raise ValueError(
            f"`max_shard_bytes` is {max_shard_bytes} and `bytes_per_string_element` is "
            f"{bytes_per_string_element}; both have to be positive"
        )
    if max_shards and max_shards < 1:
        raise ValueError(f"`max_shards` is {max_shards}; it has to be positive, or None")

    def partitioner(shape: Any, dtype: Any) -> list[int]:
        sizes, dtype = _checked(shape, dtype)
        slice_bytes = _bytes_of_one_slice(sizes, dtype, axis, bytes_per_string_element)
        per_shard = max(1, max_shard_bytes // slice_bytes)
        shards = math.ceil(sizes[axis] / per_shard)
        if max_shards:
            shards = min(shards, max_shards)
        partitions = [1] * len(sizes)
        partitions[axis] = shards
        return partitions

    return partitioner


def min_max_variable_partitioner(
    max_partitions: int = 1,
    axis: int = 0,
    min_slice_size: int = 256 << 10,
    bytes_per_string_element: int = 16,
) -> Partitioner:
    """Cuts into at most `max_partitions` slices of about `min_slice_size` bytes.

    Args:
        max_partitions: upper bound of the number of slices.
        axis: axis that is cut.
        min_slice_size: bytes below which cutting further does not pay.
        bytes_per_string_element: size reckoned for one string.

    Source: `tf.min_max_variable_partitioner`.
    """

    def partitioner(shape: Any, dtype: Any) -> list[int]:
        sizes, dtype = _checked(shape, dtype)
        element = bytes_per_string_element if dtype.base_dtype == dtypes.string else dtype.size
        wanted = math.ceil(math.prod(sizes) * element / min_slice_size)
        partitions = [1] * len(sizes)
        partitions[axis] = max(1, min(sizes[axis], max_partitions, wanted))
        return partitions

    return partitioner


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """Cuts into `num_shards` slices, or fewer if the axis is shorter.

    Args:
        num_shards: number of slices.
        axis: axis that is cut; negative ones count from the end.

    Source: `tf.fixed_size_partitioner`.
    """

    def partitioner(shape: Any, **unused_kwargs: Any) -> list[int]:
        sizes = tensor_shape.as_shape(shape).as_list()
        size = sizes[axis]
        if size is None:
            raise ValueError(f"`shape` is {shape}; axis {axis}, which is cut, has to be known")
        partitions = [1] * len(sizes)
        partitions[axis] = min(num_shards, size)
        return partitions

    return partitioner
