"""Checks of values, shapes and types that stop a run.

What is known while the graph is built is checked then; the rest becomes an `Assert`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.registry import register
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops, control_flow_ops, math_ops, shape_rules

# CheckNumerics.


def _check_numerics(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    found = [word for word, test in (("NaN", np.isnan), ("Inf", np.isinf)) if test(x).any()]
    if found:
        raise errors.InvalidArgumentError(
            None, None, f"{attrs['message']}: the tensor holds {' and '.join(found)}."
        )
    return x


register(
    "CheckNumerics",
    infer=shape_rules.unary(shape_rules.FLOATS),
    compute=_check_numerics,
    gradient=lambda op, grad: [grad],
    inputs=["tensor"],
    samples=lambda: [({"message": "sample"}, [np.ones(3)])],
)


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """The tensor; InvalidArgumentError with `message` when it is run and holds NaN or Inf."""
    return apply_op("CheckNumerics", [tensor], {"message": message}, name)


def verify_tensor_all_finite(t: Any, msg: str, name: str | None = None) -> Tensor:
    """The tensor; InvalidArgumentError with `msg` when it is run and holds NaN or Inf."""
    return check_numerics(t, msg, name or "VerifyFinite")


# Assertions on values.


def _check(holds: Tensor, data: Sequence[Any], summarize: Any, name: str) -> Any:
    """Asserts that all of `holds` is true, at once if it is known."""
    known = convert.constant_value(holds)
    if known is not None and not context.executing_eagerly():
        if not known.all():
            shown = [convert.constant_value(d) if isinstance(d, Tensor) else d for d in data]
            raise errors.InvalidArgumentError(None, None, " ".join(str(s) for s in shown))
        return control_flow_ops.no_op(name=name)
    axes = apply_op("Range", [0, array_ops.rank(holds), 1], same=(0, 1, 2))
    every = apply_op("All", [holds, axes], {"keep_dims": False})
    return control_flow_ops.Assert(every, data, summarize, name)


def _pair_check(label: str, test: Callable[..., Any], words: str) -> Callable[..., Any]:
    def call(
        x: Any,
        y: Any,
        data: Any = None,
        summarize: Any = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Any:
        with context.name_scope(name, label, [x, y, data]):
            x = convert.convert_to_tensor(x, name="x")
            y = convert.convert_to_tensor(y, name="y", preferred_dtype=x.dtype.base_dtype)
            if data is None:
                data = [f"{message or label}: x {words} y does not hold. x:", x, "y:", y]
            return _check(test(x, y), data, summarize, label)

    call.__name__ = label
    call.__doc__ = f"""Checks that x {words} y everywhere.

    Args:
        x: a tensor.
        y: a tensor of the same type that fits the shape of x.
        data: what an error shows; default both tensors.
        summarize: how many elements of each.
        message: start of the error's text.
        name: name scope.

    Returns:
        An operation for control dependencies; None in eager mode.

    Raises:
        InvalidArgumentError: now if the values are known, else when the operation is run.

    Source: `tf.{label}`.
    """
    return call


assert_equal = _pair_check("assert_equal", math_ops.equal, "==")
assert_none_equal = _pair_check("assert_none_equal", math_ops.not_equal, "!=")
assert_less = _pair_check("assert_less", math_ops.less, "<")
assert_less_equal = _pair_check("assert_less_equal", math_ops.less_equal, "<=")
assert_greater = _pair_check("assert_greater", math_ops.greater, ">")
assert_greater_equal = _pair_check("assert_greater_equal", math_ops.greater_equal, ">=")


def _zero_check(label: str, pair: Callable[..., Any]) -> Callable[..., Any]:
    def call(
        x: Any,
        data: Any = None,
        summarize: Any = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Any:
        with context.name_scope(name, label, [x, data]):
            x = convert.convert_to_tensor(x, name="x")
            zero = convert.convert_to_tensor(0, dtype=x.dtype.base_dtype)
            return pair(x, zero, data, summarize, message or label)

    call.__name__ = label
    call.__doc__ = f"Checks what the name says of all elements. See `{pair.__name__}`."
    return call


assert_positive = _zero_check("assert_positive", assert_greater)
assert_non_negative = _zero_check("assert_non_negative", assert_greater_equal)
assert_negative = _zero_check("assert_negative", assert_less)
assert_non_positive = _zero_check("assert_non_positive", assert_less_equal)


# Assertions on shapes and types.


def _rank_check(label: str, word: str, test: Callable[[int, int], bool], op: str) -> Any:
    def call(
        x: Any,
        rank: Any,
        data: Any = None,
        summarize: Any = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Any:
        with context.name_scope(name, label, [x, data]):
            x = convert.convert_to_tensor(x, name="x")
            wanted = convert.convert_to_tensor(rank, dtype=dtypes.int32, name="rank")
            known = convert.constant_value(wanted)
            if known is not None and known.ndim:
                raise ValueError(f"rank must be one number, not {known.tolist()}.")
            if known is not None and x.shape.ndims is not None:
                if not test(x.shape.ndims, int(known)):
                    raise ValueError(
                        f"{message or label}: x has rank {x.shape.ndims}; {word} {int(known)} is "
                        "wanted."
                    )
                return control_flow_ops.no_op(name="static_checks_determined_all_ok")
            found = array_ops.rank(x)
            if data is None:
                data = [f"{message or label}: rank {word}", wanted, "is wanted; x has", found]
            return _check(apply_op(op, [found, wanted]), data, summarize, label)

    call.__name__ = label
    call.__doc__ = f"""Checks that a tensor has rank {word} `rank`. See `assert_equal`.

    Raises:
        ValueError: the ranks are known and do not fit.
        InvalidArgumentError: they do not fit when the operation is run.
    """
    return call


assert_rank = _rank_check("assert_rank", "exactly", lambda a, b: a == b, "Equal")
assert_rank_at_least = _rank_check(
    "assert_rank_at_least", "at least", lambda a, b: a >= b, "GreaterEqual"
)


def assert_type(
    tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None
) -> Any:
    """Checks the dtype. Raises TypeError if it is another one."""
    tensor = convert.convert_to_tensor(tensor, name="tensor")
    wanted = dtypes.as_dtype(tf_type)
    if tensor.dtype.base_dtype != wanted.base_dtype:
        raise TypeError(
            f"{message or 'assert_type'}: the tensor is {tensor.dtype.name}; {wanted.name} is "
            "wanted."
        )
    return control_flow_ops.no_op(name=name or "statically_determined_correct_type")


def assert_scalar(tensor: Any, name: str | None = None) -> Tensor:
    """The tensor. Raises ValueError if its shape is known not to be ()."""
    tensor = convert.convert_to_tensor(tensor)
    if tensor.shape.ndims not in (None, 0):
        raise ValueError(f"A tensor of shape () is wanted, not {tensor.shape}.")
    return tensor


def is_numeric_tensor(tensor: Any) -> bool:
    """True for tensors of numbers."""
    return isinstance(tensor, Tensor) and tensor.dtype.base_dtype in shape_rules.NUMBERS
