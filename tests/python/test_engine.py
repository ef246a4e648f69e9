"""conv3d.engine: the numbers.

Arrays and arguments are in test_engine_arrays.py and test_bad_inputs.py.
"""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conv3d import engine
from engine_oracle import Problem, integers, of_problem, problem_set

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
RECORDS = json.loads((GOLDEN / "numeric_public.json").read_text(encoding="utf-8"))["records"]
TOLERANCE = {"float64": (1e-9, 1e-9), "float32": (2e-5, 1e-5), "float16": (2e-2, 1e-2)}
DATA_FORMATS = ("channels_last", "channels_first")


def to_first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def to_last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


# --- TensorFlow's own results --------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "numeric_public.npz") as data:
        return dict(data)


ACTIVATIONS = {
    None: (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(z.dtype)),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1, np.exp(np.minimum(z, 0))).astype(z.dtype),
    ),
}


def assert_close(name, got, want):
    assert got.shape == want.shape, name
    assert got.dtype == want.dtype, name
    rtol, atol = TOLERANCE[str(want.dtype)]
    g, w = got.astype(np.float64), want.astype(np.float64)
    scale = max(float(np.abs(w).max()) if w.size else 1.0, 1.0)
    assert np.all(np.abs(g - w) <= rtol * np.abs(w) + atol * scale), (
        f"{name}: {np.abs(g - w).max()} of {scale}"
    )


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r["id"])
def test_golden(golden, record):
    """Forward, both gradients and the bias gradient equal what TensorFlow 1.x computed."""
    p, name = record["params"], record["id"]
    x, dy, w = (golden[f"{name}/{key}"] for key in ("x", "dy", "kernel"))
    bias = golden[f"{name}/bias"] if p["use_bias"] else None
    keywords = {
        "strides": p["strides"],
        "padding": p["padding"],
        "dilations": p["dilation_rate"],
        "data_format": p["data_format"],
    }
    activation, derivative = ACTIVATIONS[p["activation"]]
    fused = p["activation"] if p["activation"] != "elu" else None
    y = engine.forward(x, w, bias, activation=fused, **keywords)
    z = engine.forward(x, w, bias, **keywords)
    assert_close(
        "y", y if p["activation"] != "elu" else activation(z).astype(y.dtype), golden[f"{name}/y"]
    )
    dz = (dy * derivative(z.astype(np.float64))).astype(dy.dtype)
    assert_close("dx", engine.backward_input(x.shape, w, dz, **keywords), golden[f"{name}/dx"])
    assert_close(
        "dkernel", engine.backward_filter(x, w.shape, dz, **keywords), golden[f"{name}/dkernel"]
    )


# --- exact results -------------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize(
    "problem", problem_set("smoke", "edges", "strided", "dilated"), ids=lambda p: p.text
)
def test_direct_summation_is_exact_on_integers(problem: Problem, data_format):
    """`accuracy="strict"` and the reference equal float64 to the last bit, on any threads."""
    rng = np.random.default_rng(1)
    oracle = of_problem(problem)
    x, w = integers(rng, problem.input_shape), integers(rng, problem.filter_shape)
    dy = integers(rng, oracle.output_shape)
    first = data_format == "channels_first"
    shaped = to_first if first else np.ascontiguousarray
    plain = to_last if first else np.asarray
    for settings in (
        {"accuracy": "strict", "num_threads": 1},
        {"accuracy": "strict", "num_threads": 3},
        {"algorithm": "reference"},
    ):
        keywords = {**problem.keywords, **settings, "data_format": data_format}
        y = engine.forward(shaped(x), w, **keywords)
        np.testing.assert_array_equal(plain(y), oracle.forward(x, w))
        dx = engine.backward_input(shaped(x).shape, w, shaped(dy), **keywords)
        np.testing.assert_array_equal(plain(dx), oracle.backward_input(w, dy))
        dw = engine.backward_filter(shaped(x), w.shape, shaped(dy), **keywords)
        np.testing.assert_array_equal(dw, oracle.backward_filter(x, dy))


def forced_names(direction: str, problem: Problem, **keywords):
    """Names of the algorithms that can serve a problem."""
    explanation = engine.explain(
        problem.input_shape,
        problem.filter_shape,
        direction=direction,
        **problem.keywords,
        **keywords,
    )
    return [name for name, seconds, _ in explanation.candidates if seconds is not None]


