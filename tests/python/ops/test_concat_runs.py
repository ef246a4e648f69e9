"""Joining and cutting along the last axis, where runs of channels are moved as one element."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d.framework import registry


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.float16])
@pytest.mark.parametrize("sizes", [(8, 8), (8, 16, 32), (3, 5), (8, 0, 8), (16,), (0, 0), (1, 64)])
def test_concat_and_split(sizes, dtype):
    rng = np.random.default_rng(1)
    parts = [rng.integers(-9, 9, (2, 3, n)).astype(dtype) for n in sizes]
    axis = np.array(-1, np.int32)
    whole = registry.get("ConcatV2").compute({"N": len(sizes)}, *parts, axis)
    np.testing.assert_array_equal(whole, np.concatenate(parts, -1))
    assert whole.dtype == dtype and whole.flags.c_contiguous
    attrs = {"num_split": len(sizes)}
    again = registry.get("SplitV").compute(attrs, whole, np.array(sizes, np.int32), axis)
    for got, wanted in zip(again, parts, strict=True):
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == dtype and got.flags.c_contiguous


def test_strided_inputs_and_mismatches():
    x = np.arange(2 * 6 * 16, dtype=np.float32).reshape(2, 6, 16)
    axis = np.array(2, np.int32)
    joined = registry.get("ConcatV2").compute({"N": 2}, x[:, ::2], x[:, 1::2], axis)
    np.testing.assert_array_equal(joined, np.concatenate([x[:, ::2], x[:, 1::2]], 2))
    got = registry.get("SplitV").compute(
        {"num_split": 2}, x[:, ::2], np.array([8, 8], np.int32), axis
    )
    np.testing.assert_array_equal(got[1], x[:, ::2, 8:])
    with pytest.raises(ValueError):
        registry.get("ConcatV2").compute({"N": 2}, x, x[:1], axis)
