"""Data that are few, many, empty, masked or in odd units: every prior still gives a finite cube that is not negative."""

import numpy as np
import pytest

from hifred import Dataset, Response, fuse, priors

SHAPE = (6, 4, 5)
PRIORS = {
    "sobolev": priors.LowRankSobolev(rank=2),
    "low rank starlet": priors.LowRankStarlet(rank=2, scales=1),
    "low rank": priors.LowRank(rank=2),
    "starlet": priors.Starlet2D1D(scales=1, energy_scales=1),
    "none": priors.Unregularized(),
    "doppler sheets": priors.DopplerSheets(1.5, 0.01, templates=2, vmax=0.0),
}


def observe(counts=2000.0, area=1.0, other_area=None, background=0.0) -> list[Dataset]:
    """Always operators of the same shapes, so that each prior is compiled once."""
    first = np.broadcast_to(np.asarray(area, float), SHAPE[0])
    second = first if other_area is None else np.broadcast_to(np.asarray(other_area, float), SHAPE[0])
    ccd = Response.from_kernels(SHAPE, lsf=[1, 2, 1], area=first, rebin=(2, 1, 1))
    calorimeter = Response.from_kernels(SHAPE, psf=[[1, 2, 1]], lsf=[1, 8, 1], area=second, rebin=(1, 2, 1))
    rng = np.random.default_rng(0)
    sky = rng.gamma(1.0, 1.0, SHAPE)
    sky *= counts / float(np.asarray(ccd.mv(sky)).sum())
    return [
        Dataset(np.zeros(response.out_shape), response, background, name=name).sample(sky, rng)
        for name, response in (("ccd", ccd), ("calorimeter", calorimeter))
    ]


def emptied(dataset: Dataset, *photons) -> Dataset:
    counts = np.zeros(dataset.counts.shape)
    for at in photons:
        counts[at] += 1
    return Dataset(counts, dataset.response, dataset.background, dataset.mask, dataset.name)


def all_but_one_masked(dataset: Dataset) -> Dataset:
    mask = np.zeros(dataset.counts.shape, bool)
    mask[1, 1, 1] = True
    return Dataset(dataset.counts, dataset.response, dataset.background, mask, dataset.name)


def cases() -> dict:
    return {
        "no photon in the first": lambda: [emptied(observe()[0]), observe()[1]],
        "no photon in the second": lambda: [observe()[0], emptied(observe()[1])],
        "one photon": lambda: [emptied(observe()[0], (1, 2, 3)), emptied(observe()[1])],
        "few photons": lambda: observe(counts=10.0),
        "a billion counts": lambda: observe(counts=1e9),
        "background above the counts": lambda: observe(counts=100.0, background=1e4),
        "background that was overrated": lambda: [
            Dataset(d.counts, d.response, 1e5, name=d.name) for d in observe(counts=10.0)
        ],
        "one bin of the first": lambda: [all_but_one_masked(observe()[0]), observe()[1]],
        "one bin of the second": lambda: [observe()[0], all_but_one_masked(observe()[1])],
        "tiny areas": lambda: observe(area=1e-12),
        "large areas": lambda: observe(area=1e12),
        "blind energies": lambda: observe(area=[0, 0, 1, 1, 1, 1]),
        "one instrument nearly blind": lambda: observe(other_area=1e-12),
        "one instrument far better": lambda: observe(other_area=1e12),
    }


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("case", cases())
def test_the_cube_is_finite_and_not_negative(case, prior):
    data = cases()[case]()
    cube = fuse(data, PRIORS[prior], max_iterations=60, progress=False)
    assert cube.values.shape == SHAPE
    assert np.isfinite(cube.values).all()
    assert cube.values.min() >= 0
    assert cube.status != "diverged"
    assert np.isfinite(cube.history.objective).all()
    for dataset in data:
        assert np.isfinite(cube.predict(dataset)).all()


