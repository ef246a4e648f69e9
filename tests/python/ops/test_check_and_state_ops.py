"""Assertions, scatter updates and counters."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d import errors
from conv3d.framework import context, dtypes, session
from conv3d.ops import array_ops, check_ops, control_flow_ops, state_ops


def _x(shape=None):
    return array_ops.placeholder(dtypes.float32, shape)


def test_value_checks_stop_a_run():
    x = _x()
    s = session.Session()
    cases = (
        (check_ops.assert_equal(x, [1.0, 2.0]), [1, 2], [1, 3]),
        (check_ops.assert_less(x, 2.0), [0, 1], [0, 2]),
        (check_ops.assert_positive(x), [1, 2], [0, 1]),
        (check_ops.assert_non_negative(x), [0, 1], [-1, 1]),
        (check_ops.assert_rank(x, 1), [0], 0),
        (check_ops.check_numerics(x, "loss"), [0], [np.nan]),
    )
    for op, good, bad in cases:
        s.run(op, {x: good})
        with pytest.raises(errors.InvalidArgumentError):
            s.run(op, {x: bad})


def test_known_failures_are_raised_while_building():
    with pytest.raises(errors.InvalidArgumentError, match="4"):
        check_ops.assert_equal([3], [4])
    with pytest.raises(ValueError, match="rank 2"):
        check_ops.assert_rank(_x([1, 2]), 3)
    with pytest.raises(TypeError, match="float32"):
        check_ops.assert_type(_x(), dtypes.int32)
    check_ops.assert_rank_at_least(_x([1, 2]), 1)


def test_an_assertion_guards_what_depends_on_it():
    x = _x([])
    with context.control_dependencies([control_flow_ops.Assert(x > 0, ["x is", x])]):
        y = x * 2
    s = session.Session()
    assert s.run(y, {x: 3}) == 6
    with pytest.raises(errors.InvalidArgumentError, match="x is -1"):
        s.run(y, {x: -1})


def test_scatter():
    v = state_ops.variable_op([3, 2], dtypes.float32, "v")
    init = state_ops.assign(v, np.ones((3, 2), np.float32))
    s = session.Session()
    for update, want in (
        (state_ops.scatter_add(v, [0, 0], [[1, 1], [2, 2]]), [[4, 4], [1, 1], [1, 1]]),
        (state_ops.scatter_sub(v, 1, [1, 2]), [[1, 1], [0, -1], [1, 1]]),
        (state_ops.scatter_update(v, [2], [[5, 6]]), [[1, 1], [1, 1], [5, 6]]),
        (state_ops.scatter_mul(v, [1, 1], [[2, 2], [3, 3]]), [[1, 1], [6, 6], [1, 1]]),
    ):
        s.run(init)
        assert s.run(update).tolist() == want
    with pytest.raises(errors.InvalidArgumentError, match="7"):
        s.run(state_ops.scatter_add(v, [7], [[1, 1]]))


def test_count_up_to():
    v = state_ops.variable_op([], dtypes.int32, "n")
    s = session.Session()
    s.run(state_ops.assign(v, 0))
    step = state_ops.count_up_to(v, 2)
    assert [s.run(step), s.run(step)] == [0, 1]
    with pytest.raises(errors.OutOfRangeError):
        s.run(step)
