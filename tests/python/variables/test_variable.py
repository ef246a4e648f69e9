"""Variables: nodes, names, operators, state per session, eager cells."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import conv3d as tf


def names(values: Any) -> list[str]:
    return [v.name for v in values]


def test_nodes_of_a_variable() -> None:
    v = tf.get_variable("v", [2, 3])
    assert repr(v) == "<tf.Variable 'v:0' shape=(2, 3) dtype=float32_ref>"
    assert (v.op.type, v.initializer.name, v.value().name) == ("VariableV2", "v/Assign", "v/read:0")
    assert v.initial_value.name == "v/Initializer/random_uniform:0"
    assert v.value() is v.value() and v.read_value() is not v.read_value()
    assert v.shape.as_list() == v.get_shape().as_list() == [2, 3]
    assert v.dtype.name == "float32_ref" and v.dtype.base_dtype == tf.float32
    assert v.graph is tf.get_default_graph()
    assert isinstance(v, tf.Variable) and not isinstance(v, tf.Tensor)


def test_names_follow_name_scopes_and_variable_scopes() -> None:
    a, b = tf.Variable(1.0, name="v"), tf.Variable(2.0, name="v")
    with tf.variable_scope("s"):
        c, d = tf.Variable(3.0, name="v"), tf.get_variable("v", initializer=4.0)
    with tf.name_scope("n"):
        e, f = tf.Variable(5.0), tf.get_variable("g", initializer=6.0)
    assert names([a, b, c, d, e, f]) == ["v:0", "v_1:0", "s/v:0", "s/v_1:0", "n/Variable:0", "g:0"]


def test_forms_of_initial_values() -> None:
    w = tf.Variable(3, dtype=tf.float64)
    u = tf.Variable(lambda: tf.ones([2]), name="u")
    t = tf.Variable([1, 2], trainable=False, collections=["mine"])
    free = tf.Variable(tf.placeholder(tf.float32), validate_shape=False)
    assert w.dtype.base_dtype == tf.float64
    assert u.initial_value.name == "u/Initializer/ones:0"
    assert tf.get_collection("mine") == [t] and t not in tf.global_variables()
    assert t not in tf.trainable_variables()
    assert free.get_shape().ndims is None


def test_refusals() -> None:
    for arguments in (
        {"initial_value": None},
        {"initial_value": 1.0, "collections": "x"},
        {"initial_value": 1.0, "constraint": 3},
        {"initial_value": 1.0, "variable_def": object()},
        {"initial_value": [1.0], "expected_shape": [2]},
    ):
        with pytest.raises(ValueError):
            tf.Variable(**arguments)
    with pytest.raises(ValueError):
        tf.Variable(tf.placeholder(tf.float32))


def test_python_protocol() -> None:
    v = tf.Variable([1.0, 2.0])
    with pytest.raises(TypeError):
        iter(v)
    with pytest.raises(TypeError):
        copy.deepcopy(v)
    assert bool(v) and v == v and len({v, v}) == 1


def test_operators_act_on_the_value() -> None:
    v = tf.Variable([1.0, 2.0, 4.0])
    results = [
        v + 1,
        1 - v,
        v * v,
        v / 2,
        -v,
        v[0],
        v[1:],
        v > 1.5,
        abs(-v),
        v**2,
        2.0**v,
        np.ones(3, "float32") * v,
    ]
    with tf.Session() as session:
        session.run(v.initializer)
        got = session.run(results)
    x = np.array([1.0, 2.0, 4.0])
    for have, want in zip(
        got, [x + 1, 1 - x, x * x, x / 2, -x, x[0], x[1:], x > 1.5, x, x**2, 2**x, x], strict=True
    ):
        np.testing.assert_allclose(have, want)


def test_state_belongs_to_the_session() -> None:
    v = tf.get_variable("v", initializer=1.0)
    one, two = tf.Session(), tf.Session()
    for session in (one, two):
        session.run(tf.global_variables_initializer())
    one.run(v.assign(5.0))
    assert (one.run(v), two.run(v)) == (5.0, 1.0)
    v.load(7.0, two)
    assert (v.eval(one), v.eval(two)) == (5.0, 7.0)
    with pytest.raises(ValueError):
        v.load(1.0)


def test_assignments() -> None:
    v = tf.Variable([1.0, 2.0])
    w = tf.Variable([0.0, 0.0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(v.assign_add([1.0, 1.0])).tolist() == [2.0, 3.0]
        assert session.run(v.assign_sub([0.5, 0.5])).tolist() == [1.5, 2.5]
        assert session.run(tf.assign(w, v)).tolist() == [1.5, 2.5]
        assert session.run(v.assign([0.0, 1.0], read_value=False)) is None
        assert session.run(v).tolist() == [0.0, 1.0]
        assert session.run(w).tolist() == [1.5, 2.5]
    with pytest.raises(ValueError):
        v.assign([1.0, 2.0, 3.0])


def test_counting() -> None:
    v = tf.Variable(0)
    step = v.count_up_to(2)
    with tf.Session() as session:
        session.run(v.initializer)
        assert [session.run(step), session.run(step), session.run(v)] == [0, 1, 2]
        with pytest.raises(tf.errors.OutOfRangeError):
            session.run(step)


def test_uninitialised() -> None:
    v = tf.get_variable("v", [2])
    with tf.Session() as session:
        with pytest.raises(tf.errors.FailedPreconditionError):
            session.run(v)
        assert session.run(tf.report_uninitialized_variables()).tolist() == [b"v"]
        assert not session.run(tf.is_variable_initialized(v))
        session.run(tf.variables_initializer([v]))
        assert session.run(tf.report_uninitialized_variables()).tolist() == []
        session.run(tf.assert_variables_initialized())
    assert tf.initializers.global_variables is tf.global_variables_initializer
    assert tf.initializers.variables is tf.variables_initializer


def test_variables_made_of_variables() -> None:
    v = tf.Variable(2.0)
    w = tf.Variable(v.initialized_value() * 3)
    x = tf.Variable(v * 5.0)
    y = tf.Variable(tf.square(x + w))
    with tf.Session() as session:
        session.run(w.initializer)
        assert session.run(w) == 6.0
        # All at once, in whatever order: reads stand for initialised values.
        session.run(tf.global_variables_initializer())
        assert session.run([v, w, x, y]) == [2.0, 6.0, 10.0, 256.0]


def test_resource_variables_in_a_graph() -> None:
    with tf.variable_scope("s", use_resource=True):
        v = tf.get_variable("v", [2], initializer=tf.ones_initializer())
        w = tf.Variable(3.0)
    assert type(v).__name__ == type(w).__name__ == "ResourceVariable"
    assert (v.name, v.dtype.name) == ("s/v:0", "float32")
    with tf.control_dependencies([v.assign([5.0, 6.0])]):
        after = v.read_value()
    gradient = tf.gradients(tf.reduce_sum(v * v), v)[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assert session.run(gradient).tolist() == [2.0, 2.0]
        assert session.run(after).tolist() == [5.0, 6.0]
    with pytest.raises(NotImplementedError):
        v.numpy()


def test_conversion_checks_the_type() -> None:
    v = tf.Variable([1.0])
    assert tf.convert_to_tensor(v) is v.value()
    with pytest.raises(ValueError):
        tf.convert_to_tensor(v, dtype=tf.float64)


def test_eager(eager: None) -> None:
    v = tf.Variable([1.0, 2.0], name="v")
    assert (v.name, v.dtype.name, v.initializer) == ("v:0", "float32", None)
    v.assign_add([1.0, 1.0])
    assert v.numpy().tolist() == [2.0, 3.0]
    assert (v * 2).numpy().tolist() == [4.0, 6.0] and float(v[0]) == 2.0
    v.assign([0.5, 0.5])
    kept = v.numpy()
    kept[:] = 9
    assert v.numpy().tolist() == [0.5, 0.5]
    for attribute in ("op", "graph"):
        with pytest.raises(AttributeError):
            getattr(v, attribute)
    with pytest.raises(RuntimeError):
        v.eval()
    twin = copy.deepcopy(v)
    twin.assign([7.0, 7.0])
    assert v.numpy().tolist() == [0.5, 0.5] and twin.name == v.name


def test_eager_gradients(eager: None) -> None:
    v = tf.Variable([1.0, 2.0])
    frozen = tf.Variable([3.0, 4.0], trainable=False)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(v * v * frozen)
    got = tape.gradient(loss, [v, frozen])
    assert got[0].numpy().tolist() == [6.0, 16.0] and got[1] is None


def test_graph_inside_of_eager(eager: None) -> None:
    with tf.Graph().as_default():
        v = tf.get_variable("v", [1], initializer=tf.ones_initializer())
        assert v.op.type == "VariableV2" and tf.global_variables() == [v]
    with pytest.raises(ValueError):
        tf.global_variables()
    assert tf.global_variables_initializer() is None
