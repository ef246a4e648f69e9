"""Convolution, bias and activation as one op, for eager mode.

    output = activation(convolution(input, filter) + bias)

In graph mode layers build the separate ops, whose names programs know, and the session fuses them
(`fused_ops`). Eager mode has no session, so its layers call this op: the output is written once
instead of three times. Its gradient is made of the gradients of the parts; the activations taken
here have a derivative that follows from their output, so nothing in between has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conv3d.framework import registry
from conv3d.framework.execute import apply_op
from conv3d.ops import activation_ops, conv_ops, math_ops

__all__ = ["convolution", "engine_activation"]

# Functions that the engine applies while it writes its output, and its names for them.
_ACTIVATIONS: list[tuple[Callable[..., Any] | None, str | None]] = [
    (None, None),
    (activation_ops.relu, "relu"),
    (activation_ops.leaky_relu, "leaky_relu"),
    (math_ops.sigmoid, "sigmoid"),
    (math_ops.tanh, "tanh"),
]

_SLOPE = 0.2  # of the engine's leaky_relu, and the default of tf.nn.leaky_relu


def engine_activation(function: Any) -> tuple[bool, str | None]:
    """Whether the engine applies an activation (None is one too), and its name there."""
    for known, name in _ACTIVATIONS:
        # By identity: any callable may come, and not all can be compared or hashed.
        if known is function:
            return True, name
    return False, None


def _before_activation(activation: str | None, y: Any, grad: Any) -> Any:
    """The gradient with respect to what the activation was applied to, from its output `y`."""
    if activation == "relu":
        return apply_op("ReluGrad", [grad, y])
    if activation == "leaky_relu":
        return apply_op("LeakyReluGrad", [grad, y], {"alpha": _SLOPE})
    if activation == "sigmoid":
        return apply_op("SigmoidGrad", [y, grad])
    if activation == "tanh":
        return apply_op("TanhGrad", [y, grad])
    return grad


class _Part:
    """The convolution alone, as its own gradient wants to see it."""

    def __init__(self, op: Any) -> None:
        self.inputs = list(op.inputs)[:2]
        self.get_attr = op.get_attr


def _gradient(rank: int, op: Any, grad: Any) -> list[Any]:
    grad = _before_activation(op.get_attr("activation"), op.outputs[0], grad)
    layout = "NCHW" if op.get_attr("data_format").startswith("NC") else "NHWC"
    bias = apply_op("BiasAddGrad", [grad], {"data_format": layout})
    return [*conv_ops._gradient_forward(rank, _Part(op), grad), bias]


def _compute(
    rank: int, attrs: dict[str, Any], input: np.ndarray, filter: np.ndarray, bias: np.ndarray
) -> np.ndarray:
    plain = {name: value for name, value in attrs.items() if name != "activation"}
    return conv_ops.convolve(rank, plain, input, filter, bias, attrs["activation"])


def _infer(rank: int, attrs: dict[str, Any], inputs: Any) -> list[Any]:
    if inputs[2].dtype.base_dtype != inputs[0].dtype.base_dtype:
        raise TypeError(
            f"`bias` has type {inputs[2].dtype.name}, but `input` has {inputs[0].dtype.name}; both "
            "must have the same type (see tf.cast)."
        )
    return conv_ops._infer_forward(rank, attrs, inputs[:2])


def _samples(rank: int) -> list[Any]:
    bias = np.array([0.3, -0.2, 0.1])
    names = [name for _, name in _ACTIVATIONS]
    return [
        ({**attrs, "activation": names[i % len(names)]}, [x, f, bias])
        for i, (attrs, (x, f, _)) in enumerate(conv_ops._sample_problems(rank))
    ]


for _rank in (2, 3):
    registry.register(
        f"FusedConv{_rank}D",
        infer=partial(_infer, _rank),
        compute=partial(_compute, _rank),
        gradient=partial(_gradient, _rank),
        inputs=("input", "filter", "bias"),
        samples=partial(_samples, _rank),
    )


def convolution(
    rank: int,
    input: Any,
    filter: Any,
    bias: Any,
    activation: str | None,
    strides: list[int],
    padding: str,
    data_format: str,
    dilations: list[int],
) -> Any:
    """Convolution of two or three spatial dimensions with bias and activation.

    Args:
        rank: 2 or 3.
        input: float tensor, in the layout of `data_format`.
        filter: same type, `[spatial..., in_channels, out_channels]`.
        bias: same type, `[out_channels]`.
        activation: the engine's name of one, or None.
        strides: one integer for each axis of `input`.
        padding: "SAME" or "VALID".
        data_format: "NDHWC" or "NCDHW", or "NHWC" or "NCHW".
        dilations: one integer for each axis of `input`.

    Raises:
        ValueError: in eager mode, types that do not fit.
        InvalidArgumentError: shapes that do not fit.
    """
    attrs = conv_ops._conv_attrs(rank, f"Conv{rank}D", strides, padding, data_format, dilations)
    conv_ops._same_dtype(input, filter)
    return apply_op(
        f"FusedConv{rank}D",
        [input, filter, bias],
        {**attrs, "activation": activation},
        same=[0, 1, 2],
    )
