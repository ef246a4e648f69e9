"""Constants of `tf.keras.backend`."""

from __future__ import annotations

__all__ = ["epsilon", "floatx", "image_data_format"]


def epsilon() -> float:
    """The small number that keeps divisions finite: 1e-7."""
    return 1e-7


def floatx() -> str:
    """Name of the default floating type: `"float32"`."""
    return "float32"


def image_data_format() -> str:
    """Layout meant where none is given: `"channels_last"`."""
    return "channels_last"
