"""Variables' handles, and the ops that read and write their cells.

In graph mode a variable's handle is the reference that `VariableV2` gives; in eager mode it is the
variable object itself. A compute function sees a `Ref` in both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.state import Ref
from conv3d.framework.tensor import Tensor
from conv3d.framework.tensor_shape import TensorShape, as_shape
from conv3d.ops import shape_rules

# VariableV2.

register(
    "VariableV2",
    infer=lambda attrs, inputs: [(attrs["dtype"]._as_ref, attrs["shape"])],
    compute=lambda ctx, attrs: ctx.ref(ctx.op),
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
)


def variable_op(
    shape: Any,
    dtype: Any,
    name: str = "Variable",
    set_shape: bool = True,
    container: str = "",
    shared_name: str = "",
) -> Tensor:
    """The handle of a new variable: a reference tensor. Each session has its own value for it."""
    attrs = {
        "shape": as_shape(shape) if set_shape else TensorShape(None),
        "dtype": dtypes.as_dtype(dtype).base_dtype,
        "container": container,
        "shared_name": shared_name,
    }
    return apply_op("VariableV2", [], attrs, name)


variable_op_v2 = variable_op


# ReadVariableOp: the value of an eager variable, visible to tapes.

register(
    "ReadVariableOp",
    infer=shape_rules.like(),
    compute=lambda ctx, attrs, ref: ref.get(),
    gradient=lambda op, grad: [grad],
    stateful=True,
    inputs=["resource"],
)


def read_variable(variable: Any, name: str = "Read") -> Tensor:
    """The value now. Eager: tapes see the read and reach the variable through it."""
    if context.executing_eagerly():
        return apply_op("ReadVariableOp", [variable])
    handle = convert.convert_to_tensor(variable, as_ref=True)
    return apply_op("Identity", [handle], None, name)


# Assign and its kin.


def _infer_assign(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    ref, value = inputs
    if ref.dtype.base_dtype != value.dtype.base_dtype:
        raise TypeError(
            f"The variable holds {ref.dtype.base_dtype.name}; the value is {value.dtype.name}."
        )
    if attrs.get("validate_shape", True):
        return [(ref.dtype, ref.shape.merge_with(value.shape))]
    return [(ref.dtype, value.shape)]


def _array(value: np.ndarray | Ref) -> np.ndarray:
    """The value to write: of another variable, what that holds now."""
    return value.get() if isinstance(value, Ref) else value


def _assign(ctx: Any, attrs: dict[str, Any], ref: Ref, value: np.ndarray | Ref) -> Any:
    ref.set(_array(value), attrs.get("validate_shape", True))
    return _result(ctx, ref)


def _result(ctx: Any, ref: Ref) -> Any:
    # In a graph the result is the reference: a reader after it sees the new value.
    return ref if ctx.op is not None else ref.get()


def _update(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(ctx: Any, attrs: dict[str, Any], ref: Ref, given: np.ndarray | Ref) -> Any:
        old, value = ref.get(), _array(given)
        if value.shape != old.shape:
            raise ValueError(f"{ref.name} has shape {old.shape}, the value has {value.shape}.")
        ref.set(np.asarray(function(old, value)))
        return _result(ctx, ref)

    return compute


register(
    "Assign",
    infer=_infer_assign,
    compute=_assign,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    inputs=["ref", "value"],
)
for _type, _function in (("AssignAdd", np.add), ("AssignSub", np.subtract)):
    register(
        _type,
        infer=_infer_assign,
        compute=_update(_function),
        gradient=NOT_DIFFERENTIABLE,
        stateful=True,
        inputs=["ref", "value"],
    )


def _handle(ref: Any) -> Any:
    """The reference of a variable or of a reference tensor."""
    if context.executing_eagerly():
        if getattr(ref, "_ref", None) is None:
            raise TypeError(f"ref must be a variable, not {ref!r}.")
        return ref
    handle = ref if isinstance(ref, Tensor) else convert.convert_to_tensor(ref, as_ref=True)
    if not handle.dtype._is_ref_dtype:
        raise TypeError(f"ref must be a variable or its reference, not {ref!r}.")
    return handle


def _write(op_type: str, ref: Any, value: Any, attrs: dict[str, Any], name: str | None) -> Any:
    handle = _handle(ref)
    out = apply_op(op_type, [handle, value], attrs, name, dtypes=[None, handle.dtype.base_dtype])
    return ref if context.executing_eagerly() else out


def assign(
    ref: Any,
    value: Any,
    validate_shape: bool | None = None,
    use_locking: bool | None = None,
    name: str | None = None,
) -> Any:
    """Stores `value` in a variable and gives the variable's reference.

    Args:
        ref: a variable or its reference.
        value: the new value, of the variable's dtype.
        validate_shape: False allows another shape.
        use_locking: accepted and ignored: updates are always atomic.
        name: name of the operation.

    Raises:
        TypeError: `ref` is no variable, or the dtypes differ.
        ValueError: the shapes differ.

    Source: `tf.assign`.
    """
    attrs = {"validate_shape": validate_shape is not False, "use_locking": bool(use_locking)}
    if context.executing_eagerly() and validate_shape is not False:
        ref = _handle(ref)
        value = convert.convert_to_tensor(value, dtype=ref.dtype.base_dtype)
        ref.shape.assert_is_compatible_with(value.shape)
    return _write("Assign", ref, value, attrs, name)


def assign_add(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Adds `value` to a variable. See `assign`."""
    return _write("AssignAdd", ref, value, {"use_locking": bool(use_locking)}, name)


