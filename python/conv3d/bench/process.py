"""One peer in a process of its own, stopped whenever it is not its turn."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

# glibc returns large blocks to the system and page-faults them again at every call, which hides
# what a library can do.
# All peers, ours too, keep their memory.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


class PeerProcess:
    """A peer program under an interpreter.

    Between its turns the process is stopped by a signal: libraries keep their threads spinning for
    a while after a call
    and would take the processor from the next peer.
    """

    def __init__(self, program: str, python: str, threads: int, environment: dict[str, str]):
        path = Path(__file__).with_name("peers") / f"{program}_peer.py"
        self.name = program
        self._process = subprocess.Popen(
            [python, str(path), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **ALLOCATOR, **environment},
            start_new_session=True,
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Sends one request and waits for the answer; a dead peer answers with an error."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        try:
            os.killpg(process.pid, signal.SIGCONT)
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            if not line:
                return {"error": f"the process ended (status {process.wait()})"}
            os.killpg(process.pid, signal.SIGSTOP)
        except (ProcessLookupError, BrokenPipeError):
            return {"error": f"the process ended (status {process.poll()})"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()


def has_module(python: str, module: str) -> bool:
    """Whether ``python`` can find ``module`` (without importing it)."""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


def own_python() -> str:
    """The interpreter that runs this."""
    return sys.executable
