"""`tf.logging`: messages by level, through the logger `conv3d` of Python's logging.

Where the program has set up no logging, warnings and worse go to stderr, and after
`set_verbosity(INFO)` the rest too.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

__all__ = [
    "DEBUG",
    "ERROR",
    "FATAL",
    "INFO",
    "WARN",
    "debug",
    "error",
    "fatal",
    "flush",
    "get_verbosity",
    "info",
    "log",
    "log_every_n",
    "log_first_n",
    "log_if",
    "set_verbosity",
    "vlog",
    "warn",
    "warning",
]

DEBUG = logging.DEBUG
INFO = logging.INFO
WARN = logging.WARNING
ERROR = logging.ERROR
FATAL = logging.CRITICAL

_logger = logging.getLogger("conv3d.script")
_lock = threading.Lock()
_counts: dict[tuple[str, int], int] = {}


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what `sys.stderr` is now."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)
        self.setFormatter(logging.Formatter("%(levelname)s:conv3d:%(message)s"))

    @property
    def stream(self) -> Any:
        return sys.stderr


def _heard() -> bool:
    """Whether the program has set up a handler that hears us."""
    logger: logging.Logger | None = _logger
    while logger is not None:
        if any(not isinstance(one, (logging.NullHandler, _Stderr)) for one in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def log(level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs `msg % args` at a level."""
    if not _logger.handlers and not _heard():
        with _lock:
            if not _logger.handlers:
                _logger.addHandler(_Stderr())
                if _logger.level == logging.NOTSET:
                    _logger.setLevel(WARN)
    _logger.log(level, msg, *args, **kwargs)


def debug(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at level DEBUG."""
    log(DEBUG, msg, *args, **kwargs)


def info(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at level INFO."""
    log(INFO, msg, *args, **kwargs)


def warning(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at level WARN."""
    log(WARN, msg, *args, **kwargs)


warn = warning


def error(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at level ERROR."""
    log(ERROR, msg, *args, **kwargs)


def fatal(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at level FATAL; the program goes on."""
    log(FATAL, msg, *args, **kwargs)


def vlog(level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
    """Logs at a numeric level."""
    log(level, msg, *args, **kwargs)


def _count(msg: Any, level: int) -> int:
    with _lock:
        key = (str(msg), level)
        _counts[key] = _counts.get(key, -1) + 1
        return _counts[key]


def log_every_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Logs the first and then every `n`-th of equal messages."""
    if _count(msg, level) % n == 0:
        log(level, msg, *args)


def log_first_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Logs the first `n` of equal messages."""
    if _count(msg, level) < n:
        log(level, msg, *args)


def log_if(level: int, msg: Any, condition: Any, *args: Any) -> None:
    """Logs if `condition` holds."""
    if condition:
        log(level, msg, *args)


def get_verbosity() -> int:
    """The lowest level that is logged."""
    return _logger.getEffectiveLevel()


def set_verbosity(v: Any) -> None:
    """Sets the lowest level that is logged, a number or a name such as `"INFO"`."""
    _logger.setLevel(v)


def flush() -> None:
    """Brings all messages to their files."""
    for handler in _logger.handlers:
        handler.flush()
