"""Command verify-binary: every law of a conversion to binary spikes on a pair of files; thin."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import ConfigError

Add = Callable[[Callable[..., int], str, str], ArgumentParser]


def register(add: Add) -> None:
    """Add the command."""
    p = add(_verify, "verify-binary", "Hold a net after its conversion to binary spikes against the net before.")
    p.add_argument("before", type=Path, metavar="BEFORE", help="weights before")
    p.add_argument("after", type=Path, metavar="AFTER", help="weights after, as `snnverify binarize` writes them")
    p.add_argument("--data", metavar="D", help="images to run: data.yaml in the YOLO form for a detector; .npz, an IDX pair "
                   "or module:callable for a classifier; dummy images without it")  # fmt: skip
    p.add_argument("--img-size", type=int, metavar="S", help="side of the images, a multiple of the stride")
    p.add_argument("--model", metavar="M", help="that builds the net, for files of tensors alone")
    p.add_argument(
        "--hardware", action="store_true", help="fail where a synapse gets analog values that are not the image"
    )
    p.add_argument("--allow-unsupported", action="store_true", help="let a law through that cannot be asked of these nets; "
                   "exit code 3 without it")  # fmt: skip
    p.add_argument("--json", type=Path, metavar="FILE", help="every finding")


def _verify(
    *, before: Path, after: Path, data: str | None, img_size: int | None, model: str | None, hardware: bool,
    allow_unsupported: bool, json: Path | None, command: str,
) -> int:  # fmt: skip
    import json as codec
    from dataclasses import asdict

    from .cli import Progress
    from .content import write_atomic
    from .detector.behave import LAWS
    from .detector.verify import judged, opened
    from .gate import EXIT

    if json is not None and not json.absolute().parent.is_dir():
        raise ConfigError(f"{json}: there is no folder {json.absolute().parent}; make it first")
    stored, run = opened(before, after, data=data, size=img_size, model=model, ready=hardware)
    findings = []
    with Progress() as progress:
        for at, finding in enumerate(judged(stored, run, after.name)):
            progress("laws", at + 1, len(LAWS))
            findings.append(finding)
    for f in findings:
        print(f"{f.outcome:12} {f.check.removeprefix('pair.'):12} {_numbers(f)}")
    for note in run.notes:
        print(f"  {note}")
    bad = [f for f in findings if f.outcome != "pass"]
    print(f"{before.name} -> {after.name}: {len(findings) - len(bad)} of {len(findings)} laws hold")
    if json is not None:
        rows: list[dict[str, Any]] = [asdict(f) for f in findings]
        write_atomic(json, (codec.dumps({"findings": rows, "notes": run.notes}, indent=2, default=str) + "\n").encode())
    if any(f.outcome in ("fail", "error") for f in findings):
        return EXIT["FAIL"]
    return EXIT["INCONCLUSIVE"] if bad and not allow_unsupported else EXIT["PASS"]


def _numbers(f: Any) -> str:
    said = f"{f.cases} measures"
    if f.outcome in ("error", "unsupported"):  # a measure that held says nothing of why the others are missing
        return str(f.message)
    if f.outcome != "pass" and f.worst is not None:
        return f"{f.worst}" + (f" ({f.worst.detail})" if f.worst.detail else "")
    return f"{said}{f'; {f.message}' if f.message else ''}"
