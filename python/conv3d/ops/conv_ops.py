"""Convolutions: forward and both backward directions, of one, two and three spatial dimensions.

    output[b, o, :] = sum over taps t of input[b, o * s + t * d - p, :] @ filter[t]

(cross-correlation; no kernel flip). Each gradient is one of the other two directions, so gradients
of any order exist. Everything runs on the 3-D engine; an op of lower rank is given unit axes.

Layouts: data `[batch, (depth, height,) width, channels]` or channels first, filters
`[(kd, kh,) kw, in_channels, out_channels]` for both.

Source: `tf.nn.conv3d`, `tf.nn.conv3d_transpose`, `tf.nn.conv3d_backprop_filter_v2`,
`tf.nn.convolution` and their relatives of lower rank. Differences: channels first and dilation are
computed, in both directions.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from conv3d import engine, errors
from conv3d.framework import context, convert, dtypes, registry, state
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor_shape import TensorShape, as_shape, unknown_shape
from conv3d.ops import array_ops, spatial

_FORWARD = {2: "Conv2D", 3: "Conv3D"}
_BACKWARD_INPUT = {2: "Conv2DBackpropInput", 3: "Conv3DBackpropInputV2"}
_BACKWARD_FILTER = {2: "Conv2DBackpropFilter", 3: "Conv3DBackpropFilterV2"}


def _invalid(message: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(None, None, message)


# -- packed filters -------------------------------------------------------------------------------


class _Packed(NamedTuple):
    filter: weakref.ref[np.ndarray]
    bias: np.ndarray | None  # kept alive: its identity is part of the key
    plan: Any
    nbytes: int


class _PlanCache:
    """Packed filters, by the identity of the filter's array.

    Arrays of the runtime are never written to, so an array that comes twice is the same filter. It
    is packed when it comes for the second time: a filter that is being trained comes once.
    """

    def __init__(self, budget: int):
        self.budget = budget
        # Re-entrant: a filter may be collected, and be forgotten, while the lock is held.
        self._lock = threading.RLock()
        self._seen: dict[int, weakref.ref[np.ndarray]] = {}
        self._plans: OrderedDict[Any, _Packed] = OrderedDict()
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._plans)

    def get(
        self, filter: np.ndarray, bias: np.ndarray | None, settings: Any, make: Callable[[], Any]
    ) -> Any:
        """The plan of `filter` and `bias` under `settings`; None if it is not worth one yet."""
        # An array that somebody may still write to is no stable filter.
        if state.root(filter).flags.writeable:
            return None
        if bias is not None and state.root(bias).flags.writeable:
            return None
        identity = id(filter)
        key = (identity, id(bias), settings)
        nbytes = 2 * filter.nbytes  # packed panels, padded to whole tiles
        with self._lock:
            entry = self._plans.get(key)
            if entry is not None and entry.filter() is filter:
                self._plans.move_to_end(key)
                return entry.plan
            seen = self._seen.get(identity)
            if seen is None or seen() is not filter:
                self._seen[identity] = weakref.ref(filter, lambda _: self._forget(identity))
                return None
        if nbytes > self.budget:
            return None
        plan = make()
        with self._lock:
            self._drop(key)
            self._plans[key] = _Packed(weakref.ref(filter), bias, plan, nbytes)
            self.nbytes += nbytes
            while self.nbytes > self.budget:
                self._drop(next(iter(self._plans)))
        return plan

    def _drop(self, key: Any) -> None:
        entry = self._plans.pop(key, None)
        if entry is not None:
            self.nbytes -= entry.nbytes

    def _forget(self, identity: int) -> None:
        with self._lock:
            seen = self._seen.get(identity)
            if seen is not None and seen() is None:
                del self._seen[identity]
                for key in [k for k in self._plans if k[0] == identity]:
                    self._drop(key)

    def clear(self) -> None:
        """Forgets everything."""
        with self._lock:
            self._seen.clear()
            self._plans.clear()
            self.nbytes = 0


#: Packed filters of constants and of variables between updates. 256 MiB hold any network that
#: trains on such a machine; what is not held is packed at each call.
plan_cache = _PlanCache(256 << 20)


# -- forward --------------------------------------------------------------------------------------


def _settings(w: spatial.Window) -> dict[str, Any]:
    return {
        "strides": w.strides,
        "padding": w.padding,
        "dilations": w.dilations,
        "data_format": w.data_format,
    }


def convolve(
    rank: int,
    attrs: dict[str, Any],
    input: np.ndarray,
    filter: np.ndarray,
    bias: np.ndarray | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """One convolution of `rank` spatial dimensions, with what follows it fused if given.

    Args:
        rank: 2 or 3.
        attrs: attributes of the Conv op.
        input: data in the layout of `attrs`.
        filter: `[spatial..., in_channels, out_channels]`.
        bias: `[out_channels]` or None.
        activation: an activation that the engine fuses, or None.

    Raises:
        InvalidArgumentError: shapes that do not fit each other.
    """
    op_type = _FORWARD[rank]
    w = spatial.window(rank, attrs)
    spatial.check_rank(op_type, "input", input, rank + 2)
    spatial.check_rank(op_type, "filter", filter, rank + 2)
    spatial.check_outer(op_type, w)
    channels = input.shape[w.channel_axis]
    if channels != filter.shape[-2]:
        raise _invalid(
            f"`input` of {op_type} has {channels} channels, but `filter` takes {filter.shape[-2]}."
        )
    kernel = (1,) * (3 - rank) + filter.shape[:rank]
    if min(kernel) < 1:
        raise _invalid(f"`filter` of {op_type} has shape {list(filter.shape)}: it has no taps.")
    if bias is not None and bias.shape != (filter.shape[-1],):
        raise _invalid(
            f"`bias` has shape {list(bias.shape)}, but {op_type} gives {filter.shape[-1]} channels."
        )
    shape = spatial.run_output(op_type, w, input.shape, kernel, filter.shape[-1])
    if 0 in shape:
        return np.zeros(shape, input.dtype)
    if channels == 0:
        out = np.zeros(shape, input.dtype)
        if bias is None and activation is None:
            return out
        # Nothing to sum over: a bias over zeros, which a single channel of zeros also gives.
        zeros = list(input.shape)
        zeros[w.channel_axis] = 1
        input = np.zeros(zeros, input.dtype)
        filter = np.zeros((*filter.shape[:-2], 1, filter.shape[-1]), filter.dtype)
    settings = _settings(w)
    x = spatial.with_unit_axes(w, input)
    plan = plan_cache.get(
        filter,
        bias,
        (w, activation),
        lambda: engine.Plan(
            spatial.filter_with_unit_axes(w, filter), bias, activation=activation, **settings
        ),
    )
    if plan is not None:
        out = plan(x)
    else:
        f = spatial.filter_with_unit_axes(w, filter)
        out = engine.forward(x, f, bias, activation=activation, **settings)
    return out.reshape(shape)


def _static_channels(w: spatial.Window, shape: TensorShape) -> int | None:
    return None if shape.ndims is None else shape.as_list()[w.channel_axis]


def _infer_forward(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    op_type = _FORWARD[rank]
    spatial.check_floats(op_type, input=inputs[0], filter=inputs[1])
    w = spatial.window(rank, attrs)
    x = spatial.with_static_rank(op_type, "input", inputs[0].shape, rank + 2)
    f = spatial.with_static_rank(op_type, "filter", inputs[1].shape, rank + 2).as_list()
    channels = _static_channels(w, x)
    if channels is not None and f[-2] is not None and channels != f[-2]:
        raise ValueError(
            f"Dimensions must be equal: `input` of {op_type} has {channels} channels, but `filter` "
            f"of shape {inputs[1].shape} takes {f[-2]}."
        )
    shape = spatial.static_output(op_type, w, x, f[:rank], f[-1])
    return [(inputs[0].dtype.base_dtype, shape)]


def _attrs_of(op: Any) -> dict[str, Any]:
    names = ("strides", "padding", "data_format", "dilations")
    return {name: op.get_attr(name) for name in names}


def _gradient_forward(rank: int, op: Any, grad: Any) -> list[Any]:
    x, f = op.inputs
    attrs = _attrs_of(op)
    shapes = array_ops.shape(x), array_ops.shape(f)
    return [
        apply_op(_BACKWARD_INPUT[rank], [shapes[0], f, grad], attrs),
        apply_op(_BACKWARD_FILTER[rank], [x, shapes[1], grad], attrs),
    ]


# -- backward, input ------------------------------------------------------------------------------


def _check_grad_output(
    op_type: str, w: spatial.Window, grad: np.ndarray, expected: tuple[int, ...]
) -> None:
    if grad.shape != expected:
        raise _invalid(
            f"`out_backprop` of {op_type} has shape {list(grad.shape)}, but the convolution of "
            f"these sizes gives {list(expected)}."
        )


def _sizes(op_type: str, name: str, value: np.ndarray, rank: int) -> tuple[int, ...]:
    if value.ndim != 1 or value.shape[0] != rank + 2:
        raise _invalid(
            f"`{name}` of {op_type} has shape {list(value.shape)}; {rank + 2} sizes are needed."
        )
    sizes = tuple(int(n) for n in value)
    if min(sizes) < 0:
        raise _invalid(f"`{name}` of {op_type} is {list(sizes)}; sizes must not be negative.")
    return sizes


def _compute_backward_input(
    rank: int, attrs: dict[str, Any], sizes: np.ndarray, filter: np.ndarray, grad: np.ndarray
) -> np.ndarray:
    op_type = _BACKWARD_INPUT[rank]
    w = spatial.window(rank, attrs)
    shape = _sizes(op_type, "input_sizes", sizes, rank)
    spatial.check_rank(op_type, "filter", filter, rank + 2)
    spatial.check_rank(op_type, "out_backprop", grad, rank + 2)
    spatial.check_outer(op_type, w)
    if shape[w.channel_axis] != filter.shape[-2]:
        raise _invalid(
            f"`input_sizes` of {op_type} asks for {shape[w.channel_axis]} channels, but `filter` "
            f"of shape {list(filter.shape)} gives {filter.shape[-2]}."
        )
    kernel = (1,) * (3 - rank) + filter.shape[:rank]
    if min(kernel) < 1:
        raise _invalid(f"`filter` of {op_type} has shape {list(filter.shape)}: it has no taps.")
    expected = spatial.run_output(op_type, w, shape, kernel, filter.shape[-1])
    _check_grad_output(op_type, w, grad, expected)
    if 0 in expected or 0 in shape:
        return np.zeros(shape, grad.dtype)
    out = engine.backward_input(
        spatial.unit_shape(w, shape),
        spatial.filter_with_unit_axes(w, filter),
        spatial.with_unit_axes(w, grad),
        **_settings(w),
    )
    return out.reshape(shape)


def _infer_backward_input(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    op_type = _BACKWARD_INPUT[rank]
    spatial.check_floats(op_type, filter=inputs[1], out_backprop=inputs[2])
    spatial.with_static_rank(op_type, "filter", inputs[1].shape, rank + 2)
    spatial.with_static_rank(op_type, "out_backprop", inputs[2].shape, rank + 2)
    shape = _static_sizes(op_type, "input_sizes", inputs[0], rank)
    return [(inputs[2].dtype.base_dtype, shape)]


def _static_sizes(op_type: str, name: str, sizes: Any, rank: int) -> TensorShape:
    if not sizes.dtype.is_integer:
        raise TypeError(
            f"`{name}` of {op_type} has type {sizes.dtype.name}; accepted are int32 and int64."
        )
    if sizes.shape.ndims is None:
        return unknown_shape(rank + 2)
    if not sizes.shape.is_compatible_with([rank + 2]):
        raise ValueError(
            f"`{name}` of {op_type} has shape {sizes.shape}; {rank + 2} sizes are needed."
        )
    shape = convert.constant_value_as_shape(sizes)
    return shape if shape.ndims is not None else unknown_shape(rank + 2)


def _gradient_backward_input(rank: int, op: Any, grad: Any) -> list[Any]:
    attrs = _attrs_of(op)
    _, f, grad_output = op.inputs
    return [
        None,
        apply_op(_BACKWARD_FILTER[rank], [grad, array_ops.shape(f), grad_output], attrs),
        apply_op(_FORWARD[rank], [grad, f], attrs),
    ]


# -- backward, filter -----------------------------------------------------------------------------


def _compute_backward_filter(
    rank: int, attrs: dict[str, Any], input: np.ndarray, sizes: np.ndarray, grad: np.ndarray
) -> np.ndarray:
    op_type = _BACKWARD_FILTER[rank]
    w = spatial.window(rank, attrs)
    shape = _sizes(op_type, "filter_sizes", sizes, rank)
    spatial.check_rank(op_type, "input", input, rank + 2)
    spatial.check_rank(op_type, "out_backprop", grad, rank + 2)
    spatial.check_outer(op_type, w)
    if input.shape[w.channel_axis] != shape[-2]:
        raise _invalid(
            f"`filter_sizes` of {op_type} is {list(shape)} for {shape[-2]} input channels, but "
            f"`input` has {input.shape[w.channel_axis]}."
        )
    kernel = (1,) * (3 - rank) + shape[:rank]
    if min(kernel) < 1:
        raise _invalid(f"`filter_sizes` of {op_type} is {list(shape)}: it has no taps.")
    expected = spatial.run_output(op_type, w, input.shape, kernel, shape[-1])
    _check_grad_output(op_type, w, grad, expected)
    if 0 in expected or 0 in shape:
        return np.zeros(shape, grad.dtype)
    out = engine.backward_filter(
        spatial.with_unit_axes(w, input),
        (1,) * (3 - rank) + shape,
        spatial.with_unit_axes(w, grad),
        **_settings(w),
    )
    return out.reshape(shape)


def _infer_backward_filter(rank: int, attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    op_type = _BACKWARD_FILTER[rank]
    spatial.check_floats(op_type, input=inputs[0], out_backprop=inputs[2])
    spatial.with_static_rank(op_type, "input", inputs[0].shape, rank + 2)
    spatial.with_static_rank(op_type, "out_backprop", inputs[2].shape, rank + 2)
    shape = _static_sizes(op_type, "filter_sizes", inputs[1], rank)
    return [(inputs[0].dtype.base_dtype, shape)]


def _gradient_backward_filter(rank: int, op: Any, grad: Any) -> list[Any]:
    attrs = _attrs_of(op)
    x, _, grad_output = op.inputs
    return [
        apply_op(_BACKWARD_INPUT[rank], [array_ops.shape(x), grad, grad_output], attrs),
        None,
        apply_op(_FORWARD[rank], [x, grad], attrs),
    ]


# -- registration ---------------------------------------------------------------------------------


def _sample_problems(rank: int) -> list[tuple[dict[str, Any], list[np.ndarray]]]:
    """(attributes, [input, filter, output gradient]) over paddings, strides, dilations, layouts."""
    rng = np.random.RandomState(7)
    problems = []
    for padding, strides, dilations, first, n, k in (
        ("VALID", (1, 1, 1), (1, 1, 1), False, (3, 4, 5), (2, 3, 2)),
        ("SAME", (1, 1, 1), (1, 1, 1), True, (2, 3, 4), (3, 2, 3)),
        ("SAME", (2, 1, 3), (1, 1, 1), False, (4, 3, 5), (3, 2, 2)),
        ("VALID", (2, 2, 1), (1, 1, 1), True, (5, 4, 3), (2, 3, 1)),
        ("VALID", (1, 1, 1), (2, 1, 2), True, (4, 3, 5), (2, 2, 3)),
        ("SAME", (1, 1, 1), (3, 2, 2), False, (2, 4, 3), (2, 3, 2)),
    ):

        def whole(values: Sequence[int]) -> list[int]:
            inner = list(values[3 - rank :])
            return [1, 1, *inner] if first else [1, *inner, 1]  # noqa: B023

        attrs = {
            "strides": whole(strides),
            "padding": padding,
            "data_format": spatial.DATA_FORMATS[rank][first],
            "dilations": whole(dilations),
        }
        cells, taps = n[3 - rank :], k[3 - rank :]
        x = rng.standard_normal((2, 2, *cells) if first else (2, *cells, 2))
        f = rng.standard_normal((*taps, 2, 3))
        w = spatial.window(rank, attrs)
        shape = spatial.run_output("", w, x.shape, (1,) * (3 - rank) + taps, 3)
        problems.append((attrs, [x, f, rng.standard_normal(shape)]))
    return problems


def _sizes_of(array: np.ndarray) -> np.ndarray:
    return np.array(array.shape, np.int32)


def _samples_forward(rank: int) -> list[Any]:
    return [(attrs, [x, f]) for attrs, (x, f, _) in _sample_problems(rank)]


def _samples_backward_input(rank: int) -> list[Any]:
    return [(attrs, [_sizes_of(x), f, dy]) for attrs, (x, f, dy) in _sample_problems(rank)]


def _samples_backward_filter(rank: int) -> list[Any]:
    return [(attrs, [x, _sizes_of(f), dy]) for attrs, (x, f, dy) in _sample_problems(rank)]


for _rank in (2, 3):
    registry.register(
        _FORWARD[_rank],
        infer=partial(_infer_forward, _rank),
        compute=partial(convolve, _rank),
        gradient=partial(_gradient_forward, _rank),
        inputs=("input", "filter"),
        samples=partial(_samples_forward, _rank),
    )
    registry.register(
        _BACKWARD_INPUT[_rank],
        infer=partial(_infer_backward_input, _rank),
        compute=partial(_compute_backward_input, _rank),
        gradient=partial(_gradient_backward_input, _rank),
        inputs=("input_sizes", "filter", "out_backprop"),
        samples=partial(_samples_backward_input, _rank),
    )
    registry.register(
        _BACKWARD_FILTER[_rank],
        infer=partial(_infer_backward_filter, _rank),
        compute=partial(_compute_backward_filter, _rank),
        gradient=partial(_gradient_backward_filter, _rank),
        inputs=("input", "filter_sizes", "out_backprop"),
        samples=partial(_samples_backward_filter, _rank),
    )


# -- Python functions -----------------------------------------------------------------------------


def _conv_attrs(
    rank: int, op_type: str, strides: Any, padding: Any, data_format: Any, dilations: Any
) -> dict[str, Any]:
    length = rank + 2
    attrs: dict[str, Any] = {
        "strides": spatial.int_list(op_type, "strides", strides, length),
        "padding": spatial.padding_attr(op_type, padding),
        "data_format": spatial.data_format_attr(op_type, data_format, rank),
        "dilations": spatial.int_list(
            op_type, "dilations", [1] * length if dilations is None else dilations, length
        ),
    }
    if max(attrs["strides"]) > 1 and max(attrs["dilations"]) > 1:
        raise ValueError(
            f"{op_type} was given strides {attrs['strides']} and dilations {attrs['dilations']}; "
            "strides > 1 and dilations > 1 cannot be combined."
        )
    return attrs


def _same_dtype(input: Any, filter: Any) -> None:
    """In eager mode a type that does not fit is a ValueError, found before anything is computed."""
    if context.executing_eagerly() and hasattr(input, "dtype") and hasattr(filter, "dtype"):
        given, wanted = (dtypes.as_dtype(v.dtype).base_dtype for v in (input, filter))
        if given != wanted and not isinstance(filter, np.ndarray):
            raise ValueError(
                f"`input` has type {given.name}, but `filter` has type {wanted.name}; both must "
                "have the same type (see tf.cast)."
            )


def _forward(rank: int, input: Any, filter: Any, attrs: dict[str, Any], name: Any) -> Any:
    _same_dtype(input, filter)
    return apply_op(_FORWARD[rank], [input, filter], attrs, name, same=[0, 1])


def conv3d(
    input: Any,
    filter: Any,
    strides: Sequence[int],
    padding: str,
    data_format: str = "NDHWC",
    dilations: Sequence[int] = (1, 1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """3-D convolution (cross-correlation).

    Args:
        input: float16, bfloat16, float32 or float64 `[batch, depth, height, width, in_channels]`,
            or `[batch, in_channels, depth, height, width]` for "NCDHW".
        filter: same type, `[kd, kh, kw, in_channels, out_channels]`.
        strides: five integers in the order of `data_format`; those of batch and channels are 1.
        padding: "SAME" or "VALID".
        data_format: "NDHWC" or "NCDHW".
        dilations: five integers in the order of `data_format`; those of batch and channels are 1.
        name: name of the op.

    Returns:
        A tensor of the type and layout of `input`.

    Raises:
        ValueError: attributes or static shapes that do not fit; strides and dilations together.
        TypeError: types that do not fit.
        InvalidArgumentError: at run time, shapes that do not fit; strides over batch or channels.

    Source: `tf.nn.conv3d`. Both layouts and dilation are computed on the CPU.
    """
    attrs = _conv_attrs(3, "Conv3D", strides, padding, data_format, dilations)
    return _forward(3, input, filter, attrs, name)


def conv2d(
    input: Any,
    filter: Any,
    strides: Sequence[int],
    padding: str,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """2-D convolution: `conv3d` with one dimension less. `use_cudnn_on_gpu` has no effect.

    Source: `tf.nn.conv2d`.
    """
    attrs = _conv_attrs(2, "Conv2D", strides, padding, data_format, dilations)
    return _forward(2, input, filter, attrs, name)


def conv1d(
    value: Any,
    filters: Any,
    stride: int,
    padding: str,
    use_cudnn_on_gpu: bool | None = None,
    data_format: str | None = None,
    name: str | None = None,
) -> Any:
    """1-D convolution.

    Args:
        value: `[batch, width, in_channels]`, or `[batch, in_channels, width]` for "NCHW"/"NCW".
        filters: `[kw, in_channels, out_channels]`.
        stride: an integer.
        padding: "SAME" or "VALID".
        use_cudnn_on_gpu: without effect.
        data_format: "NHWC"/"NWC" (default) or "NCHW"/"NCW".
        name: name of the scope of the ops.

    Raises:
        ValueError: another data format, or shapes that do not fit.

    Source: `tf.nn.conv1d`.
    """
    if data_format in (None, "NHWC", "NWC"):
        axis, layout, strides = 1, "NHWC", [1, 1, stride, 1]
    elif data_format in ("NCHW", "NCW"):
        axis, layout, strides = 2, "NCHW", [1, 1, 1, stride]
    else:
        raise ValueError(
            f"`data_format` of conv1d is {data_format!r}; 'NHWC' and 'NCHW' (also written 'NWC' "
            "and 'NCW') are accepted."
        )
    with context.name_scope(name, "conv1d", [value, filters]):
        x = array_ops.expand_dims(value, axis)
        f = array_ops.expand_dims(filters, 0)
        y = conv2d(x, f, strides, padding, data_format=layout)
        return array_ops.squeeze(y, [axis])


def _axis_sizes(name: str, value: Any, rank: int, default: int) -> list[int]:
    if value is None:
        return [default] * rank
    value = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(value, int):
        value = [value] * rank
    sizes = spatial.int_list("convolution", name, list(value), rank)
    if min(sizes) < 1:
        raise ValueError(f"`{name}` of convolution is {sizes}; all must be positive.")
    return sizes


def _is_first(data_format: Any, rank: int) -> bool:
    """True for channels first; only the beginning of the name is looked at, as TensorFlow does."""
    if data_format is None:
        return False
    if not isinstance(data_format, str) or not data_format.startswith("N"):
        accepted = spatial.DATA_FORMATS[rank]
        raise ValueError(
            f"`data_format` is {data_format!r}; {accepted[0]!r} or {accepted[1]!r} is accepted."
        )
    return data_format.startswith("NC")


def convolution(
    input: Any,
    filter: Any,
    padding: str,
    strides: Sequence[int] | None = None,
    dilation_rate: Sequence[int] | None = None,
    name: str | None = None,
    data_format: str | None = None,
) -> Any:
    """Convolution over one, two or three spatial dimensions.

    Args:
        input: `[batch, spatial..., in_channels]`, or `[batch, in_channels, spatial...]`.
        filter: `[spatial..., in_channels, out_channels]`.
        padding: "SAME" or "VALID".
        strides: one integer for each spatial dimension; default all 1.
        dilation_rate: likewise.
        name: name of the op.
        data_format: None or "NWC", "NHWC", "NDHWC" for channels last; "NCW", "NCHW", "NCDHW".

    Raises:
        ValueError: a rank other than 3, 4 or 5 or an unknown one; channels that do not fit; strides
            and dilations together; an unknown padding or data format.

    Source: `tf.nn.convolution`. Dilation is computed directly, without moving space to batch.
    """
    with context.name_scope(name, "convolution", [input, filter]) as scope:
        _same_dtype(input, filter)
        input = convert.convert_to_tensor(input, name="input")
        filter = convert.convert_to_tensor(
            filter, name="filter", preferred_dtype=input.dtype.base_dtype
        )
        ndims = input.shape.ndims
        if ndims is None:
            ndims = filter.shape.ndims
        if ndims is None:
            raise ValueError("The rank of `input` or of `filter` of convolution must be known.")
        rank = ndims - 2
        if rank not in (1, 2, 3):
            raise ValueError(
                f"`input` of convolution has {ndims} dimensions; 3, 4 or 5 are accepted (batch, "
                "channels and one to three spatial dimensions)."
            )
        padding = spatial.padding_attr("convolution", padding)
        stride = _axis_sizes("strides", strides, rank, 1)
        rate = _axis_sizes("dilation_rate", dilation_rate, rank, 1)
        if max(stride) > 1 and max(rate) > 1:
            raise ValueError(
                f"strides > 1 not supported in conjunction with dilation_rate > 1: strides "
                f"{stride}, dilation_rate {rate}."
            )
        first = _is_first(data_format, rank)
        _check_channels(input, filter, rank, first)
        if rank == 1:
            return _convolution1d(input, filter, padding, stride, rate, first, scope)

        def whole(values: list[int]) -> list[int]:
            return [1, 1, *values] if first else [1, *values, 1]

        attrs = {
            "strides": whole(stride),
            "padding": padding,
            "data_format": spatial.DATA_FORMATS[rank][first],
            "dilations": whole(rate),
        }
        return apply_op(_FORWARD[rank], [input, filter], attrs, scope)


def _check_channels(input: Any, filter: Any, rank: int, first: bool) -> None:
    if input.shape.ndims != rank + 2 or filter.shape.ndims != rank + 2:
        return
    given = input.shape.as_list()[1 if first else -1]
    wanted = filter.shape.as_list()[-2]
    if given is not None and wanted is not None and given != wanted:
        raise ValueError(
            f"`input` of convolution has {given} channels, but `filter` of shape {filter.shape} "
            f"takes {wanted}."
        )


def _convolution1d(
    input: Any,
    filter: Any,
    padding: str,
    stride: list[int],
    rate: list[int],
    first: bool,
    scope: str,
) -> Any:
    axis = 2 if first else 1
    x = array_ops.expand_dims(input, axis)
    f = array_ops.expand_dims(filter, 0)
    outer = ([1, 1, 1], []) if first else ([1, 1], [1])
    attrs = {
        "strides": [*outer[0], *stride, *outer[1]],
        "padding": padding,
        "data_format": spatial.DATA_FORMATS[2][first],
        "dilations": [*outer[0], *rate, *outer[1]],
    }
    y = apply_op("Conv2D", [x, f], attrs)
    return array_ops.squeeze(y, [axis], name=scope)


def atrous_conv2d(
    value: Any, filters: Any, rate: int, padding: str, name: str | None = None
) -> Any:
    """2-D convolution with `rate` as the dilation of both dimensions.

    Source: `tf.nn.atrous_conv2d`.
    """
    return convolution(value, filters, padding, dilation_rate=[rate, rate], name=name)


def _transpose(
    rank: int,
    value: Any,
    filter: Any,
    output_shape: Any,
    strides: Any,
    padding: Any,
    data_format: Any,
    name: str | None,
) -> Any:
    function = f"conv{rank}d_transpose"
    with context.name_scope(name, function, [value, filter, output_shape]) as scope:
        if padding not in ("SAME", "VALID"):
            raise ValueError(f'`padding` of {function} is {padding!r}; "SAME" or "VALID" it is.')
        attrs = _conv_attrs(rank, function, strides, padding, data_format, None)
        axis = 1 if attrs["data_format"] == spatial.DATA_FORMATS[rank][1] else rank + 1
        _same_dtype(value, filter)
        value = convert.convert_to_tensor(value, name="value")
        filter = convert.convert_to_tensor(
            filter, name="filter", preferred_dtype=value.dtype.base_dtype
        )
        given = _at(value.shape, axis)
        wanted = _at(filter.shape, rank + 1)
        if given is not None and wanted is not None and given != wanted:
            raise ValueError(
                f"`value` of {function} has {given} channels, but `filter` of shape "
                f"{filter.shape} takes {wanted}."
            )
        sizes = convert.convert_to_tensor(
            output_shape, name="output_shape", preferred_dtype=dtypes.int32
        )
        if not sizes.shape.is_compatible_with([rank + 2]):
            raise ValueError(
                f"`output_shape` of {function} has shape {sizes.shape}; {rank + 2} sizes it is."
            )
        static = convert.constant_value_as_shape(sizes)
        given, wanted = _at(static, axis), _at(filter.shape, rank)
        if given is not None and wanted is not None and given != wanted:
            raise ValueError(
                f"`output_shape` of {function} asks for {given} channels, but `filter` of shape "
                f"{filter.shape} gives {wanted}."
            )
        return apply_op(_BACKWARD_INPUT[rank], [sizes, filter, value], attrs, scope)


def _at(shape: TensorShape, axis: int) -> int | None:
    shape = as_shape(shape)
    if shape.ndims is None or axis >= shape.ndims:
        return None
    return shape.as_list()[axis]


def conv3d_transpose(
    value: Any,
    filter: Any,
    output_shape: Any,
    strides: Sequence[int],
    padding: str = "SAME",
    data_format: str = "NDHWC",
    name: str | None = None,
) -> Any:
    """Transposed 3-D convolution: the gradient of `conv3d` with respect to its input.

    Args:
        value: `[batch, depth, height, width, in_channels]`, or channels first.
        filter: same type, `[kd, kh, kw, out_channels, in_channels]`.
        output_shape: five integers or an integer tensor; may hold scalar tensors.
        strides: five integers in the order of `data_format`.
        padding: "SAME" or "VALID".
        data_format: "NDHWC" or "NCDHW".
        name: name of the op.

    Raises:
        ValueError: attributes or static shapes that do not fit.
        InvalidArgumentError: at run time, an `output_shape` that no such convolution has.

    Source: `tf.nn.conv3d_transpose`.
    """
    return _transpose(3, value, filter, output_shape, strides, padding, data_format, name)


def conv2d_transpose(
    value: Any,
    filter: Any,
    output_shape: Any,
    strides: Sequence[int],
    padding: str = "SAME",
    data_format: str = "NHWC",
    name: str | None = None,
) -> Any:
    """Transposed 2-D convolution: `conv3d_transpose` with one dimension less.

    Source: `tf.nn.conv2d_transpose`.
    """
    return _transpose(2, value, filter, output_shape, strides, padding, data_format, name)


def conv3d_backprop_filter_v2(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Sequence[int],
    padding: str,
    data_format: str = "NDHWC",
    dilations: Sequence[int] = (1, 1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """Gradient of `conv3d` with respect to its filter.

    Args:
        input: `[batch, depth, height, width, in_channels]`, or channels first.
        filter_sizes: the five sizes of the filter.
        out_backprop: gradient of the output, in the layout of `input`.
        strides: as given to `conv3d`.
        padding: likewise.
        data_format: likewise.
        dilations: likewise.
        name: name of the op.

    Returns:
        `[kd, kh, kw, in_channels, out_channels]`.

    Raises:
        InvalidArgumentError: at run time, an `out_backprop` that no such convolution has.

    Source: `tf.nn.conv3d_backprop_filter_v2`.
    """
    op_type = "Conv3DBackpropFilterV2"
    attrs = _conv_attrs(3, op_type, strides, padding, data_format, dilations)
    inputs = [input, filter_sizes, out_backprop]
    types = [None, dtypes.int32, None]
    return apply_op(op_type, inputs, attrs, name, dtypes=types, same=[0, 2])


def conv3d_backprop_input_v2(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Sequence[int],
    padding: str,
    data_format: str = "NDHWC",
    dilations: Sequence[int] = (1, 1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """Gradient of `conv3d` with respect to its input, of the five sizes `input_sizes`.

    Source: the op `Conv3DBackpropInputV2`; `conv3d_transpose` with dilations.
    """
    op_type = "Conv3DBackpropInputV2"
    attrs = _conv_attrs(3, op_type, strides, padding, data_format, dilations)
    inputs = [input_sizes, filter, out_backprop]
    types = [dtypes.int32, None, None]
    return apply_op(op_type, inputs, attrs, name, dtypes=types, same=[1, 2])


def conv2d_backprop_input(
    input_sizes: Any,
    filter: Any,
    out_backprop: Any,
    strides: Sequence[int],
    padding: str,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """Gradient of `conv2d` with respect to its input. Source: `tf.nn.conv2d_backprop_input`."""
    op_type = "Conv2DBackpropInput"
    attrs = _conv_attrs(2, op_type, strides, padding, data_format, dilations)
    inputs = [input_sizes, filter, out_backprop]
    types = [dtypes.int32, None, None]
    return apply_op(op_type, inputs, attrs, name, dtypes=types, same=[1, 2])


def conv2d_backprop_filter(
    input: Any,
    filter_sizes: Any,
    out_backprop: Any,
    strides: Sequence[int],
    padding: str,
    use_cudnn_on_gpu: bool = True,
    data_format: str = "NHWC",
    dilations: Sequence[int] = (1, 1, 1, 1),
    name: str | None = None,
) -> Any:
    """Gradient of `conv2d` with respect to its filter. Source: `tf.nn.conv2d_backprop_filter`."""
    op_type = "Conv2DBackpropFilter"
    attrs = _conv_attrs(2, op_type, strides, padding, data_format, dilations)
    inputs = [input, filter_sizes, out_backprop]
    types = [None, dtypes.int32, None]
    return apply_op(op_type, inputs, attrs, name, dtypes=types, same=[0, 2])


__all__ = [
    "atrous_conv2d",
    "conv1d",
    "conv2d",
    "conv2d_backprop_filter",
    "conv2d_backprop_input",
    "conv2d_transpose",
    "conv3d",
    "conv3d_backprop_filter_v2",
    "conv3d_backprop_input_v2",
    "conv3d_transpose",
    "convolution",
]
