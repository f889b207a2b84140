"""What options choose from by name."""

PRIORS = {
    "low-rank-sobolev": "LowRankSobolev",
    "low-rank-starlet": "LowRankStarlet",
    "starlet-2d1d": "Starlet2D1D",
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
