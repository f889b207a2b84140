from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hifred
from hifred import Dataset, Response, factorisation
from hifred.absorption import transmission
from hifred.assembly import assemble
from hifred.doppler import energy_factor
from hifred.priors import DopplerSheets
from hifred.priors.doppler_shift import template_grid
from hifred.priors.relative import even_weights
from hifred.solvers import FactorTerm, Status, Stopping, minimise, solution_cube
from hifred.solvers.factors import _column, _extrapolated, normalised
from hifred.solvers.solver import change

SHAPE = (30, 6, 6)
EDGES = 6.0 + 0.02 * np.arange(31)


@pytest.fixture
def data(sky, observe, instruments):
    """Both instruments, with backgrounds and masked pixels, on a grid with energies."""
    _, kernels = instruments
    grid = hifred.CubeGrid(EDGES, SHAPE[1:], 5.0, (10.0, 20.0))
    made = observe(sky(SHAPE, 3e4), kernels)
    out = []
    for one in made:
        mask = np.ones(one.counts.shape, bool)
        mask[:, 0, 0] = False
        mask[-1] = False
        background = np.full(one.counts.shape, 0.3)
        counts = one.counts + np.random.default_rng(5).poisson(background)
        out.append(Dataset(counts, one.response, background, mask, one.name, grid))
    return out


PRIOR = DopplerSheets(strength=1.5, templates=3, sheets=2, vmax=2000.0, velocity_step=1000.0, light_strength=0.01)


@pytest.mark.parametrize("strength", [0.0, 1.0, 100.0])
def test_the_objective_never_rises(data, assert_never_rises, strength):
    prior = DopplerSheets(strength, min(strength, 1.0), templates=3, sheets=2, vmax=2000.0, velocity_step=1000.0)
    solver, problem = assemble(data, prior)
    solution = minimise(solver, problem, Stopping(60, 0.0, at_noise=False))
    assert_never_rises(solution.history)
    assert solution.history[-1].objective < solution.history[5].objective < solution.history[0].objective


def test_templates_of_gas_at_rest_are_not_smoothed(data):
    def stiffness(**options):
        _, problem = assemble(data, replace(PRIOR, template_strength=0.7, **options))
        return float(problem.template_penalty.strength)

    assert stiffness() == pytest.approx(0.7)
    assert stiffness(vmax=0.0, velocity_step=None, smoothing=300.0) == 0
    assert stiffness(vmax=0.0, velocity_step=None) == 0, "a line may be as narrow as a bin"


def test_even_slopes_of_velocities_and_mixtures_cost_nothing_those_of_light_do(data):
    problem = assemble(data, PRIOR)[1]
    ramp = jnp.asarray(1 + np.add.outer(np.arange(9.0), 2 * np.arange(9.0)), problem.image.dtype)[None, None]
    pulls = []
    for penalty in (problem.profile_penalty, problem.mixture_penalty, problem.light_penalty):
        even = eqx.tree_at(lambda p: p.weights, penalty, jnp.asarray(even_weights((9, 9)), ramp.dtype))
        pulls.append(abs(float(even.slopes(ramp)[0][0, 0, 4, 4]) / float(even.strength)))
    np.testing.assert_allclose(pulls[:2], 0, atol=1e-6)
    assert pulls[2] > 1e-3


def test_a_star_stays_a_point(observe, monkeypatch):
    shape = (4, 9, 9)
    sky = np.ones(shape)
    sky[:, 4, 4] = 300.0
    offsets = np.hypot(*np.mgrid[-2:3, -2:3])
    (camera,) = observe(1e4 * sky / sky.sum(), {"camera": {"psf": np.exp(-0.5 * offsets**2)}})

    def peak(edge):
        monkeypatch.setattr(factorisation, "EDGE", edge)
        solver, problem = assemble([camera], DopplerSheets(0.0, 0.3, templates=1, sheets=1, vmax=0.0))
        assert float(problem.light_penalty.edge) == pytest.approx(edge / 0.3)
        state = minimise(solver, problem, Stopping(200, 0.0, at_noise=False)).state
        image = np.asarray(state.factors.profiles)[0, 0]
        return image[4, 4] / image.sum() * sky.sum() / sky[:, 4, 4].sum()

    assert peak(factorisation.EDGE) > 0.95
    assert peak(1e9) < 0.8, "without edges it is blurred"


