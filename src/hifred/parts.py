"""The parts that a factorised cube is made of: gases, and where and how fast they move."""

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

from hifred.fitsio import FileError, FitsFile

NAMES = ("TEMPLATES", "VELOCITIES", "PROFILES", "MIXTURE")
# Keyword of the absorber's column, after the parameter of the absorption models of XSPEC.
COLUMN = "NH"


@dataclass(frozen=True, eq=False)
class Parts:
    """Gases with spectra of their own, in moving sheets.

    `z(E, p) = sum_jk V_jk(E) sum_s f_s(j, p) m_s(k, p)`, with `V_jk` template `k` at velocity `j`. Templates are scaled
    so that, moved without an absorber in front, they sum to 1 over energies (in the mean over velocities).

    Attributes
    ----------
    energies : array of shape (n,)
        Rest energies of the templates, keV, evenly spaced in their logarithm; those of the cube where nothing moves.
    templates : array of shape (n, K)
        Spectra of the gases at rest, per node of `energies`, behind the absorber.
    velocities : array of shape (J,)
        km/s, positive away from the observer.
    profiles : array of shape (S, J, y, x)
        `f`: light of each sheet at each velocity, photons / cm2 / s per sky pixel (counts, of responses without area).
    mixture : array of shape (S, K, y, x)
        `m`: part of each gas in that light; sums to 1 over gases.
    column_density : float
        Hydrogen column N_H of the absorber in front of all, 1e22 cm-2; 0 where nothing moves.
    """

    energies: np.ndarray
    templates: np.ndarray
    velocities: np.ndarray
    profiles: np.ndarray
    mixture: np.ndarray
    column_density: float = 0.0

    def __post_init__(self):
        n, k = self.templates.shape
        s, j, ny, nx = self.profiles.shape
        if not 0 <= self.column_density < np.inf:
            raise ValueError(f"parts: expected a column of at least 0, found {self.column_density}")
        if self.energies.shape != (n,) or self.velocities.shape != (j,) or self.mixture.shape != (s, k, ny, nx):
            raise ValueError(
                f"parts: expected energies, templates, velocities, profiles and mixture that fit, found shapes "
                f"{self.energies.shape}, {self.templates.shape}, {self.velocities.shape}, {self.profiles.shape}, "
                f"{self.mixture.shape}"
            )

    @property
    def position_velocity(self) -> np.ndarray:
        """Light at each velocity in each pixel, all gases together, shape (J, y, x): images of the moving gas."""
        return self.profiles.sum(0, dtype=float)

    @property
    def gas_maps(self) -> np.ndarray:
        """Light of each gas in each pixel, shape (K, y, x)."""
        return np.einsum("sjyx,skyx->kyx", self.profiles, self.mixture, dtype=float)

    @property
    def velocity(self) -> np.ndarray:
        """Mean velocity of the light of each pixel, km/s, shape (y, x); nan where there is none."""
        light = self.position_velocity
        total = light.sum(0)
        moment = np.tensordot(self.velocities, light, 1)
        return np.divide(moment, total, out=np.full(total.shape, np.nan), where=total > 0)

    @property
    def velocity_spread(self) -> np.ndarray:
        """Standard deviation of the velocity of the light of each pixel, km/s, (y, x); nan where there is none."""
        light = self.position_velocity
        total = light.sum(0)
        square = ((self.velocities[:, None, None] - self.velocity) ** 2 * light).sum(0)
        return np.sqrt(np.divide(square, total, out=np.full(total.shape, np.nan), where=total > 0))

    def hdus(self, unit: str = "photon cm-2 s-1") -> list:
        """Extensions TEMPLATES, VELOCITIES, PROFILES (of that unit) and MIXTURE."""
        templates = fits.BinTableHDU.from_columns(
            [
                fits.Column("ENERGY", "D", unit="keV", array=self.energies),
                fits.Column("FLUX", f"{self.templates.shape[1]}E", array=self.templates),
            ],
            name=NAMES[0],
        )
        templates.header[COLUMN] = (self.column_density, "[1e22 cm-2] hydrogen column in front")
        velocities = fits.BinTableHDU.from_columns(
            [fits.Column("VELOCITY", "D", unit="km/s", array=self.velocities)], name=NAMES[1]
        )
        profiles = fits.ImageHDU(self.profiles.astype(np.float32), name=NAMES[2])
        profiles.header["BUNIT"] = unit
        return [templates, velocities, profiles, fits.ImageHDU(self.mixture.astype(np.float32), name=NAMES[3])]

    @staticmethod
    def read(file: FitsFile) -> "Parts | None":
        """The parts in a file, or None where it has none.

        Raises
        ------
        FileError
            If some are missing, or they do not fit together.
        """
        if not any(name in file for name in NAMES):
            return None
        flux = np.asarray(file.column(NAMES[0], "FLUX"), dtype=np.float32)
        column = file.header(NAMES[0]).get(COLUMN, 0.0)  # files of before have none
        if not isinstance(column, int | float) or not 0 <= column < np.inf:
            raise FileError(f"{file.path}[{NAMES[0]}] {COLUMN}: expected a number of at least 0, found {column!r}")
        try:
            return Parts(
                np.asarray(file.column(NAMES[0], "ENERGY"), dtype=float),
                flux.reshape(len(flux), -1),
                np.asarray(file.column(NAMES[1], "VELOCITY"), dtype=float),
                np.asarray(file.data(NAMES[2]), dtype=np.float32),
                np.asarray(file.data(NAMES[3]), dtype=np.float32),
                float(column),
            )
        except FileError:
            raise
        except (ValueError, TypeError) as error:
            raise FileError(f"{file.path}[{NAMES[2]}]: {error}") from error
