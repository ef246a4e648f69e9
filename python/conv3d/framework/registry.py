"""The table of ops: what each computes, what it yields, how it is differentiated.

Everything that the package knows about an op type stands in one `OpDef`. Graph mode, eager mode,
both kinds of gradient, static shapes and the generated tests all read this table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any


class _NotDifferentiable:
    """The stated absence of a gradient: nothing flows through the op."""

    def __repr__(self) -> str:
        return "NOT_DIFFERENTIABLE"


#: Given as `gradient=` by ops through which no gradient flows. Must be said, is never implied.
NOT_DIFFERENTIABLE = _NotDifferentiable()


@dataclass(frozen=True)
class OpDef:
    """One op type.

    Attributes:
        name: the type, TensorFlow's where TensorFlow has the op: "Conv3D".
        infer: `infer(attrs, inputs) -> [(DType, TensorShape), ...]`, one pair an output. `inputs`
            are tensors: `.dtype`, `.shape`, `.constant_value()`. Raises TypeError for dtypes and
            ValueError for shapes that do not fit; accepts unknown shapes and ranks.
        compute: `compute(attrs, *arrays) -> ndarray | tuple | list | None`. A stateful op gets a
            context first: `compute(ctx, attrs, *values)`, and a variable's `Ref` for a reference.
            Never writes into its inputs. May return an input or a view of it.
        gradient: `gradient(op, *grad_outputs) -> [Tensor | None, ...]`, one entry an input, or
            `NOT_DIFFERENTIABLE`. `None` marks an op whose gradient nobody may ask for: an error.
        stateful: its result depends on more than its inputs: never folded to a constant.
        inputs: names of the inputs; constants made on the way are named after them. One name
            with a `*` stands for any number of inputs.
        samples: `samples() -> [(attrs, [ndarray, ...]), ...]` for the generated tests.
        where: file and line of the registration.
    """

    name: str
    infer: Callable[..., Any]
    compute: Callable[..., Any]
    gradient: Any = None
    stateful: bool = False
    inputs: tuple[str, ...] = ()
    samples: Callable[..., Any] | None = None
    where: str = field(default="", compare=False)

    @property
    def differentiable(self) -> bool:
        """True if a gradient flows through the op."""
        return self.gradient is not None and self.gradient is not NOT_DIFFERENTIABLE

    def input_name(self, i: int, count: int) -> str:
        """The name under which a Python value for input `i` of `count` becomes a constant."""
        names = self.inputs
        star = next((k for k, n in enumerate(names) if n.endswith("*")), None)
        if star is not None and i >= star:
            after = len(names) - star - 1  # names behind the variable part
            if count - i > after:
                return f"{names[star][:-1]}_{i - star}"
            i = len(names) - (count - i)
        return names[i] if i < len(names) else f"input_{i}"


_OPS: dict[str, OpDef] = {}


def register(
    name: str,
    *,
    infer: Callable[..., Any],
    compute: Callable[..., Any],
    gradient: Any = None,
    stateful: bool = False,
    inputs: Sequence[str] = (),
    samples: Callable[..., Any] | None = None,
) -> OpDef:
    """Enters an op. The arguments are the fields of `OpDef`.

    Raises:
        ValueError: the name is taken; the message names both places.
    """
    caller = sys._getframe(1)
    where = f"{caller.f_code.co_filename}:{caller.f_lineno}"
    if name in _OPS:
        raise ValueError(f"Op {name!r} is registered twice: in {_OPS[name].where} and {where}.")
    op_def = OpDef(name, infer, compute, gradient, stateful, tuple(inputs), samples, where)
    _OPS[name] = op_def
    return op_def


def get(name: str) -> OpDef:
    """The definition of op type `name`.

    Raises:
        ValueError: there is no such op.
    """
    try:
        return _OPS[name]
    except KeyError:
        raise ValueError(f"There is no op {name!r}; {len(_OPS)} are registered.") from None


def names() -> list[str]:
    """All registered op types, sorted."""
    return sorted(_OPS)
