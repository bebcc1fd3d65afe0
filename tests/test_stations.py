"""Commands quantize, stations and native, as a user types them; native training and its equality with the simulator."""

import json
from dataclasses import replace

import numpy as np
import pytest

from snnverify import content, zoo
from snnverify.activation import Neuron
from snnverify.config import merge, read_config
from snnverify.convert import convert
from snnverify.errors import ConfigError, Unsupported
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool
from snnverify.pipeline import stations
from snnverify.quantise import Grid, QuantisedNetwork
from snnverify.simulate import simulate
from snnverify.zoo import qat
from snnverify.zoo.native import Recipe, spikes_of, spiking_twin, train_native


@pytest.mark.parametrize("name", sorted(zoo.MODELS))
def test_torch_and_the_simulator_agree_in_every_spike(name):
    model = zoo.load_default(name)
    ann = convert(model.module, model.train_x[:50]).ann
    net = train_native(ann, model.train_x, model.train_y, 4, recipe=Recipe(epochs=1))
    x = model.evaluation_x[:40]
    torchs, readout = spikes_of(net, x, 4)
    for engine in ("numpy", "auto"):
        ours = simulate(net, x, 4, record="spikes", dtype="float64", engine=engine)
        assert set(torchs) == {v.name for v in net.spiking}
        for layer, spikes in torchs.items():
            assert spikes.any()
            assert np.array_equal(spikes, ours.spikes[layer])
        assert np.array_equal(readout, ours.readout[-1])


def test_native_training_learns_and_is_seeded():
    model = zoo.load_default("digits_mlp")
    ann = convert(model.module, model.train_x[:50]).ann

    def train(seed, epochs=3):
        return train_native(ann, model.train_x, model.train_y, 4, recipe=Recipe(epochs=epochs), seed=seed)

    net = train(0)
    assert net == train(0)
    assert net != train(1)
    classes = simulate(net, model.evaluation_x, 4).readout[-1].argmax(-1)
    assert np.mean(classes == model.evaluation_y) > 0.5  # chance is a tenth
    weights = [b.op.weight for v in net.layers for b in v.branches if hasattr(b.op, "weight")]
    assert all(np.array_equal(w * 4096, np.rint(w * 4096)) for w in weights)


def test_activity_costs_rate():
    model = zoo.load_default("digits_mlp")
    ann = convert(model.module, model.train_x[:50]).ann
    rates = []
    for activity in (0.0, 10.0):
        net = train_native(ann, model.train_x, model.train_y, 4, recipe=Recipe(epochs=5, activity=activity))
        rates.append(sum(int(c.sum()) for c in simulate(net, model.evaluation_x[:200], 4).counts.values()))
    assert rates[1] < rates[0]


def test_connections_from_analog_values_by_hand():
    layers = (
        Layer("conv", (Branch(Conv(np.ones((2, 1, 3, 3)), padding=((1, 1), (1, 1)))),), Neuron()),
        Layer("pool", (Branch(Pool("average", (2, 2)), "conv"),)),
        Layer("next", (Branch(Conv(np.ones((3, 2, 1, 1))), "pool"),), Neuron()),
        Layer("flat", (Branch(Flatten(), "next"),)),
        Layer("fc", (Branch(Dense(np.ones((5, 12))), "flat"),)),
    )
    # 3 x 3 kernels on 4 x 4 pixels, padding 1, make (3 x 4 - 2)^2 pairs; 2 x 2 averages go to 3 channels; fc gets spikes
    assert stations.multiply_adds(Network((1, 4, 4), layers)) == 2 * 10**2 + 2 * 3 * 2 * 2


def test_native_refusals():
    model = zoo.load_default("digits_mlp")
    converted = convert(model.module, model.train_x[:50])
    with pytest.raises(ConfigError, match="steps = 0"):
        train_native(converted.ann, model.train_x, model.train_y, 0)
    with pytest.raises(Unsupported, match="no ReLU"):
        spiking_twin(converted.snn)
    assert all(v.act == Neuron(v_init=0.5) for v in spiking_twin(converted.ann).spiking)


