"""A layer whose kernel is stored in slices, as a partitioner of the scope asks."""

import numpy as np

import conv3d as tf

volume = tf.placeholder(tf.float32, [None, 6, 6, 6, 4])
with tf.variable_scope("split", partitioner=tf.fixed_size_partitioner(3, axis=4)):
    layer = tf.layers.Conv3D(8, 3, padding="same", use_bias=False, name="conv")
    features = layer(volume)

for variable in tf.global_variables():
    print(variable.name, variable.shape)
# -> split/conv/kernel/part_0:0 (3, 3, 3, 4, 3)
# -> split/conv/kernel/part_1:0 (3, 3, 3, 4, 3)
# -> split/conv/kernel/part_2:0 (3, 3, 3, 4, 2)
print(layer.kernel.name, layer.kernel.get_shape(), len(list(layer.kernel)))
# -> split/conv/kernel (3, 3, 3, 4, 8) 3

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    x = np.random.RandomState(0).rand(1, 6, 6, 6, 4)
    whole = tf.nn.conv3d(volume, layer.kernel.as_tensor(), [1] * 5, "SAME")
    one, other = session.run([features, whole], {volume: x})
    print(one.shape, np.allclose(one, other))
    # -> (1, 6, 6, 6, 8) True
