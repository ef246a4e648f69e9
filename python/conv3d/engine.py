"""NumPy face of the convolution engine: arrays in, arrays out, no graph.

Arrays are `[batch, depth, height, width, channels]` or channels first by `data_format`; filters are always
`[kd, kh, kw, in_channels // groups, out_channels]`.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np

from conv3d import _core

_threads = 1


def _first(data_format):
    if data_format in ("channels_last", "NDHWC"):
        return False
    if data_format in ("channels_first", "NCDHW"):
        return True
    raise ValueError(f"data_format is {data_format!r}; accepted are 'channels_last', 'channels_first'")


def _three(value, name):
    value = (int(value),) * 3 if np.ndim(value) == 0 else tuple(int(v) for v in value)
    if len(value) != 3 or min(value) < 1:
        raise ValueError(f"{name} is {value}; one or three positive integers are accepted")
    return value


def _padding(padding):
    return padding.lower() if isinstance(padding, str) else tuple((int(b), int(a)) for b, a in padding)


def _last(x, first):
    return np.moveaxis(np.asarray(x), 1, -1) if first else np.asarray(x)


def _finish(y, dtype, first, out=None):
    y = y.astype(dtype, copy=False)
    y = np.ascontiguousarray(np.moveaxis(y, -1, 1)) if first else y
    if out is None:
        return y
    out[...] = y
    return out


def forward(input, filter, bias=None, *, strides=1, padding="valid", dilations=1, groups=1,
            data_format="channels_last", activation=None, out=None, algorithm="auto",
            accuracy="default", num_threads=None):
    first = _first(data_format)
    x, w = _last(input, first), np.asarray(filter)
    y = _core.forward(x, w, groups, _three(strides, "strides"), _three(dilations, "dilations"), _padding(padding))
    if bias is not None:
        y += np.asarray(bias)
    if activation == "relu":
        y = np.where(y < 0, 0, y)
    elif activation == "leaky_relu":
        y = np.where(y < 0, y.dtype.type(0.2) * y, y)
    elif activation == "sigmoid":
        y = 1 / (1 + np.exp(-y))
    elif activation == "tanh":
        y = np.tanh(y)
    return _finish(y, x.dtype, first, out)


def backward_input(input_shape, filter, grad_output, *, strides=1, padding="valid", dilations=1, groups=1,
                   data_format="channels_last", out=None, algorithm="auto", accuracy="default",
                   num_threads=None):
    first = _first(data_format)
    shape = tuple(int(n) for n in input_shape)
    if first:
        shape = (shape[0], *shape[2:], shape[1])
    dy = _last(grad_output, first)
    y = _core.backward_input(shape, np.asarray(filter), dy, groups, _three(strides, "strides"),
                             _three(dilations, "dilations"), _padding(padding))
    return _finish(y, dy.dtype, first, out)


def backward_filter(input, filter_shape, grad_output, *, strides=1, padding="valid", dilations=1, groups=1,
                    data_format="channels_last", out=None, algorithm="auto", accuracy="default",
                    num_threads=None):
    first = _first(data_format)
    dy = _last(grad_output, first)
    y = _core.backward_filter(_last(input, first), tuple(int(n) for n in filter_shape), dy, groups,
                              _three(strides, "strides"), _three(dilations, "dilations"), _padding(padding))
    return _finish(y, dy.dtype, False, out)


def _pool(kind, input, pool_size, strides, padding, data_format):
    first = _first(data_format)
    x = _last(input, first)
    return _finish(_core.pool(kind, x, _three(pool_size, "pool_size"), _three(strides, "strides"),
                              _padding(padding)), x.dtype, first)


def max_pool3d(input, pool_size, strides, padding, data_format="channels_last"):
    return _pool("max", input, pool_size, strides, padding, data_format)


def avg_pool3d(input, pool_size, strides, padding, data_format="channels_last"):
    return _pool("avg", input, pool_size, strides, padding, data_format)


def max_pool3d_grad(input, output, grad_output, pool_size, strides, padding, data_format="channels_last"):
    first = _first(data_format)
    x, dy = _last(input, first), _last(grad_output, first)
    return _finish(_core.pool_grad("max", x, x.shape, dy, _three(pool_size, "pool_size"),
                                   _three(strides, "strides"), _padding(padding)), dy.dtype, first)


def avg_pool3d_grad(input_shape, grad_output, pool_size, strides, padding, data_format="channels_last"):
    first = _first(data_format)
    shape = tuple(int(n) for n in input_shape)
    if first:
        shape = (shape[0], *shape[2:], shape[1])
    dy = _last(grad_output, first)
    return _finish(_core.pool_grad("avg", None, shape, dy, _three(pool_size, "pool_size"),
                                   _three(strides, "strides"), _padding(padding)), dy.dtype, first)


class Plan:
    def __init__(self, filter, bias=None, *, input_shape=None, **keywords):
        self._filter, self._bias, self._keywords = np.array(filter), bias, keywords

    def __call__(self, input, out=None):
        return forward(input, self._filter, self._bias, out=out, **self._keywords)


def set_num_threads(n):
    global _threads
    _threads = int(n)


def get_num_threads():
    return _threads


@contextmanager
def num_threads(n):
    before = get_num_threads()
    set_num_threads(n)
    try:
        yield
    finally:
        set_num_threads(before)


def info():
    return {"version": "0.1.0", "isa": "numpy"}


def stats():
    return {"calls": 0, "bytes": 0, "entries": 0}


def clear_cache():
    pass
