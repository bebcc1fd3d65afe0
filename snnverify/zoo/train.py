"""Training of the zoo models, made to end in the same weights on another machine.

Machines differ in the order of their sums, hence in the last bits. Training therefore runs in float64 in one thread, by
stochastic gradient descent (whose step is proportional to the gradient, so that rounding is not blown up where a
gradient is nearly 0), and the weights are rounded to k/4096: 12 decimal digits are spent on swallowing the difference.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import sklearn
import torch
from torch import nn

from ..content import Array, write_atomic
from ..errors import DataError
from .models import (
    GRID,
    MODELS,
    SPLIT_SEED,
    accuracy,
    build,
    data_digest,
    digits,
    known,
    shipped,
    split,
    split_digest,
    tensor_digest,
)  # fmt: skip

Progress = Callable[[int, int], None]
SEED = 7
SHIFT = 1  # greatest shift of an augmented image, in pixels


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum and a learning rate that falls as a half cosine."""

    epochs: int
    batch: int
    lr: float
    momentum: float
    weight_decay: float


RECIPES = {
    "digits_cnn": Recipe(epochs=60, batch=59, lr=0.05, momentum=0.9, weight_decay=5e-4),
    "digits_mlp": Recipe(epochs=120, batch=59, lr=0.05, momentum=0.9, weight_decay=1e-3),
}


def retrain(name: str, progress: Progress | None = None) -> tuple[dict[str, torch.Tensor], str]:
    """Train a zoo model from its seed.

    Parameters
    ----------
    name : str
    progress : callable, optional
        Called after every epoch with the number of epochs done and to do.

    Returns
    -------
    state : dict of str to torch.Tensor
        float32 (counters int64), every weight k/4096, running variances > 0.
    digest : str
        `tensor_digest` of it.

    Raises
    ------
    ConfigError
        `name` is not a model of the zoo.
    """
    with _deterministic():
        module = _train(name, progress)
    state = {key: _on_grid(key, value) for key, value in module.state_dict().items()}
    return state, tensor_digest(state)


def train_default(
    out_dir: str | Path, progress: Callable[[str, int, int], None] | None = None
) -> list[tuple[str, str, str, bool, str]]:
    """Train every zoo model again, write weights and ``provenance.json`` to `out_dir`, compare with what is shipped.

    Parameters
    ----------
    out_dir : path
    progress : callable, optional
        Called after every epoch with the name of the model, the number of epochs done and to do.

    Returns
    -------
    list of (name, digest, shipped digest, same, why)
        ``why`` is empty where the digests are the same; the shipped digest is empty where nothing is shipped.
    """
    out = Path(out_dir)
    rows, records = [], {}
    for name in MODELS:
        tick = None if progress is None else lambda done, todo, name=name: progress(name, done, todo)
        state, digest = retrain(name, tick)
        record = records[name] = _provenance(name, state, digest)
        try:
            old_state, old = shipped(name)
            same = digest == old["digest"]
            rows.append((name, digest, old["digest"], same, "" if same else _why(state, record, old_state, old)))
        except DataError as e:
            rows.append((name, digest, "", False, str(e)))
        write_atomic(out / f"{name}.safetensors", safetensors.torch.save(state))
    write_atomic(out / "provenance.json", json.dumps(records, indent=2, sort_keys=True) + "\n")
    return rows


