import jax.numpy as jnp
import numpy as np
import pytest

from hifred import Dataset, Response
from hifred.priors.rank_one import RankOne
from hifred.solvers.rank_one import PASSES, rank_one


def test_cube_is_the_product():
    model = RankOne(jnp.asarray([0.25, 0.75]), jnp.asarray([[4.0, 8]]))
    np.testing.assert_allclose(model.cube, [[[1, 2]], [[3, 6]]])


def test_finds_a_rank_one_sky(instruments, observe):
    kernels = instruments[1]
    rng = np.random.default_rng(0)
    spectrum, image = 1 + np.sin(np.arange(24) / 4), 200 * (1 + rng.random((12, 12)))
    spectrum /= spectrum.sum()
    cube = spectrum[:, None, None] * image
    kernels = {name: {k: v for k, v in one.items() if k == "rebin"} for name, one in kernels.items()}
    model = rank_one(observe(cube, kernels))
    assert float(model.spectrum.sum()) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(model.spectrum, spectrum, atol=0.006)
    np.testing.assert_allclose(model.image, image, rtol=0.3)
    assert float(model.image.sum()) == pytest.approx(image.sum(), rel=0.02)


def test_positive_and_keeps_the_counts(instruments, sky, observe):
    shape, kernels = instruments
    data = observe(sky(shape), kernels)
    model = rank_one(data)
    assert np.all(np.asarray(model.spectrum) > 0)
    assert np.all(np.asarray(model.image) > 0)
    predicted = sum(d.predict(model.cube).sum() for d in data)
    assert predicted == pytest.approx(sum(d.counts.sum() for d in data), rel=0.01)


def test_background_is_not_taken_for_sky(instruments, sky):
    shape, kernels = instruments
    cube = sky(shape)
    data = []
    for i, (name, arguments) in enumerate(kernels.items()):
        response = Response.from_kernels(shape, **arguments)
        background = response.mv(cube).mean()
        data.append(Dataset(np.zeros(response.out_shape), response, float(background), name=name).sample(cube, i))
    model = rank_one(data)
    assert float(model.cube.sum()) == pytest.approx(cube.sum(), rel=0.1)


def test_data_without_a_photon():
    response = Response.from_kernels((4, 3, 3), lsf=np.ones(3))
    model = rank_one([Dataset(np.zeros((4, 3, 3)), response)])
    cube = np.asarray(model.cube)
    assert np.all(np.isfinite(cube))
    assert np.all(cube > 0)
    assert cube.sum() < 0.1


def test_blind_energies_and_pixels_stay_finite():
    area = np.ones((4, 3, 3))
    area[0] = area[:, 1, 1] = 0
    response = Response.from_kernels((4, 3, 3), area=area)
    counts = np.random.default_rng(0).poisson(20 * area)
    model = rank_one([Dataset(counts, response)])
    assert np.all(np.isfinite(np.asarray(model.cube)))
    assert np.all(np.asarray(model.cube) > 0)


def test_it_is_that_of_whole_cubes():
    """The same passes over cubes, op by op; masks, backgrounds, no exposure at some energies and pixels."""
    rng = np.random.default_rng(0)
    shape = (5, 40, 40)
    area = np.ones(shape)
    area[0] = area[:, :10] = 0
    mask = np.ones(shape, bool)
    mask[:, 20:25, 30:] = mask[3] = False
    response = Response.from_kernels(shape, area=area, psf=np.ones((3, 3)) / 9)
    data = Dataset(rng.poisson(5 * area + 0.3), response, 0.3, mask)
    term, model = data.term(), rank_one([data])
    energies = shape[0]
    sensitivity = np.asarray(term.sensitivity(), dtype=float)
    spectrum = np.full(energies, 1 / energies)
    start = (np.where(mask, data.counts, 0).sum() + 1e-3) * energies / sensitivity.sum()
    image = np.full(shape[1:], start)

    def ratio(total, expected):
        floor = 1e-6 * expected.max()
        return np.where(expected > floor, np.maximum(total, 1e-3 * expected) / np.maximum(expected, floor), 1)

    def back():
        cube = jnp.asarray(spectrum[:, None, None] * image, jnp.float32)
        return np.asarray(term.back_ratio(term.predict(cube)), dtype=float)

    for _ in range(PASSES // 2):
        image = image * ratio(np.einsum("e,eyx->yx", spectrum, back()), np.einsum("e,eyx->yx", spectrum, sensitivity))
        up, down = (np.einsum("yx,eyx->e", image, part) for part in (back(), sensitivity))
        spectrum = spectrum * ratio(up, down)
        image, spectrum = image * spectrum.sum(), spectrum / spectrum.sum()
    np.testing.assert_allclose(model.spectrum, spectrum, rtol=1e-3)
    np.testing.assert_allclose(model.image, image, rtol=1e-3)
    assert float(model.image[0, 0]) < 2 * float(model.image.mean()), (
        "where nothing was seen it is as bright as elsewhere"
    )
