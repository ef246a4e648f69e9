"""Loss functions that weigh, reduce and collect. Source: `tf.losses` of TensorFlow 1.x.

Every loss is added to the collection `GraphKeys.LOSSES`, from which `get_total_loss` sums it up
with the regularization losses. Values are computed in float32 whatever their type, as TensorFlow
does.

`weights` is a scalar, or a tensor of the rank of the losses whose sizes are 1 or theirs.
"""

from __future__ import annotations

from typing import Any

from conv3d.framework import context, convert, dtypes
from conv3d.framework.graph import add_to_collection, get_collection
from conv3d.framework.graph_keys import GraphKeys
from conv3d.ops import (
    activation_ops,
    array_ops,
    array_slice_ops,
    loss_ops,
    math_ops,
    math_reduce_ops,
)

__all__ = [
    "Reduction",
    "absolute_difference",
    "add_loss",
    "compute_weighted_loss",
    "cosine_distance",
    "get_losses",
    "get_regularization_loss",
    "get_regularization_losses",
    "get_total_loss",
    "hinge_loss",
    "huber_loss",
    "log_loss",
    "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
]


class Reduction:
    """How weighted losses become one. Source: `tf.losses.Reduction`.

    `NONE` leaves them, `SUM` adds them, `MEAN` divides the sum by the sum of the weights,
    `SUM_OVER_BATCH_SIZE` by their number, `SUM_BY_NONZERO_WEIGHTS` by the number of losses whose
    weight is not 0.
    """

    NONE = "none"
    SUM = "weighted_sum"
    MEAN = "weighted_mean"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """The keys that there are."""
        return (
            cls.NONE,
            cls.SUM,
            cls.MEAN,
            cls.SUM_OVER_BATCH_SIZE,
            cls.SUM_OVER_NONZERO_WEIGHTS,
            cls.SUM_BY_NONZERO_WEIGHTS,
        )

    @classmethod
    def validate(cls, key: Any) -> None:
        """Raises ValueError unless `key` is one of `all()`."""
        if key not in cls.all():
            raise ValueError(f"`reduction` is {key!r}; accepted are {sorted(set(cls.all()))}.")


_DEFAULT = Reduction.SUM_BY_NONZERO_WEIGHTS


# -- collections -----------------------------------------------------------------------------------


