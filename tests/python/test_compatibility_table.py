"""docs/tf1-compatibility.md is what its rows say, and every row holds."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from compatibility import ROWS, Row  # noqa: E402
from compatibility.__main__ import PAGE, page  # noqa: E402


@functools.cache
def results(eager: bool) -> dict[str, Any]:
    """The checks of a mode in a process of its own, since a program has one mode."""
    command = [sys.executable, "-m", "compatibility", "check", *(["eager"] if eager else [])]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row_holds(row: Row) -> None:
    error = results(row.eager)[row.id]
    assert error is None, error


def test_page_is_written_from_the_rows() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run python -m compatibility in tests/python"
