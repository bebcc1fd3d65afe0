"""The life of a golden, with planted libraries: what is recorded, confirmed, accepted, and what is not believed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from snnverify import golden, oracles
from snnverify.content import save
from snnverify.errors import GoldenError
from snnverify.golden import files, life
from snnverify.golden.grid import grid
from snnverify.oracles import Oracle, recorded

NAMES = ("if-soft_unit", "if-hard_train", "gt-if-soft_unit")
LIBRARY, SECOND, THIRD = "planted", "another", "third"


def library(name=LIBRARY, change=lambda case, trace: trace, families=()):
    """A library that does what our simulator does, but for a planted change."""
    own = oracles.get("snnverify")
    return Oracle(name, "1.2", lambda case, record: change(case, own.run(case, record)), families=dict(families))


def flipped(case, trace):
    """One spike of the last layer taken away, in the first unit that has one."""
    name = case.network.spiking[-1].name
    spikes = np.array(trace.spikes[name])
    spikes[tuple(np.argwhere(spikes)[0])] -= 1
    return replace(trace, spikes={**trace.spikes, name: spikes})


def lifted(case, trace):
    """Potentials that lie 2^-10 too high, spikes as they are."""
    return replace(trace, v={k: v + 2.0**-10 for k, v in trace.v.items()})


def peaked(case, trace):
    """The same of those before the reset."""
    return replace(trace, v_peak={k: v + 2.0**-10 for k, v in trace.v_peak.items()})


def snapshot(root):
    return {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def root(tmp_path, monkeypatch):
    """An empty folder with the schema, three planted libraries that are known by name, and a grid of three cases."""
    few = {name: grid()[name] for name in NAMES}
    for module in (files, life):
        monkeypatch.setattr(module, "grid", lambda: few)
    known = (*oracles.names(), LIBRARY, SECOND, THIRD, f"{LIBRARY}-0.9")
    monkeypatch.setattr(oracles, "names", lambda: known)
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "schema.json").write_bytes((recorded.folder() / "schema.json").read_bytes())
    return tmp_path / "golden"


@pytest.fixture
def accepted(root):
    golden.record(library(), root)
    golden.accept(LIBRARY, why="first recording", root=root)
    return root


def states(rows):
    return [row.state for row in rows]


def test_recording_waits_for_a_person(root):
    rows = golden.record(library(), root)
    assert [(r.oracle, r.case, r.state) for r in rows] == [(LIBRARY, n, "received") for n in NAMES]
    assert recorded.names(LIBRARY, root) == ()
    assert states(golden.verify(root)) == ["fault"] * 3
    assert states(golden.diff(LIBRARY, root)) == ["same"] * 3
    assert states(golden.accept(LIBRARY, why="first recording", root=root)) == ["accepted"] * 3
    assert recorded.names(LIBRARY, root) == tuple(sorted(NAMES))
    assert states(golden.verify(root)) == ["ok"] * 3
    assert not list(root.rglob("*received*"))
    text = json.loads((root / LIBRARY / "if-soft_unit.json").read_text())
    assert text["accepted"]["why"] == "first recording"
    assert text["accepted"]["confirmed_by"] == "reference"
    assert text["versions"]["library"] == "1.2"
    assert text["command"] == f"snnverify golden record {LIBRARY}"
    assert text["guards"] == grid()["if-soft_unit"].guards


def test_a_golden_holds_the_case_and_the_trace(accepted):
    _, found = recorded.read(LIBRARY, "if-hard_train", accepted)
    case = grid()["if-hard_train"].case
    assert found.case == case
    assert replace(found.trace, provenance=None) == replace(library().run(case), provenance=None)


def test_the_summary_counts_spikes(accepted):
    text = json.loads((accepted / LIBRARY / "if-soft_unit.json").read_text())
    # x = -3/8 ... 16/8, one step: 9 of the 20 inputs reach the threshold of 1 at once
    total, by_step = text["spikes"]["unit"].split(" in 160 entries; by step ")
    assert by_step.split()[0] == "9"
    assert len(by_step.split()) == 8
    assert sum(map(int, by_step.split())) == int(total)


def test_nothing_changes_where_nothing_changed(accepted):
    before = snapshot(accepted)
    assert states(golden.record(library(), accepted)) == ["unchanged"] * 3
    assert states(golden.record(library(), accepted, check=True)) == ["unchanged"] * 3
    golden.verify(accepted)
    assert snapshot(accepted) == before


@pytest.mark.parametrize(
    ("change", "said"), [(flipped, "1 of 160 spike entries differ"), (lifted, "the spikes agree, and v differ")]
)
def test_drift_is_told_and_nothing_written(accepted, change, said):
    before = snapshot(accepted)
    rows = golden.record(library(change=change), accepted, check=True)
    assert states(rows) == ["drifted"] * 3
    assert said in rows[0].detail
    assert snapshot(accepted) == before


def test_recording_never_overwrites_truth(accepted):
    before = snapshot(accepted)
    assert states(golden.record(library(change=flipped), accepted)) == ["received"] * 3
    now = snapshot(accepted)
    assert {k: now[k] for k in before} == before
    (row, *_) = golden.diff(LIBRARY, accepted)
    assert row.state == "differs"
    assert "spike entries differ" in row.detail
    assert states(golden.record(library(), accepted)) == ["unchanged"] * 3  # what waited is out of date
    assert snapshot(accepted) == before


def test_a_library_that_no_longer_expresses_a_case_has_drifted(accepted):
    soft = {"IF": {"reset": ("subtract",)}}
    rows = golden.record(library(families=soft), accepted, check=True)
    assert states(rows) == ["unchanged", "drifted", "drifted"]
    assert "reset = 'value'" in rows[1].detail


def test_families_narrow_the_grid(root):
    rows = golden.record(library(families={"IF": {"fires": (">",)}}), root)
    assert states(rows) == ["unsupported", "unsupported", "received"]


def test_what_is_not_there_is_missing_or_unconfirmed(root):
    assert states(golden.record(library(), root, check=True)) == ["missing"] * 3
    assert states(golden.record(library(change=flipped), root, check=True)) == ["unconfirmed"] * 3
    assert not (root / LIBRARY).exists()


@pytest.mark.parametrize("change", [flipped, lifted, peaked])
def test_the_reference_must_confirm_all_or_none_is_accepted(root, change):
    only = NAMES[1]
    golden.record(library(change=lambda c, t: change(c, t) if c == grid()[only].case else t), root)
    before = snapshot(root)
    with pytest.raises(GoldenError, match=f"{only}: reference does not confirm it .*`snnverify golden accept"):
        golden.accept(LIBRARY, why="all of them", root=root)
    assert snapshot(root) == before
    golden.reject(LIBRARY, [only], root)
    assert states(golden.accept(LIBRARY, why="the rest", root=root)) == ["accepted"] * 2
    assert states(golden.verify(root)) == ["ok"] * 2


def test_two_libraries_may_confirm_each_other_against_the_reference(root):
    for name in (LIBRARY, SECOND):
        golden.record(library(name, flipped), root)
    golden.record(library(THIRD), root)
    with pytest.raises(GoldenError, match=f"{THIRD} does not confirm it"):
        golden.accept(LIBRARY, why="so does another", confirm=THIRD, root=root)
    golden.accept(LIBRARY, why="so does another", confirm=SECOND, root=root)
    golden.accept(SECOND, why="so does planted", confirm=LIBRARY, root=root)
    golden.accept(THIRD, why="as the reference has it", root=root)
    assert states(golden.verify(root)) == ["ok"] * 9
    golden.record(library(SECOND), root)
    golden.accept(SECOND, why="mended in 1.3", root=root)
    rows = [r for r in golden.verify(root) if r.state == "fault"]
    assert [r.oracle for r in rows] == [LIBRARY] * 3  # left alone with its opinion
    assert f"{SECOND} does not confirm it" in rows[0].detail


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"why": " "}, "--why REASON"),
        ({"why": "x", "cases": ["if-soft_deep"]}, "if-soft_deep: nothing was received"),
        ({"why": "x", "confirm": LIBRARY}, "cannot confirm it, being what is under test"),
        ({"why": "x", "confirm": f"{LIBRARY}-0.9"}, "cannot confirm it, being what is under test"),
        ({"why": "x", "confirm": "snnverify"}, "cannot confirm it, being what is under test"),
        ({"why": "x", "confirm": "nobody"}, "no oracle has the name 'nobody'"),
        ({"why": "x", "confirm": SECOND}, f"`snnverify golden record {SECOND}`"),
    ],
)
def test_refusals_of_accept(root, keywords, said):
    golden.record(library(), root)
    before = snapshot(root)
    with pytest.raises(GoldenError, match=said):
        golden.accept(LIBRARY, root=root, **keywords)
    assert snapshot(root) == before


@pytest.mark.parametrize("command", [golden.diff, golden.reject])
def test_nothing_received(root, command):
    with pytest.raises(GoldenError, match=f"`snnverify golden record {LIBRARY}` first"):
        command(LIBRARY, root=root)


def edited(**changes):
    def damage(base):
        file = base.with_suffix(".json")
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return damage


def rewritten(change, hashes=True):
    """Another trace in the npz, the hashes of the json put right or not."""

    def damage(base):
        found = recorded.read(LIBRARY, base.name, base.parents[1])[1]
        save(replace(found, trace=change(found.case, found.trace)), base.with_suffix(".npz"))
        if hashes:
            edited(arrays=recorded.hashes(base.with_suffix(".npz")))(base)

    return damage


def without_a_word(base):
    text = json.loads(base.with_suffix(".json").read_text())
    del text["guards"]
    base.with_suffix(".json").write_text(json.dumps(text))


DAMAGE = {
    "no json": (lambda base: base.with_suffix(".json").unlink(), "there is no if-soft_unit.json; record it anew"),
    "no npz": (lambda base: base.with_suffix(".npz").unlink(), "there is no if-soft_unit.npz; record it anew"),
    "npz cut short": (lambda b: b.with_suffix(".npz").write_bytes(b.with_suffix(".npz").read_bytes()[:-40]),
                      "not a file written by snnverify"),
    "no text": (lambda base: base.with_suffix(".json").write_text("{"), "record it anew"),
    "no object": (lambda base: base.with_suffix(".json").write_text("[1]"), "its json names no arrays"),
    "other spikes": (rewritten(flipped, hashes=False), r"root.trace.spikes.unit: not the content that was reviewed"),
    "other spikes and hashes": (rewritten(flipped), "its json says spikes"),
    "other potentials and hashes": (rewritten(lifted), "reference does not confirm it"),
    "a word too few": (without_a_word, "guards is missing"),
    "a wrong date": (edited(recorded="yesterday"), "recorded = 'yesterday': of the form"),
    "never accepted": (edited(accepted=None), "accepted = None: of type object"),
    "another library's": (edited(oracle=SECOND), f"its json says oracle = '{SECOND}'"),
    "another summary": (edited(spikes={"unit": "160 in 160 entries"}), "its json says spikes"),
    "another guard": (edited(guards="nothing"), "its json says guards"),
    "confirmed by itself": (
        edited(accepted={"on": "2026-01-01", "why": "x", "confirmed_by": LIBRARY}), "cannot confirm it"),
    "too large": (lambda base: base.with_suffix(".npz").write_bytes(bytes(100_001)), "100001 bytes, over 100000"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_and_recording_anew_mends_it(accepted, damage, said):
    damage(accepted / LIBRARY / "if-soft_unit")
    with pytest.raises(GoldenError, match=said) as e:
        golden.verify_entry(f"{LIBRARY}/if-soft_unit", accepted)
    assert "snnverify golden" in str(e.value) or "`git rm" in str(e.value) or "--confirm" in str(e.value)
    assert sorted(states(golden.verify(accepted))) == ["fault", "ok", "ok"]
    golden.record(library(), accepted)
    golden.accept(LIBRARY, why="it was damaged", root=accepted)
    assert states(golden.verify(accepted)) == ["ok"] * 3


@pytest.mark.parametrize(
    ("stray", "said"),
    [
        ("nobody/if-soft_unit.json", "no oracle has the name 'nobody'"),
        ("notes.txt", "no oracle has the name ''"),
        (f"{LIBRARY}/notes.txt", r"there is no notes.txt.json"),
        (f"{LIBRARY}/old/if-soft_unit.npz", f"no oracle has the name '{LIBRARY}/old'"),
        (f"{LIBRARY}/if-soft_unit.received.npz", "received and not accepted"),
    ],
)
def test_strays_are_found(accepted, stray, said):
    (accepted / stray).parent.mkdir(parents=True, exist_ok=True)
    (accepted / stray).write_text("{}")
    rows = golden.verify(accepted)
    assert sorted(states(rows)) == ["fault", "ok", "ok", "ok"]
    with pytest.raises(GoldenError, match=said):
        raise GoldenError(next(r.detail for r in rows if r.state == "fault"))


def test_a_case_that_left_the_grid_is_found(accepted, monkeypatch):
    fewer = {name: grid()[name] for name in NAMES[1:]} | {NAMES[0]: grid()["if-soft_deep"]}
    for module in (files, life):
        monkeypatch.setattr(module, "grid", lambda: fewer)
    with pytest.raises(GoldenError, match="the grid has no such case any more"):
        golden.verify_entry(f"{LIBRARY}/{NAMES[0]}", accepted)
    assert "drifted" in states(golden.record(library(), accepted, check=True))


def test_too_much_in_all_is_found(accepted, monkeypatch):
    monkeypatch.setattr(files, "MOST_IN_ALL", 5000)
    assert "over 5000" in golden.verify(accepted)[-1].detail


def test_an_empty_folder_is_no_evidence(root):
    with pytest.raises(GoldenError, match="no golden in it; record some with `snnverify golden record"):
        golden.entries(root)
