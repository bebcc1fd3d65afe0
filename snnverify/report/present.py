"""Which columns of a table a reader sees, under which heading, and how its numbers are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from ..gate.verdict import apart

Text = Callable[[dict[str, Any]], str]


@dataclass(frozen=True)
class Column:
    """A heading, what a row says under it, and what the heading means.

    Columns with a `bar` show their size against all such columns of the table. `compact` columns also fit a terminal; on a
    page, one that is `under` goes below the column before it.
    """

    heading: str
    text: Text
    note: str = ""
    compact: bool = True
    numeric: bool = True
    under: bool = False
    bar: bool = False


@dataclass(frozen=True)
class Shown:
    """A table as a reader sees it: columns, and the text of every row."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def headings(self) -> list[str]:
        """Headings of the columns."""
        return [c.heading for c in self.columns]

    @property
    def cells(self) -> Iterator[list[tuple[Column, str, list[tuple[Column, str]]]]]:
        """Rows of cells: a column, its text, and the columns and texts that go below it (empty ones are left out)."""
        for row in self.rows:
            cells: list[tuple[Column, str, list[tuple[Column, str]]]] = []
            for c, text in zip(self.columns, row, strict=True):
                if not c.under:
                    cells.append((c, text, []))
                elif text:
                    cells[-1][2].append((c, text))
            yield cells

    @cached_property
    def _greatest(self) -> float:
        """Greatest number in any column with a bar."""
        return max((_value(row[i]) for row in self.rows for i, c in enumerate(self.columns) if c.bar), default=0.0)

    def share(self, text: str) -> float:
        """Percent of the greatest number in any column with a bar that this one is."""
        return 100 * _value(text) / (self._greatest or 1.0)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the headings mean, where they need it."""
        return tuple(f"{c.heading}: {c.note}" for c in self.columns if c.note)


def _value(text: str) -> float:
    """The number that `number` wrote; 0 for a dash."""
    return 0.0 if text == "–" else float(text.replace("\u2212", "-").replace("\u202f", ""))


def number(value: Any, form: str = ".3g") -> str:
    """Write a number; a missing one is a dash."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if form == "d" or (form.endswith("g") and 1000 <= abs(value) < 1e15):  # 16 384, not 1.638e+04
        return f"{round(value):,}".replace(",", "\u202f").replace("-", "\u2212")
    sign = "+" * form.startswith("+")
    return format(float(value), f"{sign}z{form.lstrip('+')}").replace("-", "\u2212")  # z: no minus before a zero


def _n(key: str, form: str = ".3g") -> Text:
    return lambda row: number(row[key], form)


def _s(key: str) -> Text:
    return lambda row: " ".join(str(row[key]).split())


def _interval(who: str) -> Text:
    """Accuracy and its interval, percent."""
    return lambda row: f"{row[who + '_percent']:.2f} ({row[who + '_low']:.1f}–{row[who + '_high']:.1f})"


def _beside_limit(key: str) -> Text:
    """Points of accuracy, with as many digits as tell them from the limit."""
    return lambda row: apart(row[key], row["limit_points"])[0].replace("-", "\u2212")


def _range(who: str) -> Text:
    """Energy of one network, from the lowest figure to the highest."""

    def text(row: dict[str, Any]) -> str:
        low, high = (
            number(v, "d" if v and v >= 1000 else ".3g") for v in (row[f"{who}_low_nJ"], row[f"{who}_high_nJ"])
        )
        return low if low == high else f"{low}–{high}"

    return text


def _ratio(row: dict[str, Any]) -> str:
    return ratio(*((row[f"{who}_low_nJ"], row[f"{who}_high_nJ"]) for who in ("snn", "ann")))


def ratio(snn: tuple[float, float], ann: tuple[float | None, float | None]) -> str:
    """Write what an SNN costs as a share of its ANN, at the lowest and the highest figures of one model."""
    if not ann[0] or not ann[1]:
        return "–"
    ends = [number(end) for end in sorted((snn[0] / ann[0], snn[1] / ann[1]))]
    return "–".join(dict.fromkeys(ends))


def _column(
    heading: str, key: str, form: str = ".3g", note: str = "", compact: bool = True, bar: bool = False
) -> Column:
    return Column(heading, _n(key, form), note, compact, bar=bar)


def _under(heading: str, key: str) -> Column:
    return Column(heading, _s(key), compact=False, numeric=False, under=True)


