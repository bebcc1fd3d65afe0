"""A law of your own beside ours: `pytest examples/test_my_check.py`, with `--oracle NAME` for another implementation.

The docstring is the claim, its source in brackets; cases are drawn, shrunk and replayed as those of every other check.
"""

import numpy as np
import pytest

from snnverify.checks import check, select
from snnverify.findings import Measure
from snnverify.strategies import exact_cases


@check("simulator", exact_cases(reset="subtract", reset_delay=0, leak=1.0, v_floor=None, max_spikes=1))
def at_most_one_spike_a_step(case, subject):
    """A neuron with max_spikes = 1 hands on 0 or 1 in each step [definition of Neuron.max_spikes]."""
    for name, spikes in subject.run(case, "spikes").spikes.items():
        yield Measure("entries other than 0 and 1", float((~np.isin(spikes, (0, 1))).sum()), where=name)


@pytest.mark.parametrize("check", select("test_my_check.*"), ids=lambda c: c.name)
def test_my_laws(check, verify):
    verify(check)
