"""Decoding, suppression, precision and loss of detectors' boxes, each held to something else."""

import math
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from snnverify.detector.boxes import anchors_of, decode, detections, overlaps, precision_of, suppress
from snnverify.detector.fidelity import Detected, answers, paired
from snnverify.detector.generated import write_rectangles
from snnverify.detector.losses import detection_loss
from snnverify.detector.model import Detector, described
from snnverify.detector.repairs import tuned
from snnverify.detector.samples import open_samples
from snnverify.errors import DataError

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))


def sigmoid(t):
    return 1 / (1 + math.exp(-t))


def test_decode_is_the_equations_cell_by_cell():
    rng = np.random.default_rng(0)
    raw = [torch.tensor(rng.normal(size=(2, 3, n, n, 7))) for n in (4, 2)]
    anchors = torch.tensor(rng.uniform(4, 60, (2, 3, 2)))
    found = decode(raw, anchors, 64)
    assert found.shape == (2, 3 * 20, 6)
    row = 0
    for t, priors, stride in ((raw[0], anchors[0], 16), (raw[1], anchors[1], 32)):
        for a in range(3):
            for cy in range(t.shape[2]):
                for cx in range(t.shape[3]):
                    tx, ty, tw, th, to, *tk = t[1, a, cy, cx].tolist()
                    x, y = stride * (2 * sigmoid(tx) - 0.5 + cx), stride * (2 * sigmoid(ty) - 0.5 + cy)
                    w, h = priors[a, 0].item() * (2 * sigmoid(tw)) ** 2, priors[a, 1].item() * (2 * sigmoid(th)) ** 2
                    wanted = [x - w / 2, y - h / 2, x + w / 2, y + h / 2, *(sigmoid(to) * sigmoid(k) for k in tk)]
                    # a dozen operations in float64 on values below 2^9
                    assert np.abs(found[1, row].numpy() - wanted).max() < 2.0**-53 * 16 * 512
                    row += 1


def test_suppression_keeps_what_overlaps_little():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 6], [20, 20, 30, 30], [0, 0, 10, 10]], float)
    assert overlaps(boxes[:1], boxes).tolist() == [[1, 0.5, 0.6, 0, 1]]
    scores = np.array([0.9, 0.8, 0.7, 0.95, 0.9])
    assert suppress(boxes, scores, 0.5).tolist() == [3, 0, 1]  # an IoU of 0.5 is not above 0.5
    assert suppress(boxes, scores, 0.4).tolist() == [3, 0]
    assert suppress(boxes[:0], scores[:0]).tolist() == []
    one = np.column_stack([boxes, scores, scores[::-1]])
    found = detections(one, 0.75, 0.5)
    # class 0: boxes 3, 0 (its twin 4 goes), 1; class 1, scores reversed: 1, 0 (4 goes), 3
    assert sorted(map(tuple, found[:, [0, 5]])) == [(0, 0.8), (0, 0.9), (0, 0.95), (1, 0.8), (1, 0.9), (1, 0.95)]
    assert found[:, 5].tolist() == [0.95, 0.95, 0.9, 0.9, 0.8, 0.8]
    assert len(detections(one, 0.75, 0.5, most=2)) == 2


def test_detections_of_nothing():
    assert detections(np.zeros((0, 6))).shape == (0, 6)
    assert detections(np.zeros((5, 6))).shape == (0, 6)


def test_average_precision_by_hand():
    """COCO's definition: the greatest precision at or beyond each of 101 recalls, mean over classes that have a box."""
    boxes = [
        np.array([[0, 0, 0, 10, 10], [0, 20, 20, 40, 40]], float),
        np.array([[0, 5, 5, 25, 25], [1, 50, 50, 60, 60]], float),
    ]
    found = [
        np.array([[0, 0, 0, 10, 10, 0.9], [0, 60, 60, 70, 70, 0.8]]),  # right, wrong
        np.array(
            [[0, 5, 5, 25, 17.6, 0.7], [1, 50, 50, 60, 60, 0.3], [2, 0, 0, 9, 9, 0.99]]
        ),  # IoU 0.63; right; no box of 2
    ]
    # class 0: ranks right, wrong, right (IoU <= 0.6) of 3 boxes: precision 1 to recall 1/3, then 2/3 to recall 2/3
    to_a_third, to_two_thirds = Fraction(34, 101), Fraction(33, 101)  # recalls 0 ... 0.33, and 0.34 ... 0.66
    loose, tight = to_a_third + to_two_thirds * Fraction(2, 3), to_a_third
    each = [loose] * 3 + [tight] * 7  # IoU 0.5, 0.55, 0.6; 0.65 ... 0.95
    wanted = (loose + 1) / 2, (sum(each) / 10 + 1) / 2
    ap = precision_of(boxes, found, 3).ap()
    # means over 101 recalls, 10 overlaps and 2 classes of quotients of one rounding, in float64
    room = (101 + 10 + 2 + 1) * 2**-53
    assert ap == pytest.approx([float(v) for v in wanted], abs=room, rel=0)
    # the second image alone, twice: the right box first of two
    twice = precision_of(boxes, found, 3).ap(np.array([1, 1]))
    assert twice == pytest.approx([1.0, (0.3 + 1) / 2], abs=room, rel=0)
    assert precision_of(boxes, [f[:0] for f in found], 3).ap() == (0.0, 0.0)
    with pytest.raises(DataError, match="no image holds a box"):
        precision_of([b[:0] for b in boxes], found, 3)


