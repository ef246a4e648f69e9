"""NumPy's `.npz`: a zip archive of `.npy` members, read without ever unpickling.

The header of a member is parsed here, so that a forged shape is compared with the bytes that are
there before anything is allocated. Source: NumPy's public description of the NPY format.
"""

from __future__ import annotations

import ast
import errno
import functools
import os
import struct
import zipfile
import zlib
from typing import IO, Any

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import lazy, tensor_proto

FORMAT = "npz"
_MAGIC = b"\x93NUMPY"
_HEADER_MAX = 10_000
# Deflate expands by at most about 1032; other methods that zipfile knows may do more but are
# unusual.
_EXPANSION = 1032

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    RuntimeError,  # an encrypted member
    EOFError,
    struct.error,
)


def read(path: str) -> lazy.WeightFile:
    """The arrays of the archive, by member name without `.npy`.

    Raises:
        CorruptFile: the archive is damaged, or a member needs pickle.
    """
    size = os.stat(path).st_size
    entries = {}
    with lazy.reading(path):
        try:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    if info.is_dir() or not info.filename.endswith(".npy"):
                        continue
                    name = info.filename[:-4]
                    if "\0" in name or not name or name in entries:
                        raise CorruptFile(f"the member name {name!r} is empty or given twice")
                    with archive.open(info) as member:
                        shape, stored, fortran, start = _header(member)
                    _check(name, shape, stored, start, info)
                    reader = functools.partial(
                        _read_member, path, info.filename, shape, stored, fortran, start, size
                    )
                    entries[name] = lazy.Entry(shape, _returned(stored), reader)
        except OSError as error:
            raise _seek_error(error) from error
        except _ZIP_ERRORS as error:
            raise CorruptFile(f"the archive is damaged: {error}") from error
    return lazy.WeightFile(path, FORMAT, entries)


def _seek_error(error: OSError) -> Exception:
    """A forged offset makes zipfile seek to a negative place, which the system refuses."""
    if error.errno == errno.EINVAL:
        return CorruptFile("the archive is damaged: an offset lies outside the file")
    return error


def _returned(stored: np.dtype) -> Any:
    return stored.newbyteorder("=")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype, bool, int]:
    """Shape, stored dtype, whether columns come first, and where the values start."""
    start = member.read(12)
    if start[:6] != _MAGIC or len(start) < 12:
        raise CorruptFile("a member is not an array")
    if start[6] == 1:
        length = struct.unpack_from("<H", start, 8)[0]
        begin = 10
    elif start[6] in (2, 3):
        length = struct.unpack_from("<I", start, 8)[0]
        begin = 12
    else:
        raise CorruptFile(f"an array has the unknown format version {start[6]}")
    if length > _HEADER_MAX:
        raise CorruptFile(f"an array has a header of {length} bytes")
    text = start[begin:] + member.read(length - (12 - begin))
    if len(text) != length:
        raise CorruptFile("the data end inside a header")
    try:
        header = ast.literal_eval(text.decode("utf-8").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
        raise CorruptFile("an array's header cannot be parsed") from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise CorruptFile("an array's header lacks descr, fortran_order or shape")
    shape, descr = header["shape"], header["descr"]
    if not isinstance(shape, tuple) or not all(type(size) is int for size in shape):
        raise CorruptFile("an array's shape is not a tuple of integers")
    if not isinstance(descr, str):
        raise CorruptFile("an array has fields; plain arrays are expected")
    try:
        stored = np.dtype(descr)
    except (TypeError, ValueError, SyntaxError) as error:
        raise CorruptFile(f"an array has the unknown dtype {descr!r}") from error
    if stored.hasobject:
        raise CorruptFile("an array holds pickled Python objects, which are never unpickled")
    return shape, stored, bool(header["fortran_order"]), begin + length


def _check(
    name: str, shape: tuple[int, ...], stored: np.dtype, start: int, info: zipfile.ZipInfo
) -> None:
    if any(size < 0 for size in shape) or len(shape) > 32:
        raise CorruptFile(f"array {name!r} has the shape {shape}")
    count = 1
    for size in shape:
        count *= size
    if count * stored.itemsize != info.file_size - start:
        raise CorruptFile(
            f"array {name!r} of shape {shape} and dtype {stored} has {info.file_size - start} bytes"
        )
    if info.file_size > _EXPANSION * info.compress_size + 4096:
        raise CorruptFile(f"array {name!r} claims to expand from {info.compress_size} bytes to "
                          f"{info.file_size}")  # fmt: skip


def _read_member(
    path: str,
    member: str,
    shape: tuple[int, ...],
    stored: np.dtype,
    fortran: bool,
    start: int,
    file_size: int,
) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            info = archive.getinfo(member)
            if info.compress_size > file_size:
                raise CorruptFile("a member is larger than the archive")
            with archive.open(info) as stream:
                data = stream.read()  # to the end, where the archive's checksum is verified
    except OSError as error:
        raise _seek_error(error) from error
    except _ZIP_ERRORS as error:
        raise CorruptFile(f"the archive is damaged: {error}") from error
    raw = np.frombuffer(data, np.uint8)[start:]
    count = 1
    for size in shape:
        count *= size
    if len(raw) != count * stored.itemsize:
        raise CorruptFile(f"{len(raw)} bytes are stored where {count * stored.itemsize} are needed")
    if stored.itemsize == 0:
        return np.zeros(shape, stored)
    lazy.checked_size(shape, stored.itemsize, len(raw))
    array = np.frombuffer(raw.tobytes(), stored)
    array = array.reshape(shape, order="F" if fortran else "C")
    return np.array(array, dtype=_returned(stored), order="C")


def write(path: str, arrays: dict[str, np.ndarray]) -> None:
    """Writes the arrays as an `.npz` beside its place and renames it into it.

    bfloat16 is not a dtype of NumPy's files: it is refused rather than stored as raw bytes.

    Raises:
        TypeError: an array's dtype is bfloat16 or object.
    """
    for name, array in arrays.items():
        if tensor_proto.is_bfloat16(array.dtype) or array.dtype.hasobject:
            raise TypeError(f"array {name!r}: dtype {array.dtype} cannot be stored in an .npz file")
    scratch = f"{path}.tempstate{os.getpid()}"
    try:
        with (
            open(scratch, "wb") as stream,
            zipfile.ZipFile(stream, "w", allowZip64=True) as archive,
        ):
            for name, array in arrays.items():
                with archive.open(name + ".npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
        os.replace(scratch, path)
    finally:
        if os.path.exists(scratch):
            os.remove(scratch)
