"""Where an op call goes: the default graph or eager execution. Stacks are kept per thread.

Eager mode is switched on for the whole program, once, before any graph is used. A graph opened by
`with Graph().as_default()` takes precedence over eager mode inside its block.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any


class _Program:
    """What all threads of the program share."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.eager = False
        self.graph: Any = None
        # Set by graph.py: this file stands below it.
        self.new_graph: Callable[[], Any] = _no_graph
        self.eager_seed: int | None = None
        self.eager_seed_stream: random.Random | None = None


class _Stacks(threading.local):
    """What belongs to one thread."""

    def __init__(self) -> None:
        self.graphs: list[Any] = []  # an entry None means: eager again, see init_scope
        self.sessions: list[Any] = []
        self.tapes: list[Any] = []
        self.eager_scope = ""


def _no_graph() -> Any:
    raise RuntimeError("conv3d.framework.graph has not been imported.")


program = _Program()
stacks = _Stacks()


def executing_eagerly() -> bool:
    """True if ops called now compute at once instead of adding nodes to a graph."""
    if not program.eager:
        return False
    return not stacks.graphs or stacks.graphs[-1] is None


def enable_eager_execution(
    config: Any = None, device_policy: Any = None, execution_mode: Any = None
) -> None:
    """Switches the program to eager execution. Call it first thing.

    Args:
        config: a `ConfigProto`, accepted and ignored.
        device_policy: accepted and ignored.
        execution_mode: accepted and ignored; ops always run at once.

    Raises:
        ValueError: a graph has been used already.
    """
    if program.eager:
        return
    used = program.graph is not None and program.graph.version > 0
    if used or stacks.graphs:
        raise ValueError(
            "enable_eager_execution() must be called at the start of the program, before any "
            "graph is built."
        )
    program.eager = True


def get_default_graph() -> Any:
    """The graph that ops are added to in this thread."""
    for graph in reversed(stacks.graphs):
        if graph is not None:
            return graph
    if program.graph is None:
        with program.lock:
            if program.graph is None:
                program.graph = program.new_graph()
    return program.graph


def reset_default_graph() -> None:
    """Replaces the program's default graph by an empty one.

    Raises:
        AssertionError: called inside a `with graph.as_default()` block.
    """
    if stacks.graphs:
        raise AssertionError(
            "reset_default_graph() does not work inside `with graph.as_default()`; leave the "
            "block first, or make a new Graph."
        )
    with program.lock:
        program.graph = program.new_graph()


def has_default_graph() -> bool:
    """True if this thread is inside a `with graph.as_default()` block."""
    return bool(stacks.graphs)


@contextlib.contextmanager
def graph_scope(graph: Any) -> Iterator[Any]:
    """Makes `graph` this thread's default; None means eager execution."""
    stacks.graphs.append(graph)
    try:
        yield graph
    finally:
        popped = stacks.graphs.pop()
        assert popped is graph, "graphs left in another order than entered"


@contextlib.contextmanager
def init_scope() -> Iterator[None]:
    """Lifts ops out of control dependencies, control flow and recorded tapes: for initial values.

    Source: `tf.init_scope`.
    """
    if executing_eagerly():
        with stop_recording():
            yield
        return
    graph = get_default_graph()
    scope = graph.get_name_scope()
    while graph.outer_graph is not None:
        graph = graph.outer_graph
    with graph_scope(graph), graph.control_dependencies(None), stop_recording():
        with graph.name_scope(scope + "/" if scope else ""):
            yield


@contextlib.contextmanager
def stop_recording() -> Iterator[None]:
    """Ops called inside are recorded by no tape of this thread."""
    saved, stacks.tapes = stacks.tapes, []
    try:
        yield
    finally:
        stacks.tapes = saved


class name_scope:
    """Prefixes the names of ops created inside with a scope; yields the prefix, `'scope/'`.

    Args:
        name: the scope; `'scope/'` with the slash opens exactly that scope again; None takes
            `default_name`.
        default_name: the scope if `name` is None.
        values: tensors whose graph becomes the default; all must be of one graph.

    Raises:
        TypeError: `default_name` is no string.
        ValueError: neither name is given although `values` are; the name has characters that
            names may not have; the values are of different graphs.

    Source: `tf.name_scope`.
    """

    def __init__(self, name: str | None, default_name: str | None = None, values: Any = None):
        if default_name is not None and not isinstance(default_name, str):
            raise TypeError(
                f"default_name must be a string, not {default_name!r}; tensors go to values=."
            )
        self._name = default_name if name is None else name
        self._values = values
        if self._name is None and values is not None:
            raise ValueError("name_scope() with values needs a name or a default_name.")
        self._exit: contextlib.ExitStack | None = None

    @property
    def name(self) -> str | None:
        return self._name

    def __enter__(self) -> str:
        with contextlib.ExitStack() as stack:
            if executing_eagerly():
                scope = stack.enter_context(_eager_name_scope(self._name))
            else:
                from conv3d.framework import graph as graph_lib

                graph = graph_lib.graph_of(self._values or ())
                stack.enter_context(graph_scope(graph))
                scope = stack.enter_context(graph.name_scope(self._name))
            self._exit = stack.pop_all()
        return scope

    def __exit__(self, *exc_info: Any) -> None:
        assert self._exit is not None
        self._exit.__exit__(*exc_info)


@contextlib.contextmanager
def _eager_name_scope(name: str | None) -> Iterator[str]:
    saved = stacks.eager_scope
    if not name:
        scope = ""
    elif name.endswith("/"):
        scope = name
    else:
        scope = f"{saved}{name}/"
    stacks.eager_scope = scope
    try:
        yield scope
    finally:
        stacks.eager_scope = saved


def current_name_scope() -> str:
    """The prefix of names now, without the last slash."""
    if executing_eagerly():
        return stacks.eager_scope.rstrip("/")
    return get_default_graph().get_name_scope()


def control_dependencies(control_inputs: Any) -> Any:
    """Ops created inside run after `control_inputs`. None forgets the surrounding ones.

    In eager mode the order of the program is the order of execution, and callables among the
    inputs are called.
    """
    if executing_eagerly():
        for item in control_inputs or ():
            if callable(item) and not hasattr(item, "dtype"):
                item()
        return contextlib.nullcontext()
    return get_default_graph().control_dependencies(control_inputs)


def device(device_name_or_function: Any) -> Any:
    """Accepted and without effect: everything runs on the CPU."""
    if executing_eagerly():
        return contextlib.nullcontext()
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Any, ignore_existing: bool = False) -> Any:
    """Accepted and without effect: everything runs on the CPU."""
    return contextlib.nullcontext()


__all__ = [
    "colocate_with",
    "control_dependencies",
    "device",
    "enable_eager_execution",
    "executing_eagerly",
    "get_default_graph",
    "init_scope",
    "name_scope",
    "reset_default_graph",
]
