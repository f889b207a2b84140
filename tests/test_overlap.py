"""Shared areas against exact rational clipping, and the resampling against reproject."""

import warnings
from fractions import Fraction

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from hifred import CubeGrid
from hifred.overlap import average, coverage, overlap_matrix, pixel_corners, resample

SHAPE = (7, 9)
SQUARE = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def turned(points, degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return points @ np.array([[cos, sin], [-sin, cos]])


def sides_of(polygon):
    return zip(polygon, polygon[1:] + polygon[:1], strict=True)


def clipped_area(corners, x, y):
    """Area in pixel (x, y) by clipping the polygon at one side after the other, in rational numbers."""
    half = Fraction(1, 2)
    polygon = [(Fraction(a) - x, Fraction(b) - y) for a, b in corners.tolist()]
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
        kept = []
        for p, q in sides_of(polygon):
            inside_p, inside_q = (half - sign * r[axis] for r in (p, q))
            if inside_p >= 0:
                kept.append(p)
            if inside_p * inside_q < 0:
                t = inside_p / (inside_p - inside_q)
                kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        polygon = kept
    return float(abs(sum(p[0] * q[1] - p[1] * q[0] for p, q in sides_of(polygon))) / 2)


def wcs_of(side, pixel, turn=0.0, *, at=(228.49, -59.145), projection="TAN", radesys="ICRS"):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
    wcs.wcs.crval = at
    wcs.wcs.crpix = [(side + 1) / 2] * 2
    wcs.wcs.cdelt = [-pixel / 3600, pixel / 3600]
    wcs.wcs.pc = turned(np.eye(2), -turn).T
    wcs.wcs.radesys = radesys
    if radesys == "FK5":
        wcs.wcs.equinox = 2000.0
    return wcs


def grid_of(side, pixel, rotation=0.0, center=(228.48, -59.14)):
    return CubeGrid([1, 2], (side, side), pixel, center, rotation)


def source(shape, x, y, sigma):
    """Gaussian of one count, integrated over pixels."""
    profiles = [np.diff(ndtr((np.arange(n + 1) - 0.5 - at) / sigma)) for n, at in zip(shape, (y, x), strict=True)]
    return np.multiply.outer(*profiles)


# --- areas


def test_a_rectangle_by_hand():
    corners = [[0.25, -0.5], [2.0, -0.5], [2.0, 0.75], [0.25, 0.75]]
    found = overlap_matrix([corners], (2, 4)).toarray().reshape(2, 4)
    np.testing.assert_allclose(found, [[0.25, 1, 0.5, 0], [0.0625, 0.25, 0.125, 0]], atol=1e-15)


def test_a_diamond_by_hand():
    diamond = np.array([[2.0, 1], [1, 2], [0, 1], [1, 0]])
    found = overlap_matrix([diamond], (3, 3)).toarray().reshape(3, 3)
    # Of its area of 2 the middle pixel has 1, and each corner sticks out of it by a triangle of 1/4.
    np.testing.assert_allclose(found, [[0, 0.25, 0], [0.25, 1, 0.25], [0, 0.25, 0]], atol=1e-15)


@given(
    st.integers(0, 2**32 - 1), st.sampled_from([0.03, 0.3, 1.0, 4.0, 30.0]), st.booleans(), st.sampled_from([1.0, 1e-3])
)  # fmt: skip
def test_areas_are_those_of_exact_clipping(seed, size, backwards, thin):
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, (6, 4)), axis=1)
    corners = np.stack([np.cos(angles), thin * np.sin(angles)], axis=-1) * size
    corners = np.stack([turned(quad, rng.uniform(0, 360)) for quad in corners]) + rng.uniform(-1, 8, (6, 1, 2))
    found = overlap_matrix(corners[:, ::-1] if backwards else corners, SHAPE).toarray().reshape(6, *SHAPE)
    for quad, areas in zip(corners, found, strict=True):
        expected = [[clipped_area(quad, x, y) for x in range(SHAPE[1])] for y in range(SHAPE[0])]
        np.testing.assert_allclose(areas, expected, rtol=0, atol=2e-13)