def _words(heading: str, key: str, note: str = "", compact: bool = True) -> Column:
    return Column(heading, _s(key), note, compact, numeric=False)


VIEWS: dict[str, tuple[Column, ...]] = {
    "accuracy": (
        _column("T", "T", "d", "time steps"),
        Column("ANN %", _interval("ann"), "accuracy with its Wilson 95 % interval"),
        Column("SNN %", _interval("snn"), "accuracy with its Wilson 95 % interval"),
        Column("drop", _beside_limit("drop_points"), "ANN minus SNN, percentage points"),
        Column("bound", _beside_limit("upper_points"), "exact upper 95 % bound of the drop, percentage points"),
        _column("only ANN", "b", "d", "samples that only the ANN gets right"),
        _column("only SNN", "c", "d", "samples that only the SNN gets right"),
        _column("agree %", "agreement_percent", ".1f", "samples on which both predict the same class"),
        _column("ties", "ties", "d", "samples whose greatest read-out is not unique"),
        _words("verdict", "verdict", "of the accuracy alone, were it judged at this T"),
    ),
    "errors": (
        _column("T", "T", "d", "time steps"),
        _words("error", "error", "of a sample: the mean over its outputs"),
        _column("ANN", "ann_error", ".4g", "mean error"),
        _column("SNN", "snn_error", ".4g", "mean error"),
        _column("increase", "increase", "+.4g", "SNN minus ANN"),
        _column("bound", "upper", ".4g", "upper bound of the increase (Maurer and Pontil), where error_cap is stated"),
        _column("greatest ANN", "greatest_ann", ".4g", "error of a sample"),
        _column("greatest SNN", "greatest_snn", ".4g", "error of a sample"),
        _column("distance", "distance", ".4g", "mean |SNN − ANN| of the outputs"),
    ),
    "waterfall": (
        _words("station", "station", "one change more than the row above"),
        _column("right", "right", "d", "samples"),
        _column("%", "percent", ".2f", "accuracy"),
        _column("lost", "lost_points", ".2f", "points that this change alone costs; they add up to the drop"),
        _column("bound", "upper_points", ".2f", "exact upper 95 % bound of that, paired with the row above"),
        _column("only before", "b", "d", "samples that only the row above gets right"),
        _column("only here", "c", "d", "samples that only this row gets right"),
        _column("as before %", "agree_before_percent", ".1f", "samples classified as in the row above"),
        _column("as ANN %", "agree_ann_percent", ".1f", "samples classified as by the trained ANN"),
    ),
    "layers": (
        _words("layer", "layer"),
        _column("units", "units", "d"),
        _column("rate", "rate", ".3f", "mean spikes per step of the SNN"),
        _column("ANN", "ann_rate", ".3f", "mean activation of the ANN, clipped to [0, 1]"),
        _column("error", "error_mean", ".4f", "mean of |rate − clip(a)|; in thresholds, as all errors", bar=True),
        _column("max", "error_max", ".3f", "greatest of it"),
        _column("inherited", "inherited", ".4f", "mean part of the error that earlier layers hand on", bar=True),
        _column("own", "own", ".4f", "mean error that the layer adds itself", bar=True),
        _column("clipped", "clipped", ".4f", "mean activation over the threshold", bar=True),
        _column("left over", "left_over", ".4f", "mean size of the potential left over; that of silent units is no error",
                compact=False),
        _column("identity", "identity", ".1e", "greatest breach of the layer identity", compact=False),
        _column("rounding", "rounding", ".1e", "what rounding may make of it", compact=False),
        _column("dead", "dead", "d", "units that never spiked"),
        _column("saturated", "saturated", "d", "units that spiked in every step of some sample"),
    ),
    "calibration": (
        _words("layer", "layer"),
        _column("threshold", "threshold", ".4g", "activation of the ANN that stands for a rate of 1"),
        _column("mean rate", "calibrated_mean_rate", ".3f", "asked for on the calibration set"),
        _column("99.9 %", "calibrated_p99.9_rate", ".3f", "99.9 percentile of the rate asked for"),
        _column("max", "calibrated_max_rate", ".3f", "greatest rate asked for; above 1 it is clipped"),
        _column("clipped", "calibrated_saturated", ".2%", "share of activations over the threshold"),
        _column("dead", "calibrated_dead", "d", "units that are silent on the calibration set"),
    ),
    "classes": (
        _words("class", "class"),
        _column("n", "n", "d", "samples"),
        _column("ANN %", "ann_percent", ".2f"),
        _column("SNN %", "snn_percent", ".2f"),
        _column("drop", "drop_points", ".2f", "percentage points"),
        _column("bound", "upper_points", ".2f", "exact upper 95 % bound of the drop; few samples make it wide"),
        _column("only ANN", "b", "d", "samples that only the ANN gets right"),
        _column("only SNN", "c", "d", "samples that only the SNN gets right"),
    ),
    "checks": (
        _words("outcome", "outcome"),
        _words("check", "check"),
        Column("claim", lambda row: f"{_s('claim')(row)} [{_s('source')(row)}]", compact=False, numeric=False, under=True),
        _under("why", "message"),
        _under("replay", "replay"),
        _column("measured", "measured", ".3g"),
        _column("limit", "limit", ".3g"),
        _words("where", "where"),
        _column("cases", "cases", "d", compact=False),
    ),
    "requirements": (_words("outcome", "outcome"), _words("requirement", "requirement"), _words("detail", "detail")),
    "operations": (
        _words("layer", "layer"),
        _column("spikes", "spikes", "d", "over all samples and steps, as all counts"),
        _column("spikes/sample", "spikes_per_sample", ".4g", compact=False),
        _column("spikes/step", "spikes_per_step", ".4g", "per sample and step"),
        _column("updates", "neuron_updates", "d", "of neurons"),
        _column("updates/sample", "neuron_updates_per_sample", ".4g", compact=False),
        _column("SynOps", "synaptic_operations", "d",
                "a spike counts the non-zero weights of its fan-out, booked on the receiving layer (of an encoded input, on "
                "that)"),
        _column("SynOps/sample", "synaptic_operations_per_sample", ".4g"),
        _column("SynOps/step", "synaptic_operations_per_step", ".4g", compact=False),
        _column("MACs/sample", "macs_per_sample", ".4g", "connections that analog values go over, in all steps"),
    ),
    "energy": (
        _words("energy model", "energy_model"),
        Column("SNN, nJ", _range("snn"), "per inference, from the lowest to the highest figure of the model"),
        Column("ANN, nJ", _range("ann"), "of the trained network, all multiply-adds"),
        Column("SNN / ANN", _ratio, "at the lowest and the highest figures; below 1 the SNN is cheaper"),
        _words("not priced", "not_priced", "operations that occur and that the model has no figure for: they cost more"),
        _words("grade", "grade", "what its figures rest on"),
        _under("scope", "scope"),
    ),
    "provenance": (_words("what", "key"), _words("value", "value")),
}  # fmt: skip
MOST = 10  # columns of T in the table of curves
SOURCE = {"calibration": "layers"}  # views that are drawn from another table


