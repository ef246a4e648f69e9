"""Tables and the plot of a benchmark run."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conv3d.bench.runner import Result, geometric_mean

LAYOUTS = ("channels_last", "channels_first")


def _number(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def markdown(results: list[Result]) -> str:
    """One row a workload: our time in both layouts, the best peer's, our share of peak."""
    names = (
        "workload|op|threads|ms NDHWC|ms NCDHW|effective GFLOP/s|of FMA peak|best float32 peer|ms|"
        "ratio NDHWC|ratio NCDHW|best reduced-precision peer|ratio"
    ).split("|")
    lines = ["| " + " | ".join(names) + " |", "|---|---" + "|--:" * (len(names) - 2) + "|"]
    for r in results:
        last, first = r.ours("channels_last"), r.ours("channels_first")
        best, reduced = r.best_peer(True), r.best_peer(False)
        rate = r.workload.flops / last.median if last else math.nan
        lines.append(
            "| "
            + " | ".join(
                [
                    r.workload.name,
                    r.op,
                    str(r.threads),
                    _number(last.median * 1e3) if last else "-",
                    _number(first.median * 1e3) if first else "-",
                    _number(rate / 1e9, 0),
                    f"{100 * rate / r.fma_peak:.0f} %" if r.fma_peak and last else "-",
                    best.label if best else "-",
                    _number(best.median * 1e3) if best else "-",
                    _number(r.ratio("channels_last")),
                    _number(r.ratio("channels_first")),
                    reduced.label if reduced else "-",
                    _number(r.ratio("channels_last", float32=False)),
                ]
            )
            + " |"
        )
    return "\n".join(lines)


def phases(results: list[Result]) -> str:
    """One row a workload: how our time is shared between the phases, in per cent."""
    timed = [(r, t) for r in results for t in map(r.ours, LAYOUTS) if t and t.phases]
    if not timed:
        return ""
    names = list(timed[0][1].phases)
    lines = ["| workload | layout | " + " | ".join(f"{n} %" for n in names) + " |"]
    lines.append("|---|---" + "|--:" * len(names) + "|")
    for r, t in timed:
        total = sum(t.phases.values()) or math.nan
        shares = " | ".join(_number(100 * t.phases[n] / total, 0) for n in names)
        lines.append(f"| {r.workload.name} | {t.config} | {shares} |")
    return "\n".join(lines)


def summary(results: list[Result]) -> str:
    """Geometric means and worst ratios of all and of the wide 3x3x3 layers, per layout; beside them
    those against peers of less than float32, where the processor has such products.
    """
    groups: list[tuple[str, Callable[[Result], bool]]] = [
        ("all", lambda r: True),
        ("3x3x3, stride 1, >= 32 channels, >= 8^3", lambda r: r.workload.is_wide_3x3x3),
    ]
    lines = []
    for name, member in groups:
        for layout, float32 in [(x, p) for p in (True, False) for x in LAYOUTS]:
            ratios = {
                r.workload.name: ratio
                for r in results
                if member(r) and math.isfinite(ratio := r.ratio(layout, float32))
            }
            if ratios:
                worst = min(ratios, key=lambda workload: ratios[workload])
                lines.append(
                    f"{name}, {layout}{'' if float32 else ', peers of reduced precision'}: "
                    f"{len(ratios)} layers, geometric mean {geometric_mean(ratios.values()):.2f}, "
                    f"lowest {ratios[worst]:.2f} ({worst})"
                )
    return "\n".join(lines)


def to_json(results: list[Result]) -> dict[str, Any]:
    """Everything that was measured."""
    return {
        "machine": platform.processor() or platform.machine(),
        "results": [
            {
                "workload": r.workload.name,
                "op": r.op,
                "threads": r.threads,
                "fma_peak": r.fma_peak,
                "timings": [t.to_json() for t in r.timings],
            }
            for r in results
        ],
    }


def write(results: list[Result], prefix: Path) -> None:
    """Writes ``prefix.json`` and ``prefix.md``; ``prefix.png`` with matplotlib."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_suffix(".json").write_text(json.dumps(to_json(results), indent=1) + "\n")
    parts = [markdown(results), summary(results), phases(results)]
    prefix.with_suffix(".md").write_text("\n\n".join(p for p in parts if p) + "\n")
    try:
        plot(results, prefix.with_suffix(".png"))
    except ImportError:
        pass


def plot(results: list[Result], path: Path) -> None:
    """Bars of the ratio to the best float32 peer, a line at one."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    chosen = [r for r in results if math.isfinite(r.ratio())]
    figure, axes = pyplot.subplots(figsize=(8, 0.24 * len(chosen) + 1.5))
    ratios = [r.ratio() for r in chosen]
    axes.barh(range(len(chosen)), ratios, color="#3b6ea5")
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_yticks(range(len(chosen)), [r.workload.name for r in chosen], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("times faster than the best float32 peer of the same run")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
