"""Pooling layers: arguments, shapes, names, layouts. Values stand in `ops/test_pool_ops.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf

_CLASSES = {
    (kind, rank): getattr(tf.layers, f"{kind}Pooling{rank}D")
    for kind in ("Max", "Average")
    for rank in (1, 2, 3)
}


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        return s.run(fetches, feed)


@pytest.mark.parametrize("padding", ["valid", "SAME"])
@pytest.mark.parametrize(("kind", "rank"), _CLASSES)
def test_layouts_agree(kind, rank, padding) -> None:
    x = np.random.RandomState(0).standard_normal((2, *(5, 6, 7)[:rank], 3)).astype("f")
    last = _CLASSES[kind, rank](2, 2, padding)
    first = _CLASSES[kind, rank](2, 2, padding, data_format="channels_first")
    y, z = last(tf.constant(x)), first(tf.constant(np.moveaxis(x, -1, 1)))
    a, b = _run([y, z])
    np.testing.assert_array_equal(a, np.moveaxis(b, 1, -1))
    for layer, tensor, shape in ((last, y, x.shape), (first, z, np.moveaxis(x, -1, 1).shape)):
        assert layer.compute_output_shape(shape).as_list() == tensor.shape.as_list()
        assert layer.weights == [] and layer.count_params() == 0


def test_names() -> None:
    x = tf.placeholder(tf.float32, [None, 4, 4, 4, 1])
    names = [tf.layers.max_pooling3d(x, 2, 2).name, tf.layers.max_pooling3d(x, 2, 2).name]
    names.append(tf.layers.average_pooling3d(x, 2, 2, name="p").name)
    assert names == ["max_pooling3d/MaxPool3D:0", "max_pooling3d_1/MaxPool3D:0", "p/AvgPool3D:0"]


def test_attributes() -> None:
    layer = tf.layers.MaxPooling3D((1, 2, 3), 2, padding="SAME")
    assert layer.pool_size == (1, 2, 3)
    assert layer.strides == (2, 2, 2)
    assert layer.padding == "same"
    assert layer.data_format == "channels_last"
    assert layer.input_spec.ndim == 5
    with pytest.raises(ValueError, match="strides"):
        tf.layers.MaxPooling3D(3, None)


@pytest.mark.parametrize(
    "arguments",
    [
        {"pool_size": (2, 2)},
        {"pool_size": 0},
        {"pool_size": 2.5},
        {"strides": "2"},
        {"strides": (1, -1, 1)},
        {"padding": "full"},
        {"padding": None},
        {"data_format": "NDHWC"},
    ],
)
def test_arguments_that_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        tf.layers.MaxPooling3D(**{"pool_size": 2, "strides": 2, **arguments})


def test_inputs_that_are_refused() -> None:
    with pytest.raises(ValueError, match="rank"):
        tf.layers.max_pooling3d(tf.zeros([1, 4, 4, 1]), 2, 2)
    with pytest.raises(ValueError):
        tf.layers.max_pooling2d(tf.zeros([1, 4, 4, 4, 1]), 2, 2)
    with pytest.raises(ValueError, match="Negative"):
        tf.layers.max_pooling3d(tf.zeros([1, 4, 4, 1, 1]), 2, 2)
    with pytest.raises(ValueError):
        tf.layers.MaxPooling3D(5, 1).compute_output_shape([1, 3, 3, 3, 1])


def test_unknown_sizes_stay_unknown() -> None:
    x = tf.placeholder(tf.float32, [None, None, 5, 6, 1])
    y = tf.layers.average_pooling3d(x, 2, 2, "same")
    assert y.shape.as_list() == [None, None, 3, 3, 1]
    assert tf.layers.MaxPooling3D(2, 2).compute_output_shape(x.shape).as_list() == [
        None, None, 2, 3, 1,
    ]  # fmt: skip


def test_in_eager_mode(eager) -> None:
    y = tf.layers.max_pooling3d(np.arange(8.0).reshape(1, 2, 2, 2, 1), 2, 2)
    assert y.numpy().item() == 7
