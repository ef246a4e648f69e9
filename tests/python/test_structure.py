"""The rules of the house: who includes and imports whom, and what an ISA object may export."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from isa_symbols import foreign_symbols

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "cpp" / "src"
PACKAGE = ROOT / "python" / "conv3d"

# What the files of a folder may include, besides their own folder and the standard library.
MAY_INCLUDE = {
    "base": set(),
    "problem": {"base"},
    "runtime": {"base"},
    "kernels": {"base"},
    "algorithms": {"kernels", "problem", "runtime", "base"},
    "plan": {"algorithms", "kernels", "problem", "runtime", "base"},
    "api": {"plan", "algorithms", "kernels", "problem", "runtime", "base", "conv3d"},
    "bindings": {"conv3d", "pybind11"},
}
FOLDERS = set(MAY_INCLUDE)
# Single files with a reason of their own.
EXCEPTIONS = {
    "kernels/dispatch.cpp": {"runtime/cpu_info.h", "runtime/fork.h", "isa_list.inc"},
}
# Above the kernels only the tables, the choice among them, and the compile-time matrices are known.
KERNEL_HEADERS = re.compile(r"kernels/(\w+_table|dispatch|cook_toom)\.h$")
ISA_STANDARD_HEADERS = {"cstddef", "cstdint", "type_traits", "immintrin.h"}
SYSTEM = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def sources():
    files = sorted(p for p in SOURCE.rglob("*") if p.suffix in (".h", ".cpp", ".inl"))
    assert len(files) > 40
    return files


def includes(path: Path):
    return [(kind == '"', name) for kind, name in SYSTEM.findall(path.read_text(encoding="utf-8"))]


def faults(path: Path):
    name = path.relative_to(SOURCE).as_posix()
    folder = name.split("/")[0]
    for quoted, header in includes(path):
        target = header.split("/")[0]
        if header in EXCEPTIONS.get(name, ()):
            continue
        if not quoted:
            if target in FOLDERS or (target == "pybind11" and folder != "bindings"):
                yield f"{name} includes <{header}>"
            continue
        if folder == "bindings" and header == "bindings.h":
            continue
        if target == folder:
            continue
        if target not in MAY_INCLUDE[folder]:
            yield f"{name} includes {header}"
        elif target == "kernels" and not KERNEL_HEADERS.match(header):
            yield f"{name} includes {header}, the inside of the kernels"


def test_includes_point_one_way():
    assert [fault for path in sources() for fault in faults(path)] == []


def test_the_include_rule_finds_faults(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    for name, line in {
        "base/a.h": '#include "problem/problem.h"',
        "problem/a.cpp": '#include "runtime/thread_pool.h"',
        "algorithms/x/a.cpp": '#include "plan/plan.h"',
        "plan/a.cpp": '#include "kernels/simd/vec_avx2.h"',
        "bindings/a.cpp": '#include "plan/plan.h"',
        "kernels/a.inl": '  #  include "runtime/cpu_info.h"',
        "runtime/a.h": "#include <pybind11/pybind11.h>",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line)
        assert list(faults(path)), line


def isa_files():
    """The ISA files and all that they include, directly or not."""
    todo = sorted((SOURCE / "kernels").glob("isa_*.cpp"))
    assert len(todo) >= 3
    seen = set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        todo += [SOURCE / name for quoted, name in includes(path) if quoted]
    return sorted(seen)


def test_isa_files_include_no_library_code():
    bad = []
    for path in isa_files():
        name = path.relative_to(SOURCE).as_posix()
        if not name.startswith("kernels/") and name != "base/cpu_feature.h":
            bad.append(name)
        text = path.read_text(encoding="utf-8")
        for quoted, header in includes(path):
            if not quoted and header not in ISA_STANDARD_HEADERS:
                # Only the emulation that tests compile may bring more, behind its own macro.
                before = text[: text.index(f"<{header}>")]
                if "CONV3D_EMULATE_ISA" not in before.rpartition("#if")[2]:
                    bad.append(f"{name} includes <{header}>")
    assert bad == []


def test_only_one_file_is_extern_c():
    found = {
        p.relative_to(SOURCE).as_posix()
        for p in sources()
        if re.search(r'^\s*extern "C"', p.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == {"api/c_api.cpp"}


def test_nothing_prints_or_aborts():
    allowed = {"runtime/verbose.cpp"}
    pattern = re.compile(r"\b(printf|fprintf|puts|abort|exit)\s*\(|std::c(out|err)\b")
    found = [
        p.relative_to(SOURCE).as_posix()
        for p in sources()
        if pattern.search(re.sub(r"//.*", "", p.read_text(encoding="utf-8")))
        and p.relative_to(SOURCE).as_posix() not in allowed
    ]
    assert found == []


def test_public_headers_are_alone():
    for path in (ROOT / "cpp" / "include" / "conv3d").iterdir():
        for quoted, header in includes(path):
            assert not quoted or header.startswith("conv3d/"), (path.name, header)
            assert quoted or header in {
                "stddef.h", "stdint.h", "array", "cstdint", "exception", "functional", "memory",
                "stdexcept", "string", "utility", "vector",
            }, (path.name, header)  # fmt: skip


def isa_objects():
    given = os.environ.get("CONV3D_BUILD_DIR")
    roots = [Path(given)] if given else sorted((ROOT / "build").glob("*"))
    newest: dict[str, Path] = {}
    for root in roots:
        for path in root.glob("CMakeFiles/conv3d_isa_*.dir/**/isa_*.o"):
            name = path.name
            if name not in newest or path.stat().st_mtime > newest[name].stat().st_mtime:
                newest[name] = path
    return list(newest.values())


def test_isa_objects_export_nothing_but_their_own():
    """Also a test of ctest, which always has the objects at hand."""
    nm, objects = shutil.which("nm"), isa_objects()
    if nm is None or not objects:
        pytest.skip("no nm, or no build of the library in this tree")
    assert {path.name: foreign_symbols(nm, path) for path in objects} == {
        path.name: [] for path in objects
    }


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path):
    """Full names of what a module of the package imports."""
    package = path.parent.relative_to(PACKAGE.parent).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(part for part in (base, node.module or "") if part)
            yield from (f"{stem}.{alias.name}" for alias in node.names)
            yield stem


def test_only_the_engine_imports_the_core():
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in modules()
        if any(re.match(r"conv3d\._core\b", name) for name in imported(path))
    }
    assert found == {"engine.py"}


LAYERS = [
    {"errors", "config", "_arguments"},
    {"engine"},
    {"framework"},
    {"ops"},
    {"initializers", "regularizers", "constraints", "partitioners"},
    {"variables"},
    {"layers", "weights", "torch", "dask"},
    {"train"},
]


def test_imports_point_one_way():
    """Lower layers do not know higher ones; neighbours in a layer do not know each other."""
    level = {name: n for n, names in enumerate(LAYERS) for name in names}
    bad = []
    for path in modules():
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if own not in level:
            continue
        for name in imported(path):
            parts = name.split(".")
            other = parts[1] if parts[0] == "conv3d" and len(parts) > 1 else None
            if other in level and other != own and level[other] >= level[own]:
                if level[own] != level[other] or own in LAYERS[-2]:
                    bad.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert bad == []


def test_the_package_needs_nothing_but_numpy():
    """At import: other libraries are imported where they are used."""
    standard = sys.stdlib_module_names
    bad = []
    for path in modules():
        if path.relative_to(PACKAGE).parts[0] == "bench":
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            bad += [
                f"{path.relative_to(PACKAGE)} imports {name}"
                for name in names
                if name.split(".")[0] not in {*standard, "numpy", "conv3d"}
            ]
    # Modules of PyTorch, which `torch/__init__.py` imports when they are asked for.
    adapters = ("torch/modules.py", "torch/functions.py")
    assert [b for b in bad if not b.startswith(adapters)] == []


def test_the_stub_names_what_the_core_has():
    from conv3d import engine

    core = engine._core
    tree = ast.parse((PACKAGE / "_core.pyi").read_text(encoding="utf-8"))
    stub: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            stub[node.name] = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        elif isinstance(node, ast.FunctionDef):
            stub[node.name] = set()
    real = {name for name in dir(core) if not name.startswith("_")}
    assert set(stub) == real
    for name, members in stub.items():
        if isinstance(getattr(core, name), type):
            have = {m for m in vars(getattr(core, name)) if not m.startswith("_")}
            assert members - {"__init__", "__str__", "__buffer__"} == have, name
