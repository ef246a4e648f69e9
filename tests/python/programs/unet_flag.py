"""A 3-D U-Net: normalisation by a placeholder, transposed layers, soft Dice, cross entropy."""

import numpy as np


def _block(tf, x, filters, training, name):
    with tf.variable_scope(name):
        for i in range(2):
            x = tf.layers.conv3d(
                x,
                filters,
                3,
                padding="SAME",
                use_bias=False,
                kernel_initializer=tf.glorot_normal_initializer(),
                kernel_regularizer=tf.contrib.layers.l2_regularizer(0.001),
                name="conv%d" % i,
            )
            x = tf.layers.batch_normalization(x, training=training, momentum=0.9, fused=True)
            x = tf.nn.relu(x, name="act")
    return x


def build(tf):
    x = tf.placeholder(tf.float32, [None, 8, 8, 8, 1], name="volume")
    y = tf.placeholder(tf.int32, [None, 8, 8, 8], name="labels")
    training = tf.placeholder(tf.bool, name="is_training")
    down, skips = x, []
    for level in range(2):
        down = _block(tf, down, 4 * 2**level, training, "down%d" % level)
        skips.append(down)
        down = tf.layers.max_pooling3d(down, pool_size=[2, 2, 2], strides=2, padding="same")
    up = _block(tf, down, 16, training, "bottom")
    for level in reversed(range(2)):
        up = tf.layers.conv3d_transpose(
            up,
            filters=up.get_shape()[-1] // 2,
            kernel_size=2,
            strides=2,
            use_bias=False,
            kernel_regularizer=tf.contrib.layers.l2_regularizer(0.001),
        )
        up = tf.concat([skips[level], up], axis=-1)
        up = _block(tf, up, 4 * 2**level, training, "up%d" % level)
    logits = tf.layers.conv3d(
        up, 2, (1, 1, 1), bias_initializer=tf.constant_initializer([0.5, -0.5])
    )
    probabilities = tf.nn.softmax(logits, name="probabilities")
    hot = tf.one_hot(y, 2, dtype=tf.float32)
    entropy = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
    )
    overlap = 2.0 * tf.reduce_sum(probabilities * hot, axis=[1, 2, 3])
    total = tf.reduce_sum(probabilities + hot, axis=[1, 2, 3])
    dice = 1.0 - tf.reduce_mean((overlap + 1e-5) / (total + 1e-5))
    loss = entropy + dice + tf.add_n(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.AdamOptimizer(0.01, beta1=0.8).minimize(loss, global_step=step)
    rng = np.random.RandomState(0)
    feed = {
        x: rng.uniform(-1, 1, (2, 8, 8, 8, 1)),
        y: rng.randint(0, 2, (2, 8, 8, 8)),
        training: True,
    }
    test = dict(feed)
    test[training] = False
    return {
        "feed": feed,
        "test_feed": test,
        "train": [train],
        "loss": loss,
        "outputs": [probabilities, logits, dice],
    }
