"""What a layer accepts, and the check of inputs against it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.framework import dtypes, tensor_shape

__all__ = ["InputSpec", "check_inputs"]


class InputSpec:
    """Type, rank and shape that an input has to have. Source: `tf.layers.InputSpec`.

    Args:
        dtype: type.
        shape: shape; None where any size will do. Sets `ndim`.
        ndim: rank.
        max_ndim: largest rank.
        min_ndim: smallest rank.
        axes: sizes by axis, e.g. `{-1: 3}`.
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.ndim = len(shape) if shape is not None else ndim
        self.max_ndim = max_ndim
        self.min_ndim = min_ndim
        self.axes = axes or {}

    def __repr__(self) -> str:
        parts = [f"dtype={self.dtype}"] if self.dtype else []
        for name in ("shape", "ndim", "max_ndim", "min_ndim"):
            value = getattr(self, name)
            if value:
                parts.append(f"{name}={value}")
        if self.axes:
            parts.append(f"axes={self.axes}")
        return f"InputSpec({', '.join(parts)})"


def check_inputs(specs: Any, inputs: Sequence[Any], layer_name: Any) -> None:
    """Checks tensors against one spec or a list of them, one per input.

    Raises:
        ValueError: an input does not fit, or their number does not.
    """
    if not specs:
        return
    specs = list(specs) if isinstance(specs, (list, tuple)) else [specs]
    if len(inputs) != len(specs):
        raise ValueError(
            f"layer {layer_name} takes {len(specs)} inputs, but was given {len(inputs)}: "
            f"{list(inputs)}"
        )
    for position, (value, spec) in enumerate(zip(inputs, specs, strict=True)):
        if spec is not None:
            _check_one(spec, value, f"input {position} of layer {layer_name}")


def _check_one(spec: InputSpec, value: Any, who: str) -> None:
    shape = value.get_shape()
    limits = (spec.ndim, spec.min_ndim, spec.max_ndim)
    if shape.ndims is None:
        if any(limit is not None for limit in limits):
            raise ValueError(f"{who} has an unknown rank; the layer needs a known one")
    else:
        sizes = shape.as_list()
        if spec.ndim is not None and shape.ndims != spec.ndim:
            raise ValueError(
                f"{who} has rank {shape.ndims}, but rank {spec.ndim} is needed; its shape "
                f"is {sizes}"
            )
        if spec.max_ndim is not None and shape.ndims > spec.max_ndim:
            raise ValueError(
                f"{who} has rank {shape.ndims}, but at most {spec.max_ndim} is allowed; its shape "
                f"is {sizes}"
            )
        if spec.min_ndim is not None and shape.ndims < spec.min_ndim:
            raise ValueError(
                f"{who} has rank {shape.ndims}, but at least {spec.min_ndim} is needed; its shape "
                f"is {sizes}"
            )
    if spec.dtype is not None and value.dtype.base_dtype != dtypes.as_dtype(spec.dtype).base_dtype:
        raise ValueError(
            f"{who} has the type {value.dtype.name}, but {dtypes.as_dtype(spec.dtype).name} is "
            "needed"
        )
    if shape.ndims is None:
        if spec.axes:
            raise ValueError(f"{who} has no known rank, but the sizes of axes are asked for")
        return
    for axis, wanted in spec.axes.items():
        # Axes may be Dimensions, and -1 counts from the end.
        found = sizes[int(axis)]
        wanted = tensor_shape.as_dimension(wanted).value
        if wanted is not None and found is not None and found != wanted:
            raise ValueError(
                f"{who} has the size {found} on axis {axis}, but {wanted} is needed there; its "
                f"shape is {sizes}"
            )
    if spec.shape is not None:
        for wanted, found in zip(spec.shape, sizes, strict=False):
            wanted = tensor_shape.as_dimension(wanted).value
            if wanted is not None and found is not None and found != wanted:
                raise ValueError(f"{who} has the shape {sizes}, but {tuple(spec.shape)} is needed")
