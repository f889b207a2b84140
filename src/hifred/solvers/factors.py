"""Factorised cubes: spectra of a few gases at many velocities, times maps; the cube is never formed during the fit."""

from dataclasses import replace
from functools import reduce
from operator import add

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from hifred.poisson import PoissonTerm
from hifred.priors.doppler_sheets import MOST_COLUMN
from hifred.priors.doppler_shift import OPAQUE, DopplerShift
from hifred.priors.relative import RelativeSmoothness
from hifred.priors.template_smoothness import TemplateSmoothness
from hifred.response.operator import Counts, Cube
from hifred.solvers.factor_term import TINY, FactorTerm, Maps, Spectra
from hifred.solvers.solver import Progress, Solver, State, change, half_cstats

# Bounds of the factor by which extrapolation may change a number, and of its exponent.
FACTOR = (0.2, 5.0)
MOMENTUM = 0.95
# Part of a plain step, in logarithms, that is taken where the whole one is too long.
SHORT = 0.3
# Factors are kept above this fraction of their mean: what is zero would stay zero.
LEAST = 1e-9
# A column that is sought is divided or multiplied by this at most in a step, and stays above the least, 1e22 cm-2.
LEAP, LEAST_COLUMN = 3.0, 1e-4
# The curvature of the penalty on light holds where light changes little: a bound for steps that change it by half.
SAFE = 2.0


class Factors(eqx.Module):
    """A cube as `z = sum_jk V_jk(e) sum_s f_s(j, p) m_s(k, p)`.

    Attributes
    ----------
    templates : array of shape (node, template)
        Spectra of the gases at rest, behind the absorber.
    profiles : array of shape (sheet, velocity, y, x)
        `f`: light of each sheet at each velocity.
    mixture : array of shape (sheet, template, y, x)
        `m`: of which gas; sums to 1 over templates.
    column : array of shape ()
        Hydrogen column of the absorber in front, 1e22 cm-2.
    """

    templates: Float[Array, "node template"]
    profiles: Float[Array, "sheet velocity y x"]
    mixture: Float[Array, "sheet template y x"]
    column: Float[Array, ""]

    @property
    def maps(self) -> Maps:
        """`a_jk(p)`, with components in the order (velocity, template)."""
        maps = jnp.einsum("sjyx,skyx->jkyx", self.profiles, self.mixture)
        return maps.reshape(-1, *maps.shape[2:])


class FactorProblem(eqx.Module):
    """Data sets on factors, and the penalties on maps.

    Attributes
    ----------
    data : tuple of FactorTerm
        The data.
    shift : DopplerShift
        From templates to spectra.
    totals : array of shape (node,)
        What each node of a template adds to the sum of its spectra, in the mean over velocities, without absorber.
    image : array of shape (y, x)
        Light of each pixel, to which profiles are relative.
    unit : array of shape ()
        Counts for each photon of the sky, in the mean: light is penalised in counts.
    profile_penalty, mixture_penalty, light_penalty : RelativeSmoothness
        Of profiles (space and velocity), mixture (space) and the light of each pixel, `sum_sj f` (space).
    template_penalty : TemplateSmoothness
        Of templates along energy.
    start : Factors
        Where to start.
    seeks_column : bool
        Whether the column of the absorber is to be found; with `column^2 / 2` as a penalty.
    """

    data: tuple[FactorTerm, ...]
    shift: DopplerShift
    totals: Float[Array, " node"]
    image: Float[Array, "y x"]
    unit: Float[Array, ""]
    profile_penalty: RelativeSmoothness
    mixture_penalty: RelativeSmoothness
    light_penalty: RelativeSmoothness
    template_penalty: TemplateSmoothness
    start: Factors
    seeks_column: bool = eqx.field(static=True)

    @property
    def terms(self) -> tuple[PoissonTerm, ...]:
        """The data terms."""
        return tuple(term.data for term in self.data)

    def spectra(self, factors: Factors) -> Spectra:
        """`V`, with components in the order (velocity, template)."""
        spectra = self.shift.spectra(factors.templates, factors.column)
        return spectra.reshape(spectra.shape[0], -1)

    def predict(self, factors: Factors) -> tuple[Counts, ...]:
        """Expected counts of all data sets."""
        spectra, maps = self.spectra(factors), factors.maps
        return tuple(term.predict(term.fold(spectra), maps) for term in self.data)

    def penalty(self, factors: Factors) -> Float[Array, ""]:
        """Of profiles, mixture, light, templates and column."""
        light = self.unit * factors.profiles.sum((0, 1), keepdims=True)
        total = (
            self.profile_penalty.value(factors.profiles / self.image)
            + self.mixture_penalty.value(factors.mixture)
            + self.light_penalty.value(light)
            + self.template_penalty.value(factors.templates)
        )
        return total + 0.5 * factors.column**2 if self.seeks_column else total

    def profile_slopes(self, factors: Factors) -> tuple[Array, Array]:
        """Gradient and curvature of the penalties by profiles, where mixtures sum to 1."""
        gradient, curvature = self.profile_penalty.slopes(factors.profiles / self.image)
        slope, bend = self._light_slopes(factors)
        return gradient / self.image + slope, curvature / self.image**2 + bend / jnp.maximum(factors.profiles, TINY)

    def mixture_slopes(self, factors: Factors) -> tuple[Array, Array]:
        """The same by mixtures: of light, they are what their sheets shine."""
        gradient, curvature = self.mixture_penalty.slopes(factors.mixture)
        slope, bend = self._light_slopes(factors)
        shine = factors.profiles.sum(1, keepdims=True)
        return gradient + shine * slope, curvature + shine * bend / jnp.maximum(factors.mixture, TINY)

    def _light_slopes(self, factors: Factors) -> tuple[Array, Array]:
        """Gradient by light, and curvature times light, to be divided by each part of it.

        A change of the light `F = sum_i f_i` is spread over its parts by `(sum_i d_i)^2 <= sum_i F / f_i d_i^2`.
        """
        light = self.unit * factors.profiles.sum((0, 1), keepdims=True)
        slope, bend = self.light_penalty.slopes(light)
        return self.unit * slope, SAFE * self.unit * bend * light


