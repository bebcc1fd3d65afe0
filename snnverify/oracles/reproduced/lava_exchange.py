"""Cases of SpikingJelly 0.0.0.0.14's exchange with Lava: nodes, containers, converters."""

from __future__ import annotations

from typing import Any

from . import Cases


def lava() -> Any:
    """The module."""
    import logging

    from spikingjelly.activation_based import lava_exchange

    logging.getLogger().setLevel(logging.ERROR)  # it warns of sum pooling at every call
    return lava_exchange


def if_node(**options: Any) -> Any:
    """IF node, threshold 1, hard reset to 0."""
    from spikingjelly.activation_based import neuron

    return neuron.IFNode(**options)


def linear(weight: float) -> Any:
    """Linear layer of one weight."""
    import torch

    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(weight)
    return module


def train(*values: float) -> Any:
    """One unit's input over time, [T, 1, 1]."""
    import torch

    return torch.tensor(values).reshape(-1, 1, 1)


def both(container: Any, x: Any) -> Any:
    """Spikes of a container, and of the block that it makes of itself."""
    import torch

    with torch.no_grad():
        own = container(x).flatten()
        made = lava().NXT_to_TNX(container.to_lava_block().eval()(lava().TNX_to_NXT(x))).flatten()
    return tuple(map(int, own)), tuple(map(int, made))


def sequential(*modules: Any) -> Any:
    """Modules in a row."""
    import torch

    return torch.nn.Sequential(*modules)


def tie_at_a_high_threshold() -> Any:
    """The node fires above its threshold, not at it: v = 64 for a threshold of 64 is no spike, as 63 for 63 is none."""
    nodes = (lava().CubaLIFNode(1.0, 0.0, v_threshold=v, step_mode="m") for v in (63.0, 64.0))
    return tuple(int(node(train(node.v_threshold))[0]) for node in nodes), (0, 0)


def odd_weight() -> Any:
    """The container's greatest weight is 254 mantissas, as that of the block that it makes: 254 are not above 254."""
    return both(lava().BlockContainer(linear(4.0), if_node(v_threshold=254 / 64), step_mode="m"), train(1.0)), (
        (0,),
        (0,),
    )


def pool_then_flatten() -> Any:
    """Average pooling with neurons, flattening and a linear layer with neurons are four supported layers."""
    from torch import nn

    net = sequential(nn.AvgPool2d(2), if_node(), nn.Flatten(), linear(1.0), if_node())
    return len(lava().to_lava_blocks(net)), 3


def pool_at_the_end() -> Any:
    """Average pooling with neurons may come last."""
    from torch import nn

    return len(lava().to_lava_blocks(sequential(nn.AvgPool2d(2), if_node()))), 1


def average_lost() -> Any:
    """Average pooling of two spikes of four, threshold 1, is silent, also as a block."""
    import torch
    from torch import nn

    pool, conv = nn.AvgPool2d(2), nn.Conv2d(1, 1, 1, bias=False)
    x = torch.zeros(1, 1, 2, 2)
    x[0, 0, 0] = 1.0
    made = lava().to_lava_blocks(sequential(pool, if_node(), conv, if_node()))
    return int(made[0](x.unsqueeze(-1)).sum()), int(if_node()(pool(x)).sum())


def callers_weights() -> Any:
    """A converter leaves the weights of the model that it converts."""
    from torch import nn

    last = linear(1.0)
    conv = nn.Conv2d(1, 1, 3, bias=False)
    lava().to_lava_blocks(sequential(nn.AvgPool2d(2), if_node(), conv, if_node(), nn.Flatten(), last, if_node()))
    return float(last.weight), 1.0


def state_of_the_last_batch() -> Any:
    """A converted block starts every call from rest, as a container's does: 0.75 alone is below the threshold."""
    (block,) = lava().to_lava_blocks(sequential(linear(0.75), if_node()))
    return tuple(int(block(train(1.0))) for _ in range(2)), (0, 0)


def tie_of_an_if_node() -> Any:
    """The converted neuron spikes as the node does: 0.5 twice reaches the threshold 1."""
    x = train(0.5, 0.5)
    node = if_node(step_mode="m")(x).flatten()
    made = lava().NXT_to_TNX(lava().to_lava_neuron(if_node())(lava().TNX_to_NXT(x))).flatten()
    return tuple(map(int, made)), tuple(map(int, node))


def average_container() -> Any:
    """A container of ``nn.AvgPool2d``, which its signature names, runs (or is refused where it is made)."""
    import torch

    container = lava().BlockContainer(torch.nn.AvgPool2d(2), if_node())
    return tuple(container(torch.ones(1, 1, 2, 2)).shape), (1, 1, 1, 1)


def sum_pool_stride() -> Any:
    """SumPool2d's stride is optional, and then the kernel, as in torch."""
    import torch

    return float(lava().SumPool2d(2)(torch.ones(1, 1, 2, 2))), 4.0


def sum_of_spikes() -> Any:
    """Sums of 0 and 1 are integers: 11 spikes under a 9x9 window are 11."""
    import torch

    x = torch.zeros(81)
    x[:11] = 1.0
    return float(lava().SumPool2d(9, 9)(x.reshape(1, 1, 9, 9))), 11.0


