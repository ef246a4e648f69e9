"""Activations, each with its gradient and the gradient of that.

Element by element except softmax and log-softmax, which work along one axis. Half precision is
computed in float32 where sums or exponentials occur.

Source: `tf.nn.relu` and its relatives, `tf.sigmoid`, `tf.tanh`, `tf.nn.softmax`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import context, convert, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops, array_slice_ops, math_ops, math_reduce_ops, shape_rules
from conv3d.ops.math_ops import sigmoid, tanh

#: The constants of scaled exponential linear units (Klambauer et al. 2017): with them a mean of 0
#: and a variance of 1 are a fixed point.
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772
_SELU_SLOPE = SELU_SCALE * SELU_ALPHA


def _wide(x: np.ndarray) -> np.ndarray:
    """`x` in a type that exponentials and sums may be computed in."""
    return x if x.dtype.itemsize >= 4 else x.astype(np.float32)


def _like(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    return values.astype(x.dtype, copy=False)


def _logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow: tanh does not overflow."""
    half = x.dtype.type(0.5)
    y = np.tanh(x * half)
    y *= half
    y += half
    return y


def _points(*shapes: Sequence[int], low: float = -3.0, high: float = 3.0) -> list[np.ndarray]:
    """Sample arrays that keep away from the kinks at 0 and 6."""
    rng = np.random.RandomState(11)
    arrays = [rng.uniform(low, high, shape) for shape in shapes]
    return [np.where(np.abs(a) < 0.1, a + 0.3, a) for a in arrays]


def _register(
    name: str,
    compute: Callable[..., Any],
    gradient: Any,
    inputs: Sequence[str],
    types: Sequence[Any] = shape_rules.FLOATS,
    samples: Callable[..., Any] | None = None,
) -> None:
    """Registers an op of one or two inputs of equal shape, whose output has that shape."""

    def infer(attrs: dict[str, Any], tensors: Sequence[Any]) -> list[Any]:
        dtype = shape_rules.same_dtype(tensors, tuple(inputs))
        shape_rules.check_dtype(f"`{inputs[0]}` of {name}", dtype, types)
        shape = tensors[0].shape
        for tensor in tensors[1:]:
            shape = shape.merge_with(tensor.shape)
        return [(dtype, shape)]

    def default_samples() -> list[Any]:
        return [({}, _points(*[(3, 4, 2)] * len(inputs)))]

    registry.register(
        name,
        infer=infer,
        compute=compute,
        gradient=gradient,
        inputs=inputs,
        samples=samples or default_samples,
    )


# -- rectifiers -----------------------------------------------------------------------------------


def _gate(attrs: dict[str, Any], gradients: np.ndarray, features: np.ndarray) -> np.ndarray:
    if shape_rules.for_engine(gradients, features):
        return engine.activation_grad("relu", gradients, features)
    # np.where, not a product: a gradient of infinity behind a closed gate is 0.
    return np.where(features > 0, gradients, gradients.dtype.type(0))


_register(
    "Relu",
    lambda attrs, x: np.maximum(x, x.dtype.type(0)),
    lambda op, grad: [apply_op("ReluGrad", [grad, op.outputs[0]])],
    ("features",),
    types=shape_rules.REAL,
)
_register(
    "ReluGrad",
    _gate,
    lambda op, grad: [apply_op("ReluGrad", [grad, op.inputs[1]]), None],
    ("gradients", "features"),
    types=shape_rules.REAL,
)


def _gate6(attrs: dict[str, Any], gradients: np.ndarray, features: np.ndarray) -> np.ndarray:
    return np.where((features > 0) & (features < 6), gradients, gradients.dtype.type(0))


_register(
    "Relu6",
    lambda attrs, x: np.clip(x, x.dtype.type(0), x.dtype.type(6)),
    lambda op, grad: [apply_op("Relu6Grad", [grad, op.outputs[0]])],
    ("features",),
    types=shape_rules.REAL,
    samples=lambda: [({}, _points((3, 4, 2), low=-4, high=5.8))],
)
_register(
    "Relu6Grad",
    _gate6,
    lambda op, grad: [apply_op("Relu6Grad", [grad, op.inputs[1]]), None],
    ("gradients", "features"),
    types=shape_rules.REAL,
)


