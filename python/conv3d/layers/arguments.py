"""Checks of the arguments that layers share. Every error names the argument and what it takes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from conv3d.framework import tensor_shape

__all__ = ["data_format", "filters", "initializer", "integers", "looked_up", "padding"]

_NUMBERS = {1: "one", 2: "two", 3: "three"}


def _integer(value: Any) -> int | None:
    """`value` as an int; None if it is no integer. Dimensions and NumPy integers are."""
    if isinstance(value, tensor_shape.Dimension):
        return value.value
    try:
        return operator.index(value)
    except TypeError:
        return None


def _within(size: int | None, minimum: int) -> bool:
    # Sizes are 64-bit integers everywhere below.
    return size is not None and minimum <= size < 2**63


def integers(name: str, value: Any, count: int, minimum: int = 1) -> tuple[int, ...]:
    """A size for each spatial axis.

    Args:
        name: name of the argument.
        value: one integer for all axes, or an iterable of `count` integers.
        count: number of axes.
        minimum: smallest size allowed.

    Raises:
        ValueError: something else, or a size below `minimum`.
    """
    single = _integer(value)
    if single is not None:
        sizes: list[int | None] = [single] * count
    elif isinstance(value, (str, bytes)):
        sizes = []
    else:
        try:
            value = tuple(value)
        except TypeError:
            value = (value,)
            sizes = []
        else:
            sizes = [_integer(element) for element in value]
    if len(sizes) != count or any(not _within(size, minimum) for size in sizes):
        raise ValueError(
            f"`{name}` is {value!r}; it has to be an integer of {minimum} or more (and "
            f"below 2**63), or {_NUMBERS.get(count, count)} of them"
        )
    return tuple(size for size in sizes if size is not None)


def filters(value: Any, minimum: int = 1) -> int:
    """Number of output channels.

    Raises:
        ValueError: no integer, or below `minimum`.
    """
    number = None if isinstance(value, (bool, np.bool_)) else _integer(value)
    if number is None or not _within(number, minimum):
        raise ValueError(
            f"`filters` is {value!r}; it has to be an integer of {minimum} or more, below 2**63"
        )
    return number


def _one_of(name: str, value: Any, accepted: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value.lower() not in accepted:
        raise ValueError(
            f"`{name}` is {value!r}; it has to be {' or '.join(map(repr, accepted))}, in any case"
        )
    return value.lower()


def padding(value: Any) -> str:
    """`"valid"` or `"same"`.

    Raises:
        ValueError: something else.
    """
    return _one_of("padding", value, ("valid", "same"))


def data_format(value: Any) -> str:
    """`"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: something else.
    """
    return _one_of("data_format", value, ("channels_last", "channels_first"))


def looked_up(name: str, get: Callable[[Any], Any], value: Any) -> Any:
    """What `get` (of regularizers, constraints, ...) makes of the argument `name`.

    Raises:
        ValueError: `get` refused it; the message names the argument.
    """
    try:
        return get(value)
    except ValueError as e:
        raise ValueError(f"`{name}` is {value!r}: {e}") from e


def initializer(name: str, value: Any) -> Any:
    """The initializer `value`; None stands for the default of the scope.

    TensorFlow 1.8's layers take no names here, unlike for activations, regularizers and
    constraints.

    Raises:
        ValueError: `value` is text.
    """
    if isinstance(value, str):
        raise ValueError(
            f"`{name}` is the text {value!r}; an initializer is needed, such as "
            f"tf.keras.initializers.get({value!r})"
        )
    return value
