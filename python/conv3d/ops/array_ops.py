"""Ops that make and rearrange tensors: constants, shapes, reshape, concat, pad, ...

Slicing and gathering stand in `array_slice_ops`, whose names are offered here too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import EagerTensor, Tensor
from conv3d.framework.tensor_shape import TensorShape, as_shape, unknown_shape
from conv3d.ops import shape_rules
from conv3d.ops.shape_rules import INDEX, axis_in_range, check_dtype, in_order

_INT32 = dtypes.int32

# Const.

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
        array = np.asarray(array, order="C")
        array.flags.writeable = False
    if context.executing_eagerly():
        return EagerTensor(array)
    attrs = {"value": array, "dtype": dtypes.as_dtype(array.dtype)}
    return apply_op("Const", [], attrs, name)


# Placeholder, PlaceholderWithDefault.


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


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor whose value is `input` unless a run feeds another."""
    return apply_op("PlaceholderWithDefault", [input], {"shape": as_shape(shape)}, name)


# Identity, StopGradient.

register(
    "Identity",
    infer=shape_rules.like(),
    compute=lambda attrs, x: x,
    gradient=lambda op, grad: [grad],
    inputs=["input"],
    samples=lambda: [({}, [np.ones((2, 3))])],
)


def identity(input: Any, name: str | None = None) -> Tensor:
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


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """The same value, through which no gradient flows."""
    return apply_op("StopGradient", [input], None, name)


# Shape, Size, Rank.


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


def shape(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
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


def size(input: Any, name: str | None = None, out_type: Any = dtypes.int32) -> Tensor:
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


def rank(input: Any, name: str | None = None) -> Tensor:
    """The rank of a tensor."""
    with context.name_scope(name, "Rank", [input]) as scope:
        tensor = convert.convert_to_tensor(input)
        if not context.executing_eagerly() and tensor.shape.ndims is not None:
            return constant(tensor.shape.ndims, _INT32, name=scope)
        return apply_op("Rank", [tensor], None, scope or None)


# Fill, ZerosLike, OnesLike.


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
    gradient=lambda op, grad: [None, sum_all(grad)],
    inputs=["dims", "value"],
    samples=lambda: [({}, [np.array([2, 3], np.int32), np.array(1.5)])],
)


def sum_all(x: Tensor) -> Tensor:
    """The sum of all elements."""
    axes = apply_op("Range", [0, rank(x), 1])
    return apply_op("Sum", [x, axes], {"keep_dims": False})


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """A tensor of shape `dims` all of whose elements are `value`."""
    return apply_op("Fill", [dims, value], None, name, dtypes=[_INT32, None])


register(
    "ZerosLike",
    infer=shape_rules.like(),
    compute=lambda attrs, x: (
        np.zeros_like(x, order="C", subok=False)
        if x.dtype != object
        else np.full(x.shape, b"", object)
    ),
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
            shape_ = (
                constant(static.as_list(), _INT32, name="shape_as_tensor")
                if count is not None
                else shape_
            )
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


# Reshape.


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


# BroadcastTo.


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
    compute=lambda attrs, x, target: shape_rules.dense(np.broadcast_to(x, tuple(target.tolist()))),
    gradient=_grad_broadcast_to,
    inputs=["input", "shape"],
    samples=lambda: [
        ({}, [np.arange(3.0), np.array([2, 3], np.int32)]),
        ({}, [np.arange(2.0).reshape(2, 1), np.array([2, 3], np.int32)]),
    ],
)


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """The tensor repeated along axes of size 1 until it has `shape`."""
    return apply_op("BroadcastTo", [input, shape], None, name, dtypes=[None, _INT32])


# Pack, Unpack.


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
    if axis == 0 and isinstance(values, (list, tuple)):
        try:
            # Numbers alone become a constant; tensors and numbers are packed.
            return convert.convert_to_tensor(values, name=name)
        except (TypeError, ValueError):
            pass  # e.g. a list with variables; below is the general way
    return _stack(values, axis, name)


def _stack(values: Any, axis: int, name: str | None) -> Tensor:
    items = list(values)
    everywhere = tuple(range(len(items)))
    return apply_op(
        "Pack", items, {"axis": axis, "N": len(items)}, name, same=everywhere, same_from_any=True
    )


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
    return [in_order(part) for part in moved]


def _grad_unpack(op: Any, *grads: Any) -> list[Any]:
    filled = [zeros_like(t) if g is None else g for t, g in zip(op.outputs, grads, strict=False)]
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