@pytest.mark.parametrize("problem", problem_set("smoke"), ids=lambda p: p.text)
def test_every_algorithm_by_name(problem: Problem):
    """Each name that `explain` reports can be forced, and stays within its stated bound."""
    rng = np.random.default_rng(2)
    oracle = of_problem(problem)
    x = rng.standard_normal(problem.input_shape).astype(np.float32)
    w = rng.standard_normal(problem.filter_shape).astype(np.float32)
    dy = rng.standard_normal(oracle.output_shape).astype(np.float32)
    calls = {
        "forward": (lambda **k: engine.forward(x, w, **k), oracle.forward(x, w)),
        "backward_input": (
            lambda **k: engine.backward_input(x.shape, w, dy, **k),
            oracle.backward_input(w, dy),
        ),
        "backward_filter": (
            lambda **k: engine.backward_filter(x, w.shape, dy, **k),
            oracle.backward_filter(x, dy),
        ),
    }
    for direction, (call, want) in calls.items():
        for name in forced_names(direction, problem):
            explanation = engine.explain(
                x.shape, w.shape, direction=direction, algorithm=name, **problem.keywords
            )
            assert explanation.algorithm == name
            error = (
                np.abs(call(algorithm=name, **problem.keywords) - want).max() / np.abs(want).max()
            )
            assert error <= explanation.error_bound, (direction, name)


@pytest.mark.slow
@pytest.mark.parametrize("problem", problem_set("networks"), ids=lambda p: p.text)
def test_default_accuracy_on_networks(problem: Problem):
    """The maximum error of the default is at most 1e-5 of the largest output, all directions."""
    rng = np.random.default_rng(3)
    oracle = of_problem(problem)
    x = rng.standard_normal(problem.input_shape).astype(np.float32)
    w = rng.standard_normal(problem.filter_shape).astype(np.float32)
    dy = rng.standard_normal(oracle.output_shape).astype(np.float32)
    for got, want in (
        (engine.forward(x, w, **problem.keywords), oracle.forward(x, w)),
        (engine.backward_input(x.shape, w, dy, **problem.keywords), oracle.backward_input(w, dy)),
        (engine.backward_filter(x, w.shape, dy, **problem.keywords), oracle.backward_filter(x, dy)),
    ):
        assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("problem", problem_set("smoke"), ids=lambda p: p.text)
def test_gradients_are_adjoint(problem: Problem):
    """<dy, conv(x, w)> = <dx, x> = <dw, w>, in float64."""
    rng = np.random.default_rng(4)
    x, w = rng.standard_normal(problem.input_shape), rng.standard_normal(problem.filter_shape)
    y = engine.forward(x, w, **problem.keywords)
    dy = rng.standard_normal(y.shape)
    value = np.vdot(dy, y)
    scale = np.linalg.norm(dy) * np.linalg.norm(y)
    dx = engine.backward_input(x.shape, w, dy, **problem.keywords)
    dw = engine.backward_filter(x, w.shape, dy, **problem.keywords)
    assert abs(np.vdot(dx, x) - value) <= 1e-13 * scale
    assert abs(np.vdot(dw, w) - value) <= 1e-13 * scale


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("data_format", DATA_FORMATS)
def test_half_precision_is_summed_in_float32(dtype, data_format):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, dtype, dtype))
    rng = np.random.default_rng(5)
    x = integers(rng, (2, 6, 6, 6, 32) if data_format == "channels_last" else (2, 32, 6, 6, 6))
    w = integers(rng, (3, 3, 3, 32, 16)) / 64
    bias = integers(rng, (16,))
    wide = engine.forward(
        x, w, bias, padding="same", data_format=data_format, accuracy="strict", activation="relu"
    )
    narrow = engine.forward(
        x.astype(dtype),
        w.astype(dtype),
        bias.astype(dtype),
        padding="same",
        data_format=data_format,
        accuracy="strict",
        activation="relu",
    )
    assert narrow.dtype == dtype
    np.testing.assert_array_equal(narrow.astype(np.float32), wide.astype(dtype).astype(np.float32))
    dw = engine.backward_filter(
        x.astype(dtype), w.shape, narrow, padding="same", data_format=data_format
    )
    assert dw.dtype == dtype
    assert np.isfinite(dw.astype(np.float32)).any()


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_activations(activation, dtype):
    x = np.linspace(-30, 30, 4 * 4 * 4 * 3).reshape(1, 4, 4, 4, 3).astype(dtype)
    w = np.eye(3).reshape(1, 1, 1, 3, 3).astype(dtype)
    bias = np.array([0.5, 0, -0.5], dtype)
    z = x.astype(np.float64) + bias
    want = {
        "relu": np.maximum(z, 0),
        "leaky_relu": np.where(z < 0, 0.2 * z, z),
        "sigmoid": 1 / (1 + np.exp(-z)),
        "tanh": np.tanh(z),
    }[activation]
    for algorithm in ("auto", "reference"):
        y = engine.forward(x, w, bias, activation=activation, algorithm=algorithm)
        np.testing.assert_allclose(y, want, rtol=2e-6 if dtype == np.float32 else 1e-13, atol=1e-7)
    nan = engine.forward(x * np.nan, w, activation=activation)
    assert np.isnan(nan).all()


