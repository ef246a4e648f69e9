"""For every op of the registry: shape rule against result, registered gradient against differences.

Nothing here names an op: what is registered is tested with the samples that stand beside it.
"""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest

import conv3d.ops
from conv3d.framework import convert, dtypes, execute, graph, registry, session
from conv3d.framework.gradients import gradients
from conv3d.framework.tensor_shape import TensorShape
from conv3d.ops import array_ops

for _module in pkgutil.iter_modules(conv3d.ops.__path__):
    importlib.import_module(f"conv3d.ops.{_module.name}")

_STEP = 1e-6


def _samples(name: str) -> list:
    op_def = registry.get(name)
    return op_def.samples() if op_def.samples is not None else []


def _cases(wanted) -> list:
    return [
        pytest.param(name, i, id=f"{name}-{i}")
        for name in registry.names()
        if wanted(registry.get(name))
        for i in range(len(_samples(name)))
    ]


def _is_float(array: np.ndarray) -> bool:
    return np.asarray(array).dtype.kind == "f"


def _outputs(result) -> list:
    if result is None:
        return []
    return list(result) if isinstance(result, list) else [result]


def _call(name: str, attrs: dict, inputs: list) -> list:
    return _outputs(execute.apply_op(name, inputs, dict(attrs)))


@pytest.mark.parametrize("name", registry.names())
def test_gradient_is_stated(name):
    """An op is differentiable, with samples to prove it, or says that it is not."""
    op_def = registry.get(name)
    if op_def.gradient is registry.NOT_DIFFERENTIABLE:
        return
    if op_def.gradient is None:
        # Only the gradient of a gradient may be missing; asking for it is an error.
        assert name.endswith("Grad") or "Backprop" in name, (
            f"{name} ({op_def.where}) states neither a gradient nor NOT_DIFFERENTIABLE"
        )
        return
    assert op_def.samples is not None or op_def.stateful or name == "CustomGradient", (
        f"{name} ({op_def.where}) has a gradient but no samples"
    )


@pytest.mark.parametrize("name,i", _cases(lambda d: True))
def test_shape_rule_agrees_with_result(name, i):
    attrs, arrays = _samples(name)[i]
    for known in ("values", "shapes", "ranks", "nothing"):
        with graph.Graph().as_default() as g:
            if known == "values":
                inputs = [convert.convert_to_tensor(a) for a in arrays]
            else:
                inputs = []
                for a in arrays:
                    a = np.asarray(a)
                    shape = {"shapes": a.shape, "ranks": [None] * a.ndim, "nothing": None}[known]
                    inputs.append(array_ops.placeholder(dtypes.as_dtype(a.dtype), shape))
            outputs = _call(name, attrs, inputs)
            feeds = {} if known == "values" else dict(zip(inputs, arrays, strict=False))
            values = session.Session(graph=g).run(outputs, feeds)
        for tensor, value in zip(outputs, values, strict=False):
            value = np.asarray(value)
            assert tensor.dtype.base_dtype == dtypes.as_dtype(value.dtype), known
            assert tensor.shape.is_compatible_with(TensorShape(value.shape)), known
            if known == "values" and not registry.get(name).stateful and value.dtype != object:
                # The number of results depends on the values.
                free = name in ("Where", "Unique", "Bincount", "BroadcastGradientArgs")
                assert free or tensor.shape.is_fully_defined(), f"{name}: {tensor.shape}"


@pytest.mark.parametrize("name,i", _cases(lambda d: not d.stateful))
def test_inputs_are_left_alone(name, i):
    attrs, arrays = _samples(name)[i]
    arrays = [np.array(a) for a in arrays]
    copies = [a.copy() for a in arrays]
    registry.get(name).compute(dict(attrs), *arrays)
    for a, b in zip(arrays, copies, strict=False):
        np.testing.assert_array_equal(a, b)


def _numeric(run, arrays: list, at: int) -> np.ndarray:
    """Central differences of a scalar function by the elements of `arrays[at]`."""
    out = np.zeros_like(arrays[at])
    for index in np.ndindex(out.shape):
        values = []
        for step in (_STEP, -_STEP):
            moved = [np.array(a) for a in arrays]
            moved[at][index] += step
            values.append(run(moved))
        out[index] = (values[0] - values[1]) / (2 * _STEP)
    return out


def _weights(shape) -> np.ndarray:
    """Fixed uneven numbers, so that no error cancels in a sum."""
    n = int(np.prod(shape))
    return (np.cos(np.arange(n) * 1.7) + 0.3).reshape(shape)


def _loss(outputs: list) -> object:
    """A sum over all float outputs with uneven weights."""
    terms = []
    for t in outputs:
        if t.dtype.is_floating:
            weights = convert.convert_to_tensor(_weights(tuple(t.shape.as_list())))
            axes = np.arange(t.shape.ndims, dtype=np.int32)
            product = execute.apply_op("Mul", [t, weights])
            terms.append(execute.apply_op("Sum", [product, axes], {"keep_dims": False}))
    return execute.apply_op("AddN", terms, {"N": len(terms)}) if terms else None


def _gradients(loss: object, xs: list) -> list:
    found = gradients(loss, xs)
    return [None if f is None else convert.convert_to_tensor(f) for f in found]


def _check(name: str, i: int, order: int) -> None:
    attrs, arrays = _samples(name)[i]
    arrays = [np.asarray(a, np.float64) if _is_float(a) else np.asarray(a) for a in arrays]
    floats = [k for k, a in enumerate(arrays) if _is_float(a)]
    with graph.Graph().as_default() as g:
        inputs = [
            array_ops.placeholder(dtypes.float64, a.shape)
            if _is_float(a)
            else convert.convert_to_tensor(a)
            for a in arrays
        ]
        loss = _loss(_call(name, attrs, inputs))
        if loss is None:
            return
        found = _gradients(loss, [inputs[k] for k in floats])
        if order == 2:
            loss = _loss([f for f in found if f is not None])
            found = _gradients(loss, [inputs[k] for k in floats]) if loss is not None else []
    s = session.Session(graph=g)

    def feed(values: list) -> dict:
        return {inputs[k]: values[k] for k in floats}

    for k, tensor in zip(floats, found, strict=False):
        numeric = _numeric(lambda v: s.run(loss, feed(v)), arrays, k)
        if tensor is None:
            analytic = np.zeros_like(arrays[k])
        else:
            assert tensor.dtype == dtypes.float64
            analytic = s.run(tensor, feed(arrays))
        np.testing.assert_allclose(analytic, numeric, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("name,i", _cases(lambda d: d.differentiable and not d.stateful))
def test_gradient_agrees_with_differences(name, i):
    _check(name, i, 1)


def _second_order(d: registry.OpDef) -> bool:
    return d.differentiable and not d.stateful


@pytest.mark.parametrize("name,i", _cases(_second_order))
def test_second_gradient_agrees_with_differences(name, i):
    _attrs, arrays = _samples(name)[i]
    if sum(np.asarray(a).size for a in arrays if _is_float(a)) > 64:
        pytest.skip("first order covers it; second-order differences of large samples are slow")
    try:
        _check(name, i, 2)
    except LookupError as e:
        # A stated end: the gradient op has no gradient of its own.
        assert "no registered gradient" in str(e)