def test_data_without_a_photon_are_refused():
    with pytest.raises(ValueError, match="ccd, calorimeter: expected some counts, found none"):
        fuse([emptied(d) for d in observe()], PRIORS["none"], progress=False)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("unit", [1e-12, 1e12])
def test_the_unit_of_the_area_changes_nothing_but_the_unit_of_the_cube(unit, prior):
    plain, scaled = (fuse(observe(area=area), PRIORS[prior], max_iterations=30, progress=False) for area in (1.0, unit))
    assert scaled.history.iteration[-1] == plain.history.iteration[-1]
    np.testing.assert_allclose(scaled.values * unit, plain.values, rtol=1e-3, atol=1e-3 * plain.values.max())


@pytest.mark.parametrize("prior", [p for p in PRIORS if p != "none"])
@pytest.mark.parametrize("counts", [3.0, 10.0, 30.0, 100.0])
def test_a_converged_run_is_no_worse_than_a_flat_sky(counts, prior):
    """With few photons too: the flat sky has next to no penalty, so its objective bounds that of the minimum."""
    from hifred.assembly import assemble
    from hifred.solvers import Stopping, minimise
    from hifred.solvers.driver import Scorer

    data = observe(counts=counts)
    solver, problem = assemble(data, PRIORS[prior])
    solution = minimise(solver, problem, Stopping(1000, 1e-4, False))
    assert solution.status.word == "converged"
    flat = np.full(SHAPE, 1.0)
    flat *= sum(d.counts.sum() for d in data) / sum(d.predict(flat).sum() for d in data)
    half_cstat = sum(d.cstat(flat) for d in data) / 2
    perfect = Scorer(problem.terms).perfect_fit
    assert solution.history[-1].objective - perfect <= 1.02 * half_cstat + 1


@pytest.mark.parametrize(
    ("shape", "prior"),
    [
        ((1, 1, 1), priors.Unregularized()),
        ((1, 4, 3), priors.Unregularized()),
        ((3, 1, 40), priors.LowRankSobolev(rank=1)),
    ],
)
def test_cubes_of_odd_shape(shape, prior):
    response = Response.from_kernels(shape, lsf=[1, 2, 1], psf=np.ones((3, 3)))
    cube = fuse([Dataset(np.full(shape, 7), response)], prior, max_iterations=5, progress=False)
    assert cube.values.shape == shape
    assert np.isfinite(cube.values).all()
    assert cube.values.min() >= 0


@pytest.mark.parametrize("prior", [priors.Unregularized(), priors.LowRankSobolev(rank=2)])
def test_a_bright_point_on_a_dark_sky(prior):
    """The rounding of an FFT, some 1e-7 of the brightest pixel, is more than the photons around it."""
    shape = (4, 46, 46)
    distance = np.hypot(*np.mgrid[-9:10, -9:10])
    response = Response.from_kernels(shape, psf=np.exp(-0.5 * (distance / 2) ** 2))
    assert response.operator.rounding > 0
    truth = np.zeros(shape)
    truth[:, 23, 23] = 1e7
    truth[:, :9, :9] = 0.01
    data = Dataset(np.zeros(shape), response).sample(truth)
    assert np.asarray(response.mv(truth)).min() < 0
    assert data.predict(truth).min() > 0
    assert data.counts[:, :9, :9].sum() > 0
    cube = fuse([data], prior, max_iterations=40, progress=False)
    assert cube.status != "diverged"
    assert np.isfinite(cube.values).all()
    assert cube.values.min() >= 0
    assert cube.values.sum() == pytest.approx(4e7, rel=0.01)


def test_many_data_sets():
    response = Response.from_kernels((3, 2, 2))
    data = [Dataset(np.full((3, 2, 2), n % 5), response, name=f"set {n}") for n in range(15)]
    cube = fuse(data, priors.Unregularized(), max_iterations=3, progress=False)
    assert cube.history.cstat.shape[1] == 15
    assert len(cube.provenance["inputs"]) == 15
    np.testing.assert_allclose(cube.values, 2.0, rtol=1e-5)
