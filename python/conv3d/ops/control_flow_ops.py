"""The order of side effects; branches (`cond`, `case`); assertions. Loops: `while_ops`.

A branch is built from the ops of TensorFlow 1.x: `Switch` sends a value into one of two branches,
the ops of the other one are dead and are skipped, `Merge` takes the value of the live one. So a
branch belongs to the same graph as everything else, and layers, variables and gradients need not
know about it.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import context, convert, dtypes, nest
from conv3d.framework.execute import apply_op
from conv3d.framework.graph import Graph, Operation
from conv3d.framework.indexed_slices import IndexedSlices
from conv3d.framework.plan import DEAD
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import Tensor
from conv3d.framework.tensor_shape import TensorShape
from conv3d.ops import array_ops

# NoOp and groups.

register(
    "NoOp",
    infer=lambda attrs, inputs: [],
    compute=lambda ctx, attrs: None,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
)


def no_op(name: str | None = None) -> Any:
    """An operation that does nothing; good for control dependencies."""
    return apply_op("NoOp", [], None, name)


def _elements(items: Any) -> list[Any]:
    return [item for item in nest.leaves(list(items)) if item is not None]


def _is_element(item: Any) -> bool:
    return isinstance(item, (Tensor, Operation)) or hasattr(item, "_as_graph_element")


def group(*inputs: Any, **kwargs: Any) -> Any:
    """One operation that runs all of `inputs` (operations, tensors, variables, lists of these).

    Raises:
        TypeError: an unknown keyword, or an input that is no part of a graph.

    Source: `tf.group`.
    """
    name = kwargs.pop("name", None)
    if kwargs:
        raise TypeError(f"group() takes the keyword name only, not {sorted(kwargs)}.")
    if context.executing_eagerly():
        return None
    flat = _elements(inputs)
    for item in flat:
        if not _is_element(item):
            raise TypeError(f"group() takes operations and tensors, not {item!r}.")
    with context.name_scope(name, "group_deps", flat) as scope:
        with context.control_dependencies(flat):
            return no_op(name=scope)


def with_dependencies(dependencies: Any, output_tensor: Any, name: str | None = None) -> Any:
    """`output_tensor`, available only after `dependencies` have run."""
    if context.executing_eagerly():
        return output_tensor
    with context.name_scope(name, "control_dependency", [*dependencies, output_tensor]) as scope:
        with context.control_dependencies(list(dependencies)):
            return array_ops.identity(output_tensor, name=scope)


def tuple(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """The same tensors, none of which is available before all are.

    Args:
        tensors: a list; None entries stay None.
        name: name scope.
        control_inputs: operations that run before, too.

    Raises:
        ValueError: there is no tensor.
        TypeError: a control input that is no operation or tensor.

    Source: `tf.tuple`.
    """
    if context.executing_eagerly():
        return list(tensors)
    with context.name_scope(name, "tuple", [t for t in tensors if t is not None]):
        gate = [t.op if isinstance(t, IndexedSlices) else t for t in tensors if t is not None]
        if not gate:
            raise ValueError("tuple() needs at least one tensor.")
        for c in control_inputs or ():
            if not _is_element(c):
                raise TypeError(f"control_inputs must be operations or tensors, not {c!r}.")
        all_done = group(*gate, *(control_inputs or ()))
        out: list[Any] = []
        for t in tensors:
            if t is None or isinstance(t, Operation):
                out.append(all_done if t is not None else None)
            elif isinstance(t, IndexedSlices):
                values = with_dependencies([all_done], t.values)
                out.append(IndexedSlices(values, t.indices, t.dense_shape))
            else:
                out.append(with_dependencies([all_done], t))
        return out


# Switch, Merge.


def _infer_switch(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    data, pred = inputs
    if not pred.dtype.is_bool:
        raise TypeError(f"pred must be bool, not {pred.dtype.name}.")
    pred.shape.assert_is_compatible_with([])
    return [(data.dtype, data.shape)] * 2


def _switch(ctx: Any, attrs: dict[str, Any], data: Any, pred: np.ndarray) -> list[Any]:
    return [DEAD, data] if pred else [data, DEAD]


def _grad_switch(op: Any, g_false: Any, g_true: Any) -> list[Any]:
    grads = [g_false, g_true]
    for i in (0, 1):
        if grads[i] is None:
            # Live exactly when the side is taken that gives no gradient.
            grads[i] = array_ops.zeros_like(op.outputs[i], optimize=False)
    return [_merge(grads, op.inputs[1])[0], None]


for _type in ("Switch", "RefSwitch"):
    # Stateful in so far as they must not be folded: a dead value is no constant.
    register(
        _type,
        infer=_infer_switch,
        compute=_switch,
        gradient=_grad_switch,
        stateful=True,
        inputs=["data", "pred"],
    )


def _infer_merge(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = inputs[0].dtype.base_dtype
    dims: Any = inputs[0].shape
    for t in inputs[1:]:
        if t.dtype.base_dtype != dtype:
            raise TypeError(f"The branches give {dtype.name} and {t.dtype.base_dtype.name}.")
        if dims.ndims is None or t.shape.ndims != dims.ndims:
            dims = TensorShape(None)
        else:
            dims = TensorShape(
                [a if a == b else None for a, b in zip(dims._dims, t.shape._dims, strict=False)]
            )
    return [(dtype, dims), (dtypes.int32, TensorShape([]))]


def _take_live(ctx: Any, attrs: dict[str, Any], *values: Any) -> list[Any]:
    for i, value in enumerate(values):
        if value is not DEAD:
            return [value, np.array(i, np.int32)]
    return [DEAD, DEAD]


def _grad_merge(op: Any, grad: Any, _: Any) -> list[Any]:
    return apply_op("Switch", [grad, op.get_attr("pred")])


register(
    "Merge",
    infer=_infer_merge,
    compute=_take_live,
    gradient=_grad_merge,
    stateful=True,
    inputs=["inputs*"],
)


def _merge(values: Sequence[Tensor], pred: Tensor, name: str | None = None) -> list[Tensor]:
    """[value, index] of the live one of [value if false, value if true]."""
    return apply_op("Merge", list(values), {"pred": pred, "N": len(values)}, name)


# Cond.


class CondContext:
    """One branch under construction: sends every outer tensor that is used through a Switch."""

    def __init__(self, graph: Graph, pred: Tensor, pivot: Tensor, branch: int):
        self.graph = graph
        self.pred = pred
        self.pivot = pivot
        self.branch = branch
        self.outer_context = graph._get_control_flow_context()
        self._captured: dict[Tensor, Tensor] = {}

    def _holds(self, op: Operation) -> bool:
        walk = op._control_flow_context
        while walk is not None:
            if walk is self:
                return True
            walk = walk.outer_context
        return False

    def capture(self, tensor: Tensor, scope: str = "") -> Tensor:
        """`tensor` as this branch sees it: dead when the branch is not taken."""
        if self._holds(tensor.op) or tensor is self.pivot:
            return tensor
        found = self._captured.get(tensor)
        if found is None:
            outer = tensor
            if self.outer_context is not None:
                outer = self.outer_context.capture(tensor, scope)
            kind = "RefSwitch" if tensor.dtype._is_ref_dtype else "Switch"
            # The Switch stands outside the branch, and must not wait for what is inside.
            graph = self.graph
            with graph.control_dependencies(None), graph._control_flow(self.outer_context):
                with graph.name_scope(scope):
                    op = graph.create_op(kind, [outer, self.pred], name="Switch")
            found = op.outputs[self.branch]
            self._captured[tensor] = found
        return found

    def enter_op(self, name: str, inputs: Sequence[Tensor], control: Sequence[Operation]) -> Any:
        """Inputs and control inputs of an operation that is created in this branch."""
        seen = [self.capture(t, name + "/") for t in inputs]
        if not seen and not any(self._holds(c) for c in control):
            control = [*control, self.pivot.op]
        return seen, control

    def enter_control(self, op: Operation) -> Operation:
        """An operation that the block waits for."""
        return op

    def result(self, value: Any) -> Any:
        """What a branch's function returned, as a tensor that is dead when it is not taken."""
        if value is None:
            return None
        if isinstance(value, Operation):
            return with_dependencies([value], self.pivot)
        tensor = convert.convert_to_tensor(value)
        return self.capture(tensor, self.graph.get_name_scope() + "/")


