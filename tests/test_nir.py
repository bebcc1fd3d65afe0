"""NIR exchange: what a graph means as steps, what a file may not do, and what is told to be lost."""

import math
from dataclasses import fields, replace
from fractions import Fraction
from itertools import pairwise

import h5py
import nir
import numpy as np
import pytest
import torch

from snnverify.activation import Neuron, Relu
from snnverify.errors import CodecError, ConfigError, NetworkError, Unsupported
from snnverify.exchange import PRESETS, Semantics, from_nir, importer_table, read_nir, semantics_of, to_nir, write_nir
from snnverify.exchange.nir_semantics import LEGAL
from snnverify.network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.oracles import Oracle
from snnverify.simulate import simulate

GIVEN = {
    "dt": 0.25, "method": "euler", "drive": "held", "fires": ">=", "reset": "value", "reset_delay": 0, "v_init": 0.0,
    "max_spikes": 1, "v_floor": None, "order": "leak-integrate", "syn_order": "decay-add", "delay": 0,
    "count_include_pad": True,
}  # fmt: skip
ONE = np.ones(1)


def semantics(**changes):
    return Semantics(**(GIVEN | changes))


def graph(*named, shape=(1,), out=None, edges=None):
    """A chain of the named nodes between an Input and an Output, or with these edges."""
    names = [INPUT, *(name for name, _ in named), "output"]
    nodes = {INPUT: nir.Input(np.array(shape)), **dict(named), "output": nir.Output(np.array(out or shape))}
    return nir.NIRGraph(nodes, edges or list(pairwise(names)), type_check=False)


def lif(**changes):
    base = {"tau": ONE, "r": ONE, "v_leak": 0 * ONE, "v_threshold": ONE, "v_reset": 0 * ONE}
    return nir.LIF(**(base | changes))


def integrate(n=1, **changes):
    base = {"r": np.full(n, 4.0), "v_threshold": np.ones(n), "v_reset": np.zeros(n)}
    return nir.IF(**(base | changes))


def trace(g, x, s=None):
    return simulate(
        from_nir(g, semantics=s or semantics()), x, len(x), encoding="spikes", dtype="float64", record="full"
    )


def euler_by_hand(x, *, dt, tau, r, v_leak, theta, v_reset, tau_syn=None, w_in=1):
    """NIR's equations by forward Euler, in fractions: (spikes, potentials before the reset)."""
    v = i = Fraction(0)
    spikes, peaks = [], []
    for drive in map(Fraction, x):
        i = i + Fraction(dt) / Fraction(tau_syn) * (w_in * drive - i) if tau_syn else drive
        v = v + Fraction(dt) / Fraction(tau) * (Fraction(v_leak) - v + Fraction(r) * i)
        peaks.append(float(v))
        spikes.append(int(v >= Fraction(theta)))
        v = Fraction(v_reset) if spikes[-1] else v
    return spikes, peaks


DRIVE = [1, 0.5, 1.5, 2, -0.5, 3, 3, 0, 1, 1]


@pytest.mark.parametrize(("r", "v_leak", "v_reset"), [(1, 0, 0), (3, 0.25, -0.5), (4, -0.5, 0.25)])
def test_lif_is_its_equation_by_forward_euler(r, v_leak, v_reset):
    node = lif(r=r * ONE, v_leak=v_leak * ONE, v_reset=v_reset * ONE)
    t = trace(graph(("n", node)), np.reshape(DRIVE, (-1, 1, 1)))
    s, peaks = euler_by_hand(DRIVE, dt=0.25, tau=1, r=r, v_leak=v_leak, theta=1, v_reset=v_reset)
    assert t.spikes["n"].ravel().tolist() == s
    assert any(s)
    assert t.v_peak["n"].ravel().tolist() == peaks


