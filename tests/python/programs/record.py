"""What a program of this folder does: names, shapes, collections, losses of three steps.

With TensorFlow 1.15 installed, `python record.py` writes tests/data/programs/*.json, which
test_programs.py compares with conv3d.
"""

import importlib
import json
import os
import sys

import numpy as np

PROGRAMS = (
    "attention_video", "c3d_estimator", "conv_gru", "flagged_3d_2d", "group_norm_resnet",
    "highres_dilated", "stereo_volume", "unet_flag", "vae_gan", "voxel_features",
)  # fmt: skip
COLLECTIONS = (
    "variables", "trainable_variables", "local_variables", "update_ops", "regularization_losses",
    "losses", "train_op", "summaries", "model_variables", "moving_average_variables",
)  # fmt: skip


def _start(name, shape, dtype):
    """Equal initial values in both libraries: small numbers that depend on the name."""
    seed = sum((i + 1) * ord(c) for i, c in enumerate(name)) % 2**31
    values = np.random.RandomState(seed).uniform(-0.3, 0.3, shape)
    return values.astype(dtype)


def _brief(value):
    if isinstance(value, bytes):
        return "bytes" if value else ""
    value = np.asarray(value, np.float64)
    weights = (np.arange(value.size) % 7 + 1.0).reshape(value.shape)
    return [list(value.shape), float(value.sum()), float((value * weights).sum())]


def _shape(tensor):
    shape = tensor.get_shape()
    return None if shape.ndims is None else shape.as_list()


def observe(tf, program):
    """Builds and trains a program, and tells what a caller can see of it."""
    with tf.Graph().as_default() as graph:
        parts = importlib.import_module(program).build(tf)
        seen = {}
        seen["variables"] = [
            [v.name, v.get_shape().as_list(), v.dtype.base_dtype.name]
            for v in tf.global_variables()
        ]
        seen["collections"] = {
            # TensorFlow 1.15 keeps the operation of an update, 1.8 its tensor.
            key: sorted(getattr(item, "op", item).name for item in graph.get_collection(key))
            for key in COLLECTIONS
        }
        seen["outputs"] = [[t.name, _shape(t), t.dtype.name] for t in parts["outputs"]]
        seen["loss"] = parts["loss"].name
        with tf.Session(config=tf.ConfigProto(allow_soft_placement=True)) as session:
            session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            # An average starts at what its variable was initialised with, which is random.
            averages = [v for v in tf.global_variables() if v.op.name.endswith("MovingAverage")]
            for v in tf.trainable_variables() + averages:
                v.load(
                    _start(v.op.name, v.get_shape().as_list(), v.dtype.base_dtype.as_numpy_dtype),
                    session,
                )
            feed = parts["feed"]
            seen["losses"] = []
            for _ in range(3):
                seen["losses"].append(float(session.run(parts["loss"], feed)))
                # Apart, because nothing orders the updates of one run.
                for step in parts["train"]:
                    session.run(step, feed)
            seen["values"] = [
                _brief(v) for v in session.run(parts["outputs"], parts.get("test_feed", feed))
            ]
            variables = tf.global_variables()
            seen["trained"] = [_brief(v) for v in session.run(variables)]
            if "after" in parts:
                seen["after"] = parts["after"](session)
    return seen


def main():
    import tensorflow as tf

    here = os.path.dirname(os.path.abspath(__file__))
    target = os.path.join(here, "..", "..", "data", "programs")
    for program in sys.argv[1:] or PROGRAMS:
        with open(os.path.join(target, program + ".json"), "w") as f:
            seen = observe(tf, program)
            lines = ['"%s": %s' % (k, json.dumps(seen[k], sort_keys=True)) for k in sorted(seen)]
            f.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
