"""`tf.gfile`: files and directories of this machine under TensorFlow's names and error classes."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
from collections.abc import Iterator
from typing import Any

from conv3d import errors

__all__ = [
    "Copy",
    "DeleteRecursively",
    "Exists",
    "FastGFile",
    "GFile",
    "Glob",
    "IsDirectory",
    "ListDirectory",
    "MakeDirs",
    "MkDir",
    "Open",
    "Remove",
    "Rename",
    "Stat",
    "Walk",
]


@contextlib.contextmanager
def _named_errors(path: Any) -> Iterator[None]:
    """Python's errors of files as TensorFlow's."""
    try:
        yield
    except FileNotFoundError as error:
        raise errors.NotFoundError(None, None, f"{path}: there is no such file") from error
    except FileExistsError as error:
        raise errors.AlreadyExistsError(None, None, f"{path}: is there already") from error
    except PermissionError as error:
        raise errors.PermissionDeniedError(None, None, f"{path}: access is denied") from error
    except (IsADirectoryError, NotADirectoryError, OSError) as error:
        raise errors.FailedPreconditionError(None, None, f"{path}: {error.strerror}") from error


class GFile:
    """A file. Reading gives text, or bytes where the mode has a `b`.

    Args:
        name: its path.
        mode: `r`, `w`, `a`, with `b` for bytes and `+` for both ways.

    Raises:
        NotFoundError: at the first use, if there is no such file.
    """

    def __init__(self, name: str, mode: str = "r") -> None:
        self._file: Any = None
        self._name = os.fspath(name)
        self._mode = mode

    def _stream(self) -> Any:
        if self._file is None:
            with _named_errors(self._name):
                encoding = None if "b" in self._mode else "utf-8"
                self._file = open(self._name, self._mode, encoding=encoding)
        return self._file

    @property
    def name(self) -> str:
        """The path."""
        return self._name

    @property
    def mode(self) -> str:
        """The mode."""
        return self._mode

    def read(self, n: int = -1) -> Any:
        """Reads `n` characters or bytes, or all."""
        return self._stream().read(n)

    def readline(self) -> Any:
        """Reads a line."""
        return self._stream().readline()

    def readlines(self) -> list[Any]:
        """Reads all lines."""
        return list(self._stream())

    def write(self, file_content: Any) -> None:
        """Writes text or bytes."""
        self._stream().write(file_content)

    def seek(self, offset: int, whence: int = 0) -> None:
        """Moves to a place."""
        self._stream().seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return int(self._stream().tell())

    def size(self) -> int:
        """Bytes of the file."""
        with _named_errors(self._name):
            return os.path.getsize(self._name)

    def flush(self) -> None:
        """Brings what was written to the file."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        # Scripts read a file in one expression and leave the closing to us.
        self.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream())

    def __enter__(self) -> GFile:
        self._stream()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.close()


Open = GFile
FastGFile = GFile


def Exists(filename: str) -> bool:
    """Whether there is such a file or directory."""
    return os.path.exists(filename)


def IsDirectory(dirname: str) -> bool:
    """Whether there is such a directory."""
    return os.path.isdir(dirname)


def Glob(filename: Any) -> list[str]:
    """Paths that match a pattern, or any of a list of patterns."""
    patterns = [filename] if isinstance(filename, (str, os.PathLike)) else list(filename)
    return [path for pattern in patterns for path in sorted(glob.glob(os.fspath(pattern)))]


def ListDirectory(dirname: str) -> list[str]:
    """Names in a directory. Raises NotFoundError if there is none."""
    if not os.path.isdir(dirname):
        raise errors.NotFoundError(None, None, f"{dirname}: there is no such directory")
    return os.listdir(dirname)


def MakeDirs(dirname: str) -> None:
    """Makes a directory and those above it; does nothing where it is there."""
    with _named_errors(dirname):
        os.makedirs(dirname, exist_ok=True)


def MkDir(dirname: str) -> None:
    """Makes a directory. Raises NotFoundError or AlreadyExistsError."""
    with _named_errors(dirname):
        os.mkdir(dirname)


def Remove(filename: str) -> None:
    """Deletes a file. Raises NotFoundError if there is none."""
    with _named_errors(filename):
        os.remove(filename)


def DeleteRecursively(dirname: str) -> None:
    """Deletes a directory and all in it. Raises NotFoundError if there is none."""
    with _named_errors(dirname):
        if os.path.isdir(dirname):
            shutil.rmtree(dirname)
        else:
            os.remove(dirname)


def Rename(oldname: str, newname: str, overwrite: bool = False) -> None:
    """Moves a file. Raises AlreadyExistsError where the name is taken and `overwrite` false."""
    with _named_errors(oldname):
        if not overwrite and os.path.exists(newname):
            raise FileExistsError(newname)
        os.replace(oldname, newname)


def Copy(oldpath: str, newpath: str, overwrite: bool = False) -> None:
    """Copies a file; as `Rename`."""
    with _named_errors(oldpath):
        if not overwrite and os.path.exists(newpath):
            raise FileExistsError(newpath)
        shutil.copyfile(oldpath, newpath)


class FileStatistics:
    """What `Stat` tells: bytes, time of the last change in nanoseconds, directory or not."""

    def __init__(self, length: int, mtime_nsec: int, is_directory: bool) -> None:
        self.length = length
        self.mtime_nsec = mtime_nsec
        self.is_directory = is_directory


def Stat(filename: str) -> FileStatistics:
    """Statistics of a file. Raises NotFoundError if there is none."""
    with _named_errors(filename):
        found = os.stat(filename)
        return FileStatistics(found.st_size, found.st_mtime_ns, os.path.isdir(filename))


def Walk(top: str, in_order: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """Directories below `top` as `os.walk` gives them, from above or from below."""
    yield from os.walk(top, topdown=in_order)
