"""The judge on other people's implementations: crashes, absence, known defects, and what they can express."""

from dataclasses import replace

import pytest

from snnverify import reference
from snnverify import run as judge
from snnverify.activation import Cuba, Neuron
from snnverify.checks import select
from snnverify.errors import OracleDied, OracleError, Unavailable, Unsupported
from snnverify.findings import Measure
from snnverify.oracles import ANY, Oracle, family_of
from snnverify.oracles.known import Defect, defects
from snnverify.run import run

(TIES,) = select("dynamics.ties")
(EXACT,) = select("parity.exact")
SOFT = {"theta": ANY, "v_init": ANY, "amplitude": ANY, "fires": (">=",), "reset": ("subtract",)}
DEFECT = Defect("X-1", ("other",), "fires at >", "z = theta", "0 of 1", "x.py", "none known", ("dynamics.ties",))


def strict(case, record):
    """A simulator with ``>`` for ``>=``."""
    layers = tuple(replace(v, act=replace(v.act, fires=">")) if v.act else v for v in case.network.layers)
    return reference.run(replace(case, network=replace(case.network, layers=layers)))


def correct(case, record):
    return reference.run(case)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(OracleError("other: it crashed"), "error"), (Unavailable("other: install it"), "unavailable")],
)
def test_a_subject_that_crashes_is_asked_once(error, outcome, tmp_path):
    asked = []

    def crash(case, record):
        asked.append(case)
        raise error

    finding = run(TIES, Oracle("other", "1", simulator=crash), store=tmp_path)
    assert (finding.outcome, len(asked)) == (outcome, 1)
    assert str(error) in finding.message
    assert ("replay" in finding.replay) == (outcome == "error")  # the case that crashed it is kept


def test_a_known_defect_is_expected_and_its_absence_is_not(monkeypatch):
    monkeypatch.setattr(judge, "defects_of", lambda *key: (DEFECT,) if key == ("other", TIES.name) else ())
    broken = run(TIES, Oracle("other", "1", simulator=strict))
    assert (broken.outcome, broken.message) == ("xfail", "X-1: fires at >")
    assert run(TIES, Oracle("other", "1", simulator=correct)).outcome == "pass"  # its draws may have missed it
    assert run(TIES, Oracle("third", "1", simulator=strict)).outcome == "fail"
    assert (
        run(TIES, Oracle("other", "1", families={"hard": {"reset": ("value",)}}, simulator=strict)).outcome
        == "unsupported"
    )


REPRODUCED = "findings.reproduced"


def case_of(measured):
    return Oracle("other", "1", operators={"defects": lambda: ("X-1",), "defect": lambda name: (measured, 1.0)})


def test_a_defect_that_is_mended_is_to_be_struck(monkeypatch):
    (law,) = select(REPRODUCED)
    monkeypatch.setattr(judge, "defects_of", lambda oracle, check: (DEFECT,) if oracle == "other" else ())
    assert run(law, case_of(2.0)).outcome == "xfail"
    mended = run(law, case_of(1.0))
    assert mended.outcome == "fail"
    assert "strike it" in mended.message
    monkeypatch.setattr(judge, "defects_of", lambda *key: ())
    assert run(law, case_of(2.0)).outcome == "fail"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(OracleError("other: run failed: division by zero"), "xfail"), (OracleError("other: no memory"), "error"),
     (OracleDied("other: division by zero, SIGSEGV"), "error")],
)  # fmt: skip
def test_only_the_exception_of_the_entry_is_expected(monkeypatch, error, outcome):
    def raising(case, record):
        raise error

    monkeypatch.setattr(judge, "defects_of", lambda *key: (replace(DEFECT, raises="division by zero"),))
    assert run(TIES, Oracle("other", "1", simulator=raising)).outcome == outcome


def test_what_was_measured_before_something_is_unsupported_counts():
    def half(case, subject):
        """A law whose second part not everybody can express [planted]."""
        yield Measure("off", 1.0)
        raise Unsupported("other", "no second part")

    assert run(replace(TIES, function=half), Oracle("other", "1", simulator=correct)).outcome == "fail"


def test_a_known_defect_covers_its_own_place_alone(monkeypatch):
    def known(pattern):
        monkeypatch.setattr(judge, "defects_of", lambda *key: (replace(DEFECT, laws=(f"{EXACT.name}: {pattern}",)),))
        return run(EXACT, Oracle("other", "1", simulator=strict), examples=40)

    assert known("*").outcome == "xfail"
    other_place = known("layer7")
    assert other_place.outcome == "fail"
    assert other_place.worst.where != "layer7"


@pytest.mark.parametrize(
    ("raises", "laws", "broken", "spared"),
    [("", ("a.b",), ("here", ""), ()), ("boom", ("a.b",), (), ("here", "")),
     ("boom", ("a.b: here",), ("here",), ("there", "")), ("", ("a.b: h*", "a.b: x"), ("here", "x"), ("there",)),
     ("", ("a.c",), (), ("here",))],
)  # fmt: skip
def test_places_of_a_defect(raises, laws, broken, spared):
    """A defect that raises covers measures only where it gives their place."""
    defect = replace(DEFECT, raises=raises, laws=laws)
    assert [where for where in (*broken, *spared) if defect.covers("a.b", where)] == list(broken)
    assert defect.breaks("a.b") == (laws != ("a.c",))
    assert defect.covers(REPRODUCED, "X-1")
    assert not defect.covers(REPRODUCED, "X-2")


def test_a_defect_that_raises_excuses_no_wrong_value(monkeypatch):
    monkeypatch.setattr(judge, "defects_of", lambda *key: (replace(DEFECT, raises="division by zero"),))
    assert run(TIES, Oracle("other", "1", simulator=strict)).outcome == "fail"


def test_an_absent_subject_is_no_known_defect(monkeypatch):
    def absent(case, record):
        raise Unavailable("other: install it")

    monkeypatch.setattr(judge, "defects_of", lambda *key: (DEFECT,))
    assert run(TIES, Oracle("other", "1", simulator=absent)).outcome == "unavailable"


def test_cases_are_drawn_from_the_subjects_classes_alone():
    seen = []

    def keep(case, record):
        seen.extend(v.act for v in case.network.spiking)
        return reference.run(case)

    families = {"soft": SOFT, "hard": {**SOFT, "reset": ("value",), "v_reset": (0.25,)}}
    finding = run(EXACT, Oracle("other", "1", simulator=keep, families=families), examples=60)
    assert finding.outcome == "pass"
    assert {family_of(act, families) for act in seen} == {"soft", "hard"}
    assert {act.fires for act in seen} == {">="}
    assert {act.leak for act in seen} == {1.0}


def test_a_law_outside_its_classes_is_unsupported():
    (law,) = select("dynamics.lif_closed_form")
    finding = run(law, Oracle("other", "1", simulator=correct, families={"soft": SOFT}))
    assert finding.outcome == "unsupported"
    assert "neuron classes" in finding.message


def test_what_no_class_expresses_is_named_by_the_nearest():
    with pytest.raises(Unsupported, match=r"soft: it cannot express leak = 0\.5"):
        family_of(Neuron(leak=0.5), {"soft": SOFT, "odd": {"fires": (">",)}})


def test_an_integer_neuron_is_none_of_theirs():
    with pytest.raises(Unsupported, match="Cuba"):
        family_of(Cuba(4), {"soft": SOFT})


def test_every_known_defect_names_a_law_and_is_listed_once():
    names = {c.name for c in select()}
    assert [law for d in defects() for law in d.laws if law.partition(": ")[0] not in names] == []
    assert len({d.id for d in defects()}) == len(defects())
