"""SiLU to binary: what is converted, what stays, what is written, and what a batch loses when a file is bad."""

import hashlib
import json
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from torch import nn

from snnverify.cli import main
from snnverify.detector import load, save
from snnverify.detector.binarize import KINDS, activations, binarize, statistics
from snnverify.detector.blocks import Constants, Conv, Conv_A, mem_update
from snnverify.detector.manifest import digest
from snnverify.detector.model import Detector, described
from snnverify.errors import ConfigError

SMALL = ("--img-size", "8")


def counted(mem=0, conv=0, conv_a=0, declared=0):
    return dict(zip(KINDS, (mem, conv, conv_a, declared), strict=True))


class Declared(nn.Module):
    """A user's own activation that declares the protocol: a list keeps what it was asked to emit."""

    def __init__(self):
        super().__init__()
        self.act, self.constants, self.inner = True, Constants(4, 0.25, 0.5), nn.SiLU()

    def forward(self, x):
        return self.inner(x) if self.act else (x > self.constants.threshold).to(x.dtype)


class Users(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.spikes, self.gate = nn.Linear(4, 8), Declared(), nn.Sequential(nn.Linear(8, 8), nn.SiLU())

    def forward(self, x):
        return self.gate(self.spikes(self.first(x)))


def users():
    torch.manual_seed(0)
    return Users()


# Counted by hand in the descriptions: a BasicBlock_2 has two activations, three where stride or channels change.
@pytest.mark.parametrize(("name", "kinds", "binary"), [
    ("digits", counted(mem=1, conv_a=1), 5), ("digits-silu", counted(mem=6, conv_a=1), 0),
    ("resnet10", counted(mem=1), 4 * 3 + 3), ("resnet18", counted(mem=1, conv_a=1), 4 * 5 + 1 * 6),
])  # fmt: skip
def test_every_activation_is_of_one_kind_and_a_second_run_converts_none(name, kinds, binary):
    net = Detector(described(name)).eval()
    after, found = binarize(net)
    assert found.kinds == kinds
    assert (found.total, found.binary, found.left) == (sum(kinds.values()), binary, ())
    assert found.checked == len(list(net.modules()))
    assert {u.now for u in activations(after).values()} == {"binary"}
    assert len(activations(after)) == found.total + binary
    again = binarize(after)[1]
    assert (again.total, again.binary) == (0, found.total + binary)
    assert statistics(net) == found  # the net that was given is as it was


def test_tensors_are_those_of_before_and_the_given_net_is_left_alone():
    torch.manual_seed(0)
    net = Detector(described("digits-silu")).half().eval()
    before = {k: (t.dtype, t.numpy().tobytes()) for k, t in net.state_dict().items()}
    after, _ = binarize(net)
    assert {k: (t.dtype, t.numpy().tobytes()) for k, t in after.state_dict().items()} == before
    assert {k: (t.dtype, t.numpy().tobytes()) for k, t in net.state_dict().items()} == before
    assert not {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in after.parameters()}
    kinds = {p: type(m) for p, m in net.named_modules()}
    parted = {p: type(m) for p, m in after.named_modules() if kinds.get(p) is not type(m)}
    assert parted == {"model.4.act": mem_update, "model.4.act.actFun": nn.SiLU}


def test_what_was_silu_emits_spikes_of_the_recurrence():
    """Constant 0.5, threshold 0.5, decay 0.25: mem = 0.5, 0.625 (fires), 0.5, 0.625 (fires), 0.5."""
    after, _ = binarize(nn.Sequential(mem_update(True), nn.Identity()))
    x = torch.full((5, 1, 1, 1, 1), 0.5)
    assert after(x).flatten().tolist() == [0, 1, 0, 1, 0]
    assert x.eq(0.5).all()


@pytest.mark.parametrize("inplace", [True, False])
def test_silu_of_a_convolution_becomes_a_unit_with_the_constants_of_the_others(inplace):
    plain, with_memory = Conv_A(1, 1), Conv(1, 1)
    plain.act, with_memory.act = nn.SiLU(inplace=inplace), nn.SiLU(inplace=inplace)
    net = nn.Sequential(plain, with_memory, mem_update(False, constants=Constants(5, 0.75, 0.5)))
    after, found = binarize(net)
    assert found.kinds == counted(conv=1, conv_a=1)
    for block in after[:2]:
        assert isinstance(block.act, mem_update)
        assert (block.act.act, block.act.actFun.inplace) == (False, inplace)
        assert block.act.constants == Constants(5, 0.75, 0.5)


def test_constants_that_are_given_go_to_what_is_converted():
    net = nn.Sequential(mem_update(True), mem_update(False))
    after, _ = binarize(net, Constants(threshold=0.9))
    assert [m.constants.threshold for m in after] == [0.9, 0.5]
    with pytest.raises(ConfigError, match="a net has one T"):
        binarize(net, Constants(steps=6))
    mixed = nn.Sequential(
        Conv_A(1, 1), mem_update(constants=Constants(5, 0.1)), mem_update(constants=Constants(5, 0.2))
    )
    with pytest.raises(ConfigError, match="2 kinds"):
        binarize(mixed)


def test_a_users_module_is_converted_where_it_declares_the_protocol_and_nowhere_else():
    net = users()
    after, found = binarize(net)
    assert found.kinds == counted(declared=1)
    assert found.left == ("gate.1",)
    assert (net.spikes.act, after.spikes.act) == (True, False)
    assert after.spikes.constants == Constants(4, 0.25, 0.5)


def test_a_shared_activation_counts_at_each_path():
    shared = mem_update(True)
    after, found = binarize(nn.Sequential(shared, nn.Linear(1, 1), shared))
    assert found.kinds == counted(mem=2)
    assert binarize(after)[1].total == 0


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    net = Detector(described("digits")).eval()
    torch.save({"epoch": 1, "model": None, "ema": net}, tmp_path / "w.pt")
    return tmp_path / "w.pt", net


def test_a_result_says_what_it_is_and_opens_without_code(weights, tmp_path, capsys):
    path, net = weights
    assert main(["binarize", "--weights", str(path), *SMALL]) == 0
    said = capsys.readouterr()
    assert "2 converted (mem_update 1, Conv.SiLU 0, Conv_A.SiLU 1, declared 0), 5 were binary" in said.out
    assert "T = 5 (checkpoint)" in said.out
    assert "device: " in said.err
    raw = torch.load(tmp_path / "w_binary.pt", weights_only=True)
    assert sorted(raw) == ["configuration", "format", "manifest", "tensors"]
    told = json.loads((tmp_path / "w_binary.json").read_text())
    with safetensors.safe_open(tmp_path / "w_binary.safetensors", "pt") as f:
        inside = json.loads(f.metadata()["manifest"])
    files = told.pop("files")
    assert raw["manifest"] == told == inside
    assert {n: f["sha256"] for n, f in files.items()} == {
        n: hashlib.sha256((tmp_path / n).read_bytes()).hexdigest() for n in ("w_binary.pt", "w_binary.safetensors")
    }
    assert told["source"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["tensors"]["sha256"] == digest(net.state_dict()) == digest(raw["tensors"])
    assert (told["activation"], told["T"]["value"], told["threshold"]["from"]) == ("binary", 5, "checkpoint")
    assert told["units"]["model.4.act"] == {
        "kind": "Conv_A.SiLU", "before": "silu", "now": "binary", "threshold": 0.5, "decay": 0.25, "inplace": False,
    }  # fmt: skip
    assert told["statistics"]["total"] == sum(told["statistics"]["kinds"].values()) == 2
    x = torch.rand(2, 1, 8, 8)
    expected = binarize(net)[0](x)
    for suffix in (".pt", ".safetensors"):
        assert torch.equal(load(tmp_path / f"w_binary{suffix}")(x), expected)
    assert "model.4" in (tmp_path / "w_binary.txt").read_text()


def test_a_net_without_anything_to_convert_is_an_error_unless_allowed(weights, tmp_path, capsys):
    assert main(["binarize", "--weights", str(weights[0]), "--no-trace"]) == 0
    again = ["binarize", "--weights", str(tmp_path / "w_binary.pt"), "--no-trace"]
    assert main(again) == 2
    assert "nothing to convert: 52 modules checked, 7 activations are binary already" in capsys.readouterr().err
    assert not (tmp_path / "w_binary_binary.pt").exists()
    assert main([*again, "--allow-none"]) == 0
    said = json.loads((tmp_path / "w_binary_binary.json").read_text())
    assert said["statistics"]["total"] == 0
    assert said["tensors"]["sha256"] == json.loads((tmp_path / "w_binary.json").read_text())["tensors"]["sha256"]


def test_a_bad_file_in_a_batch_loses_none_of_the_others(weights, tmp_path, capsys):
    path, net = weights
    save(net, tmp_path / "v.pt")
    (tmp_path / "bad.pt").write_bytes(path.read_bytes()[:-1000])
    files = [str(tmp_path / n) for n in ("w.pt", "bad.pt", "v.pt", "none.pt")]
    assert main(["binarize", "--weights", *files, "--output", str(tmp_path / "out"), "--no-trace"]) == 2
    said = capsys.readouterr()
    assert "2 of 4 converted, 2 failed" in said.out
    assert said.err.count("snnverify: ") == 2
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        f"{n}_binary.{s}" for n in ("v", "w") for s in ("json", "pt", "safetensors", "txt")
    ]


def test_an_error_that_nobody_foresaw_is_told_of_its_file_and_loses_none_of_the_others(
    weights, tmp_path, capsys, monkeypatch
):
    from snnverify.detector import batch

    path, net = weights
    save(net, tmp_path / "v.pt")
    opening, drawing = batch.open_net, batch.draw

    def opened(file, **options):
        if file == path:
            raise RuntimeError("Boolean value of Tensor\nwith more than one value")
        return opening(file, **options)

    monkeypatch.setattr(batch, "open_net", opened)
    files = ["binarize", "--weights", str(path), str(tmp_path / "v.pt"), "--no-trace"]
    assert main(files) == 2
    said = capsys.readouterr()
    line = f"snnverify: {path}: RuntimeError: Boolean value of Tensor with more than one value; please report it"
    assert line in said.err.splitlines()
    assert "1 of 2 converted, 1 failed" in said.out
    load(tmp_path / "v_binary.pt")
    assert main([*files[:3], "--no-trace"]) == 2
    assert line in capsys.readouterr().err.splitlines()

    def drawn(net, file, **options):
        if file.stem.startswith("w"):
            raise KeyError("stride")
        return drawing(net, file, **options)

    monkeypatch.setattr(batch, "open_net", opening)
    monkeypatch.setattr(batch, "draw", drawn)
    assert main(files) == 2
    said = capsys.readouterr()
    assert f"snnverify: {path}: converted and written, but not drawn: KeyError: 'stride'; please report it" in said.err
    assert said.out.count("  written: ") == 2
    assert said.out.count("  diagram: ") == 1
    load(tmp_path / "w_binary.pt")


def test_data_of_other_classes_than_the_net_tells_apart_are_refused(tmp_path, capsys, monkeypatch):
    from snnverify.detector.generated import write_rectangles
    from snnverify.detector.specimens import built

    monkeypatch.chdir(tmp_path)
    write_rectangles(Path("shapes"), 2, 2)
    save(built({**described("resnet10"), "nc": 7}, 0), "w.pt")
    assert main(["binarize", "--weights", "w.pt", "--data", "shapes/data.yaml", "--img-size", "64"]) == 2
    assert "names, but the net tells 7 classes apart" in capsys.readouterr().err
    assert not list(tmp_path.glob("w_binary*"))


def test_ctrl_c_loses_nothing_that_is_done(weights, tmp_path, capsys, monkeypatch):
    from snnverify.detector import batch

    path, net = weights
    save(net, tmp_path / "v.pt")
    whole = batch.write
    calls = []

    def interrupted(*a):
        calls.append(a)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*a)

    monkeypatch.setattr(batch, "write", interrupted)
    assert main(["binarize", "--weights", str(path), str(tmp_path / "v.pt"), "--no-trace"]) == 130
    assert "1 of 2 finished; every file that was written is whole" in capsys.readouterr().err
    load(tmp_path / "w_binary.pt")
    assert not list(tmp_path.glob("v_binary*"))
    assert not list(tmp_path.glob("*.tmp"))


