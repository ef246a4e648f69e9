"""The parts of `tf.keras` that stand beside the layers."""

from __future__ import annotations

import numpy as np
import pytest

import conv3d as tf


def test_one_object_under_both_names() -> None:
    assert tf.keras.initializers is tf.initializers
    assert tf.keras.constraints.max_norm is tf.keras.constraints.MaxNorm
    assert tf.keras.layers.Input is tf.keras.Input


def test_constants() -> None:
    backend = tf.keras.backend
    assert (backend.epsilon(), backend.floatx()) == (1e-7, "float32")
    assert backend.image_data_format() == "channels_last"


def test_what_is_missing_says_what_is_there() -> None:
    with pytest.raises(AttributeError, match=r"conv3d\.layers"):
        _ = tf.keras.models


def test_activations_by_name() -> None:
    assert tf.keras.activations.get("relu") is tf.nn.relu
    assert tf.keras.activations.get(None) is None
    with pytest.raises(ValueError, match="relu"):
        tf.keras.activations.get("rely")


def test_settings_of_a_layer() -> None:
    layer = tf.layers.Conv3D(
        2,
        1,
        kernel_initializer=tf.keras.initializers.Constant(3.0),
        kernel_regularizer=tf.keras.regularizers.l1_l2(l1=0.5, l2=0.25),
        kernel_constraint=tf.keras.constraints.MaxNorm(1.0, axis=[0, 1, 2, 3]),
    )
    step = tf.train.GradientDescentOptimizer(0.0).minimize(tf.reduce_sum(layer(tf.ones([1] * 5))))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(layer.losses) == [0.5 * 6 + 0.25 * 18]
        session.run(step)
        np.testing.assert_allclose(session.run(layer.kernel).ravel(), [1.0, 1.0], rtol=1e-6)
