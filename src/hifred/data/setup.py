"""All that makes a response but the grid: so that it can be made again from the files it names."""

from dataclasses import asdict, dataclass
from pathlib import Path

from astropy.coordinates import SkyCoord

from hifred.data.binning import ArrayBins, Bins, SkyBins
from hifred.data.calibrate import Channels, calibrate, choose_channels
from hifred.data.plan import FILES, CalibrationPlan
from hifred.fitsio import FileError, sha256
from hifred.grid import CubeGrid
from hifred.instruments.presets import Instrument, instrument
from hifred.response.calibration import Calibration


@dataclass(frozen=True)
class Setup:
    """An instrument as it was used in one observation.

    Attributes
    ----------
    instrument : str
        Name of a preset, or path of an instrument's own TOML file.
    calibration : CalibrationPlan
        Files of the response.
    exposure, full_exposure : float
        Time used, and time of the whole observation (to which an exposure map belongs), s.
    band : tuple of two float, optional
        Channels used, keV; by default the grid's band less a FWHM at both ends.
    channel_width : float, optional
        Width of the summed channels, keV.
    pointing : tuple of two float, optional
        Optical axis, degrees.
    detector : tuple of three float, optional
        Right ascension, declination and roll of a detector with pixels of its own, degrees.
    exclude_pixels : tuple of int
        Its pixels that are left out.
    """

    instrument: str
    calibration: CalibrationPlan
    exposure: float
    full_exposure: float
    band: tuple[float, float] | None = None
    channel_width: float | None = None
    pointing: tuple[float, float] | None = None
    detector: tuple[float, float, float] | None = None
    exclude_pixels: tuple[int, ...] = ()

    @property
    def files(self) -> dict[str, Path]:
        """The files, by what they are."""
        own = {"instrument": Path(self.instrument)} if self.instrument.endswith(".toml") else {}
        return {**self.calibration.files, **own}

    @property
    def preset(self) -> Instrument:
        """The instrument."""
        return instrument(self.instrument)

    def bins(self, grid: CubeGrid) -> Bins:
        """Where photons are counted."""
        array = self.preset.detector
        if array is None or self.detector is None:
            return SkyBins(grid)
        ra, dec, roll = self.detector
        return ArrayBins(grid, array.on_sky(SkyCoord(ra, dec, unit="deg"), roll), self.exclude_pixels)

    def channels(self, grid: CubeGrid) -> Channels:
        """Channels of the data set."""
        return choose_channels(self.calibration.rmf, self.preset, grid, self.band, self.channel_width)

    def response(self, grid: CubeGrid) -> Calibration:
        """The response on a grid."""
        pointing = None if self.pointing is None else SkyCoord(*self.pointing, unit="deg")
        return calibrate(
            self.calibration, self.preset, self.channels(grid), self.bins(grid), self.exposure, pointing,
            self.full_exposure,
        )  # fmt: skip

    def to_json(self) -> dict:
        """The setup, with absolute paths and the checksum of each file."""
        record = asdict(self)
        record["calibration"] |= {key: str(path.resolve()) for key, path in self.calibration.files.items()}
        if "instrument" in self.files:
            record["instrument"] = str(self.files["instrument"].resolve())
        record["sha256"] = {key: sha256(path) for key, path in self.files.items()}
        return record

    @classmethod
    def from_json(cls, record: dict, where: str) -> "Setup":
        """The setup of a record; its files must be the ones it was made with.

        Raises
        ------
        FileError
            If a file is missing or has changed, or the record is no setup.
        """
        try:
            fields = {key: value for key, value in record.items() if key not in ("calibration", "sha256")}
            for key in ("band", "pointing", "detector", "exclude_pixels"):
                fields[key] = None if fields[key] is None else tuple(fields[key])
            named: dict = dict(record["calibration"])
            paths: dict = {key: Path(named[key]) for key in FILES if named.get(key) is not None}
            setup = cls(calibration=CalibrationPlan(**(named | paths)), **fields)
            sums = dict(record["sha256"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise FileError(f"{where}: expected the setup of a response, found one that is not ({reason})") from error
        for key, path in setup.files.items():
            if not path.is_file():
                raise FileError(f"{where}: expected the response's {key} in {path}, found no such file")
            if sha256(path) != sums.get(key):
                raise FileError(f"{where}: expected the {key} that the data set was made with, found {path} changed")
        return setup
