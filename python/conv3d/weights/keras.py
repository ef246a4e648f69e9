"""Keras' files: `.h5` (whole models and weights of Keras 1 and 2, weights of Keras 3) and `.keras`.

Keras 2 keeps one group per layer with the attribute `weight_names`; its arrays get those names,
without the `:0` at their end (`conv3d/kernel`). Keras 3 keeps unnamed arrays
`layers/conv3d/vars/0`; they get their path. A `.keras` file is a zip archive whose member
`model.weights.h5` is the latter.

HDF5 is read by h5py, which is imported when needed. Links to other files are not followed.
"""

from __future__ import annotations

import functools
import io
import os
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any, TypeVar

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import lazy

H5_FORMAT = "keras_h5"
ZIP_FORMAT = "keras_zip"
ZIP_MEMBER = "model.weights.h5"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
# A chunk filter (deflate) expands by at most about this much.
_EXPANSION = 1032

_T = TypeVar("_T")
Source = Callable[[], IO[bytes]]


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "Keras' .h5 and .keras files need h5py: pip install 'conv3d[keras]'"
        ) from error
    return h5py


def read_h5(path: str) -> lazy.WeightFile:
    """The weights in the HDF5 file `path`.

    Raises:
        CorruptFile: the file is damaged.
        ImportError: h5py is not installed.
    """
    return lazy.WeightFile(path, H5_FORMAT, _entries(path, lambda: open(path, "rb")))


def read_zip(path: str) -> lazy.WeightFile:
    """The weights in the `.keras` archive `path`; see `read_h5`."""
    limit = 64 * os.stat(path).st_size + (1 << 24)

    def unpack() -> IO[bytes]:
        try:
            with zipfile.ZipFile(path) as archive:
                info = archive.getinfo(ZIP_MEMBER)
                if info.file_size > limit:
                    raise CorruptFile(f"{ZIP_MEMBER} claims {info.file_size} bytes")
                return io.BytesIO(archive.read(info))
        except (
            zipfile.BadZipFile,
            zlib.error,
            NotImplementedError,
            RuntimeError,
            EOFError,
        ) as error:
            raise CorruptFile(f"the archive is damaged: {error}") from error

    return lazy.WeightFile(path, ZIP_FORMAT, _entries(path, unpack))


def _entries(path: str, source: Source) -> dict[str, lazy.Entry]:
    h5py = _h5py()
    with lazy.reading(path):
        return _guard(lambda: _walk(h5py, source))


def _guard(action: Callable[[], _T]) -> _T:
    """Runs `action`; whatever the HDF5 library says about a damaged file becomes `CorruptFile`."""
    try:
        return action()
    except (CorruptFile, ImportError, FileNotFoundError, PermissionError):
        raise
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError,
            OverflowError, SystemError, NotImplementedError) as error:  # fmt: skip
        raise CorruptFile(f"the HDF5 file is damaged: {type(error).__name__}: {error}") from error


def _walk(h5py: Any, source: Source) -> dict[str, lazy.Entry]:
    with source() as stream, h5py.File(stream, "r") as file:
        paths: list[str] = []

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                paths.append(name)

        file.visititems(visit)  # each object once, no soft and no external links
        names = _weight_names(h5py, file)
        size = stream.seek(0, os.SEEK_END)
        entries: dict[str, lazy.Entry] = {}
        for path in paths:
            dataset = file[path]
            if dataset.dtype.kind not in "biufcSOV" or dataset.shape is None:
                continue
            if dataset.dtype.hasobject or dataset.dtype.kind == "V":
                continue  # text and tables are settings, not weights
            if path.startswith("optimizer_weights/") and names:
                continue
            name = names.get(path, path)
            if name in entries:
                name = path
            _check(dataset, size)
            entries[name] = lazy.Entry(
                tuple(dataset.shape),
                dataset.dtype.newbyteorder("="),
                functools.partial(_read_dataset, source, path),
            )
        return entries


def _weight_names(h5py: Any, file: Any) -> dict[str, str]:
    """Path of each dataset -> the name Keras 2 gave the weight."""
    root = file["model_weights"] if "model_weights" in file else file
    prefix = root.name.strip("/") + "/" if root.name != "/" else ""
    out = {}
    for layer, group in root.items():
        if not isinstance(group, h5py.Group) or "weight_names" not in group.attrs:
            continue
        for raw in group.attrs["weight_names"]:
            name = raw.decode("utf-8") if isinstance(raw, bytes) else str(raw)
            out[f"{prefix}{layer}/{name}"] = name.removesuffix(":0")
    return out


def _check(dataset: Any, file_size: int) -> None:
    if dataset.is_virtual or dataset.external:
        raise CorruptFile(f"the dataset {dataset.name!r} refers to other files")
    count = 1
    for size in dataset.shape:
        count *= size
    stored = dataset.id.get_storage_size()
    limit = file_size if dataset.chunks is None else _EXPANSION * file_size
    if stored > file_size or count * dataset.dtype.itemsize > max(limit, 1 << 16):
        raise CorruptFile(
            f"the dataset {dataset.name!r} of shape {list(dataset.shape)} does not fit a file of "
            f"{file_size} bytes"
        )


def _read_dataset(source: Source, path: str) -> np.ndarray:
    h5py = _h5py()

    def action() -> np.ndarray:
        with source() as stream, h5py.File(stream, "r") as file:
            dataset = file[path]
            _check(dataset, stream.seek(0, os.SEEK_END))
            values = np.asarray(dataset[()])
            return np.array(values, dtype=values.dtype.newbyteorder("="))

    return _guard(action)
