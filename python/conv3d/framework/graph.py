"""Graphs and their nodes: names and name scopes, control dependencies, collections, look-up.

A graph only grows. Nodes are numbered in order of creation, so a node's inputs always have smaller
numbers than the node itself.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from conv3d.framework import context, dtypes, registry, tensor_shape
from conv3d.framework.graph_keys import GraphKeys
from conv3d.framework.tensor import EagerTensor, Tensor

_OP_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/-]*$")
_SCOPE_NAME = re.compile(r"^[A-Za-z0-9_.\\/-]*$")


class Operation:
    """A node of a graph. Made by `Graph.create_op`, never directly."""

    def __init__(
        self,
        graph: Graph,
        op_def: registry.OpDef,
        name: str,
        inputs: Sequence[Tensor],
        control_inputs: Sequence[Operation],
        attrs: dict[str, Any],
        outputs: Sequence[tuple[dtypes.DType, tensor_shape.TensorShape]],
        op_id: int,
    ):
        self.graph = graph
        self.name = name
        self._def = op_def
        self._inputs = tuple(inputs)
        self._control_inputs = list(control_inputs)
        self._attrs = attrs
        self._id = op_id
        self._control_flow_context: Any = None
        self._device = ""
        self.outputs = [Tensor(self, i, dtype, shape) for i, (dtype, shape) in enumerate(outputs)]
        for tensor in dict.fromkeys(self._inputs):
            tensor._consumers.append(self)

    @property
    def type(self) -> str:
        """The op type, e.g. "Conv3D"."""
        return self._def.name

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._inputs

    @property
    def control_inputs(self) -> list[Operation]:
        """Operations that run before this one without giving it data."""
        return list(self._control_inputs)

    @property
    def device(self) -> str:
        return self._device

    @property
    def op_def(self) -> registry.OpDef:
        return self._def

    @property
    def node_def(self) -> Any:
        """Name, type, input names and attributes, in the manner of a NodeDef."""
        names = [t.name.removesuffix(":0") for t in self._inputs]
        names += ["^" + op.name for op in self._control_inputs]
        return SimpleNamespace(
            name=self.name, op=self.type, input=names, attr=dict(self._attrs), device=self._device
        )

    def get_attr(self, name: str) -> Any:
        """The attribute `name`; "T" is the type of the first input unless set otherwise.

        Raises:
            ValueError: there is no such attribute.
        """
        if name in self._attrs:
            return self._attrs[name]
        if name == "T" and (self._inputs or self.outputs):
            return (self._inputs or self.outputs)[0].dtype.base_dtype
        raise ValueError(f"Operation {self.name!r} ({self.type}) has no attribute {name!r}.")

    def values(self) -> tuple[Tensor, ...]:
        """The outputs."""
        return tuple(self.outputs)

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Runs the operation in `session` or the default session."""
        from conv3d.framework import session as session_lib

        session_lib.run_in_default_session(self, feed_dict, self.graph, session, "run()")

    def colocation_groups(self) -> list[bytes]:
        return [b"loc:@" + self.name.encode()]

    def _add_control_input(self, op: Operation) -> None:
        self._add_control_inputs([op])

    def _add_control_inputs(self, ops: Iterable[Operation]) -> None:
        with self.graph._lock:
            self.graph._check_not_finalized()
            for op in ops:
                if op.graph is not self.graph:
                    raise ValueError(f"Control input {op.name!r} is of another graph.")
                if op not in self._control_inputs:
                    self._control_inputs.append(op)
            # Plans made by sessions before are out of date.
            self.graph._rewirings += 1

    def __str__(self) -> str:
        return (
            f"name: {self.name!r}\nop: {self.type!r}\n"
            f"input: {[t.name for t in self._inputs]}\nattr: {self._attrs}"
        )

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.type}>"


class _Builder(threading.local):
    """Where one thread stands while it builds a graph."""

    def __init__(self) -> None:
        self.scope = ""
        self.control: list[tuple[Operation, ...]] = [()]
        self.control_flow: Any = None


