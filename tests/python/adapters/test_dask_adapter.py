"""conv3d.dask: any chunks give what the whole array gives."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("dask.array")
import itertools

import dask
import dask.array as da

import conv3d
from conv3d import engine

ANY = np.random.default_rng(0)


def integers(*shape: int, dtype: Any = np.float32) -> Any:
    """Values whose sums are exact in float32, in any order."""
    return ANY.integers(-4, 5, shape).astype(dtype)


def same(x: Any, chunks: Any, w: Any, bias: Any = None, **keywords: Any) -> Any:
    """The lazy result, after a check that it equals the whole array's, to the bit."""
    keywords.setdefault("accuracy", "strict")
    whole = engine.forward(x, w, bias, **keywords)
    lazy = conv3d.dask.conv3d(da.from_array(x, chunks=chunks), w, bias, **keywords)
    assert lazy.shape == whole.shape and lazy.dtype == whole.dtype
    result = lazy.compute(scheduler="synchronous")
    assert result.dtype == whole.dtype
    np.testing.assert_array_equal(result, whole)
    return lazy


def split(draw: Any, extent: int) -> tuple[int, ...]:
    """Random chunks of an axis."""
    cuts = sorted(draw(st.sets(st.integers(1, max(extent - 1, 1)), max_size=4)) - {extent})
    edges = [0, *cuts, extent]
    return tuple(b - a for a, b in itertools.pairwise(edges))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_chunks(data: Any) -> None:
    draw = data.draw
    extents = [draw(st.integers(1, 12)) for _ in range(3)]
    taps = [draw(st.integers(1, 4)) for _ in range(3)]
    strides, dilations = [1, 1, 1], [1, 1, 1]
    which = draw(st.sampled_from([strides, dilations]))
    which[:] = [draw(st.integers(1, 3)) for _ in range(3)]
    reach = [(k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)]
    padding: Any = draw(st.sampled_from(["same", "valid", "explicit"]))
    if padding == "valid":
        extents = [max(n, r) for n, r in zip(extents, reach, strict=True)]
    elif padding == "explicit":
        padding = [[draw(st.integers(0, 4)) for _ in range(2)] for _ in range(3)]
        extents = [max(n, r - sum(p)) for n, r, p in zip(extents, reach, padding, strict=True)]
    groups = draw(st.sampled_from([1, 2]))
    first = draw(st.booleans())
    shape = (2, 4, *extents) if first else (2, *extents, 4)
    same(
        integers(*shape),
        tuple(split(draw, n) for n in shape),
        integers(*taps, 4 // groups, 6),
        draw(st.sampled_from([None, integers(6)])),
        strides=strides,
        padding=padding,
        dilations=dilations,
        groups=groups,
        data_format="channels_first" if first else "channels_last",
        activation=draw(st.sampled_from([None, "relu"])),
    )


def test_chunks_of_the_result() -> None:
    x, chunks = integers(2, 12, 10, 9, 2), (1, 4, 5, 9, 1)
    w = integers(3, 3, 3, 2, 5)
    assert same(x, chunks, w, padding="same").chunks == ((1, 1), (4, 4, 4), (5, 5), (9,), (5,))
    assert same(x, chunks, w).chunks == ((1, 1), (3, 4, 3), (4, 4), (7,), (5,))
    assert same(x, chunks, w, strides=2, padding="same").chunks == (
        (1, 1), (2, 2, 2), (2, 3), (5,), (5,),
    )  # fmt: skip


def test_chunks_smaller_than_the_window_and_chunks_without_output() -> None:
    x, w = integers(1, 9, 5, 5, 1), integers(7, 3, 3, 1, 2)
    assert same(x, (1, 1, 2, 5, 1), w, padding="same").chunks[1] == (1,) * 9
    assert same(x, (1, 1, 2, 5, 1), w).chunks[1] == (1, 1, 1)
    assert same(x, (1, 2, 5, 5, 1), w, strides=5, padding="same").chunks[1] == (1, 1)


def test_default_accuracy_holds_its_bound() -> None:
    x = ANY.standard_normal((1, 40, 24, 24, 16)).astype(np.float32)
    w = ANY.standard_normal((3, 3, 3, 16, 16)).astype(np.float32)
    exact = engine.forward(x.astype(np.float64), w.astype(np.float64), padding="same")
    lazy = conv3d.dask.conv3d(da.from_array(x, chunks=(1, 13, 10, 24, 16)), w, padding="same")
    error = np.abs(lazy.compute() - exact).max() / np.abs(exact).max()
    assert error <= 1e-5


@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_dtypes(dtype: Any) -> None:
    x, w = integers(1, 6, 6, 6, 2, dtype=dtype), integers(2, 2, 2, 2, 3, dtype=dtype)
    same(x, (1, 4, 3, 6, 2), w, padding="same")


def test_nothing_is_computed_before_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = engine.forward
    monkeypatch.setattr(engine, "forward", lambda *a, **k: seen.append(a[0].shape) or real(*a, **k))
    read = []

    def block(block_id: Any) -> Any:
        read.append(block_id)
        return np.ones((1, 4, 4, 4, 1), np.float32)

    x = da.map_blocks(block, chunks=((1,), (4,) * 8, (4,), (4,), (1,)), dtype=np.float32)
    read.clear()  # dask may have tried it
    lazy = conv3d.dask.conv3d(x, np.ones((3, 3, 3, 1, 1), np.float32), padding="same")
    assert seen == [] and read == []
    part = lazy[:, :4].compute(scheduler="synchronous")
    assert part.shape == (1, 4, 4, 4, 1)
    assert seen == [(1, 5, 4, 4, 1)]  # one chunk with its halo
    assert len(set(read)) == 2


def test_volumes_larger_than_memory_can_be_planned() -> None:
    x = da.zeros((1, 40_000, 40_000, 40_000, 1), chunks=(1, 4000, 4000, 4000, 1), dtype=np.float32)
    lazy = conv3d.dask.conv3d(x, np.ones((3, 3, 3, 1, 4), np.float32), padding="same", strides=2)
    assert lazy.shape == (1, 20_000, 20_000, 20_000, 4)
    assert lazy.chunks[1] == (2000,) * 10


def test_layers_follow_each_other() -> None:
    x = integers(1, 16, 8, 8, 2)
    filters = [integers(3, 3, 3, 2, 3), integers(2, 2, 2, 3, 2)]
    whole, lazy = x, da.from_array(x, chunks=(1, 5, 4, 8, 1))
    for w in filters:
        whole = engine.forward(whole, w, strides=2, padding="same", accuracy="strict")
        lazy = conv3d.dask.conv3d(lazy, w, strides=2, padding="same", accuracy="strict")
    np.testing.assert_array_equal(lazy.compute(), whole)


def test_filters_in_dask_arrays() -> None:
    x, w, b = integers(1, 6, 6, 6, 2), integers(3, 3, 3, 2, 4), integers(4)
    lazy = conv3d.dask.conv3d(
        da.from_array(x, chunks=(1, 3, 3, 6, 2)),
        da.from_array(w, chunks=(2, 3, 3, 1, 4)),
        da.from_array(b, chunks=2),
        accuracy="strict",
    )
    expected = engine.forward(x, w, b, accuracy="strict")
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_the_graph_holds_the_filter_once() -> None:
    w = integers(3, 3, 3, 2, 512)
    x = da.zeros((1, 64, 32, 32, 2), chunks=(1, 8, 8, 8, 2), dtype=np.float32)
    lazy = conv3d.dask.conv3d(x, w, padding="same")
    assert len(pickle.dumps(dict(lazy.dask))) < 4 * w.nbytes
    assert lazy.npartitions == 128


@pytest.mark.parametrize("given", [None, 2])
def test_threads_of_tasks(given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    real = engine.forward

    def forward(*args: Any, **keywords: Any) -> Any:
        seen.append((threading.current_thread() is threading.main_thread(), keywords))
        return real(*args, **keywords)

    monkeypatch.setattr(engine, "forward", forward)
    x, w = da.from_array(integers(1, 8, 4, 4, 1), chunks=(1, 2, 4, 4, 1)), integers(3, 3, 3, 1, 1)
    lazy = conv3d.dask.conv3d(x, w, padding="same", num_threads=given)
    lazy.compute(scheduler="threads", num_workers=2)
    assert [k["num_threads"] for main, k in seen if not main] == [given or 1] * 4
    seen.clear()
    lazy.compute(scheduler="synchronous")
    assert [(main, k["num_threads"]) for main, k in seen] == [(True, given)] * 4
    seen.clear()
    one = conv3d.dask.conv3d(x.rechunk(-1), w, padding="same", num_threads=given)
    one.compute(scheduler="threads", num_workers=2)
    assert [k["num_threads"] for _, k in seen] == [given]


@pytest.mark.slow
def test_the_process_scheduler() -> None:
    x, w = integers(1, 8, 6, 6, 2), integers(3, 3, 3, 2, 3)
    lazy = conv3d.dask.conv3d(da.from_array(x, chunks=(1, 4, 3, 6, 2)), w, accuracy="strict")
    with dask.config.set({"multiprocessing.context": "spawn"}):
        result = lazy.compute(scheduler="processes", num_workers=2)
    np.testing.assert_array_equal(result, engine.forward(x, w, accuracy="strict"))


X = da.zeros((1, 8, 8, 8, 2), chunks=4, dtype=np.float32)
W = np.ones((3, 3, 3, 2, 4), np.float32)


@pytest.mark.parametrize(
    ("error", "match", "arguments", "keywords"),
    [
        (TypeError, "array is ndarray", (np.zeros((1, 8, 8, 8, 2)), W), {}),
        (ValueError, "rank 5", (X[0], W), {}),
        (TypeError, "array has dtype int64", (X.astype(np.int64), W), {}),
        (TypeError, "filter has dtype float64", (X, W.astype(np.float64)), {}),
        (ValueError, "filter has shape", (X, W[0]), {}),
        (ValueError, "filter has shape", (X, da.from_array(W[0])), {}),
        (ValueError, "input has 2 channels", (X, W[:, :, :, :1]), {}),
        (ValueError, "bias has 3 elements", (X, W, np.ones(3, np.float32)), {}),
        (ValueError, "bias has shape", (X, W, np.float32(3)), {}),
        (ValueError, "along height", (X[:, :, :2], W), {}),
        (ValueError, "padding is 'full'", (X, W), {"padding": "full"}),
        (ValueError, "strides", (X, W), {"strides": 0}),
        (ValueError, "strides", (X, W), {"strides": 2, "dilations": 2}),
        (ValueError, "data_format", (X, W), {"data_format": "NHWC"}),
        (ValueError, "activation", (X, W), {"activation": "gelu"}),
        (ValueError, "algorithm", (X, W), {"algorithm": "no such"}),
        (ValueError, "num_threads", (X, W), {"num_threads": 0}),
        (ValueError, "unknown size", (X[:, X[0, :, 0, 0, 0] > 0], W), {}),
    ],
)
def test_errors_come_at_once(error: Any, match: str, arguments: Any, keywords: Any) -> None:
    with pytest.raises(error, match=match):
        conv3d.dask.conv3d(*arguments, **keywords)
