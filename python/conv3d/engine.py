"""Convolution and pooling of volumes: NumPy arrays in, NumPy arrays out, no graph.

Activations are `[batch, depth, height, width, channels]` or, with `data_format="channels_first"`,
`[batch, channels, depth, height, width]`. Filters are always `[kd, kh, kw, in_channels // groups,
out_channels]`.
The sums are those of TensorFlow's `Conv3D`: cross-correlation, the filter is not flipped.

dtypes are float32, float64, float16 and bfloat16 (of ml_dtypes); the last two are stored as such
and summed in float32.
All arrays of a call have one dtype. Anything that NumPy can view without a copy is not copied,
unless it is not dense.
Results have the same bits for any memory layout or alignment of the inputs, any number of threads
and any batch split.

While the engine computes, denormal numbers count as zero and rounding is to nearest; the caller's
floating-point control
word is restored afterwards. The algorithm "reference" keeps denormals.

This is the only module that imports the compiled core.
"""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from conv3d import _arguments as arguments
from conv3d import _core
from conv3d._arguments import Array, Padding, Triple

__all__ = [
    "Explanation",
    "Plan",
    "activation_grad",
    "add_n",
    "avg_pool3d",
    "avg_pool3d_grad",
    "backward_filter",
    "backward_input",
    "channel_affine",
    "channel_moments",
    "channel_sums",
    "clear_cache",
    "concat",
    "empty",
    "explain",
    "forward",
    "get_cmake_dir",
    "get_include",
    "get_num_threads",
    "info",
    "max_pool3d",
    "max_pool3d_grad",
    "measure_fma_peak",
    "measure_phases",
    "num_threads",
    "optimizer_step",
    "set_num_threads",
    "set_verbose",
    "softmax",
    "softmax_grad",
    "sparse_softmax_cross_entropy",
    "split",
    "stats",
]

__version__: str = _core.__version__

MAX_THREADS = 1024
_NO_PADDING = (0, 0, 0)
_FORWARD, _BACKWARD_INPUT, _BACKWARD_FILTER = 0, 1, 2


# --- one convolution, in normal form -------------------------------------------------------------


class _Settings(NamedTuple):
    """The keywords of a convolution, checked. Part of the plan cache's key: a tuple hashes fast."""

    strides: Triple
    dilations: Triple
    padding: Padding
    groups: int
    layout: int
    activation: int
    accuracy: int
    algorithm: str


def _settings(
    strides: Any,
    padding: Any,
    dilations: Any,
    groups: Any,
    data_format: Any,
    activation: Any,
    algorithm: Any,
    accuracy: Any,
) -> _Settings:
    return _Settings(
        arguments.triple(strides, "strides"),
        arguments.triple(dilations, "dilations"),
        arguments.padding(padding),
        arguments.integer(groups, "groups", 1),
        arguments.choice(data_format, "data_format", arguments.DATA_FORMATS),
        arguments.choice(activation, "activation", arguments.ACTIVATIONS),
        arguments.choice(accuracy, "accuracy", arguments.ACCURACIES),
        arguments.text(algorithm, "algorithm"),
    )


@dataclass(frozen=True, slots=True)
class _Planned:
    """A core plan and what the engine must know of it."""

    core: _core.Plan
    text: str
    output: Triple


class _PlanCache:
    """The plans of recent problems, least recently used first to go, under a byte budget.

    A plan holds no array of its caller: block sizes, tables of offsets, names. `PLAN_BYTES` is an
    upper estimate.
    """

    PLAN_BYTES = 16 << 10
    BUDGET_BYTES = 16 << 20

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: OrderedDict[Any, _Planned] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def find(self, key: Any) -> _Planned | None:
        with self._lock:
            planned = self._plans.get(key)
            if planned is None:
                self.misses += 1
            else:
                self.hits += 1
                self._plans.move_to_end(key)
            return planned

    def add(self, key: Any, planned: _Planned) -> None:
        with self._lock:
            self._plans[key] = planned
            while len(self._plans) * self.PLAN_BYTES > self.BUDGET_BYTES:
                self._plans.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._plans.clear()

    def entries(self) -> int:
        return len(self._plans)

    def after_fork(self) -> None:
        """In the child another thread's lock would never be released."""
        self._lock = threading.Lock()


_cache = _PlanCache()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_cache.after_fork)


def _split(shape: Sequence[int], layout: int) -> tuple[int, Triple, int]:
    """Batch, extents and channels of an activation's shape."""
    if layout == 0:
        n, d, h, w, c = shape
    else:
        n, c, d, h, w = shape
    return n, (d, h, w), c


def _join(batch: int, extents: Triple, channels: int, layout: int) -> tuple[int, ...]:
    return (batch, *extents, channels) if layout == 0 else (batch, channels, *extents)


def _plan(
    direction: int,
    dtype: int,
    settings: _Settings,
    input_shape: tuple[int, ...],
    filter_shape: tuple[int, ...],
    with_bias: bool,
) -> _Planned:
    """The plan for these shapes, from the cache or new. Checks how the shapes fit together."""
    batch, extents, channels = _split(input_shape, settings.layout)
    key = (direction, dtype, settings, extents, channels, filter_shape, with_bias)
    planned = _cache.find(key)
    if planned is not None:  # a plan serves any batch; the core multiplies this one out again
        return planned
    kd, kh, kw, filter_channels, filters = filter_shape
    if channels != filter_channels * settings.groups:
        raise ValueError(
            f"filter has shape {filter_shape} and input has {channels} channels; "
            "filter.shape[3] must be "
            f"the channels divided by groups={settings.groups}"
        )
    before, after = _NO_PADDING, _NO_PADDING
    if isinstance(settings.padding, str):
        code = 0 if settings.padding == "valid" else 1
    else:
        code = 2
        before = tuple(p[0] for p in settings.padding)  # type: ignore[assignment]
        after = tuple(p[1] for p in settings.padding)  # type: ignore[assignment]
    problem = _core.Problem(
        direction=direction,
        dtype=dtype,
        layout=settings.layout,
        padding=code,
        activation=settings.activation,
        accuracy=settings.accuracy,
        with_bias=with_bias,
        batch=batch,
        groups=settings.groups,
        input_channels=channels,
        output_channels=filters,
        input=extents,
        kernel=(kd, kh, kw),
        stride=settings.strides,
        dilation=settings.dilations,
        pad_before=before,
        pad_after=after,
    )
    _join_threadpoolctl()
    planned = _Planned(_core.Plan(problem, settings.algorithm), str(problem), problem.output)
    _cache.add(key, planned)
    return planned


