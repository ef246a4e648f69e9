"""The names of `tf.contrib.framework` that programs use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from conv3d.contrib.arg_scope import (
    add_arg_scope,
    arg_scope,
    arg_scoped_arguments,
    current_arg_scope,
    has_arg_scope,
)
from conv3d.framework.graph import GraphKeys, get_collection
from conv3d.framework.tensor import is_tensor
from conv3d.train import (
    assert_global_step,
    create_global_step,
    get_global_step,
    get_or_create_global_step,
    list_variables,
    load_checkpoint,
    load_variable,
)
from conv3d.variables import variable_scope

__all__ = [
    "add_arg_scope",
    "arg_scope",
    "arg_scoped_arguments",
    "assert_global_step",
    "create_global_step",
    "current_arg_scope",
    "get_global_step",
    "get_or_create_global_step",
    "get_trainable_variables",
    "get_variables",
    "get_variables_to_restore",
    "has_arg_scope",
    "is_tensor",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "model_variable",
]


def model_variable(name: str, shape: Any = None, **kwargs: Any) -> Any:
    """`get_variable`, listed in `GraphKeys.MODEL_VARIABLES` too."""
    keys = list(kwargs.pop("collections", None) or [GraphKeys.GLOBAL_VARIABLES])
    keys += [
        key for key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.MODEL_VARIABLES) if key not in keys
    ]
    return variable_scope.get_variable(name, shape=shape, collections=keys, **kwargs)


def get_variables(
    scope: Any = None, suffix: str | None = None, collection: str = GraphKeys.GLOBAL_VARIABLES
) -> list[Any]:
    """Variables of a collection in a scope, whose names end with `suffix`."""
    if isinstance(scope, variable_scope.VariableScope):
        scope = scope.name
    if suffix is None:
        return get_collection(collection, scope)
    pattern = re.compile(f"{scope or ''}.*{suffix}(:\\d+)?$")
    return [v for v in get_collection(collection) if pattern.match(v.name)]


def get_trainable_variables(scope: Any = None, suffix: str | None = None) -> list[Any]:
    """`get_variables` of the trainable variables."""
    return get_variables(scope, suffix, GraphKeys.TRAINABLE_VARIABLES)


def get_variables_to_restore(
    include: Sequence[str] | None = None, exclude: Sequence[str] | None = None
) -> list[Any]:
    """Global variables whose scopes are included (by default all) and not excluded."""
    found = get_variables() if include is None else [v for s in include for v in get_variables(s)]
    refused = {id(v) for s in exclude or () for v in get_variables(s)}
    return [v for v in dict.fromkeys(found) if id(v) not in refused]
