import sys
import types

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import hifred
from hifred import fuse
from hifred.assembly import assemble
from hifred.priors import Denoiser, denoisers
from hifred.priors.denoisers import UserFunction, bm3d_denoiser, trained, trained_on
from hifred.simulate import scene


@pytest.fixture(scope="module")
def datasets(instruments, sky, observe):
    shape, kernels = instruments
    return observe(sky(shape), kernels)


def smooth(images, sigma):
    """Host code: scipy takes no tracers."""
    assert isinstance(images, np.ndarray)
    return gaussian_filter(images, (0, 0.7 * sigma, 0.7 * sigma))


def traced(images, sigma):
    """Mean with the neighbours, in JAX."""
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    return 0.5 * images + 0.125 * (
        padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1] + padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2]
    )


def test_the_network_removes_noise_at_any_scale():
    y, x = np.mgrid[-1:1:24j, -1:1:24j]
    clean = np.stack([8 * np.exp(-(x**2 + y**2) / 0.3), 0 * x]).astype(np.float32)
    noise = np.random.default_rng(0).normal(size=clean.shape).astype(np.float32)
    found = np.asarray(trained()(jnp.asarray(clean + noise), 1.0))
    assert ((found - clean) ** 2).mean((1, 2)).max() < 0.4
    scaled = np.asarray(trained()(jnp.asarray(1e-12 * (clean + noise)), 1e-12))
    np.testing.assert_allclose(1e12 * scaled, found, rtol=1e-3, atol=1e-3)


def test_weights_are_small_and_plain_and_trained_on_seeds_of_their_own():
    path = denoisers.resources.files("hifred.priors") / denoisers.WEIGHTS
    assert len(path.read_bytes()) < 2e5
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        assert all(np.isfinite(file[name]).all() for name in file.files)
    about = trained_on()
    assert min(about["seeds"]) >= 100
    assert set(about["scenes"]) <= set(hifred.simulate.scene_names())


@pytest.mark.parametrize("function", [smooth, traced, None])
def test_fuse_takes_any_denoiser(datasets, function):
    cube = fuse(datasets, Denoiser(function), progress=False)
    assert cube.status == "fixed_point"
    assert "not a minimum" in cube.message
    assert np.isfinite(cube.values).all()
    assert cube.values.min() >= 0
    assert not cube.history.prior_term.any()
    assert cube.history.residual[-1] <= Denoiser().tolerance


def test_host_and_compiled_code_agree(datasets):
    def on_host(images, sigma):
        return np.asarray(traced(np.asarray(images), sigma))

    assert not UserFunction(smooth, (2, 5, 6), np.float32).traced
    assert UserFunction(traced, (2, 5, 6), np.float32).traced
    assert not UserFunction(on_host, (2, 5, 6), np.float32).traced
    one, other = (fuse(datasets, Denoiser(f), max_iterations=5, progress=False) for f in (traced, on_host))
    np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=1e-6 * one.values.max())


def test_a_module_of_equinox_is_a_denoiser(datasets):
    class Shrink(eqx.Module):
        factor: jnp.ndarray

        def __call__(self, images, sigma):
            return self.factor * images

    cube = fuse(datasets, Denoiser(Shrink(jnp.asarray(0.9))), max_iterations=3, progress=False)
    assert np.isfinite(cube.values).all()


def test_with_all_spectra_and_nothing_denoised_it_is_maximum_likelihood(x64, sky, observe):
    """Five energies seen in five channels: the principal spectra are all there are."""
    kernels = {"one": {"psf": np.ones((1, 3))}, "two": {"lsf": [1.0, 4.0, 1.0]}}
    data = observe(sky((5, 6, 7), 1e6), kernels, dtype=np.float64)
    solver, problem = assemble(data, Denoiser(lambda images, sigma: images, rank=6))
    assert problem.denoised.shapes.shape == (5, 5)
    cube = problem.data.start * jnp.asarray(np.random.default_rng(0).random(problem.data.start.shape))
    np.testing.assert_allclose(problem.denoised(cube), cube, rtol=1e-9, atol=1e-12 * float(cube.max()))
    free = hifred.priors.Unregularized(stop_at_noise=False)
    expected = fuse(data, free, max_iterations=2000, tolerance=0.0, progress=False)
    found = fuse(data, Denoiser(lambda images, sigma: images, rank=6), 2000, 0.0, progress=False)
    assert found.history.data_term[-1] == pytest.approx(expected.history.data_term[-1], abs=0.05)


def test_maps_have_noise_of_about_one():
    """At the truth itself, the images that the denoiser gets have the noise that an ideal instrument leaves."""
    one = scene("tiny", 3)
    _, problem = assemble(one.datasets, Denoiser(rank=4))
    rng = np.random.default_rng(0)
    maps, sensitivity = problem.denoised, np.asarray(problem.terms[1].sensitivity())
    sky = np.asarray(problem.data.start, float)
    noisy = [sky * 0 + rng.poisson(sky * sensitivity) / np.where(sensitivity > 0, sensitivity, 1) for _ in range(40)]
    images = np.stack([np.einsum("ek,eyx->kyx", maps.shapes, z) / np.asarray(maps.noise) for z in noisy])
    scatter = images[:, 1:].std(0).mean((1, 2))
    np.testing.assert_allclose(scatter, 1, atol=0.2)


