"""A layer in graph mode: build the graph once, run it in a session, train it a little."""

import numpy as np

import conv3d as tf

volume = tf.placeholder(tf.float32, [None, 16, 16, 16, 1], name="volume")
layer = tf.layers.Conv3D(8, kernel_size=3, padding="same", activation=tf.nn.relu, name="first")
features = layer(volume)

print(features.name, features.shape)
# -> first/Relu:0 (?, 16, 16, 16, 8)
print(layer.kernel.name, layer.kernel.shape, layer.count_params())
# -> first/kernel:0 (3, 3, 3, 1, 8) 224

target = tf.placeholder(tf.float32, [None, 16, 16, 16, 8])
loss = tf.reduce_mean(tf.square(features - target))
train = tf.train.AdamOptimizer(0.05).minimize(loss)

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    rng = np.random.RandomState(0)
    feed = {volume: rng.rand(2, 16, 16, 16, 1), target: np.full((2, 16, 16, 16, 8), 0.5)}
    before = session.run(loss, feed)
    for _ in range(30):
        session.run(train, feed)
    after = session.run(loss, feed)
    print(after < before / 2)
    # -> True
    print(session.run(features, feed).dtype)
    # -> float32
