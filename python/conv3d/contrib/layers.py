"""The names of `tf.contrib.layers` that programs around 3-D convolution use.

Variables have that module's names: `Conv/weights`, `Conv/biases`, `BatchNorm/beta`, ...; they are
listed in `GraphKeys.MODEL_VARIABLES` too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from conv3d import initializers
from conv3d import layers as core_layers
from conv3d.contrib.arg_scope import add_arg_scope
from conv3d.contrib.framework import model_variable
from conv3d.contrib.initializers import (
    variance_scaling_initializer,
    xavier_initializer,
    xavier_initializer_conv2d,
)
from conv3d.framework import context, convert, dtypes
from conv3d.framework.graph import GraphKeys, add_to_collections, get_collection_ref
from conv3d.ops import activation_ops, array_ops, math_ops, nn_ops, normalization_ops
from conv3d.regularizers import (
    l1_l2_regularizer,
    l1_regularizer,
    l2_regularizer,
    sum_regularizer,
)
from conv3d.variables import variable_scope

__all__ = [
    "apply_regularization",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bias_add",
    "conv2d",
    "conv2d_transpose",
    "conv3d",
    "conv3d_transpose",
    "convolution",
    "convolution2d",
    "convolution3d",
    "convolution3d_transpose",
    "dropout",
    "flatten",
    "fully_connected",
    "group_norm",
    "instance_norm",
    "l1_l2_regularizer",
    "l1_regularizer",
    "l2_regularizer",
    "layer_norm",
    "linear",
    "max_pool2d",
    "max_pool3d",
    "relu",
    "softmax",
    "sum_regularizer",
    "variance_scaling_initializer",
    "xavier_initializer",
    "xavier_initializer_conv2d",
]

# Initializers keep no state: one each serves all calls.
_XAVIER = xavier_initializer()
_ZEROS = initializers.zeros_initializer()

# TensorFlow's names of layouts, by rank of the space.
_LAYOUTS = {
    None: "channels_last", "NWC": "channels_last", "NHWC": "channels_last",
    "NDHWC": "channels_last",
    "NCW": "channels_first", "NCHW": "channels_first", "NCDHW": "channels_first",
}  # fmt: skip


def _layout(data_format: str | None) -> str:
    if data_format not in _LAYOUTS:
        names = ", ".join(name for name in _LAYOUTS if name)
        raise ValueError(f"data_format: {names} are accepted, got {data_format!r}")
    return _LAYOUTS[data_format]


def _named_as(names: dict[str, str]) -> Callable[..., Any]:
    """A getter that renames a layer's variables and lists them as model variables."""

    def renamed(getter: Callable[..., Any], name: str, *args: Any, **kwargs: Any) -> Any:
        front, slash, last = name.rpartition("/")
        keys = list(kwargs.get("collections") or [GraphKeys.GLOBAL_VARIABLES])
        if GraphKeys.MODEL_VARIABLES not in keys:
            keys.append(GraphKeys.MODEL_VARIABLES)
        kwargs["collections"] = keys
        return getter(front + slash + names.get(last, last), *args, **kwargs)

    return renamed


def _add(collections: Any, name: str, value: Any) -> None:
    """Lists a variable or output under the keys of a list, or of a dict by kind of variable."""
    if isinstance(collections, dict):
        collections = collections.get(name)
    if collections:
        add_to_collections(collections, value)


def _out(outputs: Any, collections: Any) -> Any:
    _add(collections, "outputs", outputs)
    return outputs


_WEIGHTS = {"kernel": "weights", "bias": "biases"}


def _finish(
    layer: Any, outputs: Any, normalizer_fn: Any, normalizer_params: Any, activation_fn: Any,
    variables_collections: Any, outputs_collections: Any,
) -> Any:  # fmt: skip
    """Normalisation and activation after a layer of weights."""
    _add(variables_collections, "weights", layer.kernel)
    if layer.use_bias:
        _add(variables_collections, "biases", layer.bias)
    if normalizer_fn is not None:
        outputs = normalizer_fn(outputs, **(normalizer_params or {}))
    if activation_fn is not None:
        outputs = activation_fn(outputs)
    return _out(outputs, outputs_collections)