@given(
    st.floats(0.1, 30), st.floats(0, 360), st.tuples(st.floats(-1, 1), st.floats(-1, 1)), st.booleans()
)  # fmt: skip
def test_tiles_cover_each_pixel_once(ratio, angle, shift, mirrored):
    """`ratio` of the tiles' side to that of the pixels."""
    reach = int(np.ceil(9 / ratio)) + 2
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    tiles = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + SQUARE) * ratio
    if mirrored:
        tiles = tiles * [-1, 1]
    tiles = turned(tiles, angle) + np.array([4, 3]) + np.array(shift) * ratio
    matrix = overlap_matrix(tiles, SHAPE)
    np.testing.assert_allclose(matrix.sum(axis=0), 1, atol=1e-11)
    assert matrix.data.min() > 0
    inside = np.all((tiles > -0.5) & (tiles < np.array(SHAPE[::-1]) - 0.5), axis=(1, 2))
    np.testing.assert_allclose(matrix.sum(axis=1)[inside], ratio**2, rtol=1e-10)


def test_detector_pixels_on_the_sky():
    """An array of 6 x 6 on a finer sky: a sky pixel under the array falls into the array whole, one beside it not."""
    y, x = np.mgrid[:6, :6] - 2.5
    pixels = turned((np.stack([x, y], axis=-1).reshape(-1, 1, 2) + SQUARE) * 6.129, 61) + 24.5
    matrix = overlap_matrix(pixels, (50, 50))
    assert matrix.shape == (36, 2500)
    caught = matrix.sum(axis=0)
    assert caught.max() <= 1 + 1e-12
    assert caught.sum() == pytest.approx(36 * 6.129**2, rel=1e-12)
    np.testing.assert_allclose(matrix.sum(axis=1), 6.129**2, rtol=1e-12)
    assert caught[0] == 0
    assert caught[24 * 50 + 24] == pytest.approx(1, abs=1e-12)


def test_touching_is_not_sharing():
    matrix = overlap_matrix([SQUARE + 1], (3, 3))
    assert matrix.nnz == 1
    assert matrix[0, 4] == 1


def test_far_from_the_origin():
    quad = turned(SQUARE * 3, 33) + np.array([1500.3, 1200.7])
    found = overlap_matrix([quad], (1300, 1600))
    assert found.sum() == pytest.approx(9, rel=1e-11)
    near = overlap_matrix([quad - [1490, 1190]], (30, 30))
    np.testing.assert_allclose(np.sort(found.data), np.sort(near.data), atol=1e-11)


@pytest.mark.parametrize(
    "corners",
    [
        np.zeros((4, 2)),
        np.array([[0.0, 0], [1, 1], [2, 2], [3, 3]]),
        np.array([[0.0, 1], [3, 1], [3, 1], [0, 1]]),
        np.array([[0.1, 0.2], [0.7, 5.3], [0.7, 5.3], [0.1, 0.2]]),
        np.array([[0.0, -1e-310], [3, 1e-310], [3, 1e-310], [0, -1e-310]]),
        SQUARE + 100,
        SQUARE - [5, 0],
        np.full((4, 2), np.nan),
    ],
)
def test_what_shares_nothing(corners):
    matrix = overlap_matrix([corners, SQUARE], SHAPE)
    assert matrix.nnz == 1
    assert matrix[1, 0] == 1


def test_a_triangle_with_a_corner_in_its_side():
    triangle = np.array([[0.1, 0.1], [2.1, 0.3], [1.1, 0.2], [0.5, 4.0]])
    assert overlap_matrix([triangle[[0, 2, 1, 3]]], SHAPE).sum() == pytest.approx(
        0.5 * abs(np.linalg.det(triangle[[1, 3]] - triangle[0]))
    )


def test_no_quadrilaterals():
    assert overlap_matrix(np.zeros((0, 4, 2)), SHAPE).shape == (0, 63)


def test_one_quadrilateral_over_many_pieces():
    matrix = overlap_matrix([turned(SQUARE * 600, 20) + 200], (400, 400))
    np.testing.assert_allclose(matrix.sum(), 160000, rtol=1e-12)
    assert matrix.has_canonical_format


