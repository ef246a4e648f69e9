"""Element types of tensors, and their conversion from and to NumPy's.

Source: `tf.DType`, `tf.as_dtype`. Numbers are those of TensorFlow's `DataType` enumeration, which
checkpoints and frozen graphs store.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_bool = bool  # the builtin: below, the name is TensorFlow's type

# A reference type (of a variable's handle) has the number of its base type plus this.
_REF = 100


class DType:
    """The type of the elements of a tensor.

    Compares equal to whatever `as_dtype` converts to it: `tf.float32 == np.float32 == "float32"`.
    """

    __slots__ = ("_enum", "_name", "_numpy")

    def __init__(self, type_enum: int):
        enum = int(type_enum)
        base = enum - _REF if enum > _REF else enum
        if base not in _NAMES:
            raise TypeError(f"type_enum does not name a data type: {type_enum!r}.")
        self._enum = enum
        self._name = _NAMES[base] + ("_ref" if enum > _REF else "")
        self._numpy: Any = None

    @property
    def name(self) -> str:
        return self._name

    @property
    def as_datatype_enum(self) -> int:
        return self._enum

    @property
    def as_numpy_dtype(self) -> Any:
        """NumPy's scalar type; bytes and strings are `object`.

        Raises:
            TypeError: the type has no NumPy counterpart (`resource`; `bfloat16` without the
                package `ml_dtypes`).
        """
        if self._numpy is None:
            self._numpy = _numpy_type(self.base_dtype._name)
        return self._numpy

    @property
    def base_dtype(self) -> DType:
        return _INTERN[self._enum - _REF] if self._is_ref_dtype else self

    @property
    def real_dtype(self) -> DType:
        """The type of the real part: float32 for complex64."""
        base = self.base_dtype
        return {"complex64": float32, "complex128": float64}.get(base._name, self)

    @property
    def _is_ref_dtype(self) -> _bool:
        return self._enum > _REF

    @property
    def _as_ref(self) -> DType:
        return self if self._is_ref_dtype else _INTERN[self._enum + _REF]

    @property
    def is_numpy_compatible(self) -> _bool:
        return self.base_dtype._name != "resource"

    @property
    def is_bool(self) -> _bool:
        return self.base_dtype._name == "bool"

    @property
    def is_integer(self) -> _bool:
        return self.base_dtype._name in _INTEGERS

    @property
    def is_unsigned(self) -> _bool:
        return self.base_dtype._name.startswith("uint")

    @property
    def is_floating(self) -> _bool:
        return self.base_dtype._name in ("float16", "bfloat16", "float32", "float64")

    @property
    def is_complex(self) -> _bool:
        return self.base_dtype._name in ("complex64", "complex128")

    @property
    def is_quantized(self) -> _bool:
        return False

    @property
    def size(self) -> int:
        """Bytes of one element; 1 for types without a fixed size, as in TensorFlow."""
        if self.base_dtype._name in ("string", "resource"):
            return 1
        if self.base_dtype._name == "bfloat16":
            return 2
        return np.dtype(self.as_numpy_dtype).itemsize

    @property
    def min(self) -> Any:
        """The smallest representable value.

        Raises:
            TypeError: the type has no order (complex, string, resource).
        """
        return self._limit("min", False)

    @property
    def max(self) -> Any:
        """The largest representable value. Raises TypeError as `min` does."""
        return self._limit("max", True)

    def _limit(self, which: str, of_bool: _bool) -> Any:
        if self.is_bool:
            return of_bool
        if self.is_integer:
            return int(getattr(np.iinfo(self.as_numpy_dtype), which))
        if self.base_dtype._name == "bfloat16":
            top = float.fromhex("0x1.fep127")
            return top if which == "max" else -top
        if self.is_floating:
            return getattr(np.finfo(self.as_numpy_dtype), which)
        raise TypeError(f"{self.name} has no {which}: only bool, integer and float types do.")

    @property
    def limits(self) -> tuple[Any, ...]:
        """`(0, 1)` for floats, the representable range for integers."""
        if self.is_floating:
            return (0, 1)
        return (self.min, self.max)

    def is_compatible_with(self, other: Any) -> _bool:
        """True if a tensor of type `other` may stand where `self` is wanted.

        A value of plain type fits a plain type only; a reference fits its base type too.
        """
        other = as_dtype(other)
        return self._enum in (other._enum, other.base_dtype._enum)

    def __eq__(self, other: Any) -> _bool:
        if other is self:
            return True
        if other is None:
            return False
        try:
            return self._enum == as_dtype(other)._enum
        except TypeError:
            return False

    def __ne__(self, other: Any) -> _bool:
        return not self == other

    def __hash__(self) -> int:
        return self._enum

    def __str__(self) -> str:
        return f"<dtype: {self._name!r}>"

    def __repr__(self) -> str:
        return f"tf.{self._name}"

    def __int__(self) -> int:
        return self._enum

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self._name,)


_NAMES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    14: "bfloat16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    22: "uint32",
    23: "uint64",
}
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_INTERN = {e: DType(e) for base in _NAMES for e in (base, base + _REF)}


def _numpy_type(name: str) -> Any:
    if name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise TypeError(
                "bfloat16 values need the package ml_dtypes, which is not installed "
                "(pip install ml_dtypes)."
            ) from None
        return ml_dtypes.bfloat16
    if name == "string":
        return np.object_
    if name == "resource":
        raise TypeError("resource tensors have no NumPy type.")
    return getattr(np, "bool_" if name == "bool" else name)


float16 = _INTERN[19]
half = float16
bfloat16 = _INTERN[14]
float32 = _INTERN[1]
float64 = _INTERN[2]
double = float64
int8 = _INTERN[6]
int16 = _INTERN[5]
int32 = _INTERN[3]
int64 = _INTERN[9]
uint8 = _INTERN[4]
uint16 = _INTERN[17]
uint32 = _INTERN[22]
uint64 = _INTERN[23]
bool = _INTERN[10]
string = _INTERN[7]
complex64 = _INTERN[8]
complex128 = _INTERN[18]
resource = _INTERN[20]
float16_ref = float16._as_ref
half_ref = float16_ref
bfloat16_ref = bfloat16._as_ref
float32_ref = float32._as_ref
float64_ref = float64._as_ref
double_ref = float64_ref
int8_ref = int8._as_ref
int16_ref = int16._as_ref
int32_ref = int32._as_ref
int64_ref = int64._as_ref
uint8_ref = uint8._as_ref
uint16_ref = uint16._as_ref
uint32_ref = uint32._as_ref
uint64_ref = uint64._as_ref
bool_ref = bool._as_ref
string_ref = string._as_ref
complex64_ref = complex64._as_ref
complex128_ref = complex128._as_ref
resource_ref = resource._as_ref

_BY_NAME: dict[str, DType] = {d.name: d for d in _INTERN.values()}
_BY_NAME.update(half=half, half_ref=half_ref, float=float32, float_ref=float32_ref)
_BY_NAME.update(double=double, double_ref=double_ref)
_BY_NUMPY: dict[np.dtype, DType] = {
    np.dtype(d.as_numpy_dtype): d
    for d in _INTERN.values()
    if not d._is_ref_dtype and d.name not in ("resource", "bfloat16", "string")
}
_BY_NUMPY[np.dtype(object)] = string
_BY_PYTHON: dict[type, DType] = {float: float32, int: int32, _bool: bool}


def as_dtype(type_value: Any) -> DType:
    """Converts a `DType`, its name or number, or a NumPy or Python type to a `DType`.

    Raises:
        TypeError: `type_value` names no element type.
    """
    if isinstance(type_value, DType):
        return type_value
    found: DType | None = None
    if isinstance(type_value, str):
        found = _BY_NAME.get(type_value)
    elif isinstance(type_value, int):
        found = _INTERN.get(type_value)
    elif isinstance(type_value, type) and type_value in _BY_PYTHON:
        found = _BY_PYTHON[type_value]
    if found is None and not isinstance(type_value, int) and type_value is not None:
        found = _from_numpy(type_value)
    if found is None:
        raise TypeError(
            f"Cannot convert value {type_value!r} to an element type; accepted are a tf.DType, "
            "its name, and NumPy's and Python's number types."
        )
    return found


def _from_numpy(value: Any) -> DType | None:
    try:
        dtype = np.dtype(value)
    except (TypeError, ValueError):
        dtype = getattr(value, "dtype", None)
        if not isinstance(dtype, np.dtype):
            return None
    found = _BY_NUMPY.get(dtype.newbyteorder("="))
    if found is None:
        if dtype.name == "bfloat16":
            return bfloat16
        if dtype.kind in "SU":
            return string
    return found


#: Types that programs may use with quantized ops elsewhere; none here.
QUANTIZED_DTYPES: frozenset[DType] = frozenset()

__all__ = ["DType", "as_dtype", *sorted(n for n in _BY_NAME if n != "float" and n != "float_ref")]
