"""Names, scopes, look-up, order and collections of a graph."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d.framework import context, dtypes, graph, session
from conv3d.framework.graph_keys import GraphKeys
from conv3d.ops import array_ops, control_flow_ops, math_ops, state_ops


@pytest.fixture(autouse=True)
def g():
    with graph.Graph().as_default() as made:
        yield made


def _c(name=None):
    return array_ops.constant(1.0, name=name or "Const")


def test_names_are_made_unique(g):
    assert [_c().op.name for _ in range(3)] == ["Const", "Const_1", "Const_2"]
    _c("Const_3")
    assert _c().op.name == "Const_4"
    assert [t.op.name for t in (_c("a"), _c("a_1"), _c("a"), _c("a"))] == ["a", "a_1", "a_2", "a_3"]


def test_name_scopes(g):
    with context.name_scope("outer") as scope:
        assert scope == "outer/"
        assert _c("x").name == "outer/x:0"
        with context.name_scope("inner"):
            assert _c("x").name == "outer/inner/x:0"
        with context.name_scope(None):
            assert _c("top").name == "top:0"
    with context.name_scope("outer") as second:
        assert second == "outer_1/"
    with context.name_scope("outer/") as again:
        assert again == "outer/" and _c("x").name == "outer/x_1:0"
    with context.name_scope(None, "default", [_c()]) as scope:
        assert scope == "default/"
    assert g.get_name_scope() == ""


def test_an_op_takes_a_scope_as_its_name(g):
    with context.name_scope("thing") as scope:
        assert array_ops.identity(_c(), name=scope).op.name == "thing"


@pytest.mark.parametrize("bad", ["a b", "a:b", "_a", "ä"])
def test_bad_scope_names(g, bad):
    with pytest.raises(ValueError):
        with context.name_scope(bad):
            pass


def test_bad_op_name(g):
    with pytest.raises(ValueError):
        _c("no blanks")


def test_names_of_made_constants(g):
    x = array_ops.placeholder(dtypes.float32, [None, 3])
    x * x
    x + 1
    math_ops.reduce_sum(x, 1)
    array_ops.concat([x, x], 0)
    names = [op.name for op in g.get_operations()]
    assert names == [
        "Placeholder",
        "mul",
        "add/y",
        "add",
        "Sum/reduction_indices",
        "Sum",
        "concat/axis",
        "concat",
    ]


def test_look_up(g):
    x = _c("x")
    assert g.get_tensor_by_name("x:0") is x and g.get_operation_by_name("x") is x.op
    assert g.as_graph_element("x") is x.op and g.as_graph_element(x) is x
    for name, error in (
        ("nope:0", KeyError),
        ("x:1", KeyError),
        ("x", ValueError),
        (3, TypeError),
        ("x:a", ValueError),
    ):
        with pytest.raises(error):
            g.get_tensor_by_name(name)
    for name, error in (("nope", KeyError), ("x:0", ValueError), (None, TypeError)):
        with pytest.raises(error):
            g.get_operation_by_name(name)


def test_tensors_of_two_graphs_do_not_mix(g):
    x = _c()
    with graph.Graph().as_default():
        y = _c()
        with pytest.raises(ValueError):
            x + y
    with pytest.raises(ValueError):
        g.as_graph_element(y)


def test_a_finalized_graph_does_not_grow(g):
    _c()
    g.finalize()
    for attempt in (_c, lambda: g.add_to_collection("k", 1)):
        with pytest.raises(RuntimeError):
            attempt()


def test_tensor_is_no_python_value(g):
    x = array_ops.placeholder(dtypes.float32, [2])
    for attempt in (lambda: bool(x), lambda: list(x), lambda: len(x), lambda: [1][x]):
        with pytest.raises(TypeError):
            attempt()
    with pytest.raises(NotImplementedError):
        np.asarray(x)
    assert x == x and x != array_ops.identity(x) and len({x, x}) == 1
    x.layer_name = "first"
    assert x.layer_name == "first"
    assert (np.float32(2) * x).op.type == "Mul"
    assert str(x) == 'Tensor("Placeholder:0", shape=(2,), dtype=float32)'


def test_set_shape(g):
    x = array_ops.placeholder(dtypes.float32)
    x.set_shape([None, 3])
    x.set_shape([2, None])
    assert x.shape.as_list() == [2, 3]
    with pytest.raises(ValueError):
        x.set_shape([5, 3])


def test_consumers_and_inputs(g):
    x = _c()
    y, z = x * x, x + 1.0
    assert x.consumers() == [y.op, z.op]
    assert y.op.inputs[0] is x and z.op.inputs[1].op.type == "Const"


def test_control_dependencies(g):
    a, b = _c("a"), _c("b")
    with context.control_dependencies([a]):
        with context.control_dependencies([b.op]):
            inner = _c("inner")
            with context.control_dependencies(None):
                free = _c("free")
    assert [op.name for op in inner.op.control_inputs] == ["a", "b"]
    assert free.op.control_inputs == []
    with pytest.raises(TypeError):
        with context.control_dependencies(a):
            pass
    with pytest.raises((TypeError, ValueError)):
        with context.control_dependencies([3]):
            pass


def test_side_effects_follow_control_dependencies(g):
    v = state_ops.variable_op([], dtypes.float32, "v")
    start = state_ops.assign(v, 1.0)
    grown = state_ops.assign_add(v, 10.0)
    with context.control_dependencies([grown]):
        after = array_ops.identity(v)
    s = session.Session()
    s.run(start)
    assert s.run(after) == 11 and s.run(v) == 11
    both = control_flow_ops.group(grown, start)
    assert s.run(both) is None


def test_collections(g):
    x = _c("scope/x")
    g.add_to_collection("k", x)
    g.add_to_collections(["k", "l", "l"], 5)
    assert g.get_collection("k") == [x, 5] and g.get_collection("l") == [5]
    g.get_collection("k").append(1)
    assert g.get_collection("k") == [x, 5]
    g.get_collection_ref("k").append(6)
    assert g.get_collection("k") == [x, 5, 6]
    assert g.get_collection("k", scope="sco") == [x] and g.get_collection("k", scope="x") == []
    assert g.get_collection("none") == []
    assert set(g.get_all_collection_keys()) == {"k", "l"}
    g.clear_collection("k")
    assert g.get_collection("k") == []
    assert GraphKeys.GLOBAL_VARIABLES == "variables"


def test_shape_errors_name_the_op(g):
    x = array_ops.zeros([2, 3])
    with pytest.raises(ValueError, match="MatMul"):
        math_ops.matmul(x, x)
    with pytest.raises(ValueError, match="6 elements"):
        array_ops.reshape(x, [4, 2])
    with pytest.raises(TypeError, match="int32"):
        math_ops.add(x, array_ops.constant(1))


def test_attributes_of_operations(g):
    x = array_ops.zeros([2, 3])
    op = math_ops.matmul(x, x, transpose_b=True).op
    assert op.get_attr("transpose_b") is True and op.get_attr("T") == dtypes.float32
    with pytest.raises(ValueError):
        op.get_attr("nonsense")
    assert op.node_def.input == [x.op.name] * 2 and op.node_def.op == "MatMul"


def test_reset_inside_a_graph_block_is_refused(g):
    with pytest.raises(AssertionError):
        context.reset_default_graph()
