"""TensorFlow 1.x (graph and session) or 2.x (tf.function), channels last. Configuration:
``channels_last``.
"""

import os
import sys

import common

ANSWERS = common.start(int(sys.argv[1]))
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf

THREADS = int(sys.argv[1])
V1 = tf.__version__.startswith("1.")
if not V1:
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def load(w, op, config):
    """See ``common.serve``."""
    x, k, b, g = common.data(w, op)
    padding = common.same_or_valid(w)
    padded = padding is None
    if padded:
        x, padding = common.pad_input(x, w), "VALID"
    strides = [1] + list(w["strides"]) + [1]
    dilations = [1] + list(w["dilations"]) + [1]

    def compute(x, k, b, g):
        if op == "forward":
            extra = {} if max(dilations) == 1 else {"dilations": dilations}
            return tf.nn.bias_add(tf.nn.conv3d(x, k, strides, padding, **extra), b)
        kw = {"strides": strides, "padding": padding, "dilations": dilations}
        if op == "backward_input":
            return tf.raw_ops.Conv3DBackpropInputV2(
                input_sizes=list(x.shape), filter=k, out_backprop=g, **kw
            )
        return tf.raw_ops.Conv3DBackpropFilterV2(
            input=x, filter_sizes=list(k.shape), out_backprop=g, **kw
        )

    def unpad(y):
        if padded and op == "backward_input":
            y = y[
                (slice(None),)
                + tuple(slice(p[0], p[0] + n) for p, n in zip(w["padding"], w["input"]))
            ]
        return y

    arrays = (x, k, b, g if g is not None else b)
    if V1:
        graph = tf.Graph()
        with graph.as_default():
            feeds = [tf.compat.v1.placeholder(tf.float32, a.shape) for a in arrays]
            variables = [tf.Variable(tf.zeros(a.shape), trainable=False) for a in arrays]
            assigns = [tf.compat.v1.assign(v, f) for v, f in zip(variables, feeds)]
            y = compute(*variables)
            config_proto = tf.compat.v1.ConfigProto(
                intra_op_parallelism_threads=THREADS, inter_op_parallelism_threads=1
            )
            session = tf.compat.v1.Session(config=config_proto)
            session.run(tf.compat.v1.global_variables_initializer())
            for assign, feed, a in zip(assigns, feeds, arrays):
                session.run(assign.op, {feed: a})
            run = session.make_callable(y.op)
        return run, lambda: unpad(session.run(y))
    constants = [tf.constant(a) for a in arrays]
    function = tf.function(compute).get_concrete_function(*constants)
    state = {}

    def run():
        state["y"] = function(*constants)

    return run, lambda: unpad(state["y"].numpy())


common.serve(ANSWERS, load)
