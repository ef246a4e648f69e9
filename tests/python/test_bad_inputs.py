"""conv3d.engine and what nobody should pass to it.

A clear error or a defined result, and the next call works.
"""

from __future__ import annotations

import numpy as np
import pytest

from conv3d import engine
from test_engine import child

MAX = 2**63 - 1


def array(*shape, dtype=np.float32):
    n = int(np.prod(shape))
    return ((np.arange(n) % 7) - 3).reshape(shape).astype(dtype)


X = array(1, 4, 4, 4, 4)
W = array(3, 3, 3, 4, 6)
Y = array(1, 2, 2, 2, 6)


@pytest.fixture(autouse=True)
def the_next_call_works():
    """Whatever a test did, an ordinary call afterwards is right."""
    yield
    np.testing.assert_array_equal(engine.forward(X, W), engine.forward(X, W, algorithm="reference"))


def forward(**changes):
    keywords = {"input": X, "filter": W, **changes}
    return engine.forward(keywords.pop("input"), keywords.pop("filter"), **keywords)


def backward_input(**changes):
    keywords = {"input_shape": X.shape, "filter": W, "grad_output": Y, **changes}
    return engine.backward_input(
        keywords.pop("input_shape"), keywords.pop("filter"), keywords.pop("grad_output"), **keywords
    )


def backward_filter(**changes):
    keywords = {"input": X, "filter_shape": W.shape, "grad_output": Y, **changes}
    return engine.backward_filter(
        keywords.pop("input"), keywords.pop("filter_shape"), keywords.pop("grad_output"), **keywords
    )


BAD_KEYWORDS = [
    # name, value, error, word of the message; the number is that of the table in docs/reliability
    ("strides", 0, ValueError, "strides"),  # 12
    ("strides", (1, 0, 1), ValueError, "strides"),
    ("strides", -1, ValueError, "strides"),  # 13
    ("dilations", 0, ValueError, "dilations"),  # 15
    ("dilations", -2, ValueError, "dilations"),
    ("dilations", 2**31 - 1, ValueError, "filter"),  # 16
    ("dilations", 2**62, ValueError, "dilations"),
    ("dilations", 2**63, ValueError, "dilations"),
    ("padding", ((2**62, 0), (0, 0), (0, 0)), ValueError, "padding"),  # 18
    ("padding", ((2**63 - 5, 0), (0, 0), (0, 0)), ValueError, "padding"),
    ("padding", ((2**63, 0), (0, 0), (0, 0)), ValueError, "padding"),
    ("padding", ((-1, 0), (0, 0), (0, 0)), ValueError, "padding"),  # 19
    ("groups", 0, ValueError, "groups"),  # 21
    ("groups", -1, ValueError, "groups"),
    ("groups", -(2**63), ValueError, "groups"),
    ("groups", 3, ValueError, "groups"),
    ("groups", 1.0, TypeError, "groups"),
    ("strides", (2, 2), ValueError, "strides"),  # 23
    ("strides", (1, 1, 1, 1), ValueError, "strides"),
    ("strides", [], ValueError, "strides"),
    ("dilations", (1, 1), ValueError, "dilations"),
    ("dilations", [], ValueError, "dilations"),
    ("strides", 1.5, TypeError, "strides"),  # 24
    ("strides", "1", TypeError, "strides"),
    ("strides", b"111", TypeError, "strides"),
    ("strides", True, TypeError, "strides"),
    ("strides", np.True_, TypeError, "strides"),
    ("strides", (1, 1.0, 1), TypeError, "strides"),
    ("strides", None, TypeError, "strides"),
    ("strides", np.array(1.0), TypeError, "strides"),
    ("strides", 2**64, ValueError, "strides"),
    ("data_format", "channels_middle", ValueError, "data_format"),  # 52
    ("data_format", None, ValueError, "data_format"),
    ("data_format", 3, TypeError, "data_format"),
    ("data_format", [], TypeError, "data_format"),
    ("padding", "Same ", ValueError, "padding"),  # 53
    ("padding", "full", ValueError, "padding"),
    ("padding", "", ValueError, "padding"),
    ("padding", 3, TypeError, "padding"),
    ("padding", None, TypeError, "padding"),
    ("padding", b"same", TypeError, "padding"),
    ("padding", ((1, 2),), ValueError, "padding"),
    ("padding", (1, 2, 3), TypeError, "padding"),
    ("padding", ((0, 0), (0, 0), (0, 0.5)), TypeError, "padding"),
    ("algorithm", "fastest", ValueError, "algorithm"),
    ("algorithm", None, TypeError, "algorithm"),
    ("accuracy", "sloppy", ValueError, "accuracy"),
    ("accuracy", 1, TypeError, "accuracy"),
    ("num_threads", 0, ValueError, "num_threads"),
    ("num_threads", -1, ValueError, "num_threads"),
    ("num_threads", 1.5, TypeError, "num_threads"),
]


