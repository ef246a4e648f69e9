"""Parts of neural networks as functions. Source: `tf.nn` of TensorFlow 1.x.

This file only re-exports; each name is documented where it is made.
"""

from __future__ import annotations

from typing import Any

from conv3d.ops import fused_ops as _fused_ops
from conv3d.ops.activation_ops import (
    crelu,
    elu,
    leaky_relu,
    log_sigmoid,
    log_softmax,
    relu,
    relu6,
    selu,
    sigmoid,
    softmax,
    softplus,
    softsign,
    swish,
    tanh,
)
from conv3d.ops.conv_ops import (
    atrous_conv2d,
    conv1d,
    conv2d,
    conv2d_backprop_filter,
    conv2d_backprop_input,
    conv2d_transpose,
    conv3d,
    conv3d_backprop_filter_v2,
    conv3d_transpose,
    convolution,
)
from conv3d.ops.embedding_ops import embedding_lookup
from conv3d.ops.loss_ops import (
    log_poisson_loss,
    sigmoid_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits,
    softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits,
    weighted_cross_entropy_with_logits,
)
from conv3d.ops.nn_ops import (
    bias_add,
    dropout,
    in_top_k,
    l2_loss,
    relu_layer,
    top_k,
    xw_plus_b,
    zero_fraction,
)
from conv3d.ops.normalization_ops import (
    batch_norm_with_global_normalization,
    batch_normalization,
    fused_batch_norm,
    l2_normalize,
    local_response_normalization,
    lrn,
    moments,
    normalize_moments,
    sufficient_statistics,
    weighted_moments,
)
from conv3d.ops.pool_ops import avg_pool, avg_pool3d, max_pool, max_pool3d, pool

__all__ = [
    "atrous_conv2d",
    "avg_pool",
    "avg_pool3d",
    "batch_norm_with_global_normalization",
    "batch_normalization",
    "bias_add",
    "conv1d",
    "conv2d",
    "conv2d_backprop_filter",
    "conv2d_backprop_input",
    "conv2d_transpose",
    "conv3d",
    "conv3d_backprop_filter_v2",
    "conv3d_transpose",
    "convolution",
    "crelu",
    "dropout",
    "elu",
    "embedding_lookup",
    "fused_batch_norm",
    "in_top_k",
    "l2_loss",
    "l2_normalize",
    "leaky_relu",
    "local_response_normalization",
    "log_poisson_loss",
    "log_sigmoid",
    "log_softmax",
    "lrn",
    "max_pool",
    "max_pool3d",
    "moments",
    "normalize_moments",
    "pool",
    "relu",
    "relu6",
    "relu_layer",
    "selu",
    "sigmoid",
    "sigmoid_cross_entropy_with_logits",
    "softmax",
    "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2",
    "softplus",
    "softsign",
    "sparse_softmax_cross_entropy_with_logits",
    "sufficient_statistics",
    "swish",
    "tanh",
    "top_k",
    "weighted_cross_entropy_with_logits",
    "weighted_moments",
    "xw_plus_b",
    "zero_fraction",
]

#: What a program may use instead of functions that are not here.
_INSTEAD = {
    "depthwise_conv2d": "tf.nn.conv2d on each channel, or conv3d.engine.forward with groups",
    "separable_conv2d": "conv3d.engine.forward with groups, then tf.nn.conv2d with a 1x1 filter",
    "max_pool_with_argmax": "tf.nn.max_pool; its gradient goes to the first maximum",
    "with_space_to_batch": "tf.nn.convolution with dilation_rate",
    "dynamic_rnn": "a Python loop over the steps",
    "static_rnn": "a Python loop over the steps",
}


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    instead = _INSTEAD.get(name, "dir(conv3d.nn) lists what there is")
    raise AttributeError(f"conv3d.nn has no {name!r} of TensorFlow 1.x; instead: {instead}.")
