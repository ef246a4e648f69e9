"""Loops: condition and body are graphs of their own inside one `While` op.

Tensors of the graph around are captured: they become further inputs of the op. For the gradient,
the forward loop keeps those values of each pass that the gradient of the body reads, and
`WhileGrad` goes through the passes backwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d.framework import context, convert, dtypes, nest
from conv3d.framework.execute import apply_op
from conv3d.framework.gradients import gradients
from conv3d.framework.graph import Graph, Operation
from conv3d.framework.plan import Plan
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import Tensor
from conv3d.framework.tensor_shape import TensorShape, as_shape
from conv3d.ops import array_ops

# An input of a function's graph; its value is given to each run.
register(
    "Argument",
    infer=lambda attrs, inputs: [(attrs["dtype"], attrs["shape"])],
    compute=lambda ctx, attrs: None,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
)


class FunctionGraph(Graph):
    """The graph of a loop's condition or body. Collections and seeds are the outer graph's."""

    def __init__(self, outer: Graph):
        super().__init__()
        self.outer_graph = outer
        self._collections = outer._collections
        self._seed = outer.seed
        self.captured: dict[Tensor, Tensor] = {}

    def argument(self, dtype: Any, shape: Any, name: str) -> Tensor:
        """A new input."""
        attrs = {"dtype": dtype, "shape": as_shape(shape)}
        return self.create_op("Argument", [], attrs, name).outputs[0]

    def _enter(self, tensor: Tensor) -> Tensor:
        if tensor.graph is self:
            return tensor
        walk: Graph | None = self.outer_graph
        while walk is not None and walk is not tensor.graph:
            walk = walk.outer_graph
        if walk is None:
            raise ValueError(f"{tensor} is of another graph than the loop that uses it.")
        found = self.captured.get(tensor)
        if found is None:
            with self.control_dependencies(None):
                found = self.argument(tensor.dtype, tensor.shape, "captured")
            self.captured[tensor] = found
        return found

    def as_graph_element(
        self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True
    ) -> Any:
        """As in `Graph`; a tensor of a graph around is captured."""
        convert_ = getattr(obj, "_as_graph_element", None)
        obj = convert_() if convert_ is not None else obj
        if allow_tensor and isinstance(obj, Tensor):
            return self._enter(obj)
        return super().as_graph_element(obj, allow_tensor, allow_operation)


def _infer_while(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    kept = (dtypes.string, TensorShape([None]))
    return [*[(t.dtype, t.shape) for t in attrs["body"].args], kept]


class _Function:
    """A function's graph with its inputs and outputs."""

    def __init__(
        self,
        graph: FunctionGraph,
        args: list[Tensor],
        outputs: list[Tensor],
        targets: list[Operation],
    ):
        self.graph = graph
        self.args = args
        self.outputs = outputs
        self.targets = targets

    @property
    def inner_captures(self) -> list[Tensor]:
        return list(self.graph.captured.values())


def _plan(ctx: Any, key: Any, function: _Function, fetches: Any, feeds: Any) -> Plan:
    plan = ctx.cache.get(key)
    if plan is None:
        plan = Plan(ctx.store, ctx.session, fetches, function.targets, feeds)
        ctx.cache[key] = plan
    return plan


def _while(ctx: Any, attrs: dict[str, Any], *values: Any) -> list[Any]:
    test, body, n = attrs["cond"], attrs["body"], len(attrs["body"].args)
    state = list(values[:n])
    split = n + len(test.graph.captured)
    for_test, for_body = values[n:split], values[split:]
    keep = attrs["keep"]
    differentiated = "gradient" in attrs
    test_plan = _plan(ctx, "cond", test, test.outputs, test.args + test.inner_captures)
    body_plan = _plan(
        ctx, ("body", len(keep)), body, body.outputs + keep, body.args + body.inner_captures
    )
    limit = attrs["maximum_iterations"]
    passes: list[Any] = []
    count = 0
    while limit is None or count < limit:
        (go_on,) = test_plan.run([*state, *for_test])
        if not go_on:
            break
        made = body_plan.run([*state, *for_body])
        state = made[:n]
        if differentiated:
            passes.append(made[n:])
        count += 1
    # One entry a pass, empty where the gradient reads nothing: their number counts too.
    history = np.empty(len(passes), dtype=object)
    for i, kept in enumerate(passes):
        history[i] = kept
    return [*state, history]


