"""Oracles in another interpreter: what crosses the wire, the planted faults of `faulty_oracle`, and who dies when."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from interpreters import gone, make_environment, script

import snnverify
from snnverify.activation import Neuron
from snnverify.checks import select
from snnverify.errors import OracleError, Unsupported
from snnverify.network import Branch, Dense, Layer, Network, Scale
from snnverify.oracles import ANY, hosts, wire
from snnverify.run import run
from snnverify.trace import Case, Trace

HERE = Path(__file__).parent
WORKER = Path(hosts.__file__).with_name("worker.py")


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Another environment, with numpy and nothing else."""
    return make_environment(tmp_path_factory.mktemp("foreign") / "env")


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    (folder / "neighbour.py").write_text("WORD = 'care'\n")
    return f"{shutil.copy(HERE / 'faulty_oracle.py', folder)}:oracle"


@pytest.fixture(scope="module")
def faulty(foreign, spec):
    return hosts.remote("faulty", foreign, spec, timeout=30)


def test_the_host_sees_the_oracle(foreign, spec):
    mine = hosts.remote("mine", foreign, spec)
    assert repr(mine) == "<oracle mine>"
    assert vars(mine)["_worker"].process is None, "nothing is started before something is asked"
    assert (mine.name, mine.version) == ("mine", "0.9")
    assert mine.families["Cell"] == {"fires": (">",), "theta": ANY, "v_floor": (None, 0.5)}
    assert list(mine.families) == ["Cell", "Hard"]
    assert mine.boxes == {"Cell(a=1)": {"theta": 1.0}}
    assert mine.converter is None
    assert {"echo", "segfault"} <= set(mine.operators)
    assert hosts.versions(mine) == {"python": sys.version.split()[0], "numpy": np.__version__}
    assert replace(mine, name="other").operator("echo")(1) == {"args": (1,)}


def test_cases_and_traces_cross(faulty):
    case = Case(Network((2,), (Layer("out", (Branch(Scale(1.0)),)),)), np.array([[1.0, 2.0], [4.0, 8.0]]), 3)
    trace = faulty.run(case)
    assert isinstance(trace, Trace)
    assert trace.readout.tolist() == [[[5.0, 10.0]]]
    assert trace.readout_at == (3,)


def test_values_cross_as_they_are(faulty):
    arrays = [np.arange(6).astype(t).reshape(2, 3)[:, ::-1] for t in (np.uint8, np.int64, np.float32, ">f8", bool)]
    layer = Layer("a", (Branch(Dense(np.eye(2))),), Neuron(theta=np.array([0.5, 1.0])))
    given = (1, -0.0, float("inf"), None, True, "é\n", ("a", (2.5,)), {"k": {"x.npy": 1}}, layer, np.float32(0.1))
    found = faulty.operator("echo")(*arrays, *given, key=np.int8(3), empty=np.zeros((0, 2)))
    for a, b in zip(arrays, found["args"], strict=False):
        assert a.dtype.newbyteorder("=") == b.dtype
        assert np.array_equal(a, b)
    assert found["args"][5:] == (*given[:-1], float(np.float32(0.1)))
    assert str(found["args"][6]) == "-0.0"
    assert found["key"] == 3
    assert found["empty"].shape == (0, 2)
    nan, large = float("nan"), np.random.default_rng(0).integers(0, 255, 5_000_000, dtype=np.uint8)
    found = faulty.operator("echo")(nan, large)["args"]
    assert found[0] != found[0]
    assert np.array_equal(found[1], large)


