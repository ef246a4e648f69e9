"""Stereo matching: a cost volume from two images of unknown size, 3-D filters, soft arg-min."""

import numpy as np


def _features(tf, image, reuse):
    with tf.variable_scope("features", reuse=reuse):
        x = tf.layers.conv2d(image, 4, 5, 2, "same")
        for _ in range(2):
            y = tf.layers.batch_normalization(tf.layers.conv2d(x, 4, 3, padding="same"))
            x = x + tf.nn.leaky_relu(y)
        return tf.layers.conv2d(x, 4, 3, padding="same", name="last")


def _volume(tf, left, right, depth):
    costs = []
    width = tf.shape(left)[2]
    for d in range(depth):
        moved = tf.pad(right, [[0, 0], [0, 0], [d, 0], [0, 0]])[:, :, :width, :]
        costs.append(left - moved)
    return tf.stack(costs, axis=1)


def _soft_argmin(tf, cost):
    depth = cost.shape[1]
    weight = tf.nn.softmax(-cost, dim=1)
    index = tf.to_float(tf.range(depth))
    index = tf.reshape(index, [1, -1, 1, 1])
    return tf.reduce_sum(weight * index, axis=1), tf.clip_by_value(
        index, 0.0, tf.to_float(depth - 1)
    )


def build(tf):
    left = tf.placeholder(tf.float32, [None, None, None, 3], "left")
    right = tf.placeholder(tf.float32, [None, None, None, 3], "right")
    truth = tf.placeholder(tf.float32, [None, None, None], "truth")
    cost = _volume(tf, _features(tf, left, False), _features(tf, right, True), 4)
    for _ in range(2):
        cost = tf.layers.conv3d(cost, 6, 3, padding="same")
        cost = tf.nn.leaky_relu(tf.layers.batch_normalization(cost), name="leaky")
    cost = tf.squeeze(tf.layers.conv3d(cost, 1, 3, padding="same", name="cost"), axis=-1)
    disparity, grid = _soft_argmin(tf, cost)
    size = tf.shape(left)[1:3]
    big = tf.image.resize_images(tf.expand_dims(disparity, -1), size)
    big = tf.identity(big, name="big")
    rows = tf.tile(tf.expand_dims(tf.range(4), 0), [1, 2])
    picked = tf.gather(big[0], tf.to_int32(tf.floor([0.5, 3.9])), name="picked")
    error = tf.abs(tf.squeeze(big, -1) - truth)
    loss = tf.reduce_mean(tf.where(error < 1.0, 0.5 * error**2, error - 0.5))
    train = tf.train.AdamOptimizer(learning_rate=0.01).minimize(loss)
    rng = np.random.RandomState(5)
    feed = {
        left: rng.uniform(size=(1, 8, 12, 3)),
        right: rng.uniform(size=(1, 8, 12, 3)),
        truth: rng.uniform(0, 3, (1, 8, 12)),
    }
    return {
        "feed": feed,
        "train": [train],
        "loss": loss,
        "outputs": [disparity, big, grid, rows, picked],
    }
