"""`assert_fidelity` and its fixtures in a user's own repository, run by pytest itself."""

import json
import shlex
import sys

import pytest

SUITE = """
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")

@pytest.fixture(scope="session")
def model():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(80):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(torch.from_numpy(x[:900])), torch.from_numpy(y[:900])).backward()
        optimiser.step()
    return net.eval()

@pytest.fixture(scope="session")
def dataset():
    return x[900:], y[900:]

@pytest.fixture(scope="session")
def calibration():
    return x[:900]
"""
KEEPS = """
def test_the_conversion_keeps_it(assert_fidelity):
    found = assert_fidelity(timesteps=[4, 64], max_drop=3)
    assert found.model.fidelity.steps == (4, 64)
"""


@pytest.fixture
def project(pytester, isolated, unpainted):
    def run(text, *options):
        pytester.makepyfile(test_mine=SUITE + text)
        return pytester.run(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options)

    return run


def test_a_good_conversion_passes_and_the_report_is_written_by_xdist_too(project, pytester):
    done = project(KEEPS, "-n", "2", "--report", "out")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["PASS: test_the_conversion_keeps_it*", "report: out/index.html"])
    said = json.loads((pytester.path / "out" / "report.json").read_text())["provenance"]["command"]
    assert shlex.split(said)[:4] == ["python", "-m", "pytest", "-p"]


def test_a_bad_one_fails_with_what_the_gate_missed(project, monkeypatch):
    monkeypatch.delenv("CI", raising=False)  # there pytest repeats the whole message in its summary
    text = """
@pytest.mark.snnverify(timesteps=[1], v_init="zero")
def test_too_few_steps(assert_fidelity):
    assert_fidelity(max_drop=1)
"""
    done = project(text)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*test_too_few_steps: FAIL", "*FAIL: accuracy drop: drop *"])
    done.stdout.fnmatch_lines(
        ["*where: Layer * has the greatest *", "*what to do: More samples will not change this: *"]
    )
    done.stdout.fnmatch_lines(["*All changes together cost *"])
    assert "Traceback" not in done.stdout.str()
    said = " ".join(done.stdout.str().split())
    assert [said.count(text) for text in ("All changes together cost", "More samples will not change this")] == [1, 1]
    done.stdout.fnmatch_lines(["FAIL: test_too_few_steps (why: above)"])
    unshown = " ".join(project(text, "--tb=no").stdout.str().split())
    assert [unshown.count(text) for text in ("All changes together cost", "why: above")] == [1, 0]


def test_wrong_data_and_settings_are_one_line(project):
    done = project(
        "\ndef test_short(assert_fidelity):\n    assert_fidelity(dataset=(x[:20], y[:19]))\n"
        "\ndef test_slip(assert_fidelity):\n    assert_fidelity(max_dorp=1)\n"
    )
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(["*x holds 20 samples and y 19 labels*", "*assert_fidelity: *max_dorp*max_drop*"])


def test_keys_of_the_gate_are_a_mapping_and_wrong_ones_are_told_in_words_that_were_typed(project, pytester):
    text = """
@pytest.mark.snnverify(timesteps=[64], gate={"max_drop_at": {64: "9 points"}, "firing_rate": (0.0001, 0.9)})
def test_kept(assert_fidelity):
    found = assert_fidelity(max_drop=3, gate={"min_agreement": "51 %"})
    names = [r.name for r in found.verdict.requirements]
    assert {"agreement", "firing rate", "accuracy drop at T = 64"} <= set(names)
    assert found.asked["max_drop"] == "3 points"

def test_not_kept(assert_fidelity):
    assert_fidelity(timesteps=[1], v_init="zero", max_drop=99, gate={"min_agreement": "99.9 %"})

def test_elsewhere(assert_fidelity):
    assert_fidelity(min_agreement="90 %")

def test_unit(assert_fidelity):
    assert_fidelity(gate={"min_agreement": 90})

def test_text(assert_fidelity):
    assert_fidelity(gate=["min_agreement=90 %"])

def test_drop(assert_fidelity):
    assert_fidelity(max_drop="1 pointss")
"""
    done = project(text, "--report", "out")
    done.assert_outcomes(passed=1, failed=5)
    done.stdout.fnmatch_lines(
        [
            "  FAIL: agreement: *",
            "assert_fidelity: min_agreement is not a setting; it is a key of the gate: gate={'min_agreement': '90 %'}",
            "assert_fidelity: gate: min_agreement = 90: give a share *",
            "assert_fidelity: gate = ['min_agreement=90 %']: give a mapping, such as {'min_agreement': '99 %'}",
            "assert_fidelity: max_drop = '1 pointss': give a number *",
            "FAIL: 1 of 2 models",
        ]
    )
    assert "--set" not in done.stdout.str()
    assert (pytester.path / "out" / "report.json").exists()


def test_every_call_of_a_test_is_reported_by_its_name(project, pytester):
    text = """
def test_twice(assert_fidelity):
    assert_fidelity(timesteps=[64], max_drop=3)
    assert_fidelity(timesteps=[32], max_drop=9)
    assert_fidelity(timesteps=[16], max_drop=99, name="short")
"""
    done = project(text, "--report", "out")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["PASS: test_twice*", "PASS: test_twice (2)*", "PASS: short*"])


def test_options_may_stand_in_the_ini(project, pytester):
    pytester.makeini("[pytest]\nsnnverify_report = kept\nsnnverify_examples = 3\n")
    project(KEEPS).stdout.fnmatch_lines(["report: kept/index.html"])
    pytester.makeini("[pytest]\nsnnverify_examples = many\n")
    done = project(KEEPS)
    done.stderr.fnmatch_lines(["ERROR: snnverify_examples = 'many' in pytest's ini: give int"])
