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

        # A plan packs its filter once; its share is shown beside the runs all the same.
        run.whole = lambda: engine.forward(x, k, b, **keywords)

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


def phases(run):
    """See ``common.serve``."""
    whole = getattr(run, "whole", run)
    whole()
    runs = 3
    with engine.measure_phases() as seconds:
        for _ in range(runs):
            whole()
    return {name: value / runs for name, value in seconds.items()}


common.serve(ANSWERS, load, lambda: engine.measure_fma_peak(int(sys.argv[1])), phases)
