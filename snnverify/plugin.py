"""The pytest face: options, fixtures, and the summary. What a check is and how it is judged is not known here."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .errors import ConfigError, SnnverifyError, Unavailable

if TYPE_CHECKING:
    from .checks import Check
    from .config import Settings
    from .findings import Finding
    from .oracles import Oracle
    from .pipeline import Assessment

FINDINGS = pytest.StashKey[list["Finding"]]()
ASSESSMENTS = pytest.StashKey[dict[str, "Assessment"]]()
SETTINGS = pytest.StashKey["Settings"]()

OPTIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "--oracle",
        {"action": "append", "metavar": "NAME", "help": "implementation under test, may be repeated; all (snnverify)"},
    ),
    (
        "--require-oracle",
        {"action": "append", "metavar": "NAME", "help": "fail where this one is not installed, may be repeated; all"},
    ),
    ("--model", {"help": "module:callable of your model; the embedded ones by default"}),
    ("--weights", {"help": "weights of --model"}),
    ("--data", {"help": "labelled samples for --model"}),
    ("--calibration", {"help": "calibration samples for --model"}),
    ("--max-drop", {"help": "greatest accuracy drop, percentage points (1.0)"}),
    ("--examples", {"type": int, "help": "drawn cases per check (50)"}),
    ("--check-seed", {"type": int, "help": "seed of the drawn cases (0)"}),
    ("--matrix", {"metavar": "FILE", "help": "write the table of laws x implementations there, in Markdown"}),
    ("--measured", {"metavar": "FILE", "help": "board log of --model, which its gate and the energy estimate meet"}),
    ("--energy-model", {"metavar": "NAME", "help": "energy model that --measured is held to"}),
    ("--tolerance", {"metavar": "PERCENT", "help": "by which its mean may miss the estimate"}),
    ("--report", {"metavar": "DIR", "help": "write the fidelity report of the models there"}),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suites' options; one that another plugin has already taken stays with that plugin, and so does its value."""
    group = parser.getgroup("snnverify", "verification of spiking neural networks")
    for name, keywords in OPTIONS:
        try:
            group.addoption(name, dest=_destination(name), **keywords)
        except (ValueError, argparse.ArgumentError):
            continue


def _destination(name: str) -> str:
    return "snnverify_" + name.lstrip("-").replace("-", "_")


def _option(config: pytest.Config, name: str) -> Any:
    return config.getoption(_destination(name), None)


def pytest_configure(config: pytest.Config) -> None:
    """Refuse wrong options before anything is collected, in one line; without an option of ours nothing is imported."""
    if any(_option(config, name) is not None for name, _ in OPTIONS):
        settings_of(config)
    if target := _option(config, "--report"):
        from .report import check_target

        try:
            check_target(Path(target))
        except SnnverifyError as e:
            raise pytest.UsageError(f"--report: {e}") from e


def settings_of(config: pytest.Config) -> Settings:
    """Command line over pyproject over defaults; an error in them ends the session with one line."""
    from .config import merge, read_config
    from .oracles import get

    if SETTINGS not in config.stash:
        given = {k: _option(config, k) for k in ("model", "weights", "data", "calibration", "max_drop", "examples")}
        try:
            settings = merge({**given, "seed": _option(config, "check_seed")}, read_config(config.rootpath))
            for name in {settings.oracle, *_names(config, "--oracle"), *_names(config, "--require-oracle")}:
                with suppress(Unavailable):  # the suites tell it
                    get(name)
            config.stash[SETTINGS] = settings
        except SnnverifyError as e:
            raise pytest.UsageError(str(e)) from e
    return config.stash[SETTINGS]


def _names(config: pytest.Config, option: str) -> list[str]:
    """Oracles that an option names; all that are known by ``all``."""
    from .oracles import names

    given = _option(config, option) or []
    return list(dict.fromkeys(n for g in given for n in (names() if g == "all" else [g])))


