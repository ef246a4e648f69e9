"""The update rules of optimizers, one op each: `ApplyGradientDescent`, `ApplyAdam`, ...

An op takes the variable and its slots as references, then scalars and the gradient. It puts new
arrays into the references (a value is never changed in place) and yields the variable. Scalars have
the variable's dtype, and all arithmetic is done in that dtype, as TensorFlow's CPU kernels do.

A rule is a pure function: the old values of the references, the other inputs by name, and out come
the new values of the references in the same order, None for one that stays. In the formulas `g` is
the gradient, `lr` the learning rate and the references bear the names of TensorFlow's inputs.

Source: TensorFlow's ops of the same names, checked step by step against TensorFlow 1.15; the papers
are cited in `train/*.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from conv3d import engine, errors
from conv3d.framework import execute, registry, state
from conv3d.framework.indexed_slices import IndexedSlices
from conv3d.ops import shape_rules

Array = Any  # of NumPy; scalars are arrays without dimensions
Attrs = dict[str, Any]
Rule = Callable[..., Sequence[Array | None]]

_FLOATS = ("float16", "bfloat16", "float32", "float64")
# All other inputs are scalars of the variable's dtype.
_TENSORS = ("delta", "grad")
# A step count keeps its own type.
_COUNTS = ("global_step",)


def _infer(name: str, refs: Sequence[str], values: Sequence[str]) -> Callable[..., Any]:
    def infer(attrs: Attrs, inputs: Sequence[Any]) -> list[tuple[Any, Any]]:
        base = inputs[0].dtype.base_dtype
        if base.name not in _FLOATS:
            raise TypeError(
                f"var: {name} updates variables of {', '.join(_FLOATS)}, not {base.name}"
            )
        shape = inputs[0].shape
        for label, value in zip((*refs, *values), inputs, strict=True):
            if label not in _COUNTS and value.dtype.base_dtype != base:
                raise TypeError(
                    f"{label}: {name} needs {base.name} as of the variable, "
                    f"{value.dtype.base_dtype.name} is given"
                )
            if label in refs or label in _TENSORS:
                shape = shape.merge_with(value.shape)
            else:
                value.shape.assert_has_rank(0)
        return [(inputs[0].dtype, shape)]

    return infer


def _plain(value: Any) -> Array:
    """The array of an input that is only read; it may be a variable too."""
    return value.get() if isinstance(value, state.Ref) else value


def _compute(
    name: str, refs: Sequence[str], values: Sequence[str], rule: Rule
) -> Callable[..., Any]:
    count = len(refs)
    labels = [(label, label in refs or label in _TENSORS) for label in (*refs[1:], *values)]

    def compute(ctx: Any, attrs: Attrs, *inputs: Any) -> Array:
        cells: Sequence[state.Ref] = inputs[:count]
        old = [cell.get() for cell in cells]
        others = [_plain(value) for value in inputs[count:]]
        shape = old[0].shape
        for (label, whole), value in zip(labels, (*old[1:], *others), strict=True):
            wanted = shape if whole else ()
            if value.shape != wanted:
                raise errors.InvalidArgumentError(
                    None,
                    ctx.op,
                    f"{label}: {name} of variable {cells[0].name!r}, shape {old[0].shape}, needs "
                    f"the shape {wanted} here, {value.shape} is given",
                )
        # Overflow to inf and NaN are values like others, as in TensorFlow; no warnings.
        with np.errstate(all="ignore"):
            new = rule(attrs, *old, *others)
        for cell, before, after in zip(cells, old, new, strict=True):
            if after is not None:
                cell.set(np.asarray(after, before.dtype))
        return cells[0].get()

    return compute


def _infer_sparse(name: str, refs: Sequence[str], values: Sequence[str]) -> Callable[..., Any]:
    def infer(attrs: Attrs, inputs: Sequence[Any]) -> list[tuple[Any, Any]]:
        *dense, indices = inputs
        if indices.dtype.base_dtype.name not in ("int32", "int64"):
            raise TypeError(f"indices: {name} needs int32 or int64, {indices.dtype.name} is given")
        indices.shape.assert_has_rank(1)
        shape = inputs[0].shape
        for label, value in zip((*refs, *values), dense, strict=True):
            if value.dtype.base_dtype != inputs[0].dtype.base_dtype and label not in _COUNTS:
                raise TypeError(
                    f"{label}: {name} needs {inputs[0].dtype.base_dtype.name} as of the variable, "
                    f"{value.dtype.base_dtype.name} is given"
                )
            if label in refs:
                shape = shape.merge_with(value.shape)
            elif label in _TENSORS:
                indices.shape.concatenate(shape[1:]).assert_is_compatible_with(value.shape)
        return [(inputs[0].dtype, shape)]

    return infer


def _compute_sparse(
    name: str, refs: Sequence[str], values: Sequence[str], rule: Rule
) -> Callable[..., Any]:
    """The rule on some rows of the references; the others stay."""
    count = len(refs)

    def compute(ctx: Any, attrs: Attrs, *inputs: Any) -> Array:
        cells: Sequence[state.Ref] = inputs[:count]
        old = [cell.get() for cell in cells]
        *others, indices = (_plain(value) for value in inputs[count:])
        size = old[0].shape[0]
        bad = (indices < 0) | (indices >= size)
        if bad.any():
            raise errors.InvalidArgumentError(
                None,
                ctx.op,
                f"indices: {name} of variable {cells[0].name!r} got {indices[bad].flat[0]}, there "
                f"are {size} rows",
            )
        with np.errstate(all="ignore"):
            new = rule(attrs, *(value[indices] for value in old), *others)
        for cell, before, after in zip(cells, old, new, strict=True):
            if after is not None:
                whole = before.copy()
                whole[indices] = after
                cell.set(whole)
        return cells[0].get()

    return compute


def update(op_type: str, inputs: Sequence[Any], attrs: Attrs) -> Any:
    """Adds the update op; its sparse form where the gradient among `inputs` is `IndexedSlices`."""
    found = [value for value in inputs if isinstance(value, IndexedSlices)]
    if not found:
        return execute.apply_op(op_type, inputs, attrs)
    dense = [value.values if value is found[0] else value for value in inputs]
    return execute.apply_op(f"Sparse{op_type}", [*dense, found[0].indices], attrs)


def _register(name: str, refs: str, values: str, rule: Rule) -> registry.OpDef:
    """Registers an update and its sparse form."""
    ref_names, value_names = refs.split(), values.split()
    registry.register(
        f"Sparse{name}",
        infer=_infer_sparse(f"Sparse{name}", ref_names, value_names),
        compute=_compute_sparse(f"Sparse{name}", ref_names, value_names, rule),
        gradient=registry.NOT_DIFFERENTIABLE,
        stateful=True,
        inputs=(*ref_names, *value_names, "indices"),
    )
    return registry.register(
        name,
        infer=_infer(name, ref_names, value_names),
        compute=_compute(name, ref_names, value_names, rule),
        gradient=registry.NOT_DIFFERENTIABLE,
        stateful=True,
        inputs=(*ref_names, *value_names),
    )


def _one(like: Array) -> Array:
    return np.ones((), like.dtype)


# ---- gradient descent and momentum ---------------------------------------------------------------


def _gradient_descent(attrs: Attrs, var: Array, alpha: Array, delta: Array) -> Sequence[Array]:
    """`var - alpha g`."""
    if shape_rules.for_engine(var, delta):
        return engine.optimizer_step("gradient_descent", [alpha], delta, var)
    return (var - alpha * delta,)


_register("ApplyGradientDescent", "var", "alpha delta", _gradient_descent)


def _momentum(
    attrs: Attrs, var: Array, accum: Array, lr: Array, grad: Array, momentum: Array
) -> Sequence[Array]:
    """`accum = momentum accum + g`; `var -= lr accum`; Nesterov: `lr (g + momentum accum)`."""
    if shape_rules.for_engine(var, accum, grad):
        rule = "nesterov_momentum" if attrs.get("use_nesterov") else "momentum"
        return engine.optimizer_step(rule, [lr, momentum], grad, var, [accum])
    accum = accum * momentum + grad
    if attrs.get("use_nesterov"):
        return var - (grad * lr + accum * momentum * lr), accum
    return var - accum * lr, accum


_register("ApplyMomentum", "var accum", "lr grad momentum", _momentum)


def _proximal(var: Array, rate: Array, l1: Array, l2: Array) -> Array:
    """The proximal step for `l1 |x| + l2 x^2 / 2`: shrink towards 0 by `rate l1`, then scale."""
    one = _one(var)
    if l1 > 0:
        shrunk = np.maximum(np.abs(var) - rate * l1, np.zeros((), var.dtype))
        return np.sign(var) * shrunk / (one + rate * l2)
    return var / (one + rate * l2)


def _proximal_gradient_descent(
    attrs: Attrs, var: Array, alpha: Array, l1: Array, l2: Array, delta: Array
) -> Sequence[Array]:
    """The proximal step from `var - alpha g`."""
    return (_proximal(var - alpha * delta, alpha, l1, l2),)


_register("ApplyProximalGradientDescent", "var", "alpha l1 l2 delta", _proximal_gradient_descent)


# ---- Adagrad and its kin -------------------------------------------------------------------------


def _adagrad(attrs: Attrs, var: Array, accum: Array, lr: Array, grad: Array) -> Sequence[Array]:
    """`accum += g^2`; `var -= lr g / sqrt(accum)`."""
    if attrs.get("update_slots", True):
        accum = accum + grad * grad
    return var - grad * lr / np.sqrt(accum), accum


_register("ApplyAdagrad", "var accum", "lr grad", _adagrad)


def _proximal_adagrad(
    attrs: Attrs, var: Array, accum: Array, lr: Array, l1: Array, l2: Array, grad: Array
) -> Sequence[Array]:
    """`accum += g^2`; the proximal step from `var - rate g` with `rate = lr / sqrt(accum)`."""
    accum = accum + grad * grad
    rate = lr / np.sqrt(accum)
    return _proximal(var - grad * rate, rate, l1, l2), accum


_register("ApplyProximalAdagrad", "var accum", "lr l1 l2 grad", _proximal_adagrad)


def _adagrad_da(
    attrs: Attrs,
    var: Array,
    gradient_accumulator: Array,
    gradient_squared_accumulator: Array,
    grad: Array,
    lr: Array,
    l1: Array,
    l2: Array,
    global_step: Array,
) -> Sequence[Array]:
    """Dual averaging: `var` comes from the sums `G` of gradients and `S` of their squares.

    `var = -lr shrink(G, l1 t) / (l2 t lr + sqrt(S))`, `t` the global step.
    """
    total = gradient_accumulator + grad
    squares = gradient_squared_accumulator + grad * grad
    step = np.asarray(global_step, var.dtype)
    denominator = l2 * step * lr + np.sqrt(squares)
    if l1 > 0:
        shrunk = np.maximum(np.abs(total) - l1 * step, np.zeros((), var.dtype))
        return -lr * np.sign(total) * shrunk / denominator, total, squares
    return -lr * total / denominator, total, squares


_register(
    "ApplyAdagradDA",
    "var gradient_accumulator gradient_squared_accumulator",
    "grad lr l1 l2 global_step",
    _adagrad_da,
)


def _adadelta(
    attrs: Attrs,
    var: Array,
    accum: Array,
    accum_update: Array,
    lr: Array,
    rho: Array,
    epsilon: Array,
    grad: Array,
) -> Sequence[Array]:
    """`a = rho a + (1-rho) g^2`; `u = sqrt(b+eps) / sqrt(a+eps) g`; `b = rho b + (1-rho) u^2`;
    `var -= lr u`.
    """
    rest = _one(var) - rho
    accum = accum * rho + grad * grad * rest
    update = np.sqrt(accum_update + epsilon) / np.sqrt(accum + epsilon) * grad
    accum_update = accum_update * rho + update * update * rest
    return var - update * lr, accum, accum_update


_register("ApplyAdadelta", "var accum accum_update", "lr rho epsilon grad", _adadelta)


# ---- RMSProp -------------------------------------------------------------------------------------


def _rms_prop(
    attrs: Attrs,
    var: Array,
    ms: Array,
    mom: Array,
    lr: Array,
    rho: Array,
    momentum: Array,
    epsilon: Array,
    grad: Array,
) -> Sequence[Array]:
    """`ms += (1-rho) (g^2 - ms)`; `mom = momentum mom + lr g / sqrt(ms + eps)`; `var -= mom`."""
    if shape_rules.for_engine(var, ms, mom, grad):
        numbers = [lr, momentum, epsilon, rho]
        return engine.optimizer_step("rms_prop", numbers, grad, var, [ms, mom])
    ms = ms + (grad * grad - ms) * (_one(var) - rho)
    mom = mom * momentum + grad * lr / np.sqrt(ms + epsilon)
    return var - mom, ms, mom


_register("ApplyRMSProp", "var ms mom", "lr rho momentum epsilon grad", _rms_prop)


def _centered_rms_prop(
    attrs: Attrs,
    var: Array,
    mg: Array,
    ms: Array,
    mom: Array,
    lr: Array,
    rho: Array,
    momentum: Array,
    epsilon: Array,
    grad: Array,
) -> Sequence[Array]:
    """RMSProp whose `ms` is made a variance by the mean gradient: `sqrt(ms - mg^2 + eps)`."""
    rest = _one(var) - rho
    ms = ms + (grad * grad - ms) * rest
    mg = mg + (grad - mg) * rest
    mom = mom * momentum + grad * lr / np.sqrt(ms - mg * mg + epsilon)
    return var - mom, mg, ms, mom


_register(
    "ApplyCenteredRMSProp", "var mg ms mom", "lr rho momentum epsilon grad", _centered_rms_prop
)


# ---- Adam ----------------------------------------------------------------------------------------


def _adam(
    attrs: Attrs,
    var: Array,
    m: Array,
    v: Array,
    beta1_power: Array,
    beta2_power: Array,
    lr: Array,
    beta1: Array,
    beta2: Array,
    epsilon: Array,
    grad: Array,
) -> Sequence[Array]:
    """`m += (1-b1) (g - m)`; `v += (1-b2) (g^2 - v)`; `var -= a m / (sqrt(v) + eps)`.

    `a = lr sqrt(1 - b2^t) / (1 - b1^t)`; Nesterov: `b1 m + (1-b1) g` in the place of `m`.
    """
    one = _one(var)
    alpha = lr * np.sqrt(one - beta2_power) / (one - beta1_power)
    nesterov = bool(attrs.get("use_nesterov"))
    if shape_rules.for_engine(var, m, v, grad):
        rule = "nesterov_adam" if nesterov else "adam"
        return engine.optimizer_step(rule, [alpha, beta1, epsilon, beta2], grad, var, [m, v])
    # In-place steps on fresh arrays only: a step over a large variable is bound by memory.
    m_new = grad - m
    m_new *= one - beta1
    m_new += m
    v_new = grad * grad
    v_new -= v
    v_new *= one - beta2
    v_new += v
    denominator = np.sqrt(v_new)
    denominator += epsilon
    step = grad * (one - beta1) + beta1 * m_new if nesterov else m_new
    step = step * alpha
    step /= denominator
    return var - step, m_new, v_new


_register(
    "ApplyAdam",
    "var m v",
    "beta1_power beta2_power lr beta1 beta2 epsilon grad",
    _adam,
)


def _ada_max(
    attrs: Attrs,
    var: Array,
    m: Array,
    v: Array,
    beta1_power: Array,
    lr: Array,
    beta1: Array,
    beta2: Array,
    epsilon: Array,
    grad: Array,
) -> Sequence[Array]:
    """`m += (1-b1) (g - m)`; `v = max(b2 v, |g|)`; `var -= lr / (1 - b1^t) m / (v + eps)`."""
    one = _one(var)
    m = m + (grad - m) * (one - beta1)
    v = np.maximum(beta2 * v, np.abs(grad))
    return var - lr / (one - beta1_power) * (m / (v + epsilon)), m, v


_register("ApplyAdaMax", "var m v", "beta1_power lr beta1 beta2 epsilon grad", _ada_max)


# ---- FTRL ----------------------------------------------------------------------------------------


def _ftrl_step(
    var: Array, accum: Array, linear: Array, grad: Array, shrunk: Array,
    lr: Array, l1: Array, l2: Array, lr_power: Array,
) -> Sequence[Array]:  # fmt: skip
    new_accum = accum + grad * grad
    if lr_power == np.asarray(-0.5, var.dtype):
        powers = np.sqrt(new_accum), np.sqrt(accum)
    else:
        powers = np.power(new_accum, -lr_power), np.power(accum, -lr_power)
    linear = linear + shrunk - (powers[0] - powers[1]) / lr * var
    quadratic = powers[0] / lr + np.asarray(2, var.dtype) * l2
    stepped = (np.sign(linear) * l1 - linear) / quadratic
    return np.where(np.abs(linear) > l1, stepped, np.zeros((), var.dtype)), new_accum, linear


def _ftrl(
    attrs: Attrs, var: Array, accum: Array, linear: Array, grad: Array,
    lr: Array, l1: Array, l2: Array, lr_power: Array,
) -> Sequence[Array]:  # fmt: skip
    """Follow the regularised leader, with `p = -lr_power`:

    `n' = n + g^2`; `z += g - (n'^p - n^p) / lr var`; `var = 0` where `|z| <= l1`, else
    `(sign(z) l1 - z) / (n'^p / lr + 2 l2)`.
    """
    return _ftrl_step(var, accum, linear, grad, grad, lr, l1, l2, lr_power)


_register("ApplyFtrl", "var accum linear", "grad lr l1 l2 lr_power", _ftrl)


def _ftrl_v2(
    attrs: Attrs, var: Array, accum: Array, linear: Array, grad: Array,
    lr: Array, l1: Array, l2: Array, l2_shrinkage: Array, lr_power: Array,
) -> Sequence[Array]:  # fmt: skip
    """FTRL whose `z` is fed `g + 2 l2_shrinkage var`."""
    shrunk = grad + np.asarray(2, var.dtype) * l2_shrinkage * var
    return _ftrl_step(var, accum, linear, grad, shrunk, lr, l1, l2, lr_power)


_register("ApplyFtrlV2", "var accum linear", "grad lr l1 l2 l2_shrinkage lr_power", _ftrl_v2)
