"""Variable scopes: names, sharing and defaults for the variables made inside.

A variable scope named `a` inside of one named `b` gives variables the prefix `b/a/`. It also opens
a name scope for operations. The two prefixes may differ: operations of a scope that is entered
twice live in `a/` and `a_1/`, its variables always in `a/`.

Each graph has, per thread, one current scope and one count of the scopes opened under each name;
the counts make unnamed scopes (`default_name`) unique.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from conv3d.framework import context, convert, dtypes
from conv3d.framework.graph import graph_of
from conv3d.framework.graph_keys import GraphKeys
from conv3d.variables import variable as variable_module
from conv3d.variables.variable_store import (
    AUTO_REUSE,
    VariableStore,
    bind_unknown,
    default_variable_store,
    of_graph,
)

__all__ = [
    "AUTO_REUSE",
    "VariableScope",
    "create_partitioned_variables",
    "get_local_variable",
    "get_variable",
    "get_variable_scope",
    "no_regularizer",
    "variable_op_scope",
    "variable_scope",
]

# The names under which other parts of the package and programs look for the store.
_get_default_variable_store = default_variable_store
_VariableStore = VariableStore


def no_regularizer(_: Any) -> None:
    """A regularizer without a penalty: switches a scope's regularizer off."""


class VariableScope:
    """Name and defaults for the variables made in a scope.

    Made by :func:`variable_scope`, and kept to enter the same scope again.

    Args:
        reuse: None, True or AUTO_REUSE; see :func:`get_variable`.
        name: full name.
        initializer: default initializer.
        regularizer: default regularizer.
        caching_device: accepted; there is one device.
        partitioner: default partitioner.
        custom_getter: called instead of the plain getter; see :func:`get_variable`.
        name_scope: name scope of the operations when the scope was first opened.
        dtype: default type.
        use_resource: make variables :class:`ResourceVariable`.
        constraint: default constraint; scopes opened inside do not inherit it, as in TensorFlow.

    Source: `tf.VariableScope`.
    """

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Callable[..., Any] | None = None,
        caching_device: Any = None,
        partitioner: Callable[..., Any] | None = None,
        custom_getter: Callable[..., Any] | None = None,
        name_scope: str = "",
        dtype: Any = dtypes.float32,
        use_resource: bool | None = None,
        constraint: Callable[..., Any] | None = None,
    ) -> None:
        self._name = name
        self._initializer = initializer
        self._regularizer = regularizer
        self._caching_device = caching_device
        self._partitioner = partitioner
        self._custom_getter = custom_getter
        self._name_scope = name_scope
        self._dtype = dtype
        self._use_resource = use_resource
        self._constraint = constraint
        self._reuse = reuse
        if context.executing_eagerly():
            _refuse_partitioner(partitioner)
            _refuse_caching_device(caching_device)
            # Nothing is kept by name in eager mode, so there is nothing that could be missing.
            self._reuse = AUTO_REUSE
            self._use_resource = True

    @property
    def name(self) -> str:
        """Full name, without a slash at the end."""
        return self._name

    @property
    def original_name_scope(self) -> str:
        """Name scope of the operations when the scope was first opened."""
        return self._name_scope

    @property
    def reuse(self) -> Any:
        """None (or False), True or AUTO_REUSE."""
        return self._reuse

    @property
    def initializer(self) -> Any:
        """Default initializer."""
        return self._initializer

    @property
    def regularizer(self) -> Callable[..., Any] | None:
        """Default regularizer."""
        return self._regularizer

    @property
    def caching_device(self) -> Any:
        """As given."""
        return self._caching_device

    @property
    def partitioner(self) -> Callable[..., Any] | None:
        """Default partitioner."""
        return self._partitioner

    @property
    def custom_getter(self) -> Callable[..., Any] | None:
        """Getter called instead of the plain one."""
        return self._custom_getter

    @property
    def dtype(self) -> Any:
        """Default type."""
        return self._dtype

    @property
    def use_resource(self) -> bool | None:
        """Whether variables are resource variables."""
        return self._use_resource

    @property
    def constraint(self) -> Callable[..., Any] | None:
        """Default constraint."""
        return self._constraint

    def reuse_variables(self) -> None:
        """Shares variables from here on."""
        self._reuse = True

    def set_initializer(self, initializer: Any) -> None:
        """Sets the default initializer."""
        self._initializer = initializer

    def set_regularizer(self, regularizer: Callable[..., Any] | None) -> None:
        """Sets the default regularizer."""
        self._regularizer = regularizer

    def set_caching_device(self, caching_device: Any) -> None:
        """Kept; there is one device. NotImplementedError in eager mode, as in TensorFlow."""
        if context.executing_eagerly():
            _refuse_caching_device(caching_device)
        self._caching_device = caching_device

    def set_partitioner(self, partitioner: Callable[..., Any] | None) -> None:
        """Sets the default partitioner."""
        if context.executing_eagerly():
            _refuse_partitioner(partitioner)
        self._partitioner = partitioner

    def set_custom_getter(self, custom_getter: Callable[..., Any] | None) -> None:
        """Sets the custom getter."""
        self._custom_getter = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        """Sets the default type."""
        self._dtype = dtype

    def set_use_resource(self, use_resource: bool | None) -> None:
        """Sets whether variables are resource variables.

        Raises:
            ValueError: False in eager mode, which has no others.
        """
        if context.executing_eagerly() and not use_resource:
            raise ValueError("`use_resource` has to be true in eager mode")
        self._use_resource = use_resource

    def set_constraint(self, constraint: Callable[..., Any] | None) -> None:
        """Sets the default constraint."""
        self._constraint = constraint

    def get_collection(self, name: str) -> list[Any]:
        """Elements of a collection whose names lie in this scope."""
        scope = self._name + "/" if self._name else self._name
        return list(context.get_default_graph().get_collection(name, scope))

    def global_variables(self) -> list[Any]:
        """Global variables of this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        """Local variables of this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        """Trainable variables of this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def get_variable(
        self,
        var_store: VariableStore,
        name: str,
        shape: Any = None,
        dtype: Any = None,
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
        """The variable `name` of this scope; what is left out comes from the scope.

        Raises:
            ValueError: see :func:`get_variable`.
        """
        if not isinstance(name, str):
            raise TypeError(f"`name` is {name!r}; the name of a variable has to be a string")
        full_name = f"{self._name}/{name}" if self._name else name
        # Variables are named by variable scopes alone.
        with context.name_scope(None):
            if dtype is not None and initializer is not None and not callable(initializer):
                _check_dtype(full_name, initializer, dtypes.as_dtype(dtype).base_dtype)
            return var_store.get_variable(
                full_name,
                shape=shape,
                dtype=self._dtype if dtype is None else dtype,
                initializer=self._initializer if initializer is None else initializer,
                regularizer=self._regularizer if regularizer is None else regularizer,
                reuse=self._reuse if reuse is None else reuse,
                trainable=trainable,
                collections=collections,
                caching_device=self._caching_device if caching_device is None else caching_device,
                partitioner=self._partitioner if partitioner is None else partitioner,
                validate_shape=validate_shape,
                use_resource=self._use_resource if use_resource is None else use_resource,
                custom_getter=self._custom_getter if custom_getter is None else custom_getter,
                constraint=self._constraint if constraint is None else constraint,
                synchronization=synchronization,
                aggregation=aggregation,
            )

    def _get_partitioned_variable(
        self, var_store: VariableStore, name: str, *args: Any, **kwargs: Any
    ) -> Any:
        """The variable `name`, which has to have a partitioner."""
        if kwargs.get("partitioner") is None and self._partitioner is None:
            raise ValueError(f"partitioned variable {name} needs a `partitioner`")
        return self.get_variable(var_store, name, *args, **kwargs)


def _check_dtype(name: str, value: Any, dtype: dtypes.DType) -> None:
    found = getattr(value, "dtype", None)
    if found is None or not isinstance(found, dtypes.DType):
        found = dtypes.as_dtype(convert.to_array(value).dtype)
    if found.base_dtype != dtype:
        raise ValueError(
            f"variable {name} has the `dtype` {dtype.name}, but its initial value has the type "
            f"{found.base_dtype.name}"
        )


def _refuse_partitioner(partitioner: Any) -> None:
    if partitioner is not None:
        raise NotImplementedError(
            "`partitioner` was given; partitioned variables do not exist in eager mode"
        )


def _refuse_caching_device(caching_device: Any) -> None:
    if caching_device is not None:
        raise NotImplementedError(
            "`caching_device` was given; variables are not cached on devices in eager mode"
        )


class _ScopeStore(threading.local):
    """Current scope and counts of one graph, for each thread."""

    def __init__(self) -> None:
        self.current = VariableScope(False)
        self.counts: dict[str, int] = {}

    def open(self, name: str) -> None:
        """Counts one more scope of this name."""
        self.counts[name] = self.counts.get(name, 0) + 1

    def close_inner(self, name: str) -> None:
        """Forgets the scopes opened inside: their numbering starts again at the next entry."""
        for inner in self.counts:
            if not name or inner.startswith(name + "/"):
                self.counts[inner] = 0


def _scope_store() -> _ScopeStore:
    store: _ScopeStore = of_graph(("__varscope",), _ScopeStore)
    return store


def get_variable_scope() -> VariableScope:
    """The current variable scope. Source: `tf.get_variable_scope`."""
    return _scope_store().current


variable_module._FromAbove.use_resource = staticmethod(lambda: get_variable_scope().use_resource)


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Callable[..., Any] | None = None,
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
    """Makes a variable in the current scope, or shares the one that is there.

    Args:
        name: name inside of the current variable scope.
        shape: shape; left out if `initializer` is a value.
        dtype: type; default: that of the scope, which is float32 unless set.
        initializer: callable `f(shape, dtype, partition_info)`, its class, a function without
            arguments (without `shape`), a value, or None for the scope's; without any, Glorot
            uniform for floats and zeros for integers, booleans and strings.
        regularizer: callable whose result goes to `GraphKeys.REGULARIZATION_LOSSES`; default: that
            of the scope.
        trainable: whether optimizers change it; None means yes, unless it is synchronised
            `ON_READ`.
        collections: graph keys to list it under; default: `GraphKeys.GLOBAL_VARIABLES`.
        caching_device: accepted; there is one device.
        partitioner: cuts the variable into slices; see :mod:`conv3d.partitioners`.
        validate_shape: if false, values of unknown shape are allowed.
        use_resource: make a :class:`ResourceVariable`.
        custom_getter: `f(getter, name, **arguments)`, called in place of the plain getter.
        constraint: function that optimizers apply after each step.
        synchronization: checked and kept.
        aggregation: checked and kept.

    Returns:
        A `Variable`, a `PartitionedVariable`, or what the custom getter returns.

    Raises:
        ValueError: the variable exists and is not shared, or does not exist and `reuse` is True;
            shape or type differ from the variable's; the shape is not fully defined.
        TypeError: `name` is no string.
        TypeError: `name` is no string.

    Source: `tf.get_variable`.
    """
    return get_variable_scope().get_variable(
        default_variable_store(),
        name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=trainable,
        collections=collections,
        caching_device=caching_device,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=use_resource,
        custom_getter=custom_getter,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
    )


def get_local_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Callable[..., Any] | None = None,
    trainable: bool = False,
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
    """:func:`get_variable` for a variable listed in `GraphKeys.LOCAL_VARIABLES`, never trained.

    `trainable` is accepted and has no effect. Source: `tf.get_local_variable`.
    """
    keys = list(collections or ())
    if GraphKeys.LOCAL_VARIABLES not in keys:
        keys.append(GraphKeys.LOCAL_VARIABLES)
    return get_variable(
        name,
        shape=shape,
        dtype=dtype,
        initializer=initializer,
        regularizer=regularizer,
        trainable=False,
        collections=keys,
        caching_device=caching_device,
        partitioner=partitioner,
        validate_shape=validate_shape,
        use_resource=use_resource,
        custom_getter=custom_getter,
        constraint=constraint,
        synchronization=synchronization,
        aggregation=aggregation,
    )


def create_partitioned_variables(
    shape: Sequence[int],
    slicing: Sequence[int],
    initializer: Any,
    dtype: Any = dtypes.float32,
    trainable: bool = True,
    collections: Any = None,
    name: str | None = None,
    reuse: Any = None,
) -> list[Any]:
    """The slices of a partitioned variable, `name/part_0`, `name/part_1`, ...

    Args:
        shape: shape of the whole.
        slicing: number of slices along each axis; only one may be larger than 1.
        initializer: initializer or value of the whole.
        dtype: type.
        trainable: whether optimizers change it.
        collections: graph keys to list the slices under.
        name: name of the whole; default `"PartitionedVariable"`, made unique.
        reuse: share the slices of that name.

    Raises:
        ValueError: `shape` and `slicing` differ in length or are empty, or several axes are cut.

    Source: `tf.create_partitioned_variables`.
    """
    if len(shape) != len(slicing) or len(shape) < 1:
        raise ValueError(
            f"`shape` {list(shape)} and `slicing` {list(slicing)} have to be of one length, at "
            "least 1"
        )
    with variable_scope(name, "PartitionedVariable", reuse=reuse) as scope:
        with context.name_scope(None):
            whole = default_variable_store().get_variable(
                scope.name,
                shape=None if initializer is not None and not callable(initializer) else shape,
                dtype=dtype,
                initializer=initializer,
                reuse=scope.reuse,
                trainable=trainable,
                collections=collections,
                partitioner=lambda shape, dtype: list(slicing),
            )
    return list(whole)


# --- entering scopes --------------------------------------------------------------------

_SETTINGS = (
    "initializer",
    "regularizer",
    "caching_device",
    "partitioner",
    "dtype",
    "use_resource",
    "constraint",
)


def _override(scope: VariableScope, settings: dict[str, Any], outer_getter: Any) -> None:
    """Puts the settings that are not None into `scope`."""
    for name in _SETTINGS:
        if settings.get(name) is not None:
            getattr(scope, "set_" + name)(settings[name])
    if settings.get("custom_getter") is not None:
        scope.set_custom_getter(_composed(settings["custom_getter"], outer_getter))


def _composed(inner: Callable[..., Any], outer: Callable[..., Any] | None) -> Callable[..., Any]:
    """A getter that calls `inner`, whose `getter` is `outer` around the plain one."""
    if outer is None:
        return inner

    def both(getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def through_outer(*args: Any, **kwargs: Any) -> Any:
            bound, kwargs = bind_unknown(outer, getter, kwargs)
            return outer(bound, *args, **kwargs)

        return inner(through_outer, *args, **kwargs)

    return both


@contextlib.contextmanager
def pure_variable_scope(
    name_or_scope: str | VariableScope,
    name_scope: str | None = None,
    reuse: Any = None,
    **settings: Any,
) -> Iterator[VariableScope]:
    """A variable scope that opens no name scope; `settings` are those of `variable_scope`."""
    store = _scope_store()
    outer = store.current
    jumped = isinstance(name_or_scope, VariableScope)
    if jumped:
        assert isinstance(name_or_scope, VariableScope)
        base, name = name_or_scope, name_or_scope.name
        scope = copy.copy(base)
        scope._reuse = reuse or base.reuse
    else:
        assert isinstance(name_or_scope, str)
        base, name = outer, name_or_scope
        if outer.name:
            name = f"{outer.name}/{name_or_scope}"
        scope = VariableScope(
            reuse or outer.reuse,
            name=name,
            initializer=outer.initializer,
            regularizer=outer.regularizer,
            caching_device=outer.caching_device,
            partitioner=outer.partitioner,
            custom_getter=outer.custom_getter,
            name_scope=name_or_scope if name_scope is None else name_scope,
            dtype=outer.dtype,
            use_resource=outer.use_resource,
        )
    _override(scope, settings, base.custom_getter)
    store.open(name)
    # A jump to another scope must not disturb the numbering where we are.
    saved = dict(store.counts) if jumped else None
    store.current = scope
    try:
        yield scope
    finally:
        if store.current is not scope:
            raise RuntimeError(
                f"variable scope {scope.name!r} is left while {store.current.name!r}, opened "
                "inside of it, is still open"
            )
        if saved is not None:
            store.counts = saved
        else:
            store.close_inner(name)
        store.current = outer


def unique_scope_name(prefix: str) -> str:
    """`prefix`, numbered so that no scope of this name was opened in the current one."""
    store = _scope_store()
    outer = store.current.name
    full = f"{outer}/{prefix}" if outer else prefix
    if not store.counts.get(full):
        return prefix
    number = 1
    while store.counts.get(f"{full}_{number}"):
        number += 1
    return f"{prefix}_{number}"


class variable_scope:
    """Opens a variable scope and a name scope.

    Args:
        name_or_scope: name inside of the current scope, or a `VariableScope` to enter again.
        default_name: name used, made unique, if `name_or_scope` is None.
        values: tensors whose graph is made the default.
        initializer: default for the variables inside; likewise `regularizer`, `caching_device`,
            `partitioner`, `custom_getter`, `dtype`, `use_resource`, `constraint`.
        reuse: True shares variables, AUTO_REUSE shares or makes them, None or False inherits.
        auxiliary_name_scope: if false, no name scope is opened.

    Raises:
        TypeError: neither a name nor a default name; `auxiliary_name_scope` is no bool;
            `name_or_scope` is neither a string nor a scope.
        ValueError: `reuse` is something else, or True with a default name only.

    Source: `tf.variable_scope`.
    """

    def __init__(
        self,
        name_or_scope: str | VariableScope | None,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Callable[..., Any] | None = None,
        caching_device: Any = None,
        partitioner: Callable[..., Any] | None = None,
        custom_getter: Callable[..., Any] | None = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Callable[..., Any] | None = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        if default_name is None and name_or_scope is None:
            raise TypeError("`name_or_scope` is None and there is no `default_name`; give one")
        if reuse is not None and reuse is not AUTO_REUSE:
            if not isinstance(reuse, (bool, int, np.bool_)) or reuse not in (0, 1):
                raise ValueError(
                    f"`reuse` is {reuse!r}; it has to be True, False, None or AUTO_REUSE"
                )
            # False inherits: a scope cannot stop the sharing that surrounds it.
            reuse = True if reuse else None
        if not isinstance(auxiliary_name_scope, bool):
            raise TypeError(
                f"`auxiliary_name_scope` is {auxiliary_name_scope!r}; it has to be True or False"
            )
        if context.executing_eagerly():
            _refuse_partitioner(partitioner)
        self._name_or_scope = name_or_scope
        self._default_name = default_name
        self._values = values
        self._auxiliary_name_scope = auxiliary_name_scope
        self._settings = {
            "initializer": initializer,
            "regularizer": regularizer,
            "caching_device": caching_device,
            "partitioner": partitioner,
            "custom_getter": custom_getter,
            "reuse": reuse,
            "dtype": dtype,
            "use_resource": use_resource,
            "constraint": constraint,
        }
        self._stack: contextlib.ExitStack | None = None

    def __enter__(self) -> VariableScope:
        with contextlib.ExitStack() as stack:
            if not context.executing_eagerly():
                graph = graph_of(self._values or ())
                if graph is not context.get_default_graph():
                    stack.enter_context(graph.as_default())
            scope = self._enter(stack)
            self._stack = stack.pop_all()
        return scope

    def _enter(self, stack: contextlib.ExitStack) -> VariableScope:
        target = self._name_or_scope
        if target is None:
            if self._settings["reuse"]:
                raise ValueError(
                    "`reuse` needs a `name_or_scope`: a default name is always that of a new scope"
                )
            assert self._default_name is not None
            name_scope = self._open_name_scope(stack, self._default_name)
            return stack.enter_context(
                pure_variable_scope(
                    unique_scope_name(self._default_name), name_scope, **self._settings
                )
            )
        if not isinstance(target, (str, VariableScope)):
            raise TypeError(
                f"`name_or_scope` is {target!r}; it has to be a string or a VariableScope"
            )
        short = target if isinstance(target, str) else target.name.rsplit("/", 1)[-1]
        name_scope = self._open_name_scope(stack, short)
        return stack.enter_context(pure_variable_scope(target, name_scope, **self._settings))

    def _open_name_scope(self, stack: contextlib.ExitStack, name: str) -> str | None:
        if not self._auxiliary_name_scope:
            current = context.current_name_scope()
            return current + "/" if current else ""
        if not name:
            return None
        return stack.enter_context(context.name_scope(name))

    def __exit__(self, *exc_info: Any) -> Any:
        assert self._stack is not None
        stack, self._stack = self._stack, None
        return stack.__exit__(*exc_info)


@contextlib.contextmanager
def variable_op_scope(
    values: Any,
    name_or_scope: str | VariableScope | None,
    default_name: str | None = None,
    *args: Any,
    **kwargs: Any,
) -> Iterator[VariableScope]:
    """Older form of :func:`variable_scope`, with the values first."""
    with variable_scope(name_or_scope, default_name, values, *args, **kwargs) as scope:
        yield scope
