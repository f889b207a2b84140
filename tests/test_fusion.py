import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d

import hifred
from hifred import CubeGrid, Dataset, FusedCube, Response, fuse, priors
from hifred.assembly import assemble
from hifred.fusion import fingerprint

PRIORS = {
    "Unregularized": priors.Unregularized(),
    "Starlet2D1D": priors.Starlet2D1D(),
    "LowRank": priors.LowRank(rank=3),
    "LowRankSobolev": priors.LowRankSobolev(rank=3),
    "LowRankStarlet": priors.LowRankStarlet(rank=3),
}


def model(cube, dataset):
    """Expected counts in double precision, by direct sums."""
    kernels = dataset.response.recipe
    out = np.asarray(cube, float)
    if kernels.area is not None:
        out = out * kernels.area.reshape(-1, 1, 1)
    if kernels.psf is not None:
        out = np.stack([convolve2d(image, kernels.psf, mode="same") for image in out])
    if kernels.lsf is not None:
        half = kernels.lsf.size // 2
        padded = np.pad(out, ((half, half), (0, 0), (0, 0)))
        out = np.apply_along_axis(np.convolve, 0, padded, kernels.lsf, mode="valid")
    e, y, x = kernels.rebin
    shape = out.shape
    return out.reshape(shape[0] // e, e, shape[1] // y, y, shape[2] // x, x).sum((1, 3, 5)) + dataset.background


def cash(cube, datasets):
    """`sum mu - n log mu` over the bins used."""
    total = 0.0
    for data in datasets:
        mu, n = model(cube, data)[data.mask], data.counts[data.mask].astype(float)
        total += (mu - np.where(n > 0, n * np.log(mu), 0)).sum()
    return total


@pytest.fixture(scope="module")
def datasets(instruments, sky, observe):
    shape, kernels = instruments
    return observe(sky(shape), kernels)


@pytest.fixture(scope="module")
def fused(datasets):
    """Fused cubes, made once for each prior."""
    done = {}

    def get(name):
        if name not in done:
            done[name] = fuse(datasets, PRIORS[name], progress=False)
        return done[name]

    return get


def test_two_data_sets_and_nothing_else(datasets, sky, assert_never_rises, capsys):
    fused = fuse(datasets)
    truth = sky((24, 12, 12))
    assert isinstance(fused, FusedCube)
    assert fused.status == "tuned"
    assert fused.values.shape == truth.shape
    assert fused.values.dtype == np.float32
    assert fused.values.min() >= 0
    assert_never_rises(fused.history)
    assert hifred.priors.DopplerSheets.__name__ in fused.provenance["prior"]
    for name in ("strength", "light_strength", "vmax"):
        assert re.search(rf"\b{name}=\d", fused.provenance["prior"]), name
    error = ((fused.values - truth) ** 2).sum() / (truth**2).sum()
    assert error < 0.05
    for data in datasets:
        mean, variance = data.expected_cstat(fused.values)
        assert abs(data.cstat(fused.values) - mean) < 8 * np.sqrt(variance)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", PRIORS)
def test_never_negative_and_never_rising(fused, assert_never_rises, name):
    cube = fused(name)
    assert cube.values.min() >= 0
    assert np.all(np.isfinite(cube.values))
    assert_never_rises(cube.history)
    assert cube.status in ("converged", "noise_reached", "max_iterations")
    np.testing.assert_allclose(cube.history.objective, cube.history.data_term + cube.history.prior_term)
    np.testing.assert_array_equal(cube.history.iteration, np.arange(len(cube.history)))


@pytest.mark.parametrize("name", PRIORS)
def test_data_term_is_that_of_the_returned_cube(fused, datasets, name):
    cube = fused(name)
    last = cube.history[-1]
    assert last.data_term == pytest.approx(cash(cube.values, datasets), rel=1e-6)
    for data, value in zip(datasets, last.cstat, strict=True):
        assert data.cstat(cube.values) == pytest.approx(value, rel=1e-3)


def test_no_prior_has_no_prior_term(fused):
    assert not fused("Unregularized").history.prior_term.any()


def test_prior_term_of_the_starlet(fused, datasets):
    """Weights of the penalty, coefficients by numpy."""
    cube = fused("Starlet2D1D")
    _, problem = assemble(datasets, PRIORS["Starlet2D1D"])
    with jax.enable_x64(True):
        transform = priors.cube_priors.Starlet(cube.values.shape, 3, 2, np.float64)
        bands = transform.analysis(jnp.asarray(cube.values.astype(float)))
    expected = sum(
        (np.asarray(w, float) * abs(np.asarray(b))).sum() for w, b in zip(problem.penalty.weights, bands, strict=True)
    )
    assert cube.history[-1].prior_term == pytest.approx(expected, rel=1e-4)
    objective = cash(cube.values, datasets) + expected
    assert cube.history[-1].objective == pytest.approx(objective, rel=1e-6)


@pytest.mark.parametrize("name", ["LowRank", "LowRankSobolev", "LowRankStarlet"])
def test_prior_term_of_low_rank(fused, datasets, name):
    """Penalty and barrier at the maps that the cube came from."""
    cube = fused(name)
    _, problem = assemble(datasets, PRIORS[name])
    mean, shapes = (np.asarray(a, float) for a in (problem.mean, problem.shapes))
    relative = cube.values.astype(float) / mean[:, None, None]
    maps = np.linalg.lstsq(shapes, relative.reshape(len(mean), -1), rcond=None)[0].reshape(problem.start.shape)
    np.testing.assert_allclose(np.tensordot(shapes, maps, 1), relative, rtol=1e-3)
    barrier = -(np.asarray(problem.barrier, float) * np.log(relative / np.asarray(problem.start[0], float))).sum()
    penalty = float(problem.penalty.value(jnp.asarray(maps, np.float32)))
    assert cube.history[-1].prior_term == pytest.approx(penalty + barrier, rel=1e-3, abs=0.05)
    objective = cash(cube.values, datasets) + penalty + barrier
    assert cube.history[-1].objective == pytest.approx(objective, rel=1e-6)


def test_unregularized_keeps_the_counts(datasets):
    cube = fuse(datasets, priors.Unregularized(stop_at_noise=False), max_iterations=150, progress=False)
    total = sum(data.counts.sum() for data in datasets)
    assert sum(cube.predict(data).sum() for data in datasets) == pytest.approx(total, rel=0.01)


def test_unregularized_stops_at_the_noise(fused, datasets):
    cube = fused("Unregularized")
    assert cube.status == "noise_reached"
    expected = sum(data.expected_cstat(cube.values)[0] for data in datasets)
    assert cube.history[-1].cstat.sum() <= 1.001 * expected
    assert cube.history[-2].cstat.sum() > 0.99 * expected


def test_prediction_is_that_of_the_response(fused, datasets):
    cube = fused("LowRankSobolev")
    for data in datasets:
        np.testing.assert_allclose(cube.predict(data), model(cube.values, data), rtol=1e-4)


def test_more_data_make_a_better_cube(instruments, sky, observe, datasets):
    """One instrument, two, three."""
    shape, kernels = instruments
    truth = sky(shape)
    third = observe(truth, {"both": {"psf": kernels["camera"]["psf"], "rebin": (1, 1, 1)}}, seed=5)
    errors = []
    for data in (datasets[1:], datasets, [*datasets, *third]):
        cube = fuse(data, PRIORS["Unregularized"], progress=False)
        assert cube.history.cstat.shape[1] == len(data)
        errors.append(((cube.values - truth) ** 2).sum())
    assert errors[0] > errors[1] > errors[2]


def test_one_instrument_alone(datasets, assert_never_rises):
    for data in datasets:
        cube = fuse([data], PRIORS["Unregularized"], progress=False)
        assert cube.values.shape == (24, 12, 12)
        assert_never_rises(cube.history)


@pytest.mark.parametrize("name", PRIORS)
def test_masked_counts_change_nothing(datasets, name):
    rng = np.random.default_rng(0)
    cubes = []
    masks = [rng.random(data.counts.shape) > 0.1 for data in datasets]
    masks[1][:, 0, 0] = masks[0][2] = False
    for fill in (0, 1e6):
        spoiled = [
            Dataset(np.where(mask, data.counts, fill), data.response, mask=mask, name=data.name)
            for data, mask in zip(datasets, masks, strict=True)
        ]
        cubes.append(fuse(spoiled, PRIORS[name], max_iterations=8, progress=False).values)
    np.testing.assert_array_equal(*cubes)


def test_background_is_not_in_the_cube(instruments, sky):
    shape, kernels = instruments
    truth, data = sky(shape), []
    for i, (name, arguments) in enumerate(kernels.items()):
        response = Response.from_kernels(shape, **arguments)
        rng = np.random.default_rng(i)
        background = response.mv(truth).mean() * (0.5 + rng.random(response.out_shape))
        data.append(Dataset(np.zeros(response.out_shape), response, np.asarray(background), name=name).sample(truth, i))
    cube = fuse(data, PRIORS["LowRankSobolev"], progress=False)
    assert cube.values.sum() == pytest.approx(truth.sum(), rel=0.02)
    blind = [Dataset(d.counts, d.response, name=d.name) for d in data]
    assert fuse(blind, PRIORS["LowRankSobolev"], progress=False).values.sum() > 1.5 * truth.sum()


def test_area_makes_photons_of_counts(instruments, sky, observe):
    """Two instruments of different areas, each in counts of its own."""
    shape, kernels = instruments
    truth = sky(shape) / 1e4
    energy = np.linspace(0, 1, shape[0])
    areas = {"camera": 1e4 * (2 - energy), "calorimeter": 3e3 * (0.5 + energy)}
    with_area = {name: {**one, "area": areas[name]} for name, one in kernels.items()}
    cube = fuse(observe(truth, with_area), PRIORS["LowRankSobolev"], progress=False)
    assert cube.values.sum() == pytest.approx(truth.sum(), rel=0.02)
    assert ((cube.values - truth) ** 2).sum() < 0.05 * (truth**2).sum()
    assert cube.provenance["unit"] == "photon cm-2 s-1"


@pytest.mark.parametrize("name", PRIORS)
def test_blind_energies(instruments, sky, observe, name):
    """Nothing that no instrument sees may spoil the rest."""
    shape, kernels = instruments
    truth = sky(shape)
    area = np.ones(shape[0])
    area[:3] = 0
    data = observe(truth, {name: {**one, "area": area} for name, one in kernels.items()})
    cube = fuse(data, PRIORS[name], max_iterations=30, progress=False)
    assert np.all(np.isfinite(cube.values))
    assert cube.status != "diverged"
    assert cube.values.min() >= 0
    assert cube.values[3:].sum() == pytest.approx(truth[3:].sum(), rel=0.1)


@pytest.mark.parametrize("name", ["Unregularized", "LowRankSobolev"])
def test_vignetting_and_blind_pixels(sky, observe, name):
    truth = sky((8, 4, 4), 1e4)
    area = np.broadcast_to(0.5 + np.arange(4) / 4, truth.shape).copy()
    area[:, 1, 2] = 0
    data = observe(truth, {"a": {"rebin": (2, 1, 1), "area": area}, "b": {"area": area}})
    cube = fuse(data, PRIORS[name], max_iterations=30, progress=False)
    assert np.all(np.isfinite(cube.values))
    assert cube.status != "diverged"
    seen = area > 0
    assert cube.values[seen].sum() == pytest.approx(truth[seen].sum(), rel=0.1)


@pytest.mark.parametrize("name", PRIORS)
def test_few_photons(instruments, sky, observe, assert_never_rises, name):
    """Three hundred in all: most bins are empty."""
    shape, kernels = instruments
    data = observe(sky(shape, 150), kernels)
    cube = fuse(data, PRIORS[name], progress=False)
    assert_never_rises(cube.history)
    assert cube.values.min() >= 0
    assert np.all(np.isfinite(cube.values))
    assert cube.values.sum() == pytest.approx(150, rel=0.5)


def test_count_that_no_sky_explains():
    """A photon where the response gives nothing: no cube fits, so that the data are refused."""
    lsf = np.zeros((3, 4))
    lsf[:2] = 1
    data = Dataset(np.full((3, 4, 4), 5.0), Response.from_kernels((4, 4, 4), lsf=lsf))
    with pytest.raises(ValueError, match="xmm: .* 16 bins that have neither"):
        fuse([data], priors.Unregularized(), progress=False)
    mask = np.arange(3)[:, None, None] < np.full((1, 4, 4), 2)
    masked = fuse([Dataset(data.counts, data.response, mask=mask)], priors.Unregularized(), progress=False)
    assert masked.status in ("converged", "noise_reached")


def test_max_iterations_and_tolerance(datasets):
    short = fuse(datasets, PRIORS["Unregularized"], max_iterations=2, progress=False)
    assert short.status == "max_iterations"
    assert short.history.iteration[-1] == 2
    loose, tight = (fuse(datasets, PRIORS["LowRankSobolev"], tolerance=t, progress=False) for t in (1e-2, 1e-6))
    assert len(loose.history) < len(tight.history)
    assert tight.history.objective[-1] <= loose.history.objective[-1] + 0.01
    assert tight.history.residual[-1] < loose.history.residual[-1]


def test_same_data_same_cube(datasets, fused):
    again = fuse(datasets, PRIORS["LowRankSobolev"], progress=False)
    np.testing.assert_array_equal(again.values, fused("LowRankSobolev").values)


def test_order_of_the_data_sets_does_not_matter(datasets, fused):
    swapped = fuse(datasets[::-1], PRIORS["Unregularized"], progress=False)
    np.testing.assert_allclose(swapped.values, fused("Unregularized").values, rtol=1e-3)


def test_double_precision(sky, observe, assert_never_rises):
    kernels = {"a": {"rebin": (2, 1, 1)}, "b": {"rebin": (1, 2, 2)}}
    with jax.enable_x64(True):
        cube = fuse(observe(sky((8, 4, 4), 1e4), kernels, dtype=np.float64), PRIORS["Unregularized"], progress=False)
    assert cube.values.dtype == np.float64
    assert_never_rises(cube.history, 1e-11)


def test_grid_is_handed_on(datasets):
    grid = CubeGrid(np.linspace(0.5, 2, 25), (12, 12), pixel_size=3, center=(10, 20))
    placed = [Dataset(d.counts, d.response, name=d.name, grid=grid) for d in datasets]
    for data in (placed, [datasets[0], placed[1]], [placed[0], datasets[1]]):
        assert fuse(data, PRIORS["Unregularized"], max_iterations=1, progress=False).grid is grid
    assert fuse(datasets, PRIORS["Unregularized"], max_iterations=1, progress=False).grid is None


def test_fingerprint_tells_runs_apart(datasets):
    prior = priors.LowRank()
    first = fingerprint(datasets, prior)
    assert first == fingerprint(list(datasets), priors.LowRank())
    counts = datasets[0].counts.copy()
    counts[0, 0, 0] += 1
    mask = np.ones(counts.shape, bool)
    mask[0, 0, 0] = False
    response = datasets[0].response
    shape = response.in_shape
    others = [
        fingerprint(datasets, priors.LowRank(rank=2)),
        fingerprint(datasets[:1], prior),
        fingerprint(datasets[::-1], prior),
        fingerprint([Dataset(counts, response), datasets[1]], prior),
        fingerprint([Dataset(datasets[0].counts, response, np.asarray(0.1)), datasets[1]], prior),
        fingerprint([Dataset(datasets[0].counts, response, mask=mask), datasets[1]], prior),
        *(
            fingerprint([Dataset(datasets[0].counts, response, grid=CubeGrid(edges, shape[1:])), datasets[1]], prior)
            for edges in (np.linspace(1, 2, shape[0] + 1), np.linspace(2, 3, shape[0] + 1))
        ),
    ]
    assert len({first, *others}) == 9


# --- errors ---


def small(shape=(4, 4, 4), name="a", grid=None, dtype=np.float32):
    response = Response.from_kernels(shape, dtype=dtype)
    return Dataset(np.ones(shape), response, name=name, grid=grid)


def test_no_data_sets():
    with pytest.raises(ValueError, match="datasets: expected at least one data set, found none"):
        fuse([], progress=False)


def test_not_a_data_set(unchecked):
    with pytest.raises(ValueError, match="datasets: expected Dataset objects, found ndarray"):
        fuse([np.ones((4, 4, 4))], progress=False)


def test_single_data_set_without_a_list(unchecked):
    with pytest.raises((ValueError, TypeError)):
        fuse(small(), progress=False)


@pytest.mark.parametrize("prior", ["Starlet2D1D", priors.Starlet2D1D, 3])
def test_not_a_prior(unchecked, prior):
    with pytest.raises(ValueError, match=r"prior: expected an object of hifred\.priors, found"):
        fuse([small()], prior, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_iterations": 0}, "max_iterations: expected at least 1, found 0"),
        ({"tolerance": -1.0}, "tolerance: expected at least 0 and below 1, found -1.0"),
        ({"tolerance": 1.5}, "tolerance: expected at least 0 and below 1, found 1.5"),
        ({"tolerance": float("nan")}, "tolerance: .* found nan"),
        ({"strength": np.ones(2)}, "strength: expected a number, found array"),
    ],
)
def test_options_out_of_range(options, message, unchecked):
    with pytest.raises(ValueError, match=message):
        fuse([small()], progress=False, **options)


