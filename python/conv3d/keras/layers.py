"""`keras.layers.Input`: a placeholder that layers can be called on."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from conv3d.framework import context, convert, dtypes
from conv3d.layers.deferred import DeferredTensor
from conv3d.ops import array_ops

__all__ = ["Input"]

_counts: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def Input(
    shape: Sequence[int | None] | None = None,
    batch_size: int | None = None,
    name: str | None = None,
    dtype: Any = None,
    sparse: bool = False,
    tensor: Any = None,
    **kwargs: Any,
) -> Any:
    """An input of unknown or given batch size.

    Args:
        shape: shape without the batch; `batch_shape=` may give the whole one instead.
        batch_size: size of the batch; None for any.
        name: name of the placeholder; by default `input_1`, `input_2`, ...
        dtype: type; float32 by default.
        sparse: has to be false; there are no sparse tensors.
        tensor: a tensor to be returned instead of a new placeholder.
        **kwargs: `batch_shape`, the shape with the batch.

    Returns:
        Placeholder `[batch, *shape]`; in eager mode a stand-in that has only shape and type.

    Raises:
        ValueError: neither `shape` nor `tensor`, or both `shape` and `batch_shape`.
        NotImplementedError: `sparse` is true.
        TypeError: an unknown keyword.

    Source: `tf.keras.layers.Input`.
    """
    batch_shape = kwargs.pop("batch_shape", None)
    if kwargs:
        raise TypeError(f"Input takes no argument {sorted(kwargs)[0]!r}")
    if sparse:
        raise NotImplementedError("`sparse` is true; there are no sparse tensors")
    if tensor is not None:
        return convert.convert_to_tensor(tensor)
    if shape is None and batch_shape is None:
        raise ValueError("`shape` is None; give the shape of the input without its batch size")
    if shape is not None and batch_shape is not None:
        raise ValueError("`shape` and `batch_shape` exclude each other")
    whole = list(batch_shape) if batch_shape is not None else [batch_size, *(shape or ())]
    if name is None:
        graph = context.get_default_graph()
        _counts[graph] = _counts.get(graph, 0) + 1
        name = f"input_{_counts[graph]}"
    kind = dtypes.float32 if dtype is None else dtypes.as_dtype(dtype)
    if context.executing_eagerly():
        return DeferredTensor(whole, kind, name)
    return array_ops.placeholder(kind, whole, name=name)