@pytest.mark.parametrize(
    ("corners", "message"),
    [
        (np.zeros((4, 2)), r"corners: expected shape \(quadrilaterals, 4, 2\), found \(4, 2\)"),
        (np.zeros((3, 5, 2)), r"found \(3, 5, 2\)"),
        (np.array([SQUARE, [[0, 0], [2, 0], [0.5, 0.5], [0, 2]]]), "found 1 that are not, first number 1 with corners"),
        (np.array([[[0, 0], [2, 2], [2, 0], [0, 2]]]), "expected convex quadrilaterals"),
        (np.array([SQUARE, [[np.nan, 0], [1, 0], [1, 1], [0, 1]]]), "expected finite numbers, or nan for all"),
        (np.array([[[np.inf, 0], [1, 0], [1, 1], [0, 1]]]), "expected finite numbers"),
    ],
)
def test_corners_that_cannot_be(corners, message):
    with pytest.raises(ValueError, match=message):
        overlap_matrix(corners, SHAPE)


# --- pixels of images


def test_corners_of_the_grid_itself():
    grid = grid_of(5, 4.0, 30.0)
    corners = pixel_corners(grid.wcs, (5, 5), grid)
    y, x = np.mgrid[:5, :5]
    np.testing.assert_allclose(corners, np.stack([x, y], axis=-1).reshape(-1, 1, 2) + SQUARE, atol=1e-8)


def test_frames_are_told_apart():
    """The same numbers in FK5 of B1950 lie elsewhere than in ICRS; a galactic image lands where it should."""
    grid = grid_of(5, 4.0)
    here = pixel_corners(wcs_of(3, 4.0, at=(228.48, -59.14)), (3, 3), grid)
    np.testing.assert_allclose(here.mean(axis=(0, 1)), 2, atol=1e-6)
    old = wcs_of(3, 4.0, at=(228.48, -59.14), radesys="FK5")
    old.wcs.equinox = 1950.0
    assert np.all(np.abs(pixel_corners(old, (3, 3), grid).mean(axis=(0, 1)) - 2) > 100)
    galactic = WCS(naxis=2)
    galactic.wcs.ctype = ["GLON-CAR", "GLAT-CAR"]
    middle = grid.center.galactic
    galactic.wcs.crval = [middle.l.deg, middle.b.deg]
    galactic.wcs.crpix = [2, 2]
    galactic.wcs.cdelt = [-1 / 900, 1 / 900]
    corners = pixel_corners(galactic, (3, 3), grid)
    np.testing.assert_allclose(corners[4].mean(axis=0), 2, atol=1e-4)
    np.testing.assert_allclose(overlap_matrix(corners[[4]], (5, 5)).sum(), 1, rtol=1e-4)


def test_the_whole_sky_onto_a_small_field():
    """Most of the pixels are behind the tangent plane, and some outside of the projection.

    The poles of AIT are in pixels that reach out of the projection, which are left out.
    """
    for projection, poles in (("CAR", [(77.0, -89.9), (120.0, 90.0)]), ("AIT", [])):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype = [f"RA---{projection}", f"DEC--{projection}"]
        wcs.wcs.crpix = [180.5, 90.5]
        wcs.wcs.cdelt = [-1, 1]
        for center in [(10.0, 20.0), (359.99, 0.01), *poles]:
            grid = grid_of(20, 300.0, 25.0, center)
            covered = coverage(wcs, (180, 360), grid)
            np.testing.assert_allclose(covered, 1, atol=1e-6)
            image = np.full((180, 360), 3.0)
            np.testing.assert_allclose(average(image, wcs, grid), 3, rtol=1e-12)


@pytest.mark.parametrize("center", [(0.0005, 10.0), (359.9995, -10.0), (200.0, 89.9), (30.0, -89.999)])
def test_at_the_wrap_and_at_the_poles(center):
    grid = grid_of(40, 4.0, 15.0, center)
    wcs = wcs_of(30, 3.0, 70.0, at=(center[0] + 0.0001, center[1]), radesys="FK5")
    image = np.random.default_rng(0).poisson(3, (30, 30))
    assert resample(image, wcs, grid).sum() == pytest.approx(image.sum(), rel=1e-9)


def test_a_wcs_that_is_not_of_an_image():
    grid = grid_of(5, 4.0)
    with pytest.raises(ValueError, match="wcs: expected two celestial axes"):
        pixel_corners(WCS(naxis=2), (3, 3), grid)
    cube = WCS(naxis=3)
    cube.wcs.ctype = ["RA---TAN", "DEC--TAN", "ENER"]
    with pytest.raises(ValueError, match="expected two celestial axes, found .*ENER"):
        pixel_corners(cube, (3, 3), grid)
    with pytest.raises(ValueError, match="grid: expected a grid with a centre on the sky, found none"):
        pixel_corners(wcs_of(3, 4.0), (3, 3), CubeGrid([1, 2], (5, 5)))


