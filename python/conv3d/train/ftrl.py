"""FTRL-Proximal: follow the regularised leader, with exact zeros from L1.

Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.ops import training_ops
from conv3d.train import optimizer


def _check(name: str, value: float, good: bool, accepted: str) -> None:
    if not good:
        raise ValueError(f"{name}: has to be {accepted}, got {value!r}")


class FtrlOptimizer(optimizer.RowwiseOptimizer):
    """FTRL. Source: `tf.train.FtrlOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        learning_rate_power: at most 0; -0.5 decays the step as Adagrad does, 0 keeps it.
        initial_accumulator_value: where the sums of squares start, not negative.
        l1_regularization_strength: not negative.
        l2_regularization_strength: not negative.
        use_locking: accepted.
        name: name of the optimizer.
        accum_name: name of the sum's slot; by default that of the optimizer.
        linear_name: name of the linear term's slot; by default that of the optimizer.
        l2_shrinkage_regularization_strength: not negative; a penalty on the size of the weights
            (the gradient becomes `g + 2 * l2_shrinkage * var`).

    Raises:
        ValueError: a value outside its range.
    """

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0,
    ) -> None:
        super().__init__(use_locking, name)
        _check(
            "initial_accumulator_value",
            initial_accumulator_value,
            initial_accumulator_value >= 0,
            "0 or more",
        )
        _check("learning_rate_power", learning_rate_power, learning_rate_power <= 0, "0 or less")
        for label, value in (
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength),
        ):
            _check(label, value, value >= 0, "0 or more")
        self._learning_rate = learning_rate
        self._learning_rate_power = learning_rate_power
        self._initial_accumulator_value = initial_accumulator_value
        self._l1 = l1_regularization_strength
        self._l2 = l2_regularization_strength
        self._l2_shrinkage = l2_shrinkage_regularization_strength
        self._accum_name = accum_name
        self._linear_name = linear_name

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._constant_slot(
                var, self._initial_accumulator_value, "accum", self._accum_name or self._name
            )
            self._zeros_slot(var, "linear", self._linear_name or self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._l1_tensor = self._tensor(self._l1, "l1_regularization_strength")
        self._l2_tensor = self._tensor(self._l2, "l2_regularization_strength")
        self._shrinkage_tensor = self._tensor(
            self._l2_shrinkage, "l2_shrinkage_regularization_strength"
        )
        self._power_tensor = self._tensor(self._learning_rate_power, "learning_rate_power")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        scalars = [self._learning_rate_tensor, self._l1_tensor, self._l2_tensor]
        op_type = "ApplyFtrl"
        if self._l2_shrinkage > 0:
            op_type = "ApplyFtrlV2"
            scalars.append(self._shrinkage_tensor)
        scalars.append(self._power_tensor)
        inputs = [
            var,
            self.get_slot(var, "accum"),
            self.get_slot(var, "linear"),
            grad,
            *(self._like(scalar, var) for scalar in scalars),
        ]
        attrs = {"use_locking": self._use_locking}
        return self._operation(training_ops.update(op_type, inputs, attrs))
