"""The gate's own error rates as a table and a picture."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import pandas as pd
from tabulate import tabulate

from ..gate.rates import FALSE_ALARM, RELEASES, SAMPLES, Row, power_curves
from .looks import FAINT, INK, LINES, legend, styled
from .plots import _axes, png

HEADINGS = ("confidence %", "n", "margin", "false pass %", "allowed %", "at discordance %", "simulated %", "kept",
            "power % at 0.5 %", "at 2 %", "at 5 %")  # fmt: skip


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """Text of every row."""
    return [
        [f"{100 * r.confidence:g}", f"{r.n}", f"{r.margin:g}", f"{100 * r.false_pass:.3f}", f"{100 * (1 - r.confidence):g}",
         f"{100 * r.discordance:.2f}", f"{100 * r.simulated:.2f}", "yes" if r.kept else "NO",
         *(f"{100 * p:.1f}" for p in r.power.values())]
        for r in rows
    ]  # fmt: skip


def text(rows: Sequence[Row], form: str = "simple") -> str:
    """The table for a terminal, or as Markdown by ``form="pipe"``."""
    drawn = tabulate(cells(rows), HEADINGS, tablefmt=form, disable_numparse=True, colalign=["right"] * len(HEADINGS))
    worst = max(rows, key=lambda r: r.false_pass / (1 - r.confidence))
    broken = [r for r in rows if not r.kept]
    lines = (
        "false pass: greatest probability that a true drop of the margin passes, over discordances up to 10 %, enumerated.",
        f"simulated: share of {RELEASES:,} releases at that discordance that pass; binomial error alone takes it out of its "
        f"limits with probability {FALSE_ALARM:g}.",
        "power: probability that a conversion without a true drop passes, at that share of discordant samples.",
        f"nearest to its level: {100 * worst.false_pass:.3f} of {100 * (1 - worst.confidence):g} % (n = {worst.n}, margin "
        f"{worst.margin:g} points).",
        f"{len(rows) - len(broken)} of {len(rows)} settings keep their level.",
    )
    return f"{drawn}\n\n" + "\n".join(lines)


def csv_of(rows: Sequence[Row]) -> str:
    """The figures themselves."""
    flat = [{**{k: getattr(r, k) for k in Row.__dataclass_fields__ if k != "power"}, "kept": r.kept,
             **{f"power_at_{psi:g}": p for psi, p in r.power.items()}} for r in rows]  # fmt: skip
    made: str = pd.DataFrame(flat).to_csv(index=False, lineterminator="\n")
    return made


def picture(
    margin: Fraction = Fraction(1, 100),
    discordance: float = 0.02,
    alpha: float = 0.05,
    samples: Sequence[int] = (*SAMPLES, 3000),
) -> bytes:
    """Probability of a PASS over the true drop, a curve for each number of samples, as PNG."""
    with styled():
        figure, axes = _axes(
            f"Power of the gate: limit {float(100 * margin):g} points, {100 * discordance:g} % discordant"
        )
        for (n, drops, passes), colour in zip(power_curves(margin, discordance, alpha, samples), LINES, strict=False):
            axes.plot(100 * drops, 100 * passes, color=colour, label=f"n = {n:,}")
        axes.axhline(100 * alpha, color=INK, linestyle="--", linewidth=1, label=f"{100 * alpha:g} %")
        axes.axvline(float(100 * margin), color=FAINT, linewidth=1)
        axes.set_xlabel("true drop, percentage points")
        axes.set_ylabel("probability of a PASS, %")
        legend(figure)
        return png(figure)
