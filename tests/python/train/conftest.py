"""Traces that TensorFlow 1.15 left: see tests/data/optimizers/record_optimizers.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "data" / "optimizers"


class Traces:
    """Recorded arrays by key, names by case."""

    def __init__(self) -> None:
        self._flat = np.load(FOLDER / "traces.npz")
        text = json.loads((FOLDER / "names.json").read_text())
        self.names: dict[str, Any] = text["names"]
        self._index = text["index"]

    def __getitem__(self, key: str) -> np.ndarray:
        dtype, start, shape = self._index[key]
        size = int(np.prod(shape))
        return self._flat[dtype][start : start + size].reshape(shape)


@pytest.fixture(scope="session")
def traces() -> Traces:
    return Traces()


@pytest.fixture
def eager() -> Any:
    """The test runs in eager mode, which a program can otherwise only choose at its start."""
    from conv3d.framework import context

    before = context.program.eager
    context.program.eager = True
    try:
        yield
    finally:
        context.program.eager = before
