import builtins

import h5py
import numpy as np
import pytest
from astropy.io import fits

from hifred.data.background import background_cube, rate_background, read_rates, scaled_spectrum, spectrum_times_map
from hifred.fitsio import FileError
from hifred.instruments.pha import Spectrum
from hifred.instruments.preset_tables import DetectorBackground
from hifred.instruments.presets import instrument


def test_cube(tmp_path):
    cube = np.arange(24.0).reshape(2, 3, 4)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(cube, name="BACKGROUND")]).writeto(tmp_path / "b.fits")
    np.testing.assert_array_equal(background_cube(tmp_path / "b.fits", (2, 3, 4)), cube)
    with pytest.raises(FileError, match=r"b\.fits\[BACKGROUND\]: expected the shape .* \(2, 4, 3\), found \(2, 3, 4\)"):
        background_cube(tmp_path / "b.fits", (2, 4, 3))
    cube[1, 2, 3] = -1
    fits.PrimaryHDU(cube).writeto(tmp_path / "c.fits")
    with pytest.raises(FileError, match=r"c\.fits\[PRIMARY\]: expected finite counts .* found -1 in \(1, 2, 3\)"):
        background_cube(tmp_path / "c.fits", (2, 3, 4))
    fits.PrimaryHDU().writeto(tmp_path / "d.fits")
    with pytest.raises(FileError, match=r"d\.fits: expected an image"):
        background_cube(tmp_path / "d.fits", (2, 3, 4))


def test_spectrum_times_map():
    weights = np.array([[0.0, 1.0], [2.0, 1.0]])
    cube = spectrum_times_map([8.0, 4.0, 0.0], weights)
    np.testing.assert_allclose(cube[0], [[0, 2], [4, 2]])
    np.testing.assert_allclose(cube.sum(axis=(1, 2)), [8, 4, 0])
    with pytest.raises(ValueError, match="weights: expected some above 0"):
        spectrum_times_map([1.0], np.zeros((2, 2)))
    with pytest.raises(ValueError, match="spectrum: expected finite"):
        spectrum_times_map([-1.0], weights)
    with pytest.raises(ValueError, match="spectrum: expected 1 axes"):
        spectrum_times_map([[1.0]], weights)


def test_scaled_spectrum():
    spectrum = Spectrum(np.array([1.0, 2.0, 3.0, 4.0, 5.0]), exposure=1000.0, first_channel=1, path="b.pha")
    cube = scaled_spectrum(spectrum, [2, 4, 6], exposure=500.0, area_ratio=0.1, weights=np.ones((2, 5)))
    # Channels 2 and 3, then 4 and 5; half the time, a tenth of the area, ten pixels.
    np.testing.assert_allclose(cube[:, 0, 0], np.array([5.0, 9.0]) * 0.5 * 0.1 / 10)
    part = scaled_spectrum(spectrum, [1, 2], exposure=1000.0, area_ratio=1.0, weights=np.ones((1, 1)))
    np.testing.assert_allclose(part, [[[1.0]]])
    for edges in ([0, 3], [3, 7]):
        with pytest.raises(ValueError, match=r"channel_edges: expected channels of b.pha, 1 to 5, found"):
            scaled_spectrum(spectrum, edges, 1.0, 1.0, np.ones((1, 1)))
    with pytest.raises(ValueError, match="channel_edges: expected at least two increasing"):
        scaled_spectrum(spectrum, [3, 3], 1.0, 1.0, np.ones((1, 1)))
    with pytest.raises(ValueError, match="area_ratio: expected a positive number"):
        scaled_spectrum(spectrum, [1, 2], 1.0, 0.0, np.ones((1, 1)))


