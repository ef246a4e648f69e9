"""Fetches, feeds, errors, state, plans and threads."""

from __future__ import annotations

import collections
import threading

import numpy as np
import pytest

from conv3d import config, engine, errors
from conv3d.framework import context, dtypes, fusion, graph, registry, session
from conv3d.ops import array_ops, control_flow_ops, math_ops, state_ops


@pytest.fixture(autouse=True)
def g():
    with graph.Graph().as_default() as made:
        yield made


def test_structures():
    a, b = array_ops.constant(1.0), array_ops.constant([2.0, 3.0])
    point = collections.namedtuple("point", "x y")
    with session.Session() as s:
        out = s.run({"l": [a, (b,)], "p": point(a, "Const_1:0"), "op": control_flow_ops.no_op()})
        assert s.run([]) == [] and s.run(()) == ()
    assert out["l"][0] == 1 and isinstance(out["l"][1], tuple)
    assert type(out["p"]).__name__ == "point" and out["p"].y.tolist() == [2, 3]
    assert out["op"] is None and type(out["l"][0]) is np.float32


@pytest.mark.parametrize(
    "fetch,error", [(None, TypeError), (3, TypeError), ("nope", ValueError), ("nope:0", ValueError)]
)
def test_bad_fetches(fetch, error):
    array_ops.constant(1.0)
    with pytest.raises(error):
        session.Session().run(fetch)


def test_bad_feeds():
    x = array_ops.placeholder(dtypes.float32, [None, 3], name="x")
    i = array_ops.placeholder(dtypes.int32, [])
    s = session.Session()
    for feed, error in (
        ({x: x}, TypeError),
        ({"q": 1}, TypeError),
        ({x.op: 1}, TypeError),
        ({3: 1}, TypeError),
        (5, TypeError),
        ({x: "a"}, ValueError),
        ({x: np.zeros((2, 4))}, ValueError),
        ({i: 2**40}, TypeError),
        ({i: None}, TypeError),
        ({i: [1, [2]]}, ValueError),
    ):
        with pytest.raises(error):
            s.run(x, feed)
    with pytest.raises(ValueError, match=r"\(2, 4\).*x:0"):
        s.run(x, {x: np.zeros((2, 4))})


def test_feeds_are_converted():
    x = array_ops.placeholder(dtypes.float32, [None], name="x")
    s = session.Session()
    assert s.run(x * 2, {x: [1, 2]}).dtype == np.float32
    assert s.run(x * 2, {"x:0": np.arange(2)}).tolist() == [0, 2]
    assert s.run(x * 2, {x: (True, False)}).tolist() == [2, 0]
    b = array_ops.placeholder(dtypes.bool, [])
    assert s.run(b, {b: True}) and s.run(math_ops.logical_not(b), {b: 0})


def test_unfed_placeholder():
    x = array_ops.placeholder(dtypes.float32, [None, 3], name="inp")
    with pytest.raises(errors.InvalidArgumentError, match="inp"):
        session.Session().run(x + 1)


def test_inner_tensors_can_be_fed():
    x = array_ops.placeholder(dtypes.float32, [])
    h = x + 1
    y = h * 2
    assert session.Session().run(y, {h: 5.0}) == 10
    parts = array_ops.unstack(array_ops.placeholder(dtypes.float32, [2]))
    total = parts[0] + parts[1]
    s = session.Session()
    whole = parts[0].op.inputs[0]
    assert s.run(total, {parts[0]: 10.0, whole: [1, 2]}) == 12


def test_a_fed_tensor_may_be_waited_for():
    """Its operation has nothing to do, so a placeholder is not asked for its value."""
    x = array_ops.placeholder(dtypes.float32, [])
    a, b = control_flow_ops.tuple([x, x * 2])
    s = session.Session()
    assert s.run([a, b], {x: 3.0}) == [3, 6]
    assert s.run([x.op, b], {x: 3.0}) == [None, 6]


