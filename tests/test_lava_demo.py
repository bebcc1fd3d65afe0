"""The Lava demo on a stub of lava's operators: what it says about each way of running, what it keeps, how it refuses.

The stub's net is one dense layer; its two libraries run in our exact reference, so that nothing is compared with itself.
"""

import json
from dataclasses import replace

import numpy as np
import pytest

from snnverify import cli, lava_demo, reference
from snnverify.errors import OracleError
from snnverify.exchange import netx_bytes, read_netx
from snnverify.lava_demo.evaluation import on_the_chip
from snnverify.lava_demo.training import read_data
from snnverify.loihi import chain, dense, flatten
from snnverify.oracles import Oracle
from snnverify.trace import Case

SMALL = ["-T", "2", "-epochs", "2", "--limit", "64", "--samples", "2"]


def few(*arguments):
    """The images, fewer for evaluation: the reference is slow."""
    train_set, test_set = read_data(*arguments)
    return train_set, replace(test_set, x=test_set.x[:40], y=test_set.y[:40])


def network_of(state):
    return chain((1, 8, 8), [flatten(), dense(state["net.1.synapse.weight"], threshold=1.0, delay_shift=False)])


def exact(network, spikes):
    return reference.run(Case(network, np.asarray(spikes, float), len(spikes), "spikes", kind="integer")).spikes


class Stub:
    """Operators of `lava-exchange` and `lava-netx`; `faults` name what one of them does wrong."""

    def __init__(self, *faults, weight=None):
        self.faults, self.epochs, self.encoded, self.seen = set(faults), 0, [], []
        rng = np.random.default_rng(0)
        self.weight = rng.normal(0.05, 0.2, (10, 64)).astype(np.float32) if weight is None else weight

    def csnn_train(self, state, x, y, options):
        if "no cuda" in self.faults:
            raise OracleError(
                "lava-exchange: operator 'csnn_train' failed: RuntimeError: Found no NVIDIA driver on your system"
            )
        if options["lr"] == 0:  # weights as they are drawn
            return {"net.1.synapse.weight": self.weight, "momentum.1": self.weight}, 0.0, 0
        assert "momentum.1" not in state
        self.epochs += 1
        if "interrupted" in self.faults and self.epochs == 2:
            raise KeyboardInterrupt
        return {"net.1.synapse.weight": self.weight, "calls": np.asarray(self.epochs)}, 1.0, len(x) // 2

    def csnn_encode(self, x, options):
        rng = np.random.default_rng(options["seed"])
        self.encoded.append((rng.random((options["T"], *x.shape)) < x).astype(np.uint8))
        return self.encoded[-1]

    def csnn_network(self, state, options):
        return network_of(state)

    def csnn_run(self, state, spikes, options, kind):
        network = network_of(state)
        if kind == "spikingjelly" and "cut at 255" in self.faults:
            layer = network["1"]
            (branch,) = layer.branches
            w = np.where(np.rint(self.weight * 32) > 127, 255, branch.op.weight)
            layer = replace(layer, branches=(replace(branch, op=replace(branch.op, weight=w)),))
            network = replace(network, layers=(network["0"], layer))
        counts = exact(network, spikes)["1"].sum(0, dtype=np.int64)
        if f"{kind} off by one" in self.faults:
            counts[0, 0] += 1
        return counts

    def csnn_files(self, state, options):
        w = state["net.1.synapse.weight"]
        exported = on_the_chip(network_of({"net.1.synapse.weight": w + ("another file" in self.faults)}))
        return {"net.pt": np.zeros(3, np.uint8), "net_ladl.pt": np.ones(3, np.uint8),
                "net_la.net": np.frombuffer(netx_bytes(exported), np.uint8)}  # fmt: skip

    def netx_run(self, file, x, steps, interval, offset):
        image = len(self.seen)
        self.seen.append(np.array_equal(x[:-1, 0], self.encoded[-1][:, image]) and not x[-1].any())
        spikes = exact(read_netx(file, input_shape=(1, 8, 8)), x)
        if "netx drops a spike" in self.faults:
            name = max(spikes)
            last = spikes[name].copy()
            last[tuple(np.argwhere(last)[0])] = 0
            spikes = {**spikes, name: last}
        return spikes


@pytest.fixture
def run(monkeypatch, tmp_path):
    def demo(*arguments, faults=(), weight=None, stub=None):
        stub = stub or Stub(*faults, weight=weight)
        names = ("csnn_train", "csnn_encode", "csnn_network", "csnn_run", "csnn_files", "netx_run")
        oracle = Oracle("stub", "1", operators={n: getattr(stub, n) for n in names})
        monkeypatch.setattr(lava_demo, "get", lambda name: replace(oracle, name=name))
        monkeypatch.setattr(lava_demo, "read_data", few)
        code = cli.main(["lava-demo", *SMALL, "-out-dir", str(tmp_path / "out"), *arguments])
        results = tmp_path / "out" / "results.json"
        return code, json.loads(results.read_text()) if results.exists() else None

    return demo


def test_the_four_runs_agree_and_everything_is_kept(run, tmp_path, capsys):
    code, found = run()
    assert code == 0
    assert found["sound"]
    assert [r["images"] for r in found["right"].values()] == [40, 40, 40, 2]
    assert all(d["differ"] == 0 for d in found["differing"].values())
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "net.pt", "net_ladl.pt", "net_la.net", "results.json", "state.npz",
    }  # fmt: skip
    assert found["options"]["seed"] == 0
    assert found["command"].startswith("snnverify")
    assert found["versions"]["lava-netx"] == "1"
    assert len(found["data"]["training"]["sha256"]) == 64
    assert [h["epoch"] for h in found["history"]] == [1, 2]
    out = capsys.readouterr()
    assert "net_la.net read back: the same network" in out.out
    assert "epoch 1 of 2 (64)" in out.err


