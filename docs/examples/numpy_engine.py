"""The engine alone: NumPy in, NumPy out, no graph."""

import numpy as np

from conv3d import engine

rng = np.random.default_rng(0)
volume = rng.random((1, 32, 32, 32, 16), dtype=np.float32)
kernel = rng.standard_normal((3, 3, 3, 16, 32), dtype=np.float32)

output = engine.forward(volume, kernel, padding="same", activation="relu")
print(output.shape, output.dtype)
# -> (1, 32, 32, 32, 32) float32

plan = engine.Plan(kernel, padding="same", activation="relu")  # the kernel is packed once
print(np.array_equal(plan(volume), output))
# -> True

error = output.astype(np.float64) - 1
gradient = engine.backward_filter(volume, kernel.shape, error.astype(np.float32), padding="same")
print(gradient.shape)
# -> (3, 3, 3, 16, 32)
