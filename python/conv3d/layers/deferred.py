"""Stand-ins for tensors in eager mode: a shape and a type, no value.

`keras.layers.Input` gives them in eager mode. Calling a layer on one builds the layer and gives
another one, of the shape that the layer computes.
"""

from __future__ import annotations

from typing import Any

from conv3d.framework import dtypes, tensor_shape
from conv3d.layers import connectivity
from conv3d.layers.input_spec import check_inputs
from conv3d.layers.structure import flatten, map_structure

__all__ = ["DeferredTensor", "call_layer"]


class DeferredTensor:
    """Shape and type of a tensor that does not exist.

    Args:
        shape: static shape.
        dtype: type.
        name: name, for messages.
    """

    def __init__(self, shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> None:
        self.shape = tensor_shape.as_shape(shape)
        self.dtype = dtypes.as_dtype(dtype)
        self.name = name

    def get_shape(self) -> tensor_shape.TensorShape:
        """Static shape."""
        return self.shape

    def __repr__(self) -> str:
        return f"<DeferredTensor '{self.name}' shape={self.shape} dtype={self.dtype.name}>"


def call_layer(layer: Any, inputs: Any) -> Any:
    """Builds `layer` for stand-ins, and gives stand-ins for its outputs."""
    leaves = flatten(inputs)
    check_inputs(layer.input_spec, leaves, layer.name)
    shapes = map_structure(lambda x: x.get_shape(), inputs)
    if not layer.built:
        if layer._dtype is None:
            layer._dtype = leaves[0].dtype.base_dtype.name
        layer.build(shapes)
        layer.built = True
    dtype = layer.dtype or leaves[0].dtype
    outputs = map_structure(
        lambda shape: DeferredTensor(shape, dtype, f"{layer.name}/output"),
        layer.compute_output_shape(shapes),
    )
    layer._nodes.append(connectivity.Node(inputs, outputs))
    return outputs
