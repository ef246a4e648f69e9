"""Tensors: symbolic ones, which are outputs of graph nodes, and eager ones, which hold values.

The operators (`+`, `@`, slicing, ...) are attached by `ops.math_ops` and `ops.array_ops`, so that
nothing here depends on any op.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from conv3d.framework import dtypes
from conv3d.framework.tensor_shape import TensorShape


class Tensor:
    """An output of an operation in a graph.

    Attributes may be added freely. Tensors compare and hash by identity.
    Source: `tf.Tensor`.
    """

    # Above NumPy's, so that `array * tensor` asks the tensor.
    __array_priority__ = 100

    if TYPE_CHECKING:  # attached by ops

        def __getitem__(self, index: Any) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...

    def __init__(self, op: Any, value_index: int, dtype: Any, shape: TensorShape | None = None):
        self._op = op
        self._value_index = value_index
        self._dtype = dtypes.as_dtype(dtype)
        self._shape = TensorShape(None) if shape is None else shape
        self._consumers: list[Any] = []

    @property
    def op(self) -> Any:
        """The operation that computes this tensor."""
        return self._op

    @property
    def dtype(self) -> dtypes.DType:
        return self._dtype

    @property
    def graph(self) -> Any:
        return self._op.graph

    @property
    def name(self) -> str:
        """`"op_name:output_index"`."""
        return f"{self._op.name}:{self._value_index}"

    @property
    def value_index(self) -> int:
        return self._value_index

    @property
    def device(self) -> str:
        return self._op.device

    @property
    def shape(self) -> TensorShape:
        """What is known of the shape before running."""
        return self._shape

    def get_shape(self) -> TensorShape:
        """Alias of `shape`."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Adds knowledge of the shape.

        Raises:
            ValueError: `shape` contradicts what is known.
        """
        self._shape = self._shape.merge_with(shape)

    def constant_value(self) -> np.ndarray | None:
        """The value if it follows from constants and static shapes alone, else None."""
        from conv3d.framework import constant_folding

        return constant_folding.constant_value(self)

    def consumers(self) -> list[Any]:
        """The operations that take this tensor as an input."""
        return list(self._consumers)

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """The value, computed in `session` or the default session.

        Raises:
            ValueError: there is no session, or it is one of another graph.
        """
        from conv3d.framework import session as session_lib

        return session_lib.run_in_default_session(self, feed_dict, self.graph, session, "eval()")

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: Any) -> bool:
        return self is other

    def __ne__(self, other: Any) -> bool:
        return self is not other

    def __bool__(self) -> bool:
        raise TypeError(
            "A tf.Tensor has no truth value while the graph is built. Use `if t is not None` to "
            "ask whether there is one, and tf.cond or tf.where to choose by its value."
        )

    __nonzero__ = __bool__

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            "A tf.Tensor cannot be iterated over while the graph is built; use tf.unstack."
        )

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        raise NotImplementedError(
            f"{self.name} has no value while the graph is built and cannot become a NumPy array; "
            "evaluate it with Session.run."
        )

    def __copy__(self) -> Tensor:
        return self

    def __str__(self) -> str:
        return f'Tensor("{self.name}", shape={self._shape}, dtype={self._dtype.name})'

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self._shape} dtype={self._dtype.name}>"


class EagerTensor(Tensor):
    """A tensor that has its value already, in eager mode.

    The value is never written to; `numpy()` gives a copy of one's own.
    """

    def __init__(self, value: np.ndarray):
        self._value = value
        self._dtype = dtypes.as_dtype(value.dtype)
        self._shape = TensorShape._of(value.shape)

    def numpy(self) -> Any:
        """A copy of the value: an ndarray, or a NumPy scalar for shape `()`."""
        return self._value.copy() if self._value.ndim else self._value[()]

    def constant_value(self) -> np.ndarray:
        return self._value

    @property
    def device(self) -> str:
        return "/job:localhost/replica:0/task:0/device:CPU:0"

    def set_shape(self, shape: Any) -> None:
        """Checks `shape`. Raises ValueError if the tensor has another one."""
        if not self._shape.is_compatible_with(shape):
            raise ValueError(
                f"set_shape: the eager tensor has shape {self._shape}, which {shape} contradicts."
            )

    def _meaningless(self, what: str) -> AttributeError:
        return AttributeError(f"Tensor.{what} has no meaning in eager execution.")

    @property
    def op(self) -> Any:
        raise self._meaningless("op")

    @property
    def graph(self) -> Any:
        raise self._meaningless("graph")

    @property
    def name(self) -> str:
        raise self._meaningless("name")

    @property
    def value_index(self) -> int:
        raise self._meaningless("value_index")

    def consumers(self) -> list[Any]:
        raise NotImplementedError("Eager tensors do not know their consumers.")

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        raise NotImplementedError("Eager tensors are not evaluated in a session; use numpy().")

    def cpu(self) -> EagerTensor:
        """This tensor: everything lives on the CPU."""
        return self

    def __bool__(self) -> bool:
        return bool(self._value)

    __nonzero__ = __bool__

    def __int__(self) -> int:
        return int(self._value)

    def __float__(self) -> float:
        return float(self._value)

    def __index__(self) -> int:
        return self._value.__index__()

    def __len__(self) -> int:
        if self._value.ndim == 0:
            raise TypeError("A tensor of shape () has no length.")
        return len(self._value)

    def __iter__(self) -> Iterator[Any]:
        if self._value.ndim == 0:
            raise TypeError("A tensor of shape () cannot be iterated over.")
        # Through slicing, so that tapes see it.
        return (self[i] for i in range(len(self._value)))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        if dtype is not None and np.dtype(dtype) != self._value.dtype:
            return self._value.astype(dtype)
        return self._value.copy() if copy is not False else self._value

    def __copy__(self) -> EagerTensor:
        return self

    def __deepcopy__(self, memo: Any) -> EagerTensor:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _eager_from_array, (np.array(self._value),)

    def __format__(self, spec: str) -> str:
        return format(self._value[()] if self._value.ndim == 0 else str(self), spec)

    def __str__(self) -> str:
        return f"tf.Tensor({self._value}, shape={self._shape}, dtype={self._dtype.name})"

    def __repr__(self) -> str:
        return (
            f"<tf.Tensor: shape={self._shape}, dtype={self._dtype.name}, "
            f"numpy={np.array_repr(self._value) if self._value.ndim else self._value[()]!r}>"
        )


def _eager_from_array(value: np.ndarray) -> EagerTensor:
    value.flags.writeable = False
    return EagerTensor(value)


def is_tensor(x: Any) -> bool:
    """True for tensors and for variables. Source: `tf.contrib.framework.is_tensor`."""
    return isinstance(x, Tensor) or hasattr(x, "_as_graph_element")


__all__ = ["EagerTensor", "Tensor", "is_tensor"]