@pytest.mark.parametrize("call", [forward, backward_input, backward_filter])
@pytest.mark.parametrize(("name", "value", "error", "word"), BAD_KEYWORDS)
def test_bad_keywords(call, name, value, error, word):
    with pytest.raises(error, match=word):
        call(**{name: value})


def test_a_result_that_cannot_be_had_is_refused_before_memory_is_touched():  # 20
    with pytest.raises(MemoryError, match=r"the result needs 1536\d* bytes"):
        forward(padding=((20000, 20000),) * 3)
    # The gradients take arrays of the right shape, which nobody can have.
    for call in (backward_input, backward_filter):
        with pytest.raises(ValueError, match="40002"):
            call(padding=((20000, 20000),) * 3)


def test_strides_and_dilations_together():  # 22
    for call in (forward, backward_input, backward_filter):
        with pytest.raises(ValueError, match="only one of the two"):
            call(strides=2, dilations=2)
        with pytest.raises(ValueError, match="only one of the two"):
            call(strides=(1, 1, 2), dilations=(2, 1, 1))


def test_integer_likes_are_taken():  # 24
    want = forward(strides=2)
    for two in (np.int64(2), np.uint8(2), np.array(2), [2, np.int32(2), 2], np.array([2, 2, 2])):
        np.testing.assert_array_equal(forward(strides=two), want)
    for padding in ("SAME", "Same", "same"):
        assert forward(padding=padding).shape[1:4] == (4, 4, 4)
    np.testing.assert_array_equal(forward(data_format="NDHWC"), forward())
    first = np.moveaxis(X, -1, 1)
    np.testing.assert_array_equal(
        np.moveaxis(forward(input=first, data_format="NCDHW"), 1, -1), forward()
    )


def test_enormous_strides_and_dilations():  # 14, 17
    assert forward(strides=2**55).shape == (1, 1, 1, 1, 6)
    np.testing.assert_array_equal(forward(strides=2**55)[0, 0, 0, 0], forward()[0, 0, 0, 0])
    assert forward(strides=MAX).shape == (1, 1, 1, 1, 6)
    far = forward(padding="same", dilations=3046875451)
    np.testing.assert_array_equal(far, engine.forward(X, W[1:2, 1:2, 1:2]))
    grad = backward_filter(padding="same", dilations=3046875451, grad_output=array(1, 4, 4, 4, 6))
    assert np.count_nonzero(grad[0]) == 0


@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((0, 0, 0, 0, 0), (0, 0, 0, 0, 0)),  # 1
        ((2, 2, 2, 2, 0), (0, 0, 2, 6, 2)),  # 2
        ((1, 4, 4, 4, 4), (0, 0, 0, 4, 6)),  # 3
        ((1, 4, 4, 4, 4), (3, 0, 3, 4, 6)),
        ((1, 4, 4, 4, 0), (3, 3, 3, 0, 6)),  # 5: no input channels are an error, as in TensorFlow 2
        ((1, 4, 4, 4, 4), (3, 3, 3, 4, 0)),  # 6
        ((1, 0, 4, 4, 4), (3, 3, 3, 4, 6)),  # 9
        ((1, 2, 4, 4, 4), (3, 3, 3, 4, 6)),  # 10
        ((1, 4, 4, 4, 4), (3, 3, 3, 2, 6)),  # 27
        ((1, 4, 4, 4, 2), (3, 3, 3, 4, 6)),
        ((4,), (3, 3, 3, 4, 6)),  # 25
        ((4, 4, 4, 4), (3, 3, 3, 4, 6)),
        ((1, 1, 4, 4, 4, 4), (3, 3, 3, 4, 6)),
        ((1, 4, 4, 4, 4), (3, 3, 4, 6)),  # 26
        ((1, 4, 4, 4, 4), (1, 3, 3, 3, 4, 6)),
        ((1, 4, 4, 4, 4), ()),
    ],
)
def test_bad_shapes(x, w):
    for dtype in (np.float32, np.float64, np.float16):
        with pytest.raises(ValueError):
            engine.forward(np.zeros(x, dtype), np.zeros(w, dtype))
        with pytest.raises(ValueError):
            engine.Plan(np.zeros(w, dtype))(np.zeros(x, dtype))
    for direction in ("forward", "backward_input", "backward_filter"):
        with pytest.raises(ValueError):
            engine.explain(x, w, direction=direction)
    with pytest.raises(ValueError):
        engine.backward_filter(np.zeros(x, np.float32), w, Y)
    with pytest.raises(ValueError):
        engine.backward_input(x, np.zeros(w, np.float32), Y)


