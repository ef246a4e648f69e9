"""Records what TensorFlow 1.15 does: `python record_optimizers.py` writes traces.npz, names.json.

Five steps of every optimizer of cases.json, with gradients of fixed values, in float16, float32 and
float64: the variables and all slots after each step. The decayed learning rates at some steps. The
exponential moving averages of three kinds. Clipping by norms.
"""

import json
import os

import numpy as np
import tensorflow as tf
import tensorflow.contrib.opt  # noqa: F401 (loaded by use otherwise)

HERE = os.path.dirname(os.path.abspath(__file__))
tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)


def gradients(dtype):
    rng = np.random.RandomState(5)
    return [(rng.randn(3).astype(dtype), rng.randn(2, 2).astype(dtype)) for _ in range(5)]


def starts(dtype):
    rng = np.random.RandomState(6)
    return rng.randn(3).astype(dtype), rng.randn(2, 2).astype(dtype)


def optimizer(case, traces, names):
    for dtype in ("float16", "float32", "float64"):
        with tf.Graph().as_default(), tf.Session() as sess:
            a, b = (tf.Variable(v, name=n) for v, n in zip(starts(dtype), "ab"))
            feeds = [tf.placeholder(dtype, v.shape) for v in (a, b)]
            step = tf.train.get_or_create_global_step()
            kwargs = dict(case["kwargs"])
            if case["class"] == "AdagradDAOptimizer":
                kwargs["global_step"] = step
            home = tf.contrib.opt if case.get("contrib") else tf.train
            opt = getattr(home, case["class"])(**kwargs)
            try:
                train = opt.apply_gradients(list(zip(feeds, (a, b))), global_step=step)
                sess.run(tf.global_variables_initializer())
                sess.run(train, dict(zip(feeds, gradients(dtype)[0])))
            except (TypeError, tf.errors.OpError):  # some take float32 only
                continue
            sess.run(tf.global_variables_initializer())
            own = [a, b] + opt.variables()
            dtypes = names.get(case["id"], {}).get("dtypes", []) + [dtype]
            names[case["id"]] = {
                "variables": [v.name for v in own],
                "slots": opt.get_slot_names(),
                "op": train.name,
                "dtypes": dtypes,
            }
            for count, values in enumerate(gradients(dtype)):
                sess.run(train, dict(zip(feeds, values)))
                for variable, value in zip(own, sess.run(own)):
                    traces["%s/%s/%d/%s" % (case["id"], dtype, count, variable.op.name)] = value


def decay(case, steps, traces):
    with tf.Graph().as_default(), tf.Session() as sess:
        step = tf.placeholder(tf.int64, [])
        kwargs = dict(case["kwargs"])
        kwargs["x" if case["function"] == "piecewise_constant" else "global_step"] = step
        if "boundaries" in kwargs:
            kwargs["boundaries"] = [np.int64(v) for v in kwargs["boundaries"]]
        rate = getattr(tf.train, case["function"])(**kwargs)
        traces["decay/" + case["id"]] = np.array([sess.run(rate, {step: s}) for s in steps])


def averages(traces, names):
    for kind in ("plain", "updates", "tensor"):
        with tf.Graph().as_default(), tf.Session() as sess:
            v = tf.Variable([1.0, 2.0], name="v")
            step = tf.Variable(0, name="step")
            ema = tf.train.ExponentialMovingAverage(
                0.9, num_updates=step if kind == "updates" else None, zero_debias=kind == "tensor"
            )
            target = tf.identity(v * 2.0, name="t") if kind == "tensor" else v
            update = ema.apply([target])
            sess.run(tf.global_variables_initializer())
            for count in range(4):
                sess.run(v.assign_add([1.0, -0.5]))
                sess.run(step.assign_add(1))
                sess.run(update)
                traces["ema/%s/%d" % (kind, count)] = sess.run(ema.average(target))
            names["ema/" + kind] = {
                "variables": sorted(v.name for v in tf.global_variables()),
                "average": ema.average_name(target),
                "restore": {
                    name: var.name for name, var in sorted(ema.variables_to_restore().items())
                },
            }


def clips(traces):
    rng = np.random.RandomState(7)
    with tf.Graph().as_default(), tf.Session() as sess:
        t = [rng.randn(3, 2).astype(np.float32), rng.randn(4).astype(np.float32)]
        traces["clip/in/0"], traces["clip/in/1"] = t
        traces["clip/norm"] = sess.run(tf.clip_by_norm(t[0], 0.7))
        traces["clip/norm_axes"] = sess.run(tf.clip_by_norm(t[0], 0.7, axes=[1]))
        traces["clip/norm_loose"] = sess.run(tf.clip_by_norm(t[0], 70.0))
        traces["clip/average"] = sess.run(tf.clip_by_average_norm(t[0], 0.1))
        clipped, norm = tf.clip_by_global_norm(t, 1.2)
        traces["clip/global/0"], traces["clip/global/1"], traces["clip/global_norm"] = sess.run(
            clipped + [norm]
        )


def main():
    with open(os.path.join(HERE, "cases.json")) as stream:
        cases = json.load(stream)
    traces, names = {}, {}
    for case in cases["optimizers"]:
        optimizer(case, traces, names)
    for case in cases["decays"]:
        decay(case, cases["steps"], traces)
    averages(traces, names)
    clips(traces)
    # One flat array a dtype: thousands of tiny members would take fifty times the space.
    index, flat = {}, {}
    for key, value in sorted(traces.items()):
        value = np.asarray(value)
        run = flat.setdefault(value.dtype.name, [])
        index[key] = [value.dtype.name, sum(map(len, run)), list(value.shape)]
        run.append(value.ravel())
    np.savez_compressed(
        os.path.join(HERE, "traces.npz"), **{k: np.concatenate(v) for k, v in flat.items()}
    )
    with open(os.path.join(HERE, "names.json"), "w") as stream:
        json.dump({"names": names, "index": index}, stream, sort_keys=True, separators=(",", ":"))
        stream.write("\n")


if __name__ == "__main__":
    main()