def _oracles(config: pytest.Config) -> list[str]:
    asked = dict.fromkeys(_names(config, "--oracle") + _names(config, "--require-oracle"))
    return list(asked) or [settings_of(config).oracle]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Spread a suite over the oracles and models that were asked for."""
    if not {"oracle_name", "model_name"} & set(metafunc.fixturenames):
        return
    try:
        settings = settings_of(metafunc.config)
        oracles = _oracles(metafunc.config)
    except pytest.UsageError as e:  # in pyproject, found only now; without a traceback
        raise pytest.Collector.CollectError(str(e)) from None
    if "oracle_name" in metafunc.fixturenames:
        metafunc.parametrize("oracle_name", oracles, scope="session")
    if "model_name" in metafunc.fixturenames:
        from . import zoo

        metafunc.parametrize("model_name", [settings.model] if settings.model else list(zoo.MODELS), scope="session")


@pytest.fixture(scope="session")
def oracle(oracle_name: str) -> Oracle | Unavailable:
    """Return the implementation under test, or why there is none."""
    from .oracles import get

    try:
        return get(oracle_name)
    except Unavailable as e:
        return e


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


@pytest.fixture
def verify(oracle: Oracle | Unavailable, oracle_name: str, request: pytest.FixtureRequest) -> Callable[[Check], None]:
    """Return a function that runs one check on the oracle under test and fails with all that is known of it."""
    from .findings import Finding
    from .run import STORE, run

    def judge(check: Check) -> None:
        settings = settings_of(request.config)
        if isinstance(oracle, Unavailable):
            return conclude(Finding(check.name, oracle_name, "unavailable", check.claim, check.source, message=str(oracle)),
                            request.config)  # fmt: skip
        return conclude(run(check, oracle, examples=settings.examples, seed_value=settings.seed, asked_as=oracle_name,
                     store=request.config.rootpath / STORE), request.config)  # fmt: skip

    return judge


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
        verdict = assessment.verdict
        lines = [f"  {r.outcome}: {r.name}: {r.detail}" for r in verdict.requirements if r.outcome != "PASS"]
        if verdict.outcome != "PASS":
            pytest.fail("\n".join([f"{assessment.model.name}: {verdict.outcome}", *lines]), pytrace=False)

    return judge


@pytest.fixture
def verify_measured(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Return a function that fails unless a board's log passes the accuracy gate and the energy estimate holds."""

    def judge() -> None:
        from .cli import main

        settings, names = settings_of(request.config), ("--measured", "--energy-model", "--tolerance")
        log, table, tolerance = (_option(request.config, name) for name in names)
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


def conclude(finding: Finding, config: pytest.Config) -> None:
    """Turn a finding into pytest's outcome.

    Unsupported and unavailable skip with their reason (a required oracle that is unavailable fails), a known defect is
    an expected failure, and all else but a pass fails.
    """
    config.stash.setdefault(FINDINGS, []).append(finding)
    required = finding.outcome == "unavailable" and finding.subject in _names(config, "--require-oracle")
    if finding.outcome in ("unsupported", "unavailable") and not required:
        pytest.skip(finding.message)
    if finding.outcome == "xfail":
        pytest.xfail(finding.message)
    if finding.outcome != "pass":
        pytest.fail(finding.explain(), pytrace=False)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print how often each outcome came up, and the fidelity of the models."""
    findings = config.stash.get(FINDINGS, [])
    assessments = config.stash.get(ASSESSMENTS, {})
    if _option(config, "--report") and not assessments:
        terminalreporter.write_line("snnverify: no report: no model was assessed in this process (run the model suite, "
                                    "without -n)", red=True)  # fmt: skip
    if not findings:
        return
    from . import report
    from .content import write_atomic
    from .findings import OUTCOMES

    terminalreporter.section("fidelity")
    for subject in dict.fromkeys(f.subject for f in findings):
        mine = [f for f in findings if f.subject == subject]
        said = ", ".join(f"{n} {o}" for o in OUTCOMES if (n := sum(f.outcome == o for f in mine)))
        terminalreporter.write_line(f"{subject}: {len(mine)} checks on {sum(f.cases for f in mine)} cases: {said}")
    if target := _option(config, "--matrix"):
        write_atomic(target, report.render_matrix(findings))
    if not assessments:
        return
    run = _run_of(config, tuple(assessments.values()))
    terminalreporter.write_line(report.render_summary(run))
    if target := _option(config, "--report"):
        try:
            terminalreporter.write_line(f"report: {report.write(run, Path(target)) / 'index.html'}")
        except ConfigError as e:
            terminalreporter.write_line(f"snnverify: {e}", red=True)


def _run_of(config: pytest.Config, assessments: tuple[Assessment, ...]) -> Any:
    from .pipeline import Run, provenance

    said = provenance(settings_of(config), 0.0, False)
    command = shlex.join([os.path.basename(sys.argv[0]), *config.invocation_params.args])
    return Run(assessments, said | {"command": command, "seconds": "part of a pytest session"})