@add_arg_scope
def convolution(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = None,
    rate: Any = 1,
    activation_fn: Any = activation_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
    conv_dims: int | None = None,
) -> Any:
    """Convolution in 1, 2 or 3 dimensions, normalisation, activation.

    Args:
        inputs: `[batch, space..., channels]`, or channels second for `data_format` NC....
        num_outputs: filters.
        kernel_size: an integer or one for each dimension.
        stride: the same.
        padding: `"SAME"` or `"VALID"`.
        data_format: None, `"NDHWC"`, `"NCDHW"` and their kin.
        rate: dilation.
        activation_fn: None for none.
        normalizer_fn: called on the result instead of adding a bias.
        normalizer_params: its keyword arguments.
        weights_initializer: of `weights`.
        weights_regularizer: of `weights`.
        biases_initializer: of `biases`; None for no bias.
        biases_regularizer: of `biases`.
        reuse: share variables, as in `variable_scope`.
        variables_collections: keys, or a dict from `weights` and `biases` to keys.
        outputs_collections: keys for the result.
        trainable: as in `tf.layers`.
        scope: variable scope, by default `Conv`.
        conv_dims: the rank of the space that is expected.

    Raises:
        ValueError: the inputs have another rank, or an argument is not accepted.
    """
    inputs = convert.convert_to_tensor(inputs)
    rank = inputs.get_shape().ndims
    if rank not in (3, 4, 5) or (conv_dims is not None and conv_dims + 2 != rank):
        wanted = "3 to 5" if conv_dims is None else str(conv_dims + 2)
        raise ValueError(f"inputs: the rank has to be {wanted}, got the shape {inputs.get_shape()}")
    cls = {3: core_layers.Conv1D, 4: core_layers.Conv2D, 5: core_layers.Conv3D}[rank]
    with variable_scope.variable_scope(
        scope, "Conv", [inputs], reuse=reuse, custom_getter=_named_as(_WEIGHTS)
    ) as opened:
        layer = cls(
            num_outputs,
            kernel_size,
            strides=stride,
            padding=padding,
            data_format=_layout(data_format),
            dilation_rate=rate,
            use_bias=normalizer_fn is None and biases_initializer is not None,
            kernel_initializer=weights_initializer,
            bias_initializer=biases_initializer,
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            name=opened.name,
            _scope=opened,
            _reuse=reuse,
        )
        return _finish(
            layer, layer.apply(inputs), normalizer_fn, normalizer_params, activation_fn,
            variables_collections, outputs_collections,
        )  # fmt: skip


@add_arg_scope
@functools.wraps(convolution._arg_scope_function)  # type: ignore[attr-defined]
def convolution2d(*args: Any, **kwargs: Any) -> Any:
    """`convolution` of inputs of rank 4."""
    return convolution(*args, conv_dims=2, **kwargs)


@add_arg_scope
@functools.wraps(convolution._arg_scope_function)  # type: ignore[attr-defined]
def convolution3d(*args: Any, **kwargs: Any) -> Any:
    """`convolution` of inputs of rank 5."""
    return convolution(*args, conv_dims=3, **kwargs)


conv2d, conv3d = convolution2d, convolution3d


def _transposed(
    cls: Any, default_scope: str, inputs: Any, num_outputs: int, kernel_size: Any, stride: Any,
    padding: str, data_format: str | None, activation_fn: Any, normalizer_fn: Any,
    normalizer_params: Any, weights_initializer: Any, weights_regularizer: Any,
    biases_initializer: Any, biases_regularizer: Any, reuse: Any, variables_collections: Any,
    outputs_collections: Any, trainable: bool, scope: Any,
) -> Any:  # fmt: skip
    with variable_scope.variable_scope(
        scope, default_scope, [inputs], reuse=reuse, custom_getter=_named_as(_WEIGHTS)
    ) as opened:
        inputs = convert.convert_to_tensor(inputs)
        layer = cls(
            num_outputs,
            kernel_size,
            strides=stride,
            padding=padding,
            data_format=_layout(data_format),
            use_bias=normalizer_fn is None and biases_initializer is not None,
            kernel_initializer=weights_initializer,
            bias_initializer=biases_initializer,
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            name=opened.name,
            _scope=opened,
            _reuse=reuse,
        )
        return _finish(
            layer, layer.apply(inputs), normalizer_fn, normalizer_params, activation_fn,
            variables_collections, outputs_collections,
        )  # fmt: skip


