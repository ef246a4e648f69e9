"""Reductions along axes: sums, means, extremes, logic; positions of extremes; running sums."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import Tensor
from conv3d.framework.tensor_shape import TensorShape, unknown_shape
from conv3d.ops import array_ops, shape_rules
from conv3d.ops.shape_rules import INDEX, NUMBERS, REAL, axis_in_range

# Reductions.


def _infer_reduction(allowed: Sequence[Any]) -> Callable[..., Any]:
    def infer(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
        x, axes = inputs
        shape_rules.check_dtype("input_tensor", x.dtype, allowed)
        shape_rules.check_dtype("axis", axes.dtype, INDEX)
        dtype = x.dtype.base_dtype
        rank = x.shape.ndims
        known = axes.constant_value()
        if rank is None:
            return [(dtype, unknown_shape())]
        if known is None:
            count = axes.shape.num_elements()
            if attrs["keep_dims"]:
                return [(dtype, unknown_shape(rank))]
            # One axis can be named once only, so the rank of the result is known.
            return [(dtype, unknown_shape(None if count is None else max(rank - count, 0)))]
        gone = {axis_in_range(int(a), rank) for a in known.ravel()}
        dims = x.shape.as_list()
        if attrs["keep_dims"]:
            return [(dtype, TensorShape([1 if i in gone else d for i, d in enumerate(dims)]))]
        return [(dtype, TensorShape([d for i, d in enumerate(dims) if i not in gone]))]

    return infer


def _axes(x: np.ndarray, axes: np.ndarray) -> tuple[int, ...]:
    return tuple(sorted({axis_in_range(int(a), x.ndim) for a in axes.ravel()}))


# Fewer elements, or more channels, NumPy sums as fast.
_ENGINE_ELEMENTS = 4096
_ENGINE_CHANNELS = 1024


def _sum(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    kept = [i for i in builtins.range(x.ndim) if i not in axis]
    if x.size >= _ENGINE_ELEMENTS and x.dtype in (np.float32, np.float64):
        # Sums by channel: NumPy's loops would be as short as there are channels.
        total = None
        if axis and kept and kept[0] == len(axis):
            channels = int(np.prod([x.shape[i] for i in kept]))
            if channels <= _ENGINE_CHANNELS:
                total = engine.channel_sums(x.reshape(-1, channels))
        elif kept == [1]:
            total = engine.channel_sums(x, data_format="channels_first")
        if total is not None:
            sizes = [n if i in kept else 1 for i, n in enumerate(x.shape)]
            return total.reshape(sizes if keepdims else [x.shape[i] for i in kept])
    return np.asarray(np.sum(x, axis=axis, dtype=x.dtype, keepdims=keepdims))


def _mean(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    count = int(np.prod([x.shape[i] for i in axis], dtype=np.int64))
    total = _sum(x.astype(np.float32) if x.dtype == np.float16 else x, axis, keepdims)
    if x.dtype.kind in "iu":
        if count == 0:
            raise ValueError("the mean of no integers is not defined.")
        # Towards zero, as integers are divided in C.
        return (np.sign(total) * (np.abs(total) // count)).astype(x.dtype)
    return np.asarray(total / np.asarray(count, total.dtype)).astype(x.dtype, copy=False)


def _extreme(reduce: Callable[..., Any], largest: bool) -> Callable[..., Any]:
    def compute(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
        if x.size == 0:
            limits = np.iinfo(x.dtype) if x.dtype.kind in "iu" else None
            if limits is not None:
                start: Any = limits.min if largest else limits.max
            else:
                start = -np.inf if largest else np.inf
            return reduce(x, axis=axis, keepdims=keepdims, initial=start)
        return reduce(x, axis=axis, keepdims=keepdims)

    return compute


def _prod(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return np.asarray(np.prod(x, axis=axis, dtype=x.dtype, keepdims=keepdims))


def _spread(op: Any, g: Any) -> Tensor:
    """Shapes a tensor like the result of the reduction so that it broadcasts over the input."""
    x, axes = op.inputs
    if op.get_attr("keep_dims"):
        return g
    known = axes.constant_value()
    if known is not None and x.shape.ndims is not None:
        gone = {axis_in_range(int(a), x.shape.ndims) for a in known.ravel()}
        if x.shape.is_fully_defined():
            dims = [1 if i in gone else d for i, d in enumerate(x.shape.as_list())]
            return array_ops.reshape(g, np.array(dims, np.int32))
    return array_ops.reshape(g, reduced_shape(array_ops.shape(x), axes))


def reduced_shape(input_shape: Any, axes: Any) -> Tensor:
    """The shape that a reduction over `axes` with kept axes gives."""
    return apply_op("ReducedShape", [input_shape, axes])


def _reduced_shape(attrs: dict[str, Any], shape: np.ndarray, axes: np.ndarray) -> np.ndarray:
    out = shape.copy()
    for a in axes.ravel():
        out[axis_in_range(int(a), len(out))] = 1
    return out


register(
    "ReducedShape",
    infer=lambda attrs, inputs: [(inputs[0].dtype, inputs[0].shape)],
    compute=_reduced_shape,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["input_shape", "axes"],
    samples=lambda: [({}, [np.array([2, 3, 4], np.int32), np.array([1, -1], np.int32)])],
)


def _grad_sum(op: Any, g: Tensor) -> list[Any]:
    return [_repeat(op, g), None]


def _repeat(op: Any, g: Tensor) -> Tensor:
    x = op.inputs[0]
    shape = array_ops.shape(x)
    return apply_op("BroadcastTo", [_spread(op, g), shape])


def _grad_mean(op: Any, g: Tensor) -> list[Any]:
    x, y = op.inputs[0], op.outputs[0]
    if x.shape.is_fully_defined() and y.shape.is_fully_defined():
        count: Any = x.shape.num_elements() // max(y.shape.num_elements(), 1)
        factor = convert.convert_to_tensor(max(count, 1), x.dtype.base_dtype)
    else:
        sizes = array_ops.size(x), maximum_of(array_ops.size(y), 1)
        whole = maximum_of(apply_op("FloorDiv", list(sizes)), 1)
        factor = apply_op("Cast", [whole], {"DstT": x.dtype.base_dtype})
    return [_repeat(op, apply_op("RealDiv", [g, factor])), None]


def maximum_of(x: Any, y: Any) -> Tensor:
    """The larger of two integers."""
    return apply_op("Maximum", [x, y], same=(0, 1))


def _grad_extreme(op: Any, g: Tensor) -> list[Any]:
    # Elements that share the extreme share its gradient.
    x = op.inputs[0]
    at = apply_op(
        "Cast", [apply_op("Equal", [x, _repeat(op, op.outputs[0])])], {"DstT": x.dtype.base_dtype}
    )
    axes = op.inputs[1]
    count = apply_op("Sum", [at, axes], {"keep_dims": True})
    return [at / count * _spread(op, g), None]


def _grad_prod(op: Any, g: Tensor) -> list[Any]:
    return [apply_op("ProdGrad", [op.inputs[0], op.inputs[1], _spread(op, g)]), None]


def _prod_grad(attrs: dict[str, Any], x: np.ndarray, axes: np.ndarray, g: np.ndarray) -> np.ndarray:
    """G times the product of all other elements, without dividing: there may be zeros."""
    gone = list(_axes(x, axes))
    kept = [i for i in builtins.range(x.ndim) if i not in gone]
    order = kept + gone
    flat = np.transpose(x, order)
    moved = flat.shape
    flat = flat.reshape([x.shape[i] for i in kept] + [-1])
    before, after = np.ones_like(flat), np.ones_like(flat)
    before[..., 1:] = np.cumprod(flat[..., :-1], axis=-1)
    after[..., :-1] = np.cumprod(flat[..., :0:-1], axis=-1)[..., ::-1]
    others = np.transpose((before * after).reshape(moved), np.argsort(order))
    return others * g


register(
    "ProdGrad",
    infer=shape_rules.like(),
    compute=_prod_grad,
    # Of second order there is none: TensorFlow programs do not ask for it.
    gradient=None,
    inputs=["input", "axes", "grad"],
    samples=lambda: [
        ({}, [np.arange(6.0).reshape(2, 3), np.array([1], np.int32), np.ones((2, 1))]),
        ({}, [np.ones((2, 3)), np.array([0, 1], np.int32), np.ones((1, 1))]),
    ],
)


def _reduction_samples() -> list[Any]:
    x = np.random.default_rng(5).normal(size=(2, 3, 2))
    out = []
    for axes in ([0], [1, -1], [0, 1, 2], []):
        for keep in (False, True):
            out.append(({"keep_dims": keep}, [x, np.array(axes, np.int32)]))
    return out


def _register_reduction(
    op_type: str, function: Callable[..., Any], gradient: Any, allowed: Sequence[Any], label: str
) -> Callable[..., Any]:
    """Registers a reduction and gives the function `reduce_...` that calls it."""
    boolean = allowed == (dtypes.bool,)
    register(
        op_type,
        infer=_infer_reduction(allowed),
        compute=lambda attrs, x, axes: np.asarray(function(x, _axes(x, axes), attrs["keep_dims"])),
        gradient=gradient,
        inputs=["input", "reduction_indices"],
        samples=_reduction_samples
        if not boolean
        else lambda: [(a, [x > 0, i]) for a, (x, i) in _reduction_samples()],
    )

    def call(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Tensor:
        axis = _either("axis", axis, "reduction_indices", reduction_indices)
        keep = bool(_either("keepdims", keepdims, "keep_dims", keep_dims))
        x = convert.convert_to_tensor(
            input_tensor, name="input_tensor", dtype=dtypes.bool if boolean else None
        )
        axes = _all_axes(x, axis)
        hints = [None, dtypes.int32]
        out = apply_op(op_type, [x, axes], {"keep_dims": keep}, name, dtypes=hints)
        if axis is None and not keep and type(out) is Tensor:
            out.set_shape([])
        return out

    call.__name__ = label
    call.__doc__ = f"""{op_type} of the elements along axes.

    Args:
        input_tensor: the tensor.
        axis: an axis or a list of axes; negative ones count from the end; default all.
        keepdims: keep the axes, with size 1.
        name: name of the operation.
        reduction_indices: old name of `axis`.
        keep_dims: old name of `keepdims`.

    Raises:
        ValueError: an axis out of range; both an argument and its old name.

    Source: `tf.{label}`.
    """
    return call


def _either(name: str, value: Any, old_name: str, old: Any) -> Any:
    if old is None:
        return value
    if value is not None:
        raise ValueError(f"Only one of {name} and {old_name} (its old name) may be given.")
    return old


def _all_axes(x: Tensor, axis: Any) -> Any:
    if axis is not None:
        return axis
    if x.shape.ndims is not None:
        every = np.arange(x.shape.ndims, dtype=np.int32)
        return array_ops.constant(every) if not context.executing_eagerly() else every
    return range(0, array_ops.rank(x))


reduce_sum = _register_reduction("Sum", _sum, _grad_sum, NUMBERS, "reduce_sum")
reduce_mean = _register_reduction("Mean", _mean, _grad_mean, NUMBERS, "reduce_mean")
reduce_prod = _register_reduction("Prod", _prod, _grad_prod, NUMBERS, "reduce_prod")
reduce_max = _register_reduction(
    "Max", _extreme(np.maximum.reduce, True), _grad_extreme, REAL, "reduce_max"
)
reduce_min = _register_reduction(
    "Min", _extreme(np.minimum.reduce, False), _grad_extreme, REAL, "reduce_min"
)
reduce_all = _register_reduction(
    "All",
    lambda x, axis, keep: np.all(x, axis, keepdims=keep),
    NOT_DIFFERENTIABLE,
    (dtypes.bool,),
    "reduce_all",
)
reduce_any = _register_reduction(
    "Any",
    lambda x, axis, keep: np.any(x, axis, keepdims=keep),
    NOT_DIFFERENTIABLE,
    (dtypes.bool,),
    "reduce_any",
)


# Range.


def _infer_range(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = shape_rules.same_dtype(inputs, ("start", "limit", "delta"))
    shape_rules.check_dtype("start", dtype, REAL)
    for t in inputs:
        t.shape.with_rank(0)
    values = [t.constant_value() for t in inputs]
    if any(v is None for v in values):
        return [(dtype, unknown_shape(1))]
    return [(dtype, TensorShape(_range(attrs, *values).shape))]


def _range(
    attrs: dict[str, Any], start: np.ndarray, limit: np.ndarray, delta: np.ndarray
) -> np.ndarray:
    if delta == 0:
        raise ValueError("delta must not be 0.")
    # By counting, not by np.arange on floats, which may give one element too many.
    count = int(max(0, np.ceil((np.float64(limit) - np.float64(start)) / np.float64(delta))))
    steps = np.arange(count).astype(start.dtype)
    return np.asarray(start + steps * delta).astype(start.dtype, copy=False)


register(
    "Range",
    infer=_infer_range,
    compute=_range,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["start", "limit", "delta"],
    samples=lambda: [
        ({}, [np.array(0, np.int32), np.array(7, np.int32), np.array(3, np.int32)]),
        ({}, [np.array(1.0), np.array(0.0), np.array(-0.25)]),
    ],
)


def range(
    start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range"
) -> Tensor:
    """start, start + delta, ... up to but not including limit. One argument is the limit."""
    if limit is None:
        start, limit = 0, start
    with context.name_scope(name, "range", [start, limit, delta]) as scope:
        parts = [
            convert.convert_to_tensor(v, dtype=dtype, name=n)
            for v, n in ((start, "start"), (limit, "limit"), (delta, "delta"))
        ]
        if dtype is None:
            # The widest of the three types, integers before floats.
            order = [dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64]
            kinds = [p.dtype.base_dtype for p in parts]
            if all(k in order for k in kinds):
                widest = max(kinds, key=order.index)
                parts = [
                    p if p.dtype.base_dtype == widest else apply_op("Cast", [p], {"DstT": widest})
                    for p in parts
                ]
        return apply_op("Range", parts, None, scope or None)


def lin_space(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` values from start to stop, both included, at equal distances."""
    return apply_op(
        "LinSpace", [start, stop, num], None, name, dtypes=[None, None, dtypes.int32], same=(0, 1)
    )