def test_netx_runs_the_first_images_of_the_same_spikes(run):
    stub = Stub()
    run(stub=stub)
    assert stub.encoded[-1].shape == (2, 40, 1, 8, 8)  # all images for evaluation, and nothing is encoded after them
    assert stub.seen == [True, True]


@pytest.mark.parametrize(
    "fault", ["lava-dl off by one", "spikingjelly off by one", "netx drops a spike", "another file"]
)
def test_a_difference_is_counted_and_fails(run, fault):
    code, found = run(faults=(fault,))
    assert code == 1
    assert not found["sound"]
    counted = sum(d["differ"] for d in found["differing"].values())
    assert counted == 0 if fault == "another file" else counted > 0
    assert found["read back"] == (fault != "another file")


def test_weights_above_the_grid_explain_spikingjelly(run, capsys):
    # in mantissas 254 or 255, and -190: together 64, which does not pass the threshold of 64, or 65, which does
    weight = np.zeros((10, 64), np.float32)
    weight[:, 27], weight[:, 28] = 5.0, -190 / 64
    code, found = run(faults=("cut at 255",), weight=weight)
    ours, beyond = (
        found["differing"][f"outputs of the SpikingJelly net{k}"] for k in ("", ", against weights cut at 255/64")
    )
    assert beyond["differ"] == 0
    assert ours["differ"] > 0
    assert code == 0
    assert "10 weights lie above 254/64" in capsys.readouterr().out
    code, _ = run(faults=("cut at 255", "spikingjelly off by one"), weight=weight)
    assert code == 1


def test_a_silent_net_proves_nothing(run, capsys):
    code, found = run(weight=np.full((10, 64), -0.5, np.float32))
    assert code == 1
    assert not found["sound"]
    assert "no output ever fired" in capsys.readouterr().out


def test_ctrl_c_keeps_the_last_epoch_and_resume_goes_on(run, tmp_path, capsys):
    code, found = run(faults=("interrupted",))
    assert (code, found) == (130, None)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["state.npz"]
    assert "go on with --resume" in capsys.readouterr().err
    stub = Stub()
    code, found = run("--resume", stub=stub)
    assert code == 0
    assert stub.epochs == 1
    assert [h["epoch"] for h in found["history"]] == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-T", "0"], "-T = 0"),
        (["--samples", "-1"], "--samples = -1"),
        (["-lr", "0"], "-lr = 0"),
        (["-lr", "nan"], "-lr = nan"),
        (["--seed", "-1"], "--seed = -1"),
        (["-device", "tpu"], "-device = 'tpu'"),
        (["-data-dir", "no/such/folder"], "no such folder"),
        (["-data-dir", "."], "images-idx3-ubyte"),
        (["--resume"], "train without it first"),
    ],
)
def test_bad_options_end_with_one_line(run, tmp_path, arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == (2, None)
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_resume_wants_the_same_options_and_a_whole_file(run, tmp_path, capsys):
    run()
    assert run("--resume", "-channels", "3")[0] == 2
    assert "channels = 16, not 3" in capsys.readouterr().err
    assert run("--resume", "--limit", "63")[0] == 2
    error = capsys.readouterr().err
    assert "trained on other images (sha256 " in error
    assert "than these 63 of scikit-learn digits" in error
    assert "give the same -data-dir and --limit" in error
    (tmp_path / "out" / "state.npz").write_bytes(b"PK damaged")
    assert run("--resume")[0] == 2
    assert "train without --resume" in capsys.readouterr().err


def test_cuda_without_cuda(run, capsys):
    assert run("-device", "cuda:0", faults=("no cuda",))[0] == 2
    assert "-device = 'cuda:0': lava's interpreter sees no such device" in capsys.readouterr().err


def test_without_lava_the_command_that_installs_it_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SNNVERIFY_HOME", str(tmp_path))
    assert cli.main(["lava-demo", "-out-dir", str(tmp_path / "out")]) == 2
    error = "snnverify: lava-exchange: not installed; run `snnverify oracle install lava`\n"
    assert capsys.readouterr().err == error
    assert not (tmp_path / "out").exists()


def test_two_idx_pairs_are_training_and_evaluation(run, tmp_path):
    folder = tmp_path / "mnist"
    folder.mkdir()
    for start, n in (("train", 40), ("t10k", 12)):
        x = np.random.default_rng(n).integers(0, 256, (n, 8, 8), np.uint8)
        head = np.array([0x803, n, 8, 8], ">u4").tobytes()
        (folder / f"{start}-images-idx3-ubyte").write_bytes(head + x.tobytes())
        labels = np.arange(n, dtype=np.uint8) % 10
        (folder / f"{start}-labels-idx1-ubyte").write_bytes(np.array([0x801, n], ">u4").tobytes() + labels.tobytes())
    code, found = run("-data-dir", str(folder))
    assert code == 0
    assert [found["data"][k]["images"] for k in ("training", "evaluation")] == [40, 12]
    (folder / "train-images-idx3-ubyte").unlink()
    code, found = run("-data-dir", str(folder))
    assert [found["data"][k]["images"] for k in ("training", "evaluation")] == [9, 3]
