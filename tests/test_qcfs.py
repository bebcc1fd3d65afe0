"""QCFS against its formula in Fractions, its gradients in closed form, its fine-tuning, and its exact conversion."""

from __future__ import annotations

import copy
import math
from fractions import Fraction as Fr

import numpy as np
import pytest
import torch
from torch import nn

from snnverify.activation import ClipFloor, Neuron
from snnverify.convert import QCFS, convert, fine_tune, replace_relu
from snnverify.errors import ConfigError, Unsupported
from snnverify.simulate import forward

pytestmark = pytest.mark.usefixtures("one_thread")


def law(z: Fr, levels: int, theta: Fr, shift: Fr) -> Fr:
    """``theta clip(floor(z L / theta + shift) / L, 0, 1)`` (Bu et al., ICLR 2022, eq. 12)."""
    return theta * min(max(Fr(math.floor(z * levels / theta + shift), levels), Fr(0)), Fr(1))


@pytest.mark.parametrize("levels", [1, 2, 4, 16])
@pytest.mark.parametrize("theta", [Fr(1), Fr(1, 4), Fr(8)])
@pytest.mark.parametrize("shift", [Fr(0), Fr(1, 2), Fr(3, 4)])
def test_forward_equals_the_formula(levels: int, theta: Fr, shift: Fr) -> None:
    """Powers of two keep every product exact, so that ties, the borders and what lies beside them are all decided."""
    grid = [theta * Fr(k, 64) for k in range(-70, 135)] + [theta * -9, theta * 9]
    act = QCFS(levels, float(theta), float(shift)).double()
    found = act(torch.tensor([float(z) for z in grid], dtype=torch.float64)).tolist()
    assert [Fr(y) for y in found] == [law(z, levels, theta, shift) for z in grid]


def test_ties_round_half_up() -> None:
    # theta 1, L 4: z L = 1/2, 3/2, 5/2, 7/2 give 1, 2, 3, 4 steps; half to even would give 0, 2, 2, 4.
    assert QCFS(4)(torch.tensor([1.0, 3, 5, 7]) / 8).tolist() == [0.25, 0.5, 0.75, 1]


def test_forward_on_ordinary_floats_equals_the_formula_but_for_rounding() -> None:
    rng = np.random.default_rng(0)
    z, theta = rng.normal(size=500), 0.7
    found = QCFS(5, theta).double()(torch.tensor(z)).tolist()
    exact = [law(Fr(v), 5, Fr(theta), Fr(1, 2)) for v in z.tolist()]
    assert len(set(exact)) == 6
    # theta is stored in float32 first; then a handful of roundings of numbers below 1
    assert max(abs(f - float(e)) for f, e in zip(found, exact, strict=True)) < 0.7 * 2**-24 + 8 * 2**-53


@pytest.mark.parametrize(("levels", "theta", "shift"), [(4, 1.0, 0.5), (8, 0.25, 0.5), (3, 2.0, 0.0)])
def test_gradients_equal_their_closed_forms(levels: int, theta: float, shift: float) -> None:
    """dy/dz = 1 inside (0, theta), else 0; dy/dtheta = y/theta - z/theta inside, 1 above and 0 below."""
    act = QCFS(levels, theta, shift).double()
    for k in [k for k in range(-21, 58) if k not in (0, 32)]:
        z = torch.tensor(k / 32 * theta, dtype=torch.float64, requires_grad=True)
        y = act(z)
        dz, dtheta = torch.autograd.grad(y, (z, act.theta))
        inside = 0 < k < 32
        expected = law(Fr(k, 32), levels, Fr(1), Fr(shift)) - Fr(k, 32) if inside else Fr(int(k > 32))
        assert dz.item() == inside
        assert abs(dtheta.item() - float(expected)) <= 2**-51


def test_gradients_add_up_over_a_batch_and_reach_the_layer_in_front() -> None:
    net = nn.Sequential(nn.Linear(1, 1, bias=False), QCFS(4, 1.0))
    nn.init.constant_(net[0].weight, 0.5)
    net(torch.tensor([[-1.0], [0.5], [1.5], [3.0]])).sum().backward()
    assert net[0].weight.grad.item() == 0.5 + 1.5  # the inputs whose activation lies inside
    # z = 0.25 and 0.75 meet their own steps: y - z = 0; 1.5 lies above: 1
    assert net[1].theta.grad.item() == 1


@pytest.mark.parametrize("options", [{"levels": 0}, {"theta": 0.0}, {"theta": -1.0}, {"shift": 1.0}, {"shift": -0.1}])
def test_parameters_out_of_range_are_refused(options: dict[str, float]) -> None:
    name, value = next(iter(options.items()))
    with pytest.raises(ConfigError, match=f"{name}={value}.*levels >= 1, theta > 0, 0 <= shift < 1"):
        QCFS(**options)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- replacing and tuning


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace=True)))
        self.relu, self.out = nn.ReLU(), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.relu(self.block(x)))


