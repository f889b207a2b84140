"""Fuse X-ray cubes that are sharp in space with cubes that are sharp in energy."""

import importlib.metadata

from hifred import instruments, metrics, priors, simulate
from hifred.cube import FusedCube
from hifred.data import Dataset, init, reduce
from hifred.fusion import fuse
from hifred.grid import CubeGrid
from hifred.response import Response

__version__ = importlib.metadata.version("hifred")

__all__ = [
    "CubeGrid",
    "Dataset",
    "FusedCube",
    "Response",
    "fuse",
    "init",
    "instruments",
    "metrics",
    "priors",
    "reduce",
    "simulate",
]
