"""Variables cut into slices along one axis.

A slice is an ordinary variable named `name/part_i`. The whole is a :class:`PartitionedVariable`:
a container that converts to a tensor by concatenation and knows, slice by slice, where each lies
(:class:`SaveSliceInfo`), so that a checkpoint holds the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from conv3d.framework import context, convert, dtypes, tensor_shape
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops
from conv3d.variables.variable import Variable

__all__ = ["PartitionInfo", "PartitionedVariable", "SaveSliceInfo", "slice_extents"]


class SaveSliceInfo:
    """Where one slice lies in the whole.

    Args:
        full_name: name of the whole variable.
        full_shape: its shape.
        var_offset: index of the slice's first element.
        var_shape: shape of the slice.
    """

    def __init__(
        self,
        full_name: str | None = None,
        full_shape: Sequence[int] | None = None,
        var_offset: Sequence[int] | None = None,
        var_shape: Sequence[int] | None = None,
        save_slice_info_def: Any = None,
        import_scope: str | None = None,
    ) -> None:
        self.full_name = full_name
        self.full_shape = full_shape
        self.var_offset = var_offset
        self.var_shape = var_shape

    @property
    def spec(self) -> str:
        """The form that checkpoints use: `"4 3 0,2:0,3"`."""
        extents = zip(self.var_offset or (), self.var_shape or (), strict=True)
        sizes = "".join(f"{size} " for size in self.full_shape or ())
        return sizes + ":".join(f"{begin},{size}" for begin, size in extents)


# TensorFlow's name for it.
Variable.SaveSliceInfo = SaveSliceInfo  # type: ignore[attr-defined]


class PartitionInfo:
    """What an initializer is told about the slice it makes.

    Args:
        full_shape: shape of the whole variable.
        var_offset: index of the slice's first element.

    Raises:
        TypeError: an argument is no sequence.
        ValueError: the two differ in length, or the offset is outside of the variable.

    Source: TF's `_PartitionInfo`.
    """

    def __init__(self, full_shape: Any, var_offset: Any) -> None:
        for name, value in (("full_shape", full_shape), ("var_offset", var_offset)):
            if isinstance(value, str) or not isinstance(
                value, (Sequence, tensor_shape.TensorShape)
            ):
                raise TypeError(f"`{name}` is {value!r}; it has to be a list, tuple or TensorShape")
        full, offset = [int(d) for d in full_shape], [int(d) for d in var_offset]
        if len(full) != len(offset):
            raise ValueError(
                f"`full_shape` {full} and `var_offset` {offset} have to be of one length"
            )
        if any(not 0 <= begin < size for begin, size in zip(offset, full, strict=True)):
            raise ValueError(f"`var_offset` {offset} lies outside of `full_shape` {full}")
        self._full_shape = full
        self._var_offset = offset

    @property
    def full_shape(self) -> list[int]:
        """Shape of the whole variable."""
        return self._full_shape

    @property
    def var_offset(self) -> list[int]:
        """Index of the slice's first element."""
        return self._var_offset

    def _check_rank(self, shape: Any) -> list[int]:
        sizes = [int(d) for d in shape]
        if len(sizes) != len(self._full_shape):
            raise ValueError(
                f"`shape` {sizes} of a slice has another rank than the whole, {self._full_shape}"
            )
        return sizes

    def single_slice_dim(self, shape: Any) -> int | None:
        """Axis along which a slice of this shape is cut; None if it is the whole.

        Raises:
            TypeError: `shape` is no sequence.
            ValueError: it is larger than the whole, of another rank, or cut along several axes.
        """
        if isinstance(shape, str) or not isinstance(shape, (Sequence, tensor_shape.TensorShape)):
            raise TypeError(f"`shape` is {shape!r}; it has to be a list, tuple or TensorShape")
        sizes = self._check_rank(shape)
        axes = []
        for axis, (begin, size, full) in enumerate(
            zip(self._var_offset, sizes, self._full_shape, strict=True)
        ):
            if begin + size > full:
                raise ValueError(
                    f"a slice {sizes} at {self._var_offset} reaches beyond {self._full_shape}"
                )
            if size != full:
                axes.append(axis)
        if len(axes) > 1:
            raise ValueError(
                f"a slice {sizes} of {self._full_shape} is cut along the axes {axes}; one is "
                "allowed"
            )
        return axes[0] if axes else None

    def single_offset(self, shape: Any) -> int:
        """Offset along the axis that is cut; 0 if none is."""
        axis = self.single_slice_dim(shape)
        return 0 if axis is None else self._var_offset[axis]


def slice_extents(size: int, pieces: int) -> list[tuple[int, int]]:
    """`(begin, size)` of each piece; sizes differ by at most one, larger pieces first."""
    base, extra = divmod(size, pieces)
    extents, begin = [], 0
    for piece in range(pieces):
        extent = base + (piece < extra)
        extents.append((begin, extent))
        begin += extent
    return extents


