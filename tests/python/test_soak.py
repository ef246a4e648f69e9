"""conv3d.engine over thousands of calls, many threads, 2^31 elements: right, nothing left over."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from conv3d import engine
from engine_oracle import Convolution, integers
from test_engine import child

LINUX = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads /proc")


def random_call(rng):
    """A random call of one of the engine's functions: the function and its arguments."""
    dtype = rng.choice([np.float32, np.float32, np.float64, np.float16])
    n, c, f = int(rng.integers(0, 4)), int(rng.integers(1, 24)), int(rng.integers(1, 24))
    extents, kernel = rng.integers(4, 12, 3), rng.integers(1, 5, 3)
    strides = rng.integers(1, 4, 3) if rng.integers(3) == 0 else np.ones(3, int)
    if rng.integers(2):
        kernel[:] = 3
    keywords = {"strides": strides.tolist(), "padding": str(rng.choice(["same", "valid"]))}
    if rng.integers(3) == 0:
        keywords["data_format"] = "channels_first"
        shape = (n, c, *map(int, extents))
    else:
        shape = (n, *map(int, extents), c)
    x, w = integers(rng, shape, dtype), integers(rng, (*kernel, c, f), dtype)
    kind = int(rng.integers(6))
    if kind == 0:
        return engine.forward, (x, w, integers(rng, f, dtype)), keywords
    if kind == 1:
        return engine.max_pool3d, (x, kernel.tolist(), *keywords.values()), {}
    if kind == 2:
        return engine.avg_pool3d, (x, kernel.tolist(), *keywords.values()), {}
    y = engine.forward(x, w, **keywords)
    if kind == 3:
        return engine.backward_input, (shape, w, y), keywords
    if kind == 4:
        return engine.backward_filter, (x, w.shape, y), keywords
    return engine.Plan(w, **keywords), (x,), {}


@pytest.mark.parametrize("threads", [1, 2])
def test_small_problems_ask_for_little_workspace(threads):
    """An estimate of sizes that goes wrong shows as a workspace out of all proportion."""
    for shape, w, padding in (
        ((8, 6, 6, 6, 1), (3, 3, 3, 1, 4), "valid"),
        ((2, 4, 5, 6, 3), (3, 3, 3, 3, 4), "same"),
        ((1, 1, 1, 1, 1), (1, 1, 1, 1, 1), "same"),
        ((3, 1, 20, 1, 70), (1, 7, 1, 70, 67), "same"),
    ):
        for direction in ("forward", "backward_input", "backward_filter"):
            for dtype in (np.float32, np.float64, np.float16):
                found = engine.explain(
                    shape, w, direction=direction, padding=padding, dtype=dtype, num_threads=threads
                )
                assert found.workspace_bytes < 8 << 20, (shape, w, direction, found)


def test_small_problems_right_after_each_other():
    """Blocks that went from one small call to another once held what the next one trusted."""
    rng = np.random.default_rng(4)
    for turn in range(60):
        if turn % 10 == 0:
            engine.clear_cache()
        x, dy = integers(rng, (8, 6, 6, 6, 1)), integers(rng, (8, 4, 4, 4, 4))
        oracle = Convolution(
            x.shape,
            (3, 3, 3, 1, 4),
            strides=(1, 1, 1),
            padding="valid",
            dilations=(1, 1, 1),
            groups=1,
        )
        np.testing.assert_array_equal(
            engine.backward_filter(x, (3, 3, 3, 1, 4), dy), oracle.backward_filter(x, dy)
        )
        x, w = integers(rng, (2, 4, 5, 6, 3)), integers(rng, (3, 3, 3, 3, 4))
        oracle = Convolution(
            x.shape, w.shape, strides=(1, 1, 1), padding="same", dilations=(1, 1, 1), groups=1
        )
        want = oracle.forward(x, w)
        np.testing.assert_array_equal(engine.forward(x, w, padding="same", accuracy="strict"), want)
        np.testing.assert_allclose(
            engine.forward(x, w, padding="same"), want, rtol=0, atol=1e-5 * np.abs(want).max()
        )


def test_pooling_with_enormous_windows_and_strides():
    rng = np.random.default_rng(5)
    x = integers(rng, (2, 4, 5, 6, 3))
    for size, strides in ((2**40, 1), (2**62, 2**62), (3, 2**62)):
        top = engine.max_pool3d(x, size, strides, "same")
        mean = engine.avg_pool3d(x, size, strides, "same")
        if size > 3:
            np.testing.assert_array_equal(
                top, np.broadcast_to(x.max((1, 2, 3), keepdims=True), top.shape)
            )
            np.testing.assert_allclose(
                mean,
                np.broadcast_to(x.mean((1, 2, 3), keepdims=True), mean.shape),
                rtol=1e-5,
                atol=1e-6,
            )
        else:
            assert top.shape == mean.shape == (2, 1, 1, 1, 3)
    with pytest.raises((ValueError, MemoryError)):
        engine.avg_pool3d_grad(
            (0, 2**40, 2**40, 2**40, 1),
            np.zeros((0, 1, 1, 1, 1), np.float32),
            2**40,
            2**40,
            "valid",
        )


