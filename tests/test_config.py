import hashlib
import os
import pickle
import sys

import pytest
import safetensors.torch
import torch
from torch import nn

from snnverify.config import Settings, load_object, merge, read_config
from snnverify.convert.load import load_model, load_weights
from snnverify.errors import ConfigError, DataError

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)
        self.bn = nn.BatchNorm1d(2)

def build():
    return Net()

def broken():
    raise RuntimeError("first line\\nsecond line")

def wants(size):
    return Net()

def diverged():
    net = Net()
    net.fc.weight.data[0, 0] = float("nan")
    return net

def number():
    return 3

ready = Net()
WIDTH = 7
"""


@pytest.fixture(autouse=True)
def _search_path(monkeypatch):
    """Loading a user's file puts its folder on the search path; each test ends with the path it began with."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def refused(kind, function, *words):
    with pytest.raises(kind) as caught:
        function()
    message = str(caught.value)
    assert "\n" not in message, message
    for word in words:
        assert word in message, message


# --- load_object


def test_object_from_file_from_module_and_dotted(folder):
    assert load_object(f"{folder}/net.py:build")() is not None
    assert load_object("net.py:Net", folder) is load_object(f"{folder}/net.py:Net")
    assert load_object("collections:OrderedDict.fromkeys")("ab") == {"a": None, "b": None}


def test_file_may_import_its_neighbours_and_a_module_is_found_under_root(tmp_path):
    (tmp_path / "neighbour_of_net.py").write_text("def answer(): return 42")
    (tmp_path / "outer.py").write_text("def f():\n    from neighbour_of_net import answer\n    return answer()")
    assert load_object(f"{tmp_path}/outer.py:f")() == 42
    (tmp_path / "only_under_root.py").write_text("def f(): return 43")
    assert load_object("only_under_root:f", tmp_path)() == 43


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("net.py", ["'module:name' or 'path.py:name'"]),
        (":build", ["'module:name' or 'path.py:name'"]),
        ("net.py:", ["'module:name' or 'path.py:name'"]),
        ("nett.py:build", ["no file", "nett.py"]),
        ("net.py:biuld", ["no 'biuld'", "did you mean 'build'?"]),
        ("net.py:zzz", ["no 'zzz'", "there is Net, WIDTH"]),
        ("net.py:WIDTH", ["is a int", "a function or a class"]),
        ("no_such_module_here:f", ["ModuleNotFoundError: No module named 'no_such_module_here'"]),
        ("bad_import.py:f", ["importing bad_import.py failed", "ImportError: cannot import name 'nothing'"]),
        ("bad_syntax.py:f", ["SyntaxError"]),
        ("exits.py:f", ["SystemExit: 3"]),
    ],
)
def test_object_that_cannot_be_loaded(folder, spec, words):
    (folder / "bad_import.py").write_text("from math import nothing")
    (folder / "bad_syntax.py").write_text("def f(:\n")
    (folder / "exits.py").write_text("raise SystemExit(3)")
    refused(ConfigError, lambda: load_object(spec, folder), repr(spec), *words)


def test_a_file_that_failed_may_be_mended_and_loaded(folder):
    path = folder / "later.py"
    path.write_text("1 / 0")
    refused(ConfigError, lambda: load_object(f"{path}:f"), "ZeroDivisionError")
    path.write_text("def f(): return 'mended'")
    assert load_object(f"{path}:f")() == "mended"


# --- load_model, load_weights


def state():
    generator = torch.Generator().manual_seed(0)
    return {
        "fc.weight": torch.rand(2, 3, generator=generator), "fc.bias": torch.rand(2, generator=generator),
        "bn.weight": torch.ones(2), "bn.bias": torch.zeros(2), "bn.running_mean": torch.rand(2, generator=generator),
        "bn.running_var": torch.ones(2), "bn.num_batches_tracked": torch.tensor(4),
    }  # fmt: skip


