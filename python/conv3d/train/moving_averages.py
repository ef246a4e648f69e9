"""Exponential moving averages of variables and tensors.

Source: `tf.train.ExponentialMovingAverage`; the correction for a start at zero is that of Kingma,
Ba, "Adam", 2015, section 3.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conv3d import initializers
from conv3d.framework import context, convert, dtypes
from conv3d.framework.graph import GraphKeys
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops, control_flow_ops, math_ops
from conv3d.train import slot_creator
from conv3d.variables import collections as variable_collections
from conv3d.variables import variable_scope
from conv3d.variables.variable import Variable

__all__ = ["ExponentialMovingAverage", "assign_moving_average", "weighted_moving_average"]


def assign_moving_average(
    variable: Any, value: Any, decay: Any, zero_debias: bool = True, name: str | None = None
) -> Any:
    """`variable = variable * decay + value * (1 - decay)`.

    Args:
        variable: the variable that holds the average.
        value: a tensor of its shape.
        decay: 0 to 1.
        zero_debias: divide by `1 - decay ** updates`, for a variable that started at zero. Makes
            two more variables, `biased` and `local_step`.
        name: name of the operation.

    Returns:
        The variable after the update.
    """
    with context.name_scope(name, "AssignMovingAvg", [variable, value, decay]) as scope:
        dtype = variable.dtype.base_dtype
        rest = convert.convert_to_tensor(1.0 - decay, name="decay")
        if rest.dtype.base_dtype != dtype:
            rest = math_ops.cast(rest, dtype)
        value = convert.convert_to_tensor(value)
        if zero_debias:
            delta = _zero_debias(variable, value, rest)
        else:
            delta = (variable.read_value() - value) * rest
        return variable.assign_sub(delta, name=scope or None)


def _zero_debias(variable: Any, value: Any, rest: Any) -> Any:
    """What to subtract from `variable` so that it becomes the corrected average."""
    base = slot_creator.variable_key_name(variable)
    with variable_scope.variable_scope(base, reuse=variable_scope.AUTO_REUSE):
        # Initial values must not depend on what surrounds this call.
        with context.init_scope():
            biased = variable_scope.get_variable(
                "biased",
                shape=variable.get_shape(),
                dtype=variable.dtype.base_dtype,
                initializer=initializers.zeros_initializer(),
                trainable=False,
            )
            local_step = variable_scope.get_variable(
                "local_step",
                shape=[],
                dtype=variable.dtype.base_dtype,
                initializer=initializers.zeros_initializer(),
                trainable=False,
            )
    new_biased = convert.convert_to_tensor(biased.assign_sub((biased.read_value() - value) * rest))
    new_step = convert.convert_to_tensor(local_step.assign_add(array_ops.ones([], rest.dtype)))
    corrected = new_biased / (1.0 - math_ops.pow(1.0 - rest, new_step))
    return variable.read_value() - corrected


def weighted_moving_average(
    value: Any, decay: Any, weight: Any, truediv: bool = True, collections: Any = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """The average of `value`, each time weighted by `weight`: two moving averages and a division.

    Args:
        value: a numeric tensor.
        decay: 0 to 1.
        weight: a tensor that broadcasts against `value`.
        truediv: accepted; floats are divided as such.
        collections: graph keys for the two variables.
        name: name of the scope.

    Raises:
        ValueError: in eager mode, where the variables could not be found again.
    """
    if context.executing_eagerly():
        raise ValueError("weighted_moving_average is not available in eager mode")
    keys = [GraphKeys.GLOBAL_VARIABLES] if collections is None else collections
    with variable_scope.variable_scope(name, "WeightedMovingAvg", [value, weight, decay]):
        value = convert.convert_to_tensor(value)
        weight = math_ops.cast(weight, value.dtype)
        pairs = []
        for label, shape, item in (
            ("value", value.get_shape(), value * weight),
            ("weight", weight.get_shape(), weight),
        ):
            kept = variable_scope.get_variable(
                label,
                shape=shape,
                dtype=value.dtype.base_dtype,
                initializer=initializers.zeros_initializer(),
                trainable=False,
                collections=keys,
            )
            pairs.append(assign_moving_average(kept, item, decay, zero_debias=False))
        top, bottom = (convert.convert_to_tensor(one) for one in pairs)
        return math_ops.divide(top, bottom, name="div")


class ExponentialMovingAverage:
    """Keeps shadow variables `shadow = decay * shadow + (1 - decay) * variable`.

    Args:
        decay: 0 to 1, near 1.
        num_updates: a step count; then the decay is `min(decay, (1 + n) / (10 + n))`, which makes
            the first averages move faster.
        zero_debias: correct averages of tensors for their start at zero.
        name: name of the shadow variables: `conv3d/kernel/ExponentialMovingAverage`.
    """

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ) -> None:
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[int, tuple[Any, Any]] = {}

    @property
    def name(self) -> str:
        """The name given at construction."""
        return self._name

    def apply(self, var_list: Iterable[Any] | None = None) -> Any:
        """Makes shadow variables where there are none, and updates all of `var_list`.

        Args:
            var_list: variables and tensors of floating types; by default the trainable variables.

        Returns:
            The operation that updates them; None in eager mode, where it has been done.

        Raises:
            TypeError: an element is not of a floating type.
            ValueError: in graph mode, the average of an element is kept already.
        """
        items = list(variable_collections.trainable_variables() if var_list is None else var_list)
        corrected = set()
        eager = context.executing_eagerly()
        for item in items:
            dtype = item.dtype.base_dtype
            if dtype not in (dtypes.bfloat16, dtypes.float16, dtypes.float32, dtypes.float64):
                raise TypeError(
                    f"var_list: {item} has the dtype {dtype.name}; floating types are averaged"
                )
            if id(item) in self._averages:
                if not eager:
                    raise ValueError(f"var_list: the average of {item.name} is kept already")
                continue
            with context.init_scope():
                if isinstance(item, Variable):
                    shadow = slot_creator.create_slot(item, item.initialized_value(), self._name)
                else:
                    shadow = _TensorSlot.create(item, self._name)
                    if self._zero_debias:
                        corrected.add(id(item))
            if not eager and isinstance(item, Variable):
                item.graph.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, item)
            self._averages[id(item)] = (item, shadow)
        with context.name_scope(self._name) as scope:
            decay = convert.convert_to_tensor(self._decay, name="decay")
            if self._num_updates is not None:
                count = math_ops.cast(self._num_updates, dtypes.float32)
                decay = math_ops.minimum(
                    math_ops.cast(decay, dtypes.float32), (1.0 + count) / (10.0 + count)
                )
            updates = []
            for item in items:
                updates.append(
                    assign_moving_average(
                        self._averages[id(item)][1], item, decay, id(item) in corrected
                    )
                )
            if eager:
                return None
            return control_flow_ops.group(*(one.op for one in updates), name=scope)

    def average(self, var: Any) -> Any:
        """The shadow variable of `var`, or None."""
        found = self._averages.get(id(var))
        return None if found is None else found[1]

    def average_name(self, var: Any) -> str:
        """The name of the shadow variable of `var`, whether or not there is one yet."""
        found = self.average(var)
        if found is not None:
            return slot_creator.variable_key_name(found)
        base = slot_creator.variable_key_name(var)
        if context.executing_eagerly():
            return f"{base}/{self._name}"
        with context.name_scope(None):
            return str(var.graph.unique_name(f"{base}/{self._name}", mark_as_used=False))

    def variables_to_restore(
        self, moving_avg_variables: Iterable[Any] | None = None
    ) -> dict[str, Any]:
        """Names in a checkpoint -> variables, so that averages are restored into the variables.

        Args:
            moving_avg_variables: variables to be restored from their averages; by default all that
                are trainable or have an average. The others are restored from themselves.
        """
        if moving_avg_variables is None:
            chosen = [
                *variable_collections.trainable_variables(),
                *variable_collections.moving_average_variables(),
            ]
        else:
            chosen = list(moving_avg_variables)
        chosen = list({id(item): item for item in chosen}.values())
        names = {self.average_name(item): item for item in chosen}
        taken = {slot_creator.variable_key_name(item) for item in chosen}
        for item in variable_collections.global_variables():
            name = slot_creator.variable_key_name(item)
            if name not in taken and name not in names:
                names[name] = item
        return names


class _TensorSlot:
    """Shadow variables of tensors: zeros of the tensor's shape, named after its operation."""

    @staticmethod
    def create(tensor: Tensor, name: str) -> Any:
        base = "tensor" if context.executing_eagerly() else tensor.op.name
        with variable_scope.variable_scope(None, f"{base}/{name}") as scope:
            scope.set_partitioner(None)
            return variable_scope.get_variable(
                "",
                shape=tensor.get_shape(),
                dtype=tensor.dtype.base_dtype,
                initializer=initializers.zeros_initializer(),
                trainable=False,
            )
