"""Nested structures: lists, tuples, named tuples and dicts, with anything else as leaves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def leaves(structure: Any) -> list[Any]:
    """All leaves in order; those of a dict in the order of its sorted keys."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in leaves(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in leaves(item)]
    return [structure]


def like(structure: Any, values: Iterator[Any]) -> Any:
    """A structure of the same form with leaves taken from `values`."""
    if isinstance(structure, dict):
        filled = {key: like(structure[key], values) for key in sorted(structure)}
        return type(structure)((key, filled[key]) for key in structure)
    if isinstance(structure, (list, tuple)):
        items: Iterable[Any] = [like(item, values) for item in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*items)
        return type(structure)(items)
    return next(values)


def same_form(a: Any, b: Any) -> bool:
    """True if both have leaves in the same places."""
    if isinstance(a, dict):
        return (
            isinstance(b, dict) and a.keys() == b.keys() and all(same_form(a[k], b[k]) for k in a)
        )
    if isinstance(a, (list, tuple)):
        return (
            isinstance(b, (list, tuple))
            and len(a) == len(b)
            and all(same_form(x, y) for x, y in zip(a, b, strict=False))
        )
    return not isinstance(b, (dict, list, tuple))
