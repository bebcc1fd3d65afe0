"""The CSNN of SpikingJelly's Lava tutorial (``examples/lava_mnist.py`` of 0.0.0.0.14): training and running it, stateless.

Two times a 3x3 convolution and a 2x2 one of stride 2 in place of pooling, then two dense layers, all with IF nodes in the
library's containers; Poisson spikes in, firing rates out; cross entropy, stochastic gradient descent with momentum 0.9.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..content import Array
from ..errors import ConfigError
from ..network import Network

Tensor = Any
Module = Any
State = Mapping[str, Array]
Options = Mapping[str, Any]
DEFAULTS: Options = {"channels": 16, "T": 16, "lr": 0.1, "batch": 128, "seed": 0, "device": "cpu", "classes": 10,
                     "momentum": 0.9}  # fmt: skip
HIDDEN = 128
WEIGHTS, MOMENTA = "net.", "momentum."


def csnn_train(state: State, x: Array, y: Array, options: Options) -> tuple[dict[str, Array], float, int]:
    """One pass over a chunk of training data.

    Parameters
    ----------
    state : mapping of name to array
        What the call before returned; empty to start anew.
    x : float32 [N, C, H, W] in [0, 1]
        Probabilities of a spike in each step; height and width at least 4.
    y : integers [N]
    options : mapping
        As of `DEFAULTS`: channels, T, lr, batch, seed, device, classes, momentum.

    Returns
    -------
    state : dict
    loss : float
        Mean over the samples.
    correct : int
        Samples whose class fired most, each before the step that it took part in.
    """
    import torch

    o = _options(options)
    _seed(o, int(state.get("calls", np.zeros(()))))
    net = _net(state, x.shape[1:], o).train()
    device = torch.device(o["device"])
    net.to(device)
    optimiser = torch.optim.SGD(net.parameters(), lr=o["lr"], momentum=o["momentum"])
    _restore_momenta(net, optimiser, state)
    order = torch.randperm(len(x)).numpy()
    loss_sum, correct = 0.0, 0
    for i in range(0, len(x), o["batch"]):
        rows = order[i : i + o["batch"]]
        label = torch.tensor(np.asarray(y)[rows], dtype=torch.long, device=device)
        rate = _forward(net, _spikes(torch.tensor(x[rows], dtype=torch.float32, device=device), o["T"])).mean(0)
        loss = torch.nn.functional.cross_entropy(rate, label)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        loss_sum += float(loss.detach()) * len(rows)
        correct += int((rate.argmax(1) == label).sum())
    kept = {f"{WEIGHTS}{k}": v.detach().cpu().numpy().copy() for k, v in net.state_dict().items()}
    for name, p in net.named_parameters():
        kept[f"{MOMENTA}{name}"] = optimiser.state[p]["momentum_buffer"].cpu().numpy().copy()
    kept |= {"shape": np.asarray(x.shape[1:]), "calls": np.asarray(int(state.get("calls", 0)) + 1)}
    return kept, loss_sum / max(len(x), 1), correct


def csnn_run(state: State, x: Array, options: Options, kind: str) -> Array:
    """Spike counts [N, classes] over T steps, int64, of the net in SpikingJelly or of its slayer blocks.

    Parameters
    ----------
    state, options
        As of `csnn_train`.
    x : float32 [N, C, H, W], or spikes [T, N, C, H, W]
        Rates are encoded as `csnn_encode` does.
    kind : {"spikingjelly", "lava-dl"}
    """
    import torch

    if kind not in ("spikingjelly", "lava-dl"):
        raise ConfigError(f"kind = {kind!r}: one of spikingjelly, lava-dl")
    o = _options(options)
    trains = torch.tensor(np.asarray(x if np.ndim(x) == 5 else csnn_encode(x, o)), dtype=torch.float32)
    net = _net(state, tuple(trains.shape[2:]), o).eval()
    net = (net if kind == "spikingjelly" else _slayer(net)).to(o["device"])
    found = []
    with torch.no_grad():
        for part in torch.split(trains, o["batch"], 1):
            part = part.to(o["device"])
            out = _forward(net, part) if kind == "spikingjelly" else net(part.movedim(0, -1)).movedim(-1, 0)
            found.append(out.sum(0).cpu().numpy())
    return np.asarray(np.rint(np.concatenate(found)), np.int64)


def csnn_encode(x: Array, options: Options) -> Array:
    """Poisson spikes uint8 [T, N, C, H, W] of rates [N, C, H, W], by the library's encoder; `seed` decides them."""
    import torch

    o = _options(options)
    _seed(o, -1)
    return np.asarray(_spikes(torch.tensor(np.asarray(x), dtype=torch.float32), o["T"]).numpy(), np.uint8)


