#!/usr/bin/env python
"""Trains a 3-D U-Net to tell grey from white matter in a T1-weighted head, on the MNI152 template.

The network and its training are written in plain TensorFlow 1.x style; `import conv3d as tf` is all
that differs. The volumes are the ICBM 2009a templates (T1, probability of grey and of white matter,
1 mm, 197 x 233 x 189 voxels) that the package `nilearn` carries. Every fourth slab of 16 coronal
slices is held out: the network never sees it in training, and its Dice coefficients are computed
there alone. (Slabs are coronal since the template is symmetric between left and right.)

A run is repeatable to the bit: each batch depends on the seed and the step alone, so a run that was
interrupted and resumed ends as one that was not. A second call resumes where the first stopped.

  python examples/train_tissue.py --output tissue
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import time

import numpy as np

import conv3d as tf

CLASSES = ("other", "grey matter", "white matter")
SLAB = 16  # coronal slices of a slab
HELD_OUT_EVERY = 4  # every fourth slab is held out


# -------------------------------------------------------------------------------------------- data


def load_volumes(folder=None):
    """Reads the template.

    Args:
      folder: where the three `mni_icbm152_*` files are; by default in package `nilearn`.

    Returns:
      `(t1, labels)`: float32 `[D, H, W]` of zero mean and unit variance inside the head, and int32
      `[D, H, W]` with 0 other, 1 grey, 2 white matter.

    Raises:
      SystemExit: with one line, when the files are not there.
    """
    import nibabel

    if folder is None:
        spec = importlib.util.find_spec(
            "nilearn"
        )  # found, not imported: importing it would need scikit-learn
        if spec is None or not spec.origin:
            raise SystemExit(
                "train_tissue: package nilearn is not installed (pip install --no-deps nilearn)"
            )
        folder = os.path.join(os.path.dirname(spec.origin), "datasets", "data")
    volumes = []
    for kind in ("t1", "gm", "wm"):
        path = os.path.join(folder, "mni_icbm152_%s_tal_nlin_sym_09a_converted.nii.gz" % kind)
        if not os.path.exists(path):
            raise SystemExit("train_tissue: no file %s" % path)
        volumes.append(np.asarray(nibabel.load(path).dataobj, dtype=np.float32))
    t1, grey, white = volumes
    head = t1 > 0
    t1 = (t1 - t1[head].mean()) / t1[head].std()
    labels = np.zeros(t1.shape, np.int32)
    labels[(grey >= white) & (grey > 127)] = 1
    labels[(white > grey) & (white > 127)] = 2
    return t1.astype(np.float32), labels


def held_out_slices(extent):
    """Boolean `[extent]` along the coronal axis: True where a slice belongs to a held-out slab."""
    return (np.arange(extent) // SLAB) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1


def training_starts(extent, patch):
    """First coronal slices at which a patch of `patch` slices touches no held-out slice."""
    held = held_out_slices(extent)
    return np.array([s for s in range(extent - patch + 1) if not held[s : s + patch].any()])


def batch_of(t1, labels, step, seed, batch, patch):
    """Draws the patches of one step, augmented.

    Args:
      t1: float32 `[D, H, W]`.
      labels: int32 `[D, H, W]`.
      step: number of the step; with `seed` it alone decides what is drawn.
      seed: of the run.
      batch: patches.
      patch: edge of a patch in voxels.

    Returns:
      `(images, targets)`: float32 `[batch, patch, patch, patch, 1]`, int32 without last axis.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, step]))
    starts = training_starts(t1.shape[1], patch)
    images = np.empty((batch, patch, patch, patch, 1), np.float32)
    targets = np.empty((batch, patch, patch, patch), np.int32)
    for i in range(batch):
        while True:  # a patch of air teaches nothing
            d = rng.integers(t1.shape[0] - patch + 1)
            h = starts[rng.integers(len(starts))]
            w = rng.integers(t1.shape[2] - patch + 1)
            where = (slice(d, d + patch), slice(h, h + patch), slice(w, w + patch))
            if (labels[where] > 0).mean() > 0.05:
                break
        image, target = t1[where], labels[where]
        for axis in range(3):
            if rng.random() < 0.5:
                image, target = np.flip(image, axis), np.flip(target, axis)
        gain, shift = rng.uniform(0.9, 1.1), rng.uniform(-0.1, 0.1)
        noise = rng.normal(0.0, 0.05, image.shape).astype(np.float32)
        images[i, ..., 0] = image * np.float32(gain) + np.float32(shift) + noise
        targets[i] = target
    return images, targets


# ----------------------------------------------------------------------------------------- network


