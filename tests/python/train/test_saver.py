"""Saver: what it writes and deletes, what it restores, and how it refuses."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from conv3d import errors, partitioners, train, weights
from conv3d.framework.graph import Graph
from conv3d.framework.session import Session
from conv3d.variables import collections, variable_scope
from conv3d.variables.variable import Variable

DATA = Path(__file__).parents[2] / "data" / "weights"


def make(value=1.0):
    """Two variables, one of them partitioned, and the step."""
    a = Variable(np.full((2, 3), value, np.float32), name="a")
    with variable_scope.variable_scope("p", partitioner=partitioners.fixed_size_partitioner(2)):
        b = variable_scope.get_variable(
            "b", initializer=np.arange(10, dtype=np.float32).reshape(5, 2) * np.float32(value)
        )
    return a, b, train.get_or_create_global_step()


def test_save_and_restore(tmp_path):
    with Graph().as_default(), Session() as sess:
        make(2.0)
        sess.run(collections.global_variables_initializer())
        saver = train.Saver()
        path = saver.save(sess, str(tmp_path / "m"), global_step=7)
        assert path == str(tmp_path / "m-7")
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "checkpoint", "m-7.data-00000-of-00001", "m-7.index",
    ]  # fmt: skip
    found = weights.load(path)
    assert set(found) == {"a", "p/b", "global_step"}
    np.testing.assert_array_equal(found["p/b"], 2 * np.arange(10.0).reshape(5, 2))
    assert train.latest_checkpoint(str(tmp_path)) == path
    assert train.get_checkpoint_state(str(tmp_path)).model_checkpoint_path == path
    assert train.list_variables(str(tmp_path)) == [
        ("a", [2, 3]), ("global_step", []), ("p/b", [5, 2]),
    ]  # fmt: skip
    np.testing.assert_array_equal(train.load_variable(path, "a:0"), np.full((2, 3), 2.0))
    with Graph().as_default() as graph, Session() as sess:
        a, b, _ = make(0.0)
        saver = train.Saver()
        graph.finalize()
        saver.restore(sess, path)  # nothing was initialised
        np.testing.assert_array_equal(sess.run(a), np.full((2, 3), 2.0))
        parts = sess.run(list(b))
        np.testing.assert_array_equal(np.concatenate(parts), 2 * np.arange(10.0).reshape(5, 2))
    with Graph().as_default(), Session() as sess:  # a partitioned tensor into a whole variable
        whole = Variable(np.zeros((5, 2), np.float32), name="x")
        train.Saver({"p/b": whole}).restore(sess, path)
        np.testing.assert_array_equal(sess.run(whole), 2 * np.arange(10.0).reshape(5, 2))


def test_restores_what_tensorflow_wrote():
    with Graph().as_default(), Session() as sess:
        with variable_scope.variable_scope(
            "parts", partitioner=partitioners.fixed_size_partitioner(2, axis=4)
        ):
            kernel = variable_scope.get_variable("conv3d/kernel", [2, 2, 2, 2, 7])
        wide = Variable(np.zeros((2, 3)), name="net/wide")
        saver = train.Saver([kernel, wide])
        for file in ("v2/model.ckpt-7", "v1/model.ckpt"):
            saver.restore(sess, str(DATA / file))
            want = np.load(DATA / "expected_v2.npz")
            np.testing.assert_array_equal(sess.run(wide), want["net/wide"])
            found = np.concatenate(sess.run(list(kernel)), axis=4)
            np.testing.assert_array_equal(found, want["parts/conv3d/kernel"])


def test_variables_that_share_their_initial_value(tmp_path):
    np.savez(tmp_path / "w.npz", u=np.float32(1), v=np.float32(2))
    with Graph().as_default(), Session() as sess:
        start = Variable(np.float32(0), name="s").initial_value
        u, v = Variable(start, name="u"), Variable(start, name="v")
        train.Saver([u, v]).restore(sess, str(tmp_path / "w.npz"))
        assert sess.run([u, v]) == [1, 2]


def test_old_checkpoints_are_deleted(tmp_path):
    with Graph().as_default(), Session() as sess:
        make()
        sess.run(collections.global_variables_initializer())
        saver = train.Saver(max_to_keep=2)
        for step in range(4):
            saver.save(sess, str(tmp_path / "m"), global_step=step)
        names = {p.name for p in tmp_path.glob("*.index")}
        assert names == {"m-2.index", "m-3.index"}
        assert saver.last_checkpoints == [str(tmp_path / "m-2"), str(tmp_path / "m-3")]
        state = train.get_checkpoint_state(str(tmp_path))
        assert state.all_model_checkpoint_paths == saver.last_checkpoints
        # A second Saver goes on where the first stopped.
        second = train.Saver(max_to_keep=2)
        second.recover_last_checkpoints([str(tmp_path / "gone"), *saver.last_checkpoints])
        second.save(sess, str(tmp_path / "m"), global_step=9)
        assert {p.name for p in tmp_path.glob("*.index")} == {"m-3.index", "m-9.index"}


def test_some_checkpoints_are_kept_for_good(tmp_path, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("conv3d.train.saver.time.time", lambda: now[0])
    with Graph().as_default(), Session() as sess:
        make()
        sess.run(collections.global_variables_initializer())
        saver = train.Saver(max_to_keep=1, keep_checkpoint_every_n_hours=1.0)
        for step in range(5):
            saver.save(sess, str(tmp_path / "m"), global_step=step)
            now[0] += 1900.0
    assert {p.name for p in tmp_path.glob("*.index")} == {"m-2.index", "m-4.index"}


def test_relative_paths_and_padded_steps(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    with Graph().as_default(), Session() as sess:
        _, _, step = make()
        sess.run(collections.global_variables_initializer())
        saver = train.Saver(save_relative_paths=True, pad_step_number=True)
        assert saver.save(sess, str(tmp_path / "run" / "m"), step).endswith("m-00000000")
    assert "/" not in (tmp_path / "run" / "checkpoint").read_text()
    shutil.move("run", "moved")
    assert train.latest_checkpoint("moved") == "moved/m-00000000"


def test_refusals(tmp_path):
    with Graph().as_default(), Session() as sess:
        with pytest.raises(ValueError, match="no variables"):
            train.Saver()
        train.Saver(allow_empty=True)
        late = train.Saver(defer_build=True)
        a, _, _ = make()
        with pytest.raises(errors.FailedPreconditionError):
            late.save(sess, str(tmp_path / "m"))
        sess.run(collections.global_variables_initializer())
        with pytest.raises(TypeError, match="var_list"):
            train.Saver([a, 3])
        with pytest.raises(TypeError, match="var_list"):
            train.Saver(a)
        with pytest.raises(ValueError, match="latest_filename"):
            late.save(sess, str(tmp_path / "m"), latest_filename="x/y")
        with pytest.raises(ValueError, match="does not exist"):
            late.save(sess, str(tmp_path / "no" / "m"))
        with pytest.raises(ValueError, match="latest_filename"):
            late.save(sess, str(tmp_path / "checkpoint"))
        with pytest.raises(ValueError, match="directory"):
            late.save(sess, str(tmp_path) + "/")
        with pytest.raises(TypeError, match="sess"):
            late.save(None, str(tmp_path / "m"))
        with pytest.raises(TypeError, match="global_step"):
            late.save(sess, str(tmp_path / "m"), global_step="seven")
        with pytest.raises(ValueError, match="save_path"):
            late.restore(sess, None)
        with pytest.raises(ValueError, match="no checkpoint"):
            late.restore(sess, str(tmp_path / "nothing"))
        path = late.save(sess, str(tmp_path / "m"))
    with Graph().as_default(), Session() as sess:
        with pytest.raises(errors.NotFoundError, match="other"):
            train.Saver([Variable(1.0, name="other")]).restore(sess, path)
        with pytest.raises(errors.InvalidArgumentError, match="shape"):
            train.Saver([Variable(1.0, name="a")]).restore(sess, path)
        with pytest.raises(errors.InvalidArgumentError, match="float64"):
            train.Saver([Variable(np.zeros((2, 3)), name="a_1")]) and train.Saver(
                {"a": Variable(np.zeros((2, 3)), name="a_2")}
            ).restore(sess, path)
        flat = Variable(np.zeros(6, np.float32), name="flat")
        train.Saver({"a": flat}, reshape=True).restore(sess, path)
        assert sess.run(flat).tolist() == [1.0] * 6
    data = Path(path + ".data-00000-of-00001")
    raw = bytearray(data.read_bytes())
    raw[1] ^= 1
    data.write_bytes(raw)
    with pytest.raises(errors.DataLossError, match="checksum"):
        train.load_variable(path, "a")
    with pytest.raises(errors.NotFoundError):
        train.load_variable(path, "b")
    with pytest.raises(errors.NotFoundError):
        train.load_checkpoint(str(tmp_path / "nothing"))
    assert train.latest_checkpoint(str(tmp_path / "nothing")) is None


def test_two_variables_of_one_name():
    with Graph().as_default():
        first = Variable(1.0, name="v")
    with Graph().as_default():
        second = Variable(1.0, name="v")
        with pytest.raises(ValueError, match="two variables"):
            train.Saver([first, second])
        assert train.Saver([second, second])._chosen() == {"v": [second]}


def test_eager_mode(tmp_path, eager):
    with pytest.raises(RuntimeError, match="var_list"):
        train.Saver()
    v = Variable(np.array([1.0, 2.0], np.float32), name="v")
    step = train.get_or_create_global_step()
    path = train.Saver([v]).save(None, str(tmp_path / "m"), global_step=step)
    assert path.endswith(f"m-{int(step.numpy())}")
    v.assign([5.0, 5.0])
    train.Saver([v]).restore(None, path)
    assert v.numpy().tolist() == [1.0, 2.0]


def test_reader(tmp_path):
    reader = train.NewCheckpointReader(str(DATA / "v2" / "model.ckpt-7"))
    assert reader.has_tensor("net/step") and not reader.has_tensor("nothing")
    assert reader.get_variable_to_shape_map()["parts/conv3d/kernel"] == [2, 2, 2, 2, 7]
    types = reader.get_variable_to_dtype_map()
    assert types["net/step"].name == "int64" and types["net/words"].name == "string"
    assert reader.get_tensor("net/step") == -7
    assert b"net/scale" in reader.debug_string()
