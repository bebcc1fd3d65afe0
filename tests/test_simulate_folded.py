"""The numpy engine: what its bits depend on, and what memory it takes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from snnverify.activation import Neuron
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool
from snnverify.simulate import TILE, simulate
from snnverify.simulate.folded import tiling
from snnverify.trace import Record, Trace

PAD = ((1, 1), (1, 1))


def rough(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.3, shape)


DENSE = Network((50,), (
    Layer("a", (Branch(Dense(rough(1, 120, 50))),), Neuron(v_init=0.5)),
    Layer("b", (Branch(Dense(rough(2, 30, 120)), "a"),), Neuron(v_init=0.5)),
))  # fmt: skip
CONV = Network((3, 8, 8), (
    Layer("a", (Branch(Conv(rough(1, 10, 3, 3, 3), padding=PAD)),), Neuron(v_init=0.5)),
    Layer("pool", (Branch(Pool("average", (2, 2)), "a"),)),
    Layer("b", (Branch(Conv(rough(2, 12, 10, 3, 3), padding=PAD), "pool"),), Neuron(v_init=0.5)),
    Layer("flat", (Branch(Flatten(), "b"),)),
    Layer("out", (Branch(Dense(rough(3, 5, 192)), "flat"),)),
))  # fmt: skip


def bits(trace: Trace) -> list[bytes]:
    return [a.tobytes() for a in (trace.readout, *trace.v_end.values(), *trace.counts.values())]


@pytest.mark.parametrize("network", [DENSE, CONV], ids=["dense", "conv"])
def test_neighbours_change_no_bit_of_a_sample(network: Network) -> None:
    """A row of a product is a sum of its own: what stands in the other rows of a tile, or that it is empty, is no matter."""
    x = np.random.default_rng(0).uniform(0, 1, (TILE, *network.input_shape)).astype("f4")
    other = x[::-1].copy()
    other[:7] = x[:7]
    alone, among, beside = (simulate(network, batch, 9, engine="numpy") for batch in (x[:7], x, other))
    for trace in (among, beside):
        np.testing.assert_array_equal(trace.readout[:, :7], alone.readout)
        for name, v in alone.v_end.items():
            np.testing.assert_array_equal(trace.v_end[name][:7], v)
    assert any((among.v_end[n][7:] != beside.v_end[n][7:]).any() for n in among.v_end)  # the neighbours did change


def test_a_tile_is_a_power_of_two_so_that_shards_from_multiples_of_the_largest_are_whole_tiles() -> None:
    """Budgets that leave room for 1, 2, 3 ... samples: the shard from TILE on has the bits of the whole."""
    x = np.random.default_rng(0).uniform(0, 1, (TILE + 5, 50)).astype("f4")
    room = {tiling(DENSE, TILE, 4, 4, memory)[0] for memory in range(2_000, 400_000, 2_000)}
    assert {1, 3, 5, 7} <= room
    for memory in (1, 20_000, 50_000, 100_000, 10**9):
        whole, tail = (simulate(DENSE, part, 4, engine="numpy", memory=memory) for part in (x, x[TILE:]))
        for name, v in tail.v_end.items():
            np.testing.assert_array_equal(whole.v_end[name][TILE:], v)


# ------------------------------------------------------------------------------------------------------------- memory


def above(network: Network, samples: int, steps: int, record: Record = "counts") -> tuple[float, float]:
    """Greatest traced memory of a run beyond the trace's arrays, and the size of what is recorded, in bytes."""
    x = np.random.default_rng(0).uniform(0, 1, (samples, *network.input_shape)).astype("f4")
    tracemalloc.start()
    try:
        trace = simulate(network, x, steps, record=record, engine="numpy", memory=2**20, threads=1)
        top = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    recorded = sum(a.nbytes for d in (trace.spikes, trace.v, trace.v_peak) for a in d.values())
    kept = x.nbytes + trace.readout.nbytes + sum(a.nbytes for d in (trace.counts, trace.v_end) for a in d.values())
    return top - kept, recorded


@pytest.mark.parametrize("network", [DENSE, CONV], ids=["dense", "conv"])
def test_memory_of_counts_is_constant_in_steps_and_samples(network: Network) -> None:
    above(network, 8, 8)  # what is imported on first use is no part of it
    base, longer, more = (above(network, n, t)[0] for n, t in ((16, 200), (16, 800), (64, 200)))
    assert max(longer, more) <= 1.5 * base  # four times as much to do
    assert base <= 1.5 * 2**20


@pytest.mark.parametrize("record", ["spikes", "full"])
def test_memory_of_a_recording_is_at_most_twice_what_is_recorded(record: Record) -> None:
    above(CONV, 8, 64)
    top, recorded = above(CONV, 32, 128, record)
    assert recorded > 3 * 2**20  # the budget is small beside it
    assert top <= 2 * recorded
