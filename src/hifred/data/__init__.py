"""From photons to data sets."""

from hifred.data.dataset import Dataset
from hifred.data.reduce import reduce

__all__ = ["Dataset", "reduce"]
