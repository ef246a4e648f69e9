"""Chains of ops that one call computes: convolution, bias and activation; scale, shift and relu.

Registered with `framework.fusion`; the session replaces such chains in its plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import fusion, registry
from conv3d.ops import (  # noqa: F401  (the ops of the chains)
    activation_ops,
    conv_ops,
    math_ops,
    nn_ops,
    shape_rules,
    spatial,
)

#: Activations that the engine applies while it writes its output.
_ACTIVATIONS = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
}
#: The slope of the engine's leaky_relu.
_ENGINE_SLOPE = 0.2


def _accepts(rank: int, chain: Sequence[str], attrs: Sequence[dict[str, Any]]) -> bool:
    """Bias along the convolution's own channels, and an activation as the engine has it."""
    for op_type, op_attrs in zip(chain, attrs, strict=False):
        if op_type == "BiasAdd":
            first = attrs[0]["data_format"] == spatial.DATA_FORMATS[rank][1]
            if (op_attrs["data_format"] == "NCHW") != first:
                return False
        if op_type == "LeakyRelu" and op_attrs["alpha"] != _ENGINE_SLOPE:
            return False
    return True


def _register_convolution(rank: int, chain: tuple[str, ...]) -> None:
    activation = _ACTIVATIONS.get(chain[-1])
    with_bias = "BiasAdd" in chain

    def compute(attrs: Sequence[dict[str, Any]], *arrays: np.ndarray) -> np.ndarray:
        bias = arrays[2] if with_bias else None
        return conv_ops.convolve(rank, attrs[0], arrays[0], arrays[1], bias, activation)

    fusion.register(chain, compute, lambda attrs: _accepts(rank, chain, attrs))


for _rank, _conv in ((2, "Conv2D"), (3, "Conv3D")):
    _register_convolution(_rank, (_conv, "BiasAdd"))
    for _activation in _ACTIVATIONS:
        _register_convolution(_rank, (_conv, _activation))
        _register_convolution(_rank, (_conv, "BiasAdd", _activation))


# -- bias on a flat view ---------------------------------------------------------------------------
# Layers add the bias of channels-first and of transposed 3-D convolutions on a 4-D view, between
# two reshapes, and give these nodes the names that programs know.


def _flat_is_plain(attrs: dict[str, Any], shape: Sequence[int], flat: np.ndarray) -> bool:
    """Whether a bias on the flat view is a bias along the channels of the data itself."""
    channels = 1 if attrs["data_format"] == "NCDHW" else 4
    sizes = [int(n) for n in flat]
    if channels == 1:
        return len(sizes) > 2 and sizes[0] in (-1, shape[0]) and sizes[1] == shape[1]
    return len(sizes) > 1 and sizes[-1] == shape[4]


def _accepts_flat(chain: Sequence[str], attrs: Sequence[dict[str, Any]]) -> bool:
    first = attrs[0]["data_format"] == "NCDHW"
    bias_first = attrs[chain.index("BiasAdd")]["data_format"] == "NCHW"
    return first == bias_first and (chain[-1] != "LeakyRelu" or attrs[-1]["alpha"] == _ENGINE_SLOPE)


def _add_in_place(y: np.ndarray, bias: np.ndarray, axis: int, activation: str | None) -> np.ndarray:
    """Bias and activation on an array of our own."""
    if shape_rules.for_engine(y) and bias.dtype == y.dtype and activation in (None, "relu"):
        layout = "channels_last" if axis == y.ndim - 1 else "channels_first"
        relu = activation == "relu"
        return engine.channel_affine(y, shift=bias, relu=relu, data_format=layout, out=y)
    np.add(y, nn_ops.spread(bias, y.ndim, axis), out=y)
    if activation == "relu":
        np.maximum(y, y.dtype.type(0), out=y)
    elif activation is not None:
        op_type = {name: op for op, name in _ACTIVATIONS.items()}[activation]
        y = registry.get(op_type).compute({"alpha": _ENGINE_SLOPE}, y)
    return y


def _steps(
    chain: Sequence[str], attrs: Sequence[dict[str, Any]], y: np.ndarray, rest: Sequence[Any]
) -> np.ndarray:
    """The links after the first, one by one."""
    flat, bias, final = rest
    y = registry.get("BiasAdd").compute(attrs[2], y.reshape([int(n) for n in flat]), bias)
    y = y.reshape([int(n) for n in final])
    return y if len(chain) == 4 else registry.get(chain[4]).compute(attrs[4], y)


def _register_flat(chain: tuple[str, ...]) -> None:
    activation = _ACTIVATIONS.get(chain[-1])
    transposed = chain[0] != "Conv3D"
    inputs = 3 if transposed else 2

    def compute(attrs: Sequence[dict[str, Any]], *arrays: np.ndarray) -> np.ndarray:
        own, rest = arrays[:inputs], arrays[inputs:]
        flat, bias, final = rest
        axis = 1 if attrs[0]["data_format"] == "NCDHW" else 4
        if transposed:
            y = registry.get(chain[0]).compute(attrs[0], *own)
            if bias.shape != (y.shape[axis],) or not _flat_is_plain(attrs[0], y.shape, flat):
                return _steps(chain, attrs, y, rest)
            y = _add_in_place(y, bias, axis, activation)
        else:
            shape = [0] * 5
            shape[0], shape[axis] = own[0].shape[0], own[1].shape[-1]
            if not _flat_is_plain(attrs[0], shape, flat):
                y = conv_ops.convolve(3, attrs[0], own[0], own[1])
                return _steps(chain, attrs, y, rest)
            y = conv_ops.convolve(3, attrs[0], own[0], own[1], bias, activation)
        # The views are made all the same: they refuse sizes that do not fit.
        return y.reshape([int(n) for n in flat]).reshape([int(n) for n in final])

    fusion.register(chain, compute, lambda attrs: _accepts_flat(chain, attrs))


for _first in ("Conv3D", "Conv3DBackpropInputV2"):
    _chain = (_first, "Reshape", "BiasAdd", "Reshape")
    _register_flat(_chain)
    for _activation in _ACTIVATIONS:
        _register_flat((*_chain, _activation))


# -- batch normalization ---------------------------------------------------------------------------


def _scale_shift(
    attrs: Sequence[dict[str, Any]], x: np.ndarray, factor: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """X * factor + shift without a second array of that size: batch normalization."""
    product = np.multiply(x, factor)
    if np.broadcast_shapes(product.shape, shift.shape) != product.shape:
        return product + shift
    # A product of scalars is a NumPy scalar, which cannot be written to.
    return np.add(product, shift, out=product if isinstance(product, np.ndarray) else None)


def _scale_shift_relu(attrs: Sequence[dict[str, Any]], *arrays: np.ndarray) -> np.ndarray:
    y = _scale_shift(attrs, *arrays)
    return np.maximum(y, y.dtype.type(0), out=y if isinstance(y, np.ndarray) else None)


fusion.register(("Mul", "Add"), _scale_shift)
fusion.register(("Mul", "Add", "Relu"), _scale_shift_relu)