def test_rates_are_integrated_over_the_channels():
    rates = DetectorBackground(np.array([1.0, 3.0, 5.0]), np.array([2.0, 4.0, 0.0]), per_arcmin2=True)
    cube = rate_background(rates, [0.0, 1.0, 2.0, 4.0, 9.0], exposure=10.0, weights=np.ones((2, 2)), area=3.0)
    np.testing.assert_allclose(cube.sum(axis=(1, 2)), np.array([0, 2.5, 3.5 + 3.0, 1.0]) * 30)
    whole = DetectorBackground(rates.energies, rates.rates, per_arcmin2=False)
    np.testing.assert_allclose(rate_background(whole, [1, 5], 1.0, np.ones((1, 1))).sum(), 10.0)
    with pytest.raises(ValueError, match="area: expected the area of the pixels in arcmin2"):
        rate_background(rates, [1, 2], 1.0, np.ones((1, 1)))
    with pytest.raises(ValueError, match="channel_edges: "):
        rate_background(rates, [2, 1], 1.0, np.ones((1, 1)), 1.0)
    with pytest.raises(ValueError, match="exposure: "):
        rate_background(rates, [1, 2], -1.0, np.ones((1, 1)), 1.0)


def test_preset_background_of_resolve():
    resolve = instrument("xrism-resolve")
    assert resolve.background is not None
    assert resolve.detector is not None
    cube = rate_background(resolve.background, [2.0, 6.0, 10.0], 1e5, resolve.detector.seen)
    np.testing.assert_allclose(cube.sum(axis=(1, 2)), [400, 400])
    assert cube[0, 0, 0] == 0


def _hdf5(path, **changes):
    content = {"emin": 0.0, "emax": 10.0, "spectrum": np.full(100, 1e-4)} | changes
    with h5py.File(path, "w") as file:
        for name, value in content.items():
            if value is not None:
                file[name] = value
    return path


def test_hdf5_rates(tmp_path):
    rates = read_rates(_hdf5(tmp_path / "b.h5"))
    assert rates.per_arcmin2
    assert rates.energies[[0, -1]] == pytest.approx([0.05, 9.95])
    cube = rate_background(rates, [2.0, 4.0], exposure=1e4, weights=np.ones((1, 1)), area=9.0)
    assert cube.sum() == pytest.approx(1e-4 * 2 * 1e4 * 9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"emin": None}, "expected the datasets emin, emax and spectrum, found no emin"),
        ({"emax": 0.0}, "expected increasing energies emin and emax"),
        ({"spectrum": np.array([1.0, -1.0])}, "expected at least two finite rates"),
        ({"spectrum": np.array([1.0, np.nan])}, "expected at least two finite rates"),
    ],
)
def test_faults_of_hdf5_are_named(tmp_path, changes, message):
    with pytest.raises(FileError, match=rf"b\.h5: {message}"):
        read_rates(_hdf5(tmp_path / "b.h5", **changes))


def test_no_hdf5(tmp_path):
    path = tmp_path / "b.h5"
    path.write_text("no")
    with pytest.raises(FileError, match=r"b\.h5: expected an HDF5 file"):
        read_rates(path)
    with pytest.raises(FileError, match=r"none\.h5: expected an HDF5 file"):
        read_rates(tmp_path / "none.h5")


def test_missing_h5py_is_told(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FileError, match=r"expected h5py to read HDF5, found none \(pip install 'hifred\[hdf5\]'\)"):
        read_rates(tmp_path / "b.h5")


def test_rates_of_hitomi_are_per_arcmin2(shared_data):
    rates = read_rates(shared_data("responses/hitomi_sxs_bkgnd.h5"))
    cube = rate_background(rates, [2.0, 10.0], exposure=1.0, weights=np.ones((1, 1)), area=35 * (30.645 / 60) ** 2)
    # Counts / s / keV of the array: Resolve, its twin, has 1.0e-3 to 1.8e-3 (arXiv 2501.06439).
    assert cube.sum() / 8 == pytest.approx(7.4e-4, rel=0.02)


def test_real_background_spectrum(shared_data):
    spectrum = Spectrum.read(shared_data("spectra/xmm_epic_pnbackground_spectrum.fits.gz"))
    area = float(np.mean(spectrum.backscale)) * 0.05**2 / 3600
    # The rough rate of the preset is that of this spectrum where the sky is faint.
    measured = scaled_spectrum(spectrum, [1840, 2400], 1.0, 1 / area, np.ones((1, 1)))
    pn = instrument("epic-pn")
    assert pn.background is not None
    rough = rate_background(pn.background, [9.2, 12.0], 1.0, np.ones((1, 1)), 1.0)
    assert rough.sum() == pytest.approx(measured.sum(), rel=0.1)