def csnn_network(state: State, options: Options) -> Network:
    """The net that the slayer blocks hold, weights in mantissas; layers "0" ... "6", delay 0."""
    from .lava_exchange_convert import read_blocks

    shape = tuple(int(n) for n in state["shape"])
    blocks = _slayer(_net(state, shape, _options(options)))
    return read_blocks(shape, [str(i) for i in range(len(blocks))], blocks)


def csnn_files(state: State, options: Options) -> dict[str, Array]:
    """What the tutorial saves, as bytes (uint8): net.pt, net_ladl.pt (both state dicts), net_la.net (NetX, by slayer)."""
    import torch

    from .lava_slayer_build import exported

    shape = tuple(int(n) for n in state["shape"])
    net = _net(state, shape, _options(options)).eval()
    blocks = _slayer(net)
    with torch.no_grad():
        blocks(torch.zeros(1, *shape, 1))  # a block knows its shape when it has run
    return {"net.pt": _saved(net), "net_ladl.pt": _saved(blocks), "net_la.net": exported(blocks)}


OPERATORS = {f.__name__: f for f in (csnn_train, csnn_run, csnn_encode, csnn_network, csnn_files)}


def _options(options: Options) -> dict[str, Any]:
    unknown = sorted(set(options) - set(DEFAULTS))
    if unknown:
        raise ConfigError(f"options: {unknown[0]!r} is none of {', '.join(DEFAULTS)}")
    return {**DEFAULTS, **options}


def _seed(o: Options, call: int) -> None:
    """What one call draws depends on the seed and the number of the call alone."""
    import torch

    torch.manual_seed(int(np.random.SeedSequence([o["seed"], call + 1]).generate_state(1)[0]))


def _net(state: State, shape: tuple[int, ...], o: Options) -> Module:
    """The net in SpikingJelly, over all steps, with the weights of `state`, or new ones."""
    import torch
    from spikingjelly.activation_based import neuron, surrogate
    from spikingjelly.activation_based.lava_exchange import BlockContainer

    nn: Any = torch.nn
    channels, (c, h, w) = o["channels"], shape
    if min(h, w) < 4:
        raise ConfigError(f"x of shape {shape}: the net halves height and width twice; at least 4")

    def spiking(synapse: Module) -> Module:
        node = neuron.IFNode(surrogate_function=surrogate.ATan(), detach_reset=True)
        return BlockContainer(synapse, node, step_mode="m")

    def conv(inputs: int, kernel: int, **geometry: int) -> Module:
        return spiking(nn.Conv2d(inputs, channels, kernel, bias=False, **geometry))

    net = nn.Sequential(
        conv(c, 3, padding=1), conv(channels, 2, stride=2), conv(channels, 3, padding=1), conv(channels, 2, stride=2),
        BlockContainer(nn.Flatten(), None, step_mode="m"),
        spiking(nn.Linear(channels * (h // 4) * (w // 4), HIDDEN, bias=False)),
        spiking(nn.Linear(HIDDEN, o["classes"], bias=False)),
    )  # fmt: skip
    kept = {k.removeprefix(WEIGHTS): torch.tensor(np.asarray(a)) for k, a in state.items() if k.startswith(WEIGHTS)}
    if kept:
        net.load_state_dict(kept)
    return net


def _restore_momenta(net: Module, optimiser: Any, state: State) -> None:
    import torch

    for name, p in net.named_parameters():
        if f"{MOMENTA}{name}" in state:
            momentum = torch.tensor(np.asarray(state[f"{MOMENTA}{name}"]), device=p.device)
            optimiser.state[p]["momentum_buffer"] = momentum


def _spikes(x: Tensor, steps: int) -> Tensor:
    from spikingjelly.activation_based.encoding import PoissonEncoder

    return PoissonEncoder(step_mode="m")(x.expand(steps, *x.shape))


def _forward(net: Module, trains: Tensor) -> Tensor:
    """Output spikes [T, N, classes] of trains [T, N, C, H, W], from a fresh state."""
    from spikingjelly.activation_based.functional import reset_net

    reset_net(net)
    return net(trains)


def _slayer(net: Module) -> Module:
    """The net's slayer blocks, one behind the other."""
    import torch

    return torch.nn.Sequential(*(part.to_lava_block() for part in net)).eval()


def _saved(net: Module) -> Array:
    import torch

    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    return np.frombuffer(buffer.getvalue(), np.uint8).copy()