@add_arg_scope
def convolution3d_transpose(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = "NDHWC",
    activation_fn: Any = activation_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Transposed convolution in 3 dimensions; the arguments are those of `convolution`."""
    return _transposed(
        core_layers.Conv3DTranspose, "Conv3d_transpose", inputs, num_outputs, kernel_size, stride,
        padding, data_format, activation_fn, normalizer_fn, normalizer_params, weights_initializer,
        weights_regularizer, biases_initializer, biases_regularizer, reuse, variables_collections,
        outputs_collections, trainable, scope,
    )  # fmt: skip


@add_arg_scope
def conv2d_transpose(
    inputs: Any,
    num_outputs: int,
    kernel_size: Any,
    stride: Any = 1,
    padding: str = "SAME",
    data_format: str | None = "NHWC",
    activation_fn: Any = activation_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """Transposed convolution in 2 dimensions; the arguments are those of `convolution`."""
    return _transposed(
        core_layers.Conv2DTranspose, "Conv2d_transpose", inputs, num_outputs, kernel_size, stride,
        padding, data_format, activation_fn, normalizer_fn, normalizer_params, weights_initializer,
        weights_regularizer, biases_initializer, biases_regularizer, reuse, variables_collections,
        outputs_collections, trainable, scope,
    )  # fmt: skip


conv3d_transpose = convolution3d_transpose


@add_arg_scope
def fully_connected(
    inputs: Any,
    num_outputs: int,
    activation_fn: Any = activation_ops.relu,
    normalizer_fn: Any = None,
    normalizer_params: Any = None,
    weights_initializer: Any = _XAVIER,
    weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
) -> Any:
    """`inputs @ weights + biases` over the last axis; see `convolution` for the arguments."""
    with variable_scope.variable_scope(
        scope, "fully_connected", [inputs], reuse=reuse, custom_getter=_named_as(_WEIGHTS)
    ) as opened:
        inputs = convert.convert_to_tensor(inputs)
        layer = core_layers.Dense(
            num_outputs,
            use_bias=normalizer_fn is None and biases_initializer is not None,
            kernel_initializer=weights_initializer,
            bias_initializer=biases_initializer,
            kernel_regularizer=weights_regularizer,
            bias_regularizer=biases_regularizer,
            trainable=trainable,
            name=opened.name,
            _scope=opened,
            _reuse=reuse,
        )
        return _finish(
            layer, layer.apply(inputs), normalizer_fn, normalizer_params, activation_fn,
            variables_collections, outputs_collections,
        )  # fmt: skip


relu = functools.partial(fully_connected, activation_fn=activation_ops.relu)
linear = functools.partial(fully_connected, activation_fn=None)


def _pool(
    cls: Any, default_scope: str, inputs: Any, kernel_size: Any, stride: Any, padding: str,
    data_format: str | None, outputs_collections: Any, scope: Any,
) -> Any:  # fmt: skip
    with context.name_scope(scope, default_scope, [inputs]) as opened:
        layer = cls(kernel_size, stride, padding, data_format=_layout(data_format), _scope=opened)
        return _out(layer.apply(convert.convert_to_tensor(inputs)), outputs_collections)


@add_arg_scope
def max_pool3d(
    inputs: Any, kernel_size: Any, stride: Any = 2, padding: str = "VALID",
    data_format: str | None = "NDHWC", outputs_collections: Any = None, scope: Any = None,
) -> Any:  # fmt: skip
    """Largest values of windows of `[batch, depth, height, width, channels]`."""
    return _pool(
        core_layers.MaxPooling3D, "MaxPool3D", inputs, kernel_size, stride, padding, data_format,
        outputs_collections, scope,
    )  # fmt: skip


@add_arg_scope
def avg_pool3d(
    inputs: Any, kernel_size: Any, stride: Any = 2, padding: str = "VALID",
    data_format: str | None = "NDHWC", outputs_collections: Any = None, scope: Any = None,
) -> Any:  # fmt: skip
    """Means of windows of `[batch, depth, height, width, channels]`."""
    return _pool(
        core_layers.AveragePooling3D, "AvgPool3D", inputs, kernel_size, stride, padding,
        data_format, outputs_collections, scope,
    )  # fmt: skip


@add_arg_scope
def max_pool2d(
    inputs: Any, kernel_size: Any, stride: Any = 2, padding: str = "VALID",
    data_format: str | None = "NHWC", outputs_collections: Any = None, scope: Any = None,
) -> Any:  # fmt: skip
    """Largest values of windows of `[batch, height, width, channels]`."""
    return _pool(
        core_layers.MaxPooling2D, "MaxPool2D", inputs, kernel_size, stride, padding, data_format,
        outputs_collections, scope,
    )  # fmt: skip


@add_arg_scope
def avg_pool2d(
    inputs: Any, kernel_size: Any, stride: Any = 2, padding: str = "VALID",
    data_format: str | None = "NHWC", outputs_collections: Any = None, scope: Any = None,
) -> Any:  # fmt: skip
    """Means of windows of `[batch, height, width, channels]`."""
    return _pool(
        core_layers.AveragePooling2D, "AvgPool2D", inputs, kernel_size, stride, padding,
        data_format, outputs_collections, scope,
    )  # fmt: skip


@add_arg_scope
def dropout(
    inputs: Any, keep_prob: Any = 0.5, noise_shape: Any = None, is_training: Any = True,
    outputs_collections: Any = None, scope: Any = None, seed: int | None = None,
) -> Any:  # fmt: skip
    """Keeps elements with the probability `keep_prob`, while training."""
    with variable_scope.variable_scope(scope, "Dropout", [inputs]) as opened:
        layer = core_layers.Dropout(
            rate=1 - keep_prob, noise_shape=noise_shape, seed=seed, name=opened.name, _scope=opened
        )
        inputs = convert.convert_to_tensor(inputs)
        return _out(layer.apply(inputs, training=is_training), outputs_collections)


@add_arg_scope
def flatten(inputs: Any, outputs_collections: Any = None, scope: Any = None) -> Any:
    """`[batch, ...]` to `[batch, elements]`."""
    with context.name_scope(scope, "Flatten", [inputs]):
        return _out(core_layers.flatten(convert.convert_to_tensor(inputs)), outputs_collections)


@add_arg_scope
def softmax(logits: Any, scope: Any = None) -> Any:
    """Softmax over the last axis."""
    return activation_ops.softmax(logits, name=scope)


@add_arg_scope
def bias_add(
    inputs: Any,
    activation_fn: Any = None,
    initializer: Any = _ZEROS,
    regularizer: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    data_format: str | None = None,
    scope: Any = None,
) -> Any:
    """Adds the variable `biases`, one for each channel."""
    first = _layout(data_format) == "channels_first"
    with variable_scope.variable_scope(scope, "BiasAdd", [inputs], reuse=reuse):
        inputs = convert.convert_to_tensor(inputs)
        size = inputs.get_shape()[1 if first else -1].value
        biases = model_variable(
            "biases", [size], dtype=inputs.dtype.base_dtype, initializer=initializer,
            regularizer=regularizer, trainable=trainable,
        )  # fmt: skip
        _add(variables_collections, "biases", biases)
        outputs = nn_ops.bias_add(inputs, biases, data_format=data_format)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return _out(outputs, outputs_collections)


# ---- normalisation -------------------------------------------------------------------------------


@add_arg_scope
def batch_norm(
    inputs: Any,
    decay: float = 0.999,
    center: bool = True,
    scale: bool = False,
    epsilon: float = 0.001,
    activation_fn: Any = None,
    param_initializers: Any = None,
    param_regularizers: Any = None,
    updates_collections: Any = GraphKeys.UPDATE_OPS,
    is_training: Any = True,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    batch_weights: Any = None,
    fused: bool | None = None,
    data_format: str | None = "NHWC",
    zero_debias_moving_mean: bool = False,
    scope: Any = None,
    renorm: bool = False,
    renorm_clipping: Any = None,
    renorm_decay: float = 0.99,
    adjustment: Any = None,
) -> Any:
    """Batch normalisation with `beta` and, where `scale` says so, `gamma`.

    Args:
        inputs: `[batch, ..., channels]`, or channels second for `data_format` NC....
        decay: of the moving averages.
        center: add `beta`.
        scale: multiply by `gamma`.
        epsilon: added to the variance.
        activation_fn: called on the result.
        param_initializers: dict from variable names to initializers.
        param_regularizers: dict from `beta` and `gamma` to regularizers.
        updates_collections: key for the updates of the averages; None does them with each call.
        is_training: a bool or a bool tensor.
        reuse: share variables.
        variables_collections: keys, or a dict from variable names to keys.
        outputs_collections: keys for the result.
        trainable: as in `tf.layers`.
        batch_weights: not supported.
        fused: accepted.
        data_format: a layout of any rank.
        zero_debias_moving_mean: not supported.
        scope: variable scope, by default `BatchNorm`.
        renorm: batch renormalisation.
        renorm_clipping: its limits.
        renorm_decay: decay of its averages.
        adjustment: as in `tf.layers.BatchNormalization`.

    Raises:
        ValueError: an argument that is not supported, or an unknown layout.
    """
    if batch_weights is not None or zero_debias_moving_mean:
        raise ValueError(
            "batch_weights, zero_debias_moving_mean: are not supported; compute the moments with "
            "tf.nn.weighted_moments"
        )
    starts, regularizers = param_initializers or {}, param_regularizers or {}
    axis = 1 if _layout(data_format) == "channels_first" else -1
    zeros, ones = initializers.zeros_initializer(), initializers.ones_initializer()
    with variable_scope.variable_scope(
        scope, "BatchNorm", [inputs], reuse=reuse, custom_getter=_named_as({})
    ) as opened:
        inputs = convert.convert_to_tensor(inputs)
        layer = core_layers.BatchNormalization(
            axis=axis,
            momentum=decay,
            epsilon=epsilon,
            center=center,
            scale=scale,
            beta_initializer=starts.get("beta", zeros),
            gamma_initializer=starts.get("gamma", ones),
            moving_mean_initializer=starts.get("moving_mean", zeros),
            moving_variance_initializer=starts.get("moving_variance", ones),
            beta_regularizer=regularizers.get("beta"),
            gamma_regularizer=regularizers.get("gamma"),
            renorm=renorm,
            renorm_clipping=renorm_clipping,
            renorm_momentum=renorm_decay,
            fused=fused,
            trainable=trainable,
            adjustment=adjustment,
            name=opened.name,
            _scope=opened,
            _reuse=reuse,
        )
        outputs = layer.apply(inputs, training=is_training)
        for name in ("beta", "gamma", "moving_mean", "moving_variance"):
            variable = getattr(layer, name, None)
            if variable is not None:
                _add(variables_collections, name, variable)
        if not context.executing_eagerly() and updates_collections != GraphKeys.UPDATE_OPS:
            updates = list(layer.updates)
            listed = get_collection_ref(GraphKeys.UPDATE_OPS)
            listed[:] = [item for item in listed if not any(item is one for one in updates)]
            if updates_collections is None:
                with context.control_dependencies(updates):
                    outputs = array_ops.identity(outputs)
            else:
                for update in updates:
                    add_to_collections(updates_collections, update)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return _out(outputs, outputs_collections)


def _offset_and_factor(
    shape: Any, dtype: Any, center: bool, scale: bool, trainable: bool, collections: Any,
    starts: Any = None, regularizers: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    starts, regularizers = starts or {}, regularizers or {}
    made: dict[str, Any] = {"beta": None, "gamma": None}
    for name, wanted, start in (
        ("beta", center, initializers.zeros_initializer()),
        ("gamma", scale, initializers.ones_initializer()),
    ):
        if wanted:
            made[name] = model_variable(
                name, shape, dtype=dtype, initializer=starts.get(name, start),
                regularizer=regularizers.get(name), trainable=trainable,
            )  # fmt: skip
            _add(collections, name, made[name])
    return made["beta"], made["gamma"]


@add_arg_scope
def layer_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    activation_fn: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    begin_norm_axis: int = 1,
    begin_params_axis: int = -1,
    scope: Any = None,
) -> Any:
    """Normalises each element of the batch by itself.

    Args:
        inputs: a tensor of known rank.
        center: add `beta`.
        scale: multiply by `gamma`.
        activation_fn: called on the result.
        reuse: share variables.
        variables_collections: keys, or a dict from `beta` and `gamma` to keys.
        outputs_collections: keys for the result.
        trainable: as in `tf.layers`.
        begin_norm_axis: the moments are taken over this axis and those behind it.
        begin_params_axis: `beta` and `gamma` have the shape of this axis and those behind it.
        scope: variable scope, by default `LayerNorm`.

    Raises:
        ValueError: the rank is unknown or too small, or the parameters' shape is not known.

    Source: Ba, Kiros, Hinton, "Layer Normalization", 2016.
    """
    with variable_scope.variable_scope(scope, "LayerNorm", [inputs], reuse=reuse):
        inputs = convert.convert_to_tensor(inputs)
        shape = inputs.get_shape()
        rank = shape.ndims
        if rank is None:
            raise ValueError("inputs: the rank has to be known")
        first = begin_norm_axis + rank if begin_norm_axis < 0 else begin_norm_axis
        if begin_params_axis >= rank or first >= rank:
            raise ValueError(
                f"begin_params_axis, begin_norm_axis: {begin_params_axis}, {begin_norm_axis} have "
                f"to be below the rank {rank}"
            )
        sizes = shape[begin_params_axis:]
        if not sizes.is_fully_defined():
            raise ValueError(f"inputs: the sizes {sizes} behind begin_params_axis have to be known")
        dtype = inputs.dtype.base_dtype
        beta, gamma = _offset_and_factor(
            sizes, dtype, center, scale, trainable, variables_collections
        )
        mean, variance = normalization_ops.moments(inputs, list(range(first, rank)), keep_dims=True)
        # float16 cannot hold 1e-12.
        epsilon = 1e-3 if dtype == dtypes.float16 else 1e-12
        outputs = normalization_ops.batch_normalization(
            inputs, mean, variance, offset=beta, scale=gamma, variance_epsilon=epsilon
        )
        outputs.set_shape(shape)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return _out(outputs, outputs_collections)


@add_arg_scope
def instance_norm(
    inputs: Any,
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: Any = None,
    param_initializers: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    data_format: str = "NHWC",
    scope: Any = None,
) -> Any:
    """Normalises each channel of each element of the batch by itself; see `layer_norm`.

    Source: Ulyanov, Vedaldi, Lempitsky, "Instance Normalization", 2016.
    """
    first = _layout(data_format) == "channels_first"
    with variable_scope.variable_scope(scope, "InstanceNorm", [inputs], reuse=reuse):
        inputs = convert.convert_to_tensor(inputs)
        shape = inputs.get_shape()
        if shape.ndims is None:
            raise ValueError("inputs: the rank has to be known")
        axis = 1 if first else shape.ndims - 1
        if shape[axis].value is None:
            raise ValueError(f"inputs: the number of channels has to be known, got {shape}")
        beta, gamma = _offset_and_factor(
            [shape[axis].value], inputs.dtype.base_dtype, center, scale, trainable,
            variables_collections, param_initializers,
        )  # fmt: skip
        if first:
            wide = [1, shape[1].value] + [1] * (shape.ndims - 2)
            beta, gamma = (
                None if one is None else array_ops.reshape(one, wide) for one in (beta, gamma)
            )
        axes = [one for one in range(1, shape.ndims) if one != axis]
        mean, variance = normalization_ops.moments(inputs, axes, keep_dims=True)
        outputs = normalization_ops.batch_normalization(
            inputs, mean, variance, offset=beta, scale=gamma, variance_epsilon=epsilon
        )
        outputs.set_shape(shape)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return _out(outputs, outputs_collections)


@add_arg_scope
def group_norm(
    inputs: Any,
    groups: int = 32,
    channels_axis: int = -1,
    reduction_axes: Any = (-3, -2),
    center: bool = True,
    scale: bool = True,
    epsilon: float = 1e-6,
    activation_fn: Any = None,
    param_initializers: Any = None,
    reuse: Any = None,
    variables_collections: Any = None,
    outputs_collections: Any = None,
    trainable: bool = True,
    scope: Any = None,
    mean_close_to_zero: bool = False,
) -> Any:
    """Normalises groups of channels of each element of the batch; see `layer_norm`.

    Args:
        inputs: a tensor of known shape but for the batch.
        groups: how many; has to divide the channels.
        channels_axis: the axis of the channels.
        reduction_axes: axes over which the moments are taken besides the channels of a group.
        center: add `beta`.
        scale: multiply by `gamma`.
        epsilon: added to the variance.
        activation_fn: called on the result.
        param_initializers: dict from `beta` and `gamma` to initializers.
        reuse: share variables.
        variables_collections: keys, or a dict from `beta` and `gamma` to keys.
        outputs_collections: keys for the result.
        trainable: as in `tf.layers`.
        scope: variable scope, by default `GroupNorm`.
        mean_close_to_zero: accepted; the moments are exact in either case.

    Raises:
        ValueError: the groups do not divide the channels, or the axes are not apart.

    Source: Wu, He, "Group Normalization", 2018.
    """
    with variable_scope.variable_scope(scope, "GroupNorm", [inputs], reuse=reuse):
        inputs = convert.convert_to_tensor(inputs)
        shape = inputs.get_shape()
        rank = shape.ndims
        if rank is None:
            raise ValueError("inputs: the rank has to be known")
        axis = channels_axis % rank
        reduced = sorted(one % rank for one in reduction_axes)
        if axis in reduced or len(set(reduced)) != len(reduced):
            raise ValueError(
                f"reduction_axes: {reduction_axes} must differ from channels_axis {channels_axis}"
            )
        channels = shape[axis].value
        if channels is None or groups < 1 or channels % groups:
            raise ValueError(f"groups: {groups} has to divide the {channels} channels")
        beta, gamma = _offset_and_factor(
            [channels], inputs.dtype.base_dtype, center, scale, trainable, variables_collections,
            param_initializers,
        )  # fmt: skip
        dynamic = array_ops.unstack(array_ops.shape(inputs), rank)
        sizes: list[Any] = [
            dynamic[one] if shape[one].value is None else shape[one].value for one in range(rank)
        ]
        apart = sizes[:axis] + [groups, channels // groups] + sizes[axis + 1 :]
        over = [axis + 1] + [one if one < axis else one + 1 for one in reduced]
        split = array_ops.reshape(inputs, array_ops.stack(apart))
        mean, variance = normalization_ops.moments(split, over, keep_dims=True)
        wide = [1] * rank
        wide.insert(axis, groups)
        wide[axis + 1] = channels // groups
        beta, gamma = (
            None if one is None else array_ops.reshape(one, wide) for one in (beta, gamma)
        )
        outputs = normalization_ops.batch_normalization(
            split, mean, variance, offset=beta, scale=gamma, variance_epsilon=epsilon
        )
        outputs = array_ops.reshape(outputs, array_ops.stack(sizes))
        outputs.set_shape(shape)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return _out(outputs, outputs_collections)


# ---- regularisation ------------------------------------------------------------------------------


def apply_regularization(regularizer: Any, weights_list: Any = None) -> Any:
    """The sum of `regularizer` over tensors, listed as a regularisation loss.

    Args:
        regularizer: gives a scalar or None for each.
        weights_list: by default the collection `GraphKeys.WEIGHTS`.

    Raises:
        ValueError: a result is no scalar, or there are no tensors.
    """
    if weights_list is None:
        weights_list = get_collection_ref(GraphKeys.WEIGHTS)
    if not weights_list:
        raise ValueError("weights_list: there are no tensors to penalise")
    with context.name_scope("get_regularization_penalty", values=list(weights_list)) as scope:
        found = [regularizer(one) for one in weights_list]
        penalties = [
            convert.convert_to_tensor(0.0) if one is None else convert.convert_to_tensor(one)
            for one in found
        ]
        if any(one.get_shape().ndims != 0 for one in penalties):
            raise ValueError("regularizer: has to give a scalar for each tensor")
        total = (
            math_ops.add_n(penalties, name=scope) if penalties else convert.convert_to_tensor(0.0)
        )
        add_to_collections(GraphKeys.REGULARIZATION_LOSSES, total)
        return total
