"""The designed grid: exact, alive, and sharp on every axis."""

from dataclasses import fields, replace

import numpy as np
import pytest

from snnverify import reference
from snnverify.golden.grid import FORMS, SEMANTICS, eighths, grid
from snnverify.network import Neuron
from snnverify.strategies import MANTISSA, exact_bits
from snnverify.trace import compare

PLAIN = Neuron()
EXACT = {name: design for name, design in grid().items() if design.case.kind == "exact"}


def with_axis(case, axis, value):
    layers = tuple(v if v.act is None else replace(v, act=replace(v.act, **{axis: value})) for v in case.network.layers)
    return replace(case, network=replace(case.network, layers=layers))


def decides(case, trace, axis, value):
    """Whether the axis changes spikes, or potentials alone: a rest or a floor may act below the threshold only."""
    told = compare(case.network, trace, reference.run(with_axis(case, axis, value)))
    return told.spikes_differ or told.v_max > 0


@pytest.fixture(scope="module")
def traces():
    return {name: reference.run(design.case) for name, design in EXACT.items()}


@pytest.mark.parametrize("name", EXACT)
def test_cases_are_exact_and_alive(name, traces):
    case = grid()[name].case
    assert exact_bits(case) <= MANTISSA[case.dtype]
    assert len(grid()[name].guards.split("; ")) == 2
    for layer, spikes in traces[name].spikes.items():
        assert 0.03 < np.mean(spikes > 0) < 0.9, layer


@pytest.mark.parametrize("name", SEMANTICS)
def test_every_axis_that_is_named_decides_spikes(name, traces):
    mine = [f"{name}_{form}" for form in SEMANTICS[name].forms.split()]
    for axis in SEMANTICS[name].axes:
        assert any(decides(grid()[n].case, traces[n], axis, getattr(PLAIN, axis)) for n in mine), axis


@pytest.mark.parametrize("name", [n for n in grid() if n.endswith("_unit")])
def test_thresholds_are_met(name, traces):
    case = grid()[name].case
    other = ">" if case.network.layers[0].act.fires == ">=" else ">="
    assert decides(case, traces[name], "fires", other)


def test_both_types_and_both_stimuli_and_every_form_occur():
    cases = [d.case for d in EXACT.values()]
    assert {c.dtype for c in cases} == {"float32", "float64"}
    assert {c.encoding for c in cases} == {"constant", "spikes"}
    assert {n.split("_")[1] for n in EXACT} == set(FORMS)
    assert {f.name for f in fields(Neuron)} - {a for s in SEMANTICS.values() for a in s.axes} == {
        "amplitude", "delay", "order",  # no library has another order, or hands on anything but spikes; delay: none yet
    }  # fmt: skip


def test_weights_are_the_integer_sequence():
    """2654435761 i mod 2^32 >> 8, for i = 1, 2, 3: by hand 10368889, 3960563, 14329453; modulo 10, less 3, over 8."""
    assert eighths(0, (3,)).tolist() == [(k % 10 - 3) / 8 for k in (10368889, 3960563, 14329453)]
