"""Dense, Dropout and Flatten, as classes and as functions.

Source: `tf.layers.Dense`, `tf.layers.Dropout`, `tf.layers.Flatten`.
"""

from __future__ import annotations

from typing import Any

from conv3d import constraints, initializers, regularizers
from conv3d.framework import context, convert, tensor_shape
from conv3d.framework.tensor import Tensor
from conv3d.layers import activations, arguments, switch
from conv3d.layers.base import InputSpec, Layer
from conv3d.ops import array_ops, math_ops, nn_ops

__all__ = ["Dense", "Dropout", "Flatten", "dense", "dropout", "flatten"]

#: Defaults, instances as in TensorFlow.
_ZEROS = initializers.zeros_initializer()


class Dense(Layer):
    """activation(inputs @ kernel + bias) along the last axis of an input of any rank.

    Args:
        units: size of the output's last axis, an integer or a `Dimension`.
        activation: a function, a name, or None.
        use_bias: whether there is a bias.
        kernel_initializer: initializer of `kernel`, `[in_units, units]`; None is Glorot uniform.
        bias_initializer: initializer of `bias`, `[units]`.
        kernel_regularizer: function of `kernel` whose result becomes a loss.
        bias_regularizer: likewise for `bias`.
        activity_regularizer: function of the output whose result becomes a loss.
        kernel_constraint: applied to `kernel` after each step of an optimizer.
        bias_constraint: likewise for `bias`.
        trainable: whether the variables are trained.
        name: name of the layer.
        **kwargs: as for `Layer`.

    Raises:
        ValueError: `units` is no positive integer, or an unknown activation.

    Source: `tf.layers.Dense`.
    """

    def __init__(
        self,
        units: Any,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = _ZEROS,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            trainable=trainable,
            name=name,
            activity_regularizer=regularizers.get(activity_regularizer),
            **kwargs,
        )
        self.units = arguments.integers("units", units, 1)[0]
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = kernel_initializer
        self.bias_initializer = bias_initializer
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.input_spec = InputSpec(min_ndim=2)

    def build(self, input_shape: Any) -> None:
        """Makes `kernel` and `bias`.

        Raises:
            ValueError: the last dimension of the input is not known.
        """
        shape = tensor_shape.as_shape(input_shape)
        size = None if not shape.ndims else shape.as_list()[-1]
        if size is None:
            raise ValueError(
                f"layer {self.name} was given an input of shape {shape}; its last dimension has to "
                "be known"
            )
        self.input_spec = InputSpec(min_ndim=2, axes={-1: size})
        self.kernel = self.add_variable(
            "kernel",
            shape=[size, self.units],
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            dtype=self.dtype,
            trainable=True,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_variable(
                "bias",
                shape=[self.units],
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                dtype=self.dtype,
                trainable=True,
            )
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Product, bias, activation."""
        inputs = convert.convert_to_tensor(inputs)
        shape = inputs.get_shape()
        if shape.ndims == 2:
            outputs = math_ops.matmul(inputs, self.kernel)
        else:
            last = len(shape.as_list()) - 1
            outputs = math_ops.tensordot(inputs, self.kernel, [[last], [0]])
            if not context.executing_eagerly():
                outputs.set_shape([*shape.as_list()[:-1], self.units])
        if self.use_bias:
            outputs = nn_ops.bias_add(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> tensor_shape.TensorShape:
        """Shape of the output.

        Raises:
            ValueError: fewer than two dimensions, or an unknown last one.
        """
        shape = tensor_shape.as_shape(input_shape).with_rank_at_least(2)
        if shape.as_list()[-1] is None:
            raise ValueError(f"the last dimension of the input shape {shape} has to be known")
        return shape[:-1].concatenate([self.units])


def dense(
    inputs: Any,
    units: Any,
    activation: Any = None,
    use_bias: bool = True,
    kernel_initializer: Any = None,
    bias_initializer: Any = _ZEROS,
    kernel_regularizer: Any = None,
    bias_regularizer: Any = None,
    activity_regularizer: Any = None,
    kernel_constraint: Any = None,
    bias_constraint: Any = None,
    trainable: bool = True,
    name: Any = None,
    reuse: Any = None,
) -> Tensor:
    """Calls a new `Dense` layer on `inputs`; `reuse` shares the variables of scope `name`.

    Source: `tf.layers.dense`.
    """
    layer = Dense(
        units,
        activation=activation,
        use_bias=use_bias,
        kernel_initializer=kernel_initializer,
        bias_initializer=bias_initializer,
        kernel_regularizer=kernel_regularizer,
        bias_regularizer=bias_regularizer,
        activity_regularizer=activity_regularizer,
        kernel_constraint=kernel_constraint,
        bias_constraint=bias_constraint,
        trainable=trainable,
        name=name,
        _scope=name,
        _reuse=reuse,
    )
    outputs: Tensor = layer.apply(inputs)
    return outputs


class Dropout(Layer):
    """In training, sets a share of the elements to 0 and scales the others up.

    Args:
        rate: the share that is dropped, a number in [0, 1) or a scalar tensor.
        noise_shape: shape of the mask, a list with -1 or None for sizes of the input, or a tensor;
            sizes of 1 share one decision. Anything false means the shape of the input.
        seed: seed of the mask.
        name: name of the layer.
        **kwargs: as for `Layer`.

    Source: `tf.layers.Dropout`.
    """

    def __init__(
        self,
        rate: Any = 0.5,
        noise_shape: Any = None,
        seed: int | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.rate = rate
        self.noise_shape = noise_shape
        self.seed = seed

    def _get_noise_shape(self, inputs: Any) -> Any:
        shape = self.noise_shape
        # Programs that give `training` as a third argument land here with a bool.
        if shape is None or isinstance(shape, bool):
            return None
        if isinstance(shape, (list, tuple)):
            if all(isinstance(n, int) and n >= 0 for n in shape):
                return list(shape)
            dynamic = array_ops.shape(inputs)
            own = [n is None or (isinstance(n, int) and n < 0) for n in shape]
            return array_ops.stack([dynamic[i] if o else shape[i] for i, o in enumerate(own)])
        return shape

    def call(self, inputs: Any, training: Any = False) -> Any:
        """Applies the mask if `training`, a bool or a scalar bool tensor."""
        inputs = convert.convert_to_tensor(inputs)

        def dropped() -> Any:
            shape = self._get_noise_shape(inputs)
            return nn_ops.dropout(inputs, 1 - self.rate, noise_shape=shape, seed=self.seed)

        return switch.choose(training, dropped, lambda: array_ops.identity(inputs))

    def compute_output_shape(self, input_shape: Any) -> tensor_shape.TensorShape:
        """Shape of the output: that of the input."""
        return tensor_shape.as_shape(input_shape)


def dropout(
    inputs: Any,
    rate: Any = 0.5,
    noise_shape: Any = None,
    seed: int | None = None,
    training: Any = False,
    name: str | None = None,
) -> Tensor:
    """Calls a new `Dropout` layer on `inputs`. Source: `tf.layers.dropout`."""
    layer = Dropout(rate, noise_shape=noise_shape, seed=seed, name=name)
    outputs: Tensor = layer.apply(inputs, training=training)
    return outputs


class Flatten(Layer):
    """Makes one axis of all axes but the batch.

    Args:
        **kwargs: as for `Layer`.

    Source: `tf.layers.Flatten`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.input_spec = InputSpec(min_ndim=2)

    def call(self, inputs: Any) -> Any:
        """`[batch, ...]` as `[batch, n]`."""
        inputs = convert.convert_to_tensor(inputs)
        batch = array_ops.shape(inputs)[0]
        outputs = array_ops.reshape(inputs, array_ops.stack([batch, -1], name="Reshape/shape"))
        if not context.executing_eagerly():
            outputs.set_shape(self.compute_output_shape(inputs.get_shape()))
        return outputs

    def compute_output_shape(self, input_shape: Any) -> tensor_shape.TensorShape:
        """Shape of the output: batch, and the product of the other sizes if all are known.

        Raises:
            ValueError: fewer than two dimensions.
        """
        sizes = tensor_shape.as_shape(input_shape).with_rank_at_least(2).as_list()
        product: int | None = 1
        for size in sizes[1:]:
            product = None if size is None or product is None else product * size
        return tensor_shape.TensorShape([sizes[0], product])


def flatten(inputs: Any, name: str | None = None) -> Tensor:
    """Calls a new `Flatten` layer on `inputs`. Source: `tf.layers.flatten`."""
    outputs: Tensor = Flatten(name=name).apply(inputs)
    return outputs
