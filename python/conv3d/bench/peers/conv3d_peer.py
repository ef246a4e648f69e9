"""This library. Configurations: ``channels_last``, ``channels_first``; the filter is packed once,
as in inference.
"""

import sys

import common

ANSWERS = common.start(int(sys.argv[1]))

import numpy as np
from conv3d import engine


def load(w, op, config):
    """See ``common.serve``."""
    layout, _, accuracy = config.partition("+")
    x, k, b, g = common.data(w, op)
    first = layout == "channels_first"
    if first:
        x = common.channels_first(x)
        g = None if g is None else common.channels_first(g)
    keywords = {
        "strides": tuple(w["strides"]),
        "padding": tuple(tuple(p) for p in w["padding"]),
        "dilations": tuple(w["dilations"]),
        "data_format": layout,
        "accuracy": accuracy or "default",
    }
    state = {}
    if op == "forward":
        plan = engine.Plan(k, b, input_shape=x.shape, **keywords)

        def run():
            state["y"] = plan(x)

    elif op == "backward_input":

        def run():
            state["y"] = engine.backward_input(x.shape, k, g, **keywords)

    else:

        def run():
            state["y"] = engine.backward_filter(x, k.shape, g, **keywords)

    def result():
        y = state["y"]
        return np.moveaxis(y, 1, -1) if first and op != "backward_filter" else y

    return run, result


common.serve(ANSWERS, load, lambda: engine.measure_fma_peak(int(sys.argv[1])))
