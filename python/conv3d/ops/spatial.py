"""Windows over spatial axes: the rules that convolution and pooling share.

Per spatial axis, with n cells, window k, stride s, dilation d and e = (k - 1) * d + 1:

    SAME   o = ceil(n / s), padded by max((o - 1) * s + e - n, 0), the odd cell at the end
    VALID  o = ceil((n - e + 1) / s)

Ops of one and two spatial dimensions run on the 3-D engine with unit axes in front of their own.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from conv3d import errors
from conv3d.framework import dtypes
from conv3d.framework.tensor_shape import TensorShape, unknown_shape

#: The names of the two layouts by number of spatial dimensions: channels last, channels first.
DATA_FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}

FLOATS = (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


class Window(NamedTuple):
    """Attributes of a windowed op in the engine's terms, always of three spatial dimensions."""

    rank: int
    first: bool
    kernel: tuple[int, int, int]
    strides: tuple[int, int, int]
    dilations: tuple[int, int, int]
    padding: str
    outer: tuple[int, ...]

    @property
    def data_format(self) -> str:
        return "channels_first" if self.first else "channels_last"

    @property
    def channel_axis(self) -> int:
        return 1 if self.first else self.rank + 1

    @property
    def spatial_axes(self) -> range:
        return range(2, self.rank + 2) if self.first else range(1, self.rank + 1)


def _three(rank: int, values: Sequence[int], first: bool) -> tuple[int, int, int]:
    spatial = values[2:] if first else values[1:-1]
    depth, height, width = [1] * (3 - rank) + list(spatial)
    return depth, height, width


def _outer(values: Sequence[int], first: bool) -> tuple[int, ...]:
    return (values[0], values[1] if first else values[-1])


@lru_cache(maxsize=512)
def _window(
    rank: int,
    ksize: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    padding: str,
    data_format: str,
) -> Window:
    first = data_format == DATA_FORMATS[rank][1]
    return Window(
        rank,
        first,
        _three(rank, ksize, first),
        _three(rank, strides, first),
        _three(rank, dilations, first),
        padding.lower(),
        _outer(ksize, first) + _outer(strides, first) + _outer(dilations, first),
    )


def window(rank: int, attrs: dict[str, Any]) -> Window:
    """The window that the attributes of an op of `rank` spatial dimensions describe."""
    ones = (1,) * (rank + 2)
    return _window(
        rank,
        tuple(attrs.get("ksize", ones)),
        tuple(attrs["strides"]),
        tuple(attrs.get("dilations", ones)),
        attrs["padding"],
        attrs["data_format"],
    )