def test_half_an_extrapolation_is_tried_before_momentum_is_dropped(data):
    solver, problem = assemble(data, PRIOR)
    state = minimise(solver, problem, Stopping(20, 0.0, at_noise=False)).state
    plain, _ = eqx.filter_jit(solver._plain)(problem, state)
    following = 0.5 * (1 + np.sqrt(1 + 4 * float(state.momentum) ** 2))
    exponent = (float(state.momentum) - 1) / following

    def image(far):
        """Where the last step began, farther off: longer extrapolations."""
        return jax.tree.map(
            lambda new, old: jnp.maximum(new, 1e-12) * (old / jnp.maximum(new, 1e-12)) ** far, plain, state.image
        )

    @eqx.filter_jit
    def rises(far):
        """Whether the objective surely rises, and surely falls, with the whole extrapolation and with half of it."""

        def rise(part):
            new = normalised(problem, _extrapolated(problem, plain, image(far), part * exponent))
            models, penalty = problem.predict(new), problem.penalty(new)
            return change(problem.terms, state.models, models) + penalty - state.progress.penalty

        found = jax.lax.map(rise, jnp.asarray([1.0, 0.5], jnp.float32))
        return found > 0, found < 0

    @eqx.filter_jit
    def momentum(far):
        return solver.step(problem, replace(state, image=image(far))).momentum

    far = next(f for f in jnp.arange(1.0, 40.0) if rises(f)[0][0] and rises(f)[1][1])
    assert float(momentum(far)) == pytest.approx(following, rel=1e-5), "not dropped"
    far = next(f for f in jnp.arange(far, 200.0) if rises(f)[0].all())
    assert float(momentum(far)) == 1


def test_predictions_of_the_factors_are_those_of_their_cube(data):
    solver, problem = assemble(data, PRIOR)
    solution = minimise(solver, problem, Stopping(5, 0.0, at_noise=False))
    cube = solution_cube(solver, problem, solution)
    assert cube.min() >= 0
    for model, dataset in zip(solution.state.models, data, strict=True):
        np.testing.assert_allclose(np.asarray(model), dataset.predict(cube), rtol=2e-4, atol=1e-4)


def test_gauge(data):
    solver, problem = assemble(data, PRIOR)
    factors = minimise(solver, problem, Stopping(3, 0.0, at_noise=False)).state.factors
    np.testing.assert_allclose(np.asarray(factors.mixture).sum(1), 1, rtol=1e-5)
    spectra = np.asarray(problem.shift.spectra(factors.templates))
    np.testing.assert_allclose(spectra.sum(0).mean(0), 1, rtol=1e-5)


def test_back_projections_are_gradients(data):
    term = FactorTerm.of(data[0], 4)
    rng = np.random.default_rng(0)
    spectra = jnp.asarray(rng.random((SHAPE[0], 4)), jnp.float32)
    maps = jnp.asarray(rng.random((4, *SHAPE[1:])), jnp.float32)

    def expected(spectra, maps):
        return term.predict(term.fold(spectra), maps)

    ratios = jnp.asarray(rng.random(term.data.counts.shape), jnp.float32)
    by_spectra, by_maps = jax.grad(lambda v, a: (expected(v, a) * ratios).sum(), (0, 1))(spectra, maps)
    np.testing.assert_allclose(term.to_spectra(maps, ratios), by_spectra, rtol=1e-4)
    np.testing.assert_allclose(term.to_maps(term.fold(spectra), ratios), by_maps, rtol=1e-4)
    ones = term.data.mask.astype(jnp.float32)
    np.testing.assert_allclose(
        term.map_sensitivity(term.fold(spectra)), term.to_maps(term.fold(spectra), ones), rtol=1e-4
    )
    np.testing.assert_allclose(term.spectrum_sensitivity(maps), term.to_spectra(maps, ones), rtol=1e-4)


