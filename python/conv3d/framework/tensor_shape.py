"""Shapes that may be partly or wholly unknown when a graph is built.

Source: `tf.Dimension`, `tf.TensorShape`. An unknown size is None; arithmetic and comparison with an
unknown size give an unknown result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Union

DimLike = Union["Dimension", int, None]
ShapeLike = Union["TensorShape", Sequence[Any], int, None]


class Dimension:
    """The size of one axis: a non-negative integer, or unknown (`value` is None).

    Raises:
        ValueError: the value is negative, a float with a fraction, or no number at all.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Any):
        if value is None:
            self._value: int | None = None
        elif isinstance(value, Dimension):
            self._value = value._value
        else:
            try:
                self._value = int(value)
            except TypeError as e:
                raise TypeError(f"A dimension must be an integer or None, not {value!r}.") from e
            if not isinstance(value, (bytes, str)) and self._value != value:
                raise ValueError(f"A dimension must be an integer, not {value!r}.")
            if self._value < 0:
                raise ValueError(f"A dimension must be 0 or more, not {self._value}.")

    @property
    def value(self) -> int | None:
        """The size, or None."""
        return self._value

    def is_compatible_with(self, other: Any) -> bool:
        """True unless both sizes are known and differ."""
        other = as_dimension(other)
        return self._value is None or other._value is None or self._value == other._value

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError if the two are known and differ."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {other} are not compatible.")

    def merge_with(self, other: Any) -> Dimension:
        """The more definite of the two sizes.

        Raises:
            ValueError: both are known and differ.
        """
        other = as_dimension(other)
        self.assert_is_compatible_with(other)
        return Dimension(other._value if self._value is None else self._value)

    def __repr__(self) -> str:
        return f"Dimension({self._value!r})"

    def __str__(self) -> str:
        return "?" if self._value is None else str(self._value)

    def __eq__(self, other: Any) -> Any:
        try:
            other = as_dimension(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._value is None or other._value is None:
            return None
        return self._value == other._value

    def __ne__(self, other: Any) -> Any:
        try:
            other = as_dimension(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._value is None or other._value is None:
            return None
        return self._value != other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __int__(self) -> int:
        # int() itself complains about None with a TypeError, as TensorFlow does.
        return self._value  # type: ignore[return-value]

    def __index__(self) -> int:
        return self._value  # type: ignore[return-value]

    def _with(self, other: Any, rule: Any, swap: bool = False) -> Any:
        try:
            other = as_dimension(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._value is None or other._value is None:
            return Dimension(None)
        left, right = (other._value, self._value) if swap else (self._value, other._value)
        return Dimension(rule(left, right))

    def __add__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a + b)

    def __radd__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a - b, swap=True)

    def __mul__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a * b)

    def __rmul__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a * b)

    def __floordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a // b, swap=True)

    __div__ = __floordiv__

    def __mod__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a % b)

    def __rmod__(self, other: Any) -> Dimension:
        return self._with(other, lambda a, b: a % b, swap=True)

    def _compare(self, other: Any, rule: Any) -> bool | None:
        other = as_dimension(other)
        if self._value is None or other._value is None:
            return None
        return rule(self._value, other._value)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a >= b)

    def __reduce__(self) -> tuple[Any, ...]:
        return Dimension, (self._value,)


def as_dimension(value: Any) -> Dimension:
    """Converts an integer, None or a `Dimension` to a `Dimension`."""
    return value if isinstance(value, Dimension) else Dimension(value)


