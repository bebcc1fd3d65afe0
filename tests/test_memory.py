"""Memory that runs give back: it serves the next run, and never one whose arrays are still there."""

import gc

import numpy as np
import pytest

from snnverify import Branch, Dense, Layer, Network, Neuron, simulate
from snnverify.content import frozen
from snnverify.simulate import memory

NET = Network((3,), (Layer("a", (Branch(Dense(np.eye(3))),), Neuron()),))


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    memory._free.clear()


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
