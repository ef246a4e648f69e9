"""Convolution of dask arrays, chunk by chunk: volumes larger than memory, and clusters.

An output chunk needs its own part of the input and a halo of what its windows reach beyond. Axis by
axis, the input is cut into these parts, which overlap; then each output chunk is one call of
`engine.forward`, with padding only where the chunk lies at the volume's border:

    output[o0:o1] needs input[o0 * s - p : (o1 - 1) * s - p + reach],  reach = (k - 1) * d + 1

An optional extra, `pip install 'conv3d[dask]'`. dask is imported when `conv3d` is called.
"""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from conv3d import _arguments as arguments
from conv3d import engine

__all__ = ["conv3d"]


class _Cuts(NamedTuple):
    """One axis, for each output chunk: its size, its part of the input, its padding."""

    sizes: tuple[int, ...]
    parts: tuple[tuple[int, int], ...]
    padding: tuple[tuple[int, int], ...]


def _cuts(
    chunks: Sequence[int], taps: int, stride: int, dilation: int, padding: str | tuple[int, int]
) -> _Cuts | None:
    """How an axis in these chunks is cut; None if no window fits."""
    extent, reach = sum(chunks), (taps - 1) * dilation + 1
    if padding == "same":
        outputs = -(-extent // stride)
        total = max((outputs - 1) * stride + reach - extent, 0)
        before, after = total // 2, total - total // 2
    else:
        before, after = (0, 0) if isinstance(padding, str) else padding
        outputs = (extent + before + after - reach) // stride + 1
    if outputs < 1:
        return None
    # An output goes with the chunk that the middle of its window lies in: position o * s - offset.
    offset = before - (reach - 1) // 2
    ends = np.cumsum(chunks).tolist()
    edges = [0, *(min(max(-(-(end + offset) // stride), 0), outputs) for end in ends[:-1]), outputs]
    sizes: list[int] = []
    parts: list[tuple[int, int]] = []
    paddings: list[tuple[int, int]] = []
    first = 0
    for last in edges[1:]:
        low, high = first * stride - before, (last - 1) * stride - before + reach
        start, stop = min(max(low, 0), extent), min(max(high, 0), extent)
        if last > first and stop > start:
            sizes.append(last - first)
            parts.append((start, stop))
            paddings.append((start - low, high - stop))
            first = last
        # Outputs of padding alone wait for the next chunk.
    if first < outputs:  # or there was none
        low = (first - sizes.pop()) * stride - before if sizes else -before
        start = min(max(low, 0), extent) if parts else 0
        del parts[-1:], paddings[-1:]
        sizes.append(outputs - sum(sizes))
        parts.append((start, extent))
        paddings.append((start - low, max((outputs - 1) * stride - before + reach - extent, 0)))
    return _Cuts(tuple(sizes), tuple(parts), tuple(paddings))


def _with_halos(array: Any, axis: int, cuts: _Cuts) -> Any:
    """The array whose chunk `i` of this axis is the input of output chunk `i`."""
    import dask.array as da

    if len(cuts.parts) == 1 and cuts.parts[0] == (0, array.shape[axis]):
        return array.rechunk({axis: -1})
    before = (slice(None),) * axis
    parts = []
    for part in cuts.parts:
        index = (*before, slice(*part))
        parts.append(array[index].rechunk({axis: -1}))
    return da.concatenate(parts, axis=axis)


def _task_threads() -> int | None:
    """The engine's threads within a task: one beside other tasks, all where tasks run in turn."""
    alone = (
        threading.current_thread() is threading.main_thread()
        and multiprocessing.parent_process() is None
    )
    return None if alone else 1


def _convolve_chunk(
    block: Any,
    *,
    filter: Any,
    bias: Any,
    axes: tuple[int, ...],
    paddings: tuple[tuple[tuple[int, int], ...], ...],
    shares: bool,
    num_threads: int | None,
    keywords: dict[str, Any],
    block_id: tuple[int, ...],
) -> Any:
    """One output chunk of a part of the input with its halo. `shares`: there are other chunks."""
    if num_threads is None and shares:
        num_threads = _task_threads()
    padding = tuple(paddings[i][block_id[axis]] for i, axis in enumerate(axes))
    return engine.forward(block, filter, bias, padding=padding, num_threads=num_threads, **keywords)


def _operand(value: Any, name: str, rank: int, dtype: Any) -> Any:
    """A filter or bias, which every task gets: once in the graph, whatever its size."""
    import dask
    import dask.array as da

    if not isinstance(value, da.Array):
        value = arguments.array(value, name, rank)
    elif value.ndim != rank:
        raise ValueError(f"{name} has shape {value.shape}; an array of rank {rank} is accepted")
    if value.dtype != dtype:
        raise TypeError(
            f"{name} has dtype {value.dtype} and array has {dtype}; one dtype for all is accepted"
        )
    return value if isinstance(value, da.Array) else dask.delayed(value, pure=True, traverse=False)


def conv3d(
    array: Any,
    filter: Any,
    bias: Any = None,
    *,
    strides: Any = 1,
    padding: Any = "valid",
    dilations: Any = 1,
    groups: Any = 1,
    data_format: Any = "channels_last",
    activation: str | None = None,
    algorithm: str = "auto",
    accuracy: str = "default",
    num_threads: int | None = None,
) -> Any:
    """Convolves a dask array lazily, as `engine.forward` convolves the whole.

    Every output chunk is computed from its part of the input and a halo. Nothing depends on where
    the chunks' borders lie but the rounding: with `accuracy="default"` the algorithm is chosen for
    a chunk's shape, and its error bound holds; `accuracy="strict"` is exact on integer-valued data.

    An output goes with the input chunk in which the middle of its window lies. With
    `padding="same"` and strides of one the output's chunks are the input's; strides divide them,
    `"valid"` takes from the first and the last. Chunks that get no output are left out.

    A task computes with one engine thread, for the threaded, process and distributed schedulers run
    several at once. It takes all threads under the synchronous scheduler in the main thread and
    where the output is one chunk. Memory in use is about one chunk with its halo, two times, and
    its output, for each task at work.

    Args:
      array: dask array `[batch, depth, height, width, channels]` or channels first, of a dtype of
        the engine, in any chunks of known sizes. The channels are brought into one chunk.
      filter: `[kd, kh, kw, channels // groups, filters]`, array or dask array of the same dtype.
      bias: `[filters]`, array or dask array of the same dtype, or None.
      strides, padding, dilations, groups, data_format, activation, algorithm, accuracy: as in
        `engine.forward`.
      num_threads: engine threads of each task; None: as said above.

    Returns:
      A dask array. Nothing is computed yet.

    Raises:
      ImportError: dask is not installed.
      TypeError: `array` is no dask array, or a dtype or argument of a kind that is not accepted.
      ValueError: shapes or values that are not accepted, chunks of unknown size.

    Source: TensorFlow `Conv3D` for `"same"`: `ceil(extent / stride)` outputs, the odd cell of
    padding at the end.
    """
    try:
        import dask.array as da
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in ("dask", "numpy"):
            raise
        raise ImportError(
            "conv3d.dask needs dask.array, which is not installed; "
            "the extra brings it: pip install 'conv3d[dask]'",
            name="dask",
        ) from error
    if not isinstance(array, da.Array):
        raise TypeError(
            f"array is {type(array).__name__}; a dask.array.Array is accepted, "
            "dask.array.from_array makes one"
        )
    if array.ndim != 5:
        raise ValueError(f"array has shape {array.shape}; an array of rank 5 is accepted")
    if any(np.isnan(size) for size in array.shape):
        raise ValueError(
            f"array has chunks of unknown size, shape {array.shape}; known sizes are accepted, "
            "compute_chunk_sizes() finds them"
        )
    arguments.dtype(array.dtype, "array")
    steps = arguments.triple(strides, "strides")
    spread = arguments.triple(dilations, "dilations")
    pads = arguments.padding(padding)
    first = arguments.choice(data_format, "data_format", arguments.DATA_FORMATS) == 1
    if num_threads is not None:
        arguments.integer(num_threads, "num_threads", 1)
    axes, channel_axis = ((2, 3, 4), 1) if first else ((1, 2, 3), 4)

    filter_shape = tuple(filter.shape) if hasattr(filter, "shape") else np.shape(filter)
    kernel = _operand(filter, "filter", 5, array.dtype)
    if bias is not None:
        shape = tuple(bias.shape) if hasattr(bias, "shape") else np.shape(bias)
        bias = _operand(bias, "bias", 1, array.dtype)
        if shape[0] != filter_shape[4]:
            raise ValueError(
                f"bias has {shape[0]} elements; one per output channel, {filter_shape[4]}, "
                "is accepted"
            )

    halo = array.rechunk({channel_axis: -1})
    cuts = []
    for i, axis in enumerate(axes):
        cut = _cuts(
            array.chunks[axis],
            filter_shape[i],
            steps[i],
            spread[i],
            pads if isinstance(pads, str) else pads[i],
        )
        if cut is None:
            raise ValueError(
                f"array has {array.shape[axis]} cells along {arguments.AXES[i]}, where a window of "
                f"the filter {filter_shape} with dilations {spread} and padding {pads} does not fit"
            )
        cuts.append(cut)
        halo = _with_halos(halo, axis, cut)

    keywords = {
        "strides": steps,
        "dilations": spread,
        "groups": groups,
        "data_format": data_format,
        "activation": activation,
        "algorithm": algorithm,
        "accuracy": accuracy,
    }
    # What is left to check is the engine's to check, with the first chunk's shape.
    engine.explain(
        tuple(sizes[0] for sizes in halo.chunks),
        filter_shape,
        dtype=array.dtype,
        bias=bias is not None,
        padding=tuple(cut.padding[0] for cut in cuts),
        **keywords,
    )
    chunks = list(halo.chunks)
    chunks[channel_axis] = (filter_shape[4],)
    for axis, cut in zip(axes, cuts, strict=True):
        chunks[axis] = cut.sizes
    return da.map_blocks(
        _convolve_chunk,
        halo,
        dtype=array.dtype,
        chunks=tuple(chunks),
        meta=np.empty((0,) * 5, array.dtype),
        filter=kernel,
        bias=bias,
        axes=axes,
        paddings=tuple(cut.padding for cut in cuts),
        shares=halo.npartitions > 1,
        num_threads=num_threads,
        keywords=keywords,
    )