def convolutions(x, filters, training):
    """Two 3x3x3 convolutions, each with batch normalization and ReLU. x: `[N, D, H, W, C]`."""
    for _ in range(2):
        x = tf.layers.conv3d(x, filters, 3, padding="same", use_bias=False)
        x = tf.layers.batch_normalization(x, momentum=0.9, training=training)
        x = tf.nn.relu(x)
    return x


def unet(images, training, filters=8, levels=3):
    """A 3-D U-Net (Cicek et al. 2016, arXiv:1606.06650), small.

    Args:
      images: float32 `[N, D, H, W, 1]`, extents divisible by `2 ** (levels - 1)`.
      training: bool tensor, for batch normalization.
      filters: of the first level; doubled at each level.
      levels: resolutions.

    Returns:
      Logits, float32 `[N, D, H, W, 3]`.
    """
    x, skips = images, []
    for level in range(levels):
        if level:
            x = tf.layers.max_pooling3d(x, 2, 2)
        x = convolutions(x, filters * 2**level, training)
        skips.append(x)
    for level in reversed(range(levels - 1)):
        x = tf.layers.conv3d_transpose(x, filters * 2**level, 2, 2, padding="same")
        x = tf.concat([skips[level], x], axis=-1)
        x = convolutions(x, filters * 2**level, training)
    return tf.layers.conv3d(x, len(CLASSES), 1)


def soft_dice(logits, targets):
    """One minus the mean soft Dice of grey and white matter; blind to how much is background."""
    probability = tf.nn.softmax(logits)[..., 1:]
    truth = tf.one_hot(targets, len(CLASSES))[..., 1:]
    axes = [0, 1, 2, 3]
    both = tf.reduce_sum(probability * truth, axis=axes)
    total = tf.reduce_sum(probability, axis=axes) + tf.reduce_sum(truth, axis=axes)
    return 1.0 - tf.reduce_mean((2.0 * both + 1.0) / (total + 1.0))


class Model:
    """The graph: placeholders, loss, training step and prediction."""

    def __init__(self, optimizer=None, filters=8):
        self.images = tf.placeholder(tf.float32, [None, None, None, None, 1], name="images")
        self.targets = tf.placeholder(tf.int32, [None, None, None, None], name="targets")
        self.training = tf.placeholder_with_default(False, [], name="training")
        logits = unet(self.images, self.training, filters)
        self.labels = tf.argmax(logits, axis=-1)
        cross_entropy = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.targets, logits=logits)
        )
        self.loss = cross_entropy + soft_dice(logits, self.targets)
        self.step = tf.train.get_or_create_global_step()
        rate = tf.train.exponential_decay(3e-3, self.step, 200, 0.7)
        if optimizer is None:
            optimizer = tf.train.AdamOptimizer(rate)
        with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
            self.train = optimizer.minimize(self.loss, global_step=self.step)


# -------------------------------------------------------------------------------------- evaluation


def predict(session, model, t1, slab):
    """Labels of the coronal slices `slab.start .. slab.stop` of the whole volume.

    The volume is cut along depth into overlapping blocks, so that memory stays bounded and no voxel
    that is kept lies nearer than 16 voxels to a cut.

    Returns:
      int `[D, slab.stop - slab.start, W]`.
    """
    margin = 16
    low, high = max(slab.start - margin, 0), min(slab.stop + margin, t1.shape[1])
    out = np.empty((t1.shape[0], slab.stop - slab.start, t1.shape[2]), np.int32)
    block = 64
    for start in range(0, t1.shape[0], block):
        d0, d1 = max(start - margin, 0), min(start + block + margin, t1.shape[0])
        piece = t1[d0:d1, low:high]
        padding = [(0, -n % 4) for n in piece.shape]  # the network halves the resolution twice
        feed = np.pad(piece, padding, mode="edge")[None, ..., None]
        labels = session.run(model.labels, {model.images: feed})[0]
        stop = min(start + block, t1.shape[0])
        out[start:stop] = labels[
            start - d0 : stop - d0, slab.start - low : slab.stop - low, : t1.shape[2]
        ]
    return out


def dice(a, b):
    """Dice coefficient of two boolean arrays; 1 when both are empty."""
    total = a.sum() + b.sum()
    return 1.0 if total == 0 else float(2.0 * np.logical_and(a, b).sum() / total)


def evaluate(session, model, t1, labels):
    """Predicts all held-out slabs.

    Returns:
      `(scores, slabs)`: Dice of grey and white matter over all held-out voxels, `[(slab, labels)]`.
    """
    held = held_out_slices(t1.shape[1])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], held.astype(int), [0]])))
    slabs, truth = [], []
    for start, stop in zip(edges[::2], edges[1::2]):
        slab = slice(int(start), int(stop))
        slabs.append((slab, predict(session, model, t1, slab)))
        truth.append(labels[:, slab])
    predicted, expected = np.concatenate([p for _, p in slabs], 1), np.concatenate(truth, 1)
    return [dice(predicted == c, expected == c) for c in (1, 2)], slabs


