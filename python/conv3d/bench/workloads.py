"""The layers that are timed: real networks' 3-D convolutions, each with its source."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Workload:
    """One convolution.

    Extents are ``(depth, height, width)``; ``padding`` is ``((before, after), ...)`` in voxels.
    """

    name: str
    batch: int
    input: tuple[int, int, int]
    in_channels: int
    out_channels: int
    kernel: tuple[int, int, int]
    strides: tuple[int, int, int] = (1, 1, 1)
    dilations: tuple[int, int, int] = (1, 1, 1)
    padding: tuple[tuple[int, int], ...] = ((0, 0), (0, 0), (0, 0))
    source: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""

    @property
    def output(self) -> tuple[int, ...]:
        """Output extent ``(depth, height, width)``."""
        return tuple(
            (n + p[0] + p[1] - (k - 1) * d - 1) // s + 1
            for n, p, k, d, s in zip(
                self.input, self.padding, self.kernel, self.dilations, self.strides, strict=True
            )
        )

    @property
    def flops(self) -> float:
        """Operations of the direct algorithm: two per multiply-add, padding counted."""
        work = 2.0 * self.batch * self.in_channels * self.out_channels
        for n in (*self.output, *self.kernel):
            work *= n
        return work

    @property
    def is_wide_3x3x3(self) -> bool:
        """3x3x3, stride 1, undilated, at least 32 channels on both sides, at least 8^3 voxels."""
        return (
            self.kernel == (3, 3, 3)
            and self.strides == self.dilations == (1, 1, 1)
            and min(self.in_channels, self.out_channels) >= 32
            and self.input[0] * self.input[1] * self.input[2] >= 512
        )

    def to_json(self) -> dict[str, Any]:
        """What the peer programs are sent."""
        return asdict(self)


def from_json(record: dict[str, Any]) -> Workload:
    """Builds a workload from a record of ``workloads.json``; unknown keys are an error."""
    fields = dict(record)
    for key in ("input", "kernel", "strides", "dilations", "tags"):
        if key in fields:
            fields[key] = tuple(fields[key])
    if "padding" in fields:
        fields["padding"] = tuple(tuple(p) for p in fields["padding"])
    return Workload(**fields)


def load(path: str | Path | None = None) -> list[Workload]:
    """Reads a table of workloads; without ``path``, the one that comes with the package."""
    source = Path(path) if path else Path(__file__).with_name("workloads.json")
    return [from_json(record) for record in json.loads(source.read_text(encoding="utf-8"))]


_PROBLEM = re.compile(
    r"mb(?P<mb>\d+)_ic(?P<ic>\d+)id(?P<id>\d+)ih(?P<ih>\d+)iw(?P<iw>\d+)_oc(?P<oc>\d+)"
    r"_kd(?P<kd>\d+)kh(?P<kh>\d+)kw(?P<kw>\d+)"
    r"(?:_sd(?P<sd>\d+)sh(?P<sh>\d+)sw(?P<sw>\d+))?(?:_dd(?P<dd>\d+)dh(?P<dh>\d+)dw(?P<dw>\d+))?"
    r"_(?P<padding>same|valid)"
)


def parse(text: str) -> Workload:
    """Reads one problem in the grammar of the test suite.

    Example: ``mb1_ic16id8ih8iw8_oc32_kd3kh3kw3_same`` (strides ``_sd..sh..sw..`` and dilations
    ``_dd..dh..dw..`` may stand before the padding).

    Raises:
      ValueError: ``text`` does not follow the grammar.
    """
    match = _PROBLEM.fullmatch(text)
    if not match:
        raise ValueError(
            f"problem {text!r} is not of the form "
            "mb1_ic16id8ih8iw8_oc32_kd3kh3kw3[_sd1sh1sw1][_dd1dh1dw1]_same|valid"
        )
    value = {key: int(v or 1) for key, v in match.groupdict().items() if key != "padding"}
    axes = "dhw"
    padding = []
    for axis in axes:
        n, k, s, d = (value[prefix + axis] for prefix in "iksd")
        total = 0
        if match["padding"] == "same":
            total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        padding.append((total // 2, total - total // 2))
    return Workload(
        name=text,
        batch=value["mb"],
        input=tuple(value["i" + a] for a in axes),  # type: ignore[arg-type]
        in_channels=value["ic"],
        out_channels=value["oc"],
        kernel=tuple(value["k" + a] for a in axes),  # type: ignore[arg-type]
        strides=tuple(value["s" + a] for a in axes),  # type: ignore[arg-type]
        dilations=tuple(value["d" + a] for a in axes),  # type: ignore[arg-type]
        padding=tuple(padding),
    )
