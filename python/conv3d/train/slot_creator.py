"""Slots: variables that belong to another variable, e.g. the momentum of a kernel.

The slot `Adam` of `conv3d/kernel` is named `conv3d/kernel/Adam`, made unique where that is taken.
The slot of a part of a partitioned variable is a part of a partitioned slot when it is saved.

Source: `tf.train`'s slot names, which checkpoints carry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conv3d import initializers
from conv3d.framework import convert, tensor_shape
from conv3d.ops import array_ops
from conv3d.variables import partitioned, variable, variable_scope


def variable_key_name(variable: Any) -> str:
    """Name of a variable without `:0`, in both modes."""
    return str(variable.name).rsplit(":", 1)[0]


def _create(primary: Any, value: Any, name: str, shape: Any, dtype: Any) -> Any:
    base = variable_key_name(primary)
    with variable_scope.variable_scope(None, f"{base}/{name}") as scope:
        # A scope's partitioner would cut the slot although its variable is whole.
        scope.set_partitioner(None)
        slot = variable_scope.get_variable(
            "",
            initializer=value,
            trainable=False,
            shape=shape,
            dtype=dtype,
            use_resource=isinstance(primary, variable.ResourceVariable),
            validate_shape=shape is None or tensor_shape.as_shape(shape).is_fully_defined(),
        )
    info = getattr(primary, "_save_slice_info", None)
    if info is not None:
        slot_name = variable_key_name(slot)
        marker = slot_name.rfind(base + "/")
        short = slot_name[marker + len(base) + 1 :]
        slot._set_save_slice_info(
            partitioned.SaveSliceInfo(
                f"{info.full_name}/{short}", info.full_shape, info.var_offset, info.var_shape
            )
        )
    return slot


def create_slot(primary: Any, value: Any, name: str) -> Any:
    """A slot of the variable `primary` that starts with `value`, a tensor or array."""
    return _create(primary, convert.convert_to_tensor(value), name, None, None)


def create_slot_with_initializer(
    primary: Any, initializer: Callable[..., Any], shape: Any, dtype: Any, name: str
) -> Any:
    """A slot of `shape` and `dtype` that starts with what `initializer` gives."""
    return _create(primary, initializer, name, shape, dtype)


def create_zeros_slot(primary: Any, name: str, dtype: Any = None) -> Any:
    """A slot of zeros with the variable's shape."""
    dtype = primary.dtype.base_dtype if dtype is None else dtype
    if primary.get_shape().is_fully_defined():
        return create_slot_with_initializer(
            primary, initializers.zeros_initializer(), primary.get_shape(), dtype, name
        )
    initial = primary.initialized_value()
    return create_slot(primary, array_ops.zeros(array_ops.shape(initial), dtype), name)
