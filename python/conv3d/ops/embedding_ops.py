"""Rows of tables by their numbers: `embedding_lookup`.

Source: `tf.nn.embedding_lookup`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.framework import context, convert, dtypes
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops, array_slice_ops, clip_ops, math_ops

__all__ = ["embedding_lookup"]


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: Any = None,
) -> Tensor:
    """The rows of `params` that `ids` name.

    Args:
        params: a table `[rows, ...]`, or several that together hold the rows.
        ids: integers of any shape.
        partition_strategy: how rows were dealt to several tables: "mod" in turn, row i to table
            `i % n`; "div" in blocks, the larger ones first.
        name: name of the operation.
        validate_indices: accepted; an id out of range is always an error.
        max_norm: rows of a larger L2 norm are scaled down to it.

    Returns:
        A tensor `ids.shape + row shape`. Its gradient by a single table is `IndexedSlices`.

    Raises:
        ValueError: no table, another strategy, or several tables of unknown sizes.
    """
    tables = list(params) if isinstance(params, (list, tuple)) or _sliced(params) else [params]
    if not tables:
        raise ValueError("params: at least one table is needed")
    if partition_strategy not in ("mod", "div"):
        raise ValueError(f"partition_strategy: 'mod' or 'div', not {partition_strategy!r}")
    with context.name_scope(name, "embedding_lookup", [*tables, ids]) as scope:
        ids = convert.convert_to_tensor(ids, name="ids")
        last = scope if max_norm is None else None
        if len(tables) == 1:
            rows = array_slice_ops.gather(tables[0], ids, name=last or None)
        else:
            places = _places(tables, ids, partition_strategy)
            whole = array_ops.concat([convert.convert_to_tensor(t) for t in tables], 0)
            rows = array_slice_ops.gather(whole, places, name=last or None)
        if max_norm is None:
            return rows
        first, end = ids.shape.ndims, rows.shape.ndims
        axes = list(range(first, end)) if first and end is not None else None
        return clip_ops.clip_by_norm(rows, max_norm, axes, name=scope or None)


def _sliced(params: Any) -> bool:
    """Whether `params` is a variable in slices, which are tables."""
    return hasattr(params, "_get_variable_list")


def _places(tables: Sequence[Any], ids: Tensor, strategy: str) -> Tensor:
    """Where each id's row lies once the tables stand one after the other."""
    sizes = [t.get_shape().as_list()[0] for t in tables]
    if any(size is None for size in sizes):
        raise ValueError(f"params: the numbers of rows have to be known, not {sizes}")
    if strategy == "div":
        return ids  # blocks in order: the numbers stay
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    start = array_ops.constant(starts, dtypes.as_dtype(ids.dtype.base_dtype))
    which = math_ops.floormod(ids, len(tables))
    return array_slice_ops.gather(start, which) + math_ops.floordiv(ids, len(tables))
