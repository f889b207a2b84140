"""What is believed of the sky before the data."""

from hifred.priors.cube_priors import Starlet2D1D, Unregularized
from hifred.priors.denoiser import Denoiser
from hifred.priors.doppler_sheets import DopplerSheets
from hifred.priors.guided import GuidedSmoothness
from hifred.priors.prior import CubePrior, Prior, SubspacePrior
from hifred.priors.subspace_priors import LowRank, LowRankSobolev, LowRankStarlet

__all__ = [
    "CubePrior",
    "Denoiser",
    "DopplerSheets",
    "GuidedSmoothness",
    "LowRank",
    "LowRankSobolev",
    "LowRankStarlet",
    "Prior",
    "Starlet2D1D",
    "SubspacePrior",
    "Unregularized",
]
