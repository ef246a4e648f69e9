"""The variables of a graph, and operations that initialise and ask for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d import initializers
from conv3d.framework import context, dtypes
from conv3d.framework.graph_keys import GraphKeys
from conv3d.ops import array_ops, control_flow_ops, math_ops, state_ops

__all__ = [
    "all_variables",
    "assert_variables_initialized",
    "global_variables",
    "global_variables_initializer",
    "initialize_all_variables",
    "initialize_local_variables",
    "initialize_variables",
    "is_variable_initialized",
    "local_variables",
    "local_variables_initializer",
    "model_variables",
    "moving_average_variables",
    "report_uninitialized_variables",
    "trainable_variables",
    "variables_initializer",
]


def _collection(key: str, scope: str | None) -> list[Any]:
    if context.executing_eagerly():
        raise ValueError(
            "variable collections belong to graphs and do not exist in eager mode; keep references "
            "to your layers and use their `variables`"
        )
    return list(context.get_default_graph().get_collection(key, scope))


def global_variables(scope: str | None = None) -> list[Any]:
    """Variables shared by all parts of a program.

    Args:
        scope: regular expression that names must match at their start.

    Raises:
        ValueError: in eager mode.

    Source: `tf.global_variables`.
    """
    return _collection(GraphKeys.GLOBAL_VARIABLES, scope)


def all_variables() -> list[Any]:
    """Older name of :func:`global_variables`."""
    return global_variables()


def local_variables(scope: str | None = None) -> list[Any]:
    """Variables such as the counters of metrics. Source: `tf.local_variables`."""
    return _collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """Variables of the model proper. Source: `tf.model_variables`."""
    return _collection(GraphKeys.MODEL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """Variables that optimizers change. Source: `tf.trainable_variables`."""
    return _collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Any]:
    """Variables with a moving average. Source: `tf.moving_average_variables`."""
    return _collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Any], name: str = "init") -> Any:
    """An operation that initialises these variables; None in eager mode, where they already are.

    Source: `tf.variables_initializer`.
    """
    if context.executing_eagerly():
        return None
    if var_list:
        return control_flow_ops.group(*[v.initializer for v in var_list], name=name)
    return control_flow_ops.no_op(name=name)


def global_variables_initializer() -> Any:
    """An operation that initialises all global variables; None in eager mode."""
    if context.executing_eagerly():
        return None
    return variables_initializer(global_variables())


def local_variables_initializer() -> Any:
    """An operation that initialises all local variables; None in eager mode."""
    if context.executing_eagerly():
        return None
    return variables_initializer(local_variables())


initialize_all_variables = global_variables_initializer
initialize_local_variables = local_variables_initializer


def initialize_variables(var_list: Sequence[Any], name: str = "init") -> Any:
    """Older name of :func:`variables_initializer`."""
    return variables_initializer(var_list, name=name)


def is_variable_initialized(variable: Any) -> Any:
    """Boolean scalar: whether the variable has a value. Source: `tf.is_variable_initialized`."""
    return state_ops.is_variable_initialized(variable)


def assert_variables_initialized(var_list: Sequence[Any] | None = None) -> Any:
    """Tensor whose run fails with FailedPreconditionError while a variable has no value.

    Source: `tf.assert_variables_initialized`.
    """
    if var_list is None:
        var_list = global_variables() + local_variables()
    if not var_list:
        return None
    ranks = [array_ops.rank(v.value()) for v in var_list]
    return ranks[0] if len(ranks) == 1 else array_ops.stack(ranks)


def report_uninitialized_variables(
    var_list: Sequence[Any] | None = None, name: str = "report_uninitialized_variables"
) -> Any:
    """1-D string tensor: names of the variables that have no value yet.

    Args:
        var_list: variables to ask; by default all global and local ones.
        name: name of the operation.

    Source: `tf.report_uninitialized_variables`.
    """
    if var_list is None:
        var_list = global_variables() + local_variables()
    with context.name_scope(name):
        if not var_list:
            return array_ops.constant([], dtype=dtypes.string, shape=[0])
        missing = math_ops.logical_not(
            array_ops.stack([state_ops.is_variable_initialized(v) for v in var_list])
        )
        names = array_ops.constant([v.op.name for v in var_list], dtype=dtypes.string)
        return array_ops.boolean_mask(names, missing)


# `tf.initializers` has these beside the initializers of values, under shorter names.
for _name, _function in (
    ("global_variables", global_variables_initializer),
    ("local_variables", local_variables_initializer),
    ("variables", variables_initializer),
):
    setattr(initializers, _name, _function)
