"""The cost model gives back what it was made of, counts as one does by hand, and changes bottleneck where it must."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import imagenet, nets
from benchmarks.costs import UNITS, Costs, Job, bottleneck, fitted, line, parts, switches, total, work
from snnverify.network import Branch, Conv, Dense, Flatten, Layer, Network, Neuron, Pool, Scale

JOB = Job(samples=1000, tile=10, variants=10, second=1.0, layout=0.0, sample_bytes=1e3, network_bytes=1e6,
          serial={"conversion": 100.0})  # fmt: skip
COSTS = Costs(task=0.01, byte=1e-9, bandwidth=1e9)


def test_known_coefficients_come_back():
    rng = np.random.default_rng(3)
    units = 10 ** rng.uniform(0, [1, 7, 7, 5, 7, 9], (40, len(UNITS)))
    known = np.array([5e-4, 2e-11, 1e-9, 1e-8, 0.0, 2e-12])
    seconds = units @ known
    fit = fitted(units, seconds)
    assert np.abs(fit.off).max() < 1e-9  # conditioned to some 1e4 by the columns' scaling, of 2^-53 each
    np.testing.assert_allclose(fit.seconds, known, rtol=1e-6, atol=1e-18)
    assert fit(units[7]) == pytest.approx(seconds[7])


def test_no_unit_costs_less_than_nothing():
    units = np.array([[1.0, 1.0], [1.0, 2.0], [1.0, 3.0]])
    fit = fitted(units, np.array([3.0, 2.0, 1.0]))  # the line through them is 4 - x
    assert (fit.seconds >= 0).all()
    assert fit.seconds[1] == 0
    # of seconds a alone: sum of (a / s - 1)^2 is least at a = sum(1 / s) / sum(1 / s^2) = (11 / 6) / (49 / 36)
    assert fit.seconds[0] == pytest.approx(66 / 49)
    assert fit.off == pytest.approx(np.array([3, 2, 1]) * 49 / 66 - 1)


def test_line_comes_back():
    fit, start, slope = line([1, 2, 4], [2.5, 3.0, 4.0])
    assert (start, slope) == pytest.approx((2.0, 0.5))
    assert fit.off == pytest.approx([0, 0, 0], abs=1e-12)


def test_work_by_hand():
    spiking = Neuron()
    network = Network((1, 4, 4), (
        Layer("a", (Branch(Conv(np.ones((2, 1, 3, 3)), padding=((1, 1), (1, 1)))),), spiking),
        Layer("b", (Branch(Conv(np.ones((2, 2, 1, 1))), "a"), Branch(Scale(1.0), "a")), spiking),
        Layer("pool", (Branch(Pool("average", (2, 2)), "b"),)),
        Layer("flat", (Branch(Flatten(), "pool"),)),
        Layer("out", (Branch(Dense(np.ones((3, 8))), "flat"),)),
    ))  # fmt: skip
    found = dict(zip(UNITS, work(network, 5, 7, {"a": 100, "b": 40}), strict=True))
    assert found == {
        "calls": 1,
        "constant products": 5 * 9 * 32,  # 9 taps for each of 2 x 4 x 4 units, once a sample
        "neuron updates": 5 * 7 * (32 + 32),  # read-out integrates, and is no neuron
        "pixel steps": 5 * 7 * (16 + 16),
        "skips added": 5 * 7 * 32,
        "synaptic operations": 100 * 2 + 40 * 3,  # to 2 channels; through pooling and flattening to 3 outputs
    }


def test_parts_by_hand():
    found = parts(JOB, COSTS, 300)
    assert JOB.tasks == 1000  # 100 tiles, 10 variants
    assert found == pytest.approx({
        "compute": 4 * 10 * 1.0,  # ceil(1000 / 300) tiles of 10 samples
        "scheduling": 10.0,
        "transfer": (1000 * 1e3 + 10 * 1e6) * 1e-9,
        "receiving": (4 * 10 * 1e3 + 4 * 1e6) * 1e-9,  # four tiles, and not more than four variants
        "conversion": 100.0,
    })  # fmt: skip
    assert total(JOB, found) == pytest.approx(100 + 40)
    many = parts(JOB, COSTS, 1000)
    assert total(JOB, many) == pytest.approx(100 + max(10, 10 + 0.011))  # the reporting process's parts add up


def test_a_worker_lays_out_each_variant_once():
    job = replace(JOB, layout=2.0)
    assert parts(job, COSTS, 1)["compute"] == pytest.approx(1000 * 10 + 10 * 2)
    assert parts(job, COSTS, 1000)["compute"] == pytest.approx(10 + 2)


def test_a_slow_link_counts_where_it_is_slower_than_the_processor():
    slow = replace(COSTS, bandwidth=1e6)
    assert parts(JOB, slow, 1)["transfer"] == pytest.approx(11e6 / 1e6)
    assert parts(JOB, replace(COSTS, byte=1e-5), 1)["transfer"] == pytest.approx(11e6 * 1e-5)


def test_bottlenecks_change_where_they_must():
    # compute takes 10 s ceil(1000 / n): 100 s still at n = 111 (ceil 10), 90 s from n = 112 (ceil 9)
    assert list(switches(JOB, COSTS, 1000)) == [(1, "compute"), (112, "conversion")]
    # without serial stages scheduling's 15 s: ceil(1000 / n) = 2 still at n = 999, 1 at 1,000
    quick = replace(JOB, serial={})
    assert list(switches(quick, replace(COSTS, task=0.015), 1000)) == [(1, "compute"), (1000, "scheduling")]
    assert bottleneck(parts(quick, replace(COSTS, bandwidth=1e5), 1000)) == "transfer"  # 11 MB in 110 s


def test_more_workers_than_tasks_help_nothing():
    assert parts(JOB, COSTS, 1000) == parts(JOB, COSTS, 5000)


def test_ordinary_weights_are_no_multiples_of_the_grid():
    subject = nets.mlp(True)
    found = nets.ordinary(subject).case
    for layer, before in zip(found.network.layers, subject.case.network.layers, strict=True):
        weight, was = layer.branches[0].op.weight, before.branches[0].op.weight
        np.testing.assert_allclose(weight, 1.1 * was, rtol=2**-23)
        k = weight * 2**20  # 16 bits from any power of two that holds them all do not reach as far
        assert not np.array_equal(k, np.rint(k))
    assert found.kind == "rough"


def test_the_stand_in_has_the_operations_of_resnet_18():
    module, counted = imagenet.network(), []

    def count(layer, _, y):
        counted.append(layer.weight.numel() * y[0, 0].numel())

    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        assert module(torch.from_numpy(imagenet.images(1))).shape == (1, 1000)
    assert len(counted) == 17 + 3 + 1  # He et al., Table 1: 17 convolutions and fc; a projection where stages change
    assert round(sum(counted) / 1e9, 1) == 1.8  # "1.8 x 10^9 FLOPs", which are multiply-adds there
