"""Images: resizing, mirroring, types. Source: `tf.image` of TensorFlow 1.x.

This file only re-exports.
"""

from __future__ import annotations

from conv3d.ops.image_ops import (
    ResizeMethod,
    convert_image_dtype,
    flip_left_right,
    flip_up_down,
    resize_bilinear,
    resize_images,
    resize_nearest_neighbor,
)

__all__ = [
    "ResizeMethod",
    "convert_image_dtype",
    "flip_left_right",
    "flip_up_down",
    "resize_bilinear",
    "resize_images",
    "resize_nearest_neighbor",
]
