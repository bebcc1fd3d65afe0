"""The pytest face: options, fixtures, and the summary. What a check is and how it is judged is not known here."""

from __future__ import annotations

import argparse
import os
import pickle
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from .errors import ConfigError, SnnverifyError, Unavailable

if TYPE_CHECKING:
    from .checks import Check
    from .config import Settings
    from .findings import Finding
    from .oracles import Oracle
    from .pipeline import Assessment

pytest_plugins = ["snnverify.plugin_models", "snnverify.plugin_pair"]
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
    ("--before", {"metavar": "FILE", "help": "net before its conversion to binary spikes, which suites/test_detector.py "
                  "holds --after to"}),
    ("--after", {"metavar": "FILE", "help": "the net after it, as `snnverify binarize` writes it"}),
    ("--img-size", {"type": int, "metavar": "S", "help": "side of the images that --before and --after run on"}),
    ("--report", {"metavar": "DIR", "help": "write the fidelity report of the models there"}),
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the suites' options; one that another plugin has already taken stays with that plugin, and so does its value."""
    group = parser.getgroup("snnverify", "verification of spiking neural networks")
    for name, keywords in OPTIONS:
        try:
            group.addoption(name, dest=destination(name), **keywords)
        except (ValueError, argparse.ArgumentError):
            continue
    for name, keywords in OPTIONS:
        kind: Literal["args", "string"] = "args" if "action" in keywords else "string"
        parser.addini(destination(name), f"as {name}: {keywords['help']}", kind)


def destination(name: str) -> str:
    """Where an option's value lies, and its name in pytest's ini."""
    return "snnverify_" + name.lstrip("-").replace("-", "_")


def asked(config: pytest.Config, name: str) -> Any:
    """Value of the command line, or of pytest's ini under ``snnverify_<name>``; None where neither says anything."""
    given = config.getoption(destination(name), None)
    if given is None and (said := config.getini(destination(name))):
        kind = next(keywords.get("type", str) for n, keywords in OPTIONS if destination(n) == destination(name))
        try:
            return said if isinstance(said, list) else kind(said)
        except ValueError:
            raise pytest.UsageError(f"{destination(name)} = {said!r} in pytest's ini: give {kind.__name__}") from None
    return given


def pytest_configure(config: pytest.Config) -> None:
    """Tell the marker; refuse wrong options before anything is collected, in one line; else import nothing."""
    config.addinivalue_line("markers", "snnverify(**settings): what `assert_fidelity` goes by, such as max_drop=0.5")
    if any(asked(config, name) is not None for name, _ in OPTIONS):
        settings_of(config)
    if target := asked(config, "--report"):
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
        given = {k: asked(config, k) for k in ("model", "weights", "data", "calibration", "max_drop", "examples")}
        try:
            settings = merge({**given, "seed": asked(config, "check_seed")}, read_config(config.rootpath))
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

    given = asked(config, option) or []
    return list(dict.fromkeys(n for g in given for n in (names() if g == "all" else [g])))


def _oracles(config: pytest.Config) -> list[str]:
    wanted = dict.fromkeys(_names(config, "--oracle") + _names(config, "--require-oracle"))
    return list(wanted) or [settings_of(config).oracle]


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

        models = [settings.model] if settings.model else list(zoo.MODELS)
        root = f"{metafunc.config.rootpath}{os.sep}"  # an id is the same wherever the project lies
        metafunc.parametrize("model_name", models, ids=[m.removeprefix(root) for m in models], scope="session")


@pytest.fixture(scope="session")
def oracle(oracle_name: str) -> Oracle | Unavailable:
    """Return the implementation under test, or why there is none."""
    from .oracles import get

    try:
        return get(oracle_name)
    except Unavailable as e:
        return e


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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker of xdist hands what it found to the process that reports."""
    if hasattr(session.config, "workeroutput"):
        found = [session.config.stash.get(FINDINGS, []), session.config.stash.get(ASSESSMENTS, {})]
        session.config.workeroutput["snnverify"] = pickle.dumps(found)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """Take what a worker of xdist found: our own process, so that its pickle is ours, too."""
    if content := getattr(node, "workeroutput", {}).get("snnverify"):
        findings, assessments = pickle.loads(content)
        node.config.stash.setdefault(FINDINGS, []).extend(findings)
        node.config.stash.setdefault(ASSESSMENTS, {}).update(assessments)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print how often each outcome came up, and the fidelity of the models."""
    findings = config.stash.get(FINDINGS, [])
    assessments = config.stash.get(ASSESSMENTS, {})
    if asked(config, "--report") and not assessments:
        terminalreporter.write_line("snnverify: no report: no model was assessed; run the model suite", red=True)
    if not findings and not assessments:
        return
    from . import report
    from .content import write_atomic
    from .findings import OUTCOMES

    terminalreporter.section("fidelity")
    for subject in dict.fromkeys(f.subject for f in findings):
        mine = [f for f in findings if f.subject == subject]
        said = ", ".join(f"{n} {o}" for o in OUTCOMES if (n := sum(f.outcome == o for f in mine)))
        terminalreporter.write_line(f"{subject}: {len(mine)} checks on {sum(f.cases for f in mine)} cases: {said}")
    if target := asked(config, "--matrix"):
        write_atomic(target, report.render_matrix(findings))
    if not assessments:
        return
    run = _run_of(config, tuple(assessments.values()))
    from .plugin_models import missed

    above = [r.longreprtext for kind in ("failed", "error") for r in terminalreporter.stats.get(kind, [])]
    above *= config.getoption("tbstyle", "auto") != "no"
    told = [a for a in run.assessments if any(missed(a) in text for text in above)]  # by the failure of its test
    terminalreporter.write_line(report.render_summary(run, told))
    if target := asked(config, "--report"):
        try:
            terminalreporter.write_line(f"report: {report.write(run, Path(target)) / 'index.html'}")
        except ConfigError as e:
            terminalreporter.write_line(f"snnverify: {e}", red=True)


def _run_of(config: pytest.Config, assessments: tuple[Assessment, ...]) -> Any:
    from .pipeline import Run, provenance

    said = provenance(settings_of(config), 0.0, False)
    began = os.path.basename(sys.argv[0])  # of `python -m pytest` it is the package's __main__.py
    called = ["python", "-m", "pytest"] if began == "__main__.py" else [began]
    command = shlex.join([*called, *config.invocation_params.args])
    return Run(assessments, said | {"command": command, "seconds": "part of a pytest session"})
