import numpy as np
import pytest
from astropy.io import fits

from hifred import CubeGrid, Dataset, Response
from hifred.fitsio import FileError

SHAPE = (12, 6, 4)
RNG = np.random.default_rng(5)
RESPONSES = {
    "nothing": {},
    "psf": {"psf": RNG.random((3, 5))},
    "psf per energy": {"psf": RNG.random((12, 3, 3))},
    "psf not normalised": {"psf": RNG.random((3, 3)), "normalize": False},
    "psf larger than the image": {"psf": RNG.random((11, 9))},
    "lsf": {"lsf": RNG.random(7)},
    "lsf longer than the cube": {"lsf": RNG.random(31)},
    "matrix": {"lsf": RNG.random((5, 12))},
    "matrix with blind energies": {"lsf": RNG.random((5, 12)) * (np.arange(12) > 2)},
    "area": {"area": RNG.random(12) * 1e8},
    "area with zeros": {"area": np.where(np.arange(12) < 4, 0, 1e-9)},
    "vignetting": {"area": RNG.random(SHAPE)},
    "rebin": {"rebin": (3, 2, 4)},
    "all": {
        "psf": RNG.random((5, 3)), "lsf": RNG.random(3), "area": RNG.random(12), "rebin": (2, 3, 1),
        "boundary": "reflect",
    },
    "all, per energy": {
        "psf": RNG.random((12, 3, 3)), "lsf": RNG.random((6, 12)), "area": RNG.random(SHAPE), "rebin": (3, 1, 2),
    },
}  # fmt: skip


