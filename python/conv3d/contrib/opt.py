"""Optimizers of `tf.contrib.opt`: AdaMax, Nadam, and weight decay apart from the gradient.

Source: Kingma, Ba, "Adam", 2015, section 7 (AdaMax); Dozat, "Incorporating Nesterov Momentum into
Adam", 2016 (Nadam); Loshchilov, Hutter, "Decoupled Weight Decay Regularization", 2019 (AdamW,
MomentumW).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.framework import context, convert
from conv3d.ops import control_flow_ops, training_ops
from conv3d.train.adam import AdamOptimizer
from conv3d.train.momentum import MomentumOptimizer

__all__ = ["AdaMaxOptimizer", "AdamWOptimizer", "MomentumWOptimizer", "NadamOptimizer"]


class NadamOptimizer(AdamOptimizer):
    """Adam with Nesterov momentum. The arguments are those of `AdamOptimizer`."""

    _use_nesterov = True


class AdaMaxOptimizer(AdamOptimizer):
    """Adam with the infinity norm. The arguments are those of `AdamOptimizer`."""

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "AdaMax",
    ) -> None:
        super().__init__(learning_rate, beta1, beta2, epsilon, use_locking, name)

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        first = min(var_list, key=lambda var: str(var.name))
        self._create_non_slot_variable(self._beta1, "beta1_power", first)
        for var in var_list:
            self._zeros_slot(var, "m", self._name)
            self._zeros_slot(var, "v", self._name)

    def _power(self) -> Any:
        graph = None if context.executing_eagerly() else context.get_default_graph()
        return self._get_non_slot_variable("beta1_power", graph)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        scalars = [self._power().value(), self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t]
        inputs = [
            var,
            self.get_slot(var, "m"),
            self.get_slot(var, "v"),
            *(self._like(scalar, var) for scalar in scalars),
            grad,
        ]
        attrs = {"use_locking": self._use_locking}
        return self._operation(training_ops.update("ApplyAdaMax", inputs, attrs))

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        return self._apply_dense(grad, var)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        power = self._power()
        eager = context.executing_eagerly()
        with context.control_dependencies([] if eager else update_ops):
            update = power.assign(power.value() * self._like(self._beta1_t, power))
        if eager:
            return None
        return control_flow_ops.group(*update_ops, update.op, name=name_scope)


class _WeightDecay:
    """Shrinks the variables by `weight_decay * variable` before the optimizer's step."""

    def __init__(self, weight_decay: Any, *args: Any, **kwargs: Any) -> None:
        self._weight_decay = weight_decay
        super().__init__(*args, **kwargs)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        decay = self._call_if_callable(self._weight_decay)  # type: ignore[attr-defined]
        if hasattr(decay, "get_shape"):
            decay = self._like(convert.convert_to_tensor(decay), var)  # type: ignore[attr-defined]
        amount = decay * var.value()
        shrunk = var.assign_sub(amount)
        eager = context.executing_eagerly()
        with context.control_dependencies([] if eager else [shrunk]):
            return super()._apply_dense(grad, var)  # type: ignore[misc]


class AdamWOptimizer(_WeightDecay, AdamOptimizer):
    """Adam with decoupled weight decay: `weight_decay`, then the arguments of `AdamOptimizer`."""

    def __init__(
        self,
        weight_decay: Any,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "AdamW",
    ) -> None:
        super().__init__(weight_decay, learning_rate, beta1, beta2, epsilon, use_locking, name)


class MomentumWOptimizer(_WeightDecay, MomentumOptimizer):
    """Momentum with decoupled weight decay: `weight_decay`, then those of `MomentumOptimizer`."""

    def __init__(
        self,
        weight_decay: Any,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "MomentumW",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(weight_decay, learning_rate, momentum, use_locking, name, use_nesterov)
