"""Programs of a few lines around `tf.nn`, `tf.layers`, `tf.losses`, `tf.metrics` and `tf.image`.

What they give on TensorFlow 1.8.0 stands in `tests/data/nn_reference.json`: names, shapes, and
for each array its shape, sum, weighted sum and sum of absolute values.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

import conv3d as tf

_PATH = pathlib.Path(__file__).parents[2] / "data" / "nn_reference.json"
_RECORDS = json.loads(_PATH.read_text())["records"]


def _arr(*shape: int, mul: int = 7, add: int = 0, dtype: str = "float32") -> np.ndarray:
    n = int(np.prod(shape)) if shape else 1
    v = ((np.arange(n) * mul + add) % 13 - 6) / 8.0
    return v.reshape(shape).astype(dtype)


def _fingerprint(x: Any) -> list:
    x = np.asarray(x, dtype="float64")
    w = (np.arange(x.size) % 5 + 1.0).reshape(x.shape)
    return [list(x.shape), float(x.sum()), float((x * w).sum()), float(np.abs(x).sum())]


def _run(tensor: Any) -> Any:
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        return s.run(tensor)


def _tot(tensor: Any) -> list:
    return _fingerprint(_run(tensor))


def _is_fingerprint(v: Any) -> bool:
    return len(v) == 4 and isinstance(v[0], list) and all(isinstance(n, float) for n in v[1:])


def _agree(got: Any, want: Any, where: str = "result") -> None:
    if isinstance(want, list) and _is_fingerprint(want):
        # Sums may cancel; what they are sums of gives the scale.
        scale = 2e-6 * (5 * want[3] + 1)
        assert got[0] == want[0], f"{where}: shape {got[0]} is not {want[0]}"
        for g, w in zip(got[1:], want[1:], strict=False):
            assert abs(g - w) <= scale, f"{where}: {got} is not {want}"
    elif isinstance(want, list):
        assert len(got) == len(want), f"{where}: {got} is not as long as {want}"
        for i, (g, w) in enumerate(zip(got, want, strict=False)):
            _agree(g, w, f"{where}[{i}]")
    elif isinstance(want, float):
        assert abs(got - want) <= 2e-5 * max(1.0, abs(want)), f"{where}: {got} is not {want}"
    else:
        assert got == want, f"{where}: {got!r} is not {want!r}"


@pytest.mark.parametrize("record", _RECORDS, ids=[r["id"] for r in _RECORDS])
def test_as_recorded(record: dict) -> None:
    scope = {"tf": tf, "np": np, "arr": _arr, "fingerprint": _fingerprint, "run": _run, "tot": _tot}
    exec(record["code"], scope)
    _agree(scope["result"], record["expected"])
