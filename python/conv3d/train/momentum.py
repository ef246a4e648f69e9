"""Momentum: gradients are summed with decay, and the sum is followed.

Source: Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
learning", 2013, for the Nesterov form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.ops import training_ops
from conv3d.train import optimizer


class MomentumOptimizer(optimizer.RowwiseOptimizer):
    """Gradient descent with momentum. Source: `tf.train.MomentumOptimizer`.

    `accumulation = momentum * accumulation + gradient; var -= learning_rate * accumulation`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        momentum: the decay of the sum; the same kinds.
        use_locking: accepted.
        name: name of the optimizer.
        use_nesterov: evaluate the gradient ahead: `var -= learning_rate * (gradient + momentum *
            accumulation)`.
    """

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._momentum = momentum
        self._use_nesterov = use_nesterov

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._zeros_slot(var, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._momentum_tensor = self._tensor(self._momentum, "momentum")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        inputs = [
            var,
            self.get_slot(var, "momentum"),
            self._like(self._learning_rate_tensor, var),
            grad,
            self._like(self._momentum_tensor, var),
        ]
        attrs = {"use_locking": self._use_locking, "use_nesterov": self._use_nesterov}
        return self._operation(training_ops.update("ApplyMomentum", inputs, attrs))
