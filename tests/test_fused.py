"""The fused engine against the reference, network by network, and what it promises beside its bits."""

import os
import signal
import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from snnverify import reference
from snnverify.errors import ConfigError, Unsupported
from snnverify.kernels import encode
from snnverify.network import Branch, Conv, Cuba, Dense, Flatten, Layer, Network, Neuron, Pool, Scale, SigmaDelta
from snnverify.simulate import forget, run, simulate
from snnverify.trace import Case

fused = import_module("snnverify.simulate.fused")
layout = import_module("snnverify.simulate.layout")
IF = Neuron(v_init=0.5)


def dyadic(seed, *shape):
    return np.random.default_rng(seed).integers(-24, 40, shape) / 32


def conv(seed, *shape, **more):
    return Conv(dyadic(seed, *shape), **more)


def chain(shape, *layers):
    """Layers (name, op, act), each on the one before."""
    found, source = [], "input"
    for name, op, act in layers:
        found.append(Layer(name, (Branch(op, source),), act))
        source = name
    return Network(shape, tuple(found))


def behind_conv(*layers, channels=5, size=(6, 5)):
    axes = len(size)
    first = conv(1, channels, 2, *(3,) * axes, padding=((1, 1),) * axes)
    return chain((2, *size), ("first", first, IF), *layers)


P2 = ((1, 1), (1, 1))
SKIPPED = Network((2, 4, 4), (
    Layer("a", (Branch(conv(1, 18, 2, 3, 3, padding=P2)),), IF),
    Layer("b", (Branch(conv(2, 18, 18, 3, 3, padding=P2), "a"), Branch(Scale(0.5), "a")), IF),
    Layer("pa", (Branch(Pool("average", (2, 2)), "a"),)),
    Layer("c", (Branch(Pool("average", (2, 2)), "b"), Branch(Scale(np.arange(18) / 16), "pa"),
                Branch(conv(3, 18, 18, 1, 1), "pa")), IF),
    Layer("d", (Branch(conv(4, 18, 18, 2, 2), "c"), Branch(conv(5, 18, 2, 4, 4), "input")), IF),
))  # fmt: skip
NETS = {
    "dense": chain((7,), ("a", Dense(dyadic(1, 40, 7), dyadic(2, 40)), IF), ("b", Dense(dyadic(3, 3, 40)), IF)),
    "stride": behind_conv(("b", conv(2, 4, 5, 3, 3, stride=(2, 1), padding=((1, 0), (2, 1))), IF)),
    "dilation": behind_conv(("b", conv(2, 33, 5, 2, 3, dilation=(2, 2), stride=(1, 2)), IF)),
    "groups": behind_conv(("b", conv(2, 6, 2, 3, 2, groups=3), IF), channels=6),
    "five": behind_conv(("b", conv(2, 17, 5, 5, 5, padding=((2, 2), (2, 2))), IF)),
    "transposed": behind_conv(
        ("b", conv(2, 5, 3, 3, 3, transposed=True, stride=(2, 2), padding=P2, output_padding=(1, 0)), IF)),
    "transposed, groups": behind_conv(("b", conv(2, 6, 2, 2, 2, transposed=True, groups=2, stride=(2, 2)), IF), channels=6),
    "one axis": behind_conv(("b", conv(2, 7, 5, 3, stride=(2,), padding=((1, 1),)), IF), size=(9,)),
    "average, dense": behind_conv(
        ("p", Pool("average", (2, 2)), None), ("f", Flatten(), None), ("b", Dense(dyadic(3, 9, 30)), IF)),
    "average, padded": behind_conv(("p", Pool("average", (2, 2), padding=(1, 1)), None), ("b", conv(3, 4, 5, 2, 2), IF)),
    "sum of nine": behind_conv(("p", Pool("sum", (3, 3), (1, 1)), None), ("b", conv(3, 4, 5, 2, 2), IF)),
    "pools in a row": behind_conv(
        ("p", Pool("average", (2, 2), (1, 1)), None), ("q", Pool("average", (2, 2)), None), ("b", conv(3, 4, 5, 2, 2), IF)),
    "pool of neurons": behind_conv(("b", Pool("average", (2, 2)), IF)),
    "scaled": behind_conv(("s", Scale(np.arange(1, 6) / 8, 0.25), None), ("b", conv(3, 4, 5, 2, 2), IF)),
    "analog first": chain((2, 4, 4), ("p", Pool("average", (2, 2)), None), ("s", Scale(0.5, 0.25), None),
                          ("a", conv(1, 5, 2, 2, 2), IF), ("out", Flatten(), None), ("read", Dense(dyadic(2, 3, 5)), None)),
    "constant output": chain((3,), ("a", Dense(dyadic(1, 4, 3)), IF), ("out", Scale(), None)),
    "flatten one": behind_conv(("b", conv(2, 4, 5, 6, 5), IF), ("f", Flatten(), None), ("c", Dense(dyadic(3, 3, 4)), IF)),
    "skips": SKIPPED,
    "amplitudes": behind_conv(("b", conv(2, 4, 5, 3, 3), Neuron(amplitude=np.array([1, 0.5, 2, 0.25]))),
                              ("c", conv(3, 3, 4, 2, 2), IF)),
    "theta": behind_conv(("b", conv(2, 4, 5, 3, 3), Neuron(theta=np.array([1, 0.5, 2, 0.25]), fires=">"))),
}  # fmt: skip


