"""The pytest face, run by pytest itself on copies of the suites."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from snnverify import Branch, Layer, Network, Neuron, Scale, simulate
from snnverify.checks import select
from snnverify.kernels import neuron
from snnverify.plugin import OPTIONS

# numba can be imported only once, and pytester forgets what its runs import: a kernel that runs here has all of it
simulate(Network((1,), (Layer("one", (Branch(Scale()),), Neuron()),)), [[1.0]], 1)
SUITES = Path(__file__).parents[1] / "suites"
DYNAMICS = [c.name for c in select("dynamics.*")]
MODEL = [c.name for c in select("model.*")]


@pytest.fixture
def suites(pytester, isolated, unpainted):
    """Run copies of some suites in a process that has the package loaded; return pytest's result."""

    def run(names, *options):
        for name in names.split():
            shutil.copy(SUITES / f"test_{name}.py", Path.cwd())
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", *map(str, options))

    return run


def lines_of(result):
    return result.stdout.str().splitlines()


# --- choices


def test_a_run_passes_and_prints_the_summary(suites):
    done = suites("dynamics", "--examples", 3)
    done.assert_outcomes(passed=len(DYNAMICS))
    said = next(line for line in lines_of(done) if line.startswith("snnverify: "))
    assert re.fullmatch(rf"snnverify: {len(DYNAMICS)} checks on \d+ cases: {len(DYNAMICS)} pass", said)
    assert any(re.fullmatch("=+ fidelity =+", line) for line in lines_of(done))


@pytest.mark.parametrize(("examples", "least"), [(1, 1), (40, 20)])  # hypothesis may tell two draws to be one
def test_examples_are_obeyed(suites, examples, least, monkeypatch):
    seen = []
    monkeypatch.setattr("snnverify.plugin.conclude", lambda finding, config: seen.append(finding.cases))
    suites("dynamics", "--examples", examples, "-k", "charge_balance or constant_count")
    assert len(seen) == 2
    assert least <= min(seen) <= max(seen) <= examples


def test_oracles_are_chosen_and_may_be_several(suites):
    done = suites("parity dynamics", "--oracle", "reference", "--examples", 1, "-k", "parity.exact or charge_balance")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["reference: 2 checks on 2 cases: 2 pass"])
    both = suites("", "--oracle", "reference", "--oracle", "snnverify", "--examples", 1, "-k", "charge_balance")
    both.stdout.fnmatch_lines(["reference: 1 checks*", "snnverify: 1 checks*"])


def test_what_an_oracle_cannot_express_is_skipped_with_its_reason(suites):
    done = suites("parity", "--oracle", "reference", "--examples", 1, "-k", "parity.analog", "-rs")
    done.assert_outcomes(skipped=1)
    done.stdout.fnmatch_lines(["SKIPPED*reference: it has no operator 'forward'"])


def test_pyproject_is_read_and_an_option_goes_over_it(suites, pytester):
    pytester.makepyprojecttoml('[tool.snnverify]\noracle = "reference"\nexamples = 2\n')
    only = ("-k", "charge_balance")
    suites("dynamics", *only).stdout.fnmatch_lines(["reference: 1 checks on 2 cases: 1 pass"])
    done = suites("dynamics", "--examples", 1, "--oracle", "snnverify", *only)
    done.stdout.fnmatch_lines(["snnverify: 1 checks on 1 cases: 1 pass"])


# --- wrong options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--oracle", "snnverfy"], "oracle = 'snnverfy': no such oracle; did you mean 'snnverify'?"),
        (["--examples", "0"], "examples = 0: give an integer >= 1"),
        (["--max-drop", "-1"], "max_drop = '-1': give a number from 0 to 100"),
        (["--report", "test_dynamics.py"], "--report: out = 'test_dynamics.py': it is a file"),
    ],
)
def test_a_wrong_option_is_a_usage_error_of_one_line(suites, options, said):
    done = suites("dynamics", *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.lines if line]
    assert line.startswith("ERROR: ")
    assert said in line


def test_a_wrong_pyproject_is_told_without_a_traceback(suites, pytester):
    pytester.makepyprojecttoml('[tool.snnverify]\noracle = "referense"\n')
    done = suites("dynamics")
    done.stdout.fnmatch_lines(["oracle = 'referense': no such oracle; did you mean 'reference'?"])
    assert done.ret == pytest.ExitCode.INTERRUPTED
    assert not any("Traceback" in line or "plugin.py" in line for line in lines_of(done))


def test_a_session_without_our_suites_is_left_alone(pytester):
    pytester.makepyprojecttoml('[tool.snnverify]\noracle = "referense"\n')
    pytester.makepyfile("def test_own():\n    pass\n")
    done = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)
    assert "fidelity" not in done.stdout.str()
    assert [p.name for p in pytester.path.glob(".*")] == []