linspace = lin_space


def _infer_lin_space(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = shape_rules.same_dtype(inputs[:2], ("start", "stop"))
    shape_rules.check_dtype("start", dtype, shape_rules.FLOATS)
    n = inputs[2].constant_value()
    if n is not None and n < 1:
        raise ValueError(f"num is {int(n)}; at least one value is needed.")
    return [(dtype, TensorShape([None if n is None else int(n)]))]


def _lin_space(
    attrs: dict[str, Any], start: np.ndarray, stop: np.ndarray, num: np.ndarray
) -> np.ndarray:
    if num < 1:
        raise ValueError(f"num is {int(num)}; at least one value is needed.")
    return np.linspace(start, stop, int(num)).astype(start.dtype)


register(
    "LinSpace",
    infer=_infer_lin_space,
    compute=_lin_space,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["start", "stop", "num"],
    samples=lambda: [({}, [np.array(1.0), np.array(2.0), np.array(5, np.int32)])],
)


# Reductions made of others.


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """log(sum(exp(x))) along axes, without overflow. Arguments as those of `reduce_sum`."""
    axis = _either("axis", axis, "reduction_indices", reduction_indices)
    keep = bool(_either("keepdims", keepdims, "keep_dims", keep_dims))
    with context.name_scope(name, "ReduceLogSumExp", [input_tensor]):
        x = convert.convert_to_tensor(input_tensor)
        top = reduce_max(x, axis, True)
        finite = apply_op("IsFinite", [top])
        zero = array_ops.zeros_like(top)
        top = array_ops.stop_gradient(apply_op("Select", [finite, top, zero]))
        total = reduce_sum(apply_op("Exp", [apply_op("Sub", [x, top])]), axis, keep)
        out = apply_op("Log", [total])
        if not keep:
            top = array_ops.reshape(top, array_ops.shape(out))
        return apply_op("Add", [out, top])


def count_nonzero(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    dtype: Any = dtypes.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """The number of elements that are not 0. Arguments as those of `reduce_sum`."""
    axis = _either("axis", axis, "reduction_indices", reduction_indices)
    keep = bool(_either("keepdims", keepdims, "keep_dims", keep_dims))
    with context.name_scope(name, "count_nonzero", [input_tensor]):
        x = convert.convert_to_tensor(input_tensor, name="input_tensor")
        other = apply_op("NotEqual", [x, array_ops.zeros([], x.dtype.base_dtype)])
        number = apply_op("Cast", [other], {"DstT": dtypes.int64})
        total = reduce_sum(number, axis, keep)
        wanted = dtypes.as_dtype(dtype)
        return total if wanted == dtypes.int64 else apply_op("Cast", [total], {"DstT": wanted})


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    keep_dims: Any = None,
) -> Tensor:
    """The norm of vectors along an axis, or of matrices along two; default of all elements.

    Args:
        tensor: floating point.
        ord: "euclidean" (of two axes: "fro"), 1, 2, `np.inf` or another positive number; of two
            axes 1 and `np.inf`, too, the largest sum of a column or a row.
        axis: an integer, two of them, or None for all elements as one vector.
        keepdims: keep the axes, with size 1.
        name: name scope.
        keep_dims: old name of `keepdims`.

    Raises:
        ValueError: an `ord` that is not offered, or more than two axes.

    Source: `tf.norm`.
    """
    keep = bool(_either("keepdims", keepdims, "keep_dims", keep_dims))
    matrix = isinstance(axis, (list, tuple)) and len(axis) == 2
    if isinstance(axis, (list, tuple)) and not matrix:
        if len(axis) != 1:
            raise ValueError(f"`axis` is {axis!r}; an integer, two of them or None are accepted.")
        axis = axis[0]
    accepted = ("euclidean", "fro", 1, np.inf) if matrix else ("euclidean", 1, 2, np.inf)
    positive = isinstance(ord, (int, float)) and ord > 0 and not matrix
    if ord not in accepted and not positive:
        raise ValueError(f"`ord` is {ord!r}; accepted are {accepted} for this `axis`.")
    with context.name_scope(name, "norm", [tensor]):
        x = convert.convert_to_tensor(tensor)
        size = apply_op("Abs", [x])
        if ord in ("euclidean", "fro", 2):
            out = apply_op("Sqrt", [reduce_sum(apply_op("Mul", [x, x]), axis, True)])
        elif matrix:
            # Columns for 1, rows for infinity: first the sum along one axis, then the largest.
            first, second = axis if ord == 1 else (axis[1], axis[0])
            out = reduce_max(reduce_sum(size, first, True), second, True)
        elif ord == 1:
            out = reduce_sum(size, axis, True)
        elif ord == np.inf:
            out = reduce_max(size, axis, True)
        else:
            total = reduce_sum(
                apply_op("Pow", [size, np.asarray(ord, x.dtype.as_numpy_dtype)]), axis, True
            )
            out = apply_op("Pow", [total, np.asarray(1.0 / ord, x.dtype.as_numpy_dtype)])
        if keep:
            return out
        axes = [int(a) for a in (axis if matrix else [axis])] if axis is not None else None
        return array_ops.squeeze(out, axes)


def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The square root of the sum of squares along axes."""
    with context.name_scope(name, "EuclideanNorm", [input_tensor]):
        x = convert.convert_to_tensor(input_tensor)
        return apply_op("Sqrt", [reduce_sum(apply_op("Square", [x]), axis, keepdims)])


# ArgMax, ArgMin.


def _infer_arg(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    x, dim = inputs
    shape_rules.check_dtype("input", x.dtype, REAL)
    shape_rules.check_dtype("output_type", attrs["output_type"], INDEX)
    at = dim.constant_value()
    if x.shape.ndims is None:
        return [(attrs["output_type"], unknown_shape())]
    if at is None:
        return [(attrs["output_type"], unknown_shape(x.shape.ndims - 1))]
    at = axis_in_range(int(at), x.shape.ndims, "dimension")
    dims = x.shape.as_list()
    return [(attrs["output_type"], TensorShape(dims[:at] + dims[at + 1 :]))]


def _register_arg(op_type: str, function: Callable[..., Any], label: str) -> Callable[..., Any]:
    def compute(attrs: dict[str, Any], x: np.ndarray, dim: np.ndarray) -> np.ndarray:
        at = axis_in_range(int(dim), x.ndim, "dimension")
        if x.shape[at] == 0:
            raise ValueError(f"axis {at} has no elements.")
        return np.asarray(function(x, axis=at)).astype(attrs["output_type"].as_numpy_dtype)

    register(
        op_type,
        infer=_infer_arg,
        compute=compute,
        gradient=NOT_DIFFERENTIABLE,
        inputs=["input", "dimension"],
        samples=lambda: [
            (
                {"output_type": dtypes.int64},
                [np.array([[1.0, 5.0, 2.0], [7.0, 0.0, 7.0]]), np.array(a, np.int32)],
            )
            for a in (0, -1)
        ],
    )

    def call(
        input: Any,
        axis: Any = None,
        name: str | None = None,
        dimension: Any = None,
        output_type: Any = dtypes.int64,
    ) -> Tensor:
        axis = _either("axis", axis, "dimension", dimension)
        attrs = {"output_type": dtypes.as_dtype(output_type)}
        inputs = [input, 0 if axis is None else axis]
        return apply_op(op_type, inputs, attrs, name, dtypes=[None, dtypes.int32])

    call.__name__ = label
    call.__doc__ = f"""Where along `axis` (default 0) the extreme is; the first place if several.

    Source: `tf.{label}`.
    """
    return call


argmax = _register_arg("ArgMax", np.argmax, "argmax")
argmin = _register_arg("ArgMin", np.argmin, "argmin")
arg_max = argmax
arg_min = argmin


# Cumsum, Cumprod.


def _scan(function: Callable[..., Any], start: int) -> Callable[..., Any]:
    def compute(attrs: dict[str, Any], x: np.ndarray, axis: np.ndarray) -> np.ndarray:
        at = axis_in_range(int(axis), x.ndim)
        y = np.flip(x, at) if attrs["reverse"] else x
        if attrs["exclusive"]:
            first = np.full([1 if i == at else d for i, d in enumerate(x.shape)], start, x.dtype)
            head = y[
                tuple(slice(None, -1) if i == at else slice(None) for i in builtins.range(x.ndim))
            ]
            y = np.concatenate([first, head], at) if x.shape[at] else y
        y = function(y, axis=at, dtype=x.dtype)
        return shape_rules.in_order(np.flip(y, at) if attrs["reverse"] else y)

    return compute


def _scan_samples() -> list[Any]:
    x = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, 2.0]])
    return [
        ({"exclusive": e, "reverse": r}, [x, np.array(a, np.int32)])
        for e in (False, True)
        for r in (False, True)
        for a in (0, -1)
    ]


def _flags(op: Any) -> dict[str, Any]:
    return {"exclusive": op.get_attr("exclusive"), "reverse": op.get_attr("reverse")}


def _grad_cumsum(op: Any, g: Tensor) -> list[Any]:
    attrs = {**_flags(op), "reverse": not op.get_attr("reverse")}
    return [apply_op("Cumsum", [g, op.inputs[1]], attrs), None]


def _grad_cumprod(op: Any, g: Tensor) -> list[Any]:
    x, axis = op.inputs
    back = {**_flags(op), "reverse": not op.get_attr("reverse")}
    total = apply_op("Cumsum", [apply_op("Mul", [op.outputs[0], g]), axis], back)
    return [apply_op("RealDiv", [total, x]), None]


for _type, _function, _start, _gradient in (
    ("Cumsum", np.cumsum, 0, _grad_cumsum),
    ("Cumprod", np.cumprod, 1, _grad_cumprod),
):
    register(
        _type,
        infer=shape_rules.like(),
        compute=_scan(_function, _start),
        gradient=_gradient,
        inputs=["x", "axis"],
        samples=_scan_samples,
    )


def cumsum(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Running sums along an axis; `exclusive` leaves the element itself out."""
    attrs = {"exclusive": bool(exclusive), "reverse": bool(reverse)}
    return apply_op("Cumsum", [x, axis], attrs, name, dtypes=[None, dtypes.int32])


def cumprod(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """Running products along an axis; `exclusive` leaves the element itself out."""
    attrs = {"exclusive": bool(exclusive), "reverse": bool(reverse)}
    return apply_op("Cumprod", [x, axis], attrs, name, dtypes=[None, dtypes.int32])


# Bincount.


def _infer_bincount(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    values, size, weights = inputs
    shape_rules.check_dtype("arr", values.dtype, (dtypes.int32,))
    n = size.constant_value()
    return [(weights.dtype.base_dtype, TensorShape([None if n is None else int(n)]))]


def _bincount(
    attrs: dict[str, Any], values: np.ndarray, size: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    flat = values.ravel()
    if (flat < 0).any():
        raise ValueError("arr holds a negative number.")
    inside = flat < int(size)
    if weights.size:
        counts = np.bincount(flat[inside], weights.ravel()[inside], int(size))
    else:
        counts = np.bincount(flat[inside], minlength=int(size))
    return counts.astype(weights.dtype)


def _grad_bincount(op: Any, g: Tensor) -> list[Any]:
    values, size, weights = op.inputs
    if weights.shape.num_elements() == 0:
        return [None, None, None]
    # A weight is counted where its value is, unless that lies beyond the end.
    counted = apply_op("Less", [values, size])
    safe = apply_op("Select", [counted, values, array_ops.zeros_like(values)])
    found = array_ops.gather(g, safe)
    return [None, None, apply_op("Mul", [found, apply_op("Cast", [counted], {"DstT": g.dtype})])]


register(
    "Bincount",
    infer=_infer_bincount,
    compute=_bincount,
    gradient=_grad_bincount,
    inputs=["arr", "size", "weights"],
    samples=lambda: [
        ({}, [np.array([1, 1, 3], np.int32), np.array(4, np.int32), np.array([], np.int32)]),
        ({}, [np.array([1, 1, 3], np.int32), np.array(3, np.int32), np.ones(3)]),
    ],
)


def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = dtypes.int32,
) -> Tensor:
    """How often each number from 0 on occurs.

    Args:
        arr: int32, none negative.
        weights: what an occurrence counts; default 1.
        minlength: least length of the result.
        maxlength: greatest length of the result; larger numbers are not counted.
        dtype: type of the result without weights.

    Source: `tf.bincount`.
    """
    with context.name_scope(None, "bincount", [arr]):
        arr = convert.convert_to_tensor(arr, name="arr", dtype=dtypes.int32)
        none = apply_op("Equal", [array_ops.size(arr), 0], same=(0, 1))
        padded = array_ops.concat([array_ops.reshape(arr, [-1]), [0]], 0)
        largest = reduce_max(padded)
        length = apply_op("Add", [largest, 1], same=(0, 1))
        length = apply_op("Select", [none, array_ops.zeros_like(length), length])
        if minlength is not None:
            least = convert.convert_to_tensor(minlength, dtype=dtypes.int32, name="minlength")
            length = apply_op("Maximum", [least, length])
        if maxlength is not None:
            most = convert.convert_to_tensor(maxlength, dtype=dtypes.int32, name="maxlength")
            length = apply_op("Minimum", [most, length])
        if weights is None:
            weights = array_ops.constant([], dtypes.as_dtype(dtype))
        return apply_op("Bincount", [arr, length, weights])


# Segments.


def _infer_segments(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    data, ids, number = inputs
    shape_rules.check_dtype("segment_ids", ids.dtype, INDEX)
    n = number.constant_value()
    if data.shape.ndims is None or ids.shape.ndims is None:
        return [(data.dtype.base_dtype, unknown_shape())]
    rest = data.shape[ids.shape.ndims :]
    data.shape[: ids.shape.ndims].assert_is_compatible_with(ids.shape)
    first = TensorShape([None if n is None else int(n)])
    return [(data.dtype.base_dtype, first.concatenate(rest))]


def _segments(
    attrs: dict[str, Any], data: np.ndarray, ids: np.ndarray, number: np.ndarray
) -> np.ndarray:
    n = int(number)
    flat = ids.ravel()
    if (flat >= n).any():
        raise ValueError(f"segment_ids holds {flat.max()}; num_segments is {n}.")
    rows = data.reshape(flat.size, *data.shape[ids.ndim :])
    out = np.zeros((n, *rows.shape[1:]), data.dtype)
    np.add.at(out, flat[flat >= 0], rows[flat >= 0])
    return out


def _grad_segments(op: Any, g: Tensor) -> list[Any]:
    # A negative id belongs to no segment and gets no gradient.
    ids = op.inputs[1]
    zero = array_ops.zeros_like(ids)
    safe = apply_op("Maximum", [ids, zero])
    rows = array_ops.gather(g, safe)
    live = apply_op("Cast", [apply_op("GreaterEqual", [ids, zero])], {"DstT": g.dtype})
    extra = array_ops.rank(rows) - array_ops.rank(ids)
    shape = array_ops.concat([array_ops.shape(ids), array_ops.fill([extra], 1)], 0)
    return [apply_op("Mul", [rows, array_ops.reshape(live, shape)]), None, None]


register(
    "UnsortedSegmentSum",
    infer=_infer_segments,
    compute=_segments,
    gradient=_grad_segments,
    inputs=["data", "segment_ids", "num_segments"],
    samples=lambda: [
        (
            {},
            [
                np.arange(6.0).reshape(3, 2),
                np.array([2, 0, 2], np.int32),
                np.array(4, np.int32),
            ],
        )
    ],
)


def unsorted_segment_sum(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """Sums the rows of `data` that have the same id."""
    hints = [None, dtypes.int32, dtypes.int32]
    return apply_op(
        "UnsortedSegmentSum", [data, segment_ids, num_segments], None, name, dtypes=hints
    )
