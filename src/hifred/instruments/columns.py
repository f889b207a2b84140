"""Where an event list keeps what: names of columns and extensions, and how its channels count energy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

# What a column must hold for an event to be kept: values, or inclusive ranges [low, high].
KeepRule = Sequence[int | float | Sequence[int | float]]


@dataclass(frozen=True, eq=False)
class EventColumns:
    """The layout of one mission's event lists.

    Column names are matched without regard to case.

    Parameters
    ----------
    extension : str
        Extension with the table of events.
    time, x, y, channel : str
        Columns of the arrival time (s), the sky position (pixels of the WCS that the header gives to these columns) and
        the pulse-invariant channel (PI).
    pixel : str, optional
        Column of the detector pixel's number, for instruments with few, large pixels.
    keep : mapping of str to list
        By column, the values or inclusive ranges `[low, high]` of the events to keep: grades, patterns, flags.
    gti : tuple of str
        Patterns (as in `fnmatch`) of the names of the extensions with good-time intervals.
    pi_first : int
        A channel number, usually the first.
    pi_origin : float
        Lower edge of the energies of that channel, keV.
    pi_step : float
        Width of a channel, keV.
    """

    extension: str = "EVENTS"
    time: str = "TIME"
    x: str = "X"
    y: str = "Y"
    channel: str = "PI"
    pixel: str | None = None
    keep: Mapping[str, KeepRule] = field(default_factory=dict)
    gti: tuple[str, ...] = ("GTI*", "STDGTI*")
    pi_first: int = 0
    pi_origin: float = 0.0
    pi_step: float = 0.001

    def energy(self, channel):
        """Energy in the middle of a channel, keV: `pi_origin + (channel - pi_first + 1/2) pi_step`."""
        return self.pi_origin + (channel - self.pi_first + 0.5) * self.pi_step
