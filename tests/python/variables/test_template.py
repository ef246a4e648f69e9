"""`make_template`: scopes and shared variables."""

from __future__ import annotations

from typing import Any

import pytest

import conv3d as tf


def scale(x: Any, name: str = "w") -> Any:
    return x * tf.get_variable(name, [], initializer=tf.ones_initializer())


def names(values: Any) -> list[str]:
    return [v.name for v in values]


def test_calls_share_and_templates_do_not() -> None:
    one, other = tf.make_template("t", scale), tf.make_template("t", scale)
    results = [one(1.0), one(2.0), other(1.0)]
    assert names(results) == ["t/mul:0", "t_1/mul:0", "t_2/mul:0"]
    assert names(tf.global_variables()) == ["t/w:0", "t_1/w:0"]
    assert names(one.variables) == names(one.trainable_variables) == ["t/w:0"]
    assert (one.name, one.variable_scope_name) == ("t", "t/")


def test_the_scope_can_be_fixed_at_once() -> None:
    with tf.variable_scope("o"):
        layers = tf.make_template("s", lambda x: tf.layers.conv3d(x, 2, 1), create_scope_now_=True)
    x = tf.zeros([1, 2, 2, 2, 1])
    assert names([layers(x), layers(x)]) == ["s/conv3d/BiasAdd:0", "s_1/conv3d/BiasAdd:0"]
    assert names(layers.variables) == ["o/s/conv3d/kernel:0", "o/s/conv3d/bias:0"]


def test_arguments_are_bound() -> None:
    template = tf.make_template("t", scale, name="v")
    template(1.0)
    assert names(template.variables) == ["t/v:0"]


def test_a_second_call_makes_nothing_new() -> None:
    template = tf.make_template("t", scale)
    template(1.0, name="a")
    with pytest.raises(ValueError):
        template(1.0, name="b")


def test_unique_names_collide() -> None:
    tf.make_template("t", scale, unique_name_="u")(1.0)
    with pytest.raises(ValueError):
        tf.make_template("t", scale, unique_name_="u")(1.0)


def test_a_first_call_without_variables_leaves_them_to_the_next() -> None:
    make = [False]
    template = tf.make_template("t", lambda x: scale(x) if make[0] else x)
    template(1.0)
    make[0] = True
    template(1.0)
    assert names(template.variables) == ["t/w:0"]


def test_a_template_needs_a_name() -> None:
    with pytest.raises(ValueError):
        tf.make_template("", scale)


def test_eager(eager: None) -> None:
    template = tf.make_template("t", scale)
    template(1.0)
    template.variables[0].assign(3.0)
    assert float(template(2.0)) == 6.0 and len(template.variables) == 1


def test_later_calls_make_no_trainable_variables():
    def function(x):
        weight = tf.get_variable("w", [], initializer=tf.ones_initializer())
        return x * weight * tf.Variable(1.0)

    template = tf.make_template("t", function)
    template(1.0)
    assert template.var_scope is template.variable_scope
    with pytest.raises(ValueError, match=r"tf\.get_variable"):
        template(1.0)
