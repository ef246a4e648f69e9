"""`tf.estimator.ModeKeys` and `EstimatorSpec`: what model functions are written with.

They are plain containers; the training loop around them is the program's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from conv3d.framework.graph import Operation
from conv3d.framework.tensor import Tensor
from conv3d.ops import array_ops
from conv3d.variables.variable import Variable

__all__ = ["EstimatorSpec", "ModeKeys"]


class ModeKeys:
    """Names of what a model function is called for."""

    TRAIN = "train"
    EVAL = "eval"
    PREDICT = "infer"


class _Fields(NamedTuple):
    mode: str
    predictions: Any
    loss: Any
    train_op: Any
    eval_metric_ops: Any
    export_outputs: Any
    training_chief_hooks: Sequence[Any]
    training_hooks: Sequence[Any]
    scaffold: Any
    evaluation_hooks: Sequence[Any]
    prediction_hooks: Sequence[Any]


def _check_tensor(name: str, value: Any, operations: bool = False) -> None:
    kinds = (Tensor, Variable, Operation) if operations else (Tensor, Variable)
    if not isinstance(value, kinds):
        wanted = "tensor or operation" if operations else "tensor"
        raise TypeError(f"{name}: a {wanted} is needed, got {value!r}")


class EstimatorSpec(_Fields):
    """What a model function returns. Source: `tf.estimator.EstimatorSpec`.

    Args:
        mode: one of `ModeKeys`.
        predictions: a tensor or a dict of tensors; needed to predict.
        loss: a tensor with one element, made a scalar; needed to train and to evaluate.
        train_op: the operation of a step; needed to train.
        eval_metric_ops: dict from names to pairs `(value, update)`.
        export_outputs: kept.
        training_chief_hooks: kept as a tuple.
        training_hooks: kept as a tuple.
        scaffold: kept.
        evaluation_hooks: kept as a tuple.
        prediction_hooks: kept as a tuple.

    Raises:
        ValueError: something that the mode needs is missing, or the loss is no scalar.
        TypeError: something is of the wrong kind.
    """

    __slots__ = ()

    def __new__(
        cls,
        mode: str,
        predictions: Any = None,
        loss: Any = None,
        train_op: Any = None,
        eval_metric_ops: Mapping[str, Any] | None = None,
        export_outputs: Any = None,
        training_chief_hooks: Sequence[Any] | None = None,
        training_hooks: Sequence[Any] | None = None,
        scaffold: Any = None,
        evaluation_hooks: Sequence[Any] | None = None,
        prediction_hooks: Sequence[Any] | None = None,
    ) -> EstimatorSpec:
        if train_op is None:
            if mode == ModeKeys.TRAIN:
                raise ValueError("train_op: is needed to train")
        else:
            _check_tensor("train_op", train_op, operations=True)
        if loss is None:
            if mode in (ModeKeys.TRAIN, ModeKeys.EVAL):
                raise ValueError("loss: is needed to train and to evaluate")
        else:
            _check_tensor("loss", loss)
            shape = loss.get_shape()
            if shape.num_elements() not in (None, 1):
                raise ValueError(f"loss: has to be a scalar, got the shape {shape}")
            if not shape.is_compatible_with([]):
                loss = array_ops.reshape(loss, [])
        if predictions is None:
            if mode == ModeKeys.PREDICT:
                raise ValueError("predictions: are needed to predict")
            predictions = {}
        elif isinstance(predictions, Mapping):
            for name, value in predictions.items():
                _check_tensor(f"predictions[{name!r}]", value)
        else:
            _check_tensor("predictions", predictions)
        metrics = {} if eval_metric_ops is None else eval_metric_ops
        if not isinstance(metrics, Mapping):
            raise TypeError(f"eval_metric_ops: a dict is needed, got {metrics!r}")
        for name, pair in metrics.items():
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise TypeError(
                    f"eval_metric_ops[{name!r}]: a pair (value, update) is needed, got {pair!r}"
                )
            for value in pair:
                _check_tensor(f"eval_metric_ops[{name!r}]", value, operations=True)
        return super().__new__(
            cls,
            mode,
            predictions,
            loss,
            train_op,
            metrics,
            export_outputs,
            tuple(training_chief_hooks or ()),
            tuple(training_hooks or ()),
            scaffold,
            tuple(evaluation_hooks or ()),
            tuple(prediction_hooks or ()),
        )


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(
        f"conv3d.estimator has no {name!r}: it holds ModeKeys and EstimatorSpec; write the loop "
        "with Session.run and train.Saver"
    )
