"""Ops that make and rearrange tensors: constants, shapes, reshape, concat, pad, ...

Slicing and gathering stand in `array_slice_ops`, whose names are offered here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import EagerTensor, Tensor
from conv3d.framework.tensor_shape import TensorShape, as_shape, unknown_shape
from conv3d.ops import shape_rules
from conv3d.ops.shape_rules import INDEX, axis_in_range, check_dtype

_INT32 = dtypes.int32

# --- Const --------------------------------------------------------------------------------------

register(
    "Const",
    infer=lambda attrs, inputs: [(attrs["dtype"], TensorShape(attrs["value"].shape))],
    compute=lambda attrs: attrs["value"],
    gradient=NOT_DIFFERENTIABLE,
    samples=lambda: [({"value": np.arange(6.0).reshape(2, 3), "dtype": dtypes.float64}, [])],
)


def constant(
    value: Any,
    dtype: Any = None,
    shape: Any = None,
    name: str = "Const",
    verify_shape: bool = False,
) -> Tensor:
    """A tensor of a fixed value.

    Args:
        value: a number, a list or an array.
        dtype: element type; default by the value (int32, float32 for Python numbers).
        shape: shape of the result; a value with fewer elements is filled up with its last one.
        name: name of the operation.
        verify_shape: refuse to fill up.

    Raises:
        TypeError: the value does not fit `dtype`; or not `shape`, if `verify_shape`.
        ValueError: the value has more elements than `shape`.

    Source: `tf.constant`.
    """
    array = convert.to_array(value, dtype)
    if shape is not None:
        shape = tuple(as_shape(shape).as_list())
        if verify_shape and array.shape != shape:
            raise TypeError(f"value has shape {array.shape}; shape={shape} is wanted.")
        wanted = int(np.prod(shape, dtype=np.int64))
        if array.size > wanted:
            raise ValueError(f"value has {array.size} elements; shape={shape} takes {wanted}.")
        if array.shape != shape:
            flat = array.ravel()
            if array.size < wanted:
                last = flat[-1:] if array.size else np.zeros(1, array.dtype)
                flat = np.concatenate([flat, np.repeat(last, wanted - array.size)])
            array = flat.reshape(shape)
        array = np.ascontiguousarray(array).reshape(shape)
        array.flags.writeable = False
    if context.executing_eagerly():
        return EagerTensor(array)
    attrs = {"value": array, "dtype": dtypes.as_dtype(array.dtype)}
    return apply_op("Const", [], attrs, name)


# --- Placeholder, PlaceholderWithDefault ----------------------------------------------------------


def _unfed(ctx: Any, attrs: dict[str, Any]) -> Any:
    name = ctx.op.name if ctx.op is not None else "placeholder"
    raise ValueError(
        f"The placeholder {name!r} of type {attrs['dtype'].name} and shape {attrs['shape']} has to "
        "be fed a value (feed_dict)."
    )


register(
    "Placeholder",
    infer=lambda attrs, inputs: [(attrs["dtype"], attrs["shape"])],
    compute=_unfed,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
)


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor whose value each run must feed.

    Raises:
        RuntimeError: in eager mode.

    Source: `tf.placeholder`.
    """
    if context.executing_eagerly():
        raise RuntimeError("tf.placeholder has no use in eager execution; pass values instead.")
    attrs = {"dtype": dtypes.as_dtype(dtype).base_dtype, "shape": as_shape(shape)}
    return apply_op("Placeholder", [], attrs, name)


