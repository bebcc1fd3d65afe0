"""Runs with known figures, for the tests of the report."""

from fractions import Fraction
from functools import cache

import numpy as np

from snnverify.activation import Relu
from snnverify.convert import convert
from snnverify.fidelity import Fidelity, LayerFidelity, ModelUnderTest
from snnverify.findings import Finding, Measure
from snnverify.gate import REQUIRED, judge
from snnverify.network import INPUT, Branch, Dense, Layer, Network
from snnverify.pipeline import Assessment, Run

STEPS = (1, 4)


@cache
def converted():
    ann = Network(
        (2,),
        (
            Layer("hidden", (Branch(Dense(np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]])), INPUT),), Relu()),
            Layer("deep", (Branch(Dense(np.eye(3)), "hidden"),), Relu()),
            Layer("out", (Branch(Dense(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])), "deep"),)),
        ),
    )
    return convert(ann, np.array([[0.5, 1.0], [1.0, 0.25]]), mode="max")


def layer(name, error, inherited, left_over, clipped):
    return LayerFidelity(
        layer=name, rate=0.25, ann_rate=0.375, error_mean=error, error_max=0.5, inherited=inherited,
        own=min(left_over, error + inherited),
        left_over=left_over, clipped=clipped, identity=1e-8, unexplained=-0.25, normalisation=1e-9,
        ann_max=1.25, rounding=1e-6,
        rate_limit=float("nan"), dead=1, saturated=2, units=3,
    )  # fmt: skip


def predictions(n, at_first, at_last):
    """Half of class 0, half of class 1; the ANN errs on samples 0 ... 9. Of the SNN: (b, c) at each T.

    c of the ANN's errors are right, samples 0 ... c - 1; b of its hits are wrong, samples 10 ... b + 9.
    """
    labels = np.repeat([0, 1], n // 2)
    ann = labels.copy()
    ann[:10] = 1
    snn = np.stack([ann, ann])
    for row, (b, c) in zip(snn, (at_first, at_last), strict=True):
        row[:c] = 0
        row[10 : 10 + b] = 1 - labels[10 : 10 + b]
    return labels, ann, snn


def passes(subject, without=()):
    return [
        Finding(name, subject, "pass", "a law", "its source", 7, Measure("residual", 1e-7, 1e-6, "hidden"))
        for name in REQUIRED
        if name not in without
    ]


def assessment(n=400, at_first=(40, 4), at_last=(0, 0), findings=None, name="net", layers=None):
    labels, ann, snn = predictions(n, at_first, at_last)
    parts = layers or (layer("hidden", 0.02, 0.0, 0.5, 0.125), layer("deep", 0.0625, 0.25, 0.03125, 0.0))
    events = {
        "hidden": {"spikes": 800, "neuron_updates": 4 * 3 * n, "synaptic_operations": 0},
        "deep": {"spikes": 400, "neuron_updates": 4 * 3 * n, "synaptic_operations": 1600},
        "out": {"spikes": 0, "neuron_updates": 0, "synaptic_operations": 800},
    }
    fidelity = Fidelity(steps=STEPS, labels=labels, ann=ann, snn=snn, ties=(3, 0), layers=tuple(parts), events=events)
    model = ModelUnderTest(
        name=name, converted=converted(), x=np.zeros((n, 2)), logits=np.zeros((n, 2)), unit=2.0**-53, noise=0.0,
        fidelity=fidelity, margin=Fraction(1, 100),
    )  # fmt: skip
    found = passes(name) if findings is None else findings
    verdict = judge({t: fidelity.paired(t) for t in STEPS}, model.margin, found)
    return Assessment(
        model=model, findings=tuple(found), required=REQUIRED, verdict=verdict, facts={"data": "made by hand"}
    )


def run_of(*assessments):
    return Run(assessments, {"command": "snnverify report --seed 3", "seed": 3, "libraries": {"numpy": "2.0"}})
