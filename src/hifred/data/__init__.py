"""From photons to data sets."""

from hifred.data.dataset import Dataset
from hifred.data.reduce import reduce
from hifred.data.template import init

__all__ = ["Dataset", "init", "reduce"]
