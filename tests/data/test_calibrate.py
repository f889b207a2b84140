import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from numpy.polynomial.legendre import leggauss
from scipy.signal import fftconvolve

from hifred.data.binning import ArrayBins, SkyBins
from hifred.data.calibrate import KERNEL_ERROR, calibrate, choose_channels, off_axes, on_axis_fraction
from hifred.data.plan import CalibrationPlan
from hifred.data.reduce import reduce
from hifred.fitsio import FileError
from hifred.grid import CubeGrid, energy_bins
from hifred.instruments.arf import EffectiveArea
from hifred.instruments.presets import instrument
from hifred.instruments.psf import KingPSF
from hifred.instruments.rmf import Redistribution
from hifred.response.response import Response

PN, RESOLVE, ACIS = (instrument(name) for name in ("epic-pn", "xrism-resolve", "acis-i"))
CENTER = (350.866, 58.812)
EXPOSURE = 9000.0


def small_grid(shape=(9, 11), pixel_size=10.0, band=(2.0, 2.6), step=0.02):
    return CubeGrid(energy_bins(*band, step), shape, pixel_size, CENTER)


def files(made, stem, **others):
    return CalibrationPlan(rmf=made / f"{stem}.rmf", arf=made / f"{stem}.arf", **others)


def made_of(plan, preset, bins, **options):
    channels = choose_channels(plan.rmf, preset, bins.grid, None, None)
    pointing = SkyCoord(*CENTER, unit="deg")
    return channels, calibrate(plan, preset, channels, bins, EXPOSURE, options.pop("pointing", pointing), **options)


def predicted(recipe, cube):
    return np.asarray(Response.of(recipe, np.dtype("float64")).mv(cube))


def even_source(psf, energy, size, half, off_axis=0.0):
    """Image of a source that is even over one pixel: a fine kernel, smeared over the source, summed over the pixels."""
    parts = 5
    fine = psf.kernel(energy, off_axis, pixel_size=size / parts, half=parts * half + parts // 2 + parts)
    smeared = fftconvolve(fine, np.full((parts, parts), 1 / parts**2), mode="same")[parts:-parts, parts:-parts]
    return smeared.reshape(2 * half + 1, parts, 2 * half + 1, parts).sum((1, 3))


def one_image(path, made):
    """A PSF image that is the same at all energies."""
    with fits.open(made / "psf.fits") as hdus:
        del hdus[1].header["ENERGY"]
        fits.HDUList(hdus[:2]).writeto(path)
    return path


def folded(made, stem, grid, cube, channels):
    """Photons of each RMF bin that are caught, (I, y, x), and the redistribution to the summed channels, (C, I)."""
    rmf, arf = Redistribution.read(made / f"{stem}.rmf"), EffectiveArea.read(made / f"{stem}.arf")
    dense = rmf.matrix.toarray()
    low, high = grid.energy_edges[:-1], grid.energy_edges[1:]
    part = np.clip(
        np.minimum(rmf.energy_hi[:, None], high) - np.maximum(rmf.energy_lo[:, None], low), 0, None
    ) / (high - low)  # fmt: skip
    caught = np.einsum("ie,eyx->iyx", part, cube) * arf.area[:, None, None] * EXPOSURE
    edges = channels.edges
    return caught, np.array([dense[a:b].sum(0) for a, b in zip(edges[:-1], edges[1:], strict=True)]), rmf


@pytest.mark.usefixtures("x64")
def test_counts_are_area_times_exposure_times_psf_times_redistribution(made, tmp_path):
    grid = small_grid()
    plan = files(made, "pn", psf=one_image(tmp_path / "one.fits", made))
    channels, recipe = made_of(plan, PN, SkyBins(grid))
    cube = np.random.default_rng(2).gamma(0.3, 1e-5, grid.shape)
    caught, matrix, _ = folded(made, "pn", grid, cube, channels)
    psf = instrument_psf(plan)
    kernel = even_source(psf, 2.0, grid.pixel_size, 10)
    blurred = fftconvolve(caught, kernel[None], mode="full")[:, 10:-10, 10:-10]
    expected = np.einsum("ci,iyx->cyx", matrix, blurred)
    found = predicted(recipe, cube)
    assert found.shape == (channels.edges.size - 1, 9, 11)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6 * expected.max())
    np.testing.assert_allclose(recipe.channel_bounds, channels.nominal[0][channels.edges], rtol=1e-12)