def test_cubalif_is_its_equations_by_forward_euler():
    node = nir.CubaLIF(tau_syn=0.5 * ONE, tau_mem=ONE, r=3 * ONE, v_leak=0.25 * ONE, v_threshold=ONE, w_in=2 * ONE)
    t = trace(graph(("n", node)), np.reshape(DRIVE, (-1, 1, 1)))
    s, peaks = euler_by_hand(DRIVE, dt=0.25, tau=1, r=3, v_leak=0.25, theta=1, v_reset=0, tau_syn=0.5, w_in=2)
    assert t.spikes["n"].ravel().tolist() == s
    assert sum(s) > 1
    assert t.v_peak["n"].ravel().tolist() == peaks


def test_if_integrates_r_dt_where_held_and_r_where_unit():
    x = np.full((3, 1, 1), 0.125)
    held, unit = (trace(graph(("n", integrate())), x, semantics(drive=d)).v_peak["n"].ravel() for d in ("held", "unit"))
    assert held.tolist() == [0.125, 0.25, 0.375]  # 4 x 0.25 x 0.125
    assert unit.tolist() == [0.5, 1.0, 0.5]  # 4 x 0.125, and a spike at 1


def test_exponential_decay():
    network = from_nir(graph(("n", lif(tau=2 * ONE))), semantics=semantics(method="exponential"))
    assert network["n"].act.leak == math.exp(-0.125)


def test_threshold_has_no_memory():
    x = np.reshape([0.5, 0.75, 0.25, 1], (-1, 1, 1))
    assert trace(graph(("n", nir.Threshold(0.75 * ONE))), x).spikes["n"].ravel().tolist() == [0, 1, 0, 1]
    assert trace(graph(("n", nir.Threshold(0.75 * ONE))), x, semantics(fires=">")).spikes["n"].ravel().tolist() == [
        0,
        0,
        0,
        1,
    ]


@pytest.mark.parametrize("where", ["before", "behind"])
def test_delay_of_one_step(where):
    w, d = ("w", nir.Linear(2 * np.ones((1, 1)))), ("d", nir.Delay(0.25 * ONE))
    g = graph(*((d, w) if where == "before" else (w, d)), ("n", integrate()))
    assert trace(g, np.reshape([0.5, 0, 0.5, 0], (-1, 1, 1))).spikes["n"].ravel().tolist() == [0, 1, 0, 1]


