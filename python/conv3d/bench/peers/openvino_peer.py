"""OpenVINO. Configurations: ``channels_first``, ``channels_last`` (float32),
``channels_last+default`` (its own precision).
"""

import sys

import common

ANSWERS = common.start(int(sys.argv[1]))

import numpy as np
import openvino as ov
import openvino.opset13 as ops

CORE = ov.Core()


def load(w, op, config):
    """See ``common.serve``."""
    if op != "forward":
        raise NotImplementedError("inference only")
    layout, _, precision = config.partition("+")
    x, k, b, _ = common.data(w, op)
    parameter = ops.parameter([w["batch"], w["in_channels"]] + list(w["input"]), np.float32)
    convolution = ops.convolution(
        parameter,
        ops.constant(common.filter_oidhw(k)),
        w["strides"],
        [p[0] for p in w["padding"]],
        [p[1] for p in w["padding"]],
        w["dilations"],
    )
    total = ops.add(convolution, ops.constant(b.reshape(1, -1, 1, 1, 1)))
    model = ov.Model([total], [parameter], "layer")
    last = layout == "channels_last"
    if last:
        steps = ov.preprocess.PrePostProcessor(model)
        for side in (steps.input(), steps.output()):
            side.tensor().set_layout(ov.Layout("NDHWC"))
            side.model().set_layout(ov.Layout("NCDHW"))
        model = steps.build()
    settings = {
        "INFERENCE_NUM_THREADS": int(sys.argv[1]),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    if precision != "default":
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    request = CORE.compile_model(model, "CPU", settings).create_infer_request()
    source = ov.Tensor(x if last else common.channels_first(x))
    request.set_input_tensor(source)

    def result():
        y = request.get_output_tensor().data
        return y if last else np.moveaxis(y, 1, -1)

    return request.infer, result


common.serve(ANSWERS, load)
