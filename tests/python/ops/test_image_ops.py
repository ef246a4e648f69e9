"""Resizing and repeating: refusals and shapes. Values stand in `test_nn_reference.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d.ops import image_ops


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        return s.run(fetches, feed)


def test_repeat_of_any_rank_and_layout() -> None:
    x = np.random.RandomState(0).standard_normal((2, 3, 4, 5, 2))
    want = x.repeat(2, 1).repeat(3, 2).repeat(1, 3)
    np.testing.assert_array_equal(_run(image_ops.up_sample(x, (2, 3, 1))), want)
    first = image_ops.up_sample(np.moveaxis(x, 4, 1), (2, 3, 1), "channels_first")
    assert first.shape.as_list() == [2, 2, 6, 12, 5]
    np.testing.assert_array_equal(_run(first), np.moveaxis(want, 4, 1))
    p = tf.placeholder(tf.float32, [None, None, 4, 5, 1])
    assert image_ops.up_sample(p, (2, 2, 2)).shape.as_list() == [None, None, 8, 10, 1]


def test_repeat_refuses() -> None:
    x = np.zeros((1, 2, 2, 2, 1), "f")
    with pytest.raises(ValueError, match="size"):
        image_ops.up_sample(x, (0, 1, 1))
    with pytest.raises(ValueError, match="data_format"):
        image_ops.up_sample(x, (2, 2, 2), "NDHWC")
    with pytest.raises(ValueError):
        image_ops.up_sample(x, (2, 2))


def test_resizing_a_plane_is_exact() -> None:
    # A plane stays a plane, with aligned corners up to the edge.
    rows, columns = np.mgrid[0:5, 0:4].astype("f")
    x = (2 * rows - columns)[None, :, :, None]
    y = _run(tf.image.resize_bilinear(x, [9, 7], align_corners=True))
    fine_rows, fine_columns = np.mgrid[0:9, 0:7] / 2
    np.testing.assert_allclose(y[0, :, :, 0], 2 * fine_rows - fine_columns, atol=1e-5)


def test_resize_images() -> None:
    x = tf.placeholder(tf.uint8, [None, 4, 6, 3])
    y = tf.image.resize_images(x, [2, 3])
    assert y.shape.as_list() == [None, 2, 3, 3] and y.dtype == tf.float32
    nearest = tf.image.resize_images(x, [8, 6], tf.image.ResizeMethod.NEAREST_NEIGHBOR)
    assert nearest.dtype == tf.uint8
    assert tf.image.resize_images(x, [4, 6]) is x
    size = tf.placeholder(tf.int32, [2])
    z = tf.image.resize_images(x, size)
    assert z.shape.as_list() == [None, None, None, 3]
    assert _run(z, {x: np.ones((1, 4, 6, 3), "u1"), size: [3, 5]}).shape == (1, 3, 5, 3)


def test_resize_refuses() -> None:
    x = np.zeros((1, 4, 6, 3), "f")
    with pytest.raises(ValueError, match="dimensions"):
        tf.image.resize_images(x[0, 0], [2, 2])
    with pytest.raises(ValueError, match="size"):
        tf.image.resize_images(x, [2, 2, 2])
    with pytest.raises(ValueError, match="method"):
        tf.image.resize_images(x, [2, 2], method=7)
    with pytest.raises(tf.errors.InvalidArgumentError, match="positive"):
        _run(tf.image.resize_bilinear(x, [0, 2]))
