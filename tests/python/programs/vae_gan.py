"""A VAE-GAN of volumes: networks used again by AUTO_REUSE, an optimizer for each of three."""

import numpy as np


def _encode(tf, x, training):
    with tf.variable_scope("encoder", reuse=tf.AUTO_REUSE):
        for filters in (4, 8):
            x = tf.layers.conv3d(
                x,
                filters,
                [4, 4, 4],
                [2, 2, 2],
                "SAME",
                kernel_initializer=tf.truncated_normal_initializer(stddev=0.1),
            )
            x = tf.nn.elu(tf.layers.batch_normalization(x, training=training))
        flat = tf.contrib.layers.flatten(x)
        return tf.layers.dense(flat, 5, name="mean"), tf.layers.dense(flat, 5, name="log_sigma")


def _generate(tf, z, training):
    with tf.variable_scope("generator", reuse=tf.AUTO_REUSE):
        x = tf.reshape(tf.layers.dense(z, 2 * 2 * 2 * 8), (-1, 2, 2, 2, 8))
        x = tf.layers.conv3d_transpose(x, 4, [4, 4, 4], [2, 2, 2], "SAME")
        x = tf.nn.elu(tf.layers.batch_normalization(x, training=training))
        return tf.nn.sigmoid(tf.layers.conv3d_transpose(x, 1, 4, 2, "SAME"), name="volume")


def _judge(tf, x, keep):
    with tf.variable_scope("discriminator", reuse=tf.AUTO_REUSE):
        x = tf.nn.leaky_relu(tf.layers.conv3d(x, 4, 4, 2, "SAME"))
        x = tf.nn.dropout(x, keep)
        x = tf.nn.leaky_relu(tf.layers.conv3d(x, 8, 4, 2, "SAME"), alpha=0.1)
        features = tf.layers.flatten(x)
        return tf.layers.dense(features, 1), features


def build(tf):
    x = tf.placeholder(tf.float32, [None, 8, 8, 8, 1], "x")
    noise = tf.placeholder(tf.float32, [None, 5], "noise")
    training = tf.placeholder(tf.bool, [], "training")
    keep = tf.placeholder(tf.float32, [], "keep")
    mean, log_sigma = _encode(tf, x, training)
    z = mean + tf.exp(log_sigma) * noise
    back = _generate(tf, z, training)
    fresh = _generate(tf, noise, training)
    real, real_features = _judge(tf, x, keep)
    _, back_features = _judge(tf, back, keep)
    fake, _ = _judge(tf, fresh, keep)
    kl = -0.5 * tf.reduce_mean(1 + 2 * log_sigma - tf.square(mean) - tf.exp(2 * log_sigma))
    likeness = tf.reduce_mean(tf.squared_difference(real_features, back_features))
    critic = tf.reduce_mean(fake) - tf.reduce_mean(real)
    fool = -tf.reduce_mean(fake)
    variables = tf.trainable_variables()

    def mine(scope):
        return [v for v in variables if v.name.startswith(scope + "/")]

    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies(updates):
        ops = [
            tf.train.RMSPropOptimizer(1e-3).minimize(kl + likeness, var_list=mine("encoder")),
            tf.train.AdamOptimizer(1e-3, beta1=0.5).minimize(
                fool + likeness, var_list=mine("generator")
            ),
            tf.train.AdamOptimizer(1e-3, beta1=0.5).minimize(
                critic, var_list=mine("discriminator")
            ),
        ]
    clip = [v.assign(tf.clip_by_value(v, -0.5, 0.5)) for v in mine("discriminator")]
    rng = np.random.RandomState(1)
    feed = {
        x: rng.uniform(size=(3, 8, 8, 8, 1)),
        noise: rng.normal(size=(3, 5)),
        training: True,
        keep: 1.0,
    }
    # An inner tensor may be fed as well as a placeholder.
    return {
        "feed": feed,
        "test_feed": {z: rng.normal(size=(3, 5)), training: False, x: feed[x], keep: 1.0},
        "train": ops + [clip],
        "loss": kl + likeness + critic,
        "outputs": [back, likeness],
    }
