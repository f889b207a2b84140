import json

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from hifred import CubeGrid, Dataset, FusedCube, Response, fuse, priors
from hifred.fitsio import FileError

SHAPE = (8, 5, 4)


def made(shape=SHAPE, grid=None, values=None, **changes) -> FusedCube:
    """A cube that no run made."""
    rows = [(i, -10.0 - i, -11.0 - i, 1.0, 0.1, 0.5 * i, (20.0 - i, 10.0 - i)) for i in range(4)]
    kinds = [("iteration", "i4"), *((n, "f8") for n in ("objective", "data_term", "prior_term", "residual", "time"))]
    history = np.array(rows, dtype=[*kinds, ("cstat", "f8", (2,))]).view(np.recarray)
    if values is None:
        values = np.random.default_rng(2).random(shape, dtype=np.float32)
    options = {"status": "converged", "message": "It has converged.", "grid": grid, "provenance": {"prior": "none"}}
    return FusedCube(values=values, history=history, **{**options, **changes})


@pytest.fixture(scope="module")
def run():
    """A cube from data, and the data."""
    grid = CubeGrid(np.linspace(1, 2, 9), SHAPE[1:], pixel_size=4, center=(30, -40))
    response = Response.from_kernels(SHAPE, lsf=[1, 2, 1], area=np.full(8, 100.0), rebin=(2, 1, 1))
    other = Response.from_kernels(SHAPE, psf=np.ones((3, 3)), area=np.full(8, 50.0))
    sky = np.random.default_rng(1).gamma(2.0, 0.05, SHAPE)
    data = [
        Dataset(np.zeros(r.out_shape), r, 0.5, name=name, grid=grid).sample(sky, 4)
        for r, name in ((response, "ccd"), (other, "calorimeter"))
    ]
    return fuse(data, priors.Unregularized(stop_at_noise=False), max_iterations=4, progress=False), data


def test_a_fused_cube_comes_back_whole(run, tmp_path):
    cube, data = run
    path = tmp_path / "über cube.fits"
    cube.write(path)
    back = FusedCube.read(path)
    np.testing.assert_array_equal(back.values, cube.values)
    assert back.values.dtype == np.float32
    assert back.values.dtype.isnative
    assert (back.status, back.message, back.provenance) == (cube.status, cube.message, cube.provenance)
    assert back.history.dtype == cube.history.dtype
    for name in cube.history.dtype.names:
        np.testing.assert_array_equal(back.history[name], cube.history[name])
    np.testing.assert_array_equal(back.history.objective, cube.history["objective"])
    assert len(back.history) == 5
    cube.grid.require_same(back.grid, ("one", "other"))
    for dataset in data:
        np.testing.assert_array_equal(back.predict(dataset), cube.predict(dataset))
    # Writing what was read gives the same cube again.
    back.write(path, overwrite=True)
    np.testing.assert_array_equal(FusedCube.read(path).values, cube.values)


def test_history_is_one_row_per_iteration_and_adds_up(run):
    cube, data = run
    history = cube.history
    assert history.iteration.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(history.objective, history.data_term + history.prior_term, rtol=1e-12)
    assert np.all(np.diff(history.objective) <= 0)
    assert np.all(np.diff(history.time) > 0)
    assert history.cstat.shape == (5, 2)
    for dataset, value in zip(data, history.cstat[-1], strict=True):
        assert dataset.cstat(cube.values) == pytest.approx(value, rel=1e-4)
    with_logs = sum(
        (mu := d.predict(cube.values).astype(float)).sum() - (d.counts * np.log(mu)).sum(dtype=float) for d in data
    )
    assert history.data_term[-1] == pytest.approx(with_logs, rel=1e-6)


def test_provenance_says_where_the_cube_came_from(run):
    import importlib.metadata

    cube, data = run
    found = cube.provenance
    assert set(found["versions"]) >= {"hifred", "jax", "numpy", "astropy"}
    assert all(importlib.metadata.version(name) == version for name, version in found["versions"].items())
    assert found["prior"] == "Unregularized(stop_at_noise=False)"
    assert (found["max_iterations"], found["tolerance"]) == (4, 1e-4)
    assert found["unit"] == "photon cm-2 s-1"
    assert [entry["name"] for entry in found["inputs"]] == ["ccd", "calorimeter"]
    assert [tuple(entry["shape"]) for entry in found["inputs"]] == [d.counts.shape for d in data]
    assert [entry["counts"] for entry in found["inputs"]] == [d.counts.sum() for d in data]
    sums = [entry["sha256"] for entry in found["inputs"]]
    assert all(len(s) == 64 for s in sums)
    assert len(set(sums)) == 2
    json.dumps(found)


def test_the_checksums_are_those_of_the_counts(run):
    import hashlib

    cube, data = run
    expected = [hashlib.sha256(d.counts.tobytes()).hexdigest() for d in data]
    assert [entry["sha256"] for entry in cube.provenance["inputs"]] == expected


