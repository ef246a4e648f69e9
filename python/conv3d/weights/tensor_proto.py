"""TensorFlow's dtype numbers, TensorShapeProto and TensorProto as NumPy arrays.

A TensorProto holds either raw little-endian bytes (`tensor_content`) or a typed list of values
(`float_val`, `int_val`, ...); a list shorter than the shape repeats its last value, an empty one
stands for zeros. float16 and bfloat16 travel as bit patterns in `half_val`.

Source: TensorFlow's public message definitions `types.proto`, `tensor.proto`, `tensor_shape.proto`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import lazy, wire

DT_HALF, DT_BFLOAT16, DT_STRING = 19, 14, 7

# DataType number -> NumPy dtype. The quantized types are kept as the integers they are made of.
_NUMPY: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.float64),
    3: np.dtype(np.int32),
    4: np.dtype(np.uint8),
    5: np.dtype(np.int16),
    6: np.dtype(np.int8),
    7: np.dtype(object),
    8: np.dtype(np.complex64),
    9: np.dtype(np.int64),
    10: np.dtype(np.bool_),
    11: np.dtype(np.int8),
    12: np.dtype(np.uint8),
    13: np.dtype(np.int32),
    15: np.dtype(np.int16),
    16: np.dtype(np.uint16),
    17: np.dtype(np.uint16),
    18: np.dtype(np.complex128),
    19: np.dtype(np.float16),
    22: np.dtype(np.uint32),
    23: np.dtype(np.uint64),
}
# Handles and variants are not arrays; files that hold them are whole, so they are left out.
NOT_ARRAYS = frozenset({20, 21})

_NUMBER = {dtype: number for number, dtype in _NUMPY.items() if number not in (11, 12, 13, 15, 16)}


def bfloat16() -> np.dtype[Any] | None:
    """The NumPy dtype of bfloat16, or None where ml_dtypes is not installed."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def numpy_dtype(number: int) -> np.dtype[Any]:
    """The dtype in which values of TensorFlow's DataType `number` are returned.

    bfloat16 needs ml_dtypes; without it the values come as float32, which holds each exactly.

    Raises:
        CorruptFile: no such dtype.
    """
    if number == DT_BFLOAT16:
        found = bfloat16()
        return np.dtype(np.float32) if found is None else found
    if number > 100:  # a reference type: the same values behind a variable
        number -= 100
    if number not in _NUMPY:
        raise CorruptFile(f"a tensor has the unknown dtype number {number}")
    return _NUMPY[number]


def stored_dtype(number: int) -> np.dtype[Any]:
    """The little-endian dtype of the raw bytes of DataType `number`."""
    if number == DT_BFLOAT16:
        return np.dtype("<u2")
    stored: np.dtype[Any] = numpy_dtype(number).newbyteorder("<")
    return stored


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is ml_dtypes' bfloat16, asked without importing it."""
    return str(dtype) == "bfloat16"


def datatype_number(dtype: np.dtype) -> int:
    """TensorFlow's DataType number of a NumPy dtype (object and bytes count as strings).

    Raises:
        TypeError: TensorFlow has no such dtype.
    """
    if is_bfloat16(dtype):
        return DT_BFLOAT16
    if dtype.kind in "OSU":
        return DT_STRING
    number = _NUMBER.get(dtype.newbyteorder("="))
    if number is None:
        raise TypeError(f"dtype {dtype} cannot be stored: TensorFlow has no such type")
    return number


def from_bits(bits: np.ndarray, number: int) -> Any:
    """Arrays of the stored dtype of `number` as the dtype that callers get."""
    if number != DT_BFLOAT16:
        return bits.astype(numpy_dtype(number), copy=False)
    dtype = bfloat16()
    if dtype is not None:
        return bits.astype(np.uint16, copy=False).view(dtype)
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def shape(buf: memoryview) -> tuple[int, ...]:
    """A TensorShapeProto with every dimension known."""
    dims: list[int] = []
    for number, kind, value in wire.fields(buf):
        if number == 2:
            size = 0
            for inner in wire.fields(wire.as_bytes(number, kind, value)):
                if inner[0] == 1:
                    size = wire.as_int(*inner)
            dims.append(size)
        elif number == 3 and wire.as_uint(number, kind, value):
            raise CorruptFile("a stored tensor has an unknown rank")
    if any(size < 0 for size in dims):
        raise CorruptFile(f"a stored tensor has the shape {dims}")
    return tuple(dims)