def int_list(op_type: str, name: str, value: Any, length: int) -> list[int]:
    """Checks a list attribute of an op.

    Raises:
        TypeError: not a list or tuple, or an element is not an integer.
        ValueError: another number of elements than `length`.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, (list, tuple)):
        raise TypeError(
            f"`{name}` of {op_type} is {value!r}; a list of {length} integers is accepted."
        )
    out = []
    for element in value:
        element = getattr(element, "value", element)  # a Dimension
        if not isinstance(element, numbers.Integral):
            raise TypeError(
                f"`{name}` of {op_type} is {list(value)!r}; its elements must be integers."
            )
        out.append(int(element))
    if len(out) != length:
        raise ValueError(
            f"`{name}` of {op_type} is {out} with {len(out)} elements; one for each of the "
            f"{length} dimensions of the input is needed."
        )
    return out


def padding_attr(op_type: str, padding: Any) -> str:
    """Checks the padding attribute of an op.

    Raises:
        TypeError: not a string.
        ValueError: neither "SAME" nor "VALID", in capitals.
    """
    if isinstance(padding, bytes):
        padding = padding.decode()
    if not isinstance(padding, str):
        raise TypeError(f'`padding` of {op_type} is {padding!r}; "SAME" or "VALID" is accepted.')
    if padding not in ("SAME", "VALID"):
        raise ValueError(
            f'`padding` of {op_type} is {padding!r}; "SAME" or "VALID", in capitals, is accepted.'
        )
    return padding


def data_format_attr(op_type: str, data_format: Any, rank: int) -> str:
    """Checks the layout attribute of an op of `rank` spatial dimensions; None is channels last.

    Raises:
        TypeError: not a string.
        ValueError: a layout of another rank or an unknown one.
    """
    accepted = DATA_FORMATS[rank]
    if data_format is None:
        return accepted[0]
    if not isinstance(data_format, str):
        raise TypeError(f"`data_format` of {op_type} is {data_format!r}; a string is accepted.")
    if data_format not in accepted:
        raise ValueError(
            f"`data_format` of {op_type} is {data_format!r}; {accepted[0]!r} or {accepted[1]!r} "
            "is accepted."
        )
    return data_format


def check_outer(op_type: str, w: Window) -> None:
    """Refuses windows that step over the batch or the channels.

    Raises:
        InvalidArgumentError: a size, stride or dilation of batch or channel is not 1, or one of
            the spatial strides and dilations is not positive.
    """
    if any(v != 1 for v in w.outer):
        raise errors.InvalidArgumentError(
            None,
            None,
            f"{op_type} was given a window, stride or dilation other than 1 over the batch or the "
            "channels; only the spatial dimensions may be strided.",
        )
    if min(w.strides) < 1 or min(w.dilations) < 1 or min(w.kernel) < 1:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"{op_type} was given strides {w.strides}, dilations {w.dilations} and window "
            f"{w.kernel} over the spatial dimensions; all must be positive.",
        )


def static_extent(
    op_type: str, n: int | None, k: int | None, s: int, d: int, padding: str
) -> int | None:
    """Output extent of one axis while a graph is built; None where it is not known.

    Raises:
        ValueError: the window is larger than the known extent of a VALID input, or not positive.
    """
    if s < 1 or d < 1 or (k is not None and k < 0):
        raise ValueError(
            f"{op_type} was given stride {s}, dilation {d} and window {k} along one axis; all "
            "must be positive."
        )
    if n is None:
        return None
    if padding == "same":
        return -(-n // s)
    if k is None:
        return None
    extent = (k - 1) * d + 1
    if n < extent:
        raise ValueError(
            f"Negative output size: {op_type} with VALID padding slides a window of extent "
            f"{extent} over an input of extent {n}."
        )
    return (n - extent) // s + 1


def extent_at_run(op_type: str, n: int, k: int, s: int, d: int, padding: str) -> int:
    """Output extent of one axis of real data. Zero is an empty result.

    Raises:
        InvalidArgumentError: the extent would be negative.
    """
    if padding == "same":
        return -(-n // s)
    extent = (k - 1) * d + 1
    # TensorFlow divides towards zero, so an input short by less than a stride gives nothing.
    out = int((n - extent + s) / s)
    if out < 0:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"{op_type} would have a negative output size {out}: input size {n}, window extent "
            f"{extent}, stride {s}, VALID padding.",
        )
    return out


def static_output(
    op_type: str,
    w: Window,
    shape: TensorShape,
    kernel: Sequence[int | None],
    channels: int | None,
) -> TensorShape:
    """Static output shape of a window of the (spatial) sizes `kernel` over `shape`."""
    if shape.ndims is None:
        return unknown_shape(w.rank + 2)
    dims = shape.as_list()
    strides, dilations = w.strides[3 - w.rank :], w.dilations[3 - w.rank :]
    spatial = [
        static_extent(op_type, dims[axis], kernel[i], strides[i], dilations[i], w.padding)
        for i, axis in enumerate(w.spatial_axes)
    ]
    if w.first:
        return TensorShape([dims[0], channels, *spatial])
    return TensorShape([dims[0], *spatial, channels])


def run_output(
    op_type: str, w: Window, shape: Sequence[int], kernel: Sequence[int], channels: int
) -> tuple[int, ...]:
    """Output shape for real data of `shape` and a window of three sizes `kernel`."""
    strides, dilations = w.strides[3 - w.rank :], w.dilations[3 - w.rank :]
    kernel = tuple(kernel)[3 - w.rank :]
    spatial = [
        extent_at_run(op_type, shape[axis], kernel[i], strides[i], dilations[i], w.padding)
        for i, axis in enumerate(w.spatial_axes)
    ]
    if w.first:
        return (shape[0], channels, *spatial)
    return (shape[0], *spatial, channels)


def unit_shape(w: Window, shape: Sequence[int]) -> tuple[int, ...]:
    """`shape` of data with unit axes in front of its spatial axes, so that there are three."""
    axis = 2 if w.first else 1
    return (*shape[:axis], *((1,) * (3 - w.rank)), *shape[axis:])


def with_unit_axes(w: Window, x: np.ndarray) -> np.ndarray:
    """A view of the data `x` with three spatial axes."""
    return x if w.rank == 3 else x.reshape(unit_shape(w, x.shape))


def filter_with_unit_axes(w: Window, filter: np.ndarray) -> np.ndarray:
    """A view of `filter` with three spatial axes."""
    return filter if w.rank == 3 else filter.reshape((1,) * (3 - w.rank) + filter.shape)


def check_rank(op_type: str, name: str, array: np.ndarray, rank: int) -> None:
    """Raises InvalidArgumentError unless `array` has `rank` dimensions."""
    if array.ndim != rank:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`{name}` of {op_type} has shape {list(array.shape)}; {rank} dimensions are needed.",
        )


def check_floats(op_type: str, **tensors: Any) -> None:
    """Raises TypeError unless the tensors have one floating point type."""
    expected = None
    for name, tensor in tensors.items():
        dtype = tensor.dtype.base_dtype
        if dtype not in FLOATS:
            raise TypeError(
                f"`{name}` of {op_type} has type {dtype.name}; accepted are float16, bfloat16, "
                "float32 and float64."
            )
        if expected is None:
            expected = (name, dtype)
        elif dtype != expected[1]:
            raise TypeError(
                f"`{name}` of {op_type} has type {dtype.name}, but `{expected[0]}` has type "
                f"{expected[1].name}; both must have the same type."
            )


def with_static_rank(op_type: str, name: str, shape: TensorShape, rank: int) -> TensorShape:
    """`shape` if it may have `rank` dimensions.

    Raises:
        ValueError: it has another rank.
    """
    if shape.ndims is not None and shape.ndims != rank:
        raise ValueError(
            f"Shape must be rank {rank}: `{name}` of {op_type} has shape {shape} of rank "
            f"{shape.ndims}."
        )
    return shape if shape.ndims is not None else unknown_shape(rank)
