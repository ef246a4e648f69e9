"""Which checkpoints a directory holds: the text file `checkpoint`, and what may be asked of it.

Source: `tf.train.get_checkpoint_state`, `tf.train.latest_checkpoint` and their siblings.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Any

from conv3d import errors, weights
from conv3d.weights import checkpoint_state
from conv3d.weights.checkpoint_state import CheckpointState

__all__ = [
    "CheckpointReader",
    "CheckpointState",
    "NewCheckpointReader",
    "checkpoint_exists",
    "generate_checkpoint_state_proto",
    "get_checkpoint_mtimes",
    "get_checkpoint_state",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "remove_checkpoint",
    "update_checkpoint_state",
]

_STATE_FILE = "checkpoint"


def generate_checkpoint_state_proto(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> CheckpointState:
    """What the state file of `save_dir` has to say; relative paths count from there.

    Raises:
        ValueError: as many times as paths are needed.
    """
    paths = list(all_model_checkpoint_paths or [])
    if not paths or paths[-1] != model_checkpoint_path:
        paths.append(model_checkpoint_path)
    stamps = list(all_model_checkpoint_timestamps or [])
    if stamps and len(stamps) != len(paths):
        raise ValueError(
            f"all_model_checkpoint_timestamps: {len(stamps)} times are given for {len(paths)} paths"
        )

    def place(path: str) -> str:
        if os.path.isabs(path) or not save_dir:
            return path
        return os.path.relpath(path, save_dir)

    return CheckpointState(
        place(model_checkpoint_path),
        [place(path) for path in paths],
        stamps,
        last_preserved_timestamp or 0.0,
    )


def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
    *,
    save_relative_paths: bool = False,
) -> None:
    """Writes the state file, beside its place first, so that a crash leaves the old or the new one.

    Raises:
        RuntimeError: the state file has the name of a checkpoint.
    """
    path = os.path.join(save_dir, latest_filename or _STATE_FILE)
    if save_relative_paths:

        def inside(name: str) -> str:
            return os.path.relpath(name, save_dir) if os.path.isabs(name) else name

        model_checkpoint_path = inside(model_checkpoint_path)
        all_model_checkpoint_paths = [inside(name) for name in all_model_checkpoint_paths or ()]
        state = CheckpointState(
            model_checkpoint_path,
            all_model_checkpoint_paths or [model_checkpoint_path],
            list(all_model_checkpoint_timestamps or []),
            last_preserved_timestamp or 0.0,
        )
    else:
        state = generate_checkpoint_state_proto(
            save_dir,
            model_checkpoint_path,
            all_model_checkpoint_paths,
            all_model_checkpoint_timestamps,
            last_preserved_timestamp,
        )
    if path == model_checkpoint_path:
        raise RuntimeError(
            f"latest_filename: {path!r} is the checkpoint itself; choose another name"
        )
    scratch = f"{path}.tmp{os.getpid()}"
    with open(scratch, "w", encoding="utf-8") as stream:
        stream.write(checkpoint_state.format_text(state))
    os.replace(scratch, path)


def get_checkpoint_state(
    checkpoint_dir: str, latest_filename: str | None = None
) -> CheckpointState | None:
    """The state file of a directory, with full paths; None where there is none that can be read."""
    path = os.path.join(os.fspath(checkpoint_dir), latest_filename or _STATE_FILE)
    try:
        with open(path, encoding="utf-8") as stream:
            state = checkpoint_state.parse(stream.read())
    except (OSError, ValueError):
        return None

    def place(name: str) -> str:
        return os.path.join(os.fspath(checkpoint_dir), name)

    state.model_checkpoint_path = place(state.model_checkpoint_path)
    state.all_model_checkpoint_paths = [place(name) for name in state.all_model_checkpoint_paths]
    return state


def latest_checkpoint(checkpoint_dir: str, latest_filename: str | None = None) -> str | None:
    """Prefix of the newest checkpoint of a directory, or None if there is none."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None or not checkpoint_exists(state.model_checkpoint_path):
        return None
    return state.model_checkpoint_path


def _files(prefix: str) -> list[str]:
    safe = glob.escape(prefix)
    parts = glob.glob(safe + ".data-?????-of-?????")
    return [*parts, prefix + ".index"]


