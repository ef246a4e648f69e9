"""Metrics that gather over many runs. Source: `tf.metrics` of TensorFlow 1.x.

Each function returns `(value, update_op)`: the value of what has been gathered, and an op that adds
the current batch and returns the new value. What is gathered lives in local variables under the
metric's scope (`accuracy/total`), which `local_variables_initializer` sets to 0.

`weights` is a scalar, or a tensor that spreads over the values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d.framework import context, convert, dtypes
from conv3d.framework.graph import add_to_collections
from conv3d.framework.graph_keys import GraphKeys
from conv3d.ops import array_ops, array_slice_ops, math_ops, math_reduce_ops, state_ops
from conv3d.variables.variable import Variable
from conv3d.variables.variable_scope import variable_scope

__all__ = [
    "accuracy",
    "auc",
    "confusion_matrix",
    "false_negatives",
    "false_negatives_at_thresholds",
    "false_positives",
    "false_positives_at_thresholds",
    "mean",
    "mean_absolute_error",
    "mean_cosine_distance",
    "mean_iou",
    "mean_per_class_accuracy",
    "mean_relative_error",
    "mean_squared_error",
    "mean_tensor",
    "percentage_below",
    "precision",
    "precision_at_thresholds",
    "recall",
    "recall_at_thresholds",
    "root_mean_squared_error",
    "sensitivity_at_specificity",
    "specificity_at_sensitivity",
    "true_negatives",
    "true_negatives_at_thresholds",
    "true_positives",
    "true_positives_at_thresholds",
]


# -- parts -----------------------------------------------------------------------------------------


def _refuse_eager(function: str) -> None:
    if context.executing_eagerly():
        raise RuntimeError(
            f"tf.metrics.{function} gathers in graph variables and does not exist in eager mode."
        )


def _variable(shape: Sequence[int], dtype: Any, name: str) -> Variable:
    return Variable(
        lambda: array_ops.zeros(shape, dtype),
        trainable=False,
        collections=[GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES],
        name=name,
    )


def _float(x: Any) -> Any:
    x = convert.convert_to_tensor(x)
    return x if x.dtype.base_dtype == dtypes.float32 else math_ops.to_float(x)


def _ratio(numerator: Any, denominator: Any, name: str | None = None) -> Any:
    """Numerator / denominator, 0 where the denominator is not positive."""
    positive = math_ops.greater(denominator, 0)
    safe = array_slice_ops.where(positive, denominator, array_ops.ones_like(denominator))
    quotient = math_ops.truediv(numerator, safe)
    return array_slice_ops.where(positive, quotient, array_ops.zeros_like(quotient), name=name)


def _spread(weights: Any, values: Any) -> Any:
    """`weights` as float32 in the shape of `values`.

    Raises:
        ValueError: shapes that are known not to fit.
    """
    weights = _float(weights)
    given, wanted = weights.shape, values.shape
    if given.ndims not in (None, 0) and wanted.ndims is not None:
        sizes = zip(given.as_list(), wanted.as_list(), strict=False)
        if given.ndims != wanted.ndims or any(
            n not in (1, None) and m is not None and n != m for n, m in sizes
        ):
            raise ValueError(
                f"`weights` of shape {given} cannot be spread over values of shape {wanted}."
            )
    return array_ops.broadcast_to(weights, array_ops.shape(values))


def _collect(value: Any, update: Any, metrics: Any, updates: Any) -> tuple[Any, Any]:
    if metrics:
        add_to_collections(metrics, value)
    if updates:
        add_to_collections(updates, update)
    return value, update


def _squeeze_pair(predictions: Any, labels: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Removes a last axis of size 1 that only one of the three has."""
    predictions = convert.convert_to_tensor(predictions)
    labels = None if labels is None else convert.convert_to_tensor(labels)
    if labels is not None:
        p, n = predictions.shape.ndims, labels.shape.ndims
        if p is not None and n is not None:
            if p == n + 1 and predictions.shape.as_list()[-1] in (1, None):
                predictions = array_ops.squeeze(predictions, [-1])
            elif n == p + 1 and labels.shape.as_list()[-1] in (1, None):
                labels = array_ops.squeeze(labels, [-1])
        predictions.shape.assert_is_compatible_with(labels.shape)
    if weights is None:
        return predictions, labels, None
    weights = convert.convert_to_tensor(weights)
    p, n = predictions.shape.ndims, weights.shape.ndims
    if p is not None and n is not None and n != 0:
        if n == p + 1 and weights.shape.as_list()[-1] in (1, None):
            weights = array_ops.squeeze(weights, [-1])
        elif p == n + 1:
            weights = array_ops.expand_dims(weights, -1)
    return predictions, labels, weights


