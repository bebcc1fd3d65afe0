# ruff: noqa: F811 (fixtures are imported)
"""Pieces of a long computation: the same results in any order, on any workers, and after any interruption."""

import signal
import subprocess
import sys
from functools import wraps

import numpy as np
import pytest
from sharded import REPORT, STEPS, Square, digests, digits, many, small_tiles, square  # noqa: F401

from snnverify import fidelity, shards, zoo
from snnverify.convert import convert, curves
from snnverify.fidelity import measure, tiles
from snnverify.shards import Journal, Shards, cluster, here

# --- order


def test_results_come_in_the_order_of_the_tasks_whoever_finishes_first():
    def last_first(function, pieces):
        yield from here(function, pieces[::-1])

    told = []
    found = shards.run(square, [{"x": np.arange(n)} for n in range(5)], Square, Shards(last_first), told.append)
    assert [f.value for f in found] == [0, 0, 1, 9, 36]
    assert told == [4, 3, 2, 1, 0]


def test_fidelity_and_curves_do_not_depend_on_the_order_of_tiles(digits, small_tiles, monkeypatch):
    def shuffled(function, pieces):
        yield from here(function, [pieces[i] for i in np.random.default_rng(3).permutation(len(pieces))])

    assert measure(*digits, STEPS, shards=Shards(shuffled)) == measure(*digits, STEPS)
    monkeypatch.setattr(curves, "TILE", 16)
    monkeypatch.setattr(curves, "MODES", ("max", "1/2"))
    m = zoo.load_default("digits_mlp")
    made = {mode: convert(m.module, m.train_x[:200], mode=mode) for mode in ("max", "1/2")}

    def found_by(given):
        return curves.side_by_side(lambda mode: made[mode], digits[0], *digits[1:3], (4,), modes=True, shards=given)

    found = found_by(Shards(shuffled))
    assert found == found_by(Shards())
    x, y = digits[1:3]
    for curve in found:  # each is that of a run of all samples at once
        assert curve.right[6] == int((made[curve.name].classify(x, 7) == y).sum())


def test_tiles_of_a_network_are_the_same_in_every_data_set(digits, small_tiles):
    converted, x, y, logits = digits
    few, all_of_them = (measure(converted, x[:n], y[:n], logits[:n], STEPS, encoding="poisson") for n in (40, 160))
    assert np.array_equal(few.snn, all_of_them.snn[:, :40])


# --- the journal


def test_a_piece_is_named_by_everything_that_determines_it(tmp_path, digits, monkeypatch):
    converted, x, *_ = digits
    task = {"converted": converted, "x": x[:4], "marks": [2], "encoding": "constant", "seed": 0, "first_sample": 0}

    def kept(**other):
        journal, told = Journal(tmp_path), []
        shards.run(tiles.tile, [task | other], tiles.FidelityTile, Shards(journal=journal, say=told.append))
        return told == ["resuming: 1 of 1 tiles are done"]

    assert [kept(), kept()] == [False, True]
    one = x[:4].copy()
    one[3, 0, 0, 0] = np.nextafter(one[3, 0, 0, 0], 2)
    others = {"x": one, "marks": [3], "encoding": "poisson", "seed": 1, "first_sample": 4,
              "converted": convert(zoo.load_default("digits_mlp").module, x[:100])}  # fmt: skip
    assert not any(kept(**{k: v}) for k, v in others.items())
    numbers = [kept(first_sample=np.array(n)) for n in ([0, 1, 2, 4], [0, 1, 3, 4], [0, 1, 2, 4])]
    assert numbers == [False, False, True]
    assert not kept(x=x[:4].astype("float64"))
    for name in shards.identity():
        with monkeypatch.context() as m:
            m.setattr(shards, "identity", lambda name=name: {**cluster.identity(), name: "another"})
            assert not kept()
    assert kept()


def damaged(path, other):
    whole = path.read_bytes()
    yield whole[: len(whole) // 2]
    yield b""
    yield b"PK\x03\x04 nonsense"
    yield other.read_bytes()  # whole, but of another piece
    for at in range(0, len(whole), max(1, len(whole) // 40)):
        yield whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :]


def test_a_damaged_entry_is_computed_again(tmp_path, digits, small_tiles):
    honest = measure(*digits, STEPS)
    measure(*digits, STEPS, shards=Shards(journal=Journal(tmp_path)))
    first, other, *rest = sorted(tmp_path.iterdir())
    assert len(rest) == 8
    whole = first.read_bytes()
    for bad in damaged(first, other):
        first.write_bytes(bad)
        assert measure(*digits, STEPS, shards=Shards(journal=Journal(tmp_path))) == honest
    first.write_bytes(whole)
    journal = Journal(tmp_path)
    measure(*digits, STEPS, shards=Shards(here, journal))
    (tmp_path / f"{first.name}1234.tmp").touch()  # of a process that was killed while it wrote
    (tmp_path / "of-another-run.npz").touch()
    journal.clear()
    assert [p.name for p in tmp_path.iterdir()] == ["of-another-run.npz"]


def test_an_entry_that_says_another_result_than_it_had_is_not_believed(tmp_path):
    from snnverify.content import save
    from snnverify.shards.journal import JournalEntry

    for entry in (JournalEntry("a", Square(4), Square(5).digest), JournalEntry("b", Square(4), Square(4).digest)):
        save(entry, tmp_path / "a.npz")
        assert Journal(tmp_path).get("a", Square) is None
    save(JournalEntry("a", Square(4), Square(4).digest), tmp_path / "a.npz")
    assert Journal(tmp_path).get("a", tiles.FidelityTile) is None
    assert Journal(tmp_path).get("a", Square) == Square(4)


# --- a report that is interrupted

KILLED = """
import os, signal, sys
from functools import wraps
from snnverify import fidelity
from snnverify.cli import main
honest, calls = fidelity.tile, []
@wraps(honest)
def tile(**given):
    calls.append(0)
    if len(calls) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(**given)
fidelity.tile = tile
main(sys.argv[1:])
"""


def counted(monkeypatch, stop=None):
    honest, calls = fidelity.tile, []

    @wraps(honest)
    def tile(**given):
        calls.append(given["first_sample"])
        if len(calls) == stop:
            raise KeyboardInterrupt
        return honest(**given)

    monkeypatch.setattr(fidelity, "tile", tile)
    return calls


@pytest.mark.parametrize("how", ["kill -9", "Ctrl-C"])
def test_a_report_goes_on_where_it_was_and_is_the_same(many, cli, monkeypatch, how):
    assert cli(*REPORT, "--out", "whole").code == 0
    assert [p.name for p in many.glob(".unfinished")] == []
    arguments = [*map(str, REPORT), "--out", "r"]
    if how == "kill -9":
        died = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True)
        assert died.returncode == -signal.SIGKILL
    else:
        with monkeypatch.context() as m:
            counted(m, stop=6)
            done = cli(*arguments)
        hint = "snnverify: interrupted; tiles kept: 5; run the same command again to go on"
        assert (done.code, done.err.strip().splitlines()[-1]) == (130, hint)
    assert not (many / "r").exists()
    assert len(list((many / ".unfinished").glob("*.npz"))) == 5
    calls = counted(monkeypatch)
    done = cli(*arguments)
    assert done.code == 0
    assert "resuming: 5 of 12 tiles are done" in done.err.splitlines()
    assert calls == [256 * k for k in range(5, 12)] + [0]  # the last by the check that recounts 16 samples
    assert digests(many / "r") == digests(many / "whole")
    assert not (many / ".unfinished").exists()
    assert "resuming" not in cli(*arguments).err
