"""The expected background of a data set, counts per (channel, y, x), from what people have of it."""

import os

import numpy as np

from hifred.fitsio import FileError, FitsFile
from hifred.instruments.pha import Spectrum
from hifred.instruments.preset_tables import DetectorBackground

_MUST = "finite counts of at least 0"


def background_cube(path: str | os.PathLike, shape: tuple[int, int, int]) -> np.ndarray:
    """Read a background that is known in each bin of the data.

    Parameters
    ----------
    path : path
        FITS file; its first image is used.
    shape : tuple of three int
        Shape (channel, y, x) of the counts.

    Returns
    -------
    array of shape (channel, y, x)
        Expected counts.

    Raises
    ------
    FileError
        If there is no image, or it has another shape, or negative values or values that are not finite.
    """
    for n, hdu in enumerate(FitsFile(path, foreign=True).hdus):
        if hdu.is_image and hdu.data is not None:
            cube, where = np.asarray(hdu.data, float), f"{path}[{hdu.name or n}]"
            if cube.shape != tuple(shape):
                raise FileError(f"{where}: expected the shape (channel, y, x) {tuple(shape)}, found {cube.shape}")
            bad = np.argwhere(~np.isfinite(cube) | (cube < 0))
            if len(bad):
                place = tuple(int(i) for i in bad[0])
                raise FileError(f"{where}: expected {_MUST}, found {cube[place]:g} in {place} and {len(bad) - 1} more")
            return cube
    raise FileError(f"{path}: expected an image in the primary or an IMAGE extension, found none")


def spectrum_times_map(spectrum, weights) -> np.ndarray:
    """Spread the counts of a spectrum over the pixels.

    Parameters
    ----------
    spectrum : array of shape (channel,)
        Expected counts in each channel, all pixels together.
    weights : array of shape (y, x)
        How much of them each pixel has, up to a factor; ones for an even background, 0 in pixels off the sky.

    Returns
    -------
    array of shape (channel, y, x)
        `spectrum[c] weights[y, x] / sum(weights)`.

    Raises
    ------
    ValueError
        If one is negative or not finite, or the weights are all 0.
    """
    counts, shares = np.asarray(spectrum, float), np.asarray(weights, float)
    for name, values, axes in (("spectrum", counts, 1), ("weights", shares, 2)):
        if values.ndim != axes:
            raise ValueError(f"{name}: expected {axes} axes, found the shape {values.shape}")
        if not (np.all(np.isfinite(values)) and np.all(values >= 0)):
            raise ValueError(f"{name}: expected finite values of at least 0, found others")
    if not shares.sum() > 0:
        raise ValueError("weights: expected some above 0, found none")
    return counts[:, None, None] * (shares / shares.sum())


def scaled_spectrum(spectrum: Spectrum, channel_edges, exposure, area_ratio, weights) -> np.ndarray:
    """Background from the spectrum of another region or exposure.

    The expected counts in a channel are `counts exposure / EXPOSURE area_ratio`, summed over the channels of each
    group. The spectrum's own noise goes into them: a spectrum of few counts makes a background that is 0 in places.

    Parameters
    ----------
    spectrum : Spectrum
        Counts of the background region.
    channel_edges : array of int of shape (c + 1,)
        Numbers of the first channel (PI) of each group, and the one after the last: group j has the channels from
        `channel_edges[j]` up to and without `channel_edges[j + 1]`.
    exposure : float
        Exposure of the data set, s.
    area_ratio : float
        Area of the data set over that of the background region: BACKSCAL over BACKSCAL, or arcmin2 over arcmin2. Use 1
        for a background of the whole detector.
    weights : array of shape (y, x)
        How the counts are spread over the pixels, as in `spectrum_times_map`.

    Returns
    -------
    array of shape (c, y, x)
        Expected counts.

    Raises
    ------
    ValueError
        If the groups are not channels of the spectrum, or exposure or ratio are not positive.
    """
    edges = np.asarray(channel_edges)
    first, last = spectrum.channel_numbers[[0, -1]]
    if edges.ndim != 1 or edges.size < 2 or edges.dtype.kind not in "iu" or np.any(np.diff(edges) <= 0):
        raise ValueError(f"channel_edges: expected at least two increasing whole numbers, found {channel_edges}")
    if edges[0] < first or edges[-1] > last + 1:
        raise ValueError(
            f"channel_edges: expected channels of {spectrum.path or 'the spectrum'}, {first} to {last}, "
            f"found {edges[0]} to {edges[-1] - 1}"
        )
    scale = _positive("exposure", exposure) / spectrum.exposure * _positive("area_ratio", area_ratio)
    sums = np.add.reduceat(np.append(spectrum.counts, 0.0), edges - first)[:-1]
    return spectrum_times_map(sums * scale, weights)


