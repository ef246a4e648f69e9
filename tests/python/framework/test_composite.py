"""One op in the place of those that spell it out, where nobody looks inside."""

from __future__ import annotations

import numpy as np
import pytest

import conv3d as tf
from conv3d.framework import session as session_module

X = np.random.default_rng(0).normal(2, 3, (2, 3, 4, 5, 6)).astype(np.float64)


@pytest.fixture
def steps(monkeypatch):
    """Op types of all steps that sessions run."""
    seen: list[str] = []

    class Watched(session_module.Plan):
        def run(self, values):
            seen.extend(step[-1].type for step in self._steps)
            return super().run(values)

    monkeypatch.setattr(session_module, "Plan", Watched)
    return seen


def _normalized(x, axis=-1, training=True):
    return tf.layers.batch_normalization(x, axis=axis, training=training, momentum=0.9)


@pytest.mark.parametrize("axis", [-1, 1])
def test_batch_normalization_is_two_steps(steps, axis):
    x = tf.placeholder(tf.float64, X.shape)
    y = _normalized(x, axis)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        steps.clear()
        got = session.run(y, {x: X})
    others = tuple(i for i in range(5) if i != axis % 5)
    mean, variance = X.mean(others, keepdims=True), X.var(others, keepdims=True)
    np.testing.assert_allclose(got, (X - mean) / np.sqrt(variance + 1e-3), atol=1e-12)
    assert "Moments" in steps and "BatchNormalize" in steps
    assert not {"SquaredDifference", "Mean", "Rsqrt"} & set(steps)


def test_names_within_can_be_fetched_and_fed(steps):
    x = tf.placeholder(tf.float64, X.shape)
    mean, variance = tf.nn.moments(x, [0, 1, 2, 3])
    inside = tf.get_default_graph().get_tensor_by_name("moments/mean:0")
    with tf.Session() as session:
        np.testing.assert_allclose(session.run(mean, {x: X}), X.mean((0, 1, 2, 3)), rtol=1e-13)
        assert "Moments" in steps
        steps.clear()
        got, whole = session.run([mean, inside], {x: X})
        assert "Moments" not in steps
        np.testing.assert_allclose(whole.reshape(-1), got)
        # The variance about a mean that is fed.
        zero = np.zeros((1, 1, 1, 1, 6))
        got = session.run(variance, {x: X, inside: zero})
        np.testing.assert_allclose(got, (X**2).mean((0, 1, 2, 3)), rtol=1e-13)


def test_an_output_that_is_fed_is_taken(steps):
    x = tf.placeholder(tf.float64, X.shape)
    mean, variance = tf.nn.moments(x, [0, 1, 2, 3])
    both = mean + variance
    with tf.Session() as session:
        got = session.run(both, {x: X, mean: np.zeros(6)})
    np.testing.assert_allclose(got, X.var((0, 1, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("axis", [-1, 1])
def test_gradients_are_those_of_the_small_ops(axis, training, monkeypatch):
    found = []
    for whole in (True, False):
        with tf.Graph().as_default() as graph:
            x = tf.placeholder(tf.float64, X.shape)
            y = tf.nn.relu(_normalized(x, axis, training))
            weights = tf.constant(np.random.default_rng(1).normal(size=X.shape))
            if not whole:
                graph._composites.clear()
            wanted = [x, *tf.trainable_variables()]
            gradients = tf.gradients(tf.reduce_sum(y * weights), wanted)
            second = tf.gradients(tf.reduce_sum(gradients[0] ** 2), [x])
            with tf.Session() as session:
                session.run(tf.global_variables_initializer())
                found.append(
                    session.run([g for g in (*gradients, *second) if g is not None], {x: X})
                )
    assert len(found[0]) == (4 if training else 3)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def test_the_two_terms_for_the_input_are_one_step(steps):
    x = tf.placeholder(tf.float64, X.shape)
    (g,) = tf.gradients(tf.reduce_sum(_normalized(x) ** 3), [x])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        steps.clear()
        session.run(g, {x: X})
    assert not {"MomentsGrad", "ScaleChannels"} & set(steps)


def test_training_as_a_tensor(steps):
    x = tf.placeholder(tf.float64, X.shape)
    training = tf.placeholder_with_default(False, [])
    y = _normalized(x, training=training)
    loss = tf.reduce_sum(y**2)
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    average = tf.global_variables("batch_normalization/moving_mean")[0]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_allclose(session.run(y, {x: X}), X / np.sqrt(1.001), rtol=1e-12)
        np.testing.assert_array_equal(session.run(average), np.zeros(6))
        session.run(train, {x: X, training: True})
        np.testing.assert_allclose(session.run(average), 0.1 * X.mean((0, 1, 2, 3)), rtol=1e-6)


def test_control_dependencies_of_members_hold():
    counter = tf.Variable(0, dtype=tf.int32)
    x = tf.placeholder(tf.float64, X.shape)
    with tf.control_dependencies([counter.assign_add(1)]):
        mean, _ = tf.nn.moments(x, [0, 1, 2, 3])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(mean, {x: X})
        assert session.run(counter) == 1
