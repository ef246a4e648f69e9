"""Writes the TensorFlow files of this folder with TensorFlow 1.15: `python make_fixtures.py`.

`expected_*.npz` hold what is in them (bfloat16 widened to float32, strings left to the tests).
"""

import os
import shutil

import numpy as np
import tensorflow as tf

HERE = os.path.dirname(os.path.abspath(__file__))
tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)


def variables():
    rng = np.random.RandomState(0)
    with tf.variable_scope("net", partitioner=None):
        tf.get_variable("step", initializer=np.int64(-7), trainable=False)
        tf.get_variable("scale", initializer=rng.randn(5).astype(np.float16))
        tf.get_variable("wide", initializer=rng.randn(2, 3))
        tf.get_variable("flag", initializer=np.array([True, False, True]))
        tf.get_variable("bytes", initializer=np.arange(4, dtype=np.uint8))
        tf.get_variable("empty", initializer=np.zeros((0, 3), np.float32))
        tf.get_variable("phase", initializer=np.array([1 + 2j, -3j], np.complex64))
        tf.Variable(tf.constant(rng.randn(6), tf.bfloat16), name="brain")
        tf.Variable(tf.constant([b"one", b"", b"three\x00"]), name="words")
    x = tf.placeholder(tf.float32, [1, 4, 4, 4, 2])
    with tf.variable_scope("parts", partitioner=tf.fixed_size_partitioner(3, axis=4)):
        y = tf.layers.conv3d(x, 7, 2, use_bias=False)
    with tf.variable_scope("single", partitioner=tf.fixed_size_partitioner(1)):
        y = tf.layers.conv3d(y, 3, 2, name="conv")
    return tf.identity(y, name="output")


def values(sess):
    out = {}
    for variable in tf.global_variables():
        if variable.dtype.base_dtype == tf.string:
            continue
        name = variable.op.name
        value = sess.run(tf.cast(variable, tf.float32) if "brain" in name else variable)
        info = variable._get_save_slice_info()
        if info is None:
            out[name] = value
        else:
            whole = out.setdefault(info.full_name, np.zeros(info.full_shape, value.dtype))
            where = tuple(slice(o, o + s) for o, s in zip(info.var_offset, info.var_shape))
            whole[where] = value
    return out


def main():
    for name in ("v2", "v1", "saved_model"):
        shutil.rmtree(os.path.join(HERE, name), ignore_errors=True)
        if name != "saved_model":
            os.mkdir(os.path.join(HERE, name))
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(1)
        output = variables()
        sess.run(tf.global_variables_initializer())
        saver = tf.train.Saver(save_relative_paths=True)
        saver.save(
            sess, os.path.join(HERE, "v2", "model.ckpt"), global_step=7, write_meta_graph=False
        )
        np.savez(os.path.join(HERE, "expected_v2.npz"), **values(sess))
        # Format V1 knows neither bfloat16 nor strings nor an empty tensor.
        keep = [
            v
            for v in tf.global_variables()
            if not any(word in v.name for word in ("brain", "words", "empty"))
        ]
        old = tf.train.Saver(keep, write_version=tf.train.SaverDef.V1, save_relative_paths=True)
        old.save(sess, os.path.join(HERE, "v1", "model.ckpt"), write_meta_graph=False)
        sharded = tf.train.Saver(keep, write_version=tf.train.SaverDef.V1, sharded=True)
        sharded.save(
            sess,
            os.path.join(HERE, "v1", "sharded.ckpt"),
            write_meta_graph=False,
            write_state=False,
        )
        frozen = tf.graph_util.convert_variables_to_constants(
            sess, sess.graph_def, [output.op.name]
        )
        with open(os.path.join(HERE, "frozen.pb"), "wb") as stream:
            stream.write(frozen.SerializeToString())
        np.savez(
            os.path.join(HERE, "expected_frozen.npz"),
            **{
                v.op.name: sess.run(v)
                for v in tf.global_variables()
                if v.op.name.startswith(("parts", "single"))
            },
        )
    constants()
    saved_model()


