"""What can be done about the loss of a conversion, and how much of the weights each repair changes."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..errors import ConfigError, Unsupported
from .fidelity import Progress, device_of, run
from .losses import loss_of
from .samples import Samples, batches


@dataclass(frozen=True)
class Changes:
    """How two state dicts differ.

    Parameters
    ----------
    weights, statistics : int
        Parameters, and buffers (running means and variances), of which any byte differs; counters are left out.
    of_weights, of_statistics : int
        How many there are.
    furthest : float
        Greatest ``|after - before| / |before|`` of a tensor (of `before` all 0: infinity).
    where : str
        Whose; empty where nothing differs.
    """

    weights: int
    of_weights: int
    statistics: int
    of_statistics: int
    furthest: float = 0.0
    where: str = ""

    @property
    def distance(self) -> str:
        """How far the furthest moved, in words: from 0 there is no share."""
        return "from 0" if math.isinf(self.furthest) else f"{100 * self.furthest:.3g} %"

    def __str__(self) -> str:
        """In words."""
        if not self.where:
            return "none"
        parts = [f"{n} of {of} {what}" for n, of, what in ((self.weights, self.of_weights, "weights"),
                 (self.statistics, self.of_statistics, "BN statistics")) if n]  # fmt: skip
        return f"{', '.join(parts)}; furthest {self.distance} ({self.where})"


def changes(before: nn.Module, after: nn.Module) -> Changes:
    """Compare tensor by tensor, byte by byte.

    Raises
    ------
    ConfigError
        Tensors of other names, shapes or dtypes.
    """
    then, now = before.state_dict(), after.state_dict()
    if {k: (v.shape, v.dtype) for k, v in then.items()} != {k: (v.shape, v.dtype) for k, v in now.items()}:
        raise ConfigError("--after: its tensors have other names, shapes or types than those of --before")
    parameters = {name for name, _ in before.named_parameters()}
    counts = {True: 0, False: 0}
    of = {True: 0, False: 0}
    far, where = 0.0, ""
    for name, a in then.items():
        if not a.is_floating_point():
            continue
        b = now[name]
        of[name in parameters] += 1
        if a.cpu().numpy().tobytes() == b.cpu().numpy().tobytes():
            continue
        counts[name in parameters] += 1
        size = float(a.double().norm())
        apart = float((b.double() - a.double()).norm())
        gap = apart / size if size else math.inf if apart else 0.0  # -0 is 0
        if gap >= far:
            far, where = gap, name
    return Changes(counts[True], of[True], counts[False], of[False], far, where)


def recalibrated(module: nn.Module, samples: Samples, progress: Progress | None = None) -> nn.Module:
    """A copy whose batch norms take their means and variances from the samples as the net now runs; weights stay.

    Means and variances are averaged over batches, each batch counting the same; a last batch of one sample is left out.

    Raises
    ------
    Unsupported
        No batch norm with running statistics.
    """
    found = copy.deepcopy(module).eval()
    norms = [m for m in found.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        raise Unsupported(
            type(module).__name__, "it has no batch norm with running statistics", "leave this repair out"
        )
    momenta = [m.momentum for m in norms]
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the plain average of all batches
        m.train()
    for done, (x, _) in enumerate(batches(samples), 1):
        if len(x) > 1 or done == 1:
            run(found, x)
        if progress is not None:
            progress("BN recalibration", done, -(-len(samples) // 16))
    for m, momentum in zip(norms, momenta, strict=True):
        m.momentum = momentum
    return found.eval()


def tuned(module: nn.Module, samples: Samples, epochs: int = 5, lr: float = 1e-3, seed: int = 0, batch: int = 32,
          progress: Progress | None = None, stage: str = "fine-tuning") -> nn.Module:  # fmt: skip
    """A copy trained on the samples, through spikes by their rectangular surrogate (`blocks.Spike`).

    Adam, its rate falling as a half cosine; the order of the samples follows from the seed; batch norms keep learning.

    Parameters
    ----------
    module : nn.Module
    samples : Samples
    epochs : int
    lr : float
    seed : int
    batch : int
        Samples in a step.
    """
    if epochs < 1 or not 0 < lr < math.inf:
        raise ConfigError(f"epochs = {epochs}, lr = {lr}: at least 1, and a finite rate > 0")
    found = copy.deepcopy(module).train()
    device = device_of(found)
    rng = np.random.Generator(np.random.PCG64(seed))
    parameters = [p for p in found.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr)
    steps = epochs * max(1, len(samples) // batch)
    fall = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    for epoch in range(1, epochs + 1):
        order = rng.permutation(len(samples))
        order = order[: len(order) // batch * batch] if len(order) >= batch else order  # whole batches for batch norm
        for x, y in batches(samples, order.tolist(), batch):
            optimiser.zero_grad()
            output = found(torch.as_tensor(np.ascontiguousarray(x)).to(device, parameters[0].dtype))
            loss_of(output, y, found, samples.size).backward()
            nn.utils.clip_grad_norm_(parameters, 10.0)
            optimiser.step()
            fall.step()
        if progress is not None:
            progress(stage, epoch, epochs)
    return found.eval()
