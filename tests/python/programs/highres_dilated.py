"""A network of dilated residual blocks at full resolution, with summaries named after tensors."""

import numpy as np


def _block(tf, x, filters, rate, training):
    with tf.variable_scope(None, default_name="dilated", values=[x]) as scope:
        shape = x.get_shape().as_list()
        y = tf.layers.batch_normalization(x, training=training, fused=True)
        y = tf.layers.conv3d(
            tf.nn.relu(y), filters, 3, padding="same", dilation_rate=rate, use_bias=False
        )
        y = tf.layers.batch_normalization(y, training=training)
        y = tf.layers.conv3d(
            tf.nn.relu(y), filters, [3, 3, 3], padding="same", dilation_rate=(rate, rate, 1)
        )
        if shape[-1] != filters:
            x = tf.pad(x, [[0, 0]] * 4 + [[0, filters - shape[-1]]])
        y = tf.add(y, x, name="sum")
        tf.summary.histogram(y.op.name + "/activation", y)
        assert scope.name.startswith("net/")
        return y


def build(tf):
    x = tf.placeholder_with_default(
        np.zeros((1, 7, 6, 7, 2), "float32"), [None, 7, 6, 7, 2], name="image"
    )
    training = tf.placeholder_with_default(False, [], name="training")
    with tf.variable_scope(
        "net",
        initializer=tf.uniform_unit_scaling_initializer(seed=3),
        regularizer=tf.contrib.layers.l1_regularizer(1e-3),
    ):
        y = tf.layers.conv3d(x, 3, 3, padding="same", bias_initializer=None)
        for filters, rate in ((3, 1), (4, 2), (4, 3)):
            y = _block(tf, y, filters, rate, training)
        logits = tf.layers.conv3d(y, 2, 1, activation=None, name="logits")
    labels = tf.to_float(x[..., :1] > 0)
    target = tf.concat([labels, 1 - labels], -1)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=target, logits=logits))
    loss += tf.losses.get_regularization_loss()
    merged = tf.summary.merge_all()
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        train = tf.train.AdadeltaOptimizer(1.0).minimize(loss)
    rng = np.random.RandomState(6)
    image = rng.normal(size=(2, 7, 6, 7, 2))
    return {
        "feed": {x: image, training: True},
        "test_feed": {x: image},
        "train": [[train, merged]],
        "loss": loss,
        "outputs": [logits, y],
    }
