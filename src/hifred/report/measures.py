"""The tables: how good the fusion is, and how it was made."""

from dataclasses import dataclass

import numpy as np

from hifred.metrics import Scores, mean_angular_distance
from hifred.report.content import Agreement, Content

STATUS = {
    "converged": "Converged",
    "fixed_point": "At a fixed point",
    "noise_reached": "Fitted to the noise",
    "tuned": "Fitted as far as photons kept back agree",
    "max_iterations": "Not converged",
    "interrupted": "Interrupted",
    "diverged": "Diverged",
}
UNFINISHED = ("max_iterations", "interrupted", "diverged")


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    name: str
    value: str
    goal: str = ""
    meaning: str = ""


def measures(content: Content) -> list[Row]:
    """Measures against the truth, where there is one, and against the data."""
    rows = (
        []
        if content.truth is None or content.scores is None
        else _against_truth(content, content.scores, content.truth)
    )
    rows += [_agreement_row(agreement) for agreement in content.agreements]
    if content.truth is None:
        value = _angular_distance(content.fused.values)
        rows.append(Row("Mean angular distance", value, "", "how much spectra change from a pixel to the next"))
    return rows


def _against_truth(content: Content, scores: Scores, truth: np.ndarray) -> list[Row]:
    rows = [
        Row("Error (NMSE)", _decibel(scores.nmse), "−∞",
            "squared error of all voxels over the truth's power; −20 dB is 10% rms"),
        Row("Mean spectral angle", _number(scores.spectral_angle, "{:.2f}°"), "0°",
            "difference in the shape of the spectrum, averaged over pixels"),
        Row("SSIM", _number(scores.ssim, "{:.3f}"), "1", "structural similarity of the images"),
        Row("ERGAS", _number(scores.ergas, "{:.2f}"), "0",
            "relative error of the images, averaged over the energies that are not dark"),
        Row("Misplaced flux", _number(scores.flux_per_pixel, "{:.2%}"), "0%",
            "photons in the wrong pixel, over all photons"),
        Row("Mean angular distance", _number(scores.angular_distance, "{:.2f}°"), _angular_distance(truth),
            "how much spectra change from a pixel to the next"),
    ]  # fmt: skip
    if scores.velocity_error is not None and content.line is not None:
        error = f"{scores.velocity_error:.0f} km/s"
        rows.append(Row(f"Velocity error, {content.line.name}", error, "0 km/s", "rms over the pixels of the map"))
    return rows


def _agreement_row(agreement: Agreement) -> Row:
    if not np.isfinite(agreement.cstat):
        return Row(f"C-stat, {agreement.name}", "–", "", "infinite or unknown: some counts are not predicted")
    apart = (agreement.cstat - agreement.expected) / agreement.deviation if agreement.deviation > 0 else 0.0
    return Row(
        f"C-stat, {agreement.name}",
        _grouped(agreement.cstat),
        f"{_grouped(agreement.expected)} ± {_grouped(agreement.deviation)}",
        f"{abs(apart):.1f} standard deviations {'above' if apart > 0 else 'below'} the expectation",
    )


def settings(content: Content) -> list[Row]:
    """How the cube was made."""
    fused, frame = content.fused, content.frame
    provenance = fused.provenance
    rows = [Row("Cube", " × ".join(str(n) for n in fused.values.shape) + " (energy, y, x)")]
    if frame.grid is not None:
        rows.append(Row("Energies", f"{frame.interval(frame.edges[0], frame.edges[-1])}"))
        rows.append(Row("Sky pixel", f"{frame.grid.pixel_size:g}″"))
    rows.append(Row("Prior", str(provenance.get("prior", "not recorded"))))
    for key, name in (
        ("max_iterations", "Largest number of iterations"), ("tolerance", "Tolerance"), ("device", "Device"),
    ):  # fmt: skip
        if key in provenance:
            rows.append(Row(name, f"{provenance[key]}"))
    for entry in provenance.get("inputs", []):
        shape = " × ".join(str(n) for n in entry.get("shape", []))
        counts = f"{_grouped(entry['counts'])} counts" if "counts" in entry else ""
        parts = [counts, shape, entry.get("file", "")]
        parts.append(f"SHA-256 {entry['sha256'][:12]}…" if "sha256" in entry else "")
        rows.append(Row(f"Input {entry.get('name', '')}", ", ".join(part for part in parts if part)))
    versions = provenance.get("versions", {})
    if versions:
        rows.append(Row("Versions", ", ".join(f"{name} {version}" for name, version in versions.items())))
    return rows


def key_numbers(content: Content) -> list[Row]:
    """The handful of numbers for the head of the page."""
    rows = []
    if content.scores is not None:
        rows.append(Row("error (NMSE)", _decibel(content.scores.nmse)))
        rows.append(Row("spectral angle", _number(content.scores.spectral_angle, "{:.1f}°")))
    for agreement in content.agreements[:3]:
        if np.isfinite(agreement.ratio):
            rows.append(Row(f"C-stat / expected, {agreement.name}", f"{agreement.ratio:#.3g}".rstrip(".")))
    return rows


def unfinished(content: Content) -> bool:
    """Whether the run ended before it should."""
    return content.fused.status in UNFINISHED


def warnings(content: Content) -> list[str]:
    """What the reader must not overlook."""
    found = []
    bad = [f"{agreement.ratio:.3g} ({agreement.name})" for agreement in content.agreements if agreement.unexplained]
    if bad:
        found.append(f"The result does not explain the data: C-stat is {', '.join(bad)} times what photon noise gives.")
    if not np.isfinite(content.fused.values).all():
        found.append("Some voxels of the cube are not finite; they are left blank, and no measure can be given.")
    return [*found, *content.notes]


def status_sentence(content: Content) -> str:
    """How long the run took, what came of it, and why it ended early if it did."""
    fused, frame = content.fused, content.frame
    parts = []
    if len(fused.history):
        last = fused.history[-1]
        parts.append(f"after {last.iteration} iterations in {last.time:.0f} s.")
    size = " × ".join(str(n) for n in fused.values.shape)
    ends = "" if frame.grid is None else f", {frame.edges[0]:.4g} to {frame.edges[-1]:.4g} keV"
    parts.append(f"{size} voxels{ends}.")
    if unfinished(content):
        parts.append(fused.message)
    return " ".join(parts)


def _number(value: float | None, form: str) -> str:
    """A measure in words, or a dash where it does not exist for these cubes."""
    return "–" if value is None else form.format(value)


def _decibel(value: float | None) -> str:
    return _number(value, "{:.1f} dB").replace("-", "−")


def _angular_distance(values: np.ndarray) -> str:
    try:
        return f"{mean_angular_distance(values):.2f}°"
    except ValueError:
        return "–"


def _grouped(number: float) -> str:
    """A number with thin spaces between the thousands."""
    return f"{number:,.0f}".replace(",", "\u2009")