def test_run_errors_are_of_run_time_classes():
    x = array_ops.placeholder(dtypes.float32)
    s = session.Session()
    with pytest.raises(errors.InvalidArgumentError) as e:
        s.run(array_ops.reshape(x, [5, -1]), {x: np.zeros((2, 3))})
    assert e.value.op.type == "Reshape" and "Reshape" in str(e.value)
    i = array_ops.placeholder(dtypes.int32)
    with pytest.raises(errors.InvalidArgumentError, match="zero"):
        s.run(i // 0, {i: 3})


def test_session_states():
    x = array_ops.constant(1.0)
    with graph.Graph().as_default():
        y = array_ops.constant(2.0)
    s = session.Session()
    with pytest.raises(ValueError):
        s.run(y)
    with pytest.raises(ValueError):
        y.eval(session=s)
    with pytest.raises(ValueError):
        x.eval()
    with s.as_default():
        assert x.eval() == 1 and session.get_default_session() is s
    with pytest.raises(RuntimeError):
        session.Session(graph=graph.Graph()).run(x)
    s.close()
    with pytest.raises(RuntimeError):
        s.run(x)
    for bad in ({"target": 3}, {"graph": 3}, {"config": 3}):
        with pytest.raises(TypeError):
            session.Session(**bad)


def test_config_sets_the_number_of_threads():
    before = engine.get_num_threads()
    try:
        session.Session(config=config.ConfigProto(intra_op_parallelism_threads=1))
        assert engine.get_num_threads() == 1
    finally:
        engine.set_num_threads(before)
    options = config.ConfigProto(allow_soft_placement=True)
    options.gpu_options.allow_growth = True
    with pytest.raises(AttributeError, match="allow_growth"):
        options.gpu_options.alow_growth = True


def test_interactive_session():
    s = session.InteractiveSession()
    x = array_ops.constant(3.0)
    assert x.eval() == 3
    s.close()
    with pytest.raises(ValueError):
        x.eval()


def _variable(value, name="v"):
    v = state_ops.variable_op(np.shape(value), dtypes.float32, name)
    return v, state_ops.assign(v, value)


def test_each_session_has_its_own_variables():
    v, init = _variable(1.0)
    a, b = session.Session(), session.Session()
    a.run(init), b.run(init)
    a.run(state_ops.assign(v, 5.0))
    assert (a.run(v), b.run(v)) == (5, 1)
    with pytest.raises(errors.FailedPreconditionError, match="'v'"):
        session.Session().run(v + 1)
    assert not session.Session().run(state_ops.is_variable_initialized(v))


def test_results_belong_to_the_caller():
    """Writing into a result or a fed array changes nothing inside."""
    v, init = _variable([1.0, 2.0])
    x = array_ops.placeholder(dtypes.float32, [2])
    store = state_ops.assign(v, x)
    c = array_ops.constant([7.0, 8.0])
    s = session.Session()
    s.run(init)
    fed = np.ones(2, np.float32)
    out = s.run([store, v, x, array_ops.reshape(x, [1, 2]), c], {x: fed})
    for a in out:
        a += 100
    fed += 50
    assert s.run(v).tolist() == [1, 1] and s.run(c).tolist() == [7, 8]
    a, b = s.run([x * 2, array_ops.identity(x * 2)], {x: fed})
    a += 1
    assert not np.shares_memory(a, b)


def test_read_before_and_after_an_update():
    v, init = _variable(1.0)
    before = array_ops.identity(v) + 0.0
    up = state_ops.assign_add(v, 1.0)
    s = session.Session()
    s.run(init)
    assert s.run([before, up]) == [1, 2]


def test_what_is_ordered_after_an_update_sees_it():
    """As in TensorFlow, where a read of a variable shares the memory that the update changes."""
    for update in (
        lambda v: state_ops.assign_add(v, [1.0, 1.0]),
        lambda v: state_ops.assign(v, [4.0, 4.0]),
        lambda v: state_ops.scatter_add(v, [0, 1], [1.0, 1.0]),
    ):
        v, init = _variable([3.0, 3.0])
        w, init_w = _variable([0.0, 0.0])
        read = array_ops.identity(v, name="read")
        early = read * 2.0
        with context.control_dependencies([update(v)]):
            late = read + 0.0
            kept = early * 1.0
            copied = state_ops.assign(w, read)
        behind = late * read  # ordered by its input
        apart = read * 5.0  # not ordered: the value that the run began with
        with session.Session() as s:
            s.run([init, init_w])
            got = s.run([late, kept, copied, behind, apart])
        np.testing.assert_array_equal(got, [[4, 4], [6, 6], [4, 4], [16, 16], [15, 15]])


def test_a_fetched_variable_shows_the_updates_of_the_run():
    v, init = _variable(3.0)
    read = array_ops.identity(v)
    up = state_ops.assign_add(v, 1.0)
    with session.Session() as s:
        s.run(init)
        assert s.run([read, up, v, read]) == [4, 4, 4, 4]
        assert s.run([up, read + 0.0]) == [5, 4]


def test_a_fed_read_stays_fed_after_an_update():
    v, init = _variable(3.0)
    read = array_ops.identity(v)
    with context.control_dependencies([state_ops.assign_add(v, 1.0)]):
        late = read + 0.0
    with session.Session() as s:
        s.run(init)
        assert s.run(late, {read: 10.0}) == 10
        assert s.run(v) == 4


def test_make_callable():
    x = array_ops.placeholder(dtypes.float32, [])
    call = session.Session().make_callable([x * 2, x], feed_list=[x])
    assert call(3.0) == [6, 3] and call(4) == [8, 4]
    with pytest.raises(TypeError):
        call()


def test_plans_are_made_once_and_see_new_operations():
    x = array_ops.placeholder(dtypes.float32, [])
    y = x + 1
    s = session.Session()
    for i in range(3):
        assert s.run(y, {x: i}) == i + 1
    assert len(s._plans) == 1
    z = y * 3
    assert s.run(z, {x: 1}) == 6 and len(s._plans) == 2


def test_only_what_is_needed_runs():
    ran = []
    a = control_flow_ops.py_func(lambda: ran.append("a") or np.float32(1), [], dtypes.float32)
    b = control_flow_ops.py_func(lambda: ran.append("b") or np.float32(2), [], dtypes.float32)
    s = session.Session()
    s.run(a)
    assert ran == ["a"]
    # A static shape needs no value.
    b.set_shape([])
    s.run(array_ops.size(b))
    assert ran == ["a"]


def test_dead_values_are_freed():
    """A chain of large results holds few of them at a time."""
    import tracemalloc

    x = array_ops.placeholder(dtypes.float32, [None])
    y = x
    for _ in range(20):
        y = y + 1.0
    total = math_ops.reduce_sum(y)
    s = session.Session()
    big = np.zeros(1_000_000, np.float32)
    s.run(total, {x: big})
    tracemalloc.start()
    s.run(total, {x: big})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * big.nbytes


def test_threads_share_a_session():
    v, init = _variable(0.0)
    x = array_ops.placeholder(dtypes.float32, [8])
    up = state_ops.assign_add(v, 1.0)
    y = math_ops.reduce_sum(x * x)
    s = session.Session()
    s.run(init)
    wrong = []

    def work(i):
        for _ in range(100):
            s.run(up)
            if s.run(y, {x: np.full(8, i)}) != 8 * i * i:
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong and s.run(v) == 800


def test_threads_build_one_graph(g):
    def work():
        with g.as_default():
            for _ in range(50):
                array_ops.constant(1.0) + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    names = [op.name for op in g.get_operations()]
    assert len(names) == len(set(names)) == 4 * 50 * 3


@pytest.fixture
def fused_pair():
    calls = []

    def compute(attrs, x, y, z):
        calls.append(len(attrs))
        return np.tanh(x * y + z)

    pattern = fusion.register(("Mul", "Add", "Tanh"), compute)
    yield calls
    fusion._PATTERNS["Mul"].remove(pattern)


def test_chains_are_fused_where_nothing_else_reads_them(fused_pair):
    x = array_ops.placeholder(dtypes.float32, [3])
    product = x * 2
    y = math_ops.tanh(product + 1)
    s = session.Session()
    want = np.tanh(np.arange(3.0) * 2 + 1).astype(np.float32)
    np.testing.assert_allclose(s.run(y, {x: np.arange(3)}), want, rtol=1e-6)
    assert fused_pair == [3]
    got, _ = s.run([y, product], {x: np.arange(3)})  # product is fetched: no fusion
    np.testing.assert_allclose(got, want, rtol=1e-6)
    with_feed = s.run(y, {product: np.zeros(3)})
    np.testing.assert_allclose(with_feed, np.tanh(np.ones(3)), rtol=1e-6)
    assert fused_pair == [3]


def test_registering_twice_is_refused():
    with pytest.raises(ValueError, match=r"array_ops\.py.*test_session\.py"):
        registry.register("Const", infer=lambda a, i: [], compute=lambda a: None)
    with pytest.raises(ValueError, match="NoSuchOp"):
        registry.get("NoSuchOp")
