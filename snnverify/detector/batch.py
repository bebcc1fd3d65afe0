"""What `snnverify binarize` does with each file: open, convert, write, draw; and where results go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import ConfigError, DataError, SnnverifyError
from .binarize import Statistics, binarize, overwritten
from .blocks import Constants
from .checkpoint import Opened, open_net
from .dataset import MODES, read_image, read_split
from .draw import view
from .draw import write as draw
from .letterbox import check_size, letterbox, stride_of
from .lineage import SAID, told
from .manifest import manifest, write
from .memory import check_memory
from .samples import check_names


@dataclass(frozen=True)
class Job:
    """One file: where its result and its diagram go; no diagram of a module that is not asked for one."""

    weights: Path
    target: Path
    diagram: Path
    asked: bool


@dataclass(frozen=True)
class Settings:
    """What holds for every file of a batch."""

    device: str = "cpu"
    given: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    code: Path | None = None
    trust_pickle: bool = False
    allow_none: bool = False
    data: str | None = None
    img_size: int = 640
    no_trace: bool = False
    command: str = ""


def plan(weights: Sequence[Path], output: Path | None, diagram: Path | None) -> list[Job]:
    """Name the result of each file, before any is opened.

    Raises
    ------
    ConfigError
        Results that would overwrite each other or a source, a file that is named for several results, an ending.
    """
    several = len(weights) > 1
    folder = output is not None and (output.is_dir() or several or output.suffix == "")
    if several and output is not None and output.suffix == ".pt":
        raise ConfigError(f"--output {output}: one file for {len(weights)} results; give a folder")
    if output is not None and not folder and output.suffix != ".pt":
        raise ConfigError(f"--output {output}: a result ends in .pt, the others are named like it; or give a folder")
    if diagram is not None:
        view(diagram)
    given = [w.resolve() for w in weights]
    if again := next((w for w in weights if given.count(w.resolve()) > 1), None):
        raise ConfigError(f"--weights {again}: it is given twice; once is enough")
    jobs = []
    for w in weights:
        beside = w.with_name(f"{w.stem}_binary.pt")
        target = beside if output is None else output / beside.name if folder else output
        drawn = diagram or target.with_suffix(".txt")
        if diagram is not None and several:
            drawn = diagram.with_name(f"{diagram.stem}-{w.stem}{diagram.suffix}")
        jobs.append(Job(w, target, drawn, diagram is not None))
    written = [p.resolve() for j in jobs for p in _files(j)]
    twice = sorted(
        {str(p) for p in written if written.count(p) > 1} | {str(p) for p in written if p in _resolved(weights)}
    )
    if twice:
        raise ConfigError(
            f"{twice[0]}: it would be written twice, or over a source; take other names or --output FOLDER"
        )
    return jobs


def _files(job: Job) -> tuple[Path, ...]:
    return (*(job.target.with_suffix(s) for s in (".pt", ".safetensors", ".json")), job.diagram)


def _resolved(paths: Sequence[Path]) -> set[Path]:
    return {p.resolve() for p in paths}


def convert(job: Job, settings: Settings) -> Iterator[str]:
    """Convert one file; give what is to be said, a line at a time.

    Raises
    ------
    SnnverifyError
        Nothing is written then; but for the diagram, which comes last: what was written before it stays.
    """
    s = settings
    opened = open_net(job.weights, model=s.model, given=s.given, code=s.code, trust=s.trust_pickle)
    if not s.no_trace:
        check_size(s.img_size, stride_of(opened.net))
    values = {k: v for k, (v, _) in opened.constants.items()}
    # units that have constants keep them; the others have none of their own, or are an nn.SiLU
    kept = None if None in values.values() else Constants(**values)
    net, found = binarize(opened.net, kept)
    if not found.total and not s.allow_none:
        raise ConfigError(
            f"{job.weights}: nothing to convert: {found.checked} modules checked, {found.binary} activations are binary "
            "already; --allow-none writes it all the same"
        )
    wanted = job.asked or "model" not in opened.configuration
    # before anything is written: a wrong data set, or an image that does not fit, leaves nothing
    if wanted and not s.no_trace:
        check_memory(net, s.img_size, device=s.device)
    image, of, notes = _image(s, net) if wanted and s.data is not None and not s.no_trace else (None, "", ())
    said = manifest(opened, net, found, s.command, s.device)
    paths = write(opened, net, said, job.target)
    yield from _told(job, opened, found)
    yield f"  written: {', '.join(str(p) for p in paths)}"
    if not wanted:
        yield "  no diagram: for a module of your own ask for it with --diagram FILE"
        return
    try:
        drawn = draw(net.to(s.device), job.diagram, image=image, trace=not s.no_trace, size=s.img_size,
                     weights=f"{job.target.name}, sha256 of its tensors {said['tensors']['sha256']}")  # fmt: skip
    except Exception as e:  # whatever it is, the results are there, and the batch goes on
        raise DataError(f"{job.weights}: converted and written, but not drawn: {reason(e)}") from e
    traced = "not traced" if s.no_trace else of or f"a dummy image of {s.img_size} x {s.img_size} traced"
    yield f"  diagram: {drawn} ({traced})"
    yield from (f"  {note}" for note in notes)


def reason(e: Exception) -> str:
    """What went wrong, in a line; of an exception that nobody foresaw its type, too."""
    if isinstance(e, OSError) and e.filename:
        return f"{e.filename}: {e.strerror}"
    text = " ".join(str(e).split())
    return str(e) if isinstance(e, SnnverifyError) else f"{type(e).__name__}: {text[:300]}; please report it"


def _told(job: Job, opened: Opened, found: Statistics) -> Iterator[str]:
    source = opened.source
    yield f"{job.weights}: {source['taken']}, read {source['read']}, sha256 {source['sha256'][:16]}"
    if made := told(source.get("earlier", ())):
        yield f"  made of {made}"
    yield "  " + ", ".join(
        f"{SAID[k]} = {'as each unit has it' if v is None else v} ({origin})"
        for k, (v, origin) in opened.constants.items()
    )
    kinds = ", ".join(f"{k} {n}" for k, n in found.kinds.items())
    yield f"  {found.checked} modules checked, {found.total} converted ({kinds}), {found.binary} were binary"
    if found.left:
        yield f"  left as they are: {len(found.left)} nn.SiLU of no unit ({', '.join(found.left[:4])})"
    yield from (f"  {line}" for line in overwritten(found))


def _image(s: Settings, net: nn.Module) -> tuple[Any, str, tuple[str, ...]]:
    split = read_split(str(s.data))
    check_names(split, net)
    channels = getattr(net, "yaml", {}).get("channels", 3)
    if channels not in MODES:
        raise ConfigError(f"--data {s.data}: the net takes {channels} channels, images have 1 or 3; leave it out")
    path = split.images[0]
    return letterbox(read_image(path, channels), s.img_size)[None], f"{path} traced; {split}", split.notes
