"""Memory that runs give back: it serves the next run, never one whose arrays are still there, and goes with its network."""

import gc
import tracemalloc
import weakref
from importlib import import_module

import numpy as np
import pytest

from snnverify import Branch, Dense, Layer, Network, Neuron, simulate
from snnverify.content import frozen
from snnverify.simulate import forget, kept, memory
from snnverify.trace import Case

fused, worker = (import_module(f"snnverify.simulate.{name}") for name in ("fused", "worker"))

NET = Network((3,), (Layer("a", (Branch(Dense(np.eye(3))),), Neuron()),))


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    forget()


def wide(seed, units=40):
    """Two layers of neurons on three inputs."""
    first, second = np.random.default_rng(seed).integers(-9, 20, (2, units, units)) / 16
    layers = (
        Layer("a", (Branch(Dense(first[:, :3])),), Neuron()), Layer("b", (Branch(Dense(second), "a"),), Neuron()),
    )  # fmt: skip
    return Network((3,), layers)


def planned(network):
    return fused.plan(Case(network, np.ones((1, 3)), 2))


def test_a_block_serves_again_when_its_last_array_is_gone():
    first = memory.arrays({"a": (5, 3), "b": (7,)}, {"a": np.int32, "b": np.float64})
    at = first["a"].ctypes.data
    assert at % memory.LINE == first["b"].ctypes.data % memory.LINE == 0
    last = first["b"][2:]
    del first
    other = memory.arrays({"a": (5, 3)}, {"a": np.int32})["a"]
    assert other.ctypes.data != at
    del last
    assert memory.arrays({"a": (5, 3)}, {"a": np.int32})["a"].ctypes.data == at


def test_blocks_that_are_far_too_large_do_not_serve_and_huge_ones_are_not_kept(monkeypatch):
    memory.arrays({"a": (10**6,)}, {"a": np.uint8})
    small = memory.arrays({"a": (1000,)}, {"a": np.uint8})["a"]
    assert [free.size for free in memory._free] == [10**6]
    memory._free.clear()
    del small
    memory._free.clear()
    monkeypatch.setattr(memory, "KEPT", 999)
    memory.arrays({"a": (1000,)}, {"a": np.uint8})
    assert not memory._free


def test_traces_keep_what_they_hold_while_others_run():
    x = np.random.default_rng(0).random((4, 3))
    kept = simulate(NET, x, 9, record="spikes")
    spikes, counts, v_end = (getattr(kept, part)["a"].copy() for part in ("spikes", "counts", "v_end"))
    view = kept.v_end["a"][1:]
    for k in range(5):
        simulate(NET, x * (k / 5), 9, record="spikes")
    assert np.array_equal(kept.spikes["a"], spikes)
    assert np.array_equal(kept.counts["a"], counts)
    del kept
    for k in range(5):
        simulate(NET, x * (k / 5), 9, record="spikes")
    assert np.array_equal(view, v_end[1:])
    assert not view.flags.writeable


def test_only_frozen_views_of_a_block_are_taken_without_a_copy():
    a = memory.arrays({"a": (4,)}, {"a": np.float64})["a"]
    a.setflags(write=False)
    assert frozen(a) is not a  # its block could still be written to
    a.base.setflags(write=False)
    assert frozen(a) is a


def test_what_was_made_of_a_network_goes_with_it():
    net = wide(1)
    simulate(net, np.ones((4, 3)), 9, engine="fused", threads=2)
    weights = weakref.ref(planned(net)[1].last.synapses.weights.weight)
    workers = [weakref.ref(w) for w in worker._idle]
    assert weights() is not None
    assert workers
    del net
    gc.collect()
    assert weights() is None
    assert not any(w() for w in workers)


def test_what_is_kept_does_not_grow_with_the_networks_that_were_run():
    x, sizes = np.ones((2, 3)), []
    simulate(wide(0, 500), x, 3, engine="fused", threads=1)
    tracemalloc.start()
    for seed in range(6):
        simulate(wide(seed, 500), x, 3, engine="fused", threads=1)
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert sizes[-1] - sizes[0] < 500 * 500 * 2  # weights take that much in 16 bits, of one network


def test_equal_networks_share_a_plan_for_as_long_as_the_one_that_asked_last_is_there():
    one, other = wide(1), wide(1)
    plan = planned(one)
    assert planned(other) is plan
    del one
    gc.collect()
    assert planned(other) is plan


def test_the_plans_of_the_last_networks_are_kept():
    nets = [wide(seed) for seed in range(kept.MOST + 1)]
    plans = [planned(net) for net in nets]
    assert all(planned(net) is plan for net, plan in zip(nets[1:], plans[1:], strict=True))
    assert planned(nets[0]) is not plans[0]
    assert planned(nets[1]) is not plans[1]  # which had not been asked for longest


def test_forget_lets_go_of_all_of_it_and_changes_no_bit():
    net, x = wide(1), np.random.default_rng(0).random((4, 3))
    before = simulate(net, x, 9, engine="fused")
    counts, weights = before.counts["b"].copy(), weakref.ref(planned(net)[1].last.synapses.weights.weight)
    del before
    gc.collect()
    assert memory._free
    forget()
    assert weights() is None
    assert not worker._idle
    assert not memory._free
    assert np.array_equal(simulate(net, x, 9, engine="fused").counts["b"], counts)
    assert counts.sum() > 0
