"""Records the losses of TensorFlow 1.15.5 over the first steps of examples/train_tissue.py, for each optimizer.

Run with a Python that has TensorFlow 1.15.5; writes losses.json beside this file. The test replays the same steps. Volumes,
initial values and batches depend on fixed seeds alone, so both sides start from, and are shown, the same numbers.
"""

import importlib.util
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 50
OPTIMIZERS = {
    "gradient_descent": ("GradientDescentOptimizer", {"learning_rate": 0.02}),
    "momentum": ("MomentumOptimizer", {"learning_rate": 0.002, "momentum": 0.9}),
    "nesterov": (
        "MomentumOptimizer",
        {"learning_rate": 0.002, "momentum": 0.9, "use_nesterov": True},
    ),
    "adam": ("AdamOptimizer", {"learning_rate": 3e-4}),
    "rmsprop": ("RMSPropOptimizer", {"learning_rate": 3e-4, "momentum": 0.5}),
    "adagrad": ("AdagradOptimizer", {"learning_rate": 0.004}),
}


def load_example(tf):
    """The example as a module, with `tf` in the place of conv3d."""
    sys.modules["conv3d"] = tf
    path = os.path.join(HERE, "..", "..", "..", "examples", "train_tissue.py")
    spec = importlib.util.spec_from_file_location("train_tissue", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def phantom(extent=(40, 64, 40)):
    """A made-up head: nested ellipsoids with smooth borders. Returns (t1 float32, labels int32)."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in extent], indexing="ij")
    wave = 0.08 * np.sin(9 * axes[0]) * np.cos(7 * axes[1] + 1) * np.cos(8 * axes[2])
    radius = np.sqrt(sum(a**2 for a in axes)) + wave
    labels = np.zeros(extent, np.int32)
    labels[radius < 0.85] = 1
    labels[radius < 0.6] = 2
    noise = np.random.Generator(np.random.Philox(key=[7, 7])).normal(0, 0.1, extent)
    return (labels - 0.9 + noise).astype(np.float32), labels


def initial_value(name, shape):
    """The value a variable starts from; depends on its name alone."""
    kind = name.split("/")[-1].split(":")[0]
    if kind in ("gamma", "moving_variance"):
        return np.ones(shape, np.float32)
    if kind != "kernel":
        return np.zeros(shape, np.float32)
    rng = np.random.Generator(np.random.Philox(key=[11, sum(map(ord, name))]))
    fan_in = int(np.prod(shape[:-1]))
    return rng.normal(0.0, np.sqrt(2.0 / fan_in), shape).astype(np.float32)


def losses_of(tf, optimizer, steps=STEPS):
    """Loss at each step, before its update."""
    example = load_example(tf)
    t1, labels = phantom()
    name, arguments = OPTIMIZERS[optimizer]
    tf.reset_default_graph()
    model = example.Model(getattr(tf.train, name)(**arguments), filters=4)
    losses = []
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for variable in tf.trainable_variables():
            variable.load(initial_value(variable.name, variable.shape.as_list()), session)
        for step in range(steps):
            images, targets = example.batch_of(t1, labels, step, 3, 2, 16)
            feed = {model.images: images, model.targets: targets, model.training: True}
            losses.append(float(session.run([model.loss, model.train], feed)[0]))
    return losses


def main():
    import tensorflow as tf

    record = {"tensorflow": tf.__version__, "losses": {o: losses_of(tf, o) for o in OPTIMIZERS}}
    with open(os.path.join(HERE, "losses.json"), "w") as f:
        json.dump(record, f, indent=1)


if __name__ == "__main__":
    main()
