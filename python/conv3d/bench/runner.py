"""Lets libraries take turns at the same layer: a machine's drift meets all of them alike."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conv3d.bench.process import PeerProcess, has_module, own_python
from conv3d.bench.workloads import Workload

OPERATIONS = ("forward", "backward_input", "backward_filter")

# program -> (module it needs, its configurations). "+bf16" and "+default" compute with less than
# float32.
PEERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "conv3d": ("conv3d", ("channels_last", "channels_first")),
    "torch": (
        "torch",
        ("contiguous", "channels_last", "channels_last+prepacked", "channels_last+bf16"),
    ),
    "tensorflow": ("tensorflow", ("channels_last",)),
    "onnxruntime": ("onnxruntime", ("channels_first",)),
    "openvino": ("openvino", ("channels_first", "channels_last", "channels_last+default")),
    "jax": ("jax", ("channels_last", "channels_first")),
}
REDUCED_PRECISION = ("+bf16", "+default")


def hardware_bfloat16(environment: dict[str, str]) -> bool:
    """Whether the processor multiplies bfloat16 itself and ``environment`` lets oneDNN use it.
    Emulated, it is a hundred times slower and says nothing.
    """
    cap = environment.get("ONEDNN_MAX_CPU_ISA", "DEFAULT")
    if not any(word in cap.upper() for word in ("DEFAULT", "BF16", "AMX")):
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


@dataclass
class Timing:
    """Seconds of one (peer, configuration) on one workload."""

    peer: str
    config: str
    seconds: list[float] = field(default_factory=list)
    error: str = ""
    checksum: tuple[float, ...] = ()
    phases: dict[str, float] = field(default_factory=dict)  # seconds of all threads; ours only

    @property
    def label(self) -> str:
        return f"{self.peer} {self.config}"

    @property
    def median(self) -> float:
        return statistics.median(self.seconds) if self.seconds else math.inf

    @property
    def is_float32(self) -> bool:
        return not self.config.endswith(REDUCED_PRECISION)

    def to_json(self) -> dict[str, Any]:
        return {
            "peer": self.peer,
            "config": self.config,
            "median": self.median if self.seconds else None,
            "min": min(self.seconds, default=None),
            "max": max(self.seconds, default=None),
            "runs": len(self.seconds),
            "error": self.error,
            "phases": self.phases,
        }


@dataclass
class Result:
    """All timings of one workload in one run, and the FMA peak measured beside them (operations a
    second, 0 unknown).
    """

    workload: Workload
    op: str
    threads: int
    timings: list[Timing]
    fma_peak: float = 0.0

    def ours(self, layout: str) -> Timing | None:
        return next(
            (t for t in self.timings if t.peer == "conv3d" and t.config == layout and t.seconds),
            None,
        )

    def best_peer(self, float32: bool) -> Timing | None:
        peers = [
            t for t in self.timings if t.peer != "conv3d" and t.seconds and t.is_float32 == float32
        ]
        return min(peers, key=lambda t: t.median, default=None)

    def ratio(self, layout: str = "channels_last", float32: bool = True) -> float:
        """How many times faster we are than the best peer of this run; NaN if either is missing."""
        ours, best = self.ours(layout), self.best_peer(float32)
        return best.median / ours.median if ours and best else math.nan


def geometric_mean(values: Iterable[float]) -> float:
    """Geometric mean of the finite values; NaN if there is none."""
    logs = [math.log(v) for v in values if math.isfinite(v) and v > 0]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def _differs(reference: tuple[float, ...], other: tuple[float, ...], tolerance: float) -> bool:
    """Whether two checksums [sum, sum of squares] cannot come from the same result."""
    scale = math.sqrt(max(reference[1], 1e-30))
    return (
        abs(other[1] - reference[1]) > tolerance * scale * scale
        or abs(other[0] - reference[0]) > tolerance * scale * 100
    )


class Runner:
    """Starts the peers that are there and times workloads on all of them in turn."""

    def __init__(
        self,
        threads: int,
        pythons: dict[str, list[str]] | None = None,
        only: Iterable[str] | None = None,
        environment: dict[str, str] | None = None,
    ):
        """Args:
        threads: of every peer.
        pythons: program -> interpreters to try for it besides our own (another version is another
        peer).
        only: programs to take; all by default.
        environment: variables for every peer, such as ``ONEDNN_MAX_CPU_ISA``.
        """
        self.threads = threads
        self.peers: list[tuple[PeerProcess, tuple[str, ...]]] = []
        reduced = hardware_bfloat16(environment or {})
        for program, (module, all_configs) in PEERS.items():
            configs = tuple(c for c in all_configs if reduced or not c.endswith(REDUCED_PRECISION))
            if only is not None and program not in only and program != "conv3d":
                continue
            for python in [own_python()] + (pythons or {}).get(program, []):
                if has_module(python, module):
                    process = PeerProcess(program, python, threads, environment or {})
                    self.peers.append((process, configs))

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        for process, _ in self.peers:
            process.close()

    def measure(
        self,
        workload: Workload,
        op: str = "forward",
        rounds: int = 5,
        progress: Callable[[str], None] = lambda text: None,
    ) -> Result:
        """Times one workload: every peer loads it, then all run ``rounds`` times in turn.

        A turn is one run to warm the caches, which the others have taken, and as many counted runs
        as fit in about 20
        milliseconds (one at least). Peers whose checksum differs from the majority's are reported
        as errors.
        """
        entries: list[tuple[PeerProcess, Timing]] = []
        runs: list[int] = []
        for process, configs in self.peers:
            for config in configs:
                timing = Timing(process.name, config)
                answer = process.ask(do="load", workload=workload.to_json(), op=op, config=config)
                first = (
                    process.ask(do="time", config=config, runs=1)
                    if "error" not in answer
                    else answer
                )
                if "error" in first:
                    timing.error = first["error"]
                else:
                    timing.checksum = tuple(answer["checksum"])
                entries.append((process, timing))
                seconds = first.get("seconds", [1.0])[0]
                runs.append(max(1, min(20, int(0.02 / max(seconds, 1e-6)))))
        peak = 0.0
        for turn in range(rounds):
            # The best of the run: a peak is what the machine can do when nothing else disturbs it.
            peak = max(peak, self.peers[0][0].ask(do="peak").get("fma_peak", 0.0))
            for (process, timing), count in zip(entries, runs, strict=True):
                if timing.error:
                    continue
                answer = process.ask(do="time", config=timing.config, runs=1 + count)
                if "error" in answer:
                    timing.error, timing.seconds = answer["error"], []
                else:
                    timing.seconds += answer["seconds"][1:]
                progress(f"{workload.name} {timing.label} {turn + 1}/{rounds}")
        for process, timing in entries:
            if timing.peer == "conv3d" and not timing.error:
                timing.phases = process.ask(do="phases", config=timing.config).get("phases", {})
        for process, _ in self.peers:
            process.ask(do="clear")
        timings = [timing for _, timing in entries]
        self._check(timings)
        return Result(workload, op, self.threads, timings, peak)

    @staticmethod
    def _check(timings: list[Timing]) -> None:
        """Turns a timing whose result differs from the other float32 results into an error."""
        exact = [t for t in timings if t.seconds and t.is_float32]
        if len(exact) < 2:
            return
        reference = sorted(exact, key=lambda t: t.checksum[1])[len(exact) // 2].checksum
        for timing in timings:
            if timing.seconds and _differs(
                reference, timing.checksum, 1e-3 if timing.is_float32 else 3e-2
            ):
                timing.error = f"computed another result: {timing.checksum} beside {reference}"
                timing.seconds = []