def case_of(net, encoding="constant", dtype="float64", n=3, steps=7):
    x = np.random.default_rng(5).integers(0, 33, (n, *net.input_shape)) / 32
    if encoding != "constant":
        low, high = (0, 2) if encoding == "bits" else (-2, 3)
        x, encoding = np.random.default_rng(6).integers(low, high, (steps, *x.shape)) / (high - 1), "spikes"
    return Case(net, x, steps, encoding, dtype=dtype, kind="exact")


def assert_same(ours, exactly):
    for name in exactly.spikes:
        for part in ("spikes", "v", "v_peak", "v_end", "counts"):
            assert np.array_equal(getattr(ours, part)[name], getattr(exactly, part)[name]), (name, part)
    assert np.array_equal(ours.readout, exactly.readout)
    assert ours.events == exactly.events


@pytest.mark.parametrize("encoding", ["constant", "bits", "spikes"])
@pytest.mark.parametrize("name", NETS)
def test_every_layer_is_the_reference(name, encoding):
    case = case_of(NETS[name], encoding)
    exactly = reference.run(case)
    assert_same(run(case, "full", engine="fused"), exactly)
    assert sum(int(s.sum()) for s in exactly.spikes.values()) > 10


@pytest.mark.parametrize(
    ("shape", "seed", "first", "start", "stop", "dtype"),
    [((3, 7), 0, 0, 0, 5, float), ((2, 5, 3), 2**70 + 5, 10**6, 64, 130, "float32"), ((1, 1), 1, 2**40, 3, 9, float)],
)
def test_the_compiled_generator_is_numpys_philox(shape, seed, first, start, stop, dtype):
    x = np.random.default_rng(0).random(shape).astype(dtype) * (np.arange(np.prod(shape)).reshape(shape) % 5 > 0)
    drawn = encode.fastest()
    assert drawn is not encode.poisson
    assert np.array_equal(drawn(x, start, stop, seed, first), encode.poisson(x, start, stop, seed, first))
    assert drawn(x, start, stop, seed, first).any() or x.size == 1


def test_neurons_of_float32_beside_integer_ones_are_numpys():
    integers = Cuba(threshold=30, current_decay=1024, voltage_decay=512)
    net = chain((64,), ("a", Dense(dyadic(1, 70, 64)), IF), ("c", Dense(np.ones((33, 70))), integers))
    x = np.random.default_rng(0).integers(0, 33, (5, 64)) / 32
    with pytest.raises(
        Unsupported, match=r"a: the fused engine has no neurons of float32 beside integer ones.*float64"
    ):
        simulate(net, x, 9, engine="fused")
    for dtype in ("float32", "float64"):
        found = simulate(net, x, 9, dtype=dtype, record="full")
        assert_same(found, simulate(net, x, 9, dtype=dtype, record="full", engine="numpy"))
        assert found.counts["c"].sum() > 0


def test_poisson_input_is_the_encoders_train():
    net, x = NETS["average, dense"], np.random.default_rng(0).random((3, 2, 6, 5))
    train = encode.poisson(x, 0, 70, 4, 11)
    drawn = run(Case(net, x, 70, "poisson", 4, 11), "full", engine="fused")
    assert_same(drawn, run(Case(net, train.astype(float), 70, "spikes"), "full", engine="fused"))
    assert drawn.counts["b"].sum() > 0


@pytest.mark.parametrize("name", ["stride", "average, dense", "skips", "theta"])
def test_float32_with_and_without_16_bits(name, monkeypatch):
    case = case_of(NETS[name], dtype="float32")
    exactly = reference.run(case)
    for limit in (layout.EXACT_IN_16, -1):
        monkeypatch.setattr(layout, "EXACT_IN_16", limit)
        forget()
        assert_same(run(case, "full", engine="fused"), exactly)
    forget()


