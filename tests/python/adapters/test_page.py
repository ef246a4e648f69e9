"""The code of docs/adapters.md prints what the page says it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "adapters.md"


@pytest.mark.parametrize("library", ["torch", "dask.array"])
def test_code_of_the_page(library: str) -> None:
    pytest.importorskip(library)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    (block,) = (b for b in blocks if f"import {library}" in b)
    said = re.findall(r"^# -> (.*)$", block, re.MULTILINE)
    assert said
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", block], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == said
