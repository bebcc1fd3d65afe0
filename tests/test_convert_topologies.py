"""Conversion of torch models of every topology: balanced thresholds, equal forms, and the ANN in the limit of T."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch_models import ann_of, built

from snnverify.activation import Neuron, Relu
from snnverify.convert import convert
from snnverify.network import Branch, Conv, Layer, Network, Pool, Scale
from snnverify.simulate import forward
from snnverify.zoo.corpus.modules import Calls

SHAPE = (2, 6, 6)


pytestmark = pytest.mark.usefixtures("one_thread")


def residual() -> nn.Module:
    return Calls(lambda m, x: m.fc(m.flat(m.act2(m.b(h := m.act1(m.a(x))) + h))), a=nn.Conv2d(2, 4, 3, padding=1),
                 act1=nn.ReLU(), b=nn.Conv2d(4, 4, 3, padding=1), act2=nn.ReLU(), flat=nn.Flatten(),
                 fc=nn.Linear(144, 3))  # fmt: skip


def grouped() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 6, 3, groups=2), nn.ReLU(), nn.Conv2d(6, 9, 3, groups=3), nn.ReLU(),
                         nn.Conv2d(9, 9, 2, groups=9), nn.ReLU(), nn.Flatten(), nn.Linear(9, 3))  # fmt: skip


def transposed() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3, 2, groups=2), nn.ReLU(),
                         nn.ConvTranspose2d(6, 2, 2), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
                         nn.Linear(50, 3))  # fmt: skip


def concatenated() -> nn.Module:
    def run(m, x):
        return m.fc(m.flat(m.act3(m.c(torch.cat([m.act1(m.a(x)), x, m.act2(m.b(x))], 1)))))

    return Calls(run, a=nn.Conv2d(2, 3, 1), act1=nn.ReLU(), b=nn.Conv2d(2, 2, 3, padding=1), act2=nn.ReLU(),
                 c=nn.Conv2d(7, 4, 3), act3=nn.ReLU(), flat=nn.Flatten(), fc=nn.Linear(64, 3))  # fmt: skip


def pooled_sum() -> nn.Module:
    def run(m, x):
        h = m.act1(m.a(x))
        return m.fc(m.flat(m.act2(m.b(h) + m.pool(h) + h)))

    return Calls(run, a=nn.Conv2d(2, 3, 3), act1=nn.ReLU(), b=nn.Conv2d(3, 3, 1), pool=nn.AvgPool2d(3, 1, 1),
                 act2=nn.ReLU(), flat=nn.Flatten(), fc=nn.Linear(48, 3))  # fmt: skip


def all_convolutional() -> nn.Module:
    """A global average of the last activation gives the classes: no weights come after its thresholds."""
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
                         nn.Flatten())  # fmt: skip


def image_to_image() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.AvgPool2d(2))


TOPOLOGIES = [residual, grouped, transposed, concatenated, pooled_sum, all_convolutional, image_to_image]


def uneven(factory: Callable[[], nn.Module]) -> nn.Module:
    """Weights whose channels differ widely in size, so that a factor on the wrong channel shows."""
    model = built(factory(), 3)
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
                axis = 1 if isinstance(m, nn.ConvTranspose2d) else 0
                size = torch.logspace(-1, 0.5, m.weight.shape[axis])
                m.weight.mul_(size.reshape([-1 if a == axis else 1 for a in range(4)]))
    return model


@pytest.mark.parametrize("mode", ["max", "channel-wise"])
@pytest.mark.parametrize("factory", TOPOLOGIES, ids=lambda f: f.__name__)
def test_thresholds_balance_in_every_topology(factory: Callable[[], nn.Module], mode: str) -> None:
    model, x = uneven(factory), np.random.default_rng(5).normal(size=(8, *SHAPE))
    y = ann_of(model, x)
    forms = {form: convert(model, x, mode=mode, form=form) for form in ("normalise", "balance")}
    for form, c in forms.items():
        # Without dynamics, the weights alone must compute what torch does: a ReLU for every neuron. Fewer than 2000
        # products and 10 layers: 2000 x 10 x 2^-53 = 2e-12.
        layers = [replace(v, act=Relu()) if isinstance(v.act, Neuron) else v for v in c.snn.layers]
        out = forward(Network(SHAPE, tuple(layers)), x)[c.snn.output.name]
        unit = c.units[c.snn.output.name]
        found = out * np.reshape(unit, (-1, *(1,) * (out.ndim - 2)) if np.ndim(unit) else ())
        np.testing.assert_allclose(found, y, rtol=0, atol=2e-12 * np.abs(y).max(), err_msg=form)
        if form == "normalise":
            assert all(np.all(theta == 1) for theta in c.thresholds.values())
    counts = {form: c.simulate(x, 64, dtype="float64").counts for form, c in forms.items()}
    for name, a in counts["normalise"].items():
        # The two forms are one network in two units; only a rounding can part them.
        assert (a != counts["balance"][name]).mean() < 1e-3, name
    if y.ndim == 2:
        two = np.sort(forms["normalise"].run(x, 64), 1)[:, -2:]
        clear = two[:, 1] - two[:, 0] > 1e-3 * np.abs(y).max()  # no tie that a rounding may decide
        assert clear.mean() > 0.5
        classes = [c.classify(x, 64)[clear].tolist() for c in forms.values()]
        assert classes[0] == classes[1]
    errors = [np.abs(forms["normalise"].run(x, steps) - y).max() / np.abs(y).max() for steps in (32, 512)]
    assert errors[1] < min(0.03, errors[0] / 4), errors


def test_a_module_used_again_beside_a_sum_of_three_has_a_name_of_its_own() -> None:
    """Reuse is named ``relu:2``, and so is the summand that pooling puts in front of a sum."""

    def run(m, x):
        return m.relu(m.a(m.relu(m.a(x) + m.b(x) + m.pool(m.first(m.a(x))))))

    conv = {k: nn.Conv2d(2, 2, 3, padding=1) for k in "ab"}
    model = built(Calls(run, **conv, pool=nn.AvgPool2d(3, 1, 1), first=nn.ReLU(), relu=nn.ReLU()))
    x = np.random.default_rng(0).normal(size=(8, *SHAPE))
    y = ann_of(model, x)
    assert np.abs(convert(model, x, mode="max").run(x, 512) - y).max() < 0.1 * y.max()


def test_names_of_inserted_layers_do_not_meet_those_of_the_network() -> None:
    conv = Conv(np.ones((1, 1, 1)))
    layers = [Layer("r", (Branch(conv), Branch(Scale()), Branch(Pool("average", (1,)))), Relu()),
              Layer("r:2", (Branch(conv, "r"),), Relu())]  # fmt: skip
    c = convert(Network((1, 2), tuple(layers)), np.ones((1, 1, 2)), mode="max", v_init="zero")
    assert c.run(np.full((1, 2), 0.25), 8).tolist() == [[0.75, 0.75]]
