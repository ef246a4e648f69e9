"""The building blocks of the readers: varints, CRC-32C, the code of slices, tables."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conv3d.errors import CorruptFile
from conv3d.weights import crc32c, slices, table, wire


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_packed_varints(values):
    packed = b"".join(map(wire.put_varint, values))
    assert wire.varints(memoryview(packed)).tolist() == values
    pos, found = 0, []
    while pos < len(packed):
        value, pos = wire.varint(packed, pos)
        found.append(value)
    assert found == values


def test_negative_numbers_are_two_complement():
    raw = wire.put_varint(-5)
    assert len(raw) == 10
    assert wire.signed(wire.varint(raw, 0)[0]) == -5


@pytest.mark.parametrize("raw", [b"\x80", b"\xff" * 10, b"\xff" * 9 + b"\x02", b""])
def test_damaged_varint(raw):
    with pytest.raises(CorruptFile):
        wire.varint(raw, 0)


@pytest.mark.parametrize(
    ("data", "crc"),
    [  # RFC 3720, appendix B.4
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_crc32c_known_values(data, crc):
    assert crc32c.crc32c(data) == crc


@pytest.mark.parametrize("size", [0, 1, 100, (1 << 14) - 1, 1 << 14, 50_001, 300_007])
def test_crc32c_in_lanes_equals_the_plain_loop(size, monkeypatch):
    monkeypatch.setattr(crc32c, "_google", None)
    data = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
    plain = crc32c._plain(memoryview(data), 0xFFFFFFFF) ^ 0xFFFFFFFF
    assert crc32c.crc32c(data) == plain
    half = size // 2
    assert crc32c.crc32c(data[half:], crc32c.crc32c(data[:half])) == plain


def test_crc32c_equals_the_google_package(monkeypatch):
    google = pytest.importorskip("google_crc32c")
    data = np.random.default_rng(0).integers(0, 256, 100_003, np.uint8).tobytes()
    monkeypatch.setattr(crc32c, "_google", None)
    assert crc32c.crc32c(data) == google.value(data)
    assert crc32c.crc32c(data, 77) == google.extend(77, data)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=2, max_size=2, unique=True))
def test_code_of_signed_numbers_keeps_their_order(pair):
    low, high = sorted(pair)
    assert slices._signed(low) < slices._signed(high)


@given(st.dictionaries(st.binary(min_size=1, max_size=40), st.binary(max_size=60), max_size=80))
def test_table_round_trip(items):
    data = table.write(sorted(items.items()))
    assert {key: bytes(value) for key, value in table.read(data)} == items


def test_table_of_many_blocks():
    items = [(f"{i:06d}".encode(), bytes(1000)) for i in range(2000)]
    data = table.write(items)
    assert [(key, bytes(value)) for key, value in table.read(data)] == items


def test_snappy_block():
    cramjam = pytest.importorskip("cramjam")
    import struct

    block = table._put_block([(b"", b"header"), (b"name", b"value" * 50)], 16)
    packed = bytes(cramjam.snappy.compress_raw(block))
    out = bytearray()

    def append(body: bytes, kind: int) -> bytes:
        handle = wire.put_varint(len(out)) + wire.put_varint(len(body))
        body += bytes([kind])
        out.extend(body + struct.pack("<I", crc32c.masked_crc32c(body)))
        return handle

    handle = append(packed, 1)
    meta = append(table._put_block([], 1), 0)
    index = append(table._put_block([(b"name", handle)], 1), 0)
    data = bytes(out + (meta + index).ljust(40, b"\0") + table.MAGIC)
    assert [(key, bytes(value)) for key, value in table.read(data)] == [
        (b"", b"header"),
        (b"name", b"value" * 50),
    ]
