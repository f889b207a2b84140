"""Measures of a fusion: of a cube against the truth, of predictions against counts, of a cube by itself."""

from hifred.metrics.angles import (
    angular_distance_map,
    mean_angular_distance,
    spectral_angle,
    spectral_angle_map,
)
from hifred.metrics.counts import cstat, kl
from hifred.metrics.fidelity import ergas, flux_error_map, flux_per_pixel, nmse, ssim
from hifred.metrics.lines import LINES, LineMaps, line_centroid, line_maps, line_velocity_error, line_width
from hifred.metrics.scores import Scores, score

__all__ = [
    "LINES",
    "LineMaps",
    "Scores",
    "angular_distance_map",
    "cstat",
    "ergas",
    "flux_error_map",
    "flux_per_pixel",
    "kl",
    "line_centroid",
    "line_maps",
    "line_velocity_error",
    "line_width",
    "mean_angular_distance",
    "nmse",
    "score",
    "spectral_angle",
    "spectral_angle_map",
    "ssim",
]
