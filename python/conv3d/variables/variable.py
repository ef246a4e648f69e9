"""Variables: state that lives in a session (graph mode) or in the object (eager mode).

In graph mode a variable `v` is four nodes: `v` (holds the value; a reference type), its initial
value, `v/Assign` and `v/read`. Each session has a value of its own. In eager mode the object owns
one cell, :class:`conv3d.framework.state.Ref`. A value is never changed in place: an assignment
puts a new array into the cell.

`Variable(...)` gives a reference variable in graph mode and a :class:`ResourceVariable` in eager
mode or with ``use_resource=True``; the two differ in their `dtype` and in when they are read.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from conv3d.framework import context, convert, dtypes, execute, state, tensor_shape
from conv3d.framework.graph_keys import GraphKeys
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops, initialization_ops, state_ops
from conv3d.variables import sync

__all__ = ["ResourceVariable", "Variable"]


class _FromAbove:
    """What variable_scope.py, which stands above this file, puts in."""

    #: The `use_resource` of the current scope.
    use_resource: Callable[[], bool | None] = staticmethod(lambda: None)


def _check_arguments(initial_value: Any, collections: Any, constraint: Any) -> None:
    if initial_value is None:
        raise ValueError("`initial_value` is None; a variable needs a value or a function")
    if collections is not None and not isinstance(collections, (list, tuple, set)):
        raise ValueError(
            f"`collections` is {collections!r}; it has to be a list, tuple or set of graph keys"
        )
    if constraint is not None and not callable(constraint):
        raise ValueError(f"`constraint` is {constraint!r}; it has to be a callable")


class Variable:
    """A tensor that keeps its value between runs. Source: `tf.Variable`.

    Args:
        initial_value: tensor, anything convertible to one, or a function without arguments that
            makes it.
        trainable: listed in `GraphKeys.TRAINABLE_VARIABLES`; None means yes, unless the variable
            is synchronised `ON_READ`.
        collections: graph keys to list it under; by default `GraphKeys.GLOBAL_VARIABLES`.
        validate_shape: if false, the initial value may have an unknown shape, and values of other
            shapes may be assigned later.
        caching_device: accepted; there is one device.
        name: default `"Variable"`, made unique.
        dtype: type to convert the initial value to.
        expected_shape: shape that the initial value must be compatible with.
        constraint: function that optimizers apply to the value after each step.
        use_resource: give a :class:`ResourceVariable`.
        synchronization: checked and kept; see :mod:`conv3d.variables.sync`.
        aggregation: checked and kept.
        shape: static shape, if it is wider than that of the initial value.

    Raises:
        ValueError: no initial value, one of unknown shape, collections that are no list, or a
            constraint that cannot be called.
    """

    def __new__(cls, *args: Any, use_resource: bool | None = None, **kwargs: Any) -> Variable:
        if cls is Variable:
            wanted = _FromAbove.use_resource() if use_resource is None else use_resource
            if context.executing_eagerly() or wanted:
                return object.__new__(ResourceVariable)
        return object.__new__(cls)

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[..., Any] | None = None,
        use_resource: bool | None = None,
        synchronization: sync.VariableSynchronization | None = None,
        aggregation: sync.VariableAggregation | None = None,
        shape: Any = None,
    ) -> None:
        if variable_def is not None:
            raise ValueError("`variable_def` is not supported; build the variable by its arguments")
        _check_arguments(initial_value, collections, constraint)
        self._synchronization, self._aggregation, self._trainable = sync.resolve(
            synchronization, aggregation, trainable, name
        )
        self._constraint = constraint
        self._save_slice_info: Any = None
        self._validate_shape = validate_shape
        if dtype is not None:
            dtype = dtypes.as_dtype(dtype).base_dtype
        if shape is None:
            shape = expected_shape
        if context.executing_eagerly():
            self._init_eager(initial_value, name, dtype, shape)
            return
        self._init_graph(initial_value, name, dtype, shape)
        keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else list(collections)
        if self._trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
            keys.append(GraphKeys.TRAINABLE_VARIABLES)
        self._graph.add_to_collections(keys, self)

    # --- construction -----------------------------------------------------------------------

    def _init_graph(self, initial_value: Any, name: str | None, dtype: Any, shape: Any) -> None:
        is_function = callable(initial_value) and not hasattr(initial_value, "get_shape")
        values = [] if is_function else [initial_value]
        with context.init_scope(), context.name_scope(name, "Variable", values) as scope:
            if is_function:
                with context.name_scope("Initializer"):
                    value = convert.convert_to_tensor(
                        initial_value(), dtype=dtype, name="initial_value"
                    )
            else:
                value = convert.convert_to_tensor(initial_value, dtype=dtype, name="initial_value")
            static = value.get_shape() if self._validate_shape else tensor_shape.unknown_shape()
            if shape is not None:
                static.assert_is_compatible_with(shape)
                static = tensor_shape.as_shape(shape)
            if self._validate_shape and not static.is_fully_defined() and shape is None:
                raise ValueError(
                    f"the initial value of variable {scope[:-1]} has the shape {static}; it has "
                    "to be fully defined, or give validate_shape=False"
                )
            self._initial_value = value
            self._variable = state_ops.variable_op(static, value.dtype.base_dtype, name=scope)
            self._graph = self._variable.graph
            self._initializer_op = state_ops.assign(
                self._variable,
                initialization_ops.with_initialized_reads(value, _initial_values(self._graph)),
                validate_shape=self._validate_shape and static.is_fully_defined(),
                name="Assign",
            ).op
            _initial_values(self._graph)[self._variable.op] = self._initializer_op.inputs[1]
            self._init_reading()

    def _init_reading(self) -> None:
        self._snapshot = array_ops.identity(self._variable, name="read")

    def _init_eager(self, initial_value: Any, name: str | None, dtype: Any, shape: Any) -> None:
        raise RuntimeError("reference variables do not exist in eager mode")

    # --- reading ----------------------------------------------------------------------------

    def value(self) -> Any:
        """The value as a tensor; in graph mode always the same node `v/read`."""
        return self._snapshot

    def read_value(self) -> Any:
        """The value, read by a new node: after the control dependencies that hold now."""
        return array_ops.identity(self._variable, name="read")

    def initialized_value(self) -> Any:
        """The value, or the initial value while the variable has none."""
        with context.init_scope():
            return initialization_ops.initialized_value(
                self._variable, self._initializer_op.inputs[1]
            )

    def eval(self, session: Any = None) -> Any:
        """The value in `session`, or in the default session."""
        return self._variable.eval(session=session)

    def load(self, value: Any, session: Any = None) -> None:
        """Sets the value in `session` without adding nodes to the graph.

        Raises:
            ValueError: there is no session.
        """
        if session is None:
            from conv3d.framework.session import get_default_session

            session = get_default_session()
        if session is None:
            raise ValueError(
                f"there is no session to load {self.name} into: pass `session=` or enter one with "
                "`with sess:`"
            )
        session.run(self._initializer_op, {self._initializer_op.inputs[1]: value})

    # --- writing ----------------------------------------------------------------------------

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Sets the value; returns the variable's tensor after it, or the operation."""
        result = state_ops.assign(
            self._target,
            value,
            validate_shape=self._validate_shape,
            use_locking=use_locking,
            name=name,
        )
        return self._written(result, read_value)

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Adds `delta`; returns the variable's tensor after it, or the operation."""
        result = state_ops.assign_add(self._target, delta, use_locking=use_locking, name=name)
        return self._written(result, read_value)

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Subtracts `delta`; returns the variable's tensor after it, or the operation."""
        result = state_ops.assign_sub(self._target, delta, use_locking=use_locking, name=name)
        return self._written(result, read_value)

    def count_up_to(self, limit: int) -> Any:
        """Adds 1 until `limit` is reached, then fails with OutOfRangeError; gives the old value."""
        return state_ops.count_up_to(self._target, limit)

    def _written(self, result: Any, read_value: bool) -> Any:
        return result if read_value else result.op

    @property
    def _target(self) -> Any:
        """What state operations take as their first input."""
        return self._variable

    @property
    def _ref(self) -> Any:
        """The reference: the node's tensor in graph mode, the cell in eager mode."""
        return self._variable

    # --- attributes -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """`"scope/name:0"`."""
        return self._variable.name

    @property
    def _shared_name(self) -> str:
        return self.name.rsplit(":", 1)[0]

    @property
    def dtype(self) -> dtypes.DType:
        """In graph mode a reference type such as `float32_ref`."""
        return self._variable.dtype

    @property
    def shape(self) -> tensor_shape.TensorShape:
        """Static shape."""
        return self._variable.get_shape()

    def get_shape(self) -> tensor_shape.TensorShape:
        """Static shape."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Adds what is known to the static shape."""
        self._variable.set_shape(shape)
        self.value().set_shape(shape)

    @property
    def op(self) -> Any:
        """The node that holds the value."""
        return self._variable.op

    @property
    def graph(self) -> Any:
        """The graph of the variable."""
        return self._graph

    @property
    def device(self) -> str:
        """Device of the variable."""
        return self._variable.device

    @property
    def initializer(self) -> Any:
        """The operation that assigns the initial value."""
        return self._initializer_op

    @property
    def initial_value(self) -> Tensor:
        """The tensor that the variable starts with."""
        return self._initial_value

    @property
    def constraint(self) -> Callable[..., Any] | None:
        """Function that optimizers apply after each step, or None."""
        return self._constraint

    @property
    def trainable(self) -> bool:
        """Whether optimizers change the variable by default."""
        return self._trainable

    @property
    def synchronization(self) -> sync.VariableSynchronization:
        """As given to the constructor."""
        return self._synchronization

    @property
    def aggregation(self) -> sync.VariableAggregation:
        """As given to the constructor."""
        return self._aggregation

    def _set_save_slice_info(self, info: Any) -> None:
        self._save_slice_info = info

    def _get_save_slice_info(self) -> Any:
        return self._save_slice_info

    def _as_graph_element(self) -> Any:
        """What a session fetches and feeds."""
        return self._variable

    def to_proto(self, export_scope: str | None = None) -> Any:
        """Not supported: graphs are not written out."""
        raise NotImplementedError("variables are not serialised; use train.Saver for their values")

    # --- Python protocol --------------------------------------------------------------------

    def __str__(self) -> str:
        return repr(self)

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: Any) -> bool:
        return self is other

    def __ne__(self, other: Any) -> bool:
        return self is not other

    def __iter__(self) -> Any:
        raise TypeError("a Variable cannot be iterated over; iterate over its tensor's parts")

    def __bool__(self) -> bool:
        # Programs ask `if bias:` for whether there is one; a reference variable is true.
        return True

    def __copy__(self) -> Any:
        raise TypeError(f"variable {self.name} cannot be copied; share it or make a new one")

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        raise TypeError(f"variable {self.name} cannot be copied; share it or make a new one")

    # NumPy hands binary operators over to us instead of looping over elements.
    __array_priority__ = 100


