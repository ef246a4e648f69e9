"""What import-linter cannot see: who imports the compiled module, and that imports stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "conv3d"


def imported(path: Path) -> set[str]:
    """The modules that a file imports, by their absolute names."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return names


def test_only_the_engine_imports_the_compiled_core() -> None:
    importers = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(name.startswith("conv3d._core") for name in imported(path))
    ]
    assert importers == ["engine.py"]


def test_importing_needs_numpy_alone() -> None:
    """Optional libraries are imported when used; none of them comes with `import conv3d`."""
    code = (
        "import sys, conv3d; "
        "print(*{name.split('.')[0] for name in sys.modules} & "
        "{'h5py', 'onnx', 'safetensors', 'torch', 'dask', 'scipy', 'matplotlib', 'tensorflow'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
