"""The protobuf wire format: just enough to read and write TensorFlow's messages.

A message is a sequence of fields. A field is a varint key `number << 3 | wire_type`, then a
payload: type 0 a varint, 1 eight bytes, 2 a varint length and that many bytes, 5 four bytes. Groups
(3, 4) appear in no message that we read and count as damage.

Source: the public description of protobuf's encoding. Every reader raises `CorruptFile`, reads no
byte beyond its buffer and allocates nothing that the buffer does not hold.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from conv3d.errors import CorruptFile

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | memoryview


def varint(buf: memoryview | bytes, pos: int) -> tuple[int, int]:
    """Reads one unsigned varint of at most 64 bits: `(value, position after it)`."""
    value = shift = 0
    while True:
        if pos >= len(buf):
            raise CorruptFile("the data end inside a variable-length integer")
        byte = buf[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise CorruptFile("a variable-length integer does not fit 64 bits")
            return value, pos
        shift += 7
        if shift > 63:
            raise CorruptFile("a variable-length integer is longer than 10 bytes")


def signed(value: int) -> int:
    """The int64 that protobuf stores as the unsigned varint `value` (two's complement)."""
    return value - (1 << 64) if value >> 63 else value


def fields(buf: memoryview) -> Iterator[tuple[int, int, Value]]:
    """Walks the fields of one message: `(number, wire type, value)`.

    Varints and fixed-width payloads come as unsigned ints, length-delimited ones as memoryviews.
    """
    pos, end = 0, len(buf)
    while pos < end:
        key, pos = varint(buf, pos)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise CorruptFile("a field has the number 0")
        if kind == VARINT:
            value, pos = varint(buf, pos)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, pos = varint(buf, pos)
        elif kind == FIXED64:
            size = 8
        elif kind == FIXED32:
            size = 4
        else:
            raise CorruptFile(f"field {number} has the unknown wire type {kind}")
        if size > end - pos:
            raise CorruptFile(f"field {number} claims {size} bytes where {end - pos} are left")
        piece = buf[pos : pos + size]
        pos += size
        yield number, kind, piece if kind == BYTES else int.from_bytes(piece, "little")


def as_bytes(number: int, kind: int, value: Value) -> memoryview:
    """`value` if the field is length-delimited, else `CorruptFile`."""
    if kind != BYTES or isinstance(value, int):
        raise CorruptFile(f"field {number} has wire type {kind} where bytes are expected")
    return value


def as_uint(number: int, kind: int, value: Value) -> int:
    """`value` if the field is a varint, else `CorruptFile`."""
    if kind != VARINT or not isinstance(value, int):
        raise CorruptFile(f"field {number} has wire type {kind} where an integer is expected")
    return value


def as_int(number: int, kind: int, value: Value) -> int:
    """Like `as_uint`, for int32 and int64 fields."""
    return signed(as_uint(number, kind, value))


def as_text(number: int, kind: int, value: Value) -> str:
    """The text of a length-delimited field, checked to be UTF-8 without NUL."""
    try:
        text = bytes(as_bytes(number, kind, value)).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorruptFile(f"field {number} is not UTF-8 text") from error
    if "\0" in text:
        raise CorruptFile(f"field {number} holds a NUL character where a name is expected")
    return text


def varints(buf: memoryview) -> np.ndarray:
    """Decodes a packed run of varints to a uint64 array."""
    raw = np.frombuffer(buf, np.uint8)
    if raw.size == 0:
        return np.empty(0, np.uint64)
    ends = np.flatnonzero(raw < 0x80)
    if ends.size == 0 or ends[-1] != raw.size - 1:
        raise CorruptFile("the data end inside a packed run of integers")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if int(lengths.max()) > 10:
        raise CorruptFile("a packed integer is longer than 10 bytes")
    place = np.arange(raw.size) - np.repeat(starts, lengths)
    # Bits beyond 64 of a tenth byte fall off, as in every protobuf decoder.
    parts = (raw & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.bitwise_or.reduceat(parts, starts)


# ---- writing -------------------------------------------------------------------------------------


def put_varint(value: int) -> bytes:
    """Encodes `value` as a varint; negative numbers as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def put_int(number: int, value: int) -> bytes:
    """A varint field."""
    return put_varint(number << 3 | VARINT) + put_varint(value)


def put_bytes(number: int, value: bytes | str) -> bytes:
    """A length-delimited field: bytes, text or an encoded message."""
    raw = value.encode("utf-8") if isinstance(value, str) else value
    return put_varint(number << 3 | BYTES) + put_varint(len(raw)) + raw


def put_float(number: int, value: float) -> bytes:
    """A 32-bit float field."""
    return put_varint(number << 3 | FIXED32) + struct.pack("<f", value)


def put_double(number: int, value: float) -> bytes:
    """A 64-bit float field."""
    return put_varint(number << 3 | FIXED64) + struct.pack("<d", value)


def put_fixed32(number: int, value: int) -> bytes:
    """A 32-bit unsigned field."""
    return put_varint(number << 3 | FIXED32) + struct.pack("<I", value)