def test_sensitivities_where_a_response_is_a_sum_of_products():
    """Of areas and PSFs that vary with energy, factors may be negative."""
    rng = np.random.default_rng(0)
    shape = (6, 4, 5)
    area = 1 + rng.random(shape)
    area[0] = area[:, 1, 1] = 0
    psf = rng.random((6, 3, 3))
    response = Response.from_kernels(shape, area=area, psf=psf / psf.sum((1, 2), keepdims=True))
    term = FactorTerm.of(Dataset(rng.poisson(20.0, shape), response), 2)
    assert len(term.folds) > 1
    assert term.whole
    spectra, maps = (jnp.asarray(rng.random(s), jnp.float32) for s in ((6, 2), (2, 4, 5)))
    folded, ones = term.fold(spectra), jnp.ones(shape, jnp.float32)
    np.testing.assert_allclose(term.map_sensitivity(folded), term.to_maps(folded, ones), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(term.spectrum_sensitivity(maps), term.to_spectra(maps, ones), rtol=1e-4, atol=1e-5)
    cube = np.einsum("er,ryx->eyx", spectra, maps)
    np.testing.assert_allclose(term.predict(folded, maps), response.mv(cube), rtol=1e-4, atol=1e-4)
    expected = np.einsum("er,eyx->ryx", spectra, term.data.sensitivity())
    np.testing.assert_allclose(term.map_sensitivity(folded), expected, rtol=1e-4, atol=1e-4)


def test_single_bins_may_be_left_out(data, assert_never_rises):
    """What is left out has no say: neither its counts nor its response."""
    first = data[0]
    mask = first.mask.copy()
    mask[3, 2, 1] = mask[4, 5, 5] = False
    holes = Dataset(first.counts, first.response, first.background, mask, first.name, first.grid)
    spoilt = first.counts.copy()
    spoilt[3, 2, 1] += 1000
    other = Dataset(spoilt, first.response, first.background, mask, first.name, first.grid)
    one = hifred.fuse([holes, data[1]], PRIOR, max_iterations=5, progress=False)
    two = hifred.fuse([other, data[1]], PRIOR, max_iterations=5, progress=False)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-5)
    term = FactorTerm.of(holes, 4)
    rng = np.random.default_rng(0)
    spectra = jnp.asarray(rng.random((SHAPE[0], 4)), jnp.float32)
    maps = jnp.asarray(rng.random((4, *SHAPE[1:])), jnp.float32)
    ones = term.data.mask.astype(jnp.float32)
    total = (ones * (term.predict(term.fold(spectra), maps) - term.data.background)).sum()
    assert float((term.map_sensitivity(term.fold(spectra)) * maps).sum()) == pytest.approx(float(total), rel=1e-3)
    assert float((term.spectrum_sensitivity(maps) * spectra).sum()) == pytest.approx(float(total), rel=1e-3)


def test_a_moving_gas_is_found_at_its_velocities(x64):
    """One gas with two lines, receding on the left and approaching on the right; noiseless data."""
    edges = 6.0 + 0.004 * np.arange(201)
    grid = hifred.CubeGrid(edges, (6, 8), 5.0, (10.0, 20.0))
    velocity = np.where(np.arange(8) < 4, 1500.0, -1500.0) * np.ones((6, 1))
    lines = [
        np.exp(-0.5 * ((grid.energies[:, None, None] / (rest * (1 - velocity / 299792.458)) - 1) / 0.0015) ** 2)
        for rest in (6.3, 6.5)
    ]
    cube = 200 * (lines[0] + 0.6 * lines[1]) + 0.5
    ccd = Response.from_kernels(
        cube.shape, lsf=np.exp(-0.5 * (np.arange(-60, 61) / 15) ** 2), rebin=(5, 1, 1), dtype=float
    )
    offsets = np.hypot(*np.mgrid[-3:4, -3:4])
    calorimeter = Response.from_kernels(
        cube.shape, psf=np.exp(-0.5 * (offsets / 1.0) ** 2), rebin=(1, 2, 2), dtype=float
    )
    data = [
        Dataset(np.asarray(response.mv(cube)), response, name=name, grid=grid)
        for name, response in (("ccd", ccd), ("calorimeter", calorimeter))
    ]
    prior = DopplerSheets(strength=0.1, templates=1, sheets=1, vmax=3000.0, velocity_step=500.0, light_strength=0.0)
    fused = hifred.fuse(data, prior, max_iterations=150, progress=False)
    found = fused.parts.velocity
    # Spectra and velocities have a common offset that nothing fixes; the difference of the two sides is measured.
    apart = found[:, :3].mean() - found[:, 5:].mean()
    assert apart == pytest.approx(3000, rel=0.15)
    assert hifred.metrics.nmse(fused.values, cube) < -15


