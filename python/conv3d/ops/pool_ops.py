"""Maximum and average pooling of two and three spatial dimensions, with gradients of all orders.

    max:  output[o] = max over the window of input[o * s + t - p]
    avg:  output[o] = mean over those cells of the window that lie inside the input

Cells of SAME padding never win and are never counted. Of several equal maxima the first in reading
order receives the gradient. 2-D ops run on the 3-D engine with a unit axis.

Source: `tf.nn.max_pool3d`, `tf.nn.avg_pool3d`, `tf.nn.max_pool`, `tf.nn.avg_pool`, `tf.nn.pool`.
Difference: channels first is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from conv3d import engine, errors
from conv3d.framework import context, convert, dtypes, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor_shape import unknown_shape
from conv3d.ops import array_ops, spatial

_SUFFIX = {2: "", 3: "3D"}


def _arguments(w: spatial.Window) -> tuple[Any, ...]:
    return w.kernel, w.strides, w.padding, w.data_format


def _attrs_of(op: Any) -> dict[str, Any]:
    return {n: op.get_attr(n) for n in ("ksize", "strides", "padding", "data_format")}


def _output_shape(op_type: str, w: spatial.Window, shape: Sequence[int]) -> tuple[int, ...]:
    if len(shape) != w.rank + 2:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"The input of {op_type} has shape {list(shape)}; {w.rank + 2} dimensions are needed.",
        )
    spatial.check_outer(op_type, w)
    return spatial.run_output(op_type, w, shape, w.kernel, shape[w.channel_axis])


def _infer(op_type: str, rank: int, attrs: dict[str, Any], tensor: Any, accepted: Any) -> list[Any]:
    dtype = tensor.dtype.base_dtype
    if dtype not in accepted:
        raise TypeError(
            f"The input of {op_type} has type {dtype.name}; accepted are "
            f"{', '.join(t.name for t in accepted)}."
        )
    w = spatial.window(rank, attrs)
    shape = spatial.with_static_rank(op_type, "input", tensor.shape, rank + 2)
    channels = None if shape.ndims is None else shape.as_list()[w.channel_axis]
    return [(dtype, spatial.static_output(op_type, w, shape, w.kernel[3 - rank :], channels))]


def _check_grad(op_type: str, grad: np.ndarray, expected: tuple[int, ...]) -> None:
    if grad.shape != expected:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"The gradient given to {op_type} has shape {list(grad.shape)}, but pooling of these "
            f"sizes gives {list(expected)}.",
        )


# -- windows by hand, for what the engine does not pool --------------------------------------------


def _taps(w: spatial.Window, x: np.ndarray, out: Sequence[int], fill: Any) -> Iterator[np.ndarray]:
    """For each cell of the window, in reading order, the view of `x` that it sees.

    `x` and the views have three spatial axes; cells of padding hold `fill`.
    """
    axes = range(2, 5) if w.first else range(1, 4)
    pads = [(0, 0)] * 5
    for i, axis in enumerate(axes):
        reach = (out[axis] - 1) * w.strides[i] + w.kernel[i]
        extra = max(reach - x.shape[axis], 0) if w.padding == "same" else 0
        pads[axis] = (extra // 2, extra - extra // 2)
    if any(p != (0, 0) for p in pads):
        x = np.pad(x, pads, constant_values=fill)
    for tap in np.ndindex(*w.kernel):
        index = [slice(None)] * 5
        for i, axis in enumerate(axes):
            index[axis] = slice(tap[i], tap[i] + (out[axis] - 1) * w.strides[i] + 1, w.strides[i])
        yield x[tuple(index)]


def _lowest(dtype: np.dtype) -> Any:
    return np.iinfo(dtype).min if dtype.kind in "iu" else dtype.type(-np.inf)


# -- maximum --------------------------------------------------------------------------------------

_MAX_TYPES = {
    2: (*spatial.FLOATS, dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.int16, dtypes.int8),
    3: spatial.FLOATS,
}


def _infer_max(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    return _infer(f"MaxPool{_SUFFIX[rank]}", rank, attrs, inputs[0], _MAX_TYPES[rank])


def _compute_max(rank: int, attrs: dict[str, Any], input: np.ndarray) -> np.ndarray:
    w = spatial.window(rank, attrs)
    shape = _output_shape(f"MaxPool{_SUFFIX[rank]}", w, input.shape)
    if 0 in shape:
        return np.zeros(shape, input.dtype)
    x = spatial.with_unit_axes(w, input)
    if input.dtype.kind not in "iu":
        pooled: np.ndarray = engine.max_pool3d(x, *_arguments(w))
        return pooled.reshape(shape)
    out: Any = None
    for view in _taps(w, x, spatial.unit_shape(w, shape), _lowest(input.dtype)):
        out = view.copy() if out is None else np.maximum(out, view, out=out)
    return out.reshape(shape)


def _gradient_max(rank: int, op: Any, grad: Any) -> list[Any]:
    inputs = [op.inputs[0], op.outputs[0], grad]
    return [apply_op(f"MaxPool{_SUFFIX[rank]}Grad", inputs, _attrs_of(op))]


def _infer_max_grad(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    return [(inputs[0].dtype.base_dtype, inputs[0].shape)]


def _compute_max_grad(
    rank: int, attrs: dict[str, Any], input: np.ndarray, output: np.ndarray, grad: np.ndarray
) -> np.ndarray:
    w = spatial.window(rank, attrs)
    op_type = f"MaxPool{_SUFFIX[rank]}Grad"
    shape = _output_shape(op_type, w, input.shape)
    _check_grad(op_type, grad, shape)
    if 0 in shape or 0 in input.shape:
        return np.zeros(input.shape, grad.dtype)
    x, y, dy = (spatial.with_unit_axes(w, a) for a in (input, output, grad))
    return engine.max_pool3d_grad(x, y, dy, *_arguments(w)).reshape(input.shape)


def _gradient_max_grad(rank: int, op: Any, grad: Any) -> list[Any]:
    inputs = [op.inputs[0], op.inputs[1], grad]
    return [None, None, apply_op(f"MaxPool{_SUFFIX[rank]}GradGrad", inputs, _attrs_of(op))]


def _infer_max_grad_grad(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    return [(inputs[1].dtype.base_dtype, inputs[1].shape)]


def _compute_max_grad_grad(
    rank: int, attrs: dict[str, Any], input: np.ndarray, output: np.ndarray, grad: np.ndarray
) -> np.ndarray:
    """Takes from `grad`, which has the shape of the input, what lies where the maxima were."""
    w = spatial.window(rank, attrs)
    op_type = f"MaxPool{_SUFFIX[rank]}GradGrad"
    shape = _output_shape(op_type, w, input.shape)
    _check_grad(op_type, grad, input.shape)
    if 0 in shape:
        return np.zeros(shape, grad.dtype)
    unit = spatial.unit_shape(w, shape)
    best: Any = None
    taken: Any = None
    values = _taps(w, spatial.with_unit_axes(w, input), unit, _lowest(input.dtype))
    grads = _taps(w, spatial.with_unit_axes(w, grad), unit, 0)
    for value, g in zip(values, grads, strict=False):
        if best is None:
            best, taken = value.copy(), g.copy()
        else:
            better = value > best
            np.copyto(best, value, where=better)
            np.copyto(taken, g, where=better)
    return taken.reshape(shape)


def _gradient_max_grad_grad(rank: int, op: Any, grad: Any) -> list[Any]:
    inputs = [op.inputs[0], op.inputs[1], grad]
    return [None, None, apply_op(f"MaxPool{_SUFFIX[rank]}Grad", inputs, _attrs_of(op))]


# -- average --------------------------------------------------------------------------------------


def _infer_avg(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    return _infer(f"AvgPool{_SUFFIX[rank]}", rank, attrs, inputs[0], spatial.FLOATS)


def _compute_avg(rank: int, attrs: dict[str, Any], input: np.ndarray) -> np.ndarray:
    w = spatial.window(rank, attrs)
    shape = _output_shape(f"AvgPool{_SUFFIX[rank]}", w, input.shape)
    if 0 in shape:
        return np.zeros(shape, input.dtype)
    return engine.avg_pool3d(spatial.with_unit_axes(w, input), *_arguments(w)).reshape(shape)


def _gradient_avg(rank: int, op: Any, grad: Any) -> list[Any]:
    inputs = [array_ops.shape(op.inputs[0]), grad]
    return [apply_op(f"AvgPool{_SUFFIX[rank]}Grad", inputs, _attrs_of(op))]


def _infer_avg_grad(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape = convert.constant_value_as_shape(inputs[0])
    if shape.ndims is None:
        shape = unknown_shape(rank + 2)
    return [(inputs[1].dtype.base_dtype, shape)]


def _compute_avg_grad(
    rank: int, attrs: dict[str, Any], sizes: np.ndarray, grad: np.ndarray
) -> np.ndarray:
    w = spatial.window(rank, attrs)
    op_type = f"AvgPool{_SUFFIX[rank]}Grad"
    shape = tuple(int(n) for n in sizes)
    expected = _output_shape(op_type, w, shape)
    _check_grad(op_type, grad, expected)
    if 0 in expected or 0 in shape:
        return np.zeros(shape, grad.dtype)
    dy = spatial.with_unit_axes(w, grad)
    out = engine.avg_pool3d_grad(spatial.unit_shape(w, shape), dy, *_arguments(w))
    return out.reshape(shape)


def _gradient_avg_grad(rank: int, op: Any, grad: Any) -> list[Any]:
    return [None, apply_op(f"AvgPool{_SUFFIX[rank]}", [grad], _attrs_of(op))]


# -- registration ---------------------------------------------------------------------------------


def _sample_problems(rank: int) -> list[tuple[dict[str, Any], np.ndarray, tuple[int, ...]]]:
    rng = np.random.RandomState(3)
    problems = []
    for padding, ksize, strides, first, n in (
        ("VALID", (2, 2, 2), (2, 2, 2), False, (4, 5, 4)),
        ("SAME", (3, 2, 3), (2, 2, 1), False, (3, 4, 5)),
        ("SAME", (2, 3, 2), (1, 2, 2), True, (3, 4, 3)),
        ("VALID", (1, 3, 2), (3, 1, 3), True, (4, 3, 5)),
    ):
        outer = ([1, 1], []) if first else ([1], [1])
        attrs = {
            "ksize": [*outer[0], *ksize[3 - rank :], *outer[1]],
            "strides": [*outer[0], *strides[3 - rank :], *outer[1]],
            "padding": padding,
            "data_format": spatial.DATA_FORMATS[rank][first],
        }
        shape = (2, 2, *n[3 - rank :]) if first else (2, *n[3 - rank :], 2)
        # Distinct values, far apart: maxima that a numeric derivative does not move.
        x = rng.permutation(int(np.prod(shape))).reshape(shape) / 8.0
        problems.append((attrs, x, _output_shape("", spatial.window(rank, attrs), shape)))
    return problems


def _values(shape: Sequence[int]) -> np.ndarray:
    return np.random.RandomState(5).standard_normal(tuple(shape))


def _samples(rank: int) -> list[Any]:
    return [(attrs, [x]) for attrs, x, _ in _sample_problems(rank)]


def _samples_max_grad(rank: int) -> list[Any]:
    return [
        (attrs, [x, _compute_max(rank, attrs, x), _values(shape)])
        for attrs, x, shape in _sample_problems(rank)
    ]


def _samples_max_grad_grad(rank: int) -> list[Any]:
    return [
        (attrs, [x, _compute_max(rank, attrs, x), _values(x.shape)])
        for attrs, x, _ in _sample_problems(rank)
    ]


def _samples_avg_grad(rank: int) -> list[Any]:
    return [
        (attrs, [np.array(x.shape, np.int32), _values(shape)])
        for attrs, x, shape in _sample_problems(rank)
    ]


for _rank, _suffix in _SUFFIX.items():
    registry.register(
        f"MaxPool{_suffix}",
        infer=partial(_infer_max, _rank),
        compute=partial(_compute_max, _rank),
        gradient=partial(_gradient_max, _rank),
        inputs=("input",),
        samples=partial(_samples, _rank),
    )
    registry.register(
        f"MaxPool{_suffix}Grad",
        infer=partial(_infer_max_grad, _rank),
        compute=partial(_compute_max_grad, _rank),
        gradient=partial(_gradient_max_grad, _rank),
        inputs=("orig_input", "orig_output", "grad"),
        samples=partial(_samples_max_grad, _rank),
    )
    registry.register(
        f"MaxPool{_suffix}GradGrad",
        infer=partial(_infer_max_grad_grad, _rank),
        compute=partial(_compute_max_grad_grad, _rank),
        gradient=partial(_gradient_max_grad_grad, _rank),
        inputs=("orig_input", "orig_output", "grad"),
        samples=partial(_samples_max_grad_grad, _rank),
    )
    registry.register(
        f"AvgPool{_suffix}",
        infer=partial(_infer_avg, _rank),
        compute=partial(_compute_avg, _rank),
        gradient=partial(_gradient_avg, _rank),
        inputs=("value",),
        samples=partial(_samples, _rank),
    )
    registry.register(
        f"AvgPool{_suffix}Grad",
        infer=partial(_infer_avg_grad, _rank),
        compute=partial(_compute_avg_grad, _rank),
        gradient=partial(_gradient_avg_grad, _rank),
        inputs=("orig_input_shape", "grad"),
        samples=partial(_samples_avg_grad, _rank),
    )


# -- Python functions -----------------------------------------------------------------------------


def _call(
    kind: str,
    rank: int,
    value: Any,
    ksize: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    name: str | None,
) -> Any:
    op_type = kind + _SUFFIX[rank]
    attrs = {
        "ksize": spatial.int_list(op_type, "ksize", ksize, rank + 2),
        "strides": spatial.int_list(op_type, "strides", strides, rank + 2),
        "padding": spatial.padding_attr(op_type, padding),
        "data_format": spatial.data_format_attr(op_type, data_format, rank),
    }
    return apply_op(op_type, [value], attrs, name)


def max_pool3d(
    input: Any,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: str,
    data_format: str = "NDHWC",
    name: str | None = None,
) -> Any:
    """3-D maximum pooling.

    Args:
        input: floating point `[batch, depth, height, width, channels]`, or
            `[batch, channels, depth, height, width]` for "NCDHW".
        ksize: five integers, the window in the order of `data_format`; 1 for batch and channels.
        strides: five integers likewise.
        padding: "SAME" or "VALID".
        data_format: "NDHWC" or "NCDHW".
        name: name of the op.

    Raises:
        ValueError: attributes or static shapes that do not fit.
        TypeError: a type that is not pooled.
        InvalidArgumentError: at run time, a window or stride over batch or channels.

    Source: `tf.nn.max_pool3d`.
    """
    return _call("MaxPool", 3, input, ksize, strides, padding, data_format, name)


def avg_pool3d(
    input: Any,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: str,
    data_format: str = "NDHWC",
    name: str | None = None,
) -> Any:
    """3-D average pooling; arguments and errors as for `max_pool3d`.

    Source: `tf.nn.avg_pool3d`.
    """
    return _call("AvgPool", 3, input, ksize, strides, padding, data_format, name)


def max_pool(
    value: Any,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: str,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Any:
    """2-D maximum pooling: `max_pool3d` with one dimension less; integers too.

    Source: `tf.nn.max_pool`.
    """
    return _call("MaxPool", 2, value, ksize, strides, padding, data_format, name)


def avg_pool(
    value: Any,
    ksize: Sequence[int],
    strides: Sequence[int],
    padding: str,
    data_format: str = "NHWC",
    name: str | None = None,
) -> Any:
    """2-D average pooling: `avg_pool3d` with one dimension less.

    Source: `tf.nn.avg_pool`.
    """
    return _call("AvgPool", 2, value, ksize, strides, padding, data_format, name)


def pool(
    input: Any,
    window_shape: Sequence[int],
    pooling_type: str,
    padding: str,
    dilation_rate: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    name: str | None = None,
    data_format: str | None = None,
) -> Any:
    """Pooling over one, two or three spatial dimensions.

    Args:
        input: `[batch, spatial..., channels]`, or channels first by `data_format`.
        window_shape: one integer for each spatial dimension.
        pooling_type: "MAX" or "AVG".
        padding: "SAME" or "VALID".
        dilation_rate: one integer for each spatial dimension; all must be 1.
        strides: one integer for each spatial dimension; default all 1.
        name: name of the op.
        data_format: None or "NWC", "NHWC", "NDHWC" for channels last; "NCW", "NCHW", "NCDHW".

    Raises:
        ValueError: another rank, pooling type, padding or data format, or a dilation.

    Source: `tf.nn.pool`. Difference: windows with holes are refused.
    """
    window_shape = [int(n) for n in window_shape]
    rank = len(window_shape)
    default = f"{str(pooling_type).lower()}_pool"
    with context.name_scope(name, default, [input]) as scope:
        if rank not in (1, 2, 3):
            raise ValueError(f"`window_shape` of pool is {window_shape}; 1 to 3 sizes it is.")
        if pooling_type not in ("MAX", "AVG"):
            raise ValueError(f'`pooling_type` is {pooling_type!r}; "MAX" or "AVG" is accepted.')
        strides = [1] * rank if strides is None else [int(n) for n in strides]
        rates = [1] * rank if dilation_rate is None else [int(n) for n in dilation_rate]
        if len(strides) != rank or len(rates) != rank:
            raise ValueError(
                f"`strides` {strides} and `dilation_rate` {rates} of pool must have one entry for "
                f"each entry of `window_shape` {window_shape}."
            )
        if any(r != 1 for r in rates):
            raise ValueError(f"`dilation_rate` of pool is {rates}; only 1 is supported.")
        if min(strides) < 1 or min(window_shape) < 1:
            raise ValueError(
                f"`strides` {strides} and `window_shape` {window_shape} of pool must be positive."
            )
        input = convert.convert_to_tensor(input, name="input")
        if input.shape.ndims is not None and input.shape.ndims != rank + 2:
            raise ValueError(
                f"`input` of pool has shape {input.shape}; a window of {rank} dimensions needs "
                f"{rank + 2}."
            )
        first = data_format is not None and data_format.startswith("NC")
        kind = "MaxPool" if pooling_type == "MAX" else "AvgPool"
        outer = ([1, 1], []) if first else ([1], [1])
        sizes, steps = [*window_shape], [*strides]
        if rank == 1:
            axis = 2 if first else 1
            x = array_ops.expand_dims(input, axis)
            sizes, steps = [1, *sizes], [1, *steps]
        else:
            x = input
        y = _call(
            kind,
            max(rank, 2),
            x,
            [*outer[0], *sizes, *outer[1]],
            [*outer[0], *steps, *outer[1]],
            padding,
            spatial.DATA_FORMATS[max(rank, 2)][first],
            scope if rank > 1 else None,
        )
        return array_ops.squeeze(y, [axis], name=scope) if rank == 1 else y


__all__ = ["avg_pool", "avg_pool3d", "max_pool", "max_pool3d", "pool"]
