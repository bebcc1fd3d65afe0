"""The table of environments, and building one: whole or not at all. No package index is asked."""

import json
import os
import signal
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from interpreters import gone, link_numpy, script

from snnverify.errors import ConfigError, OracleError, Unavailable, Unsupported
from snnverify.oracles import ANY, Oracle, environments
from snnverify.oracles.environments import Environment, Row
from snnverify.trace import Trace

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
# Takes the place of uv: makes a bare environment, writes down what it is asked, and does what $FAKE says.
FAKE_UV = f"""echo "$@" >> "$LOG"
case "$1" in
  venv) for folder; do :; done; "{sys.executable}" -m venv --without-pip "$folder" ;;
  pip) case "$FAKE" in
         fail) echo resolving; echo; echo "error: no such package"; exit 3 ;;
         hang) echo $$ >> "$LOG.pid"; exec sleep 1000 ;;
       esac ;;
esac
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own, and a table with one environment, `small`, and its oracle, `tiny`."""
    monkeypatch.setenv("SNNVERIFY_HOME", str(tmp_path / "home"))
    small = Environment("small", PYTHON, (), ("tiny==1.0",))
    rows = {"tiny": Row("tiny", small, "reference", ("tiny", "1.0"))}
    monkeypatch.setattr(environments, "table", lambda: rows)
    return rows


@pytest.fixture
def uv(tmp_path, monkeypatch):
    """A uv on PATH, and a pip that is told nothing of where packages come from."""
    tool = script(tmp_path / "bin" / "uv", FAKE_UV)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in [n for n in os.environ if n.startswith("PIP_") and n != "PIP_CONFIG_FILE"]:
        monkeypatch.delenv(name)
    return tmp_path / "log"


def test_every_row_of_the_table_is_pinned():
    rows = environments.table()
    assert {"spikingjelly", "spikingjelly-0.0.0.0.14", "snntorch", "sinabs", "norse", "sc-neurocore"} <= set(rows)
    assert rows["spikingjelly"].library == ("spikingjelly", "2.0.0")
    assert rows["spikingjelly-0.0.0.0.14"].library == ("spikingjelly", "0.0.0.0.14")
    assert rows["sc-neurocore"].library == ("sc-neurocore", "3.16.0")
    assert rows["norse"].environment == rows["sinabs"].environment
    for row in rows.values():
        pins = [pin.partition("==") for pin in row.environment.requirements + row.environment.alone]
        assert all(sign and version and "*" not in version for _, sign, version in pins)
        names = [name.lower() for name, _, _ in pins]
        assert len(set(names)) == len(names)
        assert {"torch", "numpy"} <= set(names)


def test_the_folder_hangs_on_every_pin_and_on_nothing_else(home, tmp_path):
    one = home["tiny"].environment
    assert one.folder == tmp_path / "home" / "oracles" / f"small-{one.digest}"
    others = [replace(one, python="3.10"), replace(one, requirements=("a==1",)), replace(one, alone=("tiny==1.1",)),
              replace(one, requirements=("tiny==1.0",), alone=())]  # fmt: skip
    assert len({one.digest, *(e.digest for e in others)}) == 5
    assert replace(one).digest == one.digest


