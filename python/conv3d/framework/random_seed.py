"""Seeds of random ops: the graph's seed and the op's seed, together.

Source: `tf.set_random_seed`. The same two seeds give the same values on every machine; the
streams are our own, not TensorFlow's.
"""

from __future__ import annotations

import random

from conv3d.framework import context, state

#: Stands for the graph's seed where only the op has one.
DEFAULT_GRAPH_SEED = 87654321
_LARGEST = 2**31 - 1


def set_random_seed(seed: int | None) -> None:
    """Sets the seed of the default graph, or of eager execution."""
    if context.executing_eagerly():
        context.program.eager_seed = seed
        context.program.eager_seed_stream = None if seed is None else random.Random(seed)
        state.eager_store.clear_streams()
    else:
        context.get_default_graph().seed = seed


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The pair of seeds of an op that was given `op_seed`; `(None, None)` means: any.

    Without an op seed, the graph's seed is joined by the number of operations created so far, so
    that equal programs draw equal values.
    """
    eager = context.executing_eagerly()
    graph = None if eager else context.get_default_graph()
    graph_seed = context.program.eager_seed if graph is None else graph.seed
    if graph_seed is not None:
        if op_seed is None:
            if graph is None:
                stream = context.program.eager_seed_stream
                assert stream is not None
                op_seed = stream.randint(0, _LARGEST - 1)
            else:
                op_seed = graph._last_id
        seeds = _truncate(graph_seed), _truncate(op_seed)
    elif op_seed is not None:
        seeds = DEFAULT_GRAPH_SEED, _truncate(op_seed)
    else:
        return None, None
    # Two zeros would mean "any" to the op.
    return (0, _LARGEST) if seeds == (0, 0) else seeds


def _truncate(seed: int) -> int:
    return int(seed) % _LARGEST


__all__ = ["get_seed", "set_random_seed"]
