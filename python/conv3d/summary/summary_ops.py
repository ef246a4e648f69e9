"""Summaries: ops that encode scalars, histograms and pictures as `Summary` messages (bytes).

Histograms count into buckets whose limits grow by a factor of 1.1 from 1e-12, mirrored at zero.
Pictures become PNG; float pictures are scaled so that the whole range of a byte is used.

Source: TensorFlow's ops `ScalarSummary`, `HistogramSummary`, `ImageSummary`, `MergeSummary`; the
PNG specification (RFC 2083).
"""

from __future__ import annotations

import functools
import struct
import sys
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import dtypes, registry, tensor_shape
from conv3d.summary.messages import HistogramProto, Summary

Array = np.ndarray


def _bytes(raw: bytes) -> Array:
    out = np.empty((), object)
    out[()] = raw
    return out


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _invalid(message: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(None, None, message)


def _numbers(label: str, value: Any) -> None:
    base = value.dtype.base_dtype
    if not (base.is_floating or base.is_integer):
        raise TypeError(f"{label}: real numbers are summarised, not {base.name}")


def _infer_string(label: str, rank: int | None = None) -> Any:
    def infer(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[tuple[Any, Any]]:
        _numbers(label, inputs[1])
        if rank is not None:
            inputs[1].shape.assert_has_rank(rank)
        return [(dtypes.string, tensor_shape.TensorShape([]))]

    return infer


# ---- scalars -------------------------------------------------------------------------------------


def _scalar(attrs: dict[str, Any], tags: Array, values: Array) -> Array:
    if (tags.shape != values.shape and tags.size != 1) or tags.size != values.size:
        raise _invalid(f"values: one number for each of {tags.size} tags is needed, got the shape "
                       f"{values.shape}")  # fmt: skip
    summary = Summary()
    for tag, value in zip(tags.flat, values.flat, strict=True):
        summary.value.add(tag=_text(tag), simple_value=float(value))
    return _bytes(summary.SerializeToString())


registry.register(
    "ScalarSummary",
    infer=_infer_string("values"),
    compute=_scalar,
    gradient=registry.NOT_DIFFERENTIABLE,
    inputs=("tags", "values"),
)


# ---- histograms ----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def bucket_limits() -> Array:
    """Upper limits of the buckets, float64, growing, the last one the largest number."""
    positive = []
    limit = 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    positive.append(sys.float_info.max)
    return np.array([*(-one for one in reversed(positive)), 0.0, *positive])


def histogram_message(values: Array) -> HistogramProto:
    """Counts `values`, which have to be finite."""
    flat = np.asarray(values, np.float64).ravel()
    out = HistogramProto(min=sys.float_info.max, max=-sys.float_info.max)
    if flat.size:
        out.min, out.max = float(flat.min()), float(flat.max())
    out.num, out.sum, out.sum_squares = float(flat.size), float(flat.sum()), float(flat @ flat)
    limits = bucket_limits()
    # A value on a limit belongs to the bucket above it.
    places = np.minimum(np.searchsorted(limits, flat, side="right"), limits.size - 1)
    counts = np.bincount(places, minlength=limits.size)
    position = 0
    while position < limits.size:
        # A run of empty buckets is written as one.
        last = position
        if counts[position] == 0:
            while last + 1 < limits.size and counts[last + 1] == 0:
                last += 1
        out.bucket_limit.append(float(limits[last]))
        out.bucket.append(float(counts[position]))
        position = last + 1
    return out


def _histogram(attrs: dict[str, Any], tag: Array, values: Array) -> Array:
    name = _text(tag[()])
    if values.dtype.kind not in "iu" and not np.isfinite(values).all():
        raise _invalid(f"values: {name!r} contains NaN or infinity, which no bucket counts")
    summary = Summary()
    summary.value.add(tag=name, histo=histogram_message(values))
    return _bytes(summary.SerializeToString())


registry.register(
    "HistogramSummary",
    infer=_infer_string("values"),
    compute=_histogram,
    gradient=registry.NOT_DIFFERENTIABLE,
    inputs=("tag", "values"),
)


# ---- pictures ------------------------------------------------------------------------------------


def png(pixels: Array) -> bytes:
    """Encodes `[height, width, channels]` uint8 pixels, 1 to 4 channels, as PNG."""
    height, width, channels = pixels.shape
    # Each row starts with its filter, 0: none.
    rows = np.zeros((height, 1 + width * channels), np.uint8)
    rows[:, 1:] = pixels.reshape(height, width * channels)
    color = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes()))
        + chunk(b"IEND", b"")
    )


