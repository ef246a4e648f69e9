"""Layers that share their weights: by variable scope and reuse, and by calling one layer twice."""

import numpy as np

import conv3d as tf


def tower(volume):
    volume = tf.layers.conv3d(volume, 4, 3, padding="same", activation=tf.nn.relu)
    return tf.layers.conv3d(volume, 2, 1, name="out")


left = tf.placeholder(tf.float32, [None, 8, 8, 8, 1])
right = tf.placeholder(tf.float32, [None, 8, 8, 8, 1])

with tf.variable_scope("siamese"):
    a = tower(left)
with tf.variable_scope("siamese", reuse=True):
    b = tower(right)
with tf.variable_scope("other", reuse=tf.AUTO_REUSE):
    c = tower(left)

for variable in tf.global_variables():
    print(variable.name, variable.shape)
# -> siamese/conv3d/kernel:0 (3, 3, 3, 1, 4)
# -> siamese/conv3d/bias:0 (4,)
# -> siamese/out/kernel:0 (1, 1, 1, 4, 2)
# -> siamese/out/bias:0 (2,)
# -> other/conv3d/kernel:0 (3, 3, 3, 1, 4)
# -> other/conv3d/bias:0 (4,)
# -> other/out/kernel:0 (1, 1, 1, 4, 2)
# -> other/out/bias:0 (2,)
print(a.name, b.name)
# -> siamese/out/BiasAdd:0 siamese_1/out/BiasAdd:0

try:
    with tf.variable_scope("siamese"):
        tf.layers.conv3d(left, 2, 1, name="out")
except ValueError as error:
    print(type(error).__name__)
# -> ValueError

layer = tf.layers.Conv3D(3, 1, name="twice")
first, second = layer(left), layer(right)
print(first.name, second.name, len(layer.weights))
# -> twice/BiasAdd:0 twice/BiasAdd_1:0 2

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    x = np.ones([1, 8, 8, 8, 1])
    same, too = session.run([a, b], {left: x, right: x})
    print((same == too).all())
    # -> True
