"""`Layer`: variables under a scope, made at the first call and shared by all later ones.

A layer has a *name* (`conv3d_1`, fixed when it is made) and a *scope* (`outer/conv3d`, fixed at the
first use, where its variables live). Its operations of all calls live in the name scope of the
first call. In graph mode a layer also records what it was called on, and collects losses and
updates.
"""

from __future__ import annotations

import copy
import inspect
import re
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d.framework import context, convert, dtypes
from conv3d.framework.graph import Operation, graph_of
from conv3d.framework.graph_keys import GraphKeys
from conv3d.framework.tensor import Tensor
from conv3d.layers import connectivity, deferred
from conv3d.layers.input_spec import InputSpec, check_inputs
from conv3d.layers.structure import flatten, map_structure
from conv3d.variables import sync
from conv3d.variables import variable_scope as scopes
from conv3d.variables.partitioned import PartitionedVariable
from conv3d.variables.variable import Variable

__all__ = ["InputSpec", "Layer"]

_KEYWORDS = ("_scope", "_reuse", "input_shape", "batch_size")

# Names given to unnamed layers so far: graph -> base name -> count.
_name_counts: weakref.WeakKeyDictionary[Any, dict[str, int]] = weakref.WeakKeyDictionary()


# Locks of layers that are being built. Kept apart from the layers, which may be copied and pickled.
_locks: weakref.WeakKeyDictionary[Any, threading.RLock] = weakref.WeakKeyDictionary()
_locks_lock = threading.Lock()


def _lock_of(layer: Any) -> threading.RLock:
    with _locks_lock:
        return _locks.setdefault(layer, threading.RLock())


