"""contrib.layers: names of variables as TensorFlow 1.15 gives them, values against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d import contrib, engine
from conv3d.contrib import layers
from conv3d.contrib.framework import add_arg_scope, arg_scope
from conv3d.framework.graph import Graph, GraphKeys, get_collection
from conv3d.framework.session import Session
from conv3d.ops import activation_ops, array_ops
from conv3d.variables import collections, variable_scope


@pytest.fixture
def sess():
    with Graph().as_default(), Session() as made:
        yield made


def names():
    return [v.name for v in collections.global_variables()]


def start(sess):
    sess.run(collections.global_variables_initializer())


X = np.random.default_rng(0).standard_normal((2, 4, 5, 6, 3)).astype(np.float32)


def test_conv3d(sess):
    out = layers.conv3d(X, 4, 3, weights_regularizer=layers.l2_regularizer(0.1), activation_fn=None)
    assert names() == ["Conv/weights:0", "Conv/biases:0"]
    assert get_collection(GraphKeys.MODEL_VARIABLES) == collections.global_variables()
    assert len(get_collection(GraphKeys.REGULARIZATION_LOSSES)) == 1
    start(sess)
    weights, biases = sess.run(collections.global_variables())
    limit = np.sqrt(6 / (27 * (3 + 4)))
    assert abs(weights).max() <= limit and abs(weights).max() > 0.8 * limit
    assert not biases.any()
    wanted = engine.forward(X, weights, padding="same")
    np.testing.assert_allclose(sess.run(out), wanted, rtol=1e-4, atol=1e-5)
    # TensorFlow: a rectifier by default; no bias where there is a normalizer.
    again = layers.conv3d(X, 4, 3, normalizer_fn=layers.batch_norm, scope="again")
    assert names()[2:] == [
        "again/weights:0", "again/BatchNorm/beta:0", "again/BatchNorm/moving_mean:0",
        "again/BatchNorm/moving_variance:0",
    ]  # fmt: skip
    assert again.op.type == "Relu"
    layers.conv3d(X, 4, 3, scope="again", reuse=True, normalizer_fn=layers.batch_norm,
                  normalizer_params={"reuse": True, "scope": "BatchNorm"})  # fmt: skip
    assert len(names()) == 6


def test_other_layers_of_weights(sess):
    up = layers.conv3d_transpose(X, 2, 2, stride=2)
    assert up.get_shape().as_list() == [2, 8, 10, 12, 2]
    full = layers.fully_connected(layers.flatten(X), 7)
    layers.conv2d(X[0], 2, 3)
    assert full.get_shape().as_list() == [2, 7]
    layers.linear(full, 3)
    assert names() == [
        "Conv3d_transpose/weights:0", "Conv3d_transpose/biases:0",
        "fully_connected/weights:0", "fully_connected/biases:0",
        "Conv/weights:0", "Conv/biases:0",
        "fully_connected_1/weights:0", "fully_connected_1/biases:0",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="inputs"):
        layers.conv3d(X[0], 2, 3)
    with pytest.raises(ValueError, match="data_format"):
        layers.conv3d(X, 2, 3, data_format="channels")


def test_pools_and_dropout(sess):
    pooled = sess.run(layers.max_pool3d(X, 2))
    assert pooled.shape == (2, 2, 2, 3, 3)
    assert pooled[0, 0, 0, 0, 0] == X[0, :2, :2, :2, 0].max()
    mean = sess.run(layers.avg_pool3d(X, [2, 2, 2]))
    np.testing.assert_allclose(mean[1, 0, 0, 0, 1], X[1, :2, :2, :2, 1].mean(), rtol=1e-5)
    np.testing.assert_array_equal(sess.run(layers.dropout(X, 0.5, is_training=False)), X)
    kept = sess.run(layers.dropout(X, 0.5, seed=1))
    assert 0.3 < (kept == 0).mean() < 0.7


def test_batch_norm_trains_and_updates(sess):
    flag = array_ops.placeholder("bool", [])
    out = layers.batch_norm(X, decay=0.9, is_training=flag, scope="bn")
    assert names() == ["bn/beta:0", "bn/moving_mean:0", "bn/moving_variance:0"]
    updates = get_collection(GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    start(sess)
    mean, variance = X.mean((0, 1, 2, 3)), X.var((0, 1, 2, 3))
    found, _ = sess.run([out, updates], {flag: True})
    np.testing.assert_allclose(found, (X - mean) / np.sqrt(variance + 1e-3), rtol=1e-3, atol=1e-4)
    moving = sess.run(collections.global_variables()[1])
    np.testing.assert_allclose(moving, 0.1 * mean, rtol=1e-4, atol=1e-6)


def test_batch_norm_with_updates_in_place(sess):
    out = layers.batch_norm(X, decay=0.5, updates_collections=None, scale=True)
    assert get_collection(GraphKeys.UPDATE_OPS) == []
    start(sess)
    sess.run(out)
    moving = sess.run(collections.global_variables()[2])
    np.testing.assert_allclose(moving, 0.5 * X.mean((0, 1, 2, 3)), rtol=1e-4, atol=1e-6)
    layers.batch_norm(X, updates_collections="mine")
    assert len(get_collection("mine")) == 2
    with pytest.raises(ValueError, match="batch_weights"):
        layers.batch_norm(X, batch_weights=[1.0, 1.0])


def test_layer_norm(sess):
    out = layers.layer_norm(X, activation_fn=activation_ops.relu)
    assert names() == ["LayerNorm/beta:0", "LayerNorm/gamma:0"]
    start(sess)
    mean, variance = X.mean((1, 2, 3, 4), keepdims=True), X.var((1, 2, 3, 4), keepdims=True)
    wanted = np.maximum((X - mean) / np.sqrt(variance + 1e-12), 0)
    np.testing.assert_allclose(sess.run(out), wanted, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match="rank"):
        layers.layer_norm(array_ops.placeholder("float32"))


@pytest.mark.parametrize("first", [False, True])
def test_instance_norm(sess, first):
    x = np.moveaxis(X, -1, 1) if first else X
    out = layers.instance_norm(x, data_format="NCDHW" if first else "NDHWC")
    start(sess)
    axes = (2, 3, 4) if first else (1, 2, 3)
    wanted = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-6)
    np.testing.assert_allclose(sess.run(out), wanted, rtol=1e-3, atol=1e-4)


def test_group_norm(sess):
    x = np.random.default_rng(1).standard_normal((2, 3, 3, 3, 6)).astype(np.float32)
    feed = array_ops.placeholder("float32", [None, 3, 3, 3, 6])
    out = layers.group_norm(feed, groups=3, reduction_axes=(-4, -3, -2))
    assert out.get_shape().as_list() == [None, 3, 3, 3, 6]
    start(sess)
    split = x.reshape(2, 27, 3, 2)
    mean, variance = split.mean((1, 3), keepdims=True), split.var((1, 3), keepdims=True)
    wanted = ((split - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape)
    np.testing.assert_allclose(sess.run(out, {feed: x}), wanted, rtol=1e-3, atol=1e-4)
    for bad in ({"groups": 4}, {"groups": 3, "channels_axis": -2}):
        with pytest.raises(ValueError):
            layers.group_norm(feed, **bad)


def test_initializers(sess):
    shape = [3, 3, 3, 8, 16]
    for make, deviation in (
        (layers.xavier_initializer(seed=1), np.sqrt(2 / (27 * 24))),
        (layers.xavier_initializer(uniform=False, seed=1), np.sqrt(2 / (27 * 24))),
        (layers.variance_scaling_initializer(seed=1), np.sqrt(2 / (27 * 8))),
        (layers.variance_scaling_initializer(1.0, "FAN_OUT", True, 1), np.sqrt(1 / (27 * 16))),
    ):
        values = sess.run(make(shape))
        assert values.std() == pytest.approx(deviation, rel=0.05)
    with pytest.raises(TypeError, match="mode"):
        layers.variance_scaling_initializer(mode="FAN")
    with pytest.raises(TypeError, match="dtype"):
        layers.xavier_initializer(dtype="int32")


def test_regularizers(sess):
    value = array_ops.constant([1.0, -2.0])
    assert sess.run(layers.l2_regularizer(0.5)(value)) == pytest.approx(1.25)
    total = layers.apply_regularization(layers.l1_regularizer(0.5), [value, value])
    assert sess.run(total) == pytest.approx(3.0)


def test_arg_scope(sess):
    with arg_scope([layers.conv3d, layers.conv3d_transpose], activation_fn=None, padding="VALID"):
        with arg_scope([layers.conv3d], stride=2) as inner:
            out = layers.conv3d(X, 1, 2)
            assert out.get_shape().as_list() == [2, 2, 2, 3, 1] and out.op.type != "Relu"
            assert layers.conv3d(X, 1, 2, stride=1).get_shape().as_list() == [2, 3, 4, 5, 1]
        assert layers.conv3d(X, 1, 2).get_shape().as_list() == [2, 3, 4, 5, 1]
    with arg_scope(inner):
        assert layers.conv3d(X, 1, 2).get_shape().as_list() == [2, 2, 2, 3, 1]
    assert layers.conv3d(X, 1, 2).op.type == "Relu"

    @add_arg_scope
    def f(a, b=1, c=2):
        return a, b, c

    with arg_scope([f], b=5):
        assert f(0) == (0, 5, 2) and f(0, 3) == (0, 3, 2) and f(0, b=4) == (0, 4, 2)
    for bad, kind in (
        (lambda: arg_scope([len], x=1), ValueError),
        (lambda: arg_scope([f], d=1), ValueError),
        (lambda: arg_scope(f, b=1), TypeError),
        (lambda: arg_scope({}, b=1), ValueError),
    ):
        with pytest.raises(kind), bad():
            pass


def test_framework(sess):
    with variable_scope.variable_scope("s"):
        v = contrib.framework.model_variable("weights", [2])
    w = variable_scope.get_variable("w", [2], trainable=False)
    assert contrib.framework.get_variables("s") == [v]
    assert contrib.framework.get_variables(suffix="weights") == [v]
    assert contrib.framework.get_trainable_variables() == [v]
    assert contrib.framework.get_variables_to_restore(exclude=["s"]) == [w]
    assert get_collection(GraphKeys.MODEL_VARIABLES) == [v]


def test_a_penalty_of_nothing_is_refused():
    with pytest.raises(ValueError, match="weights_list"):
        layers.apply_regularization(layers.l2_regularizer(0.5))
