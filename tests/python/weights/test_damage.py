"""Damaged files of weights: `CorruptFile` and nothing else; no hang, no huge allocation.

A damaged file may also still be whole (a flipped bit in an unused byte, or in a format that has no
checksums); then its arrays are read without complaint. Where there are checksums, damage is always
found or the arrays are those that were saved.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from conv3d.weights import CorruptFile, checkpoint_v2, crc32c, load, safetensors, table, wire

DATA = Path(__file__).parents[2] / "data" / "weights"


def build(kind: str, folder: Path) -> tuple[Path, Path]:
    """Puts a file of `kind` into `folder`: the path to load, and the file to damage."""
    arrays = {
        "a/kernel": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32),
        "b": np.arange(5),
    }
    if kind == "npz":
        np.savez(folder / "w.npz", **arrays)
        return folder / "w.npz", folder / "w.npz"
    if kind == "npz_compressed":
        np.savez_compressed(folder / "w.npz", **arrays)
        return folder / "w.npz", folder / "w.npz"
    if kind == "safetensors":
        safetensors.write(str(folder / "w.safetensors"), arrays)
        return folder / "w.safetensors", folder / "w.safetensors"
    if kind == "keras_zip":
        with zipfile.ZipFile(folder / "w.keras", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(DATA / "keras_weights.h5", "model.weights.h5")
        return folder / "w.keras", folder / "w.keras"
    if kind in ("index", "data", "state"):
        shutil.copytree(DATA / "v2", folder, dirs_exist_ok=True)
        suffix = {"index": "index", "data": "data-00000-of-00001"}.get(kind)
        state = folder / "checkpoint"
        return folder, folder / f"model.ckpt-7.{suffix}" if suffix else state
    if kind == "saved_model":
        (folder / "saved_model.pb").write_bytes(
            wire.put_int(1, 1)
            + wire.put_bytes(2, wire.put_bytes(2, (DATA / "frozen.pb").read_bytes()))
        )
        return folder, folder / "saved_model.pb"
    name = {"v1": "v1/model.ckpt", "graph": "constants.pb", "h5": "keras_weights.h5"}[kind]
    target = folder / Path(name).name
    shutil.copy(DATA / name, target)
    return target, target


KINDS = [
    "index", "data", "state", "v1", "graph", "saved_model", "npz", "npz_compressed", "safetensors",
]  # fmt: skip
if importlib.util.find_spec("h5py"):
    KINDS += ["h5", "keras_zip"]
CHECKSUMMED = {"index", "data", "v1", "npz", "npz_compressed", "keras_zip"}


def read_everything(path: Path) -> tuple[dict[str, np.ndarray], int]:
    """Every array that can be read, and how many were refused one by one."""
    found = load(path)
    out = {}
    for name in found:
        try:
            out[name] = found[name]
        except (CorruptFile, FileNotFoundError):
            pass
    return out, len(found) - len(out)


def survives(path: Path, whole: dict[str, np.ndarray] | None) -> bool:
    """Loads a damaged file; True if it was refused. Any other exception fails the test."""
    try:
        found, refused = read_everything(path)
    except (CorruptFile, FileNotFoundError):
        return True
    if whole is not None:
        for name, array in found.items():
            if name in whole:
                assert array.shape == whole[name].shape
                assert array.tobytes() == whole[name].tobytes() or array.dtype == object
    return refused > 0


@pytest.mark.parametrize("kind", KINDS)
def test_truncated(kind, tmp_path):
    path, target = build(kind, tmp_path)
    raw = target.read_bytes()
    step = max(1, len(raw) // (150 if kind in ("h5", "keras_zip") else 700))
    refused = total = 0
    for size in range(0, len(raw), step):
        target.write_bytes(raw[:size])
        refused += survives(path, None)
        total += 1
    # A graph cut between two nodes and a state file cut between two lines are whole.
    assert refused > total * (0.5 if kind in ("state", "graph") else 0.98)


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits(kind, tmp_path):
    path, target = build(kind, tmp_path)
    whole, refused = read_everything(path)
    assert whole and not refused
    raw = target.read_bytes()
    rng = np.random.default_rng(7)
    count = 200 if kind in ("h5", "keras_zip") else 800
    places = rng.permutation(8 * len(raw))[:count]
    for place in places.tolist():
        damaged = bytearray(raw)
        damaged[place // 8] ^= 1 << place % 8
        target.write_bytes(damaged)
        survives(path, whole if kind in CHECKSUMMED else None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_overwritten_and_inserted_bytes(kind, seed, tmp_path):
    path, target = build(kind, tmp_path)
    raw = target.read_bytes()
    rng = np.random.default_rng(seed)
    pieces = [
        b"\xff" * 9 + b"\x01", b"\xff" * 8, b"\0" * 8, struct.pack("<Q", 1 << 63), b"\x80" * 12,
        struct.pack("<Q", (1 << 62) - 1), b"9" * 30, b"\x0a\xff\xff\xff\xff\x0f",
    ]  # fmt: skip
    for _ in range(60):
        damaged = bytearray(raw)
        place = int(rng.integers(0, len(raw)))
        piece = pieces[int(rng.integers(len(pieces)))]
        if rng.integers(2):
            damaged[place : place + len(piece)] = piece
        else:
            damaged[place:place] = piece
        target.write_bytes(damaged)
        survives(path, None)


@pytest.mark.parametrize("suffix", [".pb", ".index", ".npz", ".h5", ".keras", ".safetensors", ""])
def test_noise(suffix, tmp_path):
    rng = np.random.default_rng(0)
    for size in (0, 1, 7, 8, 9, 47, 48, 100, 5000):
        target = tmp_path / f"noise{suffix}"
        for data in (rng.integers(0, 256, size, np.uint8).tobytes(), bytes(size), b"\n" * size):
            target.write_bytes(data)
            with pytest.raises(CorruptFile):
                found = load(target)
                assert not found, "noise was taken for a file of weights"
                raise CorruptFile("an empty graph")


# ---- forged but well-formed files ----------------------------------------------------------------


def forged_index(tmp_path: Path, entry: bytes, shards: int = 1) -> Path:
    items = [(b"", wire.put_int(1, shards)), (b"x", entry)]
    (tmp_path / "m.index").write_bytes(table.write(items))
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(64))
    return tmp_path / "m"


def shape(*dims: int) -> bytes:
    return wire.put_bytes(2, b"".join(wire.put_bytes(2, wire.put_int(1, dim)) for dim in dims))


FLOAT = wire.put_int(1, 1)


@pytest.mark.parametrize(
    "entry",
    [
        FLOAT + shape(4) + wire.put_int(5, 16) + wire.put_int(3, 1),  # shard beyond the number
        FLOAT + shape(4) + wire.put_int(5, 16) + wire.put_int(3, -1),
        FLOAT + shape(4) + wire.put_int(5, 1 << 62) + wire.put_int(4, 1 << 62),  # sum overflows
        FLOAT + shape(4) + wire.put_int(5, 16) + wire.put_int(4, (1 << 63) - 8),
        FLOAT + shape(4) + wire.put_int(5, 16) + wire.put_int(4, -8),
        FLOAT + shape(4) + wire.put_int(5, 16) + wire.put_int(4, 49),  # one byte too far
        FLOAT + shape(1 << 62) + wire.put_int(5, 16),
        FLOAT + shape(1 << 32, 1 << 32, 0) + wire.put_int(5, 0),
        FLOAT + shape(-4) + wire.put_int(5, 16),
        FLOAT + shape(4) + wire.put_int(5, 12),
        FLOAT + shape(*[1] * 40) + wire.put_int(5, 4),
        FLOAT + shape(4) + wire.put_int(5, 16) + wire.put_fixed32(6, 0),  # checksum
        wire.put_int(1, 99) + shape(4) + wire.put_int(5, 16),  # dtype
        wire.put_int(1, 7) + shape(1 << 40) + wire.put_int(5, 64),  # strings
        FLOAT + shape(4) + wire.put_bytes(7, wire.put_bytes(1, b"")),  # slices without values
    ],
)
def test_forged_entry(tmp_path, entry):
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFile):
            load(forged_index(tmp_path, entry))["x"]
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shards", [-1, 1 << 40])
def test_forged_number_of_shards(tmp_path, shards):
    with pytest.raises(CorruptFile):
        load(forged_index(tmp_path, FLOAT + shape(), shards))


def test_name_with_nul(tmp_path):
    entry = FLOAT + shape(1) + wire.put_int(5, 4)
    (tmp_path / "m.index").write_bytes(table.write([(b"", wire.put_int(1, 1)), (b"x\0y", entry)]))
    with pytest.raises(CorruptFile, match="NUL"):
        load(tmp_path / "m")
    node = wire.put_bytes(1, b"x\0y") + wire.put_bytes(2, "Const")
    (tmp_path / "g.pb").write_bytes(wire.put_bytes(1, node))
    with pytest.raises(CorruptFile, match="NUL"):
        load(tmp_path / "g.pb")


def test_overlapping_slices(tmp_path):
    values = np.arange(4, dtype=np.float32)
    parts = [
        checkpoint_v2.Part("x", values, (8,), ((0, 4),)),
        checkpoint_v2.Part("x", values, (8,), ((3, 4),)),
    ]
    checkpoint_v2.write(str(tmp_path / "m"), parts)
    with pytest.raises(CorruptFile, match="overlap"):
        load(tmp_path / "m")["x"]
    checkpoint_v2.write(str(tmp_path / "m"), parts[:1])
    with pytest.raises(CorruptFile, match="4 of its 8"):
        load(tmp_path / "m")["x"]


def test_blocks_that_point_at_one_block_many_times():
    """The same block listed a million times would take hours; overlap is refused at the second."""
    out = bytearray()

    def append(body: bytes) -> bytes:
        handle = wire.put_varint(len(out)) + wire.put_varint(len(body))
        out.extend(body + b"\0" + struct.pack("<I", crc32c.masked_crc32c(body + b"\0")))
        return handle

    handle = append(table._put_block([], 1) + bytes(100_000))
    meta = append(table._put_block([], 1))
    index = append(table._put_block([(b"%06d" % i, handle) for i in range(50_000)], 1))
    with pytest.raises(CorruptFile):
        list(table.read(bytes(out + (meta + index).ljust(40, b"\0") + table.MAGIC)))


def constant(tensor: bytes) -> bytes:
    value = wire.put_bytes(1, "value") + wire.put_bytes(2, wire.put_bytes(8, tensor))
    node = wire.put_bytes(1, "x") + wire.put_bytes(2, "Const") + wire.put_bytes(5, value)
    return wire.put_bytes(1, node)


@pytest.mark.parametrize(
    "tensor",
    [
        FLOAT + shape(1 << 62) + wire.put_float(5, 1),
        FLOAT + shape(1 << 20, 1 << 20) + wire.put_float(5, 1),
        FLOAT + shape(2) + wire.put_bytes(4, b"abc"),
        FLOAT + shape(2) + wire.put_bytes(5, b"abc"),
        FLOAT + shape(2) + wire.put_bytes(5, bytes(12)),
        FLOAT + shape(2) + wire.put_int(5, 3),
        FLOAT + wire.put_bytes(2, wire.put_int(3, 1)),
        wire.put_int(1, 3) + shape(2) + wire.put_bytes(7, b"\x80"),
        wire.put_int(1, 8) + shape(2) + wire.put_float(9, 1),
        wire.put_int(1, 0) + shape(2),
        wire.put_int(1, 7) + shape(1) + wire.put_bytes(4, b"abc"),
    ],
)
def test_forged_constant(tmp_path, tensor):
    (tmp_path / "g.pb").write_bytes(constant(tensor))
    tracemalloc.start()
    try:
        with pytest.raises(CorruptFile):
            load(tmp_path / "g.pb")["x"]
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_node_twice_and_constant_without_value(tmp_path):
    once = constant(FLOAT + shape())
    (tmp_path / "g.pb").write_bytes(once + once)
    with pytest.raises(CorruptFile, match="two nodes"):
        load(tmp_path / "g.pb")
    node = wire.put_bytes(1, "x") + wire.put_bytes(2, "Const")
    (tmp_path / "g.pb").write_bytes(wire.put_bytes(1, node))
    with pytest.raises(CorruptFile, match="no value"):
        load(tmp_path / "g.pb")


def put_safetensors(path: Path, header: object, data: bytes = bytes(16)) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize(
    "item",
    [
        {"dtype": "F32", "shape": [4], "data_offsets": [0, 1 << 62]},
        {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},  # a hole at the end
        {"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]},
        {"dtype": "F99", "shape": [4], "data_offsets": [0, 16]},
        {"dtype": [], "shape": [4], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [True], "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": "4", "data_offsets": [0, 16]},
        {"dtype": "F32", "shape": [4]},
        None,
        7,
    ],
)
def test_forged_safetensors(tmp_path, item):
    put_safetensors(tmp_path / "w", {"x": item})
    with pytest.raises(CorruptFile):
        load(tmp_path / "w")["x"]


def test_safetensors_overlap_and_deep_json(tmp_path):
    item = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    put_safetensors(tmp_path / "w", {"x": item, "y": item})
    with pytest.raises(CorruptFile, match="overlap"):
        load(tmp_path / "w")
    text = b'{"x":' + b"[" * 100_000
    (tmp_path / "w").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(CorruptFile):
        load(tmp_path / "w")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 4}",
        "{'descr': '|O', 'fortran_order': False, 'shape': ()}",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,)}",
        "{'descr': 'nonsense', 'fortran_order': False, 'shape': (4,)}",
        "{'descr': '<f4', 'shape': (4,)}",
        "[]",
        "(" * 3000,
        "__import__('os').getpid()",
    ],
)
def test_forged_npz(tmp_path, header):
    text = header.encode()
    member = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(16)
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        archive.writestr("x.npy", member)
    with pytest.raises(CorruptFile):
        load(tmp_path / "w.npz")["x"]


def test_pytorch_pickle_is_pointed_elsewhere(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"cos\nsystem\n")
    with pytest.raises(CorruptFile, match="safetensors"):
        load(tmp_path / "m.pt")


def test_checkpoint_state_damage(tmp_path):
    for text in (b'model_checkpoint_path: "a', b"model_checkpoint_path: a", b"\xff\xfe", b"x: 1\n",
                 b'model_checkpoint_path: "a"\nall_model_checkpoint_timestamps: soon\n',
                 b'model_checkpoint_path: "\\377"',
                 b'model_checkpoint_path: "a\\000b"'):  # fmt: skip
        (tmp_path / "checkpoint").write_bytes(text)
        with pytest.raises(CorruptFile):
            load(tmp_path)
