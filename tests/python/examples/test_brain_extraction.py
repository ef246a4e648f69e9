"""The brain example: TensorFlow's own answer on the demo head, other spaces, wrong files."""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

nib = pytest.importorskip("nibabel")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "examples" / "brain_extraction.py"
GOLDEN = ROOT / "tests" / "data" / "brain" / "probability_128.npz"
HEAD_ML = 1388.94
"""Brain volume of the demo head: TensorFlow's probability, brought back and thresholded."""


def load_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("brain_extraction", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


brain = load_example()


def dice(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a > 0, b > 0
    return 2 * float(np.count_nonzero(a & b)) / float(np.count_nonzero(a) + np.count_nonzero(b))


@pytest.fixture(scope="module")
def head_path() -> Path:
    if importlib.util.find_spec("pydeface") is None:
        pytest.skip("needs the head of pydeface: pip install --no-deps pydeface==2.1.0")
    return brain.installed_file("pydeface", "data/mean_reg2mean.nii.gz", "pydeface==2.1.0")


@pytest.fixture(scope="module")
def head(head_path: Path) -> Any:
    return brain.read_head(head_path)


@pytest.fixture(scope="module")
def weights_path() -> Path:
    if importlib.util.find_spec("deepbrain") is None:
        pytest.skip("needs the weights of deepbrain: pip install --no-deps deepbrain==0.1")
    return brain.installed_file("deepbrain", "models/graph.pb", "deepbrain==0.1")


@pytest.fixture(scope="module")
def extractor(weights_path: Path) -> Any:
    return brain.BrainExtractor(brain.tf.weights.load(weights_path))


@pytest.fixture(scope="module")
def golden() -> np.ndarray:
    return np.load(GOLDEN)["probability"].astype(np.float32)


@pytest.fixture(scope="module")
def run(
    extractor: Any, weights_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Any, Any, float]]:
    """Runs the whole job on an image; returns the mask, the probability and the volume in ml."""

    def whole_job(image: Any) -> tuple[Any, Any, float]:
        folder = tmp_path_factory.mktemp("job")
        nib.save(image, folder / "image.nii")
        prefix = folder / "out"
        ml = brain.extract(folder / "image.nii", weights_path, prefix, brain.Stages(quiet=True))
        return nib.load(f"{prefix}_mask.nii.gz"), nib.load(f"{prefix}_probability.nii.gz"), ml

    return whole_job


@pytest.fixture(scope="module")
def demo(head: Any, run: Callable[..., tuple[Any, Any, float]]) -> tuple[Any, Any, float]:
    return run(head)


# --- against TensorFlow ---------------------------------------------------------------------------


def test_probability_is_tensorflows(extractor: Any, head: Any, golden: np.ndarray) -> None:
    probability = extractor(brain.prepare(np.asarray(head.dataobj)))
    assert probability.dtype == np.float32
    # 2.4e-4 of this is the rounding of the record to float16.
    assert float(np.abs(probability - golden).max()) <= 2e-3
    assert dice(probability > 0.5, golden > 0.5) >= 0.9999
    assert np.count_nonzero(probability > 0.5) == pytest.approx(261_736, rel=1e-3)


def test_files_are_in_the_space_of_the_input(
    head: Any, golden: np.ndarray, demo: tuple[Any, Any, float]
) -> None:
    mask, probability, millilitres = demo
    assert mask.shape == probability.shape == head.shape
    assert mask.get_data_dtype() == np.uint8 and probability.get_data_dtype() == np.float32
    for image in mask, probability:
        np.testing.assert_allclose(image.affine, head.affine, atol=1e-6)
    expected = brain.restore(golden, head.shape)
    assert float(np.abs(probability.get_fdata() - expected).max()) <= 2e-3
    inside = np.asarray(mask.dataobj)
    assert set(np.unique(inside)) == {0, 1}
    assert dice(inside, expected > 0.5) >= 0.9999
    assert millilitres == pytest.approx(inside.sum() * abs(np.linalg.det(head.affine)) / 1000)
    assert millilitres == pytest.approx(HEAD_ML, rel=1e-3)


# --- other orientations, sizes, units -------------------------------------------------------------


@pytest.mark.parametrize("axes", ["LPS", "SAR", "PIL", "ILA"])
def test_any_orientation_gives_the_same_mask(
    axes: str, head: Any, demo: tuple[Any, Any, float], run: Callable[..., tuple[Any, Any, float]]
) -> None:
    codes = nib.orientations.axcodes2ornt(axes)
    turned = head.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(head.affine), codes)
    )
    assert "".join(nib.aff2axcodes(turned.affine)) == axes
    mask, probability, millilitres = run(turned)
    assert mask.shape == turned.shape
    np.testing.assert_allclose(mask.affine, turned.affine, atol=1e-4)
    for image, expected in zip((mask, probability), demo, strict=False):
        back = nib.as_closest_canonical(image)
        np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(expected.dataobj))
    assert millilitres == pytest.approx(demo[2], rel=1e-5)


