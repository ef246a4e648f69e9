"""Sizes and shapes that may be unknown."""

from __future__ import annotations

import copy
import pickle

import pytest

from conv3d.framework.tensor_shape import Dimension, TensorShape, as_shape, unknown_shape


def test_arithmetic_with_known_and_unknown_sizes():
    n = Dimension(7)
    results = (n + 1, 1 + n, n - 2, 9 - n, n * 2, 2 * n, n // 2, 15 // n, n % 4)
    assert [r.value for r in results] == [8, 8, 5, 2, 14, 14, 3, 2, 3]
    assert all(isinstance(r, Dimension) for r in (n + 1, n * 2, 15 // n))
    unknown = Dimension(None)
    for r in (unknown + 1, 1 + unknown, n - unknown, unknown // 2, unknown * n, 10 % unknown):
        assert r.value is None


def test_comparison_with_an_unknown_size_is_none():
    unknown = Dimension(None)
    assert (unknown == 3) is None and (unknown != 3) is None and (unknown < 3) is None
    assert Dimension(3) == 3 and Dimension(3) != 4 and Dimension(3) <= 3
    assert (Dimension(3) == "a") is False


@pytest.mark.parametrize("bad", [-1, 2.5, "a"])
def test_bad_sizes(bad):
    with pytest.raises(ValueError):
        Dimension(bad)


def test_a_size_is_an_index_and_an_integer():
    assert [10, 20, 30][Dimension(1)] == 20
    assert int(Dimension(4)) == 4
    assert list(range(Dimension(3))) == [0, 1, 2]
    with pytest.raises(TypeError):
        int(Dimension(None))
    with pytest.raises(TypeError):
        Dimension(3) * 1.5
    with pytest.raises(TypeError):
        Dimension(3) / 2


def test_texts():
    assert str(TensorShape([None, 4])) == "(?, 4)"
    assert str(TensorShape([3])) == "(3,)"
    assert str(TensorShape(None)) == "<unknown>"
    assert repr(TensorShape([None, 4])) == "TensorShape([Dimension(None), Dimension(4)])"
    assert repr(TensorShape(None)) == "TensorShape(None)"


def test_indexing():
    s = TensorShape([1, None, 3])
    assert s[0] == 1 and s[1].value is None and s[-1] == 3
    assert s[1:].as_list() == [None, 3]
    assert TensorShape(None)[2].value is None
    assert TensorShape(None)[1:3].ndims == 2 and TensorShape(None)[1:].ndims is None
    with pytest.raises(IndexError):
        s[5]


def test_merge_and_compatibility():
    merged = TensorShape([None, 4]).merge_with([3, None])
    assert merged.as_list() == [3, 4]
    assert TensorShape(None).merge_with([2]).as_list() == [2]
    with pytest.raises(ValueError):
        TensorShape([2]).merge_with([3])
    assert TensorShape([None, 2]).is_compatible_with([5, 2])
    assert not TensorShape([None, 2]).is_compatible_with([5, 2, 1])
    assert TensorShape([2]).with_rank_at_least(1).as_list() == [2]
    with pytest.raises(ValueError):
        TensorShape([2]).with_rank(2)


def test_equality_needs_known_sizes():
    assert TensorShape([1, 2]) == [1, 2]
    assert not TensorShape([None]) == TensorShape([None])
    assert TensorShape(None) == TensorShape(None)
    with pytest.raises(ValueError):
        assert TensorShape(None) != TensorShape([1])


def test_lists_and_counts():
    assert as_shape(5).as_list() == [5]
    assert TensorShape([2, 3]).num_elements() == 6
    assert TensorShape([2, None]).num_elements() is None
    assert TensorShape([]).num_elements() == 1
    assert (TensorShape([1]) + [2]).as_list() == [1, 2]
    assert not TensorShape(None) and TensorShape([])
    for attempt in (
        lambda: len(TensorShape(None)),
        lambda: list(TensorShape(None)),
        lambda: unknown_shape().as_list(),
    ):
        with pytest.raises(ValueError):
            attempt()


def test_copies_and_pickles():
    for s in (TensorShape([None, 2]), TensorShape(None), TensorShape([])):
        assert str(copy.deepcopy(s)) == str(pickle.loads(pickle.dumps(s))) == str(s)