@pytest.mark.parametrize("sky", [(5, 4), (4, 5), (6, 6), (1, 1), (7, 3)])
def test_wcs_of_the_written_cube(sky, tmp_path):
    ny, nx = sky
    center = SkyCoord(83.633, 22.0145, unit="deg")
    grid = CubeGrid(np.linspace(0.5, 0.7, 9), sky, pixel_size=4.0, center=center)
    made((8, ny, nx), grid).write(tmp_path / "cube.fits")
    with fits.open(tmp_path / "cube.fits") as hdus:
        header = hdus["CUBE"].header
        assert header["BUNIT"] == "photon cm-2 s-1"
        wcs = WCS(header)
    assert wcs.naxis == 3
    celestial = wcs.celestial
    # The centre of the field lies in the middle of the middle pixel, or between the two middle ones.
    at = celestial.pixel_to_world((nx - 1) / 2, (ny - 1) / 2)
    assert at.separation(center).arcsec < 1e-6
    north = celestial.pixel_to_world((nx - 1) / 2, (ny - 1) / 2 + 1)
    assert (north.dec - at.dec).arcsec == pytest.approx(4, rel=1e-6)
    assert north.ra.deg == pytest.approx(at.ra.deg, abs=1e-9)
    west = celestial.pixel_to_world((nx - 1) / 2 + 1, (ny - 1) / 2)
    assert west.ra.deg < at.ra.deg
    assert west.separation(at).arcsec == pytest.approx(4, rel=1e-6)
    # The energy axis, whatever unit the reader's library works in.
    energies = wcs.pixel_to_world_values(np.zeros(8), np.zeros(8), np.arange(8))[2]
    unit = {"keV": 1.0, "J": 1.602176634e-16, "eV": 1e3}[str(wcs.wcs.cunit[2])]
    # wcslib converts keV with a value of the elementary charge that is 8e-8 off.
    np.testing.assert_allclose(energies / unit, grid.energies, rtol=1e-6)
    assert wcs.wcs.ctype[2] == "ENER"


def test_a_source_lies_where_its_pixel_is(tmp_path):
    center = SkyCoord(200.0, 60.0, unit="deg")
    grid = CubeGrid(np.linspace(1, 2, 9), (5, 4), pixel_size=10.0, center=center)
    values = np.zeros((8, 5, 4), np.float32)
    values[3, 4, 0] = 1
    made(grid=grid, values=values).write(tmp_path / "cube.fits")
    with fits.open(tmp_path / "cube.fits") as hdus:
        e, y, x = np.unravel_index(hdus["CUBE"].data.argmax(), values.shape)
        at = WCS(hdus["CUBE"].header).celestial.pixel_to_world(x, y)
    east, north = center.spherical_offsets_to(at)
    assert (e, y, x) == (3, 4, 0)
    assert (east.arcsec, north.arcsec) == (pytest.approx(15, rel=1e-3), pytest.approx(20, rel=1e-3))


def test_energies_in_unequal_bins_are_in_the_table_only(tmp_path):
    grid = CubeGrid(np.geomspace(0.5, 5, 9), SHAPE[1:], center=(1, 2))
    made(grid=grid).write(tmp_path / "cube.fits")
    with fits.open(tmp_path / "cube.fits") as hdus:
        assert "ENER" not in str(hdus["CUBE"].header.get("CTYPE3"))
        assert WCS(hdus["CUBE"].header).celestial.wcs.crval == pytest.approx([1, 2])
        np.testing.assert_allclose(hdus["ENERGIES"].data["ENERG_LO"], grid.energy_edges[:-1])
    np.testing.assert_array_equal(FusedCube.read(tmp_path / "cube.fits").grid.energy_edges, grid.energy_edges)


def test_energies_without_a_place_on_the_sky(tmp_path):
    grid = CubeGrid(np.linspace(1, 2, 9), SHAPE[1:])
    made(grid=grid).write(tmp_path / "cube.fits")
    with fits.open(tmp_path / "cube.fits") as hdus:
        wcs = WCS(hdus["CUBE"].header)
        assert not wcs.has_celestial
        assert wcs.wcs.ctype[2] == "ENER"
    assert FusedCube.read(tmp_path / "cube.fits").grid.center is None


def test_a_cube_without_a_grid(tmp_path):
    made().write(tmp_path / "cube.fits")
    back = FusedCube.read(tmp_path / "cube.fits")
    assert back.grid is None
    assert not WCS(fits.getheader(tmp_path / "cube.fits", "CUBE")).has_celestial


def test_provenance_keeps_any_text(tmp_path):
    provenance = {"file": "Überrest ☀ 'x'\n.fits", "list": [1, 2.5, None, True], "deep": {"a": {"b": "\\"}}}
    made(provenance=provenance, message="x" * 300).write(tmp_path / "cube.fits")
    back = FusedCube.read(tmp_path / "cube.fits")
    assert back.provenance == provenance
    assert back.message == "x" * 300


