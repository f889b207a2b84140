"""From photons to data sets."""

from hifred.data.dataset import Dataset

__all__ = ["Dataset"]