def draw(path, t1, labels, slabs):
    """Writes a PNG: of each held-out slab the middle slice as T1, in the template, predicted."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, len(slabs), figsize=(3 * len(slabs), 8), squeeze=False)
    for column, (slab, predicted) in enumerate(slabs):
        middle = (slab.stop - slab.start) // 2
        views = (
            (t1[:, slab.start + middle], "gray", "T1, slice %d" % (slab.start + middle)),
            (labels[:, slab.start + middle], "viridis", "template"),
            (predicted[:, middle], "viridis", "predicted"),
        )
        for axis, (view, colours, title) in zip(axes[:, column], views):
            axis.imshow(np.rot90(view), cmap=colours)
            axis.set_title(title, fontsize=9)
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)


# ---------------------------------------------------------------------------------------- training


def train(args):
    """Trains (or goes on training) and evaluates after each epoch; returns the last scores."""
    from tqdm import tqdm

    t1, labels = load_volumes(args.data)
    checkpoints = os.path.join(args.output, "checkpoints")
    os.makedirs(checkpoints, exist_ok=True)
    history_path = os.path.join(args.output, "history.json")
    tf.set_random_seed(args.seed)
    model = Model(filters=args.filters)
    saver = tf.train.Saver(max_to_keep=2)
    history, losses = [], []  # of finished epochs; of the steps since
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        latest = tf.train.latest_checkpoint(checkpoints)
        if latest:
            saver.restore(session, latest)
            with open(history_path) as f:
                state = json.load(f)
            history, losses = state["epochs"], state["losses"]
            print("resumed from %s" % latest)
        step = int(session.run(model.step))
        total = args.epochs * args.steps
        stop = total if args.stop_after is None else min(total, args.stop_after)
        bar = tqdm(total=total, initial=step, unit="step", disable=args.quiet)
        began = time.time()
        while step < stop:
            images, targets = batch_of(t1, labels, step, args.seed, args.batch, args.patch)
            feed = {model.images: images, model.targets: targets, model.training: True}
            loss, _ = session.run([model.loss, model.train], feed)
            losses.append(float(loss))
            step += 1
            bar.update()
            bar.set_postfix(loss="%.4f" % loss)
            if step % args.steps and step != stop:
                continue
            if step % args.steps == 0:
                scores, slabs = evaluate(session, model, t1, labels)
                epoch = {"epoch": step // args.steps, "loss": float(np.mean(losses))}
                history.append({**epoch, "dice": dict(zip(CLASSES[1:], scores))})
                losses = []
                draw(os.path.join(args.output, "held_out.png"), t1, labels, slabs)
                bar.write(
                    "epoch %d  loss %.4f  Dice grey %.3f  white %.3f  (%.0f s)"
                    % (epoch["epoch"], epoch["loss"], *scores, time.time() - began)
                )
            saver.save(session, os.path.join(checkpoints, "model"), global_step=step)
            with open(history_path, "w") as f:
                json.dump({"epochs": history, "losses": losses}, f, indent=1)
        bar.close()
    return [history[-1]["dice"][c] for c in CLASSES[1:]] if history else []


def main(arguments=None):
    """Command line."""
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument(
        "--output", default="tissue", help="folder of checkpoints, history.json and held_out.png"
    )
    p.add_argument(
        "--data", help="folder of the mni_icbm152 files; by default those of the package nilearn"
    )
    p.add_argument("--epochs", type=int, default=24)
    p.add_argument("--steps", type=int, default=100, help="per epoch")
    p.add_argument("--batch", type=int, default=4, help="patches a step")
    p.add_argument(
        "--patch", type=int, default=32, help="edge of a patch, a multiple of 4, in voxels"
    )
    p.add_argument("--filters", type=int, default=8, help="of the first level")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--stop-after", type=int, help="stop at this step, as an interruption would")
    p.add_argument("--quiet", action="store_true", help="no progress bar")
    args = p.parse_args(arguments)
    if args.patch < 4 or args.patch % 4 or args.patch > SLAB * (HELD_OUT_EVERY - 1):
        raise SystemExit(
            "train_tissue: --patch %d: a multiple of 4, at most %d"
            % (args.patch, SLAB * (HELD_OUT_EVERY - 1))
        )
    for name in ("epochs", "steps", "batch", "filters"):
        if getattr(args, name) < 1:
            raise SystemExit("train_tissue: --%s %d: at least 1" % (name, getattr(args, name)))
    scores = train(args)
    if scores:
        print("held-out Dice: grey matter %.3f, white matter %.3f" % tuple(scores))
    return 0


if __name__ == "__main__":
    sys.exit(main())
