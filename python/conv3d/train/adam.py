"""Adam: steps scaled by running means of the gradient and of its square.

Source: Kingma, Ba, "Adam: A Method for Stochastic Optimization", 2015, in the form before section
2.1 with one corrected step size, as TensorFlow has it (its epsilon is the paper's epsilon hat).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.framework import context, convert, execute
from conv3d.ops import control_flow_ops
from conv3d.train import optimizer


class AdamOptimizer(optimizer.Optimizer):
    """Adam. Source: `tf.train.AdamOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        beta1: decay of the mean gradient; the same kinds.
        beta2: decay of the mean square; the same kinds.
        epsilon: added to the root of the mean square; the same kinds.
        use_locking: accepted.
        name: name of the optimizer.
    """

    _use_nesterov = False

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon

    def _get_beta_accumulators(self) -> tuple[Any, Any]:
        """The variables that hold `beta1 ** step` and `beta2 ** step`."""
        graph = None if context.executing_eagerly() else context.get_default_graph()
        return (
            self._get_non_slot_variable("beta1_power", graph),
            self._get_non_slot_variable("beta2_power", graph),
        )

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        first = min(var_list, key=lambda var: str(var.name))
        beta1 = self._call_if_callable(self._beta1)
        beta2 = self._call_if_callable(self._beta2)
        self._create_non_slot_variable(beta1, "beta1_power", first)
        self._create_non_slot_variable(beta2, "beta2_power", first)
        for var in var_list:
            self._zeros_slot(var, "m", self._name)
            self._zeros_slot(var, "v", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._tensor(self._lr, "learning_rate")
        self._beta1_t = self._tensor(self._beta1, "beta1")
        self._beta2_t = self._tensor(self._beta2, "beta2")
        self._epsilon_t = self._tensor(self._epsilon, "epsilon")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        powers = [power.value() for power in self._get_beta_accumulators()]
        scalars = [*powers, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t]
        inputs = [
            var,
            self.get_slot(var, "m"),
            self.get_slot(var, "v"),
            *(self._like(scalar, var) for scalar in scalars),
            grad,
        ]
        attrs = {"use_locking": self._use_locking, "use_nesterov": self._use_nesterov}
        return self._operation(execute.apply_op("ApplyAdam", inputs, attrs))

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        # The running means decay in every row, so every row moves.
        return self._apply_dense(convert.convert_to_tensor(grad), var)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        beta1_power, beta2_power = self._get_beta_accumulators()
        eager = context.executing_eagerly()
        with context.control_dependencies([] if eager else update_ops):
            updates = [
                power.assign(power.value() * self._like(beta, power), use_locking=self._use_locking)
                for power, beta in ((beta1_power, self._beta1_t), (beta2_power, self._beta2_t))
            ]
        if eager:
            return None
        return control_flow_ops.group(*update_ops, *(one.op for one in updates), name=name_scope)
