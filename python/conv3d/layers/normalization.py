"""Batch normalization for data of any rank, and batch renormalization.

    y = (x - mean) / sqrt(variance + epsilon) * gamma + beta

In training the moments are those of the batch, and two updates move `moving_mean` and
`moving_variance` towards them; a program runs the updates itself (`GraphKeys.UPDATE_OPS`). In
inference the moving averages are used.

Source: `tf.layers.BatchNormalization`; Ioffe and Szegedy 2015 (batch normalization), Ioffe 2017
(renormalization), Hoffer et al. 2017 (virtual batches).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from conv3d import initializers
from conv3d.framework import context, convert, dtypes, tensor_shape
from conv3d.framework.tensor import Tensor
from conv3d.layers import switch
from conv3d.layers.base import InputSpec, Layer
from conv3d.ops import (
    array_ops,
    math_ops,
    math_reduce_ops,
    normalization_ops,
    state_ops,
)

__all__ = ["BatchNorm", "BatchNormalization", "batch_norm", "batch_normalization"]

_CLIPPING = ("rmax", "rmin", "dmax")

#: Defaults, instances as in TensorFlow.
_ZEROS = initializers.zeros_initializer()
_ONES = initializers.ones_initializer()


class BatchNormalization(Layer):
    """Normalizes an input by its moments over all axes but `axis`.

    Args:
        axis: the axis of the features, an integer or a list of them.
        momentum: how much of the moving averages stays at an update.
        epsilon: added to the variance.
        center: whether there is an offset `beta`.
        scale: whether there is a factor `gamma`.
        beta_initializer: initializer of `beta`.
        gamma_initializer: initializer of `gamma`.
        moving_mean_initializer: initializer of `moving_mean`.
        moving_variance_initializer: initializer of `moving_variance`.
        beta_regularizer: function of `beta` whose result becomes a loss.
        gamma_regularizer: likewise for `gamma`.
        beta_constraint: applied to `beta` after each step of an optimizer.
        gamma_constraint: likewise for `gamma`.
        renorm: correct the moments of the batch towards slower averages of them.
        renorm_clipping: limits of the correction, a dictionary with "rmax", "rmin" and "dmax".
        renorm_momentum: momentum of those slower averages.
        fused: True and None take the op `FusedBatchNorm` where it exists (4-D input); False never.
        trainable: whether `beta` and `gamma` are trained.
        virtual_batch_size: size of the parts of the batch that are normalized each by itself.
        adjustment: function of the input's dynamic shape that returns a pair (scale, bias), applied
            in training before `gamma` and `beta`.
        name: name of the layer.
        **kwargs: as for `Layer`.

    Raises:
        ValueError: arguments that do not go together, or unknown keys of `renorm_clipping`.

    Source: `tf.layers.BatchNormalization`.
    """

    def __init__(
        self,
        axis: Any = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = _ZEROS,
        gamma_initializer: Any = _ONES,
        moving_mean_initializer: Any = _ZEROS,
        moving_variance_initializer: Any = _ONES,
        beta_regularizer: Callable[..., Any] | None = None,
        gamma_regularizer: Callable[..., Any] | None = None,
        beta_constraint: Callable[..., Any] | None = None,
        gamma_constraint: Callable[..., Any] | None = None,
        renorm: bool = False,
        renorm_clipping: dict[str, Any] | None = None,
        renorm_momentum: float = 0.99,
        fused: bool | None = None,
        trainable: bool = True,
        virtual_batch_size: int | None = None,
        adjustment: Callable[..., Any] | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, trainable=trainable, **kwargs)
        self.axis: Any = list(axis) if isinstance(axis, (list, tuple)) else axis
        self.momentum = momentum
        self.epsilon = epsilon
        self.center = center
        self.scale = scale
        self.beta_initializer = beta_initializer
        self.gamma_initializer = gamma_initializer
        self.moving_mean_initializer = moving_mean_initializer
        self.moving_variance_initializer = moving_variance_initializer
        self.beta_regularizer = beta_regularizer
        self.gamma_regularizer = gamma_regularizer
        self.beta_constraint = beta_constraint
        self.gamma_constraint = gamma_constraint
        self.renorm = renorm
        self.virtual_batch_size = virtual_batch_size
        self.adjustment = adjustment
        self.fused = True if fused is None else fused
        if self.fused and fused is not None:
            for option, given in (
                ("renorm", renorm),
                ("virtual_batch_size", virtual_batch_size is not None),
                ("adjustment", adjustment is not None),
            ):
                if given:
                    raise ValueError(f"`fused=True` cannot go with `{option}`.")
        if renorm:
            clipping = renorm_clipping or {}
            unknown = sorted(set(clipping) - set(_CLIPPING))
            if unknown:
                raise ValueError(
                    f"`renorm_clipping` has the keys {unknown}; accepted are {list(_CLIPPING)}."
                )
            self.renorm_clipping = clipping
            self.renorm_momentum = renorm_momentum

    # --- building -------------------------------------------------------------------------------

    def _resolve_axes(self, ndims: int) -> list[int]:
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        if not isinstance(axes, list):
            raise TypeError(f"`axis` is {self.axis!r}; an integer or a list of integers it is.")
        resolved = [ndims + a if a < 0 else a for a in axes]
        if any(not 0 <= a < ndims for a in resolved):
            raise ValueError(f"`axis` is {axes}, outside the {ndims} axes of the input.")
        if len(set(resolved)) != len(resolved):
            raise ValueError(f"`axis` is {axes}, which names an axis twice.")
        return resolved

    def build(self, input_shape: Any) -> None:
        """Makes `gamma`, `beta` and the moving averages.

        Raises:
            ValueError: an unknown rank or feature size, an `axis` that does not exist, or a virtual
                batch size that is not positive.
        """
        shape = tensor_shape.as_shape(input_shape)
        if not shape.ndims:
            raise ValueError(f"layer {self.name} was given an input of shape {shape}, not known.")
        ndims = shape.ndims
        self.axis = self._resolve_axes(ndims)
        if self.virtual_batch_size is not None:
            if self.virtual_batch_size <= 0:
                raise ValueError(
                    f"`virtual_batch_size` is {self.virtual_batch_size}; a positive integer that "
                    "divides the batch it is."
                )
            if 0 in self.axis:
                raise ValueError("`virtual_batch_size` cannot go with axis 0 in `axis`.")
            if self.adjustment is not None:
                raise ValueError("`virtual_batch_size` cannot go with `adjustment`.")
        self.fused = (
            bool(self.fused)
            and not self.renorm
            and ndims == 4
            and self.axis in ([1], [3])
            and self.virtual_batch_size is None
            and self.adjustment is None
        )
        sizes = shape.as_list()
        features = {a: sizes[a] for a in self.axis}
        if None in features.values():
            raise ValueError(
                f"layer {self.name} was given an input of shape {shape}; the size of axis "
                f"{self.axis} has to be known."
            )
        self.input_spec = InputSpec(ndim=ndims, axes=dict(features))
        dims: Any
        if len(features) == 1 and self.virtual_batch_size is None:
            dims = (features[self.axis[0]],)
        else:
            dims = [features.get(i, 1) for i in range(ndims)]
            if self.virtual_batch_size is not None:
                dims.insert(1, 1)
                self.axis = [a + 1 for a in self.axis]
        self._add_variables(dims)
        self.built = True

    @property
    def _param_dtype(self) -> Any:
        half = (dtypes.float16.name, dtypes.bfloat16.name)
        if self.dtype is None or self.dtype in half:
            return dtypes.float32
        return dtypes.as_dtype(self.dtype)

    def _add_variables(self, dims: Sequence[int]) -> None:
        dtype = self._param_dtype
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_variable(
                "gamma",
                shape=dims,
                dtype=dtype,
                initializer=self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                trainable=True,
            )
        if self.center:
            self.beta = self.add_variable(
                "beta",
                shape=dims,
                dtype=dtype,
                initializer=self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                trainable=True,
            )
        # Averages are never cut into slices: they are assigned as a whole.
        scope = self._scope
        partitioner = None if scope is None else scope.partitioner
        if scope is not None and partitioner is not None:
            scope.set_partitioner(None)
        try:
            self.moving_mean = self._average("moving_mean", dims, self.moving_mean_initializer)
            self.moving_variance = self._average(
                "moving_variance", dims, self.moving_variance_initializer
            )
            if self.renorm:
                # Sums that start at 0, and the weights that they have gathered: their ratio is an
                # average without a bias towards 0.
                zeros = initializers.zeros_initializer()
                self.renorm_mean = self._average("renorm_mean", dims, zeros)
                self.renorm_mean_weight = self._average("renorm_mean_weight", (), zeros)
                self.renorm_stddev = self._average("renorm_stddev", dims, zeros)
                self.renorm_stddev_weight = self._average("renorm_stddev_weight", (), zeros)
        finally:
            if scope is not None and partitioner is not None:
                scope.set_partitioner(partitioner)

    def _average(self, name: str, dims: Sequence[int], initializer: Any) -> Any:
        return self.add_variable(
            name, shape=dims, dtype=self._param_dtype, initializer=initializer, trainable=False
        )

    # --- calling --------------------------------------------------------------------------------

    def call(self, inputs: Any, training: Any = False) -> Any:
        """Normalizes `inputs`.

        Args:
            inputs: a floating point tensor.
            training: a bool or a scalar bool tensor.
        """
        inputs = convert.convert_to_tensor(inputs)
        if self.fused:
            return self._call_fused(inputs, training)
        if self.virtual_batch_size is None:
            return self._call_composed(inputs, training)
        whole = [-1, *inputs.get_shape().as_list()[1:]]
        parts = array_ops.reshape(inputs, [self.virtual_batch_size, -1, *whole[1:]])
        outputs = self._call_composed(parts, training)
        return array_ops.reshape(outputs, whole)

    def _move(self, variable: Any, value: Any, momentum: Any) -> Any:
        """One step of an average: variable -= (variable - value) * (1 - momentum)."""
        with context.name_scope(None, "AssignMovingAvg", [variable, value, momentum]) as scope:
            dtype = variable.dtype.base_dtype
            decay = convert.convert_to_tensor(1.0 - momentum, name="decay")
            if decay.dtype.base_dtype != dtype:
                decay = math_ops.cast(decay, dtype)
            value = value if value.dtype.base_dtype == dtype else math_ops.cast(value, dtype)
            delta = (variable - value) * decay
            return state_ops.assign_sub(variable, delta, name=scope or None)

    def _update(
        self, inputs: Any, training: Any, mean: Any, variance: Any, momentum: Any = None
    ) -> None:
        """Adds the two updates of the moving averages, or makes them in eager mode."""
        momentum = self.momentum if momentum is None else momentum
        if switch.known(training) is False:
            return
        if context.executing_eagerly() and not self.trainable:
            return
        for variable, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            update = switch.choose(
                training,
                partial(self._move, variable, value, momentum),
                partial(convert.convert_to_tensor, variable),
            )
            if not context.executing_eagerly():
                self.add_update(update, inputs=inputs)

    def _call_fused(self, inputs: Any, training: Any) -> Any:
        size = inputs.get_shape().as_list()[self.axis[0]]
        layout = "NCHW" if self.axis == [1] else "NHWC"
        dtype = self._param_dtype
        gamma = self.gamma if self.scale else array_ops.constant(1.0, dtype, [size])
        beta = self.beta if self.center else array_ops.constant(0.0, dtype, [size])

        def train() -> Any:
            return normalization_ops.fused_batch_norm(
                inputs, gamma, beta, epsilon=self.epsilon, data_format=layout
            )

        def infer() -> Any:
            return normalization_ops.fused_batch_norm(
                inputs,
                gamma,
                beta,
                mean=self.moving_mean,
                variance=self.moving_variance,
                epsilon=self.epsilon,
                data_format=layout,
                is_training=False,
            )

        outputs, mean, variance = switch.choose(training, train, infer)
        known = switch.known(training)
        if known is None:
            # TensorFlow's form here: always one step, which moves nothing outside of training.
            momentum = switch.choose(training, lambda: self.momentum, lambda: 1.0)
            self._update(inputs, True, mean, variance, momentum)
        else:
            self._update(inputs, known, mean, variance)
        return outputs

    def _call_composed(self, inputs: Any, training: Any) -> Any:
        ndims = inputs.get_shape().ndims
        virtual = self.virtual_batch_size is not None
        rest = [i for i in range(ndims) if i not in self.axis]
        if virtual:
            del rest[1]
        last = rest == list(range(ndims - 1))

        def whole(v: Any) -> Any:
            """A vector in the shape that broadcasts along `axis`."""
            if v is None or last or len(v.get_shape()) == ndims:
                return v
            shape = [1] * ndims
            shape[self.axis[0]] = inputs.get_shape().as_list()[self.axis[0]]
            return array_ops.reshape(v, shape)

        scale, offset = whole(self.gamma), whole(self.beta)
        if switch.known(training) is False:
            mean: Any = self.moving_mean
            variance: Any = self.moving_variance
        else:
            if self.adjustment is not None:
                scale, offset = self._adjusted(inputs, training, scale, offset)
            keep = virtual or len(self.axis) > 1
            batch = normalization_ops.moments(inputs, rest, keep_dims=keep)
            mean = switch.choose(
                training, lambda: batch[0], lambda: self._as_batch(self.moving_mean, batch[0])
            )
            variance = switch.choose(
                training, lambda: batch[1], lambda: self._as_batch(self.moving_variance, batch[1])
            )
            new_mean, new_variance = mean, variance
            if self.renorm:
                r, d, new_mean, new_variance = self._renorm(mean, variance, training)
                r = whole(array_ops.stop_gradient(r, name="renorm_r"))
                d = whole(array_ops.stop_gradient(d, name="renorm_d"))
                scale, offset = _compose(r, d, scale, offset)
            if virtual:
                new_mean = math_reduce_ops.reduce_mean(new_mean, axis=1, keepdims=True)
                new_variance = math_reduce_ops.reduce_mean(new_variance, axis=1, keepdims=True)
            self._update(inputs, training, new_mean, new_variance)
        dtype = inputs.dtype.base_dtype
        outputs = normalization_ops.batch_normalization(
            inputs,
            _cast(whole(mean), dtype),
            _cast(whole(variance), dtype),
            _cast(offset, dtype),
            _cast(scale, dtype),
            self.epsilon,
        )
        if not context.executing_eagerly():
            outputs.set_shape(inputs.get_shape())
        return outputs

    def _as_batch(self, average: Any, like: Any) -> Any:
        """A moving average in the dtype of the batch's moments."""
        return _cast(convert.convert_to_tensor(average), like.dtype.base_dtype)

    def _adjusted(self, inputs: Any, training: Any, scale: Any, offset: Any) -> tuple[Any, Any]:
        assert self.adjustment is not None
        factor, bias = self.adjustment(array_ops.shape(inputs))
        factor = switch.choose(training, lambda: factor, lambda: array_ops.ones_like(factor))
        bias = switch.choose(training, lambda: bias, lambda: array_ops.zeros_like(bias))
        return _compose(factor, bias, scale, offset)

    def _renorm(self, mean: Any, variance: Any, training: Any) -> tuple[Any, Any, Any, Any]:
        """Corrections r and d, and the moments for the moving averages."""
        stddev = math_ops.sqrt(variance + self.epsilon)
        # The slow averages as if the weight that is still missing were this batch's.
        slow_mean = self.renorm_mean + (1.0 - self.renorm_mean_weight) * mean
        slow_stddev = self.renorm_stddev + (1.0 - self.renorm_stddev_weight) * stddev
        r = stddev / slow_stddev
        d = (mean - slow_mean) / slow_stddev
        # The corrections belong to the averages before this batch's update.
        with context.control_dependencies([r, d]):
            mean = array_ops.identity(mean)
            stddev = array_ops.identity(stddev)
        rmin, rmax, dmax = (self.renorm_clipping.get(key) for key in ("rmin", "rmax", "dmax"))
        if rmin is not None:
            r = math_ops.maximum(r, rmin)
        if rmax is not None:
            r = math_ops.minimum(r, rmax)
        if dmax is not None:
            d = math_ops.minimum(math_ops.maximum(d, -dmax), dmax)
        r = switch.choose(training, lambda: r, lambda: array_ops.ones_like(r))
        d = switch.choose(training, lambda: d, lambda: array_ops.zeros_like(d))
        new_mean = self._move_slow(self.renorm_mean, self.renorm_mean_weight, mean, training)
        new_stddev = self._move_slow(
            self.renorm_stddev, self.renorm_stddev_weight, stddev, training
        )
        return r, d, new_mean, math_ops.square(new_stddev) - self.epsilon

    def _move_slow(self, variable: Any, weight: Any, value: Any, training: Any) -> Any:
        """Updates a slow average and its weight; returns their ratio."""
        value = array_ops.identity(value)

        def update() -> Any:
            with context.control_dependencies([value]):
                one = array_ops.constant(1.0, dtype=weight.dtype.base_dtype)
            total = self._move(variable, value, self.renorm_momentum)
            gathered = self._move(weight, one, self.renorm_momentum)
            return convert.convert_to_tensor(total) / convert.convert_to_tensor(gathered)

        return switch.choose(
            training, update, lambda: array_ops.identity(convert.convert_to_tensor(variable))
        )

    def compute_output_shape(self, input_shape: Any) -> tensor_shape.TensorShape:
        """Shape of the output: that of the input."""
        return tensor_shape.as_shape(input_shape)