def test_dilated_kernel_larger_than_the_input():  # 11
    with pytest.raises(ValueError, match="covers 5 cells along the depth"):
        forward(dilations=2)


def test_empty_batch():  # 7
    x = np.zeros((0, 4, 4, 4, 4), np.float32)
    y = engine.forward(x, W, padding="same")
    assert y.shape == (0, 4, 4, 4, 6)
    assert engine.backward_input(x.shape, W, y, padding="same").shape == x.shape
    grad = engine.backward_filter(x, W.shape, y, padding="same")
    assert grad.shape == W.shape
    assert not grad.any()
    assert engine.max_pool3d(x, 2, 2, "valid").shape == (0, 2, 2, 2, 4)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("algorithm", ["auto", "gemm", "winograd"])
def test_empty_extent_with_same_padding(algorithm, axis, data_format):  # 8
    def shape(channels):
        extents = [4, 4, 4]
        extents[axis] = 0
        first = data_format == "channels_first"
        return (2, channels, *extents) if first else (2, *extents, channels)

    options = {"padding": "same", "data_format": data_format, "algorithm": algorithm}
    x = np.zeros(shape(4), np.float32)
    y = engine.forward(x, W, np.ones(6, np.float32), **options)
    assert y.shape == shape(6)
    assert engine.backward_input(x.shape, W, y, **options).shape == x.shape
    assert not engine.backward_filter(x, W.shape, y, **options).any()


@pytest.mark.parametrize(
    "shape",
    [(1, 2, 2, 2, 5), (1, 2, 2, 3, 6), (1, 2, 3, 2, 6), (1, 1, 2, 2, 6), (2, 2, 2, 2, 6)]
    + [(0, 2, 2, 2, 6), (1, 0, 0, 0, 6), (1, 0, 2, 2, 6), (1, 4, 4, 4, 6)],
)
def test_grad_output_that_does_not_fit(shape):  # 28, 29, 30, 35
    with pytest.raises(ValueError, match="grad_output has shape"):
        backward_input(grad_output=np.ones(shape, np.float32))
    with pytest.raises(ValueError, match="grad_output has shape"):
        backward_filter(grad_output=np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((1, 4, 4, 4, 3), ValueError),  # 31
        ((1, 5, 4, 4, 4), ValueError),
        ((2, 4, 4, 4, 4), ValueError),
        ((1, -4, 4, 4, 4), ValueError),  # 32
        ((-1, 4, 4, 4, 4), ValueError),
        ((2**31 - 1, 2**31 - 1, 4, 4, 4), (ValueError, MemoryError)),  # 33
        ((1, 2**31 - 1, 2**31 - 1, 2**31 - 1, 4), (ValueError, MemoryError)),
        ((1, 4, 4, 4), ValueError),
        ((1, 4, 4, 4, 4, 1), ValueError),
        ((1, 4.0, 4, 4, 4), TypeError),
        ("11111", TypeError),
        (5, TypeError),
        (None, TypeError),
    ],
)
def test_bad_input_shape(shape, error):
    with pytest.raises(error):
        backward_input(input_shape=shape)


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((3, 3, 3, 2, 6), ValueError),  # 28
        ((3, 3, 3, 4, 5), ValueError),
        ((2, 3, 3, 4, 6), ValueError),  # 30
        ((5, 3, 3, 4, 6), ValueError),
        ((-3, 3, 3, 4, 6), ValueError),
        ((2**31 - 1, 2**31 - 1, 3, 4, 6), (ValueError, MemoryError)),  # 34
        ((2**31 - 1, 2**31 - 1, 2**31 - 1, 4, 6), (ValueError, MemoryError)),
        ((3, 3, 3), ValueError),
        (True, TypeError),
    ],
)
def test_bad_filter_shape(shape, error):
    with pytest.raises(error):
        backward_filter(filter_shape=shape)


