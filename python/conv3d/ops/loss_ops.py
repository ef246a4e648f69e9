"""Cross entropies of logits, computed without overflow, and their gradients.

    softmax:  loss = -sum(labels * log_softmax(logits))     d loss / d logits = softmax - labels
    logistic: loss = max(x, 0) - x * z + log(1 + exp(-|x|))        d loss / d x = sigmoid(x) - z

Half precision is computed in float32.

Source: `tf.nn.softmax_cross_entropy_with_logits` (and `_v2`),
`tf.nn.sparse_softmax_cross_entropy_with_logits`, `tf.nn.sigmoid_cross_entropy_with_logits`,
`tf.nn.weighted_cross_entropy_with_logits`, `tf.nn.log_poisson_loss`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import engine, errors
from conv3d.framework import context, convert, dtypes, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor_shape import TensorShape
from conv3d.ops import (
    activation_ops,
    array_ops,
    array_slice_ops,
    math_ops,
    math_reduce_ops,
    shape_rules,
)

# -- softmax, one row of probabilities each --------------------------------------------------------


def _softmax_jacobian(op: Any, grad: Any) -> Any:
    """What a gradient of `backprop` = softmax - labels gives for the logits."""
    y = activation_ops.softmax(op.inputs[0])
    inner = math_reduce_ops.reduce_sum(grad * y, [1], keepdims=True)
    return (grad - inner) * y


def _infer_softmax_ce(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = shape_rules.same_dtype(inputs, ("features", "labels"))
    shape_rules.check_dtype("`logits`", dtype, shape_rules.FLOATS)
    shape = inputs[0].shape.with_rank(2).merge_with(inputs[1].shape.with_rank(2))
    return [(dtype, TensorShape(shape.as_list()[:1])), (dtype, shape)]


def _softmax_ce(
    attrs: dict[str, Any], logits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if logits.ndim != 2 or logits.shape != labels.shape:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`logits` and `labels` must be of the same shape `[batch, classes]`; given are "
            f"{list(logits.shape)} and {list(labels.shape)}.",
        )
    if logits.shape[1] == 0:
        return np.zeros(len(logits), logits.dtype), np.zeros(logits.shape, logits.dtype)
    log_y = activation_ops.log_softmax_of(logits)
    # An impossible class of label 0 adds 0, not 0 * -inf.
    terms = np.where(labels == 0, 0, labels * log_y).astype(logits.dtype, copy=False)
    return -terms.sum(axis=1), np.exp(log_y) - labels


def _gradient_softmax_ce(op: Any, grad_loss: Any, grad_backprop: Any) -> list[Any]:
    logits = op.inputs[0]
    by_logits = by_labels = None
    if grad_loss is not None:
        column = array_ops.expand_dims(grad_loss, -1)
        by_logits = column * op.outputs[1]
        by_labels = column * -activation_ops.log_softmax(logits)
    if grad_backprop is not None:
        more = _softmax_jacobian(op, grad_backprop)
        by_logits = more if by_logits is None else by_logits + more
        by_labels = -grad_backprop if by_labels is None else by_labels - grad_backprop
    return [by_logits, by_labels]


def _samples_softmax_ce() -> list[Any]:
    rng = np.random.RandomState(4)
    logits = rng.standard_normal((3, 4))
    labels = rng.dirichlet(np.ones(4), 3)
    return [({}, [logits, labels])]


registry.register(
    "SoftmaxCrossEntropyWithLogits",
    infer=_infer_softmax_ce,
    compute=_softmax_ce,
    gradient=_gradient_softmax_ce,
    inputs=("features", "labels"),
    samples=_samples_softmax_ce,
)


def _infer_sparse_ce(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    logits, labels = inputs
    dtype = logits.dtype.base_dtype
    shape_rules.check_dtype("`logits`", dtype, shape_rules.FLOATS)
    shape_rules.check_dtype("`labels`", labels.dtype, shape_rules.INDEX)
    shape = logits.shape.with_rank(2)
    rows = TensorShape(shape.as_list()[:1]).merge_with(labels.shape.with_rank(1))
    return [(dtype, rows), (dtype, rows.concatenate(shape.as_list()[1:]))]


def _sparse_ce(
    attrs: dict[str, Any], logits: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`logits` must be `[batch, classes]` and `labels` `[batch]`; given are "
            f"{list(logits.shape)} and {list(labels.shape)}.",
        )
    classes = logits.shape[1]
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`labels` range from {labels.min()} to {labels.max()}, outside the {classes} classes "
            f"[0, {classes}) of `logits`.",
        )
    if not labels.size:
        return np.zeros(0, logits.dtype), np.zeros(logits.shape, logits.dtype)
    if shape_rules.for_engine(logits):
        return engine.sparse_softmax_cross_entropy(logits, labels)
    log_y = activation_ops.log_softmax_of(logits)
    rows = np.arange(len(labels))
    backprop = np.exp(log_y)
    backprop[rows, labels] -= 1
    return -log_y[rows, labels], backprop


def _gradient_sparse_ce(op: Any, grad_loss: Any, grad_backprop: Any) -> list[Any]:
    by_logits = None
    if grad_loss is not None:
        by_logits = array_ops.expand_dims(grad_loss, -1) * op.outputs[1]
    if grad_backprop is not None:
        more = _softmax_jacobian(op, grad_backprop)
        by_logits = more if by_logits is None else by_logits + more
    return [by_logits, None]


registry.register(
    "SparseSoftmaxCrossEntropyWithLogits",
    infer=_infer_sparse_ce,
    compute=_sparse_ce,
    gradient=_gradient_sparse_ce,
    inputs=("features", "labels"),
    samples=lambda: [({}, [_samples_softmax_ce()[0][1][0], np.array([2, 0, 3], np.int64)])],
)


# -- logistic --------------------------------------------------------------------------------------


def _infer_logistic(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = shape_rules.same_dtype(inputs, ("logits", "labels"))
    shape_rules.check_dtype("`logits`", dtype, shape_rules.FLOATS)
    return [(dtype, inputs[0].shape.merge_with(inputs[1].shape))]


def _logistic(attrs: dict[str, Any], x: np.ndarray, z: np.ndarray) -> np.ndarray:
    if x.shape != z.shape:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`logits` and `labels` must be of the same shape; given are {list(x.shape)} and "
            f"{list(z.shape)}.",
        )
    loss = np.log1p(np.exp(-np.abs(x)))
    loss += np.maximum(x, 0) - x * z
    return loss


def _gradient_logistic(op: Any, grad: Any) -> list[Any]:
    x, z = op.inputs
    return [grad * (math_ops.sigmoid(x) - z), grad * -x]


def _samples_logistic() -> list[Any]:
    rng = np.random.RandomState(6)
    return [({}, [rng.standard_normal((3, 4)), rng.uniform(0, 1, (3, 4))])]


registry.register(
    "SigmoidCrossEntropyWithLogits",
    infer=_infer_logistic,
    compute=_logistic,
    gradient=_gradient_logistic,
    inputs=("logits", "labels"),
    samples=_samples_logistic,
)


# -- Python functions ------------------------------------------------------------------------------


def _check_named(function: str, sentinel: Any, labels: Any, logits: Any) -> None:
    if sentinel is not None:
        raise ValueError(
            f"{function} takes `labels=` and `logits=` by name only: their order has changed "
            "between releases of TensorFlow."
        )
    if labels is None or logits is None:
        raise ValueError(f"Both `labels` and `logits` of {function} must be given.")


def _wide(x: Any) -> Any:
    half = (dtypes.float16, dtypes.bfloat16)
    return math_ops.cast(x, dtypes.float32) if x.dtype.base_dtype in half else x


def _as_rows(x: Any) -> Any:
    """`[..., classes]` as `[rows, classes]`."""
    last = x.shape.as_list()[-1] if x.shape.ndims else None
    if last:
        return array_ops.reshape(x, [-1, last])
    rows = math_reduce_ops.reduce_prod(array_ops.shape(x)[:-1])
    return array_ops.reshape(x, array_ops.stack([rows, array_ops.shape(x)[-1]]))


def _without_last(x: Any) -> Any:
    """Shape of `x` without its last dimension, static if it is known."""
    if x.shape.is_fully_defined():
        return x.shape.as_list()[:-1]
    return array_ops.shape(x)[:-1]


def _to_last_axis(x: Any, axis: int) -> Any:
    ndims = x.shape.ndims
    if ndims is None:
        raise ValueError(f"`dim` is {axis}, but the rank of the logits is not known.")
    axis %= ndims
    if axis == ndims - 1:
        return x
    order = [i for i in range(ndims) if i != axis] + [axis]
    return array_ops.transpose(x, order)


def softmax_cross_entropy_with_logits_v2(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: int = -1,
    name: str | None = None,
) -> Any:
    """Cross entropy of softmax(logits) against a distribution of labels.

    Args:
        labels: `[..., classes]`, each row a distribution. Gradients flow to it.
        logits: the same shape and, after conversion, the same type.
        dim: the axis of the classes; default the last.
        name: name of the scope of the ops.

    Returns:
        The losses, of the shape of `logits` without the axis of the classes.

    Raises:
        ValueError: positional arguments, a missing argument, shapes that do not fit.

    Source: `tf.nn.softmax_cross_entropy_with_logits_v2`.
    """
    function = "softmax_cross_entropy_with_logits"
    _check_named(function, _sentinel, labels, logits)
    with context.name_scope(name, function, [logits, labels]) as scope:
        logits = convert.convert_to_tensor(logits, name="logits")
        labels = convert.convert_to_tensor(
            labels, name="labels", preferred_dtype=logits.dtype.base_dtype
        )
        wide = _wide(logits)
        labels = math_ops.cast(labels, wide.dtype.base_dtype)
        if dim != -1:
            wide, labels = _to_last_axis(wide, dim), _to_last_axis(labels, dim)
        rows = [_as_rows(wide), _as_rows(labels)]
        loss, _ = apply_op("SoftmaxCrossEntropyWithLogits", rows, None, scope or None)
        loss = array_ops.reshape(loss, _without_last(wide))
        if not context.executing_eagerly() and wide.shape.ndims is not None:
            loss.set_shape(wide.shape.as_list()[:-1])
        if wide is not logits and loss.dtype.base_dtype != logits.dtype.base_dtype:
            return math_ops.cast(loss, logits.dtype.base_dtype)
        return loss


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: int = -1,
    name: str | None = None,
) -> Any:
    """As `softmax_cross_entropy_with_logits_v2`, but no gradient flows to `labels`.

    Source: `tf.nn.softmax_cross_entropy_with_logits`.
    """
    function = "softmax_cross_entropy_with_logits"
    _check_named(function, _sentinel, labels, logits)
    with context.name_scope(name, f"{function}_sg", [logits, labels]) as scope:
        labels = array_ops.stop_gradient(labels, name="labels_stop_gradient")
        return softmax_cross_entropy_with_logits_v2(
            labels=labels, logits=logits, dim=dim, name=scope or None
        )


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Any:
    """Cross entropy of softmax(logits) against one class each.

    Args:
        labels: int32 or int64 `[...]`, classes in `[0, classes)`.
        logits: floating point `[..., classes]`.
        name: name of the scope of the ops.

    Returns:
        The losses, of the shape of `labels`.

    Raises:
        ValueError: positional arguments, a missing argument, ranks or shapes that do not fit.
        InvalidArgumentError: at run time, a label out of range.

    Source: `tf.nn.sparse_softmax_cross_entropy_with_logits`.
    """
    op_type = "SparseSoftmaxCrossEntropyWithLogits"
    _check_named("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with context.name_scope(name, op_type, [labels, logits]):
        labels = convert.convert_to_tensor(labels)
        logits = convert.convert_to_tensor(logits)
        wide = _wide(logits)
        label_rank, rank = labels.shape.ndims, logits.shape.ndims
        if rank == 0:
            raise ValueError("`logits` is a scalar; a dimension of classes is needed.")
        if label_rank is not None and rank is not None and label_rank != rank - 1:
            raise ValueError(
                f"Rank mismatch: `labels` has shape {labels.shape} of rank {label_rank}; `logits` "
                f"of shape {logits.shape} needs labels of rank {rank - 1}."
            )
        if rank is not None and not labels.shape.is_compatible_with(logits.shape[:-1]):
            raise ValueError(
                f"Shape mismatch: `labels` has shape {labels.shape}, but `logits` has shape "
                f"{logits.shape} with the classes last."
            )
        if rank == 2:
            loss, _ = apply_op(op_type, [wide, labels], None, name)
        else:
            flat = array_ops.reshape(labels, [-1])
            loss, _ = apply_op(op_type, [_as_rows(wide), flat], None, name)
            known = labels.shape.is_fully_defined()
            target = labels.shape.as_list() if known else array_ops.shape(labels)
            loss = array_ops.reshape(loss, target)
            if not context.executing_eagerly():
                loss.set_shape(labels.shape)
        if wide is not logits:
            return math_ops.cast(loss, logits.dtype.base_dtype)
        return loss


def _pair(function: str, logits: Any, labels: Any, label: str) -> tuple[Any, Any]:
    logits = convert.convert_to_tensor(logits, name="logits")
    labels = convert.convert_to_tensor(labels, name=label, preferred_dtype=logits.dtype.base_dtype)
    if not labels.shape.is_compatible_with(logits.shape):
        raise ValueError(
            f"`logits` and `{label}` of {function} must have the same shape; given are "
            f"{logits.shape} and {labels.shape}."
        )
    return logits, labels


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Any:
    """Cross entropy of sigmoid(logits) against probabilities, element by element.

    Args:
        labels: probabilities, of the type and shape of `logits`.
        logits: a floating point tensor.
        name: name of the result's op.

    Raises:
        ValueError: positional arguments, a missing argument, shapes that do not fit.

    Source: `tf.nn.sigmoid_cross_entropy_with_logits`.
    """
    function = "sigmoid_cross_entropy_with_logits"
    _check_named(function, _sentinel, labels, logits)
    with context.name_scope(name, "logistic_loss", [logits, labels]) as scope:
        pair = _pair(function, logits, labels, "labels")
        return apply_op("SigmoidCrossEntropyWithLogits", pair, None, scope or None)


def weighted_cross_entropy_with_logits(
    targets: Any, logits: Any, pos_weight: Any, name: str | None = None
) -> Any:
    """As `sigmoid_cross_entropy_with_logits`, with the positive part weighted by `pos_weight`.

    Source: `tf.nn.weighted_cross_entropy_with_logits`.
    """
    with context.name_scope(name, "logistic_loss", [logits, targets]) as scope:
        logits, targets = _pair("weighted_cross_entropy_with_logits", logits, targets, "targets")
        weight = 1 + (pos_weight - 1) * targets
        return math_ops.add(
            (1 - targets) * logits, weight * activation_ops.softplus(-logits), name=scope
        )


def log_poisson_loss(
    targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None
) -> Any:
    """exp(log_input) - log_input * targets, up to a constant minus the Poisson log-likelihood.

    Args:
        targets: counts, of the type and shape of `log_input`.
        log_input: logarithm of the predicted mean.
        compute_full_loss: add Stirling's approximation of log(targets!) where targets > 1.
        name: name of the scope of the ops.

    Raises:
        ValueError: shapes that do not fit.

    Source: `tf.nn.log_poisson_loss`.
    """
    with context.name_scope(name, "log_poisson_loss", [log_input, targets]):
        log_input, targets = _pair("log_poisson_loss", log_input, targets, "targets")
        loss = math_ops.exp(log_input) - log_input * targets
        if not compute_full_loss:
            return loss
        safe = math_ops.maximum(targets, array_ops.ones_like(targets))
        stirling = safe * math_ops.log(safe) - safe + 0.5 * math_ops.log(2 * math.pi * safe)
        zeros = array_ops.zeros_like(stirling)
        return loss + array_slice_ops.where(targets > 1, stirling, zeros)


__all__ = [
    "log_poisson_loss",
    "sigmoid_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "sparse_softmax_cross_entropy_with_logits",
    "weighted_cross_entropy_with_logits",
]
