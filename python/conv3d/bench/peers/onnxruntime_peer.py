"""ONNX Runtime, channels first, filter prepacked, output bound once. Configuration:
``channels_first``.
"""

import sys

import common

ANSWERS = common.start(int(sys.argv[1]))

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

ort.set_default_logger_severity(3)


def load(w, op, config):
    """See ``common.serve``."""
    if op != "forward":
        raise NotImplementedError("inference only")
    x, k, b, _ = common.data(w, op)
    x = common.channels_first(x)
    shape = [w["batch"], w["out_channels"]] + common.output_extent(w)
    node = helper.make_node(
        "Conv",
        ["x", "k", "b"],
        ["y"],
        kernel_shape=w["kernel"],
        strides=w["strides"],
        dilations=w["dilations"],
        pads=[p[0] for p in w["padding"]] + [p[1] for p in w["padding"]],
    )
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(common.filter_oidhw(k), "k"), numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(sys.argv[1])
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    x_value = ort.OrtValue.ortvalue_from_numpy(x)
    y_value = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32)
    binding.bind_ortvalue_input("x", x_value)
    binding.bind_ortvalue_output("y", y_value)
    return (
        lambda: session.run_with_iobinding(binding),
        lambda: np.moveaxis(y_value.numpy(), 1, -1),
    )


common.serve(ANSWERS, load)
