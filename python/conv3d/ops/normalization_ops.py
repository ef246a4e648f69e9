"""Moments and normalizations.

    batch normalization: y = (x - mean) / sqrt(variance + epsilon) * scale + offset

Source: `tf.nn.moments`, `tf.nn.weighted_moments`, `tf.nn.sufficient_statistics`,
`tf.nn.batch_normalization`, `tf.nn.fused_batch_norm`, `tf.nn.l2_normalize`, `tf.nn.lrn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import composite, context, convert, dtypes, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor import Tensor
from conv3d.framework.tensor_shape import TensorShape
from conv3d.ops import (
    array_ops,
    array_slice_ops,
    batch_norm_ops,
    math_ops,
    math_reduce_ops,
    nn_ops,
    shape_rules,
)

_HALF = (dtypes.float16, dtypes.bfloat16)


# -- moments ---------------------------------------------------------------------------------------


def moments(
    x: Any,
    axes: Sequence[int],
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool = False,
) -> tuple[Any, Any]:
    """Mean and (biased) variance over some axes.

    Args:
        x: a floating point tensor; half precision is computed in float32.
        axes: a list of integers.
        shift: without effect.
        name: name of the scope of the ops.
        keep_dims: keep the axes with size 1.

    Source: `tf.nn.moments`.
    """
    with context.name_scope(name, "moments", [x, axes]):
        x = convert.convert_to_tensor(x, name="x")
        first = None if keep_dims else batch_norm_ops.channel_axis(x, axes)
        if first is None:
            mean, variance = _moments(x, axes, keep_dims)
        else:
            mean, variance = composite.spell_out(
                "Moments", [x], {"first": first}, lambda: _moments(x, axes, False)
            )
        return mean, variance


def _moments(x: Any, axes: Sequence[int], keep_dims: bool) -> tuple[Any, Any]:
    """`moments` in the ops of TensorFlow."""
    wide = math_ops.cast(x, dtypes.float32) if x.dtype.base_dtype in _HALF else x
    mean = math_reduce_ops.reduce_mean(wide, axes, keepdims=True, name="mean")
    # The mean minimises the sum of squares: its own gradient adds nothing.
    squares = math_ops.squared_difference(wide, array_ops.stop_gradient(mean))
    variance = math_reduce_ops.reduce_mean(squares, axes, keepdims=True, name="variance")
    if not keep_dims:
        mean = array_ops.squeeze(mean, axes)
        variance = array_ops.squeeze(variance, axes)
    if wide is not x:
        dtype = x.dtype.base_dtype
        return math_ops.cast(mean, dtype), math_ops.cast(variance, dtype)
    return mean, variance


def weighted_moments(
    x: Any,
    axes: Sequence[int],
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: bool = False,
) -> tuple[Any, Any]:
    """Mean and variance over some axes of elements that count `frequency_weights` times.

    Args:
        x: a floating point tensor.
        axes: a list of integers.
        frequency_weights: a tensor that broadcasts against `x`.
        name: name of the scope of the ops.
        keep_dims: keep the axes with size 1.

    Source: `tf.nn.weighted_moments`.
    """
    with context.name_scope(name, "weighted_moments", [x, frequency_weights, axes]):
        x = convert.convert_to_tensor(x, name="x")
        wide = math_ops.cast(x, dtypes.float32) if x.dtype.base_dtype in _HALF else x
        weights = convert.convert_to_tensor(frequency_weights, name="frequency_weights")
        if weights.dtype.base_dtype != wide.dtype.base_dtype:
            weights = math_ops.cast(weights, wide.dtype.base_dtype)
        total = math_reduce_ops.reduce_sum(
            weights * wide, axes, keepdims=True, name="weighted_input_sum"
        )
        # One weight for each element, whatever it is broadcast from.
        spread = weights + array_ops.zeros_like(wide)
        count = math_reduce_ops.reduce_sum(spread, axes, keepdims=True, name="sum_of_weights")
        share = math_ops.reciprocal(count, name="inv_weight_sum")
        mean = math_ops.multiply(total, share)
        squares = weights * math_ops.squared_difference(wide, mean)
        distance = math_reduce_ops.reduce_sum(squares, axes, keepdims=True, name="weighted_distsq")
        variance = math_ops.multiply(distance, share)
        if not keep_dims:
            mean = array_ops.squeeze(mean, axes)
            variance = array_ops.squeeze(variance, axes)
        if wide is not x:
            dtype = x.dtype.base_dtype
            return math_ops.cast(mean, dtype), math_ops.cast(variance, dtype)
        return mean, variance


def sufficient_statistics(
    x: Any,
    axes: Sequence[int],
    shift: Any = None,
    keep_dims: bool = False,
    name: str | None = None,
) -> tuple[Any, Any, Any, Any]:
    """Count, sum and sum of squares over some axes, about `shift` if given, and the shift.

    Source: `tf.nn.sufficient_statistics`.
    """
    axes = sorted({int(a) for a in axes})
    with context.name_scope(name, "sufficient_statistics", [x, shift]):
        x = convert.convert_to_tensor(x, name="x")
        dims = x.shape.as_list() if x.shape.ndims is not None else None
        if dims is not None and all(dims[a] is not None for a in axes):
            size = 1
            for axis in axes:
                size *= dims[axis]
            count = array_ops.constant(size, dtype=x.dtype.base_dtype)
        else:
            sizes = array_slice_ops.gather(array_ops.shape(x), axes)
            count = math_ops.cast(math_reduce_ops.reduce_prod(sizes), x.dtype.base_dtype)
        if shift is not None:
            shift = convert.convert_to_tensor(shift, name="shift")
            centered = x - shift
            squares = math_ops.squared_difference(x, shift)
        else:
            centered, squares = x, math_ops.square(x)
        total = math_reduce_ops.reduce_sum(centered, axes, keepdims=keep_dims, name="mean_ss")
        square = math_reduce_ops.reduce_sum(squares, axes, keepdims=keep_dims, name="var_ss")
        return count, total, square, shift


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> tuple[Any, Any]:
    """Mean and variance of the results of `sufficient_statistics`.

    Source: `tf.nn.normalize_moments`.
    """
    with context.name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        share = math_ops.reciprocal(counts, name="divisor")
        shifted = math_ops.multiply(mean_ss, share, name="shifted_mean")
        mean = shifted if shift is None else math_ops.add(shifted, shift, name="mean")
        variance = math_ops.subtract(
            math_ops.multiply(variance_ss, share), math_ops.square(shifted), name="variance"
        )
        return mean, variance


# -- batch normalization ---------------------------------------------------------------------------


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: Any,
    name: str | None = None,
) -> Any:
    """Normalizes `x`, then scales and shifts it.

    Args:
        x: a floating point tensor.
        mean: a tensor that broadcasts against `x`.
        variance: likewise.
        offset: likewise, or None.
        scale: likewise, or None.
        variance_epsilon: a small number that keeps the division finite.
        name: name of the scope of the ops.

    Source: `tf.nn.batch_normalization`.
    """
    with context.name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        given = [
            # Only of a variable is it known that its value adds no op of its own.
            convert.convert_to_tensor(t) if hasattr(t, "_ref") else t
            for t in (x, mean, variance, offset, scale)
        ]
        if all(isinstance(t, Tensor) for t in given) and isinstance(variance_epsilon, float):
            first = batch_norm_ops.vector_axis(x, given[1:])
            if first is not None:
                attrs = {"first": first, "epsilon": variance_epsilon}
                (y,) = composite.spell_out(
                    "BatchNormalize", given, attrs, lambda: [_normalize(variance_epsilon, *given)]
                )
                return y
        return _normalize(variance_epsilon, x, mean, variance, offset, scale)


def _normalize(epsilon: Any, x: Any, mean: Any, variance: Any, offset: Any, scale: Any) -> Any:
    """`batch_normalization` in the ops of TensorFlow."""
    factor = math_ops.rsqrt(variance + epsilon)
    if scale is not None:
        factor = factor * scale
    # Two passes over x; everything else has the size of the moments.
    product = x * factor
    if offset is None:
        return product + (-mean) * factor
    return product + (offset - mean * factor)


def batch_norm_with_global_normalization(
    t: Any,
    m: Any,
    v: Any,
    beta: Any,
    gamma: Any,
    variance_epsilon: float,
    scale_after_normalization: bool,
    name: str | None = None,
) -> Any:
    """`batch_normalization` in an old spelling.

    Source: `tf.nn.batch_norm_with_global_normalization`.
    """
    scale = gamma if scale_after_normalization else None
    return batch_normalization(t, m, v, beta, scale, variance_epsilon, name)


def _axis(attrs: dict[str, Any], rank: int) -> int:
    return 1 if attrs["data_format"].startswith("NC") else rank - 1


def _infer_fused(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("`x` of FusedBatchNorm", inputs[0].dtype, shape_rules.FLOATS)
    dtype = shape_rules.same_dtype(inputs[1:], ("scale", "offset", "mean", "variance"))
    shape = inputs[0].shape
    vector = inputs[1].shape.with_rank(1).merge_with(inputs[2].shape)
    if shape.ndims is not None:
        dims = shape.as_list()
        axis = _axis(attrs, len(dims))
        vector = vector.merge_with([dims[axis]])
        dims[axis] = vector.as_list()[0]
        shape = TensorShape(dims)
    if not attrs["is_training"]:
        for tensor in inputs[3:]:
            vector = vector.merge_with(tensor.shape)
    return [(inputs[0].dtype.base_dtype, shape)] + [(dtype, vector)] * 2


def _fused(
    attrs: dict[str, Any],
    x: np.ndarray,
    scale: np.ndarray,
    offset: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axis = _axis(attrs, x.ndim)
    channels = x.shape[axis]
    vectors = (scale, offset) if attrs["is_training"] else (scale, offset, mean, variance)
    if any(v.shape != (channels,) for v in vectors):
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`x` of FusedBatchNorm has {channels} channels; the vectors given have the shapes "
            f"{[list(v.shape) for v in vectors]}.",
        )
    wide = x.astype(scale.dtype, copy=False)
    rest = tuple(i for i in range(x.ndim) if i != axis)
    if attrs["is_training"]:
        count = max(x.size // max(channels, 1), 1)
        mean = wide.mean(axis=rest)
        centered = wide - nn_ops.spread(mean, x.ndim, axis)
        biased = np.square(centered).mean(axis=rest)
        variance = biased * scale.dtype.type(count / max(count - 1, 1))
    else:
        centered = wide - nn_ops.spread(mean, x.ndim, axis)
        biased = variance
    factor = scale / np.sqrt(biased + scale.dtype.type(attrs["epsilon"]))
    y = centered * nn_ops.spread(factor, x.ndim, axis)
    y += nn_ops.spread(offset, x.ndim, axis)
    return y.astype(x.dtype, copy=False), mean, variance


def _gradient_fused(op: Any, grad: Any, grad_mean: Any, grad_variance: Any) -> list[Any]:
    """Composed of ops on x itself, so that it can be differentiated again."""
    x, scale, _, mean, variance = op.inputs
    training = op.get_attr("is_training")
    ndims = x.shape.ndims
    axis = _axis({"data_format": op.get_attr("data_format")}, ndims)
    rest = [i for i in range(ndims) if i != axis]
    dtype = scale.dtype.base_dtype

    def whole(v: Any) -> Any:
        return v if axis == ndims - 1 else array_ops.reshape(v, [-1] + [1] * (ndims - 1 - axis))

    def total(v: Any) -> Any:
        return math_reduce_ops.reduce_sum(v, rest)

    def average(v: Any) -> Any:
        return math_reduce_ops.reduce_mean(v, rest, keepdims=True)

    wide = math_ops.cast(x, dtype)
    if training:
        mean_ = average(wide)
        centered = wide - mean_
        rstd = math_ops.rsqrt(average(math_ops.square(centered)) + op.get_attr("epsilon"))
    else:
        centered = wide - whole(mean)
        rstd = whole(math_ops.rsqrt(variance + op.get_attr("epsilon")))
    by_x = by_scale = by_offset = by_mean = by_variance = None
    if grad is not None:
        dy = math_ops.cast(grad, dtype)
        normal = centered * rstd
        by_offset = total(dy)
        by_scale = total(dy * normal)
        by_x = dy * whole(scale) * rstd
        if training:
            by_x = by_x - average(by_x) - normal * average(by_x * normal)
        else:
            row = array_ops.reshape(rstd, [-1])
            by_mean = -by_offset * scale * row
            by_variance = -0.5 * by_scale * scale * row * row
    count = None
    for more, is_mean in ((grad_mean, True), (grad_variance, False)):
        if more is None:
            continue
        if not training:
            if is_mean:
                by_mean = more if by_mean is None else by_mean + more
            else:
                by_variance = more if by_variance is None else by_variance + more
            continue
        if count is None:
            sizes = array_ops.size(x) // array_ops.size(scale)
            count = math_ops.cast(sizes, dtype)
        if is_mean:
            term = array_ops.zeros_like(wide) + whole(more) / count
        else:
            term = centered * whole(more) * (2.0 / math_ops.maximum(count - 1.0, 1.0))
        by_x = term if by_x is None else by_x + term
    if by_x is not None:
        by_x = math_ops.cast(by_x, x.dtype.base_dtype)
    return [by_x, by_scale, by_offset, by_mean, by_variance]


def _fused_samples() -> list[Any]:
    rng = np.random.RandomState(9)
    out = []
    for layout, shape, axis in (("NHWC", (2, 3, 2, 3), 3), ("NCHW", (3, 2, 2, 2), 1)):
        n = shape[axis]
        vectors = [rng.uniform(0.5, 2, n), rng.standard_normal(n)]
        moments_ = [rng.standard_normal(n), rng.uniform(0.5, 2, n)]
        for training in (True, False):
            attrs = {"epsilon": 0.01, "data_format": layout, "is_training": training}
            arrays = [rng.standard_normal(shape), *vectors]
            if training:
                # Moments that are given are not read then; no gradient flows to them.
                arrays += [np.zeros(0), np.zeros(0)]
            else:
                arrays += moments_
            out.append((attrs, arrays))
    return out


registry.register(
    "FusedBatchNorm",
    infer=_infer_fused,
    compute=_fused,
    gradient=_gradient_fused,
    inputs=("x", "scale", "offset", "mean", "variance"),
    samples=_fused_samples,
)


def fused_batch_norm(
    x: Any,
    scale: Any,
    offset: Any,
    mean: Any = None,
    variance: Any = None,
    epsilon: float = 0.001,
    data_format: str = "NHWC",
    is_training: bool = True,
    name: str | None = None,
) -> tuple[Any, Any, Any]:
    """Batch normalization of images in one op.

    Args:
        x: `[batch, height, width, channels]`, or channels first.
        scale: `[channels]`.
        offset: `[channels]`.
        mean: `[channels]`, for inference only.
        variance: `[channels]`, for inference only.
        epsilon: a small number that keeps the division finite; at least 1.001e-5.
        data_format: "NHWC" or "NCHW".
        is_training: normalize by the moments of the batch, or by those given.
        name: name of the op.

    Returns:
        `(y, batch_mean, batch_variance)`. In training the variance is the unbiased estimate, as in
        TensorFlow; `x` is normalized by the biased one.

    Raises:
        ValueError: moments given in training or missing in inference; another data format.

    Source: `tf.nn.fused_batch_norm`.
    """
    if data_format not in ("NHWC", "NCHW"):
        raise ValueError(f"`data_format` is {data_format!r}; 'NHWC' or 'NCHW' is accepted.")
    x = convert.convert_to_tensor(x, name="input")
    scale = convert.convert_to_tensor(scale, name="scale")
    offset = convert.convert_to_tensor(offset, name="offset")
    if x.shape.ndims not in (None, 4):
        raise ValueError(f"`x` of fused_batch_norm has shape {x.shape}; 4 dimensions are needed.")
    if is_training:
        if mean is not None or variance is not None:
            raise ValueError("`mean` and `variance` must be None if `is_training` is true.")
        mean = array_ops.constant([], dtype=scale.dtype.base_dtype)
        variance = array_ops.constant([], dtype=scale.dtype.base_dtype)
    elif mean is None or variance is None:
        raise ValueError("`mean` and `variance` must be given if `is_training` is false.")
    attrs = {
        # The smallest value that TensorFlow's kernels take.
        "epsilon": max(float(epsilon), 1.001e-5),
        "data_format": data_format,
        "is_training": bool(is_training),
    }
    inputs = [x, scale, offset, mean, variance]
    y, batch_mean, batch_variance = apply_op("FusedBatchNorm", inputs, attrs, name)
    return y, batch_mean, batch_variance


# -- others ----------------------------------------------------------------------------------------


def l2_normalize(
    x: Any,
    axis: Any = None,
    epsilon: float = 1e-12,
    name: str | None = None,
    dim: Any = None,
) -> Any:
    """X / sqrt(max(sum(x ** 2), epsilon)), the sum along `axis` (old name `dim`).

    Source: `tf.nn.l2_normalize`.
    """
    if axis is not None and dim is not None:
        raise ValueError("Only one of `axis` and its old name `dim` is accepted.")
    axis = dim if axis is None else axis
    with context.name_scope(name, "l2_normalize", [x]) as scope:
        x = convert.convert_to_tensor(x, name="x")
        total = math_reduce_ops.reduce_sum(math_ops.square(x), axis, keepdims=True)
        factor = math_ops.rsqrt(math_ops.maximum(total, epsilon))
        return math_ops.multiply(x, factor, name=scope)


def _window_sums(x: np.ndarray, radius: int) -> np.ndarray:
    """Sums over 2 * radius + 1 neighbours along the last axis."""
    out = x.copy()
    for shift in range(1, min(radius, x.shape[-1] - 1) + 1):
        out[..., shift:] += x[..., :-shift]
        out[..., :-shift] += x[..., shift:]
    return out


def _infer_lrn(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("`input` of LRN", inputs[0].dtype, shape_rules.FLOATS)
    return [(inputs[0].dtype.base_dtype, inputs[0].shape.with_rank(4))]


def _lrn(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    base = attrs["bias"] + attrs["alpha"] * _window_sums(np.square(x), attrs["depth_radius"])
    return (x * base ** -attrs["beta"]).astype(x.dtype, copy=False)


def _lrn_grad(attrs: dict[str, Any], dy: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    radius, alpha, beta = attrs["depth_radius"], attrs["alpha"], attrs["beta"]
    base = attrs["bias"] + alpha * _window_sums(np.square(x), radius)
    direct = dy * base**-beta
    through = _window_sums(dy * y / base, radius)
    return (direct - 2 * alpha * beta * x * through).astype(x.dtype, copy=False)


def _lrn_attrs(op: Any) -> dict[str, Any]:
    return {n: op.get_attr(n) for n in ("depth_radius", "bias", "alpha", "beta")}


registry.register(
    "LRN",
    infer=_infer_lrn,
    compute=_lrn,
    gradient=lambda op, grad: [
        apply_op("LRNGrad", [grad, op.inputs[0], op.outputs[0]], _lrn_attrs(op))
    ],
    inputs=("input",),
    samples=lambda: [
        (
            {"depth_radius": r, "bias": 1.0, "alpha": 0.5, "beta": 0.75},
            [np.random.RandomState(1).standard_normal((2, 2, 1, 5))],
        )
        for r in (1, 2, 7)
    ],
)
registry.register(
    "LRNGrad",
    infer=lambda attrs, inputs: [(inputs[1].dtype.base_dtype, inputs[1].shape)],
    compute=_lrn_grad,
    inputs=("input_grads", "input_image", "output_image"),
)


def local_response_normalization(
    input: Any,
    depth_radius: int = 5,
    bias: float = 1,
    alpha: float = 1,
    beta: float = 0.5,
    name: str | None = None,
) -> Any:
    """Input / (bias + alpha * sum of squares of neighbouring channels) ** beta.

    Args:
        input: `[batch, height, width, channels]`.
        depth_radius: neighbours on either side.
        bias: a number.
        alpha: a number.
        beta: a number.
        name: name of the op.

    Source: `tf.nn.local_response_normalization`.
    """
    attrs = {
        "depth_radius": int(depth_radius),
        "bias": float(bias),
        "alpha": float(alpha),
        "beta": float(beta),
    }
    return apply_op("LRN", [input], attrs, name)


lrn = local_response_normalization

__all__ = [
    "batch_norm_with_global_normalization",
    "batch_normalization",
    "fused_batch_norm",
    "l2_normalize",
    "local_response_normalization",
    "lrn",
    "moments",
    "normalize_moments",
    "sufficient_statistics",
    "weighted_moments",
]