def cond(
    pred: Any,
    true_fn: Callable[..., Any] | None = None,
    false_fn: Callable[..., Any] | None = None,
    strict: bool = False,
    name: str | None = None,
    fn1: Callable[..., Any] | None = None,
    fn2: Callable[..., Any] | None = None,
) -> Any:
    """true_fn() if `pred` holds, else false_fn(). Only ops made inside the functions are lazy.

    Args:
        pred: a bool tensor of shape ().
        true_fn: takes nothing, returns tensors (or operations, or None).
        false_fn: the same, with results of the same structure and dtypes.
        strict: keep a list of one result as a list.
        name: name scope, default "cond".
        fn1: old name of `true_fn`.
        fn2: old name of `false_fn`.

    Raises:
        TypeError: `pred` is a Python bool, a function is not callable, or results differ in kind.
        ValueError: results differ in structure or dtype.

    Source: `tf.cond`.
    """
    true_fn = _function("true_fn", true_fn, "fn1", fn1)
    false_fn = _function("false_fn", false_fn, "fn2", fn2)
    if context.executing_eagerly():
        result = true_fn() if bool(convert.convert_to_tensor(pred)) else false_fn()
        return result if strict else _unpack_single(result)
    if isinstance(pred, bool):
        raise TypeError("pred must be a tensor; for a Python bool use `if`.")
    with context.name_scope(name, "cond", [pred]):
        graph = context.get_default_graph()
        pred = convert.convert_to_tensor(pred, name="pred")
        at_false, at_true = apply_op("Switch", [pred, pred])
        if_true = array_ops.identity(at_true, name="switch_t")
        pivots = [array_ops.identity(at_false, name="switch_f"), if_true]
        pred = array_ops.identity(pred, name="pred_id")
        results = []
        for branch, function in ((1, true_fn), (0, false_fn)):
            flow = CondContext(graph, pred, pivots[branch], branch)
            with graph._control_flow(flow):
                made = function()
                made = made if strict else _unpack_single(made)
                values = [flow.result(v) for v in nest.leaves(made)]
            results.append((made, values))
        (made, on_true), (other, on_false) = results
        if not nest.same_form(made, other):
            raise ValueError("true_fn and false_fn must return results of the same structure.")
        merged: list[Any] = []
        for t, f in zip(on_true, on_false, strict=False):
            if (t is None) != (f is None):
                raise TypeError("One branch returns None where the other returns a tensor.")
            if t is None:
                merged.append(None)
                continue
            if t.dtype.base_dtype != f.dtype.base_dtype:
                raise ValueError(
                    f"true_fn returns {t.dtype.name} where false_fn returns {f.dtype.name}."
                )
            merged.append(_merge([f, t], pred)[0])
        return nest.like(made, iter(merged))