def put_shape(dims: tuple[int, ...]) -> bytes:
    """Encodes a TensorShapeProto; a size of 0 is the default and is left out."""
    return b"".join(wire.put_bytes(2, wire.put_int(1, size) if size else b"") for size in dims)


# DataType numbers by the field of TensorProto that lists their values.
_FIELD = {
    1: 5, 2: 6, 3: 7, 4: 7, 5: 7, 6: 7, 7: 8, 8: 9, 9: 10, 10: 11, 11: 7, 12: 7, 13: 7, 14: 13,
    15: 7, 16: 7, 17: 7, 18: 12, 19: 13, 22: 16, 23: 17,
}  # fmt: skip
_FLOATS: dict[int, np.dtype[Any]] = {
    5: np.dtype("<f4"),
    6: np.dtype("<f8"),
    9: np.dtype("<f4"),
    12: np.dtype("<f8"),
}


class TensorProto:
    """A TensorProto whose header is decoded and whose values wait for `array()`."""

    def __init__(self, buf: memoryview, file_size: int) -> None:
        self.number = 0
        self.shape: tuple[int, ...] = ()
        self._file_size = file_size
        self._content: memoryview | None = None
        self._lists: dict[int, list[tuple[int, wire.Value]]] = {}
        for number, kind, value in wire.fields(buf):
            if number == 1:
                self.number = wire.as_uint(number, kind, value)
            elif number == 2:
                self.shape = shape(wire.as_bytes(number, kind, value))
            elif number == 4:
                self._content = wire.as_bytes(number, kind, value)
            elif number >= 5:
                self._lists.setdefault(number, []).append((kind, value))

    def array(self) -> np.ndarray:
        """Decodes the values.

        Raises:
            CorruptFile: they do not fit the shape, or the dtype is unknown.
        """
        dtype = numpy_dtype(self.number)
        count = lazy.checked_size(self.shape, dtype.itemsize, self._file_size)
        if self._content is not None and len(self._content):
            if self.number == DT_STRING:
                raise CorruptFile("a string tensor has raw content")
            stored = stored_dtype(self.number)
            if len(self._content) != count * stored.itemsize:
                raise CorruptFile(
                    f"a tensor of shape {list(self.shape)} and dtype {dtype} has "
                    f"{len(self._content)} bytes where {count * stored.itemsize} are needed"
                )
            values = from_bits(np.frombuffer(self._content, stored), self.number)
            return np.array(values.reshape(self.shape))
        values = self._values(_FIELD[self.number % 100 if self.number > 100 else self.number])
        if len(values) > count:
            raise CorruptFile(
                f"a tensor of shape {list(self.shape)} has {len(values)} values, {count} fit"
            )
        out = np.empty(count, dtype)
        out[: len(values)] = values.astype(dtype, copy=False)
        fill = b"" if self.number == DT_STRING else 0
        out[len(values) :] = values[-1] if len(values) else fill
        return out.reshape(self.shape)

    def _values(self, field: int) -> np.ndarray:
        pieces = self._lists.get(field, [])
        if field == 8:
            strings = np.empty(len(pieces), object)
            for index, (kind, value) in enumerate(pieces):
                strings[index] = bytes(wire.as_bytes(field, kind, value))
            return strings
        if field in _FLOATS:
            stored = _FLOATS[field]
            runs = []
            fixed = wire.FIXED32 if stored.itemsize == 4 else wire.FIXED64
            for kind, value in pieces:
                if kind == fixed and isinstance(value, int):
                    raw = memoryview(value.to_bytes(stored.itemsize, "little"))
                else:
                    raw = wire.as_bytes(field, kind, value)
                if len(raw) % stored.itemsize:
                    raise CorruptFile(f"field {field} ends inside a value")
                runs.append(np.frombuffer(raw, stored))
            flat = np.concatenate(runs) if runs else np.empty(0, stored)
            if field in (9, 12):
                if len(flat) % 2:
                    raise CorruptFile("a complex value has no imaginary part")
                flat = flat.view("<c8" if field == 9 else "<c16")
            return flat
        numbers = []
        for kind, value in pieces:
            if kind == wire.VARINT and isinstance(value, int):
                numbers.append(np.array([value], np.uint64))
            else:
                numbers.append(wire.varints(wire.as_bytes(field, kind, value)))
        whole = np.concatenate(numbers) if numbers else np.empty(0, np.uint64)
        if field == 13:
            bits = whole.astype(np.uint16)
            return bits.view(np.float16) if self.number == DT_HALF else from_bits(bits, DT_BFLOAT16)
        return whole.view(np.int64) if field in (7, 10) else whole
