"""conv3d.engine in services: many threads, fork, exit, environment, and limits that bite."""

from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest

from conv3d import engine
from test_engine import child

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")

SETUP = """
import os, sys, threading
import numpy as np
from conv3d import engine
rng = np.random.default_rng(0)
x = rng.standard_normal((2, 10, 10, 10, 16)).astype(np.float32)
w = rng.standard_normal((3, 3, 3, 16, 16)).astype(np.float32)
want = engine.forward(x, w, num_threads=2)
def right():
    return np.array_equal(engine.forward(x, w, num_threads=2), want)
"""


def fine(code, timeout_marker="fine", **environment):
    done = child(SETUP + code, **environment)
    assert done.returncode == 0, (done.returncode, done.stdout[-500:], done.stderr[-2000:])
    assert timeout_marker in done.stdout, done.stderr[-2000:]
    return done


def test_many_threads_and_one_that_changes_the_number():  # 57
    rng = np.random.default_rng(1)
    w = rng.standard_normal((3, 3, 3, 8, 8)).astype(np.float32)
    inputs = [rng.standard_normal((1, n, 8, 8, 8)).astype(np.float32) for n in range(4, 12)]
    plan = engine.Plan(w, padding="same")
    want = [plan(x) for x in inputs]
    before = engine.get_num_threads()
    wrong: list[object] = []
    stop = threading.Event()

    def call(seed):
        order = np.random.default_rng(seed)
        try:
            for _ in range(20):
                i = int(order.integers(len(inputs)))
                y = plan(inputs[i]) if seed % 2 else engine.forward(inputs[i], w, padding="same")
                if not np.array_equal(y, want[i]):
                    wrong.append(i)
        except Exception as error:
            wrong.append(error)

    def change():
        n = 0
        while not stop.is_set():
            n += 1
            engine.set_num_threads(1 + n % 5)
            engine.clear_cache()

    callers = [threading.Thread(target=call, args=(n,)) for n in range(64)]
    changer = threading.Thread(target=change)
    for thread in (changer, *callers):
        thread.start()
    for thread in callers:
        thread.join()
    stop.set()
    changer.join()
    engine.set_num_threads(before)
    assert not wrong


def test_num_threads_is_scoped_to_the_caller():
    before = engine.get_num_threads()
    with engine.num_threads(3):
        assert engine.get_num_threads() == 3
        seen = []
        other = threading.Thread(target=lambda: seen.append(engine.get_num_threads()))
        other.start()
        other.join()
        assert seen == [before]
        with engine.num_threads(1):
            assert engine.get_num_threads() == 1
            assert engine.explain((8, 32, 32, 32, 8), (3, 3, 3, 8, 8)).threads == 1
        assert engine.get_num_threads() == 3
    assert engine.get_num_threads() == before
    with pytest.raises(ValueError, match="n is 0"):
        engine.set_num_threads(0)
    with pytest.raises(TypeError, match=r"n is 2\.5"):
        engine.set_num_threads(2.5)


@posix
def test_fork_between_calls_and_during_a_call():  # 56
    fine(
        """
def in_child():
    pid = os.fork()
    if pid == 0:
        import signal
        signal.alarm(60)
        ok = right() and engine.Plan(w)(x).shape == want.shape and engine.stats()["calls"] > 0
        os._exit(0 if ok else 1)
    return os.waitpid(pid, 0)[1]
import warnings
warnings.simplefilter("ignore")
assert in_child() == 0
stop = False
def busy():
    while not stop:
        engine.forward(x, w, num_threads=2)
        engine.clear_cache()
threads = [threading.Thread(target=busy) for _ in range(3)]
for t in threads: t.start()
codes = [in_child() for _ in range(20)]
stop = True
for t in threads: t.join()
assert codes == [0] * 20, codes
assert right()
print("fine")
"""
    )


@posix
def test_multiprocessing_pool():
    fine(
        """
import multiprocessing
import warnings
warnings.simplefilter("ignore")
def work(n):
    return right()
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert all(pool.map(work, range(8)))
print("fine")
"""
    )


def test_exit_while_a_daemon_thread_is_inside():  # 58
    code = """
def busy():
    while True:
        engine.forward(x, w, num_threads=2)
for _ in range(3):
    threading.Thread(target=busy, daemon=True).start()
import time
time.sleep(0.2)
print("fine", flush=True)
"""
    for _ in range(3):
        fine(code)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="sub-interpreters can be made from 3.13 on")
def test_subinterpreters_refuse_cleanly_or_work():  # 59
    fine(
        """
import _interpreters
for kind in ("isolated", "legacy"):
    inner = _interpreters.create(kind)
    failure = _interpreters.exec(inner, "from conv3d import engine")
    assert failure is None or failure.type.__name__ == "ImportError", failure
assert right()
print("fine")
"""
    )


