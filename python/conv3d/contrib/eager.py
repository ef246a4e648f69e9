"""The names of `tf.contrib.eager` that programs use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conv3d.framework.context import enable_eager_execution, executing_eagerly
from conv3d.framework.gradients import GradientTape, custom_gradient
from conv3d.train.saver import Saver as _Saver
from conv3d.variables.variable import ResourceVariable as Variable

__all__ = [
    "GradientTape",
    "Saver",
    "Variable",
    "custom_gradient",
    "enable_eager_execution",
    "executing_eagerly",
    "gradients_function",
    "implicit_gradients",
    "implicit_value_and_gradients",
    "in_eager_mode",
    "num_gpus",
    "value_and_gradients_function",
]

in_eager_mode = executing_eagerly


def num_gpus() -> int:
    """0: everything runs on the CPU."""
    return 0


class Saver:
    """Saves and restores a list of variables in eager mode. Source: `tf.contrib.eager.Saver`.

    Args:
        var_list: the variables.
    """

    def __init__(self, var_list: Any) -> None:
        self._saver = _Saver(var_list)

    def save(self, file_prefix: str, global_step: Any = None) -> str:
        """Writes a checkpoint and returns its prefix."""
        return self._saver.save(None, file_prefix, global_step=global_step)

    def restore(self, file_prefix: str) -> None:
        """Sets the variables from a checkpoint."""
        self._saver.restore(None, file_prefix)


def value_and_gradients_function(
    f: Callable[..., Any], params: Any = None
) -> Callable[..., tuple[Any, list[Any]]]:
    """A function that returns the value of `f` and its gradients by the arguments.

    Args:
        f: a function of tensors.
        params: positions of the arguments; by default all.
    """
    from conv3d.framework.convert import convert_to_tensor

    def function(*args: Any) -> tuple[Any, list[Any]]:
        tensors = [convert_to_tensor(one) for one in args]
        chosen = tensors if params is None else [tensors[place] for place in params]
        with GradientTape() as tape:
            for one in chosen:
                tape.watch(one)
            value = f(*tensors)
        return value, tape.gradient(value, chosen)

    return function


def gradients_function(f: Callable[..., Any], params: Any = None) -> Callable[..., list[Any]]:
    """A function that returns the gradients of `f` by its arguments."""
    both = value_and_gradients_function(f, params)
    return lambda *args: both(*args)[1]


def implicit_value_and_gradients(
    f: Callable[..., Any],
) -> Callable[..., tuple[Any, list[tuple[Any, Any]]]]:
    """A function that returns the value of `f` and pairs `(gradient, variable)`."""

    def function(*args: Any, **kwargs: Any) -> tuple[Any, list[tuple[Any, Any]]]:
        with GradientTape() as tape:
            value = f(*args, **kwargs)
        variables = list(tape.watched_variables())
        if not variables:
            raise ValueError("f: uses no trainable variables")
        return value, list(zip(tape.gradient(value, variables), variables, strict=True))

    return function


def implicit_gradients(f: Callable[..., Any]) -> Callable[..., list[tuple[Any, Any]]]:
    """A function that returns pairs `(gradient, variable)` of `f`."""
    both = implicit_value_and_gradients(f)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]
