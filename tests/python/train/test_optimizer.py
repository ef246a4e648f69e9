"""The optimizer's base: the three steps, slots, the step count, constraints, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d import partitioners, train
from conv3d.framework.graph import Graph, GraphKeys, get_collection
from conv3d.framework.session import Session
from conv3d.ops import array_ops, control_flow_ops, math_ops
from conv3d.variables import collections, variable_scope
from conv3d.variables.variable import Variable


def run(update, times=1):
    with Session() as sess:
        sess.run(collections.global_variables_initializer())
        for _ in range(times):
            sess.run(update)
        return sess.run(collections.global_variables())


@pytest.fixture
def graph():
    with Graph().as_default() as made:
        yield made


def test_minimize_goes_down(graph):
    v = Variable(np.array([3.0, -2.0], np.float32), name="v")
    frozen = Variable(np.float32(1), name="frozen", trainable=False)
    step = train.get_or_create_global_step()
    loss = math_ops.reduce_sum(v * v) * frozen
    update = train.GradientDescentOptimizer(0.1).minimize(loss, global_step=step)
    assert update.name == "GradientDescent"
    assert get_collection(GraphKeys.TRAIN_OP) == [update]
    v_now, frozen_now, step_now = run(update, 3)
    np.testing.assert_allclose(v_now, np.array([3.0, -2.0]) * 0.8**3, rtol=1e-6)
    assert frozen_now == 1 and step_now == 3


def test_operation_without_step_is_named_too(graph):
    v = Variable(1.0, name="v")
    adam = train.AdamOptimizer()
    assert adam.minimize(v * v, name="go").name == "go"
    assert adam.get_name() == "Adam"
    assert train.AdamOptimizer(name="Other").minimize(v * v).name == "Other"


def test_slots_of_layers_are_named_after_the_variable(graph):
    with variable_scope.variable_scope("conv3d"):
        kernel = variable_scope.get_variable("kernel", [2, 2])
    loss = math_ops.reduce_sum(kernel * kernel)
    with variable_scope.variable_scope("opt"):
        adam = train.AdamOptimizer()
        adam.minimize(loss)
    names = [v.name for v in adam.variables()]
    assert names == [
        "opt/beta1_power:0", "opt/beta2_power:0", "opt/conv3d/kernel/Adam:0",
        "opt/conv3d/kernel/Adam_1:0",
    ]  # fmt: skip
    assert adam.get_slot(kernel, "m").name == "opt/conv3d/kernel/Adam:0"
    assert adam.get_slot(kernel, "nothing") is None
    assert adam.get_slot_names() == ["m", "v"]
    assert not any(v.trainable for v in adam.variables())


def test_slots_of_a_partitioned_variable_are_saved_as_one(graph, tmp_path):
    with variable_scope.variable_scope("p", partitioner=partitioners.fixed_size_partitioner(2)):
        parts = variable_scope.get_variable("w", [5, 2])
        opt = train.MomentumOptimizer(0.1, 0.9)
        update = opt.minimize(math_ops.reduce_sum(parts.as_tensor()))
    with Session() as sess:
        sess.run(collections.global_variables_initializer())
        sess.run(update)
        path = train.Saver().save(sess, str(tmp_path / "m"))
    names = dict(train.list_variables(path))
    assert names == {"p/w": [5, 2], "p/w/Momentum": [5, 2]}
    with pytest.raises(NotImplementedError, match="PartitionedVariable"):
        opt.compute_gradients(math_ops.reduce_sum(parts.as_tensor()), [parts])


def test_compute_gradients(graph):
    v, w = Variable(2.0, name="v"), Variable(1.0, name="w")
    opt = train.GradientDescentOptimizer(1.0)
    for gate in (opt.GATE_NONE, opt.GATE_OP, opt.GATE_GRAPH):
        pairs = opt.compute_gradients(v * v, gate_gradients=gate)
        assert [p[1] for p in pairs] == [v, w]
        assert pairs[1][0] is None
        assert run(pairs[0][0]) is not None
    (gradient, _) = opt.compute_gradients(v * v, [v], grad_loss=np.float32(3))[0]
    with Session() as sess:
        sess.run(v.initializer)
        assert sess.run(gradient) == 12
    nested = opt.compute_gradients(v * w, [[v], {"w": w}])
    assert [p[1] for p in nested] == [v, w]


def test_learning_rate_may_be_a_tensor_a_variable_or_a_function(graph):
    v = Variable(1.0, name="v", dtype="float64")
    rate = array_ops.placeholder("float32", [])
    for given, feeds in ((rate, {rate: 0.25}), (Variable(0.25), {}), (lambda: 0.25, {})):
        update = train.GradientDescentOptimizer(given).minimize(v * v, var_list=[v])
        with Session() as sess:
            sess.run(collections.global_variables_initializer())
            sess.run(update, feeds)
            assert sess.run(v) == 0.5


def test_constraint_is_applied_after_the_update(graph):
    v = Variable(np.array([1.0, -1.0], np.float32), constraint=lambda x: math_ops.maximum(x, 0.0))
    Variable(np.float32(-5), constraint=lambda x: math_ops.maximum(x, 0.0), name="u")
    update = train.GradientDescentOptimizer(2.0).minimize(math_ops.reduce_sum(v * v))
    v_now, u_now = run(update)
    # v - 2 * 2v = -3v = (-3, 3), then projected; u has no gradient and no projection.
    assert v_now.tolist() == [0.0, 3.0] and u_now == -5
    with Session() as sess:
        sess.run(collections.global_variables_initializer())
        assert sess.run(v).tolist() == [1.0, -1.0]  # not by initialisation


@pytest.mark.parametrize(
    "make",
    [
        lambda: train.AdamOptimizer(0.1),
        lambda: train.MomentumOptimizer(0.1, 0.9),
        lambda: train.RMSPropOptimizer(0.1),
        lambda: train.AdagradOptimizer(0.1),
        lambda: train.AdadeltaOptimizer(0.1),
        lambda: train.FtrlOptimizer(0.1),
        lambda: train.ProximalAdagradOptimizer(0.1),
    ],
)
def test_every_optimizer_applies_constraints_in_both_modes(make, graph):
    v = Variable(np.float32(0.5), constraint=lambda x: x * 0.0 + 7.0)
    assert run(make().minimize(v * v))[0] == 7


def test_constraint_in_eager_mode(eager):
    v = Variable(np.float32(0.5), constraint=lambda x: x * 0.0 + 7.0)
    train.AdamOptimizer().minimize(lambda: v * v)
    assert v.numpy() == 7


def test_eager_minimize(eager):
    v = Variable(np.array([3.0, -2.0], np.float32), name="v")
    other = Variable(np.float32(2), name="other")
    step = train.get_or_create_global_step()
    opt = train.MomentumOptimizer(0.1, 0.5)
    start = int(step.numpy())
    for _ in range(2):
        assert opt.minimize(lambda: math_ops.reduce_sum(v * v), global_step=step) is None
    first = np.array([3.0, -2.0]) * 0.8
    np.testing.assert_allclose(
        v.numpy(), first - 0.1 * (2 * first + 0.5 * np.array([6.0, -4.0])), rtol=1e-6
    )
    assert other.numpy() == 2 and step.numpy() == start + 2
    assert opt.get_slot(v, "momentum").name == "v/Momentum:0"
    with pytest.raises(RuntimeError, match="function"):
        opt.minimize(v * v)
    with pytest.raises(ValueError):
        opt.minimize(lambda: math_ops.reduce_sum(v * v), var_list=[other])


def test_slots_in_eager_mode_follow_the_object_not_the_name(eager):
    opt = train.MomentumOptimizer(0.1, 0.5)
    first, second = Variable(np.float32(1), name="v"), Variable(np.float32(2), name="v")
    opt.minimize(lambda: first * first)
    opt.minimize(lambda: second * second)
    assert opt.get_slot(first, "momentum").numpy() == 2
    assert opt.get_slot(second, "momentum").numpy() == 4
    assert len(opt.variables()) == 2


def test_one_optimizer_in_two_graphs():
    opt = train.AdamOptimizer(0.1)
    for _ in range(2):
        with Graph().as_default():
            v = Variable(1.0, name="v")
            update = opt.minimize(v * v)
            assert len(opt.variables()) == 4
            assert abs(run(update)[0] - 0.9) < 1e-5


def test_subclass_with_the_protected_names(graph):
    class Sign(train.Optimizer):
        def __init__(self):
            super().__init__(False, "Sign")

        def _create_slots(self, var_list):
            for v in var_list:
                self._zeros_slot(v, "seen", self._name)

        def _apply_dense(self, grad, var):
            seen = self.get_slot(var, "seen").assign_add(math_ops.abs(grad))
            return control_flow_ops.group(var.assign_sub(math_ops.sign(grad)).op, seen.op)

    v = Variable(np.array([3.0, -2.0], np.float32), name="v")
    v_now, seen = run(Sign().minimize(math_ops.reduce_sum(v * v)))
    assert v_now.tolist() == [2.0, -1.0] and seen.tolist() == [6.0, 4.0]


def test_refusals(graph):
    opt = train.GradientDescentOptimizer(0.1)
    with pytest.raises(ValueError, match="var_list"):
        opt.minimize(array_ops.placeholder("float32", []))
    v = Variable(1.0, name="v")
    n = Variable(1, name="n")
    with pytest.raises(ValueError, match="name"):
        train.AdamOptimizer(name="")
    with pytest.raises(ValueError, match="loss"):
        opt.minimize(array_ops.placeholder("float32", []))
    with pytest.raises(ValueError, match="gate_gradients"):
        opt.compute_gradients(v * v, gate_gradients=7)
    with pytest.raises(ValueError, match="int32"):
        opt.compute_gradients(n * n)
    with pytest.raises(TypeError, match="var_list"):
        opt.compute_gradients(v * v, ["v"])
    with pytest.raises(ValueError, match="grads_and_vars"):
        opt.apply_gradients([])
    with pytest.raises(ValueError, match="v:0"):
        opt.apply_gradients([(None, v)])
    with pytest.raises(NotImplementedError, match="no variable"):
        opt.apply_gradients([(np.float32(1), v * v)])
    with pytest.raises(TypeError, match="grads_and_vars"):
        opt.apply_gradients([(object(), v)])
    with pytest.raises((TypeError, ValueError)):
        opt.apply_gradients([(np.float64(1), v)])
    with pytest.raises(ValueError):
        opt.apply_gradients([(np.zeros(3, np.float32), v)])
    for bad in (
        lambda: train.AdagradOptimizer(0.1, 0.0),
        lambda: train.ProximalAdagradOptimizer(0.1, 0.0),
        lambda: train.FtrlOptimizer(0.1, learning_rate_power=0.1),
        lambda: train.FtrlOptimizer(0.1, initial_accumulator_value=-1),
        lambda: train.FtrlOptimizer(0.1, l1_regularization_strength=-1),
        lambda: train.FtrlOptimizer(0.1, l2_regularization_strength=-1),
        lambda: train.FtrlOptimizer(0.1, l2_shrinkage_regularization_strength=-1),
    ):
        with pytest.raises(ValueError, match="has to be"):
            bad()


def test_gradient_of_another_shape_at_run_time(graph):
    from conv3d import errors

    v = Variable(np.zeros(2, np.float32), name="v")
    gradient = array_ops.placeholder("float32", None)
    update = train.GradientDescentOptimizer(0.1).apply_gradients([(gradient, v)])
    with Session() as sess:
        sess.run(v.initializer)
        with pytest.raises(errors.InvalidArgumentError, match="shape"):
            sess.run(update, {gradient: np.zeros(3)})
        with Session() as fresh, pytest.raises(errors.FailedPreconditionError):
            fresh.run(update, {gradient: np.zeros(2)})


class TestGlobalStep:
    def test_life(self, graph):
        assert train.get_global_step() is None
        step = train.create_global_step()
        assert step.name == "global_step:0" and step.dtype.base_dtype.name == "int64"
        assert train.get_global_step() is step is train.get_or_create_global_step()
        with pytest.raises(ValueError, match="global step"):
            train.create_global_step()
        with Session() as sess:
            sess.run(collections.global_variables_initializer())
            assert train.global_step(sess, step) == 0

    def test_found_by_name(self, graph):
        Variable(0, name="global_step", trainable=False)
        assert train.get_global_step().name == "global_step:0"

    def test_refusals(self, graph):
        for bad in (Variable(1.0), Variable([1, 2]), 3):
            with pytest.raises(TypeError, match="global_step_tensor"):
                train.assert_global_step(bad)