def _function(name: str, function: Any, old_name: str, old: Any) -> Callable[..., Any]:
    if old is not None:
        if function is not None:
            raise TypeError(f"Only one of {name} and {old_name} (its old name) may be given.")
        function = old
    if not callable(function):
        raise TypeError(f"{name} must be callable, not {function!r}.")
    return function


def _unpack_single(value: Any) -> Any:
    if isinstance(value, (list, _tuple)) and len(value) == 1 and not hasattr(value, "_fields"):
        return value[0]
    return value


_tuple: type[builtins.tuple[Any, ...]] = builtins.tuple


def smart_cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], name: str | None = None
) -> Any:
    """`cond` that calls one function only if `pred` is known while the graph is built.

    Args:
        pred: a Python bool, 0, 1, or a bool tensor of shape ().
        true_fn: as for `cond`.
        false_fn: as for `cond`.
        name: as for `cond`.
    """
    known = smart_constant_value(pred)
    if known is not None:
        return true_fn() if known else false_fn()
    return cond(pred, true_fn, false_fn, name=name)


def smart_constant_value(pred: Any) -> bool | None:
    """The value of `pred` if it is known while the graph is built.

    Raises:
        TypeError: `pred` is neither a truth value nor a tensor.
    """
    if isinstance(pred, (bool, np.bool_)) or (isinstance(pred, int) and pred in (0, 1)):
        return bool(pred)
    if isinstance(pred, Tensor) or hasattr(pred, "_as_graph_element"):
        value = convert.constant_value(convert.convert_to_tensor(pred))
        return None if value is None else bool(value)
    raise TypeError(f"pred must be a bool, 0, 1 or a bool tensor, not {pred!r}.")


