"""What the documents point to exists, and the README's code runs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
FOLDERS = "cpp|python|tests|docs|examples|scripts|cmake|benchmarks"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"


GIVEN = """
import numpy as np
kernel, bias = np.ones((3, 3, 3, 2, 4), np.float32), np.zeros(4, np.float32)
volume = np.ones((1, 8, 8, 8, 2), np.float32)
"""
README_BLOCKS = [
    textwrap.dedent(block)
    for _, block in re.findall(
        r"^( *)```python\n(.*?)^\1```",
        (ROOT / "README.md").read_text("utf-8"),
        re.DOTALL | re.MULTILINE,
    )
]


def test_readme_has_code() -> None:
    assert len(README_BLOCKS) >= 2


@pytest.mark.parametrize("block", README_BLOCKS, ids=range(len(README_BLOCKS)))
def test_code_of_the_readme_runs(block: str) -> None:
    """With arrays where the text leaves them open; a comment after `print` is the output."""
    command = [sys.executable, "-W", "error", "-c", GIVEN + block]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for output in re.findall(r"print\(.*\)  # (\(.*\))$", block, flags=re.MULTILINE):
        assert output in done.stdout.splitlines()


def test_every_decision_has_its_parts() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{i:04d}" for i in range(1, len(pages) + 1)]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for part in ("**Context.**", "**Decision.**", "**Alternatives.**", "**Consequence.**"):
            assert part in text, f"{page.name} has no {part}"
