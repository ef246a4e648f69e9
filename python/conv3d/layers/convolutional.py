"""Convolution layers: `Conv1D`, `Conv2D`, `Conv3D`, the transposed ones, and their functions.

See :mod:`conv3d.layers.conv_base` for the equations and layouts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conv3d import initializers
from conv3d.layers.conv_base import Convolution, TransposedConvolution

__all__ = [
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "conv1d",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
]

# The default of every bias: one object, as in TensorFlow.
_ZEROS = initializers.zeros_initializer()


class Conv1D(Convolution):
    """1-D convolution, for example over time.

    Input float16, bfloat16, float32 or float64 `[batch, width, in_channels]`, or
    `[batch, in_channels, width]`; output the same with `filters` channels. Kernel
    `[kw, in_channels, filters]`, bias `[filters]`.

    Args:
        filters: number of output channels, a positive integer.
        kernel_size: an integer, or a list of one.
        strides: an integer, or a list of one.
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        dilation_rate: an integer, or a list of one.
            May not exceed 1 together with strides.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss of the layer.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer.
        **kwargs: `dtype`, `_scope`, `_reuse`, `input_shape`, `batch_size`; see `Layer`.

    Raises:
        ValueError: an argument outside of what it takes.
        TypeError: an unknown keyword.

    Source: `tf.layers.Conv1D`.
    """

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
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
        **kwargs: Any,
    ) -> None:
        Convolution.__init__(
            self,
            1,
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            trainable,
            name,
            **kwargs,
        )


class Conv2D(Convolution):
    """2-D convolution, for example over images.

    Input float16, bfloat16, float32 or float64 `[batch, height, width, in_channels]`, or
    `[batch, in_channels, height, width]`; output the same with `filters` channels. Kernel
    `[kh, kw, in_channels, filters]`, bias `[filters]`.

    Args:
        filters: number of output channels, a positive integer.
        kernel_size: an integer for both axes, or two integers.
        strides: an integer for both axes, or two integers.
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        dilation_rate: an integer for both axes, or two integers.
            May not exceed 1 together with strides.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss of the layer.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer.
        **kwargs: `dtype`, `_scope`, `_reuse`, `input_shape`, `batch_size`; see `Layer`.

    Raises:
        ValueError: an argument outside of what it takes.
        TypeError: an unknown keyword.

    Source: `tf.layers.Conv2D`.
    """

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = (1, 1),
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
        **kwargs: Any,
    ) -> None:
        Convolution.__init__(
            self,
            2,
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            trainable,
            name,
            **kwargs,
        )


class Conv3D(Convolution):
    """3-D convolution, for example over volumes.

    Input float16, bfloat16, float32 or float64 `[batch, depth, height, width, in_channels]`, or
    `[batch, in_channels, depth, height, width]`; output the same with `filters` channels. Kernel
    `[kd, kh, kw, in_channels, filters]`, bias `[filters]`.

    Args:
        filters: number of output channels, a positive integer.
        kernel_size: an integer for all axes, or three integers (depth, height, width).
        strides: an integer for all axes, or three integers (depth, height, width).
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        dilation_rate: an integer for all axes, or three integers (depth, height, width).
            May not exceed 1 together with strides.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss of the layer.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer.
        **kwargs: `dtype`, `_scope`, `_reuse`, `input_shape`, `batch_size`; see `Layer`.

    Raises:
        ValueError: an argument outside of what it takes.
        TypeError: an unknown keyword.

    Source: `tf.layers.Conv3D`.
    """

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = (1, 1, 1),
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = (1, 1, 1),
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
        **kwargs: Any,
    ) -> None:
        Convolution.__init__(
            self,
            3,
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            dilation_rate,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            trainable,
            name,
            **kwargs,
        )


class Conv2DTranspose(TransposedConvolution, Conv2D):
    """Transposed 2-D convolution: upsamples where a convolution would downsample.

    Input float16, bfloat16, float32 or float64 `[batch, height, width, in_channels]`, or
    `[batch, in_channels, height, width]`; output the same with `filters` channels. Kernel
    `[kh, kw, filters, in_channels]`, bias `[filters]`.

    Args:
        filters: number of output channels, a positive integer.
        kernel_size: an integer for both axes, or two integers.
        strides: an integer for both axes, or two integers.
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss of the layer.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer.
        **kwargs: `dtype`, `_scope`, `_reuse`, `input_shape`, `batch_size`; see `Layer`.

    Raises:
        ValueError: an argument outside of what it takes.
        TypeError: an unknown keyword.

    Source: `tf.layers.Conv2DTranspose`.
    """

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = (1, 1),
        padding: str = "valid",
        data_format: str = "channels_last",
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
        **kwargs: Any,
    ) -> None:
        Convolution.__init__(
            self,
            2,
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            1,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            trainable,
            name,
            **kwargs,
        )


class Conv3DTranspose(TransposedConvolution, Conv3D):
    """Transposed 3-D convolution: upsamples where a convolution would downsample.

    Input float16, bfloat16, float32 or float64 `[batch, depth, height, width, in_channels]`, or
    `[batch, in_channels, depth, height, width]`; output the same with `filters` channels. Kernel
    `[kd, kh, kw, filters, in_channels]`, bias `[filters]`.

    Args:
        filters: number of output channels, a positive integer.
        kernel_size: an integer for all axes, or three integers (depth, height, width).
        strides: an integer for all axes, or three integers (depth, height, width).
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss of the layer.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer.
        **kwargs: `dtype`, `_scope`, `_reuse`, `input_shape`, `batch_size`; see `Layer`.

    Raises:
        ValueError: an argument outside of what it takes.
        TypeError: an unknown keyword.

    Source: `tf.layers.Conv3DTranspose`.
    """

    def __init__(
        self,
        filters: Any,
        kernel_size: Any,
        strides: Any = (1, 1, 1),
        padding: str = "valid",
        data_format: str = "channels_last",
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
        **kwargs: Any,
    ) -> None:
        Convolution.__init__(
            self,
            3,
            filters,
            kernel_size,
            strides,
            padding,
            data_format,
            1,
            activation,
            use_bias,
            kernel_initializer,
            bias_initializer,
            kernel_regularizer,
            bias_regularizer,
            activity_regularizer,
            kernel_constraint,
            bias_constraint,
            trainable,
            name,
            **kwargs,
        )


def _call(cls: Callable[..., Any], inputs: Any, name: Any, reuse: Any, *args: Any) -> Any:
    """Makes a layer whose variable scope is its name, and calls it."""
    layer = cls(*args, name=name, _scope=name, _reuse=reuse, _fewest_filters=0)
    return layer(inputs)


def conv1d(
    inputs: Any,
    filters: Any,
    kernel_size: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = 1,
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
) -> Any:
    """Makes a `Conv1D` and calls it; see there for shapes and types.

    Args:
        inputs: input of the layer.
        filters: number of output channels; 0 gives an output without elements.
        kernel_size: an integer, or a list of one.
        strides: an integer, or a list of one.
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        dilation_rate: an integer, or a list of one. Not above 1 together with strides.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer and of its variable scope; a `VariableScope` may be given.
        reuse: True shares the variables of that scope, AUTO_REUSE shares or makes them.

    Returns:
        The output of the layer.

    Raises:
        ValueError: an argument outside of what it takes; variables that exist and are not shared,
            or are to be shared and do not exist.

    Source: `tf.layers.conv1d`.
    """
    return _call(
        Conv1D,
        inputs,
        name,
        reuse,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        activity_regularizer,
        kernel_constraint,
        bias_constraint,
        trainable,
    )


def conv2d(
    inputs: Any,
    filters: Any,
    kernel_size: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = (1, 1),
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
) -> Any:
    """Makes a `Conv2D` and calls it; see there for shapes and types.

    Args:
        inputs: input of the layer.
        filters: number of output channels; 0 gives an output without elements.
        kernel_size: an integer for both axes, or two integers.
        strides: an integer for both axes, or two integers.
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        dilation_rate: an integer for both axes, or two integers. Not above 1 together with strides.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer and of its variable scope; a `VariableScope` may be given.
        reuse: True shares the variables of that scope, AUTO_REUSE shares or makes them.

    Returns:
        The output of the layer.

    Raises:
        ValueError: an argument outside of what it takes; variables that exist and are not shared,
            or are to be shared and do not exist.

    Source: `tf.layers.conv2d`.
    """
    return _call(
        Conv2D,
        inputs,
        name,
        reuse,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        activity_regularizer,
        kernel_constraint,
        bias_constraint,
        trainable,
    )


def conv3d(
    inputs: Any,
    filters: Any,
    kernel_size: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
    dilation_rate: Any = (1, 1, 1),
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
) -> Any:
    """Makes a `Conv3D` and calls it; see there for shapes and types.

    Args:
        inputs: input of the layer.
        filters: number of output channels; 0 gives an output without elements.
        kernel_size: an integer for all axes, or three integers (depth, height, width).
        strides: an integer for all axes, or three integers (depth, height, width).
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        dilation_rate: an integer for all axes, or three integers (depth, height, width).
            Not above 1 together with strides.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer and of its variable scope; a `VariableScope` may be given.
        reuse: True shares the variables of that scope, AUTO_REUSE shares or makes them.

    Returns:
        The output of the layer.

    Raises:
        ValueError: an argument outside of what it takes; variables that exist and are not shared,
            or are to be shared and do not exist.

    Source: `tf.layers.conv3d`.
    """
    return _call(
        Conv3D,
        inputs,
        name,
        reuse,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        dilation_rate,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        activity_regularizer,
        kernel_constraint,
        bias_constraint,
        trainable,
    )


def conv2d_transpose(
    inputs: Any,
    filters: Any,
    kernel_size: Any,
    strides: Any = (1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
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
) -> Any:
    """Makes a `Conv2DTranspose` and calls it; see there for shapes and types.

    Args:
        inputs: input of the layer.
        filters: number of output channels; 0 gives an output without elements.
        kernel_size: an integer for both axes, or two integers.
        strides: an integer for both axes, or two integers.
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer and of its variable scope; a `VariableScope` may be given.
        reuse: True shares the variables of that scope, AUTO_REUSE shares or makes them.

    Returns:
        The output of the layer.

    Raises:
        ValueError: an argument outside of what it takes; variables that exist and are not shared,
            or are to be shared and do not exist.

    Source: `tf.layers.conv2d_transpose`.
    """
    return _call(
        Conv2DTranspose,
        inputs,
        name,
        reuse,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        activity_regularizer,
        kernel_constraint,
        bias_constraint,
        trainable,
    )


def conv3d_transpose(
    inputs: Any,
    filters: Any,
    kernel_size: Any,
    strides: Any = (1, 1, 1),
    padding: str = "valid",
    data_format: str = "channels_last",
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
) -> Any:
    """Makes a `Conv3DTranspose` and calls it; see there for shapes and types.

    Args:
        inputs: input of the layer.
        filters: number of output channels; 0 gives an output without elements.
        kernel_size: an integer for all axes, or three integers (depth, height, width).
        strides: an integer for all axes, or three integers (depth, height, width).
        padding: `"valid"` or `"same"`, in any case.
        data_format: `"channels_last"` or `"channels_first"`, in any case.
        activation: function of the output, or its name; None for none.
        use_bias: whether a bias is added.
        kernel_initializer: initializer of the kernel; None for the scope's, else Glorot uniform.
        bias_initializer: initializer of the bias; None for the scope's.
        kernel_regularizer: callable or name; its result is a loss.
        bias_regularizer: the same for the bias.
        activity_regularizer: the same for the output; graph mode only.
        kernel_constraint: callable or name; optimizers apply it to the kernel after each step.
        bias_constraint: the same for the bias.
        trainable: whether the variables are trained.
        name: name of the layer and of its variable scope; a `VariableScope` may be given.
        reuse: True shares the variables of that scope, AUTO_REUSE shares or makes them.

    Returns:
        The output of the layer.

    Raises:
        ValueError: an argument outside of what it takes; variables that exist and are not shared,
            or are to be shared and do not exist.

    Source: `tf.layers.conv3d_transpose`.
    """
    return _call(
        Conv3DTranspose,
        inputs,
        name,
        reuse,
        filters,
        kernel_size,
        strides,
        padding,
        data_format,
        activation,
        use_bias,
        kernel_initializer,
        bias_initializer,
        kernel_regularizer,
        bias_regularizer,
        activity_regularizer,
        kernel_constraint,
        bias_constraint,
        trainable,
    )