def _leaky(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    alpha = attrs["alpha"]
    if 0 <= alpha <= 1:
        return np.maximum(x, x * x.dtype.type(alpha))
    return np.where(x > 0, x, x * x.dtype.type(alpha))


def _leaky_gate(attrs: dict[str, Any], gradients: np.ndarray, features: np.ndarray) -> np.ndarray:
    if shape_rules.for_engine(gradients, features):
        return engine.activation_grad("leaky_relu", gradients, features, attrs["alpha"])
    return np.where(features > 0, gradients, gradients * gradients.dtype.type(attrs["alpha"]))


_register(
    "LeakyRelu",
    _leaky,
    lambda op, grad: [
        apply_op("LeakyReluGrad", [grad, op.inputs[0]], {"alpha": op.get_attr("alpha")})
    ],
    ("features",),
    samples=lambda: [({"alpha": a}, _points((3, 4, 2))) for a in (0.2, 0.0, 1.5, -0.5)],
)
_register(
    "LeakyReluGrad",
    _leaky_gate,
    lambda op, grad: [
        apply_op("LeakyReluGrad", [grad, op.inputs[1]], {"alpha": op.get_attr("alpha")}),
        None,
    ],
    ("gradients", "features"),
    samples=lambda: [({"alpha": a}, _points((3, 4, 2), (3, 4, 2))) for a in (0.2, 1.5)],
)


# -- exponential units ----------------------------------------------------------------------------


def _exponential(x: np.ndarray, scale: float, slope: float) -> np.ndarray:
    wide = _wide(x)
    negative = np.expm1(np.minimum(wide, 0)) * wide.dtype.type(slope)
    return _like(np.where(wide < 0, negative, wide * wide.dtype.type(scale)), x)


def _exponential_grad(
    gradients: np.ndarray, outputs: np.ndarray, scale: float, slope: float
) -> np.ndarray:
    one = gradients.dtype.type
    return np.where(outputs < 0, gradients * (outputs + one(slope)), gradients * one(scale))


def _negative_part(op: Any, grad: Any) -> Any:
    """Derivative of the exponential gradients by their outputs: the gradient, where negative."""
    product = math_ops.multiply(grad, op.inputs[0])
    outputs = op.inputs[1]
    return array_slice_ops.where(outputs < 0, product, array_ops.zeros_like(product))


_register(
    "Elu",
    lambda attrs, x: _exponential(x, 1.0, 1.0),
    lambda op, grad: [apply_op("EluGrad", [grad, op.outputs[0]])],
    ("features",),
)
_register(
    "EluGrad",
    lambda attrs, g, y: _exponential_grad(g, y, 1.0, 1.0),
    lambda op, grad: [apply_op("EluGrad", [grad, op.inputs[1]]), _negative_part(op, grad)],
    ("gradients", "outputs"),
)
_register(
    "Selu",
    lambda attrs, x: _exponential(x, SELU_SCALE, _SELU_SLOPE),
    lambda op, grad: [apply_op("SeluGrad", [grad, op.outputs[0]])],
    ("features",),
)
_register(
    "SeluGrad",
    lambda attrs, g, y: _exponential_grad(g, y, SELU_SCALE, _SELU_SLOPE),
    lambda op, grad: [apply_op("SeluGrad", [grad, op.inputs[1]]), _negative_part(op, grad)],
    ("gradients", "outputs"),
)


# -- soft functions -------------------------------------------------------------------------------


def _softplus(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    wide = _wide(x)
    return _like(np.maximum(wide, 0) + np.log1p(np.exp(-np.abs(wide))), x)


def _softplus_grad(attrs: dict[str, Any], gradients: np.ndarray, x: np.ndarray) -> np.ndarray:
    return gradients * _like(_logistic(_wide(x)), x)


def _gradient_softplus_grad(op: Any, grad: Any) -> list[Any]:
    gradients, features = op.inputs
    s = sigmoid(features)
    return [
        apply_op("SoftplusGrad", [grad, features]),
        grad * gradients * s * (1.0 - s),
    ]


_register(
    "Softplus",
    _softplus,
    lambda op, grad: [apply_op("SoftplusGrad", [grad, op.inputs[0]])],
    ("features",),
)
_register("SoftplusGrad", _softplus_grad, _gradient_softplus_grad, ("gradients", "features"))


def _softsign_grad(attrs: dict[str, Any], gradients: np.ndarray, x: np.ndarray) -> np.ndarray:
    one = x.dtype.type(1)
    return gradients / np.square(one + np.abs(x))


def _gradient_softsign_grad(op: Any, grad: Any) -> list[Any]:
    gradients, x = op.inputs
    base = 1.0 + math_ops.abs(x)
    by_x = grad * gradients * math_ops.sign(x) * -2.0 / (base * base * base)
    return [apply_op("SoftsignGrad", [grad, x]), by_x]


_register(
    "Softsign",
    lambda attrs, x: x / (x.dtype.type(1) + np.abs(x)),
    lambda op, grad: [apply_op("SoftsignGrad", [grad, op.inputs[0]])],
    ("features",),
)
_register("SoftsignGrad", _softsign_grad, _gradient_softsign_grad, ("gradients", "features"))


# -- softmax --------------------------------------------------------------------------------------


def log_softmax_of(x: np.ndarray) -> np.ndarray:
    """Log-softmax along the last axis, shifted by the maximum so that nothing overflows."""
    if x.shape[-1] == 0:
        return x
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax_of(x: np.ndarray) -> np.ndarray:
    """Softmax along the last axis, shifted by the maximum so that nothing overflows."""
    if x.shape[-1] == 0:
        return x
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    e /= e.sum(axis=-1, keepdims=True)
    return e


def _gradient_softmax(op: Any, grad: Any) -> list[Any]:
    return [apply_op("SoftmaxGrad", [op.outputs[0], grad])]


def _softmax_grad(attrs: dict[str, Any], y: np.ndarray, grad: np.ndarray) -> np.ndarray:
    if shape_rules.for_engine(y, grad):
        return engine.softmax_grad(y, grad)
    g, p = _wide(grad), _wide(y)
    return _like((g - (g * p).sum(axis=-1, keepdims=True)) * p, y)


def _gradient_softmax_grad(op: Any, by_x: Any) -> list[Any]:
    y, grad = op.inputs
    inner = math_reduce_ops.reduce_sum(grad * y, [-1], keepdims=True)
    outer = math_reduce_ops.reduce_sum(by_x * y, [-1], keepdims=True)
    return [by_x * (grad - inner) - outer * grad, (by_x - outer) * y]


def _gradient_log_softmax(op: Any, grad: Any) -> list[Any]:
    y = math_ops.exp(op.outputs[0])
    return [grad - math_reduce_ops.reduce_sum(grad, [-1], keepdims=True) * y]


def _infer_softmax(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    shape_rules.check_dtype("`logits`", inputs[0].dtype, shape_rules.FLOATS)
    shape = inputs[0].shape
    if shape.ndims == 0:
        raise ValueError("`logits` is a scalar; at least one dimension is needed.")
    return [(inputs[0].dtype.base_dtype, shape)]


def _softmax_samples() -> list[Any]:
    return [({}, _points((3, 4))), ({}, _points((2, 3, 5)))]


registry.register(
    "Softmax",
    infer=_infer_softmax,
    compute=lambda attrs, x: (
        engine.softmax(x) if shape_rules.for_engine(x) else _like(softmax_of(_wide(x)), x)
    ),
    gradient=_gradient_softmax,
    inputs=("logits",),
    samples=_softmax_samples,
)
registry.register(
    "SoftmaxGrad",
    infer=lambda attrs, inputs: [(inputs[0].dtype.base_dtype, inputs[0].shape)],
    compute=_softmax_grad,
    gradient=_gradient_softmax_grad,
    inputs=("softmax", "grad"),
    samples=lambda: [({}, _points((3, 4), (3, 4))), ({}, _points((2, 3, 5), (2, 3, 5)))],
)
registry.register(
    "LogSoftmax",
    infer=_infer_softmax,
    compute=lambda attrs, x: _like(log_softmax_of(_wide(x)), x),
    gradient=_gradient_log_softmax,
    inputs=("logits",),
    samples=_softmax_samples,
)


# -- Python functions -----------------------------------------------------------------------------


def relu(features: Any, name: str | None = None) -> Any:
    """max(features, 0). Source: `tf.nn.relu`."""
    return apply_op("Relu", [features], None, name)


def relu6(features: Any, name: str | None = None) -> Any:
    """min(max(features, 0), 6). Source: `tf.nn.relu6`."""
    return apply_op("Relu6", [features], None, name)


def elu(features: Any, name: str | None = None) -> Any:
    """exp(features) - 1 where negative, else features. Source: `tf.nn.elu`."""
    return apply_op("Elu", [features], None, name)


def selu(features: Any, name: str | None = None) -> Any:
    """Scaled exponential linear unit. Source: `tf.nn.selu`."""
    return apply_op("Selu", [features], None, name)


def leaky_relu(features: Any, alpha: Any = 0.2, name: str | None = None) -> Any:
    """Features where positive, else alpha * features.

    Args:
        features: a tensor; integers become float32.
        alpha: slope for negative values, a number or a scalar tensor.
        name: name of the scope of the op.

    Source: `tf.nn.leaky_relu`.
    """
    with context.name_scope(name, "LeakyRelu", [features, alpha]):
        features = convert.convert_to_tensor(features, name="features")
        if features.dtype.is_integer:
            features = math_ops.cast(features, "float32")
        if isinstance(alpha, Tensor) or not np.isscalar(alpha):
            alpha = convert.convert_to_tensor(alpha, dtype=features.dtype.base_dtype, name="alpha")
            return math_ops.maximum(alpha * features, features)
        # The name that the result has in TensorFlow, where it is composed of two ops.
        return apply_op("LeakyRelu", [features], {"alpha": float(np.asarray(alpha))}, "Maximum")


def softplus(features: Any, name: str | None = None) -> Any:
    """log(exp(features) + 1). Source: `tf.nn.softplus`."""
    return apply_op("Softplus", [features], None, name)


def softsign(features: Any, name: str | None = None) -> Any:
    """Features / (abs(features) + 1). Source: `tf.nn.softsign`."""
    return apply_op("Softsign", [features], None, name)


def log_sigmoid(x: Any, name: str | None = None) -> Any:
    """log(1 / (1 + exp(-x))). Source: `tf.log_sigmoid`."""
    with context.name_scope(name, "LogSigmoid", [x]) as scope:
        x = convert.convert_to_tensor(x, name="x")
        return math_ops.negative(softplus(-x), name=scope)


def swish(features: Any, name: str | None = None) -> Any:
    """Features * sigmoid(features). Source: `tf.nn.swish`."""
    with context.name_scope(name, "swish", [features]) as scope:
        features = convert.convert_to_tensor(features, name="features")
        return math_ops.multiply(features, sigmoid(features), name=scope)


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Any:
    """Rectifies features and -features and puts both beside each other along `axis`.

    Source: `tf.nn.crelu`.
    """
    with context.name_scope(name, "CRelu", [features]) as scope:
        features = convert.convert_to_tensor(features, name="features")
        both = array_ops.concat([features, -features], axis, name=scope)
        return relu(both)


def _along(op_type: str, logits: Any, axis: Any, dim: Any, name: str | None) -> Any:
    if axis is not None and dim is not None:
        raise ValueError(f"Only one of `axis` ({axis}) and its old name `dim` ({dim}) is accepted.")
    axis = dim if axis is None else axis
    axis = -1 if axis is None else int(axis)
    logits = convert.convert_to_tensor(logits)
    ndims = logits.shape.ndims
    if ndims is None and axis != -1:
        raise ValueError(f"`axis` is {axis}, but the rank of `logits` is not known.")
    if ndims is not None and not -ndims <= axis < ndims:
        message = f"`axis` is {axis}, outside the {ndims} dimensions of `logits`."
        if context.executing_eagerly():
            from conv3d import errors

            raise errors.InvalidArgumentError(None, None, message)
        raise ValueError(message)
    if axis in (-1, (ndims or 0) - 1):
        if ndims == 2:
            return apply_op(op_type, [logits], None, name)
        # TensorFlow has the op for matrices only; the reshapes cost nothing and keep its names.
        shape = logits.shape
        target = shape.as_list() if shape.is_fully_defined() else array_ops.shape(logits)
        last = shape.as_list()[-1] if ndims else None
        if last is None or last == 0:
            flat = logits
        else:
            flat = array_ops.reshape(logits, [-1, last])
        return array_ops.reshape(apply_op(op_type, [flat]), target, name=name)
    assert ndims is not None
    perm = list(range(ndims))
    perm[axis], perm[-1] = perm[-1], perm[axis]
    moved = apply_op(op_type, [array_ops.transpose(logits, perm)])
    return array_ops.transpose(moved, perm, name=name or "transpose")


def softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Any:
    """exp(logits) divided by its sum along one axis.

    Args:
        logits: a floating point tensor of at least one dimension.
        axis: the axis; default the last.
        name: name of the result's op.
        dim: old name of `axis`.

    Raises:
        ValueError: `axis` is not an axis of `logits`, or both `axis` and `dim` are given.
        InvalidArgumentError: the former in eager mode.

    Source: `tf.nn.softmax`.
    """
    return _along("Softmax", logits, axis, dim, name)


def log_softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Any:
    """Logits - log(sum(exp(logits))) along one axis; arguments as for `softmax`.

    Source: `tf.nn.log_softmax`.
    """
    return _along("LogSoftmax", logits, axis, dim, name)


__all__ = [
    "crelu",
    "elu",
    "leaky_relu",
    "log_sigmoid",
    "log_softmax",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]
