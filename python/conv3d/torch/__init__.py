"""The engine inside PyTorch models: `conv3d.torch.accelerate(model)`.

An optional extra, `pip install 'conv3d[torch]'`. PyTorch is imported when `accelerate` is called.
"""

from __future__ import annotations

from typing import Any

__all__ = ["accelerate"]


def accelerate(module: Any) -> Any:
    """Lets the 3-D convolutions of a model compute with `conv3d.engine`, in place.

    Every `nn.Conv3d` and `nn.ConvTranspose3d` in the module, or the module itself, stays the same
    object and gets a class derived from its own. So names, parameters, `state_dict`, hooks,
    `train`/`eval`, optimizers that hold its parameters, copies and pickles stay as they are.

    The engine serves `[N, C, D, H, W]` and `[C, D, H, W]` tensors on the CPU of float32, float64,
    float16 and, where ml_dtypes is installed, bfloat16. Contiguous and `channels_last_3d` tensors
    are not copied, and the result has the input's memory format. Gradients of any order are served
    too. Without gradients the filter is packed once; any change of the weight, also through
    `weight.data`, is noticed by its content.

    PyTorch's own convolution runs wherever the engine does not serve: other devices, dtypes and
    tensor classes, padding modes other than zeros, strides and dilations that are both above one,
    shapes that do not fit (the error is PyTorch's), under autocast, and where the call is recorded
    or transformed (`torch.compile`, `torch.export`, `torch.jit.trace`, `torch.func`, forward-mode
    gradients, dispatch modes).

    The engine uses as many threads as the lower of `torch.get_num_threads()` and
    `conv3d.engine.get_num_threads()`.

    Left alone are lazy modules before their first call, parametrized modules, and subclasses with
    their own `_conv_forward` (`nn.Conv3d`) or `forward` (`nn.ConvTranspose3d`).

    Args:
      module: a `torch.nn.Module`.

    Returns:
      `module`.

    Raises:
      ImportError: PyTorch is not installed.
      TypeError: `module` is not a `torch.nn.Module`.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ImportError(
            "conv3d.torch needs PyTorch, which is not installed; "
            "the extra brings it: pip install 'conv3d[torch]'",
            name="torch",
        ) from error
    from conv3d.torch import modules

    return modules.accelerate(module)
