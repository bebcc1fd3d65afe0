"""The designed grid of Loihi's networks: alive, and sharp on every axis that a case names."""

from dataclasses import MISSING, fields, replace

import numpy as np
import pytest

from snnverify import reference
from snnverify.activation import Cuba, SigmaDelta
from snnverify.errors import SnnverifyError
from snnverify.golden.grid import eighths, grid
from snnverify.golden.grid_loihi import loihi_grid

GRID = loihi_grid()


def named(case):
    """Axes that some layer has at another value than the default, and that default."""
    for layer in case.network.spiking:
        for f in fields(layer.act):
            if f.default is not MISSING and np.any(getattr(layer.act, f.name) != f.default):
                yield f.name, f.default


def plain(case, axis, default):
    layers = (v if v.act is None or not hasattr(v.act, axis) else replace(v, act=replace(v.act, **{axis: default}))
              for v in case.network.layers)  # fmt: skip
    return replace(case, network=replace(case.network, layers=tuple(layers)))


@pytest.fixture(scope="module")
def traces():
    return {name: reference.run(design.case) for name, design in GRID.items()}


def test_the_grid_holds_them():
    assert {name: grid()[name] for name in GRID} == GRID
    assert all(design.case.kind == "integer" for design in GRID.values())


@pytest.mark.parametrize("name", GRID)
def test_cases_are_alive(name, traces):
    rates = [np.mean(s != 0) for s in traces[name].spikes.values()]
    assert max(rates) > 0.03
    assert min(rates) < 0.95
    for potentials in traces[name].v_peak.values():
        assert len(np.unique(potentials)) > 1


@pytest.mark.parametrize("name", GRID)
def test_every_axis_that_is_named_decides(name, traces):
    case, trace = GRID[name].case, traces[name]
    for axis, default in dict(named(case)).items():
        try:
            other = reference.run(plain(case, axis, default))
        except SnnverifyError:  # no legal network without it, or states that leave 24 bits
            continue
        same = all(np.array_equal(getattr(trace, part)[k], v) for part in ("spikes", "v", "v_peak")
                   for k, v in getattr(other, part).items())  # fmt: skip
        assert not same, axis


def test_every_axis_is_named():
    axes = {(type(v.act), a) for d in GRID.values() for v in d.case.network.spiking for a, _ in named(d.case)}
    for kind in (Cuba, SigmaDelta):
        missing = {f.name for f in fields(kind) if f.default is not MISSING} - {a for k, a in axes if k is kind}
        assert missing <= ({"axon_delay"} if kind is SigmaDelta else set()), kind


def test_weights_are_the_even_numbers_of_the_sequence():
    hidden = GRID["cuba-if_dense"].case.network["hidden"].branches[0].op.weight
    assert np.array_equal(hidden, 16 * eighths(1, (6, 5), -12, 12))
    assert np.abs(hidden).max() <= 24
