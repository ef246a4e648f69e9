"""Maximum and average pooling over one, two and three spatial axes, as classes and as functions.

Per spatial axis, for input size n, window k and stride s: ceil(n / s) outputs for "same" and
ceil((n - k + 1) / s) for "valid". Cells outside of the input never win and are never counted.

Source: `tf.layers.MaxPooling3D` and its relatives. Difference: channels first is computed directly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conv3d.framework import convert, tensor_shape
from conv3d.framework.tensor import Tensor
from conv3d.layers import arguments
from conv3d.layers.base import InputSpec, Layer
from conv3d.ops import array_ops, pool_ops, spatial

__all__ = [
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "average_pooling1d",
    "average_pooling2d",
    "average_pooling3d",
    "max_pooling1d",
    "max_pooling2d",
    "max_pooling3d",
]


class _Pooling(Layer):
    """What all pooling layers share. Subclasses give the rank and the ops.

    Args:
        pool_size: size of the window, an integer or one for each spatial axis.
        strides: steps of the window, likewise.
        padding: "valid" or "same", in any case.
        data_format: "channels_last" or "channels_first".
        name: name of the layer.
        **kwargs: as for `Layer`.

    Raises:
        ValueError: an argument that is not accepted.
    """

    rank = 3
    _pool: Callable[..., Any]

    def __init__(
        self,
        pool_size: Any,
        strides: Any,
        padding: str = "valid",
        data_format: str = "channels_last",
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.pool_size = arguments.integers("pool_size", pool_size, self.rank)
        self.strides = arguments.integers("strides", strides, self.rank)
        self.padding = arguments.padding(padding)
        self.data_format = arguments.data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        """Pools `inputs`."""
        inputs = convert.convert_to_tensor(inputs)
        first = self.data_format == "channels_first"
        sizes, steps = list(self.pool_size), list(self.strides)
        axis = 2 if first else 1
        if self.rank == 1:
            inputs = array_ops.expand_dims(inputs, axis)
            sizes, steps = [1, *sizes], [1, *steps]
        before, after = ([1, 1], []) if first else ([1], [1])
        outputs = type(self)._pool(
            inputs,
            [*before, *sizes, *after],
            [*before, *steps, *after],
            self.padding.upper(),
            data_format=spatial.DATA_FORMATS[len(sizes)][first],
        )
        return array_ops.squeeze(outputs, [axis]) if self.rank == 1 else outputs

    def compute_output_shape(self, input_shape: Any) -> tensor_shape.TensorShape:
        """Shape of the output; nothing is built.

        Raises:
            ValueError: an unknown rank, or a window larger than the input.
        """
        sizes = tensor_shape.as_shape(input_shape).with_rank(self.rank + 2).as_list()
        axis = 2 if self.data_format == "channels_first" else 1
        for i, (k, s) in enumerate(zip(self.pool_size, self.strides, strict=False)):
            n = sizes[axis + i]
            if n is not None:
                n = n if self.padding == "same" else n - k + 1
                sizes[axis + i] = -(-n // s)
        return tensor_shape.TensorShape(sizes)


class MaxPooling1D(_Pooling):
    """Maximum pooling of `[batch, width, channels]`, or channels first.

    Arguments and errors as for `_Pooling`: `pool_size`, `strides`, `padding`, `data_format`.

    Source: `tf.layers.MaxPooling1D`.
    """

    rank = 1
    _pool = staticmethod(pool_ops.max_pool)


def max_pooling1d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """Calls a new `MaxPooling1D` layer on `inputs`. Source: `tf.layers.max_pooling1d`."""
    layer = MaxPooling1D(pool_size, strides, padding, data_format, name)
    outputs: Tensor = layer.apply(inputs)
    return outputs


class MaxPooling2D(_Pooling):
    """Maximum pooling of `[batch, height, width, channels]`, or channels first.

    Arguments and errors as for `_Pooling`: `pool_size`, `strides`, `padding`, `data_format`.

    Source: `tf.layers.MaxPooling2D`.
    """

    rank = 2
    _pool = staticmethod(pool_ops.max_pool)


def max_pooling2d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """Calls a new `MaxPooling2D` layer on `inputs`. Source: `tf.layers.max_pooling2d`."""
    layer = MaxPooling2D(pool_size, strides, padding, data_format, name)
    outputs: Tensor = layer.apply(inputs)
    return outputs


class MaxPooling3D(_Pooling):
    """Maximum pooling of `[batch, depth, height, width, channels]`, or channels first.

    Arguments and errors as for `_Pooling`: `pool_size`, `strides`, `padding`, `data_format`.

    Source: `tf.layers.MaxPooling3D`.
    """

    rank = 3
    _pool = staticmethod(pool_ops.max_pool3d)


def max_pooling3d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """Calls a new `MaxPooling3D` layer on `inputs`. Source: `tf.layers.max_pooling3d`."""
    layer = MaxPooling3D(pool_size, strides, padding, data_format, name)
    outputs: Tensor = layer.apply(inputs)
    return outputs


class AveragePooling1D(_Pooling):
    """Average pooling of `[batch, width, channels]`, or channels first.

    Arguments and errors as for `_Pooling`: `pool_size`, `strides`, `padding`, `data_format`.

    Source: `tf.layers.AveragePooling1D`.
    """

    rank = 1
    _pool = staticmethod(pool_ops.avg_pool)


def average_pooling1d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """Calls a new `AveragePooling1D` layer on `inputs`. Source: `tf.layers.average_pooling1d`."""
    layer = AveragePooling1D(pool_size, strides, padding, data_format, name)
    outputs: Tensor = layer.apply(inputs)
    return outputs


class AveragePooling2D(_Pooling):
    """Average pooling of `[batch, height, width, channels]`, or channels first.

    Arguments and errors as for `_Pooling`: `pool_size`, `strides`, `padding`, `data_format`.

    Source: `tf.layers.AveragePooling2D`.
    """

    rank = 2
    _pool = staticmethod(pool_ops.avg_pool)


def average_pooling2d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """Calls a new `AveragePooling2D` layer on `inputs`. Source: `tf.layers.average_pooling2d`."""
    layer = AveragePooling2D(pool_size, strides, padding, data_format, name)
    outputs: Tensor = layer.apply(inputs)
    return outputs


class AveragePooling3D(_Pooling):
    """Average pooling of `[batch, depth, height, width, channels]`, or channels first.

    Arguments and errors as for `_Pooling`: `pool_size`, `strides`, `padding`, `data_format`.

    Source: `tf.layers.AveragePooling3D`.
    """

    rank = 3
    _pool = staticmethod(pool_ops.avg_pool3d)


def average_pooling3d(
    inputs: Any,
    pool_size: Any,
    strides: Any,
    padding: str = "valid",
    data_format: str = "channels_last",
    name: str | None = None,
) -> Tensor:
    """Calls a new `AveragePooling3D` layer on `inputs`. Source: `tf.layers.average_pooling3d`."""
    layer = AveragePooling3D(pool_size, strides, padding, data_format, name)
    outputs: Tensor = layer.apply(inputs)
    return outputs