def test_other_sizes_and_voxels(
    head: Any, demo: tuple[Any, Any, float], run: Callable[..., tuple[Any, Any, float]]
) -> None:
    """Thick slices: the same head sampled more coarsely, and unevenly."""
    from scipy import ndimage

    steps = np.array([2.0, 1.5, 2.5])
    shape = [int(n / s) for n, s in zip(head.shape, steps, strict=True)]
    factors = [n / m for n, m in zip(shape, head.shape, strict=True)]
    exact = [(m - 1) / (n - 1) for n, m in zip(shape, head.shape, strict=True)]
    coarse = ndimage.zoom(np.asarray(head.dataobj), factors, order=1)
    affine = head.affine @ np.diag([*exact, 1])
    mask, _, millilitres = run(nib.Nifti1Image(coarse, affine))
    assert mask.shape == tuple(shape)
    expected = ndimage.zoom(np.asarray(demo[0].dataobj), factors, order=0)
    assert dice(np.asarray(mask.dataobj), expected) > 0.97
    assert millilitres == pytest.approx(demo[2], rel=0.03)


def test_unit_of_the_header_counts(head: Any) -> None:
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.float32), np.diag([2, 1, 0.5, 1]))
    assert brain.voxel_millilitres(image) == pytest.approx(1e-3)
    image.header.set_xyzt_units("micron")
    assert brain.voxel_millilitres(image) == pytest.approx(1e-12)
    image.header.set_xyzt_units("meter")
    assert brain.voxel_millilitres(image) == pytest.approx(1e6)


def test_axes_there_and_back() -> None:
    """For each of the 48 orientations the way back undoes the way there."""
    from itertools import permutations, product

    volume = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    for order, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        affine = np.zeros((4, 4))
        affine[3, 3] = 1
        for axis, (to, sign) in enumerate(zip(order, signs, strict=True)):
            affine[to, axis] = sign
        there = brain.to_network_axes(volume, affine)
        np.testing.assert_array_equal(brain.to_file_axes(there, affine), volume)


@pytest.mark.parametrize("kind", ["int16", "uint8", "float64", "scaled", "nifti2", "pair", "4-D"])
def test_every_kind_of_file_is_read(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    volume = rng.integers(0, 200, (5, 6, 7)).astype(np.float32)
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    path = tmp_path / "head.nii.gz"
    image: Any = nib.Nifti1Image(volume, affine)
    if kind == "nifti2":
        image = nib.Nifti2Image(volume, affine)
    elif kind == "pair":
        image, path = nib.Nifti1Pair(volume, affine), tmp_path / "head.img"
    elif kind == "4-D":
        image = nib.Nifti1Image(volume[..., np.newaxis], affine)
    elif kind == "scaled":
        volume = volume / 7 - 3  # stored as integers with a slope and an intercept
        image = nib.Nifti1Image(volume, affine)
        image.header.set_data_dtype(np.int16)
    else:
        image = nib.Nifti1Image(volume.astype(kind), affine)
    nib.save(image, path)
    read = brain.read_head(path)
    assert read.shape == volume.shape
    np.testing.assert_allclose(np.asarray(read.dataobj), volume, atol=1e-3)
    assert np.asarray(read.dataobj).dtype == np.float32


# --- wrong files ----------------------------------------------------------------------------------


def good_volume() -> np.ndarray:
    return np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)


def with_volume(volume: np.ndarray, affine: np.ndarray | None = None) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        image = nib.Nifti1Image(volume, np.eye(4))
        if affine is not None:
            # The header itself, because nibabel repairs what it can on the way in.
            image.header.set_sform(affine, code=1)
            image.header.set_qform(np.eye(4), code=0)
            image = nib.Nifti1Image(volume, None, image.header)
        nib.save(image, path)

    return write


def changed(volume: np.ndarray, value: float) -> np.ndarray:
    volume = volume.copy()
    volume[1, 2, 3] = value
    return volume


def text(path: Path) -> None:
    path.write_text("no image at all\n" * 50)


def truncated(path: Path) -> None:
    rng = np.random.default_rng(0)
    nib.save(nib.Nifti1Image(rng.random((20, 20, 20), dtype=np.float32), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:9000])


def damaged_header(path: Path) -> None:
    with_volume(good_volume())(path)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[40:56] = b"\xff" * 16  # the sizes
    path.write_bytes(gzip.compress(bytes(raw)))


def huge_header(path: Path) -> None:
    with_volume(good_volume())(path)
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[40:56] = np.array([3, 32767, 32767, 32767, 1, 1, 1, 1], "<i2").tobytes()
    path.write_bytes(gzip.compress(bytes(raw)))


def analyze(path: Path) -> None:
    nib.save(nib.MGHImage(good_volume(), np.eye(4)), path)


def coloured(path: Path) -> None:
    colours = np.zeros((4, 5, 6), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(colours, np.eye(4)), path)


NAN_AFFINE = np.eye(4)
NAN_AFFINE[0, 1] = np.nan
FLAT_AFFINE = np.diag([1.0, 0.0, 1.0, 1.0])

