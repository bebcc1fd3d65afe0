"""Two trained models on scikit-learn's digits: architectures, the fixed split, digests, and how they are loaded.

The data are the 1,797 images of ``sklearn.datasets.load_digits`` (UCI "Optical Recognition of Handwritten Digits",
8 x 8, 0 ... 16), scaled to [0, 1] by 1/16, which is exact in binary. 590 images train and calibrate; the other 1,207
are for evaluation alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from sklearn.datasets import load_digits
from torch import nn

from ..content import Array, frozen
from ..errors import ConfigError, DataError

WEIGHTS = Path(__file__).with_name("weights")
SPLIT_SEED = 1797
TRAIN_IMAGES = 590
GRID = 4096  # weights are k / GRID
DEFAULT = "digits_cnn"


@dataclass(frozen=True, eq=False)
class ZooModel:
    """A trained model, its data and where both come from.

    Parameters
    ----------
    name : str
    module : torch.nn.Module
        In eval mode, float32, input [N, 1, 8, 8].
    train_x, train_y : array
        float32 [590, 1, 8, 8] in [0, 1], int64 [590]; these and no others trained the model and may calibrate it.
    evaluation_x, evaluation_y : array
        float32 [1207, 1, 8, 8], int64 [1207].
    train_index, evaluation_index : array
        int64, absolute positions in ``load_digits``.
    provenance : mapping
        What ``weights/provenance.json`` says of it.
    """

    name: str
    module: nn.Module
    train_x: Array
    train_y: Array
    evaluation_x: Array
    evaluation_y: Array
    train_index: Array
    evaluation_index: Array
    provenance: Mapping[str, Any]


def digits_cnn() -> nn.Sequential:
    """Conv-BN-ReLU-AvgPool twice, then Linear; untrained. Input [N, 1, 8, 8], output [N, 10]."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            # No bias: batch normalisation would cancel it, and its gradient would be nothing but rounding.
            conv1=nn.Conv2d(1, 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            relu1=nn.ReLU(),
            pool1=nn.AvgPool2d(2),
            conv2=nn.Conv2d(16, 32, 3, padding=1, bias=False),
            bn2=nn.BatchNorm2d(32),
            relu2=nn.ReLU(),
            pool2=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            fc=nn.Linear(128, 10),
        )
    )


def digits_mlp() -> nn.Sequential:
    """64-128-64-10 with ReLU; untrained. Input [N, 1, 8, 8], output [N, 10]."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            flatten=nn.Flatten(),
            fc1=nn.Linear(64, 128),
            relu1=nn.ReLU(),
            fc2=nn.Linear(128, 64),
            relu2=nn.ReLU(),
            fc3=nn.Linear(64, 10),
        )
    )


MODELS: dict[str, Callable[[], nn.Sequential]] = {"digits_cnn": digits_cnn, "digits_mlp": digits_mlp}


@cache
def digits() -> tuple[Array, Array]:
    """All images float32 [1797, 1, 8, 8] in [0, 1] and labels int64 [1797], in the order of ``load_digits``."""
    x, y = load_digits(return_X_y=True)
    return frozen((x / 16).reshape(-1, 1, 8, 8), np.float32), frozen(y, np.int64)


@cache
def split() -> tuple[Array, Array]:
    """Absolute indices (int64) for training [590] and evaluation [1207].

    The order is that of 64-bit draws of PCG64, a stream that numpy promises never to change (NEP 19).
    """
    draws = np.random.PCG64(SPLIT_SEED).random_raw(len(digits()[1]))
    order = np.argsort(np.asarray(draws), kind="stable").astype(np.int64)
    return frozen(order[:TRAIN_IMAGES]), frozen(order[TRAIN_IMAGES:])


def split_digest() -> str:
    """sha256 of the permutation, as little-endian int64: training indices, then evaluation indices."""
    return hashlib.sha256(np.concatenate(split()).astype("<i8").tobytes()).hexdigest()


def data_digest() -> str:
    """sha256 of the images (little-endian float32) and labels (little-endian int64)."""
    x, y = digits()
    return hashlib.sha256(x.astype("<f4").tobytes() + y.astype("<i8").tobytes()).hexdigest()


def tensor_digest(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 over the name, dtype, shape and little-endian bytes of every tensor, in the order of names."""
    h = hashlib.sha256()
    for name in sorted(state):
        a = state[name].detach().cpu().numpy()
        a = a.astype(a.dtype.newbyteorder("<"))
        h.update(f"{name} {a.dtype.str} {a.shape}\n".encode() + a.tobytes())
    return h.hexdigest()


def accuracy(module: nn.Module, index: Array) -> float:
    """Share of the images at `index` that the module classifies rightly, in [0, 1]."""
    x, y = digits()
    with torch.no_grad():
        classes = module(torch.from_numpy(x[index])).argmax(1).numpy()
    return float(np.mean(classes == y[index]))


def build(name: str) -> nn.Sequential:
    """An untrained model; torch's own initialisation draws without moving the caller's global generator."""
    with torch.random.fork_rng(devices=[]):
        return MODELS[known(name)]()


def known(name: str) -> str:
    """`name`, or `ConfigError` where no model is called so."""
    if name not in MODELS:
        raise ConfigError(f"zoo model {name!r} is not known: one of {', '.join(MODELS)}")
    return name


def shipped(name: str, folder: Path = WEIGHTS) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and provenance of a model as they lie in `folder`; `DataError` where they are not there or differ."""
    known(name)  # outside the try: its ConfigError is a ValueError
    try:
        state = safetensors.torch.load_file(folder / f"{name}.safetensors")
        provenance: dict[str, Any] = json.loads((folder / "provenance.json").read_text("utf-8"))[name]
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as e:
        raise DataError(f"zoo model {name!r}: its shipped weights cannot be read ({e}); install snnverify anew") from e
    found = {"digest": tensor_digest(state), "split_sha256": split_digest(), "data_sha256": data_digest()}
    for key, value in found.items():
        if provenance.get(key) != value:
            raise DataError(
                f"zoo model {name!r}: {key} is {value}, provenance.json says {provenance.get(key)}; "
                "install snnverify anew with the scikit-learn and numpy of its constraints"
            )
    return state, provenance


def load_default(name: str = DEFAULT) -> ZooModel:
    """Load a shipped model with its data.

    Raises
    ------
    ConfigError
        `name` is not a model of the zoo.
    DataError
        The weights, the split or the images are not those that were shipped.
    """
    state, provenance = shipped(name)
    module = build(name)
    module.load_state_dict(state)
    x, y = digits()
    train, evaluation = split()
    return ZooModel(
        name, module.eval(), frozen(x[train]), frozen(y[train]), frozen(x[evaluation]), frozen(y[evaluation]),
        train, evaluation, provenance,
    )  # fmt: skip
