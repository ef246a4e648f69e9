"""Checks that object files of ISA code export nothing but symbols of their own namespace.

An ISA file is compiled with flags that its neighbours may not run. A weak function in it (a
template instance, an inline member) may be the copy that the linker keeps for everybody, so none
may exist.

Usage: isa_symbols.py NM OBJECT...
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def foreign_symbols(nm: str, object_file: Path) -> list[str]:
    """Weak symbols, and globals outside `conv3d::<isa>`, of one object file `isa_<name>...`."""
    match = re.match(r"isa_([a-z0-9]+)", object_file.name)
    if match is None:
        raise ValueError(f"{object_file} is not named isa_<name>")
    own = f"conv3d::{match.group(1)}::"
    listing = subprocess.run(
        [nm, "-C", "--defined-only", str(object_file)], check=True, capture_output=True, text=True
    ).stdout
    found = []
    for line in listing.splitlines():
        parts = line.split(maxsplit=2)
        if len(parts) != 3:
            continue
        _, kind, name = parts
        weak = kind in "WwVvu"
        foreign = kind in "TDBRGS" and not name.startswith((own, "__odr_asan"))
        if weak and not name.startswith(("DW.ref", "asan.")):
            found.append(f"weak {name}")
        elif foreign:
            found.append(f"global {name}")
    return found


def main(arguments: list[str]) -> int:
    nm, *objects = arguments
    bad = [(path, name) for path in objects for name in foreign_symbols(nm, Path(path))]
    for path, name in bad:
        print(f"{path}: {name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
