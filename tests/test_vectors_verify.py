"""`snnverify vectors verify`: what its tables and its page say, on recordings small enough to count by hand."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from snnverify import cli, cli_vectors, mutation
from snnverify.activation import Cuba
from snnverify.checks import vectors
from snnverify.errors import DataError, OracleError
from snnverify.exchange import recordings
from snnverify.exchange.recordings import Recorded, Recording
from snnverify.network import Branch, Dense, Layer, Network


def spikes(*values):
    """[T, 1, 1] of one unit."""
    return np.array(values)[:, None, None]


def pair(*recorded, weight=2):
    """Two CUBA layers of one unit that fire on every spike before them, one step later; the input is 1, 0, 1, 1."""
    act = Cuba(1, voltage_decay=4096)
    layers = (Layer("a", (Branch(Dense(np.array([[weight]]))),), act),
              Layer("b", (Branch(Dense(np.array([[2]])), "a"),), act))  # fmt: skip
    return Recording("pair", Network((1,), layers), spikes(1, 0, 1, 1), recorded)


A, B = Recorded("a.npy", "a", "spikes", spikes(0, 1, 0, 1)), Recorded("b.npy", "b", "spikes", spikes(0, 0, 1, 0))


@pytest.fixture
def of(monkeypatch):
    """Let one set of recordings be all there is."""

    def be(*found):
        def read(name):
            if not found:
                raise DataError("a.npy: it holds nonsense")
            return found

        for module in (recordings, vectors):
            monkeypatch.setattr(module, "SETS", ("dense",))
            monkeypatch.setattr(module, "recordings", read)

    return be


def test_values_that_differ_are_counted_by_mode(of):
    of(pair(A, Recorded("b.npy", "b", "spikes", spikes(1, 1, 1, 1))))
    assert cli_vectors.tally(set()) == {"end to end": (3, 8), "alone": (3, 4), "units": (3, 8)}
    assert list(cli_vectors.tally({"kernels"})) == ["end to end", "alone"]
    assert list(cli_vectors.tally({"reference"})) == ["units"]


def test_one_run_that_is_refused_is_told_and_never_counted(of):
    of(pair(A, B), pair(A, weight=2**24))  # a weight that leaves the 24 bits of a current
    counts = cli_vectors.tally({"simulate"})
    assert counts == {"end to end": ("refused", 12), "alone": (0, 4)}


def test_a_recording_that_cannot_be_read_refuses_all_and_without_a_mutant_is_an_error(of):
    of()
    assert cli_vectors.tally({"exchange"}) == dict.fromkeys(("end to end", "alone", "units"), ("refused", 0))
    with pytest.raises(DataError, match="nonsense"):
        cli_vectors.tally(set())


def test_a_process_that_dies_ends_the_command_by_name():
    with pytest.raises(OracleError, match=r"^clock-stops: its process died, .*; give fewer --jobs$"):
        cli_vectors._apart(os._exit, "clock-stops", 3)
    assert cli_vectors._apart(abs, "clock-stops", -3) == 3


def test_the_page(of, monkeypatch, tmp_path, capsys):
    of(pair(A, B, Recorded("b-v.npy", "b", "voltage", spikes(0, 0, 0, 0), stood_in=1)))
    told = {
        "the package itself": {"end to end": (0, 1200), "alone": (0, 8), "units": (0, 5)},
        "one": {"end to end": (1100, 1200), "alone": ("refused", 8)},
        "two": {"units": (0, 5)},
    }
    monkeypatch.setattr(cli_vectors, "_apart", lambda task, name, sources: told[name])
    mutants = [
        SimpleNamespace(name=n, family="vectors", bug=f"bug {n}", edits=(), sources=dict) for n in ("one", "two")
    ]
    monkeypatch.setattr(mutation, "mutants", lambda: mutants)
    page = tmp_path / "vectors.md"
    assert cli.main(["vectors", "verify", "--mutants", "--out", str(page)]) == 0
    text = page.read_text()
    assert "Of the 12 recorded values 1 are potentials of units that spike" in text
    assert "| pair | b.npy | b | spikes | 4 | 4 | 4 |" in text
    assert "| all | 3 arrays |  |  | 12 | 12 | 8 of 8 whose source was recorded |" in text
    assert "the simulator's 1,200 end to end and 8 layer by layer, and of\n5 in single units" in text
    assert "| one | bug one | 1,100 | refused |  |" in text
    assert "| two | bug two |  |  | - |" in text
    assert capsys.readouterr().err == "one; 1,100; refused; \ntwo; ; ; -\n"


def test_a_unit_sees_each_channel_of_its_source_as_late_as_its_axon():
    act = Cuba(1, voltage_decay=4096, axon_delay=np.array([0, 2, 9]))
    first = Layer("a", (Branch(Dense(np.full((3, 1), 2))),), act)
    last = Layer("b", (Branch(Dense(np.full((1, 3), 2)), "a"),), Cuba(1, voltage_decay=4096))
    case = Recording("late", Network((1,), (first, last)), spikes(1, 0, 1, 1, 0), ()).case
    (seen,) = vectors._inputs(case, "a").values()
    assert seen.T.tolist() == [[0, 1, 0, 1, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
