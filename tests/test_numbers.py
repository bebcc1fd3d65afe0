"""Poisson input: the train of a sample is that of its number in the data set, in every command, whatever else is run."""

import sys
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from snnverify.config import merge, read_config
from snnverify.convert.remedies import measure_remedy
from snnverify.errors import ConfigError, DataError
from snnverify.fidelity import tiles
from snnverify.gate import policy
from snnverify.hardware.counts import Convention
from snnverify.hardware.energy import estimate, tables
from snnverify.kernels import encode
from snnverify.network import Branch, Layer, Network, Neuron, Scale
from snnverify.pipeline import energy, prepare, stations
from snnverify.pipeline.conversion import conversion
from snnverify.pipeline.models import subjects
from snnverify.pipeline.release import energies
from snnverify.pipeline.waterfall import bisect, explained
from snnverify.simulate import simulate
from snnverify.trace import Case

T = 5


@pytest.fixture
def settings(project):
    """Of data of which every tenth sample, drawn at random, is held back to calibrate; the others are numbered with gaps."""
    return merge({"model": "nets.py:build", "data": "data.npz", "encoding": "poisson", "seed": 3, "timesteps": [T]},
                 read_config())  # fmt: skip


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of which a few samples are several."""
    monkeypatch.setattr(tiles, "TILE", 16)
    monkeypatch.setattr(sys.modules["snnverify.waterfall.measure"], "TILE", 16)


@pytest.fixture
def alone(settings):
    """Class and synaptic operations of every evaluation sample by its number, each drawn and run alone."""
    (subject,) = subjects(settings)
    assert (np.diff(subject.numbers) > 1).any()
    made, found = conversion(subject, settings), {}
    fans = np.count_nonzero(made.snn.layers[0].branches[0].op.weight, axis=0)
    for x, number in zip(subject.x, subject.numbers.tolist(), strict=True):
        train = encode.poisson(x[None], 0, T, settings.seed, number)
        trace = simulate(made.snn, train, T, encoding="spikes")
        operations = int((train * fans).sum()) + sum(e["synaptic_operations"] for e in trace.events.values())
        found[number] = int(made.outputs(trace)[-1, 0].argmax()), operations
    assert len(set(found.values())) > 20
    return found


def classes_of(alone, numbers):
    return [alone[n][0] for n in numbers.tolist()]


@pytest.mark.parametrize("limit", [5, 50, None])
def test_a_report_and_energy_count_the_same_for_each_sample_whichever_are_drawn(settings, alone, small_tiles, limit):
    (subject,) = subjects(settings, limit)
    made, _ = prepare(subject, settings)
    wanted = [alone[n][1] for n in subject.numbers.tolist()]
    told = sum(e["synaptic_operations"] for e in made.fidelity.events.values())
    assert (told, made.fidelity.snn[0].tolist()) == (sum(wanted), classes_of(alone, subject.numbers))
    (e,) = energy.assess_energy(settings, T, 240 if limit is None else limit, None)
    assert e.subject.numbers.tolist() == subject.numbers.tolist()
    assert [int(n) for n in e.snn.per_sample(Convention())["synop"]] == wanted


def test_the_gates_energies_are_those_of_the_samples_numbers(settings, alone):
    (subject,) = subjects(settings)
    made, asked = conversion(subject, settings), policy({"max_drop": "5 points", "max_energy": {"loihi": "1 mJ"}})
    told = energies(made, subject.x, T, "poisson", settings.seed, subject.first_sample, asked)["loihi"]
    (e,) = energy.assess_energy(settings, T, 240, None)
    each = {k: Fraction(sum(int(v) for v in n), len(alone)) for k, n in e.snn.per_sample(Convention()).items()}
    assert each["synop"] == Fraction(sum(n for _, n in alone.values()), len(alone))
    (table,) = (t for t in tables(["loihi"], None) if t.name == "loihi")
    meant = estimate(each, table)
    assert told[:2] == (float(meant.low), float(meant.high))


def test_the_waterfall_tells_what_the_report_tells(settings, alone, small_tiles):
    (subject,) = subjects(settings)
    w = explained(subject, conversion(subject, settings), settings, remedies=False).waterfall
    assert w.classes[w.keys.index("encoded")].tolist() == classes_of(alone, subject.numbers)


def test_explain_of_one_sample_or_of_a_class_is_the_reports_outcome(settings, alone):
    (subject,) = subjects(settings)
    asked = [{"sample": int(n)} for n in subject.numbers[[1, 100, -1]]] + [{"label": k} for k in range(3)]
    for given in asked:
        (found,) = bisect(settings, **given)
        assert found.parted.snn.tolist() == classes_of(alone, found.numbers)
    (lost,) = bisect(settings)
    ann = classes_of(
        {n: (y, 0) for n, y in zip(subject.numbers.tolist(), subject.y.tolist(), strict=True)}, lost.numbers
    )
    assert lost.why.startswith(f"the {sum(alone[n][0] != y for n, y in zip(subject.numbers, subject.y, strict=True))} ")
    assert all(
        a != b for a, b in zip(ann, classes_of(alone, lost.numbers), strict=True)
    )  # the ANN gets all of them right


def test_stations_and_remedies_draw_by_number_too(settings, alone):
    (subject,) = subjects(settings)
    made, wanted = conversion(subject, settings), classes_of(alone, subject.numbers)
    assert stations.classes(made, SimpleNamespace(subject=subject), T, settings).tolist() == wanted
    how = {"encoding": "poisson", "seed": settings.seed, "first_sample": subject.first_sample}
    found, _ = measure_remedy("", made, subject.x, subject.y, T, None, **how)
    assert found.right == sum(a == y for a, y in zip(wanted, subject.y, strict=True))


# --- the case


RELAY = Network((9,), (Layer("relay", (Branch(Scale(1.0)),), Neuron()),))
SCATTERED = np.array([70, 2, 3, 2**40, 9])


def test_a_case_takes_the_numbers_of_its_samples():
    x = np.full((5, 9), 0.5)
    spikes = simulate(RELAY, x, 7, encoding="poisson", seed=4, first_sample=SCATTERED, record="spikes").spikes["relay"]
    meant = [encode.poisson(x[:1], 0, 7, 4, int(n)) for n in SCATTERED]
    assert np.array_equal(spikes, np.concatenate(meant, axis=1))
    for drawn in (encode.poisson, encode.fastest()):
        assert np.array_equal(drawn(x, 2, 7, 4, SCATTERED), spikes[2:])


def test_numbers_that_count_on_are_the_first_one():
    case = Case(RELAY, np.full((3, 9), 0.5), 2, "poisson", 4, 11)
    again = replace(case, first_sample=np.array([11, 12, 13], np.int32))
    assert (again.first_sample, again) == (11, case)
    assert replace(case, first_sample=np.array([11, 13, 12])) != case


@pytest.mark.parametrize(
    ("numbers", "error", "match"),
    [
        (np.array([1, 2]), DataError, r"first_sample of shape \(2,\): 3 samples need a number each"),
        (np.array([[1], [5], [7]]), DataError, r"first_sample of shape \(3, 1\)"),
        (np.array([1, 5, -7]), ConfigError, "first_sample = -7: an integer from 0"),
        (np.array([1.0, 5.0, 7.0]), ConfigError, "first_sample = 1.0: an integer from 0"),
    ],
)
def test_numbers_that_cannot_be_are_named(numbers, error, match):
    with pytest.raises(error, match=match):
        Case(RELAY, np.full((3, 9), 0.5), 2, "poisson", 4, numbers)
