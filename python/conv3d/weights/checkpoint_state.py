"""The text file `checkpoint` that a Saver leaves in a directory: which checkpoints are there.

    model_checkpoint_path: "model.ckpt-7"
    all_model_checkpoint_paths: "model.ckpt-3"
    all_model_checkpoint_paths: "model.ckpt-7"

A relative path counts from the directory of the file. Source: TensorFlow's public message
definition `checkpoint_state.proto` in protobuf's text format.
"""

from __future__ import annotations

import dataclasses
import os
import re

from conv3d.errors import CorruptFile

_LINE = re.compile(r"\s*([a-z_]+)\s*:\s*(.*?)\s*$")
_STRING = re.compile(r"\"((?:[^\"\\\n]|\\.)*)\"|'((?:[^'\\\n]|\\.)*)'")
_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_SIMPLE = {
    b"n": b"\n",
    b"r": b"\r",
    b"t": b"\t",
    b"a": b"\a",
    b"b": b"\b",
    b"f": b"\f",
    b"v": b"\v",
}


@dataclasses.dataclass
class CheckpointState:
    """What the file says, paths as written.

    Attributes:
        model_checkpoint_path: prefix of the newest checkpoint.
        all_model_checkpoint_paths: prefixes from oldest to newest.
        all_model_checkpoint_timestamps: seconds since 1970 for each.
        last_preserved_timestamp: of the last checkpoint that is kept for good.
    """

    model_checkpoint_path: str = ""
    all_model_checkpoint_paths: list[str] = dataclasses.field(default_factory=list)
    all_model_checkpoint_timestamps: list[float] = dataclasses.field(default_factory=list)
    last_preserved_timestamp: float = 0.0


def _unquote(text: str) -> str:
    match = _STRING.fullmatch(text)
    if match is None:
        raise CorruptFile(f"{text[:60]!r} is not a quoted string")

    def replace(found: re.Match[bytes]) -> bytes:
        code = found.group(1)
        if code[:1] == b"x" and len(code) > 1:
            return bytes([int(code[1:], 16)])
        if code[:1] in b"01234567":
            return bytes([int(code, 8) & 0xFF])
        return _SIMPLE.get(code, code)

    body = match.group(1) if match.group(1) is not None else match.group(2)
    return _ESCAPE.sub(replace, body.encode("utf-8")).decode("utf-8")


def _quote(text: str) -> str:
    out = []
    for byte in text.encode("utf-8"):
        char = chr(byte)
        if char in "\"\\'":
            out.append("\\" + char)
        elif char == "\n":
            out.append("\\n")
        elif 32 <= byte < 127:
            out.append(char)
        else:
            out.append(f"\\{byte:03o}")
    return '"' + "".join(out) + '"'


def parse(text: str) -> CheckpointState:
    """Reads the text form.

    Raises:
        CorruptFile: a line is not understood, or no newest checkpoint is named.
    """
    state = CheckpointState()
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise CorruptFile(f"the line {line[:60]!r} is not 'name: value'")
        key, value = match.groups()
        if key == "model_checkpoint_path":
            state.model_checkpoint_path = _unquote(value)
        elif key == "all_model_checkpoint_paths":
            state.all_model_checkpoint_paths.append(_unquote(value))
        elif key == "all_model_checkpoint_timestamps":
            state.all_model_checkpoint_timestamps.append(float(value))
        elif key == "last_preserved_timestamp":
            state.last_preserved_timestamp = float(value)
        else:
            raise CorruptFile(f"the entry {key!r} is unknown")
    if not state.model_checkpoint_path:
        raise CorruptFile("no model_checkpoint_path is given")
    return state


def format_text(state: CheckpointState) -> str:
    """The text form of `state`."""
    lines = [f"model_checkpoint_path: {_quote(state.model_checkpoint_path)}"]
    lines += [
        f"all_model_checkpoint_paths: {_quote(path)}" for path in state.all_model_checkpoint_paths
    ]
    lines += [
        f"all_model_checkpoint_timestamps: {stamp!r}"
        for stamp in state.all_model_checkpoint_timestamps
    ]
    if state.last_preserved_timestamp:
        lines.append(f"last_preserved_timestamp: {state.last_preserved_timestamp!r}")
    return "\n".join(lines) + "\n"


def newest(path: str) -> str:
    """Prefix of the newest checkpoint that the state file `path` names.

    A directory that was moved still names the old place; then the checkpoint of that name beside
    the state file is taken.

    Raises:
        CorruptFile: the file is damaged.
        FileNotFoundError: the checkpoint is not there.
    """
    with open(path, "rb") as stream:
        try:
            state = parse(stream.read().decode("utf-8"))
        except ValueError as error:
            raise CorruptFile(f"{path}: {error}") from error
    folder = os.path.dirname(path)
    given = state.model_checkpoint_path
    if "\0" in given:
        raise CorruptFile(f"{path}: a checkpoint's path holds a NUL character")
    for prefix in (os.path.join(folder, given), os.path.join(folder, os.path.basename(given))):
        if os.path.exists(prefix + ".index") or os.path.exists(prefix):
            return prefix
    raise FileNotFoundError(f"{path} names the checkpoint {given!r}, which is not there")
