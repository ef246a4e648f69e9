"""Partitioners: the numbers that TensorFlow 1.15 gives for the same questions."""

from __future__ import annotations

from typing import Any

import pytest

import conv3d as tf


def ask(partitioner: Any, shape: list[int], dtype: Any = None) -> list[int]:
    return partitioner(shape=tf.TensorShape(shape), dtype=dtype or tf.float32)


@pytest.mark.parametrize(
    ("arguments", "shape", "dtype", "expected"),
    [
        ({"max_shard_bytes": 64}, [10, 4], "float32", [3, 1]),
        ({"max_shard_bytes": 64, "axis": 1}, [10, 40], "float32", [1, 40]),
        ({"max_shard_bytes": 64, "max_shards": 2}, [10, 40], "float32", [2, 1]),
        ({"max_shard_bytes": 10**6}, [10, 4], "float32", [1, 1]),
        ({"max_shard_bytes": 1}, [10, 4], "float32", [10, 1]),
        ({"max_shard_bytes": 128}, [7, 3], "float64", [2, 1]),
        ({"max_shard_bytes": 64, "axis": -1}, [4, 100], "float32", [1, 25]),
        ({"max_shard_bytes": 64, "max_shards": 0}, [10, 4], "float32", [3, 1]),
        ({"max_shard_bytes": 64, "bytes_per_string_element": 8}, [10, 4], "string", [5, 1]),
    ],
)
def test_variable_axis_size(
    arguments: dict[str, Any], shape: list[int], dtype: str, expected: list[int]
) -> None:
    got = ask(tf.variable_axis_size_partitioner(**arguments), shape, tf.as_dtype(dtype))
    assert got == expected


@pytest.mark.parametrize(
    ("size", "most", "shape", "expected"),
    [
        (10 << 10, 100, [16 * 1024], [7]),
        (10 << 10, 100, [2048], [1]),
        (256 << 10, 8, [1000, 1000], [8, 1]),
        (1000, 7, [3, 5, 7], [1, 1, 1]),
        (100, 7, [3, 5, 7], [3, 1, 1]),
    ],
)
def test_min_max(size: int, most: int, shape: list[int], expected: list[int]) -> None:
    partitioner = tf.min_max_variable_partitioner(max_partitions=most, min_slice_size=size)
    assert ask(partitioner, shape) == expected


def test_fixed_size() -> None:
    assert ask(tf.fixed_size_partitioner(3), [10, 4]) == [3, 1]
    assert ask(tf.fixed_size_partitioner(3, axis=-1), [10, 2]) == [1, 2]


def test_refusals() -> None:
    for arguments in (
        {"max_shard_bytes": 0},
        {"max_shard_bytes": 4, "bytes_per_string_element": 0},
        {"max_shard_bytes": 4, "max_shards": -1},
    ):
        with pytest.raises(ValueError):
            tf.variable_axis_size_partitioner(**arguments)
    partitioner = tf.variable_axis_size_partitioner(4)
    for shape, dtype in (
        ([1, 2], tf.float32),
        (tf.TensorShape([None]), tf.float32),
        (tf.TensorShape([1]), "float32"),
    ):
        with pytest.raises(ValueError):
            partitioner(shape=shape, dtype=dtype)
