"""What small records do not show of activations, dropout, bias and losses: edges and refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import conv3d as tf
from conv3d.framework import registry
from conv3d.ops import activation_ops, loss_ops, nn_ops


def _run(fetches: Any, feed: Any = None) -> Any:
    with tf.Session() as s:
        s.run(tf.global_variables_initializer())
        return s.run(fetches, feed)


# -- activations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["elu", "selu", "softplus", "softsign", "softmax", "log_softmax", "sigmoid", "tanh", "swish"],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_large_numbers_do_not_overflow(name, dtype) -> None:
    x = np.array([[-60000.0, -100.0, 0.0, 100.0, 60000.0]], dtype)
    y = getattr(tf.nn, name)(tf.constant(x))
    with np.errstate(all="raise", under="ignore"):
        value, grad = _run([y, tf.gradients(y, y.graph.get_operations()[0].outputs[0])[0]])
    assert value.dtype == np.dtype(dtype)
    assert not np.isnan(value).any() and not np.isnan(grad).any()
    if name != "log_softmax":
        assert np.isfinite(value).all()


def test_half_precision_is_as_good_as_it_can_be() -> None:
    x = np.linspace(-8, 8, 400).astype("f2").reshape(4, 100)
    for function in (tf.nn.softmax, tf.nn.log_softmax, tf.nn.softplus, tf.nn.elu, tf.sigmoid):
        tf.reset_default_graph()
        half, wide = _run([function(tf.constant(x)), function(tf.constant(x.astype("f8")))])
        np.testing.assert_allclose(half, wide, rtol=2e-3, atol=6e-8)


def test_what_is_not_a_number_stays_visible() -> None:
    x = tf.constant([np.nan, -1.0, 1.0])
    for function in (tf.nn.relu, tf.nn.relu6, tf.nn.leaky_relu, tf.nn.elu, tf.nn.softplus):
        assert np.isnan(_run(function(x)))[0]


def test_a_closed_gate_stops_infinity() -> None:
    x = tf.constant([-1.0, 1.0])
    g = tf.gradients(tf.nn.relu(x), x, grad_ys=tf.constant([np.inf, np.inf]))[0]
    assert _run(g).tolist() == [0.0, np.inf]


def test_leaky_relu_beyond_one() -> None:
    x = np.array([-2.0, 3.0], "f")
    y = tf.nn.leaky_relu(tf.constant(x), 1.5)
    assert _run(y).tolist() == [-3.0, 3.0]
    assert _run(tf.nn.leaky_relu(tf.constant([-5, 5]))).tolist() == [-1.0, 5.0]


def test_softmax_axes() -> None:
    x = np.random.RandomState(0).standard_normal((2, 3, 4)).astype("f")
    for axis in (-3, -2, -1, 0, 1, 2):
        want = np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True)
        np.testing.assert_allclose(_run(tf.nn.softmax(x, axis=axis)), want, rtol=1e-5)
        np.testing.assert_allclose(_run(tf.nn.log_softmax(x, axis)), np.log(want), rtol=1e-4)
    with pytest.raises(ValueError, match="axis"):
        tf.nn.softmax(x, axis=3)
    with pytest.raises(ValueError, match="dim"):
        tf.nn.softmax(x, axis=1, dim=1)


def test_softmax_of_shapes_that_are_not_known() -> None:
    p = tf.placeholder(tf.float32)
    y = tf.nn.softmax(p)
    assert y.shape.ndims is None
    assert _run(y, {p: np.zeros((2, 1, 4), "f")}).tolist() == [[[0.25] * 4]] * 2
    q = tf.placeholder(tf.float32, [None, None, 4])
    assert tf.nn.softmax(q).shape.as_list() == [None, None, 4]
    empty = _run(tf.nn.softmax(tf.zeros([2, 0])))
    assert empty.shape == (2, 0)


# -- bias ------------------------------------------------------------------------------------------


def test_bias_of_any_rank_and_layout() -> None:
    rng = np.random.RandomState(0)
    bias = np.array([1.0, 2.0, 3.0], "f")
    for rank in (2, 3, 4, 5):
        x = rng.standard_normal((3,) * rank).astype("f")
        shape = [1, 3] + [1] * (rank - 2)
        np.testing.assert_allclose(_run(tf.nn.bias_add(x, bias)), x + bias)
        first = _run(tf.nn.bias_add(x, bias, data_format="NCHW"))
        np.testing.assert_allclose(first, x + bias.reshape(shape))


def test_bias_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="4 channels"):
        tf.nn.bias_add(tf.zeros([2, 4]), tf.zeros([3]))
    with pytest.raises(ValueError, match="one dimension"):
        tf.nn.bias_add(tf.zeros([2, 4]), tf.zeros([1, 4]))
    with pytest.raises(ValueError, match="data_format"):
        tf.nn.bias_add(tf.zeros([2, 4]), tf.zeros([4]), data_format="last")
    with pytest.raises(TypeError):
        tf.nn.bias_add(tf.zeros([2, 4]), tf.zeros([4], tf.float64))
    x, b = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    y = tf.nn.bias_add(x, b)
    with pytest.raises(tf.errors.InvalidArgumentError, match="channels"):
        _run(y, {x: np.zeros((2, 3), "f"), b: np.zeros(1, "f")})


def test_the_sum_over_many_rows_is_accurate() -> None:
    x = np.full((300001, 3), 0.1, "f")

    def sums(x: np.ndarray) -> np.ndarray:
        return registry.get("BiasAddGrad").compute({"data_format": "NHWC"}, x)

    got = sums(x)
    np.testing.assert_allclose(got, np.full(3, np.float64(np.float32(0.1)) * 300001), rtol=1e-5)
    rng = np.random.RandomState(0)
    y = rng.standard_normal((513, 5)).astype("f")
    np.testing.assert_allclose(sums(y), y.astype("f8").sum(0), atol=1e-5)


# -- dropout ---------------------------------------------------------------------------------------


def test_dropout() -> None:
    x = tf.ones([100, 100])
    y = _run(tf.nn.dropout(x, 0.8, seed=1))
    assert set(np.unique(y)) == {0.0, np.float32(1.25)}
    assert abs((y > 0).mean() - 0.8) < 0.02
    z = _run(tf.nn.dropout(x, 0.5, noise_shape=[100, 1], seed=1))
    assert (z == z[:, :1]).all() and 0.3 < (z > 0).mean() < 0.7


def test_dropout_gradient_goes_where_values_went() -> None:
    x = tf.constant(np.arange(1.0, 51))
    y = tf.nn.dropout(x, 0.5, seed=1)
    value, grad = _run([y, tf.gradients(y, x)[0]])
    np.testing.assert_allclose(grad, value / np.arange(1.0, 51))


def test_dropout_probability_by_placeholder() -> None:
    p = tf.placeholder(tf.float32, [])
    y = tf.nn.dropout(tf.ones([1000]), p, seed=1)
    assert _run(y, {p: 1.0}).min() == 1.0
    assert 0.1 < (_run(y, {p: 0.25}) > 0).mean() < 0.4


def test_dropout_refuses() -> None:
    for keep in (0, -0.1, 1.5):
        with pytest.raises(ValueError, match="keep_prob"):
            tf.nn.dropout(tf.ones([3]), keep)
    with pytest.raises(ValueError, match="floating"):
        tf.nn.dropout(tf.constant([1, 2]), 0.5)
    with pytest.raises(ValueError, match="scalar"):
        tf.nn.dropout(tf.ones([3]), tf.constant([0.5, 0.5]))


# -- losses ----------------------------------------------------------------------------------------


def test_cross_entropies_of_extreme_logits() -> None:
    logits = tf.constant([[1000.0, -1000.0], [-1000.0, 1000.0]])
    labels = tf.constant([[1.0, 0.0], [1.0, 0.0]])
    y = tf.nn.softmax_cross_entropy_with_logits_v2(labels=labels, logits=logits)
    z = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 0], logits=logits)
    w = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
    assert _run(y).tolist() == [0.0, 2000.0]
    assert _run(z).tolist() == [0.0, 2000.0]
    assert _run(w).tolist() == [[0.0, 0.0], [1000.0, 1000.0]]


def test_an_impossible_class_without_a_label_costs_nothing() -> None:
    y = tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=[[1.0, 0.0]], logits=tf.constant([[0.0, -np.inf]])
    )
    assert _run(y).tolist() == [0.0]


def test_half_precision_cross_entropy() -> None:
    x = np.linspace(-5, 5, 12).astype("f2").reshape(3, 4)
    y = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 1, 2], logits=x)
    z = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0, 1, 2], logits=x.astype("f8"))
    assert y.dtype == tf.float16
    np.testing.assert_allclose(*_run([y, z]), rtol=1e-3)


def test_labels_out_of_range() -> None:
    for label in (-1, 3):
        y = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[label], logits=tf.zeros([1, 3]))
        with pytest.raises(tf.errors.InvalidArgumentError, match="classes"):
            _run(y)


def test_losses_refuse() -> None:
    x = tf.zeros([2, 3])
    for function in (
        tf.nn.softmax_cross_entropy_with_logits,
        tf.nn.softmax_cross_entropy_with_logits_v2,
        tf.nn.sparse_softmax_cross_entropy_with_logits,
        tf.nn.sigmoid_cross_entropy_with_logits,
    ):
        with pytest.raises(ValueError, match="name"):
            function(x, x)
        with pytest.raises(ValueError, match="must be given"):
            function(labels=x)
    with pytest.raises(ValueError):
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=x, logits=tf.zeros([2, 4]))
    with pytest.raises(ValueError, match="rank"):
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.zeros([2, 3], tf.int32), logits=x)
    with pytest.raises(ValueError, match="Shape"):
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.zeros([3], tf.int32), logits=x)
    with pytest.raises(ValueError, match="same shape"):
        tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=tf.zeros([3, 2]))


def test_unknown_shapes_come_back() -> None:
    p = tf.placeholder(tf.float32, [None, None, 4])
    y = tf.nn.softmax_cross_entropy_with_logits_v2(labels=p, logits=p)
    assert y.shape.as_list() == [None, None]
    labels = tf.placeholder(tf.int32, [None, None])
    z = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=p)
    assert z.shape.as_list() == [None, None]
    value = _run(z, {p: np.zeros((2, 3, 4), "f"), labels: np.zeros((2, 3), "i4")})
    np.testing.assert_allclose(value, np.full((2, 3), np.log(4)), rtol=1e-6)
    unknown = tf.placeholder(tf.float32)
    w = tf.nn.softmax_cross_entropy_with_logits_v2(labels=unknown, logits=unknown)
    np.testing.assert_allclose(_run(w, {unknown: np.full((5, 2), 0.5, "f")}), np.log(2), rtol=1e-6)


def test_in_eager_mode(eager) -> None:
    x = tf.constant(np.random.RandomState(0).standard_normal((2, 3, 4)).astype("f"))
    np.testing.assert_allclose(tf.nn.softmax(x, axis=1).numpy().sum(1), np.ones((2, 4)), rtol=1e-6)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[[0, 1, 2], [3, 0, 1]], logits=x)
    assert y.shape.as_list() == [2, 3]
    np.testing.assert_allclose(tape.gradient(y, x).numpy().sum(-1), np.zeros((2, 3)), atol=1e-6)
    assert tf.nn.leaky_relu(tf.constant([-1.0])).numpy() == np.float32(-0.2)
    assert tf.nn.dropout(x, 1.0) is x
    _, variance = tf.nn.moments(x, [0, 1])
    np.testing.assert_allclose(variance.numpy(), x.numpy().var((0, 1)), rtol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.nn.softmax(x, axis=7)


def test_functions_that_are_missing_say_so() -> None:
    with pytest.raises(AttributeError, match="forward with groups"):
        tf.nn.depthwise_conv2d  # noqa: B018
    with pytest.raises(AttributeError, match="dir"):
        tf.nn.no_such_function  # noqa: B018
    assert not hasattr(tf.nn, "ctc_loss")


def test_public_names_are_there() -> None:
    for module in (tf.nn, activation_ops, loss_ops, nn_ops):
        for name in module.__all__:
            assert callable(getattr(module, name)), name
