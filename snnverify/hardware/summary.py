"""Counts and energies of a conversion side by side: SNN, ANN, quantised ANN, and where they break even."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..network import INPUT, Network
from . import sent
from .counts import Convention, Counts, synapses_from
from .energy import Range, Table, break_even, equal_bits, estimate, quantised_mac, unpriced

DRIVEN = ("synop", "spike", "hop", "hop_ew", "hop_ns")  # what a silent network does not pay


@dataclass(frozen=True)
class Row:
    """One energy model: mean energies per inference, pJ.

    Parameters
    ----------
    table : Table
    snn : Range
    ann, quantised : Range or None
        The ANN on the same table, and one of ``ceil(log2(T + 1))`` bits; None where that has no figures for it.
    even : tuple of float or None
        Mean spikes per connection and step at which the SNN costs what the ANN does, with the lowest and the highest
        figures; None where it is dearer when silent; empty without an ANN.
    unpriced : mapping of operation to int
        What occurs, over all samples, and has no figure.
    """

    table: Table
    snn: Range
    ann: Range | None
    quantised: Range | None
    even: tuple[float | None, ...]
    unpriced: Mapping[str, int]


def driven(network: Network, encoded: bool, convention: Convention) -> int:
    """Connections of the network that spikes go over."""
    return synapses_from(network, sent.spiking(network, encoded), convention.connections)


def rate(snn: Counts, network: Network, encoded: bool, convention: Convention) -> float:
    """Mean spikes per connection and step: a mean rate in which a neuron weighs as much as it has connections."""
    over = driven(network, encoded, convention) * snn.steps * snn.samples
    return float(Fraction(snn.total(convention)["synop"], over)) if over else 0.0


def row(network: Network, encoded: bool, snn: Counts, ann: Counts, table: Table, convention: Convention) -> Row:
    """One energy model of both networks; see `Row`."""
    each = {k: Fraction(n, snn.samples) for k, n in snn.total(convention).items()}
    macs = {k: Fraction(n, ann.samples) for k, n in ann.total(convention).items()}
    found = estimate(each, table)
    without = unpriced(snn.total(convention), table)
    if not table.ann:
        return Row(table, found, None, None, (), without)
    baseline, quantised = estimate(macs, table), None
    if table.multiplier is not None:
        one = quantised_mac(table, equal_bits(snn.steps))
        quantised = Range(macs["mac"] * one.low, macs["mac"] * one.high)
    still = estimate({**each, **dict.fromkeys(DRIVEN, 0)}, table)
    spikes = Fraction(driven(network, encoded, convention) * snn.steps)
    spiking = estimate(dict.fromkeys(each, 0) | {"synop": spikes}, table)
    even = [break_even(b, s, p) for b, s, p in ((baseline.low, still.low, spiking.low),
                                               (baseline.high, still.high, spiking.high))]  # fmt: skip
    return Row(table, found, baseline, quantised, tuple(None if e is None else float(e) for e in even), without)


def encoded(counts: Counts) -> bool:
    """Whether the input was one of spikes."""
    return bool(counts.layers[INPUT]["handed"].any())
