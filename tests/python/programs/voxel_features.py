"""Voxel features for detection: a VariableScope as a layer's name, gathers and masks, two heads."""

import numpy as np


def _encode(tf, points, units, training, name):
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE) as scope:
        dense = tf.layers.Dense(units, tf.nn.relu, name="dense", _reuse=tf.AUTO_REUSE, _scope=scope)
        normal = tf.layers.BatchNormalization(
            name="normal", fused=True, _reuse=tf.AUTO_REUSE, _scope=scope
        )
        mask = tf.not_equal(tf.reduce_max(points, axis=2, keep_dims=True), 0)
        each = normal.apply(dense.apply(points), training)
        most = tf.reduce_max(each, axis=1, keep_dims=True)
        joined = tf.concat([each, tf.tile(most, [1, points.shape[1], 1])], axis=2)
        return tf.multiply(joined, tf.cast(tf.tile(mask, [1, 1, 2 * units]), tf.float32))


def _conv(tf, x, filters, size, strides, padding, training, name):
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE) as scope:
        pad = [[0, 0]] + [[p, p] for p in padding] + [[0, 0]]
        x = tf.pad(x, np.array(pad), "CONSTANT")
        layer = tf.layers.conv3d if len(padding) == 3 else tf.layers.conv2d
        x = layer(
            x, filters, size, strides=strides, padding="valid", reuse=tf.AUTO_REUSE, name=scope
        )
        x = tf.layers.batch_normalization(
            x, axis=-1, fused=True, training=training, reuse=tf.AUTO_REUSE, name=scope
        )
        return tf.nn.relu(x)


def build(tf):
    points = tf.placeholder(tf.float32, [None, 4, 7], name="points")
    places = tf.placeholder(tf.int64, [None, 4], name="places")
    training = tf.placeholder(tf.bool, name="phase")
    truth = tf.placeholder(tf.float32, [None, 4, 4, 1], name="truth")
    features = _encode(tf, points, 4, training, "vfe")
    voxels = tf.reduce_max(features, axis=1)
    grid = tf.scatter_nd(places, voxels, [1, 6, 8, 8, 8])
    x = _conv(tf, grid, 6, 3, (2, 1, 1), (1, 1, 1), training, "middle1")
    x = _conv(tf, x, 6, 3, (1, 1, 1), (0, 1, 1), training, "middle2")
    x = tf.transpose(x, perm=[0, 2, 3, 4, 1])
    x = tf.reshape(x, [-1, 8, 8, 6])
    x = _conv(tf, x, 5, 3, (2, 2), (1, 1), training, "rpn1")
    up = tf.layers.conv2d_transpose(
        x, 4, 3, strides=(1, 1), padding="SAME", reuse=tf.AUTO_REUSE, name="up"
    )
    score = tf.layers.conv2d(up, 1, 1, name="score")
    probability = tf.sigmoid(score, name="probability")
    small = 1e-6
    positive = -tf.log(probability + small) * truth
    negative = -tf.log(1 - probability + small) * (1 - truth)
    loss = tf.reduce_sum(positive) / (tf.reduce_sum(truth) + small) + tf.reduce_mean(negative)
    optimizer = tf.train.MomentumOptimizer(0.01, 0.9)
    gradients, variables = zip(*optimizer.compute_gradients(loss))
    clipped, norm = tf.clip_by_global_norm(gradients, 5.0)
    train = optimizer.apply_gradients(zip(clipped, variables))
    rng = np.random.RandomState(7)
    data = rng.normal(size=(5, 4, 7))
    data[1, 2:] = 0
    where = np.array([[0, 0, 1, 2], [0, 3, 4, 4], [0, 5, 7, 7], [0, 2, 2, 2], [0, 1, 0, 6]])
    feed = {points: data, places: where, training: True, truth: rng.randint(0, 2, (1, 4, 4, 1))}
    test = dict(feed)
    test[training] = False
    return {
        "feed": feed,
        "test_feed": test,
        "train": [train],
        "loss": loss,
        "outputs": [voxels, probability, norm],
    }
