"""What an instrument does to a cube, as exact linear operators."""

from hifred.response.energy import BandedEnergyMatrix, EnergyMatrix
from hifred.response.operator import Composition, Diagonal, Identity, LinearOperator, Transpose
from hifred.response.response import Response, Restricted
from hifred.response.sky import FFTConvolution, SkyMatrix, SkyRebin

__all__ = [
    "BandedEnergyMatrix",
    "Composition",
    "Diagonal",
    "EnergyMatrix",
    "FFTConvolution",
    "Identity",
    "LinearOperator",
    "Response",
    "Restricted",
    "SkyMatrix",
    "SkyRebin",
    "Transpose",
]
