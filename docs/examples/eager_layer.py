"""A layer in eager mode: call it on arrays, take gradients with a tape."""

import numpy as np

import conv3d as tf

tf.enable_eager_execution()

layer = tf.layers.Conv3D(4, kernel_size=3, strides=2, padding="same")
volume = tf.constant(np.ones([1, 8, 8, 8, 2], np.float32))

with tf.GradientTape() as tape:
    loss = tf.reduce_sum(layer(volume))
kernel_gradient, bias_gradient = tape.gradient(loss, layer.trainable_variables)

print(layer(volume).shape)
# -> (1, 4, 4, 4, 4)
print(kernel_gradient.shape, bias_gradient.numpy())
# -> (3, 3, 3, 2, 4) [64. 64. 64. 64.]

optimizer = tf.train.GradientDescentOptimizer(0.01)
optimizer.apply_gradients([(kernel_gradient, layer.kernel), (bias_gradient, layer.bias)])
print(layer.bias.numpy())
# -> [-0.64 -0.64 -0.64 -0.64]
