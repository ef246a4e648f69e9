"""Results and gradients of ops against records of TensorFlow.

A record is an expression; its placeholders are fed numbers that depend on their order alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import conv3d as tf

_FILE = Path(__file__).parents[2] / "data" / "op_values.json"
_RECORDS = json.loads(_FILE.read_text())["records"]


def _placeholder(*shape: Any, d: Any = None) -> Any:
    return tf.placeholder(d or tf.float32, shape[0] if shape else None)


def _feeds(graph: Any) -> dict:
    rng = np.random.RandomState(1)
    feeds = {}
    for op in graph.get_operations():
        if op.type != "Placeholder":
            continue
        x = op.outputs[0]
        shape = (
            [2, 4] if x.shape.ndims is None else [4 if d is None else d for d in x.shape.as_list()]
        )
        value = rng.uniform(-2, 2, shape)
        if x.dtype == tf.bool:
            value = value > 0
        elif x.dtype == tf.int32:
            value = np.abs(value).astype(int) + 1
        feeds[x] = value
    return feeds


def _compare(got: Any, want: Any) -> None:
    if want is None:
        assert got is None
        return
    if isinstance(want, list):
        assert len(got) == len(want)
        for g, w in zip(got, want, strict=False):
            _compare(g, w)
        return
    got = np.asarray(got)
    if want["dtype"] == "string":
        assert np.vectorize(bytes.decode, otypes=[object])(got).tolist() == want["value"]
        return
    assert got.dtype.name == want["dtype"] and list(got.shape) == want["shape"]
    if "sum" in want:
        got, expected = got.astype(np.float64).sum(), want["sum"]
    else:
        expected = np.array(want["value"]).reshape(want["shape"])
    np.testing.assert_allclose(got, expected, rtol=3e-5, atol=1e-5)


@pytest.mark.parametrize("record", _RECORDS, ids=[r["code"] for r in _RECORDS])
def test_value_and_gradient(record):
    with tf.Graph().as_default() as graph:
        result = eval(record["code"], {"tf": tf, "P": _placeholder})
        feeds = _feeds(graph)
        session = tf.Session(graph=graph)
        _compare(session.run(result, feeds), record["value"])
        if record["gradients"] is not None:
            xs = [x for x in feeds if x.dtype == tf.float32]
            for gradient, want in zip(
                tf.gradients(result * result, xs), record["gradients"], strict=False
            ):
                # TensorFlow's records hold sparse gradients as whole tensors.
                whole = None if gradient is None else tf.convert_to_tensor(gradient)
                _compare(None if whole is None else session.run(whole, feeds), want)
