"""The sorted table file (LevelDB's format) in which TensorFlow keeps the names of a checkpoint.

    file    = data blocks, meta index block, index block, 48-byte footer
    block   = entries, restart offsets (uint32 each), their number (uint32)
    entry   = varint shared, varint unshared, varint value size, key suffix, value
    on disk each block is followed by one byte of compression type and a masked CRC-32C
    footer  = handle of the meta index, handle of the index, zeros up to 40 bytes, magic (8 bytes)

A handle is two varints, offset and size; the index block maps the last key of each data block to
its handle. Source: LevelDB's public table_format document.

Damage cannot make the reader loop: blocks have to follow each other without overlap and keys have
to grow strictly, so each byte is decoded at most once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from conv3d.errors import CorruptFile
from conv3d.weights import crc32c, wire

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
_FOOTER = 48
_TRAILER = 5  # compression type and checksum
_RESTART_INTERVAL = 16
_BLOCK_SIZE = 1 << 18


def is_table(tail: bytes) -> bool:
    """Whether the last bytes of a file are those of a table."""
    return tail[-8:] == MAGIC


def read(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Walks the `(key, value)` pairs of a table in order.

    Raises:
        CorruptFile: any structural damage or checksum mismatch.
        ImportError: a block is compressed with snappy and cramjam is not installed.
    """
    if len(data) < _FOOTER or not is_table(data):
        raise CorruptFile("the file does not end with a table's footer")
    footer = memoryview(data)[len(data) - _FOOTER :]
    meta_offset, meta_size, pos = _handle(footer, 0)
    index_offset, index_size, pos = _handle(footer, pos)
    if pos > _FOOTER - 8 or any(footer[pos : _FOOTER - 8]):
        raise CorruptFile("the table's footer is damaged")
    _block(data, meta_offset, meta_size)
    end = 0
    last = None
    for limit, value in _entries(_block(data, index_offset, index_size)):
        offset, size, _ = _handle(value, 0)
        if offset < end:
            raise CorruptFile("two blocks of the table overlap")
        end = offset + size + _TRAILER
        for key, item in _entries(_block(data, offset, size)):
            if last is not None and key <= last:
                raise CorruptFile("the keys of the table are not in order")
            last = key
            yield key, item
        if last is not None and last > limit:
            raise CorruptFile("a key of the table lies outside its block")


def _handle(buf: memoryview, pos: int) -> tuple[int, int, int]:
    offset, pos = wire.varint(buf, pos)
    size, pos = wire.varint(buf, pos)
    return offset, size, pos


def _block(data: bytes, offset: int, size: int) -> memoryview:
    if offset > len(data) or size > len(data) - offset - _TRAILER:
        raise CorruptFile(f"a block at byte {offset} of {size} bytes lies outside the file")
    view = memoryview(data)
    body = view[offset : offset + size + 1]
    (stored,) = struct.unpack_from("<I", data, offset + size + 1)
    if crc32c.masked_crc32c(body) != stored:
        raise CorruptFile(f"the block at byte {offset} does not match its checksum")
    kind = body[size]
    if kind == 0:
        return body[:size]
    if kind == 1:
        return memoryview(_unsnap(body[:size], len(data)))
    raise CorruptFile(f"the block at byte {offset} has the unknown compression type {kind}")


def _unsnap(body: memoryview, file_size: int) -> bytes:
    """Decompresses a snappy block, as other writers than TensorFlow's may leave them."""
    size, _ = wire.varint(body, 0)
    if size > max(1 << 24, 64 * file_size):
        raise CorruptFile(f"a compressed block claims {size} bytes")
    try:
        import cramjam  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise ImportError(
            "this checkpoint has snappy-compressed blocks: install cramjam (pip install "
            "'conv3d[snappy]') to read it"
        ) from error
    try:
        return bytes(cramjam.snappy.decompress_raw(bytes(body)))
    except Exception as error:  # cramjam has an exception type of its own
        raise CorruptFile(f"a compressed block cannot be decompressed: {error}") from error


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    if len(block) < 4:
        raise CorruptFile("a block of the table is too short")
    (restarts,) = struct.unpack_from("<I", block, len(block) - 4)
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise CorruptFile("a block of the table claims more restart points than it holds")
    pos, key = 0, b""
    while pos < end:
        shared, pos = wire.varint(block, pos)
        unshared, pos = wire.varint(block, pos)
        size, pos = wire.varint(block, pos)
        if shared > len(key) or unshared > end - pos or size > end - pos - unshared:
            raise CorruptFile("an entry of the table reaches outside its block")
        key = key[:shared] + bytes(block[pos : pos + unshared])
        pos += unshared
        yield key, block[pos : pos + size]
        pos += size


# ---- writing -------------------------------------------------------------------------------------


def _put_block(entries: list[tuple[bytes, bytes]], restart_interval: int) -> bytes:
    out = bytearray()
    restarts = []
    last = b""
    for count, (key, value) in enumerate(entries):
        shared = 0
        if count % restart_interval == 0:
            restarts.append(len(out))
        else:
            longest = min(len(last), len(key))
            while shared < longest and last[shared] == key[shared]:
                shared += 1
        for number in (shared, len(key) - shared, len(value)):
            out += wire.put_varint(number)
        out += key[shared:] + value
        last = key
    for restart in restarts or [0]:
        out += struct.pack("<I", restart)
    return bytes(out + struct.pack("<I", max(1, len(restarts))))


def _separator(last: bytes, first: bytes | None) -> bytes:
    """A short key from `last` on and before `first`, or for the last block any from `last` on."""
    if first is None:
        for place, byte in enumerate(last):
            if byte != 0xFF:
                return last[:place] + bytes([byte + 1])
        return last
    place = 0
    while place < min(len(last), len(first)) and last[place] == first[place]:
        place += 1
    if place < min(len(last), len(first)):
        byte = last[place]
        if byte < 0xFF and byte + 1 < first[place]:
            return last[:place] + bytes([byte + 1])
    return last


def write(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encodes the pairs, given in strictly growing order of keys, as an uncompressed table."""
    out = bytearray()

    def append(block: bytes) -> bytes:
        handle = wire.put_varint(len(out)) + wire.put_varint(len(block))
        body = block + b"\0"
        out.extend(body + struct.pack("<I", crc32c.masked_crc32c(body)))
        return handle

    index: list[tuple[bytes, bytes]] = []
    pending: list[tuple[bytes, bytes]] = []
    size = 0

    def close(following: bytes | None) -> None:
        key = _separator(pending[-1][0], following)
        index.append((key, append(_put_block(pending, _RESTART_INTERVAL))))
        pending.clear()

    for key, value in items:
        if size >= _BLOCK_SIZE:
            close(key)
            size = 0
        pending.append((key, value))
        size += len(key) + len(value)
    if pending:
        close(None)
    meta = append(_put_block([], 1))
    root = append(_put_block(index, 1))
    return bytes(out + (meta + root).ljust(_FOOTER - 8, b"\0") + MAGIC)