def instrument_psf(plan):
    from hifred.instruments.psf_image import ImagePSF

    return ImagePSF.read(plan.psf)


@pytest.mark.parametrize("band", [(2.0, 2.6), (1.6, 3.4)])
def test_kernels_between_nodes_are_as_good_as_promised(made, band):
    grid = small_grid((15, 15), 4.0, band, 0.01)
    _, recipe = made_of(files(made, "pn"), PN, SkyBins(grid))
    rmf = Redistribution.read(made / "pn.rmf")
    middle = 0.5 * (rmf.energy_lo + rmf.energy_hi)
    middle = middle[(rmf.energy_hi > band[0] + 1e-9) & (rmf.energy_lo < band[1] - 1e-9)]
    assert recipe.position.shape == middle.shape
    kernels = np.zeros((middle.size, *recipe.psf.shape[2:]))
    for node, image in enumerate(recipe.psf[:, 0]):
        kernels += np.maximum(1 - np.abs(recipe.position - node), 0)[:, None, None] * image
    errors = [
        np.abs(even_source(PN.psf, energy, 4.0, 14) - kernel).sum()
        for energy, kernel in zip(middle, kernels, strict=True)
    ]
    assert max(errors) < KERNEL_ERROR
    assert recipe.psf.shape[0] > 1 or band == (2.0, 2.6)


def test_the_terms_off_axis_share_each_place_out(made):
    grid = small_grid((40, 36), 15.0)
    plan = files(made, "acis")
    pointing = SkyCoord(CENTER[0] + 0.05, CENTER[1], unit="deg")
    _, recipe = made_of(plan, ACIS, SkyBins(grid), pointing=pointing)
    terms = recipe.psf.shape[1]
    assert terms > 1
    assert recipe.maps.min() >= 0
    np.testing.assert_allclose(recipe.maps.sum(1), 1.0, rtol=1e-12)
    assert (recipe.maps > 0).sum(1).max() <= 2
    # The image of a source, wherever it is, is nearly that of its own angle.
    angles = off_axes(grid, pointing)
    for y, x in ((0, 0), (20, 18), (39, 35), (10, 30)):
        image = np.einsum("t,tyx->yx", recipe.maps[0, :, y, x], recipe.psf[0])
        own = even_source(ACIS.psf, 2.3, 15.0, 39, angles[y, x])
        assert np.abs(image - own).sum() < 2 * KERNEL_ERROR
    y, x = np.unravel_index(angles.argmin(), angles.shape)
    assert grid.wcs.pixel_to_world(x, y).separation(pointing).arcsec < 15
    np.testing.assert_allclose(off_axes(grid, None)[[0, -1], [0, -1]], 15 * np.hypot(19.5, 17.5) / 60, rtol=1e-4)


@pytest.mark.parametrize("psf", [RESOLVE.psf, KingPSF((6.0,), (1.6,))], ids=["resolve", "sharp"])
def test_what_the_pixels_catch_of_a_source_in_the_middle(psf):
    """Numerical integration of the profile over the 35 squares, and drawn photons."""
    assert RESOLVE.detector is not None
    core, slope = psf.core[0], psf.slope[0]
    nodes, weights = leggauss(40)
    total = 0.0
    for row, column in np.argwhere(RESOLVE.detector.seen):
        y, x = ((place - 2.5 + nodes / 2) * 30.645 for place in (row, column))
        profile = (slope - 1) / (np.pi * core**2) * (1 + (y[:, None] ** 2 + x**2) / core**2) ** -slope
        total += weights @ profile @ weights * (30.645 / 2) ** 2
    rng = np.random.default_rng(0)
    n = 400_000
    radius = core * np.sqrt(rng.random(n) ** (1 / (1 - slope)) - 1)
    place = radius[:, None] * np.array([np.cos(a := rng.uniform(0, 2 * np.pi, n)), np.sin(a)]).T
    row, column = np.floor(place / 30.645 + 3).astype(int).T
    inside = (row >= 0) & (row < 6) & (column >= 0) & (column < 6)
    drawn = RESOLVE.detector.seen[row[inside], column[inside]].sum() / n
    assert abs(drawn - total) < 4 * np.sqrt(total * (1 - total) / n)
    assert on_axis_fraction(psf, RESOLVE.detector, 2.0) == pytest.approx(total, rel=2e-3)


