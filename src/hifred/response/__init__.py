"""What an instrument does to a cube, as exact linear operators."""

from hifred.response.calibration import Calibration
from hifred.response.energy import BandedEnergyMatrix, EnergyMatrix
from hifred.response.kernels import Kernels
from hifred.response.operator import Composition, Diagonal, Identity, LinearOperator, Sum, Transpose
from hifred.response.recipe import Recipe, Restricted
from hifred.response.response import Response
from hifred.response.sky import FFTConvolution, SkyMatrix, SkyRebin
from hifred.response.varying import BlendedSkyMatrix, SparseSky, VaryingConvolution, VaryingEnergyMatrix

__all__ = [
    "BandedEnergyMatrix",
    "BlendedSkyMatrix",
    "Calibration",
    "Composition",
    "Diagonal",
    "EnergyMatrix",
    "FFTConvolution",
    "Identity",
    "Kernels",
    "LinearOperator",
    "Recipe",
    "Response",
    "Restricted",
    "SkyMatrix",
    "SkyRebin",
    "SparseSky",
    "Sum",
    "Transpose",
    "VaryingConvolution",
    "VaryingEnergyMatrix",
]
