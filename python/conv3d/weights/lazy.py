"""`WeightFile`: what `load` returns, a mapping that reads an array when it is asked for.

Also what the readers share: the conversion of stray decoding errors to `CorruptFile`, and the cap
that keeps a forged shape from allocating more than the file could possibly hold.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from conv3d.errors import CorruptFile

# A stored constant may stand for a larger array (a value that repeats, a compressed block), so the
# cap is not the file's own size. 256 MiB of leeway for small files, 16 times the size for others.
_FREE_BYTES = 1 << 28
_GROWTH = 16

_DECODING_ERRORS = (
    ValueError,  # UnicodeDecodeError is one too
    LookupError,
    OverflowError,
    EOFError,
    RecursionError,
    struct.error,
    zlib.error,
)


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """Names the file in every `CorruptFile` and turns decoding errors into one."""
    try:
        yield
    except CorruptFile as error:
        message = str(error)
        raise CorruptFile(message if path in message else f"{path}: {message}") from error
    except _DECODING_ERRORS as error:
        raise CorruptFile(f"{path}: cannot be decoded ({type(error).__name__}: {error})") from error


def checked_size(shape: tuple[int, ...], itemsize: int, file_size: int) -> int:
    """Elements of an array of `shape`, refused where its bytes exceed what the file may stand for.

    Raises:
        CorruptFile: a negative dimension, more than 32 of them, or too many bytes.
    """
    if len(shape) > 32:
        raise CorruptFile(f"a tensor has {len(shape)} dimensions; at most 32 are possible")
    if any(size < 0 for size in shape):
        raise CorruptFile(f"a tensor has the shape {list(shape)} with a negative dimension")
    count = math.prod(shape)
    # Empty arrays too: NumPy refuses an empty array whose other dimensions overflow.
    span = math.prod(max(size, 1) for size in shape) * max(itemsize, 1)
    if span > max(_FREE_BYTES, _GROWTH * file_size):
        raise CorruptFile(
            f"a tensor of shape {list(shape)} needs {span} bytes, more than a file of {file_size} "
            "bytes can stand for"
        )
    return count


@dataclasses.dataclass(frozen=True)
class Entry:
    """One array of a file: its shape, its dtype and how to read it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]


class WeightFile(Mapping[str, np.ndarray]):
    """The arrays of one file of weights by name, read at each access and not kept.

    `file[name]` returns a fresh, C-contiguous, writable array of native byte order that belongs to
    the caller. Names and shapes are known without reading: `file.shape(name)`, `file.dtype(name)`.
    Use `dict(file)` to read everything at once.

    Attributes:
        path: the file, or the prefix of the checkpoint.
        format: which reader serves it, e.g. `"tf_checkpoint_v2"`.
    """

    def __init__(self, path: str, format: str, entries: Mapping[str, Entry]) -> None:
        self.path = path
        self.format = format
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> np.ndarray:
        entry = self._entries[name]
        with reading(self.path):
            try:
                array = np.require(entry.read(), requirements=["C", "W"])
            except CorruptFile as error:
                raise CorruptFile(f"tensor {name!r}: {error}") from error
            if array.shape != entry.shape:
                raise CorruptFile(
                    f"tensor {name!r}: has shape {list(array.shape)} where {list(entry.shape)} "
                    "was announced"
                )
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __repr__(self) -> str:
        return f"<{self.format} {self.path!r}: {len(self)} arrays>"

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of the array `name`, known without reading it."""
        return self._entries[name].shape

    def entries(self) -> dict[str, Entry]:
        """The entries by name, for a reader that builds on this one."""
        return dict(self._entries)

    def dtype(self, name: str) -> np.dtype:
        """Dtype of the array `name`, known without reading it."""
        return self._entries[name].dtype


def read_span(path: str, offset: int, size: int) -> bytes:
    """Reads `size` bytes at `offset`, checked against the file's size before anything is allocated.

    Raises:
        CorruptFile: the span does not lie inside the file.
        FileNotFoundError: there is no such file.
    """
    with open(path, "rb") as stream:
        total = os.fstat(stream.fileno()).st_size
        if offset < 0 or size < 0 or offset > total or size > total - offset:
            raise CorruptFile(
                f"{path}: bytes {offset} to {offset + size} are wanted, the file has {total}"
            )
        stream.seek(offset)
        data = stream.read(size)
    if len(data) != size:
        raise CorruptFile(f"{path}: the file ended at byte {offset + len(data)} while it was read")
    return data


def read_all(path: str) -> bytes:
    """The whole file; its size is the file system's word, not the file's own."""
    with open(path, "rb") as stream:
        return stream.read()
