"""Arguments of the engine, brought to normal form or refused.

Every function here takes what a caller wrote and the argument's name. It returns plain values, or
raises `TypeError`
(a kind of value that is not accepted) or `ValueError` (a value that is not), saying what was given
and what is accepted.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Triple = tuple[int, int, int]
Pairs = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
Padding = str | Pairs
Array = NDArray[Any]

INT64_MAX = 2**63 - 1
AXES = ("depth", "height", "width")

DATA_FORMATS = {"channels_last": 0, "NDHWC": 0, "channels_first": 1, "NCDHW": 1}
ACTIVATIONS = {None: 0, "relu": 1, "leaky_relu": 2, "sigmoid": 3, "tanh": 4}
ACCURACIES = {"default": 0, "strict": 1, "fast": 2}
DIRECTIONS = {"forward": 0, "backward_input": 1, "backward_filter": 2}
DTYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3}

_DLPACK_CPU = 1
_DLPACK_DEVICES = {2: "CUDA", 4: "OpenCL", 7: "Vulkan", 8: "Metal", 10: "ROCm", 14: "oneAPI"}


def show(value: object) -> str:
    """A short text of a value for messages."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def integer(value: Any, name: str, minimum: int) -> int:
    """One integer of at least `minimum`; NumPy integers are accepted, booleans and floats are
    not.
    """
    if type(value) is int:
        number = value
    else:
        if isinstance(value, (bool, np.bool_)) or (
            isinstance(value, np.ndarray) and value.dtype.kind == "b"
        ):
            raise TypeError(f"{name} is {show(value)}; an integer is accepted, not a boolean")
        try:
            number = operator.index(value)
        except TypeError:
            raise TypeError(
                f"{name} is {show(value)} of type {type(value).__name__}; an integer is accepted"
            ) from None
    if number < minimum:
        raise ValueError(f"{name} is {number}; at least {minimum} is accepted")
    if number > INT64_MAX:
        raise ValueError(f"{name} is {number}; at most 2**63 - 1 is accepted")
    return number


def triple(value: Any, name: str) -> Triple:
    """One positive integer for all three axes, or three of them."""
    if type(value) is int and 0 < value <= INT64_MAX:
        return (value, value, value)
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} is {value!r}; an integer or three integers are accepted")
    if isinstance(value, np.ndarray) and value.ndim == 0:
        items = None
    else:
        try:
            items = list(value)
        except TypeError:
            items = None
    if items is None:
        number = integer(value, name, 1)
        return (number, number, number)
    if len(items) != 3:
        raise ValueError(
            f"{name} is {show(value)} with {len(items)} numbers; one integer or three "
            "(depth, height, width) are accepted"
        )
    d, h, w = (integer(v, f"{name}[{i}]", 1) for i, v in enumerate(items))
    return (d, h, w)


def padding(value: Any, name: str = "padding") -> Padding:
    """`"valid"` or `"same"` in any case, or three (before, after) pairs."""
    accepted = "'valid', 'same' and ((d0, d1), (h0, h1), (w0, w1)) are accepted"
    if isinstance(value, str):
        lower = value.lower()
        if lower in ("valid", "same"):
            return lower
        raise ValueError(f"{name} is {value!r}; {accepted}")
    if isinstance(value, (bytes, int, float)) or value is None:
        raise TypeError(f"{name} is {show(value)}; {accepted}")
    try:
        pairs = [list(pair) for pair in value]
    except TypeError:
        raise TypeError(f"{name} is {show(value)}; {accepted}") from None
    if len(pairs) != 3 or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"{name} is {show(value)}; {accepted}")
    d, h, w = (
        (integer(before, f"{name}[{i}][0]", 0), integer(after, f"{name}[{i}][1]", 0))
        for i, (before, after) in enumerate(pairs)
    )
    return (d, h, w)


