"""`arg_scope`: default arguments for the functions called inside a `with` block.

    with arg_scope([layers.conv3d], padding="VALID", normalizer_fn=layers.batch_norm):
        net = layers.conv3d(x, 8, 3)

Source: `tf.contrib.framework.arg_scope`.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = [
    "add_arg_scope",
    "arg_scope",
    "arg_scoped_arguments",
    "current_arg_scope",
    "has_arg_scope",
]

_Scope = dict[str, dict[str, Any]]


class _Stack(threading.local):
    def __init__(self) -> None:
        self.scopes: list[_Scope] = [{}]


_stack = _Stack()


def _key(function: Callable[..., Any]) -> str:
    function = getattr(function, "_arg_scope_function", function)
    return f"{function.__module__}.{function.__qualname__}"


def has_arg_scope(func: Callable[..., Any]) -> bool:
    """Whether a function takes defaults from scopes."""
    return hasattr(func, "_arg_scope_function")


def arg_scoped_arguments(func: Callable[..., Any]) -> tuple[str, ...]:
    """Names of the arguments that scopes may set."""
    function = getattr(func, "_arg_scope_function", func)
    return tuple(
        name
        for name, one in inspect.signature(function).parameters.items()
        if one.default is not inspect.Parameter.empty
    )


def add_arg_scope(func: Callable[..., Any]) -> Callable[..., Any]:
    """Lets a function take defaults from scopes; a decorator."""

    @functools.wraps(func)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        defaults = _stack.scopes[-1].get(_key(func))
        if defaults:
            taken = list(inspect.signature(func).parameters)[: len(args)]
            kwargs = {**{k: v for k, v in defaults.items() if k not in taken}, **kwargs}
        return func(*args, **kwargs)

    scoped._arg_scope_function = func  # type: ignore[attr-defined]
    return scoped


def current_arg_scope() -> _Scope:
    """The defaults that hold now, by function."""
    return _stack.scopes[-1]


@contextlib.contextmanager
def arg_scope(
    list_ops_or_scope: Iterable[Callable[..., Any]] | _Scope, **kwargs: Any
) -> Iterator[_Scope]:
    """Sets defaults inside the block; yields them, so that they can be opened again.

    Args:
        list_ops_or_scope: functions that `add_arg_scope` was applied to, or what an earlier scope
            yielded.
        **kwargs: the defaults.

    Raises:
        TypeError: neither functions nor a scope are given.
        ValueError: a function takes no scopes or lacks an argument, or a scope comes with
        arguments.
    """
    if isinstance(list_ops_or_scope, dict):
        if kwargs:
            raise ValueError("list_ops_or_scope: an earlier scope is opened without arguments")
        made = dict(list_ops_or_scope)
    else:
        if callable(list_ops_or_scope) or not isinstance(list_ops_or_scope, Iterable):
            raise TypeError(
                "list_ops_or_scope: a list of functions or an earlier scope is needed, got "
                f"{list_ops_or_scope!r}"
            )
        made = dict(_stack.scopes[-1])
        for function in list_ops_or_scope:
            if not has_arg_scope(function):
                raise ValueError(f"list_ops_or_scope: {function!r} has no @add_arg_scope")
            known = arg_scoped_arguments(function)
            for name in kwargs:
                if name not in known:
                    raise ValueError(
                        f"{name}: is no argument with a default of {function.__name__}"
                    )
            key = _key(function)
            made[key] = {**made.get(key, {}), **kwargs}
    _stack.scopes.append(made)
    try:
        yield made
    finally:
        _stack.scopes.pop()
