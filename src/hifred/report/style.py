"""Colours and fonts, the same on the page and in the pictures."""

from hifred.report.content import is_input
from hifred.report.views import View

# Okabe & Ito (2008), told apart with all kinds of colour vision; orange and blue for the two usual inputs.
INPUTS = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9")
FUSED, TRUTH = "#111418", "#BFC5CD"
BANDS = ("#D55E00", "#6B7787")
INK, MUTED, RULE, BLANK = "#1b2430", "#5b6775", "#dfe4ea", "#e9ecef"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
SEQUENTIAL, DIVERGING, PLAIN = "Inferno256", "RdBu", "Viridis256"


def colour_of(view: View) -> str:
    """Colour of a view's spectrum."""
    if is_input(view):
        return colour_of_input(int(view.key.split("-")[1]))
    return FUSED if view.key == "fused" else TRUTH


def colour_of_input(number: int) -> str:
    """Colour of a data set, by its place among all."""
    return INPUTS[number % len(INPUTS)]
