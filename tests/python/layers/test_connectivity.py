"""What a layer was called on: `input`, `output`, nodes; in eager mode with stand-ins."""

from __future__ import annotations

import pytest

import conv3d as tf


def test_never_called() -> None:
    layer = tf.layers.Conv3D(4, 3)
    for attribute in ("input", "output", "input_shape", "output_shape"):
        with pytest.raises(AttributeError):
            getattr(layer, attribute)
    for method in ("get_input_at", "get_output_at", "get_input_shape_at", "get_output_shape_at"):
        with pytest.raises(RuntimeError):
            getattr(layer, method)(0)


def test_one_call() -> None:
    x = tf.placeholder(tf.float32, [None, 5, 6, 7, 2])
    layer = tf.layers.Conv3D(4, 3)
    y = layer(x)
    assert layer.input is x and layer.output is y
    assert layer.input_shape == (None, 5, 6, 7, 2) and layer.output_shape == (None, 3, 4, 5, 4)
    assert layer.get_input_at(-1) is x and layer.get_output_at(0) is y
    for index in (1, -2):
        with pytest.raises(ValueError):
            layer.get_input_at(index)


def test_several_calls() -> None:
    a, b, c = (tf.placeholder(tf.float32, [1, n, n, n, 2]) for n in (5, 5, 8))
    layer = tf.layers.Conv3D(4, 3)
    layer(a)
    y = layer(b)
    for attribute in ("input", "output"):
        with pytest.raises(AttributeError):
            getattr(layer, attribute)
    assert layer.input_shape == (1, 5, 5, 5, 2) and layer.get_output_at(1) is y
    layer(c)
    for attribute in ("input_shape", "output_shape"):
        with pytest.raises(AttributeError):
            getattr(layer, attribute)
    assert layer.get_output_shape_at(2) == (1, 6, 6, 6, 4)


def test_shapes_are_those_of_the_call() -> None:
    x = tf.placeholder(tf.float32, [None, 4, 4, 4, 1])
    layer = tf.layers.Conv3D(1, 1)
    layer(x)
    x.set_shape([2, 4, 4, 4, 1])
    assert layer.input_shape == (None, 4, 4, 4, 1)


def test_keras_input() -> None:
    x = tf.keras.layers.Input(shape=(9, 9, 9, 2))
    y = tf.keras.layers.Input(shape=(3,), batch_size=2, dtype="int32")
    assert (x.name, x.get_shape().as_list()) == ("input_1:0", [None, 9, 9, 9, 2])
    assert (y.name, y.dtype.name, y.get_shape().as_list()) == ("input_2:0", "int32", [2, 3])
    first, second = tf.layers.Conv3D(4, 3), tf.layers.Conv3D(5, 3)
    second(first(x))
    assert second.input is first.output and second.output_shape == (None, 5, 5, 5, 5)
    assert tf.keras.layers.Input(tensor=x) is x
    for arguments in ({}, {"shape": (1,), "batch_shape": (1, 1)}):
        with pytest.raises(ValueError):
            tf.keras.layers.Input(**arguments)
    with pytest.raises(TypeError):
        tf.keras.layers.Input(shape=(1,), nonsense=1)


def test_eager_stand_ins(eager: None) -> None:
    x = tf.keras.layers.Input(shape=(5, 6, 7, 2))
    layer = tf.layers.Conv3D(4, 3)
    y = layer(x)
    assert y.get_shape().as_list() == [None, 3, 4, 5, 4] and layer.built
    assert layer(tf.ones([1, 3, 3, 3, 2])).shape.as_list() == [1, 1, 1, 1, 4]
    with pytest.raises(ValueError):
        layer(tf.keras.layers.Input(shape=(5, 6, 7, 3)))