class ResourceVariable(Variable):
    """A variable whose reads are ordered like operations. Source: TF's `ResourceVariable`.

    In graph mode each use reads the value by a node of its own; `dtype` is the plain type. In eager
    mode this is the only kind.
    """

    def _init_reading(self) -> None:
        with context.name_scope("Read"):
            self._snapshot = array_ops.identity(self._variable, name="ReadVariableOp")

    def _init_eager(self, initial_value: Any, name: str | None, dtype: Any, shape: Any) -> None:
        if callable(initial_value) and not hasattr(initial_value, "get_shape"):
            with context.init_scope():
                initial_value = initial_value()
        with context.name_scope(name, "Variable") as scope, context.init_scope():
            value = convert.convert_to_tensor(initial_value, dtype=dtype)
            if shape is not None:
                value.get_shape().assert_is_compatible_with(shape)
        self._graph = None
        self._name = f"{scope.rstrip('/')}:0"
        static = value.get_shape() if self._validate_shape else tensor_shape.unknown_shape()
        self._cell = state.Ref(value.dtype, static, self._name)
        self._cell.set(np.asarray(value.constant_value()))

    @property
    def _eager(self) -> bool:
        return self._graph is None

    @property
    def _target(self) -> Any:
        return self if self._eager else self._variable

    @property
    def _ref(self) -> Any:
        return self._cell if self._eager else self._variable

    def value(self) -> Any:
        """The value now, as a tensor."""
        if self._eager:
            return execute.apply_op("ReadVariableOp", [self])
        return array_ops.identity(self._variable, name="ReadVariableOp")

    def read_value(self) -> Any:
        """The value now, as a tensor."""
        if self._eager:
            return self.value()
        with context.name_scope("Read"):
            return self.value()

    def initialized_value(self) -> Any:
        """The value, or the initial value while the variable has none."""
        return self.value() if self._eager else super().initialized_value()

    def numpy(self) -> np.ndarray:
        """The value as an array of one's own.

        Raises:
            NotImplementedError: in graph mode; run the variable in a session.
        """
        if not self._eager:
            raise NotImplementedError("numpy() needs eager mode; use session.run or eval")
        return np.array(self._cell.get())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        value = self.numpy()
        return value if dtype is None else value.astype(dtype, copy=False)

    def eval(self, session: Any = None) -> Any:
        """The value in `session`, or in the default session."""
        if self._eager:
            raise RuntimeError("eval() needs a session; in eager mode use numpy()")
        return super().eval(session)

    def load(self, value: Any, session: Any = None) -> None:
        """Sets the value."""
        if self._eager:
            self.assign(value)
        else:
            super().load(value, session)

    def _written(self, result: Any, read_value: bool) -> Any:
        if self._eager:
            return self.value() if read_value else None
        return super()._written(result, read_value)

    @property
    def name(self) -> str:
        return self._name if self._eager else super().name

    @property
    def dtype(self) -> dtypes.DType:
        """The plain type."""
        return self._cell.dtype if self._eager else self._variable.dtype.base_dtype

    @property
    def shape(self) -> tensor_shape.TensorShape:
        if not self._eager:
            return super().shape
        return tensor_shape.TensorShape(self._cell.get().shape)

    def set_shape(self, shape: Any) -> None:
        self.shape.assert_is_compatible_with(shape)
        if not self._eager:
            self._variable.set_shape(shape)

    @property
    def handle(self) -> Any:
        """The reference; TensorFlow's resource handle in this place."""
        return self._ref

    @property
    def op(self) -> Any:
        if self._eager:
            raise AttributeError("op is meaningless in eager mode: there is no graph")
        return super().op

    @property
    def graph(self) -> Any:
        if self._eager:
            raise AttributeError("graph is meaningless in eager mode: there is none")
        return super().graph

    @property
    def device(self) -> str:
        return "/job:localhost/replica:0/task:0/device:CPU:0" if self._eager else super().device

    @property
    def initializer(self) -> Any:
        """None in eager mode: the value is there from the start."""
        return None if self._eager else super().initializer

    @property
    def initial_value(self) -> Tensor:
        if self._eager:
            raise RuntimeError("initial_value is not kept in eager mode")
        return super().initial_value

    def _as_graph_element(self) -> Any:
        return self if self._eager else self._variable

    def __repr__(self) -> str:
        if not self._eager:
            return super().__repr__()
        return (
            f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}, "
            f"numpy={self.numpy()!r}>"
        )

    def __bool__(self) -> bool:
        # The tensor's rule: refused in graph mode, the truth of the value in eager mode.
        return bool(self.value())

    def __int__(self) -> int:
        return int(self.value())

    def __float__(self) -> float:
        return float(self.value())

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """In eager mode: an independent variable of the same name and value."""
        if not self._eager:
            return super().__deepcopy__(memo)
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        twin.__dict__.update(self.__dict__)
        twin._cell = copy.deepcopy(self._cell)
        return twin

    __copy__ = Variable.__copy__


