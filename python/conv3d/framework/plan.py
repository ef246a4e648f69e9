"""From fetches and feeds to a flat list of steps: prune, fold constants, order, fuse, free.

A plan is made once for each combination of fetches and feeds, is immutable and may be run by any
number of threads at once: all that changes lives in the list of values of one run.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import composite, constant_folding, execute, fusion, state
from conv3d.framework.tensor import Tensor

# Results up to this size are computed while planning if they depend on constants only.
_FOLD_BYTES = 1 << 16


class _Dead:
    """Stands for the value of a tensor in a branch that was not taken."""

    def __repr__(self) -> str:
        return "<dead>"


DEAD = _Dead()


class Plan:
    """The steps that compute some tensors of a graph from others.

    Args:
        store: state that stateful ops work on.
        session: what stateful ops see as their session.
        fetches: tensors to be computed; their values are the result of `run`.
        targets: operations to be run.
        feeds: tensors whose values `run` is given.
    """

    def __init__(
        self,
        store: state.Store,
        session: Any,
        fetches: Sequence[Tensor],
        targets: Sequence[Any],
        feeds: Sequence[Tensor],
    ):
        self._slots: dict[Tensor, int] = {}
        self._template: list[Any] = []
        for tensor in feeds:
            self._slot(tensor)
        self._n_feeds = len(feeds)
        fed = set(feeds)
        ops = _reachable([t for t in fetches if t not in fed], targets, fed)
        self._owner: dict[Any, Any] = {}
        graph = next(iter(ops)).graph if ops else None
        if graph is not None and graph._composites:
            wanted = {*fetches, *targets, *(t.op for t in fed)}
            collapsed, self._owner = composite.collapse(ops, graph._composites, wanted)
            ops = set(collapsed)
        ordered = _order(ops, fed, self._owner)
        self._steps = self._build(ordered, fetches, fed, store, session)
        # A variable is fetched when all is done, so that the updates of the same run show.
        self._fetch_slots = [self._slots.get(_read_of(t, fed), self._slots[t]) for t in fetches]
        self._fetch_names = [t.name for t in fetches]

    def _slot(self, tensor: Tensor, value: Any = None) -> int:
        slot = self._slots.get(tensor)
        if slot is None:
            slot = self._slots[tensor] = len(self._template)
            self._template.append(value)
        return slot

    def _build(
        self,
        ordered: Sequence[Any],
        fetches: Sequence[Tensor],
        fed: set[Tensor],
        store: state.Store,
        session: Any,
    ) -> list[tuple[Any, ...]]:
        constants: set[Tensor] = set()
        live_ops = []
        # Slots of these hold the cells of variables, not arrays.
        refs: set[Tensor] = {t for t in fed if t.dtype._is_ref_dtype}
        for op in ordered:
            if op.type == "VariableV2" and op.outputs[0] not in fed and not op._control_inputs:
                # A session has one cell for a variable, once and for all.
                self._slot(op.outputs[0], store.ref(op))
                refs.add(op.outputs[0])
            elif self._fold(op, fed, constants):
                constants.update(op.outputs)
            else:
                live_ops.append(op)
        links = _chains(live_ops, fetches, fed)
        links.update(_joins(live_ops, fetches, fed, links, self._owner))
        written = _written_before(ordered, self._owner)
        steps: list[list[Any]] = []
        maybe_dead: set[Any] = set()
        for op in live_ops:
            if op in links and links[op] is None:
                continue  # computed together with a later op
            chain = links.get(op)
            if chain is None:
                compute, inputs = _bound(op, store, session), _current_inputs(op, written, fed)
                members = [op]
            else:
                pattern, members = chain
                compute = partial(pattern.compute, [m._attrs for m in members])
                joined = isinstance(pattern, fusion.Join)
                inputs = _current_inputs(members[0], written, fed)
                for m in members[1:-1] if joined else members[1:]:
                    inputs += _current_inputs(m, written, fed)[0 if joined else 1 :]
            is_ref = [t in refs for t in inputs]
            if op._def.stateful:
                reads = tuple(now is not then for now, then in zip(inputs, op.inputs, strict=False))
                if any(reads):
                    compute = partial(_call_with_values, compute, reads)
                refs.update(t for t in op.outputs if t.dtype._is_ref_dtype)
                if any(t.dtype._is_ref_dtype for t in inputs):
                    compute = partial(_call_locked, compute)
            elif any(is_ref):
                compute = partial(_call_with_values, compute, tuple(is_ref))
            awaited = [c for m in members for c in m._control_inputs]
            dead_in = [
                t for t in inputs if t not in fed and self._owner.get(t.op, t.op) in maybe_dead
            ]
            dead_control = [c for c in awaited if c in maybe_dead]
            slots_in = [self._slot(t) for t in inputs]
            if op.type == "Merge":
                if dead_in or dead_control:
                    maybe_dead.add(op)
            elif dead_in or dead_control or op.type in ("Switch", "RefSwitch"):
                maybe_dead.update(members)
                if dead_in or dead_control:
                    # Whether a branch was taken shows in any output of its ops.
                    n = len(slots_in)
                    slots_in += [self._mark(c) for c in dead_control]
                    compute = partial(_call_if_live, compute, n, max(1, len(op.outputs)))
            slots_out = [self._slot(t) for t in op.outputs if t not in fed]
            if any(t in fed for t in op.outputs):
                # A fed output keeps the fed value.
                keep = [i for i, t in enumerate(op.outputs) if t not in fed]
                compute = partial(_pick, compute, tuple(keep), len(op.outputs))
            if op in maybe_dead and not op.outputs:
                slots_out = [self._mark(op)]
            steps.append([compute, slots_in, slots_out, (), op])
        return self._with_frees(steps, fetches)

    def _mark(self, op: Any) -> int:
        """The slot that shows whether `op` was live."""
        return self._slot(op.outputs[0] if op.outputs else op)

    def _fold(self, op: Any, fed: set[Tensor], constants: set[Tensor]) -> bool:
        """Puts the outputs of `op` into the template if they are constant and small."""
        if any(t in fed for t in op.outputs) or op._def.stateful or op._control_inputs:
            # A constant in a branch waits for the branch, so it is no constant of the plan.
            return False
        if op.type == "Const":
            self._slot(op.outputs[0], op._attrs["value"])
            return True
        if op.type in ("Shape", "Size", "Rank"):
            value = constant_folding.constant_value(op.outputs[0])
            if value is not None:
                self._slot(op.outputs[0], execute.frozen(value))
                return True
        if not op.inputs or not op.outputs:
            return False
        if not all(t in constants for t in op.inputs):
            return False
        for t in op.outputs:
            size = t.shape.num_elements()
            if size is None or size * t.dtype.size > _FOLD_BYTES:
                return False
        try:
            values = [self._template[self._slots[t]] for t in op.inputs]
            results = op._def.compute(op._attrs, *values)
        except Exception:
            return False  # the run reports it
        if not isinstance(results, (tuple, list)):
            results = [results]
        for tensor, value in zip(op.outputs, results, strict=False):
            self._slot(tensor, execute.frozen(value))
        return True

    def _with_frees(
        self, steps: list[list[Any]], fetches: Sequence[Tensor]
    ) -> list[tuple[Any, ...]]:
        """Notes after which step each value is not needed any more."""
        kept = {self._slots[t] for t in fetches}
        kept.update(range(self._n_feeds))
        kept.update(i for i, v in enumerate(self._template) if v is not None)
        for step in reversed(steps):
            used = dict.fromkeys([*step[1], *step[2]])
            step[3] = tuple(slot for slot in used if slot not in kept)
            kept.update(step[3])
        return [
            (compute, tuple(ins), outs[0] if len(outs) == 1 else tuple(outs), frees, op)
            for compute, ins, outs, frees, op in steps
        ]

    def run(self, feeds: Sequence[Any]) -> list[Any]:
        """Computes the fetches from the values of the feeds.

        Raises:
            OpError: an operation failed; the error names it.
        """
        values = self._template.copy()
        values[: self._n_feeds] = feeds
        op = None
        try:
            with np.errstate(all="ignore"):  # infinities and NaN are results, not events
                for compute, ins, outs, frees, op in self._steps:  # noqa: B007
                    result = compute(*[values[i] for i in ins])
                    if type(outs) is int:
                        if type(result) in (list, tuple):
                            (result,) = result
                        values[outs] = result
                    else:
                        for slot, value in zip(outs, result or (), strict=False):
                            values[slot] = value
                    for slot in frees:
                        values[slot] = None
        except Exception as e:
            raise execute.translate(e, op, op.type if op is not None else "") from e
        out = []
        for slot, name in zip(self._fetch_slots, self._fetch_names, strict=False):
            value = values[slot]
            if type(value) is state.Ref:
                value = value.get()
            if value is DEAD:
                raise errors.InvalidArgumentError(
                    None, None, f"{name} has no value: it belongs to a branch that was not taken."
                )
            out.append(value if type(value) is np.ndarray else np.asarray(value))
        return out


def _bound(op: Any, store: state.Store, session: Any) -> Callable[..., Any]:
    """The compute function of `op` with all but the input values filled in."""
    if op._def.stateful:
        return partial(op._def.compute, state.StatefulContext(store, op, session), op._attrs)
    return partial(op._def.compute, op._attrs)


def _call_with_values(compute: Callable[..., Any], is_ref: tuple[bool, ...], *args: Any) -> Any:
    # A fed variable is an array already.
    return compute(
        *[a.get() if r and type(a) is state.Ref else a for a, r in zip(args, is_ref, strict=False)]
    )


def _call_locked(compute: Callable[..., Any], *args: Any) -> Any:
    with state.locked(args):
        return compute(*args)


def _call_if_live(compute: Callable[..., Any], n_inputs: int, n_outputs: int, *args: Any) -> Any:
    for a in args:
        if a is DEAD:
            return DEAD if n_outputs == 1 else [DEAD] * n_outputs
    return compute(*args[:n_inputs])


def _pick(compute: Callable[..., Any], keep: tuple[int, ...], n: int, *args: Any) -> Any:
    results = compute(*args)
    if n == 1:
        results = [results]
    return [results[i] for i in keep]


def _reachable(fetches: Sequence[Tensor], targets: Sequence[Any], fed: set[Tensor]) -> set[Any]:
    """All operations that must run."""
    reached: set[Any] = set()
    todo = [t.op for t in fetches] + list(targets)
    while todo:
        op = todo.pop()
        if op in reached or (op.outputs and all(t in fed for t in op.outputs)):
            continue  # an operation all of whose outputs are fed has nothing to do
        reached.add(op)
        todo.extend(op._control_inputs)
        if op.type in ("Shape", "Size", "Rank") and not op._control_inputs:
            # A static shape is known without the tensor.
            if constant_folding.constant_value(op.outputs[0]) is not None:
                continue
        todo.extend(t.op for t in op.inputs if t not in fed)
    return reached


def _written_before(ordered: Sequence[Any], owner: dict[Any, Any]) -> dict[Any, frozenset[Any]]:
    """For each operation the variables that something before it writes, where there are any."""
    written: dict[Any, frozenset[Any]] = {}
    writes: dict[Any, frozenset[Any]] = {}
    for op in ordered:
        before: frozenset[Any] = frozenset()
        for source in (*(owner.get(t.op, t.op) for t in op.inputs), *op._control_inputs):
            for known in (written.get(source), writes.get(source)):
                if known and not known <= before:
                    before |= known
        if before:
            written[op] = before
        if op._def.stateful:
            own = {_variable_of(t) for t in op.inputs if t.dtype._is_ref_dtype} - {None}
            if own:
                writes[op] = frozenset(own)
    return written


def _variable_of(tensor: Tensor) -> Any:
    """The operation of the variable that a reference refers to, or None."""
    op = tensor.op
    while op.type != "VariableV2":
        if not op.inputs or not op.inputs[0].dtype._is_ref_dtype:
            return None
        op = op.inputs[0].op
    return op


def _current_inputs(op: Any, written: dict[Any, frozenset[Any]], fed: set[Tensor]) -> list[Any]:
    """The inputs of `op`, with the reference in place of a value that was read too early.

    All readers of a variable share one read, which runs first. An operation that is ordered after
    an update has to see the update all the same, so it reads the variable when it runs.
    """
    before = written.get(op)
    if before is None:
        return list(op.inputs)
    inputs = []
    for tensor in op.inputs:
        source = _read_of(tensor, fed)
        inputs.append(source if source.op in before else tensor)
    return inputs


def _read_of(tensor: Tensor, fed: set[Tensor]) -> Tensor:
    """The reference that `tensor` is a plain read of; `tensor` itself if it is none."""
    read = tensor.op
    if read.type != "Identity" or read._control_inputs or tensor in fed:
        return tensor
    source = read.inputs[0]
    return source if source.dtype._is_ref_dtype and source not in fed else tensor


def _order(ops: set[Any], fed: set[Tensor], owner: dict[Any, Any]) -> list[Any]:
    """Topological order; where it leaves a choice, the order of creation."""
    waiting: dict[Any, int] = {}
    readers: dict[Any, list[Any]] = {}
    for op in ops:
        needs = {owner.get(t.op, t.op) for t in op.inputs if t not in fed}
        needs |= set(op._control_inputs)
        needs &= ops
        waiting[op] = len(needs)
        for source in needs:
            readers.setdefault(source, []).append(op)
    ready = [(op._id, op) for op in ops if not waiting[op]]
    heapq.heapify(ready)
    ordered = []
    while ready:
        _, op = heapq.heappop(ready)
        ordered.append(op)
        for reader in readers.get(op, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, (reader._id, reader))
    if len(ordered) != len(ops):
        stuck = sorted(op.name for op in ops if waiting[op])
        raise errors.InvalidArgumentError(
            None, None, f"These operations wait for each other: {', '.join(stuck[:5])}."
        )
    return ordered


def _chains(ops: Sequence[Any], fetches: Sequence[Tensor], fed: set[Tensor]) -> dict[Any, Any]:
    """Chains that one call computes: the last op -> (pattern, members), the others -> None."""
    present = set(ops)
    fetched = set(fetches)
    awaited = {c for op in ops for c in op._control_inputs}
    readers: dict[Any, list[Any]] = {}
    for op in ops:
        for tensor in op.inputs:
            readers.setdefault(tensor, []).append(op)
    links: dict[Any, Any] = {}
    for op in ops:
        if op in links:
            continue
        for pattern in fusion.starting_with(op.type):
            members = [op]
            for op_type in pattern.types[1:]:
                last = members[-1]
                out = last.outputs[0]
                after = readers.get(out, [])
                if (
                    out in fetched
                    or out in fed
                    or last in awaited
                    or len(after) != 1
                    or after[0].type != op_type
                    or after[0] not in present
                    or after[0].inputs[0] is not out
                    or any(t is out for t in after[0].inputs[1:])
                    or after[0]._control_inputs
                ):
                    break
                members.append(after[0])
            if len(members) < len(pattern.types) or members[-1].outputs[0] in fed:
                continue
            if pattern.accepts is not None and not pattern.accepts([m._attrs for m in members]):
                continue
            links.update(dict.fromkeys(members[:-1]))
            links[members[-1]] = (pattern, members)
            break
    return links


def _joins(
    ops: Sequence[Any],
    fetches: Sequence[Tensor],
    fed: set[Tensor],
    taken: dict[Any, Any],
    owner: dict[Any, Any],
) -> dict[Any, Any]:
    """Ops that one call computes with those that made their inputs, as `_chains` gives them."""
    present = set(ops)
    fetched = set(fetches)
    awaited = {c for op in ops for c in op._control_inputs}
    readers: dict[Tensor, int] = {}
    for op in ops:
        for tensor in op.inputs:
            readers[tensor] = readers.get(tensor, 0) + 1
    links: dict[Any, Any] = {}
    for op in ops:
        pattern = fusion.join_of(op.type, len(op.inputs)) if op not in taken else None
        if pattern is None or any(t in fed for t in op.outputs):
            continue
        sources = [owner.get(t.op, t.op) for t in op.inputs]
        if [s.type for s in sources] != list(pattern.sources) or any(
            t in fetched or t in fed or readers[t] != 1 or len(s.outputs) != 1
            for t, s in zip(op.inputs, sources, strict=True)
        ):
            continue
        if any(s not in present or s in taken or s in awaited or s in links for s in sources):
            continue
        links.update(dict.fromkeys(sources))
        links[op] = (pattern, [*sources, op])
    return links
