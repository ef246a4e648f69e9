"""`tf.app`: `run` parses the flags and calls the program's `main`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from conv3d import flags

__all__ = ["flags", "run"]


def run(
    main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None
) -> NoReturn:
    """Parses flags, calls `main` with the rest of the command line, and exits with what it returns.

    Args:
        main: the program; by default `main` of the script.
        argv: the command line; by default that of the process.

    Raises:
        SystemExit: always; 1 with a message for flags that cannot be parsed, 0 after `--help`.
    """
    words = list(sys.argv if argv is None else argv)
    main = main or sys.modules["__main__"].main
    asked = [word for word in words[1:] if word in ("--help", "-h", "-help", "--helpfull")]
    if asked and "help" not in flags.FLAGS:
        sys.stdout.write(f"{words[0]}:\n{flags.FLAGS.get_help()}\n")
        sys.exit(0)
    try:
        rest = flags.FLAGS(words)
    except flags.Error as error:
        sys.stderr.write(f"{words[0]}: {error}\n{flags.FLAGS.get_help()}\n")
        sys.exit(1)
    sys.exit(main(rest))