def _initial_values(graph: Any) -> dict[Any, Tensor]:
    """The graph's record of initial values, by the operation of each variable's reference."""
    kept: list[dict[Any, Tensor]] = graph.get_collection_ref(("__initial_values",))
    if not kept:
        kept.append({})
    return kept[0]


def _tensor_operator(operator: str) -> Callable[..., Any]:
    def method(self: Variable, *args: Any) -> Any:
        return getattr(Tensor, operator)(self.value(), *args)

    method.__name__ = operator
    method.__doc__ = f"`{operator}` of the variable's value."
    return method


# Looked up in Tensor at the call: `ops.math_ops` attaches them there.
for _operator in (
    "__add__ __radd__ __sub__ __rsub__ __mul__ __rmul__ __truediv__ __rtruediv__ __floordiv__ "
    "__rfloordiv__ __mod__ __rmod__ __pow__ __rpow__ __matmul__ __rmatmul__ __and__ __rand__ "
    "__or__ __ror__ __xor__ __rxor__ __lt__ __le__ __gt__ __ge__ __neg__ __abs__ __invert__ "
    "__getitem__"
).split():
    setattr(Variable, _operator, _tensor_operator(_operator))


def _convert(
    value: Variable, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Any:
    if dtype is not None and not dtypes.as_dtype(dtype).is_compatible_with(value.dtype.base_dtype):
        raise ValueError(
            f"variable {value.name} has the type {value.dtype.base_dtype.name} and cannot stand "
            f"where {dtypes.as_dtype(dtype).name} is asked for; use tf.cast"
        )
    return value._variable if as_ref else value.value()


convert.register_tensor_conversion_function(Variable, _convert)
