"""Every script of docs/examples runs, and prints what its `# ->` lines say it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))


def test_there_are_scripts() -> None:
    assert len(SCRIPTS) >= 6


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_prints_what_it_says(script: Path) -> None:
    said = re.findall(r"^ *# -> (.*)$", script.read_text(), flags=re.MULTILINE)
    assert said, "the script states no output"
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == said
