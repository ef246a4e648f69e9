"""Learning rates that fall with the global step.

Each function gives a tensor in graph mode and, as TensorFlow does, a function without arguments in
eager mode, which optimizers call at every step.

Source: `tf.train.exponential_decay` and its siblings; Loshchilov, Hutter, "SGDR", 2017 (cosine),
and Bello et al., "Neural Optimizer Search with Reinforcement Learning", 2017 (linear cosine).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from conv3d.framework import context, convert, dtypes
from conv3d.ops import array_ops, array_slice_ops, math_ops, random_ops

__all__ = [
    "cosine_decay",
    "cosine_decay_restarts",
    "exponential_decay",
    "inverse_time_decay",
    "linear_cosine_decay",
    "natural_exp_decay",
    "noisy_linear_cosine_decay",
    "piecewise_constant",
    "piecewise_constant_decay",
    "polynomial_decay",
]


def _now_or_later(compute: Callable[[], Any], name: str | None, default: str) -> Any:
    def scoped() -> Any:
        with context.name_scope(name, default) as scope:
            return array_ops.identity(compute(), name=scope or None)

    return scoped if context.executing_eagerly() else scoped()


def _value(parameter: Any) -> Any:
    return parameter() if callable(parameter) and not hasattr(parameter, "dtype") else parameter


def _check_step(global_step: Any) -> None:
    if global_step is None:
        raise ValueError("global_step: a variable, tensor or number is needed, got None")


def _start(learning_rate: Any, global_step: Any, *others: Any) -> tuple[Any, ...]:
    """Rate, step and the other parameters as tensors of the rate's dtype."""
    rate = convert.convert_to_tensor(_value(learning_rate), name="learning_rate")
    rest = (math_ops.cast(_value(item), rate.dtype) for item in (global_step, *others))
    return rate, *rest


def _progress(step: Any, decay_steps: Any, staircase: bool) -> Any:
    progress = math_ops.divide(step, decay_steps)
    return math_ops.floor(progress) if staircase else progress


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """`learning_rate * decay_rate ** (global_step / decay_steps)`.

    Args:
        learning_rate: the rate at step 0.
        global_step: the step.
        decay_steps: steps in which the rate falls by `decay_rate`.
        decay_rate: the factor.
        staircase: divide as integers, so that the rate falls in steps.
        name: name of the operation.

    Raises:
        ValueError: `global_step` is None.
    """
    _check_step(global_step)

    def compute() -> Any:
        rate, step, steps, factor = _start(learning_rate, global_step, decay_steps, decay_rate)
        return rate * math_ops.pow(factor, _progress(step, steps, staircase))

    return _now_or_later(compute, name, "ExponentialDecay")


def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """`learning_rate * exp(-decay_rate * global_step / decay_steps)`; see `exponential_decay`."""
    _check_step(global_step)

    def compute() -> Any:
        rate, step, steps, factor = _start(learning_rate, global_step, decay_steps, decay_rate)
        return rate * math_ops.exp(-factor * _progress(step, steps, staircase))

    return _now_or_later(compute, name, "NaturalExpDecay")


def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Any:
    """`learning_rate / (1 + decay_rate * global_step / decay_steps)`; see `exponential_decay`."""
    _check_step(global_step)

    def compute() -> Any:
        rate, step, steps, factor = _start(learning_rate, global_step, decay_steps, decay_rate)
        return rate / (1.0 + factor * _progress(step, steps, staircase))

    return _now_or_later(compute, name, "InverseTimeDecay")


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Any:
    """`(learning_rate - end) * (1 - step / decay_steps) ** power + end`.

    Args:
        learning_rate: the rate at step 0.
        global_step: the step; beyond `decay_steps` the rate stays at the end.
        decay_steps: steps until the end.
        end_learning_rate: the rate at the end.
        power: 1 for a line.
        cycle: beyond `decay_steps`, start again with the next multiple of `decay_steps`.
        name: name of the operation.

    Raises:
        ValueError: `global_step` is None.
    """
    _check_step(global_step)

    def compute() -> Any:
        rate, step, steps, end, exponent = _start(
            learning_rate, global_step, decay_steps, end_learning_rate, power
        )
        if cycle:
            rounds = math_ops.ceil(step / steps)
            rounds = math_ops.maximum(rounds, array_ops.ones_like(rounds))
            steps = steps * rounds
        else:
            step = math_ops.minimum(step, steps)
        rest = math_ops.divide(step, steps)
        return (rate - end) * math_ops.pow(1.0 - rest, exponent) + end

    return _now_or_later(compute, name, "PolynomialDecay")


