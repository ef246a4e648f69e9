"""The one door: every op, in graph mode and in eager mode, is called through `apply_op`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import context, convert, dtypes, graph, registry, state, tensor_shape
from conv3d.framework.tensor import EagerTensor, Tensor


def apply_op(
    op_type: str,
    inputs: Sequence[Any],
    attrs: dict[str, Any] | None = None,
    name: str | None = None,
    *,
    dtypes: Sequence[Any] | None = None,
    same: Sequence[int] | None = None,
    same_from_any: bool = False,
) -> Any:
    """Calls an op: adds a node to the default graph, or computes at once in eager mode.

    Args:
        op_type: a name in the registry.
        inputs: tensors or whatever `convert_to_tensor` takes.
        attrs: attributes of the op.
        name: name of the node; default `op_type`.
        dtypes: a dtype or None an input: what a Python value becomes if it can.
        same: positions of inputs that must be of one dtype. The first sets it.
        same_from_any: the first *tensor* among `same` sets the dtype, not the first input.

    Returns:
        A tensor, a list of tensors if the op has several outputs, and for none the operation
        (None in eager mode).

    Raises:
        TypeError: an input of a dtype that does not fit.
        ValueError: an input of a shape that does not fit.
        InvalidArgumentError: in eager mode, for both of these.
    """
    op_def = registry.get(op_type)
    attrs = {} if attrs is None else attrs
    if context.executing_eagerly():
        return _compute_now(op_def, inputs, attrs, dtypes, same)
    if all(type(x) is Tensor for x in inputs) and not same:
        target = graph.graph_of(inputs)
        op = target.create_op(op_type, inputs, attrs, name)
    else:
        target = graph.graph_of(inputs)
        with context.graph_scope(target), target.name_scope(name or op_type) as scope:
            values = _convert(op_def, inputs, dtypes, same, same_from_any, stateful_refs=False)
            op = target.create_op(op_type, values, attrs, scope)
    if not op.outputs:
        return op
    return op.outputs[0] if len(op.outputs) == 1 else list(op.outputs)


def _convert(
    op_def: registry.OpDef,
    inputs: Sequence[Any],
    preferred: Sequence[Any] | None,
    same: Sequence[int] | None,
    from_any: bool,
    stateful_refs: bool,
) -> list[Any]:
    shared = None
    if same and from_any:
        for i in same:
            if isinstance(inputs[i], Tensor) or hasattr(inputs[i], "_as_graph_element"):
                shared = inputs[i].dtype.base_dtype
                break
    out: list[Any] = []
    for i, value in enumerate(inputs):
        if stateful_refs and getattr(value, "_ref", None) is not None:
            out.append(value)
            continue
        name = op_def.input_name(i, len(inputs))
        in_group = same is not None and i in same
        want = shared if in_group else None
        hint = preferred[i] if preferred is not None and want is None else None
        if want is not None and isinstance(value, Tensor):
            want = None
        is_ref = not stateful_refs and op_def.stateful
        try:
            tensor = convert.convert_to_tensor(
                value, dtype=want, name=name, preferred_dtype=hint, as_ref=is_ref
            )
        except ValueError:
            # A variable or the like that insists on its own dtype: the check below explains.
            if want is None or not hasattr(value, "dtype") or isinstance(value, np.ndarray):
                raise
            tensor = convert.convert_to_tensor(value, name=name)
        if in_group:
            base = tensor.dtype.base_dtype
            if shared is None:
                shared = base
            elif base != shared:
                raise TypeError(
                    f"Input {name!r} of op {op_def.name!r} is {base.name}, but the inputs before "
                    f"it are {shared.name}; both must be of one type (see tf.cast)."
                )
        out.append(tensor)
    return out


class _Typed:
    """Stands for an input when only dtypes are checked."""

    __slots__ = ("dtype",)
    shape = tensor_shape.TensorShape(None)

    def __init__(self, dtype: Any):
        self.dtype = dtype

    def get_shape(self) -> tensor_shape.TensorShape:
        return self.shape

    def constant_value(self) -> None:
        return None


_checked: set[Any] = set()


def _check_types(op_def: registry.OpDef, values: Sequence[Any], attrs: dict[str, Any]) -> None:
    """Lets the op's shape rule judge the dtypes, once for each combination."""
    key = (
        op_def.name,
        tuple(v.dtype for v in values),
        tuple(v for v in attrs.values() if isinstance(v, dtypes.DType)),
    )
    if key not in _checked:
        op_def.infer(attrs, [_Typed(v.dtype) for v in values])
        _checked.add(key)


def _compute_now(
    op_def: registry.OpDef,
    inputs: Sequence[Any],
    attrs: dict[str, Any],
    preferred: Sequence[Any] | None,
    same: Sequence[int] | None,
) -> Any:
    try:
        values = _convert(op_def, inputs, preferred, same, True, stateful_refs=op_def.stateful)
        _check_types(op_def, values, attrs)
        with np.errstate(all="ignore"):  # infinities and NaN are results, not events
            if op_def.stateful:
                raw = [v._value if isinstance(v, EagerTensor) else v._ref for v in values]
                ctx = state.StatefulContext(state.eager_store)
                with state.locked(raw):
                    results = op_def.compute(ctx, attrs, *raw)
            else:
                results = op_def.compute(attrs, *[v._value for v in values])
    except Exception as e:
        raise translate(e, None, op_def.name) from e
    if results is None:
        outputs: list[Any] = []
    elif isinstance(results, (tuple, list)):
        outputs = [EagerTensor(frozen(r)) for r in results]
    else:
        outputs = [EagerTensor(frozen(results))]
    if context.stacks.tapes:
        for tape in context.stacks.tapes:
            tape._record(op_def, attrs, values, outputs)
    if not outputs:
        return None
    return outputs[0] if len(outputs) == 1 else outputs


def frozen(value: Any) -> np.ndarray:
    """`value` as a read-only array; an array of one's own is marked, any other is viewed."""
    array = np.asarray(value)
    if array.flags.writeable:
        if array.base is not None:
            array = array.view()
        array.flags.writeable = False
    return array


def translate(e: Exception, op: Any, op_type: str) -> Exception:
    """The run-time error that stands for an exception raised while an op was computed."""
    node_def = None if op is None else op.node_def
    if isinstance(e, errors.OpError):
        if op is not None and e._op is None:
            e._op, e._node_def = op, node_def
        return e
    if isinstance(e, MemoryError):
        return errors.ResourceExhaustedError(node_def, op, f"{op_type}: out of memory. {e}".strip())
    if isinstance(e, NotImplementedError):
        return errors.UnimplementedError(node_def, op, f"{op_type}: {e}")
    if isinstance(e, (ValueError, TypeError, IndexError, ArithmeticError)):
        return errors.InvalidArgumentError(node_def, op, f"{op_type}: {e}")
    return e


__all__ = ["apply_op", "frozen", "translate"]
