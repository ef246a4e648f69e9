"""Whole programs, written as users write them, against what TensorFlow 1.15 made of them.

Names, shapes, collections, losses and values after three steps are compared; `record.py` observes.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

import conv3d as tf

_HERE = Path(__file__).parent
_DATA = _HERE.parents[1] / "data" / "programs"
sys.path.insert(0, str(_HERE))

import record  # noqa: E402


def _differences(where, want, got):
    if isinstance(want, dict) and isinstance(got, dict):
        for key in sorted(set(want) | set(got)):
            yield from _differences(f"{where}/{key}", want.get(key), got.get(key))
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for i, (a, b) in enumerate(zip(want, got, strict=True)):
            yield from _differences(f"{where}[{i}]", a, b)
    elif isinstance(want, float) and isinstance(got, float):
        if not math.isclose(want, got, rel_tol=2e-3, abs_tol=2e-3):
            yield f"{where}: {got}, TensorFlow {want}"
    elif want != got:
        yield f"{where}: {got}, TensorFlow {want}"


@pytest.mark.parametrize("program", record.PROGRAMS)
def test_program(program):
    want = json.loads((_DATA / f"{program}.json").read_text())
    got = json.loads(json.dumps(record.observe(tf, program)))
    assert not list(_differences(program, want, got))
    assert len(want["losses"]) == 3 and want["losses"][0] != want["losses"][2]
