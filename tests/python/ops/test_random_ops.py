"""Random numbers: distributions, ranges, and that seeds decide everything."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import conv3d as tf


def _run(fetches: Any) -> Any:
    with tf.Session() as s:
        return s.run(fetches)


def test_uniform() -> None:
    x = _run(tf.random_uniform([200, 100], -3.0, 5.0, seed=1))
    assert x.dtype == np.float32
    assert x.min() >= -3 and x.max() < 5
    # Mean and variance of 20,000 draws: within five standard errors.
    assert abs(x.mean() - 1) < 5 * 8 / np.sqrt(12 * x.size)
    assert abs(x.std() - 8 / np.sqrt(12)) < 0.05


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_uniform_of_other_types_stays_below_one(dtype) -> None:
    x = _run(tf.random_uniform([100000], dtype=dtype, seed=3))
    assert x.dtype == np.dtype(dtype)
    assert x.min() >= 0 and x.max() < 1


def test_uniform_integers() -> None:
    x = _run(tf.random_uniform([5000], 2, 7, dtype=tf.int64, seed=2))
    assert x.dtype == np.int64
    assert np.unique(x).tolist() == [2, 3, 4, 5, 6]
    assert min(np.bincount(x)[2:]) > 850


def test_normal() -> None:
    x = _run(tf.random_normal([200, 100], 1.0, 2.0, seed=1)).astype("f8")
    z = (x - 1) / 2
    assert abs(z.mean()) < 5 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 0.03
    assert abs((z**3).mean()) < 0.1 and abs((z**4).mean() - 3) < 0.2


def test_truncated_normal() -> None:
    x = _run(tf.truncated_normal([200, 100], 1.0, 2.0, seed=1)).astype("f8")
    z = (x - 1) / 2
    assert np.abs(z).max() < 2
    assert abs(z.mean()) < 0.03
    # Standard deviation of a normal distribution cut at two of its own.
    assert abs(z.std() - 0.8796) < 0.02


def test_shuffle_and_multinomial() -> None:
    x = np.arange(60).reshape(20, 3)
    y = _run(tf.random_shuffle(tf.constant(x), seed=4))
    assert not np.array_equal(y, x)
    assert sorted(map(tuple, y)) == sorted(map(tuple, x))
    p = np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        logits = np.log(p).astype("f")
    drawn = _run(tf.multinomial(logits, 4000, seed=5))
    assert drawn.dtype == np.int64 and drawn.shape == (2, 4000)
    for row, want in zip(drawn, p, strict=False):
        np.testing.assert_allclose(np.bincount(row, minlength=3) / 4000, want, atol=0.04)
    assert not (drawn[1] == 2).any()


def test_crop() -> None:
    x = np.arange(100).reshape(10, 10)
    y = _run(tf.random_crop(tf.constant(x), [3, 4], seed=1))
    row, column = divmod(int(y[0, 0]), 10)
    np.testing.assert_array_equal(y, x[row : row + 3, column : column + 4])
    with pytest.raises(ValueError, match="larger"):
        tf.random_crop(tf.constant(x), [11, 4])


def test_equal_seeds_give_equal_values_in_every_session() -> None:
    a = tf.random_normal([5], seed=7)
    with tf.Session() as s:
        first = [s.run(a), s.run(a)]
    with tf.Session() as s:
        second = [s.run(a), s.run(a)]
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[0], first[1])
    tf.reset_default_graph()
    np.testing.assert_array_equal(_run(tf.random_normal([5], seed=7)), first[0])
    tf.reset_default_graph()
    assert not np.array_equal(_run(tf.random_normal([5], seed=8)), first[0])


def test_the_seed_of_the_graph_decides_where_the_op_has_none() -> None:
    def draw(seed: int | None) -> np.ndarray:
        tf.reset_default_graph()
        tf.set_random_seed(seed)
        return np.concatenate(_run([tf.random_uniform([4]), tf.random_uniform([4])]))

    a, b, c = draw(3), draw(3), draw(4)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    assert not np.array_equal(a[:4], a[4:])
    assert not np.array_equal(draw(None), draw(None))


_PROGRAM = """
import conv3d as tf
ops = [tf.random_uniform([3], seed=1), tf.random_normal([3], seed=2),
       tf.truncated_normal([3], seed=3), tf.random_uniform([3], 0, 100, tf.int32, seed=4)]
with tf.Session() as s:
    print([v.tolist() for v in s.run(ops)])
"""


def test_values_do_not_depend_on_the_process_or_its_threads() -> None:
    outputs = []
    for threads in ("1", "3"):
        outputs.append(
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    f"import os; os.environ['CONV3D_NUM_THREADS'] = '{threads}'" + _PROGRAM,
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert outputs[0] == outputs[1]
    assert outputs[0].count("[") == 5


def test_static_shapes() -> None:
    n = tf.placeholder(tf.int32, [])
    assert tf.random_uniform([2, 3]).shape.as_list() == [2, 3]
    assert tf.random_normal([]).shape.as_list() == []
    assert tf.random_normal(tf.stack([n, 4])).shape.as_list() == [None, 4]
    assert tf.multinomial(tf.zeros([2, 3]), 5).shape.as_list() == [2, 5]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="maxval"):
        tf.random_uniform([2], dtype=tf.int32)
    with pytest.raises(ValueError, match="dtype"):
        tf.random_uniform([2], 0, 2, dtype=tf.bool)
    with pytest.raises(TypeError, match="dtype"):
        tf.random_normal([2], dtype=tf.int32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="minval"):
        _run(tf.random_uniform([2], 3, 3, dtype=tf.int32))
    n = tf.placeholder(tf.int32, [1])
    with tf.Session() as s, pytest.raises(tf.errors.InvalidArgumentError, match="negative"):
        s.run(tf.random_uniform(n), {n: [-1]})


def test_no_gradient_flows_to_what_is_drawn() -> None:
    mean = tf.constant(1.0)
    x = tf.random_normal([3], mean, seed=1)
    assert _run(tf.gradients(x, mean)[0]) == 3.0


def test_eager(eager) -> None:
    tf.set_random_seed(5)
    a = [tf.random_uniform([3]).numpy() for _ in range(2)]
    tf.set_random_seed(5)
    b = [tf.random_uniform([3]).numpy() for _ in range(2)]
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a[0], a[1])