def piecewise_constant(
    x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None
) -> Any:
    """`values[0]` for `x <= boundaries[0]`, then `values[1]` up to `boundaries[1]`, and so on.

    Args:
        x: the step, a scalar.
        boundaries: growing numbers of the type of `x`.
        values: one more than `boundaries`, all of one type.
        name: name of the operation.

    Raises:
        ValueError: the lengths do not fit, or the boundaries are of another type than `x`, or the
            values are of several types.
    """
    if len(boundaries) != len(values) - 1:
        raise ValueError(
            f"boundaries: one fewer than the {len(values)} values is needed, got {len(boundaries)}"
        )
    # The types are checked at once in both modes.
    levels = [convert.convert_to_tensor(value) for value in values]
    if any(level.dtype.base_dtype != levels[0].dtype.base_dtype for level in levels):
        raise ValueError(f"values: have to be of one type, got {list(values)}")

    def compute() -> Any:
        step = convert.convert_to_tensor(_value(x))
        limits = [convert.convert_to_tensor(boundary) for boundary in boundaries]
        for position, limit in enumerate(limits):
            if limit.dtype.base_dtype == step.dtype.base_dtype:
                continue
            # An int32 limit is welcome for an int64 step.
            if limit.dtype.base_dtype == dtypes.int32 and step.dtype.base_dtype == dtypes.int64:
                limits[position] = math_ops.cast(limit, dtypes.int64)
                continue
            raise ValueError(
                f"boundaries: {boundaries[position]!r} is {limit.dtype.base_dtype.name} where the "
                f"step is {step.dtype.base_dtype.name}"
            )
        out = levels[-1]
        for limit, level in reversed(list(zip(limits, levels, strict=False))):
            out = array_slice_ops.where(math_ops.less_equal(step, limit), level, out)
        return out

    return _now_or_later(compute, name, "PiecewiseConstant")


piecewise_constant_decay = piecewise_constant


def cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Any:
    """Half a cosine from `learning_rate` down to `alpha * learning_rate` in `decay_steps` steps.

    Raises:
        ValueError: `global_step` is None.
    """
    _check_step(global_step)

    def compute() -> Any:
        rate, step, steps, floor = _start(learning_rate, global_step, decay_steps, alpha)
        fraction = math_ops.minimum(step, steps) / steps
        wave = 0.5 * (1.0 + math_ops.cos(math.pi * fraction))
        return rate * ((1.0 - floor) * wave + floor)

    return _now_or_later(compute, name, "CosineDecay")


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: Any = 2.0,
    m_mul: Any = 1.0,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Any:
    """Cosine decay that starts again and again, each period `t_mul` times as long as the last one.

    Args:
        learning_rate: the rate at step 0.
        global_step: the step.
        first_decay_steps: length of the first period.
        t_mul: factor of the length from period to period; a Python number.
        m_mul: factor of the rate from period to period.
        alpha: lowest rate, as a part of `learning_rate`.
        name: name of the operation.

    Raises:
        ValueError: `global_step` is None.
    """
    _check_step(global_step)

    def compute() -> Any:
        rate, step, first, stretch, factor, floor = _start(
            learning_rate, global_step, first_decay_steps, t_mul, m_mul, alpha
        )
        done = step / first
        equal = math_ops.floor(done)
        # With periods of equal length these divide by 0; the result is not chosen then.
        growing = math_ops.floor(math_ops.log(1.0 - done * (1.0 - stretch)) / math_ops.log(stretch))
        before = (1.0 - stretch**growing) / (1.0 - stretch)
        is_equal = math_ops.equal(stretch, 1.0)
        period = array_slice_ops.where(is_equal, equal, growing)
        fraction = array_slice_ops.where(is_equal, done - equal, (done - before) / stretch**growing)
        wave = 0.5 * factor**period * (1.0 + math_ops.cos(math.pi * fraction))
        return rate * ((1.0 - floor) * wave + floor)

    return _now_or_later(compute, name, "SGDRDecay")


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Any:
    """`learning_rate * ((alpha + linear) * cosine + beta)`.

    Args:
        learning_rate: the rate at step 0.
        global_step: the step.
        decay_steps: steps until the end.
        num_periods: full cosine periods until the end.
        alpha: added to the line.
        beta: added to the product.
        name: name of the operation.

    Raises:
        ValueError: `global_step` is None.
    """
    _check_step(global_step)

    def compute() -> Any:
        rate, step, steps, periods, up, floor = _start(
            learning_rate, global_step, decay_steps, num_periods, alpha, beta
        )
        step = math_ops.minimum(step, steps)
        line = (steps - step) / steps
        wave = 0.5 * (1.0 + math_ops.cos(2.0 * math.pi * periods * (step / steps)))
        return rate * ((up + line) * wave + floor)

    return _now_or_later(compute, name, "LinearCosineDecay")


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: Any = 1.0,
    variance_decay: Any = 0.55,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Any:
    """`linear_cosine_decay` with noise on the line of variance `initial / (1 + step) ** decay`."""
    _check_step(global_step)

    def compute() -> Any:
        rate, step, steps, initial, fall, periods, up, floor = _start(
            learning_rate, global_step, decay_steps, initial_variance, variance_decay, num_periods,
            alpha, beta,
        )  # fmt: skip
        step = math_ops.minimum(step, steps)
        spread = math_ops.sqrt(initial / math_ops.pow(1.0 + step, fall))
        noise = random_ops.random_normal(array_ops.shape(step), dtype=rate.dtype) * spread
        line = (steps - step) / steps + noise
        wave = 0.5 * (1.0 + math_ops.cos(2.0 * math.pi * periods * (step / steps)))
        return rate * ((up + line) * wave + floor)

    return _now_or_later(compute, name, "NoisyLinearCosineDecay")
