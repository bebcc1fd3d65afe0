"""The simulator against the exact reference and hand-made laws; its memory, tiles, blocks and refusals."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from snnverify import reference
from snnverify.activation import Act, ClipFloor, Neuron, Relu
from snnverify.errors import ConfigError, DataError, NetworkError, SnnverifyError, Unsupported
from snnverify.network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.simulate import forward, run, simulate
from snnverify.trace import Case, Trace

MIB = 2**20


def dyadic(seed: int, *shape: int) -> np.ndarray:
    """k/8 with |k| <= 16: sums of a few thousand products are exact in float64, and in float32 far beyond what is used."""
    return np.random.default_rng(seed).integers(-16, 17, shape) / 8


def one(act: Act, weight: float = 1.0) -> Network:
    return Network((1,), (Layer("n", (Branch(Scale(weight)),), act),))


def deep() -> Network:
    """Convolutions, a skip, pooling, constant and spiking branches, and every axis of the dynamics that needs state."""
    pad = ((1, 1), (1, 1))
    return Network((2, 4, 4), (
        Layer("a", (Branch(Conv(dyadic(1, 3, 2, 3, 3), dyadic(2, 3), padding=pad)),),
              Neuron(theta=np.array([4.0, 2.0, 8.0]), v_init=np.array([2.0, 1.0, 4.0]))),
        Layer("b", (Branch(Conv(dyadic(3, 3, 3, 3, 3), padding=pad), "a"), Branch(Scale(0.5), "a"),
                    Branch(Conv(dyadic(4, 3, 2, 1, 1)), INPUT)),
              Neuron(theta=3.0, amplitude=0.5, reset="value", max_spikes=3, syn_decay=0.5, reset_delay=1)),
        Layer("pool", (Branch(Pool("average", (2, 2)), "b"),)),
        Layer("flat", (Branch(Flatten(), "pool"),)),
        Layer("out", (Branch(Dense(dyadic(5, 4, 12)), "flat"),), Neuron(theta=1.5, fires=">", v_floor=-2.0)),
    ))  # fmt: skip


def test_forward_equals_hand_values_and_refuses_spikes() -> None:
    # theta 3, L 2, shift 0: steps of 1.5; a ReLU in front cuts the negatives.
    acts = Network((4,), (Layer("r", (Branch(Scale()),), Relu()),
                          Layer("q", (Branch(Scale(), "r"),), ClipFloor(2, 3.0, 0.0))))  # fmt: skip
    found = forward(acts, [[-1, 1, 2, 9]])
    assert {k: v.tolist() for k, v in found.items()} == {"r": [[0, 1, 2, 9]], "q": [[0, 0, 1.5, 3]]}
    with pytest.raises(Unsupported, match="n: Neuron has no analog value"):
        forward(one(Neuron()), [[1.0]])
    with pytest.raises(NetworkError, match=r"x of shape \(1, 2\)"):
        forward(one(Relu()), [[1.0, 2]])


# ----------------------------------------------------------------------------------------------- tiles, blocks, T, N


def assert_same(a: Trace, b: Trace) -> None:
    assert a.readout_at == b.readout_at
    np.testing.assert_array_equal(a.readout, b.readout)
    for field in ("counts", "v_end", "spikes", "v", "v_peak"):
        left, right = getattr(a, field), getattr(b, field)
        assert left.keys() == right.keys()
        for name in left:
            np.testing.assert_array_equal(left[name], right[name], err_msg=f"{field} of {name}")
    assert a.events == b.events


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("encoding", ["constant", "spikes"])
def test_every_tile_and_block_gives_what_the_exact_reference_says(encoding: str, dtype: str) -> None:
    steps, samples = 7, 3
    x = dyadic(20, samples, 2, 4, 4) if encoding == "constant" else dyadic(20, steps, samples, 2, 4, 4)
    case = Case(deep(), x, steps, encoding, dtype=dtype)  # type: ignore[arg-type]
    exact = reference.run(case, readout_at=(2, 3, 7))
    assert all(len(np.unique(s)) > 1 for s in exact.spikes.values())  # neither silent nor saturated
    assert exact.spikes["b"].max() > 1
    for memory in (1, 6_000, 20_000, 60_000, 10**9):  # from one sample and step at a time to all at once
        assert_same(run(case, "full", readout_at=(2, 3), memory=memory), exact)


def test_checkpoints_equal_separate_runs_also_within_a_block() -> None:
    x, marks = dyadic(21, 2, 2, 4, 4), (1, 3, 4, 9)
    for memory in (1, 15_000, 10**9):
        together = simulate(deep(), x, 9, readout_at=[4, 1, 3, 3], memory=memory)
        assert together.readout_at == marks
        for r, t in enumerate(marks):
            np.testing.assert_array_equal(together.readout[r], simulate(deep(), x, t).readout[-1])


def test_an_analog_output_adds_up_its_values() -> None:
    net = Network(
        (1,),
        (
            Layer("n", (Branch(Scale()),), Neuron()),
            Layer("o", (Branch(Scale(2.0, np.array(0.5)), "n"),)),
        ),
    )
    trace = simulate(net, [[0.25], [1.0]], 8, readout_at=range(1, 9))  # fires in steps 4 and 8; in every step
    expected = [[0.5 * t + 2 * (t // 4), 2.5 * t] for t in range(1, 9)]
    np.testing.assert_array_equal(trace.readout[:, :, 0], expected)
    constant = Network((1,), (Layer("o", (Branch(Scale(2.0, np.array(0.5))),)),))
    for memory in (1, 10**9):
        trace = simulate(constant, [[0.25]], 8, readout_at=[3], memory=memory)
        assert trace.readout.ravel().tolist() == [3, 8]


def test_constant_input_equals_the_same_input_given_step_by_step() -> None:
    x = dyadic(22, 3, 2, 4, 4)
    train = np.repeat(x[None], 9, 0)
    for memory in (1, 15_000, 10**9):
        a = simulate(deep(), x, 9, record="full", readout_at=[5], memory=memory)
        assert_same(a, simulate(deep(), train, 9, encoding="spikes", record="full", readout_at=[5], memory=memory))


def test_a_single_step() -> None:
    trace = simulate(one(Neuron(v_init=0.5)), [[0.25], [0.5], [-3]], 1, record="full")
    assert trace.spikes["n"].tolist() == [[[0], [1], [0]]]
    assert trace.v["n"].ravel().tolist() == trace.v_end["n"].ravel().tolist() == [0.75, 0, -2.5]
    assert trace.v_peak["n"].ravel().tolist() == [0.75, 1, -2.5]
    assert (trace.steps, trace.readout.ravel().tolist()) == (1, [0, 1, 0])


def test_float32_and_float64_part_where_rounding_decides() -> None:
    """Ten float32 tenths add up to 1.0000001, ten float64 tenths to 0.9999999999999999."""
    single, double = (simulate(one(Neuron()), [[0.1]], 10, dtype=d, record="full") for d in ("float32", "float64"))
    assert (single.v["n"].dtype, double.v["n"].dtype, double.v_end["n"].dtype) == (np.float32, np.float64, np.float64)
    assert (single.counts["n"].item(), double.counts["n"].item()) == (1, 0)
    assert double.v_end["n"].item() == np.cumsum(np.full(10, 0.1))[-1]


def test_what_is_recorded() -> None:
    x, kinds = dyadic(23, 2, 2, 4, 4), {"counts": 0, "spikes": 1, "full": 3}
    traces = {k: simulate(deep(), x, 4, record=k) for k in kinds}  # type: ignore[arg-type]
    for kind, fields in kinds.items():
        t = traces[kind]
        assert [set(d) for d in (t.spikes, t.v, t.v_peak)] == [{"a", "b", "out"}] * fields + [set()] * (3 - fields)
        np.testing.assert_array_equal(t.readout, traces["full"].readout)
        for name, counts in t.counts.items():
            np.testing.assert_array_equal(counts, traces["full"].spikes[name].sum(0))
    assert traces["full"].spikes["a"].shape == (4, 2, 3, 4, 4)


def test_operations_are_counted_by_hand() -> None:
    # Input 1 on 4 units of theta 1: each fires in each of 3 steps, 2 samples: 24 spikes. Windows of 3 with padding hold a
    # unit 2, 3, 3, 2 times: 10 a step, 60 in all. Scale 1 and 0: 24 and 0. The Dense rows hold 1 + 1 + 1 non-zeros.
    net = Network((1, 4), (
        Layer("a", (Branch(Scale()),), Neuron()),
        Layer("pool", (Branch(Pool("average", (3,), (1,), (1,)), "a"), Branch(Scale(0.0), "a"), Branch(Scale()))),
        Layer("relay", (Branch(Scale(), "a"),), Neuron()),
        Layer("flat", (Branch(Flatten(), "relay"),)),
        Layer("out", (Branch(Dense(np.array([[1.0, 0, 2, 0], [0, 0, 3, 0]])), "flat"),)),
    ))  # fmt: skip
    found = simulate(net, np.ones((2, 1, 4)), 3).events
    operations = {k: e["synaptic_operations"] for k, e in found.items()}
    assert operations == {"a": 0, "pool": 60, "relay": 24, "flat": 0, "out": 18}
    assert {k: (e["spikes"], e["neuron_updates"]) for k, e in found.items() if e["spikes"]} == {
        "a": (24, 24), "relay": (24, 24)}  # fmt: skip


def test_a_flattened_summand_is_no_renaming() -> None:
    net = Network((1, 2), (
        Layer("a", (Branch(Scale()),), Neuron()),
        Layer("flat", (Branch(Flatten(), "a"),)),
        Layer("sum", (Branch(Flatten(), "a"), Branch(Dense(np.ones((2, 2))), "flat"))),
    ))  # fmt: skip
    case = Case(net, np.ones((1, 1, 2)), 3)
    assert run(case).events == reference.run(case).events


# ------------------------------------------------------------------------------------------------------------ poisson


def test_what_a_sample_draws_depends_on_nothing_but_seed_sample_and_step() -> None:
    net, x = one(Neuron()), np.full((6, 1), 0.5)
    whole = simulate(net, x, 40, encoding="poisson", seed=3, first_sample=10, record="full")
    assert len({s.tobytes() for s in np.moveaxis(whole.spikes["n"], 1, 0)}) == 6
    for memory in (1, 500, 10**9):
        again = simulate(net, x, 40, encoding="poisson", seed=3, first_sample=10, record="full", memory=memory)
        assert_same(again, whole)
    for start in range(6):
        part = simulate(net, x[start:], 25, encoding="poisson", seed=3, first_sample=10 + start, record="spikes")
        np.testing.assert_array_equal(part.spikes["n"], whole.spikes["n"][:25, start:])
    for other in ({"seed": 4, "first_sample": 10}, {"seed": 3, "first_sample": 16}):
        assert (
            simulate(net, x, 40, encoding="poisson", record="spikes", **other).spikes["n"] != whole.spikes["n"]
        ).any()


def test_poisson_rates() -> None:
    p = np.array([0, 0.01, 0.25, 0.5, 0.9, 1])
    net = Network((6,), (Layer("n", (Branch(Scale()),), Neuron()),))
    rates = simulate(net, np.tile(p, (40, 1)), 200, encoding="poisson").counts["n"].mean(0) / 200
    assert (rates[0], rates[-1]) == (0, 1)
    assert (np.abs(rates - p) <= 5 * np.sqrt(p * (1 - p) / 8000)).all()  # five standard deviations


# ----------------------------------------------------------------------------------------------- memory and progress


def peak(network: Network, x: np.ndarray, steps: int, memory: int, encoding: str = "constant") -> tuple[float, float]:
    """Greatest traced memory of a run, and what its result and the case's copy of x take, in bytes."""
    simulate(network, x[:1], 1, encoding=encoding)  # type: ignore[arg-type] # kernels are loaded, weights laid out
    tracemalloc.start()
    try:
        trace = simulate(network, x, steps, memory=memory, encoding=encoding)  # type: ignore[arg-type]
        top = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = [trace.readout, *trace.counts.values(), *trace.v_end.values()]
    return top, x.nbytes + sum(a.nbytes for a in kept)