def test_sums_of_16_bits_are_taken_up_to_their_last_unit():
    for total, kind in ((2**15 - 1, np.int16), (2**15, np.float32)):
        weights = np.zeros((32, 3))
        weights[5] = [total - 2**14, 2**13 + 1, 2**13 - 1]
        net = chain((3,), ("in", Scale(), IF), ("out", Dense(weights / 4), Neuron(theta=1.0, reset="none")))
        stage = fused.plan_of(net, "constant", "float32")[-1]
        assert stage.last.synapses.weights.weight.dtype == kind
        trace = simulate(net, np.ones((1, 3)), 2, engine="fused")
        assert trace.v_end["out"][0, 5] == 2 * total / 4


def test_a_branch_of_16_bits_never_wraps_under_pooling():
    kernel = np.full((32, 1, 1, 1), 2**13 - 1.0)
    net = chain(
        (1, 2, 2), ("in", Scale(), IF), ("p", Pool("sum", (2, 2)), None), ("out", Conv(kernel), Neuron(reset="none"))
    )
    assert simulate(net, np.ones((1, 1, 2, 2)), 3, engine="fused").v_end["out"].max() == 3 * 4 * (2**13 - 1)


def test_windows_of_more_spikes_than_a_byte_counts():
    wide = chain(
        (1, 16, 17), ("in", Scale(), IF), ("p", Pool("sum", (16, 17)), None), ("out", Scale(), Neuron(reset="none"))
    )
    x = np.ones((1, 1, 16, 17))
    with pytest.raises(Unsupported, match="windows of 272 spikes"):
        simulate(wide, x, 3, engine="fused")
    assert simulate(wide, x, 3).v_end["out"] == 3 * 272
    summed = chain((1, 16, 17), ("in", Scale(), IF), ("p", Pool("sum", (16, 17)), None),
                   ("out", Conv(np.ones((1, 1, 1, 1))), Neuron(reset="none")))  # fmt: skip
    assert simulate(summed, x, 3, engine="fused").v_end["out"] == 3 * 272  # listed one by one


def test_what_is_handed_on_late_is_that_of_this_run():
    act = Cuba(1, axon_delay=np.array([0, 2]))
    net = chain((2,), ("a", Dense(np.eye(2) * 3), act), ("out", Dense(np.array([[1.0, 2.0]])), None))
    for seed in range(4):  # the worker of one run serves the next
        x = np.random.default_rng(seed).integers(0, 2, (9, 2, 2)).astype(float)
        case = Case(net, x, 9, "spikes", kind="integer")
        ours, exactly = run(case, "spikes", engine="fused"), reference.run(case)
        assert np.array_equal(ours.readout, exactly.readout)
    assert exactly.readout.any()


def test_integers_leave_32_bits_only_where_64_hold_them():
    for threshold, weight, steps in ((1, 1.0, 3), (2**17 - 1, -(2.0**23), 90)):
        act = Cuba(threshold, current_decay=0, voltage_decay=0, overflow="none")
        net = chain((1,), ("in", Dense(np.array([[1.0]])), Cuba(1)), ("out", Dense(np.array([[weight]])), act))
        case = Case(net, np.ones((steps, 1, 1)), steps, "spikes", kind="integer")
        numpy, fused_ = (run(case, "counts", engine=engine) for engine in ("numpy", "fused"))
        assert np.array_equal(numpy.v_end["out"], fused_.v_end["out"])
        assert numpy.events == fused_.events
    assert abs(numpy.v_end["out"]).max() > 2**31


def test_of_several_errors_the_first_part_s_is_raised_and_no_part_is_begun_after_it():
    parallel = import_module("snnverify.simulate.parallel")
    begun = []

    def work(part):
        begun.append(part.start)
        if part.start in (2, 3):
            raise ValueError(f"part {part.start}")
        return part

    parts = [slice(k, k + 1) for k in range(100)]
    for threads in (1, 2, 3):
        begun.clear()
        with pytest.raises(ValueError, match="part 2"):
            list(parallel.in_threads(work, parts, threads))
        assert max(begun) < 3 + threads
    assert sorted(p.start for p in parallel.in_threads(lambda part: part, parts, 3)) == list(range(100))


