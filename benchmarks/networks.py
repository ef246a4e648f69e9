"""What `training_step.py` and `brain_network.py` share: a network under libraries, in turns."""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from pathlib import Path

from conv3d.bench.process import PeerProcess, has_module

LIBRARIES = ("conv3d", "tensorflow", "torch")


def environment(library: str, threads: int) -> dict[str, str]:
    """Each library is told its threads in its own way; ours also where the package is."""
    found = {"OMP_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if library == "conv3d":
        found["CONV3D_NUM_THREADS"] = str(threads)
        found["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    return found


def main(network: str, description: str) -> int:
    """Measures and prints one line a library: medians of wall and CPU time, memory, x ours."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PEER=EXE",
        help="interpreter that has a library, as in torch=/env/bin/python; may be repeated",
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument(
        "--rounds", type=int, default=9, help="runs that count, after two that do not"
    )
    chosen = parser.parse_args()
    given = dict(item.split("=", 1) for item in chosen.python)
    unknown = sorted(set(given) - set(LIBRARIES))
    if unknown:
        parser.error(f"--python names {unknown}; {', '.join(LIBRARIES)} are known")

    peers: dict[str, PeerProcess] = {}
    program = str(Path(__file__).resolve().with_name("network"))
    try:
        for library in LIBRARIES:
            python = given.get(library, sys.executable)
            if not has_module(python, library):
                continue
            peer = PeerProcess(
                program, python, chosen.threads, environment(library, chosen.threads)
            )
            peers[library] = peer
            answer = peer.ask(library=library, network=network)
            if "error" in answer:
                print(f"{library}: {answer['error']}", file=sys.stderr)
                peers.pop(library).close()
        walls: dict[str, list[float]] = {library: [] for library in peers}
        cpus: dict[str, list[float]] = {library: [] for library in peers}
        for i in range(chosen.rounds + 2):
            for library, peer in peers.items():
                answer = peer.ask(run=True)
                if "error" in answer:
                    raise SystemExit(f"{library}: {answer['error']}")
                if i >= 2:
                    walls[library].append(answer["seconds"])
                    cpus[library].append(answer["cpu"])
        ours = statistics.median(walls["conv3d"]) if "conv3d" in walls else float("nan")
        print(f"{description}  {chosen.threads} threads, median of {chosen.rounds}")
        print(f"{'':12}{'wall ms':>10}{'cpu ms':>10}{'peak MiB':>10}{'x ours':>8}{'result':>12}")
        for library, peer in peers.items():
            peak = peer.ask(peak=True)
            wall, cpu = statistics.median(walls[library]), statistics.median(cpus[library])
            print(
                f"{library:12}{wall * 1e3:10.1f}{cpu * 1e3:10.1f}{peak['bytes'] / 2**20:10.0f}"
                f"{wall / ours:8.2f}{peak['check']:12.5f}"
            )
    finally:
        for peer in peers.values():
            peer.close()
    return 0
