"""Nested inputs and outputs of layers: lists, tuples and dicts (by sorted key) of tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["flatten", "map_structure"]


def flatten(structure: Any) -> list[Any]:
    """The leaves, in order."""
    if isinstance(structure, dict):
        return [leaf for key in sorted(structure) for leaf in flatten(structure[key])]
    if isinstance(structure, (list, tuple)):
        return [leaf for item in structure for leaf in flatten(item)]
    return [structure]


def map_structure(function: Callable[[Any], Any], structure: Any) -> Any:
    """The same structure with `function` applied to each leaf."""
    if isinstance(structure, dict):
        return type(structure)((k, map_structure(function, v)) for k, v in structure.items())
    if isinstance(structure, tuple) and hasattr(structure, "_fields"):
        return type(structure)(*[map_structure(function, v) for v in structure])
    if isinstance(structure, (list, tuple)):
        return type(structure)([map_structure(function, v) for v in structure])
    return function(structure)
