"""Bias, dropout, cross entropies and the smaller parts of neural networks.

Source: `tf.nn.bias_add`, `tf.nn.l2_loss`, `tf.nn.dropout`, `tf.nn.top_k`, `tf.nn.in_top_k` and
their neighbours. Cross entropies stand in `loss_ops`, normalizations in `normalization_ops`.
"""

from __future__ import annotations

import numbers
from collections import namedtuple
from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import engine, errors
from conv3d.framework import context, convert, dtypes, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor_shape import TensorShape, unknown_shape
from conv3d.ops import (
    activation_ops,
    array_ops,
    math_ops,
    math_reduce_ops,
    random_ops,
    shape_rules,
)

# -- bias -----------------------------------------------------------------------------------------


def _channel_axis(attrs: dict[str, Any], rank: int) -> int:
    return 1 if attrs["data_format"] == "NCHW" else rank - 1


def _infer_bias_add(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    value, bias = inputs
    dtype = shape_rules.same_dtype(inputs, ("value", "bias"))
    shape_rules.check_dtype("`value` of BiasAdd", dtype, shape_rules.NUMBERS)
    shape, bias_shape = value.shape, bias.shape
    if bias_shape.ndims not in (None, 1):
        raise ValueError(f"`bias` of BiasAdd has shape {bias_shape}; one dimension is needed.")
    if shape.ndims is None:
        return [(dtype, shape)]
    if shape.ndims < 2:
        raise ValueError(f"`value` of BiasAdd has shape {shape}; two dimensions are needed.")
    dims = shape.as_list()
    axis = _channel_axis(attrs, shape.ndims)
    if bias_shape.ndims is not None:
        size = bias_shape.as_list()[0]
        if size is not None and dims[axis] is not None and size != dims[axis]:
            raise ValueError(
                f"Dimensions must be equal: `value` of BiasAdd has {dims[axis]} channels, `bias` "
                f"has {size}."
            )
        if dims[axis] is None:
            dims[axis] = size
    return [(dtype, TensorShape(dims))]


def spread(bias: np.ndarray, rank: int, axis: int) -> np.ndarray:
    """A view of the vector `bias` that broadcasts along `axis` of data of `rank` dimensions."""
    if axis == rank - 1:
        return bias
    return bias.reshape((bias.shape[0],) + (1,) * (rank - 1 - axis))


def _bias_add(attrs: dict[str, Any], value: np.ndarray, bias: np.ndarray) -> np.ndarray:
    if value.ndim < 2 or bias.ndim != 1:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"BiasAdd needs a `value` of two dimensions at least and a `bias` of one; their shapes "
            f"are {list(value.shape)} and {list(bias.shape)}.",
        )
    axis = _channel_axis(attrs, value.ndim)
    if value.shape[axis] != bias.shape[0]:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`value` of BiasAdd has {value.shape[axis]} channels, `bias` has {bias.shape[0]}.",
        )
    if shape_rules.for_engine(value) and bias.dtype == value.dtype:
        layout = "channels_last" if axis == value.ndim - 1 else "channels_first"
        return engine.channel_affine(value, shift=bias, data_format=layout)
    return value + spread(bias, value.ndim, axis)


def _gradient_bias_add(op: Any, grad: Any) -> list[Any]:
    attrs = {"data_format": op.get_attr("data_format")}
    return [grad, apply_op("BiasAddGrad", [grad], attrs)]


