"""Convolution of PyTorch tensors by the engine, differentiable any number of times.

With `y = conv(x, w)`, three bilinear functions are closed under differentiation:

    convolve(x, w)          y            gradients: backward_input(w, g), backward_filter(x, g)
    backward_input(w, dy)   dx           gradients: backward_filter(g, dy), convolve(g, w)
    backward_filter(x, dy)  dw           gradients: backward_input(g, dy), convolve(x, g)

The transposed convolution is backward_input. Tensors are `[N, C, D, H, W]`, weights
`[O, I / groups, kd, kh, kw]`. The engine's filters are `[kd, kh, kw, I / groups, O]`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch.autograd import Function

from conv3d import engine

try:
    import ml_dtypes

    _BFLOAT16: Any = np.dtype(ml_dtypes.bfloat16)
except ImportError:
    _BFLOAT16 = None

# What the engine and NumPy have; bfloat16 is NumPy's through ml_dtypes alone.
DTYPES = {torch.float32, torch.float64, torch.float16} | ({torch.bfloat16} if _BFLOAT16 else set())

_LAST = (0, 2, 3, 4, 1)  # [N, C, D, H, W] to [N, D, H, W, C]
_FIRST = (0, 4, 1, 2, 3)  # and back
_TAPS_FIRST = (2, 3, 4, 1, 0)  # [O, I, kd, kh, kw] to [kd, kh, kw, I, O]
_TAPS_LAST = (4, 3, 0, 1, 2)  # and back


class Settings(NamedTuple):
    """A convolution apart from its tensors; `padding` is (before, after) for each axis."""

    strides: tuple[int, int, int]
    padding: tuple[tuple[int, int], ...]
    dilations: tuple[int, int, int]
    groups: int
    channels_last: bool

    def keywords(self) -> dict[str, Any]:
        """As keywords of the engine's functions."""
        return {
            "strides": self.strides,
            "padding": self.padding,
            "dilations": self.dilations,
            "groups": self.groups,
            "data_format": "channels_last" if self.channels_last else "channels_first",
        }


def num_threads() -> int:
    """Both libraries' settings hold."""
    return min(torch.get_num_threads(), engine.get_num_threads())


def as_numpy(tensor: Any) -> Any:
    """A view of a tensor's memory."""
    if tensor.dtype is torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(_BFLOAT16)
    return tensor.numpy()


def to_array(tensor: Any, channels_last: bool) -> Any:
    """A tensor `[N, C, D, H, W]` as the engine's array in this layout; a view if it has it."""
    tensor = tensor.detach()
    if channels_last:
        return as_numpy(tensor.contiguous(memory_format=torch.channels_last_3d).permute(_LAST))
    return as_numpy(tensor.contiguous())


def to_filter(weight: Any) -> Any:
    """A weight as the engine's filter; a view where the order is the same."""
    return as_numpy(weight.detach().permute(_TAPS_FIRST).contiguous())


def compute(function: Any, shape: tuple[int, ...], dtype: Any, channels_last: bool) -> Any:
    """A tensor of this shape and layout with what `function(out)` gives.

    Never a view of another tensor: autograd refuses changes in place of views that a Function made.
    """
    if dtype is torch.bfloat16:
        # The only way from NumPy's bfloat16 to PyTorch's that is no view.
        format = torch.channels_last_3d if channels_last else torch.contiguous_format
        result = torch.empty(shape, dtype=dtype, memory_format=format)
        function(as_numpy(result.permute(_LAST) if channels_last else result))
        return result
    array = function(None)
    return torch.from_numpy(array.transpose(_FIRST) if channels_last else array)


def output_shape(x: Any, w: Any, settings: Settings) -> tuple[int, ...]:
    """The shape of `conv(x, w)`; an extent below one if a window does not fit."""
    s, p, d = settings.strides, settings.padding, settings.dilations
    extents = (
        (x.shape[i + 2] + sum(p[i]) - (w.shape[i + 2] - 1) * d[i] - 1) // s[i] + 1 for i in range(3)
    )
    return (x.shape[0], w.shape[0], *extents)


class Convolve(Function):  # type: ignore[misc,unused-ignore]
    """`y = conv(x, w) + bias`. `filter` is `to_filter(w)`, if the caller has it, else None."""

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, bias: Any, settings: Settings, filter: Any) -> Any:
        ctx.filter = to_filter(w) if filter is None else filter
        ctx.settings = settings
        ctx.save_for_backward(x, w)
        last = settings.channels_last
        return compute(
            lambda out: engine.forward(
                to_array(x, last),
                ctx.filter,
                None if bias is None else as_numpy(bias.detach()),
                out=out,
                num_threads=num_threads(),
                **settings.keywords(),
            ),
            output_shape(x, w, settings),
            x.dtype,
            last,
        )

    @staticmethod
    def backward(ctx: Any, dy: Any) -> Any:
        x, w = ctx.saved_tensors
        settings = ctx.settings
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = BackwardInput.apply(w, dy, tuple(x.shape), settings, ctx.filter)
        if ctx.needs_input_grad[1]:
            dw = BackwardFilter.apply(x, dy, tuple(w.shape), settings)
        if ctx.needs_input_grad[2]:
            db = dy.sum((0, 2, 3, 4))
        return dx, dw, db, None, None


class BackwardInput(Function):  # type: ignore[misc,unused-ignore]
    """`dx` of `y = conv(x, w)` for `x` of a shape. `filter` as in `Convolve`."""

    @staticmethod
    def forward(
        ctx: Any, w: Any, dy: Any, shape: tuple[int, ...], settings: Settings, filter: Any
    ) -> Any:
        ctx.filter = to_filter(w) if filter is None else filter
        ctx.settings = settings
        ctx.save_for_backward(w, dy)
        last = settings.channels_last
        n, c, d, h, width = shape
        return compute(
            lambda out: engine.backward_input(
                (n, d, h, width, c) if last else shape,
                ctx.filter,
                to_array(dy, last),
                out=out,
                num_threads=num_threads(),
                **settings.keywords(),
            ),
            shape,
            dy.dtype,
            last,
        )

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        w, dy = ctx.saved_tensors
        dw = ddy = None
        if ctx.needs_input_grad[0]:
            dw = BackwardFilter.apply(g, dy, tuple(w.shape), ctx.settings)
        if ctx.needs_input_grad[1]:
            ddy = Convolve.apply(g, w, None, ctx.settings, ctx.filter)
        return dw, ddy, None, None, None


class BackwardFilter(Function):  # type: ignore[misc,unused-ignore]
    """`dw` of `y = conv(x, w)` for `w` of a shape."""

    @staticmethod
    def forward(ctx: Any, x: Any, dy: Any, shape: tuple[int, ...], settings: Settings) -> Any:
        ctx.settings = settings
        ctx.save_for_backward(x, dy)
        last = settings.channels_last
        filters, channels, *taps = shape
        dw = engine.backward_filter(
            to_array(x, last),
            (*taps, channels, filters),
            to_array(dy, last),
            num_threads=num_threads(),
            **settings.keywords(),
        )
        if dw.dtype == _BFLOAT16:
            dw = torch.from_numpy(dw.view(np.int16)).view(torch.bfloat16)
        else:
            dw = torch.from_numpy(dw)
        return dw.permute(_TAPS_LAST).clone(memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, dy = ctx.saved_tensors
        dx = ddy = None
        if ctx.needs_input_grad[0]:
            dx = BackwardInput.apply(g, dy, tuple(x.shape), ctx.settings, None)
        if ctx.needs_input_grad[1]:
            ddy = Convolve.apply(x, g, None, ctx.settings, None)
        return dx, ddy, None, None
