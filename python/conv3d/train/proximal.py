"""Proximal forms of gradient descent, Adagrad and dual averaging: L1 and L2 inside the step.

Source: Duchi, Singer, "Efficient Online and Batch Learning Using Forward Backward Splitting", 2009;
Duchi, Hazan, Singer, "Adaptive Subgradient Methods", 2011, section 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.framework import dtypes
from conv3d.ops import math_ops, training_ops
from conv3d.train import optimizer


class ProximalGradientDescentOptimizer(optimizer.RowwiseOptimizer):
    """Source: `tf.train.ProximalGradientDescentOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        l1_regularization_strength: not negative.
        l2_regularization_strength: not negative.
        use_locking: accepted.
        name: name of the optimizer.
    """

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._l1 = l1_regularization_strength
        self._l2 = l2_regularization_strength

    def _prepare(self) -> None:
        self._rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._l1_tensor = self._tensor(self._l1, "l1_regularization_strength")
        self._l2_tensor = self._tensor(self._l2, "l2_regularization_strength")

    def _scalars(self, var: Any) -> list[Any]:
        return [
            self._like(scalar, var)
            for scalar in (self._rate_tensor, self._l1_tensor, self._l2_tensor)
        ]

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        inputs = [var, *self._scalars(var), grad]
        attrs = {"use_locking": self._use_locking}
        return self._operation(training_ops.update("ApplyProximalGradientDescent", inputs, attrs))


class ProximalAdagradOptimizer(ProximalGradientDescentOptimizer):
    """Source: `tf.train.ProximalAdagradOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        initial_accumulator_value: where the sums of squares start, positive.
        l1_regularization_strength: not negative.
        l2_regularization_strength: not negative.
        use_locking: accepted.
        name: name of the optimizer.

    Raises:
        ValueError: `initial_accumulator_value` is not positive.
    """

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ) -> None:
        if initial_accumulator_value <= 0.0:
            raise ValueError(
                f"initial_accumulator_value: has to be positive, got {initial_accumulator_value!r}"
            )
        super().__init__(
            learning_rate, l1_regularization_strength, l2_regularization_strength, use_locking, name
        )
        self._initial_accumulator_value = initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._constant_slot(var, self._initial_accumulator_value, "accumulator", self._name)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        inputs = [var, self.get_slot(var, "accumulator"), *self._scalars(var), grad]
        attrs = {"use_locking": self._use_locking}
        return self._operation(training_ops.update("ApplyProximalAdagrad", inputs, attrs))


class AdagradDAOptimizer(ProximalGradientDescentOptimizer):
    """Adagrad dual averaging. Source: `tf.train.AdagradDAOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        global_step: the variable that counts the steps.
        initial_gradient_squared_accumulator_value: where the sums of squares start, positive.
        l1_regularization_strength: not negative.
        l2_regularization_strength: not negative.
        use_locking: accepted.
        name: name of the optimizer.

    Raises:
        ValueError: `initial_gradient_squared_accumulator_value` is not positive.
    """

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:
        if initial_gradient_squared_accumulator_value <= 0.0:
            raise ValueError(
                "initial_gradient_squared_accumulator_value: has to be positive, got "
                f"{initial_gradient_squared_accumulator_value!r}"
            )
        super().__init__(
            learning_rate, l1_regularization_strength, l2_regularization_strength, use_locking, name
        )
        self._global_step = global_step
        self._initial_value = initial_gradient_squared_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._zeros_slot(var, "gradient_accumulator", self._name)
            self._constant_slot(
                var, self._initial_value, "gradient_squared_accumulator", self._name
            )

    def _prepare(self) -> None:
        super()._prepare()
        # The step being made counts: the sums contain its gradient.
        self._step_tensor = math_ops.cast(self._global_step, dtypes.int64) + 1

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        inputs = [
            var,
            self.get_slot(var, "gradient_accumulator"),
            self.get_slot(var, "gradient_squared_accumulator"),
            grad,
            *self._scalars(var),
            self._step_tensor,
        ]
        attrs = {"use_locking": self._use_locking}
        return self._operation(training_ops.update("ApplyAdagradDA", inputs, attrs))
