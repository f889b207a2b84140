"""Cubes as short text for the page, that its script turns back into numbers."""

import base64
import zlib
from collections.abc import Sequence

import numpy as np

from hifred.report.views import View

LEVELS = 4095
"""Steps between 0 and the peak of a pixel's spectrum, on the scale of its square root."""

BLANK = -32768
"""Code of a value that was not measured."""

BUDGET = 10_500_000
"""Characters that all cubes of a page may take."""


def encode_views(views: Sequence[View], budget: int = BUDGET) -> list[dict]:
    """Views as JSON objects, their energy bins averaged as far as the budget asks for."""
    factors = [1] * len(views)
    coded = [encode(view) for view in views]
    while sum(len(entry["codes"]) for entry in coded) > budget:
        excess = sum(len(entry["codes"]) for entry in coded) / budget
        largest = max(len(entry["codes"]) for entry in coded)
        can = [
            k for k, view in enumerate(views)
            if len(coded[k]["codes"]) > largest / 3 and factors[k] < view.density.shape[0]
        ]  # fmt: skip
        if not can:
            break
        for k in can:
            factors[k] = min(max(factors[k] + 1, int(factors[k] * excess)), views[k].density.shape[0])
            coded[k] = encode(views[k].coarser(factors[k]))
    return coded


def encode(view: View) -> dict:
    """A view as a JSON object.

    Each pixel's spectrum is divided by its peak; `code = sign sqrt(|value|) LEVELS`, rounded, keeps 0.02% of the peak
    and 0.2% of a hundredth of it. Codes are written as differences along energy, low bytes before high bytes, which
    compress well; then zlib, then base64.
    """
    bins = view.density.shape[0]
    pixels = view.density.reshape(bins, -1).T.astype(float)
    known = np.isfinite(pixels)
    size = np.where(known, np.abs(pixels), 0)
    peak = size.max(1, keepdims=True)
    root = np.sqrt(np.divide(size, peak, out=np.zeros_like(size), where=peak > 0))
    codes = np.where(known, np.rint(np.sign(np.nan_to_num(pixels)) * root * LEVELS), BLANK).astype(np.int16)
    steps = np.diff(codes, axis=1, prepend=np.int16(0)).astype("<i2")
    octets = np.ascontiguousarray(steps).view(np.uint8).reshape(-1, 2)
    return {
        "key": view.key,
        "bins": bins,
        "pixels": pixels.shape[0],
        "edges": _text(view.edges.astype("<f8")),
        "peaks": _text(peak.astype("<f4")),
        "place": _text(view.place.astype("<i4")),
        "codes": _text(octets.T),
    }


def _text(array: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes(), 6)).decode()
