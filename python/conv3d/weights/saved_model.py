"""TensorFlow SavedModels: a folder with `saved_model.pb` and a checkpoint, `variables/variables`.

The variables are a checkpoint of format V2. A SavedModel without a variables folder was saved from
a frozen graph: then the constants of its first graph are read.

Source: TensorFlow's public message definitions `saved_model.proto` and `meta_graph.proto`.
"""

from __future__ import annotations

import os

from conv3d.errors import CorruptFile
from conv3d.weights import checkpoint_v2, graph_def, lazy, wire

FORMAT = "tf_saved_model"
GRAPH_FILE = "saved_model.pb"


def variables_prefix(folder: str) -> str:
    """Prefix of the checkpoint inside a SavedModel."""
    return os.path.join(folder, "variables", "variables")


def is_saved_model(folder: str) -> bool:
    """Whether `folder` holds a SavedModel."""
    return os.path.isfile(os.path.join(folder, GRAPH_FILE)) or os.path.isfile(
        variables_prefix(folder) + ".index"
    )


def read(folder: str, graph_file: str | None = None) -> lazy.WeightFile:
    """The variables of the SavedModel in `folder`, by name.

    Args:
        folder: the SavedModel.
        graph_file: its graph, where it is not named `saved_model.pb`.

    Raises:
        CorruptFile: a file is damaged.
    """
    prefix = variables_prefix(folder)
    if os.path.isfile(prefix + ".index"):
        found = checkpoint_v2.read(prefix)
        return lazy.WeightFile(prefix, FORMAT, found.entries())
    path = graph_file or os.path.join(folder, GRAPH_FILE)
    data = memoryview(lazy.read_all(path))
    with lazy.reading(path):
        for number, kind, value in wire.fields(data):
            if number != 2:
                continue
            for inner in wire.fields(wire.as_bytes(number, kind, value)):
                if inner[0] == 2:
                    graph = wire.as_bytes(*inner)
                    return lazy.WeightFile(path, FORMAT, graph_def.constants(graph, len(data)))
        raise CorruptFile("the SavedModel holds no graph")