def checkpoint_exists(checkpoint_prefix: str) -> bool:
    """Whether there is a checkpoint of format V2 or V1 with this prefix."""
    prefix = os.fspath(checkpoint_prefix)
    if os.path.isfile(prefix + ".index") or os.path.isfile(prefix):
        return True
    return bool(glob.glob(glob.escape(prefix) + "-?????-of-?????"))


def get_checkpoint_mtimes(checkpoint_prefixes: Sequence[str]) -> list[float]:
    """When each checkpoint was written, in seconds since 1970; missing ones are left out."""
    times = []
    for prefix in checkpoint_prefixes:
        for path in (prefix + ".index", prefix):
            if os.path.exists(path):
                times.append(os.path.getmtime(path))
                break
    return times


def remove_checkpoint(
    checkpoint_prefix: str, checkpoint_format_version: int = 2, meta_graph_suffix: str = "meta"
) -> None:
    """Deletes the files of a checkpoint."""
    paths = _files(checkpoint_prefix) if checkpoint_format_version == 2 else [checkpoint_prefix]
    for path in [*paths, f"{checkpoint_prefix}.{meta_graph_suffix}"]:
        if os.path.isfile(path):
            os.remove(path)


# ---- reading values ------------------------------------------------------------------------------


class CheckpointReader:
    """Looks into a checkpoint. Source: `tf.train.NewCheckpointReader`.

    Args:
        filepattern: prefix of the checkpoint.
    """

    def __init__(self, filepattern: str) -> None:
        self._weights = open_weights(filepattern)

    def has_tensor(self, tensor_str: str) -> bool:
        """Whether there is a tensor of this name."""
        return tensor_str in self._weights

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Shapes by name."""
        return {name: list(self._weights.shape(name)) for name in self._weights}

    def get_variable_to_dtype_map(self) -> dict[str, Any]:
        """Dtypes by name."""
        from conv3d.framework import dtypes

        return {
            name: dtypes.string if dtype.hasobject else dtypes.as_dtype(dtype)
            for name in self._weights
            for dtype in [self._weights.dtype(name)]
        }

    def get_tensor(self, tensor_str: str) -> Any:
        """The values of a tensor.

        Raises:
            NotFoundError: there is none of this name.
        """
        if tensor_str not in self._weights:
            raise errors.NotFoundError(
                None, None, f"tensor_str: {tensor_str!r} is not in {self._weights.path}"
            )
        with damage_as_data_loss():
            return self._weights[tensor_str]

    def debug_string(self) -> bytes:
        """Names, dtypes and shapes, a line each."""
        lines = [
            f"{name} ({self._weights.dtype(name)}) {list(self._weights.shape(name))}"
            for name in self._weights
        ]
        return "\n".join(lines).encode("utf-8")


def NewCheckpointReader(filepattern: str) -> CheckpointReader:
    """A `CheckpointReader` of the checkpoint `filepattern`."""
    return CheckpointReader(filepattern)


class damage_as_data_loss:
    """Turns `CorruptFile` into TensorFlow's `DataLossError`."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, weights.CorruptFile):
            raise errors.DataLossError(None, None, str(error)) from error


def open_weights(path: str) -> weights.WeightFile:
    """`weights.load` with TensorFlow's classes of errors.

    Raises:
        NotFoundError: there is nothing at `path`.
        DataLossError: it is damaged.
    """
    try:
        with damage_as_data_loss():
            return weights.load(path)
    except FileNotFoundError as error:
        raise errors.NotFoundError(None, None, str(error)) from error


def load_checkpoint(ckpt_dir_or_file: str) -> CheckpointReader:
    """A reader of a checkpoint, or of the newest one in a directory.

    Raises:
        ValueError: a directory without checkpoints.
    """
    path = os.fspath(ckpt_dir_or_file)
    if os.path.isdir(path):
        newest = latest_checkpoint(path)
        if newest is None:
            raise ValueError(f"ckpt_dir_or_file: there is no checkpoint in the directory {path!r}")
        path = newest
    return CheckpointReader(path)


def list_variables(ckpt_dir_or_file: str) -> list[tuple[str, list[int]]]:
    """Names and shapes of the tensors of a checkpoint, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def load_variable(ckpt_dir_or_file: str, name: str) -> Any:
    """The values of the tensor `name` of a checkpoint; `name` may end in `:0`."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))