def unstack(
    value: Any, num: int | None = None, axis: int = 0, name: str = "unstack"
) -> list[Tensor]:
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


# Concat.


def _infer_concat(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    *values, axis = inputs
    if not values:
        raise ValueError("values is empty; at least one tensor is needed.")
    check_dtype("axis", axis.dtype, INDEX)
    dtype = shape_rules.same_dtype(values)
    where_ = axis.constant_value()
    rank_ = next((t.shape.ndims for t in values if t.shape.ndims is not None), None)
    if rank_ is None:
        return [(dtype, unknown_shape())]
    for t in values:
        if t.shape.ndims not in (None, rank_):
            raise ValueError(f"values have ranks {rank_} and {t.shape.ndims}.")
    if rank_ == 0:
        raise ValueError("values of shape () cannot be concatenated; use stack.")
    if where_ is None:
        return [(dtype, unknown_shape(rank_))]
    at = axis_in_range(int(where_), rank_)
    out = unknown_shape(rank_)
    total: int | None = 0
    for t in values:
        dims = t.shape.with_rank(rank_).as_list()
        total = None if total is None or dims[at] is None else total + dims[at]
        dims[at] = None
        out = out.merge_with(dims)
    dims = out.as_list()
    dims[at] = total
    return [(dtype, TensorShape(dims))]


# Smaller tensors NumPy joins and cuts as fast.
_ENGINE_BYTES = 1 << 15


def _concat(attrs: dict[str, Any], *arrays: np.ndarray) -> np.ndarray:
    *values, axis = arrays
    at = axis_in_range(int(axis), values[0].ndim)
    if sum(v.nbytes for v in values) < _ENGINE_BYTES or values[0].dtype.hasobject:
        return np.concatenate(values, at)
    return engine.concat(values, at)


def _cut(value: np.ndarray, sizes: Sequence[int], at: int) -> list[np.ndarray]:
    """The parts of `value` along axis `at`, each in an array of its own."""
    if value.nbytes < _ENGINE_BYTES or value.dtype.hasobject:
        return [in_order(p) for p in np.split(value, np.cumsum(sizes)[:-1], at)]
    return engine.split(value, sizes, at)


def _grad_concat(op: Any, grad: Tensor) -> list[Any]:
    *values, axis = op.inputs
    if len(values) == 1:
        return [grad, None]
    known = axis.constant_value()
    sizes: list[int | None] = [None]
    if known is not None and values[0].shape.ndims is not None:
        at = axis_in_range(int(known), values[0].shape.ndims)
        sizes = [t.shape[at].value for t in values]
    if None not in sizes:
        lengths: Any = np.array(sizes, np.int32)
    else:
        lengths = stack([reshape(array_slice_ops.gather(shape(t), axis), []) for t in values])
    attrs = {"num_split": len(values)}
    return [*apply_op("SplitV", [grad, lengths, axis], attrs), None]


register(
    "ConcatV2",
    infer=_infer_concat,
    compute=_concat,
    gradient=_grad_concat,
    inputs=["values*", "axis"],
    samples=lambda: [
        ({"N": 2}, [np.ones((2, 3)), np.arange(4.0).reshape(2, 2), np.array(1, np.int32)]),
        ({"N": 3}, [np.ones(3), np.arange(2.0), np.zeros(1), np.array(-1, np.int32)]),
        ({"N": 1}, [np.ones((2, 3)), np.array(0, np.int32)]),
    ],
)


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """Tensors joined along an axis.

    Raises:
        ValueError: sizes of other axes differ; an axis out of range.
        TypeError: dtypes differ.

    Source: `tf.concat`.
    """
    if not isinstance(values, (list, tuple)):
        values = [values]
    if context.executing_eagerly() is False and len(values) == 1:
        with context.name_scope(name) as scope:
            axis_ = convert.convert_to_tensor(axis, name="concat_dim", dtype=_INT32)
            axis_.shape.assert_is_compatible_with([])
            return identity(values[0], name=scope)
    with context.name_scope(name, None, list(values)) as scope:
        n = len(values)
        return apply_op(
            "ConcatV2",
            [*values, axis],
            {"N": n},
            scope or None,
            dtypes=[*[None] * n, _INT32],
            same=tuple(range(n)),
            same_from_any=True,
        )


# Split.


def _infer_split(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    axis, value = inputs
    count = attrs["num_split"]
    where_ = axis.constant_value()
    if count < 1:
        raise ValueError(f"num_or_size_splits is {count}; at least one part is needed.")
    if value.shape.ndims is None or where_ is None:
        return [(value.dtype.base_dtype, unknown_shape(value.shape.ndims))] * count
    at = axis_in_range(int(where_), value.shape.ndims)
    dims = value.shape.as_list()
    if dims[at] is not None:
        if dims[at] % count:
            raise ValueError(f"axis {at} of {value.shape} does not split into {count} equal parts.")
        dims[at] //= count
    return [(value.dtype.base_dtype, TensorShape(dims))] * count


def _split(attrs: dict[str, Any], axis: np.ndarray, value: np.ndarray) -> list[np.ndarray]:
    at = axis_in_range(int(axis), value.ndim)
    count = attrs["num_split"]
    if value.shape[at] % count:
        raise ValueError(f"axis {at} of {value.shape} does not split into {count} equal parts.")
    return _cut(value, [value.shape[at] // count] * count, at)


def _grad_split(op: Any, *grads: Any) -> list[Any]:
    filled = [zeros_like(t) if g is None else g for t, g in zip(op.outputs, grads, strict=False)]
    return [None, concat(filled, op.inputs[0])]


register(
    "Split",
    infer=_infer_split,
    compute=_split,
    gradient=_grad_split,
    inputs=["split_dim", "value"],
    samples=lambda: [
        ({"num_split": 2}, [np.array(1, np.int32), np.arange(8.0).reshape(2, 4)]),
        ({"num_split": 1}, [np.array(0, np.int32), np.arange(8.0).reshape(2, 4)]),
    ],
)


def _infer_split_v(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    value, sizes, axis = inputs
    count = attrs["num_split"]
    where_ = axis.constant_value()
    dtype = value.dtype.base_dtype
    if value.shape.ndims is None or where_ is None:
        return [(dtype, unknown_shape(value.shape.ndims))] * count
    at = axis_in_range(int(where_), value.shape.ndims)
    dims = value.shape.as_list()
    known = sizes.constant_value()
    if known is None:
        parts: list[Any] = [None] * count
    else:
        parts = _part_sizes(known, dims[at])
    return [(dtype, TensorShape([*dims[:at], p, *dims[at + 1 :]])) for p in parts]


def _part_sizes(sizes: np.ndarray, total: int | None) -> list[Any]:
    """The sizes of the parts, one of which may be given as -1: the rest."""
    parts: list[Any] = [int(s) for s in sizes]
    if parts.count(-1) > 1 or any(s < -1 for s in parts):
        raise ValueError(f"size_splits={parts}: sizes are 0 or more, and one may be -1.")
    fixed = sum(s for s in parts if s >= 0)
    if -1 in parts:
        rest = None if total is None else total - fixed
        if rest is not None and rest < 0:
            raise ValueError(f"size_splits={parts} need more than the {total} there are.")
        parts[parts.index(-1)] = rest
    elif total is not None and fixed != total:
        raise ValueError(f"size_splits={parts} sum to {fixed}, the axis has size {total}.")
    return parts


def _split_v(
    attrs: dict[str, Any], value: np.ndarray, sizes: np.ndarray, axis: np.ndarray
) -> list[np.ndarray]:
    at = axis_in_range(int(axis), value.ndim)
    parts = _part_sizes(sizes, value.shape[at])
    return _cut(value, [int(n) for n in parts], at)


def _grad_split_v(op: Any, *grads: Any) -> list[Any]:
    filled = [zeros_like(t) if g is None else g for t, g in zip(op.outputs, grads, strict=False)]
    return [concat(filled, op.inputs[2]), None, None]


register(
    "SplitV",
    infer=_infer_split_v,
    compute=_split_v,
    gradient=_grad_split_v,
    inputs=["value", "size_splits", "split_dim"],
    samples=lambda: [
        (
            {"num_split": 3},
            [np.arange(12.0).reshape(2, 6), np.array([1, 3, -1], np.int32), np.array(1, np.int32)],
        ),
    ],
)


def split(
    value: Any, num_or_size_splits: Any, axis: Any = 0, num: int | None = None, name: str = "split"
) -> list[Tensor]:
    """The parts of a tensor along an axis.

    Args:
        value: the tensor.
        num_or_size_splits: the number of equal parts, or a vector of sizes, one of which may be
            -1 for the rest.
        axis: the axis.
        num: the number of sizes, where it is not known while building.
        name: name of the operation.

    Raises:
        ValueError: the sizes do not fit, or their number is not known.

    Source: `tf.split`.
    """
    value = convert.convert_to_tensor(value, name="value")
    if isinstance(num_or_size_splits, (int, np.integer)) and not isinstance(
        num_or_size_splits, bool
    ):
        attrs = {"num_split": int(num_or_size_splits)}
        parts = apply_op("Split", [axis, value], attrs, name, dtypes=[_INT32, None])
        return parts if isinstance(parts, list) else [parts]
    sizes = convert.convert_to_tensor(num_or_size_splits, preferred_dtype=_INT32)
    if sizes.shape.ndims == 0:
        raise ValueError("num_or_size_splits must be a Python integer or a vector of sizes.")
    if num is None:
        num = sizes.shape.num_elements()
        if num is None:
            raise ValueError("num must be given: the number of sizes is not known.")
    attrs = {"num_split": num}
    parts = apply_op("SplitV", [value, sizes, axis], attrs, name, dtypes=[None, None, _INT32])
    return parts if isinstance(parts, list) else [parts]


# ExpandDims, Squeeze.


def _infer_expand_dims(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, dim = inputs
    where_ = dim.constant_value()
    if x.shape.ndims is None:
        return [(x.dtype.base_dtype, unknown_shape())]
    if where_ is None:
        return [(x.dtype.base_dtype, unknown_shape(x.shape.ndims + 1))]
    at = axis_in_range(int(where_.reshape(())), x.shape.ndims + 1)
    dims = x.shape.as_list()
    return [(x.dtype.base_dtype, TensorShape([*dims[:at], 1, *dims[at:]]))]


register(
    "ExpandDims",
    infer=_infer_expand_dims,
    compute=lambda attrs, x, dim: np.expand_dims(
        x, axis_in_range(int(dim.reshape(())), x.ndim + 1)
    ),
    gradient=lambda op, grad: [reshape(grad, shape(op.inputs[0])), None],
    inputs=["input", "dim"],
    samples=lambda: [
        ({}, [np.arange(6.0).reshape(2, 3), np.array(1, np.int32)]),
        ({}, [np.arange(6.0).reshape(2, 3), np.array(-1, np.int32)]),
    ],
)


def expand_dims(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    dim: Any = None,
) -> Tensor:
    """The tensor with an axis of size 1 put in at `axis` (`dim` is its old name)."""
    axis = _one_of("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("axis must be given.")
    return apply_op("ExpandDims", [input, axis], None, name, dtypes=[None, _INT32])


def _one_of(name: str, value: Any, old_name: str, old: Any) -> Any:
    if old is None:
        return value
    if value is not None:
        raise ValueError(f"Only one of {name} and {old_name} (its old name) may be given.")
    return old


def _squeezed(dims: Sequence[int | None], axes: Sequence[int]) -> list[int | None] | None:
    rank_ = len(dims)
    if not axes:
        return None if None in dims else [d for d in dims if d != 1]
    gone = {axis_in_range(a, rank_) for a in axes}
    for a in gone:
        if dims[a] not in (1, None):
            raise ValueError(f"axis {a} has size {dims[a]}; only axes of size 1 can be squeezed.")
    return [d for i, d in enumerate(dims) if i not in gone]


def _infer_squeeze(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x = inputs[0]
    if x.shape.ndims is None:
        return [(x.dtype.base_dtype, unknown_shape())]
    return [(x.dtype.base_dtype, TensorShape(_squeezed(x.shape.as_list(), attrs["squeeze_dims"])))]


register(
    "Squeeze",
    infer=_infer_squeeze,
    compute=lambda attrs, x: x.reshape(_squeezed(x.shape, attrs["squeeze_dims"])),
    gradient=lambda op, grad: [reshape(grad, shape(op.inputs[0]))],
    inputs=["input"],
    samples=lambda: [
        ({"squeeze_dims": []}, [np.ones((1, 2, 1))]),
        ({"squeeze_dims": [-1]}, [np.ones((1, 2, 1))]),
    ],
)


def squeeze(
    input: Any,
    axis: Any = None,
    name: str | None = None,
    squeeze_dims: Any = None,
) -> Tensor:
    """The tensor without axes of size 1: all of them or those listed.

    Raises:
        ValueError: a listed axis is out of range or of another size.

    Source: `tf.squeeze`.
    """
    axis = _one_of("axis", axis, "squeeze_dims", squeeze_dims)
    axes = [] if axis is None else [int(a) for a in np.ravel(axis)]
    return apply_op("Squeeze", [input], {"squeeze_dims": axes}, name)


from conv3d.ops import array_slice_ops  # noqa: E402
from conv3d.ops.array_layout_ops import *  # noqa: E402, F403
from conv3d.ops.array_more_ops import *  # noqa: E402, F403
from conv3d.ops.array_slice_ops import *  # noqa: E402, F403 - one place to find array ops
