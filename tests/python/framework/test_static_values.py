"""Static shapes come back after dynamic shape arithmetic, and seeds are what they should be."""

from __future__ import annotations

import numpy as np
import pytest

from conv3d.framework import convert, dtypes, graph, random_seed, session
from conv3d.ops import array_ops, math_ops


@pytest.fixture(autouse=True)
def g():
    with graph.Graph().as_default() as made:
        yield made


def _x():
    return array_ops.placeholder(dtypes.float32, [None, 4, 6, 3])


def test_reshape_by_mixed_lists():
    x = _x()
    n = array_ops.shape(x)
    assert array_ops.reshape(x, [n[0], 24, 3]).shape.as_list() == [None, 24, 3]
    assert array_ops.reshape(x, [n[0], n[1] * n[2], 3]).shape.as_list() == [None, 24, 3]
    assert array_ops.reshape(x, [-1, 72]).shape.as_list() == [None, 72]
    joined = array_ops.concat([n[:-1], [1, -1]], 0)
    assert array_ops.reshape(x, joined).shape.as_list() == [None, 4, 6, 1, None]
    parts = array_ops.unstack(n)
    assert array_ops.reshape(x, array_ops.stack((parts[0], 8, 9))).shape.as_list() == [None, 8, 9]


def test_products_of_sizes():
    x = _x()
    sizes = array_ops.shape(x)[1:]
    assert convert.constant_value(math_ops.reduce_prod(sizes)) == 72
    whole = array_ops.shape(x)
    assert convert.constant_value(math_ops.reduce_prod(whole)) is None
    doubled = array_ops.shape(x) * [1, 2, 2, 1]
    assert convert.constant_value_as_shape(doubled).as_list() == [None, 8, 12, 3]
    assert array_ops.zeros(doubled).shape.as_list() == [None, 8, 12, 3]


def test_an_unknown_bound_is_not_guessed():
    x = _x()
    n = array_ops.shape(x)[0]
    y = array_ops.zeros([5, 7])[n:]
    assert y.shape.as_list() == [None, 7]
    z = array_ops.shape(x)[n:]
    assert convert.constant_value(z) is None and z.shape.as_list() == [None]


def test_large_results_are_not_folded():
    big = array_ops.zeros([1000, 1000])
    assert convert.constant_value(big + 1) is None


def test_shared_parts_are_looked_at_once():
    """Doubling 28 times is 28 steps, not two to the power of 28."""
    n = array_ops.shape(_x())[1]
    for _ in range(28):
        n = n + n
    assert convert.constant_value(n) == 4 * 2**28


def test_slices():
    x = _x()
    cases = [
        ((0,), [4, 6, 3]),
        ((slice(None), slice(1, None)), [None, 3, 6, 3]),
        ((Ellipsis, -1), [None, 4, 6]),
        ((slice(None), None), [None, 1, 4, 6, 3]),
        ((Ellipsis, slice(None, None, -2)), [None, 4, 6, 2]),
        ((slice(0, 2),), [None, 4, 6, 3]),
    ]
    value = np.random.default_rng(0).normal(size=(5, 4, 6, 3)).astype(np.float32)
    s = session.Session()
    for index, want in cases:
        y = x[index]
        assert y.shape.as_list() == want, index
        np.testing.assert_array_equal(s.run(y, {x: value}), value[index])
    np.testing.assert_array_equal(s.run(x[[slice(None), 1]], {x: value}), value[:, 1])
    for bad, error in ((1.5, TypeError), (7, None), ((0, 0, 0, 0, 0), ValueError)):
        if error is not None:
            with pytest.raises(error):
                x[bad]
    with pytest.raises(ValueError):
        x[0, 9]


def test_graph_seed_and_op_seed(g):
    assert random_seed.get_seed(None) == (None, None)
    assert random_seed.get_seed(3) == (87654321, 3)
    random_seed.set_random_seed(5)
    assert random_seed.get_seed(3) == (5, 3)
    array_ops.constant(1.0)
    assert random_seed.get_seed(None) == (5, g._last_id) == (5, 1)
    random_seed.set_random_seed(0)
    assert random_seed.get_seed(0) == (0, 2**31 - 1)