def test_impossible_arrays_that_hold_nothing():  # 36, 37
    empty = np.empty((0, 2**31, 2**31, 1, 1), np.int8).view(np.int8)
    with pytest.raises(TypeError):
        engine.forward(empty, W)
    hollow = np.lib.stride_tricks.as_strided(
        np.zeros(1, np.float32), (0, 2**20, 2**20, 2**10, 1), (0, 0, 0, 0, 0)
    )
    one = np.ones((1, 1, 1, 1, 1), np.float32)
    try:
        assert engine.forward(hollow, one).shape == hollow.shape
    except ValueError:
        pass
    with pytest.raises((ValueError, MemoryError)):
        engine.forward(np.broadcast_to(np.float32(1), (2**11,) * 4 + (1,)), one)
    with pytest.raises((ValueError, MemoryError)):
        engine.forward(np.broadcast_to(np.float32(1), (1, 2**20, 2**20, 2**20, 1)), one)


@pytest.mark.parametrize(
    "dtype",
    [">f4", ">f8", np.int32, np.uint8, np.int64, np.complex64, np.complex128, object, bool]
    + [np.longdouble, "U3", "S3", "datetime64[s]", [("a", "f4"), ("b", "f4")]],
)
def test_dtypes_that_are_refused_by_name(dtype):  # 41, 42
    if np.dtype(dtype) == np.float64:
        pytest.skip("long double is double here")
    for call in (
        lambda: engine.forward(np.zeros(X.shape, dtype), np.zeros(W.shape, dtype)),
        lambda: engine.forward(X, np.zeros(W.shape, dtype)),
        lambda: engine.forward(X, W, np.zeros(6, dtype)),
        lambda: engine.backward_input(X.shape, W, np.zeros(Y.shape, dtype)),
        lambda: engine.backward_filter(X, W.shape, np.zeros(Y.shape, dtype)),
        lambda: engine.max_pool3d(np.zeros(X.shape, dtype), 2, 2, "valid"),
        lambda: engine.Plan(np.zeros(W.shape, dtype)),
    ):
        with pytest.raises(TypeError, match=r"float32, float64, float16 and bfloat16|one dtype"):
            call()


def test_mixed_dtypes():
    with pytest.raises(TypeError, match="one dtype"):
        engine.forward(X, W.astype(np.float64))
    with pytest.raises(TypeError, match="one dtype"):
        engine.forward(X, W, np.zeros(6))
    with pytest.raises(TypeError, match="one dtype"):
        engine.backward_filter(X.astype(np.float16), W.shape, Y)
    with pytest.raises(TypeError, match="one dtype"):
        engine.Plan(W)(X.astype(np.float64))


@pytest.mark.parametrize("bias", [np.zeros(5, "f"), np.zeros((1, 6), "f"), np.float32(1), "b", {}])
def test_bad_bias(bias):  # 51
    with pytest.raises((ValueError, TypeError), match="bias"):
        forward(bias=bias)


@pytest.mark.parametrize("activation", ["RELU", "swish", "", 3, np.tanh])
def test_bad_activation(activation):
    with pytest.raises((ValueError, TypeError), match="activation"):
        forward(activation=activation)


@pytest.mark.parametrize(
    "bad", [None, "text", 3.5, [], {}, object(), [[1, 2], [3]], np.ma.masked_array(X, X > 0)]
)
def test_things_that_are_no_arrays(bad):
    for call in (
        lambda: forward(input=bad),
        lambda: forward(filter=bad),
        lambda: backward_filter(grad_output=bad),
    ):
        with pytest.raises((TypeError, ValueError)):
            call()


