"""The benchmark's own arithmetic and conversation; speeds are never tested."""

from __future__ import annotations

import math

import pytest

from conv3d.bench import report, workloads
from conv3d.bench.runner import Result, Runner, Timing, geometric_mean, hardware_bfloat16


def test_the_table_is_whole():
    table = workloads.load()
    assert len(table) == 50
    assert len({w.name for w in table}) == 50
    assert all(w.source and min(w.output) > 0 for w in table)
    assert sum(w.is_wide_3x3x3 for w in table) >= 15


def test_problems_of_the_test_grammar_are_read():
    w = workloads.parse("mb2_ic16id8ih9iw10_oc32_kd3kh3kw3_sd2sh2sw2_same")
    assert (w.batch, w.input, w.in_channels, w.out_channels) == (2, (8, 9, 10), 16, 32)
    assert w.padding == ((0, 1), (1, 1), (0, 1))
    assert w.output == (4, 5, 5)
    assert w.flops == 2 * 2 * 16 * 32 * 27 * 100
    assert workloads.from_json(w.to_json()) == w
    with pytest.raises(ValueError, match="not of the form"):
        workloads.parse("mb2_ic16")


def test_ratios_and_means():
    workload = workloads.parse("mb1_ic32id8ih8iw8_oc32_kd3kh3kw3_same")
    timings = [
        Timing("conv3d", "channels_last", [2.0, 1.0, 3.0]),
        Timing("conv3d", "channels_first", [4.0]),
        Timing("torch", "contiguous", [6.0, 6.0]),
        Timing("torch", "channels_last+bf16", [1.0]),
        Timing("jax", "channels_last", [], "RuntimeError"),
    ]
    result = Result(workload, "forward", 2, timings, fma_peak=1e9)
    assert result.ratio("channels_last") == 3.0
    assert result.ratio("channels_first") == 1.5
    assert result.ratio("channels_last", float32=False) == 0.5
    assert geometric_mean([2.0, 8.0, math.nan]) == pytest.approx(4.0)
    table = report.markdown([result])
    assert "| 3.00 | 1.50 |" in table and "torch contiguous" in table
    summary = report.summary([result])
    assert "channels_last: 1 layers, geometric mean 3.00" in summary
    assert "channels_last, peers of reduced precision: 1 layers, geometric mean 0.50" in summary


def test_a_run_of_our_own_program():
    """One small layer through a real child process: both layouts compute the same and are timed."""
    with Runner(threads=1, only=()) as runner:
        result = runner.measure(workloads.parse("mb1_ic4id4ih4iw4_oc4_kd3kh3kw3_same"), rounds=2)
    assert [t.config for t in result.timings] == ["channels_last", "channels_first"]
    for timing in result.timings:
        assert not timing.error and len(timing.seconds) >= 2
        assert set(timing.phases) == {"pack", "transform", "multiply", "inverse"}
        assert timing.phases["pack"] > 0 and timing.phases["multiply"] > 0
    table = report.phases([result])
    assert table.count("mb1_ic4id4ih4iw4_oc4") == 2 and "| pack % |" in table
    assert result.fma_peak > 1e8


def test_bfloat16_is_not_emulated_where_its_instructions_are_capped():
    assert not hardware_bfloat16({"ONEDNN_MAX_CPU_ISA": "AVX2"})
    assert not hardware_bfloat16({"ONEDNN_MAX_CPU_ISA": "avx512_core"})
    assert hardware_bfloat16({"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_BF16"}) == hardware_bfloat16({})


def test_a_result_unlike_the_others_is_an_error():
    def timing(config, checksum):
        return Timing("conv3d", config, [1.0], checksum=checksum)

    timings = [timing("a", (10.0, 100.0)), timing("b", (10.0, 100.0)), timing("c", (10.0, 200.0))]
    Runner._check(timings)
    assert [bool(t.error) for t in timings] == [False, False, True]
