"""`nn.Conv3d` and `nn.ConvTranspose3d` whose forward is the engine's, by a change of class.

A class of ours is derived from the class that a module has, so that the module stays what it was
for `isinstance`, hooks, pickles and everything that holds it.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from conv3d import engine
from conv3d.torch import functions
from conv3d.torch.functions import Settings

# --- where the engine serves ---------------------------------------------------------------------

_PLAIN = (torch.Tensor, nn.Parameter)  # by type(): subclasses may mean something else by an op


def _recorded_or_transformed() -> bool:
    """Whether someone wants to see or change the ops of this call: then they must be PyTorch's."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
    )


def _serves(input: Any, weight: Any, bias: Any) -> bool:
    """Whether the engine takes these tensors. Shapes are checked by the caller."""
    if type(input) not in _PLAIN or input.dim() not in (4, 5) or _recorded_or_transformed():
        return False
    dtype = input.dtype
    if dtype not in functions.DTYPES:
        return False
    for tensor in (input, weight) if bias is None else (input, weight, bias):
        if (
            type(tensor) not in _PLAIN
            or tensor.dtype is not dtype
            or tensor.device.type != "cpu"
            or tensor.layout is not torch.strided
            or tensor.is_neg()
            or tensor.numel() == 0
        ):
            return False
    return bias is None or bias.dim() == 1


def _is_channels_last(tensor: Any) -> bool:
    """Whether the strides say `channels_last_3d`, by PyTorch's rule: not where they say both."""
    sizes, strides = tensor.shape, tensor.stride()
    if strides[1] == 0:
        return False
    least = 0
    for axis in (1, 4, 3, 2, 0):
        if strides[axis] < least or (axis == 0 and least == strides[1]):
            return False
        least = strides[axis] * max(sizes[axis], 1)
    return True


def _wants_gradient(*tensors: Any) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


# --- filters kept between calls ------------------------------------------------------------------

_WORDS = 1021  # a prime, so that no exchange of channels moves words by a multiple of it


def _fingerprint(tensor: Any) -> bytes:
    """Changes with any element: sums of the memory's 64-bit words, `_WORDS` apart; the rest as is.

    PyTorch's version counter does not count what is written through `tensor.data`, as older
    optimizers and averages of weights do. One read of the weight is little beside a convolution.
    """
    tensor = tensor.detach()
    if not tensor.is_contiguous():
        # Memory order where the tensor fills its memory, so that nothing is copied.
        order = sorted(range(tensor.dim()), key=lambda axis: -tensor.stride(axis))
        tensor = tensor.permute(order).contiguous()
    octets = functions.as_numpy(tensor).reshape(-1).view(np.uint8)
    whole = octets.size - octets.size % (8 * _WORDS)
    sums = octets[:whole].view(np.uint64).reshape(-1, _WORDS).sum(axis=0, dtype=np.uint64)
    return sums.tobytes() + octets[whole:].tobytes()


def _identity(tensor: Any) -> tuple[Any, ...]:
    """Equal for a tensor that holds what it held."""
    version = -1 if tensor.is_inference() else tensor._version
    return (
        tensor.data_ptr(), version, tensor.shape, tensor.stride(), tensor.dtype,
        _fingerprint(tensor),
    )  # fmt: skip


class _Kept(NamedTuple):
    """What was made of a weight, or of a weight and a bias, and by what it is known again."""

    key: Any
    value: Any


