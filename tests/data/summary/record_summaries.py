"""Records TensorFlow 1.15's summaries: `python record_summaries.py` writes summaries.npz."""

import os

import numpy as np
import tensorflow as tf

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    rng = np.random.RandomState(0)
    out = {
        "values": np.concatenate([rng.randn(200) * 10, [0, 0, 1e-12, -1e-12, 1e30, 5]]),
        "negative": rng.randn(1, 3, 4, 3).astype(np.float32),
        "positive": rng.rand(1, 3, 4, 1).astype(np.float32),
        "broken": np.array([[[[np.nan, 1, 1], [0.5, 0, 1]]]], np.float32),
        "flat": np.zeros((1, 2, 2, 1), np.float32),
        "bytes": rng.randint(0, 256, (1, 3, 4, 4)).astype(np.uint8),
    }
    with tf.Graph().as_default(), tf.Session() as sess:
        out["scalar_message"] = np.frombuffer(sess.run(tf.summary.scalar("a b", 2.5)), np.uint8)
        for name, values in (
            ("values", out["values"]),
            ("empty", np.zeros(0)),
            ("ints", np.arange(5)),
        ):
            raw = sess.run(tf.summary.histogram(name, tf.constant(values)))
            out["histogram_%s_message" % name] = np.frombuffer(raw, np.uint8)
        for name in ("negative", "positive", "broken", "flat", "bytes"):
            summary = tf.Summary.FromString(
                sess.run(tf.summary.image(name, tf.constant(out[name])))
            )
            png = summary.value[0].image.encoded_image_string
            out[name + "_pixels"] = sess.run(tf.image.decode_png(png))
        tags = []
        with tf.name_scope("scope"):
            for _ in range(2):
                tags.append(tf.summary.scalar("loss", 1.0, family="f"))
                tags.append(tf.summary.scalar("loss", 1.0))
        pairs = [(t.op.name, tf.Summary.FromString(sess.run(t)).value[0].tag) for t in tags]
        images = tf.summary.image("pictures", np.zeros((5, 2, 2, 1), np.float32), max_outputs=2)
        single = tf.summary.image("one", np.zeros((5, 2, 2, 1), np.float32), max_outputs=1)
        for op in (images, single):
            pairs += [(op.op.name, v.tag) for v in tf.Summary.FromString(sess.run(op)).value]
        out["names"] = np.array(pairs)
    np.savez_compressed(os.path.join(HERE, "summaries.npz"), **out)


if __name__ == "__main__":
    main()