def test_images_resampled_are_images_evaluated_anew():
    rng = np.random.default_rng(1)
    truth = [np.column_stack([rng.integers(0, 2, 3), c := rng.uniform(0, 40, (3, 2)), c + 15]) for _ in range(6)]
    found = [np.column_stack([t[:, 0], t[:, 1:] + rng.normal(0, 2, (3, 4)), rng.random(3)]) for t in truth]
    whole = precision_of(truth, found, 2)
    chosen = np.array([5, 0, 0, 3, 2, 5])
    assert whole.ap(chosen) == precision_of([truth[i] for i in chosen], [found[i] for i in chosen], 2).ap()
    assert whole.ap() == precision_of(truth, found, 2).ap()  # and it is left as it was


def test_few_images_never_pass():
    truth = [np.array([[0, 0, 0, 9, 9]], float)] * 20
    same = Detected(precision_of(truth, [np.column_stack([t, [0.9]]) for t in truth], 1))
    drop = paired(same, same, Fraction(1, 100), 5, 10)
    assert drop.drop == 0
    assert drop.verdict.outcome == "INCONCLUSIVE"
    # 13.9 %: what all of 20 samples miss with probability 5 %, (1 - p)^20 = 0.05
    # a power, two differences, a power of 20 near 0.05: 10 roundings of what is at most 1
    assert (1 - drop.upper) ** 20 == pytest.approx(0.05, abs=10 * 2**-53, rel=0)
    nothing = Detected(precision_of(truth, [np.zeros((0, 6))] * 20, 1))
    assert paired(same, nothing, Fraction(1, 100), 5, 10).verdict.outcome == "FAIL"
    assert paired(same, same, Fraction(1, 5), 5, 10).verdict.outcome == "PASS"


def test_loss_of_a_box_that_is_found():
    """Found without doubt, all that is left is ``log(1 + e^-12)`` of each sigmoid of 12: twice objectness, half a class."""
    anchors = torch.tensor([[[16.0, 16.0]], [[128.0, 128.0]]])  # the second is 8 times the box: out of reach
    truth = [np.array([[1, 8.0, 8.0, 24.0, 24.0]]), np.zeros((0, 5))]
    raw = [torch.full((2, 1, n, n, 7), -12.0, dtype=torch.float64) for n in (4, 2)]
    corner = -math.log(3)  # sigma is a quarter: 16 (2/4 - 1/2 + 1) is the box's centre
    raw[0][0, 0, 1, 1] = torch.tensor([corner, corner, 0, 0, 12, -12, 12], dtype=torch.float64)
    rest = math.log1p(math.exp(-12))
    # IoU comes from sigmas of 4 roundings, in sixteenths of a box: off by 20 at most. It is the target of a logit of 12,
    # whose loss is a difference of two 12s: in all 64 roundings of 1.
    room = {"abs": 64 * 2**-53, "rel": 0}
    assert float(detection_loss(raw, truth, anchors, 64)) == pytest.approx(2.5 * rest, **room)
    # half a box to the side: IoU 1/3, all of the enclosing box is covered, and the target of one of 32 places is 1/3
    for i, value, costs in ((0, 0.0, 0.05 * 2 / 3 + 8 / 32), (4, -12.0, 12 / 32), (6, -12.0, 0.5 * 12 / 2)):
        worse = [t.clone() for t in raw]
        worse[0][0, 0, 1, 1, i] = value
        assert float(detection_loss(worse, truth, anchors, 64)) == pytest.approx(costs + 2.5 * rest, **room)
    assert np.isfinite(float(detection_loss(raw, [np.zeros((0, 5))] * 2, anchors, 64)))


def test_anchors_beside_strides_are_in_their_units():
    net = Detector(described("resnet10"))
    detect = net.model[9]
    pixels = detect.anchors.clone()
    assert torch.equal(anchors_of(detect), pixels)
    detect.stride = torch.tensor([16.0, 32.0])
    detect.anchors = pixels / detect.stride.view(-1, 1, 1)
    assert torch.equal(anchors_of(detect), pixels)


def test_a_detector_learns_boxes(tmp_path):
    """A few epochs on four images, found again: decoding, loss and precision speak of the same boxes."""
    data = write_rectangles(tmp_path / "shapes", 8, 4)
    torch.manual_seed(0)
    net = Detector(described("resnet10"))
    train = open_samples(str(data), net, 64, "train")
    untrained = answers(net, train).scores["mAP@0.5"]
    learnt = answers(tuned(net, train, 20, 5e-3, batch=4), train).scores["mAP@0.5"]
    assert learnt > untrained + 0.2
