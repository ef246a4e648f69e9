"""What programs around 3-D convolution use of `tf.contrib`."""

from conv3d.contrib import eager, framework, layers, opt

__all__ = ["eager", "framework", "layers", "opt"]
