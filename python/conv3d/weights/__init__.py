"""Files of weights as mappings from names to NumPy arrays, one reader per format.

`load(path)` finds the format by content, `save(path, arrays)` takes it from the suffix. Nothing
here knows graphs, layers or sessions.
"""

from conv3d.errors import CorruptFile
from conv3d.weights.lazy import WeightFile
from conv3d.weights.loading import load
from conv3d.weights.saving import save

__all__ = ["CorruptFile", "WeightFile", "load", "save"]
