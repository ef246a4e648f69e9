"""PyTorch. Configurations: ``contiguous``, ``channels_last``, ``channels_last+prepacked``
(float32), ``channels_last+bf16``.
"""

import sys

import common

ANSWERS = common.start(int(sys.argv[1]))

import torch
import torch.nn.functional as F

torch.set_num_threads(int(sys.argv[1]))
torch.set_num_interop_threads(1)


def load(w, op, config):
    """See ``common.serve``."""
    layout, _, extra = config.partition("+")
    x, k, b, g = common.data(w, op)
    pads = [p[0] for p in w["padding"]]
    asymmetric = any(p[0] != p[1] for p in w["padding"])
    if asymmetric:
        x, pads = common.pad_input(x, w), [0, 0, 0]
    memory = torch.channels_last_3d if layout == "channels_last" else torch.contiguous_format
    dtype = torch.bfloat16 if extra == "bf16" else torch.float32

    def tensor(a):
        t = torch.from_numpy(a).to(dtype)
        # a dimension of extent one makes both formats look dense: copy into the strides that are
        # asked for
        return torch.empty_like(t, memory_format=memory).copy_(t)

    xt, kt = tensor(common.channels_first(x)), tensor(common.filter_oidhw(k))
    bt = torch.from_numpy(b).to(dtype)
    strides, dilations = w["strides"], w["dilations"]
    state = {}
    if op == "forward":
        if extra == "prepacked":
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                kt, pads, strides, dilations, 1, list(xt.shape)
            )

            def run():
                with torch.inference_mode():
                    state["y"] = torch.ops.mkldnn._convolution_pointwise(
                        xt, packed, bt, pads, strides, dilations, 1, "none", [], ""
                    )

        else:

            def run():
                with torch.inference_mode():
                    state["y"] = F.conv3d(xt, kt, bt, strides, pads, dilations)

        return run, lambda: state["y"].float().permute(0, 2, 3, 4, 1).numpy()

    gt = tensor(common.channels_first(g))
    mask = [op == "backward_input", op == "backward_filter", False]
    which = 0 if op == "backward_input" else 1

    def run():
        with torch.no_grad():
            state["y"] = torch.ops.aten.convolution_backward(
                gt, xt, kt, None, strides, pads, dilations, False, [0, 0, 0], 1, mask
            )[which]

    def result():
        y = state["y"].float()
        if op == "backward_filter":
            return y.permute(2, 3, 4, 1, 0).numpy()
        y = y.permute(0, 2, 3, 4, 1).numpy()
        if asymmetric:  # the gradient of the padding is not asked for
            y = y[
                (slice(None),)
                + tuple(slice(p[0], p[0] + n) for p, n in zip(w["padding"], w["input"]))
            ]
        return y

    return run, result


common.serve(ANSWERS, load)
