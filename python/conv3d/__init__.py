"""3-D convolution on CPUs behind TensorFlow 1.x's names."""

from conv3d import errors
