"""The family's recurrence in the words of a simulator: where it is a library's LIF, and where that parts from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from hypothesis import strategies as st

from ..activation import Neuron
from ..content import Array
from ..detector.blocks import Constants, mem_update
from ..findings import Measure
from ..network import Branch, Layer, Network, Scale
from ..oracles import Oracle
from ..trace import Case
from . import check

# Inputs k/8 and decays of one bit or two: after 5 steps a potential is a multiple of 2^-11, so that firing above theta is
# firing at theta + 2^-12, for every simulator whose potential is less than that off.
GRID = 2.0**-11
constants = st.builds(Constants, st.integers(2, 5), st.sampled_from([0.25, 0.5, 1.0]), st.sampled_from([0.25, 0.5]))
trains = st.builds(
    lambda c, seed: (c, np.random.default_rng(seed).integers(-4, 12, (c.steps, 40)) / 8), constants, st.integers(0, 999)
)


@check("operators", trains)
def library_lif_is_the_membrane(drawn: tuple[Constants, Array], subject: Oracle) -> Iterator[Measure]:
    """mem_update is a LIF with hard reset to 0 whose input is not scaled, leak = decay (tau = 1 / (1 - decay)): the same spikes where the LIF fires above theta; one that fires at theta parts from it on constant input theta [EMS-YOLO, Su et al., ICCV 2023, eq. 1 to 3; SpikingJelly's LIFNode with decay_input=False]."""
    c, x = drawn
    lif = Neuron(theta=c.threshold + GRID / 2, reset="value", leak=c.decay)
    yield Measure("spikes that differ", float((_spikes(subject, lif, x) != _unit(c, x)).sum()), detail=f"{c}")
    at = np.full((c.steps, 1), c.threshold)
    fires = _spikes(subject, replace(lif, theta=c.threshold), at)
    yield Measure("steps in which a LIF that fires at theta is silent", float((fires != 1).sum()), detail=f"{c}")
    yield Measure("the unit fires at theta", float(_unit(c, at)[0, 0]))


def _spikes(subject: Oracle, lif: Neuron, x: Array) -> Array:
    """[T, N] -> spikes [T, N] of a subject's neuron."""
    network = Network((1,), (Layer("lif", (Branch(Scale()),), lif),))
    trace = subject.run(Case(network, x[..., None], len(x), encoding="spikes"), "spikes")
    return np.asarray(trace.spikes["lif"])[..., 0]


def _unit(c: Constants, x: Array) -> Array:
    """[T, N] -> spikes [T, N] of the family's unit."""
    with torch.no_grad():
        return np.asarray(mem_update(False, False, c)(torch.from_numpy(np.asarray(x))))
