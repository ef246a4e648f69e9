"""Resizing of images and of volumes, with gradients.

A resized axis of m cells, made of n cells, reads at position i * n / m, or at i * (n - 1) / (m - 1)
with aligned corners: nearest takes the cell below (aligned: the nearest), bilinear weighs the two
neighbours.

Source: `tf.image.resize_nearest_neighbor`, `tf.image.resize_bilinear`, `tf.image.resize_images`,
`tf.keras.layers.UpSampling3D`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from conv3d import errors
from conv3d.framework import context, convert, dtypes, registry
from conv3d.framework.execute import apply_op
from conv3d.framework.tensor_shape import TensorShape
from conv3d.ops import array_ops, math_ops, shape_rules

# -- positions -------------------------------------------------------------------------------------


def _positions(n: int, m: int, aligned: bool) -> np.ndarray:
    """Where the m cells of the result read among n cells, float32 as in TensorFlow."""
    scale = np.float32((n - 1) / (m - 1)) if aligned and m > 1 else np.float32(n / m)
    return np.arange(m, dtype=np.float32) * scale


@lru_cache(maxsize=256)
def _nearest(n: int, m: int, aligned: bool) -> np.ndarray:
    at = _positions(n, m, aligned)
    # Halves go up, not to the even neighbour.
    cells = np.floor(at + np.float32(0.5)) if aligned else np.floor(at)
    return np.minimum(cells.astype(np.int64), n - 1)


@lru_cache(maxsize=256)
def _linear(n: int, m: int, aligned: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower neighbours, upper neighbours, weights of the upper ones."""
    at = _positions(n, m, aligned)
    low = np.minimum(np.floor(at).astype(np.int64), n - 1)
    return low, np.minimum(low + 1, n - 1), (at - low).astype(np.float32)


def _size(size: np.ndarray) -> tuple[int, int]:
    if size.shape != (2,) or min(size) <= 0:
        raise errors.InvalidArgumentError(
            None, None, f"`size` is {size.tolist()}; two positive integers (height, width) it is."
        )
    return int(size[0]), int(size[1])


def _check_images(images: np.ndarray) -> None:
    if images.ndim != 4 or 0 in images.shape[1:3]:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"`images` has shape {list(images.shape)}; [batch, height, width, channels], not "
            "empty, is needed.",
        )


def _infer_resize(attrs: dict[str, Any], inputs: Sequence[Any], dtype: Any) -> list[Any]:
    shape_rules.check_dtype("`images`", inputs[0].dtype, shape_rules.REAL)
    shape = inputs[0].shape.with_rank(4).as_list()
    if inputs[1].shape.ndims is not None:
        inputs[1].shape.merge_with([2])
    size = inputs[1].constant_value()
    height, width = (None, None) if size is None else (int(size[0]), int(size[1]))
    return [(dtype, TensorShape([shape[0], height, width, shape[3]]))]


def _attrs_of(op: Any) -> dict[str, Any]:
    return {"align_corners": op.get_attr("align_corners")}


# -- nearest neighbour -----------------------------------------------------------------------------


def _resize_nearest(attrs: dict[str, Any], images: np.ndarray, size: np.ndarray) -> np.ndarray:
    _check_images(images)
    height, width = _size(size)
    rows = _nearest(images.shape[1], height, attrs["align_corners"])
    columns = _nearest(images.shape[2], width, attrs["align_corners"])
    return images[:, rows[:, None], columns[None, :], :]


def _gather_sums(x: np.ndarray, cells: np.ndarray, n: int, axis: int) -> np.ndarray:
    """Adds the slices of `x` along `axis` into n cells; `cells` is in ascending order."""
    out = np.zeros((*x.shape[:axis], n, *x.shape[axis + 1 :]), x.dtype)
    starts = np.flatnonzero(np.r_[True, cells[1:] != cells[:-1]])
    index: list[Any] = [slice(None)] * x.ndim
    index[axis] = cells[starts]
    out[tuple(index)] = np.add.reduceat(x, starts, axis=axis)
    return out


def _resize_nearest_grad(attrs: dict[str, Any], grads: np.ndarray, size: np.ndarray) -> np.ndarray:
    height, width = _size(size)
    rows = _nearest(height, grads.shape[1], attrs["align_corners"])
    columns = _nearest(width, grads.shape[2], attrs["align_corners"])
    return _gather_sums(_gather_sums(grads, rows, height, 1), columns, width, 2)


def _image_size(images: Any) -> Any:
    shape = images.shape
    if shape.ndims is not None and None not in shape.as_list()[1:3]:
        return np.array(shape.as_list()[1:3], np.int32)
    return array_ops.shape(images)[1:3]


