"""JAX on the CPU. Configurations: ``channels_last``, ``channels_first``."""

import os
import sys

import common

ANSWERS = common.start(int(sys.argv[1]))
os.environ["JAX_PLATFORMS"] = "cpu"
if sys.argv[1] == "1":
    os.environ["XLA_FLAGS"] = (
        os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"
    )

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def load(w, op, config):
    """See ``common.serve``."""
    x, k, b, g = common.data(w, op)
    first = config == "channels_first"
    if first:
        x, k, b = common.channels_first(x), common.filter_oidhw(k), b.reshape(1, -1, 1, 1, 1)
        g = None if g is None else common.channels_first(g)
    layouts = ("NCDHW", "OIDHW", "NCDHW") if first else ("NDHWC", "DHWIO", "NDHWC")

    def convolution(x, k):
        return lax.conv_general_dilated(
            x,
            k,
            w["strides"],
            [tuple(p) for p in w["padding"]],
            rhs_dilation=w["dilations"],
            dimension_numbers=layouts,
        )

    x, k, b = jnp.asarray(x), jnp.asarray(k), jnp.asarray(b)
    if op == "forward":
        function, arguments = jax.jit(lambda x, k, b: convolution(x, k) + b), (x, k, b)
    elif op == "backward_input":
        function = jax.jit(lambda k, g: jax.linear_transpose(lambda v: convolution(v, k), x)(g)[0])
        arguments = (k, jnp.asarray(g))
    else:
        function = jax.jit(lambda x, g: jax.linear_transpose(lambda v: convolution(x, v), k)(g)[0])
        arguments = (x, jnp.asarray(g))
    state = {}

    def run():
        state["y"] = function(*arguments).block_until_ready()

    def result():
        y = np.asarray(state["y"])
        if not first:
            return y
        return y.transpose(2, 3, 4, 1, 0) if op == "backward_filter" else np.moveaxis(y, 1, -1)

    return run, result


common.serve(ANSWERS, load)