def rate_background(rates: DetectorBackground, channel_edges, exposure, weights, area=None) -> np.ndarray:
    """Background from a rate per energy, as presets and `read_rates` have it.

    Parameters
    ----------
    rates : DetectorBackground
        Counts / s / keV, per arcmin2 or of the whole detector.
    channel_edges : array of shape (c + 1,)
        Edges of the channels, keV.
    exposure : float
        s.
    weights : array of shape (y, x)
        How the counts are spread over the pixels, as in `spectrum_times_map`.
    area : float, optional
        Area of the pixels together, arcmin2; needed for rates per arcmin2.

    Returns
    -------
    array of shape (c, y, x)
        Expected counts. The rate is interpolated linearly, and integrated exactly over each channel; outside of its
        energies it is 0.

    Raises
    ------
    ValueError
        If edges do not increase, exposure or area are not positive, or the area is missing.
    """
    edges = np.asarray(channel_edges, float)
    if edges.ndim != 1 or edges.size < 2 or not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
        raise ValueError(f"channel_edges: expected at least two increasing energies in keV, found shape {edges.shape}")
    if rates.per_arcmin2 and area is None:
        raise ValueError("area: expected the area of the pixels in arcmin2 for rates per arcmin2, found none")
    scale = _positive("exposure", exposure) * (_positive("area", area) if rates.per_arcmin2 else 1.0)
    knots = np.unique(np.concatenate([rates.energies, np.clip(edges, *rates.energies[[0, -1]])]))
    values = np.interp(knots, rates.energies, rates.rates)
    total = np.append(0.0, np.cumsum((values[1:] + values[:-1]) / 2 * np.diff(knots)))
    return spectrum_times_map(np.diff(np.interp(edges, knots, total)) * scale, weights)


def read_rates(path: str | os.PathLike) -> DetectorBackground:
    """Read an instrument background in the HDF5 form of the simulator SOXS.

    The file has `emin` and `emax` (keV) and `spectrum`, one value per bin of equal width: counts / s / keV / arcmin2.
    The unit is that of `InstrumentalBackgroundSpectrum` in SOXS (which multiplies by the solid angle), and it is borne
    out by the file of Hitomi SXS: 8.1e-5 at 2 to 10 keV on average, which is 7.4e-4 counts / s / keV for the 9.13
    arcmin2 of its 35 pixels; XRISM Resolve, its twin, has 1.0e-3 to 1.8e-3 (arXiv 2501.06439). Per bin or per array it
    would be off by 10 or more.

    Raises
    ------
    FileError
        If h5py is not installed (`pip install hifred[hdf5]`), or the file is no such HDF5 file.
    """
    try:
        import h5py
    except ImportError as error:
        raise FileError(f"{path}: expected h5py to read HDF5, found none (pip install 'hifred[hdf5]')") from error
    try:
        with h5py.File(path) as file:
            missing = [name for name in ("emin", "emax", "spectrum") if name not in file]
            if missing:
                raise FileError(f"{path}: expected the datasets emin, emax and spectrum, found no {', '.join(missing)}")
            low, high, values = (np.asarray(file[name][()], float) for name in ("emin", "emax", "spectrum"))
    except (OSError, TypeError, AttributeError) as error:
        raise FileError(f"{path}: expected an HDF5 file with numbers, found: {' '.join(str(error).split())}") from error
    if low.size != 1 or high.size != 1 or not 0 <= low < high:
        raise FileError(f"{path}: expected increasing energies emin and emax in keV, found {low} and {high}")
    if values.ndim != 1 or values.size < 2 or not np.all(np.isfinite(values)) or values.min() < 0:
        raise FileError(f"{path}: expected at least two finite rates of at least 0 in spectrum, found others")
    width = (float(high) - float(low)) / values.size
    return DetectorBackground(float(low) + (np.arange(values.size) + 0.5) * width, values, per_arcmin2=True)


def _positive(name: str, value) -> float:
    number = float(value)
    if not (np.isfinite(number) and number > 0):
        raise ValueError(f"{name}: expected a positive number, found {value}")
    return number
