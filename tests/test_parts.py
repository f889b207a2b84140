from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits

from hifred import FusedCube
from hifred.fitsio import FileError
from hifred.parts import Parts


@pytest.fixture
def parts():
    rng = np.random.default_rng(0)
    mixture = rng.random((2, 4, 5, 6))
    return Parts(
        np.geomspace(6, 7, 30), rng.random((30, 4)).astype(np.float32), np.array([-1000.0, 0.0, 1000.0]),
        rng.random((2, 3, 5, 6)).astype(np.float32), (mixture / mixture.sum(1, keepdims=True)).astype(np.float32),
        0.17,
    )  # fmt: skip


def test_maps(parts):
    light = parts.position_velocity
    assert light.shape == (3, 5, 6)
    np.testing.assert_allclose(parts.gas_maps.sum(0), light.sum(0), rtol=1e-5)
    y, x = 2, 3
    weights = parts.profiles[:, :, y, x].sum(0).astype(float)
    mean = np.average(parts.velocities, weights=weights)
    assert parts.velocity[y, x] == pytest.approx(mean, rel=1e-5)
    spread = np.sqrt(np.average((parts.velocities - mean) ** 2, weights=weights))
    assert parts.velocity_spread[y, x] == pytest.approx(spread, rel=1e-5)


def test_where_nothing_shines_there_is_no_velocity(parts):
    parts.profiles[:, :, 0, 0] = 0
    assert np.isnan(parts.velocity[0, 0])
    assert np.isnan(parts.velocity_spread[0, 0])


def test_light_has_the_unit_of_the_cube(parts):
    assert {hdu.name: hdu.header.get("BUNIT") for hdu in parts.hdus("count")}["PROFILES"] == "count"


def test_they_must_fit_together(parts):
    with pytest.raises(ValueError, match="parts: expected .* that fit"):
        Parts(parts.energies, parts.templates, parts.velocities[:2], parts.profiles, parts.mixture)


def test_a_file_keeps_them(parts, tmp_path):
    history = np.array([(0, 1.0)], dtype=[("iteration", "i4"), ("objective", "f8")]).view(np.recarray)
    cube = FusedCube(np.ones((3, 5, 6), np.float32), "converged", "Done.", history, parts=parts)
    cube.write(tmp_path / "cube.fits")
    again = FusedCube.read(tmp_path / "cube.fits").parts
    for name in ("energies", "templates", "velocities", "profiles", "mixture"):
        np.testing.assert_array_equal(getattr(again, name), getattr(parts, name))
    assert again.column_density == 0.17
    FusedCube(cube.values, "converged", "Done.", history).write(tmp_path / "plain.fits")
    assert FusedCube.read(tmp_path / "plain.fits").parts is None


def test_parts_that_are_missing_are_named(parts, tmp_path):
    history = np.array([(0, 1.0)], dtype=[("iteration", "i4"), ("objective", "f8")]).view(np.recarray)
    path = tmp_path / "cube.fits"
    FusedCube(np.ones((3, 5, 6), np.float32), "converged", "Done.", history, parts=parts).write(path)
    with fits.open(path) as hdus:
        del hdus["PROFILES"]
        hdus[0].header["EXTLIST"] = ""
        hdus.writeto(path, overwrite=True, checksum=True)
    with pytest.raises(FileError, match="PROFILES"):
        FusedCube.read(path)


def test_files_without_a_column_have_none_and_bad_ones_are_named(parts, tmp_path):
    history = np.array([(0, 1.0)], dtype=[("iteration", "i4"), ("objective", "f8")]).view(np.recarray)
    path = tmp_path / "cube.fits"
    FusedCube(np.ones((3, 5, 6), np.float32), "converged", "Done.", history, parts=parts).write(path)
    for value, message in ((None, None), ("much", "'much'"), (-1.0, "-1.0")):
        with fits.open(path) as hdus:
            hdus["TEMPLATES"].header["NH"] = value
            if value is None:
                del hdus["TEMPLATES"].header["NH"]
            hdus.writeto(path, overwrite=True, checksum=True)
        if message is None:
            assert FusedCube.read(path).parts.column_density == 0
        else:
            with pytest.raises(FileError, match=rf"\[TEMPLATES\] NH: expected a number of at least 0, found {message}"):
                FusedCube.read(path)
    with pytest.raises(ValueError, match="column of at least 0"):
        replace(parts, column_density=float("nan"))