def test_declination_first():
    """An image whose first axis is the declination."""
    grid = grid_of(5, 4.0)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["DEC--TAN", "RA---TAN"]
    wcs.wcs.crval = [-59.14, 228.48]
    wcs.wcs.crpix = [3, 3]
    wcs.wcs.cdelt = [4 / 3600, -4 / 3600]
    image = np.arange(25.0).reshape(5, 5)
    np.testing.assert_allclose(resample(image, wcs, grid), image.T, atol=1e-6)


# --- resampling


@settings(max_examples=25)
@given(st.floats(0.1, 30), st.floats(0, 360), st.floats(0, 360), st.integers(0, 2**32 - 1), st.sampled_from(["TAN", "SIN", "CAR"]))  # fmt: skip
def test_no_count_is_lost(ratio, turn, rotation, seed, projection):
    """`ratio` of the grid's pixels to the image's."""
    rng = np.random.default_rng(seed)
    side = 24 if ratio > 1 else 6
    grid = grid_of(int(2 * side / ratio) + 4, 4.0, rotation)
    at = (228.48 + 0.2 * 4 / 3600, -59.14)
    image = rng.poisson(2, (2, side, side))
    found = resample(image, wcs_of(side, 4.0 / ratio, turn, at=at, projection=projection, radesys="FK5"), grid)
    assert found.shape == (2, *grid.sky_shape)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), image.sum(axis=(1, 2)), rtol=1e-9)


@given(st.floats(0.2, 8), st.floats(0, 360), st.floats(0, 360), st.integers(0, 2**32 - 1))
def test_a_source_stays_in_its_place(ratio, turn, rotation, seed):
    grid = grid_of(80, 2.0, rotation)
    pixel = 2.0 / ratio
    side = int(200 / pixel)
    wcs = wcs_of(side, pixel, turn, radesys="FK5")
    wanted = grid.wcs.pixel_to_world(*np.random.default_rng(seed).uniform(37, 42, 2))
    # As wide as the larger pixel: of a source inside of one pixel the centroid is that of the pixel.
    image = source((side, side), *map(float, wcs.world_to_pixel(wanted)), sigma=max(ratio, 1.0))
    found = resample(image, wcs, grid)
    assert found.sum() == pytest.approx(1, abs=1e-6)
    y, x = np.mgrid[:80, :80]
    centroid = grid.wcs.pixel_to_world((x * found).sum(), (y * found).sum())
    assert centroid.separation(wanted).arcsec < 0.02 * min(2.0, pixel)


def test_one_count_lands_in_its_pixel():
    """The side on which x runs, and that of y: a mirrored or transposed image would not pass."""
    grid = grid_of(11, 4.0, 0.0)
    for dx, dy in ((3, 1), (-2, 4), (0, -5)):
        east = grid.center.spherical_offsets_by(-dx * 4 * _ARCSEC, dy * 4 * _ARCSEC)
        wcs = wcs_of(7, 0.3, 40.0, at=(east.ra.deg, east.dec.deg))
        image = np.zeros((7, 7))
        image[3, 3] = 1
        found = resample(image, wcs, grid)
        assert found[5 + dy, 5 + dx] == pytest.approx(1, abs=1e-9)


_ARCSEC = SkyCoord(0, 1 / 3600, unit="deg").dec


def test_part_of_an_image_on_the_grid():
    grid = grid_of(4, 4.0)
    image = np.arange(64.0).reshape(8, 8)
    wcs = wcs_of(8, 4.0, at=(228.48, -59.14))
    np.testing.assert_allclose(resample(image, wcs, grid), image[2:6, 2:6], atol=1e-6)
    np.testing.assert_allclose(resample(image.astype(np.int16), wcs, grid), image[2:6, 2:6], atol=1e-6)


def test_nan_off_the_grid_is_no_matter_and_on_it_an_error():
    grid = grid_of(4, 4.0)
    wcs = wcs_of(8, 4.0, at=(228.48, -59.14))
    image = np.ones((8, 8))
    image[0, 0] = np.nan
    assert resample(image, wcs, grid).sum() == pytest.approx(16, rel=1e-6)
    image[4, 4] = np.nan
    for function in (resample, average):
        with pytest.raises(ValueError, match="image: expected finite values on the grid, found 1 others"):
            function(image, wcs, grid)