class _Cache:
    """A module's filter in the engine's order, and its plan. Entries change by one assignment, so
    threads may share it: at worst two make the same entry.
    """

    __slots__ = ("_filter", "_plan")

    def __init__(self) -> None:
        self._filter: _Kept | None = None
        self._plan: _Kept | None = None

    def filter(self, weight: Any) -> Any:
        """The weight as the engine's filter."""
        key, kept = _identity(weight), self._filter
        if kept is None or kept.key != key:
            kept = self._filter = _Kept(key, functions.to_filter(weight))
            self._plan = None
        return kept.value

    def plan(self, weight: Any, bias: Any, settings: Settings) -> Any:
        """A plan that has packed the weight."""
        key = (_identity(weight), None if bias is None else _fingerprint(bias), settings)
        kept = self._plan
        if kept is None or kept.key != key:
            plan = engine.Plan(
                functions.to_filter(weight),
                None if bias is None else functions.as_numpy(bias.detach()),
                **settings.keywords(),
            )
            kept = self._plan = _Kept(key, plan)
            self._filter = None
        return kept.value


# --- the two forwards ----------------------------------------------------------------------------


def _batched(input: Any) -> Any:
    return input if input.dim() == 5 else input.unsqueeze(0)


def _pairs(padding: Any, taps: Any, dilations: Any) -> tuple[tuple[int, int], ...]:
    """`nn.Conv3d.padding` as (before, after) for each axis."""
    if padding == "valid":
        return ((0, 0),) * 3
    if padding == "same":  # strides are 1; the odd cell at the end
        totals = [d * (k - 1) for k, d in zip(taps, dilations, strict=True)]
        return tuple((total // 2, total - total // 2) for total in totals)
    return tuple((p, p) for p in padding)


def _conv_settings(module: Any, x: Any, weight: Any, bias: Any) -> Settings | None:
    """For `[N, C, D, H, W]`; None if the engine does not serve this convolution, or nobody does."""
    groups = module.groups
    if (
        weight.dim() != 5
        or x.shape[1] != weight.shape[1] * groups
        or weight.shape[0] % groups
        or (bias is not None and bias.shape[0] != weight.shape[0])
        or (max(module.stride) > 1 and max(module.dilation) > 1)
    ):
        return None
    settings = Settings(
        tuple(module.stride),
        _pairs(module.padding, weight.shape[2:], module.dilation),
        tuple(module.dilation),
        groups,
        _is_channels_last(x),
    )
    return settings if min(functions.output_shape(x, weight, settings)) > 0 else None


def _conv_forward(module: Any, input: Any, weight: Any, bias: Any) -> Any:
    """`nn.Conv3d._conv_forward` by the engine; None where it does not serve."""
    if module.padding_mode != "zeros" or not _serves(input, weight, bias):
        return None
    x = _batched(input)
    settings = _conv_settings(module, x, weight, bias)
    if settings is None:
        return None
    cache = _cache(module)
    if _wants_gradient(input, weight, bias):
        y = functions.Convolve.apply(x, weight, bias, settings, cache.filter(weight))
    else:
        plan = cache.plan(weight, bias, settings)
        array = functions.to_array(x, settings.channels_last)
        with engine.num_threads(functions.num_threads()):
            y = functions.compute(
                lambda out: plan(array, out=out),
                functions.output_shape(x, weight, settings),
                x.dtype,
                settings.channels_last,
            )
    return y if input.dim() == 5 else y.squeeze(0)


def _transpose_settings(
    module: Any, x: Any, weight: Any, bias: Any, output_padding: Any
) -> tuple[Settings, tuple[int, ...]] | None:
    """The convolution whose gradient this is, and the shape of its input: our output."""
    groups = module.groups
    s, d = module.stride, module.dilation
    if (
        weight.dim() != 5
        or x.shape[1] != weight.shape[0]
        or weight.shape[0] % groups
        or (bias is not None and bias.shape[0] != weight.shape[1] * groups)
        or (max(s) > 1 and max(d) > 1)
    ):
        return None
    extents, padding = [], []
    for i in range(3):
        p, extra = module.padding[i], output_padding[i]
        if extra < 0 or extra >= max(s[i], d[i]):
            return None
        reach = (weight.shape[i + 2] - 1) * d[i] + 1
        extents.append((x.shape[i + 2] - 1) * s[i] - 2 * p + reach + extra)
        # Cells at the end that no window reaches, if the convolution would step there.
        after = p if extra < s[i] else p - extra
        if after < 0 or extents[i] < 1:
            return None
        padding.append((p, after))
    settings = Settings(tuple(s), tuple(padding), tuple(d), groups, _is_channels_last(x))
    return settings, (x.shape[0], weight.shape[1] * groups, *extents)


def _transpose_forward(module: Any, input: Any, output_size: Any) -> Any:
    """`nn.ConvTranspose3d.forward` by the engine; None where it does not serve."""
    weight, bias = module.weight, module.bias
    if module.padding_mode != "zeros" or not _serves(input, weight, bias):
        return None
    output_padding = module._output_padding(
        input, output_size, module.stride, module.padding, module.kernel_size, 3, module.dilation
    )
    x = _batched(input)
    found = _transpose_settings(module, x, weight, bias, output_padding)
    if found is None:
        return None
    settings, shape = found
    filter = _cache(module).filter(weight)
    y = functions.BackwardInput.apply(weight, x, shape, settings, filter)
    if bias is not None:
        y.add_(bias.view(1, -1, 1, 1, 1))
    return y if input.dim() == 5 else y.squeeze(0)


# --- the classes ---------------------------------------------------------------------------------

_CACHE = "_conv3d_cache"


def _cache(module: Any) -> _Cache:
    cache = module.__dict__.get(_CACHE)
    if cache is None:
        cache = module.__dict__[_CACHE] = _Cache()
    return cache


def _reduce(module: Any, protocol: Any) -> Any:
    """Pickles and copies name the class that ours is derived from; the cache stays behind."""
    state = {name: value for name, value in module.__dict__.items() if name != _CACHE}
    return _rebuild, (type(module)._conv3d_base,), state


def _rebuild(base: Any) -> Any:
    """An accelerated module of class `base` before its state is set."""
    made = accelerated_class(base)
    return made.__new__(made)


_classes: dict[Any, Any] = {}
_classes_lock = threading.Lock()


def _make_class(base: Any) -> Any:
    own: dict[str, Any]
    if issubclass(base, nn.Conv3d):

        def _conv_forward_(self: Any, input: Any, weight: Any, bias: Any) -> Any:
            y = _conv_forward(self, input, weight, bias)
            return base._conv_forward(self, input, weight, bias) if y is None else y

        own = {"_conv_forward": _conv_forward_}
    else:

        def forward(self: Any, input: Any, output_size: Any = None) -> Any:
            y = _transpose_forward(self, input, output_size)
            return base.forward(self, input, output_size) if y is None else y

        own = {"forward": forward}
    return type(
        base.__name__,
        (base,),
        {
            **own,
            "__module__": __name__,
            "__doc__": f"`{base.__module__}.{base.__qualname__}` that computes with conv3d.",
            "__reduce_ex__": _reduce,
            "_conv3d_base": base,
        },
    )


def accelerated_class(base: Any) -> Any:
    """The class for modules of class `base`; always the same."""
    with _classes_lock:
        made = _classes.get(base)
        if made is None:
            made = _classes[base] = _make_class(base)
        return made


def _may_change(kind: Any) -> bool:
    """Whether modules of this class compute what `nn.Conv3d` or `nn.ConvTranspose3d` does."""
    if issubclass(kind, nn.modules.lazy.LazyModuleMixin) or hasattr(kind, "_conv3d_base"):
        return False
    if issubclass(kind, nn.Conv3d):
        return kind._conv_forward is nn.Conv3d._conv_forward
    return issubclass(kind, nn.ConvTranspose3d) and kind.forward is nn.ConvTranspose3d.forward


def accelerate(module: Any) -> Any:
    """`conv3d.torch.accelerate`."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"module is {type(module).__name__}; a torch.nn.Module is accepted")
    for part in module.modules():
        if _may_change(type(part)) and not nn.utils.parametrize.is_parametrized(part):
            part.__class__ = accelerated_class(type(part))
    return module
