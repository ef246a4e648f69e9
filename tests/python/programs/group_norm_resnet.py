"""A residual network with group normalisation by moments, strides and projections."""

import numpy as np


def _group_norm(tf, x, groups=2, name="gn"):
    with tf.variable_scope(name):
        x = tf.transpose(x, [0, 4, 1, 2, 3])
        _, c, d, h, w = x.get_shape().as_list()
        x = tf.reshape(x, [-1, groups, c // groups, d, h, w])
        mean, variance = tf.nn.moments(x, [2, 3, 4, 5], keep_dims=True)
        x = (x - mean) / tf.sqrt(variance + 1e-5)
        gamma = tf.get_variable("gamma", [c], initializer=tf.constant_initializer(1.0))
        beta = tf.get_variable(
            "beta", [c], initializer=tf.constant_initializer(0.0), trainable=True
        )
        x = tf.reshape(x, [-1, c, d, h, w])
        x = x * tf.reshape(gamma, [1, c, 1, 1, 1]) + tf.reshape(beta, [1, c, 1, 1, 1])
        return tf.transpose(x, [0, 2, 3, 4, 1])


def _unit(tf, x, filters, strides, name):
    with tf.variable_scope(name):
        short = x
        if strides != 1 or x.shape[-1].value != filters:
            short = tf.layers.conv3d(x, filters, 1, strides, name="project")
        y = tf.layers.conv3d(
            x,
            filters,
            3,
            strides,
            padding="same",
            name="conv_a",
            kernel_initializer=tf.variance_scaling_initializer(scale=2.0),
        )
        y = tf.nn.relu6(_group_norm(tf, y, name="gn_a"))
        y = tf.layers.conv3d(
            y, filters, (3, 1, 3), padding="same", name="conv_b", bias_regularizer=tf.nn.l2_loss
        )
        y = _group_norm(tf, y, name="gn_b")
        return tf.nn.relu(y + short, name="out")


def build(tf):
    x = tf.placeholder(tf.float32, shape=(None, 9, 10, 8, 1))
    y = tf.placeholder(tf.float32, shape=(None, 3))
    net = tf.pad(x, [[0, 0], [1, 1], [0, 0], [1, 1], [0, 0]], "SYMMETRIC")
    net = tf.layers.conv3d(net, 4, 3, strides=(2, 1, 2), padding="valid")
    net = tf.layers.average_pooling3d(net, 2, 2, padding="same")
    for i, (filters, strides) in enumerate([(4, 1), (8, 2)]):
        net = _unit(tf, net, filters, strides, "unit_%d" % i)
    net = tf.reduce_mean(net, axis=(1, 2, 3), keep_dims=True)
    net = tf.squeeze(net, [1, 2, 3])
    logits = tf.layers.dense(net, 3, kernel_regularizer=lambda w: 0.1 * tf.reduce_sum(tf.abs(w)))
    data = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(labels=y, logits=logits))
    loss = data + tf.losses.get_regularization_loss()
    train = tf.train.AdagradOptimizer(0.05).minimize(loss)
    rng = np.random.RandomState(4)
    feed = {x: rng.normal(size=(2, 9, 10, 8, 1)), y: np.eye(3)[[0, 2]]}
    return {"feed": feed, "train": [train], "loss": loss, "outputs": [net, logits, data]}