def test_an_option_of_another_plugin_stays_its_own(pytester):
    """It came first: its option works, its value is not taken for ours, and nothing breaks."""
    pytester.makepyfile(
        early="def pytest_addoption(parser):\n"
        + "".join(f"    parser.addoption({name!r}, default='theirs')\n" for name, _ in OPTIONS),
        test_it="def test_it(pytestconfig):\n    assert pytestconfig.getoption('--report') == 'theirs'\n",
    )
    pytester.syspathinsert()
    done = pytester.runpytest_subprocess("-p", "early", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1)


# --- a failure


@pytest.fixture
def numpy_serves(monkeypatch):
    """Let `auto` take the numpy engine, whose neurons the tests break."""
    monkeypatch.setattr(sys.modules["snnverify.simulate"], "_planned", lambda *case: None)


def strictly(v, theta, fires, max_spikes, fire=neuron.fire):
    return fire(v, theta, ">", max_spikes)


def test_a_broken_simulator_is_told_with_all_that_is_known_and_replays(suites, cli, monkeypatch, numpy_serves):
    with monkeypatch.context() as broken:
        broken.setattr(neuron, "fire", strictly)
        done = suites("parity", "--examples", 30, "-k", "parity.exact")
        done.assert_outcomes(failed=1)
        text = "\n".join(lines_of(done))
        said = dict(re.findall(r"^  (law|source|measured|first divergence|replay): (.+)$", text, re.M))
        (check,) = select("parity.exact")
        assert (said["law"], said["source"]) == (check.claim, check.source)
        value, limit = re.search(r": (\S+), limit (\S+)$", said["measured"]).groups()
        assert float(value) > 0 == float(limit)
        assert "step" in said["first divergence"]
        assert "snnverify: 1 checks on" in text
        assert "1 fail" in text
        assert "Traceback" not in text
        program, *command = shlex.split(said["replay"])
        assert program == "snnverify"
        again = cli(*command)
        assert again.code == 1
        for part in ("measured", "first divergence"):
            assert f"  {part}: {said[part]}" in again.out
        assert cli(*command, "--oracle", "reference").code == 0
    mended = cli(*command)
    assert (mended.code, mended.out.splitlines()[0]) == (0, "parity.exact on snnverify: pass")


def test_laws_of_dynamics_notice_it_too(suites, monkeypatch, numpy_serves):
    monkeypatch.setattr(neuron, "fire", strictly)
    done = suites("dynamics", "--examples", 20, "-k", "ties")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["  replay: snnverify replay *dynamics.ties-snnverify.npz*"])


def test_an_exception_is_an_error_of_one_line(suites, monkeypatch, numpy_serves):
    def crash(*args):
        raise ZeroDivisionError("lost\nits mind")

    monkeypatch.setattr(neuron, "fire", crash)
    done = suites("dynamics", "--examples", 1, "-k", "charge_balance")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["dynamics.charge_balance on snnverify: error", "  why: ZeroDivisionError: lost its mind"]
    )


# --- a user's model

OWN = ("--model", "nets.py:build", "--data", "data.npz", "--calibration", "calibration.npz")


def test_a_users_model_with_a_report(suites, project, cli, pytester):
    done = suites("model", *OWN, "--max-drop", 5, "--report", "ci/run 1")
    done.assert_outcomes(passed=len(MODEL) + 1)
    text = done.stdout.str()
    assert "build: Accuracy over T" in text
    assert "PASS: nets.build" in text
    assert "report: ci/run 1/index.html" in text
    gate = cli("gate", "ci/run 1")
    assert gate.code == 0
    assert "limit 5" in gate.out


def test_the_gate_fails_with_its_reason_and_the_laws_hold(suites, project):
    (project / "pyproject.toml").write_text("[tool.snnverify]\ntimesteps = [1]\n")
    done = suites("model", *OWN)
    failed = {"model.agreement", "test_gate"}
    done.assert_outcomes(passed=len(MODEL) + 1 - len(failed), failed=len(failed))
    text = done.stdout.str()
    assert re.search(r"FAIL: accuracy drop: drop \d+\.\d+ points at T = 1 \(n = 240.*limit 1$", text, re.M)
    assert "Assessment(" not in text


def test_a_model_that_cannot_be_built_is_named_once_a_test(suites, project):
    done = suites("model", "--model", "nets.py:buidl", "--data", "data.npz")
    done.assert_outcomes(errors=len(MODEL) + 1)
    text = done.stdout.str()
    assert "did you mean 'build'?" in text
    assert "Traceback" not in text
    assert "another exception" not in text


def test_a_report_without_a_model_is_missed_aloud(suites):
    done = suites("dynamics", "--examples", 1, "-k", "charge_balance", "--report", "r")
    done.stdout.fnmatch_lines(["snnverify: no report: no model was assessed*"])


def test_an_id_does_not_tell_where_the_project_lies(suites, project):
    (project / "pyproject.toml").write_text('[tool.snnverify]\nmodel = "nets.py:build"\ndata = "data.npz"\n')
    text = suites("model", "--collect-only", "-q").stdout.str()
    assert "[nets.py:build" in text
    assert str(project) not in text
