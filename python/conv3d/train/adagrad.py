"""Adagrad: steps divided by the root of the sum of all squared gradients.

Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
Optimization", 2011.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.ops import training_ops
from conv3d.train import optimizer


class AdagradOptimizer(optimizer.RowwiseOptimizer):
    """Adagrad. Source: `tf.train.AdagradOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        initial_accumulator_value: where the sums start, positive.
        use_locking: accepted.
        name: name of the optimizer.

    Raises:
        ValueError: `initial_accumulator_value` is not positive.
    """

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:
        if initial_accumulator_value <= 0.0:
            raise ValueError(
                f"initial_accumulator_value: has to be positive, got {initial_accumulator_value!r}"
            )
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._constant_slot(var, self._initial_accumulator_value, "accumulator", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        rate = self._like(self._learning_rate_tensor, var)
        inputs = [var, self.get_slot(var, "accumulator"), rate, grad]
        attrs = {"use_locking": self._use_locking, "update_slots": True}
        return self._operation(training_ops.update("ApplyAdagrad", inputs, attrs))