class FactorState(State):
    """State of `FactorEM`: the factors, the last plain image of factors, the models, the momentum counter."""

    factors: Factors
    image: Factors
    models: tuple[Array, ...]
    momentum: Float[Array, ""]


class FactorEM(Solver[FactorProblem, FactorState]):
    """Alternating multiplicative steps for profiles, mixture and templates, with momentum on the logarithms.

    Profiles and mixture: the minimum of the EM majoriser plus a quadratic that has the gradient of the penalty and
    lies, to second order, above it: the root of `q x^2 + b x - n = 0`. Templates: the minimum of the majoriser plus
    their penalty, by Newton steps along energy; without a penalty it is the plain multiplicative step. Where the
    extrapolated factors are worse than the ones before, half the extrapolation is tried, then the plain ones, then a
    part of their step, or none. (After METHOD, section 6.)
    """

    def init(self, problem: FactorProblem) -> FactorState:
        """Start from the problem's factors."""
        factors = normalised(problem, problem.start)
        models = problem.predict(factors)
        zero = jnp.zeros((), problem.image.dtype)
        progress = Progress(half_cstats(problem.terms, models), problem.penalty(factors), zero + jnp.inf)
        return FactorState(progress, factors, factors, models, zero + 1)

    def step(self, problem: FactorProblem, state: FactorState) -> FactorState:
        """One step of each factor, and an extrapolation."""
        terms = problem.terms
        plain, decrement = self._plain(problem, state)
        following = 0.5 * (1 + jnp.sqrt(1 + 4 * state.momentum**2))
        exponent = jnp.minimum((state.momentum - 1) / following, MOMENTUM)

        def ahead():
            return _extrapolated(problem, plain, state.image, exponent), following

        def halfway():
            return _extrapolated(problem, plain, state.image, 0.5 * exponent), following

        def alone():
            return plain, jnp.ones_like(following)

        def short():
            part = -SHORT * jnp.ones_like(exponent)
            return _extrapolated(problem, state.factors, plain, part), 0 * exponent + 1

        attempts = (ahead, halfway, alone, short)

        def attempt(tried):
            number, _ = tried
            factors, momentum = jax.lax.switch(number, attempts)
            factors = normalised(problem, factors)
            models, penalty = problem.predict(factors), problem.penalty(factors)
            falls = change(terms, state.models, models) + penalty - state.progress.penalty <= 0
            # Where the last one is worse as well, things stay.
            ends = falls | (number == len(attempts) - 1)
            better = (factors, models, penalty, momentum)
            same = (state.factors, state.models, state.progress.penalty, jnp.ones_like(momentum))
            chosen = jax.tree.map(lambda new, old: jnp.where(falls, new, old), better, same)
            return jnp.where(ends, len(attempts), number + 1), chosen

        start = (state.factors, state.models, state.progress.penalty, following)
        _, (factors, models, penalty, momentum) = jax.lax.while_loop(
            lambda t: t[0] < len(attempts), attempt, (0, start)
        )
        progress = Progress(half_cstats(terms, models), penalty, decrement)
        return FactorState(progress, factors, plain, models, momentum)

    def _plain(self, problem: FactorProblem, state: FactorState) -> tuple[Factors, Float[Array, ""]]:
        """The plain steps, one factor after the other, and how far the first one went."""
        now, data = state.factors, problem.data
        spectra = problem.spectra(now)
        folded = [term.fold(spectra) for term in data]
        shape = (now.profiles.shape[1], now.mixture.shape[1], *problem.image.shape)
        sensitivity = reduce(add, [t.map_sensitivity(f) for t, f in zip(data, folded, strict=True)]).reshape(shape)

        def back(models):
            parts = [t.to_maps(f, t.ratio(mu)) for t, f, mu in zip(data, folded, models, strict=True)]
            return reduce(add, parts).reshape(shape)

        def predict(factors):
            maps = factors.maps
            return [t.predict(f, maps) for t, f in zip(data, folded, strict=True)]

        over, under = back(state.models), sensitivity
        profiles = root(
            now.profiles, jnp.einsum("jkyx,skyx->sjyx", over, now.mixture),
            jnp.einsum("jkyx,skyx->sjyx", under, now.mixture), problem.profile_slopes(now),
        )  # fmt: skip
        moved = jnp.einsum("jkyx,skyx->sjyx", under, now.mixture) * (profiles - now.profiles) ** 2
        decrement = 0.5 * (moved / jnp.maximum(now.profiles, TINY)).sum((2, 3)).sum()
        now = replace(now, profiles=profiles)
        over = back(predict(now))
        mixture = root(
            now.mixture, jnp.einsum("jkyx,sjyx->skyx", over, profiles),
            jnp.einsum("jkyx,sjyx->skyx", under, profiles), problem.mixture_slopes(now),
        )  # fmt: skip
        now = replace(now, mixture=mixture)
        maps = now.maps
        models, column = _column(problem, now, maps) if problem.seeks_column else (predict(now), now.column)
        now = replace(now, column=column)
        up = reduce(add, [t.to_spectra(maps, t.ratio(mu)) for t, mu in zip(data, models, strict=True)])
        down = reduce(add, [t.spectrum_sensitivity(maps) for t in data])
        _, transpose = jax.vjp(lambda templates: problem.shift.spectra(templates, now.column), now.templates)
        cube = (spectra.shape[0], *shape[:2])
        (up,), (down,) = transpose(up.reshape(cube)), transpose(down.reshape(cube))
        templates = problem.template_penalty.step(now.templates, up, down)
        return normalised(problem, replace(now, templates=templates)), decrement

    def cube(self, problem: FactorProblem, state: FactorState) -> Cube:
        """`V a`."""
        return jnp.einsum("er,ryx->eyx", problem.spectra(state.factors), state.factors.maps)


