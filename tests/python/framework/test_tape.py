"""Eager tapes in the process of the tests; test_gradients.py has them in one of their own."""

from __future__ import annotations

import conv3d as tf


def test_an_unwatched_source_has_no_gradient(eager):
    x, v = tf.constant(3.0), tf.constant(2.0)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(v)
        product = x * v
    assert tape.gradient(product, x) is None
    assert tape.gradient(product, v).numpy() == 3
    assert tape.gradient(product, [x, product])[0] is None
