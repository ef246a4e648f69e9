"""Chains of ops that a session may compute in one call, e.g. convolution, bias and activation.

An op file that has such a call registers it here; the session looks for chains in its plans. A
chain fits if each link has no other reader than the next one, which takes it as its first input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Pattern:
    """A chain of op types and the function that computes it.

    Attributes:
        types: op types, first to last.
        compute: `compute(attrs, *arrays) -> ndarray`. `attrs` is the list of the ops' attributes;
            `arrays` are all inputs of the first op, then those inputs of the later ops that do
            not come from the chain, in order.
        accepts: `accepts(attrs) -> bool`, asked when a plan is made; None accepts all.
    """

    types: tuple[str, ...]
    compute: Callable[..., Any]
    accepts: Callable[[Sequence[dict[str, Any]]], bool] | None = None


_PATTERNS: dict[str, list[Pattern]] = {}


def register(
    types: Sequence[str], compute: Callable[..., Any], accepts: Callable[..., Any] | None = None
) -> Pattern:
    """Registers a chain. The longest chain that fits is taken.

    Raises:
        ValueError: fewer than two op types, or a chain that is registered already.
    """
    pattern = Pattern(tuple(types), compute, accepts)
    if len(pattern.types) < 2:
        raise ValueError(f"A chain has at least two ops; given: {pattern.types}.")
    known = _PATTERNS.setdefault(pattern.types[0], [])
    if any(p.types == pattern.types for p in known):
        raise ValueError(f"The chain {pattern.types} is registered already.")
    known.append(pattern)
    known.sort(key=lambda p: -len(p.types))
    return pattern


def starting_with(op_type: str) -> list[Pattern]:
    """The chains that start with `op_type`, longest first."""
    return _PATTERNS.get(op_type, [])


@dataclass(frozen=True)
class Join:
    """An op and those that made its inputs, computed together.

    Attributes:
        type: type of the op.
        sources: types of the ops that made its inputs, in order; each has no other reader.
        compute: `compute(attrs, *arrays) -> ndarray`: the attributes of the sources, then of the
            op; the inputs of the sources, in order.
    """

    type: str
    sources: tuple[str, ...]
    compute: Callable[..., Any]


_JOINS: dict[tuple[str, int], Join] = {}


def register_join(op_type: str, sources: Sequence[str], compute: Callable[..., Any]) -> Join:
    """Registers an op with the ops that made its inputs.

    Raises:
        ValueError: there is one for this type and number of inputs already.
    """
    key = (op_type, len(sources))
    if key in _JOINS:
        raise ValueError(f"A join of {op_type} and {len(sources)} ops is registered already.")
    _JOINS[key] = Join(op_type, tuple(sources), compute)
    return _JOINS[key]


def join_of(op_type: str, inputs: int) -> Join | None:
    """The join of an op with this number of inputs, or None."""
    return _JOINS.get((op_type, inputs))
