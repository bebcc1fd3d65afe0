"""Convolutions as products of bytes: operations against numpy, and the engine with images forced against the reference."""

from importlib import import_module

import numba
import numpy as np
import pytest

from snnverify import reference
from snnverify.kernels import fused_dense, fused_record, vectors, vectors_bits, vectors_dense
from snnverify.network import Branch, Conv, Cuba, Dense, Layer, Network, Neuron, Pool, Scale
from snnverify.simulate import forget, run
from snnverify.trace import Case

fused, dense = (import_module(f"snnverify.simulate.{name}") for name in ("fused", "dense"))
RNG = np.random.default_rng(0)


def compiled(text):
    scope = {}
    exec(text, vars(vectors) | vars(vectors_bits) | vars(vectors_dense), scope)
    return numba.njit(scope["f"])


@pytest.mark.parametrize("has", [True, False])
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
@pytest.mark.parametrize("size", [(8, 1), (8, 2), (4, 3), (4, 4)])
def test_dots_are_products_of_unsigned_counts_and_signed_weights(size, kind, has, monkeypatch):
    if has and not vectors.DOTS:
        pytest.skip("this processor has no products of bytes")
    monkeypatch.setattr(vectors_dense, "DOTS", has)
    M, V = size
    counts = RNG.integers(0, 256, 300).astype(np.uint8)
    starts = RNG.integers(0, 100, M + 3).astype(np.int32)
    offsets = np.array([0, 8, 100, 52, 4], np.int32)
    flat = vectors_of_bytes(len(offsets) * V * 64 + 64)
    flat[:] = RNG.integers(-128, 128, len(flat))
    weight = flat[64:].reshape(len(offsets), 16 * V, 4).astype(int)
    if kind == np.int16:
        counts, weight = counts % 8, weight // 16
        flat[64:] = weight.ravel()
    stride = 16 * V + 5
    out = np.full(7 + M * stride, 9, kind)
    expected = out.copy()
    for m in range(M):
        seen = np.stack([counts[11 + starts[3 + m] + o :][:4] for o in offsets]).astype(int)
        expected[7 + m * stride :][: 16 * V] = np.einsum("kb,klb->l", seen, weight)
    text = "def f(out, counts, starts, offsets, flat):\n"
    text += f"    dots(out, 7, {stride}, counts, 11, starts, 3, offsets, flat, 64, {M}, {V})"
    compiled(text)(out, counts, starts, offsets, flat)
    assert np.array_equal(out, expected)


def vectors_of_bytes(size):
    return import_module("snnverify.simulate.memory").aligned((size,), np.int8)


def test_quadruples_spreads_the_first_four_bits_of_a_pixel():
    words, out = RNG.integers(0, 2**16, 16).astype(np.uint16), np.full(70, 9, np.uint8)
    compiled("def f(out, bits):\n    quadruples(out, 3, bits, 1)")(out, np.r_[np.uint8(7), words.view(np.uint8)])
    assert np.array_equal(out[3:67].reshape(16, 4), words[:, None] >> np.arange(4) & 1)
    assert (np.delete(out, range(3, 67)) == 9).all()


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (1, 64), (3, 200), (0, 128)])
def test_active_counts_the_bits_of_some_bytes(start, stop):
    bits = RNG.integers(0, 256, 210).astype(np.uint8)
    assert fused_dense.active(bits, start, stop) == np.unpackbits(bits[start:stop]).sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lift_adds_where_a_bit_is_set(dtype):
    x, factor, flags = RNG.normal(size=70).astype(dtype), RNG.normal(size=70).astype(dtype), RNG.random(64) < 0.5
    expected = x.copy()
    expected[3:67][flags] += factor[5:69][flags]
    bits = np.r_[np.zeros(2, np.uint8), np.packbits(flags, bitorder="little")]
    compiled("def f(x, factor, bits):\n    lift(x, 3, factor, 5, bits, 2)")(x, factor, bits)
    assert np.array_equal(x, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, np.int64])
