"""The command line of the benchmark: ``python -m conv3d bench``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from conv3d.bench import report, workloads
from conv3d.bench.runner import OPERATIONS, PEERS, Result, Runner


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    p = argparse.ArgumentParser(
        prog="python -m conv3d bench",
        description="Times 3-D convolutions side by side with the libraries that are installed.",
    )
    p.add_argument(
        "select",
        nargs="*",
        help="parts of workload names, or problems such as "
        "mb1_ic16id8ih8iw8_oc32_kd3kh3kw3_same; all standard workloads by default",
    )
    p.add_argument("--table", help="another workload table (JSON)")
    p.add_argument("--op", choices=OPERATIONS, default="forward")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5, help="turns of each peer")
    p.add_argument(
        "--peers",
        help="comma-separated: " + ", ".join(n for n in PEERS if n != "conv3d") + ", or none",
    )
    p.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PEER=EXE",
        help="another interpreter that has a peer; may be repeated",
    )
    p.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable for every peer, such as ONEDNN_MAX_CPU_ISA=AVX2",
    )
    p.add_argument("--output", type=Path, help="write PREFIX.json, PREFIX.md and PREFIX.png")
    p.add_argument("--quiet", action="store_true")
    return p


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark; prints a table of medians and ratios."""
    args = parser().parse_args(arguments)
    table = workloads.load(args.table)
    chosen = table if not args.select else []
    for text in args.select:
        if text.startswith("mb"):
            chosen.append(workloads.parse(text))
        else:
            found = [w for w in table if text in w.name and w not in chosen]
            if not found:
                print(f"no workload has {text!r} in its name", file=sys.stderr)
                return 2
            chosen += found
    pythons: dict[str, list[str]] = {}
    for item in args.python:
        name, _, exe = item.partition("=")
        pythons.setdefault(name, []).append(exe)
    only = None if args.peers is None else [n for n in args.peers.split(",") if n != "none"]
    environment = dict(item.split("=", 1) for item in args.env)

    def progress(text: str) -> None:
        if not args.quiet:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    results: list[Result] = []
    with Runner(args.threads, pythons, only, environment) as runner:
        for workload in chosen:
            results.append(runner.measure(workload, args.op, args.rounds, progress))
            if args.output:
                report.write(results, args.output)
    progress("")
    print(report.markdown(results))
    print()
    print(report.summary(results))
    for result in results:
        for timing in result.timings:
            if timing.error:
                print(f"{result.workload.name} {timing.label}: {timing.error}", file=sys.stderr)
    return 0
