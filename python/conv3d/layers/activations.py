"""Activation functions by name, as later releases of TensorFlow 1.x take them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conv3d.ops import activation_ops, math_ops

__all__ = ["get", "names"]


def _hard_sigmoid(x: Any) -> Any:
    """`min(max(0.2 * x + 0.5, 0), 1)`."""
    return math_ops.minimum(math_ops.maximum(0.2 * x + 0.5, 0.0), 1.0)


_BY_NAME: dict[str, Callable[..., Any] | None] = {
    "elu": activation_ops.elu,
    "exponential": math_ops.exp,
    "hard_sigmoid": _hard_sigmoid,
    "leaky_relu": activation_ops.leaky_relu,
    "linear": None,
    "relu": activation_ops.relu,
    "relu6": activation_ops.relu6,
    "selu": activation_ops.selu,
    "sigmoid": math_ops.sigmoid,
    "softmax": activation_ops.softmax,
    "softplus": activation_ops.softplus,
    "softsign": activation_ops.softsign,
    "tanh": math_ops.tanh,
}


def names() -> list[str]:
    """The names that `get` knows, sorted."""
    return sorted(_BY_NAME)


def get(identifier: Any) -> Any:
    """An activation by name, or itself.

    Args:
        identifier: None, a name such as `"relu"`, or a function.

    Returns:
        The function; None for None and for `"linear"`.

    Raises:
        ValueError: an unknown name.
        TypeError: neither a name nor a function.
    """
    if identifier is None or callable(identifier):
        return identifier
    if not isinstance(identifier, str):
        raise TypeError(f"`activation` is {identifier!r}; it has to be a function or a name")
    if identifier not in _BY_NAME:
        raise ValueError(f"`activation` is {identifier!r}; the names are: {', '.join(names())}")
    return _BY_NAME[identifier]