@contextmanager
def _deterministic() -> Iterator[None]:
    """One thread and deterministic algorithms; the caller's settings come back afterwards."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def _train(name: str, progress: Progress | None) -> nn.Module:
    recipe = RECIPES[known(name)]
    rng = np.random.Generator(np.random.PCG64(SEED))
    module = _initialised(build(name), rng)
    x, y = (a[split()[0]] for a in digits())
    optimizer = torch.optim.SGD(
        module.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=True,
        foreach=False,
    )  # fmt: skip
    for epoch in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.lr * (1 + math.cos(math.pi * epoch / recipe.epochs)) / 2
        for part in np.split(rng.permutation(len(x)), range(recipe.batch, len(x), recipe.batch)):
            optimizer.zero_grad()
            logits = module(torch.from_numpy(shifted(x[part], rng)))
            nn.functional.cross_entropy(logits, torch.from_numpy(y[part])).backward()
            optimizer.step()
        if progress is not None:
            progress(epoch + 1, recipe.epochs)
    return module


def _initialised(module: nn.Module, rng: np.random.Generator) -> nn.Module:
    """Uniform weights of variance 2 / fan_in (He et al., ICCV 2015, eq. 10), biases 0, in float64."""
    module.double()
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            fan_in = part.weight[0].numel()
            draws = rng.random(tuple(part.weight.shape))
            part.weight.data = torch.from_numpy((2 * draws - 1) * math.sqrt(6 / fan_in))
            if part.bias is not None:
                part.bias.data.zero_()
    return module.train()


def shifted(x: Array, rng: np.random.Generator) -> Array:
    """Each image of [N, 1, 8, 8] moved by -1, 0 or 1 pixels along each axis, zeros moving in; float64."""
    n, _, height, width = x.shape
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    dy, dx = rng.integers(0, 2 * SHIFT + 1, (2, n))
    rows = (dy[:, None] + np.arange(height))[:, :, None]
    columns = (dx[:, None] + np.arange(width))[:, None, :]
    return np.ascontiguousarray(padded[np.arange(n)[:, None, None], 0, rows, columns][:, None])


def _on_grid(key: str, value: torch.Tensor) -> torch.Tensor:
    """k/4096 in float32, exact for magnitudes below 4096; a running variance is at least 1/4096."""
    if not value.is_floating_point():
        return value.clone()
    k = torch.round(value.detach() * GRID)
    return ((k.clamp_min(1) if key.endswith("running_var") else k) / GRID).float()


def _provenance(name: str, state: dict[str, torch.Tensor], digest: str) -> dict[str, Any]:
    module = build(name)
    module.load_state_dict(state)
    train, evaluation = split()
    return {
        "architecture": [f"{key}: {part}" for key, part in module.named_children()],
        "parameters": sum(p.numel() for p in module.parameters()),
        "data": "sklearn.datasets.load_digits, x / 16",
        "data_sha256": data_digest(),
        "split_seed": SPLIT_SEED,
        "split_sha256": split_digest(),
        "train_images": len(train),
        "evaluation_images": len(evaluation),
        "seed": SEED,
        "recipe": vars(RECIPES[name]),
        "augmentation": f"shift by up to {SHIFT} pixel along each axis",
        "grid": f"k/{GRID}",
        "digest": digest,
        "accuracy_train": accuracy(module.eval(), train),
        "accuracy_evaluation": accuracy(module.eval(), evaluation),
        "command": "snnverify train-default",
        "versions": {
            "python": platform.python_version(), "torch": torch.__version__, "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
        },
        "machine": f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
    }  # fmt: skip


def _why(
    state: dict[str, torch.Tensor], record: dict[str, Any], old_state: dict[str, torch.Tensor], old: dict[str, Any]
) -> str:
    """One line: what differs between this training and the shipped one."""
    pairs = {**{k: (old["versions"].get(k), v) for k, v in record["versions"].items()},
             **{k: (old.get(k), record[k]) for k in ("machine", "seed", "recipe")}}  # fmt: skip
    causes = [f"{k} {was} then, {now} now" for k, (was, now) in pairs.items() if was != now]
    parts = [", ".join(causes) or "versions and machine are the same: the training code or its order of sums changed"]
    alike = state.keys() == old_state.keys() and all(state[k].shape == old_state[k].shape for k in state)
    if alike:
        gaps = {k: float((state[k].double() - old_state[k].double()).abs().max()) for k in state}
        worst = max(gaps, key=lambda k: gaps[k])
        parts.append(f"greatest difference {gaps[worst]:.3g} in {worst} (grid 1/{GRID})")
    else:
        parts.append("the tensors have other names or shapes")
    parts.append(f"accuracy {record['accuracy_evaluation']:.4f} against {old['accuracy_evaluation']:.4f} shipped")
    return "; ".join(parts)
