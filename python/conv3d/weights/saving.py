"""`save`: writes arrays by name in the format that the path's suffix names."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from conv3d.weights import checkpoint_v2, npz, safetensors


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays: `.npz`, `.safetensors`, or else a TensorFlow checkpoint of that prefix.

    The file is written beside its place and renamed into it, so that a crash leaves the old one or
    the new one. What is written is what `load` reads.

    Args:
        path: the file, or the prefix of the checkpoint (`PREFIX.index`, `PREFIX.data-...`).
        arrays: arrays by name.

    Raises:
        TypeError: the format has no such dtype.
        ValueError: a name that a checkpoint cannot have.
    """
    name = os.fsdecode(path)
    values = {key: np.asarray(array) for key, array in arrays.items()}
    if name.endswith(".npz"):
        npz.write(name, values)
    elif name.endswith(".safetensors"):
        safetensors.write(name, values)
    else:
        parts = (checkpoint_v2.Part(key, array) for key, array in sorted(values.items()))
        checkpoint_v2.write(name, parts)
