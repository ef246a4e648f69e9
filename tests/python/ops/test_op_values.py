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


# Results of 128 KiB and more are made in memory that has been used before.


@pytest.mark.parametrize("shapes", [((40000, 3), (40000, 1)), ((40000, 1), (3,)), ((200, 300), ())])
def test_large_element_wise_results(shapes: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = (np.asarray(rng.uniform(-1, 1, s), np.float32) for s in shapes)
    for op, function in ((tf.multiply, np.multiply), (tf.maximum, np.maximum), (tf.add, np.add)):
        with tf.Session() as session:
            a, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
            first, second = op(a, b), op(b, a)
            got = session.run([first, second, tf.negative(first)], {a: x, b: y})
        want = function(x, y)
        for value, expected in zip(got, (want, function(y, x), -want), strict=True):
            assert value.dtype == np.float32
            np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("axis", [-1, 1])
def test_large_one_hot(axis: int) -> None:
    indices = np.random.default_rng(0).integers(-2, 6, (50, 1000)).astype(np.int32)
    with tf.Session() as session:
        got = session.run(tf.one_hot(indices, 3, on_value=2.5, off_value=-1.0, axis=axis))
    want = np.where(indices[..., None] == np.arange(3), 2.5, -1.0).astype(np.float32)
    np.testing.assert_array_equal(got, np.moveaxis(want, -1, axis))
    with tf.Session() as session:
        assert session.run(tf.one_hot(indices, 0)).shape == (50, 1000, 0)
        words = session.run(tf.one_hot([1, 7], 2, on_value="yes", off_value="no"))
    assert words.tolist() == [[b"no", b"yes"], [b"no", b"no"]]
