"""RMSProp: steps divided by the root of a running mean of squared gradients.

Source: Tieleman, Hinton, "Lecture 6.5 - rmsprop", Coursera, 2012; the centered form is that of
Graves, "Generating Sequences With Recurrent Neural Networks", 2013.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d.ops import training_ops
from conv3d.train import optimizer


class RMSPropOptimizer(optimizer.RowwiseOptimizer):
    """RMSProp with momentum. Source: `tf.train.RMSPropOptimizer`.

    Args:
        learning_rate: step size: a number, a tensor, or a function without arguments.
        decay: of the mean square; the same kinds.
        momentum: decay of the sum of steps; the same kinds.
        epsilon: added to the mean square under the root; the same kinds.
        use_locking: accepted.
        centered: subtract the squared mean gradient, which makes the mean square a variance.
        name: name of the optimizer.
    """

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ) -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._decay = decay
        self._momentum = momentum
        self._epsilon = epsilon
        self._centered = centered

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for var in var_list:
            self._constant_slot(var, 1.0, "rms", self._name)
            if self._centered:
                self._zeros_slot(var, "mg", self._name)
            self._zeros_slot(var, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._decay_tensor = self._tensor(self._decay, "decay")
        self._momentum_tensor = self._tensor(self._momentum, "momentum")
        self._epsilon_tensor = self._tensor(self._epsilon, "epsilon")

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        slots = ["mg", "rms", "momentum"] if self._centered else ["rms", "momentum"]
        scalars = [
            self._learning_rate_tensor,
            self._decay_tensor,
            self._momentum_tensor,
            self._epsilon_tensor,
        ]
        inputs = [
            var,
            *(self.get_slot(var, name) for name in slots),
            *(self._like(scalar, var) for scalar in scalars),
            grad,
        ]
        op_type = "ApplyCenteredRMSProp" if self._centered else "ApplyRMSProp"
        attrs = {"use_locking": self._use_locking}
        return self._operation(training_ops.update(op_type, inputs, attrs))
