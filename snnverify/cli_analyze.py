"""The part of the shell face about models before their conversion: thin, too."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .content import write_atomic
from .errors import ConfigError

Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    """Add the command."""
    p = add(_analyze, "analyze", "Tell, before any conversion, what of a model converts, how hard it is, and the remedies. "
            "Exit 1 where something is unsupported.")  # fmt: skip
    p.add_argument("model", help="module:callable or path.py:callable")
    p.add_argument("--weights", help="trained weights: whether a normalisation folds depends on them")
    p.add_argument("--input-shape", nargs="+", type=_positive, metavar="N", help="sample axes, channel first: 1 28 28")
    p.add_argument("--data", help="samples: whether inputs are signed; tells the input shape, too")
    p.add_argument("--json", type=Path, help="write all of it there, too")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give an integer >= 1")
    return int(text)


def _analyze(
    *, model: str, weights: str | None, input_shape: list[int] | None, data: str | None, json: Path | None, command: str
) -> int:
    from . import __version__, zoo
    from .convert.difficulty import MEANING, examine
    from .convert.load import load_model
    from .data import load_data
    from .pipeline import embedded_names
    from .report import render_verdicts

    if ":" in model:
        module, shape = load_model(model, weights)[0], input_shape
    else:
        (name,) = embedded_names(model)
        module, shape = zoo.load_default(name).module, [1, 8, 8]
    x = None if data is None else load_data(data).x
    if x is not None and shape is None:
        shape = list(x.shape[1:])
    if x is not None and shape is not None and x[0].size != _size(shape):
        raise ConfigError(
            f"input_shape = {shape}: the samples of {data} have shape {list(x.shape[1:])}; leave one of them out"
        )
    found = examine(module, tuple(shape) if shape else None, x)
    if json is not None:
        import json as codec

        about = {"snnverify": __version__, "model": model, "weights": weights, "input_shape": shape, "data": data,
                 "difficulty": found.difficulty, "score": found.score}  # fmt: skip
        write_atomic(json, codec.dumps(about | asdict(found), indent=2) + "\n")
    print(render_verdicts(found.rows))
    print(_summary(found, MEANING))
    return 1 if any(r.verdict == "unsupported" for r in found.rows) else 0


def _size(shape: list[int]) -> int:
    n = 1
    for part in shape:
        n *= part
    return n


def _summary(found: Any, meaning: tuple[str, ...]) -> str:
    """Patterns, the heaviest first, then the class with what it stands for."""
    said = [f"{'ConversionWarning' if p.weight else 'note'}, weight {p.weight}: {p}" for p in found.patterns]
    lines = ["", *(textwrap.fill(line, 118, subsequent_indent="    ") for line in said)]
    heaviest = max((p.weight for p in found.patterns), default=0)
    terms = " + ".join(str(p.weight) for p in found.patterns)
    lines.append(f"\ndifficulty: {found.difficulty} ({meaning[heaviest]}), score {terms + ' = ' if '+' in terms else ''}"
                 f"{found.score}")  # fmt: skip
    if not found.judged_input:
        lines.append("inputs: not judged; give --data to see whether they are signed")
    return "\n".join(lines)
