"""How hard a model is to convert: the patterns in it, what each costs its author, and the remedy.

A pattern weighs what has to be done about it: 0 nothing, 1 an option of the conversion, 2 replacing and fine-tuning,
3 another architecture and training. The class is that of the heaviest pattern; the score adds the weights up, each
pattern once, so that models of one class can be put in order. Neither claims an accuracy: that is measured.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import nn

from ..content import Array
from .analyze import LayerVerdict, analyze
from .converted import ConversionWarning

CLASSES = ("easy", "moderate", "hard", "redesign")
MEANING = ("nothing to do", "options of the conversion suffice", "replace layers and fine-tune", "another architecture")


@dataclass(frozen=True)
class Pattern:
    """Something in a model that its conversion has to deal with.

    Parameters
    ----------
    name : str
    paths : tuple of str
        Module paths, in the order of computation.
    weight : int
        0 ... 3, see the module.
    why, remedy : str
    """

    name: str
    paths: tuple[str, ...]
    weight: int
    why: str
    remedy: str

    def __str__(self) -> str:
        shown = ", ".join(self.paths[:4]) + (f" and {len(self.paths) - 4} more" if len(self.paths) > 4 else "")
        return f"{self.name} ({shown}): {self.why}; {self.remedy}"


# name: weight, operations (lower case, without underscores), why, remedy
_TABLE: dict[str, tuple[int, str, str, str]] = {
    "batch normalisation": (
        1, "batchnorm1d batchnorm2d batchnorm",
        "running statistics scale every channel; a converter that forgets them runs another model",
        "fold it into the weights (fold_batchnorm=True, the default)",
    ),
    "dropout": (
        0, "dropout dropout1d dropout2d alphadropout featurealphadropout",
        "it acts in training only", "convert in eval mode, which is done for you",
    ),
    "max pooling": (
        1, "maxpool1d maxpool2d adaptivemaxpool1d adaptivemaxpool2d",
        "the maximum of spike trains is not known at a time step",
        "maxpool='gate' (approximate), or train with average pooling or a strided convolution",
    ),
    "activation without a rate": (
        2, "gelu silu mish elu selu celu softplus hardswish sigmoid tanh logsigmoid hardsigmoid softsign exp relu6 hardtanh",
        "its curve is not that of a firing rate", "replace it by ReLU or QCFS and fine-tune",
    ),
    "signed activation": (
        2, "leakyrelu prelu rrelu", "a firing rate is never negative", "replace it by ReLU or QCFS and fine-tune",
    ),
    "softmax": (
        2, "softmax logsoftmax softmin",
        "it divides by a sum over units",
        "leave it out at the output, where the arg max stays; inside, replace it and fine-tune",
    ),
    "normalisation of each sample": (
        3, "layernorm groupnorm instancenorm instancenorm1d instancenorm2d rmsnorm localresponsenorm normalize",
        "its statistics are those of the sample, which weights cannot hold", "train with batch normalisation, which folds",
    ),
    "attention": (
        3, "multiheadattention scaleddotproductattention multiheadattentionforward matmul bmm einsum bilinear transformer "
        "transformerencoder transformerencoderlayer transformerdecoder transformerdecoderlayer",
        "it multiplies two activations; a neuron adds", "train with convolutions or linear layers in its place",
    ),
    "recurrent cell": (
        3, "lstm gru rnn lstmcell grucell rnncell",
        "it has a state of its own, with gates", "train a feed-forward model, or natively spiking neurons",
    ),
}  # fmt: skip
_NAMES = {operation: name for name, row in _TABLE.items() for operation in row[1].split()}
_MERGES = frozenset({"add", "iadd", "sub", "isub", "cat", "concat", "concatenate"})


@dataclass(frozen=True)
class Analysis:
    """What is known of a model before any conversion.

    Parameters
    ----------
    rows : tuple of LayerVerdict
    patterns : tuple of Pattern
        The heaviest first.
    convertible : bool
        Whether nothing in it is unsupported but max pooling, for which there is the gate.
    judged_input : bool
        Whether samples were given, so that signed inputs could be seen.
    """

    rows: tuple[LayerVerdict, ...]
    patterns: tuple[Pattern, ...]
    convertible: bool
    judged_input: bool

    @property
    def score(self) -> int:
        """Sum of the weights of the patterns."""
        return sum(p.weight for p in self.patterns)

    @property
    def difficulty(self) -> str:
        """Class of the heaviest pattern: easy, moderate, hard or redesign."""
        return CLASSES[max((p.weight for p in self.patterns), default=0)]

    def warn(self) -> None:
        """Issue a `ConversionWarning` for every pattern about which something has to be done."""
        for p in self.patterns:
            if p.weight:
                warnings.warn(str(p), ConversionWarning, stacklevel=2)


def examine(model: nn.Module, input_shape: tuple[int, ...] | None = None, x: Array | None = None) -> Analysis:
    """Judge every call of a model and tell the patterns in it; works on models that cannot be converted.

    Parameters
    ----------
    model : nn.Module
    input_shape : tuple of int, optional
        As `analyze` takes it.
    x : array [N, *input_shape], optional
        Samples: whether inputs are signed.
    """
    rows = tuple(analyze(model, input_shape))
    found: dict[str, list[str]] = {}
    for r in rows:
        name = _pattern(r)
        if name:
            found.setdefault(name, []).append(r.path)
    if {"recurrent cell", "attention"} & found.keys():  # picking their outputs apart goes with them
        found["other operation"] = [p for p in found.get("other operation", []) if not _picks(p, rows)]
    patterns = [_told(name, paths, rows) for name, paths in found.items() if paths]
    if x is not None and np.min(x) < 0:
        low, high = float(np.min(x)), float(np.max(x))
        patterns.append(Pattern("signed input", ("input",), 1, f"samples run from {low:.3g} to {high:.3g}; no rate is "
                                "negative", "unit_range=True maps them to [0, 1] and the first layer's weights undo it; "
                                "constant currents may be signed as they are"))  # fmt: skip
    convertible = all(r.verdict != "unsupported" or _pattern(r) == "max pooling" for r in rows)
    return Analysis(rows, tuple(sorted(patterns, key=lambda p: -p.weight)), convertible, x is not None)


def _pattern(row: LayerVerdict) -> str:
    operation = row.operation.lower().replace("_", "").lstrip(".")
    if operation in _NAMES:
        return _NAMES[operation]
    if row.inputs > 1 and operation in _MERGES:
        return "skip merge"
    return "other operation" if row.verdict == "unsupported" else ""


def _picks(path: str, rows: tuple[LayerVerdict, ...]) -> bool:
    return all(r.operation == "getitem" for r in rows if r.path == path)


def _told(name: str, paths: Iterable[str], rows: tuple[LayerVerdict, ...]) -> Pattern:
    unique = tuple(dict.fromkeys(paths))
    if name == "skip merge":
        return Pattern(name, unique, 1, "branches meet whose thresholds differ",
                       "each branch is scaled by its source's threshold, which is done for you; look at the rates there, "
                       "which `snnverify calibrate` reports apart")  # fmt: skip
    if name == "other operation":
        first = next(r for r in rows if r.path == unique[0] and r.verdict == "unsupported")
        return Pattern(name, unique, 3, first.why, first.remedy or "see the table")
    weight, _, why, remedy = _TABLE[name]
    stuck = [r for r in rows if r.path in unique and r.verdict == "unsupported" and name == "batch normalisation"]
    if stuck:
        return Pattern(name, unique, 2, stuck[0].why, stuck[0].remedy)
    return Pattern(name, unique, weight, why, remedy)
