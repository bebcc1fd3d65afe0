"""Max pooling as a gate on accumulated spikes, worked out by hand; neurons after average pooling."""

import numpy as np
import pytest
import torch
from torch import nn

from snnverify import convert, reference
from snnverify.activation import Neuron
from snnverify.convert.curves import predictions, side_by_side
from snnverify.errors import ConfigError, Unsupported
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.simulate import forward, run
from snnverify.trace import Case

pytestmark = pytest.mark.usefixtures("one_thread")
RELAY = Neuron()  # threshold 1: a spike for every spike


def gated(trains, *, kernel=2, stride=2, padding=0, amplitude=1.0):
    """Trains [T, L] of one channel through relays, a gate, and a linear read-out that adds up what comes through."""
    trains = np.asarray(trains, float)[:, None, None]
    network = Network(trains.shape[2:], (
        Layer("in", (Branch(Scale(1.0)),), Neuron(amplitude=amplitude)),
        Layer("gate", (Branch(Pool("gate", (kernel,), (stride,), (padding,)), "in"),)),
        Layer("out", (Branch(Scale(1.0), "gate"),)),
    ))  # fmt: skip
    return Case(network, trains, len(trains), "spikes", kind="exact")


def handed_on(case, subject=run, **options):
    """What the gate hands on in each step, [T, L']."""
    trace = subject(case, readout_at=range(1, case.steps + 1), **options)
    return np.diff(trace.readout[:, 0, 0], axis=0, prepend=0.0)


@pytest.mark.parametrize("subject", [run, reference.run])
@pytest.mark.parametrize(
    ("left", "right", "passed"),
    [
        ("1010", "0101", "1010"),  # in turns, the left one first: it keeps the gate at every tie
        ("0101", "1010", "1010"),  # the right one first: the tie rule is not the index
        ("1111", "0101", "1111"),  # one dominates
        ("0101", "1111", "1111"),
        ("1000", "0111", "1011"),  # overtaken: level at t = 2 does not pass, ahead at t = 3 does
        ("1100", "1100", "1100"),  # always level
        ("0000", "0000", "0000"),
    ],
)
def test_the_gate_by_hand(subject, left, right, passed):
    trains = [[int(a), int(b)] for a, b in zip(left, right, strict=True)]
    assert handed_on(gated(trains), subject)[:, 0].tolist() == [int(k) for k in passed]


def test_an_amplitude_that_is_no_binary_fraction_is_handed_on_as_it_is():
    trains = np.random.default_rng(0).integers(0, 2, (300, 4))
    case = gated(trains, amplitude=0.1)
    for dtype in ("float32", "float64"):
        out = handed_on(Case(case.network, case.x, case.steps, "spikes", dtype=dtype))
        assert np.allclose(out, np.where(out > 0.05, 0.1, 0.0), rtol=0, atol=1e-6)
        counts = np.maximum(trains.sum(0)[::2], trains.sum(0)[1::2])
        assert np.array_equal((out > 0.05).sum(0), counts)


def test_windows_overlap_and_padding_never_wins():
    trains = [[1, 0, 0], [0, 0, 1], [0, 1, 1]]
    # windows: (pad, 0), (0, 1), (1, 2), (2, pad); increments of the greatest count so far
    expected = [[1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    for subject in (run, reference.run):
        assert handed_on(gated(trains, stride=1, padding=1), subject).tolist() == expected


@pytest.mark.parametrize("memory", [1, 4000, 2**26])
def test_blocks_of_steps_and_tiles_of_samples_change_nothing(memory):
    x = np.random.default_rng(1).integers(0, 2, (40, 3, 2, 6)).astype(float)
    gate = Layer("gate", (Branch(Pool("gate", (2,)), "in"), Branch(Scale(-0.5), "skip")), Neuron(theta=0.75))
    network = Network((2, 6), (
        Layer("in", (Branch(Scale(1.0)),), RELAY),
        Layer("skip", (Branch(Conv(np.ones((2, 2, 2)), stride=(2,)), "in"),)), gate,
    ))  # fmt: skip
    case = Case(network, x, 40, "spikes")
    ours, exactly = run(case, memory=memory), reference.run(case)
    for name in exactly.spikes:
        assert np.array_equal(ours.spikes[name], exactly.spikes[name])
        assert np.array_equal(ours.v[name], exactly.v[name])
    assert ours.events == exactly.events


def test_operations_of_a_gate_and_of_what_follows_it_by_hand():
    case = gated([[1, 1, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0]])
    flat = Layer("flat", (Branch(Flatten(), "gate"),))
    out = Layer("out", (Branch(Dense(np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]])), "flat"),))
    network = Network(case.network.input_shape, (*case.network.layers[:2], flat, out))
    for subject in (run, reference.run):
        events = subject(Case(network, case.x, 3, "spikes")).events
        assert events["in"]["spikes"] == 5
        assert events["gate"]["synaptic_operations"] == 5  # every spike goes into one window
        # counts (2, 2) and (0, 1): two spikes to three units, one to one
        assert [events[k]["synaptic_operations"] for k in ("flat", "out")] == [0, 2 * 3 + 1]
        assert events["gate"]["neuron_updates"] == 0


