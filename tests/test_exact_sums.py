"""Integer sums: float32 where no partial sum can reach 2^24, int64 beyond, and the same numbers on both sides."""

import numpy as np
import pytest

from snnverify.errors import DataError, NetworkError
from snnverify.network import Branch, Conv, Cuba, Dense, Layer, Network, Pool, Scale, SigmaDelta
from snnverify.simulate import exactly, operations, simulate

TOP = 2**24
OPS = {
    "dense": lambda w: (Dense(np.array([w])), (len(w),)),
    "conv": lambda w: (Conv(np.array(w).reshape(1, 1, -1)), (1, len(w))),
    "transposed": lambda w: (Conv(np.array(w).reshape(-1, 1, 1), transposed=True), (len(w), 1)),
}


@pytest.fixture
def dtypes(monkeypatch):
    used, applied = [], operations._applied
    monkeypatch.setattr(operations, "_applied", lambda op, x: (used.append(x.dtype.name), applied(op, x))[1])
    return used


@pytest.mark.parametrize("kind", OPS)
@pytest.mark.parametrize(("above", "dtype"), [(-1, "float32"), (0, "int64"), (1, "int64"), (999, "int64")])
def test_the_boundary_from_both_sides(kind, above, dtype, dtypes):
    weights = [TOP + above - 5, 2, -3]  # of absolute sum TOP + above
    op, shape = OPS[kind](weights)
    x = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 1]])
    y = exactly(op, x.reshape(3, *shape))
    assert dtypes == [dtype]
    assert y.dtype == np.int64
    assert y.reshape(3).tolist() == [sum(w * i for w, i in zip(weights, row, strict=True)) for row in x.tolist()]


def test_the_greatest_input_counts_too(dtypes):
    op = Dense(np.array([[2**12, 1]]))
    assert exactly(op, np.array([[2**12 - 1, 1]])).tolist() == [[2**24 - 2**12 + 1]]
    assert exactly(op, np.array([[2**12, 1]])).tolist() == [[2**24 + 1]]  # float32 has no such number
    assert dtypes == ["float32", "int64"]  # the first bound is (2^12 + 1) (2^12 - 1) = 2^24 - 1


def test_a_bound_of_the_bias_and_of_pooling(dtypes):
    assert exactly(Scale(1.0, float(TOP)), np.array([[1]])).tolist() == [[TOP + 1]]
    x = np.full((1, 1, 2, 2), 2**22)
    assert exactly(Pool("sum", (2, 2)), x).tolist() == [[[[TOP]]]]
    assert dtypes == ["int64", "int64"]


def test_what_64_bits_do_not_hold_is_refused():
    with pytest.raises(NetworkError, match="beyond any integer neuron"):
        exactly(Dense(np.array([[2**40]])), np.array([[2**40]]))


def network(act, op=None):
    return Network((1,), (Layer("n", (Branch(op or Scale(1.0)),), act),))


@pytest.mark.parametrize(
    ("act", "message"),
    [
        ({"threshold": -1}, r"Cuba.threshold = -1: a mantissa, 0 ... 2\^24"),
        ({"threshold": 1.5}, "Cuba.threshold = 1.5"),
        ({"threshold": 1, "current_decay": 4097}, "0 ... 4096"),
        ({"threshold": 1, "bias": 0.5}, "quantise it first"),
        ({"threshold": 1, "weight_exponent": 8}, "-8 ... 7"),
        ({"threshold": 1, "bias_exponent": -1}, "0 ... 7"),
        ({"threshold": 1, "refractory": 0}, "blocks no step"),
        ({"threshold": 1, "reset_interval": 0}, "None for no reset"),
        ({"threshold": 1, "axon_delay": -1}, "0 ... 2\\^16 steps"),
        ({"threshold": 1, "delay": np.array([1])}, "0 ... 2\\^16 steps"),
        ({"threshold": 1, "bias": 2**25}, "at most 2\\^24"),
        ({"threshold": 1, "drive": "bias", "recurrent": np.ones((1, 1))}, "driven by its bias"),
        ({"threshold": 1, "overflow": "clip"}, "'refuse', 'wrap', 'none'"),
        ({"threshold": 1, "drive": "voltage"}, "'current', 'bias'"),
    ],
)
def test_a_parameter_out_of_range_is_named(act, message):
    with pytest.raises(NetworkError, match=message.replace("(", r"\(")):
        Cuba(**act)


def test_a_network_refuses_what_integers_cannot_hold():
    with pytest.raises(NetworkError, match="quantise them first"):
        network(Cuba(1), Scale(0.5))
    with pytest.raises(NetworkError, match=r"it in Cuba\.bias"):
        network(Cuba(1), Scale(1.0, 1.0))
    with pytest.raises(NetworkError, match="recurrent has shape"):
        network(Cuba(1, recurrent=np.ones((2, 2))))
    with pytest.raises(NetworkError, match=r"SigmaDelta\.role = 'input'"):
        SigmaDelta(role="input")


def test_fractions_are_refused_and_an_input_bias_takes_those_that_loihi_holds():
    with pytest.raises(DataError, match="'input' hands on no integers"):
        simulate(network(Cuba(1)), [[0.5]], 2)
    biased = network(Cuba(1, drive="bias", delay=0))
    trace = simulate(biased, [[1 / 64]], 3, record="full", dtype="float64")
    assert trace.v["n"].ravel().tolist() == [1, 2, 3]  # in Loihi's units a mantissa counts 64
    for x, message in ((1 / 128, r"times 2\^-6"), (0.1, r"multiples of 2\^-24")):
        with pytest.raises(DataError, match=message):
            simulate(biased, [[x]], 3)


def test_integers_are_not_rounded_on_their_way_whatever_the_dtype():
    with pytest.raises(DataError, match="no integers"):
        simulate(network(Cuba(1)), [[1 + 1e-9]], 2)
    large = network(Cuba(131071, weight_exponent=-8, delay=0))
    assert simulate(large, [[2**24 + 255]], 1, record="full").v_peak["n"].item() == 64 * 2**16  # float32 has 2^24 + 256
    pooled = Network(
        (1, 2, 2), (Layer("s", (Branch(Pool("sum", (2, 2))),)), Layer("n", (Branch(Scale(1.0), "s"),), large["n"].act))
    )
    trace = simulate(pooled, [[[[2**24, 1], [1, 1]]]], 1, record="full")
    assert trace.v_peak["n"].item() == 64 * ((2**24 + 3) >> 8)
    whole = Cuba(2.0, np.array([1.0]), weight_exponent=1.0, delay=1.0)  # whole numbers are taken as such
    assert (whole.threshold, whole.weight_exponent, whole.current_decay.dtype) == (2, 1, np.int64)
