"""Writes docs/tf1-compatibility.md, or runs the checks.

python -m compatibility               (in tests/python) rewrites the page
python -m compatibility check         runs those of graph mode, prints JSON: id -> error, null
python -m compatibility check eager   those of eager mode
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

from . import ROWS

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tf1-compatibility.md"

OPENING = """\
# `tf.layers.Conv3D` here and in TensorFlow 1.x

How it behaves here, and what TensorFlow 1.8.0 does where that differs; an empty cell means that it
does the same. Where TensorFlow's documentation (1.7, 1.8) and its program disagree, the
documentation holds. Each row is checked by the function named in its last column: this page is
written from them (`python -m compatibility` in `tests/python`), and a test runs and compares them.
"""


def page() -> str:
    """The whole page, from the rows."""
    lines = [OPENING]
    section = ""
    for row in ROWS:
        if row.section != section:
            section = row.section
            lines.append(f"\n## {section}\n")
            lines.append("| | here | TensorFlow 1.8, where it differs | check |")
            lines.append("|---|---|---|---|")
        lines.append(f"| {row.what} | {row.here} | {row.differs} | `{row.id}` |")
    return "\n".join(lines) + "\n"


def check(tf: Any, eager: bool) -> dict[str, str | None]:
    """Runs the checks of one mode; the error of each as text, None where it holds."""
    results: dict[str, str | None] = {}
    if eager:
        tf.enable_eager_execution()
    for row in (row for row in ROWS if row.eager == eager):
        results[row.id] = None
        try:
            if eager:
                row.check(tf)
            else:
                with tf.Graph().as_default():
                    row.check(tf)
        except Exception:
            results[row.id] = traceback.format_exc()
    return results


if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        import conv3d

        print(json.dumps(check(conv3d, eager=sys.argv[2:] == ["eager"])))
    else:
        PAGE.write_text(page(), encoding="utf-8")