def test_better_than_no_prior_and_than_sobolev_on_a_scene_it_was_not_trained_on():
    one = scene("tiny", 0, 2e4)
    error = {
        type(prior).__name__: hifred.metrics.nmse(fuse(one.datasets, prior, progress=False).values, one.truth.values)
        for prior in (Denoiser(), hifred.priors.Unregularized(), hifred.priors.LowRankSobolev())
    }
    assert error["Denoiser"] < error["Unregularized"] - 2
    assert error["Denoiser"] < error["LowRankSobolev"]


def test_strength_pulls_and_can_be_chosen_from_the_data(datasets):
    def rough(cube):
        return np.abs(np.diff(cube.values, axis=2)).sum() / cube.values.sum()

    weak, strong = (fuse(datasets, Denoiser(smooth, strength=s), progress=False) for s in (0.01, 3.0))
    assert rough(strong) < rough(weak)
    auto = fuse(datasets, Denoiser(traced), strength="auto", max_iterations=10, progress=False)
    assert auto.provenance["tuning"]["strength"] in auto.provenance["tuning"]["strengths"]


def test_a_checkpoint_goes_on_to_the_same_cube(datasets, tmp_path):
    path = tmp_path / "run.npz"
    whole = fuse(datasets, Denoiser(smooth), max_iterations=6, tolerance=0.0, progress=False)
    fuse(datasets, Denoiser(smooth), max_iterations=3, tolerance=0.0, progress=False, checkpoint=path)
    resumed = fuse(datasets, Denoiser(smooth), max_iterations=6, tolerance=0.0, progress=False, checkpoint=path)
    np.testing.assert_array_equal(resumed.values, whole.values)


def test_the_name_of_a_function_stands_for_it(datasets):
    assert repr(Denoiser(smooth)) == "Denoiser(denoise=smooth, strength=0.3, noise=1.0, rank=None)"
    assert " at 0x" not in repr(Denoiser(UserFunction(smooth, (1, 2, 2), np.float32)))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda images, sigma: images[:, 1:], r"denoise: expected .* shape \(.*\), found"),
        (lambda images, sigma: np.asarray(images)[:, 1:], r"denoise: expected .* shape \(.*\), found"),
        (lambda images, sigma: np.asarray(images).astype(str), "denoise: expected .* real numbers, found"),
        (lambda images, sigma: None, "denoise: expected"),
    ],
)
def test_what_a_denoiser_returns_is_checked(datasets, function, words):
    with pytest.raises(ValueError, match=words):
        fuse(datasets, Denoiser(function), progress=False)


def test_what_a_module_returns_is_checked(datasets):
    class Half(eqx.Module):
        def __call__(self, images, sigma):
            return images[::2]

    with pytest.raises(ValueError, match=r"denoise: expected .* shape"):
        fuse(datasets, Denoiser(Half()), progress=False)


def test_an_error_of_the_function_is_shown(datasets):
    def broken(images, sigma):
        raise RuntimeError("no such thing")

    with pytest.raises(RuntimeError, match="no such thing"):
        fuse(datasets, Denoiser(broken), progress=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"denoise": 3}, "denoise: expected a function"),
        ({"noise": 0}, "noise: expected"),
        ({"noise": np.nan}, "noise: expected"),
        ({"rank": 0}, "rank: expected"),
        ({"strength": -1}, "strength: expected"),
    ],
)
def test_options_are_checked(unchecked, options, words):
    with pytest.raises(ValueError, match=words):
        Denoiser(**options)


def test_too_many_spectra(datasets):
    with pytest.raises(ValueError, match="rank: expected at most"):
        fuse(datasets, Denoiser(rank=500), progress=False)


def test_one_pixel_and_one_energy(observe):
    data = observe(np.full((1, 1, 1), 50.0), {"one": {}})
    assert fuse(data, Denoiser(), progress=False).values.item() == pytest.approx(data[0].counts.item(), rel=0.01)


def test_bm3d_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(ModuleNotFoundError, match=r"^bm3d: expected this package to be installed \(pip install bm3d\)"):
        bm3d_denoiser()


def test_bm3d_gets_each_image_with_its_noise(monkeypatch):
    seen = []

    def fake(image, sigma):
        seen.append((image.shape, sigma))
        return image + 1

    monkeypatch.setitem(sys.modules, "bm3d", types.SimpleNamespace(bm3d=fake))
    found = bm3d_denoiser()(np.zeros((3, 9, 8), np.float32), 0.5)
    assert seen == [((9, 8), 0.5)] * 3
    np.testing.assert_array_equal(found, np.ones((3, 9, 8)))


def test_bm3d_itself(datasets):
    pytest.importorskip("bm3d")
    cube = fuse(datasets, Denoiser(bm3d_denoiser(), rank=2), max_iterations=2, progress=False)
    assert np.isfinite(cube.values).all()