def test_over_one_step_and_of_constants_it_is_the_maximum():
    ann = Network(
        (1, 4), (Layer("pool", (Branch(Pool("gate", (2,))),)), Layer("relu", (Branch(Scale(1.0), "pool"),), RELAY))
    )
    x = np.array([[[0.25, -1.0, -0.5, -0.75]]])
    analog = Network((1, 4), ann.layers[:1])
    assert forward(analog, x)["pool"].tolist() == [[[0.25, -0.5]]]
    assert reference.forward(analog, x)["pool"].tolist() == [[[0.25, -0.5]]]
    assert run(Case(ann, x, 8)).counts["relu"].tolist() == [[[2, 0]]]  # 8 steps of 1/4


def model():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(6, 3),
    ).eval()  # fmt: skip


X = np.random.default_rng(2).uniform(size=(24, 1, 8, 8)).astype(np.float32)


def test_refused_unless_asked_for():
    with pytest.raises(Unsupported, match=r"2: max pooling has no spiking form; .*maxpool='gate'"):
        convert(model(), X)
    with pytest.raises(ConfigError, match=r"maxpool = 'spikes': one of refuse, gate"):
        convert(model(), X, maxpool="spikes")


@pytest.mark.parametrize("form", ["normalise", "balance"])
def test_gated_network_approaches_the_ann(form):
    converted = convert(model(), X, mode="max", maxpool="gate", form=form)
    kinds = [b.op.kind for v in converted.snn.layers for b in v.branches if isinstance(b.op, Pool)]
    assert kinds == ["gate", "average"]
    with torch.no_grad():
        wanted = model()(torch.from_numpy(X)).numpy()
    errors = [np.abs(converted.run(X, steps) - wanted).max() for steps in (8, 512)]
    assert errors[1] < errors[0] / 8
    assert errors[1] < 0.02 * np.abs(wanted).max()
    assert converted.options["maxpool"] == "gate"


def test_the_rate_behind_a_gate_is_the_greatest_rate_before_it():
    converted = convert(model(), X, mode="max", maxpool="gate")
    case = Case(converted.snn, X, 33, dtype="float32")
    trace = run(case, "spikes")
    before = trace.spikes["1"].sum(0).reshape(24, 4, 3, 2, 3, 2).max((3, 5))
    gate = run(Case(Network(converted.snn.input_shape, converted.snn.layers[:2]), X, 33, dtype="float32"))
    assert np.array_equal(gate.readout[-1], before)


def test_with_a_head_start_the_unit_that_is_greatest_in_the_ann_holds_the_gate():
    case = gated([[1, 0], [1, 0], [0, 1], [0, 1], [0, 1]])
    first = run(case, readout_at=range(1, 6), head_start={"in": np.array([[[0.0, 100.0]]])}).readout
    assert np.diff(first[:, 0, 0, 0], prepend=0).tolist() == [0, 0, 1, 1, 1]
    converted = convert(model(), X, mode="max", maxpool="gate")
    rows, ideal = next(predictions(converted, X, (1, 64), ideal=True))
    _, real = next(predictions(converted, X, (1, 64)))
    assert rows == slice(0, 24)
    assert ideal.shape == real.shape == (2, 24)
    with torch.no_grad():
        classes = model()(torch.from_numpy(X)).argmax(1).numpy()
    assert np.mean(ideal[1] == classes) > 0.9


def test_neurons_after_average_pooling():
    plain, pooled = (convert(model(), X, mode="max", maxpool="gate", pool_neurons=k) for k in (False, True))
    assert [v.name for v in plain.snn.spiking] == ["1", "4"]
    assert [v.name for v in pooled.snn.spiking] == ["1", "4", "5"]
    a, b = (forward(c.ann, X) for c in (plain, pooled))
    assert all(np.array_equal(a[name], b[name]) for name in a)
    assert pooled.scales["5"] == np.float32(a["5"].max())
    assert np.abs(pooled.run(X, 1024) - plain.run(X, 1024)).max() < 0.01
    bare = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with pytest.raises(Unsupported, match="no average pooling of rectified values"):  # the input may be negative
        convert(bare, X, pool_neurons=True)


def test_side_by_side_names_what_each_option_cost():
    def make(**other):
        return convert(model(), X, **({"maxpool": "gate", "pool_neurons": True} | other))

    labels = np.arange(24) % 3
    found = side_by_side(make, make(), X, labels, (4, 8))
    assert [(c.compared, c.name, c.steps) for c in found] == [
        ("maxpool", "ideal max", (4, 8)), ("pool_neurons", "without pool neurons", (4, 8)),
    ]  # fmt: skip
    without = make(pool_neurons=False)
    expected = tuple(int((without.classify(X, T) == labels).sum()) for T in (4, 8))
    assert found[1].right == expected
    assert found[1].samples == 24
    plain = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    assert side_by_side(make, convert(plain, X), X, labels, (4,)) == ()
