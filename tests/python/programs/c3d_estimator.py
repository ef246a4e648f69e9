"""C3D by a model function in the manner of estimators: the specification is read as a container."""

import numpy as np


def _model(tf, features, labels, mode, params):
    training = mode == tf.estimator.ModeKeys.TRAIN
    net = features["clip"]
    for i, filters in enumerate(params["filters"]):
        net = tf.layers.conv3d(
            net,
            filters=filters,
            kernel_size=[3, 3, 3],
            padding="same",
            activation=tf.nn.relu,
            name="conv%d" % (i + 1),
        )
        net = tf.layers.max_pooling3d(
            net,
            pool_size=[1 if i == 0 else 2, 2, 2],
            strides=[1 if i == 0 else 2, 2, 2],
            padding="same",
            name="pool%d" % (i + 1),
        )
    net = tf.contrib.layers.layer_norm(net, activation_fn=tf.nn.relu)
    shape = net.get_shape().as_list()
    net = tf.reshape(net, [-1, int(np.prod(shape[1:]))])
    net = tf.layers.dense(net, 8, activation=tf.nn.relu, name="fc1")
    net = tf.layers.dropout(net, rate=0.0, training=training)
    logits = tf.layers.dense(net, 4, name="logits")
    predictions = {
        "class": tf.argmax(logits, axis=1, name="class"),
        "probability": tf.nn.softmax(logits, name="softmax_tensor"),
    }
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode=mode, predictions=predictions)
    onehot = tf.one_hot(indices=tf.cast(labels, tf.int32), depth=4)
    loss = tf.losses.softmax_cross_entropy(onehot_labels=onehot, logits=logits)
    metrics = {
        "accuracy": tf.metrics.accuracy(labels=labels, predictions=predictions["class"]),
        "mean_loss": tf.metrics.mean(loss),
    }
    tf.summary.scalar("loss", loss)
    rate = tf.train.exponential_decay(
        0.05, tf.train.get_or_create_global_step(), 1, 0.5, staircase=True
    )
    tf.summary.scalar("rate", rate)
    train = tf.train.GradientDescentOptimizer(rate).minimize(
        loss, global_step=tf.train.get_global_step()
    )
    return tf.estimator.EstimatorSpec(
        mode=mode, predictions=predictions, loss=loss, train_op=train, eval_metric_ops=metrics
    )


def build(tf):
    clip = tf.placeholder(tf.float32, [None, 4, 8, 8, 3], name="clip")
    label = tf.placeholder(tf.int64, [None], name="label")
    spec = _model(tf, {"clip": clip}, label, tf.estimator.ModeKeys.TRAIN, {"filters": [4, 6]})
    rng = np.random.RandomState(3)
    feed = {clip: rng.uniform(-1, 1, (3, 4, 8, 8, 3)), label: [0, 3, 1]}
    update = [op for _, op in (spec.eval_metric_ops[k] for k in sorted(spec.eval_metric_ops))]
    values = [value for value, _ in (spec.eval_metric_ops[k] for k in sorted(spec.eval_metric_ops))]
    return {
        "feed": feed,
        "train": [[spec.train_op, update]],
        "loss": spec.loss,
        "outputs": [spec.predictions["class"], spec.predictions["probability"]] + values,
    }
