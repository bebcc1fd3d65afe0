"""Every vector operation of the fused engine against the numpy line that says the same."""

from pathlib import Path

import numba
import numpy as np
import pytest

from snnverify.kernels import compiled as compiled_code
from snnverify.kernels import fused_layer, vectors, vectors_bits, vectors_loihi, vectors_rows
from snnverify.kernels.fused_synapse import BLOCKS, spread
from snnverify.kernels.loihi import EDGE, toward_zero

RNG = np.random.default_rng(0)


def test_kernels_on_disk_are_named_by_all_their_sources(tmp_path):
    (tmp_path / "a.py").write_text("1")
    before = compiled_code.digest(tmp_path)
    (tmp_path / "b.py").write_text("2")
    assert compiled_code.digest(tmp_path) != before
    assert compiled_code.digest(Path(compiled_code.__file__).parent) in fused_layer.spiking.py_func.__qualname__


def compiled(text, **names):
    """A compiled function of what `text` says."""
    scope = {}
    exec(text, vars(vectors) | vars(vectors_bits) | vars(vectors_loihi) | vars(vectors_rows) | names, scope)
    return numba.njit(scope["f"])


def bits_of(flags):
    return np.packbits(flags, bitorder="little")


@pytest.mark.parametrize("has", [("WIDE", "BYTES"), ("WIDE",), ()])
@pytest.mark.parametrize("kind", [np.uint16, np.int32])
@pytest.mark.parametrize("lanes", [16, 32])
def test_append_lists_the_bits_that_are_set(lanes, kind, has, monkeypatch):
    if not all(getattr(vectors, name) for name in has):
        pytest.skip(f"this processor lacks what {has} name")
    for name in ("WIDE", "BYTES"):
        monkeypatch.setattr(vectors_bits, name, name in has)
    f = compiled(f"def f(index, n, first, bits, at):\n    return append(index, n, first, bits, at, {lanes})")
    for word in [0, 1, 0x8000, 0xFFFF, 0x00FF, 0xFF00, *RNG.integers(0, 2**32, 200).tolist()]:
        index = np.full(60, 9999, kind)
        n = f(index, 5, 65500 - 32, np.concatenate([[7], np.array([word], "<u4").view(np.uint8)]).astype(np.uint8), 1)
        assert index[5:n].tolist() == [65500 - 32 + b for b in range(lanes) if word >> b & 1]
        assert (index[:5] == 9999).all()
        assert (index[5 + lanes :] == 9999).all()


@pytest.mark.parametrize("frames", [1, 4])
def test_present_lists_what_is_not_0_in_all_frames(frames):
    values = np.where(RNG.random(100) < 0.3, RNG.normal(size=100), 0).astype(np.float32)
    index = np.full(30, 9999, np.uint16)
    f = compiled(f"def f(index, values):\n    return present(index, 3, 7, values, 5, 21, {frames})")
    n = f(index, values)
    rows = np.stack([values[5 + 21 * k : 21 + 21 * k] for k in range(frames)])
    assert index[3:n].tolist() == (7 + np.flatnonzero(rows.any(0))).tolist()
    assert n > 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("frames", [1, 4])
@pytest.mark.parametrize("vectors", [1, 4])
def test_multiply_adds_a_matrix_times_some_frames(vectors, frames, dtype):
    columns = vectors * 64 // np.dtype(dtype).itemsize
    weight, values = RNG.integers(-9, 9, 5 + 8 * columns).astype(dtype), RNG.integers(-9, 9, 50).astype(dtype)
    out, index = RNG.integers(-9, 9, 7 + 5 * 70).astype(dtype), np.array([99, 3, 0, 7], np.uint16)
    expected, w = out.copy(), weight[5:].reshape(8, columns)
    for f in range(frames):
        expected[3 + 70 * f :][:columns] += values[2 + 9 * f + index[1:]] @ w[index[1:]]
    text = "def f(out, values, weight, index):\n"
    text += f"    multiply(out, 3, 70, values, 2, 9, weight, 5, index, 1, 3, {frames}, {vectors})"
    compiled(text)(out, values, weight, index)
    assert np.array_equal(out, expected)


