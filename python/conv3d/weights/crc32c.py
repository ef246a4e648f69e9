"""CRC-32C (Castagnoli), the checksum of TensorFlow's tables, tensors and records.

`crc32c(data)` uses the google-crc32c package where it is installed; else a table for short data
and, for long data, the same table driven over many lanes at once by NumPy: the data are cut into
equal lanes, each lane gets its own remainder, and neighbouring remainders are joined pairwise with
the matrix that appends n zero bytes (a CRC is linear over GF(2)).

TensorFlow stores checksums masked: rotated right by 15 bits, plus 0xa282ead8.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41 with its bits reversed
_MASK_DELTA = 0xA282EAD8
_LANE_MIN = 1 << 14  # below this many bytes the plain loop is as fast

_google: Any = None
with contextlib.suppress(ImportError):  # an optional accelerator, never needed
    _google = importlib.import_module("google_crc32c")


def _make_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _make_table()
_TABLE_NP = np.array(_TABLE, np.uint32)


def _plain(data: memoryview, crc: int) -> int:
    table = _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


@functools.lru_cache(maxsize=256)
def _zeros_matrix(count: int) -> tuple[int, ...]:
    """Column i is what remainder bit i becomes when `count` zero bytes follow."""
    if count == 1:
        return tuple(_TABLE[1 << bit & 0xFF] ^ (1 << bit) >> 8 for bit in range(32))
    half = _zeros_matrix(count // 2)
    square = tuple(_apply(half, column) for column in half)
    if count % 2:
        one = _zeros_matrix(1)
        square = tuple(_apply(one, column) for column in square)
    return square


def _apply(matrix: tuple[int, ...], crc: int) -> int:
    out = 0
    for column in matrix:
        if crc & 1:
            out ^= column
        crc >>= 1
    return out


def _apply_many(matrix: tuple[int, ...], crcs: np.ndarray) -> np.ndarray:
    out = np.zeros_like(crcs)
    for bit, column in enumerate(matrix):
        out ^= (crcs >> np.uint32(bit) & np.uint32(1)) * np.uint32(column)
    return out


def _lanes(data: memoryview, crc: int) -> int:
    """The remainder of `data` from the state `crc`, computed in 2^k lanes side by side."""
    count = 1 << max(4, len(data).bit_length() // 2)
    length = len(data) // count
    whole = count * length
    columns = np.frombuffer(data[:whole], np.uint8).reshape(count, length).T
    state = np.zeros(count, np.uint32)
    state[0] = crc
    for column in np.ascontiguousarray(columns):
        state = _TABLE_NP[(state ^ column) & np.uint32(0xFF)] ^ state >> np.uint32(8)
    while state.size > 1:
        state = _apply_many(_zeros_matrix(length), state[0::2]) ^ state[1::2]
        length *= 2
    return _plain(data[whole:], int(state[0]))


def crc32c(data: bytes | memoryview, crc: int = 0) -> int:
    """CRC-32C of `data`; `crc` is the checksum of what stood before it."""
    if _google is not None:
        return int(_google.extend(crc, bytes(data)))
    view = memoryview(data).cast("B")
    state = crc ^ 0xFFFFFFFF
    state = _plain(view, state) if len(view) < _LANE_MIN else _lanes(view, state)
    return state ^ 0xFFFFFFFF


def mask(crc: int) -> int:
    """The form in which TensorFlow stores a checksum."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def masked_crc32c(data: bytes | memoryview, crc: int = 0) -> int:
    """`mask(crc32c(data, crc))`."""
    return mask(crc32c(data, crc))