def rest_of_a_window() -> Any:
    """The converted pooling has the output shape of the layer: 5 by 2 leaves 2, in torch."""
    import torch

    layer, x = torch.nn.AvgPool2d(2), torch.ones(1, 1, 5, 5)
    made = lava().avgpool2d_to_lava_synapse_pool(layer)
    return tuple(made(x.unsqueeze(-1)).shape[2:4]), tuple(layer(x).shape[2:])


def printed() -> Any:
    """A conversion prints nothing."""
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        lava().BatchNorm2d(1).to_lava()
    return len(said.getvalue()), 0


def norm_in_the_current() -> Any:
    """A norm acts on the current's way into the potential, not on the current: slayer's neuron of the same parameters."""
    import contextlib
    import io

    import torch

    norm = lava().BatchNorm2d(1)
    norm.running_mean, norm.running_var = torch.tensor([-0.5]), torch.tensor([1 - norm.eps])
    node = lava().CubaLIFNode(0.5, 0.0, v_threshold=2.25, norm=norm, step_mode="m").eval()
    conv = torch.nn.Conv2d(1, 1, 1, bias=False)
    with contextlib.redirect_stdout(io.StringIO()):
        own, made = both(lava().BlockContainer(conv, node, step_mode="m").eval(), torch.zeros(5, 1, 1, 1, 1))
    return own, made


def learned_decay() -> Any:
    """The block of a trained container has the decays that were learned."""
    node = lava().CubaLIFNode(0.5, 0.25, requires_grad=True)
    node.voltage_decay.data.fill_(2048.0)
    return int(lava().BlockContainer(linear(1.0), node).to_lava_block().neuron.cx_voltage_decay), 2048


def another_batch_size() -> Any:
    """The output has the shape of its input, also after a call with more samples."""
    import torch

    node = lava().CubaLIFNode(1.0, 0.0)
    node(torch.zeros(3, 1))
    return tuple(node(torch.zeros(1, 1)).shape), (1, 1)


def circular_padding() -> Any:
    """A convolution with circular padding keeps it, or is refused: a spike at one edge reaches the other."""
    import torch

    conv = torch.nn.Conv2d(1, 1, (1, 3), padding=(0, 1), padding_mode="circular", bias=False)
    conv.weight.data.fill_(1.5)
    x = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 1, 4)
    own = lava().BlockContainer(conv, if_node())(x)
    return tuple(map(int, own.flatten())), tuple(map(int, if_node()(conv(x)).flatten()))


def subclass() -> Any:
    """Of a subclass with dynamics of its own no plain IF neuron is made."""
    from spikingjelly.activation_based import neuron

    def twice(self: Any, x: Any) -> None:
        self.v = self.v + 2 * x

    Doubling = type("Doubling", (neuron.IFNode,), {"neuronal_charge": twice})
    x = train(0.75)
    made = lava().to_lava_neuron(Doubling())
    return int(made(lava().TNX_to_NXT(x))), int(Doubling()(x[0]))


def threshold_off_the_grid() -> Any:
    """The node fires as the slayer neuron of its parameters: a threshold of 0.9 is 57 mantissas, and 0.895 is above."""
    node = lava().CubaLIFNode(1.0, 0.0, v_threshold=0.9, step_mode="m")
    from lava.lib.dl.slayer.neuron import cuba

    made = cuba.Neuron(**node.lava_cuba_neuron_params)
    return int(node(train(0.895))), int(made(train(0.895)))


def negative_threshold() -> Any:
    """A neuron at rest, without input, is silent; or a threshold below 0 is refused."""
    node = lava().CubaLIFNode(1.0, 0.0, v_threshold=-0.5, step_mode="m")
    return tuple(map(int, node(train(0.0, 0.0)).flatten())), (0, 0)


def weight_of_a_sum() -> Any:
    """A container fires as the block that it makes: at a scale of 256 a weight of 1 is off the grid, and becomes 254."""
    import torch

    node = lava().CubaLIFNode(1.0, 0.0, v_threshold=255 / 256, scale=256)
    return both(lava().BlockContainer(lava().SumPool2d(1, 1), node, step_mode="m"), torch.ones(1, 1, 1, 1, 1))


CASES: Cases = {
    "LX-1": tie_at_a_high_threshold,
    "LX-2": odd_weight,
    "LX-3": pool_then_flatten,
    "LX-4": pool_at_the_end,
    "LX-5": average_lost,
    "LX-6": callers_weights,
    "LX-7": state_of_the_last_batch,
    "LX-8": tie_of_an_if_node,
    "LX-9": average_container,
    "LX-10": sum_pool_stride,
    "LX-11": sum_of_spikes,
    "LX-12": rest_of_a_window,
    "LX-13": printed,
    "LX-14": norm_in_the_current,
    "LX-15": learned_decay,
    "LX-16": another_batch_size,
    "LX-17": circular_padding,
    "LX-18": subclass,
    "LX-19": threshold_off_the_grid,
    "LX-20": negative_threshold,
    "LX-21": weight_of_a_sum,
}
