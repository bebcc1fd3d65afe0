"""Bad input of every kind: exit code 2, one clear line with the way out, and nothing half-written."""

import pickle
import shlex
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from conftest import NETS

MODELS = """
import torch
from torch import nn

def linear(): return nn.Sequential(nn.Linear(4, 3))
def gelu(): return nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3))
def batch(): return nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.ReLU(), nn.Linear(5, 3))
def pool(): return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 3))
def padded():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3))
    net[0].running_mean.fill_(1.0)
    return net
class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.relu = nn.Linear(4, 3), nn.ReLU()
    def forward(self, x):
        return self.outcome(self.relu(self.fc(x)), x)
    def outcome(self, y, x):
        return y, x
class Scalar(Two):
    def outcome(self, y, x):
        return y.sum()
class Infinite(Two):
    def outcome(self, y, x):
        return y / 0
def poisoned():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    net[0].weight.data[1, 2] = float("nan")
    return net
def needy(size): return nn.Linear(size, 3)
def number(): return 5
def failing(): raise RuntimeError("no disk\\nno luck")
value = 3
"""


class Opens:
    """Unpickled with code, it would make a file."""

    def __reduce__(self):
        return open, ("executed", "w")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Everything that is wrong, in one folder."""
    at = tmp_path_factory.mktemp("bad")
    (at / "nets.py").write_text(NETS)
    (at / "models.py").write_text(MODELS)
    (at / "syntax.py").write_text("def build(:\n")
    (at / "exits.py").write_text("import sys; sys.exit(3)\n")
    (at / "lacks.py").write_text("import no_such_package\n")
    rng = np.random.default_rng(0)
    x, y = rng.uniform(size=(60, 4)).astype("f"), np.arange(60) % 3
    bad, infinite = x.copy(), x.copy()
    bad[3, 1], infinite[0, 0] = np.nan, np.inf
    arrays = {
        "ok": (x, y), "no_y": (x, None), "lengths": (x, y[:-1]), "nan": (bad, y), "infinite": (infinite, y),
        "empty": (x[:0], y[:0]), "beyond": (x, y + 5), "negative": (x, y - 1), "floats": (x, y.astype(float)),
        "onehot": (x, np.eye(3)[y]), "wide": (rng.uniform(size=(60, 7)), y), "five": (x[:5], y[:5]),
        "images": (rng.uniform(size=(60, 1, 8, 8)), y), "text": (np.full((60, 4), "a"), y),
    }  # fmt: skip
    for name, (a, b) in arrays.items():
        np.savez(at / f"{name}.npz", x=a, **({} if b is None else {"y": b}))
    np.savez(at / "objects.npz", x=np.array([Opens()] * 60, object), y=y)
    content = (at / "ok.npz").read_bytes()
    (at / "cut.npz").write_bytes(content[: len(content) // 2])
    (at / "nothing.npz").write_bytes(b"")
    names = {}
    exec(NETS, names)
    state = names["build"]().state_dict()
    torch.save({"weight": Opens()}, at / "code.pt")
    (at / "plain.pt").write_bytes(pickle.dumps(Opens()))
    torch.save(names["build"](), at / "whole.pt")
    torch.save({f"net.{k}": v for k, v in state.items()}, at / "keys.pt")
    torch.save({**state, "0.bias": torch.zeros(7)}, at / "form.pt")
    diverged = {k: v.clone() for k, v in state.items()}
    diverged["0.weight"][0, 0] = float("nan")
    safetensors.torch.save_file(diverged, at / "diverged.safetensors")
    (at / "cut.safetensors").write_bytes(b"\xff" * 20)
    (at / "mine").mkdir()
    (at / "mine" / "thesis.tex").write_text("mine")
    (at / "vacant").mkdir()
    (at / "tampered").mkdir()
    (at / "tampered" / "report.json").write_text('{"schema": "snnverify.report/1"}')
    return at


R = "report nets.py:build --out out "
D = R + "--data ok.npz "
M = "report models.py:{} --out out --data ok.npz"
MANY = "report models.py:{} --out out --data images.npz"
CASES = {
    # the model
    "model: missing file": ("report nope.py:build --data ok.npz", "nope.py", "path"),
    "model: missing module": ("report no_such_module:build --data ok.npz", "no_such_module", "ModuleNotFoundError"),
    "model: missing attribute": ("report nets.py:buidl --data ok.npz", "'buidl'", "did you mean 'build'?"),
    "model: file without callable": ("report nets.py --data ok.npz", "model = 'nets.py'", "'nets.py:callable'"),
    "model: unknown embedded": ("report digit_cnn", "'digit_cnn'", "did you mean 'digits_cnn'?"),
    "model: not callable": (M.format("value"), "models.py:value", "function or a class"),
    "model: needs arguments": (M.format("needy"), "models.py:needy", "without arguments"),
    "model: fails": (M.format("failing"), "RuntimeError: no disk no luck", "without arguments"),
    "model: returns no module": (M.format("number"), "int", "return an nn.Module"),
    "model: syntax error": ("report syntax.py:build --data ok.npz", "syntax.py", "SyntaxError"),
    "model: exits": ("report exits.py:build --data ok.npz", "exits.py", "SystemExit"),
    "model: lacks a package": ("report lacks.py:build --data ok.npz", "lacks.py", "no_such_package"),
    "model: NaN": (M.format("poisoned"), "0.weight: 1", "NaN", "earlier state"),
    "model: without activation": (M.format("linear"), "no ReLU-like activation", "ReLU or QCFS"),
    "model: GELU": (M.format("gelu"), "snnverify: 1: GELU", "use ReLU"),
    "model: BN without statistics": (M.format("batch"), "1: BatchNorm1d", "track_running_stats=True"),
    "model: MaxPool": (MANY.format("pool"), "snnverify: 2: max pooling", "use average pooling"),
    "model: BN before padding": (MANY.format("padded"), "snnverify: 0", "padded", "put the normalisation after"),
    "model: tuple": (M.format("Two"), "model output: tuple", "[N, classes]"),
    "model: scalar": (M.format("Scalar"), "model output: ()", "[N, classes]"),
    "model: infinite output": (M.format("Infinite"), "NaN or infinity", "scale the data"),
    # weights
    "weights: missing": (D + "--weights no.pt", "no.pt", "No such file", "give .safetensors"),
    "weights: code": (D + "--weights code.pt", "code.pt", "not executed", "state_dict()"),
    "weights: plain pickle": (D + "--weights plain.pt", "plain.pt", "not executed", "state_dict()"),
    "weights: whole model": (D + "--weights whole.pt", "Sequential", "not executed", "state_dict()"),
    "weights: keys": (D + "--weights keys.pt", "0.weight", "net.0.weight", "of this architecture"),
    "weights: form": (D + "--weights form.pt", "0.bias is float32 (7,), the model's float32 (12,)"),
    "weights: NaN": (D + "--weights diverged.safetensors", "0.weight: 1", "earlier state"),
    "weights: damaged": (D + "--weights cut.safetensors", "cut.safetensors", "save it again"),
    "weights: a folder": (D + "--weights vacant", "vacant", "give .safetensors"),
    "weights: of no model": ("report --weights code.pt", "weights = 'code.pt'", "model of your own"),
    # data
    "data: none": (R, "data:", "--data FILE.npz"),
    "data: missing": (R + "--data no.npz", "no.npz", "give .npz"),
    "data: no y": (R + "--data no_y.npz", "no array 'y'", "np.savez(path, x=x, y=y)"),
    "data: lengths": (R + "--data lengths.npz", "60 samples and y 59 labels", "one label per sample"),
    "data: NaN": (R + "--data nan.npz", "x[3, 1] = nan", "drop these samples"),
    "data: infinite": (R + "--data infinite.npz", "x[0, 0] = inf", "drop these samples"),
    "data: empty": (R + "--data empty.npz", "(0, 4)", "at least one sample"),
    "data: labels beyond": (R + "--data beyond.npz", "= 5", "3 outputs", "0 ... 2"),
    "data: negative labels": (R + "--data negative.npz", "y[0] = -1", "0, 1, 2"),
    "data: float labels": (R + "--data floats.npz", "float64", "y.astype(int)"),
    "data: one-hot labels": (R + "--data onehot.npz", "(60, 3)", "y.argmax(1)"),
    "data: shape": (R + "--data wide.npz", "(7,)", "bring x to the shape"),
    "data: too few": (R + "--data five.npz", "5 samples", "--calibration"),
    "data: text": (R + "--data text.npz", "<U1", "give numbers"),
    "data: objects": (R + "--data objects.npz", "objects.npz", "save x as numbers"),
    "data: truncated": (R + "--data cut.npz", "cut.npz", "write it again"),
    "data: no bytes": (R + "--data nothing.npz", "nothing.npz", "np.savez_compressed"),
    "data: not npz": (R + "--data nets.py", "nets.py", "np.savez_compressed"),
    "data: folder without IDX": (R + "--data vacant", "images-idx3-ubyte", "give one of them"),
    "data: slice": (R + "--data ok.npz[50:99]", "[50:99]", "stop <= 60"),
    "data: callable": (R + "--data nets.py:build", "Sequential", "return (x, y)"),
    "data: of an embedded model": ("report digits_cnn --data ok.npz", "data = 'ok.npz'", "model of your own"),
    "calibration: missing": (D + "--calibration no.npz", "no.npz", "give .npz"),
    "calibration: shape": (D + "--calibration wide.npz", "(7,)", "(4,)", "input shape"),
    # settings
    "T: zero": (D + "-T 0", "timesteps = [0]", ">= 1"),
    "T: negative": (D + "-T -4", "timesteps = [-4]", ">= 1"),
    "T: not increasing": (D + "-T 8 4", "timesteps = [8, 4]", "increasing"),
    "T: text": (D + "-T four", "'four'", "-T", "--help"),
    "T: fraction": (D + "-T 2.5", "'2.5'", "--help"),
    "T: none": (D + "-T", "-T", "--help"),
    "mode: 0%": (D + "--mode 0%", "mode = '0%'", "(0, 100]"),
    "mode: 101%": (D + "--mode 101%", "mode = '101%'", "(0, 100]"),
    "mode: unknown": (D + "--mode mean", "mode = 'mean'", "one of max"),
    "mode: fraction over 1": (D + "--mode 1.5", "mode = '1.5'", "(0, 1]"),
    "mode: NaN": (D + "--mode nan%", "mode = 'nan%'", "one of max"),
    "v_init: over 1": (D + "--v-init 1.5", "v_init = 1.5", "[0, 1)"),
    "v_init: negative": (D + "--v-init=-0.1", "v_init = -0.1", "[0, 1)"),
    "v_init: NaN": (D + "--v-init nan", "v_init = 'nan'", "a number"),
    "v_init: unknown": (D + "--v-init full", "v_init = 'full'", "half, zero"),
    "max drop: negative": (D + "--max-drop=-1", "max_drop = '-1'", "from 0 to 100"),
    "max drop: NaN": (D + "--max-drop nan", "max_drop = 'nan'", "from 0 to 100"),
    "max drop: over 100": (D + "--max-drop 101", "'101'", "from 0 to 100"),
    "reset: unknown": (D + "--reset hard", "'hard'", "subtract"),
    "encoding: unknown": (D + "--encoding rate", "'rate'", "poisson"),
    "seed: negative": (D + "--seed -1", "seed = -1", ">= 0"),
    "option: unknown": (D + "--quik", "--quik", "--help"),
    # where to
    "out: somebody's folder": ("report nets.py:build --data ok.npz --out mine", "'mine'", "choose another folder"),
    "out: a file": ("report nets.py:build --data ok.npz --out nets.py", "'nets.py'", "choose a folder"),
    # the other commands
    "gate: no report named": ("gate", "report", "--help"),
    "gate: missing folder": ("gate nowhere", "nowhere", "snnverify report --out nowhere"),
    "gate: empty folder": ("gate vacant", "report.json", "snnverify report --out vacant"),
    "gate: tampered": ("gate tampered", "is missing", "write the report anew"),
    "gate: no JSON": ("gate nets.py", "no valid JSON", "write the report anew"),
    "gate: T is text": ("gate vacant --gate-t x", "--gate-t", "'x'"),
    "gate: T = 0": ("gate vacant --gate-t 0", "--gate-t", "'0'", ">= 1"),
    "gate: max drop": ("gate vacant --max-drop x", "'x'", "between 0 and 100"),
    "replay: text": ("replay nets.py", "nets.py", "give the .npz file that a failing check names"),
    "replay: missing": ("replay nowhere.npz", "nowhere.npz", "give the .npz file"),
    "replay: data": ("replay ok.npz", "ok.npz", "give the .npz file"),
    "replay: truncated": ("replay cut.npz", "cut.npz", "give the .npz file"),
    "list: unknown pattern": ("list foo.*", "'foo.*'", "snnverify list"),
    "list: misspelt": ("list dynamics.charge_balanc", "did you mean 'dynamics.charge_balance'?"),
    "analyze: unknown embedded": ("analyze digit_cnn", "'digit_cnn'", "did you mean 'digits_cnn'?"),
    "analyze: missing file": ("analyze nope.py:build", "nope.py", "path"),
    "analyze: shape": ("analyze nets.py:build --input-shape 0", "--input-shape", "'0'", ">= 1"),
    "mutants: unknown": ("mutants no-such-bug", "no-such-bug", "no such mutant"),
    "mutants: jobs": ("mutants --jobs 0", "--jobs", "'0'", ">= 1"),
    "train-default: a file": ("train-default --out nets.py", "nets.py", "choose another path"),
    "no command": ("", "COMMAND", "snnverify --help"),
    "misspelt command": ("repot", "'repot'", "'report'"),
}


def tree(folder):
    return {p: p.stat().st_size for p in folder.rglob("*")}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_line(name, folder, cli, monkeypatch, isolated):
    command, *said = CASES[name]
    monkeypatch.chdir(folder)
    before = tree(folder)
    done = cli(*shlex.split(command))
    assert done.code == 2, done
    (line,) = done.err.splitlines()
    assert line.startswith("snnverify: ")
    assert [part for part in said if part not in line] == [], line
    assert (done.out, "Traceback" in line) == ("", False)
    assert tree(folder) == before  # no report, no temporary file; and no code of a pickle was run


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestep = [4]", ("timestep", "did you mean 'timesteps'?")),
        ("timesteps = 4", ("timesteps = 4", "a list of integers")),
        ("oracle = 3", ("oracle = 3", "a string")),
        ("timesteps = [4", ("cannot be read", "mend the file")),
    ],
)
def test_pyproject(text, said, folder, cli, monkeypatch, isolated, tmp_path):
    (tmp_path / "pyproject.toml").write_text(f"[tool.snnverify]\n{text}\n")
    monkeypatch.chdir(tmp_path)
    done = cli("report", "--quick")
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert [part for part in (*said, "pyproject.toml") if part not in done.err] == []
    assert [p.name for p in tmp_path.iterdir()] == ["pyproject.toml"]


def test_in_a_process_of_its_own(folder):
    """What the interpreter itself would add, such as warnings, is seen only from outside."""
    command = [sys.executable, "-m", "snnverify.cli", *shlex.split(D + "--weights plain.pt")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("snnverify: weights plain.pt")
    assert not (folder / "executed").exists()
