"""Random numbers: uniform, normal, truncated normal, permutations, draws from categories.

Each op owns a stream of the counter-based generator Philox that its two seeds start: the same
seeds give the same numbers on every machine and with any number of threads, and the stream goes on
from run to run. TensorFlow's own streams are not reproduced.

Source: `tf.random_uniform` and its relatives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import context, convert, dtypes, random_seed, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor_shape import TensorShape
from conv3d.ops import array_ops, array_slice_ops, math_ops, shape_rules

_FLOATS = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


def _stream(ctx: Any, attrs: dict[str, Any]) -> np.random.Generator:
    return ctx.rng(attrs["seed"], attrs["seed2"], ctx.op)


def _dims(shape: np.ndarray) -> tuple[int, ...]:
    dims = tuple(int(n) for n in np.atleast_1d(shape))
    if any(n < 0 for n in dims):
        raise errors.InvalidArgumentError(
            None, None, f"The shape of random numbers is {list(dims)}; sizes must not be negative."
        )
    return dims


def _infer_drawn(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("the shape of random numbers", inputs[0].dtype, shape_rules.INDEX)
    return [(attrs["dtype"], convert.constant_value_as_shape(inputs[0]))]


def _generated(draw: Callable[..., Any], attrs: dict[str, Any]) -> np.ndarray:
    """Draws in the type wanted, or in float32 for the half types."""
    wanted = attrs["dtype"].as_numpy_dtype
    native = np.float64 if attrs["dtype"] == dtypes.float64 else np.float32
    return np.asarray(draw(native)).astype(wanted, copy=False)


def _uniform(ctx: Any, attrs: dict[str, Any], shape: np.ndarray) -> np.ndarray:
    rng, dims = _stream(ctx, attrs), _dims(shape)
    if attrs["dtype"] in (dtypes.float16, dtypes.bfloat16):
        # As many bits as the type has: rounding a finer number could give 1.
        bits = 11 if attrs["dtype"] == dtypes.float16 else 8
        values = rng.integers(0, 1 << bits, dims).astype(np.float32) * np.float32(2.0**-bits)
        return values.astype(attrs["dtype"].as_numpy_dtype)
    return _generated(lambda native: rng.random(dims, dtype=native), attrs)


def _normal(ctx: Any, attrs: dict[str, Any], shape: np.ndarray) -> np.ndarray:
    rng, dims = _stream(ctx, attrs), _dims(shape)
    return _generated(lambda native: rng.standard_normal(dims, dtype=native), attrs)


def _truncated(ctx: Any, attrs: dict[str, Any], shape: np.ndarray) -> np.ndarray:
    """Normal numbers; those beyond two standard deviations are drawn again."""
    rng, dims = _stream(ctx, attrs), _dims(shape)

    def draw(native: Any) -> np.ndarray:
        values = rng.standard_normal(int(np.prod(dims, dtype=np.int64)), dtype=native)
        far = np.flatnonzero(np.abs(values) >= 2)
        while far.size:
            values[far] = rng.standard_normal(far.size, dtype=native)
            far = far[np.abs(values[far]) >= 2]
        return values.reshape(dims)

    return _generated(draw, attrs)


def _uniform_int(
    ctx: Any, attrs: dict[str, Any], shape: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    if int(low) >= int(high):
        raise errors.InvalidArgumentError(
            None, None, f"`minval` must be below `maxval`; given are {int(low)} and {int(high)}."
        )
    rng = _stream(ctx, attrs)
    return np.asarray(rng.integers(int(low), int(high), _dims(shape), dtype=low.dtype))


def _infer_uniform_int(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = shape_rules.same_dtype(inputs[1:], ("minval", "maxval"))
    shape_rules.check_dtype("`minval`", dtype, shape_rules.INDEX)
    return [(dtype, convert.constant_value_as_shape(inputs[0]))]


def _shuffle(ctx: Any, attrs: dict[str, Any], value: np.ndarray) -> np.ndarray:
    if value.ndim == 0:
        return value
    return value[_stream(ctx, attrs).permutation(value.shape[0])]


def _infer_multinomial(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("`logits` of multinomial", inputs[0].dtype, shape_rules.FLOATS)
    shape = inputs[0].shape
    if shape.ndims not in (None, 2):
        raise ValueError(f"`logits` of multinomial has shape {shape}; two dimensions are needed.")
    rows = None if shape.ndims is None else shape.as_list()[0]
    count = inputs[1].constant_value()
    return [(dtypes.int64, TensorShape([rows, None if count is None else int(count)]))]


def _multinomial(
    ctx: Any, attrs: dict[str, Any], logits: np.ndarray, count: np.ndarray
) -> np.ndarray:
    if logits.ndim != 2 or int(count) < 0 or (logits.shape[1] == 0 and int(count) > 0):
        raise errors.InvalidArgumentError(
            None,
            None,
            f"multinomial needs `logits` `[batch, classes]` and `num_samples` of 0 or more; given "
            f"are shape {list(logits.shape)} and {int(count)}.",
        )
    rng = _stream(ctx, attrs)
    draws = rng.random((logits.shape[0], int(count)))
    wide = logits.astype(np.float64)
    weights = np.exp(wide - wide.max(axis=1, keepdims=True)) if wide.size else wide
    sums = np.cumsum(weights, axis=1)
    out = np.empty(draws.shape, np.int64)
    for row, (total, u) in enumerate(zip(sums, draws, strict=False)):
        out[row] = np.searchsorted(total, u * total[-1], side="right")
    return np.minimum(out, max(logits.shape[1] - 1, 0))


_NOT = registry.NOT_DIFFERENTIABLE


def _register(
    name: str, infer: Callable[..., Any], compute: Callable[..., Any], inputs: Sequence[str]
) -> None:
    registry.register(
        name, infer=infer, compute=compute, gradient=_NOT, stateful=True, inputs=inputs
    )


_register("RandomUniform", _infer_drawn, _uniform, ("shape",))
_register("RandomStandardNormal", _infer_drawn, _normal, ("shape",))
_register("TruncatedNormal", _infer_drawn, _truncated, ("shape",))
_register("RandomUniformInt", _infer_uniform_int, _uniform_int, ("shape", "minval", "maxval"))
_register("RandomShuffle", shape_rules.like(), _shuffle, ("value",))
_register("Multinomial", _infer_multinomial, _multinomial, ("logits", "num_samples"))


def _seeds(seed: int | None) -> dict[str, int]:
    first, second = random_seed.get_seed(seed)
    return {"seed": first or 0, "seed2": second or 0}


def _shape_tensor(shape: Any) -> Any:
    preferred = dtypes.int32 if isinstance(shape, (list, tuple)) else None
    if isinstance(shape, (list, tuple)) and not shape:
        return convert.convert_to_tensor(np.zeros(0, np.int32), name="shape")
    return convert.convert_to_tensor(shape, preferred_dtype=preferred, name="shape")


def _float_type(function: str, dtype: Any) -> dtypes.DType:
    dtype = dtypes.as_dtype(dtype)
    if dtype not in _FLOATS:
        raise TypeError(
            f"`dtype` of {function} is {dtype.name}; accepted are "
            f"{', '.join(t.name for t in _FLOATS)}."
        )
    return dtype


def _scaled(
    op_type: str, label: str, shape: Any, mean: Any, stddev: Any, dtype: Any, seed: Any, name: Any
) -> Any:
    dtype = _float_type(label, dtype)
    with context.name_scope(name, label, [shape, mean, stddev]) as scope:
        shape = _shape_tensor(shape)
        mean = convert.convert_to_tensor(mean, dtype=dtype, name="mean")
        stddev = convert.convert_to_tensor(stddev, dtype=dtype, name="stddev")
        drawn = apply_op(op_type, [shape], {"dtype": dtype, **_seeds(seed)})
        return math_ops.add(drawn * stddev, mean, name=scope)


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Normally distributed numbers.

    Args:
        shape: a list of integers or a 1-D integer tensor.
        mean: a number or a tensor that broadcasts to `shape`.
        stddev: likewise.
        dtype: a floating point type.
        seed: seed of the op; see `set_random_seed`.
        name: name of the result's op.

    Raises:
        TypeError: `dtype` is no floating point type.

    Source: `tf.random_normal`.
    """
    label = "random_normal"
    return _scaled("RandomStandardNormal", label, shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Normally distributed numbers within two standard deviations of the mean.

    Arguments and errors as for `random_normal`. Source: `tf.truncated_normal`.
    """
    label = "truncated_normal"
    return _scaled("TruncatedNormal", label, shape, mean, stddev, dtype, seed, name)


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Uniformly distributed numbers in [minval, maxval).

    Args:
        shape: a list of integers or a 1-D integer tensor.
        minval: a number or scalar tensor.
        maxval: likewise; default 1 for floating point types, needed for integers.
        dtype: float16, bfloat16, float32, float64, int32 or int64.
        seed: seed of the op; see `set_random_seed`.
        name: name of the result's op.

    Raises:
        ValueError: another `dtype`, or integers without `maxval`.

    Source: `tf.random_uniform`.
    """
    dtype = dtypes.as_dtype(dtype)
    if dtype not in (*_FLOATS, dtypes.int32, dtypes.int64):
        raise ValueError(
            f"`dtype` of random_uniform is {dtype.name}; accepted are floating point types, int32 "
            "and int64."
        )
    if maxval is None:
        if dtype.is_integer:
            raise ValueError(f"`maxval` must be given for {dtype.name} of random_uniform.")
        maxval = 1
    with context.name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        shape = _shape_tensor(shape)
        low = convert.convert_to_tensor(minval, dtype=dtype, name="min")
        high = convert.convert_to_tensor(maxval, dtype=dtype, name="max")
        if dtype.is_integer:
            attrs = {"dtype": dtype, **_seeds(seed)}
            return apply_op("RandomUniformInt", [shape, low, high], attrs, scope)
        drawn = apply_op("RandomUniform", [shape], {"dtype": dtype, **_seeds(seed)})
        return math_ops.add(drawn * (high - low), low, name=scope)


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Any:
    """`value` with the entries along its first dimension in random order.

    Source: `tf.random_shuffle`.
    """
    return apply_op("RandomShuffle", [value], _seeds(seed), name)


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Any:
    """A slice of the given size at a random place.

    Args:
        value: a tensor.
        size: a 1-D integer tensor with one entry for each dimension of `value`.
        seed: seed of the op.
        name: name of the result's op.

    Raises:
        ValueError: `size` is known to exceed `value`.

    Source: `tf.random_crop`.
    """
    with context.name_scope(name, "random_crop", [value, size]) as scope:
        value = convert.convert_to_tensor(value, name="value")
        size = convert.convert_to_tensor(size, dtype=dtypes.int32, name="size")
        known = convert.constant_value(size)
        if known is not None and value.shape.is_fully_defined():
            if any(w > n for w, n in zip(known.tolist(), value.shape.as_list(), strict=False)):
                raise ValueError(
                    f"`size` of random_crop is {known.tolist()}, larger than {value.shape}."
                )
        room = array_ops.shape(value) - size + 1
        draw = random_uniform(
            array_ops.shape(room), 0, dtypes.int32.max, dtype=dtypes.int32, seed=seed
        )
        return array_slice_ops.slice(value, draw % room, size, name=scope)


def multinomial(
    logits: Any,
    num_samples: Any,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Draws classes with probability softmax(logits).

    Args:
        logits: `[batch, classes]`, unnormalized logarithms of probabilities.
        num_samples: a scalar integer.
        seed: seed of the op.
        name: name of the scope of the op.

    Returns:
        int64 `[batch, num_samples]`.

    Source: `tf.multinomial`.
    """
    with context.name_scope(name, "multinomial", [logits]):
        types = [dtypes.float32, dtypes.int32]
        return apply_op("Multinomial", [logits, num_samples], _seeds(seed), dtypes=types)


__all__ = [
    "multinomial",
    "random_crop",
    "random_normal",
    "random_shuffle",
    "random_uniform",
    "truncated_normal",
]