def snake_case(name: str) -> str:
    """`MaxPooling3D` -> `max_pooling3d`; a leading underscore becomes `private_`."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    name = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
    return f"private{name}" if name.startswith("_") else name


def _numbered(base: str) -> str:
    """`base_1`, `base_2`, ... counted for each graph."""
    counts = _name_counts.setdefault(context.get_default_graph(), {})
    counts[base] = counts.get(base, 0) + 1
    return f"{base}_{counts[base]}"


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _convertible(value: Any) -> Any:
    """NumPy arrays and numbers as tensors, everything else as it is."""
    if isinstance(value, (np.ndarray, np.generic, float, int)):
        return convert.convert_to_tensor(value)
    return value


def _refuse_eager(what: str) -> None:
    if context.executing_eagerly():
        raise RuntimeError(f"Layer.{what} does not exist in eager mode: there is no graph")


class Layer:
    """Base of all layers. Subclasses define `build` and `call`.

    Args:
        trainable: whether the variables are listed in `GraphKeys.TRAINABLE_VARIABLES`, and in
            `trainable_variables` of the layer.
        name: name; by default that of the class, numbered.
        dtype: type of the variables; by default that of the first input.
        activity_regularizer: callable `f(output) -> loss`, called at each call.
        **kwargs: `_scope` (name or `VariableScope` of the variables), `_reuse` (share the
            variables of that scope), `input_shape` and `batch_size` (accepted, without effect).

    Raises:
        TypeError: an unknown keyword, a `dtype` that is none, or a `name` that is no string.
        ValueError: in eager mode, an `activity_regularizer`.

    Source: `tf.layers.Layer`.
    """

    def __init__(
        self,
        trainable: bool = True,
        name: Any = None,
        dtype: Any = None,
        activity_regularizer: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        for keyword in kwargs:
            if keyword not in _KEYWORDS:
                raise TypeError("Keyword argument not understood:", keyword)
        if activity_regularizer and context.executing_eagerly():
            raise ValueError(
                f"`activity_regularizer` is {activity_regularizer!r}; activity regularization does "
                "not exist in eager mode"
            )
        self._activity_regularizer = activity_regularizer
        self.trainable = trainable
        self.built = False
        self.input_spec: Any = None
        self._graph: Any = None
        self._dtype = None if dtype is None else dtypes.as_dtype(dtype).name
        self._call_takes_scope: bool | None = None
        self._trainable_weights: list[Any] = []
        self._non_trainable_weights: list[Any] = []
        # Graph mode: tensors. Eager mode: (regularizer, variable), evaluated when asked for.
        self._losses: list[Any] = []
        self._updates: list[Any] = []
        self._nodes: list[connectivity.Node] = []
        if name:
            if not isinstance(name, (str, scopes.VariableScope)):
                raise TypeError(f"`name` is {name!r}; it has to be a string or a VariableScope")
            self._name, self._base_name = name, name
        else:
            self._base_name = snake_case(type(self).__name__)
            self._name = _numbered(self._base_name)
        self._reuse = kwargs.get("_reuse")
        self._scope: scopes.VariableScope | None = None
        if kwargs.get("_scope"):
            with scopes.variable_scope(kwargs["_scope"]) as captured:
                self._scope = captured

    # --- to be defined by subclasses --------------------------------------------------------

    def build(self, input_shape: Any) -> None:
        """Makes the variables.

        Args:
            input_shape: `TensorShape` of the input, or a list of them.
        """
        self.built = True

    def call(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Computes the output. The base class returns its input."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output for an input of this shape, as a `TensorShape`."""
        raise NotImplementedError(f"{type(self).__name__} does not define compute_output_shape")

    # --- calling ----------------------------------------------------------------------------

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Applies the layer; makes its variables at the first call.

        Args:
            inputs: tensor, or a nested structure of them; NumPy arrays are converted.
            *args: passed to `call`.
            **kwargs: passed to `call`, except `scope`: name or `VariableScope` for the variables,
                which counts at the first call only.

        Returns:
            What `call` returns.

        Raises:
            ValueError: an input that the layer cannot take, tensors of another graph, or a `call`
                that returned None.
        """
        if self.built:
            return self._call_once(inputs, args, kwargs)
        # Of several threads that call an unbuilt layer, one makes the variables.
        with _lock_of(self):
            return self._call_once(inputs, args, kwargs)

    def _call_once(self, inputs: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if "scope" in kwargs and not self._wants_scope():
            self._set_scope(kwargs.pop("scope"))
        elif "scope" in kwargs:
            self._set_scope(kwargs["scope"])
        else:
            self._set_scope(None)
        if any(isinstance(x, deferred.DeferredTensor) for x in flatten(inputs)):
            return deferred.call_layer(self, inputs)
        self._check_graph(inputs)
        inputs = map_structure(_convertible, inputs)
        leaves = flatten(inputs)
        for position, leaf in enumerate(leaves):
            if not hasattr(leaf, "get_shape"):
                raise ValueError(
                    f"input {position} of layer {self._name} is {leaf!r}; a tensor, a variable or "
                    "a NumPy array is needed"
                )
        with self._open_scope() as scope, context.name_scope(scope.original_name_scope):
            if not self.built:
                self._build_for(inputs, leaves)
            # Once more: building adds to the spec, for example the number of channels.
            check_inputs(self.input_spec, leaves, self._name)
            if self._wants_scope():
                kwargs["scope"] = scope
            outputs = self.call(inputs, *args, **kwargs)
            if outputs is None:
                raise ValueError(
                    f"`call` of layer {self._name} returned None; it has to return a tensor or a "
                    "list of tensors"
                )
            if not context.executing_eagerly():
                self._after_call(inputs, outputs)
        self.built = True
        return outputs

    def apply(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The same as calling the layer."""
        return self.__call__(inputs, *args, **kwargs)

    def _wants_scope(self) -> bool:
        """Whether `call` has an argument `scope` of its own."""
        if self._call_takes_scope is None:
            self._call_takes_scope = "scope" in inspect.signature(self.call).parameters
        return self._call_takes_scope

    def _check_graph(self, inputs: Any) -> None:
        """Fixes the graph at the first call, and compares it at later ones."""
        if context.executing_eagerly():
            return
        try:
            graph = graph_of([x for x in flatten(inputs) if x is not None])
        except ValueError as e:
            raise ValueError(f"layer {self._name} was called on tensors of two graphs: {e}") from e
        # The body of a loop is a graph inside of the one that holds the variables.
        while graph is not self._graph and graph.outer_graph is not None:
            graph = graph.outer_graph
        if self._graph is None:
            self._graph = graph
        elif self._graph is not graph:
            raise ValueError(
                f"layer {self._name} belongs to another graph than the tensors it was called on; "
                "make a layer for each graph"
            )

    def _build_for(self, inputs: Any, leaves: Sequence[Any]) -> None:
        if self._activity_regularizer and context.executing_eagerly():
            raise ValueError(
                f"layer {self._name} has an `activity_regularizer`, which does not exist in eager "
                "mode"
            )
        check_inputs(self.input_spec, leaves, self._name)
        if leaves and self._dtype is None and hasattr(leaves[0], "dtype"):
            self._dtype = leaves[0].dtype.base_dtype.name
        self.build(map_structure(lambda x: x.get_shape(), inputs))

    def _after_call(self, inputs: Any, outputs: Any) -> None:
        """Graph mode: activity losses, collections, connectivity."""
        if self._activity_regularizer:
            for output in flatten(outputs):
                with context.name_scope("ActivityRegularizer"):
                    loss = self._activity_regularizer(output)
                self.add_loss(loss, inputs=inputs)
        _extend_collection(GraphKeys.UPDATE_OPS, self.updates)
        self._nodes.append(connectivity.Node(inputs, outputs))

    # --- scope ------------------------------------------------------------------------------

    def _set_scope(self, scope: Any) -> None:
        """Fixes the variable scope, unless it is fixed already."""
        if self._scope is not None:
            return
        if self._reuse:
            opened = scopes.variable_scope(self._base_name if scope is None else scope)
        elif scope is None and isinstance(self._base_name, scopes.VariableScope):
            opened = scopes.variable_scope(self._base_name)
        else:
            opened = scopes.variable_scope(scope, default_name=str(self._base_name))
        with opened as captured:
            self._scope = captured

    def _open_scope(self) -> scopes.variable_scope:
        assert self._scope is not None
        # A built layer only shares; the name scope is the original one, not a new one.
        return scopes.variable_scope(
            self._scope, reuse=self.built or self._reuse, auxiliary_name_scope=False
        )

    @property
    def scope_name(self) -> str:
        """Name of the variable scope.

        Raises:
            ValueError: the layer has not been used yet.
        """
        if self._scope is None:
            raise ValueError(
                f"layer {self._name} has no scope yet: it gets one when it is called first"
            )
        return self._scope.name

    # --- variables --------------------------------------------------------------------------

    def add_variable(
        self,
        name: str,
        shape: Any,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Callable[..., Any] | None = None,
        trainable: bool | None = None,
        constraint: Callable[..., Any] | None = None,
        partitioner: Callable[..., Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = sync.VariableSynchronization.AUTO,
        aggregation: Any = sync.VariableAggregation.NONE,
    ) -> Any:
        """Makes a variable of the layer, or returns the one that is there.

        Once the layer is built, only variables that exist are returned.

        Args:
            name: name inside of the layer's scope.
            shape: shape, fully defined.
            dtype: type; by default that of the layer, else float32.
            initializer: initializer; by default that of the scope, else Glorot uniform.
            regularizer: callable whose result becomes a loss of the layer, if the variable is new.
            trainable: whether it is trained while the layer is; None means yes, unless it is
                synchronised `ON_READ`.
            constraint: function that optimizers apply after each step.
            partitioner: cuts the variable into slices.
            use_resource: make a resource variable.
            synchronization: checked and kept.
            aggregation: checked and kept.

        Returns:
            The variable; a `PartitionedVariable` if there is a partitioner.

        Raises:
            ValueError: see `get_variable`; trainable and synchronised `ON_READ`.
            NotImplementedError: in eager mode, a partitioner.
        """
        synchronization, aggregation, wanted = sync.resolve(
            synchronization, aggregation, trainable, name
        )
        if trainable and synchronization is sync.VariableSynchronization.ON_READ:
            raise ValueError(
                f"variable {name} cannot be both trainable and synchronised ON_READ; give "
                "trainable=False"
            )
        if dtype is None:
            dtype = self._dtype or dtypes.float32
        self._set_scope(None)
        graph = None if context.executing_eagerly() else context.get_default_graph()
        before = None
        if regularizer is not None and graph is not None:
            before = set(graph.get_collection(GraphKeys.GLOBAL_VARIABLES))
        with self._open_scope() as scope, context.name_scope(scope.original_name_scope):
            variable = scopes.get_variable(
                name,
                shape=shape,
                dtype=dtypes.as_dtype(dtype),
                initializer=initializer,
                trainable=wanted and bool(self.trainable),
                constraint=constraint,
                partitioner=partitioner,
                use_resource=use_resource,
                synchronization=synchronization,
                aggregation=aggregation,
            )
            if regularizer is not None and (before is None or _is_new(variable, before)):
                self._regularize(variable, name, regularizer)
        if wanted and self.trainable and graph is not None:
            # A custom getter, or whoever made the variable, may have decided otherwise.
            wanted = _in_collection(variable, graph, GraphKeys.TRAINABLE_VARIABLES)
        listed = self._trainable_weights + self._non_trainable_weights
        if not any(known is variable for known in listed):
            (self._trainable_weights if wanted else self._non_trainable_weights).append(variable)
        return variable

    def add_weight(self, name: str, shape: Any, *args: Any, **kwargs: Any) -> Any:
        """Another name of `add_variable`."""
        return self.add_variable(name, shape, *args, **kwargs)

    def _regularize(self, variable: Any, name: str, regularizer: Callable[..., Any]) -> None:
        if context.executing_eagerly():
            self._losses.append((regularizer, variable))
            return
        parts = list(variable) if isinstance(variable, PartitionedVariable) else [variable]
        for part in parts:
            with context.name_scope(name + "/Regularizer"):
                loss = regularizer(part)
            if loss is not None:
                self.add_loss(loss)

    @property
    def trainable_weights(self) -> list[Any]:
        """Variables that are trained; `[]` if the layer is not trainable."""
        return list(self._trainable_weights) if self.trainable else []

    @property
    def non_trainable_weights(self) -> list[Any]:
        """Variables that are not trained; all of them if the layer is not trainable."""
        if self.trainable:
            return list(self._non_trainable_weights)
        return self._trainable_weights + self._non_trainable_weights

    @property
    def weights(self) -> list[Any]:
        """All variables, the trained ones first."""
        return self.trainable_weights + self.non_trainable_weights

    @property
    def trainable_variables(self) -> list[Any]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Any]:
        """The same as `non_trainable_weights`."""
        return self.non_trainable_weights

    @property
    def variables(self) -> list[Any]:
        """The same as `weights`."""
        return self.weights

    def count_params(self) -> int:
        """Number of elements of all variables.

        Raises:
            ValueError: the layer is not built.
        """
        if not self.built:
            raise ValueError(
                f"layer {self._name} is not built and has no variables to count; call it, or call "
                "`build(input_shape)`"
            )
        return sum(int(np.prod(w.get_shape().as_list(), dtype=np.int64)) for w in self.weights)

    # --- losses and updates -----------------------------------------------------------------

    @property
    def losses(self) -> list[Any]:
        """Losses in order of creation: of variables, of activities, of `add_loss`.

        In eager mode each regularizer is evaluated anew.
        """
        if context.executing_eagerly():
            values = [regularizer(variable) for regularizer, variable in self._losses]
            return [value for value in values if value is not None]
        return list(self._losses)

    def add_loss(self, losses: Any, inputs: Any = None) -> None:
        """Adds losses of the layer, also to `GraphKeys.REGULARIZATION_LOSSES`.

        Args:
            losses: tensor, or a list of tensors.
            inputs: tensors that the losses depend on; None if they depend on no input.

        Raises:
            RuntimeError: in eager mode.
            AttributeError: a loss that is no tensor.
        """
        _refuse_eager("add_loss")
        values: list[Any] = _as_list(losses)
        for loss in values:
            if not _is_graph_part(loss):
                raise AttributeError(
                    f"`losses` of layer {self._name} holds {loss!r}; tensors are needed "
                    "(tf.convert_to_tensor makes one)"
                )
            loss._unconditional_loss = inputs is None
        self._losses.extend(values)
        _extend_collection(GraphKeys.REGULARIZATION_LOSSES, values)

    def get_losses_for(self, inputs: Any) -> list[Any]:
        """Losses that depend on these inputs.

        Args:
            inputs: tensor or list of tensors; None for the losses that depend on no input.

        Raises:
            RuntimeError: in eager mode.
        """
        _refuse_eager("get_losses_for")
        if inputs is None:
            return [loss for loss in self._losses if loss._unconditional_loss]
        return connectivity.reachable(self._losses, flatten(inputs))

    @property
    def updates(self) -> list[Any]:
        """Update operations; `[]` if the layer is not trainable.

        Raises:
            RuntimeError: in eager mode.
        """
        _refuse_eager("updates")
        return list(self._updates) if self.trainable else []

    def add_update(self, updates: Any, inputs: Any = None) -> None:
        """Adds update operations, which the next call puts into `GraphKeys.UPDATE_OPS`.

        Without effect in eager mode.

        Args:
            updates: operation or tensor, or a list of them.
            inputs: tensors that the updates depend on; None if they depend on no input.
        """
        if context.executing_eagerly():
            return
        for update in _as_list(updates):
            if not isinstance(update, (Operation, Tensor)):
                update = convert.convert_to_tensor(update)
            update._unconditional_update = inputs is None
            self._updates.append(update)

    def get_updates_for(self, inputs: Any) -> list[Any]:
        """Updates that depend on these inputs.

        Args:
            inputs: tensor or list of tensors; None for the updates that depend on no input.

        Raises:
            RuntimeError: in eager mode.
        """
        _refuse_eager("get_updates_for")
        if inputs is None:
            return [update for update in self.updates if update._unconditional_update]
        return connectivity.reachable(self.updates, flatten(inputs))

    # --- connectivity -----------------------------------------------------------------------

    @property
    def input(self) -> Any:
        """Input of the one call in graph mode.

        Raises:
            AttributeError: no call, or several.
            RuntimeError: in eager mode.
        """
        _refuse_eager("input")
        return connectivity.the_only(self._nodes, "input", self._name)

    @property
    def output(self) -> Any:
        """Output of the one call in graph mode; raises as `input`."""
        _refuse_eager("output")
        return connectivity.the_only(self._nodes, "output", self._name)

    @property
    def input_shape(self) -> Any:
        """Shape of the inputs of all calls: a tuple of int or None, or a list of such tuples.

        Raises:
            AttributeError: no call, or calls on different shapes.
            RuntimeError: in eager mode.
        """
        _refuse_eager("input_shape")
        return connectivity.the_same(self._nodes, "input", self._name)

    @property
    def output_shape(self) -> Any:
        """Shape of the outputs of all calls; raises as `input_shape`."""
        _refuse_eager("output_shape")
        return connectivity.the_same(self._nodes, "output", self._name)

    def get_input_at(self, node_index: int) -> Any:
        """Input of one call.

        Args:
            node_index: number of the call, from 0; negative ones count from the last.

        Raises:
            ValueError: there was no such call.
            RuntimeError: there was no call at all, or in eager mode.
        """
        _refuse_eager("get_input_at")
        return connectivity.at(self._nodes, node_index, "input", self._name).inputs

    def get_output_at(self, node_index: int) -> Any:
        """Output of one call; see `get_input_at`."""
        _refuse_eager("get_output_at")
        return connectivity.at(self._nodes, node_index, "output", self._name).outputs

    def get_input_shape_at(self, node_index: int) -> Any:
        """Shape of the input of one call; see `get_input_at`."""
        _refuse_eager("get_input_shape_at")
        return connectivity.at(self._nodes, node_index, "input shape", self._name).input_shape

    def get_output_shape_at(self, node_index: int) -> Any:
        """Shape of the output of one call; see `get_input_at`."""
        _refuse_eager("get_output_shape_at")
        return connectivity.at(self._nodes, node_index, "output shape", self._name).output_shape

    @property
    def inbound_nodes(self) -> list[connectivity.Node]:
        """One node for each call that was recorded."""
        return self._nodes

    @property
    def outbound_nodes(self) -> list[connectivity.Node]:
        """Empty: what is done with an output is not recorded here."""
        return []

    # --- other attributes -------------------------------------------------------------------

    @property
    def name(self) -> Any:
        """Name, fixed when the layer was made; need not be unique."""
        return self._name

    @property
    def dtype(self) -> str | None:
        """Name of the type of the variables; None until the first call decides."""
        return self._dtype

    @property
    def graph(self) -> Any:
        """Graph of the layer; None until the first call.

        Raises:
            RuntimeError: in eager mode.
        """
        _refuse_eager("graph")
        return self._graph

    @property
    def activity_regularizer(self) -> Callable[..., Any] | None:
        """As given."""
        return self._activity_regularizer

    def __deepcopy__(self, memo: dict[int, Any]) -> Layer:
        """An independent layer of the same name and settings.

        Raises:
            TypeError: the layer has variables in a graph, which cannot be copied.
        """
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for key, value in self.__dict__.items():
            if key == "_graph":
                twin.__dict__[key] = value
            elif key in ("_scope", "_nodes") or _holds_graph_parts(value):
                twin.__dict__[key] = copy.copy(value)
            else:
                twin.__dict__[key] = copy.deepcopy(value, memo)
        return twin


def _is_graph_part(value: Any) -> bool:
    return isinstance(value, (Tensor, Variable, Operation))


def _holds_graph_parts(value: Any) -> bool:
    """Whether `value` is a tensor, an operation, or a list of them: shared, never copied."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(v, (Tensor, Operation)) for v in value)
    return isinstance(value, (Tensor, Operation))


def _parts(variable: Any) -> list[Any]:
    return list(variable) if isinstance(variable, PartitionedVariable) else [variable]


def _is_new(variable: Any, before: set[Any]) -> bool:
    return not any(part in before for part in _parts(variable))


def _in_collection(variable: Any, graph: Any, key: str) -> bool:
    members = graph.get_collection_ref(key)
    return all(any(part is member for member in members) for part in _parts(variable))


def _extend_collection(key: str, values: Sequence[Any]) -> None:
    """Adds to a collection of the default graph what is not in it yet."""
    members = context.get_default_graph().get_collection_ref(key)
    known = set(map(id, members))
    for value in values:
        if id(value) not in known:
            known.add(id(value))
            members.append(value)
