"""Attention over voxels with dynamic shapes: products of reshaped tensors, dropout, rates."""

import numpy as np


def _attention(tf, x, units, training, name=None):
    with tf.variable_scope(name, default_name="attention", values=[x]):
        sizes = tf.unstack(tf.shape(x))
        depth = x.shape[-1].value
        q, k, v = [tf.layers.conv3d(x, units, 1, use_bias=False, name=n) for n in ("q", "k", "v")]
        flat = [tf.reshape(t, [sizes[0], -1, units]) for t in (q, k, v)]
        weights = tf.nn.softmax(tf.matmul(flat[0] * units**-0.5, flat[1], transpose_b=True))
        weights = tf.layers.dropout(weights, 0.0, training)
        mixed = tf.matmul(weights, flat[2])
        mixed = tf.reshape(mixed, tf.stack(sizes[:-1] + [units]))
        mixed.set_shape(x.get_shape().as_list()[:-1] + [units])
        return x + tf.layers.conv3d(mixed, depth, 1, name="out")


def build(tf):
    x = tf.placeholder(tf.float32, [None, None, 4, 4, 3], name="video")
    labels = tf.placeholder(tf.int32, [None])
    net = tf.layers.conv3d(x, filters=x.get_shape()[-1] * 2, kernel_size=3, padding="same")
    net = tf.layers.batch_normalization(
        net, axis=-1, momentum=0.9, training=True, renorm=False, scale=False
    )
    net = _attention(tf, net, 4, True)
    net = _attention(tf, net, 4, False)
    batch, frames = tf.shape(net)[0], tf.shape(net)[1]
    w, h, f = net.shape[2:]
    net = tf.reshape(net, [batch * frames, w * h * f])
    net = tf.layers.dense(net, 5, activation=tf.nn.relu)
    net = tf.reduce_mean(tf.reshape(net, [batch, frames, 5]), reduction_indices=[1])
    logits = tf.layers.dense(net, 2)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    step = tf.Variable(0, trainable=False, name="step")
    rate = tf.train.piecewise_constant(step, [1, 2], [0.1, 0.05, 0.01])
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.GradientDescentOptimizer(rate).minimize(loss, global_step=step)
    accuracy, update = tf.metrics.accuracy(labels, tf.argmax(logits, 1))
    top = tf.nn.in_top_k(logits, labels, 1)
    rng = np.random.RandomState(9)
    feed = {x: rng.normal(size=(2, 3, 4, 4, 3)), labels: [1, 0]}
    return {
        "feed": feed,
        "train": [[train, update]],
        "loss": loss,
        "outputs": [logits, top, accuracy, tf.identity(rate, name="rate")],
    }
