"""One plain sentence or two on each panel: what it shows, and how to read it."""

from hifred.report.content import Content, listed
from hifred.report.maps import diverging_range

# Columns below this, 1e22 cm-2, are not spoken of.
SLIGHT = 0.005


def words(content: Content) -> dict[str, str]:
    """Sentences by panel."""
    return {
        "images": _images(content),
        "spectrum": _spectrum(content),
        "velocity": _velocity(content),
        "motion": _motion(content),
        "residuals": (
            "Counts minus predicted counts over the square root of the predicted counts, summed over channels (maps) "
            "and over pixels (curves). Noise without any pattern, mostly within ±2, is what to hope for; a ring, a "
            "gradient, a shape like the source or a wave along energy means that the model or a response is wrong."
        ),
        "angles": _angles(content),
        "course": (
            "Left: how far the objective (misfit plus prior) is above its smallest value; it should fall to the end. "
            "Right: C-stat of each data set over the value expected from photon noise; near 1 the data are fitted to "
            "their noise, well above 1 something is not explained."
        ),
        "thinning": _thinning(content),
        "measures": _measures(content),
        "settings": "How this cube was made, so that it can be made again.",
    }


def _images(content: Content) -> str:
    several = len(content.datasets) > 1
    names = ["each instrument", "the fusion"] if several else ["the instrument", "the result"]
    if content.truth is not None:
        names.append("the truth")
    parts = [f"Two energy bands as {listed(names)} see them, each row in one unit and on one colour scale."]
    if several:
        parts.append(
            "A good fusion shows the line with the detail of the camera and with the line's own photons only, which "
            "the camera cannot tell from others. An input is too bright where its blur brings in the photons of a "
            "bright line, too faint where it takes them away."
        )
    parts.append(
        "Small print: width (FWHM) of a point and of a narrow line in the instrument, or the size of a voxel. Click on "
        "an image for the spectrum of a pixel."
    )
    return " ".join([*parts, content.frame.sky_words]).rstrip()


def _spectrum(content: Content) -> str:
    several = len(content.datasets) > 1
    subtracted = any(dataset.background.any() for dataset in content.datasets)
    names = ["the fusion (black)" if several else "the result (black)"]
    if content.truth is not None:
        names.append("the truth (wide grey band)")
    names.append("the inputs" if several else "the input")
    return (
        f"Spectra of the circled pixel: {listed(names)}. Inputs are counts divided by area, exposure and the sky "
        f"pixels that share a detector pixel{', background subtracted' if subtracted else ''}. They keep the blur of "
        "their instruments: a camera's lines are washed out, a calorimeter's are mixed with those of the neighbours."
    )


def _velocity(content: Content) -> str:
    line = content.line
    if line is None or not content.velocities:
        return "There is no velocity map: no known line lies well inside the energies of this cube."
    parts = [
        f"Mean velocity of the {line.name} line in each pixel, by the same recipe for each map (an input's in its own "
        "pixels); red recedes, blue approaches, faint pixels are blank."
    ]
    if content.truth is not None:
        parts.append("Result and truth should look alike.")
    if line.centre != line.rest:
        parts.append(
            f"The whole line lies at {line.centre:.4f} keV instead of {line.rest:.4f} (redshift {line.redshift:.4f}); "
            "velocities count from there."
        )
    white = diverging_range([values for _, values in content.velocities])[0]
    if white:
        parts.append(f"White is the median, {white:.0f} km/s.")
    return " ".join(parts)


def _motion(content: Content) -> str:
    if content.motion is None:
        return ""
    parts = [
        "The fit takes the sky for a few gases that move; this is the light of all of them by velocity. First map: its "
        "mean in each pixel; red recedes, blue approaches, faint pixels are blank. Second map: its standard deviation, "
        "large where a near and a far side are seen at once. The cut: the light along the dashed row, that of the "
        "circled pixel; a click moves it. A shell that expands is a ring there, gas that moves as one a level stripe. "
        "The fit finds the rest spectra too, so differences between pixels are better known than the zero."
    ]
    white = diverging_range([content.motion.velocity])[0]
    if white:
        parts.append(f"White is the median, {white:.0f} km/s.")
    column = content.fused.parts.column_density if content.fused.parts is not None else 0.0
    if column >= SLIGHT:
        parts.append(
            "Absorption edges stay where they are while lines move: the fit has an absorber in front, N_H about "
            f"{column:.2g} × 10²² cm⁻². Where it was not given, it is a rough value: fits end before it settles."
        )
    return " ".join(parts)


def _thinning(content: Content) -> str:
    thinning = content.thinning
    if thinning is None:
        return ""
    fitted = "Most photons" if thinning.fraction is None else f"{thinning.fraction:.0%} of the photons"
    often = "" if thinning.folds == 1 else f" {thinning.folds} times (with others kept back; C-stats are added up)"
    parts = [
        f"{fitted}, drawn at random{often}, were fitted with each of the values shown, and the fits had to foretell "
        "the others: the lower their C-stat (numbers: above the smallest), the better; a small gain is not enough to "
        "leave a usual value. No truth is used. Where the prior is too weak the fit follows noise, where it is too "
        "strong it smooths away what is there."
    ]
    parts.append(f"Taken (ringed): {listed([curve.words for curve in thinning.curves])}.")
    if content.fused.parts is not None:
        parts.append(
            "Strengths are compared after a few steps, the first of them in common; speeds by where their fits lead, "
            "without those that short fits left behind."
        )
    if thinning.iterations is not None:
        parts.append(_iterations(content, thinning.iterations))
    return " ".join(parts)


def _iterations(content: Content, number: int) -> str:
    if content.fused.parts is None:
        return f"The fit with that strength ended by itself, after {number} iterations, and so does the last fit."
    if content.fused.status == "max_iterations":
        return (
            f"The photons kept back were foretold best after {number} iterations: with more than the fit was allowed, "
            "they might be foretold better still."
        )
    return (
        f"The number of iterations was found in the same way: with that strength, the photons kept back were foretold "
        f"best after {number} iterations, and the last fit, of all photons, ends there."
    )


def _angles(content: Content) -> str:
    text = (
        "Mean angle between the spectrum of each pixel and those of its four neighbours: 0° where neighbours have the "
        "same spectrum, large where spectra change within a pixel; faint pixels are blank."
    )
    if content.truth is None:
        return text
    return f"{text} Where the result is darker than the truth it is too smooth, where it is brighter it is too noisy."


def _measures(content: Content) -> str:
    if content.truth is None:
        first = "Measures of the result, and C-stat of each data set with what photon noise alone would give."
    else:
        first = (
            "Measures of the result against the truth, with the value that a perfect result has, and C-stat of each "
            "data set with what photon noise alone would give."
        )
    return f"{first} A fit follows some of the noise, so a C-stat a little below the expectation is normal."