def test_spectrum_sums_the_pixels_of_a_region():
    cube = made()
    np.testing.assert_allclose(cube.spectrum(), cube.values.sum((1, 2)), rtol=1e-6)
    region = np.zeros((5, 4), bool)
    assert cube.spectrum(region).tolist() == [0] * 8
    region[1, 2] = region[4, 0] = True
    np.testing.assert_allclose(cube.spectrum(region), cube.values[:, 1, 2] + cube.values[:, 4, 0], rtol=1e-6)
    for pixel in ((1, 2), [1, 2], np.array([1, 2])):
        np.testing.assert_array_equal(cube.spectrum(pixel), cube.values[:, 1, 2])
    assert cube.spectrum().dtype == cube.spectrum((0, 0)).dtype == cube.image().dtype == float


@pytest.mark.parametrize(
    "region",
    [(5, 0), (0, 4), (-1, 0), (0.5, 1), (1, 2, 3), 3, np.ones((4, 5), bool), np.ones((5, 4)), np.ones((5, 4), int)],
)
def test_a_region_that_does_not_fit_is_refused(region):
    with pytest.raises(ValueError, match=r"region: expected bool of shape \(5, 4\) or a pixel \(y, x\)"):
        made().spectrum(region)


def test_image_sums_the_bins_whose_centre_is_in_the_band():
    grid = CubeGrid(np.linspace(1, 2, 9), SHAPE[1:])
    cube = made(grid=grid)
    np.testing.assert_allclose(cube.image(), cube.values.sum(0), rtol=1e-6)
    np.testing.assert_allclose(cube.image(1.1, 1.4), cube.values[1:3].sum(0), rtol=1e-6)
    np.testing.assert_allclose(cube.image(e_min=1.5), cube.values[4:].sum(0), rtol=1e-6)
    np.testing.assert_allclose(cube.image(e_max=1.5), cube.values[:4].sum(0), rtol=1e-6)
    np.testing.assert_allclose(cube.image(0.0, 100.0), cube.image(), rtol=1e-12)
    # Bands that share an edge share no bin.
    np.testing.assert_allclose(cube.image(e_max=1.25) + cube.image(e_min=1.25), cube.image(), rtol=1e-12)


@pytest.mark.parametrize("band", [(3.0, 4.0), (0.1, 0.2), (1.7, 1.2), (1.5, 1.51), (np.nan, 2.0)])
def test_a_band_without_bins_is_refused(band):
    with pytest.raises(ValueError, match="image: expected a band within 1 to 2 keV"):
        made(grid=CubeGrid(np.linspace(1, 2, 9), SHAPE[1:])).image(*band)


def test_a_band_of_a_cube_without_energies_is_refused():
    with pytest.raises(ValueError, match="image: expected a cube with energies"):
        made().image(1.0, 2.0)
    assert made().image().shape == (5, 4)


def broken(path, change):
    with fits.open(path, memmap=False) as whole:
        hdus = fits.HDUList([hdu.copy() for hdu in whole])
        change(hdus)
        hdus.writeto(path, overwrite=True, checksum=True)


def rename_column(hdus):
    hdus["PROVENANCE"].columns.change_name("JSON", "YAML")


def spoil_json(hdus):
    hdus["PROVENANCE"].data["JSON"][0] = "{"


def drop(name):
    def change(hdus):
        del hdus[name]

    return change


def drop_key(name):
    def change(hdus):
        del hdus[0].header[name]

    return change


def other_shape(hdus):
    hdus["CUBE"].data = hdus["CUBE"].data[1:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("CUBE"), ["CUBE"]),
        (drop("HISTORY"), ["HISTORY"]),
        (drop("PROVENANCE"), ["PROVENANCE"]),
        (drop("ENERGIES"), ["ENERGIES"]),
        (drop_key("STATUS"), ["STATUS"]),
        (drop_key("MESSAGE"), ["MESSAGE"]),
        (drop_key("CONTENT"), ["CONTENT", "HIFRED CUBE"]),
        (rename_column, ["PROVENANCE", "JSON"]),
        (spoil_json, ["PROVENANCE"]),
        (other_shape, ["CUBE"]),
    ],
)
def test_a_broken_cube_file_is_refused_by_name(change, words, tmp_path):
    path = tmp_path / "cube.fits"
    made(grid=CubeGrid(np.linspace(1, 2, 9), SHAPE[1:], center=(1, 2))).write(path)
    broken(path, change)
    with pytest.raises(FileError) as caught:
        FusedCube.read(path)
    for word in (str(path), *words):
        assert word in str(caught.value)


def test_a_data_set_is_not_a_cube(tmp_path):
    Dataset(np.ones(SHAPE), Response.from_kernels(SHAPE)).write(tmp_path / "data.fits")
    with pytest.raises(FileError, match="expected CONTENT = 'HIFRED CUBE', found 'HIFRED DATASET'"):
        FusedCube.read(tmp_path / "data.fits")


def test_an_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "cube.fits"
    path.write_text("precious")
    with pytest.raises(FileError, match="exists"):
        made().write(path)
    assert path.read_text() == "precious"
    made().write(path, overwrite=True)
    assert FusedCube.read(path).status == "converged"
    assert [p.name for p in tmp_path.iterdir()] == ["cube.fits"]
