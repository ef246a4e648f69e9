"""Arithmetic, element by element, and products of matrices; the operators of tensors.

Reductions stand in `math_reduce_ops`, whose names are offered here too.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from conv3d import engine
from conv3d.framework import context, convert, dtypes
from conv3d.framework.execute import apply_op
from conv3d.framework.indexed_slices import IndexedSlices
from conv3d.framework.registry import NOT_DIFFERENTIABLE, register
from conv3d.framework.tensor import EagerTensor, Tensor
from conv3d.framework.tensor_shape import TensorShape, unknown_shape
from conv3d.ops import array_ops, shape_rules
from conv3d.ops.shape_rules import FLOATS, NUMBERS, REAL

# Gradients of broadcasting.


# Below this many elements NumPy is as fast as a call of the engine.
_ENGINE_ELEMENTS = 4096


def _unbroadcast_pair(op: Any, gx: Any, gy: Any) -> list[Any]:
    """Sums the gradients over the axes along which x and y were repeated."""
    x, y = op.inputs
    if x.shape.is_fully_defined() and y.shape.is_fully_defined():
        return [_unbroadcast(g, t) for g, t in ((gx, x), (gy, y))]
    sx, sy = array_ops.shape(x), array_ops.shape(y)
    rx, ry = apply_op("BroadcastGradientArgs", [sx, sy])
    out = []
    for g, r, s in ((gx, rx, sx), (gy, ry, sy)):
        if g is not None:
            g = array_ops.reshape(apply_op("Sum", [g, r], {"keep_dims": False}), s)
        out.append(g)
    return out


def _unbroadcast(grad: Any, x: Any) -> Any:
    if grad is None or grad.shape.as_list() == x.shape.as_list():
        return grad
    dims = x.shape.as_list()
    lead = grad.shape.ndims - len(dims)
    axes = list(builtins.range(lead))
    axes += [lead + i for i, d in enumerate(dims) if d == 1 and grad.shape[lead + i].value != 1]
    total = apply_op("Sum", [grad, np.array(axes, np.int32)], {"keep_dims": False})
    return array_ops.reshape(total, np.array(dims, np.int32))


def _infer_broadcast_args(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    dtype = shape_rules.same_dtype(inputs)
    return [(dtype, unknown_shape(1)), (dtype, unknown_shape(1))]


def _broadcast_args(attrs: dict[str, Any], sx: np.ndarray, sy: np.ndarray) -> list[np.ndarray]:
    n = max(len(sx), len(sy))
    x = [1] * (n - len(sx)) + sx.tolist()
    y = [1] * (n - len(sy)) + sy.tolist()
    # Where both are 1 the sum over one element does no harm; TensorFlow lists the axis for both.
    rx = [i for i in builtins.range(n) if x[i] == 1]
    ry = [i for i in builtins.range(n) if y[i] == 1]
    return [np.array(rx, sx.dtype), np.array(ry, sy.dtype)]


register(
    "BroadcastGradientArgs",
    infer=_infer_broadcast_args,
    compute=_broadcast_args,
    gradient=NOT_DIFFERENTIABLE,
    inputs=["s0", "s1"],
    samples=lambda: [({}, [np.array([2, 1], np.int32), np.array([3], np.int32)])],
)


# Two operands.


def _pairs(positive: bool = False) -> Callable[..., Any]:
    """Sample operands: equal shapes, broadcasting both ways, a scalar."""

    def samples() -> list[Any]:
        rng = np.random.default_rng(7)
        low = 0.5 if positive else -2.0

        def draw(*dims: int) -> np.ndarray:
            return rng.uniform(low, 2.0, dims)

        return [
            ({}, [draw(2, 3), draw(2, 3)]),
            ({}, [draw(2, 3), draw(3)]),
            ({}, [draw(2, 1), draw(1, 3)]),
            ({}, [draw(), draw(2)]),
        ]

    return samples


def _register_binary(
    name: str,
    function: Callable[..., Any],
    gradient: Any,
    allowed: Sequence[Any] = NUMBERS,
    out: Any = None,
    samples: Callable[..., Any] | None = None,
) -> None:
    if isinstance(function, np.ufunc) and out is None:
        function = partial(shape_rules.elementwise, function)
    register(
        name,
        infer=shape_rules.binary(allowed, out),
        compute=lambda attrs, x, y: function(x, y),
        gradient=gradient,
        inputs=["x", "y"],
        samples=samples or _pairs(),
    )


_register_binary("Add", np.add, lambda op, g: _unbroadcast_pair(op, g, g))
_register_binary("Sub", np.subtract, lambda op, g: _unbroadcast_pair(op, g, negative(g)))
_register_binary(
    "Mul",
    np.multiply,
    lambda op, g: _unbroadcast_pair(op, g * op.inputs[1], g * op.inputs[0]),
)


def _binary_call(op_type: str, x: Any, y: Any, name: str | None) -> Tensor:
    return apply_op(op_type, [x, y], None, name, same=(0, 1))


def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X + y."""
    return _binary_call("Add", x, y, name)