def choice(value: Any, name: str, accepted: dict[Any, int]) -> int:
    """The code of one of the accepted words."""
    try:
        return accepted[value]
    except (KeyError, TypeError):
        words = ", ".join(repr(word) for word in accepted)
        error = ValueError if isinstance(value, str) or value is None else TypeError
        raise error(f"{name} is {show(value)}; {words} are accepted") from None


def text(value: Any, name: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {show(value)}; a string is accepted")
    return value


def shape5(value: Any, name: str) -> tuple[int, int, int, int, int]:
    """Five non-negative integers."""
    if isinstance(value, (str, bytes)):
        raise TypeError(f"{name} is {value!r}; five integers are accepted")
    try:
        items = list(value)
    except TypeError:
        raise TypeError(f"{name} is {show(value)}; five integers are accepted") from None
    if len(items) != 5:
        raise ValueError(f"{name} is {show(value)} with {len(items)} numbers; five are accepted")
    a, b, c, d, e = (integer(v, f"{name}[{i}]", 0) for i, v in enumerate(items))
    return (a, b, c, d, e)


# Looked up first: a dtype's name is made anew each time, which costs more than a small convolution.
_NATIVE = {np.dtype(name): code for name, code in DTYPES.items() if name != "bfloat16"}


def dtype(value: np.dtype[Any], name: str) -> int:
    """The code of a dtype that the engine computes in."""
    code = _NATIVE.get(value)
    if code is not None:
        return code
    code = DTYPES.get(value.name)
    accepted = "float32, float64, float16 and bfloat16 (of ml_dtypes) are accepted"
    if code is None:
        raise TypeError(f"{name} has dtype {value}; {accepted}")
    if not value.isnative:
        raise TypeError(
            f"{name} has dtype {value} in foreign byte order; {accepted}, in native order"
        )
    _NATIVE[value] = code
    return code


def array(value: Any, name: str, rank: int) -> Array:
    """A NumPy view of an array-like of the given rank and a dtype of the engine; copies only what
    is not an array.
    """
    if type(value) is not np.ndarray:
        value = _foreign_array(value, name)
    if value.ndim != rank:
        raise ValueError(f"{name} has shape {value.shape}; an array of rank {rank} is accepted")
    result: Array = value
    return result


def _foreign_array(value: Any, name: str) -> Array:
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"{name} is a masked array, whose mask would be ignored; fill it first")
        return np.asarray(value)
    if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
        device = int(value.__dlpack_device__()[0])
        if device != _DLPACK_CPU:
            where = _DLPACK_DEVICES.get(device, f"DLPack device type {device}")
            raise TypeError(f"{name} lies on {where}; arrays in the memory of the CPU are accepted")
        try:
            return np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise TypeError(f"{name} cannot be viewed through DLPack: {error}") from error
    try:
        return np.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name} of type {type(value).__name__} is not an array: {error}"
        ) from error


def output_array(
    out: Any, shape: tuple[int, ...], like: np.dtype[Any], inputs: dict[str, Array | None]
) -> Array:
    """The caller's array for the result: exactly its shape and dtype, dense, writeable, overlapping
    nothing.
    """
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out is {type(out).__name__}; a numpy.ndarray is accepted")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}; the result's is {shape}")
    if out.dtype != like:
        raise ValueError(f"out has dtype {out.dtype}; the result's is {like}")
    if not out.flags.writeable:
        raise ValueError("out is read-only; a writeable array is accepted")
    if not out.flags.c_contiguous or not out.flags.aligned:
        raise ValueError(
            f"out has strides {out.strides} bytes; a C-contiguous, aligned array is accepted"
        )
    for name, other in inputs.items():
        if other is not None and _overlap(out, other):
            raise ValueError(f"out shares memory with {name}; an array of its own is accepted")
    return out


def _overlap(a: Array, b: Array) -> bool:
    if not np.may_share_memory(a, b):
        return False
    try:
        return bool(np.shares_memory(a, b, max_work=10_000))  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True
