"""Chains of ops that one call computes: convolution, bias and activation; scale, shift and relu.

Registered with `framework.fusion`; the session replaces such chains in its plans.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d.framework import fusion
from conv3d.ops import (  # noqa: F401  (the ops of the chains)
    activation_ops,
    conv_ops,
    math_ops,
    nn_ops,
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
    for op_type, op_attrs in zip(chain, attrs):
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


def _scale_shift(
    attrs: Sequence[dict[str, Any]], x: np.ndarray, factor: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """x * factor + shift without a second array of that size: batch normalization."""
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
