"""safetensors: eight bytes of header size, a JSON header, raw little-endian values.

    {"name": {"dtype": "F32", "shape": [3, 3], "data_offsets": [begin, end]}, "__metadata__": {...}}

Offsets count from the end of the header; the spans may neither overlap nor leave holes. Read and
written here with NumPy alone, because the format is smaller than a binding to it.

Source: the format's public description.
"""

from __future__ import annotations

import functools
import json
import os
import struct
from collections.abc import Mapping

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import lazy, tensor_proto

FORMAT = "safetensors"
_HEADER_MAX = 100_000_000  # the format's own limit
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1", "C64": "<c8",
}  # fmt: skip


def looks_like(head: bytes, file_size: int) -> bool:
    """Whether a file starts like safetensors: a header that fits and opens with a brace."""
    if len(head) < 9:
        return False
    return head[8:9] == b"{" and struct.unpack_from("<Q", head)[0] <= file_size - 8


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise CorruptFile("the header gives a name twice")
    return out


def read(path: str) -> lazy.WeightFile:
    """The tensors of the file.

    Raises:
        CorruptFile: the header is damaged or disagrees with the file's size.
    """
    total = os.stat(path).st_size
    with lazy.reading(path):
        head = lazy.read_span(path, 0, 8)
        (size,) = struct.unpack("<Q", head)
        if size > min(total - 8, _HEADER_MAX):
            raise CorruptFile(f"the header claims {size} bytes of a file of {total}")
        try:
            text = lazy.read_span(path, 8, size).decode("utf-8")
            header = json.loads(text, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as error:
            raise CorruptFile(f"the header is not JSON: {error}") from error
        if not isinstance(header, dict):
            raise CorruptFile("the header is not a JSON object")
        start = 8 + size
        entries = {}
        spans = []
        for name, item in header.items():
            if name == "__metadata__":
                continue
            shape, code, begin, end = _item(name, item)
            count = 1
            for dim in shape:
                count *= dim
            width = 2 if code == "BF16" else np.dtype(_DTYPES[code]).itemsize
            if end - begin != count * width or end > total - start:
                raise CorruptFile(
                    f"tensor {name!r} of shape {list(shape)} and dtype {code} lies at bytes "
                    f"{begin} to {end} of {total - start}"
                )
            spans.append((begin, end))
            dtype = (
                tensor_proto.numpy_dtype(tensor_proto.DT_BFLOAT16)
                if code == "BF16"
                else np.dtype(_DTYPES[code]).newbyteorder("=")
            )
            reader = functools.partial(_read_tensor, path, start + begin, end - begin, shape, code)
            entries[name] = lazy.Entry(shape, dtype, reader)
        place = 0
        for begin, end in sorted(spans):
            if begin != place:
                raise CorruptFile("the spans of the tensors overlap or leave holes")
            place = end
        if place != total - start:
            raise CorruptFile(f"{total - start - place} bytes belong to no tensor")
    return lazy.WeightFile(path, FORMAT, entries)


def _item(name: str, item: object) -> tuple[tuple[int, ...], str, int, int]:
    if "\0" in name:
        raise CorruptFile("a tensor's name holds a NUL character")
    if not isinstance(item, dict):
        raise CorruptFile(f"tensor {name!r} has no description")
    shape, code, span = item.get("shape"), item.get("dtype"), item.get("data_offsets")
    if not isinstance(shape, list) or not all(type(dim) is int and dim >= 0 for dim in shape):
        raise CorruptFile(f"tensor {name!r} has the shape {shape!r}")
    if len(shape) > 32:
        raise CorruptFile(f"tensor {name!r} has {len(shape)} dimensions")
    if code != "BF16" and (not isinstance(code, str) or code not in _DTYPES):
        raise CorruptFile(f"tensor {name!r} has the dtype {code!r}, which NumPy cannot hold")
    if (
        not isinstance(span, list)
        or len(span) != 2
        or not all(type(place) is int for place in span)
        or not 0 <= span[0] <= span[1]
    ):
        raise CorruptFile(f"tensor {name!r} has the offsets {span!r}")
    return tuple(shape), code, span[0], span[1]


def _read_tensor(
    path: str, offset: int, size: int, shape: tuple[int, ...], code: str
) -> np.ndarray:
    data = lazy.read_span(path, offset, size)
    stored = np.dtype("<u2" if code == "BF16" else _DTYPES[code])
    lazy.checked_size(shape, stored.itemsize, size)
    values = np.frombuffer(data, stored)
    if code == "BF16":
        values = tensor_proto.from_bits(values, tensor_proto.DT_BFLOAT16)
    return np.array(values.reshape(shape), dtype=values.dtype.newbyteorder("="))


def write(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays beside the place of the file and renames it into it.

    Raises:
        TypeError: the format has no such dtype.
    """
    codes = {np.dtype(text).newbyteorder("="): code for code, text in _DTYPES.items()}
    header: dict[str, object] = {}
    place = 0
    raws = []
    for name, array in arrays.items():
        code = codes.get(array.dtype.newbyteorder("="))
        if code is None and tensor_proto.is_bfloat16(array.dtype):
            code = "BF16"
        if code is None:
            raise TypeError(f"array {name!r}: dtype {array.dtype} has no place in safetensors")
        stored = np.dtype(_DTYPES[code]) if code != "BF16" else array.dtype
        raw = np.ascontiguousarray(array).astype(stored, copy=False)
        header[name] = {
            "dtype": code,
            "shape": list(array.shape),
            "data_offsets": [place, place + raw.nbytes],
        }
        place += raw.nbytes
        raws.append(raw)
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)  # the values start at a multiple of eight
    scratch = f"{path}.tempstate{os.getpid()}"
    try:
        with open(scratch, "wb") as stream:
            stream.write(struct.pack("<Q", len(text)) + text)
            for raw in raws:
                stream.write(raw.tobytes())
        os.replace(scratch, path)
    finally:
        if os.path.exists(scratch):
            os.remove(scratch)