def test_every_relu_becomes_a_qcfs_of_its_own_in_a_copy() -> None:
    model = Nested()
    replaced = replace_relu(model, levels=6, theta=1.5)
    places = {n: m for n, m in replaced.named_modules() if isinstance(m, QCFS)}
    assert set(places) == {"block.1", "block.2.1", "relu"}
    assert len({id(m.theta) for m in places.values()}) == 3
    assert {(m.levels, m.theta.item(), m.shift) for m in places.values()} == {(6, 1.5, 0.5)}
    assert not [m for m in replaced.modules() if isinstance(m, nn.ReLU)]
    assert [n for n, m in model.named_modules() if isinstance(m, nn.ReLU)] == ["block.1", "block.2.1", "relu"]
    with torch.no_grad():
        replaced.out.weight.zero_()
    assert model.out.weight.abs().min() > 0


def test_one_module_at_two_places_gets_two_thresholds() -> None:
    shared = nn.ReLU()
    replaced = replace_relu(nn.Sequential(nn.Linear(2, 2), shared, nn.Linear(2, 2), shared))
    assert isinstance(replaced[1], QCFS)
    assert isinstance(replaced[3], QCFS)
    assert replaced[1] is not replaced[3]


def test_a_model_without_relu_modules_is_refused() -> None:
    with pytest.raises(
        Unsupported, match=r"Sequential: it holds no nn\.ReLU module; write its activations as nn\.ReLU"
    ):
        replace_relu(nn.Sequential(nn.Linear(2, 2), nn.Tanh()))
    with pytest.raises(Unsupported, match="ReLU"):  # the model itself cannot be exchanged inside itself
        replace_relu(nn.ReLU())


def task() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(200, 2, generator=generator)
    return x, (x[:, 0] > x[:, 1]).long()


def tuned(model: nn.Module, **options: object) -> dict[str, torch.Tensor]:
    return fine_tune(model, *task(), **({"epochs": 2} | options)).state_dict()  # type: ignore[arg-type]


def start(*more: nn.Module) -> nn.Module:
    torch.manual_seed(1)
    return replace_relu(nn.Sequential(nn.Linear(2, 16), nn.ReLU(), *more, nn.Linear(16, 2)), levels=4)


def test_fine_tuning_is_seeded_lowers_the_loss_and_leaves_the_callers_model() -> None:
    model, losses = start().eval(), []
    before = copy.deepcopy(model.state_dict())
    a = fine_tune(model, *task(), epochs=8, lr=0.02, progress=lambda epoch, loss: losses.append((epoch, loss)))
    assert [e for e, _ in losses] == list(range(8))
    assert losses[-1][1] < 0.7 * losses[0][1]
    x, y = task()
    entropy = nn.functional.cross_entropy
    assert entropy(a(x), y) < 0.7 * entropy(model(x), y)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not a.training
    assert not model.training
    after = a.state_dict()
    assert all((after[k] != before[k]).any() for k in before)  # the threshold learns along
    torch.manual_seed(99)
    again = tuned(model, epochs=8, lr=0.02)
    assert all(torch.equal(after[k], again[k]) for k in after)
    other = tuned(model, epochs=8, lr=0.02, seed=1)
    assert any((after[k] != other[k]).any() for k in after)


def test_fine_tuning_is_seeded_with_dropout_too_and_leaves_the_global_generator() -> None:
    model = start(nn.Dropout(0.5))
    state = torch.random.get_rng_state()
    a = tuned(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    b = tuned(model)
    assert all(torch.equal(a[k], b[k]) for k in a)


# --------------------------------------------------------------------------------------------------------- conversion


@pytest.mark.parametrize("form", ["normalise", "balance"])
@pytest.mark.parametrize("levels", [2, 4, 8])
def test_the_first_layer_is_exact_after_as_many_steps_as_levels(levels: int, form: str) -> None:
    """N(T) = clip(floor(z T / theta + 1/2), 0, T): the neuron that starts at theta/2 computes QCFS for T = L."""
    rng = np.random.default_rng(levels)
    model = nn.Sequential(nn.Linear(3, 6), QCFS(levels, 0.5), nn.Linear(6, 2)).double().eval()
    with torch.no_grad():
        for p in (model[0].weight, model[0].bias, model[2].weight, model[2].bias):
            p.copy_(torch.tensor(rng.integers(-8, 9, p.shape) / 8))
    x = rng.integers(-8, 9, (60, 3)) / 8
    y, hidden = model(torch.tensor(x)).detach().numpy(), model[:2](torch.tensor(x)).detach().numpy()
    assert len(np.unique(hidden)) == levels + 1
    c = convert(model, x, mode="1/2", form=form)  # type: ignore[arg-type]
    assert c.scales["1"] == 0.5  # what was learned, whatever the mode
    counts = c.simulate(x, levels).counts["1"]
    np.testing.assert_array_equal(counts * 0.5 / levels, hidden)
    np.testing.assert_array_equal(c.run(x, levels), y)  # nothing spikes after it: the whole network is exact


def test_import_keeps_levels_threshold_and_shift() -> None:
    model = nn.Sequential(nn.Linear(2, 3), QCFS(5, 0.75, 0.25), nn.Linear(3, 2)).double().eval()
    c = convert(model)
    assert c.notes == ()  # a learned threshold needs no calibration
    assert c.ann["1"].act == ClipFloor(5, 0.75, 0.25)
    act = c.snn["1"].act
    assert isinstance(act, Neuron)
    assert (act.theta, act.v_init) == (1, 0.25)
    x = np.random.default_rng(0).normal(size=(50, 2))
    y = model(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(forward(c.ann, x)[c.ann.output.name], y, atol=1e-14)