def case(
    pred_fn_pairs: Any,
    default: Callable[..., Any] | None = None,
    exclusive: bool = False,
    strict: bool = False,
    name: str = "case",
) -> Any:
    """The result of the first function whose predicate holds.

    Args:
        pred_fn_pairs: pairs (bool tensor, function), in a list or a dict.
        default: called if no predicate holds; without it that is an error when it is run.
        exclusive: check that at most one predicate holds.
        strict: as for `cond`.
        name: name scope.

    Raises:
        TypeError: pairs of another kind.
        ValueError: no pair, or a dict without `exclusive` or a list-like order.

    Source: `tf.case`.
    """
    pairs: Any = pred_fn_pairs
    if isinstance(pairs, dict):
        pairs = list(pairs.items())
    if not isinstance(pairs, (list, _tuple)):
        raise TypeError("pred_fn_pairs must be a list or a dict of pairs.")
    if not pairs:
        raise ValueError("pred_fn_pairs is empty; at least one pair is needed.")
    pair: Any
    for pair in pairs:
        if not isinstance(pair, _tuple) or len(pair) != 2 or not callable(pair[1]):
            raise TypeError(f"Each element must be a pair (predicate, function), not {pair!r}.")
        if isinstance(pair[0], bool) and not context.executing_eagerly():
            raise TypeError("Predicates must be tensors, not Python bools.")
    with context.name_scope(name, "case", [p for p, _ in pairs]):
        preds = [convert.convert_to_tensor(p) for p, _ in pairs]
        checks = []
        if exclusive and len(preds) > 1:
            count = apply_op("AddN", [apply_op("Cast", [p], {"DstT": dtypes.int32}) for p in preds])
            single = apply_op("LessEqual", [count, 1], same=(0, 1))
            checks.append(Assert(single, ["case: more than one predicate holds.", count]))

        def chain(i: int) -> Callable[..., Any]:
            if i == len(pairs):
                if default is not None:
                    return default
                # Without a default the last function stands in, behind an assertion.
                return lambda: _asserted(preds, pairs[-1][1])
            return lambda: cond(preds[i], pairs[i][1], chain(i + 1), strict=strict)

        with context.control_dependencies([c for c in checks if c is not None]):
            return chain(0)()


def _asserted(preds: Sequence[Tensor], function: Callable[..., Any]) -> Any:
    held = apply_op("Any", [array_ops.stack(list(preds)), [0]], {"keep_dims": False})
    check = Assert(held, ["case: no predicate holds and there is no default."])
    with context.control_dependencies([check] if check is not None else []):
        result = function()
        return nest.like(result, iter([array_ops.identity(v) for v in nest.leaves(result)]))


# Assert.


def _assert(ctx: Any, attrs: dict[str, Any], condition: np.ndarray, *data: np.ndarray) -> None:
    if condition.all():
        return
    shown = " ".join(_summary(d, attrs["summarize"]) for d in data)
    raise errors.InvalidArgumentError(None, None, f"An assertion failed: {shown}")