def test_an_image_elsewhere():
    grid = grid_of(4, 4.0)
    wcs = wcs_of(8, 4.0, at=(48.0, 59.0))
    for found in (
        resample(np.ones((8, 8)), wcs, grid),
        average(np.ones((8, 8)), wcs, grid),
        coverage(wcs, (8, 8), grid),
    ):
        assert found.shape == (4, 4)
        assert not found.any()


@pytest.mark.parametrize("image", [np.ones(4), np.array([["a"]]), np.ones((2, 2), complex)])
def test_no_image(image):
    with pytest.raises(ValueError, match="image: expected numbers of shape"):
        resample(image, wcs_of(2, 4.0), grid_of(4, 4.0))


def test_the_average_of_an_exposure():
    """A map that ends in the middle of the grid, and in the middle of a pixel."""
    grid = grid_of(6, 4.0)
    image = np.full((10, 10), 5.0)
    image[:, :5] = 3.0
    at = grid.wcs.pixel_to_world(0.0, 2.5)
    wcs = wcs_of(10, 4.0, at=(at.ra.deg, at.dec.deg))
    covered = coverage(wcs, image.shape, grid)
    np.testing.assert_allclose(covered, np.ones((6, 1)) * [1, 1, 1, 1, 1, 0.5], atol=1e-3)
    np.testing.assert_allclose(average(image, wcs, grid)[2], [4, 5, 5, 5, 5, 5], atol=1e-3)
    away = grid.wcs.pixel_to_world(-3.0, 2.5)
    wcs = wcs_of(10, 4.0, at=(away.ra.deg, away.dec.deg))
    np.testing.assert_allclose(average(image, wcs, grid)[2], [5, 5, 5, 0, 0, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("side", "pixel", "turn", "size", "rotation"),
    [(40, 4.0, 0.0, 5.0, 30.0), (100, 0.5, 12.0, 5.0, 200.0), (10, 30.0, 50.0, 5.0, 0.0)],
)
def test_reproject_agrees(side, pixel, turn, size, rotation):
    """reproject takes areas on the sphere, here they are on the plane: 1e-7 apart over a few arcmin.

    Its images are means of intensities over the covered part of a pixel: those of `average`. Counts are such a mean
    times the covered area, over the area of an image pixel.
    """
    reproject = pytest.importorskip("reproject")
    grid, wcs = grid_of(24, size, rotation), wcs_of(side, pixel, turn)
    image = np.random.default_rng(0).uniform(1, 2, (side, side))
    theirs, their_cover = reproject.reproject_exact((image, wcs), grid.wcs, shape_out=grid.sky_shape)
    covered = coverage(wcs, image.shape, grid)
    np.testing.assert_allclose(covered, their_cover, atol=3e-7)
    seen = covered > 1e-3
    assert seen.any()
    np.testing.assert_allclose(average(image, wcs, grid)[seen], theirs[seen], rtol=1e-7)
    counts = resample(image, wcs, grid)
    np.testing.assert_allclose(counts[seen], (theirs * covered)[seen] * (size / pixel) ** 2, rtol=3e-6)


def test_cassiopeia_a(shared_data):
    """Chandra's 8e6 counts of Cas A onto pixels ten times as large."""
    with fits.open(shared_data("images/chandra_casa_1p5_3p0_keV.fits.gz")) as hdus, warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)  # it has dates without their MJD
        image, wcs = hdus[0].data.astype(float), WCS(hdus[0].header)
    middle = wcs.pixel_to_world(511.5, 511.5)
    grid = grid_of(150, 4.92, 33.0, middle)
    found = resample(image, wcs, grid)
    assert found.sum() == pytest.approx(image.sum(), rel=1e-9)
    y, x = np.mgrid[:1024, :1024]
    there = wcs.pixel_to_world((x * image).sum() / image.sum(), (y * image).sum() / image.sum())
    y, x = np.mgrid[:150, :150]
    here = grid.wcs.pixel_to_world((x * found).sum() / found.sum(), (y * found).sum() / found.sum())
    assert here.separation(there).arcsec < 0.01
