"""What the adapters of lava's interpreter decide before they import lava: which block a layer is, and what none is."""

import numpy as np
import pytest

from snnverify.activation import Cuba
from snnverify.errors import Unsupported
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Pool, Scale
from snnverify.oracles.lava_slayer_block import plan

SQUARE = (2, 4, 4)


def planned(shape, *layers):
    network = Network(shape, layers)
    return plan(network, network.output)


def pooled(shape, pool, act):
    return planned(shape, Layer("p.sum", (Branch(pool),)), Layer("p", (Branch(Scale(6.0), "p.sum"),), act))


def test_floats_that_a_block_is_made_of():
    act = Cuba(70, 1024, 128, delay=1)
    kind, params, weight, source = planned((2,), Layer("d", (Branch(Dense(np.array([[2, -64]]))),), act))
    assert (kind, source, weight.tolist()) == ("dense", "input", [[2 / 64, -1.0]])
    assert params == {"threshold": 70 / 64, "current_decay": 0.25, "voltage_decay": 1 / 32, "delay_shift": False}
    conv = Conv(np.ones((2, 1, 3, 2)), None, (2, 1), ((1, 1), (0, 0)), (1, 2), groups=2)
    _, params, _, _ = planned(SQUARE, Layer("c", (Branch(conv),), act))
    assert {k: params[k] for k in ("stride", "padding", "dilation", "groups")} == {
        "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}  # fmt: skip


def test_sums_of_windows_and_their_weight_are_one_block():
    kind, params, weight, source = pooled(SQUARE, Pool("sum", (2, 2)), Cuba(64))
    assert (kind, params["kernel"], weight, source) == ("pool", (2, 2), 6 / 64, "input")


def test_read_outs():
    mean = np.kron(np.eye(2), np.full((1, 3), 1 / 3))
    assert planned((6,), Layer("m", (Branch(Dense(mean)),)))[:2] == ("average", {"num_outputs": 2})
    assert planned((6,), Layer("a", (Branch(Dense(2 * mean)),)))[0] == "affine"
    assert planned(SQUARE, Layer("f", (Branch(Flatten()),)))[0] == "flatten"


DENSE = Branch(Dense(np.eye(2)))
REFUSED = {
    "one source": lambda: planned((2,), Layer("x", (DENSE, DENSE), Cuba(1))),
    "no bias": lambda: planned((2,), Layer("x", (Branch(Dense(np.eye(2), np.ones(2))),))),
    "not transposed": lambda: planned(SQUARE, Layer("x", (Branch(Conv(np.ones((2, 2, 2, 2)), transposed=True)),), Cuba(1))),
    "recurrent block": lambda: planned((2,), Layer("x", (DENSE,), Cuba(1, bias=2, recurrent=np.eye(2)))),
    "axon_delay": lambda: planned((2,), Layer("x", (DENSE,), Cuba(1, axon_delay=63))),
    "windows that tile": lambda: pooled(SQUARE, Pool("sum", (3, 3)), Cuba(1)),
    "that tile": lambda: pooled(SQUARE, Pool("sum", (2, 2), (1, 1)), Cuba(1)),
    "bias: a pool": lambda: pooled(SQUARE, Pool("sum", (2, 2)), Cuba(1, bias=2)),
    "no block for Scale": lambda: planned((2,), Layer("x", (Branch(Scale(2.0)),), Cuba(1))),
    "without neurons": lambda: planned(SQUARE, Layer("x", (Branch(Conv(np.ones((2, 2, 1, 1)))),))),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSED)
def test_what_no_block_holds_is_refused_by_name(words):
    with pytest.raises(Unsupported, match=words):
        REFUSED[words]()
