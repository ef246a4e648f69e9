"""Variable scopes: names, sharing, inherited settings, threads. Names are those of TensorFlow."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import conv3d as tf


def names(values: Any) -> list[str]:
    return [v.name for v in values]


def run(values: Any) -> Any:
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run(values)


def test_nested_names_and_jumps() -> None:
    with tf.variable_scope("a") as a:
        with tf.variable_scope("b") as b, tf.variable_scope(a) as again:
            v = tf.get_variable("v", [1])
            c = tf.constant(1.0)
            assert (again.name, again.original_name_scope) == ("a", "a/")
    with tf.variable_scope(b):
        w = tf.get_variable("w", [1])
        d = tf.constant(1.0)
    with tf.variable_scope("", reuse=True):
        assert tf.get_variable("a/v", [1]) is v
    assert names([v, c, w, d]) == ["a/v:0", "a/b/a/Const:0", "a/b/w:0", "b/Const:0"]


def test_properties() -> None:
    with tf.variable_scope("a") as a, tf.variable_scope("b", reuse=True) as b:
        assert (b.name, b.original_name_scope, b.reuse) == ("a/b", "a/b/", True)
    assert (a.name, a.original_name_scope, bool(a.reuse)) == ("a", "a/", False)
    assert tf.get_variable_scope().name == ""


def test_default_names_are_numbered_per_enclosing_scope() -> None:
    def unnamed() -> list[str]:
        with tf.variable_scope(None, default_name="foo") as scope:
            return [
                scope.name,
                scope.original_name_scope,
                tf.get_variable("v", [1]).name,
                tf.add(1.0, 2.0).name,
            ]

    assert unnamed() == ["foo", "foo/", "foo/v:0", "foo/Add:0"]
    assert unnamed() == ["foo_1", "foo_1/", "foo_1/v:0", "foo_1/Add:0"]
    with tf.variable_scope("outer"):
        assert unnamed()[0] == "outer/foo"
        assert unnamed()[0] == "outer/foo_1"
    # Entered again, the scope counts from the start, and so meets what is there.
    with tf.variable_scope("outer"), pytest.raises(ValueError):
        unnamed()
    with tf.variable_scope("outer", reuse=True):
        assert unnamed() == ["outer/foo", "outer_2/foo/", "outer/foo/v:0", "outer_2/foo/Add:0"]


def test_refusals() -> None:
    def enter(*args: Any, **kwargs: Any) -> None:
        with tf.variable_scope(*args, **kwargs):
            pass

    for error, args, kwargs in (
        (TypeError, (None,), {}),
        (ValueError, (None, "d"), {"reuse": True}),
        (TypeError, (3,), {}),
        (ValueError, ("x",), {"reuse": 3}),
        (TypeError, ("x",), {"auxiliary_name_scope": "no"}),
        (ValueError, ("a b",), {}),
    ):
        with pytest.raises(error):
            enter(*args, **kwargs)


def test_existence_rules() -> None:
    with tf.variable_scope("s"):
        v = tf.get_variable("v", [2])
        with pytest.raises(ValueError, match="s/v"):
            tf.get_variable("v", [2])
    with tf.variable_scope("s", reuse=True):
        assert tf.get_variable("v") is v
        for name, shape, dtype in (("v", [3], None), ("w", [2], None), ("v", [2], tf.float64)):
            with pytest.raises(ValueError, match=f"s/{name}"):
                tf.get_variable(name, shape, dtype=dtype)
    with tf.variable_scope("s", reuse=tf.AUTO_REUSE):
        assert tf.get_variable("v", [2]) is v
        assert tf.get_variable("w", [2]).name == "s/w:0"


def test_reuse_is_inherited_and_never_switched_off() -> None:
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE) as a:
        with tf.variable_scope("b") as b:
            assert b.reuse is tf.AUTO_REUSE
        with tf.variable_scope("c", reuse=False) as c:
            assert c.reuse is tf.AUTO_REUSE
        with tf.variable_scope("d", reuse=True) as d:
            assert d.reuse is True
    with tf.variable_scope(a) as again:
        assert again.reuse is tf.AUTO_REUSE
    with tf.variable_scope(a, reuse=True) as again:
        assert again.reuse is True
    assert a.reuse is tf.AUTO_REUSE


def test_reuse_variables() -> None:
    v = tf.get_variable("v", [1])
    with tf.variable_scope("s") as s:
        s.reuse_variables()
        assert s.reuse is True
        with pytest.raises(ValueError):
            tf.get_variable("v", [1])
    tf.get_variable_scope().reuse_variables()
    assert tf.get_variable("v", [1]) is v


def test_default_initializer() -> None:
    with tf.variable_scope("s", initializer=tf.constant_initializer(0.1)) as s:
        v = tf.get_variable("v", [])
        s.set_initializer(tf.constant_initializer(0.2))
        w = tf.get_variable("w", [])
        with tf.variable_scope("t"):
            x = tf.get_variable("x", [])
        with tf.variable_scope("t", initializer=tf.constant_initializer(0.4)):
            y = tf.get_variable("y", [])
    np.testing.assert_allclose(run([v, w, x, y]), [0.1, 0.2, 0.2, 0.4])


def test_default_regularizer() -> None:
    def total(v: Any) -> Any:
        return tf.reduce_sum(v)

    with tf.variable_scope("s", regularizer=total) as s:
        tf.get_variable("a", [2])
        with tf.variable_scope("t", regularizer=lambda v: 0.5 * tf.reduce_sum(v)):
            tf.get_variable("b", [2])
            tf.get_variable("c", [2], regularizer=tf.no_regularizer)
        with tf.variable_scope("u"):
            tf.get_variable("d", [2])
        s.set_regularizer(None)
        tf.get_variable("e", [2])
        s.reuse_variables()
        tf.get_variable("a", [2])
    assert names(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == [
        "s/a/Regularizer/Sum:0",
        "s/t/b/Regularizer/mul:0",
        "s/u/d/Regularizer/Sum:0",
    ]


def test_types() -> None:
    with tf.variable_scope("s", dtype=tf.float64):
        made = [
            tf.get_variable("a", [2]),
            tf.get_variable("b", [2], dtype=tf.float32),
            tf.get_variable("c", initializer=np.zeros(2, "float32")),
            tf.get_variable("d", initializer=3),
        ]
        with pytest.raises(ValueError):
            tf.get_variable("e", initializer=np.zeros(2, "float32"), dtype=tf.float64)
    assert [v.dtype.name for v in made] == [
        "float64_ref",
        "float32_ref",
        "float32_ref",
        "int32_ref",
    ]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "bool"])
def test_integers_and_bools_start_at_zero(dtype: str) -> None:
    v = tf.get_variable("v", [2], dtype=tf.as_dtype(dtype))
    assert v.initial_value.name == "v/Initializer/zeros:0"
    assert run(v).tolist() == [0, 0]


def test_forms_of_initializers() -> None:
    a = tf.get_variable("a", initializer=lambda: [2])
    b = tf.get_variable("b", initializer=lambda x=True: [2.5])
    c = tf.get_variable("c", initializer=tf.constant([1, 2]))
    d = tf.get_variable("d", [2], initializer=tf.ones_initializer)
    assert [v.dtype.base_dtype.name for v in (a, b, c, d)] == [
        "int32",
        "float32",
        "int32",
        "float32",
    ]
    assert [v.tolist() for v in run([a, b, c, d])] == [[2], [2.5], [1, 2], [1.0, 1.0]]
    with pytest.raises(ValueError):
        tf.get_variable("e", initializer=lambda q: [2.5])
    with pytest.raises(ValueError):
        tf.get_variable("f", [2], initializer=tf.constant([1.0, 2.0]))
    with pytest.raises(ValueError, match="nosh"):
        tf.get_variable("nosh")
    for name in (3, None):
        with pytest.raises(TypeError, match="name"):
            tf.get_variable(name, [2])


def test_constraint_is_not_inherited() -> None:
    def constraint(v: Any) -> Any:
        return v

    with tf.variable_scope("s", constraint=constraint) as s:
        assert tf.get_variable("v", [1]).constraint is constraint
        with tf.variable_scope("t"):
            assert tf.get_variable("v", [1]).constraint is None
    with tf.variable_scope(s, constraint=constraint):
        assert tf.get_variable("w", [1]).constraint is constraint


def test_custom_getters_are_composed_from_the_inside() -> None:
    def outer(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getter(name + "_outer", *args, **kwargs)

    def inner(getter: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        return getter(name + "_inner", *args, **kwargs)

    with tf.variable_scope("o", custom_getter=outer):
        with tf.variable_scope("i", custom_getter=inner):
            v = tf.get_variable("v", [1])
        w = tf.get_variable("w", [1])
        x = tf.get_variable("x", [1], custom_getter=inner)
    assert names([v, w, x]) == ["o/i/v_inner_outer:0", "o/w_outer:0", "o/x_inner:0"]


def test_custom_getter_may_return_tensors_and_lose_no_constraint() -> None:
    def old_fashioned(
        getter: Any,
        name: str,
        shape: Any,
        dtype: Any,
        initializer: Any,
        regularizer: Any,
        reuse: Any,
        trainable: Any,
        collections: Any,
        caching_device: Any,
        partitioner: Any,
        validate_shape: Any,
        use_resource: Any,
    ) -> Any:
        return getter(name, shape=shape, dtype=dtype, reuse=reuse, trainable=trainable)

    def constraint(v: Any) -> Any:
        return v

    v = tf.get_variable("v", [1], custom_getter=old_fashioned, constraint=constraint)
    assert v.constraint is constraint
    with tf.variable_scope("s", custom_getter=lambda getter, *a, **k: getter(*a, **k) * 2.0):
        assert isinstance(tf.get_variable("t", [1]), tf.Tensor)
    with pytest.raises(ValueError):
        tf.get_variable("u", [1], custom_getter=3)


def test_collections_of_a_scope() -> None:
    with tf.variable_scope("s") as s:
        tf.get_variable("a", [1])
        with tf.variable_scope("t"):
            tf.get_variable("b", [1], trainable=False)
        tf.get_local_variable("c", [1])
        tf.Variable(1.0, name="d")
    tf.get_variable("st", [1])
    assert names(s.global_variables()) == ["s/a:0", "s/t/b:0", "s/d:0"]
    assert names(s.trainable_variables()) == ["s/a:0", "s/d:0"]
    assert names(s.local_variables()) == names(tf.local_variables()) == ["s/c:0"]
    assert names(tf.global_variables("s/t")) == ["s/t/b:0"]


def test_synchronisation() -> None:
    on_read = tf.VariableSynchronization.ON_READ
    v = tf.get_variable("v", [1], synchronization=on_read, aggregation=tf.VariableAggregation.SUM)
    assert not v.trainable and tf.trainable_variables() == []
    assert v.synchronization is on_read
    w = tf.get_variable("w", [1], synchronization=on_read, trainable=True)
    assert tf.trainable_variables() == [w]
    with pytest.raises(ValueError):
        tf.get_variable("w", [1], synchronization="on_read")


def test_auxiliary_name_scope() -> None:
    with tf.variable_scope("a"), tf.variable_scope("b", auxiliary_name_scope=False) as b:
        assert tf.get_variable("v", [1]).name == "a/b/v:0"
        assert tf.constant(1.0).name == "a/Const:0"
        assert b.original_name_scope == "a/"


def test_values_choose_the_graph() -> None:
    graph = tf.Graph()
    with graph.as_default():
        x = tf.constant(1.0)
    with tf.variable_scope("s", values=[x]):
        assert tf.get_variable("v", [1]).graph is graph


def test_graphs_do_not_share() -> None:
    v = tf.get_variable("v", [1])
    with tf.Graph().as_default():
        assert tf.get_variable("v", [1]) is not v
        assert tf.get_variable_scope().name == ""


def test_threads_have_scopes_of_their_own() -> None:
    graph = tf.get_default_graph()
    seen = []

    def work(number: int) -> None:
        with graph.as_default(), tf.variable_scope(f"t{number}") as scope:
            tf.get_variable("v", [1])
            seen.append(scope.name)

    with tf.variable_scope("main"):
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert tf.get_variable_scope().name == "main"
    assert sorted(seen) == ["t0", "t1", "t2", "t3"]
    assert sorted(names(tf.global_variables())) == [f"t{i}/v:0" for i in range(4)]


def test_wrong_order_of_leaving() -> None:
    caught = []

    def work() -> None:
        a, b = tf.variable_scope("a"), tf.variable_scope("b")
        a.__enter__()
        b.__enter__()
        try:
            a.__exit__(None, None, None)
        except RuntimeError as error:
            caught.append(error)
        b.__exit__(None, None, None)

    # In a thread of its own: what is left open is left with it.
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(caught) == 1


def test_an_error_inside_leaves_the_scope_clean() -> None:
    with pytest.raises(KeyError), tf.variable_scope("a"):
        raise KeyError("x")
    assert tf.get_variable_scope().name == ""
    assert tf.constant(1.0).name == "Const:0"


def test_eager_shares_nothing(eager: None) -> None:
    with tf.variable_scope("a") as scope:
        v = tf.get_variable("v", [2], initializer=tf.ones_initializer())
    with tf.variable_scope("a", reuse=True):
        w = tf.get_variable("v", [2])
    assert v is not w and v.name == w.name == "a/v:0"
    assert scope.reuse is tf.AUTO_REUSE
    with pytest.raises(NotImplementedError):
        tf.get_variable("p", [4], partitioner=tf.fixed_size_partitioner(2))
    with pytest.raises(NotImplementedError):
        tf.variable_scope("q", partitioner=tf.fixed_size_partitioner(2))
    with pytest.raises(NotImplementedError):
        tf.get_variable_scope().set_caching_device("/cpu:0")
