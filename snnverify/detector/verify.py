"""A user's pair of files: opened, judged by every law, told in findings."""

from __future__ import annotations

import inspect
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..content import Array
from ..errors import ConfigError, DataError, Unsupported
from ..findings import Finding, Measure
from .archive import read_archive, read_bytes
from .behave import LAWS
from .binarize import overwritten, statistics
from .checkpoint import FORMAT, open_net
from .compare import Pair, structure, tensors
from .letterbox import stride_of
from .lineage import SAID
from .manifest import manifest
from .memory import check_memory
from .readiness import recorded
from .record import record
from .samples import first, open_samples

IMAGES = 4  # of a data set
SIDE = 64  # of dummy images

Law = Callable[[Pair], Iterator[Measure]]


def opened(
    before: Path, after: Path, *, data: str | None = None, size: int | None = None, model: str | None = None,
    ready: bool = False,
) -> tuple[Pair, Pair]:  # fmt: skip
    """Open two files: as they are stored, and in float32 with what they are run on.

    Raises
    ------
    ConfigError, DataError, Unsupported
        As `checkpoint.open_net` and `samples.open_samples`.
    """
    said = manifest_of(after)
    a = open_net(after, model=model)
    given = {} if said is None else {k: said[SAID[k]]["value"] for k in SAID if said[SAID[k]]["from"] == "option"}
    b = open_net(before, model=model, given=given)
    x, notes = images(a.net, data, size)
    found = statistics(b.net)
    shown = manifest(b, a.net, found) if said is not None else None
    stored = Pair(b.net.eval(), a.net.eval(), x, said, data is not None, ready, [*notes, *overwritten(found)], shown)
    if said is None:
        stored.notes.append(f"{after}: no manifest; constants are held to those of the modules")
    if data is None:
        stored.notes.append(
            f"dummy images {list(x.shape)}, seed 0: dead and saturated layers are told below, and not judged"
        )
    whole = _float(b.net)
    try:
        recorded(whole, x[:1], {})
    except Exception as e:  # a user's module may have errors of its own
        why = str(e).strip().partition("\n")[0][:200] or type(e).__name__
        raise DataError(
            f"{before}: it does not run on images {list(x.shape[1:])} ({why}); give such as it takes: --data"
        ) from e
    run = Pair(whole, _float(a.net), x, said, data is not None, ready, stored.notes)
    return stored, run


def manifest_of(path: Path) -> Mapping[str, Any] | None:
    """The manifest that a file of ours holds; None of another file.

    Raises
    ------
    DataError
        One that lacks what a manifest says.
    """
    content = read_bytes(path)
    held: Any
    if path.suffix == ".safetensors":
        length = int.from_bytes(content[:8], "little")
        try:
            told = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
            held = {"format": told.get("format"), "manifest": json.loads(told.get("manifest", "null"))}
        except (ValueError, AttributeError) as e:
            raise DataError(f"{path}: no safetensors file, or a damaged one; write it again") from e
    else:
        held = read_archive(path, content).value
    if not isinstance(held, Mapping) or held.get("format") != FORMAT:
        return None
    said = held.get("manifest")
    parts = [said.get(k) for k in SAID.values()] if isinstance(said, Mapping) else [None]
    whole = all(isinstance(p, Mapping) and {"value", "from"} <= set(p) for p in parts)
    if not isinstance(said, Mapping) or not whole or not isinstance(said.get("units"), Mapping):
        raise DataError(f"{path}: its manifest does not say T, threshold, decay and units; convert it again")
    return said


def images(net: Any, data: str | None, size: int | None) -> tuple[Array, tuple[str, ...]]:
    """A few images of a data set, float32 [B, C, H, W], and what to know of it; or dummy ones as the net takes.

    Raises
    ------
    ConfigError
        No data for a net that does not say which images it takes, or an impossible size.
    """
    if data is not None:
        samples = first(open_samples(data, net, size or 640), IMAGES)
        if size is not None and samples.kind == "classes" and samples.size != size:
            raise ConfigError(f"--img-size {size}: the images of {data} are {samples.size} high; leave the option out")
        check_memory(net, samples.size, images=len(samples), kept=True)
        return np.ascontiguousarray(samples.read(range(len(samples)))[0], np.float32), samples.notes
    described, stride = getattr(net, "yaml", None), stride_of(net)
    if not isinstance(described, Mapping):
        raise ConfigError("--data: the net does not say which images it takes; give some")
    side = size or -(-SIDE // stride) * stride
    if side < 1 or side % stride:
        near = max(stride, side // stride * stride)
        raise ConfigError(f"--img-size {side}: no multiple of the stride {stride}; take {near} or {near + stride}")
    check_memory(net, side, images=2, kept=True)
    shape = (2, int(described.get("channels", 3)), side, side)
    return np.random.default_rng(0).uniform(size=shape).astype(np.float32), ()


def _float(net: Any) -> Any:
    """A copy in float32: float16 is kept in files, and most CPUs do not compute in it."""
    import copy

    return copy.deepcopy(net).float()


def judged(stored: Pair, run: Pair, subject: str, laws: Sequence[Law] = LAWS) -> Iterator[Finding]:
    """Laws on a pair: those of structure and bytes on what is stored, all others on what runs."""
    for law in laws:
        yield judge(law, stored if law in (tensors, structure, record) else run, subject)


def judge(law: Law, pair: Pair, subject: str) -> Finding:
    """One law on a pair; no measure at all is a failure, an exception an error."""
    claim, source = claim_of(law)
    started = time.perf_counter()
    worst: Measure | None = None
    outcome, message, number = "pass", "", 0
    try:
        for m in law(pair):
            number += 1
            broken = not m.kept and (worst is None or worst.kept)
            if worst is None or broken or (m.kept and worst.kept and m.value - m.limit > worst.value - worst.limit):
                worst = m
    except Unsupported as e:
        outcome, message = "unsupported", str(e)
    except Exception as e:
        outcome, message = "error", f"{type(e).__name__}: {' '.join(str(e).split())}"[:400]
    if worst is not None and not worst.kept:
        outcome = "fail"
    elif outcome == "pass" and not number:
        outcome, message = "fail", "it measured nothing"
    return Finding(f"pair.{law.__name__}", subject, outcome, claim, source, number, worst, message, "",
                   time.perf_counter() - started)  # fmt: skip


def claim_of(law: Law) -> tuple[str, str]:
    """First paragraph of a law's docstring: ``the claim [its source].``."""
    text = " ".join((inspect.getdoc(law) or "").split("\n\n")[0].split())
    found = re.fullmatch(r"(.*) \[(.*)\]\.?", text)
    assert found is not None, law.__name__
    return found[1], found[2]