def _prepare_gradient(op: Any) -> dict[str, Any]:
    """Adds the gradient of the body to the body's graph and tells the loop what to keep."""
    attrs = op._attrs
    if "gradient" in attrs:
        return attrs["gradient"]
    body = attrs["body"]
    graph = body.graph
    before = graph.version
    captures = body.inner_captures
    flowing = [i for i, t in enumerate(body.args) if t.dtype.is_floating]
    wanted = [t for t in captures if t.dtype.is_floating]
    with graph.as_default():
        starts = [
            graph.argument(t.dtype.base_dtype, t.shape, "grad")
            for t in (body.outputs[i] for i in flowing)
        ]
        xs = [body.args[i] for i in flowing] + wanted
        found = gradients([body.outputs[i] for i in flowing], xs, grad_ys=starts)
        # What does not depend on an input gets zeros: the sums need something to add.
        found = [
            array_ops.zeros_like(x) if g is None and i < len(flowing) else g
            for i, (x, g) in enumerate(zip(xs, found, strict=False))
        ]
    # The gradient reads these tensors of the forward pass; references are read when the loop runs.
    keep: dict[Tensor, None] = {}
    todo = [g for g in found if g is not None]
    seen = set(todo)
    given = set(starts)
    while todo:
        tensor = todo.pop()
        if tensor in given:
            continue
        if tensor.op._id <= before:
            if tensor.op.type != "Const":
                keep[tensor] = None
            continue
        for t in tensor.op.inputs:
            if t not in seen:
                seen.add(t)
                todo.append(t)
    if len(captures) != len(body.inner_captures):
        raise ValueError("The gradient of the loop's body uses a tensor that the body does not.")
    attrs["keep"] = list(keep)
    op.graph._rewirings += 1  # plans made before do not keep anything
    made = {
        "body": body,
        "starts": starts,
        "found": found,
        "keep": list(keep),
        "flowing": flowing,
        "wanted": [captures.index(t) for t in wanted],
        "n_vars": len(body.args),
    }
    attrs["gradient"] = made
    return made


def _grad_while(op: Any, *grads: Any) -> list[Any]:
    made = _prepare_gradient(op)
    n = made["n_vars"]
    starts = [
        array_ops.zeros_like(op.outputs[i]) if grads[i] is None else grads[i]
        for i in made["flowing"]
    ]
    first = n + len(op.get_attr("cond").graph.captured)
    captured = [op.inputs[first + i] for i in made["wanted"]]
    values = [array_ops.identity(t) for t in captured]
    out = apply_op("WhileGrad", [op.outputs[n], *starts, *values], dict(made))
    out = out if isinstance(out, list) else [out]
    result: list[Any] = [None] * len(op.inputs)
    for i, g in zip(made["flowing"], out, strict=False):
        result[i] = g
    for i, g, _x in zip(made["wanted"], out[len(made["flowing"]) :], captured, strict=False):
        result[first + i] = g
    return result


