"""The parts of `tf.keras` that programs put beside the layers of `tf.layers`.

`keras.layers.Input`, `keras.regularizers`, `keras.constraints`, `keras.initializers` and
`keras.activations`. There are no Keras models and no Keras layers: their work is done by
`conv3d.layers`.
"""

from __future__ import annotations

from conv3d import constraints, initializers, regularizers
from conv3d.keras import backend, layers
from conv3d.keras.layers import Input
from conv3d.layers import activations

__all__ = [
    "Input",
    "activations",
    "backend",
    "constraints",
    "initializers",
    "layers",
    "regularizers",
]


def __getattr__(name: str) -> object:
    raise AttributeError(
        f"conv3d.keras has no {name!r}; it has {', '.join(__all__)}. Layers are in conv3d.layers."
    )
