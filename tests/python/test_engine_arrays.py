"""conv3d.engine and arrays: memory layouts, `out=`, DLPack, read-only and shared memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from conv3d import engine

RNG = np.random.default_rng(11)
X = RNG.standard_normal((2, 6, 7, 8, 16)).astype(np.float32)
W = RNG.standard_normal((3, 3, 3, 16, 16)).astype(np.float32)
BIAS = RNG.standard_normal(16).astype(np.float32)


def unaligned(x):
    """The same values at an address that no element may lie at."""
    memory = bytearray(x.nbytes + 1)
    view = np.frombuffer(memory, x.dtype, x.size, offset=1).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned
    return view


def shifted(x):
    """The same values, aligned to their size and to nothing more."""
    memory = np.empty(x.size + 1, x.dtype)
    view = memory[1:].reshape(x.shape)
    view[...] = x
    return view


def strided(x):
    memory = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, x.dtype)
    view = memory[..., ::2]
    view[...] = x
    return view


def reverse(x):
    return np.flip(np.ascontiguousarray(np.flip(x)))


def read_only(x):
    view = x.copy()
    view.flags.writeable = False
    return view


LAYOUTS = [unaligned, shifted, strided, reverse, read_only, np.asfortranarray]
ALGORITHMS = ["auto", "gemm", "winograd", "reference"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_memory_layout_gives_the_same_bits(layout, algorithm):
    keywords = {"padding": "same", "algorithm": algorithm}
    y = engine.forward(X, W, BIAS, **keywords)
    np.testing.assert_array_equal(
        engine.forward(layout(X), layout(W), layout(BIAS[None])[0], **keywords), y
    )
    keywords = {"padding": "same", "algorithm": algorithm}
    dx = engine.backward_input(X.shape, W, y, **keywords)
    np.testing.assert_array_equal(
        engine.backward_input(X.shape, layout(W), layout(y), **keywords), dx
    )
    if algorithm == "winograd":
        keywords["algorithm"] = "auto"
    dw = engine.backward_filter(X, W.shape, y, **keywords)
    np.testing.assert_array_equal(
        engine.backward_filter(layout(X), W.shape, layout(y), **keywords), dw
    )
    np.testing.assert_array_equal(
        engine.max_pool3d(layout(X), 2, 2, "same"), engine.max_pool3d(X, 2, 2, "same")
    )


def test_broadcast_views():
    constant = np.broadcast_to(np.float32(2), X.shape)
    plane = np.broadcast_to(X[:, :1], X.shape)
    for view in (constant, plane):
        np.testing.assert_array_equal(engine.forward(view, W), engine.forward(view.copy(), W))
        np.testing.assert_array_equal(
            engine.Plan(W)(view), engine.Plan(np.broadcast_to(W, W.shape))(view.copy())
        )


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_any_number_of_threads_and_batch_split_gives_the_same_bits(threads):
    want = engine.forward(X, W, BIAS, padding="same", num_threads=1)
    got = engine.forward(X, W, BIAS, padding="same", num_threads=threads)
    np.testing.assert_array_equal(got, want)
    parts = [
        engine.forward(X[n : n + 1], W, BIAS, padding="same", num_threads=threads) for n in (0, 1)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), want)
    dw = [
        engine.backward_filter(X, W.shape, want, padding="same", num_threads=n)
        for n in (1, threads)
    ]
    np.testing.assert_array_equal(*dw)
    dx = [
        engine.backward_input(X.shape, W, want, padding="same", num_threads=n) for n in (1, threads)
    ]
    np.testing.assert_array_equal(*dx)


# --- out= ----------------------------------------------------------------------------------------


def test_out_is_filled_and_returned(tmp_path):
    y = engine.forward(X, W)
    for out in (
        np.full_like(y, np.nan),
        np.memmap(tmp_path / "out", np.float32, "w+", shape=y.shape),
        np.full((3, *y.shape), np.nan, np.float32)[1],
    ):
        assert engine.forward(X, W, out=out) is out
        np.testing.assert_array_equal(out, y)
    dx = np.full_like(X, np.nan)
    assert engine.backward_input(X.shape, W, y, out=dx) is dx
    np.testing.assert_array_equal(dx, engine.backward_input(X.shape, W, y))
    dw = np.full_like(W, np.nan)
    assert engine.backward_filter(X, W.shape, y, out=dw) is dw
    np.testing.assert_array_equal(dw, engine.backward_filter(X, W.shape, y))


def bad_outs(shape):
    base = np.zeros((*shape[:-1], 2 * shape[-1]), np.float32)
    frozen = np.zeros(shape, np.float32)
    frozen.flags.writeable = False
    return {
        "shape": np.zeros((1, *shape[1:]), np.float32),
        "rank": np.zeros(int(np.prod(shape)), np.float32),
        "dtype": np.zeros(shape, np.float64),
        "byte order": np.zeros(shape, ">f4"),
        "strides": base[..., ::2],
        "order": np.zeros(shape, np.float32, order="F"),
        "zero strides": np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), shape, (0,) * 5),
        "unaligned": unaligned(np.zeros(shape, np.float32)),
        "read-only": frozen,
        "kind": [[1.0]],
        "truth": True,
    }


@pytest.mark.parametrize("fault", list(bad_outs((1, 1, 1, 1, 1))))
def test_bad_out(fault):
    y = engine.forward(X, W)
    for call, shape in (
        (lambda out: engine.forward(X, W, out=out), y.shape),
        (lambda out: engine.backward_input(X.shape, W, y, out=out), X.shape),
        (lambda out: engine.backward_filter(X, W.shape, y, out=out), W.shape),
        (lambda out: engine.Plan(W)(X, out=out), y.shape),
    ):
        with pytest.raises((ValueError, TypeError), match="out "):
            call(bad_outs(shape)[fault])


def test_out_that_shares_memory():
    one = np.eye(16, dtype=np.float32).reshape(1, 1, 1, 16, 16)
    x = X.copy()
    with pytest.raises(ValueError, match="shares memory with input"):
        engine.forward(x, one, out=x)
    memory = np.zeros(x.size + 8, np.float32)
    with pytest.raises(ValueError, match="shares memory with input"):
        engine.forward(memory[:-8].reshape(x.shape), one, out=memory[8:].reshape(x.shape))
    cube = np.ones((1, 1, 1, 16, 16), np.float32)
    with pytest.raises(ValueError, match="shares memory with filter"):
        engine.forward(cube[:, :, :, :16].reshape(1, 1, 1, 16, 16).copy(), cube, out=cube)
    with pytest.raises(ValueError, match="shares memory with grad_output"):
        engine.backward_input(cube.shape, one, cube, out=cube)
    halves = np.zeros((2, *x.shape), np.float32)
    engine.forward(halves[0], one, out=halves[1])  # neighbours are fine


# --- other libraries' arrays ---------------------------------------------------------------------


class OnDevice:
    """A DLPack producer on a device of our choice."""

    def __init__(self, array, device):
        self.array, self.device = array, device

    def __dlpack_device__(self):
        return (self.device, 0)

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)


def test_dlpack_on_the_cpu():
    class Foreign(OnDevice):
        pass

    np.testing.assert_array_equal(
        engine.forward(Foreign(X, 1), Foreign(W, 1), Foreign(BIAS, 1)), engine.forward(X, W, BIAS)
    )


@pytest.mark.parametrize(("device", "name"), [(2, "CUDA"), (10, "ROCm"), (99, "device type 99")])
def test_dlpack_elsewhere_is_refused_by_name(device, name):
    with pytest.raises(TypeError, match=name):
        engine.forward(OnDevice(X, device), W)


def test_array_interface_and_subclasses():
    class Wrapped:
        def __array__(self, dtype=None, copy=None):
            return X

    class Sub(np.ndarray):
        pass

    want = engine.forward(X, W)
    np.testing.assert_array_equal(engine.forward(Wrapped(), W), want)
    np.testing.assert_array_equal(engine.forward(X.view(Sub), W), want)
    nested = np.ones((1, 2, 2, 2, 1)).tolist()
    np.testing.assert_array_equal(engine.forward(nested, np.ones((1, 1, 1, 1, 1))), nested)


def test_arrays_are_held_during_a_call():
    """Another thread may drop its references or try to resize; the call reads what it was given."""
    x = np.ones((1, 40, 40, 40, 16), np.float32)
    w = np.ones((3, 3, 3, 16, 16), np.float32)
    want = engine.forward(x, w, num_threads=1)
    results = []

    def call(a):
        results.append(engine.forward(a, w, num_threads=2))

    holder = [x.copy()]
    worker = threading.Thread(target=call, args=(holder[0],))
    worker.start()
    array = holder.pop()
    try:
        array.resize((1,), refcheck=True)
    except ValueError:
        pass
    del array
    worker.join()
    if results[0].shape == want.shape:
        np.testing.assert_array_equal(results[0], want)