def _resize_samples() -> list[Any]:
    rng = np.random.RandomState(8)
    return [
        ({"align_corners": aligned}, [rng.standard_normal((2, *n, 2)), np.array(m, np.int32)])
        for n, m in (((2, 3), (4, 6)), ((5, 4), (3, 2)), ((3, 2), (5, 1)))
        for aligned in (False, True)
    ]


def _resize_grad_samples() -> list[Any]:
    rng = np.random.RandomState(8)
    out = []
    for attrs, (images, size) in _resize_samples():
        grads = rng.standard_normal((2, *size, 2))
        out.append((attrs, [grads, np.array(images.shape[1:3], np.int32)]))
    return out


registry.register(
    "ResizeNearestNeighbor",
    infer=lambda attrs, inputs: _infer_resize(attrs, inputs, inputs[0].dtype.base_dtype),
    compute=_resize_nearest,
    gradient=lambda op, grad: [
        apply_op("ResizeNearestNeighborGrad", [grad, _image_size(op.inputs[0])], _attrs_of(op)),
        None,
    ],
    inputs=("images", "size"),
    samples=_resize_samples,
)
registry.register(
    "ResizeNearestNeighborGrad",
    infer=lambda attrs, inputs: _infer_resize(attrs, inputs, inputs[0].dtype.base_dtype),
    compute=_resize_nearest_grad,
    gradient=lambda op, grad: [
        apply_op("ResizeNearestNeighbor", [grad, _image_size(op.inputs[0])], _attrs_of(op)),
        None,
    ],
    inputs=("grads", "size"),
    samples=_resize_grad_samples,
)


# -- bilinear --------------------------------------------------------------------------------------


def _resize_bilinear(attrs: dict[str, Any], images: np.ndarray, size: np.ndarray) -> np.ndarray:
    _check_images(images)
    height, width = _size(size)
    wide = images if images.dtype == np.float64 else images.astype(np.float32, copy=False)
    low, high, weight = _linear(images.shape[1], height, attrs["align_corners"])
    weight = weight.astype(wide.dtype)[:, None, None]
    top, bottom = wide[:, low], wide[:, high]
    rows = top + (bottom - top) * weight
    low, high, weight = _linear(images.shape[2], width, attrs["align_corners"])
    weight = weight.astype(wide.dtype)[:, None]
    left, right = rows[:, :, low], rows[:, :, high]
    return left + (right - left) * weight


def _resize_bilinear_grad(
    attrs: dict[str, Any], grads: np.ndarray, images: np.ndarray
) -> np.ndarray:
    dtype = images.dtype
    wide = grads if grads.dtype == np.float64 else grads.astype(np.float32, copy=False)
    for axis in (2, 1):
        n = images.shape[axis]
        low, high, weight = _linear(n, grads.shape[axis], attrs["align_corners"])
        weight = weight.astype(wide.dtype).reshape((-1,) + (1,) * (3 - axis))
        wide = _gather_sums(wide * (1 - weight), low, n, axis) + _gather_sums(
            wide * weight, high, n, axis
        )
    return wide.astype(dtype, copy=False)


def _bilinear_type(dtype: Any) -> Any:
    return dtypes.float64 if dtype.base_dtype == dtypes.float64 else dtypes.float32


registry.register(
    "ResizeBilinear",
    infer=lambda attrs, inputs: _infer_resize(attrs, inputs, _bilinear_type(inputs[0].dtype)),
    compute=_resize_bilinear,
    gradient=lambda op, grad: [
        apply_op("ResizeBilinearGrad", [grad, op.inputs[0]], _attrs_of(op)),
        None,
    ],
    inputs=("images", "size"),
    samples=_resize_samples,
)
registry.register(
    "ResizeBilinearGrad",
    infer=lambda attrs, inputs: [(inputs[1].dtype.base_dtype, inputs[1].shape)],
    compute=_resize_bilinear_grad,
    gradient=lambda op, grad: [
        apply_op("ResizeBilinear", [grad, _image_size(op.inputs[0])], _attrs_of(op)),
        None,
    ],
    inputs=("grads", "original_image"),
    samples=lambda: [
        (attrs, [np.ones((2, *size, 2)) * 0.5, images])
        for attrs, (images, size) in _resize_samples()
    ],
)


# -- repetition ------------------------------------------------------------------------------------


