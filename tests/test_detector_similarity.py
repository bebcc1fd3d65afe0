"""How alike activations are before and after a conversion, held to sums over whole outputs."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from snnverify.detector.binarize import binarize
from snnverify.detector.fidelity import alike, converted, with_threshold
from snnverify.detector.repairs import changes
from snnverify.detector.samples import batches, first

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
import detector_digits


@pytest.fixture(scope="module")
def digits():
    train, judge = detector_digits.samples()
    return detector_digits.trained("digits-silu", 0, first(train, 128), 2), first(judge, 200), first(train, 128)


U = 2**-53  # unit roundoff of float64, in which similarities are summed


def outputs(net, samples, name):
    """What an activation gives, float64 [T, N, ...], from the batches in which nets are judged: bit for bit the same."""
    kept = []
    hook = net.get_submodule(name).register_forward_hook(lambda _, __, o: kept.append(o.double().numpy()))
    with torch.no_grad():
        for x, _ in batches(samples):
            net(torch.tensor(x))
    hook.remove()
    return np.concatenate(kept, 1)


def rooms(a, b):
    """What roundings allow: a sum of n terms in any order is off by n u of their sizes (Higham 2002, eq. 3.5).

    A cosine is made of three sums over a sample; the gap of two over everything. CKA is made of features, means of as many
    terms, whose products are summed over samples and centred: each norm by itself is off by so much of what it was before
    it was centred, and counts twice for each net.
    """
    each, samples = a.size // a.shape[1], a.shape[1]
    features = [np.abs(o).mean((0, 3, 4)) for o in (a, b)]
    centred = [(f := o.mean((0, 3, 4))) - f.mean(0) for o in (a, b)]
    spread = sum((f**2).sum() / np.linalg.norm(c.T @ c) for f, c in zip(features, centred, strict=True) if c.any())
    terms = each // a.shape[2] + 2 * samples + a.shape[2]
    return {"cosine": 2 * (3 * each + samples) * U, "gap": 2 * a.size * U, "cka": 2 * 4 * terms * spread * U}


def test_a_net_is_alike_to_itself_and_upstream_of_what_was_converted(digits):
    net, judge, _ = digits
    for v in alike(net, net, judge):
        a = outputs(net, judge, v.name)
        room = rooms(a, a)
        assert abs(v.cosine - 1) <= room["cosine"]
        assert v.gap == 0
        assert v.rate_before == v.rate_after
        assert abs(v.cka - 1) <= room["cka"]
    half = with_threshold(net, [], 0.1)
    last = half.get_submodule("model.3.act")
    last.act = False
    assert converted(net, half) == ["model.3.act"]
    found = {v.name: v for v in alike(net, half, judge)}
    assert all(found[n].gap == 0 for n in found if n < "model.3")
    assert found["model.3.act"].gap > 0
    assert (found["model.3.act"].before, found["model.3.act"].after) == ("silu", "binary")


def test_similarity_is_that_of_all_outputs_at_once(digits):
    """Cosine, gap and rates from the whole outputs; CKA in the form of Gram matrices over samples."""
    net, judge, _ = digits
    after, _ = binarize(net)
    name = "model.2.shortcut.1"
    both = [outputs(m, judge, name) for m in (net, after)]
    room = rooms(*both)
    a, b = (o.swapaxes(0, 1).reshape(len(judge), -1) for o in both)
    found = next(v for v in alike(net, after, judge) if v.name == name)
    cosine = [x @ y / math.sqrt((x @ x) * (y @ y)) if y.any() else 0.0 for x, y in zip(a, b, strict=True)]
    assert abs(found.cosine - np.mean(cosine)) <= room["cosine"]
    gap = np.linalg.norm(b - a) / np.linalg.norm(a)
    assert abs(found.gap - gap) <= room["gap"] * gap
    assert found.rate_after == b.sum() / b.size  # of whole numbers
    x, y = (o.mean((0, 3, 4)) for o in both)
    centre = np.eye(len(x)) - 1 / len(x)
    k, m = (centre @ f @ f.T @ centre for f in (x, y))
    cka = (k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum())
    assert abs(found.cka - cka) <= room["cka"]
    assert max(room.values()) < 2**-24  # less than one rounding of the nets' own float32


def test_a_threshold_is_that_of_the_named_units_alone(digits):
    net, judge, _ = digits
    after, _ = binarize(net)
    other = with_threshold(after, ["model.3.act"], 1e9)
    assert changes(after, other).where == ""
    assert other.get_submodule("model.3.act").constants.threshold == 1e9
    assert after.get_submodule("model.3.act").constants.threshold == 0.5
    found = {v.name: v for v in alike(after, other, judge)}
    assert found["model.3.act"].rate_after == 0
    assert found["model.2.shortcut.1"].gap == 0
    assert math.isnan(found["model.3.act"].cka)  # it does not vary
