"""Initializers of `tf.contrib.layers`: Xavier, and variance scaling as it was before `tf` had it.

Source: Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
2010; He et al., "Delving Deep into Rectifiers", 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from conv3d.framework import dtypes
from conv3d.ops import random_ops

__all__ = ["variance_scaling_initializer", "xavier_initializer", "xavier_initializer_conv2d"]

# A normal variable cut at two standard deviations has 1 / 1.3 of the variance.
_TRUNCATION = 1.3


def variance_scaling_initializer(
    factor: float = 2.0,
    mode: str = "FAN_IN",
    uniform: bool = False,
    seed: int | None = None,
    dtype: Any = dtypes.float32,
) -> Callable[..., Any]:
    """Random values of variance `factor / n`.

    Args:
        factor: 2 for rectifiers, 1 for Xavier's rule.
        mode: `n` is the number of inputs of a unit (FAN_IN), of outputs (FAN_OUT), or their mean
            (FAN_AVG).
        uniform: uniform instead of truncated normal.
        seed: seed of the operation.
        dtype: a floating type.

    Raises:
        TypeError: `dtype` is not floating, or the mode is unknown.
    """
    if not dtypes.as_dtype(dtype).is_floating:
        raise TypeError(f"dtype: a floating type is needed, got {dtypes.as_dtype(dtype).name}")
    if mode not in ("FAN_IN", "FAN_OUT", "FAN_AVG"):
        raise TypeError(f"mode: FAN_IN, FAN_OUT or FAN_AVG is accepted, got {mode!r}")

    def initializer(shape: Any, dtype: Any = dtype, partition_info: Any = None) -> Any:
        if not dtypes.as_dtype(dtype).is_floating:
            raise TypeError(f"dtype: a floating type is needed, got {dtypes.as_dtype(dtype).name}")
        whole = shape if partition_info is None else partition_info.full_shape
        sizes = [int(size) for size in whole]
        receptive = float(math.prod(sizes[:-2]))
        fan_in = (sizes[-2] if len(sizes) > 1 else sizes[-1] if sizes else 1) * receptive
        fan_out = (sizes[-1] if sizes else 1) * receptive
        count = {"FAN_IN": fan_in, "FAN_OUT": fan_out, "FAN_AVG": (fan_in + fan_out) / 2.0}[mode]
        if uniform:
            limit = math.sqrt(3.0 * factor / count)
            return random_ops.random_uniform(shape, -limit, limit, dtype, seed=seed)
        deviation = math.sqrt(_TRUNCATION * factor / count)
        return random_ops.truncated_normal(shape, 0.0, deviation, dtype, seed=seed)

    return initializer


def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: Any = dtypes.float32
) -> Callable[..., Any]:
    """Random values of variance `2 / (inputs + outputs)`; see `variance_scaling_initializer`."""
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer
