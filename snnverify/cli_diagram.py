"""The part of the shell face that draws what runs: thin, too."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ConfigError, DataError

Add = Callable[[Callable[..., int], str, str], ArgumentParser]


def register(add: Add) -> None:
    """Add the command."""
    p = add(
        _diagram,
        "diagram",
        "Draw the architecture of a model from a traced forward pass: what ran, and how values flowed.",
    )
    p.add_argument("model", help="a description (resnet18, resnet10, digits, a YAML file), a checkpoint or result of "
                   "`snnverify binarize` (.pt, .pth, .safetensors), module:callable or path.py:callable")  # fmt: skip
    p.add_argument("--weights", help="safetensors, or a state dict that torch reads with weights_only; without them a "
                   "description gets weights of the seed, and batch norms that have seen one dummy image")  # fmt: skip
    p.add_argument(
        "--image", type=Path, metavar="FILE", help="array (.npy) to trace; without it a dummy image is traced"
    )
    p.add_argument("--size", type=int, help="side of the dummy image (the smallest multiple of the stride from 64 on)")
    p.add_argument("--seed", type=int, default=0, help="of the dummy image and of weights that are not given (0)")
    p.add_argument("--no-trace", action="store_true", help="run nothing: list every module")
    p.add_argument("--out", type=Path, nargs="+", metavar="FILE", default=[],
                   help=".txt, .json, .mmd (Mermaid), .svg or .png; without it the text is printed")  # fmt: skip


def _diagram(*, model: str, weights: str | None, image: Path | None, size: int | None, seed: int, no_trace: bool,
             out: list[Path], command: str) -> int:  # fmt: skip
    from .detector.draw import describe, save, view
    from .detector.draw_text import text

    for path in out:  # a wrong name is told before anything runs
        view(path)
    if no_trace and image:
        raise ConfigError(f"image = {str(image)!r}: with --no-trace nothing runs; leave one of them out")
    module, said = _model(model, weights, seed)
    found = describe(module, _array(image), trace=not no_trace, seed=seed, size=size, weights=said)
    if not out:
        print(text(found), end="")
    for path in out:
        print(save(found, path))
    return 0


def _model(spec: str, weights: str | None, seed: int) -> tuple[Any, str]:
    """A model, and where its weights are from."""
    from .convert.load import load_model, load_weights
    from .detector.model import Detector, described
    from .detector.untrained import untrained

    if Path(spec).suffix in (".pt", ".pth", ".safetensors"):
        from .detector.checkpoint import open_net

        if weights is not None:
            raise ConfigError(f"--weights {weights}: {spec} holds the weights and the net; leave one of them out")
        opened = open_net(spec)
        return opened.net, f"{spec}, sha256 {opened.source['sha256']}"
    if ":" in spec:
        module, sha256 = load_model(spec, weights)
        return module, f"{weights}, sha256 {sha256}" if weights else "as the model is built"
    if weights is None:
        return untrained(described(spec), seed), f"untrained, of seed {seed}; batch norms have seen one dummy image"
    detector = Detector(described(spec))
    state, sha256 = load_weights(weights)
    try:
        detector.load_state_dict(state)
    except RuntimeError as e:
        lines = " ".join(str(e).split())
        raise DataError(f"weights {weights}: they do not fit {spec}: {lines[:200]}; give those of this model") from e
    return detector, f"{weights}, sha256 {sha256}"


def _array(path: Path | None) -> Any:
    import numpy as np

    if path is None:
        return None
    try:
        return np.load(path, allow_pickle=False)
    except OSError as e:
        raise DataError(f"image {path}: it cannot be read ({e.strerror}); give an array saved by numpy.save") from e
    except (ValueError, EOFError) as e:
        raise DataError(f"image {path}: no array of numbers in numpy's form; give one saved by numpy.save") from e
