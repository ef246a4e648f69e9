"""`weights.load` on files that TensorFlow 1.15, Keras and others wrote: every array bit for bit."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from conv3d import weights
from conv3d.weights import (
    CorruptFile,
    WeightFile,
    checkpoint_state,
    checkpoint_v2,
    load,
    npz,
    safetensors,
    tensor_proto,
)

DATA = Path(__file__).parents[2] / "data" / "weights"


def check(found: WeightFile, expected: str, *, extra: set[str] = frozenset(), missing=frozenset()):
    want = np.load(DATA / f"expected_{expected}.npz")
    assert set(found) == (set(want) | extra) - missing
    for name in set(want) - missing:
        array = found[name]
        assert array.shape == found.shape(name) == want[name].shape
        assert array.dtype == found.dtype(name)
        assert array.flags.c_contiguous and array.flags.writeable
        if "brain" not in name:
            assert array.dtype == want[name].dtype, name
        np.testing.assert_array_equal(array.astype(want[name].dtype), want[name], err_msg=name)


@pytest.mark.parametrize(
    "path",
    [
        "v2",
        "v2/checkpoint",
        "v2/model.ckpt-7",
        "v2/model.ckpt-7.index",
        "v2/model.ckpt-7.data-00000-of-00001",
    ],
)
def test_checkpoint_v2_by_any_of_its_names(path):
    found = load(DATA / path)
    assert found.format == "tf_checkpoint_v2"
    check(found, "v2", extra={"net/words"})
    assert found["net/words"].tolist() == [b"one", b"", b"three\0"]


def test_meta_file_stands_for_its_checkpoint(tmp_path):
    for file in (DATA / "v2").glob("model*"):
        shutil.copy(file, tmp_path)
    (tmp_path / "model.ckpt-7.meta").write_bytes(b"whatever")
    assert load(tmp_path / "model.ckpt-7.meta").format == "tf_checkpoint_v2"


def test_partitioned_variable_is_put_together():
    found = load(DATA / "v2")
    assert found.shape("parts/conv3d/kernel") == (2, 2, 2, 2, 7)
    assert not any("part_" in name for name in found)


@pytest.mark.parametrize("path", ["v1", "v1/model.ckpt", "v1/sharded.ckpt"])
def test_checkpoint_v1(path):
    found = load(DATA / path)
    assert found.format == "tf_checkpoint_v1"
    check(found, "v2", missing={"net/brain", "net/empty"})


def test_frozen_graph():
    found = load(DATA / "frozen.pb")
    want = np.load(DATA / "expected_frozen.npz")
    assert found.format == "tf_graph_def"
    for name in want:
        np.testing.assert_array_equal(found[name], want[name])


def test_constants_of_every_dtype():
    found = load(DATA / "constants.pb")
    check(found, "constants", extra={"words"})
    assert found["words"].tolist() == [b"a", b"", b"ccc"]


@pytest.mark.parametrize("path", ["saved_model", "saved_model/saved_model.pb"])
def test_saved_model(path):
    found = load(DATA / path)
    assert found.format == "tf_saved_model"
    check(found, "saved_model")


def test_saved_model_without_variables_gives_the_constants_of_its_graph(tmp_path):
    graph = (DATA / "frozen.pb").read_bytes()
    from conv3d.weights import wire

    (tmp_path / "saved_model.pb").write_bytes(
        wire.put_int(1, 1) + wire.put_bytes(2, wire.put_bytes(2, graph))
    )
    assert set(load(tmp_path)) == set(load(DATA / "frozen.pb"))


@pytest.mark.parametrize("file", ["keras_model.h5", "keras_weights.h5"])
def test_keras_2_file_has_plain_names(file):
    pytest.importorskip("h5py")
    found = load(DATA / file)
    assert found.format == "keras_h5"
    check(found, "keras")


def test_keras_3_archive(tmp_path):
    h5py = pytest.importorskip("h5py")
    kernel = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layers/conv3d/vars/0"] = kernel
        file.create_dataset(
            "layers/conv3d/vars/1", data=np.zeros(9), compression="gzip", chunks=(3,)
        )
        file["loop"] = h5py.SoftLink("/")
        file["away"] = h5py.ExternalLink("elsewhere.h5", "/secret")
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(tmp_path / "weights.h5", "model.weights.h5")
    found = load(tmp_path / "model.keras")
    assert found.format == "keras_zip"
    assert set(found) == {"layers/conv3d/vars/0", "layers/conv3d/vars/1"}
    np.testing.assert_array_equal(found["layers/conv3d/vars/0"], kernel)


def test_hdf5_external_storage_is_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(b"s" * 64)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", (8,), "f8", external=[(str(tmp_path / "secret"), 0, 64)])
    with pytest.raises(CorruptFile, match="other files"):
        load(tmp_path / "x.h5")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    arrays = {
        "a/kernel": np.random.default_rng(0).standard_normal((3, 2, 4)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "swapped": np.arange(5, dtype=">i4"),
        "scalar": np.float32(3),
        "empty": np.zeros((0, 4)),
    }
    save(tmp_path / "w.npz", **arrays)
    found = load(tmp_path / "w.npz")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype.isnative and found[name].flags.c_contiguous


def test_npz_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([print], dtype=object))
    with pytest.raises(CorruptFile, match="never unpickled"):
        load(tmp_path / "w.npz")


def test_npz_write_round_trip(tmp_path):
    arrays = {"x/y": np.arange(6.0).reshape(2, 3), "step": np.array(7, np.int64)}
    npz.write(str(tmp_path / "w.npz"), arrays)
    for found in (load(tmp_path / "w.npz"), np.load(tmp_path / "w.npz")):
        np.testing.assert_array_equal(found["x/y"], arrays["x/y"])
        assert found["step"].shape == ()
    with pytest.raises(TypeError, match="cannot be stored"):
        npz.write(str(tmp_path / "v.npz"), {"o": np.array([None], object)})
    assert [p.name for p in tmp_path.iterdir()] == ["w.npz"]


def test_safetensors_of_the_reference_library(tmp_path):
    reference = pytest.importorskip("safetensors.numpy")
    rng = np.random.default_rng(0)
    arrays = {
        f"t/{dtype}": (rng.standard_normal((2, 3)) * 9).astype(dtype)
        for dtype in ("f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")
    }
    arrays["scalar"] = np.array(2.5, np.float32)
    arrays["empty"] = np.zeros((0, 3), np.float32)
    reference.save_file(arrays, tmp_path / "theirs.safetensors", metadata={"format": "np"})
    safetensors.write(str(tmp_path / "ours.safetensors"), arrays)
    theirs = reference.load_file(tmp_path / "ours.safetensors")
    ours = load(tmp_path / "theirs.safetensors")
    assert set(theirs) == set(ours) == set(arrays)
    for name, array in arrays.items():
        for found in (theirs[name], ours[name]):
            assert found.dtype == array.dtype
            np.testing.assert_array_equal(found, array)


def test_bfloat16_safetensors(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.array([1.5, -2.25, 1e30], ml_dtypes.bfloat16)
    safetensors.write(str(tmp_path / "w"), {"a": array})
    found = load(tmp_path / "w")["a"]
    assert found.dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(found, array)


def test_bfloat16_without_ml_dtypes_is_widened_exactly(monkeypatch):
    from conv3d.weights import tensor_proto

    monkeypatch.setattr(tensor_proto, "bfloat16", lambda: None)
    found = load(DATA / "constants.pb")["brain"]
    assert found.dtype == np.float32
    assert found.tolist() == [1.5, -2.0]


def test_onnx_initialisers(tmp_path):
    onnx = pytest.importorskip("onnx")
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["w"], ["y"])],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3, 4])],
        [onnx.numpy_helper.from_array(array, "w")],
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "net")
    found = load(tmp_path / "net")
    assert found.format == "onnx"
    np.testing.assert_array_equal(found["w"], array)


def test_missing_optional_library_names_the_extra(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"conv3d\[keras\]"):
        load(DATA / "keras_model.h5")
    from conv3d.weights import wire

    (tmp_path / "m.onnx").write_bytes(wire.put_int(1, 8) + wire.put_bytes(7, b""))
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"conv3d\[onnx\]"):
        load(tmp_path / "m.onnx")


@pytest.mark.parametrize("path", ["nothing", "nothing/at/all", "", "a\0b"])
def test_missing_file(path):
    with pytest.raises(FileNotFoundError):
        load(path)


def test_missing_parts(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path)
    shutil.copy(DATA / "v2" / "model.ckpt-7.index", tmp_path / "m.index")
    found = load(tmp_path / "m")
    with pytest.raises(FileNotFoundError):
        found["net/wide"]
    with pytest.raises(KeyError):
        found["no such"]
    shutil.copy(
        DATA / "v2" / "model.ckpt-7.data-00000-of-00001", tmp_path / "n.data-00000-of-00001"
    )
    with pytest.raises(FileNotFoundError, match="index"):
        load(tmp_path / "n.data-00000-of-00001")
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "gone"\n')
    with pytest.raises(FileNotFoundError, match="gone"):
        load(tmp_path)


def test_moved_checkpoint_folder(tmp_path):
    shutil.copytree(DATA / "v2", tmp_path / "run")
    (tmp_path / "run" / "checkpoint").write_text(
        'model_checkpoint_path: "/old/machine/model.ckpt-7"\n'
    )
    assert "net/wide" in load(tmp_path / "run")


def test_state_file_that_names_itself(tmp_path):
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "checkpoint"\n')
    with pytest.raises(CorruptFile):
        load(tmp_path)


def test_state_file_text_round_trip():
    state = checkpoint_state.CheckpointState(
        'a "quoted"\\päth\n', ["x", 'a "quoted"\\päth\n'], [1.5, 2.25], 1.0
    )
    assert checkpoint_state.parse(checkpoint_state.format_text(state)) == state


def test_written_checkpoint_reads_back(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {f"layer_{i:03d}/kernel": rng.standard_normal((3, i % 5, 2)) for i in range(300)}
    arrays["step"] = np.array(7, np.int64)
    words = np.array([b"a", b"", b"longer than that"], object)
    whole = rng.standard_normal((5, 7)).astype(np.float32)
    prefix = str(tmp_path / "m.ckpt")
    parts = [checkpoint_v2.Part(name, array) for name, array in arrays.items()]
    parts.append(checkpoint_v2.Part("words", words))
    for start, stop in ((0, 4), (4, 7)):
        extents = ((0, -1), (start, stop - start))
        parts.append(checkpoint_v2.Part("split", whole[:, start:stop], whole.shape, extents))
    checkpoint_v2.write(prefix, parts)
    found = load(prefix)
    assert set(found) == set(arrays) | {"words", "split"}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found["split"], whole)
    assert found["words"].tolist() == words.tolist()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "m.ckpt.data-00000-of-00001",
        "m.ckpt.index",
    ]


def test_written_checkpoint_equals_that_of_tensorflow_byte_for_byte(tmp_path):
    """The fixture was written by TensorFlow 1.15: from its arrays we write the same file."""
    if tensor_proto.bfloat16() is None:
        pytest.skip("the fixture holds bfloat16, which needs ml_dtypes")
    found = load(DATA / "v2")
    parts = []
    for name in sorted(found):
        array = found[name]
        if not name.startswith("parts/"):
            parts.append(checkpoint_v2.Part(name, array))
            continue
        for start, size in ((0, 3), (3, 2), (5, 2)):
            extents = (*((0, 2),) * 4, (start, size))
            part = array[..., start : start + size]
            parts.append(checkpoint_v2.Part(name, part, array.shape, extents))
    checkpoint_v2.write(str(tmp_path / "model.ckpt-7"), parts)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (DATA / "v2" / path.name).read_bytes(), path.name


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_unusable_names_are_not_written(tmp_path, name):
    with pytest.raises(ValueError, match="name"):
        checkpoint_v2.write(str(tmp_path / "m"), [checkpoint_v2.Part(name, np.zeros(1))])
    with pytest.raises(ValueError, match="twice"):
        checkpoint_v2.write(str(tmp_path / "m"), [checkpoint_v2.Part("a", np.zeros(1))] * 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["w.npz", "w.safetensors", "model.ckpt"])
def test_save_and_load(tmp_path, name):
    arrays = {
        "conv3d/kernel": np.random.default_rng(0).standard_normal((3, 3, 3, 1, 2)),
        "step": np.array(7, np.int64),
        "half": np.ones(3, np.float16)[::2],
    }
    weights.save(tmp_path / name, arrays)
    found = load(tmp_path / name)
    assert set(found) == set(arrays)
    for key, array in arrays.items():
        assert found[key].dtype == array.dtype
        np.testing.assert_array_equal(found[key], array)
    with pytest.raises(TypeError):
        weights.save(tmp_path / ("bad" + name), {"a": np.zeros(2, [("x", "f4"), ("y", object)])})
    assert not [p for p in tmp_path.iterdir() if p.name.startswith("bad")]