class PartitionedVariable:
    """Container of the slices of one variable.

    Args:
        name: name of the whole.
        shape: shape of the whole.
        dtype: type of the slices.
        variable_list: slices, in order, each with its save-slice information.
        partitions: number of slices along each axis.

    Raises:
        TypeError: `variable_list` or `partitions` is no list.
        ValueError: the slices do not belong to `name`, or their number is not `partitions`'.

    Source: `tf.PartitionedVariable` of TF's `variables` module.
    """

    def __init__(
        self,
        name: str,
        shape: Any,
        dtype: Any,
        variable_list: Sequence[Variable],
        partitions: Sequence[int],
    ) -> None:
        if not isinstance(variable_list, (list, tuple)):
            raise TypeError(f"`variable_list` is {variable_list!r}; it has to be a list or tuple")
        if not isinstance(partitions, (list, tuple)):
            raise TypeError(f"`partitions` is {partitions!r}; it has to be a list or tuple")
        if any(p < 1 for p in partitions):
            raise ValueError(f"`partitions` is {list(partitions)}; all numbers have to be positive")
        if not variable_list:
            raise ValueError("`variable_list` is empty")
        for variable in variable_list:
            info = variable._get_save_slice_info()
            if info is None:
                raise ValueError(f"{variable.name} is no slice: it has no save-slice information")
            if info.full_name != name:
                raise ValueError(f"{variable.name} is a slice of {info.full_name}, not of {name}")
        self._name = name
        self._shape = tensor_shape.as_shape(shape)
        self._dtype = dtypes.as_dtype(dtype)
        self._variable_list = sorted(
            variable_list, key=lambda v: tuple(v._get_save_slice_info().var_offset)
        )
        self._partitions = list(partitions)
        expected = 1
        for count in self._partitions:
            expected *= count
        if expected != len(self._variable_list):
            raise ValueError(
                f"`partitions` {self._partitions} of {name} asks for {expected} slices; "
                f"{len(self._variable_list)} were given"
            )

    def __iter__(self) -> Iterator[Variable]:
        """The slices."""
        return iter(self._variable_list)

    def __len__(self) -> int:
        return len(self._variable_list)

    def _partition_axes(self) -> list[int]:
        """Axes that are cut; `[0]` if none is."""
        return [axis for axis, count in enumerate(self._partitions) if count > 1] or [0]

    def _concat(self) -> Tensor:
        if len(self._variable_list) == 1:
            with context.name_scope(None):
                return array_ops.identity(self._variable_list[0], name=self._name)
        axes = self._partition_axes()
        if len(axes) > 1:
            raise NotImplementedError(
                f"{self._name} is cut along the axes {axes}; only one axis can be put together"
            )
        with context.name_scope(self._name + "/ConcatPartitions/"):
            whole = array_ops.concat(self._variable_list, axes[0])
        with context.name_scope(None):
            return array_ops.identity(whole, name=self._name)

    def as_tensor(self) -> Tensor:
        """The whole as a tensor, read without the control dependencies that hold now."""
        with context.control_dependencies(None):
            return self._concat()

    def _get_variable_list(self) -> list[Variable]:
        return self._variable_list

    def _get_partitions(self) -> list[int]:
        return self._partitions

    @property
    def name(self) -> str:
        """Name of the whole, without `:0`."""
        return self._name

    @property
    def dtype(self) -> dtypes.DType:
        """Type of the slices."""
        return self._dtype

    @property
    def shape(self) -> tensor_shape.TensorShape:
        """Shape of the whole."""
        return self._shape

    def get_shape(self) -> tensor_shape.TensorShape:
        """Shape of the whole."""
        return self._shape

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Not supported, as in TensorFlow; assign to the slices."""
        raise NotImplementedError(
            f"{self._name} is partitioned and cannot be assigned as a whole; assign to its slices"
        )

    def __repr__(self) -> str:
        return (
            f"<tf.PartitionedVariable '{self._name}' shape={self._shape} "
            f"dtype={self._dtype.name} slices={len(self._variable_list)}>"
        )


def _convert(
    value: PartitionedVariable, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Any:
    if dtype is not None and not dtypes.as_dtype(dtype).is_compatible_with(value.dtype.base_dtype):
        raise ValueError(
            f"{value.name} has the type {value.dtype.base_dtype.name} and cannot stand where "
            f"{dtypes.as_dtype(dtype).name} is asked for; use tf.cast"
        )
    if as_ref:
        raise NotImplementedError(
            f"{value.name} is cut into slices and has no reference as a whole; use list(variable)"
        )
    return value.as_tensor()


convert.register_tensor_conversion_function(PartitionedVariable, _convert)
