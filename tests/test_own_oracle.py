"""A user's own oracle: by spec, table and package; and the example that the documentation shows."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from interpreters import make_environment

from snnverify.activation import Neuron, Relu
from snnverify.checks import select
from snnverify.errors import ConfigError
from snnverify.network import Branch, Dense, Layer, Network
from snnverify.oracles import users
from snnverify.oracles.users import Target
from snnverify.run import run

EXAMPLE = Path(__file__).parents[1] / "examples" / "my_oracle.py"
MINE = """
from snnverify.oracles import Oracle
def oracle(): return Oracle("mine", "3", operators={"where": lambda: __file__})
def broken(): raise OSError("no\\nlicence")
def quits(): raise SystemExit("bye")
def other(): return 5
def slash(): return Oracle("a/b", "1")
value = 5
"""


@pytest.fixture
def folder(tmp_path, isolated):
    (tmp_path / "mine.py").write_text(MINE)
    yield tmp_path
    sys.modules.pop("mine", None)
    importlib.invalidate_caches()


def test_a_spec_names_a_file_or_a_module(folder, monkeypatch):
    for spec in ("mine.py:oracle", f"{folder}/mine.py:oracle", "mine:oracle"):
        found = users.resolve(spec, root=folder)
        assert (found.name, found.version) == ("mine", "3")
        assert found.operator("where")() == str(folder / "mine.py")
    monkeypatch.chdir(folder)
    assert users.resolve("mine.py:oracle").name == "mine"
    assert users.resolve("mine") is None


def test_a_row_of_the_table_runs_here_or_in_its_interpreter(folder):
    python = make_environment(folder / "env")
    table = users.checked({
        "here": {"target": "mine.py:oracle"},
        "there": {"target": "mine.py:oracle", "python": "env/bin/python", "timeout": "20.5"},
        "adapter": {"target": "reference", "python": str(python), "timeout": 9},
    }, "pyproject.toml:")  # fmt: skip
    assert table["there"] == Target("mine.py:oracle", "env/bin/python", 20.5)
    for name in ("here", "there"):
        found = users.resolve(name, table, folder)
        assert (found.name, found.version) == (name, "3")
        assert found.operator("where")() == str(folder / "mine.py")
        assert (repr(found) == "<oracle there>") == (name == "there")
    assert users.resolve("adapter", table, folder).simulator is not None
    assert users.resolve("nowhere", table, folder) is None


def test_a_package_registers_its_oracle(folder):
    package = folder / "theirs-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Name: theirs\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[snnverify.oracles]\ntheirs = mine:oracle\n")
    assert users.resolve("theirs") is None
    sys.path.insert(0, str(folder))
    assert users.registered()["theirs"] == "mine:oracle"
    assert (users.resolve("theirs").name, users.resolve("theirs").version) == ("theirs", "3")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("mine.py:oracel", "has no 'oracel'; did you mean 'oracle'?"),
        ("nosuch.py:oracle", "no file"),
        ("mine.py:value", "is a int: name a function or a class"),
        ("mine.py:broken", "'mine.py:broken': making the oracle failed: OSError: no licence"),
        ("mine.py:quits", "making the oracle failed: SystemExit: bye"),
        ("mine.py:other", "'mine.py:other' returns a int; return a snnverify.oracles.Oracle"),
        ("mine.py:slash", "name = 'a/b': the name of an oracle has letters"),
        ("wire", "'wire' is no adapter of snnverify"),
        ("../x", "'../x' is no adapter of snnverify"),
    ],
)
def test_what_cannot_be_loaded_is_one_line(folder, spec, said):
    with pytest.raises(ConfigError) as e:
        users.local(spec, folder)
    assert said in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (5, "f: oracles = 5; write a table"),
        ({"a/b": {"target": "x:y"}}, "f: oracles = 'a/b': the name"),
        ({"a": "x:y"}, "f: oracles.a: it has no target"),
        ({"a": {"python": "x"}}, "f: oracles.a: it has no target"),
        ({"a": {"target": "x:y", "pyhton": "x"}}, "f: oracles.a.pyhton is not a setting; did you mean 'python'?"),
        ({"a": {"target": 5}}, "f: oracles.a.target = 5: give a string"),
        ({"a": {"target": "x:y", "python": " "}}, "f: oracles.a.python = ' ': give a string"),
        ({"a": {"target": "x:y", "timeout": 0}}, "f: oracles.a.timeout = 0: give seconds, > 0"),
        ({"a": {"target": "x:y", "timeout": "soon"}}, "f: oracles.a.timeout = 'soon': give seconds"),
        ({"a": {"target": "x:y", "timeout": float("inf")}}, "f: oracles.a.timeout = inf: give seconds"),
    ],
)
def test_a_wrong_table_is_refused(table, said):
    with pytest.raises(ConfigError) as e:
        users.checked(table, "f:")
    assert str(e.value).startswith(said)


def test_the_example_prints_what_can_be_computed_by_hand():
    """Activations 0.75, 0.625 and 0, 0.8125; the largest is the threshold; floor(8 z / theta + 1/2) spikes in 8 steps."""
    said = subprocess.run([sys.executable, EXAMPLE], capture_output=True, text=True, check=True).stdout
    assert said == "thresholds: {'hidden': 0.8125}\nspikes in 8 steps: [[7, 6], [0, 8]]\n"


def test_the_example_in_another_interpreter(tmp_path):
    table = {"mine": Target(f"{EXAMPLE}:oracle", str(make_environment(tmp_path / "env")))}
    there, here = users.resolve("mine", table), users.local(f"{EXAMPLE}:oracle")
    assert there.families == here.families
    layers = (Layer("a", (Branch(Dense(np.array([[1.0, -0.5], [0.25, 0.75]]))),), Relu()),)
    converted = there.converter(Network((2,), layers), np.array([[1.0, 0.5], [0.25, 1.0]]), x=np.eye(2), steps=4)
    assert converted.snn["a"].act == Neuron(theta=0.8125, amplitude=0.8125, v_init=0.40625)
    assert converted.trace.counts["a"].tolist() == [[4, 1], [0, 4]]  # clip(floor(4 z / 0.8125 + 1/2), 0, 4)
    for name in ("parity.exact", "converter.thresholds"):
        (check,) = select(name)
        assert run(check, there, examples=10).outcome == "pass"


def test_the_suites_find_a_fault_in_the_example(tmp_path):
    """The example with `>` for `>=`."""
    text = EXAMPLE.read_text()
    assert text.count("peaks[t] >= theta") == 1
    (tmp_path / "planted.py").write_text(text.replace("peaks[t] >= theta", "peaks[t] > theta"))
    (check,) = select("parity.exact")
    assert run(check, users.local("planted.py:oracle", tmp_path), examples=50).outcome == "fail"
