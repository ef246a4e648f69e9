"""What scripts put around a network: flags, app.run, logging, gfile, estimator containers."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest

from conv3d import app, errors, estimator, flags, gfile, tf_logging
from conv3d.framework.graph import Graph
from conv3d.ops import array_ops, control_flow_ops


@pytest.fixture
def values():
    made = flags.FlagValues()
    flags.DEFINE_integer("steps", 5, "how many", lower_bound=1, flag_values=made)
    flags.DEFINE_float("rate", 0.1, "how fast", flag_values=made)
    flags.DEFINE_string("name", None, "who", flag_values=made)
    flags.DEFINE_boolean("loud", False, "how", flag_values=made)
    flags.DEFINE_enum("kind", "a", ["a", "b"], flag_values=made)
    flags.DEFINE_list("items", "x,y", flag_values=made)
    flags.DEFINE_multi_integer("n", [1], flag_values=made)
    return made


class TestFlags:
    def test_defaults(self, values):
        values.mark_as_parsed()
        assert values.flag_values_dict() == {
            "steps": 5, "rate": 0.1, "name": None, "loud": False, "kind": "a",
            "items": ["x", "y"], "n": [1],
        }  # fmt: skip

    def test_forms(self, values):
        rest = values(
            ["prog", "--steps=7", "-rate", "2", "file", "--loud", "--kind", "b", "--items=",
             "--n=2", "--n=0x10", "--", "--steps=9"]
        )  # fmt: skip
        assert rest == ["prog", "file", "--steps=9"]
        assert (values.steps, values.rate, values.loud, values.kind) == (7, 2.0, True, "b")
        assert values.items == [] and values.n == [2, 16]
        values(["prog", "--noloud"])
        assert values.loud is False
        values(["prog", "--loud=t"])
        assert values.loud is True

    def test_parsed_at_first_access(self, values, monkeypatch):
        monkeypatch.setattr("sys.argv", ["prog", "--steps=3", "--unknown=1", "-v"])
        assert values.steps == 3 and values.is_parsed()
        values.steps = 4
        assert values.steps == 4 and "steps" in values and len(values) == 7

    @pytest.mark.parametrize(
        "word", ["--steps=0", "--steps=1.5", "--rate=fast", "--kind=c", "--loud=maybe", "--name"]
    )
    def test_refused_values(self, values, word):
        with pytest.raises(flags.IllegalFlagValueError, match="flag --"):
            values(["prog", word])

    def test_other_refusals(self, values):
        with pytest.raises(flags.UnrecognizedFlagError, match="other"):
            values(["prog", "--other"])
        with pytest.raises(flags.DuplicateFlagError):
            flags.DEFINE_string("name", "", flag_values=values)
        with pytest.raises(AttributeError):
            values.other  # noqa: B018
        with pytest.raises(AttributeError):
            values.other = 1
        flags.mark_flag_as_required("name", values)
        with pytest.raises(flags.IllegalFlagValueError, match="required"):
            values(["prog"])
        with pytest.raises(flags.IllegalFlagValueError):
            flags.DEFINE_integer("bad", "x", flag_values=values)


class TestApp:
    def test_run(self, values, monkeypatch):
        monkeypatch.setattr(flags, "FLAGS", values)
        with pytest.raises(SystemExit) as stop:
            app.run(lambda argv: (values.steps, argv), ["prog", "--steps=2", "rest"])
        assert stop.value.code == (2, ["prog", "rest"])

    def test_bad_flags_and_help(self, values, monkeypatch, capsys):
        monkeypatch.setattr(flags, "FLAGS", values)
        with pytest.raises(SystemExit) as stop:
            app.run(lambda argv: 0, ["prog", "--nothing=2"])
        assert stop.value.code == 1 and "nothing" in capsys.readouterr().err
        with pytest.raises(SystemExit) as stop:
            app.run(lambda argv: 0, ["prog", "--help"])
        assert stop.value.code == 0 and "--[no]loud" in capsys.readouterr().out


class TestLogging:
    @pytest.fixture(autouse=True)
    def clean(self):
        logger = logging.getLogger("conv3d.script")
        before = list(logger.handlers), logger.level
        logger.handlers, logger.level = [], logging.NOTSET
        yield
        logger.handlers = before[0]
        logger.setLevel(before[1])

    def test_the_programs_own_logging_is_used(self):
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        root = logging.getLogger("conv3d")
        root.addHandler(handler)
        try:
            tf_logging.set_verbosity(tf_logging.INFO)
            assert tf_logging.get_verbosity() == 20
            tf_logging.info("step %d", 3)
            tf_logging.debug("hidden")
            for _ in range(4):
                tf_logging.log_first_n(tf_logging.WARN, "twice", 2)
                tf_logging.log_every_n(tf_logging.WARN, "thrice", 3)
            tf_logging.log_if(tf_logging.WARN, "never", False)
            tf_logging.set_verbosity("ERROR")
            tf_logging.warn("hidden")
            tf_logging.error("bad")
            tf_logging.flush()
        finally:
            root.removeHandler(handler)
        lines = stream.getvalue().split("\n")
        assert lines == ["step 3", "twice", "thrice", "twice", "thrice", "bad", ""]

    def test_without_handlers_warnings_go_to_stderr(self, capsys, monkeypatch):
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        monkeypatch.setattr(logging.getLogger("conv3d"), "handlers", [])
        tf_logging.info("hidden")
        tf_logging.warning("seen")
        assert capsys.readouterr().err == "WARNING:conv3d:seen\n"


class TestGfile:
    def test_files(self, tmp_path):
        path = str(tmp_path / "a.txt")
        with gfile.GFile(path, "w") as out:
            out.write("one\ntwo\n")
        with gfile.Open(path) as found:
            assert found.readline() == "one\n" and found.readlines() == ["two\n"]
        assert gfile.FastGFile(path, "rb").read() == b"one\ntwo\n"
        assert list(gfile.GFile(path)) == ["one\n", "two\n"] and gfile.GFile(path).size() == 8
        assert gfile.Exists(path) and not gfile.IsDirectory(path)
        assert gfile.Stat(path).length == 8
        gfile.Copy(path, path + "2")
        with pytest.raises(errors.AlreadyExistsError):
            gfile.Copy(path, path + "2")
        gfile.Rename(path + "2", path + "3")
        assert gfile.Glob(str(tmp_path / "*3")) == [path + "3"]
        gfile.Remove(path + "3")
        for action in (gfile.Remove, gfile.ListDirectory, gfile.Stat, gfile.DeleteRecursively,
                       lambda p: gfile.GFile(p).read()):  # fmt: skip
            with pytest.raises(errors.NotFoundError):
                action(path + "3")

    def test_directories(self, tmp_path):
        deep = str(tmp_path / "x" / "y")
        with pytest.raises(errors.NotFoundError):
            gfile.MkDir(deep)
        gfile.MakeDirs(deep)
        gfile.MakeDirs(deep)
        with pytest.raises(errors.AlreadyExistsError):
            gfile.MkDir(deep)
        assert gfile.ListDirectory(str(tmp_path)) == ["x"]
        assert len(list(gfile.Walk(str(tmp_path)))) == 3
        gfile.DeleteRecursively(str(tmp_path / "x"))
        assert not gfile.Exists(deep)


class TestEstimator:
    def test_modes(self):
        keys = estimator.ModeKeys
        assert (keys.TRAIN, keys.EVAL, keys.PREDICT) == ("train", "eval", "infer")

    def test_spec(self):
        with Graph().as_default():
            loss, op = array_ops.constant([1.0]), control_flow_ops.no_op()
            metric = (array_ops.constant(1.0), op)
            spec = estimator.EstimatorSpec(
                mode="train", predictions={"p": loss}, loss=loss, train_op=op,
                eval_metric_ops={"m": metric}, training_hooks=[1],
            )  # fmt: skip
            assert spec.loss.get_shape().ndims == 0 and spec.train_op is op
            assert spec.predictions["p"] is loss and spec.eval_metric_ops["m"] == metric
            assert spec.training_hooks == (1,) and spec.mode == "train"
            assert spec._replace(mode="eval").mode == "eval"

    @pytest.mark.parametrize(
        ("arguments", "kind"),
        [
            ({"mode": "train", "loss": 1}, ValueError),
            ({"mode": "train"}, ValueError),
            ({"mode": "eval"}, ValueError),
            ({"mode": "infer"}, ValueError),
            ({"mode": "eval", "loss": "loss"}, TypeError),
            ({"mode": "eval", "loss": [1.0, 2.0]}, ValueError),
            ({"mode": "infer", "predictions": {"p": np.zeros(1)}}, TypeError),
            ({"mode": "infer", "predictions": 3}, TypeError),
            ({"mode": "eval", "loss": [1.0], "eval_metric_ops": {"m": 3}}, TypeError),
            ({"mode": "eval", "loss": [1.0], "eval_metric_ops": 3}, TypeError),
        ],
    )
    def test_refusals(self, arguments, kind):
        with Graph().as_default():
            if isinstance(arguments.get("loss"), list):
                arguments = {**arguments, "loss": array_ops.constant(arguments["loss"])}
            with pytest.raises(kind):
                estimator.EstimatorSpec(**arguments)

    def test_missing_names_say_what_there_is(self):
        with pytest.raises(AttributeError, match="ModeKeys"):
            estimator.Estimator  # noqa: B018
