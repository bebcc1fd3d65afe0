"""How every picture looks: colours, sizes, the legend's place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib import style
from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart by the colour-blind; the page swaps every colour for one of its own themes.
INK, FAINT = "#1b1f24", "#b4bbc4"
ANN, SNN = "#0072b2", "#d55e00"
PARTS = {"inherited": "#009e73", "own": "#e69f00", "clipped": "#cc79a7"}
VERDICTS = {"PASS": ("#1a7f37", "o"), "FAIL": ("#c9252d", "X"), "INCONCLUSIVE": ("#9a6700", "D")}
COLOURS = {
    INK: "ink", FAINT: "faint", ANN: "ann", SNN: "snn", **{v: k for k, v in PARTS.items()},
    **{colour: verdict.lower() for verdict, (colour, _) in VERDICTS.items()},
}  # fmt: skip
STYLE: dict[str, Any] = {
    "text.parse_math": False,  # a name may hold a dollar sign
    "svg.fonttype": "none", "font.size": 10, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
    "axes.axisbelow": True, "grid.color": FAINT, "grid.alpha": 0.45, "grid.linewidth": 0.6, "axes.edgecolor": FAINT,
    "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK, "legend.frameon": False, "legend.fontsize": 9,
    "lines.linewidth": 1.8, "figure.constrained_layout.use": True, "axes.unicode_minus": True,
}  # fmt: skip
SIZE = (5.4, 3.3)  # inches: its text stays readable when the page is 400 pixels wide
LINES = (ANN, SNN, *PARTS.values(), INK)
DASHES = ("-", "--", "-.", "-", "--", "-.", ":")


@contextmanager
def styled() -> Iterator[None]:
    """Our style alone, whatever the user's matplotlibrc says; undone at the end."""
    with style.context(["default", STYLE]):
        yield


def legend(figure: Figure) -> None:
    """Below the axes: there it never hides a line."""
    figure.legend(loc="outside lower center", ncols=4, columnspacing=1.2, handletextpad=0.5)
