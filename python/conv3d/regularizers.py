"""Regularizers: callables that turn a weight into a scalar penalty.

Two families, as in TensorFlow 1.x. Those of `tf.keras.regularizers` (`l1`, `l2`, `l1_l2`):

    l1 * sum(|w|) + l2 * sum(w ** 2)

and those of `tf.contrib.layers` (`l1_regularizer`, `l2_regularizer`, ...), whose L2 is halved:

    scale * sum(|w|)        scale * sum(w ** 2) / 2
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

from conv3d.framework import context
from conv3d.ops import array_ops, math_ops, nn_ops

__all__ = [
    "L1L2",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l1_l2_regularizer",
    "l1_regularizer",
    "l2",
    "l2_regularizer",
    "serialize",
    "sum_regularizer",
]


class Regularizer:
    """Base of the Keras family. Subclasses define ``__call__`` and ``get_config``."""

    def __call__(self, x: Any) -> Any:
        """Penalty of a weight: a scalar tensor of its type."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        """The inverse of :meth:`get_config`."""
        return cls(**config)


class L1L2(Regularizer):
    """`l1 * sum(|w|) + l2 * sum(w ** 2)`. Source: `tf.keras.regularizers.l1_l2`.

    Args:
        l1: factor of the absolute values.
        l2: factor of the squares.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = float(l1)
        self.l2 = float(l2)

    def __call__(self, x: Any) -> Any:
        if not self.l1 and not self.l2:
            return array_ops.constant(0.0)
        total: Any = 0.0  # a sum from zero, so that the result bears Keras's name, `add`
        if self.l1:
            total += math_ops.reduce_sum(self.l1 * math_ops.abs(x))
        if self.l2:
            total += math_ops.reduce_sum(self.l2 * math_ops.square(x))
        return total

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


def l1(l: float = 0.01) -> L1L2:  # noqa: E741 - the argument's name is TensorFlow's
    """`l * sum(|w|)`. Source: `tf.keras.regularizers.l1`."""
    return L1L2(l1=l)


def l2(l: float = 0.01) -> L1L2:  # noqa: E741 - the argument's name is TensorFlow's
    """`l * sum(w ** 2)`. Source: `tf.keras.regularizers.l2`."""
    return L1L2(l2=l)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Both penalties. Source: `tf.keras.regularizers.l1_l2`."""
    return L1L2(l1=l1, l2=l2)


_BY_NAME: dict[str, Callable[..., Regularizer]] = {
    "L1L2": L1L2,
    "l1": l1,
    "l2": l2,
    "l1_l2": l1_l2,
}


def serialize(regularizer: Regularizer) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}` of a regularizer."""
    return {"class_name": type(regularizer).__name__, "config": regularizer.get_config()}


def deserialize(config: dict[str, Any]) -> Regularizer:
    """The inverse of :func:`serialize`.

    Raises:
        ValueError: unknown class name.
    """
    return _named(config["class_name"])(**config.get("config", {}))


def _named(name: str) -> Callable[..., Regularizer]:
    if name not in _BY_NAME:
        raise ValueError(
            f"{name!r} is not a regularizer; the names are: {', '.join(sorted(_BY_NAME))}"
        )
    return _BY_NAME[name]


def get(identifier: Any) -> Any:
    """A regularizer by name, by configuration, or itself.

    Args:
        identifier: None, a name (`"l2"`), what :func:`serialize` gave, or a callable.

    Raises:
        ValueError: none of these, or an unknown name.

    Source: `tf.keras.regularizers.get`.
    """
    if identifier is None or callable(identifier):
        return identifier
    if isinstance(identifier, str):
        return _named(identifier)()
    if isinstance(identifier, dict):
        return deserialize(identifier)
    raise ValueError(
        f"`identifier` is {identifier!r}; a name, a configuration dict or a callable is needed"
    )


def _check_scale(scale: Any, name: str) -> None:
    if isinstance(scale, numbers.Integral):
        raise ValueError(f"`{name}` is the integer {scale}; it has to be a float")
    if isinstance(scale, numbers.Real) and scale < 0.0:
        raise ValueError(f"`{name}` is {scale}; it has to be 0.0 or more")


def _is_zero(scale: Any) -> bool:
    # A tensor as a scale is never known to be zero.
    return isinstance(scale, numbers.Real) and scale == 0.0


def _nothing(_: Any) -> None:
    """What a scale of zero stands for: no penalty at all."""


def l1_regularizer(scale: float, scope: str | None = None) -> Callable[[Any], Any]:
    """`w -> scale * sum(|w|)`. Source: `tf.contrib.layers.l1_regularizer`.

    Args:
        scale: factor, a float of 0.0 or more; 0.0 gives a function that returns None.
        scope: name scope of the operations.

    Raises:
        ValueError: `scale` is negative or an integer.
    """
    _check_scale(scale, "scale")
    if _is_zero(scale):
        return _nothing

    def l1(weights: Any) -> Any:
        with context.name_scope(scope, "l1_regularizer", [weights]) as name:
            factor = array_ops.constant(scale, dtype=weights.dtype.base_dtype, name="scale")
            return math_ops.multiply(factor, math_ops.reduce_sum(math_ops.abs(weights)), name=name)

    return l1


def l2_regularizer(scale: float, scope: str | None = None) -> Callable[[Any], Any]:
    """`w -> scale * sum(w ** 2) / 2`. Source: `tf.contrib.layers.l2_regularizer`.

    Args:
        scale: factor, a float of 0.0 or more; 0.0 gives a function that returns None.
        scope: name scope of the operations.

    Raises:
        ValueError: `scale` is negative or an integer.
    """
    _check_scale(scale, "scale")
    if _is_zero(scale):
        return _nothing

    def l2(weights: Any) -> Any:
        with context.name_scope(scope, "l2_regularizer", [weights]) as name:
            factor = array_ops.constant(scale, dtype=weights.dtype.base_dtype, name="scale")
            return math_ops.multiply(factor, nn_ops.l2_loss(weights), name=name)

    return l2


def l1_l2_regularizer(
    scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None
) -> Callable[[Any], Any]:
    """Sum of both penalties. Source: `tf.contrib.layers.l1_l2_regularizer`.

    Raises:
        ValueError: a scale is negative or an integer.
    """
    _check_scale(scale_l1, "scale_l1")
    _check_scale(scale_l2, "scale_l2")
    scope = scope or "l1_l2_regularizer"
    if scale_l1 == 0.0:
        return l2_regularizer(scale_l2, scope)
    if scale_l2 == 0.0:
        return l1_regularizer(scale_l1, scope)
    both = sum_regularizer([l1_regularizer(scale_l1), l2_regularizer(scale_l2)], scope=scope)
    assert both is not None
    return both


def sum_regularizer(
    regularizer_list: Sequence[Callable[[Any], Any] | None], scope: str | None = None
) -> Callable[[Any], Any] | None:
    """Sum of several penalties; None if the list holds no regularizer.

    Source: `tf.contrib.layers.sum_regularizer`.
    """
    regularizers = [r for r in regularizer_list if r is not None]
    if not regularizers:
        return None

    def sum_reg(weights: Any) -> Any:
        with context.name_scope(scope, "sum_regularizer", [weights]) as name:
            penalties = [r(weights) for r in regularizers]
            penalties = [p for p in penalties if p is not None]
            return math_ops.add_n(penalties, name=name) if penalties else None

    return sum_reg