def _infer_default(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    if not attrs["shape"].is_compatible_with(inputs[0].shape):
        raise ValueError(f"The default has shape {inputs[0].shape}; shape is {attrs['shape']}.")
    return [(inputs[0].dtype.base_dtype, attrs["shape"])]


register(
    "PlaceholderWithDefault",
    infer=_infer_default,
    # Stateful in so far as a fed value replaces it: it must not be folded away.
    compute=lambda ctx, attrs, value: value,
    gradient=lambda op, grad: [grad],
    stateful=True,
    inputs=["input"],
    samples=lambda: [({"shape": unknown_shape(2)}, [np.ones((2, 3))])],
)


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:  # noqa: A002
    """A tensor whose value is `input` unless a run feeds another."""
    return apply_op("PlaceholderWithDefault", [input], {"shape": as_shape(shape)}, name)


# --- Identity, StopGradient -------------------------------------------------------------------------

register(
    "Identity",
    infer=shape_rules.like(),
    compute=lambda attrs, x: x,
    gradient=lambda op, grad: [grad],
    inputs=["input"],
    samples=lambda: [({}, [np.ones((2, 3))])],
)


def identity(input: Any, name: str | None = None) -> Tensor:  # noqa: A002
    """A tensor of the same value."""
    return apply_op("Identity", [input], None, name)


register(
    "StopGradient",
    infer=shape_rules.like(),
    compute=lambda attrs, x: x,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["input"],
    samples=lambda: [({}, [np.ones((2, 3))])],
)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:  # noqa: A002
    """The same value, through which no gradient flows."""
    return apply_op("StopGradient", [input], None, name)


# --- Shape, Size, Rank --------------------------------------------------------------------------------


def _infer_shape(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    check_dtype("out_type", attrs["out_type"], INDEX)
    return [(attrs["out_type"], TensorShape([inputs[0].shape.ndims]))]


register(
    "Shape",
    infer=_infer_shape,
    compute=lambda attrs, x: np.array(x.shape, attrs["out_type"].as_numpy_dtype),
    gradient=NOT_DIFFERENTIABLE,
    inputs=["input"],
    samples=lambda: [({"out_type": _INT32}, [np.ones((2, 3))])],
)


def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:  # noqa: A002
    """The shape of a tensor, as a vector; a constant if it is known while building."""
    with context.name_scope(name, "Shape", [input]) as scope:
        tensor = convert.convert_to_tensor(input)
        if not context.executing_eagerly() and tensor.shape.is_fully_defined():
            return constant(tensor.shape.as_list(), dtypes.as_dtype(out_type), name=scope)
        return apply_op("Shape", [tensor], {"out_type": dtypes.as_dtype(out_type)}, scope or None)


register(
    "Size",
    infer=lambda attrs, inputs: [(attrs["out_type"], TensorShape([]))],
    compute=lambda attrs, x: np.array(x.size, attrs["out_type"].as_numpy_dtype),
    gradient=NOT_DIFFERENTIABLE,
    inputs=["input"],
    samples=lambda: [({"out_type": _INT32}, [np.ones((2, 3))])],
)


def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:  # noqa: A002
    """The number of elements of a tensor."""
    with context.name_scope(name, "Size", [input]) as scope:
        tensor = convert.convert_to_tensor(input)
        if not context.executing_eagerly() and tensor.shape.is_fully_defined():
            return constant(tensor.shape.num_elements(), dtypes.as_dtype(out_type), name=scope)
        return apply_op("Size", [tensor], {"out_type": dtypes.as_dtype(out_type)}, scope or None)


register(
    "Rank",
    infer=lambda attrs, inputs: [(_INT32, TensorShape([]))],
    compute=lambda attrs, x: np.array(x.ndim, np.int32),
    gradient=NOT_DIFFERENTIABLE,
    inputs=["input"],
    samples=lambda: [({}, [np.ones((2, 3))])],
)


def rank(input: Any, name: str | None = None) -> Tensor:  # noqa: A002
    """The rank of a tensor."""
    with context.name_scope(name, "Rank", [input]) as scope:
        tensor = convert.convert_to_tensor(input)
        if not context.executing_eagerly() and tensor.shape.ndims is not None:
            return constant(tensor.shape.ndims, _INT32, name=scope)
        return apply_op("Rank", [tensor], None, scope or None)


# --- Fill, ZerosLike, OnesLike --------------------------------------------------------------------------


def _infer_fill(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dims, value = inputs
    check_dtype("dims", dims.dtype, INDEX)
    dims.shape.with_rank(1)
    value.shape.with_rank(0)
    return [(value.dtype.base_dtype, convert.constant_value_as_shape(dims))]


register(
    "Fill",
    infer=_infer_fill,
    compute=lambda attrs, dims, value: np.full(tuple(dims.tolist()), value, value.dtype),
    gradient=lambda op, grad: [None, _sum_all(grad)],
    inputs=["dims", "value"],
    samples=lambda: [({}, [np.array([2, 3], np.int32), np.array(1.5)])],
)


def _sum_all(x: Tensor) -> Tensor:
    axes = apply_op("Range", [0, rank(x), 1])
    return apply_op("Sum", [x, axes], {"keep_dims": False})


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of shape `dims` all of whose elements are `value`."""
    return apply_op("Fill", [dims, value], None, name, dtypes=[_INT32, None])


register(
    "ZerosLike",
    infer=shape_rules.like(),
    compute=lambda attrs, x: np.zeros_like(x, order="C", subok=False)
    if x.dtype != object
    else np.full(x.shape, b"", object),
    gradient=NOT_DIFFERENTIABLE,
    inputs=["x"],
    samples=lambda: [({}, [np.ones((2, 3))])],
)
register(
    "OnesLike",
    infer=shape_rules.like(),
    compute=lambda attrs, x: np.ones_like(x, order="C", subok=False),
    gradient=NOT_DIFFERENTIABLE,
    inputs=["x"],
    samples=lambda: [({}, [np.ones((2, 3))])],
)


def _constant_of(value: int, shape_: Any, dtype: Any, name: str) -> Tensor:
    dtype = dtypes.as_dtype(dtype).base_dtype
    if dtype == dtypes.bool:
        number: Any = bool(value)
    elif dtype == dtypes.string:
        number = ""
    else:
        number = value
    if not isinstance(shape_, Tensor):
        try:
            static = as_shape(shape_)
            count = static.num_elements()
            if count is not None and (count < 1000 or context.executing_eagerly()):
                return constant(number, dtype, static, name)
            shape_ = constant(static.as_list(), _INT32) if count is not None else shape_
        except (TypeError, ValueError):
            pass
        shape_ = convert.convert_to_tensor(shape_, preferred_dtype=_INT32)
    if not shape_.shape.ndims == 1:
        shape_ = reshape(shape_, [-1])
    return fill(shape_, constant(number, dtype), name=name)


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of zeros (False, empty strings)."""
    with context.name_scope(name, "zeros", _list_of(shape)) as scope:
        return _constant_of(0, shape, dtype, scope or "zeros")


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """A tensor of ones (True)."""
    with context.name_scope(name, "ones", _list_of(shape)) as scope:
        return _constant_of(1, shape, dtype, scope or "ones")


def _list_of(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def zeros_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Zeros of the shape (and dtype) of `tensor`."""
    return _like("ZerosLike", zeros, tensor, dtype, name or "zeros_like", optimize)


def ones_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Ones of the shape (and dtype) of `tensor`."""
    return _like(None, ones, tensor, dtype, name or "ones_like", optimize)


def _like(op: str | None, make: Any, tensor: Any, dtype: Any, name: str, optimize: bool) -> Tensor:
    with context.name_scope(name, None, [tensor]) as scope:
        x = convert.convert_to_tensor(tensor, name="tensor")
        wanted = x.dtype.base_dtype if dtype is None else dtypes.as_dtype(dtype).base_dtype
        if context.executing_eagerly():
            return make(x.shape, wanted)
        if optimize and x.shape.is_fully_defined():
            return make(x.shape, wanted, name=scope)
        if op is not None and wanted == x.dtype.base_dtype:
            return apply_op(op, [x], None, scope)
        out = make(shape(x), wanted, name=scope)
        out.set_shape(x.shape)
        return out


# --- Reshape ----------------------------------------------------------------------------------------------


def _infer_reshape(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, target = inputs
    check_dtype("shape", target.dtype, INDEX)
    if target.shape.ndims is not None:
        target.shape.with_rank(1)
    out = convert.constant_value_as_shape(target)
    exact = target.constant_value()
    if exact is not None:
        if (exact < -1).any() or (exact == -1).sum() > 1:
            raise ValueError(f"shape={exact.tolist()}: sizes are 0 or more, and one may be -1.")
    count = x.shape.num_elements()
    if count is not None and out.ndims is not None:
        known = [d for d in out._dims or () if d is not None]
        product = int(np.prod(known, dtype=np.int64))
        free = [i for i, d in enumerate(out._dims or ()) if d is None]
        if not free and product != count:
            raise ValueError(f"{x.shape} has {count} elements and cannot take shape {out}.")
        if len(free) == 1 and product:
            if count % product:
                raise ValueError(f"{count} elements cannot take shape {out}: {product} at a time.")
            dims = list(out._dims or ())
            dims[free[0]] = count // product
            out = TensorShape(dims)
    return [(x.dtype.base_dtype, out)]


def _reshape(attrs: dict[str, Any], x: np.ndarray, target: np.ndarray) -> np.ndarray:
    return x.reshape(target.tolist())


def _grad_reshape(op: Any, grad: Tensor) -> list[Any]:
    return [reshape(grad, shape(op.inputs[0])), None]


register(
    "Reshape",
    infer=_infer_reshape,
    compute=_reshape,
    gradient=_grad_reshape,
    inputs=["tensor", "shape"],
    samples=lambda: [
        ({}, [np.arange(6.0).reshape(2, 3), np.array([3, -1], np.int32)]),
        ({}, [np.arange(1.0), np.array([], np.int32)]),
    ],
)


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same elements in another shape; one size may be -1."""
    return apply_op("Reshape", [tensor, shape], None, name, dtypes=[None, _INT32])


# --- BroadcastTo --------------------------------------------------------------------------------------------


def _infer_broadcast_to(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, target = inputs
    check_dtype("shape", target.dtype, INDEX)
    out = convert.constant_value_as_shape(target)
    if out.is_fully_defined() and x.shape.is_fully_defined():
        if shape_rules.broadcast_shapes(x.shape, out).as_list() != out.as_list():
            raise ValueError(f"{x.shape} cannot be broadcast to {out}.")
    return [(x.dtype.base_dtype, out)]


def _grad_broadcast_to(op: Any, grad: Tensor) -> list[Any]:
    x, target = op.inputs
    axes, _ = apply_op("BroadcastGradientArgs", [shape(x, out_type=target.dtype), target])
    total = apply_op("Sum", [grad, axes], {"keep_dims": False})
    return [reshape(total, shape(x)), None]


register(
    "BroadcastTo",
    infer=_infer_broadcast_to,
    compute=lambda attrs, x, target: np.ascontiguousarray(
        np.broadcast_to(x, tuple(target.tolist()))
    ),
    gradient=_grad_broadcast_to,
    inputs=["input", "shape"],
    samples=lambda: [
        ({}, [np.arange(3.0), np.array([2, 3], np.int32)]),
        ({}, [np.arange(2.0).reshape(2, 1), np.array([2, 3], np.int32)]),
    ],
)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:  # noqa: A002
    """The tensor repeated along axes of size 1 until it has `shape`."""
    return apply_op("BroadcastTo", [input, shape], None, name, dtypes=[None, _INT32])


# --- Pack, Unpack ---------------------------------------------------------------------------------------------


def _infer_pack(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = shape_rules.same_dtype(inputs)
    each = inputs[0].shape
    for t in inputs[1:]:
        each = each.merge_with(t.shape)
    if each.ndims is None:
        return [(dtype, unknown_shape())]
    axis = axis_in_range(attrs["axis"], each.ndims + 1)
    dims = each.as_list()
    return [(dtype, TensorShape([*dims[:axis], len(inputs), *dims[axis:]]))]


def _grad_pack(op: Any, grad: Tensor) -> list[Any]:
    parts = apply_op("Unpack", [grad], {"num": len(op.inputs), "axis": op.get_attr("axis")})
    return parts if isinstance(parts, list) else [parts]


register(
    "Pack",
    infer=_infer_pack,
    compute=lambda attrs, *arrays: np.stack(arrays, attrs["axis"]),
    gradient=_grad_pack,
    inputs=["values*"],
    samples=lambda: [
        ({"axis": 0}, [np.ones(3), np.arange(3.0)]),
        ({"axis": -1}, [np.ones((2, 3)), np.zeros((2, 3)), np.ones((2, 3))]),
        ({"axis": 0}, [np.array(1.0)]),
    ],
)


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Tensors of one shape, stacked along a new axis.

    Raises:
        ValueError: shapes that differ, or an axis out of range.

    Source: `tf.stack`.
    """
    return _stack(values, axis, name)


def _stack(values: Any, axis: int, name: str | None) -> Tensor:
    items = list(values)
    everywhere = tuple(range(len(items)))
    return apply_op("Pack", items, {"axis": axis, "N": len(items)}, name, same=everywhere,
                    same_from_any=True)


def _infer_unpack(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, num = inputs[0], attrs["num"]
    dtype = x.dtype.base_dtype
    if x.shape.ndims is None:
        return [(dtype, unknown_shape())] * num
    axis = axis_in_range(attrs["axis"], x.shape.ndims)
    dims = x.shape.as_list()
    if dims[axis] not in (None, num):
        raise ValueError(f"num is {num}, but axis {axis} of {x.shape} has size {dims[axis]}.")
    return [(dtype, TensorShape(dims[:axis] + dims[axis + 1 :]))] * num


def _unpack(attrs: dict[str, Any], x: np.ndarray) -> list[np.ndarray]:
    moved = np.moveaxis(x, attrs["axis"], 0)
    if len(moved) != attrs["num"]:
        raise ValueError(f"num is {attrs['num']}, but there are {len(moved)} along the axis.")
    return [np.ascontiguousarray(part) for part in moved]


def _grad_unpack(op: Any, *grads: Any) -> list[Any]:
    filled = [zeros_like(t) if g is None else g for t, g in zip(op.outputs, grads)]
    return [_stack(filled, op.get_attr("axis"), "stack")]


register(
    "Unpack",
    infer=_infer_unpack,
    compute=_unpack,
    gradient=_grad_unpack,
    inputs=["value"],
    samples=lambda: [
        ({"num": 2, "axis": 0}, [np.arange(6.0).reshape(2, 3)]),
        ({"num": 3, "axis": -1}, [np.arange(6.0).reshape(2, 3)]),
    ],
)


def unstack(value: Any, num: int | None = None, axis: int = 0, name: str = "unstack") -> list[Tensor]:
    """The parts of a tensor along an axis, without that axis.

    Raises:
        ValueError: `num` is not given and the size of the axis is not known; or they differ.

    Source: `tf.unstack`.
    """
    value = convert.convert_to_tensor(value)
    if num is None:
        if value.shape.ndims is None:
            raise ValueError("num must be given: the rank of value is not known.")
        num = value.shape[axis_in_range(axis, value.shape.ndims)].value
        if num is None:
            raise ValueError(f"num must be given: the size of axis {axis} is not known.")
    parts = apply_op("Unpack", [value], {"num": num, "axis": axis}, name) if num else []
    return parts if isinstance(parts, list) else [parts]
