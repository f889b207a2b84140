"""Priors on the cube itself: none, and sparsity of its 2D-1D starlet coefficients."""

from collections.abc import Sequence

from hifred.poisson import PoissonTerm
from hifred.priors.noise import noise_scale
from hifred.priors.prior import AnalysisL1, CubePrior, strength_of, whole_of
from hifred.priors.rank_one import RankOne
from hifred.priors.transform import Starlet


class Unregularized(CubePrior):
    """No prior: maximum likelihood, stopped when the data are fitted to their noise.

    `minimise over z >= 0 sum mu - n log mu`. The minimum itself fits the noise; so the run ends, by default, as soon as
    the C-stat falls to the value expected at the truth.

    Parameters
    ----------
    stop_at_noise : bool
        End there; otherwise go on to the minimum.
    """

    stop_at_noise: bool = True

    @property
    def ends_at_noise(self) -> bool:
        """As asked."""
        return self.stop_at_noise

    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne) -> None:
        """Nothing to prepare."""
        return


class Starlet2D1D(CubePrior):
    """Sparsity of the 2D-1D starlet coefficients (analysis form).

    `phi(z) = sum_j sum_i lambda_ji |(Psi_j z)_i|` with `Psi` the isotropic undecimated wavelets of the B3 spline,
    `scales` in space and then `energy_scales` along energy on each spatial scale, mirror edges; the smooth-smooth band
    is free (Lascar, Bobin & Acero 2025, A&A 694, A34). This analysis form is minimised itself, by a primal-dual method
    that keeps one bounded dual variable per coefficient (`hifred.solvers.primal_dual`), not by thresholding
    coefficients, which is the prox of neither form.

    Parameters
    ----------
    strength : float
        Weights in units of the noise: `lambda_ji = strength x` the standard deviation of coefficient `ji` of the
        gradient of the data term. The default is an oracle constant, chosen on the authors' toy problem by its truth.
    scales, energy_scales : int
        Numbers of scales in space and along energy.
    noise_scaled : bool
        Let the noise vary over the cube with the local brightness; otherwise one weight per band.
    """

    strength: float = strength_of(1.5)
    scales: int = whole_of("scales", 3, 1)
    energy_scales: int = whole_of("energy_scales", 2, 0)
    noise_scaled: bool = True

    @property
    def ends_at_noise(self) -> bool:
        """No: the prior decides how closely the data are fitted."""
        return False

    def prepare(self, terms: Sequence[PoissonTerm], start: RankOne) -> AnalysisL1:
        """Weights from the noise of the data."""
        shape, dtype = terms[0].operator.in_shape, start.image.dtype
        transform = Starlet(shape, self.scales, self.energy_scales, dtype)
        noise = noise_scale(terms, start.cube, transform, varying=self.noise_scaled)
        return AnalysisL1(transform, tuple(self.strength * scatter for scatter in noise))