def to_bytes(picture: Array, bad_color: Sequence[int] = (255, 0, 0, 255)) -> Array:
    """A float picture `[height, width, channels]` as uint8.

    Without negative values 0 stays 0 and the largest value becomes 255; with them 0 becomes 128 and
    the value farthest from it an end of the range. Pixels with NaN or infinity get `bad_color`.
    """
    values = picture.astype(np.float32)
    finite = np.isfinite(values).all(axis=-1)
    good = values[finite]
    low = float(good.min(initial=0.0))
    high = float(good.max(initial=0.0))
    if low < 0:
        largest = max(abs(low), abs(high))
        scale, offset = (0.0 if largest < 1e-6 else 127.0 / largest), 128.0
    else:
        scale, offset = (0.0 if high < 1e-6 else 255.0 / high), 0.0
    out = np.empty(values.shape, np.uint8)
    out[finite] = np.clip(good * scale + offset, 0, 255).astype(np.uint8)
    color = np.resize(np.asarray(bad_color, np.uint8), values.shape[-1])
    out[~finite] = color
    return out


def _image(attrs: dict[str, Any], tag: Array, tensor: Array) -> Array:
    if tensor.ndim != 4 or not 1 <= tensor.shape[3] <= 4 or tensor.shape[3] == 2:
        raise _invalid(
            "tensor: pictures [batch, height, width, channels] with 1, 3 or 4 channels are needed, "
            f"got the shape {tensor.shape}"
        )
    name = _text(tag[()])
    most = attrs["max_images"]
    summary = Summary()
    for index, picture in enumerate(tensor[:most]):
        pixels = picture if picture.dtype == np.uint8 else to_bytes(picture)
        height, width, channels = pixels.shape
        summary.value.add(
            tag=f"{name}/image" if most == 1 else f"{name}/image/{index}",
            image=Summary.Image(
                height=height,
                width=width,
                colorspace=channels,
                encoded_image_string=png(pixels),
            ),
        )
    return _bytes(summary.SerializeToString())


registry.register(
    "ImageSummary",
    infer=_infer_string("tensor", 4),
    compute=_image,
    gradient=registry.NOT_DIFFERENTIABLE,
    inputs=("tag", "tensor"),
)


# ---- merging -------------------------------------------------------------------------------------


def _infer_merge(attrs: dict[str, Any], inputs: Sequence[Any]) -> list[tuple[Any, Any]]:
    for value in inputs:
        if value.dtype.base_dtype != dtypes.string:
            raise TypeError(f"inputs: summaries are strings, not {value.dtype.base_dtype.name}")
    return [(dtypes.string, tensor_shape.TensorShape([]))]


def _merge(attrs: dict[str, Any], *inputs: Array) -> Array:
    merged = Summary()
    tags = set()
    for value in inputs:
        for raw in value.flat:
            for one in Summary.FromString(raw).value:
                if one.tag in tags:
                    raise _invalid(f"inputs: two summaries have the tag {one.tag!r}")
                tags.add(one.tag)
                merged.value.append(one)
    return _bytes(merged.SerializeToString())


registry.register(
    "MergeSummary",
    infer=_infer_merge,
    compute=_merge,
    gradient=registry.NOT_DIFFERENTIABLE,
    inputs=("inputs*",),
)