class TensorShape:
    """The shape of a tensor: fully known, of known rank, or unknown.

    Args:
        dims: None for an unknown shape, an integer for a vector of that size, or a sequence of
            sizes each of which may be None, an integer or a `Dimension`.
    """

    __slots__ = ("_dims",)

    def __init__(self, dims: Any):
        if dims is None:
            self._dims: tuple[int | None, ...] | None = None
        elif isinstance(dims, TensorShape):
            self._dims = dims._dims
        elif hasattr(dims, "dim") and hasattr(dims, "unknown_rank"):  # a TensorShapeProto
            self._dims = (
                None
                if dims.unknown_rank
                else tuple(None if d.size == -1 else int(d.size) for d in dims.dim)
            )
        elif isinstance(dims, (str, bytes)):
            raise TypeError(
                f"A shape must be a list of sizes or an integer, not the text {dims!r}."
            )
        else:
            try:
                items = iter(dims)
            except TypeError:
                self._dims = (Dimension(dims)._value,)
            else:
                self._dims = tuple(Dimension(d)._value for d in items)

    @staticmethod
    def _of(dims: tuple[int | None, ...] | None) -> TensorShape:
        """Makes a shape of sizes known to be good, without checking them again."""
        shape = TensorShape.__new__(TensorShape)
        shape._dims = dims
        return shape

    @property
    def dims(self) -> list[Dimension] | None:
        """The sizes as `Dimension`s, or None if the rank is unknown."""
        return None if self._dims is None else [Dimension(d) for d in self._dims]

    @property
    def ndims(self) -> int | None:
        """The rank, or None."""
        return None if self._dims is None else len(self._dims)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """The sizes as integers and None.

        Raises:
            ValueError: the rank is unknown.
        """
        if self._dims is None:
            raise ValueError("as_list() needs a shape of known rank; this one is unknown.")
        return list(self._dims)

    def num_elements(self) -> int | None:
        """The number of elements, or None if it is not known."""
        if not self.is_fully_defined():
            return None
        size = 1
        for d in self._dims:  # type: ignore[union-attr]
            size *= d  # type: ignore[operator]
        return size

    def is_fully_defined(self) -> bool:
        return self._dims is not None and None not in self._dims

    def assert_is_fully_defined(self) -> None:
        """Raises ValueError if a size is unknown."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined.")

    def is_compatible_with(self, other: Any) -> bool:
        """True if there is a shape that both could be."""
        other = as_shape(other)
        if self._dims is None or other._dims is None:
            return True
        return len(self._dims) == len(other._dims) and all(
            None in (a, b) or a == b for a, b in zip(self._dims, other._dims, strict=False)
        )

    def _fits(self, dims: tuple[int, ...]) -> bool:
        """`is_compatible_with` for the shape of an array, asked at every run: no checks."""
        mine = self._dims
        if mine is None or mine == dims:
            return True
        return len(mine) == len(dims) and all(
            a is None or a == b for a, b in zip(mine, dims, strict=True)
        )

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raises ValueError if no shape could be both."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {other} are incompatible.")

    def assert_same_rank(self, other: Any) -> None:
        """Raises ValueError if both ranks are known and differ."""
        other = as_shape(other)
        if self.ndims is not None and other.ndims is not None and self.ndims != other.ndims:
            raise ValueError(f"Shapes {self} and {other} must have the same rank.")

    def assert_has_rank(self, rank: int) -> None:
        """Raises ValueError if the rank is known and is not `rank`."""
        if self.ndims not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}.")

    def with_rank(self, rank: int) -> TensorShape:
        """This shape, known to have `rank`. Raises ValueError if it cannot."""
        try:
            return self.merge_with(unknown_shape(ndims=rank))
        except ValueError:
            raise ValueError(f"Shape {self} must have rank {rank}.") from None

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """This shape. Raises ValueError if its rank is known and smaller than `rank`."""
        if self.ndims is not None and self.ndims < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}.")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """This shape. Raises ValueError if its rank is known and larger than `rank`."""
        if self.ndims is not None and self.ndims > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}.")
        return self

    def merge_with(self, other: Any) -> TensorShape:
        """The most definite shape that both could be. Raises ValueError if there is none."""
        other = as_shape(other)
        if self._dims is None:
            return other
        if other._dims is None:
            return self
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {other} are not compatible.")
        merged = tuple(b if a is None else a for a, b in zip(self._dims, other._dims, strict=False))
        return TensorShape._of(merged)

    def concatenate(self, other: Any) -> TensorShape:
        """The sizes of this shape followed by those of `other`; unknown if either is."""
        other = as_shape(other)
        if self._dims is None or other._dims is None:
            return TensorShape(None)
        return TensorShape._of(self._dims + other._dims)

    def as_proto(self) -> Any:
        """A plain object with TensorShapeProto's fields: `unknown_rank`, `dim[i].size`."""
        from types import SimpleNamespace

        dims = () if self._dims is None else self._dims
        return SimpleNamespace(
            unknown_rank=self._dims is None,
            dim=[SimpleNamespace(size=-1 if d is None else d, name="") for d in dims],
        )

    def __len__(self) -> int:
        if self._dims is None:
            raise ValueError("The length of a shape of unknown rank is not known.")
        return len(self._dims)

    def __bool__(self) -> bool:
        return self._dims is not None

    __nonzero__ = __bool__

    def __iter__(self) -> Iterator[Dimension]:
        if self._dims is None:
            raise ValueError("A shape of unknown rank cannot be iterated over.")
        return iter([Dimension(d) for d in self._dims])

    def __getitem__(self, key: Any) -> Any:
        if self._dims is not None:
            if isinstance(key, slice):
                return TensorShape._of(self._dims[key])
            return Dimension(self._dims[key])
        if not isinstance(key, slice):
            return Dimension(None)
        start = key.start if key.start is not None else 0
        stop = key.stop
        if key.step is not None:
            raise ValueError("Slices of a shape of unknown rank take no step.")
        if stop is None or start < 0 or stop < 0:
            # How many sizes there are depends on the rank.
            return unknown_shape()
        return unknown_shape(ndims=max(stop - start, 0))

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return as_shape(other).concatenate(self)

    def __eq__(self, other: Any) -> Any:
        try:
            other = as_shape(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._dims is other._dims:
            return True
        # Two unknown sizes may differ, so shapes that have some are not known to be equal.
        return self._dims == other._dims and None not in (self._dims or ())

    def __ne__(self, other: Any) -> Any:
        """Raises ValueError for shapes whose rank is unknown, where the answer is not known."""
        try:
            other = as_shape(other)
        except (TypeError, ValueError):
            return NotImplemented
        if self._dims is None or other._dims is None:
            raise ValueError("Whether shapes of unknown rank differ is not known.")
        return not self == other

    def __hash__(self) -> int:
        return hash(self._dims)

    def __str__(self) -> str:
        if self._dims is None:
            return "<unknown>"
        if len(self._dims) == 1:
            return f"({Dimension(self._dims[0])},)"
        return "({})".format(", ".join(str(Dimension(d)) for d in self._dims))

    def __repr__(self) -> str:
        return f"TensorShape({self.dims!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorShape, (self._dims,)


def as_shape(shape: Any) -> TensorShape:
    """Converts what `TensorShape` accepts; a `TensorShape` is returned as it is."""
    return shape if isinstance(shape, TensorShape) else TensorShape(shape)


def unknown_shape(ndims: int | None = None) -> TensorShape:
    """A shape of which at most the rank is known."""
    return TensorShape._of(None if ndims is None else (None,) * ndims)


def scalar() -> TensorShape:
    """The shape `()`."""
    return TensorShape._of(())


def vector(length: Any) -> TensorShape:
    """The shape `(length,)`."""
    return TensorShape([length])


def matrix(rows: Any, cols: Any) -> TensorShape:
    """The shape `(rows, cols)`."""
    return TensorShape([rows, cols])


__all__ = [
    "Dimension",
    "TensorShape",
    "as_dimension",
    "as_shape",
    "matrix",
    "scalar",
    "unknown_shape",
    "vector",
]
