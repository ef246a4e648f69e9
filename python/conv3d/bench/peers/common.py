"""What every peer program shares: data, the clock and the conversation with the parent process.

The parent writes one JSON object a line to standard input, the program answers one a line on what
was standard output (which is then pointed at standard error, so that a library's own printing
cannot disturb).

  {"do": "load", "workload": {...}, "op": "forward", "config": "..."}  ->  {"checksum": [...]}
  {"do": "time", "config": "...", "runs": 3}                           ->  {"seconds": [...]}
  {"do": "clear"}                                                      ->  {}
  {"do": "peak"}  (our own program only)                               ->  {"fma_peak": ...}
  {"do": "phases", "config": "..."}  (likewise)                        ->  {"phases": {...}}

or, where that fails, {"error": "..."}.

Several configurations may be loaded at once; "clear" drops them.

Kept to the standard library, NumPy and the syntax of Python 3.6: TensorFlow 1.x runs nothing newer.
"""

import ctypes
import gc
import json
import os
import signal
import sys
import time

import numpy as np


def start(threads):
    """Points standard output away and confines the process to ``threads`` processors. Call before
    any import of a library.

    Returns the file for answers.
    """
    if sys.platform == "linux":  # a stopped process whose parent was killed would stay for ever
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    answers = os.fdopen(os.dup(1), "w", 1)
    os.dup2(2, 1)
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(cpus[-threads:]))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CONV3D_NUM_THREADS"):
        os.environ[name] = str(threads)
    return answers


def pseudo_random(shape, seed):
    """Fixed float32 numbers in [-0.5, 0.5), the same in every process: a hash of the index."""
    n = int(np.prod(shape))
    a = (np.arange(n, dtype=np.uint32) + np.uint32(seed * 7919)) * np.uint32(2654435761)
    a ^= a >> np.uint32(15)
    a *= np.uint32(2246822519)
    a ^= a >> np.uint32(13)
    values = (a & np.uint32(0xFFFF)).astype(np.float32)
    return (values * np.float32(1 / 65536.0) - np.float32(0.5)).reshape(shape)


def output_extent(w):
    """(depth, height, width) of the output of a workload record."""
    return [
        (n + p[0] + p[1] - (k - 1) * d - 1) // s + 1
        for n, p, k, d, s in zip(
            w["input"], w["padding"], w["kernel"], w["dilations"], w["strides"]
        )
    ]


def data(w, op):
    """Returns (input [N,D,H,W,C], filter [kd,kh,kw,ic,oc], bias [oc], grad_output or None)."""
    x = pseudo_random([w["batch"]] + list(w["input"]) + [w["in_channels"]], 1)
    k = pseudo_random(list(w["kernel"]) + [w["in_channels"], w["out_channels"]], 2) * np.float32(
        0.2
    )
    b = pseudo_random([w["out_channels"]], 3)
    g = None
    if op != "forward":
        g = pseudo_random([w["batch"]] + output_extent(w) + [w["out_channels"]], 4)
    return x, k, b, g


def channels_first(x):
    """[N, D, H, W, C] to a dense [N, C, D, H, W]."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def filter_oidhw(k):
    """[kd, kh, kw, ic, oc] to a dense [oc, ic, kd, kh, kw], the order of PyTorch and ONNX."""
    return np.ascontiguousarray(k.transpose(4, 3, 0, 1, 2))


def same_or_valid(w):
    """How a library that knows only SAME and VALID pads this workload: "SAME", "VALID" or None (pad
    the input first).
    """
    if all(tuple(p) == (0, 0) for p in w["padding"]):
        return "VALID"
    for n, p, k, d, s in zip(w["input"], w["padding"], w["kernel"], w["dilations"], w["strides"]):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        if tuple(p) != (total // 2, total - total // 2):
            return None
    return "SAME"


def pad_input(x, w):
    """The input [N, D, H, W, C] with its padding written out (done outside the timing)."""
    return np.pad(x, [(0, 0)] + [tuple(p) for p in w["padding"]] + [(0, 0)], "constant")


def checksum(result):
    """[sum, sum of squares] over all elements in float64: tells a peer that computed something
    else.
    """
    flat = np.asarray(result, dtype=np.float64).ravel()
    return [float(flat.sum()), float(np.dot(flat, flat))]


def serve(answers, load, peak=None, phases=None):
    """Answers requests until standard input ends.

    Args:
      answers: the file from ``start``.
      load: ``load(workload, op, config) -> (run, result)``: a function that computes once, and one
      that returns the
        computed array, channels last. It raises when the library cannot do it.
      peak: measures the machine's float32 FMA rate in operations a second.
      phases: ``phases(run)``: seconds by phase of one run, packing of the filter included.
    """
    loaded = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "clear":
                loaded.clear()
                gc.collect()
                answer = {}
            elif request["do"] == "peak":
                answer = {"fma_peak": peak()}
            elif request["do"] == "phases":
                answer = {"phases": phases(loaded[request["config"]])}
            elif request["do"] == "load":
                run, result = load(request["workload"], request["op"], request["config"])
                run()
                answer = {"checksum": checksum(result())}
                loaded[request["config"]] = run
            else:
                run = loaded[request["config"]]
                seconds = []
                for _ in range(request["runs"]):
                    begin = time.perf_counter()
                    run()
                    seconds.append(time.perf_counter() - begin)
                answer = {"seconds": seconds}
        except (
            Exception
        ) as error:  # a library's refusal is an answer, not a failure of the benchmark
            answer = {"error": "%s: %s" % (type(error).__name__, str(error)[:300])}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