def _summary(value: np.ndarray, count: int) -> str:
    items = [
        v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v)
        for v in value.ravel()[:count].tolist()
    ]
    if value.ndim == 0:
        return items[0]
    return "[" + " ".join(items) + ("...]" if value.size > count else "]")


register(
    "Assert",
    infer=lambda attrs, inputs: [],
    compute=_assert,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    inputs=["condition", "data*"],
)


def Assert(condition: Any, data: Any, summarize: int | None = None, name: str | None = None) -> Any:
    """Fails with `data` in the message if not all of `condition` holds.

    Raises:
        InvalidArgumentError: in eager mode at once, else when the operation is run.

    Source: `tf.Assert`.
    """
    attrs = {"summarize": 3 if summarize is None else summarize}
    return apply_op("Assert", [condition, *data], attrs, name or "Assert")


# Print, PyFunc.


def _print(ctx: Any, attrs: dict[str, Any], value: Any, *data: np.ndarray) -> Any:
    import sys

    count = ctx.cache["runs"] = ctx.cache.get("runs", 0) + 1
    if attrs["first_n"] < 0 or count <= attrs["first_n"]:
        shown = "".join(_summary(d, attrs["summarize"]) for d in data)
        sys.stderr.write(f"{attrs['message']}{shown}\n")
    return value


register(
    "Print",
    infer=lambda attrs, inputs: [(inputs[0].dtype.base_dtype, inputs[0].shape)],
    compute=_print,
    gradient=lambda op, grad: [grad, *[None] * (len(op.inputs) - 1)],
    stateful=True,
    inputs=["input", "data*"],
    samples=lambda: [({"message": "", "first_n": 0, "summarize": 3}, [np.ones(2), np.ones(1)])],
)


def Print(
    input_: Any,
    data: Any,
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """`input_`; writes `data` to the standard error stream each time it is computed."""
    attrs = {
        "message": message or "",
        "first_n": -1 if first_n is None else first_n,
        "summarize": 3 if summarize is None else summarize,
    }
    return apply_op("Print", [input_, *data], attrs, name)


def _infer_py_func(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    return [(t, TensorShape(None)) for t in attrs["Tout"]]


def _py_func(ctx: Any, attrs: dict[str, Any], *values: Any) -> list[np.ndarray]:
    result = attrs["func"](*[v.copy() if v.ndim else v[()] for v in values])
    if not attrs["Tout"]:
        return []
    results = list(result) if isinstance(result, (list, _tuple)) else [result]
    if len(results) != len(attrs["Tout"]):
        raise ValueError(f"func gave {len(results)} values; Tout names {len(attrs['Tout'])}.")
    out = []
    for value, dtype in zip(results, attrs["Tout"], strict=False):
        array = np.array(value)
        if array.dtype.kind in "SUO":
            array = convert.to_array(array, dtypes.string)
        elif dtypes.as_dtype(array.dtype) != dtype:
            raise ValueError(f"func gave {array.dtype}; Tout names {dtype.name}.")
        out.append(array)
    return out


register(
    "PyFunc",
    infer=_infer_py_func,
    compute=_py_func,
    gradient=NOT_DIFFERENTIABLE,
    stateful=True,
    inputs=["input*"],
)


def py_func(
    func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """Calls a Python function with NumPy arrays when the graph runs.

    Args:
        func: takes an array an input, returns an array (or a list of arrays) of types `Tout`.
        inp: tensors.
        Tout: a dtype, or a list of dtypes.
        stateful: accepted and ignored: the function is called whenever its result is needed.
        name: name of the operation.

    Source: `tf.py_func`.
    """
    several = isinstance(Tout, (list, _tuple))
    types = [dtypes.as_dtype(t).base_dtype for t in (Tout if several else [Tout])]
    out = apply_op("PyFunc", list(inp), {"func": func, "Tout": types}, name or "PyFunc")
    return [out] if several and isinstance(out, Tensor) else out