def test_convolution_options_against_torch():
    rng = np.random.default_rng(0)
    for padding, stride, groups in (("same", 1, 1), ("valid", 2, 2), ((1, 0), (1, 2), 1)):
        weight, bias = rng.integers(-4, 5, (4, 4 // groups, 2, 3)) / 4, rng.integers(-4, 5, 4) / 4
        node = nir.Conv2d((5, 6), weight, stride, padding, 1, groups, bias)
        network = from_nir(graph(("c", node), shape=(4, 5, 6)), semantics=semantics())
        x = rng.integers(0, 5, (1, 2, 4, 5, 6)) / 4
        ours = simulate(network, x, 1, encoding="spikes", dtype="float64").readout[0]
        theirs = torch.nn.functional.conv2d(*map(torch.tensor, (x[0], weight, bias)), stride, padding, 1, groups)
        assert np.array_equal(ours, theirs.numpy())


def test_sums_subgraphs_and_scales():
    inner = graph(("w", nir.Affine(2 * np.ones((1, 1)), ONE)))
    nodes = [("sub", inner), ("skip", nir.Scale(4 * ONE)), ("n", integrate(v_threshold=100 * ONE))]
    edges = [(INPUT, "sub"), (INPUT, "skip"), ("sub", "n"), ("skip", "n"), (INPUT, "n"), ("n", "output")]
    t = trace(graph(*nodes, edges=edges), np.full((1, 1, 1), 0.5))
    assert t.v_peak["n"].ravel().tolist() == [2 * 0.5 + 1 + 4 * 0.5 + 0.5]


def test_parameters_per_channel_and_per_unit():
    theta = np.array([[1.0, 1.0], [2.0, 2.0]])
    two = {"r": np.full((2, 2), 4.0), "v_reset": np.zeros((2, 2))}
    network = from_nir(graph(("n", nir.IF(v_threshold=theta, **two)), shape=(2, 2)), semantics=semantics())
    assert network["n"].act.theta.tolist() == [1, 2]
    theta[0, 1] = 3
    with pytest.raises(Unsupported, match=r"n: v_threshold differs from unit to unit within a channel \(1 to 3\)"):
        from_nir(graph(("n", nir.IF(v_threshold=theta, **two)), shape=(2, 2)), semantics=semantics())


def test_every_field_of_semantics_is_required_and_named():
    for f in fields(Semantics):
        with pytest.raises(ConfigError, match=f"semantics: {f.name} is missing"):
            Semantics(**{k: v for k, v in GIVEN.items() if k != f.name})
    with pytest.raises(ConfigError, match=r"fires = '=>'; one of '>=', '>'"):
        semantics(fires="=>")
    for bad in ({"dt": 0}, {"dt": "1"}, {"max_spikes": 0}, {"v_floor": "v"}, {"v_init": float("nan")}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            semantics(**bad)
    assert set(LEGAL) == set(GIVEN)
    with pytest.raises(ConfigError, match="a Semantics, or a mapping"):
        from_nir(graph(("n", integrate())), semantics=None)


A = nir.Affine(np.eye(1), ONE)
REFUSED = {
    "n: LI integrates": graph(("n", nir.LI(ONE, ONE, ONE))),
    "n: I integrates": graph(("n", nir.I(ONE))),
    "n: CubaLI integrates": graph(("n", nir.CubaLI(ONE, ONE, ONE, ONE))),
    "recurrent connections n -> w -> n|recurrent connections w -> n -> w": graph(
        ("n", integrate()), ("w", A), edges=[(INPUT, "n"), ("n", "w"), ("w", "n"), ("n", "output")]
    ),
    "d: a delay of 0.75 is 3 steps": graph(("d", nir.Delay(0.75 * ONE)), ("n", integrate())),
    "w: its inputs come .* its bias does not": graph(("d", nir.Delay(0.25 * ONE)), ("w", A), ("n", integrate())),
    "n: its inputs come": graph(
        ("d", nir.Delay(0.25 * ONE)), ("n", integrate()), edges=[(INPUT, "d"), ("d", "n"), (INPUT, "n"), ("n", "output")]
    ),
    "n: tau = 0.125 is shorter than dt": graph(("n", lif(tau=0.125 * ONE))),
    "n: tau = 0 is no time constant": graph(("n", lif(tau=0 * ONE))),
    "n: v_threshold = 0": graph(("n", integrate(v_threshold=0 * ONE))),
    "n: v_reset differs": graph(("n", integrate(2, v_reset=np.array([0.0, 1.0]))), shape=(2,)),
    "f: Flatten from axis 1 to -1": graph(("f", nir.Flatten({"input": np.array([2, 2, 2])}, 1, -1)), shape=(2, 2, 2)),
    "dead: this Affine feeds nothing": graph(
        ("n", integrate()), ("dead", A), edges=[(INPUT, "n"), (INPUT, "dead"), ("n", "output")]
    ),
    "lost: nothing feeds": graph(
        ("n", integrate()), ("lost", A), edges=[(INPUT, "n"), ("lost", "n"), ("n", "output")]
    ),
    "it has 2 Input nodes": graph(("other", nir.Input(np.array([1]))), ("n", integrate())),
    "c: padding 'same' with stride": graph(
        ("c", nir.Conv1d(4, np.ones((1, 1, 2)), 2, "same", 1, 1, ONE)), shape=(1, 4)
    ),
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_refused_by_name(said):
    with pytest.raises(Unsupported, match=said):
        from_nir(REFUSED[said], semantics=semantics())


def test_malformed_graphs():
    with pytest.raises(CodecError, match="there is no node 'ghost'"):
        from_nir(graph(("n", integrate()), edges=[(INPUT, "ghost")]), semantics=semantics())
    with pytest.raises(CodecError, match="it is there twice"):
        from_nir(graph(("n", integrate()), edges=[(INPUT, "n"), (INPUT, "n"), ("n", "output")]), semantics=semantics())
    with pytest.raises(CodecError, match=r"w: weight = .*finite numbers"):
        from_nir(graph(("w", nir.Linear(np.full((1, 1), np.nan)))), semantics=semantics())
    with pytest.raises(NetworkError, match="node 'w'"):
        from_nir(graph(("w", nir.Linear(np.ones((1, 3))))), semantics=semantics())


def damaged(path, how):
    write_nir(graph(("n", integrate())), path)
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "pickle":
        path.write_bytes(b"\x80\x04cos\nsystem\n(S'exit 1'\ntR.")
    else:
        with h5py.File(path, "a") as f:
            node = f["node/nodes/n"]
            if how == "external link":
                node["r2"] = h5py.ExternalLink("/etc/passwd", "/")
            elif how == "soft link":
                node["r2"] = h5py.SoftLink("/node")
            elif how == "cycle":
                node["again"] = f["node"]
            elif how == "bomb":
                node.create_dataset("r2", shape=(2**40,), dtype="f8", chunks=(2**20,), compression="gzip")
            elif how == "unknown type":
                del node["type"]
                node["type"] = "Lambda"
            elif how == "missing field":
                del node["r"]
            elif how == "no root":
                del f["node"]
            elif how == "strings for numbers":
                del node["r"]
                node["r"] = "1.0"
    return path


@pytest.mark.parametrize(
    "how",
    ["truncated", "empty", "pickle", "external link", "soft link", "cycle", "bomb", "unknown type", "missing field",
     "no root", "strings for numbers"],
)  # fmt: skip
def test_hostile_files_give_one_clear_line(tmp_path, how):
    with pytest.raises(CodecError) as caught:
        from_nir(damaged(tmp_path / "bad.nir", how), semantics=semantics())
    assert "\n" not in str(caught.value)


def test_a_graph_that_cannot_be_written_leaves_no_file(tmp_path):
    with pytest.raises(CodecError, match="graph: nir cannot write it"):
        write_nir(graph(("f", nir.Flatten(None, 0, -1))), tmp_path / "half.nir")
    assert list(tmp_path.iterdir()) == []


def test_missing_file():
    with pytest.raises(CodecError, match=r"nowhere\.nir: no such file"):
        read_nir("nowhere.nir")


def test_everything_that_is_lost_is_said():
    axes = {
        "fires": ">=", "reset": "subtract", "reset_delay": 1, "v_init": 0.5, "max_spikes": None, "v_floor": -1.0,
        "leak": 0.5, "order": "integrate-leak", "syn_decay": 0.5, "syn_order": "add-decay", "amplitude": 2.0,
    }  # fmt: skip
    network = Network((1,), (Layer("n", (Branch(Dense(np.eye(1))),), Neuron(**axes)),))
    text = "\n".join(to_nir(network, dt=1.0)[1])
    for word in ("dt = 1", ">= theta", "'subtract'", "1 step late", "starts at 0.5", "None: any", "above -1.0",
                 "leak acts on the input", "decays after", "worth 2.0"):  # fmt: skip
        assert word in text
    bare = Neuron(fires=">", reset="value", leak=0.5)
    assert len(to_nir(replace(network, layers=(replace(network.layers[0], act=bare),)), dt=1.0)[1]) == 1


def test_round_trip_of_all_nodes_through_a_file(tmp_path):
    rng = np.random.default_rng(1)
    act = Neuron(0.5, fires=">", reset="value", v_reset=-0.25, leak=0.75, v_rest=0.25, amplitude=0.5, v_init=0.125)
    layers = (
        Layer("conv.1", (Branch(Conv(rng.integers(-4, 5, (2, 1, 2, 2)) / 4, groups=2, padding=((1, 1), (1, 1)))),), act),
        Layer("pool", (Branch(Pool("sum", (2, 2)), "conv.1"),)),
        Layer("late", (Branch(Scale(np.array([1.0, 0.5]), np.array([0.25, 0.0])), "pool"),), replace(act, delay=1)),
        Layer("flat", (Branch(Flatten(), "late"),)),
        Layer("sum", (Branch(Dense(rng.integers(-4, 5, (3, 8)) / 4), "flat"), Branch(Dense(np.ones((3, 8))), "flat")),
              replace(act, syn_decay=0.5)),
        Layer("out", (Branch(Scale(1.0), "sum"), Branch(Dense(np.eye(3), np.ones(3)), "sum"))),
    )  # fmt: skip
    network = Network((2, 3, 3), layers)
    g, losses = to_nir(network, dt=0.125)
    path = write_nir(g, tmp_path / "deep" / "network.nir")
    assert [p.name for p in path.parent.iterdir()] == ["network.nir"]
    given = semantics_of(network, dt=0.125)
    back = from_nir(path, semantics={k.replace(".", "_"): s for k, s in given.items()})
    x = rng.integers(0, 5, (8, 2, 2, 3, 3)) / 4
    a, b = (simulate(n, x, 8, encoding="spikes", dtype="float64", record="spikes") for n in (network, back))
    assert np.array_equal(a.readout, b.readout)
    assert all(np.array_equal(s, b.spikes[k.replace(".", "_")]) for k, s in a.spikes.items())
    assert all(s.any() for s in a.spikes.values())
    assert not any("comes back" in line for line in losses)


@pytest.mark.parametrize(("layer", "said"), [
    (Layer("a", (Branch(Scale(1.0)),), Relu()), "no node for Relu"),
    (Layer("a", (Branch(Conv(np.ones((2, 1, 2)), transposed=True)),)), "no transposed convolution"),
    (Layer("a", (Branch(Conv(np.ones((1, 2, 2)), padding=((1, 0),))),)), "pads both sides alike"),
    (Layer("a", (Branch(Pool("sum", (2,))),)), "no sum pooling over 1 axes"),
    (Layer("a", (Branch(Scale(1.0)),), Neuron(syn_decay=0.5)), "without a leak"),
])  # fmt: skip
def test_what_nir_cannot_hold_is_refused(layer, said):
    with pytest.raises(Unsupported, match=f"a: .*{said}"):
        to_nir(Network((2, 4), (layer,)), dt=1.0)


def test_importer_table_groups_equal_trains():
    g = graph(("fc", A), ("n", integrate(r=1e4 * ONE)))
    data = np.zeros((4, 1, 1))

    def says(*train):
        return {"nir_run": lambda _graph, x: {"n": np.reshape(train, (4, 1, 1))}}

    ties = (1, 0, 1, 0)  # fc adds 1: at > NIR's equation spikes in steps 2 and 4
    oracles = (
        Oracle("snnverify", "1", operators=says(0, 1, 0, 1)), Oracle("spikingjelly", "2", operators=says(*ties)),
        Oracle("b", "2", operators=says(0, 1, 0, 1)), Oracle("deaf", "0"),
        Oracle("spikingjelly", "3", operators=says(1, 1, 1, 1)),
    )  # fmt: skip
    rows = importer_table(g, data, oracles)
    assert [(r.importer, r.spikes, r.group, r.documented_differ) for r in rows] == [
        ("snnverify", 2, 0, 0), ("spikingjelly", 2, 1, 2), ("b", 2, 0, -1), ("deaf", -1, -1, -1), ("spikingjelly", 4, 2, 0)
    ]  # fmt: skip
    assert rows[0].train == (0, 1, 0, 1)
    assert "nir_run" in rows[3].refusal


def test_presets_speak_of_nodes_that_exist():
    assert all(hasattr(nir, kind) for kinds in PRESETS.values() for kind in kinds)