@pytest.mark.parametrize("value", ["", "abc", "0", "-1", "1e9", "99999999999999999999"])
def test_nonsense_in_the_environment_is_said_once(value):  # 60
    done = fine("print(engine.get_num_threads(), 'fine')", CONV3D_NUM_THREADS=value)
    assert int(done.stdout.split()[0]) >= 1
    assert done.stderr.count("CONV3D_NUM_THREADS") == 1
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"CONV3D_NUM_THREADS": "5"}, 5),
        ({"CONV3D_NUM_THREADS": "5", "OMP_NUM_THREADS": "3"}, 5),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "3,2"}, 3),
    ],
)
def test_the_environment_sets_the_default(environment, threads):
    done = fine("print(engine.get_num_threads(), 'fine')", **environment)
    assert done.stdout.split()[0] == str(threads)
    assert not done.stderr


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_affinity_limits_the_default():
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from conv3d import engine; print(engine.get_num_threads())"
    )
    environment = {"CONV3D_NUM_THREADS": "", "OMP_NUM_THREADS": ""}
    done = child(code, **environment)
    assert done.stdout.strip() == "1", done.stderr


@posix
def test_without_new_threads_the_caller_works_alone():  # 55
    fine(
        """
import resource
engine.clear_cache()
pid = os.fork()
if pid == 0:
    # A user's processes and threads count together; root is exempt, so it becomes somebody.
    try:
        os.setgid(65534); os.setuid(65534)
    except OSError:
        pass
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    try:
        threading.Thread(target=int).start()
        os._exit(7)  # the limit does not bite here
    except RuntimeError:
        pass
    ok = all(np.array_equal(engine.forward(x, w, num_threads=8), want) for _ in range(3))
    os._exit(0 if ok else 1)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert code in (0, 7), code
print("fine")
"""
    )


@posix
def test_memory_that_cannot_be_had():  # 54
    fine(
        """
import resource
big = np.zeros((1, 64, 64, 64, 16), np.float32)
size = 0
if os.path.exists("/proc/self/statm"):
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
if size:
    engine.clear_cache()
    failures = 0
    for extra in range(0, 160 << 20, 4 << 20):
        resource.setrlimit(resource.RLIMIT_AS, (size + extra, -1))
        try:
            engine.forward(big, w, padding="same")
        except MemoryError:
            failures += 1
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        assert right()
    assert failures > 0
print("fine")
"""
    )


def test_the_gil_is_released():
    """Python goes on while the engine works: a counter runs during a long call."""
    x = np.ones((1, 64, 64, 64, 32), np.float32)
    w = np.ones((3, 3, 3, 32, 32), np.float32)
    counts = [0]
    stop = threading.Event()

    def count():
        while not stop.is_set():
            counts[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    before = counts[0]
    engine.forward(x, w, algorithm="gemm", num_threads=1)
    during = counts[0] - before
    stop.set()
    counter.join()
    assert during > 100


def test_verbose_writes_one_line_per_call():
    done = fine("assert right(); print('fine')", CONV3D_VERBOSE="1")
    lines = [line for line in done.stderr.splitlines() if line.startswith("conv3d: exec,")]
    assert len(lines) == 2
    assert "ic16" in lines[0]
    assert not fine("assert right(); print('fine')").stderr


def test_threadpoolctl_governs_our_threads():
    pytest.importorskip("threadpoolctl")
    code = """
import threadpoolctl
from conv3d import engine
engine.set_num_threads(3)
ours = [i for i in threadpoolctl.threadpool_info() if i["user_api"] == "conv3d"]
assert len(ours) == 1 and ours[0]["num_threads"] == 3 and ours[0]["version"], ours
with threadpoolctl.threadpool_limits(limits=1):
    assert engine.get_num_threads() == 1
assert engine.get_num_threads() == 3
print("fine")
"""
    done = child(code)
    assert "fine" in done.stdout, done.stderr[-1500:]
    # It is never imported for its own sake.
    done = child("import sys; from conv3d import engine; print('threadpoolctl' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


@pytest.mark.slow
def test_memory_stays_flat():
    """Random shapes for a while: what the process holds does not grow."""
    fine(
        """
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
def work(rounds):
    for _ in range(rounds):
        n = rng.integers(1, 24, 3)
        c = int(rng.integers(1, 40))
        a = np.ones((1, *n, c), np.float32)
        f = np.ones((3, 3, 3, c, 8), np.float32)
        y = engine.forward(a, f, padding="same")
        engine.backward_filter(a, f.shape, y, padding="same")
work(1500)
before = resident()
work(1500)
assert resident() - before < 48 << 20, (before, resident())
print("fine")
"""
    )
