"""A recurrent cell of 3-D convolutions as a class: layers made once, called at every step."""

import numpy as np


class _Cell(object):
    def __init__(self, tf, filters, kernel):
        self.tf = tf

        def conv(n, **kw):
            return tf.layers.Conv3D(n, kernel, padding="same", **kw)

        self.filters = filters
        self.gate_x = conv(2 * filters, use_bias=True, bias_initializer=tf.ones_initializer())
        self.gate_h = conv(2 * filters, use_bias=False)
        self.new_x = conv(filters)
        self.new_h = conv(filters, use_bias=False, kernel_initializer=tf.orthogonal_initializer())

    def zero(self, x):
        tf = self.tf
        shape = tf.shape(x)
        state = tf.zeros(tf.concat([shape[:-1], [self.filters]], axis=0))
        state.set_shape(x.get_shape()[:-1].concatenate(self.filters))
        return state

    def __call__(self, x, h):
        tf = self.tf
        gates = tf.sigmoid(self.gate_x(x) + self.gate_h(h))
        reset, update = tf.split(gates, 2, axis=-1)
        new = tf.tanh(self.new_x(x) + self.new_h(reset * h))
        return update * h + (1.0 - update) * new


def build(tf):
    x = tf.placeholder(tf.float32, [None, 3, 4, 5, 4, 2])
    target = tf.placeholder(tf.float32, [None, 3])
    with tf.variable_scope("gru"):
        cell = _Cell(tf, 3, [3, 3, 3])
        steps = tf.unstack(x, axis=1)
        h = cell.zero(steps[0])
        for step in steps:
            h = cell(step, h)
    pooled = tf.reduce_mean(h, [1, 2, 3], name="pooled")
    out = tf.layers.Dense(3, use_bias=False)(pooled)
    loss = tf.losses.mean_squared_error(labels=target, predictions=out)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True)
    pairs = optimizer.compute_gradients(loss)
    gradients, variables = zip(*pairs)
    gradients, norm = tf.clip_by_global_norm(gradients, 0.5)
    train = optimizer.apply_gradients(zip(gradients, variables))
    rng = np.random.RandomState(2)
    feed = {x: rng.normal(size=(2, 3, 4, 5, 4, 2)), target: rng.normal(size=(2, 3))}
    return {"feed": feed, "train": [train], "loss": loss, "outputs": [h, pooled, out, norm]}