def _pair(predictions: Any, labels: Any, weights: Any) -> tuple[Any, Any, Any]:
    """As `_squeeze_pair`, and the labels in the type of the predictions."""
    predictions, labels, weights = _squeeze_pair(predictions, labels, weights)
    if labels.dtype.base_dtype != predictions.dtype.base_dtype:
        labels = math_ops.cast(labels, predictions.dtype.base_dtype)
    return predictions, labels, weights


# -- means -----------------------------------------------------------------------------------------


def mean(
    values: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """The mean of all values seen.

    Args:
        values: numbers of any shape; counted in float32.
        weights: see above; None weighs all equally.
        metrics_collections: collections to add the value to.
        updates_collections: collections to add the update to.
        name: name of the variable scope.

    Returns:
        `(value, update_op)`, both float32 scalars.

    Raises:
        RuntimeError: in eager mode.
        ValueError: weights that do not fit.

    Source: `tf.metrics.mean`.
    """
    _refuse_eager("mean")
    with variable_scope(name, "mean", [values, weights]):
        values = _float(values)
        total = _variable([], dtypes.float32, "total")
        count = _variable([], dtypes.float32, "count")
        if weights is None:
            number = math_ops.to_float(array_ops.size(values))
        else:
            values, _, weights = _squeeze_pair(values, None, weights)
            weights = _spread(weights, values)
            values = math_ops.multiply(values, weights)
            number = math_reduce_ops.reduce_sum(weights)
        more = math_reduce_ops.reduce_sum(values)
        new_total = state_ops.assign_add(total, more)
        with context.control_dependencies([values]):
            new_count = state_ops.assign_add(count, number)
        value = _ratio(total.read_value(), count.read_value(), "value")
        update = _ratio(
            convert.convert_to_tensor(new_total), convert.convert_to_tensor(new_count), "update_op"
        )
        return _collect(value, update, metrics_collections, updates_collections)


def mean_tensor(
    values: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """The mean of all tensors seen, element by element; their shape must be known.

    Source: `tf.metrics.mean_tensor`.
    """
    _refuse_eager("mean_tensor")
    with variable_scope(name, "mean", [values, weights]):
        values = _float(values)
        dims = values.shape.as_list()
        total = _variable(dims, dtypes.float32, "total_tensor")
        count = _variable(dims, dtypes.float32, "count_tensor")
        number = array_ops.ones_like(values)
        if weights is not None:
            values, _, weights = _squeeze_pair(values, None, weights)
            weights = _spread(weights, values)
            values, number = values * weights, number * weights
        new_total = state_ops.assign_add(total, values)
        with context.control_dependencies([values]):
            new_count = state_ops.assign_add(count, number)
        value = _ratio(total.read_value(), count.read_value(), "value")
        update = _ratio(
            convert.convert_to_tensor(new_total), convert.convert_to_tensor(new_count), "update_op"
        )
        return _collect(value, update, metrics_collections, updates_collections)


def accuracy(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """How often predictions equal labels; arguments as for `mean`.

    Source: `tf.metrics.accuracy`.
    """
    _refuse_eager("accuracy")
    predictions, labels, weights = _squeeze_pair(predictions, labels, weights)
    if labels.dtype.base_dtype != predictions.dtype.base_dtype:
        predictions = math_ops.cast(predictions, labels.dtype.base_dtype)
    correct = math_ops.to_float(math_ops.equal(predictions, labels))
    return mean(correct, weights, metrics_collections, updates_collections, name or "accuracy")


def mean_absolute_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Mean of |predictions - labels|. Source: `tf.metrics.mean_absolute_error`."""
    _refuse_eager("mean_absolute_error")
    predictions, labels, weights = _pair(predictions, labels, weights)
    errors = math_ops.abs(predictions - labels)
    name = name or "mean_absolute_error"
    return mean(errors, weights, metrics_collections, updates_collections, name)


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Mean of (labels - predictions) ** 2. Source: `tf.metrics.mean_squared_error`."""
    _refuse_eager("mean_squared_error")
    predictions, labels, weights = _pair(predictions, labels, weights)
    errors = math_ops.square(labels - predictions)
    name = name or "mean_squared_error"
    return mean(errors, weights, metrics_collections, updates_collections, name)


def root_mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Root of the mean squared error. Source: `tf.metrics.root_mean_squared_error`."""
    _refuse_eager("root_mean_squared_error")
    value, update = mean_squared_error(
        labels, predictions, weights, name=name or "root_mean_squared_error"
    )
    return _collect(
        math_ops.sqrt(value), math_ops.sqrt(update), metrics_collections, updates_collections
    )


def mean_relative_error(
    labels: Any,
    predictions: Any,
    normalizer: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Mean of |labels - predictions| / normalizer, 0 where the normalizer is.

    Source: `tf.metrics.mean_relative_error`.
    """
    _refuse_eager("mean_relative_error")
    predictions, labels, weights = _pair(predictions, labels, weights)
    normalizer = convert.convert_to_tensor(normalizer, preferred_dtype=predictions.dtype.base_dtype)
    if normalizer.dtype.base_dtype != predictions.dtype.base_dtype:
        normalizer = math_ops.cast(normalizer, predictions.dtype.base_dtype)
    zero = math_ops.equal(normalizer, 0)
    safe = array_slice_ops.where(zero, array_ops.ones_like(normalizer), normalizer)
    errors = math_ops.div(math_ops.abs(labels - predictions), safe)
    errors = array_slice_ops.where(zero, array_ops.zeros_like(errors), errors)
    name = name or "mean_relative_error"
    return mean(errors, weights, metrics_collections, updates_collections, name)


def mean_cosine_distance(
    labels: Any,
    predictions: Any,
    dim: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """1 minus the mean of sum(labels * predictions) along `dim`, of unit vectors.

    Source: `tf.metrics.mean_cosine_distance`.
    """
    _refuse_eager("mean_cosine_distance")
    predictions, labels, weights = _pair(predictions, labels, weights)
    product = math_reduce_ops.reduce_sum(predictions * labels, [dim], keepdims=True)
    value, update = mean(product, weights, name=name or "mean_cosine_distance")
    return _collect(
        math_ops.subtract(1.0, value),
        math_ops.subtract(1.0, update),
        metrics_collections,
        updates_collections,
    )


def percentage_below(
    values: Any,
    threshold: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """The share of values below a threshold. Source: `tf.metrics.percentage_below`."""
    _refuse_eager("percentage_below")
    below = math_ops.to_float(math_ops.less(values, threshold))
    name = name or "percentage_below_threshold"
    return mean(below, weights, metrics_collections, updates_collections, name)


# -- counts ----------------------------------------------------------------------------------------


def _count(
    function: str,
    prediction: bool,
    label: bool,
    labels: Any,
    predictions: Any,
    weights: Any,
    metrics: Any,
    updates: Any,
    name: str | None,
) -> tuple[Any, Any]:
    """Counts the cases of one prediction and one label."""
    _refuse_eager(function)
    with variable_scope(name, function, [predictions, labels, weights]):
        predictions, labels, weights = _squeeze_pair(
            math_ops.cast(predictions, dtypes.bool), math_ops.cast(labels, dtypes.bool), weights
        )
        hits = math_ops.logical_and(
            math_ops.equal(labels, label), math_ops.equal(predictions, prediction)
        )
        count = _variable([], dtypes.float32, "count")
        values = math_ops.to_float(hits)
        if weights is not None:
            values = values * _spread(weights, values)
        value = array_ops.identity(count.read_value())
        update = state_ops.assign_add(count, math_reduce_ops.reduce_sum(values))
        return _collect(value, convert.convert_to_tensor(update), metrics, updates)


def true_positives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Weight of what is predicted and true. Source: `tf.metrics.true_positives`."""
    collections = metrics_collections, updates_collections
    return _count("true_positives", True, True, labels, predictions, weights, *collections, name)


def false_positives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Weight of what is predicted and not true. Source: `tf.metrics.false_positives`."""
    collections = metrics_collections, updates_collections
    return _count("false_positives", True, False, labels, predictions, weights, *collections, name)


def true_negatives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Weight of what is neither predicted nor true. Source: `tf.metrics.true_negatives`."""
    collections = metrics_collections, updates_collections
    return _count("true_negatives", False, False, labels, predictions, weights, *collections, name)


def false_negatives(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Weight of what is true and not predicted. Source: `tf.metrics.false_negatives`."""
    collections = metrics_collections, updates_collections
    return _count("false_negatives", False, True, labels, predictions, weights, *collections, name)


def _share(
    function: str,
    wrong: Callable[..., Any],
    labels: Any,
    predictions: Any,
    weights: Any,
    metrics: Any,
    updates: Any,
    name: str | None,
) -> tuple[Any, Any]:
    """True positives / (true positives + wrong)."""
    _refuse_eager(function)
    with variable_scope(name, function, [predictions, labels, weights]):
        predictions, labels, weights = _squeeze_pair(
            math_ops.cast(predictions, dtypes.bool), math_ops.cast(labels, dtypes.bool), weights
        )
        hits, more_hits = true_positives(labels, predictions, weights)
        misses, more_misses = wrong(labels, predictions, weights)
        value = _ratio(hits, hits + misses, "value")
        update = _ratio(more_hits, more_hits + more_misses, "update_op")
        return _collect(value, update, metrics, updates)


def precision(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """The share of what is predicted that is true. Source: `tf.metrics.precision`."""
    collections = metrics_collections, updates_collections
    return _share("precision", false_positives, labels, predictions, weights, *collections, name)


def recall(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """The share of what is true that is predicted. Source: `tf.metrics.recall`."""
    collections = metrics_collections, updates_collections
    return _share("recall", false_negatives, labels, predictions, weights, *collections, name)


# -- thresholds ------------------------------------------------------------------------------------

_CELLS = {
    "true_positives": (True, True),
    "false_negatives": (False, True),
    "true_negatives": (False, False),
    "false_positives": (True, False),
}


def _at_thresholds(
    labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any, cells: Sequence[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Counts at each threshold, in variables of their names: values and updates."""
    predictions, labels, weights = _squeeze_pair(
        _float(predictions), math_ops.cast(labels, dtypes.bool), weights
    )
    flat = array_ops.reshape(predictions, [1, -1])
    true = array_ops.reshape(labels, [1, -1])
    limits = array_ops.constant(np.reshape(thresholds, [-1, 1]), dtypes.float32)
    above = math_ops.greater(flat, limits)
    weight = None
    if weights is not None:
        weight = array_ops.reshape(_spread(weights, predictions), [1, -1])
    values, updates = {}, {}
    for cell in cells:
        predicted, label = _CELLS[cell]
        count = _variable([len(thresholds)], dtypes.float32, cell)
        side = above if predicted else math_ops.logical_not(above)
        wanted = true if label else math_ops.logical_not(true)
        spread = math_ops.to_float(side) * math_ops.to_float(wanted)
        if weight is not None:
            spread = spread * weight
        update = state_ops.assign_add(count, math_reduce_ops.reduce_sum(spread, 1))
        values[cell] = array_ops.identity(count.read_value())
        updates[cell] = convert.convert_to_tensor(update)
    return values, updates


def _cell_at_thresholds(cell: str) -> Callable[..., Any]:
    function = f"{cell}_at_thresholds"

    def metric(
        labels: Any,
        predictions: Any,
        thresholds: Sequence[float],
        weights: Any = None,
        metrics_collections: Any = None,
        updates_collections: Any = None,
        name: str | None = None,
    ) -> tuple[Any, Any]:
        _refuse_eager(function)
        with variable_scope(name, cell, [predictions, labels, weights]):
            values, updates = _at_thresholds(labels, predictions, thresholds, weights, [cell])
            return _collect(values[cell], updates[cell], metrics_collections, updates_collections)

    metric.__name__ = function
    metric.__qualname__ = function
    metric.__doc__ = (
        f"{cell.replace('_', ' ').capitalize()} where predictions above each threshold count as "
        f"positive, float32 `[thresholds]`. Source: `tf.metrics.{function}`."
    )
    return metric


true_positives_at_thresholds = _cell_at_thresholds("true_positives")
false_positives_at_thresholds = _cell_at_thresholds("false_positives")
true_negatives_at_thresholds = _cell_at_thresholds("true_negatives")
false_negatives_at_thresholds = _cell_at_thresholds("false_negatives")

#: Keeps ratios of counts finite, as in TensorFlow.
_TINY = 1e-7


def _share_at_thresholds(
    function: str,
    wrong: str,
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any,
    metrics: Any,
    updates: Any,
    name: str | None,
) -> tuple[Any, Any]:
    _refuse_eager(function)
    kind = function.split("_")[0]
    with variable_scope(name, function, [predictions, labels, weights]):
        counts = _at_thresholds(labels, predictions, thresholds, weights, ["true_positives", wrong])
        value, update = (
            math_ops.div(c["true_positives"], _TINY + c["true_positives"] + c[wrong], name=label)
            for c, label in zip(counts, (f"{kind}_value", f"{kind}_update_op"), strict=False)
        )
        return _collect(value, update, metrics, updates)


def precision_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Precision at each threshold, `[thresholds]`. Source: `tf.metrics.precision_at_thresholds`."""
    rest = labels, predictions, thresholds, weights, metrics_collections, updates_collections, name
    return _share_at_thresholds("precision_at_thresholds", "false_positives", *rest)


def recall_at_thresholds(
    labels: Any,
    predictions: Any,
    thresholds: Sequence[float],
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Recall at each threshold, `[thresholds]`. Source: `tf.metrics.recall_at_thresholds`."""
    rest = labels, predictions, thresholds, weights, metrics_collections, updates_collections, name
    return _share_at_thresholds("recall_at_thresholds", "false_negatives", *rest)


def _grid(number: int) -> list[float]:
    """`number` thresholds over [0, 1], the outer two just outside."""
    if number < 2:
        raise ValueError(f"`num_thresholds` is {number}; two at least are needed.")
    inner = [(i + 1) / (number - 1) for i in range(number - 2)]
    return [-_TINY, *inner, 1.0 + _TINY]


_SUMMATIONS = ("trapezoidal", "minoring", "majoring")


def auc(
    labels: Any,
    predictions: Any,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    curve: str = "ROC",
    name: str | None = None,
    summation_method: str = "trapezoidal",
) -> tuple[Any, Any]:
    """Area under a curve, by a sum over thresholds.

    Args:
        labels: bool, or numbers that become it.
        predictions: numbers in [0, 1], of the same shape.
        weights: see above.
        num_thresholds: number of thresholds.
        metrics_collections: collections to add the value to.
        updates_collections: collections to add the update to.
        curve: "ROC" (true over false positive rate) or "PR" (precision over recall).
        name: name of the variable scope.
        summation_method: "trapezoidal", "minoring" or "majoring".

    Raises:
        ValueError: another curve or summation method.
        RuntimeError: in eager mode.

    Source: `tf.metrics.auc`.
    """
    _refuse_eager("auc")
    if curve not in ("ROC", "PR"):
        raise ValueError(f"`curve` is {curve!r}; 'ROC' or 'PR' is accepted.")
    if summation_method not in _SUMMATIONS:
        raise ValueError(f"`summation_method` is {summation_method!r}; accepted: {_SUMMATIONS}.")
    with variable_scope(name, "auc", [labels, predictions, weights]):
        counts = _at_thresholds(labels, predictions, _grid(num_thresholds), weights, list(_CELLS))

        def area(c: dict[str, Any], label: str) -> Any:
            tp, fp = c["true_positives"], c["false_positives"]
            rate = math_ops.div(tp + _TINY, tp + c["false_negatives"] + _TINY)
            if curve == "ROC":
                x = math_ops.div(fp, fp + c["true_negatives"] + _TINY)
                y = rate
            else:
                x, y = rate, math_ops.div(tp + _TINY, tp + fp + _TINY)
            left, right = y[: num_thresholds - 1], y[1:]
            if summation_method == "trapezoidal":
                height = (left + right) / 2.0
            elif summation_method == "minoring":
                height = math_ops.minimum(left, right)
            else:
                height = math_ops.maximum(left, right)
            width = x[: num_thresholds - 1] - x[1:]
            return math_reduce_ops.reduce_sum(width * height, name=label)

        value, update = area(counts[0], "value"), area(counts[1], "update_op")
        return _collect(value, update, metrics_collections, updates_collections)


def _rate_at(
    function: str,
    wanted: tuple[str, str],
    limited: tuple[str, str],
    limit: float,
    labels: Any,
    predictions: Any,
    weights: Any,
    num_thresholds: int,
    metrics: Any,
    updates: Any,
    name: str | None,
) -> tuple[Any, Any]:
    """The rate `wanted` at the threshold whose rate `limited` is nearest to `limit`.

    Of several thresholds that are equally near, the one with the better rate `wanted`: the lowest
    for sensitivity, the highest for specificity.
    """
    _refuse_eager(function)
    if not 0 <= limit <= 1:
        raise ValueError(f"A rate is a number in [0, 1], not {limit!r}.")
    with variable_scope(name, function, [predictions, labels, weights]):
        counts = _at_thresholds(labels, predictions, _grid(num_thresholds), weights, list(_CELLS))

        def rate(c: dict[str, Any], label: str) -> Any:
            share = math_ops.div(c[limited[0]], c[limited[0]] + c[limited[1]] + _TINY)
            distance = math_ops.abs(share - limit)
            if wanted is _SPECIFICITY:
                at = (
                    num_thresholds - 1 - math_reduce_ops.argmin(array_ops.reverse(distance, [0]), 0)
                )
            else:
                at = math_reduce_ops.argmin(distance, 0)
            yes = array_slice_ops.gather(c[wanted[0]], at)
            no = array_slice_ops.gather(c[wanted[1]], at)
            return math_ops.div(yes, yes + no + _TINY, name=label)

        value, update = rate(counts[0], "value"), rate(counts[1], "update_op")
        return _collect(value, update, metrics, updates)


_SENSITIVITY = ("true_positives", "false_negatives")
_SPECIFICITY = ("true_negatives", "false_positives")


def sensitivity_at_specificity(
    labels: Any,
    predictions: Any,
    specificity: float,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Sensitivity where specificity is nearest to the one given.

    Source: `tf.metrics.sensitivity_at_specificity`.
    """
    rest = labels, predictions, weights, num_thresholds, metrics_collections, updates_collections
    return _rate_at(
        "sensitivity_at_specificity", _SENSITIVITY, _SPECIFICITY, specificity, *rest, name
    )


def specificity_at_sensitivity(
    labels: Any,
    predictions: Any,
    sensitivity: float,
    weights: Any = None,
    num_thresholds: int = 200,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Specificity where sensitivity is nearest to the one given.

    Source: `tf.metrics.specificity_at_sensitivity`.
    """
    rest = labels, predictions, weights, num_thresholds, metrics_collections, updates_collections
    return _rate_at(
        "specificity_at_sensitivity", _SPECIFICITY, _SENSITIVITY, sensitivity, *rest, name
    )


# -- classes ---------------------------------------------------------------------------------------


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: int | None = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
    weights: Any = None,
) -> Any:
    """How often (or with what weight) each class is predicted as each class.

    Args:
        labels: integers `[n]`, classes from 0.
        predictions: likewise.
        num_classes: number of classes; default the largest seen plus 1.
        dtype: type of the result.
        name: name of the scope of the ops.
        weights: `[n]`, or None.

    Returns:
        `[classes, classes]`: rows are labels, columns predictions.

    Raises:
        ValueError: shapes that do not fit.
        InvalidArgumentError: at run time, a class out of range.

    Source: `tf.confusion_matrix`.
    """
    dtype = dtypes.as_dtype(dtype)
    with context.name_scope(name, "confusion_matrix", [predictions, labels, num_classes, weights]):
        predictions, labels, _ = _squeeze_pair(predictions, labels, None)
        predictions = math_ops.cast(predictions, dtypes.int64)
        labels = math_ops.cast(labels, dtypes.int64)
        if num_classes is None:
            largest = math_ops.maximum(
                math_reduce_ops.reduce_max(predictions), math_reduce_ops.reduce_max(labels)
            )
            size = largest + 1
            shape = array_ops.stack([size, size])
        else:
            size = convert.convert_to_tensor(num_classes, preferred_dtype=dtypes.int64)
            size = math_ops.cast(size, dtypes.int64)
            shape = array_ops.stack([size, size])
        indices = array_ops.stack([labels, predictions], axis=1)
        if weights is None:
            values = array_ops.ones_like(labels, dtype=dtype)
        else:
            values = math_ops.cast(convert.convert_to_tensor(weights), dtype)
        return array_slice_ops.scatter_nd(indices, values, shape)


def mean_iou(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Intersection over union of label and prediction, the mean over the classes that occur.

    Args:
        labels: integer classes of any shape.
        predictions: the same shape.
        num_classes: number of classes.
        weights: of the same shape, or None.
        metrics_collections: collections to add the value to.
        updates_collections: collections to add the update to.
        name: name of the variable scope.

    Returns:
        The mean, float32, and the updated confusion matrix, float64.

    Raises:
        RuntimeError: in eager mode.

    Source: `tf.metrics.mean_iou`.
    """
    _refuse_eager("mean_iou")
    with variable_scope(name, "mean_iou", [predictions, labels, weights]):
        predictions = convert.convert_to_tensor(predictions)
        labels = convert.convert_to_tensor(labels)
        predictions.shape.assert_is_compatible_with(labels.shape)
        total = _variable([num_classes, num_classes], dtypes.float64, "total_confusion_matrix")
        if weights is not None:
            weights = array_ops.reshape(_spread(weights, predictions), [-1])
        current = confusion_matrix(
            array_ops.reshape(labels, [-1]),
            array_ops.reshape(predictions, [-1]),
            num_classes,
            weights=weights,
            dtype=dtypes.float64,
        )
        update = convert.convert_to_tensor(state_ops.assign_add(total, current))
        matrix = math_ops.to_float(total.read_value())
        rows = math_reduce_ops.reduce_sum(matrix, 0)
        columns = math_reduce_ops.reduce_sum(matrix, 1)
        hits = math_reduce_ops.reduce_sum(matrix * np.eye(num_classes, dtype=np.float32), 1)
        union = rows + columns - hits
        occurs = math_ops.greater(union, 0.0)
        # Where nothing is to be joined, nothing is common either: 0 / 1.
        safe = array_slice_ops.where(occurs, union, array_ops.ones_like(union))
        total_iou = math_reduce_ops.reduce_sum(math_ops.div(hits, safe), name="mean_iou")
        valid = math_reduce_ops.reduce_sum(math_ops.to_float(occurs))
        value = array_slice_ops.where(
            math_ops.greater(valid, 0.0),
            math_ops.div(total_iou, math_ops.maximum(valid, 1.0)),
            array_ops.zeros_like(total_iou),
        )
        return _collect(value, update, metrics_collections, updates_collections)


def mean_per_class_accuracy(
    labels: Any,
    predictions: Any,
    num_classes: int,
    weights: Any = None,
    metrics_collections: Any = None,
    updates_collections: Any = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Accuracy of each class, the mean over all classes.

    Args, returns and errors as for `mean_iou`, but `update_op` gives the accuracy of each class.

    Source: `tf.metrics.mean_per_class_accuracy`.
    """
    _refuse_eager("mean_per_class_accuracy")
    with variable_scope(name, "mean_accuracy", [predictions, labels, weights]):
        labels = math_ops.to_int64(labels)
        predictions = math_ops.to_int64(predictions)
        predictions.shape.assert_is_compatible_with(labels.shape)
        total = _variable([num_classes], dtypes.float32, "total")
        count = _variable([num_classes], dtypes.float32, "count")
        ones = array_ops.reshape(array_ops.ones_like(labels, dtype=dtypes.float32), [-1])
        if weights is not None:
            ones = array_ops.reshape(_spread(weights, labels), [-1])
        labels = array_ops.reshape(labels, [-1])
        predictions = array_ops.reshape(predictions, [-1])
        correct = math_ops.to_float(math_ops.equal(predictions, labels)) * ones
        indices = array_ops.expand_dims(labels, 1)
        shape = np.array([num_classes], np.int64)
        more_count = array_slice_ops.scatter_nd(indices, ones, shape)
        more_total = array_slice_ops.scatter_nd(indices, correct, shape)
        new_count = convert.convert_to_tensor(state_ops.assign_add(count, more_count))
        new_total = convert.convert_to_tensor(state_ops.assign_add(total, more_total))
        value = math_reduce_ops.reduce_mean(
            _ratio(total.read_value(), count.read_value()), name="mean_accuracy"
        )
        update = _ratio(new_total, new_count, "update_op")
        return _collect(value, update, metrics_collections, updates_collections)
