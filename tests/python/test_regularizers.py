"""Regularizers: values of both families, names, configurations, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d import regularizers

W = np.array([[1.0, -2.0], [3.0, -4.0]], "float32")


def value(regularizer: Any) -> float:
    tensor = regularizer(tf.constant(W))
    with tf.Session() as session:
        return float(session.run(tensor))


@pytest.mark.parametrize(
    ("regularizer", "expected"),
    [
        (regularizers.l1(0.1), 1.0),
        (regularizers.l2(0.1), 3.0),
        (regularizers.l1_l2(0.1, 0.2), 7.0),
        (regularizers.L1L2(), 0.0),
        (regularizers.l1_regularizer(0.1), 1.0),
        (regularizers.l2_regularizer(0.1), 1.5),
        (regularizers.l1_l2_regularizer(0.1, 0.2), 4.0),
        (regularizers.l1_l2_regularizer(0.0, 0.2), 3.0),
        (regularizers.l1_l2_regularizer(0.1, 0.0), 1.0),
    ],
)
def test_values(regularizer: Any, expected: float) -> None:
    assert value(regularizer) == pytest.approx(expected)


def test_sum_regularizer() -> None:
    both = regularizers.sum_regularizer(
        [regularizers.l1_regularizer(0.1), None, regularizers.l2_regularizer(0.0)]
    )
    assert value(both) == pytest.approx(1.0)
    assert regularizers.sum_regularizer([None, None]) is None
    nothing = regularizers.sum_regularizer([regularizers.l1_regularizer(0.0)])
    assert nothing is not None and nothing(tf.constant(W)) is None


@pytest.mark.parametrize("make", [regularizers.l1_regularizer, regularizers.l2_regularizer])
def test_contrib_scales(make: Any) -> None:
    for scale in (1, 0, -1, -0.5):
        with pytest.raises(ValueError):
            make(scale)
    assert make(0.0)(tf.constant(W)) is None


def test_names_of_the_operations() -> None:
    assert regularizers.l2_regularizer(0.5)(tf.constant(W)).op.name == "l2_regularizer"
    assert regularizers.l1_regularizer(0.5, scope="s")(tf.constant(W)).op.name == "s"


def test_configurations_come_back() -> None:
    config = regularizers.serialize(regularizers.l1_l2(0.25, 0.5))
    again = regularizers.get(config)
    assert (again.l1, again.l2) == (0.25, 0.5)
    assert regularizers.L1L2.from_config(again.get_config()).l2 == 0.5


def test_get() -> None:
    assert regularizers.get("l2").l2 == 0.01
    assert regularizers.get(None) is None
    for wrong in ("l3", 3):
        with pytest.raises(ValueError):
            regularizers.get(wrong)


def test_eager(eager: None) -> None:
    assert float(regularizers.l2(0.1)(tf.constant(W))) == pytest.approx(3.0)
    assert float(regularizers.l2_regularizer(0.1)(tf.constant(W))) == pytest.approx(1.5)


def test_keras_names_the_sum():
    v = tf.get_variable("k", [2], initializer=tf.constant_initializer([1.0, -2.0]))
    with tf.name_scope("R"):
        one, both = tf.keras.regularizers.l2(0.5)(v), tf.keras.regularizers.l1_l2(0.5, 1.0)(v)
    assert one.name == "R/add:0" and both.name == "R/add_2:0"
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        assert s.run([one, both]) == [2.5, 6.5]