@pytest.mark.usefixtures("x64")
def test_an_arf_that_leaves_out_what_misses_the_detector(made):
    """A source in the middle gives area times exposure over all pixels if the ARF says so, and else what is caught."""
    assert RESOLVE.detector is not None
    grid = small_grid((66, 66), 4.0, step=0.1)
    bins = ArrayBins(grid, RESOLVE.detector.on_sky(grid.center, 80.0))
    cube = np.zeros(grid.shape)
    cube[:, 32:34, 32:34] = 1e-4 / 4
    sums = {}
    for holds in (None, True, False):
        channels, recipe = made_of(files(made, "resolve", arf_holds_psf=holds), RESOLVE, bins)
        sums[holds] = predicted(recipe, cube).sum((1, 2))
    caught, matrix, _ = folded(made, "resolve", grid, cube, channels)
    # Of a band within the grid, nothing comes from beyond it.
    np.testing.assert_allclose(sums[True], matrix @ caught.sum((1, 2)), rtol=5e-3)
    np.testing.assert_array_equal(sums[None], sums[True])
    fraction = on_axis_fraction(RESOLVE.psf, RESOLVE.detector, 2.3)
    np.testing.assert_allclose(sums[False] / sums[True], fraction, rtol=1e-6)


@pytest.mark.usefixtures("x64")
def test_vignetting_comes_before_the_psf(made):
    """Photons are weighted where they come from: from a gap there are none, though some fall into it."""
    grid = small_grid((23, 23), 12.0, step=0.1)
    plan = files(made, "pn", exposure_map=made / "pn_expmap.fits", psf=made / "psf.fits")
    without = files(made, "pn", psf=made / "psf.fits")
    bins = SkyBins(grid)
    _, recipe = made_of(plan, PN, bins)
    _, plain = made_of(without, PN, bins)
    responses = [Response.of(part, np.dtype("float64")) for part in (recipe, plain)]
    column = 11 + 9  # the map's pixels are those of the grid, which has its centre there too
    for y, x in ((11, 11), (1, 4), (11, column), (11, column + 1), (11, column - 1)):
        cube = np.zeros(grid.shape)
        cube[3, y, x] = 1e-3
        found, even = (np.asarray(response.mv(cube)) for response in responses)
        distance2 = ((y - 11) ** 2 + (x - 11) ** 2) * 12.0**2 / 3600
        # Linear in energy between the maps at 1.5 and 3.5 keV.
        share = (2.35 - 1.5) / 2
        scale = (1 - share) * (1 - 0.02 * distance2) + share * (1 - 0.03 * distance2)
        vignetting = 0.0 if x in (column, column + 1) else scale
        np.testing.assert_allclose(found, vignetting * even, rtol=KERNEL_ERROR, atol=1e-9)
    assert found[:, 11, column].sum() > 0  # of the last source, beside the gap
    assert recipe.maps[..., column].max() < 1e-9