def add_loss(loss: Any, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Adds a loss to a collection; does nothing in eager mode. Source: `tf.losses.add_loss`."""
    if loss_collection and not context.executing_eagerly():
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Any]:
    """The losses collected so far, those of a scope if given. Source: `tf.losses.get_losses`."""
    return get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Any]:
    """The losses of regularizers. Source: `tf.losses.get_regularization_losses`."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> Any:
    """The sum of the losses of regularizers, 0 if there are none.

    Source: `tf.losses.get_regularization_loss`.
    """
    losses = get_regularization_losses(scope)
    return math_ops.add_n(losses, name=name) if losses else array_ops.constant(0.0)


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss") -> Any:
    """The sum of all losses collected.

    Args:
        add_regularization_losses: add those of regularizers too.
        name: name of the op.

    Raises:
        ValueError: there are no losses.

    Source: `tf.losses.get_total_loss`.
    """
    losses = get_losses()
    if add_regularization_losses:
        losses = losses + get_regularization_losses()
    if not losses:
        raise ValueError("There are no losses to add up: no loss function has been called.")
    return math_ops.add_n(losses, name=name)


# -- weights ---------------------------------------------------------------------------------------


def _check_weights(weights: Any, values: Any) -> Any:
    """`weights` as float32, refused where they do not fit `values`.

    Raises:
        ValueError: shapes that are known not to fit.
    """
    given, wanted = weights.shape, values.shape
    if given.ndims == 0:
        return weights
    if given.ndims is None or wanted.ndims is None:
        # Known at run time only: spreading refuses there what does not fit.
        return array_ops.broadcast_to(weights, array_ops.shape(values))
    if given.ndims != wanted.ndims:
        raise ValueError(
            f"`weights` of shape {given} cannot be spread over values of shape {wanted}: it must "
            "be a scalar or have the same rank."
        )
    unknown = False
    for n, m in zip(given.as_list(), wanted.as_list(), strict=False):
        if n == 1:
            continue
        if n is None or m is None:
            unknown = True
        elif n != m:
            raise ValueError(
                f"`weights` of shape {given} cannot be spread over values of shape {wanted}: sizes "
                "must be 1 or equal."
            )
    return array_ops.broadcast_to(weights, array_ops.shape(values)) if unknown else weights


def _float(x: Any) -> Any:
    x = convert.convert_to_tensor(x)
    return x if x.dtype.base_dtype == dtypes.float32 else math_ops.to_float(x)


def _safe_div(numerator: Any, denominator: Any) -> Any:
    """Numerator / denominator, 0 where the denominator is not positive."""
    zero = math_ops.equal(denominator, 0)
    safe = array_slice_ops.where(zero, array_ops.ones_like(denominator), denominator)
    return array_slice_ops.where(
        math_ops.greater(denominator, 0),
        math_ops.div(numerator, safe),
        array_ops.zeros_like(numerator),
        name="value",
    )


def _present(weights: Any) -> Any:
    """1 for each weight that is not 0, else 0."""
    return math_ops.to_float(math_ops.not_equal(weights, 0.0))


def _num_present(losses: Any, weights: Any) -> Any:
    present = _present(weights)
    if present.shape.ndims == 0:
        return present * _float(array_ops.size(losses))
    return math_reduce_ops.reduce_sum(present * array_ops.ones_like(losses))


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """Weighs and reduces losses.

    Args:
        losses: a tensor of any shape.
        weights: see above.
        scope: name of the scope of the ops.
        loss_collection: where the loss is added to, or None.
        reduction: a `Reduction`.

    Returns:
        A scalar of the type of `losses`; all the weighted losses for `Reduction.NONE`.

    Raises:
        ValueError: another `reduction`, or weights that do not fit.

    Source: `tf.losses.compute_weighted_loss`.
    """
    Reduction.validate(reduction)
    if weights is None:
        raise ValueError("`weights` must not be None; 1.0 weighs all losses equally.")
    with context.name_scope(scope, "weighted_loss", [losses, weights]):
        losses = convert.convert_to_tensor(losses, name="losses")
        dtype = losses.dtype.base_dtype
        losses = _float(losses)
        weights = _check_weights(_float(weights), losses)
        weighted = math_ops.multiply(losses, weights)
        if reduction == Reduction.NONE:
            loss = weighted
        else:
            loss = math_reduce_ops.reduce_sum(weighted)
            if reduction == Reduction.MEAN:
                total = math_reduce_ops.reduce_sum(array_ops.ones_like(losses) * weights)
                loss = _safe_div(loss, total)
            elif reduction == Reduction.SUM_BY_NONZERO_WEIGHTS:
                loss = _safe_div(loss, _num_present(losses, weights))
            elif reduction == Reduction.SUM_OVER_BATCH_SIZE:
                loss = _safe_div(loss, _float(array_ops.size(losses)))
        if dtype != dtypes.float32:
            loss = math_ops.cast(loss, dtype)
        add_loss(loss, loss_collection)
        return loss


def _given(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is None:
            raise ValueError(f"`{name}` must not be None.")


def _pair(labels: Any, predictions: Any) -> tuple[Any, Any]:
    """Both as float32 of one shape.

    Raises:
        ValueError: the shapes differ.
    """
    predictions, labels = _float(predictions), _float(labels)
    predictions.shape.assert_is_compatible_with(labels.shape)
    return labels, predictions


# -- the losses ------------------------------------------------------------------------------------


def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """|predictions - labels|; arguments as for `compute_weighted_loss`.

    Raises:
        ValueError: shapes that do not fit, or a missing argument.

    Source: `tf.losses.absolute_difference`.
    """
    _given(labels=labels, predictions=predictions)
    values = [predictions, labels, weights]
    with context.name_scope(scope, "absolute_difference", values) as scope:
        labels, predictions = _pair(labels, predictions)
        losses = math_ops.abs(math_ops.subtract(predictions, labels))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
    dim: int | None = None,
) -> Any:
    """1 - sum(predictions * labels) along `axis` (old name `dim`), of unit vectors.

    Source: `tf.losses.cosine_distance`.
    """
    if axis is not None and dim is not None:
        raise ValueError("Only one of `axis` and its old name `dim` is accepted.")
    axis = dim if axis is None else axis
    if axis is None:
        raise ValueError("`axis` must be given.")
    _given(labels=labels, predictions=predictions)
    values = [predictions, labels, weights]
    with context.name_scope(scope, "cosine_distance_loss", values) as scope:
        labels, predictions = _pair(labels, predictions)
        product = math_ops.multiply(predictions, labels)
        losses = 1 - math_reduce_ops.reduce_sum(product, axis=(axis,), keepdims=True)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """max(0, 1 - (2 * labels - 1) * logits), for labels of 0 and 1.

    Source: `tf.losses.hinge_loss`.
    """
    _given(labels=labels, logits=logits)
    with context.name_scope(scope, "hinge_loss", [logits, labels, weights]) as scope:
        labels, logits = _pair(labels, logits)
        signs = 2 * labels - 1
        losses = activation_ops.relu(1 - signs * logits)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """Half the squared error up to `delta`, linear beyond.

    Source: `tf.losses.huber_loss`.
    """
    _given(labels=labels, predictions=predictions)
    with context.name_scope(scope, "huber_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _pair(labels, predictions)
        error = math_ops.abs(math_ops.subtract(predictions, labels))
        quadratic = math_ops.minimum(error, delta)
        # The part beyond delta; 0 there has no gradient, so that of the quadratic part is left.
        linear = error - quadratic
        losses = 0.5 * quadratic * quadratic + delta * linear
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """-labels * log(predictions) - (1 - labels) * log(1 - predictions).

    `epsilon` is added inside of the logarithms.

    Source: `tf.losses.log_loss`.
    """
    _given(labels=labels, predictions=predictions)
    with context.name_scope(scope, "log_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _pair(labels, predictions)
        losses = -labels * math_ops.log(predictions + epsilon) - (1 - labels) * math_ops.log(
            1 - predictions + epsilon
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """(predictions - labels) ** 2; arguments as for `compute_weighted_loss`.

    Source: `tf.losses.mean_squared_error`.
    """
    _given(labels=labels, predictions=predictions)
    values = [predictions, labels, weights]
    with context.name_scope(scope, "mean_squared_error", values) as scope:
        labels, predictions = _pair(labels, predictions)
        losses = math_ops.squared_difference(predictions, labels)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Any:
    """Squared differences between pairs of errors within each sample.

    With d = predictions - labels and n present elements in a sample:
    2 * sum(d ** 2) / (n - 1) - 2 * sum(d) ** 2 / (n * (n - 1)), weighted and summed over samples.

    Args:
        labels: `[batch, ...]`.
        predictions: the same shape.
        weights: a scalar, `[batch, 1, ...]`, or the shape of the labels.
        scope: name of the scope of the ops.
        loss_collection: where the loss is added to, or None.

    Raises:
        ValueError: shapes that do not fit, or a missing argument.

    Source: `tf.losses.mean_pairwise_squared_error`.
    """
    _given(labels=labels, predictions=predictions)
    values = [predictions, labels, weights]
    with context.name_scope(scope, "mean_pairwise_squared_error", values):
        labels, predictions = _pair(labels, predictions)
        weights = _check_weights(_float(weights), labels)
        d = math_ops.subtract(predictions, labels)
        rest = math_reduce_ops.range(1, array_ops.rank(d))
        squares = math_reduce_ops.reduce_sum(math_ops.square(d), rest, keepdims=True)
        present = _present(weights) * array_ops.ones_like(d)
        n = math_reduce_ops.reduce_sum(present, rest, keepdims=True)
        first = 2.0 * _safe_div(squares, n - 1)
        total = math_reduce_ops.reduce_sum(d, rest, keepdims=True)
        second = 2.0 * _safe_div(math_ops.square(total), n * (n - 1))
        loss = math_reduce_ops.reduce_sum((first - second) * weights)
        loss = array_slice_ops.where(
            math_reduce_ops.reduce_sum(n) > 0, loss, array_ops.zeros_like(loss), name="value"
        )
        add_loss(loss, loss_collection)
        return loss


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """Cross entropy of sigmoid(logits); `label_smoothing` moves labels towards 1/2.

    Source: `tf.losses.sigmoid_cross_entropy`.
    """
    _given(multi_class_labels=multi_class_labels, logits=logits)
    values = [logits, multi_class_labels, weights]
    with context.name_scope(scope, "sigmoid_cross_entropy_loss", values) as scope:
        logits = convert.convert_to_tensor(logits)
        labels = math_ops.cast(multi_class_labels, logits.dtype.base_dtype)
        logits.shape.assert_is_compatible_with(labels.shape)
        if label_smoothing > 0:
            labels = labels * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = loss_ops.sigmoid_cross_entropy_with_logits(
            labels=labels, logits=logits, name="xentropy"
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """Cross entropy of softmax(logits); `label_smoothing` moves labels towards 1/classes.

    Args:
        onehot_labels: distributions, `[..., classes]`.
        logits: the same shape.
        weights: a scalar, or a tensor that fits the losses `[...]`.
        label_smoothing: a number in [0, 1].
        scope: name of the scope of the ops.
        loss_collection: where the loss is added to, or None.
        reduction: a `Reduction`.

    Raises:
        ValueError: shapes that do not fit, or a missing argument.

    Source: `tf.losses.softmax_cross_entropy`.
    """
    _given(onehot_labels=onehot_labels, logits=logits)
    values = [logits, onehot_labels, weights]
    with context.name_scope(scope, "softmax_cross_entropy_loss", values) as scope:
        logits = convert.convert_to_tensor(logits)
        labels = math_ops.cast(onehot_labels, logits.dtype.base_dtype)
        logits.shape.assert_is_compatible_with(labels.shape)
        if label_smoothing > 0:
            classes = math_ops.cast(array_ops.shape(labels)[-1], logits.dtype.base_dtype)
            labels = labels * (1.0 - label_smoothing) + label_smoothing / classes
        labels = array_ops.stop_gradient(labels, name="labels_stop_gradient")
        losses = loss_ops.softmax_cross_entropy_with_logits_v2(
            labels=labels, logits=logits, name="xentropy"
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def _without_one(x: Any, rank: int | None) -> Any:
    """`x` without a last axis of size 1, if that makes its rank `rank`."""
    if rank is None or x.shape.ndims != rank + 1:
        return x
    if x.shape.as_list()[-1] not in (1, None):
        return x
    return array_ops.squeeze(x, [-1])


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _DEFAULT,
) -> Any:
    """Cross entropy of softmax(logits) against one class each.

    Args:
        labels: int32 or int64 `[...]`, or `[..., 1]`.
        logits: `[..., classes]`.
        weights: a scalar, or a tensor that fits the losses `[...]`.
        scope: name of the scope of the ops.
        loss_collection: where the loss is added to, or None.
        reduction: a `Reduction`.

    Raises:
        ValueError: shapes that do not fit, or a missing argument.

    Source: `tf.losses.sparse_softmax_cross_entropy`.
    """
    _given(labels=labels, logits=logits)
    values = [logits, labels, weights]
    with context.name_scope(scope, "sparse_softmax_cross_entropy_loss", values) as scope:
        labels = convert.convert_to_tensor(labels)
        logits = convert.convert_to_tensor(logits)
        rank = None if logits.shape.ndims is None else logits.shape.ndims - 1
        labels = _without_one(labels, rank)
        weights = _without_one(convert.convert_to_tensor(weights), labels.shape.ndims)
        losses = loss_ops.sparse_softmax_cross_entropy_with_logits(
            labels=labels, logits=logits, name="xentropy"
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)
