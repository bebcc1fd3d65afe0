"""Data and training of the demo: state saved after every epoch, so that Ctrl-C costs one epoch at most."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..content import Array, write_atomic
from ..data import Dataset, check_labels, load_data
from ..errors import CodecError, ConfigError, DataError
from ..loihi import weight_mantissa
from ..network import Network
from ..oracles import Oracle
from ..simulate import run
from ..trace import Case

Progress = Callable[[str, int, int], None]
State = dict[str, Array]
CLASSES = 10
STATE = "state.npz"
GAINS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
LIFT = 0.3
AWAKE = 0.1  # spikes of a neuron in a step
BATCHES = 8  # a call of the trainer, between two movements of the progress bar


@dataclass(frozen=True)
class Settings:
    """Options of the tutorial, and of this program.

    Parameters
    ----------
    T, b, channels, epochs, lr, device
        As the tutorial's: steps, batch, channels of the convolutions, passes, learning rate, device of torch. The
        tutorial's batch is 128, and its weights begin smaller: see `awake`.
    data_dir : str, optional
        Folder of IDX files; scikit-learn's digits without it.
    out_dir : Path
    samples : int
        Evaluation images that run through NetX in lava-nc, which is slow.
    limit : int, optional
        Training images used.
    seed : int
    resume : bool
        Whether to go on with the state that the folder holds.
    """

    T: int = 16
    b: int = 32
    channels: int = 16
    epochs: int = 16
    lr: float = 0.1
    device: str = "cpu"
    data_dir: str | None = None
    out_dir: Path = Path("lava-demo")
    samples: int = 4
    limit: int | None = None
    seed: int = 0
    resume: bool = False

    @property
    def training(self) -> dict[str, Any]:
        """What the trainer is told."""
        return {"channels": self.channels, "T": self.T, "lr": self.lr, "batch": self.b, "seed": self.seed,
                "device": self.device, "classes": CLASSES}  # fmt: skip


def read_data(folder: str | None, seed: int, limit: int | None) -> tuple[Dataset, Dataset]:
    """Training and evaluation images: the two IDX pairs of a folder, or four fifths and one fifth of all there are."""
    if folder is None:
        from ..zoo.models import digits

        x, y = digits()
        order = np.random.default_rng(seed).permutation(len(x))
        whole = Dataset(x[order], y[order], "none", "scikit-learn digits")
        train_set, test_set = _parts(whole)
    else:
        found = [_pair(Path(folder), start) for start in ("train", "t10k")]
        if all(found):
            train_set, test_set = (load_data(spec) for spec in found if spec)
        elif Path(folder).is_dir():
            train_set, test_set = _parts(load_data(folder))
        else:
            raise DataError(f"-data-dir = {folder!r}: no such folder; give the one that holds the IDX files of MNIST")
    for part in (train_set, test_set):
        check_labels(part.y, CLASSES)
        if part.x.ndim != 4 or part.x.min() < 0 or part.x.max() > 1:
            raise DataError(f"{part.source}: images [N, C, H, W] with values in 0 ... 1 are needed, as rates of spikes")
    if limit is not None:
        train_set = replace(train_set, x=train_set.x[:limit], y=train_set.y[:limit])
    return train_set, test_set


def _pair(folder: Path, start: str) -> str | None:
    files = [min(folder.glob(f"{start}-{kind}"), default=None) for kind in ("images*", "labels*")]
    return ",".join(map(str, files)) if all(files) else None


def _parts(whole: Dataset) -> tuple[Dataset, Dataset]:
    cut = len(whole) * 4 // 5
    first = replace(whole, x=whole.x[:cut], y=whole.y[:cut], source=f"{whole.source}, first 4/5")
    rest = replace(whole, x=whole.x[cut:], y=whole.y[cut:], source=f"{whole.source}, last 1/5", first_sample=cut)
    return first, rest


def train(
    settings: Settings, exchange: Oracle, data: Dataset, progress: Progress
) -> tuple[State, list[dict[str, float]]]:
    """Train, and save the state after every epoch; Ctrl-C costs the epoch that it falls into."""
    state, history = load_state(settings, data) if settings.resume else (awake(settings, exchange, data), [])
    settings.out_dir.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is told before the first epoch
    step = exchange.operator("csnn_train")
    for epoch in range(len(history), settings.epochs):
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(data))
        total, right, done = 0.0, 0, 0
        for rows in np.array_split(order, max(1, -(-len(order) // (settings.b * BATCHES)))):
            progress(f"epoch {epoch + 1} of {settings.epochs}", done, len(order))
            state, loss, correct = step(state, data.x[rows], data.y[rows], settings.training)
            done, right, total = done + len(rows), right + correct, total + loss * len(rows)
            progress(f"epoch {epoch + 1} of {settings.epochs}", done, len(order))
        if not np.isfinite(total):
            raise DataError(f"epoch {epoch + 1}: the loss is {total}; lower -lr = {settings.lr}")
        history.append({"epoch": epoch + 1, "loss": round(total / done, 6), "accuracy": round(right / done, 6)})
        save_state(settings, data, state, history)
    return state, history


def awake(settings: Settings, exchange: Oracle, data: Dataset) -> State:
    """New weights, layer by layer multiplied by the least of `GAINS` that lets a tenth of the neurons fire in a step.

    As torch draws them, the last layers of the tutorial's net are silent, and a silent layer learns next to nothing: the
    tutorial's 7,500 updates get over that, the few of a small data set do not. Nor does a class that never fires begin to:
    the weights of every output get one positive mean, `LIFT` of their spread.
    """
    options = settings.training
    drawn, *_ = exchange.operator("csnn_train")({}, data.x[:1], data.y[:1], {**options, "lr": 0.0})
    state = {name: np.asarray(a) for name, a in drawn.items() if name.startswith("net.") or name == "shape"}
    spikes = np.asarray(exchange.operator("csnn_encode")(data.x[:64], options), float)
    network = exchange.operator("csnn_network")(state, options)
    for i, layer in enumerate(network.layers):
        (branch,), name = layer.branches, f"net.{layer.name}.synapse.weight"
        if name not in state:
            continue
        if layer == network.output:
            w = state[name]
            state[name] = np.asarray(w - w.mean(1, keepdims=True) + LIFT * w.std(), np.float32)
        for gain in GAINS:
            op = replace(branch.op, weight=weight_mantissa(state[name] * np.float32(gain)))
            layers = (*network.layers[:i], replace(layer, branches=(replace(branch, op=op),)))
            trial = Case(Network(network.input_shape, layers), spikes, settings.T, "spikes", kind="integer")
            if run(trial, "counts").counts[layer.name].mean() >= AWAKE * settings.T:
                break
        state[name] = state[name] * np.float32(gain)
        network = replace(network, layers=(*layers, *network.layers[i + 1 :]))
    return state


def save_state(settings: Settings, data: Dataset, state: Mapping[str, Array], history: list[dict[str, float]]) -> None:
    """Weights and momenta, what was learned so far, the options and the digest of the images: whole or not at all."""
    buffer = io.BytesIO()
    told = json.dumps({"options": settings.training, "images": data.digest, "history": history})
    np.savez(buffer, **state, told=np.array(told))  # type: ignore[arg-type]
    write_atomic(settings.out_dir / STATE, buffer.getvalue())


def load_state(settings: Settings, data: Dataset) -> tuple[State, list[dict[str, float]]]:
    """What `save_state` wrote for the same options and images."""
    path = settings.out_dir / STATE
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
            state = {name: npz[name] for name in npz.files}
        told = json.loads(str(state.pop("told")))
        was, images, history = told["options"], told["images"], told["history"]
    except FileNotFoundError:
        raise ConfigError(f"--resume: {path} is not there; train without it first") from None
    except Exception as e:  # damage shows in many ways
        raise CodecError(
            f"{path}: not a state of this program ({type(e).__name__}: {e}); train without --resume"
        ) from e
    for name, value in settings.training.items():
        if was.get(name) != value and name not in ("lr", "device"):
            raise ConfigError(f"--resume: {path} was trained with {name} = {was.get(name)!r}, not {value!r}; give that")
    if images != data.digest:
        raise ConfigError(
            f"--resume: {path} was trained on other images (sha256 {images[:12]}) than these {len(data)} of {data.source} "
            f"({data.digest[:12]}); give the same -data-dir and --limit"
        )
    return state, history
