"""What all convolution layers share: arguments, variables, the call, static shapes.

    output = activation(convolution(input, kernel) + bias)

Input `[batch, (depth, (height,)) width, channels]`, or `[batch, channels, ...]` for
`data_format="channels_first"`. Kernel `[(kd, (kh,)) kw, in_channels, filters]` for both layouts;
transposed layers have `[..., filters, in_channels]`. Convolution is cross-correlation: the kernel
is not flipped.

Output size per axis, for input size `n`, stride `s`, dilation `d` and `e = (k - 1) * d + 1`:
`ceil(n / s)` for `"same"` and `ceil((n - e + 1) / s)` for `"valid"`. Of a transposed layer: `n * s`
and `n * s + max(k - s, 0)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conv3d import constraints, regularizers
from conv3d.framework import context, tensor_shape
from conv3d.layers import activations, arguments
from conv3d.layers.base import InputSpec, Layer
from conv3d.ops import array_ops, conv_ops, fused_conv_ops, nn_ops

__all__ = ["Convolution", "TransposedConvolution"]

_LAYOUTS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}


def _convolved(n: int | None, k: int, padding: str, s: int, d: int) -> int | None:
    """Output size of one axis; negative if the kernel does not fit."""
    if n is None:
        return None
    if padding == "valid":
        n -= (k - 1) * d
    return -(-n // s)


def _deconvolved(n: Any, k: int, padding: str, s: int) -> Any:
    """Output size of one axis of a transposed layer; `n` may be a tensor or None."""
    if n is None:
        return None
    return n * s + (max(k - s, 0) if padding == "valid" else 0)


class Convolution(Layer):
    """Convolution of any rank; the arguments are those of `Conv3D`."""

    def __init__(
        self,
        rank: int,
        filters: Any,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str = "channels_last",
        dilation_rate: Any = 1,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = None,
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        trainable: bool = True,
        name: Any = None,
        **kwargs: Any,
    ) -> None:
        fewest = kwargs.pop("_fewest_filters", 1)
        super().__init__(
            trainable=trainable,
            name=name,
            activity_regularizer=arguments.looked_up(
                "activity_regularizer", regularizers.get, activity_regularizer
            ),
            **kwargs,
        )
        self.rank = rank
        self.kernel_size = arguments.integers("kernel_size", kernel_size, rank)
        self.strides = arguments.integers("strides", strides, rank)
        self.padding = arguments.padding(padding)
        self.data_format = arguments.data_format(data_format)
        self.dilation_rate = arguments.integers("dilation_rate", dilation_rate, rank)
        self.filters = arguments.filters(filters, fewest)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = arguments.initializer("kernel_initializer", kernel_initializer)
        self.bias_initializer = arguments.initializer("bias_initializer", bias_initializer)
        self.kernel_regularizer = arguments.looked_up(
            "kernel_regularizer", regularizers.get, kernel_regularizer
        )
        self.bias_regularizer = arguments.looked_up(
            "bias_regularizer", regularizers.get, bias_regularizer
        )
        self.kernel_constraint = arguments.looked_up(
            "kernel_constraint", constraints.get, kernel_constraint
        )
        self.bias_constraint = arguments.looked_up(
            "bias_constraint", constraints.get, bias_constraint
        )
        self.input_spec = InputSpec(ndim=rank + 2)

    # --- building ---------------------------------------------------------------------------

    @property
    def _channel_axis(self) -> int:
        return 1 if self.data_format == "channels_first" else -1

    @property
    def _layout(self) -> str:
        return _LAYOUTS[self.rank][self.data_format == "channels_first"]

    def _whole(self, spatial: Sequence[int]) -> list[int]:
        """One number per axis of the input, 1 for batch and channels."""
        if self.data_format == "channels_first":
            return [1, 1, *spatial]
        return [1, *spatial, 1]

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, channels, self.filters)

    def _channels_of(self, input_shape: Any) -> int:
        shape = tensor_shape.as_shape(input_shape)
        channels = None if shape.ndims is None else shape.as_list()[self._channel_axis]
        if channels is None:
            raise ValueError(
                f"layer {self.name} was given an input of shape {shape}; the number of channels, "
                f"on axis {self._channel_axis}, has to be known"
            )
        return channels

    def build(self, input_shape: Any) -> None:
        """Makes `kernel` and `bias`.

        Args:
            input_shape: shape of the input; only its channels have to be known.

        Raises:
            ValueError: unknown channels; strides and dilations that are both larger than 1.
        """
        channels = self._channels_of(input_shape)
        self.kernel = self.add_variable(
            "kernel",
            shape=self._kernel_shape(channels),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            trainable=True,
            dtype=self.dtype,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_variable(
                "bias",
                shape=(self.filters,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                trainable=True,
                dtype=self.dtype,
            )
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self._channel_axis: channels})
        self._check_steps()
        self.built = True

    def _check_steps(self) -> None:
        # The attributes may have been assigned since the constructor checked them.
        for name in ("strides", "dilation_rate"):
            arguments.integers(name, getattr(self, name), self.rank)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                f"layer {self.name} has strides {self.strides} and dilation_rate "
                f"{self.dilation_rate}; strides > 1 cannot go with a dilation_rate > 1"
            )

    # --- calling ----------------------------------------------------------------------------

    def call(self, inputs: Any) -> Any:
        """Convolution, bias, activation."""
        if context.executing_eagerly() and self.use_bias and self._fuses:
            return self._call_fused(inputs)
        outputs = self._convolve(inputs)
        if self.use_bias:
            outputs = self._add_bias(outputs)
        return outputs if self.activation is None else self.activation(outputs)

    @property
    def _fuses(self) -> bool:
        return self.rank > 1

    def _call_fused(self, inputs: Any) -> Any:
        """Eager mode: the same in one pass over the output."""
        fused, activation = fused_conv_ops.engine_activation(self.activation)
        outputs = fused_conv_ops.convolution(
            self.rank,
            inputs,
            self.kernel,
            self.bias,
            activation,
            self._whole(self.strides),
            self.padding.upper(),
            self._layout,
            self._whole(self.dilation_rate),
        )
        return outputs if fused else self.activation(outputs)

    def _convolve(self, inputs: Any) -> Any:
        padding = self.padding.upper()
        if self.rank == 3:
            return conv_ops.conv3d(
                inputs,
                self.kernel,
                self._whole(self.strides),
                padding,
                data_format=self._layout,
                dilations=self._whole(self.dilation_rate),
            )
        if self.rank == 2:
            return conv_ops.conv2d(
                inputs,
                self.kernel,
                self._whole(self.strides),
                padding,
                data_format=self._layout,
                dilations=self._whole(self.dilation_rate),
            )
        if self.dilation_rate == (1,):
            return conv_ops.conv1d(
                inputs, self.kernel, self.strides[0], padding, data_format=self._layout
            )
        return conv_ops.convolution(
            inputs,
            self.kernel,
            padding,
            dilation_rate=self.dilation_rate,
            name="conv1d",
            data_format=self._layout,
        )

    def _add_bias(self, outputs: Any) -> Any:
        if self.data_format == "channels_last":
            return nn_ops.bias_add(outputs, self.bias)
        if self.rank == 1:
            return outputs + array_ops.reshape(self.bias, [1, self.filters, 1])
        if self.rank == 2:
            return nn_ops.bias_add(outputs, self.bias, data_format="NCHW")
        return self._add_bias_flat(outputs)

    def _add_bias_flat(self, outputs: Any) -> Any:
        """Bias on a 4-D view: two spatial axes made one. Programs know the names of these nodes."""
        first = self.data_format == "channels_first"
        static = outputs.get_shape()
        sizes: list[Any] = static.as_list()
        if sum(size is None for size in sizes) > 1:
            dynamic: Any = array_ops.shape(outputs)
            sizes = [dynamic[axis] if size is None else size for axis, size in enumerate(sizes)]
        else:
            sizes = [-1 if size is None else size for size in sizes]
        axis = 2 if first else 1
        one, other = sizes[axis], sizes[axis + 1]
        # -1 stands for the one unknown size; its product with another is as unknown.
        joined = -1 if any(isinstance(s, int) and s == -1 for s in (one, other)) else one * other
        flat = array_ops.reshape(outputs, [*sizes[:axis], joined, *sizes[axis + 2 :]])
        flat = nn_ops.bias_add(flat, self.bias, data_format="NCHW" if first else "NHWC")
        result = array_ops.reshape(flat, sizes)
        result.set_shape(static)
        return result

    def compute_output_shape(self, input_shape: Any) -> tensor_shape.TensorShape:
        """Shape of the output; nothing is built.

        Args:
            input_shape: shape of the input; the number of channels does not matter.

        Raises:
            ValueError: unknown rank, or a kernel larger than the input.
            IndexError: more spatial axes than the layer has.
        """
        sizes = tensor_shape.as_shape(input_shape).as_list()
        first = self.data_format == "channels_first"
        spatial = sizes[2:] if first else sizes[1:-1]
        spatial = [self._output_size(n, axis) for axis, n in enumerate(spatial)]
        if first:
            return tensor_shape.TensorShape([sizes[0], self.filters, *spatial])
        return tensor_shape.TensorShape([sizes[0], *spatial, self.filters])

    def _output_size(self, n: int | None, axis: int) -> int | None:
        return _convolved(
            n, self.kernel_size[axis], self.padding, self.strides[axis], self.dilation_rate[axis]
        )


class TransposedConvolution(Convolution):
    """Transposed convolution: the gradient of a convolution with respect to its input."""

    def _kernel_shape(self, channels: int) -> tuple[int, ...]:
        return (*self.kernel_size, self.filters, channels)

    @property
    def _fuses(self) -> bool:
        return False

    def build(self, input_shape: Any) -> None:
        """Makes `kernel` and `bias`.

        Raises:
            ValueError: an input of another rank, or of unknown channels.
        """
        shape = tensor_shape.as_shape(input_shape)
        if shape.ndims is not None and shape.ndims != self.rank + 2:
            raise ValueError(
                f"layer {self.name} was given an input of shape {shape}; rank {self.rank + 2} is "
                "needed"
            )
        super().build(shape)

    def _convolve(self, inputs: Any) -> Any:
        static: list[Any] = inputs.get_shape().as_list()
        spatial_axes = (
            range(2, self.rank + 2) if self._channel_axis == 1 else range(1, self.rank + 1)
        )
        known = list(static)
        sizes = list(static)
        if None in static:
            dynamic: Any = array_ops.shape(inputs)
            sizes = [dynamic[axis] if n is None else n for axis, n in enumerate(static)]
        for axis, where in enumerate(spatial_axes):
            sizes[where] = self._output_size(sizes[where], axis)
            known[where] = self._output_size(known[where], axis)
        sizes[self._channel_axis] = known[self._channel_axis] = self.filters
        transpose = conv_ops.conv3d_transpose if self.rank == 3 else conv_ops.conv2d_transpose
        outputs = transpose(
            inputs,
            self.kernel,
            array_ops.stack(sizes) if None in static else sizes,
            self._whole(self.strides),
            padding=self.padding.upper(),
            data_format=self._layout,
        )
        outputs.set_shape(known)
        return outputs

    def _add_bias(self, outputs: Any) -> Any:
        return self._add_bias_flat(outputs) if self.rank == 3 else super()._add_bias(outputs)

    def _output_size(self, n: Any, axis: int) -> Any:
        return _deconvolved(n, self.kernel_size[axis], self.padding, self.strides[axis])
