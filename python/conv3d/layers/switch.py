"""A choice that is made at once if its condition is known, and by the graph if it is not.

Source: what `tf.layers` does with `training=`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from conv3d.framework import convert
from conv3d.framework.tensor import Tensor
from conv3d.ops import control_flow_ops

__all__ = ["choose", "known"]


def known(condition: Any) -> bool | None:
    """`condition` as a bool, or None if only a run of the graph can tell.

    Args:
        condition: a bool, 0 or 1, a variable or a scalar bool tensor.

    Raises:
        TypeError: something else.
    """
    if isinstance(condition, (bool, np.bool_)):
        return bool(condition)
    if isinstance(condition, (int, np.integer)) and condition in (0, 1):
        return bool(condition)
    if isinstance(condition, np.ndarray) and condition.shape == ():
        return bool(condition)
    if isinstance(condition, Tensor):
        value = convert.constant_value(condition)
        return None if value is None else bool(value)
    if hasattr(condition, "_ref"):
        return known(convert.convert_to_tensor(condition))
    raise TypeError(f"A bool or a bool tensor is needed for `training`, not {condition!r}.")


def choose(condition: Any, if_true: Callable[[], Any], if_false: Callable[[], Any]) -> Any:
    """The result of one of the functions; a `cond` if the condition is not known yet."""
    value = known(condition)
    if value is None:
        return control_flow_ops.cond(condition, true_fn=if_true, false_fn=if_false)
    return if_true() if value else if_false()