@pytest.mark.parametrize(
    ("size", "strides", "padding", "shape"),
    [
        (0, 1, "valid", X.shape),
        (2, 0, "valid", X.shape),
        (5, 1, "valid", X.shape),
        (2**62, 1, "valid", X.shape),
        ((2, 2), 1, "valid", X.shape),
        (2, 2, "full", X.shape),
        (2, 2, ((2, 0), (0, 0), (0, 0)), X.shape),
        (2, 2, "valid", (4, 4, 4, 4)),
        (2, 2, "valid", (1, 0, 4, 4, 4)),
    ],
)
def test_bad_pooling(size, strides, padding, shape):
    x = np.zeros(shape, np.float32)
    for pool in (engine.max_pool3d, engine.avg_pool3d):
        with pytest.raises((ValueError, TypeError)):
            pool(x, size, strides, padding)
    with pytest.raises((ValueError, TypeError)):
        engine.avg_pool3d_grad(shape, x, size, strides, padding)


def test_pooling_gradients_check_their_shapes():
    y = engine.max_pool3d(X, 2, 2, "valid")
    with pytest.raises(ValueError, match="grad_output has shape"):
        engine.max_pool3d_grad(X, y, X, 2, 2, "valid")
    with pytest.raises(ValueError, match="output has shape"):
        engine.max_pool3d_grad(X, X, y, 2, 2, "valid")
    with pytest.raises(ValueError, match="grad_output has shape"):
        engine.avg_pool3d_grad(X.shape, X, 2, 2, "valid")


def test_messages_name_the_argument_the_value_and_what_is_accepted():
    for call, words in (
        (lambda: forward(strides=(1, 0, 1)), ["strides", "0", "at least 1"]),
        (lambda: forward(padding="full"), ["padding", "'full'", "'same'", "'valid'"]),
        (lambda: forward(groups=3), ["groups", "3"]),
        (lambda: forward(input=X[..., :2]), ["filter", "(3, 3, 3, 4, 6)", "2 channels"]),
        (lambda: forward(data_format="NHWC"), ["data_format", "'NHWC'", "'channels_first'"]),
        (lambda: forward(input=X[0]), ["input", "(4, 4, 4, 4)", "rank 5"]),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize("where", ["input", "filter", "both"])
def test_denormal_numbers_count_as_zero_or_are_kept(where):  # 49
    tiny = np.float32(1e-40)
    x = np.full(X.shape, tiny if where != "filter" else 1, np.float32)
    w = np.full(W.shape, tiny if where != "input" else 1, np.float32)
    exact = x[0, 0, 0, 0, 0].astype(np.float64) * w[0, 0, 0, 0, 0].astype(np.float64) * 108
    y = engine.forward(x, w)
    assert np.all((y == 0) | np.isclose(y, exact, rtol=1e-4))
    assert np.all(np.abs(y - exact) < 2e-38)
    kept = engine.forward(x, w, algorithm="reference")
    np.testing.assert_allclose(kept, exact, rtol=1e-5, atol=1e-45)


def test_the_callers_floating_point_mode_is_neither_used_nor_changed():  # 50
    done = child(
        """
import ctypes, mmap
import numpy as np
from conv3d import engine
# ldmxcsr (%rdi); ret and stmxcsr (%rdi); ret
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes([0x0F, 0xAE, 0x17, 0xC3, 0x0F, 0xAE, 0x1F, 0xC3]))
base = ctypes.addressof(ctypes.c_char.from_buffer(code))
load = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(base)
store = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(base + 4)
def mode(value=None):
    word = ctypes.c_uint32(0 if value is None else value)
    (store if value is None else load)(ctypes.byref(word))
    return word.value
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 12, 12, 12, 16)).astype(np.float32)
w = rng.standard_normal((3, 3, 3, 16, 16)).astype(np.float32)
want = {a: engine.forward(x, w, algorithm=a, num_threads=2) for a in ("auto", "gemm", "reference")}
normal = mode()
for odd in (0x1F80 | 0x4000, 0x1F80 | 0x2000, 0x1F80 | 0x8040, 0x1F80 | 0x6000, 0x1F80 & ~0x0400):
    for algorithm, y in want.items():
        mode(odd)
        got = engine.forward(x, w, algorithm=algorithm, num_threads=2)
        after = mode()
        mode(normal)
        assert after & 0xFFC0 == odd & 0xFFC0, (hex(after), hex(odd))
        np.testing.assert_array_equal(got, y)
print("fine")
"""
    )
    assert done.stdout.strip() == "fine", done.stderr[-2000:]
