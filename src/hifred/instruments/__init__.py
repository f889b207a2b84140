"""Calibration of real instruments: areas, redistributions, PSFs, and presets that say which files look like what."""

from hifred.instruments.arf import EffectiveArea
from hifred.instruments.columns import EventColumns
from hifred.instruments.maps import ExposureMap
from hifred.instruments.pha import Spectrum
from hifred.instruments.pixels import PixelArray, PlacedArray, Placement, fit_placement, placement_from_header
from hifred.instruments.presets import Instrument, instrument, instrument_names
from hifred.instruments.psf import PSF, GaussianPSF, KingPSF
from hifred.instruments.psf_image import ImagePSF
from hifred.instruments.rmf import Redistribution

__all__ = [
    "PSF",
    "EffectiveArea",
    "EventColumns",
    "ExposureMap",
    "GaussianPSF",
    "ImagePSF",
    "Instrument",
    "KingPSF",
    "PixelArray",
    "PlacedArray",
    "Placement",
    "Redistribution",
    "Spectrum",
    "fit_placement",
    "instrument",
    "instrument_names",
    "placement_from_header",
]