@pytest.mark.parametrize("shape", [(3, 2, 3, 37), (2, 1, 20, 16), (1, 2, 16, 5), (2, 2, 70, 18), (2, 1, 50, 1)])
def test_pack_writes_a_bit_for_what_is_not_0(shape, dtype):
    T, N, C, P = shape
    x = (RNG.integers(0, 3, shape) * 3).astype(dtype)
    channels = 16 if C <= 16 else -(-C // 32) * 32
    size = -(-P * channels // 64) * 8
    bits = np.zeros((N, T, size), np.uint8)
    fused_record.pack(x.reshape(-1), shape, bits.reshape(-1), channels // 8, size)
    padded = np.zeros((N, T, P, channels), bool)
    padded[..., :C] = (x != 0).transpose(1, 0, 3, 2)
    found = np.unpackbits(bits, axis=-1, bitorder="little").astype(bool)[..., : P * channels]
    assert np.array_equal(found, padded.reshape(N, T, -1))


@pytest.mark.parametrize("size", [5, 4096, 9000])
def test_binary_is_asked_of_every_number(size):
    x = RNG.integers(0, 2, size).astype(float)
    assert fused_record.binary(x)
    for place in (0, size // 2, size - 1):
        y = x.copy()
        y[place] = 0.5
        assert not fused_record.binary(y)


@pytest.mark.parametrize(("unit", "top"), [(1, 255), (64, 255), (256, 255), (256, 256), (512, 255), (3, 254)])
def test_as_bytes_finds_the_least_power_of_two(unit, top):
    x, counts = (np.arange(128) % 2 * top / unit).astype(np.float32), np.zeros(128, np.uint8)
    fits = unit not in (3, 512)  # 256 / 256 is 1
    places = fused_dense.as_bytes(x, 128, counts)
    assert (places >= 0) == fits
    if fits:
        assert np.array_equal(counts, x * 2**places)
        assert places == 0 or np.any(x * 2 ** (places - 1) % 1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("x", "bias"), [(255 / 256, False), (0.3, False), (-0.5, False), (0.5, True)])
def test_a_dense_layer_on_numbers_is_the_reference(x, bias, dtype, monkeypatch):
    monkeypatch.setattr(dense, "DOTS", True)
    forget()
    weight = RNG.integers(-127, 128, (70, 9)) / 64
    net = Network((9,), (Layer("a", (Branch(Dense(weight, RNG.integers(-9, 9, 70) / 8 if bias else None)),), IF),))
    stimulus = RNG.integers(0, 2, (11, 9)) * np.float64(np.float32(x))
    case = Case(net, stimulus, 3, dtype=dtype)
    assert fused.plan(case)[0].constant[0].matrix is not None
    ours, exactly = run(case, "counts", engine="fused"), reference.run(case)
    near = (
        0 if x != 0.3 else 9 * 2 * 0.3 * 3 * np.finfo(dtype).eps * 9
    )  # nine products and sums a step, of 0.6 at most each
    assert np.abs(ours.v_end["a"] - exactly.v_end["a"]).max() <= near
    assert np.array_equal(ours.counts["a"], exactly.counts["a"])
    forget()


def layer(name, source, out, inputs, act, **more):
    weight = np.random.default_rng(out).integers(
        -9, 13, (out, inputs // more.get("groups", 1), *more.pop("kernel", (3, 3)))
    )
    return Layer(name, (Branch(Conv(weight / (1 if isinstance(act, Cuba) else 32), **more), source),), act)


IF = Neuron(v_init=0.5)
P2 = ((1, 1), (1, 1))
POOLED = Layer("p", (Branch(Pool("average", (2, 2)), "a"),))
THINNED = Layer("p", (Branch(Pool("average", (1, 1), (2, 2)), "a"),))
FIRST = layer("a", "input", 20, 3, IF, padding=P2)
AGAIN, BEHIND = (layer("b", source, 20, 20, IF, padding=P2) for source in ("a", "p"))
NETS = {
    "pixels": Network((3, 6, 5), (FIRST, layer("b", "a", 33, 20, IF, padding=((0, 2), (1, 0))))),
    "pooled": Network((3, 6, 8), (FIRST, POOLED, layer("b", "p", 64, 20, IF, padding=P2))),
    "one of four": Network((3, 6, 8), (FIRST, THINNED, layer("b", "p", 20, 20, IF, padding=P2))),
    "strided": Network((3, 9, 8), (FIRST, layer("b", "a", 70, 20, IF, stride=(2, 3), dilation=(2, 1)))),
    "grouped": Network((3, 6, 5), (FIRST, layer("b", "a", 40, 20, Neuron(leak=0.5, v_init=0.5), groups=4))),
    "line": Network((3, 30), (layer("a", "input", 20, 3, IF, kernel=(3,)), layer("b", "a", 20, 20, IF, kernel=(4,)))),
    "skip": Network((3, 6, 5), (FIRST, Layer("b", (*AGAIN.branches, Branch(Scale(0.25), "a")), IF))),
    "pooled skip": Network((3, 6, 8), (
        FIRST, POOLED, Layer("b", (*BEHIND.branches, Branch(Pool("average", (2, 2)), "a")), IF),
    )),
    "many": Network((3, 40, 40), (layer("a", "input", 20, 3, IF, stride=(2, 2)), layer("b", "a", 20, 20, IF))),
}  # fmt: skip
CUBA = Cuba(9, current_decay=4096, voltage_decay=1024)
INTEGERS = {
    "three channels": Network((3, 9, 20), (layer("a", "input", 5, 3, CUBA, stride=(2, 1)), layer("b", "a", 40, 5, CUBA))),
    "resets": Network((3, 9, 20), (layer("a", "input", 5, 3, Cuba(9, reset_interval=3, reset_offset=1, axon_delay=1)),
                                   layer("b", "a", 40, 5, Cuba(9, 100, 100, delay=2)))),
    "border": Network((4, 6, 5), (layer("a", "input", 70, 4, Cuba(9, 0, 4096), padding=P2),)),
}  # fmt: skip


@pytest.fixture(params=[0.0, np.inf], ids=["images", "rows"])
def way(request, monkeypatch):
    """All steps by images, or none."""
    if not dense.DOTS:
        monkeypatch.setattr(dense, "DOTS", True)  # what dots come to without is as exact, only slow
    monkeypatch.setattr(dense, "_least", lambda *a: request.param)
    forget()
    yield request.param
    forget()


@pytest.mark.parametrize("name", NETS)
def test_layers_behind_spikes_are_numpys_either_way(name, way):
    net = NETS[name]
    x = np.random.default_rng(5).integers(0, 33, (2, *net.input_shape)) / 32
    case = Case(net, x, 5, dtype="float32", kind="exact")
    assert fused.plan(case)[-1].last.images is not None
    ours, exactly = run(case, "spikes", engine="fused", threads=1), run(case, "spikes", engine="numpy")
    for k in exactly.spikes:
        assert np.array_equal(ours.spikes[k], exactly.spikes[k]), k
        assert np.array_equal(ours.v_end[k], exactly.v_end[k]), k
    assert 0 < exactly.spikes["b"].mean() < 1
    assert np.array_equal(ours.readout, exactly.readout)


@pytest.mark.parametrize("name", INTEGERS)
def test_integer_layers_are_the_reference_either_way(name, way):
    net = INTEGERS[name]
    x = (np.random.default_rng(5).random((7, 2, *net.input_shape)) < 0.7).astype(float)
    case = Case(net, x, 7, "spikes", kind="integer")
    assert all(s.last.images is not None for s in fused.plan(case))
    ours, exactly = run(case, "spikes", engine="fused", threads=1), reference.run(case)
    for k in exactly.spikes:
        assert np.array_equal(ours.spikes[k], exactly.spikes[k]), k
        assert np.array_equal(ours.v_end[k], exactly.v_end[k]), k
    assert exactly.spikes[net.output.name].sum() > 0
