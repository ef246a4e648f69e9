"""Sessions: fetches and feeds around plans, and the state of variables.

Source: `tf.Session`, `tf.InteractiveSession`. A session may be run by many threads at once.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import context, convert, dtypes, state
from conv3d.framework.graph import Graph
from conv3d.framework.indexed_slices import IndexedSlices, IndexedSlicesValue
from conv3d.framework.plan import Plan
from conv3d.framework.tensor import Tensor


class BaseSession:
    """What both kinds of sessions do."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None):
        if not isinstance(target, (str, bytes)):
            raise TypeError(f"target must be a string, not {target!r}.")
        if target:
            raise ValueError(f"target must be '': there are no other machines, so no {target!r}.")
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(f"graph must be a tf.Graph, not {graph!r}.")
        if config is not None and not hasattr(config, "intra_op_parallelism_threads"):
            raise TypeError(f"config must be a tf.ConfigProto, not {config!r}.")
        threads = 0 if config is None else config.intra_op_parallelism_threads
        if threads > 0:
            engine.set_num_threads(threads)
        self._explicit_graph = graph is not None
        self._graph = context.get_default_graph() if graph is None else graph
        self._config = config
        self._store = state.Store()
        self._plans: dict[Any, Plan] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def graph(self) -> Graph:
        return self._graph

    @property
    def graph_def(self) -> Any:
        return self._graph.as_graph_def()

    @property
    def sess_str(self) -> str:
        return ""

    def close(self) -> None:
        """Frees the variables and plans. The session cannot be used afterwards."""
        self._closed = True
        self._plans = {}
        self._store = state.Store()

    def as_default(self) -> Any:
        """A context manager that makes this the default session of the thread."""
        return _default_session(self)

    # --- run -----------------------------------------------------------------------------------

    def run(
        self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None
    ) -> Any:
        """Computes `fetches` and returns their values in the same structure.

        Args:
            fetches: a tensor, operation, variable or a name of one, or a list, tuple, namedtuple
                or dict of fetches, nested as you like. Operations give None.
            feed_dict: values for tensors (or names of tensors); any tensor may be fed.
            options: accepted and ignored.
            run_metadata: accepted and ignored.

        Raises:
            RuntimeError: the session is closed, the graph is empty, or eager mode is on.
            ValueError: a fetch that is not in the graph; a fed value of another shape.
            TypeError: fetches or keys of feeds of a wrong kind; a fed value of another kind.
            OpError: an operation failed: `InvalidArgumentError`, `FailedPreconditionError`, ...
        """
        self._check_usable()
        flat: list[Any] = []
        rebuild = _flatten(fetches, self._graph, flat)
        feeds, values = self._feeds(feed_dict)
        results = self._execute(tuple(flat), feeds, values)
        return rebuild(iter(results))

    def make_callable(
        self, fetches: Any, feed_list: Any = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function that runs `fetches` with the values of `feed_list` as its arguments.

        Faster than `run` where the same fetches are run many times.
        """
        self._check_usable()
        flat: list[Any] = []
        rebuild = _flatten(fetches, self._graph, flat)
        feeds = tuple(self._feed_key(key) for key in feed_list or ())
        key = tuple(flat)

        def call(*args: Any, options: Any = None, run_metadata: Any = None) -> Any:
            self._check_usable()
            if len(args) != len(feeds):
                raise TypeError(f"The callable takes {len(feeds)} values, {len(args)} were given.")
            values = [_feed_value(t, v) for t, v in zip(feeds, args, strict=False)]
            return rebuild(iter(self._execute(key, feeds, values)))

        return call

    def _check_usable(self) -> None:
        if self._closed:
            raise RuntimeError("The session is closed.")
        if context.executing_eagerly() and not self._explicit_graph:
            raise RuntimeError(
                "Session.run does not work in eager execution; ops have computed their values "
                "already. A Session(graph=...) of a graph of its own does work."
            )
        if self._graph.version == 0:
            raise RuntimeError("The session's graph is empty; add operations before run().")

    def _feed_key(self, key: Any) -> Tensor:
        try:
            return self._graph.as_graph_element(key, allow_operation=False)
        except (KeyError, TypeError, ValueError) as e:
            reason = e.args[0] if e.args else e
            raise TypeError(f"feed_dict: {key!r} is no tensor that can be fed: {reason}") from e

    def _feeds(self, feed_dict: Any) -> tuple[tuple[Tensor, ...], list[np.ndarray]]:
        if not feed_dict:
            if feed_dict is not None and not isinstance(feed_dict, dict):
                raise TypeError(f"feed_dict must be a dictionary, not {feed_dict!r}.")
            return (), []
        if not hasattr(feed_dict, "items"):
            raise TypeError(f"feed_dict must be a dictionary, not {type(feed_dict).__name__}.")
        given: dict[Tensor, np.ndarray] = {}
        for key, value in feed_dict.items():
            if isinstance(key, (list, tuple)):
                if not isinstance(value, (list, tuple)) or len(key) != len(value):
                    raise ValueError("feed_dict: a tuple of tensors needs a tuple of values.")
                pairs = list(zip(key, value, strict=False))
            else:
                pairs = [(key, value)]
            for k, v in pairs:
                tensor = self._feed_key(k)
                if tensor in given:
                    raise ValueError(f"feed_dict: {tensor.name} is fed twice.")
                given[tensor] = _feed_value(tensor, v)
        # One order for all runs with the same feeds, or each would have a plan of its own.
        feeds = tuple(sorted(given, key=lambda t: (t.op._id, t.value_index)))
        return feeds, [given[t] for t in feeds]

    def _execute(
        self, elements: tuple[Any, ...], feeds: tuple[Tensor, ...], values: list[np.ndarray]
    ) -> list[Any]:
        graph = self._graph
        key = (elements, feeds, graph._rewirings)
        plan = self._plans.get(key)
        if plan is None:
            tensors = [e for e in elements if isinstance(e, Tensor)]
            targets = [e for e in elements if not isinstance(e, Tensor)]
            with self._lock:
                plan = Plan(self._store, self, tensors, targets, feeds)
                self._plans[key] = plan
        computed = iter(_private(plan.run(values), values))
        return [next(computed) if isinstance(e, Tensor) else None for e in elements]

    def partial_run_setup(self, fetches: Any, feeds: Any = None) -> None:
        """Not offered. Raises NotImplementedError."""
        raise NotImplementedError("partial_run is not offered; use run().")

    def partial_run(self, handle: Any, fetches: Any, feed_dict: Any = None) -> None:
        """Not offered. Raises NotImplementedError."""
        raise NotImplementedError("partial_run is not offered; use run().")

    def list_devices(self) -> list[str]:
        """The only device."""
        return ["/job:localhost/replica:0/task:0/device:CPU:0"]


class Session(BaseSession):
    """Runs operations of a graph and holds the values of its variables.

    Args:
        target: must be "".
        graph: the graph; default: the default graph.
        config: a `ConfigProto`.

    As a context manager it becomes the default session, its graph becomes the default graph, and
    it is closed in the end. Source: `tf.Session`.
    """

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None):
        super().__init__(target, graph, config)
        self._entered: list[contextlib.ExitStack] = []

    def __enter__(self) -> Session:
        stack = contextlib.ExitStack()
        stack.enter_context(context.graph_scope(self._graph))
        stack.enter_context(self.as_default())
        self._entered.append(stack)
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._entered.pop().close()
        if not self._entered:
            self.close()

    @staticmethod
    def reset(target: str, containers: Any = None, config: Any = None) -> None:
        """Does nothing: sessions share no state."""


class InteractiveSession(BaseSession):
    """A session that makes itself the default one when it is made. Source: the same name."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None):
        super().__init__(target, graph, config)
        self._stack = contextlib.ExitStack()
        if graph is not None:
            self._stack.enter_context(context.graph_scope(graph))
        context.stacks.sessions.append(self)

    def close(self) -> None:
        """Frees the variables and gives the place of default session back."""
        super().close()
        if self in context.stacks.sessions:
            context.stacks.sessions.remove(self)
        self._stack.close()


@contextlib.contextmanager
def _default_session(session: BaseSession) -> Iterator[BaseSession]:
    context.stacks.sessions.append(session)
    try:
        yield session
    finally:
        context.stacks.sessions.remove(session)


def get_default_session() -> BaseSession | None:
    """The innermost default session of this thread, or None."""
    return context.stacks.sessions[-1] if context.stacks.sessions else None


def run_in_default_session(
    fetch: Any, feed_dict: Any, graph: Graph, session: BaseSession | None, what: str
) -> Any:
    """Runs `fetch` in `session` or the default session.

    Raises:
        ValueError: there is no session, or it is one of another graph.
    """
    if session is None:
        session = get_default_session()
        if session is None:
            raise ValueError(
                f"{what} needs a session: none is the default. Use `with session.as_default()` or "
                "pass session=."
            )
    if session.graph is not graph:
        raise ValueError(f"{what}: the session given or default runs another graph.")
    return session.run(fetch, feed_dict)


# Fetches.


def _flatten(fetches: Any, graph: Graph, flat: list[Any]) -> Callable[..., Any]:
    """Appends the graph elements of `fetches` to `flat`; returns what rebuilds the structure."""
    if isinstance(fetches, (list, tuple)):
        parts = [_flatten(f, graph, flat) for f in fetches]
        if hasattr(fetches, "_fields"):
            return lambda values: type(fetches)(*[part(values) for part in parts])
        if isinstance(fetches, tuple):
            return lambda values: tuple([part(values) for part in parts])
        return lambda values: [part(values) for part in parts]
    if isinstance(fetches, dict):
        keyed = [(key, _flatten(f, graph, flat)) for key, f in fetches.items()]
        make = type(fetches) if type(fetches) is not dict else dict
        return lambda values: make([(key, part(values)) for key, part in keyed])
    if isinstance(fetches, IndexedSlices):
        slices = (fetches.values, fetches.indices, fetches.dense_shape)
        three = [_flatten(part, graph, flat) for part in slices if part is not None]
        return lambda values: IndexedSlicesValue(
            *[part(values) for part in three], *[None][: 3 - len(three)]
        )
    if not (isinstance(fetches, Tensor) and fetches.op.graph is graph):
        fetches = _fetch(fetches, graph)
    flat.append(fetches)
    return next


def _fetch(fetch: Any, graph: Graph) -> Any:
    try:
        return graph.as_graph_element(fetch)
    except TypeError as e:
        raise TypeError(
            f"Fetch {fetch!r} is of type {type(fetch).__name__}; tensors, operations, their names, "
            f"and lists and dicts of these can be fetched. {e}"
        ) from e
    except (KeyError, ValueError) as e:
        reason = e.args[0] if e.args else e
        raise ValueError(f"Fetch {fetch!r} cannot be run in this session: {reason}") from e


def _private(results: list[np.ndarray], feeds: list[np.ndarray]) -> list[Any]:
    """Makes sure that the caller may write into the results without harm.

    A result that shares memory with a variable, a constant, a fed array or another result is
    copied; shape `()` becomes a NumPy scalar, and objects (strings) stay as they are.
    """
    taken = {id(state.root(f)) for f in feeds}
    out = []
    for array in results:
        if array.ndim == 0:
            out.append(array[()])
            continue
        owner = state.root(array)
        if id(owner) in taken or not owner.flags.writeable or not array.flags.writeable:
            array = array.copy()
        else:
            taken.add(id(owner))
        out.append(array)
    return out


# Feeds.


def _feed_value(tensor: Tensor, value: Any) -> np.ndarray:
    """Checks a fed value and makes it an array of the tensor's dtype that ops cannot write to."""
    if isinstance(value, Tensor) or hasattr(value, "_as_graph_element"):
        raise TypeError(
            f"The value fed to {tensor.name} is a tensor ({value!r}); feed NumPy arrays, Python "
            "numbers, strings or lists."
        )
    base = tensor.dtype.base_dtype
    numpy_type = base.as_numpy_dtype
    if base == dtypes.string:
        array = convert.to_array(value, base)
    else:
        if type(value) is int and base.is_integer and not base.min <= value <= base.max:
            raise TypeError(
                f"The value {value} fed to {tensor.name} does not fit its type {base.name}."
            )
        array = np.asarray(value, dtype=numpy_type)
        if array.flags.writeable:
            # A view, so that no op takes the caller's memory for its own.
            array = array.view()
            array.flags.writeable = False
    if not tensor.shape._fits(array.shape):
        raise ValueError(
            f"Cannot feed a value of shape {array.shape} for tensor {tensor.name!r}, which has "
            f"shape {tensor.shape}."
        )
    return array


__all__ = ["InteractiveSession", "Session", "get_default_session"]
