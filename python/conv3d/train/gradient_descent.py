"""Gradient descent: `var -= learning_rate * gradient`."""

from __future__ import annotations

from typing import Any

from conv3d.framework import execute
from conv3d.ops import state_ops
from conv3d.train import optimizer


class GradientDescentOptimizer(optimizer.Optimizer):
    """Plain gradient descent. Source: `tf.train.GradientDescentOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        use_locking: accepted.
        name: name of the optimizer.
    """

    def __init__(
        self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent"
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        rate = self._like(self._learning_rate_tensor, var)
        attrs = {"use_locking": self._use_locking}
        return self._operation(execute.apply_op("ApplyGradientDescent", [var, rate, grad], attrs))

    def _apply_sparse_duplicate_indices(self, grad: Any, var: Any) -> Any:
        # Subtracting row by row adds up what is named twice.
        rate = self._like(self._learning_rate_tensor, var)
        return self._operation(
            state_ops.scatter_sub(var, grad.indices, grad.values * rate, self._use_locking)
        )