def test_the_home_is_the_cache_where_nothing_is_said(monkeypatch):
    monkeypatch.delenv("SNNVERIFY_HOME", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert environments.home() == Path("/cache/snnverify")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/ada")
    assert environments.home() == Path("/home/ada/.cache/snnverify")


def test_what_is_not_installed_names_the_command(home):
    with pytest.raises(Unavailable, match=r"^tiny: not installed; run `snnverify oracle install tiny`$"):
        environments.connect("tiny")
    (found,) = environments.doctor()
    assert (found.oracle, found.versions) == ("tiny", {})
    assert found.state == "tiny: not installed; run `snnverify oracle install tiny`"
    for ask in (environments.find, environments.install, lambda name: list(environments.doctor([name]))):
        with pytest.raises(ConfigError, match=r"oracle = 'tinny': .* did you mean 'tiny'"):
            ask("tinny")


def wheel(folder, version):
    folder.mkdir(exist_ok=True)
    meta = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr("tiny.py", "")
        archive.writestr(
            f"{meta}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\nRequires-Dist: nosuch\n"
        )
        archive.writestr(
            f"{meta}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{meta}/RECORD", "")
    return folder


def test_install_with_pip_then_connect_and_doctor(home, uv, tmp_path, monkeypatch):
    """With pip, although uv is at hand: only pip knows of the folder with the wheel."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel(tmp_path / "wheels", "1.0")))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    said = []
    python = environments.install("tiny", said.append)
    monkeypatch.delenv("PYTHONHOME")
    assert said == [f"small: making it with Python {PYTHON}", "small: installing tiny==1.0"]
    assert not uv.exists()
    assert python == environments.find("tiny") == home["tiny"].environment.folder / "bin" / "python"
    link_numpy(python.parents[1])
    (found,) = environments.doctor()
    assert (found.state, found.versions["tiny"]) == ("ok", "1.0")
    assert found.versions["python"].startswith(PYTHON)
    assert environments.install("small", said.append) == python
    assert len(said) == 2, "what is whole is not built again"

    row = home["tiny"]
    home["tiny"] = replace(row, library=("tiny", "1.1"))  # another version than the pin says
    (found,) = environments.doctor(["tiny"])
    assert found.state == f"tiny: {python} has tiny 1.0, and 1.1 is pinned; install that one there"
    home["tiny"] = replace(row, adapter="nosuch")
    (found,) = environments.doctor(["tiny"])
    assert found.state.startswith("tiny: start failed: 'nosuch' is no adapter")
    home["tiny"] = row
    python.unlink()  # as after an update of the Python that it was made with
    with pytest.raises(Unavailable):
        environments.find("tiny")


def test_install_with_uv(home, uv):
    small = replace(home["tiny"].environment, requirements=("a==1", "b==2"))
    home["tiny"] = replace(home["tiny"], environment=small)
    python = environments.install("tiny")
    folder = small.folder
    assert uv.read_text().splitlines() == [
        f"venv --python {PYTHON} {folder}",
        f"pip install --python {python} a==1 b==2",
        f"pip install --python {python} --no-deps tiny==1.0",
    ]
    assert json.loads((folder / "snnverify.json").read_text()) == {
        "python": PYTHON,
        "pins": ["a==1", "b==2", "tiny==1.0"],
    }
    (folder / "left").touch()
    environments.install("tiny", anew=True)
    assert not (folder / "left").exists()
    (folder / "left").touch()
    (folder / "snnverify.json").unlink()  # as when the machine went down in the midst of it
    with pytest.raises(Unavailable):
        environments.find("tiny")
    environments.install("tiny")
    assert not (folder / "left").exists()
    assert environments.find("tiny") == python


def test_a_removal_that_is_broken_off_leaves_no_marked_ruin(home, uv, monkeypatch):
    environments.install("tiny")

    def interrupted(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(environments.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        environments.install("tiny", anew=True)
    with pytest.raises(Unavailable):
        environments.find("tiny")


def test_a_failed_install_says_why_and_leaves_nothing(home, uv, monkeypatch):
    monkeypatch.setenv("FAKE", "fail")
    with pytest.raises(OracleError) as e:
        environments.install("tiny")
    assert str(e.value) == "small: installing tiny==1.0 failed (exit code 3): resolving | error: no such package"
    assert not home["tiny"].environment.folder.exists()
    home["tiny"] = replace(home["tiny"], environment=Environment("old", "3.2", ()))
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        OracleError, match=r"^old: it needs Python 3\.2, and there is none on PATH; install that, or uv"
    ):
        environments.install("tiny")


INSTALL = """
import sys
from snnverify.oracles import environments as e
row = e.Row("tiny", e.Environment("small", sys.argv[1], (), ("tiny==1.0",)), "reference", ("tiny", "1.0"))
e.table = lambda: {"tiny": row}
try:
    e.install("tiny", lambda line: print(line, flush=True))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_python_that_does_not_start_is_passed_over_for_one_of_pyenv(monkeypatch, tmp_path):
    """pyenv's shims are on PATH and fail unless their version is switched on."""
    shim = script(tmp_path / "bin" / "python3.2", "exit 127")
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    assert environments._interpreter("3.2") is None
    (tmp_path / "pyenv/versions/3.2.1").mkdir(parents=True)
    real = script(tmp_path / "pyenv/versions/3.2.1/bin/python3.2", "exit 0")
    assert environments._interpreter("3.2") == str(real)


def test_the_name_of_an_environment_stands_for_its_oracles(home):
    home["other"] = replace(home["tiny"], name="other")
    assert environments.oracles_of("small") == ("tiny", "other")
    assert environments.oracles_of("tiny") == ("tiny",)
    assert [d.oracle for d in environments.doctor(["small"])] == ["tiny", "other"]


def test_ctrl_c_leaves_nothing_that_is_taken_for_whole(home, uv, monkeypatch):
    monkeypatch.setenv("FAKE", "hang")
    with subprocess.Popen([sys.executable, "-c", INSTALL, PYTHON], stdout=subprocess.PIPE, text=True) as child:
        pids = Path(f"{uv}.pid")
        while not (pids.exists() and pids.read_text().strip()):
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        assert child.communicate(timeout=20)[0].endswith("interrupted\n")
    assert gone(int(pids.read_text()))
    assert not home["tiny"].environment.folder.exists()


def test_two_installs_build_once(home, uv, monkeypatch):
    """The second waits for the first, also while a command of the first outlives it."""
    monkeypatch.setenv("FAKE", "hang")
    with subprocess.Popen([sys.executable, "-c", INSTALL, PYTHON], stdout=subprocess.PIPE, text=True) as first:
        pids = Path(f"{uv}.pid")
        while not (pids.exists() and pids.read_text().strip()):
            assert first.poll() is None
        first.kill()
        monkeypatch.setenv("FAKE", "")
        said = []
        second = threading.Thread(target=lambda: environments.install("tiny", said.append))
        second.start()
        while not said:
            assert second.is_alive()
        second.join(0.2)
        assert said == ["small: another process builds it; waiting"]
        os.kill(int(pids.read_text()), signal.SIGKILL)
        second.join(20)
    assert said[1:] == [f"small: making it with Python {PYTHON}", "small: installing tiny==1.0"]
    assert environments.find("tiny").exists()


def test_the_diagnosis_of_an_oracle():
    def good(case, record):
        import numpy as np

        spikes = {"cell": np.ones((4, 1, 1), np.int32)}
        return Trace(np.ones((1, 1, 1)), (4,), {}, {}, spikes=spikes)

    def lacking(case, record):
        if case.network.output.act.leak != 0.5:
            raise Unsupported("leak", "no")
        return good(case, record)

    def integer(case, record):
        assert (case.kind, case.network.output.act.threshold, case.network.output.act.delay) == ("integer", 1, 0)
        return good(case, record)

    def broken(case, record):
        raise ZeroDivisionError("by\nzero")

    def silent(case, record):
        return replace(good(case, record), spikes={})

    def state(**fields):
        return environments.diagnose("x", lambda: Oracle("x", "7", **fields)).state

    leaky = {"if": {"theta": ANY}, "lif": {"leak": (0.5, 0.75), "v_init": ANY}}
    assert state() == state(simulator=good) == state(simulator=lacking, families=leaky) == "ok"
    assert state(simulator=lacking) == "it runs none of its own neurons: leak: no"
    whole = {"cuba": {"type": "Cuba", "threshold": ANY, "delay": (0,)}}
    assert state(simulator=integer, families=whole) == "ok"
    assert state(simulator=broken) == "ZeroDivisionError: by zero"
    assert state(simulator=silent).startswith("its trace has no spikes [4, 1, 1]")
    assert environments.diagnose("x", lambda: Oracle("x", "7")).versions["version"] == "7"