class Graph:
    """A set of operations and collections. Any number of threads may read and extend it.

    Source: `tf.Graph`.
    """

    #: The graph around this one, for the body of a loop.
    outer_graph: Graph | None = None

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ops: dict[str, Operation] = {}
        # Ops that stand here spelled out in smaller ones (framework/composite.py).
        self._composites: list[Any] = []
        self._names: dict[str, int] = {}
        self._collections: dict[Any, list[Any]] = {}
        self._build = _Builder()
        self._finalized = False
        self._rewirings = 0
        self._last_id = 0
        self._seed: int | None = None

    # --- nodes -----------------------------------------------------------------------------

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        attrs: dict[str, Any] | None = None,
        name: str | None = None,
    ) -> Operation:
        """Adds a node.

        Args:
            op_type: a name in the registry.
            inputs: tensors of this graph.
            attrs: attributes, checked by the op's shape rule.
            name: the node's name in the current scope, made unique; a name that ends in "/" is
                taken as it is. Default: `op_type`.

        Raises:
            RuntimeError: the graph is finalized.
            ValueError: a name with illegal characters, an input of another graph, or shapes
                that do not fit.
            TypeError: dtypes that do not fit.
        """
        op_def = registry.get(op_type)
        attrs = {} if attrs is None else attrs
        with self._lock:
            self._check_not_finalized()
            inputs = [self._enter(tensor) for tensor in inputs]
            name = op_type if name is None else name
            name = name[:-1] if name.endswith("/") else self.unique_name(name)
            if not _OP_NAME.match(name):
                raise ValueError(
                    f"{name!r} is not a valid name of an operation: it starts with a letter, a "
                    "digit or a dot, and goes on with these, '_', '-', '/' and '\\'."
                )
            control = [op for group in self._build.control for op in group]
            flow = self._build.control_flow
            if flow is not None:
                inputs, control = flow.enter_op(name, inputs, control)
            try:
                outputs = op_def.infer(attrs, inputs)
            except (TypeError, ValueError) as e:
                shapes = ", ".join(f"{t.dtype.name}{t.shape}" for t in inputs)
                raise type(e)(f"{name!r} (op {op_type}, inputs {shapes}): {e}") from e
            if not op_def.stateful:
                outputs = [(dtype.base_dtype, shape) for dtype, shape in outputs]
            self._last_id += 1
            op = Operation(
                self,
                op_def,
                name,
                inputs,
                list(dict.fromkeys(control)),
                attrs,
                outputs,
                self._last_id,
            )
            op._control_flow_context = flow
            self._ops[name] = op
            return op

    def _enter(self, tensor: Tensor) -> Tensor:
        """The tensor that stands for `tensor` in this graph."""
        if tensor.graph is not self:
            raise ValueError(f"{tensor} is of another graph than the operation that takes it.")
        return tensor

    def get_operations(self) -> list[Operation]:
        """All operations in order of creation."""
        with self._lock:
            return list(self._ops.values())

    def as_graph_def(self, from_version: int | None = None, add_shapes: bool = False) -> Any:
        """The operations as plain nodes: an object with `node`, a list of `node_def`s.

        Args:
            from_version: only operations added since the graph had this `version`.
            add_shapes: accepted and ignored.
        """
        first = 0 if from_version is None else from_version
        nodes = [op.node_def for op in self.get_operations() if op._id > first]
        return SimpleNamespace(node=nodes)

    @property
    def version(self) -> int:
        """Grows with every operation."""
        return self._last_id

    def finalize(self) -> None:
        """Makes the graph read-only."""
        self._finalized = True

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    @property
    def finalized(self) -> bool:
        return self._finalized

    def _check_not_finalized(self) -> None:
        if self._finalized:
            raise RuntimeError("The graph is finalized and cannot be modified.")

    @property
    def seed(self) -> int | None:
        """The graph-level random seed, set by `tf.set_random_seed`."""
        return self._seed

    @seed.setter
    def seed(self, value: int | None) -> None:
        self._seed = value

    @property
    def building_function(self) -> bool:
        return self.outer_graph is not None

    def as_default(self) -> Any:
        """A context manager that makes this graph the default of the thread."""
        return context.graph_scope(self)

    # --- names -----------------------------------------------------------------------------

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """`name` in the current scope, with `_1`, `_2`, ... appended if it is taken."""
        with self._lock:
            full = f"{self._build.scope}/{name}" if self._build.scope else name
            count = self._names.get(full, 0)
            if mark_as_used:
                self._names[full] = count + 1
            if count == 0:
                return full
            candidate = full
            while candidate in self._names:
                candidate = f"{full}_{count}"
                count += 1
            if mark_as_used:
                # The next request for `full` starts its search where this one ended.
                self._names[full] = count
                self._names[candidate] = 1
            return candidate

    def get_name_scope(self) -> str:
        """The current name scope without a last slash."""
        return self._build.scope

    @contextlib.contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Opens a scope; yields its prefix. See `tf.name_scope`.

        Raises:
            ValueError: the name has characters that a name may not have.
        """
        saved = self._build.scope
        if name:
            pattern = _SCOPE_NAME if saved else _OP_NAME
            if not pattern.match(name):
                raise ValueError(
                    f"{name!r} is not a valid scope name: letters, digits, '.', '_', '-', '/' and "
                    "'\\' are allowed, and at top level a letter, a digit or '.' comes first."
                )
        if not name:
            scope = ""
        elif name.endswith("/"):
            scope = name[:-1]
        else:
            scope = self.unique_name(name)
        self._build.scope = scope
        try:
            yield scope + "/" if scope else ""
        finally:
            self._build.scope = saved

    # --- order and placement ------------------------------------------------------------------

    @contextlib.contextmanager
    def control_dependencies(self, control_inputs: Any) -> Iterator[None]:
        """Operations created inside run after `control_inputs`.

        Args:
            control_inputs: operations, tensors or variables; None forgets the surrounding blocks
                and any surrounding control flow.

        Raises:
            TypeError: `control_inputs` is no list or holds something else.
            ValueError: an element is of another graph.
        """
        build = self._build
        saved, saved_flow = build.control, build.control_flow
        if control_inputs is None:
            build.control, build.control_flow = [()], None
        else:
            if isinstance(control_inputs, (Tensor, Operation, str)):
                raise TypeError(
                    f"control_inputs must be a list of operations or tensors, not {control_inputs}."
                )
            ops = []
            for item in control_inputs:
                element = self.as_graph_element(item)
                op = element.op if isinstance(element, Tensor) else element
                if build.control_flow is not None:
                    op = build.control_flow.enter_control(op)
                ops.append(op)
            build.control = [*saved, tuple(dict.fromkeys(ops))]
        try:
            yield
        finally:
            build.control, build.control_flow = saved, saved_flow

    @contextlib.contextmanager
    def _control_flow(self, flow: Any) -> Iterator[None]:
        """Ops created inside belong to `flow`, a branch of a conditional."""
        saved = self._build.control_flow
        self._build.control_flow = flow
        try:
            yield
        finally:
            self._build.control_flow = saved

    def _get_control_flow_context(self) -> Any:
        return self._build.control_flow

    @contextlib.contextmanager
    def device(self, device_name_or_function: Any) -> Iterator[None]:
        """Accepted and without effect: everything runs on the CPU."""
        yield

    @contextlib.contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Accepted and without effect: everything runs on the CPU."""
        yield

    # --- look-up -----------------------------------------------------------------------------

    def as_graph_element(
        self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True
    ) -> Any:
        """The tensor or operation that `obj` is, names, or stands for.

        Raises:
            TypeError: `obj` is of a kind that names no graph element, or of the kind not wanted.
            ValueError: a malformed name, or an element of another graph.
            KeyError: a name that is not in the graph.
        """
        wanted = " or ".join(
            word for word, ok in (("Tensor", allow_tensor), ("Operation", allow_operation)) if ok
        )
        convert = getattr(obj, "_as_graph_element", None)
        if convert is not None:
            obj = convert()
        if isinstance(obj, str):
            return self._by_name(obj, allow_tensor, allow_operation, wanted)
        if isinstance(obj, EagerTensor):
            raise TypeError(f"An eager tensor cannot be used as a {wanted} of a graph.")
        allowed = (Tensor,) * allow_tensor + (Operation,) * allow_operation
        if not isinstance(obj, allowed):
            raise TypeError(f"Cannot convert a {type(obj).__name__} into a {wanted}.")
        if obj.graph is not self:
            raise ValueError(f"{obj} is not an element of this graph.")
        return obj

    def _by_name(self, name: str, allow_tensor: bool, allow_op: bool, wanted: str) -> Any:
        op_name, colon, index = name.partition(":")
        if colon and allow_tensor:
            if not index.isdigit() or not op_name:
                raise ValueError(
                    f"{name!r} looks like the name of a tensor but is not: the form is 'op:index'."
                )
            op = self._ops.get(op_name)
            if op is None:
                raise KeyError(f"There is no tensor {name!r}: no operation {op_name!r} either.")
            if int(index) >= len(op.outputs):
                raise KeyError(
                    f"There is no tensor {name!r}: operation {op_name!r} has "
                    f"{len(op.outputs)} outputs."
                )
            return op.outputs[int(index)]
        if not colon and allow_op:
            if name not in self._ops:
                raise KeyError(f"There is no operation {name!r} in the graph.")
            return self._ops[name]
        if colon:
            raise ValueError(f"{name!r} names a tensor; wanted is a {wanted}.")
        raise ValueError(f"{name!r} names no tensor: the form is 'op:index', as in '{name}:0'.")

    def get_operation_by_name(self, name: str) -> Operation:
        """Raises TypeError, ValueError or KeyError as `as_graph_element` does."""
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}.")
        return self.as_graph_element(name, allow_tensor=False, allow_operation=True)

    def get_tensor_by_name(self, name: str) -> Tensor:
        """Raises TypeError, ValueError or KeyError as `as_graph_element` does."""
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}.")
        return self.as_graph_element(name, allow_tensor=True, allow_operation=False)

    def is_feedable(self, tensor: Tensor) -> bool:
        """True: any tensor may be fed."""
        return True

    def is_fetchable(self, tensor_or_op: Any) -> bool:
        """True: anything may be fetched."""
        return True

    # --- collections ---------------------------------------------------------------------------

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Appends to a collection. Raises RuntimeError if the graph is finalized."""
        self._check_not_finalized()
        with self._lock:
            self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Appends to each collection of `names` (a name or several), once."""
        names = (names,) if isinstance(names, str) else dict.fromkeys(names)
        for name in names:
            self.add_to_collection(name, value)

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of a collection; `[]` if there is none.

        Args:
            name: the collection.
            scope: a regular expression that an element's name must match at its start; elements
                without a name are left out then.
        """
        with self._lock:
            items = list(self._collections.get(name, ()))
        if scope is None:
            return items
        pattern = re.compile(scope)
        return [x for x in items if hasattr(x, "name") and pattern.match(x.name)]

    def get_collection_ref(self, name: Any) -> list[Any]:
        """The collection itself, made if it is not there: changes of the list are kept."""
        with self._lock:
            return self._collections.setdefault(name, [])

    def get_all_collection_keys(self) -> list[Any]:
        """Names of all collections that are not internal."""
        with self._lock:
            return [k for k in self._collections if not str(k).startswith("__")]

    def clear_collection(self, name: Any) -> None:
        """Removes a collection."""
        self._check_not_finalized()
        with self._lock:
            self._collections.pop(name, None)

    @property
    def collections(self) -> list[Any]:
        return self.get_all_collection_keys()


context.program.new_graph = Graph


def graph_of(values: Iterable[Any]) -> Graph:
    """The graph of `values`, or the default graph if none is a graph element.

    Raises:
        ValueError: two values are of different graphs.
    """
    first = None
    for value in values:
        if isinstance(value, (list, tuple)):
            value = value[0] if value else None
        convert = getattr(value, "_as_graph_element", None)
        if convert is not None:
            value = convert()
        if not isinstance(value, (Tensor, Operation)) or isinstance(value, EagerTensor):
            continue
        if first is None:
            first = value
        elif value.graph is not first.graph and not _inside(first.graph, value.graph):
            if not _inside(value.graph, first.graph):
                raise ValueError(f"{value} must be from the same graph as {first}.")
            first = value
    if first is None:
        return context.get_default_graph()
    default = context.get_default_graph()
    # Inside the body of a loop, tensors of the graphs around it are captured.
    return default if _inside(default, first.graph) else first.graph


def _inside(inner: Graph, outer: Graph) -> bool:
    """True if `inner` is the body of a loop in `outer`, at any depth."""
    walk: Graph | None = inner
    while walk is not None:
        if walk is outer:
            return True
        walk = walk.outer_graph
    return False


def add_to_collection(name: Any, value: Any) -> None:
    """`Graph.add_to_collection` of the default graph."""
    context.get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """`Graph.add_to_collections` of the default graph."""
    context.get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """`Graph.get_collection` of the default graph."""
    return context.get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """`Graph.get_collection_ref` of the default graph."""
    return context.get_default_graph().get_collection_ref(key)


__all__ = [
    "EagerTensor",
    "Graph",
    "GraphKeys",
    "Operation",
    "Tensor",
    "add_to_collection",
    "add_to_collections",
    "get_collection",
    "get_collection_ref",
]
