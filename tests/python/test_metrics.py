"""Metrics over several batches, judged by NumPy; refusals. More in `ops/test_nn_reference.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d import metrics


def _gather(metric: Any, feeds: list[dict]) -> tuple[Any, list[Any]]:
    value, update = metric
    with tf.Session() as s:
        s.run(tf.local_variables_initializer())
        updates = [s.run(update, feed) for feed in feeds]
        return s.run(value), updates


def _batches(count: int = 3) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.RandomState(0)
    labels = [rng.randint(0, 3, n) for n in (4, 7, 2)][:count]
    return labels, [rng.randint(0, 3, len(batch)) for batch in labels]


def test_over_batches_of_different_sizes() -> None:
    labels, predictions = _batches()
    p, q = tf.placeholder(tf.int64, [None]), tf.placeholder(tf.int64, [None])
    feeds = [{p: a, q: b} for a, b in zip(labels, predictions, strict=False)]
    all_labels, all_predictions = np.concatenate(labels), np.concatenate(predictions)

    value, updates = _gather(metrics.accuracy(p, q), feeds)
    assert value == pytest.approx((all_labels == all_predictions).mean())
    assert updates[0] == pytest.approx((labels[0] == predictions[0]).mean())
    assert updates[-1] == value

    value, updates = _gather(metrics.mean_iou(p, q, 3), feeds)
    matrix = np.zeros((3, 3))
    np.add.at(matrix, (all_labels, all_predictions), 1)
    np.testing.assert_array_equal(updates[-1], matrix)
    hits = np.diag(matrix)
    assert value == pytest.approx((hits / (matrix.sum(0) + matrix.sum(1) - hits)).mean())

    value, _ = _gather(metrics.mean(p), feeds)
    assert value == pytest.approx(all_labels.mean())
    value, _ = _gather(metrics.precision(tf.equal(p, 1), tf.equal(q, 1)), feeds)
    hit = ((all_labels == 1) & (all_predictions == 1)).sum()
    assert value == pytest.approx(hit / (all_predictions == 1).sum())
    value, _ = _gather(metrics.recall(tf.equal(p, 1), tf.equal(q, 1)), feeds)
    assert value == pytest.approx(hit / (all_labels == 1).sum())


def test_area_under_the_curve() -> None:
    rng = np.random.RandomState(0)
    labels = rng.uniform(size=500) < 0.4
    scores = np.clip(labels * 0.3 + rng.uniform(size=500) * 0.7, 0, 1).astype("f")
    value, _ = _gather(metrics.auc(labels, scores, num_thresholds=2000), [{}])
    better = (scores[labels][:, None] > scores[~labels][None, :]).mean()
    assert value == pytest.approx(better, abs=2e-3)


def test_nothing_gathered_is_zero() -> None:
    for metric in (
        metrics.mean([1.0]),
        metrics.accuracy([1], [1]),
        metrics.precision([True], [True]),
        metrics.mean_iou(tf.constant([1]), tf.constant([1]), 3),
    ):
        assert _gather(metric, [])[0] == 0.0


def test_variables_are_local_and_scoped() -> None:
    metrics.mean([1.0])
    metrics.mean([1.0])
    metrics.mean([1.0], name="m")
    names = [v.name for v in tf.local_variables()]
    assert names == ["mean/total:0", "mean/count:0", "mean_1/total:0", "mean_1/count:0",
                     "m/total:0", "m/count:0"]  # fmt: skip
    assert tf.global_variables() == [] and tf.trainable_variables() == []
    assert len(tf.get_collection(tf.GraphKeys.METRIC_VARIABLES)) == 6


def test_collections() -> None:
    value, update = metrics.mean([1.0], metrics_collections=["a"], updates_collections=["b"])
    assert tf.get_collection("a") == [value] and tf.get_collection("b") == [update]


def test_confusion_matrix() -> None:
    with tf.Session() as s:
        matrix = s.run(metrics.confusion_matrix([0, 2, 2], [1, 2, 2]))
        assert matrix.dtype == np.int32
        assert matrix.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 2]]
        weighted = s.run(
            metrics.confusion_matrix([0, 1], [1, 1], 2, dtype=tf.float32, weights=[0.5, 2.0])
        )
        assert weighted.tolist() == [[0.0, 0.5], [0.0, 2.0]]
        with pytest.raises(tf.errors.InvalidArgumentError):
            s.run(metrics.confusion_matrix([0, 3], [1, 1], 2))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="spread"):
        metrics.mean(tf.zeros([2, 3]), weights=tf.zeros([4, 3]))
    with pytest.raises(ValueError):
        metrics.accuracy(tf.zeros([2, 3]), tf.zeros([2, 4]))
    with pytest.raises(ValueError, match="curve"):
        metrics.auc([True], [0.5], curve="X")
    with pytest.raises(ValueError, match="summation"):
        metrics.auc([True], [0.5], summation_method="x")
    with pytest.raises(ValueError, match="rate"):
        metrics.sensitivity_at_specificity([True], [0.5], 1.5)


def test_eager_mode_is_refused(eager) -> None:
    for call in (
        lambda: metrics.mean([1.0]),
        lambda: metrics.accuracy([1], [1]),
        lambda: metrics.mean_iou([1], [1], 2),
        lambda: metrics.auc([True], [0.5]),
    ):
        with pytest.raises(RuntimeError, match="eager"):
            call()
