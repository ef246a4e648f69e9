"""`load`: finds out what a path is, by its content, and hands it to the reader of that format."""

from __future__ import annotations

import os
import re
import zipfile

from conv3d.errors import CorruptFile
from conv3d.weights import (
    checkpoint_state,
    checkpoint_v1,
    checkpoint_v2,
    graph_def,
    keras,
    lazy,
    npz,
    onnx,
    safetensors,
    saved_model,
    table,
)

_DATA_FILE = re.compile(r"(.+)\.data-\d{5}-of-\d{5}$", re.DOTALL)
_V1_SHARD = re.compile(r"(.+)-\d{5}-of-(\d{5})$", re.DOTALL)


def load(path: str | os.PathLike[str]) -> lazy.WeightFile:
    """Opens a file of weights: a mapping from names to arrays that reads each array when asked.

    The format is found by content, not by suffix:

    - TensorFlow checkpoints V2 and V1, given as the prefix (`model.ckpt-7`), the `.index`, a
      `.data-...`
      or the `.meta` file, the text file `checkpoint`, or the folder that holds it; partitioned
      variables are put together;
    - frozen TensorFlow graphs (`graph.pb`): the constants by node name;
    - TensorFlow SavedModels, given as the folder or its `saved_model.pb`: the variables;
    - `.npz`, safetensors, Keras `.h5` and `.keras` (needs h5py), ONNX models (needs onnx).

    Names are as stored. Layouts too: TensorFlow and Keras keep filters of a 3-D convolution as
    `[kd, kh, kw, in, out]`, ONNX and PyTorch as `[out, in, kd, kh, kw]`. bfloat16 comes as
    ml_dtypes' dtype, or as float32 where ml_dtypes is not installed.

    Args:
        path: the file, folder or checkpoint prefix.

    Returns:
        A read-only mapping; each access reads the file again and returns a fresh array.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        CorruptFile: the file is damaged or of no known format.
        ImportError: the format needs an optional library; the message names the extra.
        TypeError: `path` is no path.
    """
    name = os.fsdecode(path)
    if not name or "\0" in name:
        raise FileNotFoundError(f"path: {name!r} names no file")
    if os.path.isdir(name):
        return _load_folder(name)
    if not os.path.isfile(name):
        return _load_prefix(name)
    match = _DATA_FILE.match(name)
    if match and os.path.isfile(match.group(1) + ".index"):
        return checkpoint_v2.read(match.group(1))
    if name.endswith(".meta") and os.path.isfile(name[:-5] + ".index"):
        return checkpoint_v2.read(name[:-5])
    return _load_file(name)


def _load_folder(folder: str) -> lazy.WeightFile:
    if saved_model.is_saved_model(folder):
        return saved_model.read(folder)
    state = os.path.join(folder, "checkpoint")
    if os.path.isfile(state):
        return _load_state(state)
    raise FileNotFoundError(
        f"{folder}: the folder holds neither a SavedModel nor a `checkpoint` file"
    )


def _load_state(path: str) -> lazy.WeightFile:
    """The checkpoint that a state file names; never another state file, which could be itself."""
    prefix = checkpoint_state.newest(path)
    return _load_table(prefix) if os.path.isfile(prefix) else _load_prefix(prefix)


def _load_prefix(prefix: str) -> lazy.WeightFile:
    if os.path.isfile(prefix + ".index"):
        return checkpoint_v2.read(prefix)
    shards = v1_shards(prefix)
    if shards:
        return checkpoint_v1.read(prefix, shards)
    raise FileNotFoundError(f"{prefix}: there is no such file, nor a checkpoint of this prefix")


def v1_shards(prefix: str) -> list[str]:
    """The files of a sharded V1 checkpoint, all of them or none.

    Raises:
        FileNotFoundError: some are missing.
    """
    folder, base = os.path.split(prefix)
    try:
        names = os.listdir(folder or ".")
    except (FileNotFoundError, NotADirectoryError):
        return []
    for name in names:
        match = _V1_SHARD.match(name)
        if match and match.group(1) == base:
            count = int(match.group(2))
            shards = [f"{prefix}-{shard:05d}-of-{count:05d}" for shard in range(count)]
            missing = [shard for shard in shards if os.path.basename(shard) not in names]
            if missing:
                raise FileNotFoundError(f"{missing[0]}: this part of the checkpoint is missing")
            return shards
    return []


def _load_file(path: str) -> lazy.WeightFile:
    with open(path, "rb") as stream:
        head = stream.read(4096)
        size = os.fstat(stream.fileno()).st_size
        stream.seek(max(0, size - 8))
        tail = stream.read(8)
    if not size:
        raise CorruptFile(f"{path}: the file is empty")
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _load_zip(path)
    if _has_hdf5_signature(path, size):
        return keras.read_h5(path)
    if table.is_table(tail):
        return _load_table(path)
    if safetensors.looks_like(head, size):
        return safetensors.read(path)
    if head.lstrip().startswith(b"model_checkpoint_path"):
        return _load_state(path)
    if not path.endswith((".index", ".npz", ".h5", ".keras", ".safetensors")):
        data = lazy.read_all(path)
        kind = graph_def.looks_like(memoryview(data))
        if kind in ("graph", "meta_graph"):
            return graph_def.read(path, data)
        if kind == "saved_model":
            return saved_model.read(os.path.dirname(path), path)
        if kind == "onnx":
            return onnx.read(path)
    if _DATA_FILE.match(path):
        raise FileNotFoundError(f"{path}: the `.index` file of this checkpoint is missing")
    raise CorruptFile(
        f"{path}: is no TensorFlow checkpoint, GraphDef or SavedModel, .npz, safetensors, Keras or "
        "ONNX file, or its beginning or end is damaged"
    )


def _has_hdf5_signature(path: str, size: int) -> bool:
    """HDF5 allows a user block before its signature, of 0, 512, 1024, 2048, ... bytes."""
    with open(path, "rb") as stream:
        place = 0
        while place + 8 <= size:
            stream.seek(place)
            if stream.read(8) == keras.SIGNATURE:
                return True
            place = max(512, 2 * place)
    return False


def _load_zip(path: str) -> lazy.WeightFile:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError) as error:
        raise CorruptFile(f"{path}: the archive is damaged: {error}") from error
    if keras.ZIP_MEMBER in names:
        return keras.read_zip(path)
    if any(name.endswith("data.pkl") for name in names):
        raise CorruptFile(
            f"{path}: is a pickle of PyTorch, which is never unpickled here; save the state_dict "
            "as safetensors, or pass torch.load(path, weights_only=True) on"
        )
    if names and not any(name.endswith(".npy") for name in names):
        raise CorruptFile(f"{path}: the archive holds no arrays")
    return npz.read(path)


def _load_table(path: str) -> lazy.WeightFile:
    with lazy.reading(path):
        for key, value in table.read(lazy.read_all(path)):
            if key != b"":
                break
            if not checkpoint_v2.is_header(value):
                return checkpoint_v1.read(path, _shards_of(path))
            if not path.endswith(".index"):
                raise CorruptFile("an index of a V2 checkpoint has to be named PREFIX.index")
            return checkpoint_v2.read(path[: -len(".index")])
        raise CorruptFile("the table is not a checkpoint: its first key is not the empty one")


def _shards_of(path: str) -> list[str]:
    match = _V1_SHARD.match(path)
    return v1_shards(match.group(1)) if match else []
