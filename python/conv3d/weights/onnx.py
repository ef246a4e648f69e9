"""ONNX models: the initialisers, by name.

Read by the onnx package, which is imported when needed: `onnx.load` and `numpy_helper` only. Shape
inference is never called, because it has crashed on damaged models (onnx#6180, onnx#8036).
"""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np

from conv3d.errors import CorruptFile
from conv3d.weights import lazy

FORMAT = "onnx"


def read(path: str) -> lazy.WeightFile:
    """The initialisers of the model at `path`. ONNX keeps filters as [out, in, kd, kh, kw].

    Raises:
        CorruptFile: the model is damaged.
        ImportError: onnx is not installed.
    """
    try:
        import onnx
        from onnx import external_data_helper, numpy_helper
    except ImportError as error:
        raise ImportError("ONNX models need onnx: pip install 'conv3d[onnx]'") from error
    with lazy.reading(path):
        try:
            model = onnx.load(path, load_external_data=False)
        except FileNotFoundError:
            raise
        except Exception as error:  # protobuf's exception type depends on its back end
            raise CorruptFile(f"the ONNX model cannot be parsed: {error}") from error
        folder = os.path.dirname(os.path.abspath(path))
        size = os.stat(path).st_size
        entries: dict[str, lazy.Entry] = {}
        for tensor in model.graph.initializer:
            name = tensor.name
            if not name or "\0" in name or name in entries:
                raise CorruptFile(f"the initialiser name {name!r} is empty or given twice")
            if tensor.data_type == onnx.TensorProto.UNDEFINED:
                raise CorruptFile(f"the initialiser {name!r} has no dtype")
            shape = tuple(tensor.dims)
            try:
                dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
            except (KeyError, TypeError, ValueError) as error:
                raise CorruptFile(f"the initialiser {name!r} has an unknown dtype") from error
            external = external_data_helper.uses_external_data(tensor)
            if not external:
                lazy.checked_size(shape, dtype.itemsize, size)
            reader = functools.partial(_read, numpy_helper, tensor, folder if external else "")
            entries[name] = lazy.Entry(shape, dtype, reader)
    return lazy.WeightFile(path, FORMAT, entries)


def _read(numpy_helper: Any, tensor: Any, folder: str) -> np.ndarray:
    try:
        # The helper refuses external paths that leave the model's folder.
        return np.array(numpy_helper.to_array(tensor, folder))
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise CorruptFile(f"the initialiser cannot be decoded: {error}") from error
