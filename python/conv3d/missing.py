"""What is said when a name of TensorFlow 1.x is asked for that this package does not have."""

from __future__ import annotations

from typing import NoReturn

# What to use instead, by the first part of the name. Anything else gets the general sentence.
_INSTEAD = {
    "data": "feed NumPy arrays to Session.run, or write a Python generator",
    "queue": "feed NumPy arrays to Session.run",
    "FIFOQueue": "feed NumPy arrays to Session.run",
    "distribute": (
        "run one process for each part of the data; num_threads is a setting of conv3d.engine"
    ),
    "SparseTensor": "use a dense tensor",
    "RaggedTensor": "use a dense tensor",
    "saved_model": "read its variables with conv3d.weights.load(path)",
    "import_graph_def": (
        "write the layers in Python and read the weights with conv3d.weights.load(path)"
    ),
    "GraphDef": "read the weights with conv3d.weights.load(path)",
    "lite": "use conv3d.engine.Plan, the engine without a graph",
    "function": "build a graph, or call the layers eagerly",
}


def explain_missing(name: str) -> NoReturn:
    """Module ``__getattr__`` of the package.

    Raises:
      AttributeError: always; it says what exists instead.
    """
    if name.startswith("__"):
        raise AttributeError(f"module 'conv3d' has no attribute {name!r}")
    instead = _INSTEAD.get(
        name,
        "the package holds what a program around 3-D convolutions needs; dir(conv3d) lists it, "
        "conv3d.engine works on NumPy arrays, and tf.layers.Layer or NumPy on fetched values can "
        "stand in for an op",
    )
    raise AttributeError(f"conv3d has no {name!r} of TensorFlow 1.x; instead: {instead}")