def _blocks(
    attrs: dict[str, Any], shape: Sequence[int], shrink: bool
) -> tuple[list[int], list[int]]:
    """A shape with each spatial axis split into (cells, repetitions), and the new axes."""
    first = attrs["data_format"] == "channels_first"
    start = 2 if first else 1
    split, axes = list(shape[:start]), []
    for i, factor in enumerate(attrs["size"]):
        n = shape[start + i]
        split += [n // factor, factor] if shrink else [n, 1]
        axes.append(len(split) - 1)
    return split + list(shape[start + len(attrs["size"]) :]), axes


def _scaled_shape(attrs: dict[str, Any], shape: TensorShape, shrink: bool) -> TensorShape:
    rank = len(attrs["size"]) + 2
    dims = shape.with_rank(rank).as_list()
    start = 2 if attrs["data_format"] == "channels_first" else 1
    for i, factor in enumerate(attrs["size"]):
        n = dims[start + i]
        if n is not None:
            dims[start + i] = n // factor if shrink else n * factor
    return TensorShape(dims)


def _up_sample(attrs: dict[str, Any], x: np.ndarray) -> np.ndarray:
    split, axes = _blocks(attrs, x.shape, shrink=False)
    target = list(split)
    for axis, factor in zip(axes, attrs["size"], strict=False):
        target[axis] = factor
    final = _scaled_shape(attrs, TensorShape(x.shape), shrink=False).as_list()
    return np.broadcast_to(x.reshape(split), target).reshape(final)


def _up_sample_grad(attrs: dict[str, Any], grad: np.ndarray) -> np.ndarray:
    split, axes = _blocks(attrs, grad.shape, shrink=True)
    return grad.reshape(split).sum(axis=tuple(axes), dtype=grad.dtype)


def _up_sample_attrs(op: Any) -> dict[str, Any]:
    return {"size": op.get_attr("size"), "data_format": op.get_attr("data_format")}


def _up_sample_samples(shrink: bool) -> list[Any]:
    rng = np.random.RandomState(8)
    out = []
    for layout, size, shape in (
        ("channels_last", (2, 1, 3), (2, 2, 3, 1, 2)),
        ("channels_first", (1, 2, 2), (2, 2, 2, 1, 2)),
    ):
        attrs = {"size": size, "data_format": layout}
        x = rng.standard_normal(shape)
        out.append((attrs, [_up_sample(attrs, x) if shrink else x]))
    return out


registry.register(
    "UpSample",
    infer=lambda attrs, inputs: [
        (inputs[0].dtype.base_dtype, _scaled_shape(attrs, inputs[0].shape, shrink=False))
    ],
    compute=_up_sample,
    gradient=lambda op, grad: [apply_op("UpSampleGrad", [grad], _up_sample_attrs(op))],
    inputs=("input",),
    samples=lambda: _up_sample_samples(shrink=False),
)
registry.register(
    "UpSampleGrad",
    infer=lambda attrs, inputs: [
        (inputs[0].dtype.base_dtype, _scaled_shape(attrs, inputs[0].shape, shrink=True))
    ],
    compute=_up_sample_grad,
    gradient=lambda op, grad: [apply_op("UpSample", [grad], _up_sample_attrs(op))],
    inputs=("grad",),
    samples=lambda: _up_sample_samples(shrink=True),
)


# -- Python functions ------------------------------------------------------------------------------


def up_sample(
    input: Any, size: Sequence[int], data_format: str = "channels_last", name: str | None = None
) -> Any:
    """Repeats each cell `size` times along the spatial axes.

    Args:
        input: `[batch, spatial..., channels]`, or channels first.
        size: a positive integer for each spatial axis.
        data_format: "channels_last" or "channels_first".
        name: name of the op.

    Raises:
        ValueError: another data format, a size that is not positive, or an input of another rank.

    Source: `tf.keras.layers.UpSampling3D`.
    """
    sizes = tuple(int(s) for s in size)
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"`data_format` is {data_format!r}; 'channels_last' or 'channels_first' it is."
        )
    if not sizes or min(sizes) < 1:
        raise ValueError(f"`size` is {sizes}; positive integers, one for each axis, are needed.")
    return apply_op("UpSample", [input], {"size": sizes, "data_format": data_format}, name)


def resize_nearest_neighbor(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None
) -> Any:
    """Resizes images by taking the nearest cell.

    Args:
        images: real numbers, `[batch, height, width, channels]`.
        size: two integers, the new height and width.
        align_corners: the corner cells of both images coincide.
        name: name of the op.

    Source: `tf.image.resize_nearest_neighbor`.
    """
    attrs = {"align_corners": bool(align_corners)}
    types = [None, dtypes.int32]
    return apply_op("ResizeNearestNeighbor", [images, size], attrs, name, dtypes=types)


