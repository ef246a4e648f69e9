"""Every optimizer, decay and average, step by step against TensorFlow 1.15, in both modes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from conv3d import train
from conv3d.contrib import opt
from conv3d.framework import context
from conv3d.framework.graph import Graph
from conv3d.framework.session import Session
from conv3d.ops import array_ops, clip_ops
from conv3d.train import moving_averages
from conv3d.variables import collections
from conv3d.variables.variable import Variable

CASES = json.loads((Path(__file__).parents[2] / "data" / "optimizers" / "cases.json").read_text())
TOLERANCE = {"float16": 4e-3, "float32": 3e-6, "float64": 1e-12}


def gradients(dtype):
    rng = np.random.RandomState(5)
    return [(rng.randn(3).astype(dtype), rng.randn(2, 2).astype(dtype)) for _ in range(5)]


def starts(dtype):
    rng = np.random.RandomState(6)
    return rng.randn(3).astype(dtype), rng.randn(2, 2).astype(dtype)


def make(case, step):
    kwargs = dict(case["kwargs"])
    if case["class"] == "AdagradDAOptimizer":
        kwargs["global_step"] = step
    return getattr(opt if case.get("contrib") else train, case["class"])(**kwargs)


def close(found, wanted, dtype, key):
    assert found.dtype == np.dtype(dtype)
    bound = TOLERANCE[dtype]
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound, err_msg=key)


@pytest.mark.parametrize("case", CASES["optimizers"], ids=lambda case: case["id"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_graph_mode(case, dtype, traces):
    names = traces.names[case["id"]]
    with Graph().as_default(), Session() as sess:
        a, b = (Variable(v, name=n) for v, n in zip(starts(dtype), "ab", strict=True))
        feeds = [array_ops.placeholder(dtype, v.shape.as_list()) for v in (a, b)]
        step = train.get_or_create_global_step()
        made = make(case, step)
        update = made.apply_gradients(list(zip(feeds, (a, b), strict=True)), global_step=step)
        assert update.name == names["op"]
        own = [a, b, *made.variables()]
        assert [v.name for v in own] == names["variables"]
        assert made.get_slot_names() == names["slots"]
        sess.run(collections.global_variables_initializer())
        for count, values in enumerate(gradients(dtype)):
            sess.run(update, dict(zip(feeds, values, strict=True)))
            if dtype not in names["dtypes"]:  # TensorFlow's own optimizer refuses it
                continue
            for variable, value in zip(own, sess.run(own), strict=True):
                key = f"{case['id']}/{dtype}/{count}/{variable.op.name}"
                close(value, traces[key], variable.dtype.base_dtype.name, key)
        assert sess.run(step) == 5


@pytest.mark.parametrize("case", CASES["optimizers"], ids=lambda case: case["id"])
def test_eager_mode(case, traces, eager):
    a, b = (Variable(v, name=n) for v, n in zip(starts("float32"), "ab", strict=True))
    step = Variable(np.int64(0), trainable=False)
    made = make(case, step)
    for count, values in enumerate(gradients("float32")):
        assert (
            made.apply_gradients(list(zip(values, (a, b), strict=True)), global_step=step) is None
        )
        for variable in (a, b):
            key = f"{case['id']}/float32/{count}/{variable.name[:-2]}"
            close(variable.numpy(), traces[key], "float32", key)
    names = traces.names[case["id"]]
    assert made.get_slot_names() == names["slots"]
    assert len(made.variables()) == len(names["variables"]) - 2
    assert step.numpy() == 5


def decay_arguments(case, step):
    kwargs = dict(case["kwargs"])
    kwargs["x" if case["function"] == "piecewise_constant" else "global_step"] = step
    if "boundaries" in kwargs:
        kwargs["boundaries"] = [np.int64(v) for v in kwargs["boundaries"]]
    return kwargs


@pytest.mark.parametrize("case", CASES["decays"], ids=lambda case: case["id"])
def test_decay(case, traces):
    with Graph().as_default(), Session() as sess:
        step = array_ops.placeholder("int64", [])
        rate = getattr(train, case["function"])(**decay_arguments(case, step))
        found = [sess.run(rate, {step: s}) for s in CASES["steps"]]
    np.testing.assert_allclose(found, traces["decay/" + case["id"]], rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize("case", CASES["decays"], ids=lambda case: case["id"])
def test_decay_in_eager_mode_is_a_function_of_the_step(case, traces, eager):
    step = Variable(np.int64(0), trainable=False)
    rate = getattr(train, case["function"])(**decay_arguments(case, step))
    found = []
    for value in CASES["steps"]:
        step.assign(np.int64(value))
        found.append(rate().numpy())
    np.testing.assert_allclose(found, traces["decay/" + case["id"]], rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize("kind", ["plain", "updates", "tensor"])
def test_moving_average(kind, traces):
    names = traces.names["ema/" + kind]
    with Graph().as_default(), Session() as sess:
        v = Variable(np.array([1.0, 2.0], np.float32), name="v")
        step = Variable(0, name="step")
        ema = train.ExponentialMovingAverage(
            0.9, num_updates=step if kind == "updates" else None, zero_debias=kind == "tensor"
        )
        target = array_ops.identity(v * 2.0, name="t") if kind == "tensor" else v
        update = ema.apply([target])
        assert sorted(x.name for x in collections.global_variables()) == names["variables"]
        assert ema.average_name(target) == names["average"]
        restore = {name: x.name for name, x in ema.variables_to_restore().items()}
        assert restore == names["restore"]
        sess.run(collections.global_variables_initializer())
        for count in range(4):
            sess.run(v.assign_add([1.0, -0.5]))
            sess.run(step.assign_add(1))
            sess.run(update)
            found = sess.run(ema.average(target))
            np.testing.assert_allclose(found, traces[f"ema/{kind}/{count}"], rtol=1e-6)


def test_moving_average_in_eager_mode(traces, eager):
    v = Variable(np.array([1.0, 2.0], np.float32), name="v")
    ema = train.ExponentialMovingAverage(0.9)
    shadow = None
    for count in range(4):
        if count == 0:
            ema.apply([v])  # makes the shadow from the value before the first change
            shadow = ema.average(v)
            shadow.assign(v.value())
        v.assign_add([1.0, -0.5])
        ema.apply([v])
        np.testing.assert_allclose(shadow.numpy(), traces[f"ema/plain/{count}"], rtol=1e-6)


def test_assign_moving_average_corrects_the_start_at_zero():
    with Graph().as_default(), Session() as sess:
        v = Variable(np.zeros(2, np.float32), name="v")
        value = array_ops.placeholder("float32", [2])
        update = moving_averages.assign_moving_average(v, value, 0.9)
        sess.run(collections.global_variables_initializer())
        # The corrected average of a constant is the constant from the first step on.
        for _ in range(3):
            np.testing.assert_allclose(sess.run(update, {value: [4.0, -2.0]}), [4, -2], rtol=1e-5)


def test_clipping_by_norms(traces):
    with Graph().as_default(), Session() as sess:
        t = [traces["clip/in/0"], traces["clip/in/1"]]
        clipped, norm = clip_ops.clip_by_global_norm([*t, None], 1.2)
        found = sess.run(
            {
                "norm": clip_ops.clip_by_norm(t[0], 0.7),
                "norm_axes": clip_ops.clip_by_norm(t[0], 0.7, axes=[1]),
                "norm_loose": clip_ops.clip_by_norm(t[0], 70.0),
                "average": clip_ops.clip_by_average_norm(t[0], 0.1),
                "global/0": clipped[0],
                "global/1": clipped[1],
                "global_norm": norm,
            }
        )
        assert clipped[2] is None
        for key, value in found.items():
            np.testing.assert_allclose(value, traces["clip/" + key], rtol=1e-6, err_msg=key)
        broken, _ = clip_ops.clip_by_global_norm([t[0], np.array([np.inf], np.float32)], 1.0)
        assert all(np.isnan(value).all() for value in sess.run(broken))
        with pytest.raises(TypeError, match="t_list"):
            clip_ops.clip_by_global_norm(array_ops.zeros([3]), 1.0)


def test_context_is_graph_mode_again():
    assert not context.executing_eagerly()
