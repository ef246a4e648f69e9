"""Slices of partitioned variables, as TensorFlow's checkpoints name and assemble them.

A slice is one `(start, length)` pair for each dimension, length -1 for all of it. Its key in a
table is an order-preserving code: 0, the tensor's name, the rank, then start and length of each
dimension.

Source: TensorFlow's public message definition `tensor_slice.proto`; the code was worked out from
files.
"""

from __future__ import annotations

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import wire

Extents = tuple[tuple[int, int], ...]


def parse(buf: memoryview) -> Extents:
    """Decodes a TensorSliceProto; a dimension without a length is whole: `(0, -1)`."""
    extents = []
    for number, kind, value in wire.fields(buf):
        if number != 1:
            continue
        start, length = 0, -1
        for inner in wire.fields(wire.as_bytes(number, kind, value)):
            if inner[0] == 1:
                start = wire.as_int(*inner)
            elif inner[0] == 2:
                length = wire.as_int(*inner)
        extents.append((start, length))
    return tuple(extents)


def encode(extents: Extents) -> bytes:
    """Encodes a TensorSliceProto."""
    out = b""
    for start, length in extents:
        extent = b"" if start == 0 else wire.put_int(1, start)
        if length >= 0:
            extent += wire.put_int(2, length)
        out += wire.put_bytes(1, extent)
    return out


def bounds(extents: Extents, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The Python slices that `extents` cut out of an array of `shape`.

    Raises:
        CorruptFile: wrong rank, or a part outside the array.
    """
    if len(extents) != len(shape):
        raise CorruptFile(f"a slice of rank {len(extents)} belongs to a tensor of shape {shape}")
    out = []
    for (start, length), size in zip(extents, shape, strict=True):
        if length == -1:
            start, length = 0, size
        if start < 0 or length < 0 or start > size or length > size - start:
            raise CorruptFile(f"a slice covers {length} from {start} of a dimension of size {size}")
        out.append(slice(start, start + length))
    return tuple(out)


class Assembly:
    """An array put together from slices that have to tile it."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        self._array = np.empty(shape, dtype)
        self._filled = np.zeros(shape, np.bool_)

    def put(self, where: tuple[slice, ...], values: np.ndarray) -> None:
        """Copies one slice in.

        Raises:
            CorruptFile: part of it was there already.
        """
        if self._filled[where].any():
            raise CorruptFile("two slices of a tensor overlap")
        self._filled[where] = True
        self._array[where] = values

    def finish(self) -> np.ndarray:
        """The whole array.

        Raises:
            CorruptFile: a part is missing.
        """
        if not self._filled.all():
            raise CorruptFile(
                f"the slices of a tensor hold {int(self._filled.sum())} of its "
                f"{self._filled.size} elements"
            )
        return self._array


# ---- the order-preserving code of table keys -----------------------------------------------------


def _number(value: int) -> bytes:
    raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(raw)]) + raw


def _signed(value: int) -> bytes:
    magnitude = ~value if value < 0 else value
    length = magnitude.bit_length() // 7 + 1
    # `length` bytes of two's complement, whose first `length` bits after the sign are inverted.
    width = 8 * max(length, 1)
    header = ((1 << length) - 1) << (width - length)
    bits = (value & ((1 << width) - 1)) ^ header
    return bits.to_bytes(length, "big")


def table_key(name: str, extents: Extents) -> bytes:
    """The key under which a checkpoint stores the slice `extents` of the tensor `name`."""
    text = name.encode("utf-8") + b"\0\x01"  # UTF-8 needs no escapes, NUL is refused
    out = _number(0) + text + _number(len(extents))
    for start, length in extents:
        out += _signed(start) + _signed(length)
    return out