def resize_bilinear(
    images: Any, size: Any, align_corners: bool = False, name: str | None = None
) -> Any:
    """Resizes images by weighing the four neighbours; the result is float32 (float64 stays).

    Arguments as for `resize_nearest_neighbor`. Source: `tf.image.resize_bilinear`. Difference:
    float64 images are not rounded to float32.
    """
    attrs = {"align_corners": bool(align_corners)}
    types = [None, dtypes.int32]
    return apply_op("ResizeBilinear", [images, size], attrs, name, dtypes=types)


class ResizeMethod:
    """Ways to resize. Source: `tf.image.ResizeMethod`."""

    BILINEAR = 0
    NEAREST_NEIGHBOR = 1


def resize_images(
    images: Any, size: Any, method: int = ResizeMethod.BILINEAR, align_corners: bool = False
) -> Any:
    """Resizes one image or a batch of them.

    Args:
        images: `[batch, height, width, channels]` or `[height, width, channels]`.
        size: two integers, the new height and width.
        method: a `ResizeMethod`.
        align_corners: the corner cells of both images coincide.

    Returns:
        The resized images; the argument itself if it has that size.

    Raises:
        ValueError: another rank, size or method.

    Source: `tf.image.resize_images`. Bicubic and area are not there.
    """
    with context.name_scope(None, "resize_images", [images, size]):
        images = convert.convert_to_tensor(images, name="images")
        ndims = images.shape.ndims
        if ndims not in (3, 4):
            raise ValueError(f"`images` has shape {images.shape}; 3 or 4 dimensions are needed.")
        size = convert.convert_to_tensor(size, dtypes.int32, name="size")
        if not size.shape.is_compatible_with([2]):
            raise ValueError(f"`size` has shape {size.shape}; two integers are needed.")
        known = convert.constant_value(size)
        if known is not None and images.shape.as_list()[ndims - 3 : ndims - 1] == known.tolist():
            return images
        batch = array_ops.expand_dims(images, 0) if ndims == 3 else images
        if method == ResizeMethod.BILINEAR:
            out = resize_bilinear(batch, size, align_corners)
        elif method == ResizeMethod.NEAREST_NEIGHBOR:
            out = resize_nearest_neighbor(batch, size, align_corners)
        else:
            raise ValueError(
                f"`method` is {method!r}; ResizeMethod.BILINEAR (0) and NEAREST_NEIGHBOR (1) are "
                "accepted."
            )
        return array_ops.squeeze(out, [0]) if ndims == 3 else out


def _flip(image: Any, axis: int, name: str) -> Any:
    with context.name_scope(None, name, [image]):
        image = convert.convert_to_tensor(image, name="image")
        ndims = image.shape.ndims
        if ndims not in (3, 4):
            raise ValueError(f"`image` has shape {image.shape}; 3 or 4 dimensions are needed.")
        return array_ops.reverse(image, [axis + ndims - 3])


def flip_left_right(image: Any) -> Any:
    """Mirrors images along their width. Source: `tf.image.flip_left_right`."""
    return _flip(image, 1, "flip_left_right")


def flip_up_down(image: Any) -> Any:
    """Mirrors images along their height. Source: `tf.image.flip_up_down`."""
    return _flip(image, 0, "flip_up_down")


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: Any = None) -> Any:
    """Converts the type of an image; integers stand for [0, 1] over their positive range.

    Args:
        image: real numbers.
        dtype: the new type.
        saturate: clip to the range of the new type.
        name: name of the scope of the ops.

    Source: `tf.image.convert_image_dtype`.
    """
    dtype = dtypes.as_dtype(dtype)
    image = convert.convert_to_tensor(image, name="image")
    old = image.dtype.base_dtype
    if old == dtype:
        return image
    cast = math_ops.saturate_cast if saturate else math_ops.cast
    with context.name_scope(name, "convert_image", [image]):
        if old.is_integer and dtype.is_integer:
            steps_in, steps_out = int(old.max) + 1, int(dtype.max) + 1
            if steps_in > steps_out:
                return cast(image // (steps_in // steps_out), dtype)
            return cast(image, dtype) * (steps_out // steps_in)
        if old.is_integer:
            return math_ops.cast(image, dtype) * (1.0 / int(old.max))
        if dtype.is_integer:
            return cast(image * (int(dtype.max) + 0.5), dtype)
        return math_ops.cast(image, dtype)


__all__ = [
    "ResizeMethod",
    "convert_image_dtype",
    "flip_left_right",
    "flip_up_down",
    "resize_bilinear",
    "resize_images",
    "resize_nearest_neighbor",
    "up_sample",
]
