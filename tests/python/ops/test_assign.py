"""Writing to variables: the value may be another variable, or what another write gives."""

from __future__ import annotations

from typing import Any

import pytest

import conv3d as tf


@pytest.mark.parametrize("write", [tf.assign, tf.assign_add, tf.assign_sub])
@pytest.mark.parametrize("of", ["variable", "write"])
def test_value_of_another_variable(write: Any, of: str) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        a, b = tf.Variable([1.0, 2.0]), tf.Variable([10.0, 20.0])
        written = write(a, b if of == "variable" else tf.assign(b, [30.0, 40.0]))
        session.run(tf.global_variables_initializer())
        given = [10.0, 20.0] if of == "variable" else [30.0, 40.0]
        expected = {
            tf.assign: given,
            tf.assign_add: [1 + given[0], 2 + given[1]],
            tf.assign_sub: [1 - given[0], 2 - given[1]],
        }[write]
        assert session.run(written).tolist() == expected
        assert session.run(a).tolist() == expected and session.run(b).tolist() == given


def test_eager_assignment_keeps_shape_and_type(eager: None) -> None:
    v = tf.get_variable("v", [2], initializer=tf.ones_initializer())
    with pytest.raises(ValueError, match="2"):
        v.assign([1.0])
    with pytest.raises((TypeError, ValueError)):
        v.assign("a")
    assert v.numpy().tolist() == [1.0, 1.0]


def test_eager_refusals_are_those_of_the_kernels(eager: None) -> None:
    x = tf.constant([1.0, 2.0])
    for refused in (
        lambda: x + tf.constant(1),
        lambda: tf.matmul(x, x),
        lambda: tf.one_hot([1], -1),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError):
            refused()