OPTIONS = {
    "templates": ({"templates": 0}, "templates: expected at least 1"),
    "sheets": ({"sheets": 0}, "sheets: expected at least 1"),
    "negative vmax": ({"vmax": -1.0}, "vmax: expected a speed"),
    "negative light": ({"light_strength": -1.0}, "light_strength: expected 0 to"),
    "light beyond single precision": (
        {"light_strength": 1e300},
        r"light_strength: expected 0 to 1e\+12, found 1e\+300",
    ),
    "very many velocities": ({"vmax": 2e3, "velocity_step": 1e-3}, "velocity_step: expected a speed of 1 to 100000"),
    "many velocities": ({"vmax": 9e3, "velocity_step": 2.0}, "velocity_step: expected at least vmax / 600, 15 km/s"),
    "step of zero": ({"velocity_step": 0.0}, "velocity_step: expected a speed of 1"),
    "opaque": ({"column_density": 101.0}, "column_density: expected 0 to 100"),
    "words": ({"vmax": "fast"}, "vmax: expected a number"),
    "strength": ({"strength": -1.0}, "strength: expected 0 to"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_are_checked(name, unchecked):
    options, message = OPTIONS[name]
    with pytest.raises(ValueError, match=message):
        DopplerSheets(**options)


def test_without_energies_nothing_may_move(sky, observe, instruments, monkeypatch):
    data = observe(sky(SHAPE, 1e4), instruments[1])
    with pytest.raises(ValueError, match="expected data sets with a grid"):
        hifred.fuse(data, PRIOR, progress=False)
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="expected data sets with a grid"):
        patch.setattr("hifred.split.Split.foretold", None)  # said before any fit
        hifred.fuse(data, DopplerSheets(smoothing=100.0), progress=False)
    fused = hifred.fuse(data, DopplerSheets(strength=1.5, templates=2, sheets=1), max_iterations=5, progress=False)
    assert fused.parts.velocities.tolist() == [0.0]


def test_slopes_are_the_gradient_of_the_penalty(data, x64):
    _, problem = assemble(data, PRIOR)
    rng = np.random.default_rng(2)
    near = jax.tree.map(lambda a: jnp.asarray(a * rng.uniform(0.5, 1.5, a.shape)), problem.start)
    mixture = near.mixture / near.mixture.sum(1, keepdims=True)
    factors = eqx.tree_at(lambda f: f.mixture, near, mixture)
    gradient = eqx.filter_jit(eqx.filter_grad(lambda f: problem.penalty(f)))(factors)
    slopes, curvature = eqx.filter_jit(problem.profile_slopes)(factors)
    scale = np.abs(np.asarray(gradient.profiles)).max()
    np.testing.assert_allclose(np.asarray(slopes), np.asarray(gradient.profiles), rtol=2e-4, atol=1e-5 * scale)
    assert np.asarray(curvature).min() > 0
    # The light is that of the profiles, whose mixtures sum to 1; seen from mixtures, it has a slope of its own.
    own, _ = eqx.filter_jit(problem.mixture_penalty.slopes)(mixture)
    total, _ = eqx.filter_jit(problem.mixture_slopes)(factors)
    light = lambda m: problem.light_penalty.value(  # noqa: E731
        problem.unit * jnp.einsum("sjyx,skyx->yx", factors.profiles, m)[None, None]
    )
    expected = np.asarray(own) + np.asarray(eqx.filter_jit(jax.grad(light))(mixture))
    np.testing.assert_allclose(np.asarray(total), expected, rtol=2e-4, atol=1e-5 * np.abs(expected).max())


def behind_absorber(observe, column, counts=2e6):
    """Gas that recedes at one side and comes at the other, with a line and a continuum, behind an absorber."""
    edges, shape = 0.5 + 0.001 * np.arange(121), (5, 6)
    energies = 0.5 * (edges[1:] + edges[:-1])
    velocity = np.linspace(-4000, 4000, shape[1])
    line = 0.574 * energy_factor(velocity)
    spectra = 1 + 8 * np.exp(-0.5 * ((energies[:, None] - line) / 0.001) ** 2)
    # What passes each bin, not its middle.
    passed = transmission(energies[:, None] + 0.001 * (np.arange(20) - 9.5) / 20, column).mean(1)
    sky = (spectra * passed[:, None])[:, None, :] * np.ones((1, *shape[:1], 1))
    grid = hifred.CubeGrid(edges, shape, 5.0, (10.0, 20.0))
    narrow = np.exp(-0.5 * (np.arange(-8, 9) / 3.0) ** 2)
    made = observe(counts * sky / sky.sum(), {"camera": {"lsf": narrow / narrow.sum()}})
    return [Dataset(one.counts, one.response, one.background, one.mask, one.name, grid) for one in made]


MOVING = DopplerSheets(1.0, 0.01, templates=2, sheets=1, vmax=5000.0)


# A deep column is approached slowly.
@pytest.mark.parametrize(("column", "within"), [(0.0, 0.03), (0.2, 0.05), (0.6, 0.15)])
def test_the_column_of_an_absorber_is_found(observe, assert_never_rises, column, within):
    solver, problem = assemble(behind_absorber(observe, column), MOVING)
    solution = minimise(solver, problem, Stopping(150, 0.0, at_noise=False))
    assert_never_rises(solution.history)
    assert float(solution.state.factors.column) == pytest.approx(column, abs=within)


def test_a_column_that_is_given_stays(observe):
    datasets = behind_absorber(observe, 0.6)
    fits = {}
    for column in (0.0, 0.6):
        solver, problem = assemble(datasets, replace(MOVING, column_density=column))
        fits[column] = minimise(solver, problem, Stopping(60, 0.0, at_noise=False))
        assert np.float32(column) == fits[column].state.factors.column
    assert fits[0.6].history[-1].data_term < fits[0.0].history[-1].data_term - 100


def test_gas_at_rest_tells_no_column(data):
    _, problem = assemble(data, DopplerSheets(1.0, 0.01, templates=2, vmax=0.0))
    assert not problem.seeks_column
    assert float(problem.start.column) == 0


def test_the_step_in_column_is_that_of_the_objective(data, x64):
    """Slope and curvature against differences of the objective; data with backgrounds and masked pixels."""
    _, problem = assemble(data, PRIOR)
    shift = problem.shift
    # No edge lies in this band: one is made.
    edge, rest = (jnp.linspace(0, 1, n) > 0.4 for n in (shift.width.size, shift.nodes))
    shift = replace(shift, opacity=6.0 * edge, rest_opacity=6.0 * rest)
    problem = replace(problem, shift=shift)
    now = replace(normalised(problem, problem.start), column=jnp.asarray(0.3))

    def objective(column):
        models = problem.predict(replace(now, column=jnp.asarray(column)))
        return (
            sum(
                float(jnp.where(t.mask, mu - t.counts * jnp.log(mu), 0).sum())
                for t, mu in zip(problem.terms, models, strict=True)
            )
            + 0.5 * column**2
        )

    models, column = _column(problem, now, now.maps)
    slope = (objective(0.301) - objective(0.299)) / 0.002
    changes = [
        (b - a) / 0.002
        for a, b in zip(*(problem.predict(replace(now, column=jnp.asarray(c))) for c in (0.299, 0.301)), strict=True)
    ]
    before = problem.predict(now)
    bend = 1 + sum(
        float(jnp.where(t.mask, d**2 / mu, 0).sum()) for t, d, mu in zip(problem.terms, changes, before, strict=True)
    )
    assert float(column) == pytest.approx(np.clip(0.3 - slope / bend, 0.1, 0.9), rel=1e-3)
    assert 0.11 < float(column) < 0.89, "not at a bound"
    for model, old, tangent in zip(models, before, changes, strict=True):
        moved = np.maximum(old + (float(column) - 0.3) * tangent, 0.5 * old)
        np.testing.assert_allclose(model, moved, rtol=1e-3)


@pytest.mark.parametrize("column", [None, 0.0, 5.0, 100.0])
@pytest.mark.parametrize("counts", [30, 2e8])
def test_any_column_leaves_a_finite_cube(observe, column, counts):
    datasets = behind_absorber(observe, 0.2, counts)
    solver, problem = assemble(datasets, replace(MOVING, column_density=column))
    solution = minimise(solver, problem, Stopping(10, 0.0, at_noise=False))
    cube = solution_cube(solver, problem, solution)
    assert np.all(np.isfinite(cube) & (cube >= 0))
    assert 0 <= float(solution.state.factors.column) <= 100
    if column != 100:  # gas that bright behind a wall is not brought down in so few steps
        assert cube.sum() == pytest.approx(counts, rel=0.3)


@pytest.mark.parametrize("column", [1.0, 5.0])
def test_a_column_over_few_bins_starts_near_the_data(observe, column):
    """From 0.3 to 0.54 keV what passes falls by many powers of ten from bin to bin."""
    shape, counts = (12, 4, 5), 5e3
    y, x = np.mgrid[: shape[1], : shape[2]]
    sky = (1 + np.exp(-np.linspace(0, 3, 12)))[:, None, None] * np.exp(-0.2 * ((y - 2) ** 2 + (x - 1) ** 2))
    taps = np.arange(-6, 7)
    made = observe(counts * sky / sky.sum(), {"camera": {"lsf": np.exp(-0.5 * (taps / 3) ** 2)}, "other": {}})
    grid = hifred.CubeGrid(0.3 + 0.02 * np.arange(13), shape[1:], 5.0, (10.0, 20.0))
    datasets = [Dataset(one.counts, one.response, name=one.name, grid=grid) for one in made]
    solver, problem = assemble(datasets, replace(MOVING, column_density=column))
    solution = minimise(solver, problem, Stopping(100, 0.0, at_noise=False))
    assert solution.status is Status.MAX_ITERATIONS
    assert solution.history[0].data_term < solution.history[-1].data_term + 1e3 * counts, "not by powers of ten"
    cube = solution_cube(solver, problem, solution)
    assert cube.sum() == pytest.approx(counts, rel=0.1)


def test_the_start_is_the_one_spectrum_behind_any_column(observe):
    datasets = behind_absorber(observe, 0.6)
    seen = np.asarray(datasets[0].counts).sum((1, 2))
    for column in (0.0, 0.6, 3.0):
        prior = replace(MOVING, templates=1, column_density=column)
        _, problem = assemble(datasets, prior)
        middle = prior.vmax // prior.step
        at_rest = np.asarray(problem.shift.spectra(problem.start.templates, column))[:, int(middle), 0]
        lit = seen > 0.1 * seen.max()
        ratio = at_rest[lit] / seen[lit]
        # Lines of the absorber, which the camera does not see, are in it.
        assert np.median(np.abs(ratio / np.median(ratio) - 1)) < 0.1


def test_gas_at_rest_hardly_depends_on_the_column():
    grid = template_grid(0.5 + 0.005 * np.arange(201), 3000.0, 300.0, 150.0, np.float32)
    assert grid.shift.nodes > 300, "nodes are finer than bins"
    seen = {n: np.asarray(grid.shift.spectra(jnp.ones((grid.shift.nodes, 1)), n))[:, 10, 0] for n in (0.0, 0.3)}
    ratio = seen[0.3] / seen[0.0]
    assert 0.7 < ratio.min() <= ratio.max() < 1.4
    assert np.median(np.abs(ratio - 1)) < 0.01