def test_what_the_kernels_do_not_hold_runs_in_numpy_or_is_refused():
    gate = chain((1, 4), ("in", Scale(), IF), ("p", Pool("gate", (2,)), None), ("out", Scale(), IF))
    burst = chain((3,), ("in", Scale(), Neuron(max_spikes=2)))
    delta = chain((3,), ("in", Scale(), SigmaDelta()))
    for net, what in ((gate, "gate Pool"), (burst, "max_spikes = 2"), (delta, "SigmaDelta")):
        x = np.ones((2, *net.input_shape))
        simulate(net, x, 3)
        with pytest.raises(Unsupported, match=what):
            simulate(net, x, 3, engine="fused")
    for bad in ({"engine": "fast"}, {"threads": 0}):
        with pytest.raises(ConfigError, match=r"fast|at least 1"):
            simulate(NETS["dense"], np.ones((1, 7)), 3, **bad)


def test_without_numba_numpy_serves():
    code = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None
import numpy as np
from snnverify import Branch, ConfigError, Dense, Layer, Network, Neuron, simulate
net = Network((2,), (Layer("a", (Branch(Dense(np.eye(2))),), Neuron()),))
print(simulate(net, np.ones((1, 2)), 3).counts["a"].tolist())
try:
    simulate(net, np.ones((1, 2)), 3, engine="fused")
except ConfigError as e:
    print(e)
"""
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "[[3, 3]]"
    assert lines[1].startswith("engine = 'fused': ")
    assert "pip install numba" in lines[1]


def test_bits_do_not_depend_on_threads_chunks_or_company(monkeypatch):
    net = NETS["skips"]
    rough = Network(net.input_shape, tuple(
        replace(v, branches=tuple(
            replace(b, op=replace(b.op, weight=b.op.weight * 1.1)) if isinstance(b.op, Conv) else b for b in v.branches
        )) for v in net.layers
    ))  # fmt: skip
    x = np.random.default_rng(0).random((9, *net.input_shape))
    whole = simulate(rough, x, 70, engine="fused", threads=1, record="spikes")
    for share, threads, rows in ((1, 1, slice(0, 9)), (2**30, 2, slice(0, 9)), (2**21, 3, slice(4, 7))):
        monkeypatch.setattr(fused, "SHARE", share)
        part = simulate(rough, x[rows], 70, engine="fused", threads=threads, record="spikes")
        assert np.array_equal(part.readout, whole.readout[:, rows])
        for name in whole.spikes:
            assert np.array_equal(part.spikes[name], whole.spikes[name][:, rows])
            assert np.array_equal(part.v_end[name], whole.v_end[name][rows])


def test_runs_beside_each_other_and_in_a_fork():
    net, x = NETS["average, dense"], np.random.default_rng(0).random((6, 2, 6, 5))
    alone = simulate(net, x, 9, engine="fused").readout
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: simulate(net, x, 9, engine="fused", threads=2).readout, range(12)):
            assert np.array_equal(found, alone)
    child = os.fork()
    if child == 0:
        os._exit(int(not np.array_equal(simulate(net, x, 9, engine="fused", threads=2).readout, alone)))
    watch = threading.Timer(60, os.kill, (child, signal.SIGKILL))
    watch.start()
    assert os.waitpid(child, 0)[1] == 0
    watch.cancel()


def test_potentials_that_are_kept_count_in_the_budget():
    net, x, budget = chain((3,), ("a", Dense(dyadic(1, 4096, 3)), IF)), dyadic(2, 16, 3), 2**23
    simulate(net, x, 64, engine="fused")  # the plan, and kernels, are no working arrays
    import_module("snnverify.simulate.worker")._idle.clear()
    tracemalloc.start()
    trace = simulate(net, x, 64, engine="fused", record="full", threads=1, memory=budget)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    recorded = sum(getattr(trace, part)["a"].nbytes for part in ("spikes", "v", "v_peak", "v_end", "counts"))
    assert recorded < peak < recorded + budget


def test_progress_adds_up():
    done = []
    simulate(NETS["dense"], np.ones((50, 7)), 3, engine="fused", memory=1, threads=2, progress=done.append)
    assert sum(done) == 50


def test_cuba_leaves_24_bits_in_the_step_that_the_numpy_engine_names():
    for act in (
        Cuba(2**17 - 1, bias=4000, overflow="refuse"),
        Cuba(2**17 - 1, current_decay=0, overflow="refuse", delay=3),
    ):
        net = chain((1,), ("in", Dense(np.array([[1.0]])), Cuba(1)), ("out", Dense(np.array([[2.0**13]])), act))
        said = []
        for engine in ("numpy", "fused"):
            with pytest.raises(Unsupported) as e:
                run(Case(net, np.ones((90, 1, 1)), 90, "spikes", kind="integer"), "counts", engine=engine)
            said.append(str(e.value))
        assert said[0] == said[1]