def test_stations(cli, tmp_path):
    done = cli(
        "stations",
        "digits_mlp",
        "--precision",
        "int4",
        "--seeds",
        2,
        "--epochs",
        1,
        "-T",
        4,
        "--out",
        tmp_path / "s.json",
    )
    assert done.code == 0, done.err
    assert max(map(len, done.out.splitlines())) <= 125
    assert "control: the same training without a grid" in done.out
    record = json.loads((tmp_path / "s.json").read_text())
    assert record["provenance"]["seed"] == "0"
    (model,) = record["models"]
    assert len(model["facts"]["data digest"]) == len(model["facts"]["weights sha256"]) == 64
    rows = {(r["station"], r["net"]): r for r in model["stations"]}
    assert {n: len(r["accuracy"]) for n, r in rows.items()} == {
        ("float", "ANN"): 1, ("float", "SNN"): 1, ("int8 activations", "ANN"): 1, ("trained on", "SNN"): 2,
        ("post-training", "ANN"): 1, ("post-training", "SNN"): 1, ("fine-tuned scales", "SNN"): 2,
        ("fine-tuned weights", "SNN"): 2,
    }  # fmt: skip
    float_ann = rows["float", "ANN"]["accuracy"][0]
    assert float_ann == pytest.approx(zoo.load_default("digits_mlp").provenance["accuracy_evaluation"])
    for r in rows.values():
        for accuracy, p in zip(r["accuracy"], r["paired"], strict=True):
            assert accuracy == pytest.approx(float_ann - (p["b"] - p["c"]) / p["n"])
            assert p["upper"] >= (p["b"] - p["c"]) / p["n"]


@pytest.mark.parametrize("tuned", [(), ("--fine-tune", "scales", "--epochs", 1, "--power-of-two")])
def test_quantize(cli, tmp_path, tuned):
    done = cli("quantize", "digits_mlp", "--precision", "int4", *tuned, "--out", tmp_path / "q.npz")
    assert done.code == 0, done.err
    found = content.load(tmp_path / "q.npz", QuantisedNetwork)
    assert found.network.spiking
    for layer in found.network.layers:
        if (w := found.weights.get(f"{layer.name}.0")) is not None:
            assert np.array_equal(layer.branches[0].op.weight, w.integers * w.scale)
            assert np.abs(w.integers).max() <= 7
            assert not tuned or np.frexp(w.scale)[0] == 0.5
    assert f"{found.memory_bits // 8:,} bytes of weights" in done.out
    model = zoo.load_default("digits_mlp")
    plain = convert(model.module, model.train_x).classify(model.evaluation_x, 32)
    rounded = simulate(found.network, model.evaluation_x, 32).readout[-1].argmax(-1)
    assert f" {100 * np.mean(plain == model.evaluation_y):.2f} % with float weights as converted" in done.out
    assert f"; {np.sum(plain != rounded):,} in another class than then" in done.out


def test_native(cli, tmp_path):
    done = cli("native", "digits_mlp", "-T", 4, "--epochs", 1, "--out", tmp_path / "n.json")
    assert done.code == 0, done.err
    assert " 0 of 196,608 spikes differ" in done.out  # 4 steps, 256 samples, 128 + 64 units
    (model,) = json.loads((tmp_path / "n.json").read_text())["models"]
    assert [s["name"] for s in model["sides"]] == ["converted", "native"]
    assert model["spikes that differ"] == 0


def test_native_over_seeds(cli, tmp_path):
    done = cli("native", "digits_mlp", "-T", 2, "--epochs", 1, "--seeds", 2, "--seed", 3, "--out", tmp_path / "n.json")
    assert done.code == 0, done.err
    (model,) = json.loads((tmp_path / "n.json").read_text())["models"]
    assert [s["name"] for s in model["sides"]] == ["converted", "native, seed 3", "native, seed 4"]
    a, b = (100 * s["accuracy"] for s in model["sides"][1:])
    assert f"native, 2 seeds: accuracy, %: {(a + b) / 2:.2f}, sd {abs(a - b) / 2**0.5:.2f}" in done.out
    assert model["spikes compared"] == 2 * 2 * 256 * (128 + 64)  # nets, steps, samples, units
    assert "native, seed 4 (1)" in done.err


def test_each_arm_tells_its_epochs():
    told = []
    (task,) = stations.tasks(merge({"model": "digits_mlp"}, read_config()), None)
    task = replace(task, train_x=task.train_x[:40], train_y=task.train_y[:40])
    settings, recipe = merge({}, read_config()), qat.Recipe(epochs=3)
    stations.visit(task, [Grid("int4")], 2, range(2), settings, recipe, lambda *t: told.append(t))
    arms = {stage: [(done, total) for s, done, total in told if s == stage] for stage, _, _ in told}
    assert list(arms) == [f"digits_mlp: {arm}" for arm in (
        "training on, no grid", "fine-tuning scales, int4", "fine-tuning weights, int4")]  # fmt: skip
    assert all(ticks == [(k, 6) for k in range(1, 7)] for ticks in arms.values())


