"""The training example: follows TensorFlow step by step, resumes to the bit, and learns."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

import conv3d as tf

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "tests" / "data" / "training"


def _module(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def record():
    return _module("record_training", RECORD / "record.py")


@pytest.fixture
def example():
    return _module("train_tissue", ROOT / "examples" / "train_tissue.py")


LOSSES = json.loads((RECORD / "losses.json").read_text())["losses"]


@pytest.mark.parametrize("optimizer", sorted(LOSSES))
def test_losses_follow_tensorflow(record, optimizer):
    """From equal initial values and batches, each loss is within 1e-4 of TensorFlow 1.15.5's."""
    ours = np.array(record.losses_of(tf, optimizer))
    theirs = np.array(LOSSES[optimizer])
    assert ours.shape == theirs.shape == (50,)
    assert theirs[-1] < 0.95 * theirs[0]  # the record is of a network that learns
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.fixture
def small_volumes(record, example, monkeypatch):
    """The made-up head in the place of the template."""
    monkeypatch.setattr(example, "load_volumes", lambda folder: record.phantom((40, 80, 40)))
    pytest.importorskip("tqdm")
    pytest.importorskip("matplotlib")
    return example


def _weights(folder: Path) -> dict[str, np.ndarray]:
    return dict(tf.weights.load(tf.train.latest_checkpoint(str(folder / "checkpoints"))))


def test_resumed_run_ends_with_the_same_bits(small_volumes, tmp_path):
    """Stopped within an epoch and started again: weights, slots and history are equal."""
    common = [
        "--epochs",
        "2",
        "--steps",
        "4",
        "--batch",
        "2",
        "--patch",
        "16",
        "--filters",
        "4",
        "--quiet",
    ]
    small_volumes.main([*common, "--output", str(tmp_path / "whole")])
    tf.reset_default_graph()
    small_volumes.main([*common, "--output", str(tmp_path / "parts"), "--stop-after", "3"])
    tf.reset_default_graph()
    small_volumes.main([*common, "--output", str(tmp_path / "parts")])
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert any(name.endswith("Adam") for name in whole)
    for name, value in whole.items():
        assert value.tobytes() == parts[name].tobytes(), name
    histories = [(tmp_path / name / "history.json").read_text() for name in ("whole", "parts")]
    assert histories[0] == histories[1]
    assert (tmp_path / "whole" / "held_out.png").stat().st_size > 1000


def test_held_out_slices_are_never_trained_on(example, record):
    """No patch of any step touches a held-out slice."""
    t1, labels = record.phantom((40, 80, 40))
    held = example.held_out_slices(80)
    assert held.any() and not held.all()
    marked = np.where(held[None, :, None], np.float32(1000), t1)
    for step in range(20):
        images, _ = example.batch_of(marked, labels, step, 5, 2, 16)
        assert images.max() < 500


def test_dice(example):
    a = np.array([1, 1, 0, 0], bool)
    assert example.dice(a, a) == 1.0
    assert example.dice(a, ~a) == 0.0
    assert example.dice(a, np.array([1, 0, 0, 0], bool)) == pytest.approx(2 / 3)


@pytest.mark.parametrize("arguments", [["--patch", "30"], ["--patch", "64"], ["--steps", "0"]])
def test_bad_arguments_are_refused_in_one_line(example, arguments, tmp_path):
    with pytest.raises(SystemExit, match="train_tissue: --"):
        example.main([*arguments, "--output", str(tmp_path)])


@pytest.mark.slow
def test_learns_grey_and_white_matter(example, tmp_path):
    """The whole example on the template: a Dice above 0.85 on slabs that were held out."""
    if importlib.util.find_spec("nilearn") is None:
        pytest.skip("nilearn, which carries the template, is not installed")
    assert (
        example.main(["--output", str(tmp_path), "--epochs", "3", "--steps", "50", "--quiet"]) == 0
    )
    last = json.loads((tmp_path / "history.json").read_text())["epochs"][-1]
    assert min(last["dice"].values()) > 0.85


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
