"""The rows of docs/tf1-compatibility.md, each with the check that keeps it true."""

from __future__ import annotations

from . import constructor, eager, layer, scopes, surroundings  # noqa: F401  (they file their rows)
from .rows import ROWS, Row

__all__ = ["ROWS", "Row"]