@pytest.mark.parametrize("where", ["input", "filter"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_stay_within_their_windows(where, value):
    """Direct summation; Winograd's spread over its tile is documented and bounded elsewhere."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((1, 8, 8, 8, 4)).astype(np.float32)
    w = rng.standard_normal((3, 3, 3, 4, 5)).astype(np.float32)
    if where == "input":
        x[0, 4, 4, 4, 1] = value
    else:
        w[1, 1, 1, 1, 2] = value
    y = engine.forward(x, w, padding="same", accuracy="strict")
    touched = np.zeros(y.shape, bool)
    if where == "input":
        touched[0, 3:6, 3:6, 3:6] = True
    else:
        touched[..., 2] = True
    assert not np.isfinite(y[touched]).any()
    assert np.isfinite(y[~touched]).all()


# --- every instruction set -----------------------------------------------------------------------


def child(code_or_arguments, **environment):
    """Runs a fresh interpreter that finds what this one finds."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), **environment}
    arguments = (
        ["-c", code_or_arguments] if isinstance(code_or_arguments, str) else code_or_arguments
    )
    return subprocess.run(
        [sys.executable, *arguments], env=env, capture_output=True, text=True, timeout=600
    )


@pytest.mark.parametrize("isa", list(engine.info()["isa_available"]))
def test_every_instruction_set(isa):
    """The golden records and the exact problems on each instruction set that runs here."""
    if isa == engine.info()["isa"]:
        pytest.skip("it is this process's own, which all other tests use")
    done = child(
        [
            "-m", "pytest", "-q", "-p", "no:cacheprovider", "-x",
            f"{__file__}::test_golden",
            f"{__file__}::test_direct_summation_is_exact_on_integers",
            f"{__file__}::test_every_algorithm_by_name",
        ],
        CONV3D_MAX_ISA=isa,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_forced_instruction_set_is_used_or_refused():
    done = child("from conv3d import engine; print(engine.info()['isa'])", CONV3D_MAX_ISA="generic")
    assert done.stdout.strip() == "generic", done.stderr
    done = child(
        "from conv3d import engine\n"
        "try: engine.explain((1,4,4,4,1), (1,1,1,1,1))\n"
        "except ValueError as e: print(e)",
        CONV3D_MAX_ISA="pentium",
    )
    assert "CONV3D_MAX_ISA is 'pentium'" in done.stdout, done.stderr


def test_environment_forces_an_algorithm():
    code = (
        "from conv3d import engine\n"
        "try: print(engine.explain((1,4,4,4,1), (1,1,1,1,1)).algorithm)\n"
        "except ValueError as e: print(e)"
    )
    assert child(code, CONV3D_ALGORITHM="reference").stdout.strip() == "reference"
    assert "algorithm is 'nonsense'" in child(code, CONV3D_ALGORITHM="nonsense").stdout


# --- plans ---------------------------------------------------------------------------------------


def test_plan_equals_forward_and_is_bound_to_copies():
    rng = np.random.default_rng(7)
    w = rng.standard_normal((3, 3, 3, 8, 16)).astype(np.float32)
    bias = rng.standard_normal(16).astype(np.float32)
    keywords = {"padding": "same", "activation": "relu"}
    plan = engine.Plan(w, bias, input_shape=(2, 9, 10, 11, 8), **keywords)
    x = rng.standard_normal((2, 9, 10, 11, 8)).astype(np.float32)
    want = engine.forward(x, w, bias, **keywords)
    np.testing.assert_array_equal(plan(x), want)
    out = np.empty_like(want)
    assert plan(x, out=out) is out
    np.testing.assert_array_equal(out, want)
    for shape in ((1, 4, 4, 4, 8), (3, 20, 5, 7, 8)):
        other = rng.standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(plan(other), engine.forward(other, w, bias, **keywords))
    for twin in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        np.testing.assert_array_equal(twin(x), want)
    w[:] = 0
    bias[:] = 0
    np.testing.assert_array_equal(plan(x), want)
    with pytest.raises(ValueError, match="out shares memory with input"):
        engine.Plan(np.ones((1, 1, 1, 8, 8), np.float32))(x, out=x)


def test_plan_of_another_version_is_refused():
    plan = engine.Plan(np.ones((1, 1, 1, 2, 2), np.float32))
    state = plan.__getstate__()
    fresh = engine.Plan.__new__(engine.Plan)
    for bad in (
        {**state, "version": 99},
        {k: v for k, v in state.items() if k != "filter"},
        {**state, "keywords": 3},
        {**state, "filter": np.ones((2, 2), np.float32)},
        None,
    ):
        with pytest.raises(ValueError):
            fresh.__setstate__(bad)


def test_explain():
    shape, w = (2, 16, 16, 16, 32), (3, 3, 3, 32, 32)
    e = engine.explain(shape, w, padding="same")
    assert e.effective_flops == 2 * 2 * 16**3 * 27 * 32 * 32
    assert 0 < e.error_bound <= 1e-5
    assert e.threads >= 1
    assert e.algorithm in [name for name, _, _ in e.candidates]
    assert e.algorithm in str(e)
    assert "bfloat16" in engine.explain(shape, w, accuracy="fast").why
    plan = engine.Plan(np.ones(w, np.float32), padding="same")
    with pytest.raises(ValueError, match="input_shape"):
        plan.explain()
    assert plan.explain(shape).algorithm == e.algorithm
    assert plan.workspace_bytes(shape) == plan.explain(shape).workspace_bytes
    for direction in ("backward_input", "backward_filter"):
        assert engine.explain(shape, w, direction=direction).effective_flops > 0


def test_workspace_is_bounded_and_does_not_grow_with_the_volume():
    """Of channels-last float32, the layout that is computed in place."""
    sizes = [
        engine.explain(
            (1, n, n, n, 16), (3, 3, 3, 16, 16), padding="same", num_threads=2
        ).workspace_bytes
        for n in (32, 64, 128)
    ]
    assert sizes[2] <= 1.5 * sizes[0] + (1 << 20)
    assert max(sizes) <= 64 << 20


# --- pooling -------------------------------------------------------------------------------------


def pool_oracle(x, size, strides, padding, kind):
    axes_of = __import__("engine_oracle").geometry
    axes = axes_of(x.shape[1:4], size, strides, (1, 1, 1), padding)
    y = np.zeros((x.shape[0], *(a[0] for a in axes), x.shape[4]))
    for o in np.ndindex(*y.shape[1:4]):
        window = tuple(
            slice(max(i * s - a[1], 0), max(i * s - a[1] + k, 0))
            for i, s, a, k in zip(o, strides, axes, size, strict=True)
        )
        v = x[(slice(None), *window)].astype(np.float64)
        y[(slice(None), *o)] = v.max((1, 2, 3)) if kind == "max" else v.mean((1, 2, 3))
    return y


POOLS = [
    ((2, 2, 2), (2, 2, 2), "valid"),
    ((2, 2, 2), (2, 2, 2), "same"),
    ((3, 3, 3), (2, 1, 2), "same"),
    ((1, 2, 3), (1, 2, 1), "valid"),
    ((3, 2, 2), (1, 1, 1), ((1, 1), (0, 1), (1, 0))),
]


@pytest.mark.parametrize("data_format", DATA_FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize(("size", "strides", "padding"), POOLS)
def test_pooling(size, strides, padding, dtype, data_format):
    rng = np.random.default_rng(8)
    x = rng.permutation(2 * 5 * 6 * 7 * 3).reshape(2, 5, 6, 7, 3).astype(dtype) / 8
    first = data_format == "channels_first"
    shaped = to_first if first else np.ascontiguousarray
    plain = to_last if first else np.asarray
    arguments = (size, strides, padding, data_format)
    tolerance = {np.float16: 2e-3, np.float32: 1e-6, np.float64: 1e-13}[dtype]
    y = engine.max_pool3d(shaped(x), *arguments)
    np.testing.assert_array_equal(plain(y), pool_oracle(x, size, strides, padding, "max"))
    mean = engine.avg_pool3d(shaped(x), *arguments)
    np.testing.assert_allclose(
        plain(mean), pool_oracle(x, size, strides, padding, "avg"), rtol=tolerance
    )
    assert y.dtype == mean.dtype == dtype
    # Gradients: pooling is linear where its choice is fixed, so <dy, pool(x)> = <dx, x>.
    dy = rng.integers(1, 5, y.shape).astype(dtype)
    for dx, value in (
        (engine.max_pool3d_grad(shaped(x), y, dy, *arguments), y),
        (engine.avg_pool3d_grad(shaped(x).shape, dy, *arguments), mean),
    ):
        assert dx.shape == shaped(x).shape
        assert dx.dtype == dtype
        want = np.vdot(dy.astype(np.float64), value.astype(np.float64))
        got = np.vdot(dx.astype(np.float64), shaped(x).astype(np.float64))
        assert abs(got - want) <= 4 * tolerance * abs(want)


def test_max_pooling_gives_ties_to_the_first_and_keeps_nan():
    x = np.ones((1, 2, 2, 2, 1), np.float32)
    y = engine.max_pool3d(x, 2, 2, "valid")
    dx = engine.max_pool3d_grad(x, y, y, 2, 2, "valid")
    assert dx.ravel().tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    x[0, 1, 0, 1, 0] = np.nan
    assert np.isnan(engine.max_pool3d(x, 2, 2, "valid")).all()


# --- cache, information --------------------------------------------------------------------------


def test_cache_statistics_and_budget(monkeypatch):
    engine.clear_cache()
    assert engine.stats()["entries"] == 0
    assert engine.stats()["workspace_bytes"] == 0
    x = np.ones((1, 4, 4, 4, 2), np.float32)
    w = np.ones((1, 1, 1, 2, 2), np.float32)
    before = engine.stats()
    for _ in range(5):
        engine.forward(x, w)
    after = engine.stats()
    assert after["calls"] - before["calls"] == 5
    assert after["hits"] - before["hits"] == 4
    assert after["entries"] == 1
    # A new batch needs no new plan; a new shape does.
    engine.forward(np.ones((3, 4, 4, 4, 2), np.float32), w)
    assert engine.stats()["entries"] == 1
    monkeypatch.setattr(engine._PlanCache, "BUDGET_BYTES", 4 * engine._PlanCache.PLAN_BYTES)
    for n in range(1, 20):
        engine.forward(np.ones((1, n, 1, 1, 2), np.float32), w)
    assert engine.stats()["bytes"] <= engine._PlanCache.BUDGET_BYTES
    assert engine.stats()["entries"] == 4


def test_info_says_what_a_bug_report_needs():
    info = engine.info()
    assert info["isa"] in info["isa_available"]
    assert set(info["isa_available"]) <= set(info["isa_compiled"])
    assert info["threads"] >= 1
    assert info["version"].count(".") == 2
    assert "reference" in info["algorithms"]


def test_wide_pointwise_filters_take_strassen_unless_accuracy_is_strict():
    shape, size = (1, 8, 20, 20, 256), (1, 1, 1, 256, 256)
    for direction in ("forward", "backward_input", "backward_filter"):
        chosen = engine.explain(shape, size, direction=direction)
        assert chosen.algorithm.startswith("strassen") and chosen.error_bound <= 1e-5
        direct = engine.explain(shape, size, direction=direction, accuracy="strict")
        assert not direct.algorithm.startswith("strassen")
        with pytest.raises(ValueError, match="accuracy is 'strict'"):
            engine.explain(
                shape, size, direction=direction, accuracy="strict", algorithm="strassen"
            )


def test_windows_that_do_not_overlap_are_patches_channels_first():
    shape, size = (1, 16, 64, 64, 64), (2, 2, 2, 16, 32)
    for direction in ("forward", "backward_input", "backward_filter"):
        chosen = engine.explain(
            shape, size, direction=direction, strides=2, data_format="channels_first"
        )
        assert chosen.algorithm.startswith("patches")


@pytest.mark.parametrize("algorithm", ["reference", "gemm", "planar", "winograd"])
def test_phases_add_up_to_the_time_of_the_call(algorithm):
    x = np.ones((1, 24, 24, 24, 16), np.float32)
    w = np.ones((3, 3, 3, 16, 16), np.float32)
    engine.forward(x, w, algorithm=algorithm)
    start = time.perf_counter()
    with engine.measure_phases() as phases, engine.num_threads(1):
        engine.forward(x, w, algorithm=algorithm)
    whole = time.perf_counter() - start
    assert sum(phases.values()) <= whole
    assert phases["pack"] > 0 and phases["multiply"] > 0
    assert (phases["transform"] > 0 and phases["inverse"] > 0) == (algorithm == "winograd")
    with engine.measure_phases() as after:
        pass
    assert sum(after.values()) == 0