def test_what_is_not_read_back_equal_is_not_written(weights, tmp_path, monkeypatch, capsys):
    from snnverify.detector import manifest

    saved = torch.save

    def flipped(value, file):
        value["tensors"]["model.3.conv.weight"][0] += 1
        saved(value, file)

    monkeypatch.setattr(manifest.torch, "save", flipped)
    assert main(["binarize", "--weights", str(weights[0]), "--no-trace"]) == 2
    assert "not read back equal" in capsys.readouterr().err
    assert not list(tmp_path.glob("w_binary*"))


@pytest.mark.parametrize(("arguments", "words"), [
    (["{w}", "{w}"], "w.pt: it is given twice"), (["{w}", "--output", "{w}"], "over a source"),
    (["{w}", "{w}", "--output", "x.pt"], "one file for 2 results"), (["{w}", "--output", "x.bin"], "ends in .pt"),
    (["{w}", "--diagram", "x.bmp"], "no form ends in .bmp"),
    (["{w}", "--img-size", "7"], "multiple of the model's stride 2"),
    (["{w}", "--img-size", "0"], "at least 1"), (["{w}", "--no-trace", "--data", "d.yaml"], "leave one of them out"),
    (["{w}", "--trust-pickle"], "both or neither"), (["{w}", "--code", "."], "both or neither"),
    (["{w}", "--threshold", "0.7"], "the checkpoint says 0.5"), (["{w}", "--timesteps", "0"], "the checkpoint says 5"),
    (["{w}", "--data", "none.yaml", "--img-size", "8"], "none.yaml: no such file"),
])  # fmt: skip
def test_what_cannot_be_followed_is_one_line_that_names_it(weights, arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = [a.format(w=weights[0]) for a in arguments]
    assert main(["binarize", "--weights", *given]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in last
    assert last.startswith("snnverify: ")


def test_cuda_that_is_not_there_is_named(weights, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["binarize", "--weights", str(weights[0]), "--device", "cuda"]) == 2
    assert "--device cuda: torch sees no such device" in capsys.readouterr().err


def test_diagrams_of_a_batch_have_names_of_their_own(weights, tmp_path):
    path, net = weights
    save(net, tmp_path / "v.pt")
    files = ["--weights", str(path), str(tmp_path / "v.pt"), "--diagram", str(tmp_path / "a.mmd"), *SMALL]
    assert main(["binarize", *files]) == 0
    assert sorted(p.name for p in tmp_path.glob("*.mmd")) == ["a-v.mmd", "a-w.mmd"]


def test_a_users_module_with_a_state_dict(tmp_path, capsys):
    net = users()
    torch.save(net.state_dict(), tmp_path / "u.pt")
    spec = f"{__file__}:users"
    assert main(["binarize", "--weights", str(tmp_path / "u.pt"), "--model", spec]) == 0
    out = capsys.readouterr().out
    assert "1 converted (mem_update 0, Conv.SiLU 0, Conv_A.SiLU 0, declared 1)" in out
    assert "left as they are: 1 nn.SiLU of no unit (gate.1)" in out
    assert "T = 4 (model), threshold = 0.25 (model)" in out
    assert "no diagram: for a module of your own ask" in out
    with pytest.raises(ConfigError, match="give it yourself: --model"):  # a data file must not name code that runs
        load(tmp_path / "u_binary.pt")
    x = torch.rand(4, 2, 4)
    assert torch.equal(load(tmp_path / "u_binary.pt", model=spec)(x), binarize(net)[0](x))


def test_a_net_is_saved_as_it_is(tmp_path):
    net = Detector(described("digits-silu")).half().eval()
    save(net, tmp_path / "a.pt")
    said = json.loads((tmp_path / "a.json").read_text())
    assert (said["activation"], said["statistics"]["total"]) == ("silu", 0)
    again = load(tmp_path / "a.pt")
    assert repr(again) == repr(net)
    assert digest(again.state_dict()) == digest(net.state_dict())
