"""`Saver`: writes variables to checkpoints that TensorFlow 1.x reads, and restores them.

Written are genuine checkpoints of format V2 (weights/checkpoint_v2.py). Restored is whatever
`weights.load` reads. No nodes are added to the graph, so that a Saver can be made at any time, even
after the graph is finalized. Graphs are not written: there is no `.meta` file.

Source: `tf.train.Saver`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import context
from conv3d.framework.graph import GraphKeys
from conv3d.framework.session import Session
from conv3d.train import checkpoint_management
from conv3d.train.slot_creator import variable_key_name
from conv3d.variables import collections as variable_collections
from conv3d.variables.partitioned import PartitionedVariable
from conv3d.variables.variable import Variable
from conv3d.weights import checkpoint_v2

__all__ = ["Saver"]

# Name in the checkpoint -> the variable, or the parts of a partitioned one.
_Targets = dict[str, list[Any]]


def _parts(item: Any) -> list[Any]:
    if isinstance(item, PartitionedVariable):
        return list(item)
    if isinstance(item, (list, tuple)):
        return [part for one in item for part in _parts(one)]
    if not isinstance(item, Variable):
        raise TypeError(
            f"var_list: variables are accepted, got {item!r} of type {type(item).__name__}"
        )
    return [item]


def _targets(var_list: Any) -> _Targets:
    if isinstance(var_list, Mapping):
        return {str(name): _parts(item) for name, item in var_list.items()}
    if isinstance(var_list, (Variable, PartitionedVariable)) or not isinstance(var_list, Iterable):
        raise TypeError(
            f"var_list: a list or a dict of variables is accepted, got {type(var_list).__name__}"
        )
    found: _Targets = {}
    for variable in _parts(list(var_list)):
        info = variable._get_save_slice_info()
        name = variable_key_name(variable) if info is None else info.full_name
        parts = found.setdefault(name, [])
        if any(part is variable for part in parts):
            continue
        if parts and info is None:
            raise ValueError(f"var_list: two variables have the name {name!r}")
        parts.append(variable)
    return found


class Saver:
    """Saves and restores variables.

    Args:
        var_list: variables, or a dict from names in the checkpoint to variables; by default all
            global variables and those of the collection SAVEABLE_OBJECTS.
        reshape: restore also from values of another shape with as many elements.
        sharded: accepted; there is one device and one data file.
        max_to_keep: how many of the newest checkpoints stay; None or 0 for all.
        keep_checkpoint_every_n_hours: besides, keep one for good each time so many hours passed.
        name: accepted; no ops are made.
        restore_sequentially: accepted.
        saver_def: not supported.
        builder: not supported.
        defer_build: look for the default variables only when they are needed.
        allow_empty: do not complain if there are no variables.
        write_version: accepted; format V2 is written.
        pad_step_number: write the step with eight digits.
        save_relative_paths: name checkpoints in the state file relative to its directory.
        filename: accepted.

    Raises:
        TypeError: `var_list` holds something else than variables.
        ValueError: there are no variables, or two of one name; `saver_def` or `builder` is given.
        RuntimeError: in eager mode without `var_list`.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: Any = 2,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:
        if saver_def is not None or builder is not None:
            raise ValueError(
                "saver_def, builder: a Saver is made from var_list here; graphs are not serialised"
            )
        if context.executing_eagerly() and var_list is None:
            raise RuntimeError("var_list: in eager mode there are no collections to take it from")
        self._var_list = var_list
        self._reshape = reshape
        self._max_to_keep = max_to_keep or 0
        self._keep_seconds = 3600.0 * keep_checkpoint_every_n_hours
        self._allow_empty = allow_empty
        self._pad_step_number = pad_step_number
        self._save_relative_paths = save_relative_paths
        self._last_checkpoints: list[tuple[str, float]] = []
        self._next_kept = time.time() + self._keep_seconds
        self._last_preserved: float | None = None
        self._found: _Targets | None = None
        if not defer_build:
            self.build()

    def build(self) -> None:
        """Fixes the variables."""
        if self._found is not None:
            return
        chosen = self._var_list
        if chosen is None:
            graph = context.get_default_graph()
            chosen = [
                *variable_collections.global_variables(),
                *graph.get_collection(GraphKeys.SAVEABLE_OBJECTS),
            ]
        found = _targets(chosen)
        if not found and not self._allow_empty:
            raise ValueError("var_list: there are no variables to save")
        self._found = found

    def _chosen(self) -> _Targets:
        self.build()
        assert self._found is not None
        return self._found

    # ---- saving ----------------------------------------------------------------------------------

    def save(
        self,
        sess: Any,
        save_path: str,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> str:
        """Writes a checkpoint and deletes the oldest ones beyond `max_to_keep`.

        Args:
            sess: the session with the values; None in eager mode.
            save_path: prefix of the files.
            global_step: a number, variable, or tensor that is appended: `model.ckpt-7`.
            latest_filename: name of the state file, by default `checkpoint`.
            meta_graph_suffix: of a file to be deleted with old checkpoints.
            write_meta_graph: accepted; graphs are not written.
            write_state: update the state file.
            strip_default_attrs: accepted.
            save_debug_info: accepted.

        Returns:
            The prefix of the files written.

        Raises:
            TypeError: `sess` is no session, or `global_step` no number.
            ValueError: `latest_filename` has a directory or is the checkpoint's name, or the
            directory
                of `save_path` does not exist.
            FailedPreconditionError: a variable is not initialised.
        """
        save_path = os.fspath(save_path)
        state_file = latest_filename or "checkpoint"
        if os.path.split(state_file)[0]:
            raise ValueError(
                f"latest_filename: a name without directory is needed, got {state_file!r}"
            )
        eager = context.executing_eagerly()
        if not eager and not isinstance(sess, Session):
            raise TypeError(f"sess: a session is needed, got {sess!r}")
        prefix = save_path
        if global_step is not None:
            if not isinstance(global_step, (int, np.integer)):
                global_step = self._step_value(sess, global_step)
            pattern = "%s-%08d" if self._pad_step_number else "%s-%d"
            prefix = pattern % (save_path, int(global_step))
        elif os.path.basename(save_path) == state_file:
            raise ValueError(f"latest_filename: {state_file!r} is the name of the checkpoint too")
        folder, base = os.path.split(prefix)
        if not base:
            raise ValueError(f"save_path: {save_path!r} is a directory; add a name for the files")
        if folder and not os.path.isdir(folder):
            raise ValueError(f"save_path: the directory {folder!r} does not exist")
        checkpoint_v2.write(prefix, self._read(sess))
        if write_state:
            self._record(prefix, meta_graph_suffix)
            checkpoint_management.update_checkpoint_state(
                folder,
                prefix,
                self.last_checkpoints,
                state_file,
                [stamp for _, stamp in self._last_checkpoints],
                self._last_preserved,
                save_relative_paths=self._save_relative_paths,
            )
        return prefix

    @staticmethod
    def _step_value(sess: Any, global_step: Any) -> int:
        if not hasattr(global_step, "dtype"):
            raise TypeError(
                f"global_step: a number, variable or tensor is accepted, got {global_step!r}"
            )
        value = np.asarray(
            global_step.numpy() if context.executing_eagerly() else sess.run(global_step)
        )
        if value.size != 1 or value.dtype.kind not in "iuf":
            raise TypeError(f"global_step: one number is needed, got {value!r}")
        return int(value.reshape(()))

    def _read(self, sess: Any) -> list[checkpoint_v2.Part]:
        variables = [
            (name, part) for name, parts in sorted(self._chosen().items()) for part in parts
        ]
        if context.executing_eagerly():
            values = [variable.numpy() for _, variable in variables]
        else:
            values = sess.run([variable for _, variable in variables]) if variables else []
        out = []
        for (name, variable), value in zip(variables, values, strict=True):
            info = variable._get_save_slice_info()
            array = np.asarray(value)
            if info is None:
                out.append(checkpoint_v2.Part(name, array))
                continue
            extents = tuple(
                (int(start), int(size))
                for start, size in zip(info.var_offset, info.var_shape, strict=True)
            )
            shape = tuple(int(size) for size in info.full_shape)
            out.append(checkpoint_v2.Part(name, array, shape, extents))
        return out

    def _record(self, prefix: str, meta_graph_suffix: str) -> None:
        if self._max_to_keep <= 0:
            self._last_checkpoints.append((prefix, time.time()))
            return
        self._last_checkpoints = [item for item in self._last_checkpoints if item[0] != prefix]
        self._last_checkpoints.append((prefix, time.time()))
        while len(self._last_checkpoints) > self._max_to_keep:
            oldest, stamp = self._last_checkpoints.pop(0)
            if stamp > self._next_kept:
                self._next_kept += self._keep_seconds
                self._last_preserved = stamp
                continue
            checkpoint_management.remove_checkpoint(oldest, meta_graph_suffix=meta_graph_suffix)

    @property
    def last_checkpoints(self) -> list[str]:
        """Prefixes of the checkpoints that are still kept, oldest first."""
        return [prefix for prefix, _ in self._last_checkpoints]

    def set_last_checkpoints(self, last_checkpoints: Sequence[str]) -> None:
        """Replaces the list of checkpoints to be deleted in their turn, oldest first."""
        self._last_checkpoints = [(prefix, float("inf")) for prefix in last_checkpoints]

    def set_last_checkpoints_with_time(
        self, last_checkpoints_with_time: Sequence[tuple[str, float]]
    ) -> None:
        """The same with the times at which they were written."""
        self._last_checkpoints = list(last_checkpoints_with_time)

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """The same after a restart: those that exist, with the times of their files."""
        there = [path for path in checkpoint_paths if checkpoint_management.checkpoint_exists(path)]
        times = checkpoint_management.get_checkpoint_mtimes(there)
        self.set_last_checkpoints_with_time(list(zip(there, times, strict=True)))

    # ---- restoring -------------------------------------------------------------------------------

    def restore(self, sess: Any, save_path: str) -> None:
        """Sets the variables from a checkpoint; they need not be initialised before.

        Args:
            sess: the session to set them in; None in eager mode.
            save_path: what `save` returned, or anything that `weights.load` reads.

        Raises:
            ValueError: `save_path` is None or there is no checkpoint.
            NotFoundError: the checkpoint lacks a variable.
            InvalidArgumentError: shapes or dtypes differ.
            DataLossError: the checkpoint is damaged.
            TypeError: `sess` is no session.
        """
        if save_path is None:
            raise ValueError("save_path: the prefix of a checkpoint is needed, got None")
        eager = context.executing_eagerly()
        if not eager and not isinstance(sess, Session):
            raise TypeError(f"sess: a session is needed, got {sess!r}")
        try:
            found = checkpoint_management.open_weights(os.fspath(save_path))
        except errors.NotFoundError as error:
            raise ValueError(f"save_path: there is no checkpoint {save_path!r}") from error
        pairs: list[tuple[Any, np.ndarray]] = []
        for name, parts in self._chosen().items():
            if name not in found:
                raise errors.NotFoundError(
                    None, None, f"{name!r} is not in the checkpoint {save_path}"
                )
            with checkpoint_management.damage_as_data_loss():
                whole = found[name]
            for variable in parts:
                pairs.append((variable, self._fit(name, variable, whole)))
        if eager:
            for variable, value in pairs:
                variable.assign(value)
            return
        # One run sets many variables; two whose initial value is one tensor need two runs.
        while pairs:
            feeds: dict[Any, np.ndarray] = {}
            operations, later = [], []
            for variable, value in pairs:
                operation = variable.initializer
                if operation.inputs[1] in feeds:
                    later.append((variable, value))
                    continue
                feeds[operation.inputs[1]] = value
                operations.append(operation)
            sess.run(operations, feeds)
            pairs = later

    def _fit(self, name: str, variable: Any, whole: np.ndarray) -> Any:
        """The part of the stored tensor that belongs to `variable`, checked."""
        info = variable._get_save_slice_info()
        dtype = variable.dtype.base_dtype.as_numpy_dtype
        if whole.dtype != np.dtype(dtype):
            raise errors.InvalidArgumentError(
                None,
                None,
                f"{name!r} is {whole.dtype} in the checkpoint, the variable is {np.dtype(dtype)}",
            )
        if info is not None:
            wanted = tuple(int(size) for size in info.full_shape)
            if whole.shape != wanted:
                raise self._misfit(name, whole.shape, wanted)
            where = tuple(
                slice(int(start), int(start) + int(size))
                for start, size in zip(info.var_offset, info.var_shape, strict=True)
            )
            return np.ascontiguousarray(whole[where])
        shape = variable.get_shape()
        if shape.is_compatible_with(whole.shape):
            return whole
        if self._reshape and shape.num_elements() == whole.size:
            return whole.reshape(shape.as_list())
        raise self._misfit(name, whole.shape, shape)

    @staticmethod
    def _misfit(name: str, stored: Any, wanted: Any) -> errors.InvalidArgumentError:
        return errors.InvalidArgumentError(
            None,
            None,
            f"{name!r} has the shape {tuple(stored)} in the checkpoint, the variable {wanted}",
        )
