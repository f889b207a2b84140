"""Mock observations: expected counts in double precision, and a Poisson draw that is the same everywhere."""

from dataclasses import dataclass

import numpy as np

MANTISSA_BITS = 20
"""Expected counts are rounded to this relative precision (5e-7) before the draw."""


@dataclass(frozen=True, eq=False)
class Camera:
    """What a simulated instrument does to a cube of L energies: the arguments of `Response.from_kernels`.

    Attributes
    ----------
    name : str
    area : (L,) array
        Effective area, cm2.
    lsf : (2 n + 1,) or (channels, L) array, optional
        Energy redistribution, sum 1: a kernel, or a matrix with the channels already made coarse.
    psf : (2 n + 1, 2 m + 1) array, optional
        Point-spread function, sum 1.
    rebin : (int, int, int)
        Energy bins and pixels summed into one.
    background : float
        Share of its counts that come from no sky, the same in all channels and pixels.
    assumed : Camera, optional
        What the response of the data set says the instrument does, where that is wrong.

    Raises
    ------
    ValueError
        If the background is not at least 0 and below 1.
    """

    name: str
    area: np.ndarray
    lsf: np.ndarray | None = None
    psf: np.ndarray | None = None
    rebin: tuple = (1, 1, 1)
    background: float = 0.0
    assumed: "Camera | None" = None

    def __post_init__(self):
        if not 0 <= self.background < 1:
            raise ValueError(f"background: expected a share of at least 0 and below 1, found {self.background}")


def expected_counts(camera, cube):
    """Predict the counts per second of a camera from the sky; photons that leave the frame or the band are lost.

    `mu = S R P (A o z)`, as two dense matrices: `(sum R A) z (sum P)^T`. Plain float64 numpy, independent of
    the library's own operators: it is the reference for them, and the mock data do not depend on the
    precision of a device.

    Parameters
    ----------
    camera : Camera
    cube : (L, y, x) array
        Photons / cm2 / s / voxel.

    Returns
    -------
    (channels, y, x) array
        Counts / s.

    Raises
    ------
    ValueError
        If the cube does not fit the camera's area or rebinning.
    """
    energies, ny, nx = np.shape(cube)
    if np.shape(camera.area) != (energies,):
        raise ValueError(f"area must have shape ({energies},) for this cube, found {np.shape(camera.area)}")
    if (ny % camera.rebin[1]) or (nx % camera.rebin[2]):
        raise ValueError(f"rebin {camera.rebin} does not divide the {ny} x {nx} pixels")
    spectral = _energy_matrix(camera, energies) * camera.area
    by_pixel = (spectral @ np.reshape(cube, (energies, -1))).reshape(-1, ny, nx)
    if camera.psf is None:
        return _sum_blocks(by_pixel, camera.rebin[1:])
    spatial = _sum_blocks(_blur_matrix(camera.psf, ny, nx), camera.rebin[1:])
    shape = ny // camera.rebin[1], nx // camera.rebin[2]
    return (by_pixel.reshape(-1, ny * nx) @ spatial.reshape(ny * nx, -1)).reshape(-1, *shape)


def noise_stream(seed, camera, draw):
    """Seed of the photons of one camera.

    Parameters
    ----------
    seed : int
        Seed of the scene.
    camera : int
        Number of the camera, from 1 on.
    draw : int
        Which draw of the photons; those of 0 are the scene's own.

    Returns
    -------
    tuple of int
    """
    # The first draw had no number of its own; (seed, camera, 1) times the photons of event lists.
    return (seed, camera) if draw == 0 else (seed, camera, 1 + draw)


def draw_counts(expected, seed):
    """Poisson counts.

    Matrix products differ between machines in the last bits, and a draw can turn on such a bit; so the
    expectations are rounded to 20 bits first. Numbers that rounding cannot tell apart give the same counts,
    whatever made them; two expectations on different sides of a rounding step (one in 1e9) differ by 1e-6,
    which again changes a draw once in a million.

    Parameters
    ----------
    expected : array
        Expected counts, not negative.
    seed : int or sequence of int
        Seed of `numpy.random.default_rng`.

    Returns
    -------
    array of int32
        Same shape.

    Raises
    ------
    ValueError
        If an expectation is negative or not finite.
    """
    return np.random.default_rng(seed).poisson(rounded(expected)).astype(np.int32)


def rounded(expected):
    """Expected counts, to 20 bits.

    Parameters
    ----------
    expected : array
        Not negative.

    Returns
    -------
    array of float64
        Same shape.

    Raises
    ------
    ValueError
        If an expectation is negative or not finite.
    """
    expected = np.asarray(expected, dtype=np.float64)
    if not np.all(np.isfinite(expected) & (expected >= 0)):
        raise ValueError(f"expected counts must be finite and not negative, found a minimum of {np.min(expected)}")
    mantissa, exponent = np.frexp(expected)
    return np.ldexp(np.rint(mantissa * 2.0**MANTISSA_BITS), exponent - MANTISSA_BITS)


def _energy_matrix(camera, energies):
    """(channels, L) redistribution with rebinning, zero outside the band."""
    if camera.lsf is None:
        matrix = np.eye(energies)
    elif np.ndim(camera.lsf) == 2:
        matrix = np.asarray(camera.lsf, dtype=np.float64)
        if matrix.shape[1] != energies:
            raise ValueError(f"lsf must have {energies} columns for this cube, found {matrix.shape[1]}")
    else:
        matrix = _shift_matrix(np.asarray(camera.lsf, dtype=np.float64), energies)
    if len(matrix) % camera.rebin[0]:
        raise ValueError(f"rebin {camera.rebin} does not divide the {len(matrix)} channels")
    return matrix.reshape(-1, camera.rebin[0], energies).sum(axis=1)


def _shift_matrix(kernel, size):
    """Convolution with a kernel of odd length as a (size, size) matrix, zero outside."""
    offset = np.arange(size)[:, None] - np.arange(size) + len(kernel) // 2
    return np.where((offset >= 0) & (offset < len(kernel)), np.take(kernel, offset, mode="clip"), 0.0)


def _blur_matrix(psf, ny, nx):
    """Image of a point in each pixel, (y x, y, x)."""
    rows = np.arange(ny) - np.arange(ny)[:, None] + psf.shape[0] // 2
    columns = np.arange(nx) - np.arange(nx)[:, None] + psf.shape[1] // 2
    spots = np.take(np.take(psf, rows, axis=0, mode="clip"), columns, axis=2, mode="clip")  # (from y, y, from x, x)
    spots = np.where(((rows >= 0) & (rows < psf.shape[0]))[:, :, None, None], spots, 0.0)
    spots = np.where((columns >= 0) & (columns < psf.shape[1]), spots, 0.0)
    return spots.transpose(0, 2, 1, 3).reshape(ny * nx, ny, nx)


def _sum_blocks(images, factors):
    """Sum of blocks of pixels of (n, y, x) images."""
    n, ny, nx = images.shape
    return images.reshape(n, ny // factors[0], factors[0], nx // factors[1], factors[1]).sum(axis=(2, 4))
