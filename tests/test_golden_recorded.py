"""The recorded host, the check on every golden, and what the libraries recorded against closed forms."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from snnverify import oracles, reference
from snnverify.checks import golden as room
from snnverify.checks import select
from snnverify.errors import GoldenError, Unsupported
from snnverify.golden import files
from snnverify.golden.grid import FORMS, STEPS, grid
from snnverify.oracles import Oracle, recorded
from snnverify.run import run
from snnverify.trace import compare

LIBRARY = "norse"
CASES = ("gt-if-hard_unit", "gt-lif-hard-scaled_deep")
SWEEP = FORMS["unit"].x[:, 0]
CLIPPED = {  # spikes of one unit on constant input x, threshold 1, after T steps (Rueckauer 2017; Bu 2022), by hand
    "if-soft_unit": lambda x: np.floor(x * STEPS),
    "if-soft-half_unit": lambda x: np.floor(0.5 + x * STEPS),
    "gt-if-soft_unit": lambda x: np.ceil(x * STEPS) - 1,
}
BASES = [(o, c) for o in recorded.recorded_oracles() for c in CLIPPED if c in recorded.names(o)]


@pytest.mark.parametrize(("oracle", "case"), BASES)
def test_recorded_counts_are_the_closed_form(oracle, case):
    counts = recorded.read(oracle, case)[1].trace.counts["unit"][:, 0]
    assert counts.tolist() == np.clip(CLIPPED[case](SWEEP), 0, STEPS).tolist()


def test_every_library_has_its_goldens():
    libraries = set(oracles.names()) - set(oracles.ADAPTERS) - {"neurobench"}  # which counts, and simulates nothing
    assert set(recorded.recorded_oracles()) == libraries
    assert all(len(recorded.names(name)) >= 7 for name in libraries)  # what a block holds is little
    assert {case for _, case in BASES} == set(CLIPPED)


def test_the_host_answers_its_cases_alone():
    subject = recorded.oracle(LIBRARY)
    assert subject.name == f"recorded:{LIBRARY}"
    assert subject.version == recorded.read(LIBRARY, CASES[0])[0]["versions"]["library"]
    case = grid()[CASES[1]].case
    assert compare(case.network, subject.run(case), reference.run(case)).spikes_differ == 0
    assert subject.run(case).v
    assert not subject.run(case, "spikes").v
    assert subject.run(case, "spikes").spikes
    assert not subject.run(case, "counts").spikes
    with pytest.raises(Unsupported, match="this case was never recorded"):
        subject.run(replace(case, x=case.x / 2))


def test_the_host_does_not_answer_from_damage(tmp_path):
    shutil.copytree(recorded.folder() / LIBRARY, tmp_path / LIBRARY)
    one, other = (tmp_path / LIBRARY / f"{name}.npz" for name in CASES)
    shutil.copy(other, one)
    with pytest.raises(GoldenError, match="not the content that was reviewed"):
        recorded.oracle(LIBRARY, tmp_path)
    with pytest.raises(GoldenError, match="`snnverify golden record sinabs` first"):
        recorded.oracle("sinabs", tmp_path)


def planted(change=lambda case, trace: trace):
    own = oracles.get("snnverify")
    return Oracle("planted", "1", lambda case, record: change(case, own.run(case, record)))


def one_spike_less(case, trace):
    """In the last layer of the second case alone."""
    if case != grid()[CASES[1]].case:
        return trace
    name = case.network.output.name
    spikes = np.array(trace.spikes[name])
    spikes[tuple(np.argwhere(spikes)[0])] -= 1
    return replace(trace, spikes={**trace.spikes, name: spikes})


def lifted(part):
    return lambda _, trace: replace(trace, **{part: {k: v + 2.0**-10 for k, v in getattr(trace, part).items()}})


@pytest.fixture
def law(monkeypatch):
    """The check, on two cases."""
    kept = tuple((f"{LIBRARY}/{n}", recorded.Golden(grid()[n].case, reference.run(grid()[n].case))) for n in CASES)
    monkeypatch.setattr(room, "goldens", lambda: kept)
    (found,) = select("golden.reproduced")
    return found


@pytest.mark.parametrize(
    ("change", "outcome", "where", "measure"),
    [
        (lambda _, t: t, "pass", "", ""),
        (lambda _, t: replace(t, v={}, v_peak={}), "pass", "", ""),  # a library need not tell its potentials
        (one_spike_less, "fail", f"{LIBRARY}/{CASES[1]}", "spikes differ"),
        (lifted("v"), "fail", f"{LIBRARY}/{CASES[0]}, unit", "v differs"),
        (lifted("v_peak"), "fail", f"{LIBRARY}/{CASES[0]}, unit", "v_peak differs"),
        (lambda _, t: replace(t, readout=t.readout + 1), "fail", f"{LIBRARY}/{CASES[0]}", "read-out differs"),
    ],
)
def test_the_check_compares_with_every_golden(law, change, outcome, where, measure):
    finding = run(law, planted(change))
    assert finding.outcome == outcome
    if outcome == "fail":
        assert (finding.worst.where, finding.worst.name) == (where, measure)


def test_the_check_says_where_nothing_can_be_compared(law, monkeypatch):
    def refuse(case, trace):
        raise Unsupported("planted", "it has another neuron")

    assert run(law, planted(refuse)).outcome == "unsupported"
    monkeypatch.setattr(room, "goldens", lambda: ())
    assert run(law, planted()).outcome == "fail"  # no golden is no evidence


def test_the_text_names_what_is_not_plain():
    case = grid()["if-hard_train"].case
    told = files.describe(recorded.Golden(case, reference.run(case)))
    assert told["stimulus"] == "spikes [8, 3, 4], 8 steps, float32"
    assert told["layers"]["out"] == "Dense(hidden) -> [3] Neuron(reset='value')"
