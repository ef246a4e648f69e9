"""Constraints: callables that project a weight after an optimizer's step.

Norms are L2 norms over `axis`. For a kernel `[kd, kh, kw, in, out]`, `axis=[0, 1, 2, 3]` takes the
norm of each output channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.ops import clip_ops, math_ops

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]

# Keeps the division by a norm of zero finite; the value is `tf.keras.backend.epsilon()`.
_EPSILON = 1e-7


class Constraint:
    """Base of all constraints. Subclasses define ``__call__`` and ``get_config``."""

    def __call__(self, w: Any) -> Any:
        """The projected weight."""
        raise NotImplementedError(f"{type(self).__name__} does not define __call__")

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Constraint:
        """The inverse of :meth:`get_config`."""
        return cls(**config)


def _norm(w: Any, axis: int | Sequence[int]) -> Any:
    return math_ops.sqrt(math_ops.reduce_sum(math_ops.square(w), axis=axis, keepdims=True))


class MaxNorm(Constraint):
    """Shrinks vectors whose norm exceeds `max_value`.

    Args:
        max_value: largest norm.
        axis: axis or axes that the norm is taken over.

    Source: `tf.keras.constraints.max_norm`.
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0) -> None:
        self.max_value = max_value
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        norms = _norm(w, self.axis)
        desired = clip_ops.clip_by_value(norms, 0.0, float(self.max_value))
        return w * (desired / (_EPSILON + norms))

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class NonNeg(Constraint):
    """Sets negative weights to zero. Source: `tf.keras.constraints.non_neg`."""

    def __call__(self, w: Any) -> Any:
        return w * math_ops.cast(math_ops.greater_equal(w, 0.0), w.dtype.base_dtype)


class UnitNorm(Constraint):
    """Scales vectors to norm 1. Source: `tf.keras.constraints.unit_norm`.

    Args:
        axis: axis or axes that the norm is taken over.
    """

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        return w / (_EPSILON + _norm(w, self.axis))

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(Constraint):
    """Moves norms into `[min_value, max_value]`, a share `rate` of the way per step.

    Args:
        min_value: smallest norm.
        max_value: largest norm.
        rate: 1 for a strict constraint, less for a gradual one.
        axis: axis or axes that the norm is taken over.

    Source: `tf.keras.constraints.min_max_norm`.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
    ) -> None:
        self.min_value = min_value
        self.max_value = max_value
        self.rate = rate
        self.axis = axis

    def __call__(self, w: Any) -> Any:
        norms = _norm(w, self.axis)
        clipped: Any = clip_ops.clip_by_value(norms, float(self.min_value), float(self.max_value))
        desired = self.rate * clipped + (1 - self.rate) * norms
        return w * (desired / (_EPSILON + norms))

    def get_config(self) -> dict[str, Any]:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


# Both spellings of `tf.keras.constraints` are one object.
max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm

_BY_NAME: dict[str, type[Constraint]] = {
    "MaxNorm": MaxNorm,
    "MinMaxNorm": MinMaxNorm,
    "NonNeg": NonNeg,
    "UnitNorm": UnitNorm,
    "max_norm": MaxNorm,
    "maxnorm": MaxNorm,
    "min_max_norm": MinMaxNorm,
    "non_neg": NonNeg,
    "nonneg": NonNeg,
    "unit_norm": UnitNorm,
    "unitnorm": UnitNorm,
}


def serialize(constraint: Constraint) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}` of a constraint."""
    return {"class_name": type(constraint).__name__, "config": constraint.get_config()}


def deserialize(config: dict[str, Any]) -> Constraint:
    """The inverse of :func:`serialize`.

    Raises:
        ValueError: unknown class name.
    """
    return _named(config["class_name"]).from_config(config.get("config", {}))


def _named(name: str) -> type[Constraint]:
    if name not in _BY_NAME:
        known = ", ".join(sorted(n for n in _BY_NAME if "_" in n))
        raise ValueError(f"{name!r} is not a constraint; the names are: {known}")
    return _BY_NAME[name]


def get(identifier: Any) -> Any:
    """A constraint by name, by configuration, or itself.

    Args:
        identifier: None, a name (`"non_neg"`), what :func:`serialize` gave, or a callable.

    Raises:
        ValueError: none of these, or an unknown name.

    Source: `tf.keras.constraints.get`.
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