def save(path, content):
    save_with = safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save
    save_with(content, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
@pytest.mark.parametrize("callable_name", ["Net", "build", "ready"])
def test_model_with_weights(folder, name, callable_name):
    path = save(folder / name, state())
    module, sha256 = load_model(f"{folder}/net.py:{callable_name}", path)
    assert all(torch.equal(module.state_dict()[k], v) for k, v in state().items())
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_model_without_weights(folder):
    module, sha256 = load_model("net.py:build", root=folder)
    assert isinstance(module, nn.Module)
    assert (module.training, sha256) == (True, "")  # as built: the conversion notes it


def test_checkpoints_and_files_without_the_batch_counter(folder):
    tensors = state()
    del tensors["bn.num_batches_tracked"]
    path = save(folder / "c.pt", {"epoch": 3, "state_dict": tensors})
    module, _ = load_model(f"{folder}/net.py:Net", path)
    assert torch.equal(module.fc.weight, tensors["fc.weight"])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("broken", ["calling it failed", "RuntimeError: first line second line"]),
        ("wants", ["calling it failed", "TypeError", "without arguments"]),
        ("number", ["returned a int", "nn.Module"]),
    ],
)
def test_model_that_cannot_be_built(folder, spec, words):
    refused(ConfigError, lambda: load_model(f"net.py:{spec}", root=folder), f"net.py:{spec}", *words)


