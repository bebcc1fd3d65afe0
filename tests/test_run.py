"""The judge: what becomes of checks that break, crash, measure nothing or NaN; and that the smallest case comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from snnverify import checks
from snnverify.activation import Neuron
from snnverify.checks import Check, check
from snnverify.content import Content, load
from snnverify.errors import CodecError, ConfigError, Unsupported
from snnverify.findings import Finding, Measure
from snnverify.network import Branch, Layer, Network, Scale
from snnverify.oracles import Oracle
from snnverify.run import Failure, replay, run, run_model
from snnverify.simulate import run as simulated
from snnverify.trace import Case, Record, Trace

NET = Network((1,), (Layer("n", (Branch(Scale()),), Neuron()),))
CASES = st.builds(lambda k, steps: Case(NET, np.array([[k / 8]]), steps), st.integers(0, 8), st.integers(1, 12))


def strict(case: Case, record: Record) -> Trace:
    """A simulator with ``>`` for ``>=``: one spike too few as soon as x T is a whole number above 0."""
    act = case.network["n"].act
    layer = replace(case.network["n"], act=replace(act, fires=">"))  # type: ignore[type-var]
    return simulated(replace(case, network=replace(case.network, layers=(layer,))), record)


GOOD = Oracle("good", "1", simulator=lambda case, record: simulated(case, record))
BROKEN = Oracle("broken", "1", simulator=strict)


@pytest.fixture
def floor_law() -> Iterator[Check]:
    """A check put into the list by the decorator, and taken out again."""

    def floor_law(case: Case, subject: Oracle) -> Iterator[Measure]:
        """A unit spikes floor(x T) times [arithmetic]."""
        spikes = int(subject.run(case, "counts").counts["n"].item())
        law = math.floor(case.x.item() * case.steps)
        yield Measure("spikes off", abs(spikes - law), where="n", detail=f"{spikes} against {law}")

    checks.select()  # all rooms, which a replay would import
    before = dict(checks._CHECKS)
    check("simulator", CASES)(floor_law)
    (new,) = set(checks._CHECKS) - set(before)
    yield checks._CHECKS[new]
    del checks._CHECKS[new]
    assert set(before) == set(checks._CHECKS)


def made(function: Callable[..., object], cases: object = None) -> Check:
    return Check("room.made", "simulator", function, CASES if cases is None else cases, "claim", "source")  # type: ignore[arg-type]


def measures(*values: Measure) -> Check:
    return made(lambda case, subject: list(values))


def test_the_decorator_reads_claim_and_source(floor_law: Check) -> None:
    assert floor_law.name.endswith(".floor_law")
    assert (floor_law.kind, floor_law.claim, floor_law.source) == (
        "simulator", "A unit spikes floor(x T) times", "arithmetic")  # fmt: skip
    with pytest.raises(TypeError, match="its docstring must be 'the claim"):
        check("simulator")(test_the_decorator_reads_claim_and_source)


def test_a_pass_carries_its_number(floor_law: Check, tmp_path: Path) -> None:
    found = run(floor_law, GOOD, examples=20, store=tmp_path)
    assert (found.outcome, found.message, found.replay) == ("pass", "", "")
    assert 15 <= found.cases <= 20  # hypothesis may find that some draws are the same
    assert found.worst is not None
    assert (found.worst.name, found.worst.value, found.worst.limit) == ("spikes off", 0, 0)
    assert (found.check, found.subject, found.claim) == (floor_law.name, "good", floor_law.claim)
    assert found.seconds > 0
    assert not (tmp_path / "failures").exists()


def test_a_broken_check_fails_with_its_smallest_case_saved_and_replayable(floor_law: Check, tmp_path: Path) -> None:
    found = run(floor_law, BROKEN, examples=100, store=tmp_path)
    assert found.outcome == "fail"
    assert found.worst is not None
    assert (found.worst.value, found.worst.limit, found.worst.where) == (1, 0, "n")
    path = Path(found.replay.removeprefix("snnverify replay "))
    assert [path] == list((tmp_path / "failures").iterdir())
    failure = load(path, Failure)
    assert (failure.check, failure.oracle) == (floor_law.name, "broken")
    drawn = failure.drawn
    assert isinstance(drawn, Case)
    # The smallest: k = 1 needs 8 steps, and k shrinks before the steps; no k >= 1 with k T < 8 breaks the law.
    assert (drawn.x.item() * drawn.steps) == 1
    assert drawn.x.item() * 8 in (1, 2, 4, 8)
    assert found.worst.detail == "0 against 1"
    again = replay(failure, BROKEN)
    assert (again.outcome, again.cases) == ("fail", 1)
    assert again.worst == found.worst
    assert replay(failure, GOOD).outcome == "pass"
    text = found.explain()
    for part in ("fail", floor_law.claim, "arithmetic", "spikes off at n: 1, limit 0", "0 against 1", found.replay):
        assert part in text


def test_the_same_seed_finds_the_same_case(floor_law: Check, tmp_path: Path) -> None:
    drawn = []
    for name in "ab":
        run(floor_law, BROKEN, examples=100, seed_value=3, store=tmp_path / name)
        (path,) = (tmp_path / name / "failures").iterdir()
        drawn.append(load(path, Failure))
    assert drawn[0] == drawn[1]


def test_a_failure_seen_before_is_tried_again_first(floor_law: Check, tmp_path: Path) -> None:
    run(floor_law, BROKEN, examples=100, store=tmp_path)
    calls: list[Case] = []

    def watched(case: Case, subject: Oracle) -> Iterator[Measure]:
        calls.append(case)
        yield from floor_law.function(case, subject)  # type: ignore[misc]

    run(replace(floor_law, function=watched), BROKEN, examples=100, store=tmp_path, seed_value=1)
    assert strict(calls[0], "counts").counts["n"] != simulated(calls[0], "counts").counts["n"]


def test_without_shrinking_and_without_a_store(floor_law: Check) -> None:
    found = run(floor_law, BROKEN, shrink=False, examples=100)
    assert (found.outcome, found.replay) == ("fail", "")


def test_replaying_a_check_that_is_gone_is_an_error_of_its_name() -> None:
    with pytest.raises(ConfigError, match=r"check = 'dynamics\.no_such'"):
        replay(Failure("dynamics.no_such", "good", Case(NET, np.ones((1, 1)), 1)), GOOD)


def test_a_failure_file_holds_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(CodecError):
        load(tmp_path / "none.npz", Failure)


# ------------------------------------------------------------------------------------------------------- outcomes


def test_only_unsupported_cases_are_unsupported() -> None:
    found = run(measures_of_the_simulator(), Oracle("mute", "1"))
    assert (found.outcome, found.cases, found.worst) == ("unsupported", 0, None)
    assert found.message == "mute: it has no simulator"


def measures_of_the_simulator() -> Check:
    return made(lambda case, subject: [Measure("m", float(subject.run(case).steps - case.steps))])


def test_some_unsupported_cases_leave_a_pass_on_the_others() -> None:
    def picky(case: Case, subject: Oracle) -> Iterator[Measure]:
        if case.steps > 6:
            raise Unsupported("n", "too long")
        yield Measure("m", 0.0)

    found = run(made(picky), GOOD, examples=40)
    assert found.outcome == "pass"
    assert 0 < found.cases < 40


def test_a_check_that_measures_nothing_fails() -> None:
    for nothing in (lambda case, subject: [], lambda case, subject: iter(())):
        found = run(made(nothing), GOOD, examples=5)
        assert (found.outcome, found.cases, found.worst) == ("fail", 0, None)
        assert "measured nothing" in found.message
    partly = made(lambda case, subject: [Measure("m", 0.0)] if case.steps > 6 else [])
    found = run(partly, GOOD, examples=40)
    assert found.outcome == "pass"
    assert 0 < found.cases < 40


def test_an_exception_is_an_error_in_one_line_with_its_case(floor_law: Check, tmp_path: Path) -> None:
    def crash(case: Case, subject: Oracle) -> Iterator[Measure]:
        if case.steps >= 5:
            raise ValueError("two\n  lines")
        yield Measure("m", 0.0)

    found = run(replace(floor_law, function=crash), GOOD, examples=60, store=tmp_path)
    assert (found.outcome, found.message) == ("error", "ValueError: two lines")
    failure = load(found.replay.removeprefix("snnverify replay "), Failure)
    assert isinstance(failure.drawn, Case)
    assert failure.drawn.steps == 5  # the shortest that crashes
    assert failure.drawn.x.item() == 0


@pytest.mark.parametrize("where", ["first", "last"])
def test_nan_never_passes(where: str) -> None:
    fine, nan = Measure("fine", 0.0, 1.0), Measure("bad", math.nan, math.inf)
    found = run(measures(*((nan, fine) if where == "first" else (fine, nan))), GOOD, examples=3)
    assert found.outcome == "fail"
    assert found.worst is not None
    assert found.worst.name == "bad"
    assert math.isnan(found.worst.value)
    assert run(measures(Measure("m", 0.0, math.nan)), GOOD, examples=3).outcome == "fail"


def test_a_limit_is_kept_up_to_equality() -> None:
    assert run(measures(Measure("m", 0.5, 0.5)), GOOD, examples=3).outcome == "pass"
    assert run(measures(Measure("m", math.nextafter(0.5, 1), 0.5)), GOOD, examples=3).outcome == "fail"
    assert run(measures(Measure("m", -math.inf)), GOOD, examples=3).outcome == "pass"


def test_the_measure_nearest_to_its_limit_is_kept() -> None:
    several = measures(Measure("a", 0.1, 1.0), Measure("near", 0.75, 1.0), Measure("c", 5.0, 9.0))
    found = run(several, GOOD, examples=3)
    assert found.worst is not None
    assert found.worst.name == "near"


def test_the_measure_that_broke_is_reported_not_a_worse_one_that_passed_before() -> None:
    several = measures(Measure("kept", 1.0, 1.0), Measure("first broken", 2.0, 1.0), Measure("broken too", 9.0, 1.0))
    found = run(several, GOOD, examples=3)
    assert found.worst is not None
    assert found.worst.name == "first broken"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interruptions_pass_through(error: type[BaseException], tmp_path: Path) -> None:
    def interrupted(case: Case, subject: Oracle) -> Iterator[Measure]:
        raise error

    with pytest.raises(error):
        run(made(interrupted), GOOD, store=tmp_path)
    with pytest.raises(error):
        run_model(made(lambda model: interrupted(model, GOOD)), Subject())  # type: ignore[arg-type]
    assert not (tmp_path / "failures").exists()


def test_a_check_that_fails_once_only_is_no_pass() -> None:
    calls = []

    def flaky(case: Case, subject: Oracle) -> Iterator[Measure]:
        calls.append(case)
        yield Measure("m", float(len(calls) == 1))

    assert run(made(flaky), GOOD).outcome in ("fail", "error")


# --------------------------------------------------------------------------------------------------------- models


class Subject:
    """As much of a model under test as the judge itself reads."""

    name = "lenet"
    command = "snnverify report lenet.py:build --data test.npz"


def judged(*values: Measure | Exception) -> Finding:
    def function(model: Subject) -> Iterator[Measure]:
        for v in values:
            if isinstance(v, Exception):
                raise v
            yield v

    return run_model(made(function), Subject())  # type: ignore[arg-type]


def test_checks_on_models() -> None:
    found = judged(Measure("m", 0.0), Measure("n", 0.5, 1.0))
    assert (found.outcome, found.subject, found.cases, found.replay) == ("pass", "lenet", 1, "")
    found = judged(Measure("m", 0.0), Measure("n", 2.0, 1.0), Measure("o", 9.0))
    assert (found.outcome, found.worst, found.cases) == ("fail", Measure("n", 2.0, 1.0), 1)
    assert found.replay == Subject.command
    assert judged(Measure("m", math.nan)).outcome == "fail"
    assert judged().outcome == "fail"
    assert "measured nothing" in judged().message
    found = judged(Unsupported("conv1", "it leaks"))
    assert (found.outcome, found.message) == ("unsupported", "conv1: it leaks")
    found = judged(Measure("m", 0.0), ZeroDivisionError("x"))
    assert (found.outcome, found.message) == ("error", "ZeroDivisionError: x")


def test_a_finding_is_content() -> None:
    assert isinstance(judged(Measure("m", 0.0)), Content)


def test_a_broken_law_of_dynamics_tells_where_it_parts_from_the_reference() -> None:
    """Under `>` an input of exactly theta ties in the first step: one spike against none there."""

    def strict(case: Case, record: Record = "full") -> Trace:
        layers = tuple(replace(v, act=replace(v.act, fires=">")) for v in case.network.layers)  # type: ignore[arg-type]
        return simulated(replace(case, network=replace(case.network, layers=layers)), record)

    (ties,) = checks.select("dynamics.ties")
    found = run(ties, Oracle("strict", "0", simulator=strict), examples=20)
    assert found.outcome == "fail"
    assert found.worst is not None
    assert "step 0, sample 0, unit (0,): 0 against 1 spikes at v = 1" in found.worst.detail
    assert "first divergence" in found.explain()
