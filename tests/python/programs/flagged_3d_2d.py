"""Flags read at import, 3-D then 2-D layers, regularisers on biases, a saver and its state file."""

import os
import tempfile

import numpy as np


def build(tf):
    flags = tf.app.flags
    if "p_filters" not in flags.FLAGS:
        flags.DEFINE_integer("p_filters", 3, "filters of the first layer")
        flags.DEFINE_float("p_weight", 0.01, "weight of the penalty")
    given = flags.FLAGS
    if hasattr(given, "mark_as_parsed"):
        given.mark_as_parsed()
    tf.logging.set_verbosity(tf.logging.ERROR)
    x = tf.placeholder(tf.float32, [2, 6, 6, 6, 1])
    penalty = tf.contrib.layers.l2_regularizer(scale=given.p_weight)
    start = tf.contrib.layers.variance_scaling_initializer()
    net = tf.layers.conv3d(
        inputs=x,
        filters=given.p_filters,
        kernel_size=(3, 3, 3),
        strides=(1, 1, 1),
        padding="same",
        activation=tf.nn.elu,
        kernel_initializer=start,
        bias_initializer=tf.constant_initializer(0.1),
        kernel_regularizer=penalty,
        bias_regularizer=penalty,
        name="c1",
    )
    net = tf.layers.conv3d(
        net,
        4,
        (6, 1, 1),
        padding="valid",
        name="squeeze_depth",
        bias_regularizer=penalty,
        kernel_initializer=tf.contrib.layers.xavier_initializer(),
    )
    net = tf.squeeze(net, axis=1, name="flat")
    net = tf.layers.max_pooling2d(net, (2, 2), (2, 2), padding="same", name="p2")
    net = tf.layers.conv2d(net, 3, (3, 3), padding="same", kernel_regularizer=penalty, name="c2")
    hidden = tf.contrib.layers.flatten(net)
    out = tf.layers.dense(hidden, 2, activation=tf.nn.tanh, bias_regularizer=penalty)
    loss = tf.nn.l2_loss(out - tf.constant([[0.5, -0.5]] * 2)) + tf.add_n(
        tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES), name="penalty"
    )
    train = tf.train.FtrlOptimizer(0.1).minimize(loss)
    average = tf.train.ExponentialMovingAverage(0.9)
    with tf.control_dependencies([train]):
        averaged = average.apply(tf.trainable_variables())
    saver = tf.train.Saver(var_list=tf.trainable_variables(), max_to_keep=2)

    def after(session):
        folder = tempfile.mkdtemp()
        saver.save(session, os.path.join(folder, "model"), global_step=7)
        found = tf.train.get_checkpoint_state(folder).model_checkpoint_path
        before = session.run(hidden, feed)
        session.run(tf.variables_initializer(tf.trainable_variables()))
        saver.restore(session, found)
        return [os.path.basename(found), bool(np.all(before == session.run(hidden, feed)))]

    rng = np.random.RandomState(8)
    feed = {x: rng.normal(size=(2, 6, 6, 6, 1))}
    return {
        "feed": feed,
        "train": [averaged],
        "loss": loss,
        "outputs": [hidden, out],
        "after": after,
    }