def _infer_while_grad(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    body = attrs["body"]
    variables = [body.args[i] for i in attrs["flowing"]]
    return [(t.dtype.base_dtype, t.shape) for t in [*variables, *inputs[1 + len(variables) :]]]


def _while_grad(ctx: Any, attrs: dict[str, Any], history: np.ndarray, *values: Any) -> list[Any]:
    n = len(attrs["flowing"])
    grads = list(values[:n])
    sums = [np.zeros_like(v) for v in values[n:]]
    present = [i for i, g in enumerate(attrs["found"]) if g is not None]
    plan = ctx.cache.get("back")
    if plan is None:
        fetches = [attrs["found"][i] for i in present]
        plan = Plan(ctx.store, ctx.session, fetches, [], attrs["keep"] + attrs["starts"])
        ctx.cache["back"] = plan
    for kept in history[::-1]:
        for i, g in zip(present, plan.run([*kept, *grads]), strict=False):
            if i < n:
                grads[i] = g
            else:
                sums[i - n] = sums[i - n] + g
    return [*grads, *sums]


register(
    "While",
    infer=_infer_while,
    compute=_while,
    gradient=_grad_while,
    stateful=True,
    inputs=["inputs*"],
)
register(
    "WhileGrad",
    infer=_infer_while_grad,
    compute=_while_grad,
    gradient=None,  # as in TensorFlow, loops are differentiated once
    stateful=True,
    inputs=["inputs*"],
)


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Calls `body` on the loop variables while `cond` of them holds.

    Args:
        cond: takes the loop variables, gives a bool tensor of shape ().
        body: takes the loop variables, gives their next values.
        loop_vars: a list or tuple of tensors, possibly nested.
        shape_invariants: shapes that hold in every pass, in the structure of `loop_vars`; default
            the shapes of `loop_vars`.
        parallel_iterations: accepted and ignored.
        back_prop: False stops gradients.
        swap_memory: accepted and ignored.
        name: name scope, default "while".
        maximum_iterations: the most passes, known while building.
        return_same_structure: give a list even for one variable.

    Raises:
        TypeError: `cond` or `body` is not callable; the body changes a dtype.
        ValueError: no variables; the body changes the structure or a shape.

    Source: `tf.while_loop`.
    """
    if not callable(cond) or not callable(body):
        raise TypeError("cond and body must be callable.")
    if not nest.leaves(loop_vars):
        raise ValueError("loop_vars is empty; at least one variable is needed.")
    limit = None
    if maximum_iterations is not None:
        known = convert.constant_value(convert.convert_to_tensor(maximum_iterations))
        if known is None:
            raise ValueError("maximum_iterations must be known while the graph is built.")
        limit = int(known)
    if context.executing_eagerly():
        return _eager_loop(cond, body, loop_vars, limit, return_same_structure)
    with context.name_scope(name, "while", nest.leaves(loop_vars)):
        outer = context.get_default_graph()
        start = [convert.convert_to_tensor(v) for v in nest.leaves(loop_vars)]
        if shape_invariants is None:
            shapes = [t.shape for t in start]
        else:
            shapes = [as_shape(s) for s in _shapes(shape_invariants, loop_vars)]
        for t, s in zip(start, shapes, strict=False):
            if not s.is_compatible_with(t.shape):
                raise ValueError(f"The shape invariant {s} does not hold for {t}.")
        test = _build(outer, cond, loop_vars, start, shapes, is_test=True)
        step = _build(outer, body, loop_vars, start, shapes, is_test=False)
        inputs = [*start, *test.graph.captured, *step.graph.captured]
        attrs = {"cond": test, "body": step, "keep": [], "maximum_iterations": limit}
        out = apply_op("While", inputs, attrs)[:-1]
        if not back_prop:
            out = [array_ops.stop_gradient(t) for t in out]
        out = [array_ops.identity(t, name="Exit") for t in out]
        result = nest.like(loop_vars, iter(out))
        if return_same_structure or not isinstance(loop_vars, (list, tuple)) or len(out) > 1:
            return result
        return out[0]


def _shapes(invariants: Any, loop_vars: Any) -> list[Any]:
    if isinstance(loop_vars, dict):
        return [s for k in sorted(loop_vars) for s in _shapes(invariants[k], loop_vars[k])]
    if isinstance(loop_vars, (list, tuple)):
        return [s for i, v in zip(invariants, loop_vars, strict=False) for s in _shapes(i, v)]
    return [invariants]


def _build(
    outer: Graph,
    function: Callable[..., Any],
    loop_vars: Any,
    start: Any,
    shapes: Any,
    is_test: bool,
) -> _Function:
    graph = FunctionGraph(outer)
    with graph.as_default():
        args = [
            graph.argument(t.dtype.base_dtype, s, "arg")
            for t, s in zip(start, shapes, strict=False)
        ]
        packed = nest.like(loop_vars, iter(args))
        made = function(*packed) if isinstance(packed, (list, tuple)) else function(packed)
        if is_test:
            result = [convert.convert_to_tensor(made)]
            if not result[0].dtype.is_bool:
                raise TypeError(f"cond must give a bool, not {result[0].dtype.name}.")
            result[0].shape.assert_is_compatible_with([])
        else:
            flat = nest.leaves(made)
            if len(flat) != len(args):
                raise ValueError(f"body gave {len(flat)} values for {len(args)} loop variables.")
            result = [
                convert.convert_to_tensor(v, preferred_dtype=a.dtype)
                for v, a in zip(flat, args, strict=False)
            ]
            for r, a, s in zip(result, args, shapes, strict=False):
                if r.dtype.base_dtype != a.dtype:
                    raise TypeError(
                        f"body gives {r.dtype.name} for a loop variable of type {a.dtype.name}."
                    )
                if not _holds(s, r.shape):
                    raise ValueError(
                        f"body gives shape {r.shape} for a loop variable of shape {s}; state less "
                        "with shape_invariants."
                    )
        result = [graph._enter(t) for t in result]
        # Assertions and prints are run for what they do, not for a result.
        targets = [op for op in graph.get_operations() if op.type in ("Assert",) and not op.outputs]
    return _Function(graph, args, result, targets)


def _holds(invariant: TensorShape, shape: TensorShape) -> bool:
    if invariant._dims is None:
        return True
    if shape._dims is None or len(shape._dims) != len(invariant._dims):
        return False
    return all(a is None or a == b for a, b in zip(invariant._dims, shape._dims, strict=False))


def _eager_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    limit: int | None,
    same: bool,
) -> Any:
    state = loop_vars
    count = 0
    many = isinstance(loop_vars, (list, tuple))
    while (limit is None or count < limit) and bool(cond(*state) if many else cond(state)):
        made = body(*state) if many else body(state)
        flat = [convert.convert_to_tensor(v) for v in nest.leaves(made)]
        if len(flat) != len(nest.leaves(loop_vars)):
            raise ValueError(f"body gave {len(flat)} values.")
        state = nest.like(loop_vars, iter(flat))
        count += 1
    state = nest.like(loop_vars, iter([convert.convert_to_tensor(v) for v in nest.leaves(state)]))
    return state[0] if many and len(state) == 1 and not same else state