def assign_sub(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Subtracts `value` from a variable. See `assign`."""
    return _write("AssignSub", ref, value, {"use_locking": bool(use_locking)}, name)


# IsVariableInitialized.

register(
    "IsVariableInitialized",
    infer=lambda attrs, inputs: [(dtypes.bool, TensorShape([]))],
    compute=lambda ctx, attrs, ref: np.array(ref.initialized),
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    inputs=["ref"],
)


def is_variable_initialized(ref: Any, name: str | None = None) -> Tensor:
    """Whether a variable has a value, as a bool tensor."""
    return apply_op("IsVariableInitialized", [_handle(ref)], None, name)


# Scatter: updates of some rows of a variable.


def _infer_scatter(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    ref, indices, updates = inputs
    shape_rules.check_dtype("indices", indices.dtype, shape_rules.INDEX)
    if ref.dtype.base_dtype != updates.dtype.base_dtype:
        raise TypeError(
            f"The variable holds {ref.dtype.base_dtype.name}; updates are {updates.dtype.name}."
        )
    if ref.shape.ndims is not None and indices.shape.ndims is not None:
        rows = indices.shape.concatenate(ref.shape[1:])
        if updates.shape.ndims != 0:
            rows.assert_is_compatible_with(updates.shape)
    return [(ref.dtype, ref.shape)]


def _scatter(function: Any) -> Callable[..., Any]:
    def compute(
        ctx: Any, attrs: dict[str, Any], ref: Ref, indices: np.ndarray, updates: np.ndarray
    ) -> Any:
        value = ref.get().copy()
        bad = (indices < 0) | (indices >= len(value))
        if bad.any():
            raise ValueError(f"indices holds {indices[bad].flat[0]}; there are {len(value)} rows.")
        if function is None:
            value[indices] = updates
        else:
            function.at(value, indices, updates)  # a row named twice is updated twice
        ref.set(value)
        return _result(ctx, ref)

    return compute


def _scatter_call(op_type: str, label: str) -> Callable[..., Any]:
    def call(
        ref: Any, indices: Any, updates: Any, use_locking: bool = False, name: str | None = None
    ) -> Any:
        handle = _handle(ref)
        hints = [None, dtypes.int32, handle.dtype.base_dtype]
        attrs = {"use_locking": bool(use_locking)}
        out = apply_op(op_type, [handle, indices, updates], attrs, name, dtypes=hints)
        return ref if context.executing_eagerly() else out

    call.__name__ = label
    call.__doc__ = f"""{op_type} of the rows `indices` of a variable; gives its reference.

    Raises:
        InvalidArgumentError: an index out of range, when it is run.

    Source: `tf.{label}`.
    """
    return call


_SCATTERS: tuple[tuple[str, np.ufunc | None], ...] = (
    ("ScatterUpdate", None),
    ("ScatterAdd", np.add),
    ("ScatterSub", np.subtract),
    ("ScatterMul", np.multiply),
    ("ScatterDiv", np.divide),
)
for _type, _combine in _SCATTERS:
    register(
        _type,
        infer=_infer_scatter,
        compute=_scatter(_combine),
        gradient=NOT_DIFFERENTIABLE,
        stateful=True,
        inputs=["ref", "indices", "updates"],
    )
scatter_update = _scatter_call("ScatterUpdate", "scatter_update")
scatter_add = _scatter_call("ScatterAdd", "scatter_add")
scatter_sub = _scatter_call("ScatterSub", "scatter_sub")
scatter_mul = _scatter_call("ScatterMul", "scatter_mul")
scatter_div = _scatter_call("ScatterDiv", "scatter_div")


# CountUpTo: a counter that ends a loop.


def _count_up(ctx: Any, attrs: dict[str, Any], ref: Ref) -> np.ndarray:
    value = ref.get()
    if value >= attrs["limit"]:
        raise errors.OutOfRangeError(None, None, f"{ref.name} has reached {attrs['limit']}.")
    ref.set(np.asarray(value + 1, value.dtype))
    return value


register(
    "CountUpTo",
    infer=lambda attrs, inputs: [(inputs[0].dtype.base_dtype, TensorShape([]))],
    compute=_count_up,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    inputs=["ref"],
)


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Tensor:
    """The value of an integer variable, which grows by 1; OutOfRangeError at `limit`."""
    return apply_op("CountUpTo", [_handle(ref)], {"limit": limit}, name)