def constants():
    """A graph of constants of every dtype, with the typed lists of values as well as raw content."""
    graph = tf.GraphDef()
    expected = {}
    rng = np.random.RandomState(1)
    for dtype in (
        np.float16,
        np.float32,
        np.float64,
        np.int8,
        np.int16,
        np.int32,
        np.int64,
        np.uint8,
        np.uint16,
        np.uint32,
        np.uint64,
        np.bool_,
        np.complex64,
        np.complex128,
    ):
        array = (rng.randn(2, 3) * 20).astype(dtype)
        raw = graph.node.add(name="raw/" + np.dtype(dtype).name, op="Const")
        raw.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(array))
        expected[raw.name] = array
        typed = graph.node.add(name="typed/" + np.dtype(dtype).name, op="Const")
        proto = typed.attr["value"].tensor
        proto.CopyFrom(tf.make_tensor_proto(array))
        proto.tensor_content = b""
        flat = array.ravel()[:4]  # the last value given repeats
        fields = {
            "float16": ("half_val", flat.astype(np.float16).view(np.uint16)),
            "float32": ("float_val", flat),
            "float64": ("double_val", flat),
            "int64": ("int64_val", flat),
            "uint32": ("uint32_val", flat),
            "uint64": ("uint64_val", flat),
            "bool": ("bool_val", flat),
            "complex64": ("scomplex_val", flat.astype(np.complex64).view(np.float32)),
            "complex128": ("dcomplex_val", flat.astype(np.complex128).view(np.float64)),
        }
        field, items = fields.get(np.dtype(dtype).name, ("int_val", flat))
        proto.ClearField(field)
        getattr(proto, field).extend([item.item() for item in items])
        full = array.ravel().copy()
        full[4:] = full[3]
        expected[typed.name] = full.reshape(array.shape)
        zeros = graph.node.add(name="zeros/" + np.dtype(dtype).name, op="Const")
        zeros.attr["value"].tensor.dtype = proto.dtype
        zeros.attr["value"].tensor.tensor_shape.CopyFrom(proto.tensor_shape)
        expected[zeros.name] = np.zeros_like(array)
    brain = graph.node.add(name="brain", op="Const")
    brain.attr["value"].tensor.CopyFrom(
        tf.make_tensor_proto(np.array([1.5, -2.0], tf.bfloat16.as_numpy_dtype))
    )
    expected["brain"] = np.array([1.5, -2.0], np.float32)
    words = graph.node.add(name="words", op="Const")
    words.attr["value"].tensor.CopyFrom(tf.make_tensor_proto([b"a", b"", b"ccc"]))
    graph.node.add(name="loop/a", op="Identity", input=["loop/b"])
    graph.node.add(name="loop/b", op="Identity", input=["loop/a"])
    with open(os.path.join(HERE, "constants.pb"), "wb") as stream:
        stream.write(graph.SerializeToString())
    np.savez(os.path.join(HERE, "expected_constants.npz"), **expected)


def saved_model():
    with tf.Graph().as_default(), tf.Session() as sess:
        x = tf.placeholder(tf.float32, [None, 4, 4, 4, 1])
        y = tf.layers.conv3d(x, 2, 2, kernel_initializer=tf.random_normal_initializer(seed=3))
        sess.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(sess, os.path.join(HERE, "saved_model"), {"x": x}, {"y": y})
        np.savez(
            os.path.join(HERE, "expected_saved_model.npz"),
            **{v.op.name: sess.run(v) for v in tf.global_variables()},
        )
    tf.keras.backend.clear_session()
    model = tf.keras.Sequential(
        [
            tf.keras.layers.Conv3D(2, 2, name="conv", input_shape=(3, 3, 3, 1)),
            tf.keras.layers.BatchNormalization(name="norm"),
        ]
    )
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((1, 3, 3, 3, 1), np.float32), np.ones((1, 2, 2, 2, 2)))
    model.save(os.path.join(HERE, "keras_model.h5"))
    model.save_weights(os.path.join(HERE, "keras_weights.h5"))
    np.savez(
        os.path.join(HERE, "expected_keras.npz"),
        **{w.name[:-2]: v for w, v in zip(model.weights, model.get_weights())},
    )


if __name__ == "__main__":
    main()
