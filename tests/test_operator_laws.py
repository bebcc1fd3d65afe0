"""The laws of operators notice planted faults: the package itself has no quantiser or surrogate that could break them."""

import numpy as np
import pytest

from snnverify.checks import select
from snnverify.oracles import Oracle
from snnverify.run import run


def half_even(x):
    return np.round(x * 4) / 4


def bernoulli(x, steps, seed):
    return (np.random.default_rng(seed).random((steps, *x.shape)) < x).astype(float)


def sigmoid(x):
    return 1 / (1 + np.exp(-4 * x))


def derivative(x):
    return 4 * sigmoid(x) * sigmoid(-x)


SOUND = {"quantize_a": half_even, "encode_rate": bernoulli, "gradient_s": derivative, "primitive_s": sigmoid}
FAULTS = {
    "a grid of thirds on the way back": ("quantisers", "quantize_a", lambda x: half_even(x) + (x > 0.5) / 3),
    "zero is between two levels": ("quantisers", "quantize_a", lambda x: half_even(x) + 0.125),
    "nothing is left": ("quantisers", "quantize_a", lambda x: 0 * x),
    "seven eighths of the rate": ("encoders", "encode_rate", lambda x, t, s: bernoulli(x * 0.875, t, s)),
    "it falls": ("quantisers", "quantize_a", lambda x: half_even(np.where(x > 0.5, 0, x))),
    "NaN": ("quantisers", "quantize_a", lambda x: x / 0.0 if np.any(x) else x),
    "time is the second axis": ("encoders", "encode_rate", lambda x, t, s: bernoulli(x, t, s).swapaxes(0, 1)),
    "half the rate": ("encoders", "encode_rate", lambda x, t, s: bernoulli(x / 2, t, s)),
    "a seed of its own": ("encoders", "encode_rate", lambda x, t, s: bernoulli(x, t, None)),
    "graded": ("encoders", "encode_rate", lambda x, t, s: bernoulli(x, t, s) * 0.5),
    "two spikes": ("encoders", "encode_latency", lambda x, t, s: np.ones((t, *x.shape))),
    "the weaker first": (
        "encoders",
        "encode_latency",
        lambda x, t, s: np.eye(t)[np.int64(x * (t - 1))].transpose(2, 0, 1),
    ),
    "zero at the threshold": ("gradients", "gradient_s", lambda x: derivative(x) * (x != 0)),
    "negative": ("gradients", "gradient_s", lambda x: -derivative(x)),
    "infinite at minus zero": ("gradients", "gradient_s", lambda x: derivative(x) / ~(np.signbit(x) & (x == 0))),
    "not differentiable": ("gradients", "gradient_s", lambda x: {}["grad_output"]),
    "scaled": ("gradient_of_primitive", "gradient_s", lambda x: 1.01 * derivative(x)),
}


@pytest.mark.parametrize("law", ["quantisers", "encoders", "gradients", "gradient_of_primitive"])
def test_sound_operators_pass(law):
    (check,) = select(f"operators.{law}")
    assert run(check, Oracle("sound", "1", operators=SOUND), examples=25).outcome == "pass"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_fail(fault):
    law, name, operator = FAULTS[fault]
    (check,) = select(f"operators.{law}")
    finding = run(check, Oracle("faulty", "1", operators=SOUND | {name: operator}), examples=25)
    assert finding.outcome == "fail", finding
    assert finding.worst.where.startswith(name) or finding.worst.where == name.replace("gradient", "primitive")


def test_a_subject_without_operators_is_unsupported():
    for law in ("quantisers", "encoders", "gradients", "gradient_of_primitive"):
        (check,) = select(f"operators.{law}")
        assert run(check, Oracle("bare", "1", operators={"fold": np.add}), examples=2).outcome == "unsupported"