def test_a_model_of_the_users_own(project, cli):
    done = cli(
        "stations", "nets.py:build", "--data", "data.npz", "--train", "data.npz", "--precision", "int8", "--seeds", 1
    )
    assert done.code == 0, done.err
    assert "216 of the 216 samples are training samples, too" in done.out  # a tenth of them calibrates
    done = cli("quantize", "nets.py:module", "--data", "data.npz", "--precision", "int8")
    assert (done.code, "int8 per tensor" in done.out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("stations", "--seeds", 0), "--seeds = 0: at least 1"),
        (("stations", "digits_mlp", "-T", 0), "--timesteps = 0: at least 1"),
        (("stations", "digits_mlp", "--train", "data.npz"), "--train data.npz: it goes with a model of your own"),
        (("stations", "nets.py:build", "--data", "data.npz"), "--train: labelled samples"),
        (("stations", "digits"), "neither 'module:callable' nor an embedded model"),
        (("stations", "digits_mlp", "--out", "nowhere/x.json"), "make it first"),
        (("quantize", "--out", "x.npz"), "one file for one model"),
        (("quantize", "digits_mlp", "--precision", "int2"), "int2"),
        (("quantize", "digits_mlp", "--out", "."), "--out .: it is a folder; name a file in it"),
        (("native", "digits_mlp", "--leak", "0.9"), "leak = 0.9: native nets are trained with leak = 1.0"),
        (("native", "digits_mlp", "--encoding", "poisson"), "encoding = 'poisson': native nets are trained with"),
        (("native", "digits_mlp", "--activity", "nan"), "--activity = nan"),
        (("quantize", "digits_mlp", "--lr", "-1"), "--lr = -1.0"),
        (("stations", "nets.py:build", "--data", "data.npz", "--train", "absent.npz"), "absent.npz"),
        (("quantize", "digits_mlp", "--epochs", 3), "--epochs: it is of fine-tuning; say what is trained, --fine-tune"),
        (("quantize", "nets.py:build", "--data", "data.npz", "--train", "data.npz"), "--train: it is of fine-tuning"),
        (("quantize", "nets.py:build", "--data", "beyond.npz"), "the model has 3 outputs, so labels are 0 ... 2"),
        (("quantize", "nets.py:build", "--data", "narrow.npz"), "data: the model cannot run on samples of shape (5,)"),
        (
            ("quantize", "--quant-type", "static_int8", "--fine-tune", "scales"),
            "--fine-tune: it is of --quant-type weights",
        ),
        (
            ("quantize", "--quant-type", "static_int8", "--precision", "int4"),
            "--precision: it is of --quant-type weights",
        ),
        (
            ("native", "digits_mlp", "--epoch", 3, "--activty", 1),
            "--activty: no such option; did you mean '--activity'?",
        ),
    ],
)
def test_bad_input_is_one_line(project, cli, arguments, said):
    data = np.load(project / "data.npz")
    np.savez(project / "beyond.npz", x=data["x"], y=data["y"] + 5)
    np.savez(project / "narrow.npz", x=np.ones((20, 5), np.float32), y=data["y"][:20])
    before = sorted(project.rglob("*"))
    done = cli(*arguments)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err
    assert [p for p in sorted(project.rglob("*")) if "__pycache__" not in str(p)] == before


def test_an_interrupt_writes_nothing(project, cli, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(stations.qat, "fine_tune_quantised", interrupted)
    done = cli("stations", "digits_mlp", "--seeds", 1, "--precision", "int8", "--epochs", 1, "--out", "s.json")
    assert (done.code, (project / "s.json").exists()) == (130, False)


def test_every_option_of_a_conversion_reaches_the_stations():
    """Leak, rates, range of the inputs and encoding act at the float station as they do in the conversion itself."""
    options = {"model": "digits_mlp", "leak": "0.9", "target_rate": ["0.05", "0.2"], "mode": "rate", "unit_range": True,
               "encoding": "poisson", "seed": 3, "timesteps": [5]}  # fmt: skip
    settings = merge(options, read_config())
    (task,) = stations.tasks(settings, None)
    s = task.subject
    x = 2 * s.x - 1  # signed, which the map to [0, 1] undoes
    signed = replace(task, subject=replace(s, x=x, calibration=2 * s.calibration - 1), train_x=2 * task.train_x - 1)
    meant = convert(s.module, signed.subject.calibration, mode="rate", leak=0.9, target_rate=(0.05, 0.2), rate_steps=5,
                    unit_range=True, encoding="poisson", seed=3)  # fmt: skip
    found, entered = stations.converted(signed, settings)
    assert found.snn == meant.snn
    assert all(v.min() >= 0 and v.max() <= 1 for v in (entered.subject.x, entered.subject.calibration, entered.train_x))
    want = meant.classify(x, 5, encoding="poisson", seed=3)
    assert np.array_equal(stations.classes(found, entered, 5, settings), want)
    assert not np.array_equal(want, meant.classify(x, 5))  # the encoding matters
    recipe = qat.Recipe(epochs=1)
    *_, tuned, _ = stations.quantised(signed, Grid("int8"), "scales", 3, settings, recipe)
    assert (tuned.options["leak"], tuned.options["mode"]) == ("0.9", "rate")
    assert tuned.inputs is None  # what it takes has been mapped