def same(a: Dataset, b: Dataset) -> None:
    """Two data sets that hold the same, to the last bit."""
    for name in ("counts", "background", "mask"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype
        assert getattr(b, name).dtype.isnative
    assert a.name == b.name
    first, second = a.response.recipe, b.response.recipe
    assert (first.grid_shape, first.rebin, first.boundary) == (second.grid_shape, second.rebin, second.boundary)
    assert a.response.dtype == b.response.dtype
    cube = np.random.default_rng(1).random(a.response.in_shape)
    np.testing.assert_array_equal(a.predict(cube), b.predict(cube))


@pytest.mark.parametrize("kind", RESPONSES)
def test_every_kind_of_response_comes_back(kind, tmp_path):
    response = Response.from_kernels(SHAPE, **RESPONSES[kind])
    shape = response.out_shape
    counts = RNG.poisson(3.0, shape)
    mask = RNG.random(shape) > 0.3
    mask.flat[0] = True
    for background in (0.0, 0.25, RNG.random(shape)):
        data = Dataset(counts, response, background, mask, name=kind)
        data.write(tmp_path / "data.fits", overwrite=True)
        same(data, Dataset.read(tmp_path / "data.fits"))


@pytest.mark.parametrize("counts", [0.5, 2**31 - 1, 2**31, 1e12, 1e-20])
def test_counts_of_any_size_come_back(counts, tmp_path):
    response = Response.from_kernels((2, 3, 1))
    data = Dataset(np.full((2, 3, 1), counts), response)
    data.write(tmp_path / "data.fits")
    same(data, Dataset.read(tmp_path / "data.fits"))


@pytest.mark.parametrize("name", ["XMM-EPIC pn", "", "Größe ★", "it's", "x" * 200, "one\ntwo", "a &", "T"])
def test_any_name_comes_back(name, tmp_path):
    data = Dataset(np.ones((2, 3, 1)), Response.from_kernels((2, 3, 1)), name=name)
    data.write(tmp_path / "data.fits")
    assert Dataset.read(tmp_path / "data.fits").name == name


@pytest.mark.parametrize("center", [None, (83.633, 22.0145), (0.0, -90.0), (359.9999, 0.0)])
@pytest.mark.parametrize("edges", [np.linspace(0.5, 2, 13), np.geomspace(0.1, 10, 13)])
def test_the_grid_comes_back(center, edges, tmp_path):
    grid = CubeGrid(edges, SHAPE[1:], pixel_size=2.5, center=center)
    data = Dataset(np.ones(SHAPE), Response.from_kernels(SHAPE), grid=grid)
    data.write(tmp_path / "data.fits")
    found = Dataset.read(tmp_path / "data.fits").grid
    np.testing.assert_array_equal(found.energy_edges, edges)
    assert (found.shape, found.pixel_size) == (SHAPE, 2.5)
    if center is None:
        assert found.center is None
    else:
        assert found.center.separation(grid.center).arcsec < 1e-6
    grid.require_same(found, ("one", "other"))


def test_a_center_in_another_frame_comes_back(tmp_path):
    from astropy.coordinates import SkyCoord

    center = SkyCoord(184.55, -5.78, unit="deg", frame="galactic")
    grid = CubeGrid([1, 2], (4, 4), center=center)
    Dataset(np.ones((1, 4, 4)), Response.from_kernels((1, 4, 4)), grid=grid).write(tmp_path / "data.fits")
    found = Dataset.read(tmp_path / "data.fits").grid.center
    assert found.separation(center).arcsec < 1e-6


def test_without_a_grid_there_is_none(tmp_path):
    Dataset(np.ones(SHAPE), Response.from_kernels(SHAPE)).write(tmp_path / "data.fits")
    assert Dataset.read(tmp_path / "data.fits").grid is None


def test_the_file_is_plain_fits_with_units_and_checksums(tmp_path):
    response = Response.from_kernels(SHAPE, psf=np.ones((3, 3)), area=np.ones(12), rebin=(3, 1, 1))
    grid = CubeGrid(np.linspace(1, 2, 13), SHAPE[1:], center=(10, 20))
    data = Dataset(np.full((4, 6, 4), 3), response, 0.5, name="pn", grid=grid)
    data.write(tmp_path / "data.fits")
    with fits.open(tmp_path / "data.fits", checksum=True) as hdus:
        hdus.verify("exception")
        assert [hdu.name for hdu in hdus[1:]] == ["COUNTS", "MASK", "BACKGROUND", "PSF", "AREA", "ENERGIES"]
        assert all("CHECKSUM" in hdu.header and "DATASUM" in hdu.header for hdu in hdus)
        assert hdus["COUNTS"].header["BUNIT"] == hdus["BACKGROUND"].header["BUNIT"] == "count"
        assert hdus["AREA"].header["BUNIT"] == "cm2 s"
        assert hdus["COUNTS"].data.dtype.kind == "i"
        assert hdus["ENERGIES"].columns["ENERG_LO"].unit == "keV"
        assert not any(isinstance(hdu, fits.BinTableHDU) and hdu.name != "ENERGIES" for hdu in hdus)


@pytest.mark.parametrize("name", ["a b.fits", "ångström/Überrest ☀.fits", "noextension", ".hidden"])
def test_paths_of_any_kind(name, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    data = Dataset(np.ones((2, 3, 1)), Response.from_kernels((2, 3, 1)))
    data.write(str(path))
    same(data, Dataset.read(path))
    same(data, Dataset.read(str(path)))
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_that_was_packed_by_gzip_is_read(tmp_path):
    import gzip

    data = Dataset(np.ones((2, 3, 1)), Response.from_kernels((2, 3, 1)))
    data.write(tmp_path / "data.fits")
    (tmp_path / "data.fits.gz").write_bytes(gzip.compress((tmp_path / "data.fits").read_bytes()))
    same(data, Dataset.read(tmp_path / "data.fits.gz"))


def test_an_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "data.fits"
    one = Dataset(np.ones((2, 3, 1)), Response.from_kernels((2, 3, 1)))
    two = Dataset(np.zeros((2, 3, 1)), Response.from_kernels((2, 3, 1)))
    one.write(path)
    with pytest.raises(FileError, match="exists"):
        two.write(path)
    same(one, Dataset.read(path))
    two.write(path, overwrite=True)
    same(two, Dataset.read(path))


def test_a_data_set_of_a_data_set_file_is_the_same_file(tmp_path):
    response = Response.from_kernels(SHAPE, **RESPONSES["all"])
    data = Dataset(RNG.poisson(2.0, response.out_shape), response, 0.1)
    data.write(tmp_path / "one.fits")
    Dataset.read(tmp_path / "one.fits").write(tmp_path / "two.fits")
    with fits.open(tmp_path / "one.fits") as one, fits.open(tmp_path / "two.fits") as two:
        assert fits.FITSDiff(one, two, ignore_keywords=["CHECKSUM", "DATASUM"]).identical