ENDED, STOPPED = "faulty: its worker was ended by ", "faulty: its worker gave no answer within 0.5 s and was stopped "
FAULTS = {
    "segfault": ENDED + "SIGSEGV (operator 'segfault'); its stderr ends: about to read address 0",
    "leave": "faulty: its worker ended with exit code 7 (operator 'leave'); its stderr ends: "
    "line 4997 | line 4998 | line 4999",
    "killed": ENDED + "SIGKILL, most likely for want of memory (operator 'killed'); its stderr is empty",
    # at once, not when the fork closes its copy of the stream
    "killed_with_a_fork": ENDED
    + "SIGKILL, most likely for want of memory (operator 'killed_with_a_fork'); its stderr is",
    "hang": STOPPED + "(operator 'hang'); its stderr ends: waiting for a licence",
    "hang_hard": STOPPED + "(operator 'hang_hard'); its stderr is empty",
    "scribble": "faulty: its worker talked nonsense (b'Epoch 1/10",
    "closes": "faulty: its worker closed its output and was stopped (operator 'closes'); its stderr is empty",
}
FAILURES = {  # which the worker survives
    "quits": "SystemExit: the library gives up (faulty_oracle.py:",
    "fails": "ValueError: two lines (faulty_oracle.py:",
    "refuses": "layer 'a': no",
    "memory": "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8.00 PiB",
    "no_frame": "root.value: cannot encode a object",
    "objects": "root.value: cannot encode an array of object",
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_line_and_the_next_call_is_answered_by_another_worker(faulty, monkeypatch, name):
    before = faulty.operator("identity")()[0]
    monkeypatch.setattr(hosts, "_GRACE", 0.2 if name == "closes" else 5.0)
    monkeypatch.setattr(vars(faulty)["_worker"], "timeout", 0.5 if name.startswith("hang") else 20.0)
    with pytest.raises(OracleError) as e:
        faulty.operator(name)()
    monkeypatch.undo()
    assert str(e.value).startswith(FAULTS[name])
    assert "\n" not in str(e.value)
    assert faulty.operator("echo")(name) == {"args": (name,)}
    assert gone(before)


@pytest.mark.parametrize("name", FAILURES)
def test_an_exception_is_one_line_and_leaves_the_worker_alive(faulty, name):
    before = faulty.operator("identity")()[0]
    with pytest.raises(OracleError) as e:
        faulty.operator(name)()
    assert str(e.value).startswith(f"faulty: operator {name!r} failed: {FAILURES[name]}")
    assert "\n" not in str(e.value)
    assert e.value.__notes__[0].startswith("Traceback")
    assert faulty.operator("identity")()[0] == before


def test_unsupported_stays_unsupported(faulty):
    network = Network((1,), (Layer("cell", (Branch(Scale()),), Neuron()),))
    with pytest.raises(Unsupported) as e:
        faulty.run(Case(network, np.ones((1, 1)), 1))
    assert (e.value.where, e.value.what, e.value.remedy) == ("cell", "it has no neurons", "take a Scale")
    with pytest.raises(Unsupported, match="no converter"):
        faulty.convert(network)


def test_prints_do_not_reach_the_wire(faulty):
    assert faulty.operator("chatter")() == ""  # and stdin is empty


def test_what_cannot_be_sent_is_refused_here(faulty):
    with pytest.raises(
        OracleError, match=r"faulty: operator 'echo' is given what cannot be sent: root\.2\.0: .* a set"
    ):
        faulty.operator("echo")({1})


def test_the_worker_sees_its_own_packages_alone(foreign, spec, faulty, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    monkeypatch.setenv("VIRTUAL_ENV", sys.prefix)
    other = hosts.remote("other", foreign, spec)
    seen = other.operator("surroundings")()
    package = Path(snnverify.__file__).parent
    assert seen["package"] == str(package)
    assert seen["variables"] == ()
    assert seen["threads"] == "1"
    assert seen["path"][0] == str(Path(spec).parent)
    assert not {str(package.parent), str(HERE), str(package / "oracles")} & set(seen["path"])
    assert not {"torch", "scipy", "hypothesis", "tomllib"} & set(seen["modules"])
    with pytest.raises(OracleError, match="No module named 'hypothesis'"):
        other.operator("imports")("hypothesis")


def test_what_cannot_start_says_so(foreign, spec, tmp_path):
    old = f'exec {foreign} -c "import sys; sys.version_info = (3, 9, 1); sys.version = \'3.9.1 (x)\'; sys.argv = sys.argv[3:]; exec(compile(open(sys.argv[0]).read(), sys.argv[0], \'exec\'))" "$@"'  # fmt: skip # noqa: E501
    cases = {
        "x: its worker talked nonsense (b'Welcome to the cluster\\n' does not begin a frame) (start)":
            (script(tmp_path / "banner", f'echo Welcome to the cluster; exec {foreign} "$@"'), spec, {}),
        "x: its worker ended with exit code 1 (start); its stderr ends: Python 3.9.1 is too old":
            (script(tmp_path / "old", old), spec, {}),
        "x: cannot start /nowhere/python (No such file or directory)": (Path("/nowhere/python"), spec, {}),
        "x: start failed: 'torch_cells' is no adapter": (foreign, "torch_cells", {}),
        "x: start failed: 'spikingjelly': making the oracle failed: ModuleNotFoundError: No module named":
            (foreign, "spikingjelly", {}),
        "x: start failed: 'nosuch' is no adapter of snnverify": (foreign, "nosuch", {}),
        f"x: {foreign} has numpy {np.__version__}, and 0.1 is pinned": (foreign, spec, {"library": ("numpy", "0.1")}),
        f"x: {foreign} has no norse, and 1.1.0 is pinned": (foreign, "norse", {"library": ("norse", "1.1.0")}),
    }  # fmt: skip
    for text, (python, target, more) in cases.items():
        with pytest.raises(OracleError) as e:
            hosts.remote("x", python, target, timeout=20, **more).run(None)
        assert str(e.value).startswith(text)
        assert "\n" not in str(e.value)


def test_an_environment_without_numpy(tmp_path, spec):
    python = make_environment(tmp_path / "bare", numpy=False)
    with pytest.raises(OracleError, match=r"^x: its worker ended with exit code 1 .*No module named 'numpy'\n"):
        _ = hosts.remote("x", python, spec).version


def test_the_worker_ends_with_the_last_reference_and_takes_its_children_along(foreign, spec):
    mine = hosts.remote("mine", foreign, spec)
    pids = [mine.operator("identity")()[0], mine.operator("grandchild")()]
    os.kill(pids[1], 0)
    del mine
    assert all(gone(pid) for pid in pids)


def test_what_a_worker_forked_dies_with_it(foreign, spec):
    mine = hosts.remote("mine", foreign, spec)
    pid, forked = mine.operator("identity")()[0], mine.operator("fork")()
    os.kill(forked, 0)
    os.kill(pid, signal.SIGKILL)
    assert gone(forked)


@pytest.mark.parametrize("files", [0, 4])
def test_what_its_fork_forked_dies_with_it_and_keeps_its_files(foreign, spec, files):
    mine = hosts.remote("mine", foreign, spec)
    pid, (child, grandchild, there, low) = mine.operator("identity")()[0], mine.operator("fork_of_a_fork")(files)
    assert low, "the files were to take the numbers of the streams"
    assert there == files
    os.kill(child, 0)
    os.kill(grandchild, 0)
    os.kill(pid, signal.SIGKILL)
    assert gone(child)
    assert gone(grandchild)


def test_a_worker_that_died_between_calls_is_replaced(foreign, spec):
    mine = hosts.remote("mine", foreign, spec)
    pid = mine.operator("identity")()[0]
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.1)
    assert mine.operator("identity")()[0] != pid


def test_threads_take_turns(foreign, spec):
    mine, found = hosts.remote("mine", foreign, spec), {}

    def ask(i):
        found[i] = [mine.operator("echo")(i, j)["args"] for j in range(20)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(3)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert found == {i: [(i, j) for j in range(20)] for i in range(3)}
    assert mine.operator("echo")(1) == {"args": (1,)}  # also after the thread that started the worker is gone


HOST = """
import sys, threading
from pathlib import Path
from snnverify.oracles import hosts
mine = hosts.remote("mine", Path(sys.argv[1]), sys.argv[2])
print(mine.operator("identity")()[0], flush=True)
try:
    if sys.argv[3] == "fork":
        import os
        child = os.fork()
        print(mine.operator("identity")()[0], flush=True)
        del mine
        os._exit(0) if child == 0 else os.waitpid(child, 0)
    else:
        mine.operator(sys.argv[3])()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print(mine.operator("echo")(1), flush=True)
"""


@pytest.mark.parametrize("act", ["hang", "hang_hard"])
def test_no_worker_outlives_a_host_that_is_killed(foreign, spec, act):
    with subprocess.Popen([sys.executable, "-c", HOST, foreign, spec, act], stdout=subprocess.PIPE, text=True) as host:
        pid = int(host.stdout.readline())
        time.sleep(0.3)
        os.kill(pid, 0)
        host.kill()
        assert gone(pid)


def test_the_end_of_stdin_ends_a_computation(foreign, spec):
    """What holds where Linux's signal on the death of a parent does not exist."""
    command = [foreign, "-I", "-u", WORKER, spec, "/"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        child.stdin.write(wire.pack(("operator", "hang", (), {})))
        child.stdin.flush()
        time.sleep(0.5)
        assert child.poll() is None
        child.stdin.close()
        ended = gone(child.pid)
        child.kill()
        assert ended


def test_ctrl_c_stops_the_worker_without_a_word_from_it(foreign, spec):
    host = subprocess.Popen([sys.executable, "-c", HOST, foreign, spec, "hang"], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)  # fmt: skip
    pid = int(host.stdout.readline())
    time.sleep(0.3)
    os.killpg(host.pid, signal.SIGINT)  # as the terminal does
    out, err = host.communicate(timeout=20)
    assert (out, err, host.returncode) == ("interrupted\n{'args': (1,)}\n", "", 0)
    assert gone(pid)


def test_a_fork_of_the_host_has_a_worker_of_its_own(foreign, spec):
    quiet = ["-W", "ignore:This process:DeprecationWarning"]  # that of `fork`, since Python 3.12
    said = subprocess.run([sys.executable, *quiet, "-c", HOST, foreign, spec, "fork"], capture_output=True, text=True)
    assert said.stderr == ""
    first, *later = said.stdout.split()
    assert len(later) == 2
    assert later.count(first) == 1


def test_the_judge_takes_a_remote_oracle(foreign):
    """The portable set under numpy alone: the reference in a worker keeps exact parity with the one here."""
    (check,) = select("parity.exact")
    finding = run(check, hosts.remote("elsewhere", foreign, "reference"), examples=10)
    assert (finding.outcome, finding.subject) == ("pass", "elsewhere")


def test_what_lost_its_parent_before_it_could_ask_to_die_with_it_ends():
    code = "import os; from snnverify.oracles.worker import _die_with_parent as ask; ask(os.getppid() {}); os._exit(7)"
    ends = [subprocess.run([sys.executable, "-c", code.format(more)]).returncode for more in ("", "+ 1")]
    assert ends == [7, 1]