def _dense(array: Array, name: str) -> Array:
    """The array itself if it is C-contiguous and aligned, else a copy, refused before memory is
    touched if too big.
    """
    flags = array.flags
    if flags.c_contiguous and flags.aligned:
        return array
    _core.check_memory(array.size * array.itemsize, f"a dense copy of {name}")
    return np.require(array, requirements=("C", "A"))


def _same_dtype(a: Array, a_name: str, b: Array, b_name: str) -> int:
    code = arguments.dtype(a.dtype, a_name)
    arguments.dtype(b.dtype, b_name)
    if a.dtype != b.dtype:
        raise TypeError(
            f"{b_name} has dtype {b.dtype} and {a_name} has {a.dtype}; "
            "one dtype for all is accepted"
        )
    return code


def _bias(bias: Any, like: Array, channels: int) -> Array:
    array = arguments.array(bias, "bias", 1)
    _same_dtype(like, "input", array, "bias")
    if array.shape[0] != channels:
        raise ValueError(
            f"bias has {array.shape[0]} elements; one per output channel, {channels}, is accepted"
        )
    return _dense(array, "bias")


def _result(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], inputs: dict[str, Array | None]
) -> Array:
    if out is not None:
        return arguments.output_array(out, shape, dtype, inputs)
    size = dtype.itemsize
    for extent in shape:
        size *= extent
    _core.check_memory(min(size, arguments.INT64_MAX), "the result")
    return empty(shape, dtype)


#: Where malloc maps fresh pages for every array, which fault one by one.
BUFFER_BYTES = 1 << 17


def empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """`np.empty`, large arrays in memory from the engine's cache, to which it returns with them.

    Args:
      shape: of the array, any.
      dtype: of its elements, any of NumPy's.

    Returns:
      An array with elements of any value.

    Raises:
      MemoryError: there is not so much memory.
      TypeError, ValueError: as `numpy.empty`.

    Source: `numpy.empty`.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size < BUFFER_BYTES or dtype.hasobject:
        return np.empty(shape, dtype)
    # NumPy's stubs name types where the buffer protocol is enough.
    return np.ndarray(shape, dtype, buffer=_core.Buffer(size))  # type: ignore[arg-type]


def forward(
    input: Any,
    filter: Any,
    bias: Any = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    groups: Any = 1,
    data_format: Any = "channels_last",
    activation: str | None = None,
    out: Array | None = None,
    algorithm: str = "auto",
    accuracy: str = "default",
    num_threads: int | None = None,
) -> Array:
    """Convolves: `output[n, o, c] = act(bias[c] + sum_{k, i} input[n, o * s - p + k * d, i]
    filter[k, i, c])`.

    Args:
      input: `[batch, depth, height, width, channels]` or channels first; any dtype of the engine.
      filter: `[kd, kh, kw, channels // groups, filters]`, of the input's dtype.
      bias: `[filters]` of the input's dtype, or None.
      strides: one or three positive integers (depth, height, width).
      padding: `"valid"`, `"same"` (TensorFlow's: the odd cell at the end), or `((d0, d1), (h0, h1),
        (w0, w1))`.
      dilations: one or three positive integers; strides and dilations may not both differ from 1.
      groups: number of independent groups of channels.
      data_format: `"channels_last"`/`"NDHWC"` or `"channels_first"`/`"NCDHW"`.
      activation: None, `"relu"`, `"leaky_relu"` (slope 0.2), `"sigmoid"` or `"tanh"`, applied to
        the sum with the bias.
      out: an array for the result: its shape and dtype, C-contiguous, overlapping no input.
      algorithm: `"auto"`, `"reference"`, `"gemm"`, `"patches"`, `"planar"`, `"depthwise"`,
        `"winograd"`, `"winograd_rows"`, `"strassen"` or a finer name that `explain` reports.
      accuracy: `"strict"` (direct summation), `"default"` (max error at most 1e-5 of max |output|
        in float32), `"fast"`
        (as default, until there is a path for bfloat16 hardware).
      num_threads: most threads for this call; None: `get_num_threads()`.

    Returns:
      The output, or `out`.

    Raises:
      ValueError: a shape or value that is not accepted, or a forced algorithm that cannot serve the
      problem.
      TypeError: an argument or dtype of a kind that is not accepted.
      MemoryError: a result or workspace that cannot be had; said before memory is touched.

    Source: TensorFlow `Conv3D`; also groups, channels_first, explicit padding.
    """
    settings = _settings(
        strides, padding, dilations, groups, data_format, activation, algorithm, accuracy
    )
    x = arguments.array(input, "input", 5)
    w = arguments.array(filter, "filter", 5)
    dtype = _same_dtype(x, "input", w, "filter")
    planned = _plan(_FORWARD, dtype, settings, x.shape, w.shape, bias is not None)
    threads = _threads(num_threads)
    b = None if bias is None else _bias(bias, x, w.shape[4])
    shape = _join(_split(x.shape, settings.layout)[0], planned.output, w.shape[4], settings.layout)
    y = _result(out, shape, x.dtype, {"input": x, "filter": w, "bias": b})
    planned.core.execute(
        x.shape[0], _dense(x, "input"), _dense(w, "filter"), None, None, b, y, threads
    )
    return y


def backward_input(
    input_shape: Any,
    filter: Any,
    grad_output: Any,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    groups: Any = 1,
    data_format: Any = "channels_last",
    out: Array | None = None,
    algorithm: str = "auto",
    accuracy: str = "default",
    num_threads: int | None = None,
) -> Array:
    """The gradient of `forward` with respect to its input; also the transposed convolution.

    Args:
      input_shape: the forward input's shape, five integers.
      filter: `[kd, kh, kw, channels // groups, filters]`.
      grad_output: `[batch, depth, height, width, filters]` or channels first: exactly the shape
        that `forward` gives.
      strides, padding, dilations, groups, data_format, algorithm, accuracy, num_threads: as in
        `forward`.
      out: an array for the result, of shape `input_shape`.

    Returns:
      The gradient, of shape `input_shape`.

    Raises:
      ValueError, TypeError, MemoryError: as `forward`; and ValueError if the three shapes do not
      belong together.

    Source: TensorFlow `Conv3DBackpropInputV2`; dilation is allowed.
    """
    settings = _settings(
        strides, padding, dilations, groups, data_format, None, algorithm, accuracy
    )
    shape = arguments.shape5(input_shape, "input_shape")
    w = arguments.array(filter, "filter", 5)
    dy = arguments.array(grad_output, "grad_output", 5)
    dtype = _same_dtype(dy, "grad_output", w, "filter")
    planned = _plan(_BACKWARD_INPUT, dtype, settings, shape, w.shape, False)
    _check_gradient(dy, shape, planned, w.shape, settings)
    threads = _threads(num_threads)
    dx = _result(out, shape, dy.dtype, {"filter": w, "grad_output": dy})
    planned.core.execute(
        shape[0], None, _dense(w, "filter"), None, _dense(dy, "grad_output"), None, dx, threads
    )
    return dx


def backward_filter(
    input: Any,
    filter_shape: Any,
    grad_output: Any,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    groups: Any = 1,
    data_format: Any = "channels_last",
    out: Array | None = None,
    algorithm: str = "auto",
    accuracy: str = "default",
    num_threads: int | None = None,
) -> Array:
    """The gradient of `forward` with respect to its filter.

    Args:
      input: `[batch, depth, height, width, channels]` or channels first.
      filter_shape: the filter's shape, `(kd, kh, kw, channels // groups, filters)`.
      grad_output: `[batch, depth, height, width, filters]` or channels first: exactly the shape
        that `forward` gives.
      strides, padding, dilations, groups, data_format, algorithm, accuracy, num_threads: as in
        `forward`.
      out: an array for the result, of shape `filter_shape`.

    Returns:
      The gradient, of shape `filter_shape`; zeros if the batch is empty.

    Raises:
      ValueError, TypeError, MemoryError: as `forward`; and ValueError if the three shapes do not
      belong together.

    Source: TensorFlow `Conv3DBackpropFilterV2`; dilation is allowed.
    """
    settings = _settings(
        strides, padding, dilations, groups, data_format, None, algorithm, accuracy
    )
    x = arguments.array(input, "input", 5)
    shape = arguments.shape5(filter_shape, "filter_shape")
    dy = arguments.array(grad_output, "grad_output", 5)
    dtype = _same_dtype(x, "input", dy, "grad_output")
    planned = _plan(_BACKWARD_FILTER, dtype, settings, x.shape, shape, False)
    _check_gradient(dy, x.shape, planned, shape, settings)
    threads = _threads(num_threads)
    dw = _result(out, shape, x.dtype, {"input": x, "grad_output": dy})
    planned.core.execute(
        x.shape[0], _dense(x, "input"), None, None, _dense(dy, "grad_output"), None, dw, threads
    )
    return dw


def _check_gradient(
    grad_output: Array,
    input_shape: tuple[int, ...],
    planned: _Planned,
    filter_shape: tuple[int, ...],
    settings: _Settings,
) -> None:
    wanted = _join(input_shape[0], planned.output, filter_shape[4], settings.layout)
    if grad_output.shape != wanted:
        raise ValueError(
            f"grad_output has shape {grad_output.shape}; with input {tuple(input_shape)} "
            f"and filter {tuple(filter_shape)} the forward convolution gives {wanted}, "
            "which is accepted"
        )


# --- plans held by the caller --------------------------------------------------------------------


@dataclass(frozen=True)
class Explanation:
    """What a plan does and why.

    Attributes:
      problem: the problem in words of the project's grammar.
      algorithm: the chosen algorithm; accepted as `algorithm=`.
      why: the reason of the choice.
      detail: block sizes in words.
      candidates: all algorithms in order: (name, estimated seconds for one sample on one thread or
        None if it cannot
        serve the problem, reason or remark).
      isa: the instruction set of the kernels.
      threads: how many threads the call uses.
      workspace_bytes: scratch of a call, apart from the packed filter.
      packed_filter_bytes: size of the filter in the algorithm's own order.
      error_bound: on max |error| / max |output| against float64, before the activation.
      effective_flops: 2 * multiply-adds of the direct algorithm: divided by the time, the effective
        FLOP/s.
    """

    problem: str
    algorithm: str
    why: str
    detail: str
    candidates: tuple[tuple[str, float | None, str], ...]
    isa: str
    threads: int
    workspace_bytes: int
    packed_filter_bytes: int
    error_bound: float
    effective_flops: float

    def __str__(self) -> str:
        lines = [
            f"{self.problem}: {self.algorithm} ({self.isa}, {self.threads} threads)",
            f"  why: {self.why}",
            f"  how: {self.detail}",
            f"  workspace {self.workspace_bytes} bytes, "
            f"packed filter {self.packed_filter_bytes} bytes, "
            f"error bound {self.error_bound:.2g}, {self.effective_flops:.4g} flops",
        ]
        for name, seconds, remark in self.candidates:
            cost = "cannot" if seconds is None else f"{seconds * 1e3:.4g} ms"
            lines.append(f"  {name}: {cost}{'; ' + remark if remark else ''}")
        return "\n".join(lines)


def _explanation(planned: _Planned, batch: int, threads: int, settings: _Settings) -> Explanation:
    facts = planned.core.info(batch, threads)
    why = facts["why"]
    if settings.accuracy == arguments.ACCURACIES["fast"]:
        why += "; accuracy 'fast' is 'default' here: there is no bfloat16 path"
    return Explanation(
        problem=planned.text,
        algorithm=facts["algorithm"],
        why=why,
        detail=facts["detail"],
        candidates=tuple(facts["candidates"]),
        isa=facts["isa"],
        threads=facts["threads"],
        workspace_bytes=facts["workspace_bytes"],
        packed_filter_bytes=facts["packed_filter_bytes"],
        error_bound=facts["error_bound"],
        effective_flops=facts["effective_flops"],
    )


def explain(
    input_shape: Any,
    filter_shape: Any,
    *,
    direction: str = "forward",
    dtype: Any = np.float32,
    bias: bool = False,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    groups: Any = 1,
    data_format: Any = "channels_last",
    activation: str | None = None,
    algorithm: str = "auto",
    accuracy: str = "default",
    num_threads: int | None = None,
) -> Explanation:
    """What `forward`, `backward_input` or `backward_filter` would do with these shapes, and why.
    Computes nothing.

    Args:
      input_shape: of the forward input, five integers.
      filter_shape: `(kd, kh, kw, channels // groups, filters)`.
      direction: `"forward"`, `"backward_input"` or `"backward_filter"`.
      dtype: the dtype of all arrays.
      bias: whether a bias is added.
      strides, padding, dilations, groups, data_format, activation, algorithm, accuracy,
        num_threads: as in `forward`.

    Raises:
      ValueError, TypeError, MemoryError: as the call itself would.
    """
    settings = _settings(
        strides, padding, dilations, groups, data_format, activation, algorithm, accuracy
    )
    shape = arguments.shape5(input_shape, "input_shape")
    code = arguments.choice(direction, "direction", arguments.DIRECTIONS)
    planned = _plan(
        code,
        arguments.dtype(np.dtype(dtype), "dtype"),
        settings,
        shape,
        arguments.shape5(filter_shape, "filter_shape"),
        bool(bias),
    )
    return _explanation(planned, shape[0], _threads(num_threads), settings)


class Plan:
    """A convolution whose filter is packed once: for inference.

    Immutable and safe to call from many threads at once. Takes inputs of any shape with the
    filter's channels; the filter
    is packed once for each packing that their algorithms want (nearly always one). Can be pickled
    and copied: its state is
    the filter, the bias and the keywords.

    Args:
      filter: `[kd, kh, kw, channels // groups, filters]`; copied.
      bias: `[filters]` or None; copied.
      strides, padding, dilations, groups, data_format, activation, algorithm, accuracy,
        num_threads: as in `forward`.
      input_shape: if given, everything is planned and packed at once, and `explain` needs no shape.

    Raises:
      ValueError, TypeError, MemoryError: as `forward`.
    """

    _VERSION = 1

    def __init__(
        self,
        filter: Any,
        bias: Any = None,
        *,
        strides: Any = 1,
        padding: Any = "valid",
        dilations: Any = 1,
        groups: Any = 1,
        data_format: Any = "channels_last",
        activation: str | None = None,
        algorithm: str = "auto",
        accuracy: str = "default",
        num_threads: int | None = None,
        input_shape: Any = None,
    ) -> None:
        self._keywords = {
            "strides": strides,
            "padding": padding,
            "dilations": dilations,
            "groups": groups,
            "data_format": data_format,
            "activation": activation,
            "algorithm": algorithm,
            "accuracy": accuracy,
            "num_threads": num_threads,
            "input_shape": input_shape,
        }
        self._settings = _settings(
            strides, padding, dilations, groups, data_format, activation, algorithm, accuracy
        )
        self._num_threads = num_threads
        _threads(num_threads)
        w = arguments.array(filter, "filter", 5)
        self._dtype = arguments.dtype(w.dtype, "filter")
        self._filter = w.copy(order="C")
        self._filter.flags.writeable = False
        self._bias = None
        if bias is not None:
            self._bias = _bias(bias, w, w.shape[4]).copy()
            self._bias.flags.writeable = False
        self._packed: tuple[_core.PackedFilter, ...] = ()
        self._shape: tuple[int, ...] | None = None
        if input_shape is not None:
            self._shape = arguments.shape5(input_shape, "input_shape")
            self._packed_for(self._plan(self._shape))

    def _plan(self, input_shape: tuple[int, ...]) -> _Planned:
        return _plan(
            _FORWARD,
            self._dtype,
            self._settings,
            input_shape,
            self._filter.shape,
            self._bias is not None,
        )

    def _packed_for(self, planned: _Planned) -> _core.PackedFilter:
        for packed in self._packed:
            if planned.core.accepts(packed):
                return packed
        packed = planned.core.pack(self._filter)
        # Two threads may both pack; either result is right, and one assignment publishes it.
        self._packed = (*self._packed, packed)
        return packed

    def __call__(self, input: Any, out: Array | None = None) -> Array:
        """The output for `input`, as `forward` computes it; into `out` if given."""
        x = arguments.array(input, "input", 5)
        w = self._filter
        _same_dtype(w, "filter", x, "input")
        planned = self._plan(x.shape)
        layout = self._settings.layout
        shape = _join(x.shape[0], planned.output, w.shape[4], layout)
        y = _result(out, shape, x.dtype, {"input": x})
        planned.core.execute(
            x.shape[0],
            _dense(x, "input"),
            None,
            self._packed_for(planned),
            None,
            self._bias,
            y,
            _threads(self._num_threads),
        )
        return y

    def explain(self, input_shape: Any = None) -> Explanation:
        """What a call does with an input of this shape (default: the one given to the constructor),
        and why.
        """
        shape = self._known_shape(input_shape)
        threads = _threads(self._num_threads)
        return _explanation(self._plan(shape), shape[0], threads, self._settings)

    def workspace_bytes(self, input_shape: Any = None) -> int:
        """Bytes of scratch that a call with an input of this shape takes, apart from the packed
        filter.
        """
        return self.explain(input_shape).workspace_bytes

    def _known_shape(self, input_shape: Any) -> tuple[int, ...]:
        if input_shape is not None:
            return arguments.shape5(input_shape, "input_shape")
        if self._shape is None:
            raise ValueError(
                "input_shape is None; give it here or to the constructor, the plan depends on it"
            )
        return self._shape

    def __getstate__(self) -> dict[str, Any]:
        return {
            "version": self._VERSION,
            "filter": self._filter,
            "bias": self._bias,
            "keywords": self._keywords,
        }

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict) or state.get("version") != self._VERSION:
            version = state.get("version") if isinstance(state, dict) else None
            raise ValueError(f"the pickled plan has version {version}; {self._VERSION} is accepted")
        missing = {"filter", "bias", "keywords"} - state.keys()
        if missing or not isinstance(state["keywords"], dict):
            raise ValueError(
                f"the pickled plan lacks {', '.join(sorted(missing)) or 'its keywords'}"
            )
        self.__init__(state["filter"], state["bias"], **state["keywords"])  # type: ignore[misc]


# --- pooling -------------------------------------------------------------------------------------


def _pool(
    kind: int,
    dtype: int,
    shape: tuple[int, ...],
    pool_size: Any,
    strides: Any,
    padding: Any,
    layout: int,
) -> _core.Pool:
    window = arguments.triple(pool_size, "pool_size")
    steps = arguments.triple(strides, "strides")
    pad = arguments.padding(padding)
    batch, extents, channels = _split(shape, layout)
    before, after = _NO_PADDING, _NO_PADDING
    if isinstance(pad, str):
        code = 0 if pad == "valid" else 1
    else:
        code = 2
        before = tuple(p[0] for p in pad)  # type: ignore[assignment]
        after = tuple(p[1] for p in pad)  # type: ignore[assignment]
    return _core.Pool(
        kind=kind,
        dtype=dtype,
        layout=layout,
        padding=code,
        batch=batch,
        channels=channels,
        input=extents,
        window=window,
        stride=steps,
        pad_before=before,
        pad_after=after,
    )


def _pool_forward(
    kind: int, input: Any, pool_size: Any, strides: Any, padding: Any, data_format: Any
) -> Array:
    layout = arguments.choice(data_format, "data_format", arguments.DATA_FORMATS)
    x = arguments.array(input, "input", 5)
    dtype = arguments.dtype(x.dtype, "input")
    pool = _pool(kind, dtype, x.shape, pool_size, strides, padding, layout)
    batch, _, channels = _split(x.shape, layout)
    y = _result(None, _join(batch, pool.output, channels, layout), x.dtype, {})
    pool.forward(_dense(x, "input"), y, _threads(None))
    return y


def max_pool3d(
    input: Any, pool_size: Any, strides: Any, padding: Any, data_format: Any = "channels_last"
) -> Array:
    """The maximum of each window; padding cells never win, a NaN does.

    Args:
      input: `[batch, depth, height, width, channels]` or channels first.
      pool_size: one or three positive integers.
      strides: one or three positive integers.
      padding: `"valid"`, `"same"` or three (before, after) pairs.
      data_format: as in `forward`.

    Raises:
      ValueError, TypeError, MemoryError: as `forward`.

    Source: TensorFlow `MaxPool3D`.
    """
    return _pool_forward(0, input, pool_size, strides, padding, data_format)


def avg_pool3d(
    input: Any, pool_size: Any, strides: Any, padding: Any, data_format: Any = "channels_last"
) -> Array:
    """The mean of each window; padding cells are not counted.

    Arguments and errors as `max_pool3d`. Source: TensorFlow `AvgPool3D`.
    """
    return _pool_forward(1, input, pool_size, strides, padding, data_format)


def _check_pool_shape(array: Array, name: str, wanted: tuple[int, ...]) -> None:
    if array.shape != wanted:
        raise ValueError(
            f"{name} has shape {array.shape}; the pooling gives {wanted}, which is accepted"
        )


def max_pool3d_grad(
    input: Any,
    output: Any,
    grad_output: Any,
    pool_size: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "channels_last",
) -> Array:
    """The gradient of `max_pool3d` with respect to its input: each value goes to the first maximum
    of its window.

    Args:
      input: what was pooled.
      output: what `max_pool3d` gave for it.
      grad_output: of the output's shape.
      pool_size, strides, padding, data_format: as in `max_pool3d`.

    Raises:
      ValueError, TypeError, MemoryError: as `max_pool3d`; and ValueError if the shapes do not
      belong together.

    Source: TensorFlow `MaxPool3DGrad`.
    """
    layout = arguments.choice(data_format, "data_format", arguments.DATA_FORMATS)
    x = arguments.array(input, "input", 5)
    y = arguments.array(output, "output", 5)
    dy = arguments.array(grad_output, "grad_output", 5)
    _same_dtype(x, "input", y, "output")
    dtype = _same_dtype(x, "input", dy, "grad_output")
    pool = _pool(0, dtype, x.shape, pool_size, strides, padding, layout)
    batch, _, channels = _split(x.shape, layout)
    wanted = _join(batch, pool.output, channels, layout)
    _check_pool_shape(y, "output", wanted)
    _check_pool_shape(dy, "grad_output", wanted)
    dx = _result(None, x.shape, x.dtype, {})
    pool.backward(
        _dense(x, "input"), _dense(y, "output"), _dense(dy, "grad_output"), dx, _threads(None)
    )
    return dx


def avg_pool3d_grad(
    input_shape: Any,
    grad_output: Any,
    pool_size: Any,
    strides: Any,
    padding: Any,
    data_format: Any = "channels_last",
) -> Array:
    """The gradient of `avg_pool3d` with respect to its input, of shape `input_shape`.

    Arguments and errors as `max_pool3d_grad`. Source: TensorFlow `AvgPool3DGrad`.
    """
    layout = arguments.choice(data_format, "data_format", arguments.DATA_FORMATS)
    shape = arguments.shape5(input_shape, "input_shape")
    dy = arguments.array(grad_output, "grad_output", 5)
    dtype = arguments.dtype(dy.dtype, "grad_output")
    pool = _pool(1, dtype, shape, pool_size, strides, padding, layout)
    batch, _, channels = _split(shape, layout)
    _check_pool_shape(dy, "grad_output", _join(batch, pool.output, channels, layout))
    dx = _result(None, shape, dy.dtype, {})
    pool.backward(None, None, _dense(dy, "grad_output"), dx, _threads(None))
    return dx


# --- between convolutions ------------------------------------------------------------------------
# float32 and float64; the same bits for any number of threads.

_ACTIVATION_GRADS = {"relu": 0, "leaky_relu": 1, "sigmoid": 2, "tanh": 3}
_OPTIMIZERS = {
    "gradient_descent": (0, 0),
    "momentum": (1, 1),
    "nesterov_momentum": (2, 1),
    "rms_prop": (3, 2),
    "adam": (4, 2),
    "nesterov_adam": (5, 2),
}


def _wide(array: Any, name: str) -> tuple[Array, int]:
    x = np.asarray(array)
    if x.dtype not in (np.float32, np.float64):
        raise TypeError(f"{name} has dtype {x.dtype}; float32 and float64 are accepted")
    return _dense(x, name), 0 if x.dtype == np.float32 else 1


def _view(x: Array, data_format: Any) -> tuple[int, int, int]:
    """The sizes (outer, channels, inner) of a tensor of any rank but 0."""
    layout = arguments.choice(data_format, "data_format", arguments.DATA_FORMATS)
    if x.ndim < 1 or (layout == 1 and x.ndim < 2):
        raise ValueError(f"input has shape {x.shape}; a tensor with channels is accepted")
    if layout == 0:
        return math.prod(x.shape[:-1]), x.shape[-1], 1
    return x.shape[0], x.shape[1], math.prod(x.shape[2:])


def _vector(value: Any, name: str, like: Array, channels: int) -> Array | None:
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype != like.dtype or array.shape != (channels,):
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; {channels} elements of "
            f"{like.dtype}, one a channel, is accepted"
        )
    return _dense(array, name)


def _matching(value: Any, name: str, like: Array) -> Array:
    array = np.asarray(value)
    if array.dtype != like.dtype or array.shape != like.shape:
        raise ValueError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; {like.shape} of "
            f"{like.dtype}, as of the first array, is accepted"
        )
    return _dense(array, name)


def channel_moments(input: Any, data_format: Any = "channels_last") -> tuple[Array, Array]:
    """Mean and biased variance of each channel.

    Sums are taken about a value near the mean, in chunks that are added pairwise in double.

    Args:
      input: float32 or float64, `[..., channels]` or `[batch, channels, ...]`.
      data_format: as in `forward`.

    Returns:
      `(mean, variance)`, each `[channels]`; NaN where there are no elements.

    Raises:
      TypeError: another dtype.
      ValueError: no channels axis, or a data format that is not known.

    Source: `tf.nn.moments`; Chan, Golub and LeVeque 1983 for joining the chunks.
    """
    x, dtype = _wide(input, "input")
    outer, channels, inner = _view(x, data_format)
    mean, variance = np.empty(channels, x.dtype), np.empty(channels, x.dtype)
    _core.channel_moments(dtype, outer, channels, inner, x, mean, variance, _threads(None))
    return mean, variance


def channel_sums(
    input: Any, other: Any = None, center: Any = None, data_format: Any = "channels_last"
) -> Any:
    """The sum of each channel, and of its products with another tensor.

    Args:
      input: float32 or float64, `[..., channels]` or `[batch, channels, ...]`.
      other: of the same shape and dtype, or None.
      center: `[channels]`, subtracted from `other`; needed with it.
      data_format: as in `forward`.

    Returns:
      The sums `[channels]`; with `other` the pair of these and of `sum(input * (other - center))`.

    Raises:
      TypeError, ValueError: as `channel_moments`, or arrays that do not belong together.

    Source: `BiasAddGrad`; the sums in the gradient of batch normalization.
    """
    x, dtype = _wide(input, "input")
    outer, channels, inner = _view(x, data_format)
    total = np.empty(channels, x.dtype)
    if other is None:
        _core.channel_sums(
            dtype, outer, channels, inner, x, None, None, total, None, _threads(None)
        )
        return total
    y = _matching(other, "other", x)
    near = _vector(np.zeros(channels, x.dtype) if center is None else center, "center", x, channels)
    product = np.empty(channels, x.dtype)
    _core.channel_sums(dtype, outer, channels, inner, x, y, near, total, product, _threads(None))
    return total, product


def channel_affine(
    input: Any,
    scale: Any = None,
    shift: Any = None,
    relu: bool = False,
    other: Any = None,
    other_scale: Any = None,
    data_format: Any = "channels_last",
    out: Any = None,
) -> Array:
    """`input * scale + other * other_scale + shift` by channel, then `max(0, .)` if `relu`.

    Args:
      input: float32 or float64, `[..., channels]` or `[batch, channels, ...]`.
      scale: `[channels]`, or None for ones; needed with `other`.
      shift: `[channels]`, or None for zeros.
      relu: whether negative results become 0.
      other: of the shape of `input`, or None.
      other_scale: `[channels]`; needed with `other`.
      data_format: as in `forward`.
      out: where to put the result; may be `input` or `other`.

    Raises:
      TypeError, ValueError: as `channel_sums`.

    Source: `tf.nn.batch_normalization`, `tf.nn.bias_add`.
    """
    x, dtype = _wide(input, "input")
    outer, channels, inner = _view(x, data_format)
    if other is not None and (scale is None or other_scale is None):
        raise ValueError("other is given without scale or other_scale; both are needed with it")
    y = None if other is None else _matching(other, "other", x)
    result = _result(None, x.shape, x.dtype, {}) if out is None else out
    if out is not None and (out.shape != x.shape or out.dtype != x.dtype):
        raise ValueError(
            f"out has shape {out.shape} and dtype {out.dtype}; {x.shape} of {x.dtype} is accepted"
        )
    _core.channel_affine(
        dtype,
        outer,
        channels,
        inner,
        x,
        _vector(scale, "scale", x, channels),
        y,
        _vector(other_scale, "other_scale", x, channels) if y is not None else None,
        _vector(shift, "shift", x, channels),
        bool(relu),
        result,
        _threads(None),
    )
    return result


def activation_grad(activation: str, grad_output: Any, value: Any, alpha: float = 0.2) -> Array:
    """The gradient before an activation from the one behind it.

    Args:
      activation: "relu", "leaky_relu", "sigmoid" or "tanh".
      grad_output: float32 or float64, any shape.
      value: of the same shape: what the activation gave; for "leaky_relu" what it was given.
      alpha: slope of "leaky_relu" below 0.

    Raises:
      TypeError, ValueError: another dtype or shape, or an activation that is not known.

    Source: `ReluGrad`, `LeakyReluGrad`, `SigmoidGrad`, `TanhGrad`.
    """
    op = arguments.choice(activation, "activation", _ACTIVATION_GRADS)
    g, dtype = _wide(grad_output, "grad_output")
    y = _matching(value, "value", g)
    result = _result(None, g.shape, g.dtype, {})
    _core.pointwise(op, dtype, g.size, g, y, float(alpha), result, _threads(None))
    return result


def add_n(arrays: Sequence[Any]) -> Array:
    """The sum of arrays of one shape and dtype, float32 or float64, first to last.

    Raises:
      TypeError, ValueError: no arrays, another dtype, or arrays that do not match.

    Source: `tf.add_n`.
    """
    if len(arrays) == 0:
        raise ValueError("arrays is empty; one or more are accepted")
    first, dtype = _wide(arrays[0], "arrays[0]")
    if len(arrays) == 1:
        return first.copy()
    result = _result(None, first.shape, first.dtype, {})
    total = first
    for i, array in enumerate(arrays[1:], 1):
        term = _matching(array, f"arrays[{i}]", first)
        _core.pointwise(4, dtype, first.size, total, term, 0.0, result, _threads(None))
        total = result
    return result


def _runs(shape: Sequence[int], axis: int) -> tuple[int, int]:
    """How many rows lie before `axis`, and the elements of a row for each index along it."""
    return math.prod(shape[:axis]), math.prod(shape[axis + 1 :])


def concat(arrays: Sequence[Any], axis: int = -1) -> Array:
    """Joins arrays of one dtype along an axis, in one pass over memory on all threads.

    Args:
      arrays: one or more, any dtype but object, of equal shapes outside `axis`.
      axis: from -rank to rank - 1.

    Raises:
      ValueError: no arrays, or arrays that do not fit together.

    Source: `tf.concat`.
    """
    whole = [np.asarray(a) for a in arrays]
    if not whole:
        raise ValueError("arrays is empty; one or more are accepted")
    first = whole[0]
    at = arguments.integer(axis, "axis", -first.ndim)
    if at >= first.ndim:
        raise ValueError(f"axis is {axis}; arrays of rank {first.ndim} are given")
    at %= first.ndim
    for i, a in enumerate(whole):
        fits = a.ndim == first.ndim and a.dtype == first.dtype and not a.dtype.hasobject
        if not fits or any(
            m != n for j, (m, n) in enumerate(zip(a.shape, first.shape, strict=True)) if j != at
        ):
            raise ValueError(
                f"arrays[{i}] has shape {a.shape} and dtype {a.dtype}; {first.shape} outside axis "
                f"{at} and {first.dtype}, as of the first array, is accepted"
            )
    parts = tuple(_dense(a, f"arrays[{i}]") for i, a in enumerate(whole))
    rows, run = _runs(first.shape, at)
    shape = (*first.shape[:at], sum(a.shape[at] for a in parts), *first.shape[at + 1 :])
    out = _result(None, shape, first.dtype, {})
    sizes = [a.shape[at] * run * first.itemsize for a in parts]
    _core.join_rows(rows, sizes, parts, out, _threads(None))
    return out


def split(array: Any, sizes: Sequence[int], axis: int = -1) -> list[Array]:
    """Cuts an array along an axis into dense arrays, in one pass over memory on all threads.

    Args:
      array: any dtype but object, at least one axis.
      sizes: of the parts along `axis`, 0 or more; they sum to its extent.
      axis: from -rank to rank - 1.

    Raises:
      ValueError: sizes that do not fit.

    Source: `tf.split`.
    """
    whole = np.asarray(array)
    at = arguments.integer(axis, "axis", -whole.ndim)
    if at >= whole.ndim or whole.dtype.hasobject:
        raise ValueError(
            f"axis is {axis} and array has shape {whole.shape} and dtype {whole.dtype}; an axis of "
            "an array of numbers is accepted"
        )
    at %= whole.ndim
    counts = [arguments.integer(n, "sizes", 0) for n in sizes]
    if sum(counts) != whole.shape[at]:
        raise ValueError(f"sizes are {counts}; a sum of {whole.shape[at]} is accepted")
    rows, run = _runs(whole.shape, at)
    parts = tuple(
        _result(None, (*whole.shape[:at], n, *whole.shape[at + 1 :]), whole.dtype, {})
        for n in counts
    )
    bytes_ = [n * run * whole.itemsize for n in counts]
    _core.cut_rows(rows, bytes_, _dense(whole, "array"), parts, _threads(None))
    return list(parts)


def _rows(x: Array, name: str) -> tuple[int, int]:
    if x.ndim < 1:
        raise ValueError(f"{name} has shape {x.shape}; rows of classes are accepted")
    return math.prod(x.shape[:-1]), x.shape[-1]


def softmax(logits: Any) -> Array:
    """Probabilities along the last axis: `exp(x) / sum(exp(x))` without overflow.

    Args:
      logits: float32 or float64, `[..., classes]`.

    Raises:
      TypeError, ValueError: another dtype, or no axis.

    Source: `tf.nn.softmax`.
    """
    x, dtype = _wide(logits, "logits")
    rows, classes = _rows(x, "logits")
    result = _result(None, x.shape, x.dtype, {})
    _core.softmax(dtype, rows, classes, x, None, result, _threads(None))
    return result


def softmax_grad(output: Any, grad_output: Any) -> Array:
    """The gradient of `softmax` for its logits: `(g - sum(g y)) y` along the last axis.

    Args:
      output: what `softmax` gave.
      grad_output: of the same shape.

    Raises:
      TypeError, ValueError: as `softmax`, or shapes that differ.
    """
    y, dtype = _wide(output, "output")
    g = _matching(grad_output, "grad_output", y)
    rows, classes = _rows(y, "output")
    result = _result(None, y.shape, y.dtype, {})
    _core.softmax(dtype, rows, classes, g, y, result, _threads(None))
    return result


def sparse_softmax_cross_entropy(logits: Any, labels: Any) -> tuple[Array, Array]:
    """Cross entropy of classes given by number, and its gradient for the logits.

    Args:
      logits: float32 or float64, `[..., classes]`.
      labels: integers `[...]` from 0 to `classes - 1`.

    Returns:
      `(loss, grad)`: `[...]` and `[..., classes]`.

    Raises:
      TypeError, ValueError: as `softmax`; labels of another shape or out of range.

    Source: `tf.nn.sparse_softmax_cross_entropy_with_logits`.
    """
    x, dtype = _wide(logits, "logits")
    rows, classes = _rows(x, "logits")
    which = np.asarray(labels)
    if which.shape != x.shape[:-1]:
        raise ValueError(f"labels has shape {which.shape}; {x.shape[:-1]} is accepted")
    if which.dtype.kind not in "iu":
        raise TypeError(f"labels has dtype {which.dtype}; integers are accepted")
    index = which
    if which.dtype != np.int64 or not which.flags.c_contiguous:
        index = empty(which.shape, np.int64)
        np.copyto(index, which, casting="unsafe")  # what does not fit is out of range all the same
    loss, grad = empty(which.shape, x.dtype), _result(None, x.shape, x.dtype, {})
    _core.sparse_cross_entropy(dtype, rows, classes, x, index, loss, grad, _threads(None))
    return loss, grad


def optimizer_step(
    rule: str, numbers: Sequence[float], grad: Any, var: Any, slots: Sequence[Any] = ()
) -> list[Array]:
    """One step of an optimizer in one pass over memory; the arrays given stay as they are.

    With `p` the numbers and `g` the gradient:

        gradient_descent   var - p0 g
        momentum           m = p1 m + g;  var - p0 m  (nesterov_momentum: var - (p0 g + p0 p1 m))
        rms_prop           s += (1 - p3)(g^2 - s);  m = p1 m + p0 g / sqrt(s + p2);  var - m
        adam               m += (1 - p1)(g - m);  s += (1 - p3)(g^2 - s);
                           var - p0 m / (sqrt(s) + p2)  (nesterov_adam: (1 - p1) g + p1 m for m)

    Args:
      rule: one of these names.
      numbers: up to four numbers.
      grad: float32 or float64, any shape.
      var: of the same shape, as all slots.
      slots: `[m]` of momentum, `[s, m]` of rms_prop, `[m, s]` of adam.

    Returns:
      The new `var` and the new slots.

    Raises:
      TypeError, ValueError: a rule that is not known, or arrays that do not belong together.

    Source: `ApplyGradientDescent`, `ApplyMomentum`, `ApplyRMSProp`, `ApplyAdam`.
    """
    if rule not in _OPTIMIZERS:
        raise ValueError(f"rule is {rule!r}; {', '.join(_OPTIMIZERS)} are accepted")
    code, wanted = _OPTIMIZERS[rule]
    if len(slots) != wanted:
        raise ValueError(f"slots has {len(slots)} arrays; {rule} takes {wanted}")
    g, dtype = _wide(grad, "grad")
    old = [_matching(var, "var", g)]
    old += [_matching(slot, f"slots[{i}]", g) for i, slot in enumerate(slots)]
    new = [empty(g.shape, g.dtype) for _ in old]
    padded = [*(float(x) for x in numbers), 0.0, 0.0, 0.0, 0.0][:4]
    # var, then the slots that the rule has.
    before, after = dict(enumerate(old)), dict(enumerate(new))
    was = before[0], before.get(1), before.get(2)
    becomes = after[0], after.get(1), after.get(2)
    _core.optimizer_step(code, dtype, g.size, padded, g, *was, *becomes, _threads(None))
    return new


# --- threads, the machine, the process -----------------------------------------------------------

_scoped_threads: ContextVar[int | None] = ContextVar("conv3d_num_threads", default=None)


def _threads(value: Any) -> int:
    if value is None:
        return get_num_threads()
    return min(arguments.integer(value, "num_threads", 1), MAX_THREADS)


def set_num_threads(n: int) -> None:
    """Sets how many threads calls use that do not say so themselves: 1 to 1024.

    Until then it is `CONV3D_NUM_THREADS`, else `OMP_NUM_THREADS`, else the smallest of the
    processors that the process
    may run on, its cgroup's quota rounded down, and the physical cores.

    Raises:
      ValueError: not positive. TypeError: not an integer.
    """
    _core.set_num_threads(_threads(arguments.integer(n, "n", 1)))


def get_num_threads() -> int:
    """How many threads calls use that do not say so themselves, within an enclosing `num_threads`
    if there is one.
    """
    scoped = _scoped_threads.get()
    return _core.get_num_threads() if scoped is None else scoped


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """`with engine.num_threads(n):` limits the calls of this thread (or asynchronous task) within
    the block.
    """
    token = _scoped_threads.set(_threads(arguments.integer(n, "n", 1)))
    try:
        yield
    finally:
        _scoped_threads.reset(token)


_PHASES = ("pack", "transform", "multiply", "inverse")


@contextmanager
def measure_phases() -> Iterator[dict[str, float]]:
    """`with engine.measure_phases() as phases:` where the convolutions of this process spend time.

    After the block `phases` holds seconds of all threads together: "pack" (the filter into the
    algorithm's form), "transform" (Winograd's forward transform, staging and transposition of what
    is read), "multiply", and "inverse" (Winograd's inverse transform, transposition of the result,
    bias and activation). One measurement at a time.
    """
    phases: dict[str, float] = {}
    _core.time_phases(True)
    try:
        yield phases
    finally:
        phases.update(zip(_PHASES, _core.time_phases(False), strict=True))


def measure_fma_peak(threads: int = 1, seconds: float = 0.05) -> float:
    """The float32 multiply-add rate of `threads` threads, measured now: what a share of the peak is
    a share of.

    Args:
      threads: how many run at once.
      seconds: how long, at most 10.

    Returns:
      Floating-point operations a second, two per multiply-add.

    Raises:
      ValueError: an argument out of range. TypeError: `threads` is not an integer.
    """
    rate: float = _core.measure_fma_peak(
        _threads(arguments.integer(threads, "threads", 1)), float(seconds)
    )
    return rate


def set_verbose(on: bool) -> None:
    """Switches the line per call on stderr, as `CONV3D_VERBOSE=1` does."""
    _core.set_verbose(bool(on))


def info() -> dict[str, Any]:
    """What a bug report needs: version, instruction sets, threads, caches, build, environment."""
    machine = _core.machine_info()
    return {
        "version": _core.__version__,
        "isa": machine["isa"],
        "isa_available": machine["available_isas"].split(),
        "isa_compiled": machine["compiled_isas"].split(),
        "algorithms": machine["algorithms"].split(),
        "threads": get_num_threads(),
        "usable_threads": machine["usable_threads"],
        "physical_cores": machine["physical_cores"],
        "cpu": f"{machine['model'].strip()} ({machine['vendor']})",
        "caches": {
            "l1d": machine["l1d_bytes"],
            "l2": machine["l2_bytes"],
            "l3": machine["l3_bytes"],
        },
        "memory_bytes": machine["memory_bytes"],
        "build": {
            "compiler": machine["compiler"],
            "assertions": machine["assertions"],
            "file": str(_core.__file__),
        },
        "environment": {k: v for k, v in sorted(os.environ.items()) if k.startswith("CONV3D_")},
        "numpy": np.__version__,
        "python": sys.version.split()[0],
    }


def stats() -> dict[str, int]:
    """Counters of this process: calls that asked for a plan, how many found it, entries and bytes
    of the plan cache, and
    bytes of memory kept for the scratch and the results of the next calls.
    """
    entries = _cache.entries()
    return {
        "calls": _cache.hits + _cache.misses,
        "hits": _cache.hits,
        "entries": entries,
        "bytes": entries * _cache.PLAN_BYTES,
        "workspace_bytes": _core.workspace_cache_bytes(),
    }


def clear_cache() -> None:
    """Drops all cached plans and the memory kept for the next calls. Plans and arrays held by
    callers stay valid.
    """
    _cache.clear()
    _core.clear_workspace_cache()


def get_include() -> str:
    """The directory of the C and C++ headers of an installed package.

    Raises:
      FileNotFoundError: in a developer build, whose headers lie in `cpp/include`.
    """
    # From the module, not the package: in an editable install the package lies in the source tree.
    return _installed("include")


def get_cmake_dir() -> str:
    """The directory of `conv3dConfig.cmake` of an installed package.

    Raises:
      FileNotFoundError: in a developer build, which is not installed.
    """
    return _installed("lib", "cmake", "conv3d")


def _installed(*parts: str) -> str:
    path = Path(str(_core.__file__)).parent.joinpath(*parts)
    if not path.is_dir():
        raise FileNotFoundError(
            f"{path} does not exist: the package was not installed but built in its source tree"
        )
    return str(path)


_joined_threadpoolctl = False


def _join_threadpoolctl() -> None:
    """Lets `threadpoolctl.threadpool_limits` govern our threads too, if the program uses it."""
    global _joined_threadpoolctl
    if _joined_threadpoolctl or "threadpoolctl" not in sys.modules:
        return
    _joined_threadpoolctl = True
    import threadpoolctl

    class Conv3DController(threadpoolctl.LibController):  # type: ignore[misc,no-any-unimported,unused-ignore]
        user_api = "conv3d"
        internal_api = "conv3d"
        filename_prefixes = ("libconv3d",)
        check_symbols = ("conv3d_get_num_threads", "conv3d_set_num_threads", "conv3d_version")

        def get_num_threads(self) -> int:
            return int(self.dynlib.conv3d_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.conv3d_set_num_threads(num_threads)

        def get_version(self) -> str:
            import ctypes

            function = self.dynlib.conv3d_version
            function.restype = ctypes.c_char_p
            return str(function().decode())

        def set_additional_attributes(self) -> None:
            pass

    threadpoolctl.register(Conv3DController)


_join_threadpoolctl()