def test_different_cubes():
    with pytest.raises(ValueError, match=r"a starts from a cube of shape \(4, 4, 4\), b from \(4, 4, 5\)"):
        fuse([small(), small((4, 4, 5), "b")], progress=False)


def test_different_precisions():
    with jax.enable_x64(True), pytest.raises(ValueError, match="a is float32, b float64"):
        fuse([small(), small(name="b", dtype=np.float64)], progress=False)


@pytest.mark.parametrize(
    ("edges", "options", "message"),
    [
        (np.linspace(2, 3, 5), {}, "no overlap in energy: a covers 1 to 2 keV, b 2 to 3 keV"),
        (np.linspace(1, 2.1, 5), {}, "the energy bins of a and b are not the same"),
        (np.linspace(1, 2, 5), {"pixel_size": 2}, "a has pixels of 1 arcsec, b of 2"),
        (np.linspace(1, 2, 5), {"center": (10, 21)}, "the centres of a and b are 3.6e.03 arcsec apart"),
    ],
)
def test_different_grids(edges, options, message):
    first = CubeGrid(np.linspace(1, 2, 5), (4, 4), center=(10, 20))
    second = CubeGrid(edges, (4, 4), **options)
    with pytest.raises(ValueError, match=message):
        fuse([small(grid=first), small(name="b", grid=second)], progress=False)


def test_rank_beyond_the_data():
    with pytest.raises(ValueError, match="rank: expected at most 5 with these data, found 6"):
        fuse([small()], priors.LowRank(rank=6), progress=False)
