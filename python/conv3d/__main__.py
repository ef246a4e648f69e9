"""`python -m conv3d`: what the engine is and does on this machine.

python -m conv3d info          what engine.info() says, for a bug report
python -m conv3d bench ...     times layers, side by side with other libraries; see bench --help
python -m conv3d --includedir  where the C and C++ headers are
python -m conv3d --cmakedir    where conv3dConfig.cmake is
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from conv3d import engine


def _lines(facts: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in facts.items():
        if isinstance(value, dict):
            lines.append(f"{indent}{key}:")
            lines += _lines(value, indent + "  ")
        elif isinstance(value, list):
            lines.append(f"{indent}{key}: {' '.join(map(str, value))}")
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["bench"]:
        from conv3d.bench import cli

        return cli.main(arguments[1:]) or 0
    parser = argparse.ArgumentParser(prog="python -m conv3d", description=main.__doc__)
    parser.add_argument("--version", action="version", version=engine.__version__)
    parser.add_argument("--includedir", action="store_true", help="print where the headers are")
    parser.add_argument("--cmakedir", action="store_true", help="print where the CMake files are")
    parser.add_argument("command", nargs="?", choices=["info", "bench"], help="what to do")
    options = parser.parse_args(arguments)
    try:
        if options.includedir:
            print(engine.get_include())
        if options.cmakedir:
            print(engine.get_cmake_dir())
    except FileNotFoundError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.command == "info":
        print("\n".join(_lines(engine.info())))
    elif not (options.includedir or options.cmakedir):
        parser.print_help()
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