def test_vignetting_is_followed_in_energy_where_the_psf_is_not(made, tmp_path):
    grid = small_grid((31, 31), 12.0, (1.5, 3.5), step=0.01)
    plan = files(made, "pn", exposure_map=made / "pn_expmap.fits", psf=one_image(tmp_path / "one.fits", made))
    _, recipe = made_of(plan, PN, SkyBins(grid))
    lower = np.floor(recipe.position).astype(int).clip(0, len(recipe.maps) - 2)
    part = recipe.position - lower
    corner = recipe.maps[:, 0, 0, 0]
    found = (1 - part) * corner[lower] + part * corner[lower + 1]
    rmf = Redistribution.read(plan.rmf)
    middle = 0.5 * (rmf.energy_lo + rmf.energy_hi)
    distance2 = 2 * 15**2 * 12.0**2 / 3600
    expected = 1 - np.interp(middle, [1.5, 3.5], [0.02, 0.03]) * distance2
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_the_exposure_map_belongs_to_the_whole_observation(made):
    grid, plan = small_grid(), files(made, "pn", exposure_map=made / "pn_expmap.fits")
    channels = choose_channels(plan.rmf, PN, grid, None, None)
    whole, part = (
        calibrate(plan, PN, channels, SkyBins(grid), exposure, None, full_exposure=EXPOSURE)
        for exposure in (EXPOSURE, EXPOSURE / 4)
    )
    np.testing.assert_array_equal(whole.maps, part.maps)
    np.testing.assert_allclose(part.gather.toarray(), whole.gather.toarray() / 4, rtol=1e-12)


def test_files_that_do_not_fit_are_named(made, tmp_path, observation):
    wide = small_grid(band=(1.0, 3.0))
    grid = small_grid()
    observation.write_map(tmp_path / "cm2.fits", unit="cm2 s")
    full = PN.mock_redistribution(np.linspace(1.5, 3.5, 51), np.arange(801) * 0.005)
    area = EffectiveArea(full.energy_lo, full.energy_hi, np.zeros(50))
    area.write(tmp_path / "zero.arf")
    short = full.energy_hi < 2.3
    EffectiveArea(full.energy_lo[short], full.energy_hi[short], np.ones(short.sum())).write(tmp_path / "short.arf")
    Redistribution(
        full.energy_lo, full.energy_hi, full.matrix * 100, full.channel_lo, full.channel_hi, includes_area=True
    ).write(tmp_path / "full.rmf")
    Redistribution(full.energy_lo, full.energy_hi, full.matrix * 0, full.channel_lo, full.channel_hi).write(
        tmp_path / "dark.rmf"
    )
    rmf, arf = made / "pn.rmf", made / "pn.arf"
    for where, plan, words in (
        (wide, CalibrationPlan(rmf, arf), ["pn.arf[SPECRESP]", "1 to 3 keV", "found none at 1 to"]),
        (wide, CalibrationPlan(tmp_path / "full.rmf"), ["full.rmf[MATRIX]", "1 to 3 keV", "found none at 1 to"]),
        (grid, CalibrationPlan(rmf), ["pn.rmf[MATRIX]", "(key arf)"]),
        (grid, CalibrationPlan(tmp_path / "full.rmf", arf), ["full.rmf[MATRIX]", "pn.arf"]),
        (grid, CalibrationPlan(tmp_path / "dark.rmf", arf), ["dark.rmf", "probability"]),
        (grid, CalibrationPlan(rmf, tmp_path / "zero.arf"), ["zero.arf", "effective area"]),
        (grid, CalibrationPlan(rmf, tmp_path / "short.arf"), ["short.arf[SPECRESP]", "2.26 to 2.28"]),
        (grid, CalibrationPlan(rmf, arf, exposure_map=tmp_path / "cm2.fits"), ["cm2.fits", "cm2 s"]),
    ):
        with pytest.raises(FileError) as caught:
            made_of(plan, PN, SkyBins(where))
        for word in ("expected", "found", *words):
            assert word in str(caught.value)
    _, recipe = made_of(CalibrationPlan(tmp_path / "full.rmf"), PN, SkyBins(grid))
    np.testing.assert_allclose(recipe.gather.toarray().sum(0), EXPOSURE, rtol=1e-9)


def test_kernels_end_where_the_psf_does(planned):
    """The model of EPIC pn counts all photons within 300 arcsec: 15 pixels of 20 arcsec, on a grid of 60."""
    grid = {"pixel_size": 20.0, "center": [350.868, 58.81], "size": [60, 60]}
    (dataset,) = reduce(planned(datasets=("pn",), grid=grid, pn={"psf": None, "exposure_map": None}))
    psf = dataset.response.recipe.psf
    assert psf.shape[2:] == (31, 31)
    np.testing.assert_allclose(psf.sum((2, 3)), 1, atol=1e-3)
