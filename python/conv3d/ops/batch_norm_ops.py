"""The ops that moments and batch normalization amount to, and their gradients.

    Moments:         mean[c] = sum x / n,  variance[c] = sum (x - mean[c])^2 / n
    BatchNormalize:  y = x f[c] + (offset[c] - mean[c] f[c]),  f = scale / sqrt(variance + epsilon)

Graphs hold them spelled out in the ops of TensorFlow (`normalization_ops`, `framework.composite`).
Vectors are along one axis of x, the last or the second; they have one dimension or, to broadcast,
as many as x.

The gradient for x is a sum of two terms, one through y and one through the moments. Each is linear
in tensors of the size of x with factors by channel, so their sum is one pass over memory, which
`framework.fusion` joins:

    dy f[c]  +  x b[c] + a[c],   b = 2 dvariance / n,  a = dmean / n - mean b

Source: Ioffe and Szegedy 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import engine, errors
from conv3d.framework import fusion, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor_shape import TensorShape, unknown_shape
from conv3d.ops import array_ops, math_ops, math_reduce_ops

__all__: list[str] = []

Attrs = dict[str, Any]


def _format(attrs: Attrs) -> str:
    return "channels_first" if attrs["first"] else "channels_last"


def _axis(attrs: Attrs, rank: int) -> int:
    return 1 if attrs["first"] else rank - 1


def _others(attrs: Attrs, rank: int) -> list[int]:
    return [i for i in range(rank) if i != _axis(attrs, rank)]


def _along(attrs: Attrs, v: Any, rank: int) -> Any:
    """A vector (tensor) in a shape that broadcasts along the channels of x."""
    if not attrs["first"]:
        return array_ops.reshape(v, [-1])
    return array_ops.reshape(v, [-1] + [1] * (rank - 2))


def _flat(attrs: Attrs, x: np.ndarray, *vectors: np.ndarray) -> list[np.ndarray]:
    """The vectors with one dimension; refuses those that do not fit x."""
    channels = x.shape[_axis(attrs, x.ndim)] if x.ndim > 1 else -1
    for v in vectors:
        if v.size != channels or v.dtype != x.dtype:
            raise errors.InvalidArgumentError(
                None,
                None,
                f"x has shape {list(x.shape)} and type {x.dtype.name}, so vectors of {channels} of "
                f"that type are needed; given is {list(v.shape)} of {v.dtype.name}.",
            )
    return [v.reshape(-1) for v in vectors]


def _infer_vectors(count: int) -> Any:
    def infer(attrs: Attrs, inputs: Sequence[Any]) -> list[Any]:
        x = inputs[0]
        shape = unknown_shape(1)
        if x.shape.ndims is not None:
            shape = TensorShape([x.shape.as_list()[_axis(attrs, x.shape.ndims)]])
        return [(x.dtype.base_dtype, shape)] * count

    return infer


def _infer_like_x(attrs: Attrs, inputs: Sequence[Any]) -> list[Any]:
    return [(inputs[0].dtype.base_dtype, inputs[0].shape)]


def _rank(x: Any) -> int:
    rank = x.shape.ndims
    if rank is None:
        raise ValueError("the rank of the input of batch normalization has to be known.")
    return int(rank)


def _count(x: Any, like: Any) -> Any:
    """How many elements of x a channel has, in the type of x."""
    if x.shape.is_fully_defined() and like.shape.is_fully_defined():
        size = x.shape.num_elements() // max(like.shape.num_elements(), 1)
        return array_ops.constant(size, dtype=x.dtype.base_dtype)
    return math_ops.cast(array_ops.size(x) // array_ops.size(like), x.dtype.base_dtype)


# -- moments ---------------------------------------------------------------------------------------


def _moments(attrs: Attrs, x: np.ndarray) -> list[np.ndarray]:
    return list(engine.channel_moments(x, data_format=_format(attrs)))


def _gradient_moments(op: Any, grad_mean: Any, grad_variance: Any) -> list[Any]:
    mean = op.outputs[0]
    given = [array_ops.zeros_like(mean) if g is None else g for g in (grad_mean, grad_variance)]
    return [apply_op("MomentsGrad", [op.inputs[0], mean, *given], {"first": op.get_attr("first")})]


def _moments_terms(
    attrs: Attrs, x: np.ndarray, mean: np.ndarray, by_mean: np.ndarray, by_variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The factor b and the shift a of the gradient."""
    mean, by_mean, by_variance = _flat(attrs, x, mean, by_mean, by_variance)
    n = x.dtype.type(max(x.size // max(mean.size, 1), 1))
    b = by_variance * (x.dtype.type(2) / n)
    return b, by_mean / n - mean * b


def _moments_grad(attrs: Attrs, x: np.ndarray, *vectors: np.ndarray) -> np.ndarray:
    b, a = _moments_terms(attrs, x, *vectors)
    return engine.channel_affine(x, b, a, data_format=_format(attrs))


def _gradient_moments_grad(op: Any, grad: Any) -> list[Any]:
    x, mean, _, by_variance = op.inputs
    attrs = {"first": op.get_attr("first")}
    rank = _rank(x)
    others = _others(attrs, rank)
    n = _count(x, mean)
    factor = _along(attrs, by_variance * 2 / n, rank)
    centered = x - _along(attrs, mean, rank)
    shape = array_ops.shape(mean)
    total = array_ops.reshape(math_reduce_ops.reduce_sum(grad, others), shape)
    product = array_ops.reshape(math_reduce_ops.reduce_sum(grad * centered, others), shape)
    return [grad * factor, -total * by_variance * 2 / n, total / n, product * 2 / n]


def _samples(vectors: int) -> Any:
    def samples() -> list[Any]:
        rng = np.random.RandomState(11)
        out = []
        for first, shape in ((False, (2, 3, 2)), (True, (2, 2, 3)), (False, (4, 3))):
            channels = shape[1] if first else shape[-1]
            arrays = [rng.standard_normal(shape)]
            arrays += [rng.uniform(0.5, 1.5, channels) for _ in range(vectors)]
            out.append(({"first": first}, arrays))
        return out

    return samples


registry.register(
    "Moments",
    infer=_infer_vectors(2),
    compute=_moments,
    gradient=_gradient_moments,
    inputs=("x",),
    samples=_samples(0),
)
registry.register(
    "MomentsGrad",
    infer=_infer_like_x,
    compute=_moments_grad,
    gradient=_gradient_moments_grad,
    inputs=("x", "mean", "grad_mean", "grad_variance"),
    samples=_samples(3),
)


# -- scale and shift -------------------------------------------------------------------------------


def _factor_and_shift(
    attrs: Attrs,
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    offset: np.ndarray,
    scale: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    mean, variance, offset, scale = _flat(attrs, x, mean, variance, offset, scale)
    factor = 1 / np.sqrt(variance + x.dtype.type(attrs["epsilon"])) * scale
    return factor, offset - mean * factor


def _batch_normalize(attrs: Attrs, x: np.ndarray, *vectors: np.ndarray) -> np.ndarray:
    factor, shift = _factor_and_shift(attrs, x, *vectors)
    return engine.channel_affine(x, factor, shift, data_format=_format(attrs))


def _batch_normalize_relu(
    attrs: Sequence[Attrs], x: np.ndarray, *vectors: np.ndarray
) -> np.ndarray:
    factor, shift = _factor_and_shift(attrs[0], x, *vectors)
    return engine.channel_affine(x, factor, shift, relu=True, data_format=_format(attrs[0]))


def _gradient_batch_normalize(op: Any, grad: Any) -> list[Any]:
    x, mean, variance, offset, scale = op.inputs
    attrs = {"first": op.get_attr("first")}
    total, product = apply_op("ChannelSums", [grad, x, mean], attrs)
    # Vectors from here on.
    shape = array_ops.shape(mean)
    total, product = array_ops.reshape(total, shape), array_ops.reshape(product, shape)
    rstd = math_ops.rsqrt(variance + op.get_attr("epsilon"))
    factor = rstd * scale
    by_scale = product * rstd
    return [
        apply_op("ScaleChannels", [grad, factor], attrs),
        -total * factor,
        -0.5 * by_scale * factor * rstd,
        array_ops.reshape(total, array_ops.shape(offset)),
        array_ops.reshape(by_scale, array_ops.shape(scale)),
    ]


registry.register(
    "BatchNormalize",
    infer=_infer_like_x,
    compute=_batch_normalize,
    gradient=_gradient_batch_normalize,
    inputs=("x", "mean", "variance", "offset", "scale"),
    samples=lambda: [({**a, "epsilon": 0.1}, arrays) for a, arrays in _samples(4)()],
)


def _scale_channels(attrs: Attrs, x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    (flat,) = _flat(attrs, x, factor)
    return engine.channel_affine(x, flat, data_format=_format(attrs))


def _gradient_scale_channels(op: Any, grad: Any) -> list[Any]:
    x, factor = op.inputs
    attrs = {"first": op.get_attr("first")}
    product = math_reduce_ops.reduce_sum(grad * x, _others(attrs, _rank(x)))
    return [
        apply_op("ScaleChannels", [grad, factor], attrs),
        array_ops.reshape(product, array_ops.shape(factor)),
    ]


registry.register(
    "ScaleChannels",
    infer=_infer_like_x,
    compute=_scale_channels,
    gradient=_gradient_scale_channels,
    inputs=("x", "factor"),
    samples=_samples(1),
)


def _channel_sums(
    attrs: Attrs, x: np.ndarray, other: np.ndarray, center: np.ndarray
) -> list[np.ndarray]:
    (near,) = _flat(attrs, x, center)
    return list(engine.channel_sums(x, other, near, data_format=_format(attrs)))


def _gradient_channel_sums(op: Any, by_sum: Any, by_product: Any) -> list[Any]:
    x, other, center = op.inputs
    attrs = {"first": op.get_attr("first")}
    rank = _rank(x)
    by_x = by_other = by_center = None
    if by_product is not None:
        factor = _along(attrs, by_product, rank)
        by_x = factor * (other - _along(attrs, center, rank))
        by_other = factor * x
        by_center = array_ops.reshape(-by_product * op.outputs[0], array_ops.shape(center))
    if by_sum is not None:
        whole = _along(attrs, by_sum, rank) + array_ops.zeros_like(x)
        by_x = whole if by_x is None else by_x + whole
    return [by_x, by_other, by_center]


def _sums_samples() -> list[Any]:
    rng = np.random.RandomState(12)
    return [
        (attrs, [x, rng.standard_normal(x.shape), center]) for attrs, (x, center) in _samples(1)()
    ]


registry.register(
    "ChannelSums",
    infer=_infer_vectors(2),
    compute=_channel_sums,
    gradient=_gradient_channel_sums,
    inputs=("x", "other", "center"),
    samples=_sums_samples,
)


# -- what a session computes in one call -----------------------------------------------------------


def _both_terms(attrs: Sequence[Attrs], *arrays: np.ndarray) -> np.ndarray:
    """`ScaleChannels(dy, factor) + MomentsGrad(x, ...)`."""
    grad, factor, x, *vectors = arrays
    if attrs[0]["first"] != attrs[1]["first"] or grad.shape != x.shape:
        return _scale_channels(attrs[0], grad, factor) + _moments_grad(attrs[1], x, *vectors)
    (flat,) = _flat(attrs[0], grad, factor)
    b, a = _moments_terms(attrs[1], x, *vectors)
    return engine.channel_affine(
        grad, flat, a, other=x, other_scale=b, data_format=_format(attrs[0])
    )


fusion.register(("BatchNormalize", "Relu"), _batch_normalize_relu)
fusion.register_join("AddN", ("ScaleChannels", "MomentsGrad"), _both_terms)


# -- whether a call can be one of these ops --------------------------------------------------------

_WIDE = ("float32", "float64")


def channel_axis(x: Any, axes: Any) -> bool | None:
    """Which axis a reduction over `axes` leaves: the second (True), the last (False), or None."""
    rank = x.shape.ndims
    if rank is None or rank < 2 or x.dtype.base_dtype.name not in _WIDE:
        return None
    try:
        gone = {int(a) % rank for a in axes}
    except (TypeError, ValueError):
        return None
    kept = [i for i in range(rank) if i not in gone]
    if kept == [rank - 1]:
        return False
    return True if kept == [1] else None


def vector_axis(x: Any, vectors: Sequence[Any]) -> bool | None:
    """Along which axis of x the vectors are: the second (True), the last (False), or neither."""
    rank = x.shape.ndims
    if rank is None or rank < 2 or x.dtype.base_dtype.name not in _WIDE:
        return None
    found = set()
    for v in vectors:
        dims = v.shape.as_list() if v.shape.ndims is not None else None
        if v.dtype.base_dtype != x.dtype.base_dtype or dims is None:
            return None
        if len(dims) == 1:
            axis = rank - 1
        elif len(dims) == rank and sum(d != 1 for d in dims) == 1:
            (axis,) = (i for i, d in enumerate(dims) if d != 1)
        else:
            return None
        size = dims[0] if len(dims) == 1 else dims[axis]
        if size is None or size != x.shape.as_list()[axis]:
            return None
        found.add(axis)
    if found == {rank - 1}:
        return False
    return True if found == {1} else None