def _column(problem: FactorProblem, now: Factors, maps: Maps) -> tuple[list[Counts], Float[Array, ""]]:
    """The column after a step of Fisher scoring, all else as it is, and expected counts (to first order in it)."""

    def predict(column):
        spectra = problem.spectra(replace(now, column=column))
        return [term.predict(term.fold(spectra), maps) for term in problem.data]

    models, changes = jax.jvp(predict, (now.column,), (jnp.ones_like(now.column),))
    triples = [(t, jnp.where(t.data.mask, d, 0), mu) for t, d, mu in zip(problem.data, changes, models, strict=True)]
    slope = reduce(add, [((1 - t.ratio(mu)) * d).sum((1, 2)).sum() for t, d, mu in triples])
    bend = reduce(add, [(d * d / mu).sum((1, 2)).sum() for _, d, mu in triples])
    column = now.column - (slope + now.column) / (bend + 1)
    column = jnp.clip(column, now.column / LEAP, LEAP * now.column)
    step = column - now.column
    return [jnp.maximum(mu + step * d, 0.5 * mu) for d, mu in zip(changes, models, strict=True)], column


@eqx.filter_jit
def moved(problem: FactorProblem, state: FactorState) -> FactorState:
    """The state of a run, for a problem that differs from its own in penalties alone."""
    return replace(state, progress=replace(state.progress, penalty=problem.penalty(state.factors)))


def root(old, over, under, slopes):
    """Minimiser of `under x - over old log x + g x + (q / 2) (x - old)^2`; `slopes` are `g` and `q`."""
    gradient, q = slopes
    b = under + gradient - q * old
    c = over * old
    square = jnp.sqrt(b * b + 4 * q * c)
    return jnp.where(b > 0, 2 * c / (b + square + TINY), (square - b) / (2 * q + TINY))


def normalised(problem: FactorProblem, factors: Factors) -> Factors:
    """The same cube with mixtures that sum to 1, and templates that do as well, moved without an absorber in front.

    In the mean over velocities. A column that is sought is brought between its bounds, one that is not stays.
    """
    totals = jnp.maximum(problem.totals @ factors.templates, TINY)
    templates = factors.templates / totals
    mixture = factors.mixture * totals[:, None, None]
    light = jnp.maximum(mixture.sum(1, keepdims=True), TINY)
    column = jnp.clip(factors.column, LEAST_COLUMN, MOST_COLUMN) if problem.seeks_column else problem.start.column
    return Factors(templates, factors.profiles * light, mixture / light, column)


def _extrapolated(problem: FactorProblem, new: Factors, old: Factors, exponent: Float[Array, ""]) -> Factors:
    """`new (new / old)^exponent`, all above a floor; that of templates lies behind the absorber as they do."""
    hidden = jnp.exp(-jnp.clip(new.column * problem.shift.rest_opacity, 0, OPAQUE))[:, None]

    def along(new: Array, old: Array, dimmed: Array | float = 1.0) -> Array:
        floor = LEAST * new.mean() * dimmed + TINY
        new, old = jnp.maximum(new, floor), jnp.maximum(old, floor)
        return new * jnp.clip((new / old) ** exponent, *FACTOR)

    return replace(jax.tree.map(along, new, old), templates=along(new.templates, old.templates, hidden))
