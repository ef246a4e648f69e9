"""Where `get_variable` keeps what it made: one store per graph.

A name is made once and shared afterwards, as `reuse` says: None or False makes, True shares,
AUTO_REUSE shares what is there and makes the rest. In eager mode nothing is kept: each call makes a
variable of its own.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from conv3d import initializers
from conv3d.framework import context, convert, dtypes, tensor_shape
from conv3d.framework.graph_keys import GraphKeys
from conv3d.framework.tensor import Tensor
from conv3d.variables import partitioned, sync
from conv3d.variables.variable import Variable

__all__ = ["AUTO_REUSE", "VariableStore", "default_variable_store"]


class _ReuseMode(enum.Enum):
    """The third value of `reuse`, beside True and False."""

    AUTO_REUSE = 1

    def __repr__(self) -> str:
        return "tf.AUTO_REUSE"


AUTO_REUSE = _ReuseMode.AUTO_REUSE


def takes_keyword(function: Callable[..., Any], keyword: str) -> bool:
    """Whether `function` can be called with this keyword."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
    return keyword in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


def bind_unknown(
    custom_getter: Callable[..., Any], getter: Callable[..., Any], arguments: dict[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The getter and the keywords for a custom getter that may not know the youngest keywords.

    What it cannot take is bound to the getter that it calls, and so is not lost.
    """
    young = ("constraint", "synchronization", "aggregation")
    bound = {
        name: arguments[name]
        for name in young
        if name in arguments and not takes_keyword(custom_getter, name)
    }
    if not bound:
        return getter, arguments
    rest = {name: value for name, value in arguments.items() if name not in bound}
    return functools.partial(getter, **bound), rest


def _needs_no_arguments(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return all(
        p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters
    )


class VariableStore:
    """Variables by name, whole ones and partitioned ones."""

    def __init__(self) -> None:
        self._vars: dict[str, Variable] = {}
        self._partitioned_vars: dict[str, partitioned.PartitionedVariable] = {}

    def get_variable(
        self,
        name: str,
        shape: Any = None,
        dtype: Any = dtypes.float32,
        initializer: Any = None,
        regularizer: Callable[..., Any] | None = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        caching_device: Any = None,
        partitioner: Callable[..., Any] | None = None,
        validate_shape: bool = True,
        use_resource: bool | None = None,
        custom_getter: Callable[..., Any] | None = None,
        constraint: Callable[..., Any] | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
    ) -> Any:
        """The variable of this full name; see `tf.get_variable` for the arguments.

        Raises:
            ValueError: the rules of `reuse`, shape or type are broken.
        """
        if custom_getter is not None and not callable(custom_getter):
            raise ValueError(f"`custom_getter` is {custom_getter!r}; it has to be a callable")
        if context.executing_eagerly():
            # Variables of eager mode belong to whoever holds them; a name shares nothing.
            if partitioner is not None:
                raise NotImplementedError(
                    f"variable {name} has a partitioner; partitioned variables do not exist in "
                    "eager mode"
                )
            reuse = False
            use_resource = True
        synchronization, aggregation, trainable = sync.resolve(
            synchronization, aggregation, trainable, name
        )
        dtype = dtypes.as_dtype(dtype).base_dtype
        arguments: dict[str, Any] = {
            "name": name,
            "shape": shape,
            "dtype": dtype,
            "initializer": initializer,
            "regularizer": regularizer,
            "reuse": reuse,
            "trainable": trainable,
            "collections": collections,
            "caching_device": caching_device,
            "partitioner": partitioner,
            "validate_shape": validate_shape,
            "use_resource": use_resource,
            "synchronization": synchronization,
            "aggregation": aggregation,
        }
        if custom_getter is None:
            return self._get(constraint=constraint, **arguments)
        arguments["constraint"] = constraint
        getter, arguments = bind_unknown(custom_getter, self._get, arguments)
        return custom_getter(getter=getter, **arguments)

    def _get(
        self,
        name: str,
        shape: Any = None,
        dtype: Any = dtypes.float32,
        initializer: Any = None,
        regularizer: Callable[..., Any] | None = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        caching_device: Any = None,
        partitioner: Callable[..., Any] | None = None,
        validate_shape: bool = True,
        use_resource: bool | None = None,
        constraint: Callable[..., Any] | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
    ) -> Any:
        """What a custom getter is given as `getter`."""
        settings = {
            "reuse": reuse,
            "trainable": trainable,
            "collections": collections,
            "validate_shape": validate_shape,
            "use_resource": use_resource,
            "constraint": constraint,
            "synchronization": synchronization,
            "aggregation": aggregation,
        }
        dtype = dtypes.as_dtype(dtype).base_dtype
        is_scalar = shape is not None and tensor_shape.as_shape(shape).ndims == 0
        shared_parts = reuse is True and name in self._partitioned_vars
        if (partitioner is not None and not is_scalar) or shared_parts:
            if partitioner is not None and not callable(partitioner):
                raise ValueError(f"`partitioner` is {partitioner!r}; it has to be a callable")
            with context.name_scope(None):
                return self._get_partitioned(
                    name, partitioner, shape, dtype, initializer, regularizer, settings
                )
        if f"{name}/part_0" in self._vars:
            raise ValueError(
                f"variable {name} was made with a partitioner and is asked for without one; give "
                "the partitioner it was made with"
            )
        return self._get_single(name, shape, dtype, initializer, regularizer, settings)

    # --- one variable -----------------------------------------------------------------------

    def _get_single(
        self,
        name: str,
        shape: Any,
        dtype: dtypes.DType,
        initializer: Any,
        regularizer: Callable[..., Any] | None,
        settings: dict[str, Any],
        partition_info: partitioned.PartitionInfo | None = None,
    ) -> Variable:
        from_value = initializer is not None and not callable(initializer)
        if from_value and shape is not None:
            hint = (
                f"; to use the initializer of that name give tf.keras.initializers.get"
                f"({initializer!r})"
                if isinstance(initializer, str)
                else ""
            )
            raise ValueError(
                f"variable {name} has an `initializer` that is a value, and a `shape`; the value "
                f"has its own shape, so `shape` has to be left out{hint}"
            )
        static = tensor_shape.as_shape(shape)
        reuse = settings["reuse"]
        if name in self._vars:
            return self._shared(name, static, dtype, reuse)
        if reuse is True:
            raise ValueError(
                f"variable {name} does not exist, or was not made by get_variable, and `reuse` is "
                "True; reuse=tf.AUTO_REUSE makes what is missing"
            )
        if initializer is None:
            initializer = self._default_initializer(name, dtype)
        if isinstance(initializer, type):
            initializer = (
                initializer(dtype=dtype) if takes_keyword(initializer, "dtype") else initializer()
            )
        initial_value: Any = initializer
        if not from_value:
            initial_value = self._initial_function(
                name, initializer, shape, static, dtype, partition_info
            )
        variable = Variable(
            initial_value=initial_value,
            name=name,
            trainable=settings["trainable"],
            collections=settings["collections"],
            # A value, or a function without a shape, brings its own type.
            dtype=None if from_value or not static.is_fully_defined() else dtype,
            validate_shape=settings["validate_shape"],
            constraint=settings["constraint"],
            use_resource=bool(settings["use_resource"]),
            synchronization=settings["synchronization"],
            aggregation=settings["aggregation"],
        )
        if not context.executing_eagerly():
            self._vars[name] = variable
            if regularizer is not None:
                self._regularize(name, variable, regularizer)
        return variable

    def _shared(
        self, name: str, shape: tensor_shape.TensorShape, dtype: dtypes.DType, reuse: Any
    ) -> Variable:
        if not reuse:
            raise ValueError(
                f"variable {name} exists already; give reuse=True or reuse=tf.AUTO_REUSE to the "
                "variable scope or layer to share it, or another name to make a new one"
            )
        found = self._vars[name]
        if not shape.is_compatible_with(found.get_shape()):
            raise ValueError(
                f"variable {name} is shared with the shape {shape}, but was made with "
                f"{found.get_shape()}"
            )
        if dtype != found.dtype.base_dtype:
            raise ValueError(
                f"variable {name} is shared with the type {dtype.name}, but was made as "
                f"{found.dtype.base_dtype.name}"
            )
        return found

    @staticmethod
    def _default_initializer(name: str, dtype: dtypes.DType) -> Callable[..., Any]:
        if dtype.is_floating:
            return initializers.glorot_uniform_initializer()
        if dtype.is_integer or dtype.is_bool or dtype == dtypes.string:
            return initializers.zeros_initializer(dtype=dtype)
        raise ValueError(f"variable {name} of type {dtype.name} needs an `initializer`")

    @staticmethod
    def _initial_function(
        name: str,
        initializer: Callable[..., Any],
        shape: Any,
        static: tensor_shape.TensorShape,
        dtype: dtypes.DType,
        partition_info: partitioned.PartitionInfo | None,
    ) -> Callable[[], Any]:
        if static.is_fully_defined():
            sizes = static.as_list()
            if takes_keyword(initializer, "partition_info"):
                return lambda: initializer(sizes, dtype=dtype, partition_info=partition_info)
            return lambda: initializer(sizes, dtype=dtype)
        if shape is None and _needs_no_arguments(initializer):
            return initializer
        raise ValueError(
            f"the shape of new variable {name} is {static}; it has to be fully defined, unless the "
            "initializer is a value or a function without arguments"
        )

    @staticmethod
    def _regularize(name: str, variable: Variable, regularizer: Callable[..., Any]) -> None:
        with context.name_scope(name + "/Regularizer/"), context.init_scope():
            loss = regularizer(variable)
        if loss is not None:
            variable.graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)

    # --- slices -----------------------------------------------------------------------------

    def _get_partitioned(
        self,
        name: str,
        partitioner: Callable[..., Any] | None,
        shape: Any,
        dtype: dtypes.DType,
        initializer: Any,
        regularizer: Callable[..., Any] | None,
        settings: dict[str, Any],
    ) -> partitioned.PartitionedVariable:
        reuse = settings["reuse"]
        from_value = initializer is not None and not callable(initializer)
        if from_value:
            value = convert.convert_to_tensor(initializer)
            static, dtype = value.get_shape(), value.dtype.base_dtype
            if shape is not None and not static.is_compatible_with(shape):
                raise ValueError(
                    f"variable {name} has the `shape` {shape}, and an initial value of shape "
                    f"{static}"
                )
        else:
            value, static = None, tensor_shape.as_shape(shape)
        if name in self._vars:
            raise ValueError(
                f"variable {name} was made without a partitioner and is asked for with one"
            )
        if name in self._partitioned_vars:
            return self._shared_parts(name, partitioner, static, dtype, reuse)
        if reuse is True:
            raise ValueError(
                f"partitioned variable {name} does not exist, or was not made by get_variable, and "
                "`reuse` is True; reuse=tf.AUTO_REUSE makes what is missing"
            )
        if not static.is_fully_defined():
            raise ValueError(
                f"the shape of new partitioned variable {name} is {static}; it has to be fully "
                "defined"
            )
        assert partitioner is not None
        sizes = [int(size) for size in static]
        counts = _counts_of(partitioner, static, dtype, name)
        axis = next((i for i, n in enumerate(counts) if n > 1), 0)
        if reuse is AUTO_REUSE or not reuse:
            self._refuse_halves(name, counts[axis], reuse)
        parts = []
        for index, (begin, extent) in enumerate(
            partitioned.slice_extents(sizes[axis], counts[axis])
        ):
            offset = [0] * len(sizes)
            offset[axis] = begin
            part_shape = list(sizes)
            part_shape[axis] = extent
            part_initializer: Any = initializer
            if value is not None:
                part_initializer = _slice_of(value, offset, part_shape)
            part = self._get_single(
                f"{name}/part_{index}",
                None if value is not None else part_shape,
                dtype,
                part_initializer,
                regularizer,
                settings,
                partitioned.PartitionInfo(sizes, offset) if sizes[axis] else None,
            )
            part._set_save_slice_info(partitioned.SaveSliceInfo(name, sizes, offset, part_shape))
            parts.append(part)
        whole = partitioned.PartitionedVariable(name, static, dtype, parts, counts)
        self._partitioned_vars[name] = whole
        return whole

    def _refuse_halves(self, name: str, count: int, reuse: Any) -> None:
        """Raises ValueError if slices of this name were made, but not as this whole."""
        if f"{name}/part_0" not in self._vars:
            return
        if f"{name}/part_{count - 1}" not in self._vars:
            raise ValueError(
                f"slices of variable {name} exist, but not part_{count - 1}: the partitioner cuts "
                "otherwise than the one it was made with"
            )
        if f"{name}/part_{count}" in self._vars:
            raise ValueError(
                f"part_{count} of variable {name} exists too: the partitioner cuts otherwise than "
                "the one it was made with"
            )

    def _shared_parts(
        self,
        name: str,
        partitioner: Callable[..., Any] | None,
        shape: tensor_shape.TensorShape,
        dtype: dtypes.DType,
        reuse: Any,
    ) -> partitioned.PartitionedVariable:
        if not reuse:
            raise ValueError(
                f"partitioned variable {name} exists already; give reuse=True or "
                "reuse=tf.AUTO_REUSE to share it, or another name to make a new one"
            )
        found = self._partitioned_vars[name]
        if not shape.is_compatible_with(found.get_shape()):
            raise ValueError(
                f"partitioned variable {name} is shared with the shape {shape}, but was made with "
                f"{found.get_shape()}"
            )
        if dtype != found.dtype.base_dtype:
            raise ValueError(
                f"partitioned variable {name} is shared with the type {dtype.name}, but was made "
                f"as {found.dtype.base_dtype.name}"
            )
        if partitioner is not None:
            counts = _counts_of(partitioner, found.get_shape(), dtype, name)
            if counts != found._get_partitions():
                raise ValueError(
                    f"the partitioner cuts variable {name} into {counts}, but it was made as "
                    f"{found._get_partitions()}"
                )
        return found


def _counts_of(
    partitioner: Callable[..., Any], shape: tensor_shape.TensorShape, dtype: dtypes.DType, name: str
) -> list[int]:
    """The partitioner's answer, checked."""
    counts = partitioner(shape=shape, dtype=dtype)
    if not isinstance(counts, Sequence) or isinstance(counts, str):
        raise ValueError(
            f"the partitioner of variable {name} returned {counts!r}; a list of numbers is needed"
        )
    if any(int(n) != n for n in counts):
        raise TypeError(
            f"the partitioner of variable {name} returned {counts!r}; whole numbers are needed"
        )
    counts = [int(n) for n in counts]
    if len(counts) != shape.ndims:
        raise ValueError(
            f"the partitioner of variable {name} returned {counts} for the shape {shape}; one "
            "number per axis is needed"
        )
    if any(n < 1 for n in counts):
        raise ValueError(
            f"the partitioner of variable {name} returned {counts}; the numbers have to be positive"
        )
    if sum(n > 1 for n in counts) > 1:
        raise ValueError(
            f"the partitioner of variable {name} cuts the shape {shape} into {counts}; only one "
            "axis can be cut"
        )
    return counts


def _slice_of(value: Tensor, offset: Sequence[int], sizes: Sequence[int]) -> Callable[[], Tensor]:
    from conv3d.ops import array_ops

    return lambda: array_ops.slice(value, list(offset), list(sizes))


def default_variable_store() -> VariableStore:
    """The store of the default graph; made at the first call."""
    store: VariableStore = of_graph(("__variable_store",), VariableStore)
    return store


def of_graph(key: Any, make: Callable[[], Any]) -> Any:
    """The one object that the default graph keeps under an internal key."""
    kept = context.get_default_graph().get_collection_ref(key)
    if not kept:
        kept.append(make())
    return kept[0]