def test_model_that_is_built_with_nan(folder):
    refused(DataError, lambda: load_model("net.py:diverged", root=folder), "NaN", "fc.weight: 1")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_that_do_not_fit(folder, suffix):
    tensors = state()
    tensors["extra"] = tensors.pop("fc.bias")
    tensors["fc.weight"] = torch.zeros(3, 2)
    tensors["bn.bias"] = torch.zeros(2, dtype=torch.int8)
    path = save(folder / f"w{suffix}", tensors)
    refused(
        DataError, lambda: load_model("net.py:Net", path, root=folder), f"w{suffix} does not fit model 'net.py:Net'",
        "1 missing (fc.bias)", "1 unexpected (extra)", "fc.weight is float32 (3, 2), the model's float32 (2, 3)",
        "bn.bias is int8 (2,)",
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_with_nan_or_infinity_name_the_tensor(tmp_path, suffix, value):
    tensors = state()
    tensors["bn.running_mean"][1] = value
    path = save(tmp_path / f"w{suffix}", tensors)
    refused(DataError, lambda: load_weights(path), f"w{suffix}", "bn.running_mean: 1")


class Evil:
    """Makes a folder when it is unpickled by a loader that runs code."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (self.mark,)


@pytest.mark.parametrize("plain", [False, True])
def test_malicious_pickle_is_refused_and_not_run(tmp_path, plain, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    mark, path = tmp_path / "mark", tmp_path / "evil.pt"
    if plain:
        path.write_bytes(pickle.dumps({"w": Evil(str(mark))}, protocol=2))
    else:
        torch.save({"w": Evil(str(mark))}, path)
    refused(DataError, lambda: load_weights(path), "evil.pt", "not executed", "torch.save(model.state_dict()")
    assert not mark.exists()
    torch.load(path, weights_only=False) if not plain else pickle.loads(path.read_bytes())
    assert mark.exists()  # the trap was armed


def test_whole_model_is_refused_with_its_class_and_a_way_out(folder):
    net = load_object(f"{folder}/net.py:Net")()
    torch.save(net, folder / "whole.pt")
    refused(DataError, lambda: load_weights(folder / "whole.pt"), "needs code", "Net", "state_dict()", "safetensors")


def test_weights_files_that_cannot_be_read(tmp_path):
    refused(DataError, lambda: load_weights(tmp_path / "none.pt"), "none.pt", "No such file")
    refused(DataError, lambda: load_weights(tmp_path), "directory")
    for name, word in (("a.safetensors", "not a safetensors file"), ("a.pt", "re-save")):
        (tmp_path / name).write_bytes(b"neither one nor the other")
        refused(DataError, lambda name=name: load_weights(tmp_path / name), name, word)
    whole = save(tmp_path / "whole.pt", state()).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    refused(DataError, lambda: load_weights(tmp_path / "cut.pt"), "cut.pt", "not a torch file")
    save(tmp_path / "t.pt", torch.zeros(3))
    refused(DataError, lambda: load_weights(tmp_path / "t.pt"), "Tensor", "no named tensors")
    save(tmp_path / "e.pt", {"epoch": 3, "w": torch.zeros(3)})
    refused(DataError, lambda: load_weights(tmp_path / "e.pt"), "epoch hold no tensor")


# --- settings


def write_config(folder, body):
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(body)
    return folder


def test_config_is_found_upwards_and_its_paths_are_of_its_folder(tmp_path):
    write_config(
        tmp_path,
        '[tool.snnverify]\nmodel = "net.py:Net"\nweights = "w/net.pt"\ndata = "t.npz[8:]"\n'
        'calibration = "pkg.data:calibration"\ntimesteps = [4, 16]\nmode = "max"\nv_init = 0.25\nmax_drop = 0.10\n'
        'out = "evidence"\nexamples = 20\noracle = "sinabs"\nseed = 3\n',
    )
    inner = write_config(tmp_path / "inner", "[project]\nname = 'other'\n")
    assert read_config(inner) == Settings(
        model=f"{tmp_path}/net.py:Net", weights=f"{tmp_path}/w/net.pt", data=f"{tmp_path}/t.npz[8:]",
        calibration="pkg.data:calibration", timesteps=(4, 16), mode="max", v_init=0.25, max_drop="0.10",
        out=f"{tmp_path}/evidence", examples=20, oracle="sinabs", seed=3, root=tmp_path,
    )  # fmt: skip


def test_without_a_table_the_defaults_hold(tmp_path):
    write_config(tmp_path, "[tool.other]\n")
    assert read_config(tmp_path) == Settings()


def test_the_name_of_an_embedded_model_is_no_path(tmp_path):
    write_config(tmp_path, '[tool.snnverify]\nmodel = "digits_mlp"\nv_init = "zero"\nmode = 0.5\nmax_drop = 1\n')
    found = read_config(tmp_path)
    assert (found.model, found.v_init, found.mode, found.max_drop) == ("digits_mlp", "zero", "0.5", "1")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("timestep = [4]", ["timestep is not a setting", "did you mean 'timesteps'?"]),
        ("root = 'x'", ["root is not a setting"]),
        ("model = 3", ["model = 3", "a string"]),
        ("model = 1.5", ["model = '1.5'", "a string"]),
        ("data = ''", ["data = ''", "a string"]),
        ("timesteps = 4", ["timesteps = 4", "a list of integers"]),
        ("timesteps = []", ["timesteps = []"]),
        ("timesteps = [4, 2]", ["timesteps = [4, 2]", "increasing"]),
        ("timesteps = [4, 4]", ["increasing"]),
        ("timesteps = [0, 2]", [">= 1"]),
        ("timesteps = [true]", ["timesteps = [True]"]),
        ("timesteps = [2.0]", ["timesteps = ['2.0']"]),
        ("max_drop = 'few'", ["max_drop = 'few'", "percentage points"]),
        ("max_drop = -0.5", ["max_drop = '-0.5'", "from 0 to 100"]),
        ("max_drop = nan", ["max_drop", "a number"]),
        ("max_drop = true", ["max_drop = True"]),
        ("v_init = true", ["v_init = True", "half"]),
        ("examples = 0", ["examples = 0", ">= 1"]),
        ("examples = 2.5", ["examples = '2.5'", "an integer"]),
        ("seed = -1", ["seed = -1", ">= 0"]),
        ("seed = ", ["cannot be read", "line 2"]),
        ("mode = []", ["mode = []", "a string"]),
    ],
)
def test_config_that_cannot_be_followed(tmp_path, line, words):
    write_config(tmp_path, f"[tool.snnverify]\n{line}\n")
    refused(ConfigError, lambda: read_config(tmp_path), f"{tmp_path}{os.sep}pyproject.toml", *words)


def test_table_of_another_type(tmp_path):
    write_config(tmp_path, "[tool]\nsnnverify = 3\n")
    refused(ConfigError, lambda: read_config(tmp_path), "tool.snnverify = 3", "[tool.snnverify]")


def test_precedence_is_command_line_then_file_then_default(tmp_path):
    write_config(tmp_path, "[tool.snnverify]\nseed = 3\nmode = 'max'\n")
    merged = merge({"seed": 0, "timesteps": (2, 8), "mode": None}, read_config(tmp_path))
    assert (merged.seed, merged.timesteps, merged.mode) == (0, (2, 8), "max")
    assert (merged.examples, merged.root) == (Settings().examples, tmp_path)


def test_command_line_is_checked_alike():
    refused(ConfigError, lambda: merge({"exampels": 3}, Settings()), "command line: exampels", "'examples'")
    refused(ConfigError, lambda: merge({"max_drop": "x"}, Settings()), "command line: max_drop = 'x'")
    assert merge({"max_drop": 0.1}, Settings()).max_drop == "0.1"