def subtract(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X - y."""
    return _binary_call("Sub", x, y, name)


def scalar_mul(scalar: Any, x: Any) -> Any:
    """A scalar times a tensor; of `IndexedSlices` the slices are multiplied.

    Raises:
        ValueError: `scalar` is none.
    """
    scalar = convert.convert_to_tensor(scalar, dtype=x.dtype.base_dtype, name="scalar")
    if scalar.shape.ndims != 0:
        raise ValueError(f"`scalar` has shape {scalar.shape}; a scalar is needed.")
    if isinstance(x, IndexedSlices):
        return IndexedSlices(multiply(scalar, x.values), x.indices, x.dense_shape)
    return multiply(scalar, x)


def multiply(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X * y, element by element."""
    return _binary_call("Mul", x, y, name)


def _is_int(x: np.ndarray) -> bool:
    return x.dtype.kind in "iu"


def _nonzero(y: np.ndarray) -> np.ndarray:
    if _is_int(y) and not np.all(y):
        raise ValueError("an integer is divided by zero.")
    return y


def _floor_div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.floor_divide(x, _nonzero(y))


def _truncate_div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if not _is_int(x):
        return np.trunc(x / y).astype(x.dtype)
    quotient = np.floor_divide(x, _nonzero(y))
    # Towards zero, where floor_divide goes down: one more if the signs differ and a rest is left.
    return quotient + ((x < 0) != (y < 0)) * (quotient * y != x).astype(x.dtype)


def _grad_div(op: Any, g: Tensor) -> list[Any]:
    _x, y = op.inputs
    return _unbroadcast_pair(op, realdiv(g, y), realdiv(negative(g) * op.outputs[0], y))


def _grad_mod(op: Any, g: Tensor) -> list[Any]:
    x, y = op.inputs
    return _unbroadcast_pair(op, g, negative(g) * floor_div(x, y))


def _grad_pow(op: Any, g: Tensor) -> list[Any]:
    x, y = op.inputs
    gx = g * y * pow(x, y - 1)
    # The gradient by the exponent needs a logarithm; where x is not positive it is 0.
    positive = greater(x, array_ops.zeros_like(x)) if not x.dtype.is_complex else None
    if positive is None:
        logarithm = log(x)
    else:
        safe = array_ops.where(positive, x, array_ops.ones_like(x))
        logarithm = array_ops.where(positive, log(safe), array_ops.zeros_like(x))
    return _unbroadcast_pair(op, gx, g * op.outputs[0] * logarithm)


def _pow(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if _is_int(y) and (y < 0).any():
        raise ValueError("integers are raised to non-negative powers only.")
    return np.power(x, y)


def _grad_choice(test: Callable[..., Any]) -> Callable[..., Any]:
    def gradient(op: Any, g: Tensor) -> list[Any]:
        x, y = op.inputs
        chosen = cast(test(x, y), g.dtype)
        return _unbroadcast_pair(op, g * chosen, g * (1 - chosen))

    return gradient


def _grad_squared_difference(op: Any, g: Tensor) -> list[Any]:
    x, y = op.inputs
    gx = 2 * g * (x - y)
    return _unbroadcast_pair(op, gx, negative(gx))


_positive = _pairs(positive=True)
_register_binary("RealDiv", np.divide, _grad_div, FLOATS + shape_rules.COMPLEX, samples=_positive)
_register_binary(
    "Div",
    lambda x, y: _truncate_div(x, y) if _is_int(x) else np.divide(x, y),
    _grad_div,
    samples=_positive,
)
_register_binary("FloorDiv", _floor_div, NOT_DIFFERENTIABLE, REAL, samples=_positive)
_register_binary("TruncateDiv", _truncate_div, NOT_DIFFERENTIABLE, REAL, samples=_positive)
_register_binary(
    "FloorMod", lambda x, y: np.mod(x, _nonzero(y)), _grad_mod, REAL, samples=_positive
)
_register_binary(
    "Mod", lambda x, y: np.fmod(x, _nonzero(y)), NOT_DIFFERENTIABLE, REAL, samples=_positive
)
_register_binary("Pow", _pow, _grad_pow, samples=_positive)
_register_binary("Maximum", np.maximum, _grad_choice(lambda x, y: greater_equal(x, y)), REAL)
_register_binary("Minimum", np.minimum, _grad_choice(lambda x, y: less_equal(x, y)), REAL)
_register_binary(
    "SquaredDifference", lambda x, y: np.square(x - y), _grad_squared_difference, NUMBERS
)


def _grad_atan2(op: Any, g: Tensor) -> list[Any]:
    y, x = op.inputs
    scale = g / (square(x) + square(y))
    return _unbroadcast_pair(op, x * scale, negative(y) * scale)


_register_binary("Atan2", np.arctan2, _grad_atan2, FLOATS, samples=_positive)


def realdiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y of floats."""
    return _binary_call("RealDiv", x, y, name)


def floor_div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y rounded down."""
    return _binary_call("FloorDiv", x, y, name)


def truncatediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y rounded towards zero."""
    return _binary_call("TruncateDiv", x, y, name)


def floormod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The rest of `floordiv`; it has the sign of y."""
    return _binary_call("FloorMod", x, y, name)


mod = floormod


def truncatemod(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The rest of `truncatediv`; it has the sign of x."""
    return _binary_call("Mod", x, y, name)


def _convert_pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Two tensors of one dtype; the first sets it."""
    x = convert.convert_to_tensor(x, name="x")
    y = convert.convert_to_tensor(
        y, dtype=None if isinstance(y, Tensor) else x.dtype.base_dtype, name="y"
    )
    if x.dtype.base_dtype != y.dtype.base_dtype:
        raise TypeError(
            f"x is {x.dtype.base_dtype.name} and y is {y.dtype.base_dtype.name}; they must be of "
            "one type (see tf.cast)."
        )
    return x, y


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y as in Python 3: small integers become float32, large ones float64."""
    with context.name_scope(name, "truediv", [x, y]) as scope:
        x, y = _convert_pair(x, y)
        if x.dtype.is_integer or x.dtype.is_bool:
            wide = dtypes.float32 if x.dtype.size <= 2 else dtypes.float64
            x, y = cast(x, wide), cast(y, wide)
        return apply_op("RealDiv", [x, y], None, scope or None)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y as in Python 3."""
    if isinstance(x, Tensor) or not isinstance(y, Tensor):
        return truediv(x, y, name)
    return truediv(convert.convert_to_tensor(x, y.dtype.base_dtype), y, name)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y as in Python 2: integers are divided with rounding down."""
    with context.name_scope(name, "div", [x, y]) as scope:
        x, y = _convert_pair(x, y)
        floats = x.dtype.is_floating or x.dtype.is_complex
        return apply_op("RealDiv" if floats else "FloorDiv", [x, y], None, scope or None)


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y, and 0 where y is 0."""
    with context.name_scope(name, "div_no_nan", [x, y]):
        x, y = _convert_pair(x, y)
        zero = equal(y, array_ops.zeros_like(y))
        # Both branches have to be finite, or the gradient is not.
        quotient = x / array_ops.where(zero, array_ops.ones_like(y), y)
        keep = 1 - cast(zero, x.dtype.base_dtype)
        return quotient * keep


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X / y rounded down."""
    with context.name_scope(name, "floordiv", [x, y]) as scope:
        return apply_op("FloorDiv", [x, y], None, scope or None, same=(0, 1))


def pow(x: Any, y: Any, name: str | None = None) -> Tensor:
    """X to the power of y."""
    with context.name_scope(name, "Pow", [x]) as scope:
        return apply_op("Pow", [x, y], None, scope or None, same=(0, 1))


def maximum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The larger of x and y, element by element."""
    return _binary_call("Maximum", x, y, name)


def minimum(x: Any, y: Any, name: str | None = None) -> Tensor:
    """The smaller of x and y, element by element."""
    return _binary_call("Minimum", x, y, name)


def squared_difference(x: Any, y: Any, name: str | None = None) -> Tensor:
    """(x - y)^2."""
    return _binary_call("SquaredDifference", x, y, name)


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), in radians."""
    return _binary_call("Atan2", y, x, name)


# Comparison and logic.


def _register_test(
    name: str, function: Callable[..., Any], allowed: Sequence[Any]
) -> Callable[..., Any]:
    # NumPy compares arrays of objects (strings) to objects; the result is to be bool.
    register(
        name,
        infer=shape_rules.binary(allowed, dtypes.bool),
        compute=lambda attrs, x, y: np.asarray(function(x, y), dtype=np.bool_),
        gradient=NOT_DIFFERENTIABLE,
        inputs=["x", "y"],
        samples=_bools if allowed == (dtypes.bool,) else _pairs(),
    )

    def call(x: Any, y: Any, name: str | None = None) -> Tensor:
        return _binary_call(op_type, x, y, name)

    op_type = name
    call.__doc__ = f"{name} of x and y, element by element; gives bool."
    return call


def _bools() -> list[Any]:
    return [({}, [np.array([True, False, True]), np.array([[True], [False]])])]


_ANY = (*NUMBERS, dtypes.bool, dtypes.string)
equal = _register_test("Equal", np.equal, _ANY)
not_equal = _register_test("NotEqual", np.not_equal, _ANY)
less = _register_test("Less", np.less, REAL)
less_equal: Callable[..., Tensor] = _register_test("LessEqual", np.less_equal, REAL)
greater = _register_test("Greater", np.greater, REAL)
greater_equal: Callable[..., Tensor] = _register_test("GreaterEqual", np.greater_equal, REAL)
logical_and = _register_test("LogicalAnd", np.logical_and, (dtypes.bool,))
logical_or = _register_test("LogicalOr", np.logical_or, (dtypes.bool,))
for _name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"):
    globals()[_name].__name__ = _name
logical_and.__name__, logical_or.__name__ = "logical_and", "logical_or"


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Tensor:
    """True where exactly one of x and y is."""
    with context.name_scope(name):
        return logical_and(logical_or(x, y), logical_not(logical_and(x, y)))


# One operand.


def _register_unary(
    name: str,
    function: Callable[..., Any],
    gradient: Any,
    allowed: Sequence[Any] = FLOATS + shape_rules.COMPLEX,
    at: Sequence[float] = (-1.3, -0.4, 0.3, 0.9, 1.7),
    out: Any = None,
    label: str | None = None,
) -> Callable[..., Any]:
    """Registers an op and gives the function that calls it; `gradient(x, y, g)` is for x."""

    def infer(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
        shape_rules.check_dtype("x", inputs[0].dtype, allowed)
        return [(inputs[0].dtype.base_dtype if out is None else out, inputs[0].shape)]

    if isinstance(function, np.ufunc) and out is None:
        function = partial(shape_rules.elementwise, function)
    if gradient is not NOT_DIFFERENTIABLE:
        rule = gradient
        gradient = lambda op, g: [rule(op.inputs[0], op.outputs[0], g)]  # noqa: E731
    sample = np.array(at) if allowed != (dtypes.bool,) else np.array([True, False])
    register(
        name,
        infer=infer,
        compute=lambda attrs, x: function(x),
        gradient=gradient,
        inputs=["x"],
        samples=lambda: [({}, [sample]), ({}, [sample[:4].reshape(2, -1)])],
    )

    def call(x: Any, name: str | None = None) -> Tensor:
        return apply_op(op_type, [x], None, name)

    op_type = name
    call.__name__ = label or name.lower()
    call.__doc__ = f"{name} of x, element by element."
    return call


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # exp of a negative number only, so that nothing overflows.
    e = np.exp(-np.abs(x))
    return (np.where(x >= 0, 1, e) / (1 + e)).astype(x.dtype)


def _erf(x: np.ndarray) -> np.ndarray:
    return _by_element(math.erf, x)


def _by_element(function: Callable[..., Any], x: np.ndarray) -> np.ndarray:
    flat = np.fromiter((function(v) for v in x.ravel().tolist()), np.float64, x.size)
    return flat.reshape(x.shape).astype(x.dtype)


def _lgamma(v: float) -> float:
    if v <= 0 and v == math.floor(v):
        return math.inf
    return math.lgamma(v)


def _digamma(v: float) -> float:
    """Recurrence up to 10, then the asymptotic series; reflection for negative arguments."""
    if v <= 0:
        if v == math.floor(v):
            return math.nan
        return _digamma(1 - v) - math.pi / math.tan(math.pi * v)
    shift = 0.0
    while v < 10:
        shift -= 1 / v
        v += 1
    s = 1 / (v * v)
    series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s / 132))))
    return shift + math.log(v) - 0.5 / v - series


def _trigamma(v: float) -> float:
    """The derivative of `_digamma`, in the same way."""
    if v <= 0:
        if v == math.floor(v):
            return math.inf
        return -_trigamma(1 - v) + (math.pi / math.sin(math.pi * v)) ** 2
    shift = 0.0
    while v < 10:
        shift += 1 / (v * v)
        v += 1
    s = 1 / (v * v)
    series = s / v * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * 5 / 66))))
    return shift + 1 / v + 0.5 * s + series


_POSITIVE = (0.2, 0.7, 1.0, 1.9, 3.1)
_SMALL = (-0.8, -0.3, 0.1, 0.45, 0.7)
_ALL_FLOAT = FLOATS + shape_rules.COMPLEX

negative: Callable[..., Tensor] = _register_unary(
    "Neg", np.negative, lambda x, y, g: negative(g), NUMBERS
)
square = _register_unary("Square", np.square, lambda x, y, g: g * (2 * x), NUMBERS)
abs = _register_unary("Abs", np.abs, lambda x, y, g: g * sign(x), REAL)
sign: Callable[..., Tensor] = _register_unary(
    "Sign", np.sign, lambda x, y, g: array_ops.zeros_like(x), NUMBERS
)
sqrt = _register_unary("Sqrt", np.sqrt, lambda x, y, g: g * 0.5 / y, at=_POSITIVE)
rsqrt = _register_unary(
    "Rsqrt",
    lambda x: (1 / np.sqrt(x)).astype(x.dtype),
    lambda x, y, g: g * -0.5 * y * y * y,
    at=_POSITIVE,
)
reciprocal = _register_unary(
    "Reciprocal",
    lambda x: np.divide(np.ones_like(x), x),
    lambda x, y, g: negative(g) * y * y,
    at=_POSITIVE,
)
exp = _register_unary("Exp", np.exp, lambda x, y, g: g * y)
expm1 = _register_unary("Expm1", np.expm1, lambda x, y, g: g * exp(x))
log = _register_unary("Log", np.log, lambda x, y, g: g / x, at=_POSITIVE)
log1p = _register_unary("Log1p", np.log1p, lambda x, y, g: g / (1 + x), at=_POSITIVE)
sin = _register_unary("Sin", np.sin, lambda x, y, g: g * cos(x))
cos: Callable[..., Tensor] = _register_unary("Cos", np.cos, lambda x, y, g: negative(g) * sin(x))
tan = _register_unary("Tan", np.tan, lambda x, y, g: g / square(cos(x)))
asin = _register_unary("Asin", np.arcsin, lambda x, y, g: g / sqrt(1 - square(x)), at=_SMALL)
acos = _register_unary(
    "Acos", np.arccos, lambda x, y, g: negative(g) / sqrt(1 - square(x)), at=_SMALL
)
atan = _register_unary("Atan", np.arctan, lambda x, y, g: g / (1 + square(x)))
sinh = _register_unary("Sinh", np.sinh, lambda x, y, g: g * cosh(x))
cosh: Callable[..., Tensor] = _register_unary("Cosh", np.cosh, lambda x, y, g: g * sinh(x))
asinh = _register_unary("Asinh", np.arcsinh, lambda x, y, g: g / cosh(y))
acosh = _register_unary("Acosh", np.arccosh, lambda x, y, g: g / sinh(y), at=(1.2, 1.7, 2.5, 3.1))
atanh = _register_unary("Atanh", np.arctanh, lambda x, y, g: g / (1 - square(x)), at=_SMALL)
tanh = _register_unary("Tanh", np.tanh, lambda x, y, g: apply_op("TanhGrad", [y, g]))
sigmoid = _register_unary("Sigmoid", _sigmoid, lambda x, y, g: apply_op("SigmoidGrad", [y, g]))
erf = _register_unary(
    "Erf", _erf, lambda x, y, g: g * (2 / math.sqrt(math.pi)) * exp(negative(square(x))), FLOATS
)
erfc = _register_unary(
    "Erfc",
    lambda x: _by_element(math.erfc, x),
    lambda x, y, g: g * (-2 / math.sqrt(math.pi)) * exp(negative(square(x))),
    FLOATS,
)
lgamma = _register_unary(
    "Lgamma", lambda x: _by_element(_lgamma, x), lambda x, y, g: g * digamma(x), FLOATS, _POSITIVE
)
digamma: Callable[..., Tensor] = _register_unary(
    "Digamma",
    lambda x: _by_element(_digamma, x),
    lambda x, y, g: apply_op("DigammaGrad", [x, g]),
    FLOATS,
    _POSITIVE,
)
floor = _register_unary("Floor", np.floor, NOT_DIFFERENTIABLE, FLOATS)
ceil = _register_unary("Ceil", np.ceil, NOT_DIFFERENTIABLE, FLOATS)
rint = _register_unary("Rint", np.rint, NOT_DIFFERENTIABLE, FLOATS)
_round = _register_unary(
    "Round", lambda x: x if _is_int(x) else np.rint(x), NOT_DIFFERENTIABLE, NUMBERS, label="round"
)
is_nan = _register_unary(
    "IsNan", np.isnan, NOT_DIFFERENTIABLE, FLOATS, out=dtypes.bool, label="is_nan"
)
is_inf = _register_unary(
    "IsInf", np.isinf, NOT_DIFFERENTIABLE, FLOATS, out=dtypes.bool, label="is_inf"
)
is_finite = _register_unary(
    "IsFinite", np.isfinite, NOT_DIFFERENTIABLE, FLOATS, out=dtypes.bool, label="is_finite"
)
logical_not = _register_unary(
    "LogicalNot",
    np.logical_not,
    NOT_DIFFERENTIABLE,
    (dtypes.bool,),
    out=dtypes.bool,
    label="logical_not",
)


def round(x: Any, name: str | None = None) -> Tensor:
    """X rounded to the nearest integer; halves go to the even one."""
    x = convert.convert_to_tensor(x, name="x")
    return x if x.dtype.is_integer else _round(x, name)


# Gradients of tanh and sigmoid are one op each: they are applied to large tensors.
def _register_from_output(
    name: str, function: Callable[..., Any], gradient: Callable[..., Any]
) -> None:
    register(
        name,
        infer=shape_rules.binary(_ALL_FLOAT),
        compute=lambda attrs, y, g: function(y, g),
        gradient=gradient,
        inputs=["y", "dy"],
        samples=lambda: [({}, [np.array([0.2, 0.6, 0.9]), np.array([1.0, -0.5, 2.0])])],
    )


def _grad_tanh_grad(op: Any, g: Tensor) -> list[Any]:
    y, dy = op.inputs
    return [g * dy * (-2 * y), apply_op("TanhGrad", [y, g])]


def _grad_sigmoid_grad(op: Any, g: Tensor) -> list[Any]:
    y, dy = op.inputs
    return [g * dy * (1 - 2 * y), apply_op("SigmoidGrad", [y, g])]


register(
    "DigammaGrad",
    infer=shape_rules.binary(FLOATS),
    compute=lambda attrs, x, g: g * _by_element(_trigamma, x),
    gradient=None,  # of third order there is none
    inputs=["x", "dy"],
    samples=lambda: [({}, [np.array([0.2, 1.5, 12.0]), np.array([1.0, -0.5, 2.0])])],
)


def _tanh_grad(y: np.ndarray, g: np.ndarray) -> np.ndarray:
    if shape_rules.for_engine(g, y):
        return engine.activation_grad("tanh", g, y)
    return g * (1 - y * y)


def _sigmoid_grad(y: np.ndarray, g: np.ndarray) -> np.ndarray:
    if shape_rules.for_engine(g, y):
        return engine.activation_grad("sigmoid", g, y)
    return g * (y * (1 - y))


_register_from_output("TanhGrad", _tanh_grad, _grad_tanh_grad)
_register_from_output("SigmoidGrad", _sigmoid_grad, _grad_sigmoid_grad)


# Cast.


def _cast(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    return x.astype(attrs["DstT"].as_numpy_dtype, copy=False)


def _grad_cast(op: Any, grad: Tensor) -> list[Any]:
    source = op.inputs[0].dtype.base_dtype
    return [cast(grad, source) if source.is_floating or source.is_complex else None]


def _infer_cast(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    allowed = (*NUMBERS, dtypes.bool)
    shape_rules.check_dtype("x", inputs[0].dtype, allowed)
    shape_rules.check_dtype("dtype", attrs["DstT"], allowed)
    return [(attrs["DstT"], inputs[0].shape)]


register(
    "Cast",
    infer=_infer_cast,
    compute=_cast,
    gradient=_grad_cast,
    inputs=["x"],
    samples=lambda: [
        ({"DstT": dtypes.float64}, [np.array([1.5, -2.5])]),
        ({"DstT": dtypes.int32}, [np.array([1.5, -2.5])]),
        ({"DstT": dtypes.float64}, [np.array([1, -2], np.int32)]),
    ],
)


def cast(x: Any, dtype: Any, name: str | None = None) -> Tensor:
    """X with elements of another type; the same tensor if it is of that type."""
    base = dtypes.as_dtype(dtype).base_dtype
    with context.name_scope(name, "Cast", [x]) as scope:
        x = convert.convert_to_tensor(x, name="x")
        if x.dtype.base_dtype == base:
            return x
        attrs = {"DstT": base, "SrcT": x.dtype.base_dtype}
        return apply_op("Cast", [x], attrs, scope or None)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """`cast` that clips to the range of `dtype` first."""
    with context.name_scope(name, "saturate_cast", [value]) as scope:
        value = convert.convert_to_tensor(value, name="value")
        dtype = dtypes.as_dtype(dtype).base_dtype
        if value.dtype.min < dtype.min:
            value = maximum(value, convert.convert_to_tensor(dtype.min, value.dtype.base_dtype))
        if value.dtype.max > dtype.max:
            value = minimum(value, convert.convert_to_tensor(dtype.max, value.dtype.base_dtype))
        return cast(value, dtype, scope or None)


def _caster(dtype: Any, label: str) -> Callable[..., Any]:
    def call(x: Any, name: str = label) -> Tensor:
        return cast(x, dtype, name)

    call.__name__ = f"to_{dtype.name}"
    call.__doc__ = f"x as {dtype.name}."
    return call


to_float = _caster(dtypes.float32, "ToFloat")
to_double = _caster(dtypes.float64, "ToDouble")
to_int32 = _caster(dtypes.int32, "ToInt32")
to_int64 = _caster(dtypes.int64, "ToInt64")
to_bfloat16 = _caster(dtypes.bfloat16, "ToBFloat16")


# AddN, clip.


def _infer_add_n(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    if not inputs:
        raise ValueError("inputs is empty; at least one tensor is needed.")
    dtype = shape_rules.same_dtype(inputs)
    shape_rules.check_dtype("inputs", dtype, NUMBERS)
    shape = inputs[0].shape
    for t in inputs[1:]:
        shape = shape.merge_with(t.shape)
    return [(dtype, shape)]


def _add_n(attrs: dict[str, Any], *arrays: np.ndarray) -> np.ndarray:
    if len(arrays) == 1:
        return arrays[0]
    for a in arrays:
        if a.shape != arrays[0].shape:
            raise ValueError(f"inputs have shapes {arrays[0].shape} and {a.shape}.")
    if shape_rules.for_engine(*arrays) and arrays[0].size >= _ENGINE_ELEMENTS:
        return engine.add_n(arrays)
    total = np.array(arrays[0] + arrays[1])
    for a in arrays[2:]:
        total += a
    return total


register(
    "AddN",
    infer=_infer_add_n,
    compute=_add_n,
    gradient=lambda op, grad: [grad] * len(op.inputs),
    inputs=["inputs*"],
    samples=lambda: [
        ({"N": 3}, [np.arange(4.0), np.ones(4), np.full(4, 2.0)]),
        ({"N": 1}, [np.arange(4.0)]),
    ],
)


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of tensors of one shape and dtype.

    Raises:
        ValueError: `inputs` is no list of at least one tensor, or they differ.
    """
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise ValueError(f"inputs must be a list of at least one tensor, not {inputs!r}.")
    try:
        tensors = convert.convert_n_to_tensor(list(inputs))
    except TypeError as e:
        raise ValueError(f"inputs must be tensors of one dtype: {e}") from e
    if len({t.dtype.base_dtype for t in tensors}) > 1:
        raise ValueError(f"inputs must be of one dtype, not {[t.dtype.name for t in tensors]}.")
    if len(tensors) == 1:
        return array_ops.identity(tensors[0], name=name) if name else tensors[0]
    return apply_op("AddN", tensors, {"N": len(tensors)}, name)


def accumulate_n(
    inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None
) -> Tensor:
    """`add_n`, with checks against a shape and dtype.

    Raises:
        ValueError: the shape does not fit.
        TypeError: the dtype does not fit.
    """
    tensors = convert.convert_n_to_tensor(list(inputs))
    if tensor_dtype is not None and tensors[0].dtype.base_dtype != tensor_dtype:
        raise TypeError(f"tensor_dtype is {tensor_dtype!r}; inputs are {tensors[0].dtype!r}.")
    out = add_n(tensors, name=name or "AccumulateNV2")
    if shape is not None:
        out.set_shape(shape)
    return out


def clip_by_value(
    t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None
) -> Tensor:
    """t, but not below the one and not above the other bound."""
    with context.name_scope(name, "clip_by_value", [t, clip_value_min, clip_value_max]) as scope:
        t = convert.convert_to_tensor(t, name="t")
        below = minimum(t, clip_value_max)
        t.shape.assert_is_compatible_with(below.shape)
        out = apply_op("Maximum", [below, clip_value_min], None, scope or None, same=(0, 1))
        t.shape.assert_is_compatible_with(out.shape)
        return out


# Products of matrices.


def _infer_matmul(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[Any]:
    a, b = inputs
    dtype = shape_rules.same_dtype(inputs, ("a", "b"))
    shape_rules.check_dtype("a", dtype, (*FLOATS, dtypes.int32, dtypes.int64, *shape_rules.COMPLEX))
    if attrs.get("batch"):
        left, right = a.shape.with_rank_at_least(2), b.shape.with_rank_at_least(2)
    else:
        left, right = a.shape.with_rank(2), b.shape.with_rank(2)
    if left.ndims is None or right.ndims is None:
        return [(dtype, unknown_shape())]
    (m, k), (k2, n) = left[-2:].as_list(), right[-2:].as_list()
    if attrs["transpose_a"]:
        m, k = k, m
    if attrs["transpose_b"]:
        k2, n = n, k2
    if k is not None and k2 is not None and k != k2:
        raise ValueError(f"Shapes {a.shape} and {b.shape}: the inner sizes {k} and {k2} differ.")
    lead = left[:-2].merge_with(right[:-2])
    return [(dtype, lead.concatenate([m, n]))]


def _matmul(attrs: dict[str, Any], a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(f"a has shape {a.shape} and b {b.shape}; matrices are needed.")
    if attrs["transpose_a"]:
        a = np.swapaxes(a, -1, -2)
    if attrs["transpose_b"]:
        b = np.swapaxes(b, -1, -2)
    if attrs.get("conjugate_a"):
        a = np.conj(a)
    if attrs.get("conjugate_b"):
        b = np.conj(b)
    return np.matmul(a, b)


def _grad_matmul(op: Any, g: Tensor) -> list[Any]:
    a, b = op.inputs
    ta, tb = op.get_attr("transpose_a"), op.get_attr("transpose_b")

    def product(x: Any, y: Any, tx: bool, ty: bool) -> Tensor:
        return apply_op(
            op.type, [x, y], {**_MATMUL, **_kind(op), "transpose_a": tx, "transpose_b": ty}
        )

    if not ta:
        ga = product(g, b, False, not tb)
    else:
        ga = product(b, g, tb, True)
    if not tb:
        gb = product(a, g, not ta, False)
    else:
        gb = product(g, a, True, ta)
    return [ga, gb]


def _kind(op: Any) -> dict[str, Any]:
    return {"batch": op.type == "BatchMatMul"}


_MATMUL = {"transpose_a": False, "transpose_b": False}


def _matmul_samples(lead: tuple[int, ...]) -> Callable[..., Any]:
    def samples() -> list[Any]:
        rng = np.random.default_rng(3)
        out = []
        for ta in (False, True):
            for tb in (False, True):
                a = rng.normal(size=(*lead, 4, 3) if ta else (*lead, 3, 4))
                b = rng.normal(size=(*lead, 2, 4) if tb else (*lead, 4, 2))
                attrs = {"transpose_a": ta, "transpose_b": tb, "batch": bool(lead)}
                out.append((attrs, [a, b]))
        return out

    return samples


for _type, _lead in (("MatMul", ()), ("BatchMatMul", (2,))):
    register(
        _type,
        infer=_infer_matmul,
        compute=_matmul,
        gradient=_grad_matmul,
        inputs=["a", "b"],
        samples=_matmul_samples(_lead),
    )


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of matrices, or of each pair of matrices in two stacks of equal leading shape.

    Args:
        a: `[..., m, k]`, or `[..., k, m]` with `transpose_a`.
        b: `[..., k, n]`, or `[..., n, k]` with `transpose_b`.
        transpose_a: transpose a before multiplying.
        transpose_b: transpose b before multiplying.
        adjoint_a: conjugate and transpose a before multiplying.
        adjoint_b: conjugate and transpose b before multiplying.
        a_is_sparse: accepted and ignored.
        b_is_sparse: accepted and ignored.
        name: name of the operation.

    Raises:
        ValueError: a transposition and an adjoint of one operand; shapes that do not fit.

    Source: `tf.matmul`.
    """
    if (transpose_a and adjoint_a) or (transpose_b and adjoint_b):
        raise ValueError("Only one of transpose and adjoint may be asked of an operand.")
    with context.name_scope(name, "MatMul", [a, b]) as scope:
        a = convert.convert_to_tensor(a, name="a")
        b = convert.convert_to_tensor(
            b, name="b", dtype=None if isinstance(b, Tensor) else a.dtype.base_dtype
        )
        for x, flag in ((a, adjoint_a), (b, adjoint_b)):
            if flag and x.dtype.is_complex:
                raise TypeError("adjoint of complex matrices is not offered; use real ones.")
        ranks = (a.shape.ndims, b.shape.ndims)
        batch = any(r is None or r > 2 for r in ranks) and not any(r == 2 for r in ranks)
        attrs = {
            "transpose_a": bool(transpose_a or adjoint_a),
            "transpose_b": bool(transpose_b or adjoint_b),
            "batch": batch,
        }
        return apply_op("BatchMatMul" if batch else "MatMul", [a, b], attrs, scope or None)


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Sums products over pairs of axes of a and b.

    Args:
        a: a tensor of known rank.
        b: a tensor of known rank.
        axes: a number n (the last n axes of a and the first n of b), or two lists of axes of
            equal length.
        name: name scope.

    Raises:
        ValueError: axes that do not fit.

    Source: `tf.tensordot`.
    """
    with context.name_scope(name, "Tensordot", [a, b]) as scope:
        a = convert.convert_to_tensor(a, name="a")
        b = convert.convert_to_tensor(
            b, name="b", dtype=None if isinstance(b, Tensor) else a.dtype.base_dtype
        )
        if a.shape.ndims is None or b.shape.ndims is None:
            raise ValueError("tensordot needs tensors of known rank.")
        left, right = _contracted(axes, a.shape.ndims, b.shape.ndims)
        free_a = [i for i in builtins.range(a.shape.ndims) if i not in left]
        free_b = [i for i in builtins.range(b.shape.ndims) if i not in right]
        shape_a, shape_b = array_ops.shape(a), array_ops.shape(b)
        inner = _product_of(shape_a, left)
        rows = _product_of(shape_a, free_a)
        columns = _product_of(shape_b, free_b)
        a2 = _as_matrix(a, free_a + left, [rows, inner])
        b2 = _as_matrix(b, right + free_b, [inner, columns])
        out_shape = array_ops.concat(
            [
                array_ops.gather(shape_a, np.array(free_a, np.int32)),
                array_ops.gather(shape_b, np.array(free_b, np.int32)),
            ],
            0,
        )
        out = array_ops.reshape(matmul(a2, b2), out_shape, name=scope or None)
        if type(out) is Tensor:
            dims = [a.shape[i] for i in free_a] + [b.shape[i] for i in free_b]
            out.set_shape(TensorShape(dims))
        return out


def _contracted(axes: Any, rank_a: int, rank_b: int) -> tuple[list[int], list[int]]:
    axes = np.asarray(axes).tolist() if not isinstance(axes, (list, tuple)) else axes
    if isinstance(axes, int):
        if axes < 0 or axes > rank_a or axes > rank_b:
            raise ValueError(f"axes={axes} does not fit ranks {rank_a} and {rank_b}.")
        return list(builtins.range(rank_a - axes, rank_a)), list(builtins.range(axes))
    if len(axes) != 2:
        raise ValueError(f"axes must be a number or two lists, not {axes!r}.")
    pair = [[s] if isinstance(s, int) else [int(i) for i in s] for s in axes]
    if len(pair[0]) != len(pair[1]):
        raise ValueError(f"axes lists {pair[0]} for a and {pair[1]} for b.")
    left = [shape_rules.axis_in_range(i, rank_a, "axes[0]") for i in pair[0]]
    right = [shape_rules.axis_in_range(i, rank_b, "axes[1]") for i in pair[1]]
    return left, right


def _product_of(shape: Tensor, axes: Sequence[int]) -> Tensor:
    sizes = array_ops.gather(shape, np.array(axes, np.int32))
    return apply_op("Prod", [sizes, np.array([0], np.int32)], {"keep_dims": False})


def _as_matrix(x: Tensor, order: Sequence[int], sizes: Sequence[Tensor]) -> Tensor:
    if list(order) != sorted(order):
        x = array_ops.transpose(x, np.array(order, np.int32))
    return array_ops.reshape(x, array_ops.stack(sizes))


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sum of the diagonal of each matrix `[..., m, n]`."""
    with context.name_scope(name, "Trace", [x]):
        x = convert.convert_to_tensor(x, name="x")
        sizes = array_ops.shape(x)
        rows = array_ops.one_hot(math_range(sizes[-2]), sizes[-1], dtype=x.dtype.base_dtype)
        return apply_op("Sum", [x * rows, np.array([-2, -1], np.int32)], {"keep_dims": False})


def math_range(limit: Any) -> Tensor:
    """0, 1, ..., limit - 1."""
    return apply_op("Range", [0, limit, 1], same=(0, 1, 2))


# Operators of tensors.


def _attach(symbol: str, label: str, function: Callable[..., Any]) -> None:
    def forward(x: Any, y: Any) -> Any:
        with context.name_scope(None, label, [x, y]) as scope:
            try:
                # Two eager tensors of different types: the op refuses them, as its kernel would.
                wanted = None if isinstance(y, EagerTensor) else x.dtype.base_dtype
                y = convert.convert_to_tensor(y, dtype=wanted, name="y")
            except TypeError:
                if _defers_to(y, f"__r{symbol}__"):
                    return NotImplemented
                raise
            return function(x, y, scope or None)

    def backward(y: Any, x: Any) -> Any:
        with context.name_scope(None, label, [x, y]) as scope:
            x = convert.convert_to_tensor(x, dtype=y.dtype.base_dtype, name="x")
            return function(x, y, scope or None)

    setattr(Tensor, f"__{symbol}__", forward)
    setattr(Tensor, f"__r{symbol}__", backward)
    OPERATORS[f"__{symbol}__"] = forward
    OPERATORS[f"__r{symbol}__"] = backward


def _defers_to(y: Any, method: str) -> bool:
    plain = (int, float, complex, str, bytes, list, tuple, np.ndarray, np.generic, type(None))
    return not isinstance(y, plain) and hasattr(type(y), method)


#: Methods that `variables` copies to its classes: they convert `self` first.
OPERATORS: dict[str, Callable[..., Any]] = {}


def _op_direct(op_type: str) -> Callable[..., Any]:
    return lambda x, y, name: apply_op(op_type, [x, y], None, name)


for _symbol, _label, _function in (
    ("add", "add", _op_direct("Add")),
    ("sub", "sub", _op_direct("Sub")),
    ("mul", "mul", _op_direct("Mul")),
    ("div", "div", div),
    ("truediv", "truediv", truediv),
    ("floordiv", "floordiv", _op_direct("FloorDiv")),
    ("mod", "mod", _op_direct("FloorMod")),
    ("pow", "pow", _op_direct("Pow")),
    ("matmul", "matmul", lambda x, y, name: matmul(x, y, name=name)),
    ("and", "and", _op_direct("LogicalAnd")),
    ("or", "or", _op_direct("LogicalOr")),
    ("xor", "xor", lambda x, y, name: logical_xor(x, y)),
):
    _attach(_symbol, _label, _function)


def _attach_test(symbol: str, function: Callable[..., Any]) -> None:
    def method(x: Any, y: Any) -> Any:
        return function(x, y)

    setattr(Tensor, f"__{symbol}__", method)
    OPERATORS[f"__{symbol}__"] = method


for _symbol, _function in (
    ("lt", less),
    ("le", less_equal),
    ("gt", greater),
    ("ge", greater_equal),
):
    _attach_test(_symbol, _function)

for _symbol, _function in (("neg", negative), ("abs", abs), ("invert", logical_not)):
    OPERATORS[f"__{_symbol}__"] = (lambda f: lambda x: f(x))(_function)
    setattr(Tensor, f"__{_symbol}__", OPERATORS[f"__{_symbol}__"])

from conv3d.ops.math_reduce_ops import *  # noqa: E402, F403 - one place to find arithmetic