PAD = ((1, 1), (1, 1))
WIDE = {
    "dense": Network((64,), (
        Layer("a", (Branch(Dense(dyadic(1, 64, 64))),), Neuron()),
        Layer("b", (Branch(Dense(dyadic(2, 64, 64)), "a"),), Neuron()),
        Layer("out", (Branch(Dense(dyadic(3, 2, 64)), "b"),)),
    )),
    "conv": Network((4, 12, 12), (
        Layer("a", (Branch(Conv(dyadic(1, 6, 4, 3, 3), padding=PAD)),), Neuron()),
        Layer("b", (Branch(Conv(dyadic(2, 6, 6, 3, 3), padding=PAD), "a"), Branch(Scale(), "a")), Neuron()),
        Layer("pool", (Branch(Pool("average", (4, 4)), "b"),)),
    )),
    "transposed": Network((32, 6, 6), (
        Layer("a", (Branch(Scale()),), Neuron()),
        Layer("up", (Branch(Conv(dyadic(1, 32, 1, 4, 4), None, (2, 2), PAD, transposed=True), "a"),), Neuron()),
    )),
}  # fmt: skip


@pytest.mark.parametrize("encoding", ["constant", "poisson"])
@pytest.mark.parametrize("kind", WIDE)
def test_memory_stays_within_the_budget_for_any_length_and_batch(kind: str, encoding: str) -> None:
    net, memory = WIDE[kind], MIB // 2
    rng = np.random.default_rng(0)
    over = {}
    for n, steps in ((8, 16), (8, 256), (32, 16)):
        x = rng.random((n, *net.input_shape)).astype("f4")
        if encoding == "poisson" and n * steps > 1024:
            x = x[: 1024 // steps]
        top, kept = peak(net, x, steps, memory, encoding)
        over[n, steps] = (top - kept) / memory
    assert max(over.values()) <= 2.5, over
    assert over[8, 256] <= 2 * over[8, 16] + 0.5, over  # T is 16 times as long


def test_progress_adds_up_to_the_samples() -> None:
    for n, memory in ((1, 1), (5, 1), (5, 20_000), (17, 60_000), (17, 10**9)):
        done: list[int] = []
        simulate(deep(), dyadic(24, n, 2, 4, 4), 3, memory=memory, progress=done.append)
        assert sum(done) == n
        assert min(done) > 0
        assert len(done) == n or memory > 1


# ----------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("act", [Relu(), ClipFloor(4)])
def test_an_activation_that_does_not_spike_is_refused_by_name(act: Act) -> None:
    net = Network((1,), (Layer("n", (Branch(Scale()),), Neuron()), Layer("features.3", (Branch(Scale(), "n"),), act)))
    with pytest.raises(Unsupported, match=rf"features\.3: {type(act).__name__} does not spike; convert"):
        simulate(net, [[1.0]], 2)


def test_max_pooling_is_refused_by_name() -> None:
    branches = (Branch(Pool("sum", (2,)), "n"), Branch(Pool("max", (2,)), "n"))
    net = Network((1, 4), (Layer("n", (Branch(Scale()),), Neuron()), Layer("features.3", branches)))
    with pytest.raises(Unsupported, match=r"features\.3: max pooling does not spike; convert"):
        simulate(net, np.ones((1, 1, 4)), 2)


@pytest.mark.parametrize("marks", [[0], [-1], [5], [1, 4, 9], [2.5], "23"])
def test_read_outs_outside_the_run_are_refused(marks: list[int]) -> None:
    with pytest.raises(ConfigError, match=r"readout_at = .*1 \.\.\. 4"):
        simulate(one(Neuron()), [[1.0]], 4, readout_at=marks)


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ({"threads": 1.5}, ConfigError, "threads = 1.5: a whole number, at least 1"),
        ({"threads": 0}, ConfigError, "threads = 0"),
        ({"memory": 0}, ConfigError, "memory = 0: a whole number, at least 1"),
        ({"memory": None}, ConfigError, "memory = None"),
        ({"seed": -1}, ConfigError, "seed = -1: an integer from 0"),
        ({"first_sample": 0.5}, ConfigError, "first_sample = 0.5: an integer from 0"),
        ({"x": [[1.0], [1.0, 2.0]]}, DataError, "give samples of one shape"),
        ({"x": [[1j]]}, DataError, "x of dtype complex128: give real numbers"),
        ({"x": [["a"]]}, DataError, "give real numbers"),
        ({"x": [[1e39]]}, DataError, "beyond float32's: scale the input, or take dtype='float64'"),
    ],
)
def test_what_a_run_cannot_take_is_named(given: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        simulate(one(Neuron()), **{"x": [[1.0]], "steps": 4, **given})


def test_numbers_that_only_float64_holds_run_in_it() -> None:
    assert simulate(one(Neuron(theta=1e39)), [[1e39]], 4, dtype="float64").counts["n"] == 4


def test_bad_input_is_refused_as_by_a_case() -> None:
    for x, steps in (([[np.nan]], 2), ([[1.0, 2.0]], 2), ([[1.0]], 0), (np.ones((0, 1)), 2)):
        with pytest.raises(DataError):
            simulate(one(Neuron()), x, steps)


def test_a_misspelt_record_is_refused() -> None:
    with pytest.raises(SnnverifyError, match="record"):
        simulate(one(Neuron()), [[1.0]], 2, record="spike")  # type: ignore[arg-type]


def test_read_out_steps_may_be_numpy_integers() -> None:
    trace = simulate(one(Neuron()), [[1.0]], 4, readout_at=list(np.array([2, 3])))
    assert trace.readout_at == (2, 3, 4)
    assert len(trace.digest) == 64  # it can be encoded
