"""Minimal cases of the findings on sinabs 3.1.3: ``from_nir`` and ``to_nir``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .graphs import graph, node
from .refusal import Pair, unless_refused


def _imported(read: Any, x: Any) -> tuple[Any, Any]:
    """The imported model, and its output for x [T, *shape]."""
    import torch
    from sinabs.nir import from_nir

    model = from_nir(read, batch_size=1)
    with torch.no_grad():
        out = model(torch.as_tensor(x, dtype=torch.float32))
    return model, (out[0] if isinstance(out, tuple) else out).numpy()


def _spikes(nodes: Mapping[str, Any], x: float) -> Any:
    """Output of a chain of nodes of one unit in 4 steps of x."""
    return _imported(graph(nodes, (1,), (1,)), np.full((4, 1), x))[1].ravel()


@unless_refused
def linear() -> Pair:
    """A Linear node acts: 0.5 in each step against a threshold of 1."""
    import nir

    return _spikes({"fc": nir.Linear(np.array([[0.5]])), "n": node("IF")}, 1.0), np.array([0, 1, 0, 1])


@unless_refused
def delay() -> Pair:
    """A Delay node delays: 0.75 a step from the second step on; potentials 0, 0.75, 1.5, 1.25."""
    import nir

    return _spikes({"d": nir.Delay(np.ones(1)), "n": node("IF")}, 0.75), np.array([0, 0, 1, 1])


@unless_refused
def resistance() -> Pair:
    """The input is multiplied by r: 2 times 0.5 fires in every step."""
    return _spikes({"n": node("IF", r=2.0)}, 0.5), np.ones(4)


@unless_refused
def reset_potential() -> Pair:
    """After a spike the potential is v_reset: 0.5, 1, then 0.5 + 0.5 in every step."""
    return _spikes({"n": node("IF", v_reset=0.5)}, 0.5), np.array([0, 1, 1, 1])


@unless_refused
def sum_of_edges() -> Pair:
    """Edges that meet in a node are summed: 4 steps of 1 + 2."""
    import nir

    nodes = {k: nir.Affine(np.full((1, 1), w, np.float32), np.zeros(1, np.float32)) for k, w in (("a", 1), ("b", 2))}
    edges = [("input", "a"), ("input", "b"), ("a", "n"), ("b", "n"), ("n", "output")]
    read = graph({**nodes, "n": node("IF", v_threshold=100.0)}, (1,), (1,), edges)
    return _imported(read, np.ones((4, 1)))[0].n.v_mem.item(), 12.0


@unless_refused
def pool_padding() -> Pair:
    """A SumPool2d of kernel 2, stride 2 and padding 1 makes 3 x 3 of 4 x 4."""
    import nir

    pool = nir.SumPool2d(*(np.full(2, k) for k in (2, 2, 1)))
    return _imported(graph({"p": pool}, (1, 4, 4), (1, 3, 3)), np.ones((1, 1, 4, 4)))[1].shape, (1, 1, 3, 3)


def _linear(layer: Any) -> Any:
    """The layer behind a linear one of weight 0.75."""
    from torch import nn

    first = nn.Linear(1, 1, bias=False)
    nn.init.constant_(first.weight, 0.75)
    return nn.Sequential(first, layer)


def _round_trip(model: Any, x: Any) -> Any:
    """Spikes of the model after its export and import."""
    import torch
    from sinabs.nir import to_nir

    with torch.no_grad():
        model(x)
        return _imported(to_nir(model, x), x)[1]


def _squeezed(kind: str, *values: float, **given: Any) -> Any:
    """Spikes after the round trip of a squeezed layer, on inputs of 0.75 times these values."""
    import torch
    from sinabs import layers

    model = _linear(getattr(layers, kind)(batch_size=1, **given))
    return _round_trip(model, torch.tensor(values).reshape(-1, 1)).ravel()


def _conv(kind: str, shape: tuple[int, ...], **given: Any) -> tuple[Any, Any]:
    """Convolution with kernels of 2, weights 1/4, no bias, and an IAF; and ones of this shape."""
    import torch
    from sinabs import layers

    conv = getattr(torch.nn, kind)(shape[0], shape[0], 2, bias=False, **given)
    torch.nn.init.constant_(conv.weight, 0.25)
    return torch.nn.Sequential(conv, layers.IAFSqueeze(batch_size=1)), torch.ones(1, *shape)


def exported_conv1d() -> Pair:
    """A Conv1d that to_nir makes is imported again: 2 channels times 2 weights of 1/4 are 1, a spike each."""
    return _round_trip(*_conv("Conv1d", (2, 4))), np.ones((1, 2, 3))


def exported_groups() -> Pair:
    """A grouped Conv2d that to_nir makes is imported again: 2 x 2 weights of 1/4 are 1, a spike each."""
    return _round_trip(*_conv("Conv2d", (2, 4, 4), groups=2)), np.ones((1, 2, 3, 3))


@unless_refused
def exported_lif() -> Pair:
    """A LIF that is exported and imported spikes as before: its input of 0.75 (1 - alpha) never reaches 1."""
    return _squeezed("LIFSqueeze", *[1.0] * 12, tau_mem=5.0), np.zeros(12)


@unless_refused
def exported_iaf() -> Pair:
    """An IAF without a floor that is exported and imported has none: six steps of -0.75 and six of 0.75 make 0."""
    return _squeezed("IAFSqueeze", *[-1.0] * 6, *[1.0] * 6), np.zeros(12)


@unless_refused
def exported_reset() -> Pair:
    """An IAF that is reset to 0 is so after its export and import: 0.75 a step fires every other step."""
    from sinabs.activation import MembraneReset

    return _squeezed("IAFSqueeze", *[1.0] * 6, reset_fn=MembraneReset()), np.array([0, 1, 0, 1, 0, 1])


@unless_refused
def exported_current() -> Pair:
    """The current i <- exp(-1/5) (i + 0.75), 0.61 1.12 1.53 1.87 2.14 2.37, is there after export and import."""
    return _squeezed("IAFSqueeze", *[1.0] * 6, tau_syn=5.0), np.array([0, 1, 2, 2, 2, 2])


@unless_refused
def exported_alphas() -> Pair:
    """A LIF with trained decays is exported and imported: v <- exp(-1/5) v + 0.75 is 0.75 1.36 1.05 0.79 1.40 1.07."""
    spikes = _squeezed("LIFSqueeze", *[1.0] * 6, tau_mem=5.0, train_alphas=True, norm_input=False)
    return spikes, np.array([0, 1, 1, 0, 1, 1])


def _written(model: Any, x: Any) -> Pair:
    """Whether what to_nir makes can be written to a file."""
    import io

    import nir
    import torch
    from sinabs.nir import to_nir

    with torch.no_grad():
        model(x)
        nir.write(io.BytesIO(), to_nir(model, x))
    return "written", "written"


def written_convolution() -> Pair:
    """An exported convolution can be written."""
    return _written(*_conv("Conv2d", (1, 4, 4)))


def written_lif() -> Pair:
    """An exported LIF can be written."""
    import torch
    from sinabs import layers

    return _written(_linear(layers.LIFSqueeze(tau_mem=5.0, batch_size=1)), torch.ones(1, 1))


CASES: Mapping[str, Callable[[], Pair]] = {
    "SIN-12": linear,
    "SIN-13": sum_of_edges,
    "SIN-14": resistance,
    "SIN-15": reset_potential,
    "SIN-16": pool_padding,
    "SIN-17": exported_conv1d,
    "SIN-18": exported_groups,
    "SIN-19": written_convolution,
    "SIN-20": exported_lif,
    "SIN-21": exported_iaf,
    "SIN-22": exported_reset,
    "SIN-23": exported_current,
    "SIN-24": exported_alphas,
    "SIN-32": written_lif,
    "SIN-33": delay,
}
