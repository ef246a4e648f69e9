"""From Python values to tensors.

Python numbers become int32 or float32, lists are packed, NumPy arrays keep their dtype; classes of
other layers (variables) register how they become tensors.

Source: `tf.convert_to_tensor`, `tf.register_tensor_conversion_function`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d.framework import context, dtypes, tensor_shape
from conv3d.framework.constant_folding import constant_value, constant_value_as_shape
from conv3d.framework.tensor import EagerTensor, Tensor

_conversions: list[tuple[int, Any, Callable[..., Any]]] = []


def register_tensor_conversion_function(
    base_type: Any, conversion_func: Callable[..., Any], priority: int = 100
) -> None:
    """Registers how instances of `base_type` (a class or a tuple of classes) become tensors.

    Args:
        base_type: class or classes.
        conversion_func: `f(value, dtype=None, name=None, as_ref=False)`, returns a tensor or
            NotImplemented to leave the value to the next function.
        priority: functions of smaller priority are asked first.
    """
    if not callable(conversion_func):
        raise TypeError("conversion_func must be callable.")
    _conversions.append((priority, base_type, conversion_func))
    _conversions.sort(key=lambda entry: entry[0])


def convert_to_tensor(
    value: Any,
    dtype: Any = None,
    name: str | None = None,
    preferred_dtype: Any = None,
    as_ref: bool = False,
) -> Tensor:
    """Converts `value` to a tensor.

    Args:
        value: a tensor, a variable, a NumPy array, a Python number, string or (nested) list of
            these, a `TensorShape` or a `Dimension`.
        dtype: the type wanted; default: by the value.
        name: name of the constant, if one is made.
        preferred_dtype: a type to be tried first; another is taken if it does not fit.
        as_ref: give a variable's reference, not its value.

    Raises:
        TypeError: the value is of no type that fits.
        ValueError: a tensor of another dtype, None, or a ragged list.
        RuntimeError: a conversion function returned something that is no tensor.
    """
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype)
    if isinstance(value, Tensor):
        return _pass_tensor(value, dtype, name)
    for _, base_type, function in _conversions:
        if not isinstance(value, base_type):
            continue
        result = NotImplemented
        if dtype is None and preferred_dtype is not None:
            try:
                result = function(
                    value, dtype=dtypes.as_dtype(preferred_dtype), name=name, as_ref=as_ref
                )
            except (TypeError, ValueError):
                result = NotImplemented
        if result is NotImplemented:
            result = function(value, dtype=dtype, name=name, as_ref=as_ref)
        if result is NotImplemented:
            continue
        if not isinstance(result, Tensor):
            raise RuntimeError(
                f"The conversion function of {type(value).__name__} returned {result!r}, which is "
                "no tensor."
            )
        return result
    if dtype is None and preferred_dtype is not None:
        try:
            return _from_value(value, dtypes.as_dtype(preferred_dtype), name)
        except (TypeError, ValueError):
            pass
    return _from_value(value, dtype, name)


def _pass_tensor(value: Tensor, dtype: Any, name: str | None) -> Tensor:
    if dtype is not None and not dtype.is_compatible_with(value.dtype):
        if not (dtype.base_dtype == value.dtype.base_dtype):
            raise ValueError(
                f"A tensor of type {dtype.name} is wanted, and {value!r} is {value.dtype.name}; "
                "use tf.cast to convert it."
            )
    eager = context.executing_eagerly()
    if isinstance(value, EagerTensor):
        return value if eager else _constant(value._value, name)
    if eager:
        raise TypeError(f"{value} belongs to a graph and has no value in eager execution.")
    return value


def _from_value(value: Any, dtype: Any, name: str | None) -> Tensor:
    if isinstance(value, (list, tuple)) and _holds_tensor(value):
        return _pack(value, dtype, name or "packed")
    return _constant(to_array(value, dtype), name)


def _constant(array: np.ndarray, name: str | None) -> Tensor:
    if context.executing_eagerly():
        return EagerTensor(array)
    from conv3d.framework import execute

    attrs = {"value": array, "dtype": dtypes.as_dtype(array.dtype)}
    return execute.apply_op("Const", [], attrs, name or "Const")


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, Tensor) or any(isinstance(value, t) for _, t, _ in _conversions)


def _holds_tensor(value: Any) -> bool:
    return any(
        _is_symbolic(v) or (isinstance(v, (list, tuple)) and _holds_tensor(v)) for v in value
    )


def _first_dtype(value: Any) -> Any:
    for v in value:
        if isinstance(v, (list, tuple)):
            found = _first_dtype(v)
            if found is not None:
                return found
        elif _is_symbolic(v):
            return v.dtype.base_dtype
    return None


def _pack(value: Sequence[Any], dtype: Any, name: str) -> Tensor:
    """Packs a list that holds tensors; its other elements become constants of their dtype."""
    from conv3d.framework import execute

    found = _first_dtype(value)
    if dtype is not None and found != dtype.base_dtype:
        raise TypeError(
            f"A list of {dtype.name} is wanted, and it holds a tensor of type {found.name}."
        )
    with context.name_scope(name) as scope:
        parts = []
        for i, v in enumerate(value):
            if isinstance(v, (list, tuple)) and _holds_tensor(v):
                parts.append(_pack(v, found, str(i)))
            else:
                parts.append(convert_to_tensor(v, found, name=str(i)))
        return execute.apply_op("Pack", parts, {"axis": 0, "N": len(parts)}, scope or name)


def _plain(value: Any) -> Any:
    """Replaces shapes and sizes by integers, in nested lists too."""
    if isinstance(value, tensor_shape.Dimension):
        if value.value is None:
            raise ValueError("A Dimension that is unknown cannot become a tensor.")
        return value.value
    if isinstance(value, tensor_shape.TensorShape):
        if not value.is_fully_defined():
            raise ValueError(f"The shape {value} is not fully known and cannot become a tensor.")
        return value.as_list()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def to_array(value: Any, dtype: Any = None) -> np.ndarray:
    """`value` as a read-only array of its own, of `dtype` or by TensorFlow's default rule.

    Raises:
        TypeError: an element that `dtype` cannot hold, or of no known type.
        ValueError: None, or a ragged list.
    """
    if dtype is not None:
        dtype = dtypes.as_dtype(dtype).base_dtype
    if value is None:
        raise ValueError("None cannot become a tensor.")
    if isinstance(value, (tensor_shape.TensorShape, tensor_shape.Dimension)):
        value = np.asarray(_plain(value), dtype=np.int64)
        if dtype is not None and dtype not in (dtypes.int32, dtypes.int64):
            raise TypeError(f"A shape becomes int32 or int64, not {dtype.name}.")
        if dtype is None:
            small = value.size == 0 or value.max() <= np.iinfo(np.int32).max
            dtype = dtypes.int32 if small else dtypes.int64
    if isinstance(value, (np.ndarray, np.generic)):
        array = _from_numpy(np.asarray(value), dtype)
    elif hasattr(value, "__array__") and not isinstance(value, (list, tuple)):
        array = _from_numpy(np.asarray(value), dtype)
    else:
        array = _from_python(_plain(value), dtype)
    array.flags.writeable = False
    return array


def _from_numpy(array: np.ndarray, dtype: Any) -> np.ndarray:
    if array.dtype.kind in "SUO" and (dtype is None or dtype == dtypes.string):
        return _strings(array)
    if dtype is None:
        dtype = dtypes.as_dtype(array.dtype)
    return np.array(array, dtype=dtype.as_numpy_dtype, order="C")


def _strings(array: np.ndarray) -> np.ndarray:
    out = np.empty(array.shape, dtype=object)
    for index, item in np.ndenumerate(array):
        if isinstance(item, str):
            item = item.encode("utf-8")
        if not isinstance(item, bytes):
            raise TypeError(f"Expected a string, got {item!r} of type {type(item).__name__}.")
        out[index] = bytes(item)
    return out


def _leaves(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        for v in value:
            yield from _leaves(v)
    elif isinstance(value, np.ndarray) and value.ndim:
        yield from (value.flat if value.dtype == object else value.flat[:1])
    else:
        yield value


def _accepts(dtype: dtypes.DType, item: Any) -> bool:
    if isinstance(item, np.ndarray):
        item = item[()]
    if dtype.is_bool:
        return isinstance(item, (bool, np.bool_))
    if isinstance(item, (bool, np.bool_)):
        return False
    if dtype.is_integer:
        return isinstance(item, (numbers.Integral, np.integer))
    if dtype.is_floating:
        return isinstance(item, (numbers.Real, np.floating, np.integer)) or (
            getattr(item, "dtype", None) is not None and dtypes.as_dtype(item.dtype).is_floating
        )
    if dtype.is_complex:
        return isinstance(item, numbers.Number)
    if dtype == dtypes.string:
        return isinstance(item, (str, bytes, np.str_, np.bytes_))
    return False


def _from_python(value: Any, dtype: Any) -> np.ndarray:
    shown = repr(value) if len(repr(value)) < 80 else repr(value)[:77] + "..."
    if dtype is not None:
        for item in _leaves(value):
            if not _accepts(dtype, item):
                raise TypeError(
                    f"Expected {dtype.name}, got {item!r} of type {type(item).__name__!r}."
                )
    try:
        if dtype is not None and dtype != dtypes.string:
            return np.array(value, dtype=dtype.as_numpy_dtype)
        array = np.array(value)
    except OverflowError as e:
        raise TypeError(f"{shown} does not fit {dtype.name if dtype else 'any integer'}.") from e
    except ValueError as e:
        raise ValueError(f"A list of equal lengths at each level is wanted, not {shown}.") from e
    if array.dtype.kind in "SU":
        objects = np.empty(array.shape, dtype=object)
        for index in np.ndindex(array.shape):
            item = value
            for i in index:
                item = item[i]
            objects[index] = item
        return _strings(objects)
    if array.dtype == object:
        raise TypeError(
            f"{shown} of type {type(value).__name__!r} cannot become a tensor; numbers, bools, "
            "strings, NumPy arrays and lists of these can."
        )
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int64:
        small = array.astype(np.int32)
        return small if np.array_equal(small, array) else array
    if array.size == 0 and isinstance(value, (list, tuple)):
        return array.astype(np.float32)
    dtypes.as_dtype(array.dtype)
    return array


def convert_n_to_tensor(
    values: Sequence[Any], dtype: Any = None, name: str | None = None, preferred_dtype: Any = None
) -> list[Tensor]:
    """Converts each value; with a name, the i-th becomes `name_i`."""
    if not isinstance(values, (list, tuple)):
        raise TypeError(f"values must be a list, not {values!r}.")
    return [
        convert_to_tensor(v, dtype, None if name is None else f"{name}_{i}", preferred_dtype)
        for i, v in enumerate(values)
    ]


__all__ = [
    "constant_value",
    "constant_value_as_shape",
    "convert_n_to_tensor",
    "convert_to_tensor",
    "register_tensor_conversion_function",
    "to_array",
]