def _cast(value: Any, dtype: Any) -> Any:
    if value is None or value.dtype.base_dtype == dtype:
        return value
    return math_ops.cast(value, dtype)


def _compose(scale: Any, offset: Any, then_scale: Any, then_offset: Any) -> tuple[Any, Any]:
    """(x * scale + offset) * then_scale + then_offset as one scale and offset."""
    if then_scale is not None:
        scale, offset = scale * then_scale, offset * then_scale
    if then_offset is not None:
        offset = offset + then_offset
    return scale, offset


def batch_normalization(
    inputs: Any,
    axis: Any = -1,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    beta_initializer: Any = _ZEROS,
    gamma_initializer: Any = _ONES,
    moving_mean_initializer: Any = _ZEROS,
    moving_variance_initializer: Any = _ONES,
    beta_regularizer: Callable[..., Any] | None = None,
    gamma_regularizer: Callable[..., Any] | None = None,
    beta_constraint: Callable[..., Any] | None = None,
    gamma_constraint: Callable[..., Any] | None = None,
    training: Any = False,
    trainable: bool = True,
    name: Any = None,
    reuse: Any = None,
    renorm: bool = False,
    renorm_clipping: dict[str, Any] | None = None,
    renorm_momentum: float = 0.99,
    fused: bool | None = None,
    virtual_batch_size: int | None = None,
    adjustment: Callable[..., Any] | None = None,
) -> Tensor:
    """Calls a new `BatchNormalization` layer on `inputs`; `reuse` shares the scope `name`.

    In training, `GraphKeys.UPDATE_OPS` must be run to move the averages.

    Source: `tf.layers.batch_normalization`.
    """
    layer = BatchNormalization(
        axis=axis,
        momentum=momentum,
        epsilon=epsilon,
        center=center,
        scale=scale,
        beta_initializer=beta_initializer,
        gamma_initializer=gamma_initializer,
        moving_mean_initializer=moving_mean_initializer,
        moving_variance_initializer=moving_variance_initializer,
        beta_regularizer=beta_regularizer,
        gamma_regularizer=gamma_regularizer,
        beta_constraint=beta_constraint,
        gamma_constraint=gamma_constraint,
        renorm=renorm,
        renorm_clipping=renorm_clipping,
        renorm_momentum=renorm_momentum,
        fused=fused,
        trainable=trainable,
        virtual_batch_size=virtual_batch_size,
        adjustment=adjustment,
        name=name,
        _reuse=reuse,
        _scope=name,
    )
    outputs: Tensor = layer.apply(inputs, training=training)
    return outputs


BatchNorm = BatchNormalization
batch_norm = batch_normalization
