"""Clipping of tensors by norm; by value it is one of the element-wise ops of math_ops.

Source: `tf.clip_by_value`, `tf.clip_by_norm`, `tf.global_norm`, ...; Pascanu, Mikolov, Bengio, "On
the difficulty of training recurrent neural networks", 2013, for the global norm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.framework import context, convert, indexed_slices
from conv3d.framework.indexed_slices import IndexedSlices
from conv3d.ops import array_ops, array_slice_ops, math_ops
from conv3d.ops.math_ops import clip_by_value

__all__ = [
    "clip_by_average_norm",
    "clip_by_global_norm",
    "clip_by_norm",
    "clip_by_value",
    "global_norm",
]


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Scales `t` down to the L2 norm `clip_norm` where its norm is larger.

    Args:
        t: a tensor of any shape.
        clip_norm: the largest norm.
        axes: over which each norm is taken; by default all.
        name: name of the operation.
    """
    with context.name_scope(name, "clip_by_norm", [t, clip_norm]) as scope:
        values = convert.convert_to_tensor(t, name="t")
        squares = math_ops.reduce_sum(values * values, axes, keepdims=True)
        positive = squares > 0
        # The root of 0 has no gradient: keep it out of the branch that is taken.
        safe = array_slice_ops.where(positive, squares, array_ops.ones_like(squares))
        norm = array_slice_ops.where(positive, math_ops.sqrt(safe), squares)
        scaled = values * clip_norm
        values.get_shape().assert_is_compatible_with(scaled.get_shape())
        return array_ops.identity(scaled / math_ops.maximum(norm, clip_norm), name=scope or None)


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Any:
    """The L2 norm of all tensors together; None among them are skipped.

    Raises:
        TypeError: `t_list` is no sequence of tensors.
    """
    _check_list(t_list)
    with context.name_scope(name, "global_norm", [t for t in t_list if t is not None]):
        values = [_stored(t) for t in t_list if t is not None]
        squares = array_ops.stack([math_ops.reduce_sum(value * value) for value in values])
        return math_ops.sqrt(math_ops.reduce_sum(squares), name="global_norm")


def _stored(t: Any) -> Any:
    """The elements that are there: all of a tensor, the slices of `IndexedSlices`."""
    t = indexed_slices.convert_or_slices(t)
    return t.values if isinstance(t, IndexedSlices) else t


def _check_list(t_list: Any) -> None:
    if not isinstance(t_list, Sequence) or isinstance(t_list, str):
        raise TypeError(f"t_list: a sequence of tensors is needed, got {t_list!r}")


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Any]:
    """Scales all tensors by `clip_norm / max(global_norm, clip_norm)`.

    Args:
        t_list: tensors or `IndexedSlices`; None among them stay.
        clip_norm: the largest global norm.
        use_norm: the global norm, where it is known already.
        name: name of the operation.

    Returns:
        The scaled tensors and the global norm. If the norm is not finite, all become NaN.

    Raises:
        TypeError: `t_list` is no sequence.
    """
    _check_list(t_list)
    norm = global_norm(t_list, name) if use_norm is None else convert.convert_to_tensor(use_norm)
    with context.name_scope(name, "clip_by_global_norm"):
        bound = convert.convert_to_tensor(clip_norm, dtype=norm.dtype)
        scale = bound * math_ops.minimum(1.0 / norm, 1.0 / bound)
        # inf - inf and NaN - NaN are NaN: a norm that is not finite must show in every tensor.
        scale = scale + (norm - norm)
        clipped: list[Any] = []
        for position, t in enumerate(t_list):
            if t is None:
                clipped.append(None)
                continue
            value = _stored(t)
            factor = math_ops.cast(scale, value.dtype.base_dtype)
            scaled: Any = array_ops.identity(value * factor, name=f"clip_by_global_norm_{position}")
            if isinstance(t, IndexedSlices):
                scaled = IndexedSlices(scaled, t.indices, t.dense_shape)
            clipped.append(scaled)
    return clipped, norm


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Any:
    """Scales `t` down where its L2 norm per element is larger than `clip_norm`."""
    with context.name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        values = convert.convert_to_tensor(t, name="t")
        count = math_ops.cast(array_ops.size(values), values.dtype)
        inverse = math_ops.rsqrt(math_ops.reduce_sum(values * values))
        scale = math_ops.minimum(inverse * count, 1.0 / clip_norm)
        return array_ops.identity(values * clip_norm * scale, name=scope or None)
