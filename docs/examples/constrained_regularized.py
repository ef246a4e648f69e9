"""A layer with a constraint on its kernel and regularizers on its weights and its output."""

import numpy as np

import conv3d as tf


def unit_norm(kernel):
    """Scales the filters so that each has length one."""
    return kernel / tf.sqrt(tf.reduce_sum(tf.square(kernel), axis=[0, 1, 2, 3], keepdims=True))


volume = tf.placeholder(tf.float32, [None, 6, 6, 6, 2])
layer = tf.layers.Conv3D(
    3,
    kernel_size=3,
    kernel_constraint=unit_norm,
    kernel_regularizer=tf.contrib.layers.l2_regularizer(0.01),
    activity_regularizer=lambda output: 1e-3 * tf.reduce_mean(tf.abs(output)),
    name="conv",
)
output = layer(volume)

print([loss.shape.as_list() for loss in layer.losses])
# -> [[], []]
print(len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)))
# -> 2
print(len(layer.get_losses_for(None)), len(layer.get_losses_for(volume)))
# -> 1 1

loss = tf.reduce_mean(tf.square(output - 1.0)) + tf.losses.get_regularization_loss()
train = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    feed = {volume: np.random.RandomState(0).rand(2, 6, 6, 6, 2)}
    for _ in range(5):
        session.run(train, feed)  # the constraint is applied after each update
    kernel = session.run(layer.kernel)
    print(np.allclose(np.sqrt((kernel**2).sum(axis=(0, 1, 2, 3))), 1, atol=1e-5))
    # -> True
