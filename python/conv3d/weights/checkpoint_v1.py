"""TensorFlow checkpoints, format V1 (the default before 0.12): one table per file.

Key "" holds the names, shapes, dtypes and slices of all tensors (SavedTensorSliceMeta), every other
key one SavedSlice: a tensor's name, the slice, and its values as a TensorProto.
A sharded checkpoint is several such files, `prefix-00000-of-00002`, ...

Source: TensorFlow's public message definition `saved_tensor_slice.proto`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import lazy, slices, table, tensor_proto, wire

FORMAT = "tf_checkpoint_v1"


@dataclasses.dataclass
class _Meta:
    shape: tuple[int, ...] = ()
    number: int = 0
    parts: list[tuple[slices.Extents, memoryview, int]] = dataclasses.field(default_factory=list)


def read(path: str, shards: Sequence[str] = ()) -> lazy.WeightFile:
    """The tensors of the checkpoint `path`, or of its files `shards`.

    Raises:
        CorruptFile: a file is damaged.
    """
    metas: dict[str, _Meta] = {}
    for file in shards or [path]:
        with lazy.reading(file):
            _read_file(lazy.read_all(file), metas)
    entries = {}
    with lazy.reading(path):
        for name, meta in metas.items():
            if meta.number in tensor_proto.NOT_ARRAYS:
                continue
            dtype = tensor_proto.numpy_dtype(meta.number)
            entries[name] = lazy.Entry(meta.shape, dtype, functools.partial(_read_tensor, meta))
    return lazy.WeightFile(path, FORMAT, entries)


def _read_file(data: bytes, metas: dict[str, _Meta]) -> None:
    announced: dict[str, list[slices.Extents]] = {}
    values: dict[bytes, memoryview] = {}
    for key, value in table.read(data):
        for number, kind, field in wire.fields(value):
            if key == b"" and number == 1:
                _read_meta(wire.as_bytes(number, kind, field), metas, announced)
            elif key != b"" and number == 2:
                values[key] = wire.as_bytes(number, kind, field)
    for name, extents_list in announced.items():
        for extents in extents_list:
            slice_value = values.get(slices.table_key(name, extents))
            if slice_value is None:
                raise CorruptFile(f"the values of {name!r} are missing")
            tensor = None
            for number, kind, field in wire.fields(slice_value):
                if number == 1 and wire.as_text(number, kind, field) != name:
                    raise CorruptFile(f"the values of {name!r} bear another name")
                if number == 3:
                    tensor = wire.as_bytes(number, kind, field)
            if tensor is None:
                raise CorruptFile(f"the values of {name!r} are missing")
            metas[name].parts.append((extents, tensor, len(data)))


def _read_meta(
    buf: memoryview, metas: dict[str, _Meta], announced: dict[str, list[slices.Extents]]
) -> None:
    for number, kind, value in wire.fields(buf):
        if number != 1:
            continue
        name, dtype, parts = "", 0, []
        shape: tuple[int, ...] = ()
        for inner in wire.fields(wire.as_bytes(number, kind, value)):
            if inner[0] == 1:
                name = wire.as_text(*inner)
            elif inner[0] == 2:
                shape = tensor_proto.shape(wire.as_bytes(*inner))
            elif inner[0] == 3:
                dtype = wire.as_uint(*inner)
            elif inner[0] == 4:
                parts.append(slices.parse(wire.as_bytes(*inner)))
        if not name or name in announced:
            raise CorruptFile(f"the tensor name {name!r} is empty or given twice")
        meta = metas.setdefault(name, _Meta(shape, dtype))
        if (meta.shape, meta.number) != (shape, dtype):
            raise CorruptFile(f"the files of the checkpoint disagree about {name!r}")
        announced[name] = parts


def _read_tensor(meta: _Meta) -> np.ndarray:
    dtype = tensor_proto.numpy_dtype(meta.number)
    held = max((size for _, _, size in meta.parts), default=0)
    lazy.checked_size(meta.shape, dtype.itemsize, held)
    whole = slices.Assembly(meta.shape, dtype)
    for extents, buf, size in meta.parts:
        where = slices.bounds(extents, meta.shape)
        proto = tensor_proto.TensorProto(buf, size)
        # The values are a flat list; the shape is the slice's, not the message's.
        proto.number = meta.number
        proto.shape = tuple(cut.stop - cut.start for cut in where)
        whole.put(where, proto.array())
    return whole.finish()
