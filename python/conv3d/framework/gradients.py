"""Differentiation: one reverse walk, used by `tf.gradients` and by `GradientTape`.

The walk sees operations through `type`, `inputs`, `outputs` and `get_attr`, which graph nodes and
the records of a tape both have, and calls the gradient that the registry holds for each.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from conv3d.framework import (
    composite,
    context,
    convert,
    dtypes,
    execute,
    indexed_slices,
    nest,
    registry,
)
from conv3d.framework.indexed_slices import IndexedSlices
from conv3d.framework.tensor import EagerTensor, Tensor


def _reverse_walk(
    ys: Sequence[Any],
    grad_ys: Sequence[Any],
    xs: Sequence[Any],
    ops: Sequence[Any],
    producer: Callable[[Any], Any],
    scope: Callable[[Any], Any],
    stop: frozenset[int] = frozenset(),
) -> list[Any]:
    """Gradients of sum(ys * grad_ys) with respect to xs.

    Args:
        ys: where the walk starts.
        grad_ys: the gradients that it starts with; None starts nothing.
        xs: where it ends.
        ops: the operations on paths from xs to ys.
        producer: gives the operation of a tensor, or None.
        scope: a context manager for the name scope of an operation's gradient.
        stop: ids of tensors through which nothing flows.
    """
    between = set(map(id, ops))
    pending = dict.fromkeys(between, 0)
    for op in ops:
        for tensor in op.inputs:
            source = producer(tensor)
            if source is not None and id(source) in between:
                pending[id(source)] += 1

    partial: dict[int, list[Any]] = {}

    def total(tensor: Any) -> Any:
        parts = partial.get(id(tensor))
        if not parts:
            return None
        if len(parts) > 1:
            parts[:] = [indexed_slices.add_all(parts)]
        return parts[0]

    for y, grad in zip(ys, grad_ys, strict=False):
        if grad is not None:
            partial.setdefault(id(y), []).append(grad)

    ready: deque[Any] = deque()
    queued = set()
    for y in ys:
        op = producer(y)
        if op is not None and id(op) in between and not pending[id(op)] and id(op) not in queued:
            queued.add(id(op))
            ready.append(op)

    while ready:
        op = ready.popleft()
        grads = [total(tensor) for tensor in op.outputs]
        if any(g is not None for g in grads):
            with scope(op):
                found = _input_gradients(op, grads)
            for tensor, grad in zip(op.inputs, found, strict=False):
                if grad is not None and id(tensor) not in stop:
                    partial.setdefault(id(tensor), []).append(grad)
        for tensor in op.inputs:
            source = producer(tensor)
            if source is not None and id(source) in between:
                pending[id(source)] -= 1
                if not pending[id(source)]:
                    ready.append(source)
    return [total(x) for x in xs]


def _input_gradients(op: Any, grads: Sequence[Any]) -> Sequence[Any]:
    """Calls the registered gradient of `op` and checks what it returns."""
    gradient = op._def.gradient
    if gradient is registry.NOT_DIFFERENTIABLE:
        return [None] * len(op.inputs)
    if gradient is None:
        raise LookupError(f"Op {op.type!r} (operation {op.name!r}) has no registered gradient.")
    if op.type not in _PASS_SLICES:
        grads = [_whole(grad) for grad in grads]
    found = gradient(op, *grads)
    found = list(found) if isinstance(found, (list, tuple)) else [found]
    if len(found) != len(op.inputs):
        raise ValueError(
            f"The gradient of op {op.type!r} gave {len(found)} values for {len(op.inputs)} inputs."
        )
    for tensor, grad in zip(op.inputs, found, strict=False):
        if grad is not None and type(grad) is Tensor:
            try:
                grad.set_shape(tensor.shape)
            except ValueError:
                raise ValueError(
                    f"The gradient of op {op.type!r} for {tensor} has shape {grad.shape}."
                ) from None
    return found


# Ops whose gradient is that of their result, whatever its form.
_PASS_SLICES = frozenset(("Identity", "ReadVariableOp"))


def _whole(grad: Any) -> Any:
    return convert.convert_to_tensor(grad) if isinstance(grad, IndexedSlices) else grad


def _differentiable(dtype: dtypes.DType) -> bool:
    return dtype.is_floating or dtype.is_complex


def _as_list(x: Any) -> list[Any]:
    return list(x) if isinstance(x, (list, tuple)) else [x]


# Graph mode.


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: int | None = None,
    stop_gradients: Any = None,
) -> list[Tensor | None]:
    """Adds operations that compute d(sum of ys)/dx for each x of xs.

    Args:
        ys: a tensor or a list of tensors.
        xs: a tensor or variable, or a list of these.
        grad_ys: a tensor or None for each y: the gradient to start from; default ones.
        name: name scope of the new operations.
        colocate_gradients_with_ops: accepted and ignored.
        gate_gradients: accepted and ignored: a session runs one operation at a time.
        aggregation_method: accepted and ignored: gradients are summed by one AddN.
        stop_gradients: tensors to be taken as constants.

    Returns:
        One tensor an x, None where no y depends on it. Where y depends on x by `tf.gather` alone,
        it is `tf.IndexedSlices`.

    Raises:
        RuntimeError: in eager mode.
        ValueError: a list of grad_ys of another length than ys, or of another dtype.
        LookupError: an operation on the way has no gradient.

    Source: `tf.gradients`.
    """
    if context.executing_eagerly():
        raise RuntimeError("tf.gradients does not work in eager execution; use tf.GradientTape.")
    ys, xs = _as_list(ys), _as_list(xs)
    stop_list = [] if stop_gradients is None else _as_list(stop_gradients)
    starts = [None] * len(ys) if grad_ys is None else _as_list(grad_ys)
    if len(starts) != len(ys):
        raise ValueError(f"grad_ys has {len(starts)} entries for {len(ys)} ys.")
    values = [*ys, *xs, *stop_list, *(g for g in starts if g is not None)]
    with context.name_scope(name, "gradients", values):
        graph = context.get_default_graph()
        ys = [convert.convert_to_tensor(y, name="y") for y in ys]
        xs = [_source(x) for x in xs]
        stop_list = [_source(x) for x in stop_list]
        starts = [_start(y, g, i) for i, (y, g) in enumerate(zip(ys, starts, strict=False))]
        stop = frozenset(map(id, stop_list))
        ops = _ops_between(ys, [*xs, *stop_list], stop)
        ops, owner = composite.collapse(ops, graph._composites, [*ys, *xs, *stop_list])
        root_scope = graph.get_name_scope()

        @contextlib.contextmanager
        def scope(op: Any) -> Iterator[None]:
            with graph.name_scope(op.name + "_grad"):
                yield

        found = _reverse_walk(ys, starts, xs, ops, lambda t: owner.get(t.op, t.op), scope, stop)
        assert graph.get_name_scope() == root_scope
    return found


def _source(x: Any) -> Tensor:
    return convert.convert_to_tensor(x, name="x", as_ref=True)


def _start(y: Tensor, grad: Any, i: int) -> Tensor | None:
    if not _differentiable(y.dtype):
        return None
    if grad is None:
        if y.shape.is_fully_defined():
            shape = convert.convert_to_tensor(y.shape.as_list(), dtypes.int32, name="Shape")
        else:
            shape = execute.apply_op("Shape", [y], {"out_type": dtypes.int32})
        one = convert.convert_to_tensor(1, dtype=y.dtype.base_dtype, name=f"grad_ys_{i}")
        return execute.apply_op("Fill", [shape, one])
    grad = convert.convert_to_tensor(
        grad, dtype=None, name=f"grad_ys_{i}", preferred_dtype=y.dtype.base_dtype
    )
    if grad.dtype.base_dtype != y.dtype.base_dtype:
        raise ValueError(
            f"grad_ys[{i}] is {grad.dtype.name}, but ys[{i}] is {y.dtype.base_dtype.name}."
        )
    if not grad.shape.is_compatible_with(y.shape):
        raise ValueError(f"grad_ys[{i}] has shape {grad.shape}, but ys[{i}] has {y.shape}.")
    return grad


def _ops_between(ys: Sequence[Tensor], xs: Sequence[Tensor], stop: frozenset[int]) -> list[Any]:
    """The operations on paths from xs to ys, in order of creation."""
    # Down from ys to everything they depend on ...
    reached: dict[Any, None] = {}
    todo = [y.op for y in ys]
    while todo:
        op = todo.pop()
        if op in reached:
            continue
        reached[op] = None
        todo.extend(t.op for t in op.inputs if id(t) not in stop)
    # ... then up from xs. Operations are numbered in topological order.
    live = {id(x) for x in xs}
    sources = {id(x.op) for x in xs}
    between = []
    for op in sorted(reached, key=lambda op: op._id):
        if id(op) in sources or any(id(t) in live for t in op.inputs):
            between.append(op)
            live.update(id(t) for t in op.outputs if _differentiable(t.dtype))
    # A dead end (the shape of something on the path) would keep the walk waiting for ever.
    return _needed(ys, between, {})


class AggregationMethod:
    """Names for `aggregation_method`; all sum by one AddN."""

    ADD_N = 0
    DEFAULT = 0
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


# Eager mode.


class _Record:
    """One op call that a tape saw, in the shape of an operation."""

    __slots__ = ("_attrs", "_def", "inputs", "outputs")

    def __init__(self, op_def: Any, attrs: dict[str, Any], inputs: Any, outputs: Any):
        self._def = op_def
        self._attrs = attrs
        self.inputs = inputs
        self.outputs = outputs

    @property
    def type(self) -> str:
        return self._def.name

    name = type

    def get_attr(self, name: str) -> Any:
        if name in self._attrs:
            return self._attrs[name]
        if name == "T":
            return (self.inputs or self.outputs)[0].dtype.base_dtype
        raise ValueError(f"Op {self.type!r} has no attribute {name!r}.")


class GradientTape:
    """Records eager ops inside a `with` block so that they can be differentiated.

    Trainable variables are watched by themselves, tensors on request.

    Args:
        persistent: `gradient` may be called more than once.
        watch_accessed_variables: False leaves variables to `watch`, too.

    Source: `tf.GradientTape`.
    """

    def __init__(self, persistent: bool = False, watch_accessed_variables: bool = True):
        self._persistent = persistent
        self._watch_variables = watch_accessed_variables
        self._recording = False
        self._used = False
        self._clear()

    def _clear(self) -> None:
        self._tracked: set[int] = set()
        self._kept: list[Any] = []  # keeps watched objects alive, so that their ids stay theirs
        self._records: list[_Record] = []
        self._variables: dict[int, Any] = {}

    def __enter__(self) -> GradientTape:
        self._push()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        if self._recording:
            self._pop()

    def _push(self) -> None:
        if self._recording:
            raise ValueError("The tape is recording already.")
        self._recording = True
        context.stacks.tapes.append(self)

    def _pop(self) -> None:
        if not self._recording:
            raise ValueError("The tape is not recording.")
        self._recording = False
        context.stacks.tapes.remove(self)

    def watch(self, tensor: Any) -> None:
        """Records what is computed from `tensor` (a tensor, a variable or a list of these)."""
        for item in nest.leaves(tensor):
            ref = getattr(item, "_ref", None)
            if ref is None and not isinstance(item, Tensor):
                raise ValueError(f"watch() takes tensors and variables, not {item!r}.")
            if id(item) not in self._tracked:
                self._tracked.add(id(item))
                self._kept.append(item)
                if ref is not None:
                    self._variables[id(item)] = item

    def watched_variables(self) -> tuple[Any, ...]:
        """The variables seen so far, in order."""
        return tuple(self._variables.values())

    @contextlib.contextmanager
    def stop_recording(self) -> Iterator[None]:
        """Ops called inside are not recorded by this tape.

        Raises:
            ValueError: the tape is not recording.
        """
        self._pop()
        try:
            yield
        finally:
            self._push()

    def reset(self) -> None:
        """Forgets everything recorded; recording goes on."""
        self._clear()
        self._used = False

    def _record(self, op_def: Any, attrs: dict[str, Any], inputs: Any, outputs: Any) -> None:
        if self._watch_variables and op_def.name == "ReadVariableOp":
            variable = inputs[0]
            if getattr(variable, "trainable", True):
                self.watch(variable)
        if not any(id(t) in self._tracked for t in inputs):
            return
        live = [t for t in outputs if _differentiable(t.dtype)]
        if not live:
            return
        self._tracked.update(map(id, live))
        self._records.append(_Record(op_def, attrs, inputs, outputs))

    def gradient(
        self,
        target: Any,
        sources: Any,
        output_gradients: Any = None,
        unconnected_gradients: Any = None,
    ) -> Any:
        """d(sum of target)/d(source) for each source.

        Args:
            target: a tensor, or a list of tensors.
            sources: a tensor or variable, or a list, tuple or dict of these.
            output_gradients: gradients to start from, one a target; default ones.
            unconnected_gradients: "none" (default) or "zero": what a source gets that no target
                depends on.

        Returns:
            Tensors (None where no target depends on the source) in the structure of `sources`.

        Raises:
            RuntimeError: a second call on a tape that is not persistent.
        """
        if self._used and not self._persistent:
            raise RuntimeError(
                "GradientTape.gradient can be called once only; make the tape with "
                "persistent=True to call it again."
            )
        if unconnected_gradients not in (None, "none", "zero"):
            raise ValueError(
                f"unconnected_gradients must be 'none' or 'zero', not {unconnected_gradients!r}."
            )
        if self._recording and not self._persistent:
            self._pop()
        self._used = True
        ys = nest.leaves(target)
        xs = nest.leaves(sources)
        if output_gradients is None:
            starts: list[Any] = [None] * len(ys)
        elif isinstance(target, (list, tuple, dict)):
            starts = nest.leaves(output_gradients)
        else:
            starts = [output_gradients]  # which may be a list of numbers
        if len(starts) != len(ys):
            raise ValueError(f"output_gradients has {len(starts)} entries for {len(ys)} targets.")
        ys = [y if isinstance(y, EagerTensor) else _watched_value(y) for y in ys]
        starts = [_eager_start(y, g) for y, g in zip(ys, starts, strict=False)]
        made: dict[int, _Record] = {}
        # A source that was not watched has no gradient, even where others made its ops known.
        known = [id(x) in self._tracked for x in xs]
        live = {id(x) for x in xs} & self._tracked
        ops = []
        for record in self._records:
            if any(id(t) in live for t in record.inputs):
                ops.append(record)
                live.update(id(t) for t in record.outputs if _differentiable(t.dtype))
                made.update((id(t), record) for t in record.outputs)
        ops = _needed(ys, ops, made)
        found = _reverse_walk(
            ys, starts, xs, ops, lambda t: made.get(id(t)), lambda op: contextlib.nullcontext()
        )
        found = [g if watched else None for g, watched in zip(found, known, strict=True)]
        if unconnected_gradients == "zero":
            found = [
                execute.apply_op("ZerosLike", [x]) if g is None else g
                for x, g in zip(xs, found, strict=False)
            ]
        if not self._persistent:
            self._clear()
        return nest.like(sources, iter(found))


def _watched_value(y: Any) -> Any:
    return y if getattr(y, "_ref", None) is not None else convert.convert_to_tensor(y)


def _eager_start(y: Any, grad: Any) -> Any:
    if not _differentiable(y.dtype):
        return None
    if grad is None:
        return execute.apply_op("OnesLike", [y])
    return convert.convert_to_tensor(grad, dtype=y.dtype.base_dtype)


def _needed(ys: Sequence[Any], ops: Sequence[Any], made: dict[int, Any]) -> list[Any]:
    """Those of `ops` that some y depends on."""
    wanted = {id(y) for y in ys}
    kept = []
    for op in reversed(ops):
        if any(id(t) in wanted for t in op.outputs):
            kept.append(op)
            wanted.update(map(id, op.inputs))
    return kept[::-1]


# Both.


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Decorates a function that returns `(result, grad_fn)`: `grad_fn` is used as its gradient.

    Args:
        f: takes tensors; returns a tensor or a list of tensors, and a function that takes one
            gradient a result and returns one gradient an argument.

    Source: `tf.custom_gradient`.
    """

    def decorated(*args: Any, **kwargs: Any) -> Any:
        args = tuple(convert.convert_to_tensor(a) for a in args)
        with context.stop_recording():
            result, grad_fn = f(*args, **kwargs)
        outputs = [convert.convert_to_tensor(r) for r in nest.leaves(result)]
        attrs = {"grad_fn": grad_fn, "N": len(outputs)}
        joined = execute.apply_op("CustomGradient", [*outputs, *args], attrs, "IdentityN")
        return nest.like(result, iter(_as_list(joined)))

    decorated.__name__ = getattr(f, "__name__", "custom_gradient")
    decorated.__doc__ = f.__doc__
    return decorated


def _infer_custom(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    return [(t.dtype, t.shape) for t in inputs[: attrs["N"]]]


def _custom_gradient(op: Any, *grads: Any) -> list[Any]:
    n = op.get_attr("N")
    filled = [
        execute.apply_op("ZerosLike", [t]) if g is None else g
        for t, g in zip(op.outputs, grads, strict=False)
    ]
    found = _as_list(op.get_attr("grad_fn")(*filled))
    return [None] * n + found


registry.register(
    "CustomGradient",
    infer=_infer_custom,
    compute=lambda attrs, *arrays: list(arrays[: attrs["N"]]),
    gradient=_custom_gradient,
)

__all__ = ["AggregationMethod", "GradientTape", "custom_gradient", "gradients"]
