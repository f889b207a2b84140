"""Principal spectra: the low-dimensional space of the spectra that the sharpest instrument sees."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from hifred.poisson import PoissonTerm
from hifred.priors.rank_one import RankOne
from hifred.response.response import Response

MAX_AUTOMATIC_RANK = 16


@dataclass(frozen=True)
class Basis:
    """Spectra `V[e, k] = mean[e] shapes[e, k]` of components, the first one the mean spectrum.

    Attributes
    ----------
    mean : array of shape (L,)
        Mean spectrum, positive, sums to 1.
    shapes : array of shape (L, r)
        Relative deviations from it; the first is 1 everywhere.
    variance : array of shape (r,)
        Mean square of each component's weight relative to the first, noise removed; 1 for the first.
    """

    mean: np.ndarray
    shapes: np.ndarray
    variance: np.ndarray

    @property
    def spectra(self) -> np.ndarray:
        """The spectra `V`, shape (L, r)."""
        return self.mean[:, None] * self.shapes


def noise_edge(channels: int, pixels: int) -> float:
    """Largest singular value of pure noise of unit variance, `sqrt(channels) + sqrt(pixels)`.

    Marchenko & Pastur (1967), Math. USSR Sb. 1, 457.
    """
    return float(np.sqrt(channels) + np.sqrt(pixels))


def signal_power(singular: np.ndarray, channels: int, pixels: int) -> np.ndarray:
    """Squared singular values of the signal behind those of signal plus unit noise; zero below the noise edge.

    Solves `s^2 = (l^2 + channels)(l^2 + pixels) / l^2` for `l^2` (Benaych-Georges & Nadakuditi 2012, J. Multivariate
    Anal. 111, 120).
    """
    excess = singular**2 - channels - pixels
    root = np.sqrt(np.maximum(excess**2 - 4 * channels * pixels, 0))
    return np.where(singular > noise_edge(channels, pixels), 0.5 * (excess + root), 0.0)


def principal_spectra(term: PoissonTerm, response: Response, start: RankOne, rank: int | None) -> Basis:
    """Principal component analysis of one instrument's spectra, weighted by their Poisson noise.

    The matrix decomposed is `(n - mu) / sqrt(mu)` (channel x pixel) with `mu` the rank-one model: what the mean
    spectrum leaves, in units of noise, areas divided out. Its left singular vectors `U` become relative shapes
    `U / sqrt(mean counts)` on the channels, brought to the energies by the response's own weights. In this metric the
    noise is white, so its edge is known and the rank can be read off.

    Parameters
    ----------
    term, response : PoissonTerm, Response
        The instrument with the sharpest energies.
    start : RankOne
        The rank-one model of all data.
    rank : int or None
        Number of components, the mean spectrum included; None takes those above the noise edge.

    Raises
    ------
    ValueError
        If `rank` is larger than the number of channels or pixels plus one.
    """
    model = np.asarray(term.predict(start.cube), dtype=float)
    counts, mask = np.asarray(term.counts, dtype=float), np.asarray(term.mask)
    used = mask & (model > 0)
    left = np.where(used, counts - model, 0) / np.sqrt(np.where(used, model, 1))
    left = left.reshape(left.shape[0], -1)
    channels, pixels = int(used.any((1, 2)).sum()), int(used.any(0).sum())
    if rank is not None and rank > min(channels, pixels) + 1:
        raise ValueError(f"rank: expected at most {min(channels, pixels) + 1} with these data, found {rank}")
    vectors, singular = _left_vectors(left)
    power = signal_power(singular, channels, pixels)
    if rank is None:
        rank = 1 + min(int((power > 0).sum()), MAX_AUTOMATIC_RANK - 1)
    flux = np.where(used, model - np.asarray(term.background, dtype=float), 0).sum((1, 2))
    total = max(flux.sum(), 1e-30)
    seen = flux > 1e-9 * flux.max()
    shapes = np.where(seen[:, None], vectors[:, : rank - 1] / np.sqrt(np.where(seen, flux, 1) / total)[:, None], 0)
    weight = np.asarray(response.spectral.sum(0)).ravel()
    shapes = (response.spectral.T @ shapes) / np.where(weight > 0, weight, 1)[:, None]
    mean = np.asarray(start.spectrum, dtype=float)
    # A component below the noise edge that was asked for gets the least variance that could have been seen.
    least = np.sqrt(channels * pixels) / total
    variance = np.maximum(power[: rank - 1] / total, least)
    return Basis(mean, np.column_stack([np.ones(mean.size), shapes]), np.concatenate([[1.0], variance]))


def _left_vectors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left singular vectors and singular values, largest first, through the smaller Gram matrix."""
    tall = matrix.shape[0] > matrix.shape[1]
    gram = matrix.T @ matrix if tall else matrix @ matrix.T
    values, vectors = scipy.linalg.eigh(gram)
    singular = np.sqrt(np.maximum(values[::-1], 0))
    vectors = vectors[:, ::-1]
    if tall:
        vectors = matrix @ vectors / np.maximum(singular, 1e-12 * max(singular[0], 1e-30))
    # Signs are arbitrary; fixing them makes runs comparable.
    return vectors * np.where(vectors.sum(0) < 0, -1.0, 1.0), singular