def _infer_bias_add_grad(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape = inputs[0].shape
    if shape.ndims is None:
        return [(inputs[0].dtype.base_dtype, unknown_shape(1))]
    size = shape.as_list()[_channel_axis(attrs, shape.ndims)]
    return [(inputs[0].dtype.base_dtype, TensorShape([size]))]


def _bias_add_grad(attrs: dict[str, Any], grad: np.ndarray) -> np.ndarray:
    wide = np.float32 if grad.dtype.itemsize < 4 else grad.dtype
    axis = _channel_axis(attrs, grad.ndim)
    layout = "channels_last" if axis == grad.ndim - 1 else "channels_first"
    total = engine.channel_sums(grad.astype(wide, copy=False), data_format=layout)
    return total.astype(grad.dtype, copy=False)


def _gradient_bias_add_grad(op: Any, grad: Any) -> list[Any]:
    attrs = {"data_format": op.get_attr("data_format")}
    return [apply_op("BiasAdd", [array_ops.zeros_like(op.inputs[0]), grad], attrs)]


def _bias_samples() -> list[Any]:
    rng = np.random.RandomState(2)
    x, b = rng.standard_normal((2, 3, 4, 3)), rng.standard_normal(3)
    return [({"data_format": f}, [x, b]) for f in ("NHWC", "NCHW")]


registry.register(
    "BiasAdd",
    infer=_infer_bias_add,
    compute=_bias_add,
    gradient=_gradient_bias_add,
    inputs=("value", "bias"),
    samples=_bias_samples,
)
registry.register(
    "BiasAddGrad",
    infer=_infer_bias_add_grad,
    compute=_bias_add_grad,
    gradient=_gradient_bias_add_grad,
    inputs=("out_backprop",),
    samples=lambda: [(attrs, arrays[:1]) for attrs, arrays in _bias_samples()],
)


def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Any:
    """Adds a vector along the channels.

    Args:
        value: numbers, `[batch, ..., channels]`, or `[batch, channels, ...]` for "NCHW".
        bias: same type, `[channels]`.
        data_format: "NHWC" (default) or "NCHW"; the names of other ranks are understood too.
        name: name of the op.

    Raises:
        ValueError: an unknown data format; static shapes that do not fit.
        InvalidArgumentError: at run time, shapes that do not fit.

    Source: `tf.nn.bias_add`. Channels first is taken for data of any rank.
    """
    if data_format in (None, "NHWC", "NDHWC", "NWC"):
        layout = "NHWC"
    elif data_format in ("NCHW", "NCDHW", "NCW"):
        layout = "NCHW"
    else:
        raise ValueError(f"`data_format` of bias_add is {data_format!r}; 'NHWC' or 'NCHW' it is.")
    attrs = {"data_format": layout}
    return apply_op("BiasAdd", [value, bias], attrs, name or "BiasAdd", same=[0, 1])


# -- L2 loss --------------------------------------------------------------------------------------


def _infer_l2_loss(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("`t` of L2Loss", inputs[0].dtype, shape_rules.FLOATS)
    return [(inputs[0].dtype.base_dtype, TensorShape([]))]


def _l2_loss(attrs: dict[str, Any], t: np.ndarray) -> np.ndarray:
    wide = t.astype(np.float32) if t.dtype.itemsize < 4 else t
    return (np.square(wide).sum() / 2).astype(t.dtype)


registry.register(
    "L2Loss",
    infer=_infer_l2_loss,
    compute=_l2_loss,
    gradient=lambda op, grad: [op.inputs[0] * grad],
    inputs=("t",),
    samples=lambda: [({}, [np.array([[1.0, -2.0], [0.5, 3.0]])])],
)


def l2_loss(t: Any, name: str | None = None) -> Any:
    """sum(t ** 2) / 2, a scalar. Source: `tf.nn.l2_loss`."""
    return apply_op("L2Loss", [t], None, name)


# -- dropout --------------------------------------------------------------------------------------


def dropout(
    x: Any,
    keep_prob: Any,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
) -> Any:
    """Keeps each element with probability `keep_prob`, scaled by its reciprocal; else 0.

    Args:
        x: a floating point tensor.
        keep_prob: a number in (0, 1], or a scalar tensor of the type of `x`.
        noise_shape: a 1-D integer tensor; elements along a size of 1 are kept or dropped together.
        seed: seed of the op.
        name: name of the scope of the ops.

    Raises:
        ValueError: `keep_prob` is out of range, or `x` is not floating point.

    Source: `tf.nn.dropout` of 1.x, where the argument is the probability to *keep*.
    """
    with context.name_scope(name, "dropout", [x]):
        x = convert.convert_to_tensor(x, name="x")
        if not x.dtype.is_floating:
            raise ValueError(
                f"`x` of dropout has type {x.dtype.name}; a floating point type is needed, as kept "
                "elements are scaled."
            )
        if isinstance(keep_prob, numbers.Real) and not 0 < float(keep_prob) <= 1:
            raise ValueError(f"`keep_prob` of dropout is {keep_prob}; a number in (0, 1] it is.")
        dtype = x.dtype.base_dtype
        keep_prob = convert.convert_to_tensor(keep_prob, dtype=dtype, name="keep_prob")
        if not keep_prob.shape.is_compatible_with([]):
            raise ValueError(f"`keep_prob` has shape {keep_prob.shape}; a scalar is needed.")
        known = convert.constant_value(keep_prob)
        if known is not None and known == 1:
            return x
        if noise_shape is None:
            noise_shape = array_ops.shape(x)
        draw = random_ops.random_uniform(noise_shape, seed=seed, dtype=dtype)
        kept = math_ops.floor(keep_prob + draw)
        result = math_ops.div(x, keep_prob) * kept
        if not context.executing_eagerly():
            result.set_shape(x.shape)
        return result


# -- the largest ----------------------------------------------------------------------------------

TopKV2 = namedtuple("TopKV2", ["values", "indices"])


def _infer_top_k(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("`input` of top_k", inputs[0].dtype, shape_rules.REAL)
    k = inputs[1].constant_value()
    shape = inputs[0].shape
    if shape.ndims is None:
        out = unknown_shape()
    elif shape.ndims == 0:
        raise ValueError("`input` of top_k is a scalar; at least one dimension is needed.")
    else:
        last = shape.as_list()[-1]
        if k is not None and last is not None and int(k) > last:
            raise ValueError(f"`k` of top_k is {int(k)}, but the last dimension has {last}.")
        out = TensorShape([*shape.as_list()[:-1], None if k is None else int(k)])
    return [(inputs[0].dtype.base_dtype, out), (dtypes.int32, out)]


def _top_k(attrs: dict[str, Any], x: np.ndarray, k: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = int(k)
    if x.ndim == 0 or count < 0 or count > x.shape[-1]:
        raise errors.InvalidArgumentError(
            None, None, f"`k` of top_k is {count}; `input` has shape {list(x.shape)}."
        )
    # A stable sort of the reversed row keeps the lower index first among equals.
    order = np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    indices = (x.shape[-1] - 1 - order)[..., :count]
    return np.take_along_axis(x, indices, axis=-1), indices.astype(np.int32)


def _gradient_top_k(op: Any, grad: Any, _: Any) -> list[Any]:
    if grad is None:
        return [None, None]
    shape = array_ops.shape(op.inputs[0])
    return [apply_op("TopKV2Grad", [grad, op.outputs[1], shape]), None]


def _infer_top_k_grad(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    return [(inputs[0].dtype.base_dtype, convert.constant_value_as_shape(inputs[2]))]


def _top_k_grad(
    attrs: dict[str, Any], grad: np.ndarray, indices: np.ndarray, shape: np.ndarray
) -> np.ndarray:
    out = np.zeros(tuple(int(n) for n in shape), grad.dtype)
    np.put_along_axis(out, indices.astype(np.int64), grad, axis=-1)
    return out


def _gradient_top_k_grad(op: Any, grad: Any) -> list[Any]:
    return [apply_op("TopKV2GradGrad", [grad, op.inputs[1]]), None, None]


_TOP_K_INPUT = np.array([[3.0, 1.0, 2.0, 5.0], [0.0, -1.0, 7.0, 4.0]])
_TOP_K_INDICES = np.array([[3, 0], [2, 3]], np.int32)

registry.register(
    "TopKV2",
    infer=_infer_top_k,
    compute=_top_k,
    gradient=_gradient_top_k,
    inputs=("input", "k"),
    samples=lambda: [({"sorted": True}, [_TOP_K_INPUT, np.array(2, np.int32)])],
)
registry.register(
    "TopKV2Grad",
    infer=_infer_top_k_grad,
    compute=_top_k_grad,
    gradient=_gradient_top_k_grad,
    inputs=("grad", "indices", "shape"),
    samples=lambda: [
        ({}, [np.array([[1.0, 2.0], [3.0, 4.0]]), _TOP_K_INDICES, np.array([2, 4], np.int32)])
    ],
)
registry.register(
    "TopKV2GradGrad",
    infer=lambda attrs, inputs: [(inputs[0].dtype.base_dtype, inputs[1].shape)],
    compute=lambda attrs, grad, indices: np.take_along_axis(grad, indices.astype(np.int64), -1),
    gradient=lambda op, grad: [
        apply_op("TopKV2Grad", [grad, op.inputs[1], array_ops.shape(op.inputs[0])]),
        None,
    ],
    inputs=("grad", "indices"),
    samples=lambda: [({}, [_TOP_K_INPUT, _TOP_K_INDICES])],
)


def top_k(input: Any, k: Any = 1, sorted: bool = True, name: str | None = None) -> Any:
    """The `k` largest entries along the last dimension, largest first, and their indices.

    Args:
        input: real numbers, `[..., n]`.
        k: a scalar integer, at most n.
        sorted: without effect; the result is always sorted.
        name: name of the op.

    Returns:
        A named tuple of `values` and int32 `indices`, both `[..., k]`; of equal entries the one of
        the lower index comes first.

    Raises:
        ValueError: `k` is larger than the last dimension, or `input` is a scalar.

    Source: `tf.nn.top_k`.
    """
    outputs = apply_op("TopKV2", [input, k], {"sorted": sorted}, name, dtypes=[None, dtypes.int32])
    return TopKV2(*outputs)


def _infer_in_top_k(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("`predictions` of in_top_k", inputs[0].dtype, shape_rules.FLOATS)
    shape_rules.check_dtype("`targets` of in_top_k", inputs[1].dtype, shape_rules.INDEX)
    for tensor, rank, label in ((inputs[0], 2, "predictions"), (inputs[1], 1, "targets")):
        if tensor.shape.ndims not in (None, rank):
            raise ValueError(f"`{label}` of in_top_k has shape {tensor.shape}, not rank {rank}.")
    return [(dtypes.bool, inputs[1].shape)]


def _in_top_k(
    attrs: dict[str, Any], predictions: np.ndarray, targets: np.ndarray, k: np.ndarray
) -> np.ndarray:
    classes = predictions.shape[1]
    valid = (targets >= 0) & (targets < classes)
    rows = np.arange(len(targets))
    chosen = predictions[rows, np.where(valid, targets, 0)]
    better = (predictions > chosen[:, None]).sum(axis=1)
    finite = np.isfinite(chosen) & np.isfinite(predictions).all(axis=1)
    return valid & finite & (better < int(k))


registry.register(
    "InTopKV2",
    infer=_infer_in_top_k,
    compute=_in_top_k,
    gradient=registry.NOT_DIFFERENTIABLE,
    inputs=("predictions", "targets", "k"),
    samples=lambda: [
        (
            {},
            [
                np.array([[3.0, 1.0, 2.0, 5.0], [0.0, -1.0, 7.0, 4.0]]),
                np.array([0, 3], np.int32),
                np.array(2, np.int32),
            ],
        ),
    ],
)


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Any:
    """Whether each target class is among the `k` best predictions of its row.

    Args:
        predictions: `[batch, classes]`.
        targets: int32 or int64 `[batch]`.
        k: a scalar integer. Classes that tie with the last one all count.
        name: name of the scope of the op.

    Returns:
        bool `[batch]`; False for a target out of range and for rows that are not finite.

    Source: `tf.nn.in_top_k`.
    """
    with context.name_scope(name, "in_top_k"):
        types = [dtypes.float32, dtypes.int32, dtypes.int32]
        return apply_op("InTopKV2", [predictions, targets, k], None, dtypes=types)


# -- compositions ---------------------------------------------------------------------------------


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """matmul(x, weights) + biases. Source: `tf.nn.xw_plus_b`."""
    with context.name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        return bias_add(math_ops.matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """relu(matmul(x, weights) + biases). Source: `tf.nn.relu_layer`."""
    with context.name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        y = bias_add(math_ops.matmul(x, weights), biases)
        return activation_ops.relu(y, name=scope)


def zero_fraction(value: Any, name: str | None = None) -> Any:
    """The share of zeros in `value`, float32. Source: `tf.nn.zero_fraction`."""
    with context.name_scope(name, "zero_fraction", [value]):
        value = convert.convert_to_tensor(value, name="value")
        zero = array_ops.constant(0, dtype=value.dtype.base_dtype, name="zero")
        is_zero = math_ops.cast(math_ops.equal(value, zero), dtypes.float32)
        return math_reduce_ops.reduce_mean(is_zero)


__all__ = [
    "bias_add",
    "dropout",
    "in_top_k",
    "l2_loss",
    "relu_layer",
    "top_k",
    "xw_plus_b",
    "zero_fraction",
]
