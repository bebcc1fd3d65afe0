"""Fixtures about models: the one under test, its data, and what is asserted of its conversion."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from .errors import ConfigError, SnnverifyError
from .plugin import ASSESSMENTS, asked, conclude, settings_of

if TYPE_CHECKING:
    from .checks import Check
    from .pipeline import Assessment
    from .pipeline.models import Subject

GATE = {"min_agreement": "99 %"}  # an example
CALL = " ("  # and the number of the call, of a test that asserts several times


@pytest.fixture(scope="session")
def assessment(model_name: str, request: pytest.FixtureRequest) -> Assessment:
    """Return the model under test, converted, measured and judged once a session."""
    from .pipeline import assess_one, subjects

    settings = replace(settings_of(request.config), model=model_name)
    try:
        (found,) = (assess_one(s, settings) for s in subjects(settings))
    except SnnverifyError as e:
        raise pytest.fail.Exception(f"{model_name}: {e}", pytrace=False) from None
    request.config.stash.setdefault(ASSESSMENTS, {})[model_name] = found
    return found


@pytest.fixture(scope="session")
def subject(request: pytest.FixtureRequest) -> Subject:
    """Return the first model that the settings name, with its data; an embedded one without any."""
    from .pipeline import subjects

    try:
        return next(subjects(settings_of(request.config)))
    except SnnverifyError as e:
        raise pytest.fail.Exception(str(e), pytrace=False) from None


@pytest.fixture(scope="session")
def model(subject: Subject) -> Any:
    """Return the trained module. Override this fixture to give a model of your own."""
    return subject.module


@pytest.fixture(scope="session")
def dataset(subject: Subject) -> Any:
    """Return labelled samples (x, y). Override this fixture to give data of your own."""
    return subject.x, subject.y


@pytest.fixture(scope="session")
def calibration(subject: Subject) -> Any:
    """Return unlabelled samples [N, *shape], or None to hold a tenth of the data back. Override it beside `dataset`."""
    return subject.calibration


@pytest.fixture
def assert_fidelity(request: pytest.FixtureRequest) -> Callable[..., Assessment]:
    """Return ``assert_fidelity(model=None, dataset=None, calibration=None, name=None, **settings)``.

    It converts the model, measures it on the data, asks every check on models, and fails unless the gate answers PASS,
    with each requirement that it missed. `name` is the model's in the report, the test's if not given; a second call of
    one test has ``(2)`` behind it. What is not given comes from the fixtures `model`, `dataset`, `calibration`; of
    a data set that is given without calibration data a tenth is held back. The call's settings go over those of the
    marker ``@pytest.mark.snnverify(...)``, those over ``[tool.snnverify]``; ``gate={"min_agreement": "99 %"}`` goes over
    ``[tool.snnverify.gate]``, key by key. It returns the `Assessment`, which the
    session's report shows, too.
    """

    def judge(
        model: Any = None, dataset: Any = None, calibration: Any = None, name: str | None = None, **given: Any
    ) -> Assessment:
        from .config import merge
        from .pipeline import assess_one
        from .pipeline.models import of_arrays

        __tracebackhide__ = True
        marked = [m.kwargs for m in request.node.iter_markers("snnverify")][::-1]
        value, said = request.getfixturevalue, request.config.stash.setdefault(ASSESSMENTS, {})
        here = request.node.nodeid
        before = sum(key == here or key.startswith(f"{here}{CALL}") for key in said)
        call = f"{CALL}{before + 1})" if before else ""
        try:
            settings = settings_of(request.config)
            for options in (*marked, given):
                if not isinstance(over := options.get("gate", {}), Mapping):
                    raise ConfigError(f"assert_fidelity: gate = {over!r}: give a mapping, such as {GATE}")
                settings = merge(options, settings)
            if calibration is None and dataset is None:
                calibration = value("calibration")
            x, y = value("dataset") if dataset is None else dataset
            module = value("model") if model is None else model
            named = name or f"{request.node.name}{call}"
            found = assess_one(of_arrays(named, module, x, y, calibration, seed=settings.seed), settings)
        except SnnverifyError as e:
            wrong = re.sub(r"^(command line:|--max-drop:?)", "assert_fidelity:", str(e))
            raise pytest.fail.Exception(wrong, pytrace=False) from None
        said[f"{here}{call}"] = found
        passed(found)
        return found

    return judge


def passed(found: Assessment) -> None:
    """Fail with all that `missed` says, unless the gate answers PASS."""
    __tracebackhide__ = True
    if found.verdict.outcome != "PASS":
        pytest.fail(missed(found), pytrace=False)


def missed(found: Assessment) -> str:
    """Every requirement that the gate missed, where the loss arises, and what to do."""
    from .report.words import explain

    said = explain(found)
    lines = [f"  {r.outcome}: {r.name}: {r.detail}" for r in found.verdict.requirements if r.outcome != "PASS"]
    why = [f"  {what}: {text}" for what, text in (("where", said.cause), ("what to do", said.remedy)) if text]
    costs = [f"  {text}" for text in said.waterfall]
    return "\n".join([f"{found.model.name}: {found.verdict.outcome}", *lines, *why, *costs])


@pytest.fixture
def verify_model(assessment: Assessment, request: pytest.FixtureRequest) -> Callable[[Check], None]:
    """Return a function that looks up what a check said of the model under test."""

    def judge(check: Check) -> None:
        (finding,) = (f for f in assessment.findings if f.check == check.name)
        conclude(finding, request.config)

    return judge


@pytest.fixture
def verify_gate(assessment: Assessment) -> Callable[[], None]:
    """Return a function that fails unless the gate lets the model under test through."""

    def judge() -> None:
        passed(assessment)

    return judge


@pytest.fixture
def verify_measured(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Return a function that fails unless a board's log passes the accuracy gate and the energy estimate holds."""

    def judge() -> None:
        from .cli import main

        settings, names = settings_of(request.config), ("--measured", "--energy-model", "--tolerance")
        log, table, tolerance = (asked(request.config, name) for name in names)
        if log is None:
            pytest.skip("there is no board log; give --measured FILE, --energy-model NAME and --tolerance PERCENT")
        given = {"--measured": log, "--table": table, "--tolerance": tolerance, "--max-drop": settings.max_drop,
                 **{f"--{k}": getattr(settings, k) for k in ("weights", "data", "calibration")}}  # fmt: skip
        lacking = [n for n, value in zip(names, (log, table, tolerance), strict=True) if value is None]
        if lacking:
            pytest.fail(f"--measured: it needs {' and '.join(lacking)} too", pytrace=False)
        options = [part for option, value in given.items() if value is not None for part in (option, str(value))]
        steps, most = str(settings.timesteps[-1]), str(2**31)
        code = main(["energy", *([settings.model] if settings.model else []), "-T", steps, "--samples", most, *options])
        if code:
            pytest.fail(f"{log}: exit code {code} of snnverify energy; its verdicts are above", pytrace=False)

    return judge
