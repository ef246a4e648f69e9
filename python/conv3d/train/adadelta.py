"""Adadelta: Adagrad with decaying sums and a step in the units of the variable.

Source: Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.ops import training_ops
from conv3d.train import optimizer


class AdadeltaOptimizer(optimizer.RowwiseOptimizer):
    """Adadelta. Source: `tf.train.AdadeltaOptimizer`.

    Args:
        learning_rate: step size, 1 in the paper: a number, a tensor, or a function.
        rho: decay of both running means; the same kinds.
        epsilon: added to both under their roots; the same kinds.
        use_locking: accepted.
        name: name of the optimizer.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:
        super().__init__(use_locking, name)
        self._lr = learning_rate
        self._rho = rho
        self._epsilon = epsilon

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._zeros_slot(var, "accum", self._name)
            self._zeros_slot(var, "accum_update", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._tensor(self._lr, "lr")
        self._rho_t = self._tensor(self._rho, "rho")
        self._epsilon_t = self._tensor(self._epsilon, "epsilon")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        scalars = [self._lr_t, self._rho_t, self._epsilon_t]
        inputs = [
            var,
            self.get_slot(var, "accum"),
            self.get_slot(var, "accum_update"),
            *(self._like(scalar, var) for scalar in scalars),
            grad,
        ]
        attrs = {"use_locking": self._use_locking}
        return self._operation(training_ops.update("ApplyAdadelta", inputs, attrs))