def test_sixteen_threads_with_calls_of_all_kinds():
    """Each makes the calls in an order of its own, while another changes the number of threads."""
    calls = [random_call(np.random.default_rng(n)) for n in range(40)]
    want = [function(*args, **keywords) for function, args, keywords in calls]
    before, stop, wrong = engine.get_num_threads(), threading.Event(), []

    def work(seed):
        try:
            for i in np.random.default_rng(seed).permutation(len(calls)):
                function, args, keywords = calls[i]
                if not np.array_equal(function(*args, **keywords), want[i]):
                    wrong.append(calls[i])
        except Exception as error:
            wrong.append(error)

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            engine.set_num_threads(1 + n % 4)
            if n % 16 == 0:
                engine.clear_cache()
            stop.wait(0.001)

    changer = threading.Thread(target=change)
    workers = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in (changer, *workers):
        thread.start()
    for thread in workers:
        thread.join()
    stop.set()
    changer.join()
    engine.set_num_threads(before)
    assert not wrong


@LINUX
@pytest.mark.slow
def test_nothing_is_left_behind_by_thousands_of_calls():
    """Calls of all kinds, right ones and refused ones: what the process holds does not grow."""
    done = child(
        """
import gc
import numpy as np
from test_soak import engine, random_call
def resident():
    gc.collect()
    engine.clear_cache()
    return int(open("/proc/self/statm").read().split()[1]) * 4096
rng = np.random.default_rng(0)
def work(calls):
    for n in range(calls):
        try:
            function, args, keywords = random_call(rng)
            y = function(*args, **keywords)
            if n % 5 == 0:
                engine.forward(y, np.ones((1, 1, 1, 99, 1), y.dtype))
            if n % 7 == 0:
                w = np.ones((1, 1, 1, y.shape[4], 1), y.dtype)
                engine.forward(y, w, padding=((10**6, 0),) * 3)
        except (ValueError, MemoryError):
            pass
work(1000)
before = resident()
for _ in range(4):
    work(500)
    print(resident() - before)
"""
    )
    growth = [int(line) for line in done.stdout.split()]
    assert len(growth) == 4, done.stderr[-2000:]
    assert growth[-1] < 8 << 20, growth


@LINUX
@pytest.mark.slow
def test_cached_plans_hold_no_more_than_is_said():
    done = child(
        """
from conv3d import engine
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
engine.explain((1, 30, 30, 30, 8), (3, 3, 3, 8, 8))
engine.clear_cache()
before, held = resident(), engine.stats()["bytes"]
for direction in ("forward", "backward_input", "backward_filter"):
    for n in range(300):
        shape = (1, 200 + n, 200, 200, 64)
        engine.explain(shape, (3, 3, 3, 64, 64), direction=direction, padding="same")
print(resident() - before, engine.stats()["bytes"] - held, engine.stats()["entries"])
"""
    )
    grown, said, entries = map(int, done.stdout.split())
    assert entries >= 900
    assert grown <= said + (2 << 20), (grown, said)


def memory_available():
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable"):
                return int(line.split()[1]) * 1024
    return 0


@LINUX
@pytest.mark.slow
def test_more_than_two_to_the_31_elements():
    """Every other row and column is used, so that both tensors fit a machine of 16 GB."""
    side = 46341
    assert side * side > 2**31
    needed = side * side * 4 * 1.25 + (1 << 30)
    if memory_available() < needed:
        pytest.skip(f"{needed / 1e9:.0f} GB of memory are not available")
    # Rows and columns repeat with periods 5 and 7: any part is known without a second copy.
    rows, columns = np.arange(side) % 5 - 2, np.arange(side) % 7 - 3
    w = np.full((1, 1, 1, 1, 1), 3, np.float32)
    x = np.empty((1, 1, side, side, 1), np.float32)
    for i in range(side):
        np.add(columns, rows[i], out=x[0, 0, i, :, 0], casting="unsafe")
    y = engine.forward(x, w, strides=(1, 2, 2))
    half = (side + 1) // 2
    assert y.shape == (1, 1, half, half, 1)
    for i in range(half):
        row = y[0, 0, i, :, 0]
        assert np.array_equal(row, 3 * (columns[::2] + rows[2 * i])), i
    y[...] = 0
    y[0, 0, -1, -1, 0], y[0, 0, 0, 0, 0], y[0, 0, half // 2, 5, 0] = 2, 4, 8
    dw = engine.backward_filter(x, w.shape, y, strides=(1, 2, 2))
    want = 2 * x[0, 0, -1, -1, 0] + 4 * x[0, 0, 0, 0, 0] + 8 * x[0, 0, half // 2 * 2, 10, 0]
    assert dw.item() == want
    dx = engine.backward_input(x.shape, w, y, strides=(1, 2, 2), out=x)
    assert dx is x
    assert dx[0, 0, -1, -1, 0] == 6
    assert dx[0, 0, 0, 0, 0] == 12
    assert dx[0, 0, half // 2 * 2, 10, 0] == 24
    assert sum(int(np.count_nonzero(dx[0, 0, i])) for i in range(side)) == 3