def view(name: str, frames: dict[str, pd.DataFrame], model: str | None = None, compact: bool = False) -> Shown:
    """Rows of one model (of all without one) as a reader sees them; `compact` keeps what fits a terminal."""
    frame = frames[SOURCE.get(name, name)]
    records = frame if model is None else frame[frame["model"] == model]
    if name == "curves":
        return _side_by_side(records)
    columns = tuple(c for c in VIEWS[name] if c.compact or not compact)
    rows = [[c.text({str(k): v for k, v in row.items()}) for c in columns] for row in records.to_dict("records")]
    told = [i for i in range(len(columns)) if any(row[i] for row in rows)]  # a column that says nothing is left out
    return Shown(tuple(columns[i] for i in told), tuple(tuple(row[i] for i in told) for row in rows))


def _side_by_side(records: pd.DataFrame) -> Shown:
    """Accuracy of one conversion a row, of one T a column: the T of all rows, or powers of two and the largest."""
    steps = sorted({int(t) for t in records["T"]})
    if len(steps) > MOST:
        reported = set(records.loc[records["compared"] == "this report", "T"])
        steps = [t for t in steps if t in reported or t == steps[-1] or (t > max(reported) and not t & (t - 1))][-MOST:]
    columns = [Column("conversion", lambda row: row["name"], numeric=False)]
    columns += [_column(f"T = {t}", str(t), ".2f") for t in steps]
    rows = []
    for name in dict.fromkeys(records["name"]):
        found = records[records["name"] == name].set_index("T")["percent"].to_dict()
        row: dict[str, Any] = {"name": name, **{str(t): found.get(t) for t in steps}}
        rows.append(tuple(c.text(row) for c in columns))
    return Shown(tuple(columns), tuple(rows))