WRONG: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "missing": ("head.nii.gz", lambda path: None, "no such file"),
    "folder": ("head.nii.gz", lambda path: path.mkdir(), "no such file"),
    "empty": ("head.nii.gz", lambda path: path.write_bytes(b"") and None, "not a NIfTI"),
    "text": ("head.nii", text, "not a NIfTI"),
    "other ending": ("head.txt", text, "not a NIfTI"),
    "other format": ("head.mgz", analyze, "not a NIfTI"),
    "truncated": ("head.nii.gz", truncated, "cannot be read"),
    "damaged header": ("head.nii.gz", damaged_header, ""),
    "huge header": ("head.nii.gz", huge_header, "cannot be read"),
    "2-D": ("head.nii.gz", with_volume(good_volume()[0]), "three axes"),
    "4-D": ("head.nii.gz", with_volume(np.zeros((4, 5, 6, 2), np.float32)), "three axes"),
    "one slice": ("head.nii.gz", with_volume(good_volume()[:, :, :1]), "at least two"),
    "NaN": ("head.nii.gz", with_volume(changed(good_volume(), np.nan)), "1 of 120 voxels"),
    "infinite": ("head.nii.gz", with_volume(changed(good_volume(), np.inf)), "1 of 120 voxels"),
    "beyond float32": (
        "head.nii.gz",
        with_volume(changed(good_volume().astype(np.float64), 1e300)),
        "1 of 120 voxels",
    ),
    "all zero": ("head.nii.gz", with_volume(np.zeros((4, 5, 6), np.float32)), "above zero"),
    "negative": ("head.nii.gz", with_volume(-1 - good_volume()), "above zero"),
    "constant": ("head.nii.gz", with_volume(np.full((4, 5, 6), 7, np.int16)), "no head"),
    "complex": ("head.nii.gz", with_volume(good_volume().astype(np.complex64)), "real numbers"),
    "coloured": ("head.nii.gz", coloured, "real numbers"),
    "NaN affine": ("head.nii.gz", with_volume(good_volume(), NAN_AFFINE), "not finite"),
    "flat affine": ("head.nii.gz", with_volume(good_volume(), FLAT_AFFINE), "singular"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_gets_one_clear_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, write, says = WRONG[case]
    path = tmp_path / name
    write(path)
    out = tmp_path / "out"
    assert brain.main(["--input", str(path), "--output", f"{out}/", "--quiet"]) == 1
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("brain_extraction: ") and str(path) in lines[0]
    assert says in lines[0]
    assert captured.out == ""
    assert not list(out.iterdir())


@pytest.mark.parametrize("case", ["missing", "text", "other network"])
def test_wrong_weights_get_one_clear_line(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, weights = tmp_path / "head.nii", tmp_path / "weights.npz"
    with_volume(good_volume())(head)
    if case == "text":
        text(weights)
    elif case == "other network":
        np.savez(weights, **{"conv3d/kernel": np.zeros((1, 1, 1, 1, 8), np.float32)})
    arguments = ["--input", str(head), "--output", f"{tmp_path}/", "--weights", str(weights)]
    assert brain.main([*arguments, "--quiet"]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and "weights" in lines[0]


def test_output_names(tmp_path: Path) -> None:
    source = Path("scans/sub-1.T1w.nii.gz")
    assert brain.output_prefix(None, source) == Path("sub-1.T1w")
    assert brain.output_prefix(str(tmp_path), source) == tmp_path / "sub-1.T1w"
    assert brain.output_prefix(f"{tmp_path}/new/", source) == tmp_path / "new" / "sub-1.T1w"
    assert (tmp_path / "new").is_dir()
    assert brain.output_prefix(f"{tmp_path}/new/me", source) == tmp_path / "new" / "me"
    (tmp_path / "file").write_text("")
    with pytest.raises(brain.UnusableFile, match="cannot be made"):
        brain.output_prefix(f"{tmp_path}/file/x/", source)


def test_from_the_command_line(head_path: Path, weights_path: Path, tmp_path: Path) -> None:
    """Progress on stderr, results on stdout, three files, exit status."""
    command = [sys.executable, str(EXAMPLE), "--output", f"{tmp_path}/result/"]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(" s\n") == 6 and "run the network ..." in done.stderr
    said = re.search(r"brain volume: ([0-9.]+) ml", done.stdout)
    assert said is not None and float(said[1]) == pytest.approx(HEAD_ML, rel=1e-3)
    assert "run the network: " in done.stdout
    folder = tmp_path / "result"
    assert sorted(file.name for file in folder.iterdir()) == [
        "mean_reg2mean_brain.png",
        "mean_reg2mean_mask.nii.gz",
        "mean_reg2mean_probability.nii.gz",
    ]
    picture = (folder / "mean_reg2mean_brain.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and len(picture) < 300_000

    failed = subprocess.run(
        [*command, "--input", str(tmp_path / "none.nii")], capture_output=True, text=True
    )
    assert failed.returncode == 1 and failed.stdout == ""
    assert failed.stderr.strip().splitlines()[-1].startswith("brain_extraction: ")
    assert "Traceback" not in failed.stderr
