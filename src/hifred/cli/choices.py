"""What options choose from by name."""

from pathlib import Path

PRIORS = {
    "doppler-sheets": "DopplerSheets",
    "low-rank-sobolev": "LowRankSobolev",
    "low-rank-starlet": "LowRankStarlet",
    "starlet-2d1d": "Starlet2D1D",
    "guided-smoothness": "GuidedSmoothness",
    "denoiser": "Denoiser",
    "low-rank": "LowRank",
    "unregularized": "Unregularized",
}


def prior_named(name: str, **options):
    """The prior of a name of `PRIORS`, with those options that are not None."""
    from hifred import priors

    if name not in PRIORS:
        raise ValueError(f"--prior: expected one of {', '.join(PRIORS)}, found {name!r}")
    kind = getattr(priors, PRIORS[name])
    given = {key: value for key, value in options.items() if value is not None}
    unknown = [key for key in given if key not in kind.__dataclass_fields__]
    if unknown:
        raise ValueError(f"--{unknown[0]}: expected a prior with this option, found {name}")
    return kind(**given)


def as_number(text: str | None) -> float | None:
    """A strength: a number, or nothing.

    Raises
    ------
    ValueError
        If the text is neither a number nor "auto".
    """
    try:
        return None if text is None else float(text)
    except ValueError:
        raise ValueError(f"--strength: expected a number or auto, found {text!r}") from None


def line_named(text: str | None) -> str | float | None:
    """A line as the library wants it: an energy in keV where the text is a number, otherwise a name."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def require_suffix(option: str, path: Path | None, suffix: str) -> None:
    """Check the end of the name of a file that is replaced if it exists, so that it is never one of the inputs."""
    if path is not None and path.suffix.lower() != suffix:
        raise ValueError(f"{option}: expected a file name that ends in {suffix}, found {path}")
