"""Import of torch models: equal to torch where it imports, refused by path where it does not."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from snnverify.activation import ClipFloor, Relu
from snnverify.convert.torch_import import from_torch
from snnverify.errors import NetworkError, Unsupported
from snnverify.network import Conv, Network
from snnverify.simulate import forward
from snnverify.zoo.corpus.modules import EQUAL, Calls, Entry, randomise
from snnverify.zoo.corpus.refused import REFUSED

# A unit of the largest entry sums fewer than 400 products, and no model has more than 10 layers in a row:
# 400 x 10 x 2^-53 = 4e-13 of the largest value.
TOLERANCE = 1e-12


def built(entry: Entry) -> nn.Module:
    torch.manual_seed(0)
    return randomise(entry.factory())


def assert_equal(network: Network, model: nn.Module, input_shape: tuple[int, ...], seed: int = 1) -> None:
    x = torch.randn(7, *input_shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        expected = copy.deepcopy(model).double().eval()(x.clone()).numpy()
    found = forward(network, x.numpy())[network.output.name]
    assert found.shape == expected.shape
    assert np.abs(expected).max() > 0
    assert np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max()


@pytest.mark.parametrize("folded", [True, False], ids=["folded", "unfolded"])
@pytest.mark.parametrize("entry", EQUAL, ids=lambda e: e.name)
def test_equal_to_torch(entry: Entry, folded: bool) -> None:
    model = built(entry)
    assert_equal(from_torch(model, entry.input_shape, fold_batchnorm=folded), model, entry.input_shape)


@pytest.mark.parametrize("entry", REFUSED, ids=lambda e: e.name)
def test_refused_by_path(entry: Entry) -> None:
    assert entry.refused is not None
    with pytest.raises(Unsupported) as e:
        from_torch(built(entry), entry.input_shape)
    assert e.value.where == entry.refused[0]
    assert entry.refused[1] in str(e.value)
    assert e.value.remedy
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["bn before a padded conv", "bn before a transposed conv"])
def test_the_remedy_of_an_unfoldable_normalisation_works(name: str) -> None:
    entry = next(e for e in REFUSED if e.name == name)
    model = built(entry)
    network = from_torch(model, entry.input_shape, fold_batchnorm=False)
    assert entry.refused[0] in {layer.name for layer in network.layers}
    assert_equal(network, model, entry.input_shape)


@pytest.mark.parametrize("training", [True, False])
def test_the_callers_model_is_untouched(training: bool) -> None:
    model = randomise(next(e for e in EQUAL if e.name == "resnet").factory()).train(training)
    model[0].eval()
    flags = [m.training for m in model.modules()]
    state = {k: v.clone() for k, v in model.state_dict().items()}
    from_torch(model, (3, 8, 8))
    assert [m.training for m in model.modules()] == flags
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[k], v) for k, v in model.state_dict().items())
    assert all(p.requires_grad for p in model.parameters())


def test_layers_are_named_by_path_and_numbered_when_used_again() -> None:
    network = from_torch(next(e for e in EQUAL if e.name == "resnet").factory(), (3, 8, 8))
    assert [layer.name for layer in network.layers[:5]] == ["0.2", "1.relu", "1.relu:2", "2.relu", "2.relu:2"]
    assert [type(b.op).__name__ for b in network["1.relu:2"].branches] == ["Conv", "Scale"]  # conv and skip
    assert [type(b.op).__name__ for b in network["2.relu:2"].branches] == ["Conv", "Conv"]  # conv and projection


def test_qcfs_keeps_levels_threshold_and_shift() -> None:
    network = from_torch(built(next(e for e in EQUAL if e.name == "qcfs")), (1, 4, 4))
    first, last = (layer.act for layer in network.layers if layer.act is not None)
    assert isinstance(first, ClipFloor)
    assert isinstance(last, ClipFloor)
    assert (first.levels, last.levels, last.theta, last.shift) == (4, 8, 1.5, 0.5)
    np.testing.assert_allclose(first.theta, [0.7, 1.3, 2.1], rtol=1e-7)


def test_a_convolution_over_a_concatenation_has_one_branch_per_part_and_one_bias() -> None:
    network = from_torch(built(next(e for e in EQUAL if e.name == "densenet")), (2, 4, 4))
    branches = network["convs.1"].branches
    assert [b.op.weight.shape[1] for b in branches if isinstance(b.op, Conv)] == [2, 3]
    assert [b.op.bias is None for b in branches if isinstance(b.op, Conv)] == [False, True]


def test_bfloat16_weights_are_read_exactly() -> None:
    model = nn.Linear(3, 2).to(torch.bfloat16)
    op = from_torch(model, (3,)).output.branches[0].op
    np.testing.assert_array_equal(op.weight, model.weight.detach().double().numpy())


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_name_the_layer(bad: float) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    model[2].weight.data[0, 1] = bad
    with pytest.raises(NetworkError, match=r"'2': Dense\.weight"):
        from_torch(model, (3,))


def test_a_variance_that_is_not_positive_names_the_layer() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[1].running_var[1] = -1
    with pytest.raises(NetworkError, match=r"^1: .*channel 1"):
        from_torch(model, (3,))


@pytest.mark.parametrize("shape", [(3,), (1, 12), (1, 11, 12), (), (0, 4), (1, 2, 3, 4)])
def test_a_wrong_input_shape_is_said_in_one_line(shape: tuple[int, ...]) -> None:
    with pytest.raises(NetworkError, match=r"input_shape|input of shape") as e:
        from_torch(next(e for e in EQUAL if e.name == "lenet").factory(), (*shape,) if shape else ())
    assert "\n" not in str(e.value)


def test_integer_weights_are_refused() -> None:
    model = nn.Linear(2, 2, bias=False)
    model.weight = nn.Parameter(torch.ones(2, 2, dtype=torch.int64), requires_grad=False)
    mixed = Calls(lambda m, x: m.fc(x.long()).float(), fc=model)
    with pytest.raises(Unsupported, match="long"):
        from_torch(mixed, (2,))


def test_values_that_nothing_reads_are_no_layers() -> None:
    model = Calls(lambda m, x: (m.aux(x), m.fc(x))[1], aux=nn.Linear(2, 9), fc=nn.Linear(2, 2))
    assert [layer.name for layer in from_torch(model, (2,)).layers] == ["fc"]


def test_a_pre_hook_and_a_replaced_forward() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    model[1].forward = lambda x: torch.relu(-x)
    assert_equal(from_torch(model, (2,)), model, (2,))
    assert isinstance(from_torch(model, (2,)).output.act, Relu)
    model[0].register_forward_pre_hook(lambda _m, _args: None)
    with pytest.raises(Unsupported, match=r"^0: .*hook"):
        from_torch(model, (2,))
