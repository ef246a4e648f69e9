"""TensorFlow checkpoints, format V2: `prefix.index` and `prefix.data-00000-of-00001`, ...

The index is a sorted table: key "" holds the BundleHeaderProto, every other key a tensor's name and
its BundleEntryProto `{dtype, shape, shard, offset, size, crc32c, slices}`. The data files hold the
raw little-endian bytes. A partitioned variable's entry lists slices; each slice has an entry of its
own under a coded key (slices.py). A string tensor is stored as varint lengths, a checksum of the
lengths, and the bytes.

Source: TensorFlow's public message definition `tensor_bundle.proto` and files it wrote.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import struct
from collections.abc import Iterable

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import crc32c, lazy, slices, table, tensor_proto, wire

FORMAT = "tf_checkpoint_v2"


def shard_name(prefix: str, shard: int, count: int) -> str:
    """Path of data file `shard` of `count`."""
    return f"{prefix}.data-{shard:05d}-of-{count:05d}"


@dataclasses.dataclass
class _Entry:
    number: int = 0
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int | None = None
    slices: tuple[slices.Extents, ...] = ()


def is_header(value: memoryview) -> bool:
    """Whether the value under the key "" is that of format V2 (else it is V1's)."""
    for number, kind, _ in wire.fields(value):
        if number == 1:
            return kind == wire.VARINT
    return True


def _header(value: memoryview) -> int:
    shards = 0
    for number, kind, field in wire.fields(value):
        if number == 1:
            shards = wire.as_int(number, kind, field)
        elif number == 2 and wire.as_uint(number, kind, field):
            raise CorruptFile("the checkpoint is big-endian; only little-endian ones are read")
    if not 0 <= shards <= 99999:
        raise CorruptFile(f"the checkpoint claims {shards} data files")
    return shards


def _entry(value: memoryview) -> _Entry:
    entry = _Entry()
    parts = []
    for number, kind, field in wire.fields(value):
        if number == 1:
            entry.number = wire.as_uint(number, kind, field)
        elif number == 2:
            entry.shape = tensor_proto.shape(wire.as_bytes(number, kind, field))
        elif number == 3:
            entry.shard = wire.as_int(number, kind, field)
        elif number == 4:
            entry.offset = wire.as_int(number, kind, field)
        elif number == 5:
            entry.size = wire.as_int(number, kind, field)
        elif number == 6:
            if kind != wire.FIXED32 or not isinstance(field, int):
                raise CorruptFile("a tensor's checksum has the wrong type")
            entry.crc = field
        elif number == 7:
            parts.append(slices.parse(wire.as_bytes(number, kind, field)))
    entry.slices = tuple(parts)
    return entry


def read(prefix: str) -> lazy.WeightFile:
    """The tensors of the checkpoint `prefix`.

    Checksums of the index are verified here, those of a tensor when it is read.

    Raises:
        CorruptFile: the index is damaged.
        FileNotFoundError: there is no `prefix.index`.
    """
    index = prefix + ".index"
    with lazy.reading(index):
        data = lazy.read_all(index)
        shards = None
        raw: dict[bytes, _Entry] = {}
        for key, value in table.read(data):
            if key == b"":
                if not is_header(value):
                    raise CorruptFile("this is a checkpoint of format V1, not an index of V2")
                shards = _header(value)
            else:
                raw[key] = _entry(value)
        if shards is None:
            raise CorruptFile("the index has no header")
        entries = {}
        for key, entry in raw.items():
            if key[:1] == b"\0":  # a slice, reached through its tensor
                continue
            if b"\0" in key:
                raise CorruptFile("a tensor's name holds a NUL character")
            name = key.decode("utf-8")
            if entry.number in tensor_proto.NOT_ARRAYS:
                continue
            dtype = tensor_proto.numpy_dtype(entry.number)
            parts = []
            for extents in entry.slices:
                part = raw.get(slices.table_key(name, extents))
                if part is None:
                    raise CorruptFile(f"a slice of {name!r} is missing")
                parts.append((slices.bounds(extents, entry.shape), part))
            for one in [part for _, part in parts] or [entry]:
                if not 0 <= one.shard < max(shards, 1):
                    raise CorruptFile(
                        f"tensor {name!r} lies in data file {one.shard}, there are {shards}"
                    )
                if one.offset < 0 or one.size < 0:
                    raise CorruptFile(f"tensor {name!r} has a negative offset or size")
                if one.number != entry.number:
                    raise CorruptFile(f"a slice of {name!r} has another dtype")
            reader = functools.partial(_read_tensor, prefix, shards, entry, tuple(parts))
            entries[name] = lazy.Entry(entry.shape, dtype, reader)
    return lazy.WeightFile(prefix, FORMAT, entries)


def _read_tensor(
    prefix: str, shards: int, entry: _Entry, parts: tuple[tuple[tuple[slice, ...], _Entry], ...]
) -> np.ndarray:
    if not parts:
        return _read_piece(prefix, shards, entry)
    dtype = tensor_proto.numpy_dtype(entry.number)
    held = sum(part.size for _, part in parts)
    lazy.checked_size(entry.shape, dtype.itemsize, held)
    whole = slices.Assembly(entry.shape, dtype)
    for where, part in parts:
        piece = _read_piece(prefix, shards, part)
        if piece.shape != tuple(cut.stop - cut.start for cut in where):
            raise CorruptFile("a slice has another shape than its place")
        whole.put(where, piece)
    return whole.finish()


def _read_piece(prefix: str, shards: int, entry: _Entry) -> np.ndarray:
    path = shard_name(prefix, entry.shard, shards)
    data = lazy.read_span(path, entry.offset, entry.size)
    if entry.number == tensor_proto.DT_STRING:
        return _read_strings(data, entry)
    stored = tensor_proto.stored_dtype(entry.number)
    # The span was checked against the file, so a forged shape cannot pass this equality.
    count = 1
    for size in entry.shape:
        count *= size
    if count * stored.itemsize != len(data):
        raise CorruptFile(
            f"a tensor of shape {list(entry.shape)} needs {count * stored.itemsize} bytes, "
            f"{len(data)} are stored"
        )
    if entry.crc is not None and crc32c.masked_crc32c(data) != entry.crc:
        raise CorruptFile("the values do not match their checksum")
    lazy.checked_size(entry.shape, stored.itemsize, len(data))
    values: np.ndarray = tensor_proto.from_bits(np.frombuffer(data, stored), entry.number)
    return values.reshape(entry.shape)


def _read_strings(data: bytes, entry: _Entry) -> np.ndarray:
    lazy.checked_size(entry.shape, 8, len(data))
    count = 1
    for size in entry.shape:
        count *= size
    if count > len(data):
        raise CorruptFile(f"{count} strings cannot be stored in {len(data)} bytes")
    view, pos, lengths = memoryview(data), 0, []
    for _ in range(count):
        length, pos = wire.varint(view, pos)
        lengths.append(length)
    if sum(lengths) != len(data) - pos - 4:
        raise CorruptFile("the lengths of the strings do not add up to their bytes")
    crc = crc32c.crc32c(_packed_lengths(lengths))
    if struct.unpack_from("<I", data, pos)[0] != crc32c.mask(crc):
        raise CorruptFile("the lengths of the strings do not match their checksum")
    if entry.crc is not None and crc32c.masked_crc32c(view[pos:], crc) != entry.crc:
        raise CorruptFile("the strings do not match their checksum")
    pos += 4
    out = np.empty(count, object)
    for index, length in enumerate(lengths):
        out[index] = data[pos : pos + length]
        pos += length
    return out.reshape(entry.shape)


def _packed_lengths(lengths: list[int]) -> bytes:
    # The checksum of a length runs over its four bytes in memory, eight where four are too few.
    return b"".join(struct.pack("<I" if size < 1 << 32 else "<Q", size) for size in lengths)


# ---- writing -------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Part:
    """One tensor to write, or one slice of a partitioned tensor.

    Attributes:
        name: of the whole tensor.
        values: the array, or the slice's part of it.
        full_shape: shape of the whole tensor; None if `values` is all of it.
        extents: where the slice lies, `(start, length)` by dimension.
    """

    name: str
    values: np.ndarray
    full_shape: tuple[int, ...] | None = None
    extents: slices.Extents = ()


def write(prefix: str, parts: Iterable[Part]) -> None:
    """Writes a checkpoint that TensorFlow 1.x restores: one data file and the index.

    Both are written beside their place and renamed into it, the index last, so that a crash leaves
    either the old checkpoint or the new one.

    Raises:
        TypeError: an array has a dtype that TensorFlow lacks.
        ValueError: a name is empty, holds NUL, or is given twice.
    """
    items: dict[bytes, bytes] = {}
    wholes: dict[str, tuple[int, tuple[int, ...], list[slices.Extents]]] = {}
    data_path = shard_name(prefix, 0, 1)
    scratch = f".tempstate{os.getpid()}"
    try:
        with open(data_path + scratch, "wb") as stream:
            offset = 0
            for part in parts:
                if not part.name or "\0" in part.name:
                    raise ValueError(f"name: {part.name!r} cannot name a tensor in a checkpoint")
                values = np.asarray(part.values)
                number = tensor_proto.datatype_number(values.dtype)
                raw, crc = _encode(values, number)
                key = part.name.encode("utf-8")
                sliced = part.full_shape is not None and part.full_shape != values.shape
                if sliced and part.full_shape is not None:
                    whole = wholes.setdefault(part.name, (number, part.full_shape, []))
                    if whole[:2] != (number, part.full_shape):
                        raise ValueError(f"name: the slices of {part.name!r} disagree in shape")
                    whole[2].append(part.extents)
                    key = slices.table_key(part.name, part.extents)
                if key in items or (not sliced and part.name in wholes):
                    raise ValueError(f"name: {part.name!r} is given twice")
                items[key] = _put_entry(number, values.shape, offset, len(raw), crc)
                stream.write(raw)
                offset += len(raw)
            stream.flush()
            os.fsync(stream.fileno())
        for name, (number, shape, extents) in wholes.items():
            key = name.encode("utf-8")
            if key in items:
                raise ValueError(f"name: {name!r} is given whole and in slices")
            items[key] = _put_entry(number, shape, 0, 0, None, extents)
        # Header: one data file, version 1 (field 3, producer = 1); little-endian is the default.
        items[b""] = wire.put_int(1, 1) + wire.put_bytes(3, wire.put_int(1, 1))
        with open(prefix + ".index" + scratch, "wb") as stream:
            stream.write(table.write(sorted(items.items())))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(data_path + scratch, data_path)
        os.replace(prefix + ".index" + scratch, prefix + ".index")
    finally:
        for path in (data_path + scratch, prefix + ".index" + scratch):
            if os.path.exists(path):
                os.remove(path)


def _encode(values: np.ndarray, number: int) -> tuple[bytes, int]:
    """Stored bytes of a tensor and its masked checksum."""
    if number != tensor_proto.DT_STRING:
        raw = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
        data = raw.tobytes()
        return data, crc32c.masked_crc32c(data)
    strings = [
        item.encode("utf-8") if isinstance(item, str) else bytes(item) for item in values.flat
    ]
    lengths = [len(item) for item in strings]
    crc = crc32c.crc32c(_packed_lengths(lengths))
    tail = struct.pack("<I", crc32c.mask(crc)) + b"".join(strings)
    head = b"".join(wire.put_varint(length) for length in lengths)
    return head + tail, crc32c.masked_crc32c(tail, crc)


def _put_entry(
    number: int,
    shape: tuple[int, ...],
    offset: int,
    size: int,
    crc: int | None,
    parts: Iterable[slices.Extents] = (),
) -> bytes:
    out = wire.put_int(1, number) + wire.put_bytes(2, tensor_proto.put_shape(shape))
    if offset:
        out += wire.put_int(4, offset)
    if size:
        out += wire.put_int(5, size)
    if crc is not None:
        out += wire.put_fixed32(6, crc)
    for extents in parts:
        out += wire.put_bytes(7, slices.encode(extents))
    return out