@pytest.mark.parametrize("lanes", [16, 64])
def test_tally_counts_each_bit_over_places(lanes):
    text = "def f(counts, bits, start, offsets, of, number, unit):\n"
    f = compiled(text + f"    return tally(counts, 3, bits, start, offsets, of, number, unit, {lanes})")
    flags = RNG.random((9, lanes)) < 0.4
    bits = np.concatenate([np.zeros(2, np.uint8), bits_of(flags)])
    offsets = np.array([99, 4, -1, 0, 8, 4], np.int32)
    for number in (0, 1, 2, 5):
        seen = [o for o in offsets[1 : 1 + number] if o >= 0]
        counts = np.full(lanes + 6, 77, np.uint8)
        some = f(counts, bits, 2, offsets, 1, number, lanes // 8)
        assert np.array_equal(counts[3:-3], flags[seen].sum(0))
        assert (counts[[0, 1, 2, -3, -2, -1]] == 77).all()
        assert int(some) % 2**lanes == sum(1 << int(b) for b in np.flatnonzero(flags[seen].any(0)))


def test_unfold_writes_a_byte_for_every_bit():
    flags, out = RNG.random(64) < 0.5, np.full(70, 9, np.uint8)
    compiled("def f(out, bits):\n    unfold(out, 3, bits, 2, 64)")(
        out, np.concatenate([np.zeros(2, np.uint8), bits_of(flags)])
    )
    assert np.array_equal(out[3:67], flags)
    assert (np.delete(out, range(3, 67)) == 9).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_block_adds_the_rows_of_the_active_inputs(dtype, weighted):
    lanes = 64 // np.dtype(dtype).itemsize
    for block, (taps, width) in enumerate(BLOCKS):
        row = taps * width * lanes
        weight = RNG.integers(-9, 9, 3 + 6 * row).astype(dtype)
        index = np.array([4, 0, 5, 0], np.uint16)
        factor = np.array([2, -1, 3, 0], dtype) if weighted else None
        targets = np.arange(2 * (taps + 1), dtype=np.int32).reshape(2, -1) * width * lanes
        out = RNG.integers(-9, 9, targets.size * width * lanes + 2).astype(dtype)
        expected = out.copy()
        for j, i in enumerate(index):
            for k in range(taps):
                at = targets[1, 1 + k] + 2
                rows = weight[3 + i * row + k * width * lanes :][: width * lanes]
                expected[at : at + width * lanes] += rows * (factor[j] if weighted else 1)
        piece = np.array([[-1] * 6, [block, 1, 2, 3, row, 0]])
        spread(out, (piece, np.array([[0, 0], [1, 2]]), targets, weight), index, factor, 4, 1)
        assert np.array_equal(out, expected), (taps, width)


@pytest.mark.parametrize("most", [4, 8])
def test_rows_of_bytes_are_added_in_groups_that_do_not_overflow(most):
    index = np.array([4, 0, 5, 5, 1, 2, 0, 5, 5, 1, 5, 5], np.uint16)
    for block, (taps, width) in enumerate(BLOCKS):
        size = taps * width * 32
        row = -(-size // 64) * 64
        weight = RNG.integers(-(127 // most), 127 // most + 1, (6, row)).astype(np.int8)
        targets = np.arange(taps, dtype=np.int32)[None, ::-1].copy() * width * 32
        for n in range(0, 13, 4):
            out = RNG.integers(-999, 999, size).astype(np.int16)
            added = weight[index[:n], :size].astype(int).sum(0).reshape(taps, -1)[::-1].ravel()
            expected = out + added
            piece = np.array([[block, 0, 0, 0, row, most]])
            spread(out, (piece, np.array([[0, 1]]), targets, weight.ravel()), index, None, n, 0)
            assert np.array_equal(out, expected), (taps, width, n)


@pytest.mark.parametrize(
    "kinds", [(np.uint8, np.int32), (np.float32, np.float32), (np.int64, np.int64), (np.float32, float)]
)
def test_turn_puts_channels_before_pixels(kinds):
    source = RNG.integers(0, 200, 900).astype(kinds[0])
    f = compiled("def f(out, source, add):\n    turn(out, 3, 21, source, 2, 50, add, 16)")
    row = compiled("def f(out, source, add):\n    turn(out, 370, 0, source, 5, 0, add, 1)")
    for add in (True, False):
        out = RNG.integers(0, 99, 400).astype(kinds[1])
        expected = out.copy()
        for i in range(16):
            for j in range(16):
                expected[3 + 21 * i + j] = source[2 + 50 * j + i] + (expected[3 + 21 * i + j] if add else 0)
            expected[370 + i] = source[5 + i] + (expected[370 + i] if add else 0)
        f(out, source, add)
        row(out, source, add)
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_words_of_floats(dtype):
    v, x, theta, sums = (RNG.normal(size=70).astype(dtype) for _ in range(4))
    v[2 + 7] = theta[4 + 7]  # a tie
    bits = np.uint64(RNG.integers(0, 2**63))
    flags = np.unpackbits(np.array([bits]).view(np.uint8), bitorder="little").astype(bool)
    say = "def f(v, x, theta, bits, to):\n    return "
    part, other = slice(2, 66), slice(4, 68)
    cases = {
        "plus(v, 2, x, 4)": v[part] + x[other],
        "copy(v, 2, x, 4)": x[other],
        "lower(v, 2, theta, 4, bits)": np.where(flags, v[part] - theta[other], v[part]),
        "put(v, 2, to, bits)": np.where(flags, dtype(0.25), v[part]),
    }
    for call, expected in cases.items():
        w = v.copy()
        compiled(say + call)(w, x, theta, bits, dtype(0.25))
        assert np.array_equal(w[part], expected), call
        assert np.array_equal(np.delete(w, range(2, 66)), np.delete(v, range(2, 66)))
    for strict, expected in ((True, v[part] > theta[other]), (False, v[part] >= theta[other])):
        found = compiled(say + f"over(v, 2, theta, 4, {strict})")(v, x, theta, bits, dtype(0))
        assert np.array_equal(np.array([found], np.uint64).view(np.uint8), bits_of(expected))
    for held, unit in ((sums, dtype(1)), (RNG.integers(-999, 999, 70).astype(np.int16), dtype(2**-6))):
        room, left = np.zeros(70, dtype), held.copy()
        compiled("def f(x, base, sums, scale):\n    drain(x, 1, base, 4, sums, 2, scale)")(room, x, left, unit)
        assert np.array_equal(room[1:65], x[other] + held[part].astype(dtype) * unit)
        assert (left[part] == 0).all()
        assert np.array_equal(left[[0, 1, -2]], held[[0, 1, -2]])


@pytest.mark.parametrize("strict", [True, False])
def test_integrate_is_one_step_after_the_other(strict):
    v, x, theta = RNG.integers(-8, 8, 64) / 8, RNG.integers(-8, 16, 64) / 8, RNG.integers(1, 12, 64) / 8
    v, x, theta = (a.astype(np.float32) for a in (v, x, theta))
    bits, expected, u = np.zeros(3 * 20 + 1, np.uint64), [], v.copy()
    for _ in range(20):
        u = u + x
        fires = u > theta if strict else u >= theta
        u = np.where(fires, u - theta, u)
        expected.append(bits_of(fires))
    text = f"def f(v, x, theta, bits):\n    integrate(v, 0, x, 0, theta, 0, bits, 1, 3, 20, {strict})"
    compiled(text)(v, x, theta, bits)
    assert np.array_equal(v, u)
    assert np.array_equal(bits[1::3].copy().view(np.uint8).reshape(20, 8), expected)


def test_weigh_adds_counts_times_a_factor():
    x, factor = (RNG.normal(size=40).astype(np.float32) for _ in range(2))
    counts, before = RNG.integers(0, 255, 40).astype(np.uint8), x.copy()
    compiled("def f(x, factor, counts):\n    weigh(x, 3, factor, 16, counts)")(x, factor, counts)
    assert np.array_equal(x[3:19], before[3:19] + factor[16:32] * counts[16:32].astype(np.float32))
    assert np.array_equal(np.delete(x, range(3, 19)), np.delete(before, range(3, 19)))


@pytest.mark.parametrize("shift", [-3, 0, 5])
@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_convey_shifts_sums_as_a_weight_exponent_does(kind, shift):
    sums, x = RNG.integers(-(2**15), 2**15, 66).astype(kind), np.zeros(64, np.int64)
    given = sums[1:65].astype(np.int64)
    f = compiled("def f(x, sums, right, left):\n    convey(x, sums, 1, right, left)")
    f(x, sums, max(-shift, 0), 6 + max(shift, 0))
    assert np.array_equal(x, 64 * (given << shift if shift >= 0 else given >> -shift))
    assert (sums[1:65] == 0).all()


def test_decay_rounds_toward_zero_and_beyond_tells_24_bits():
    v = RNG.integers(-EDGE, EDGE, 64)
    v[:6] = [0, 1, -1, EDGE - 1, -EDGE, -4095]
    left, x, y = RNG.integers(0, 4097, 64), RNG.integers(-99, 99, 64), RNG.integers(-99, 99, 64)
    w = v.copy()
    compiled("def f(v, left, x, y):\n    decay(v, 0, left, 0, x, 0, y, 0)")(w, left, x, y)
    assert np.array_equal(w, toward_zero(v * left) + x + y)
    assert w[2] - x[2] - y[2] == (-1 if left[2] == 4096 else 0)
    ends = np.array([EDGE - 1, EDGE, -EDGE, -EDGE - 1] * 16)
    found = compiled(f"def f(v):\n    return beyond(v, 0, {EDGE})")(ends)
    assert np.array_equal(np.array([found], np.uint64).view(np.uint8), bits_of(np.array([0, 1, 0, 1] * 16, bool)))


@pytest.mark.parametrize(("decays", "calm"), [(True, False), (False, False), (False, True)])
@pytest.mark.parametrize("kind", [np.int16, np.int32])
def test_beat_is_a_step_of_cuba_in_32_bits(kind, decays, calm):
    u, v = (RNG.integers(-EDGE, EDGE, 70).astype(np.int32) for _ in range(2))
    u[3:9] = v[5:11] = [0, 1, -1, EDGE - 1, -EDGE, -4095]
    v >>= 5 * calm  # a state whose product with 4096 has 31 bits
    sums = RNG.integers(-(2**15), 2**15, 70).astype(kind)
    u_left, v_left = (RNG.integers(0, 4097, 70).astype(np.int32) for _ in range(2))
    bias, theta = RNG.integers(-(2**20), 2**20, 70).astype(np.int32), RNG.integers(0, EDGE, 70).astype(np.int32)
    one, other, part = slice(3, 67), slice(5, 69), slice(2, 66)
    before = [a.astype(np.int64) for a in (u, v, sums, u_left, v_left, bias, theta)]
    text = "def f(u, v, sums, u_left, v_left, bias, theta):\n"
    text += f"    return beat(u, v, 3, sums, 5, 2, 6, u_left, v_left, bias, theta, 2, {decays}, {calm})"
    words = compiled(text)(u, v, sums, u_left, v_left, bias, theta)
    u0, v0, s0, ul, vl, b, limit = before
    current = ((s0[other] >> 2) << 6) + (toward_zero(u0[one] * ul[part]) if decays else 0)
    potential = toward_zero(v0[one] * vl[part]) + current + b[part]
    fires = potential > limit[part]
    assert np.array_equal(u[one], current if decays else u0[one])  # what lasts a step is kept nowhere
    assert np.array_equal(v[one], np.where(fires, 0, potential))
    assert (sums[other] == 0).all()
    outside = [(a < -EDGE) | (a >= EDGE) if not calm else np.zeros(64, bool) for a in (current, potential)]
    for word, flags in zip(words, (fires, *outside), strict=True):
        assert np.array_equal(np.array([word], np.uint64).view(np.uint8), bits_of(flags))
    assert np.array_equal(u[[0, 1, 2, 67]], u0[[0, 1, 2, 67]])
