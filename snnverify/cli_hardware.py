"""Commands about hardware: the audit of claims, and the mapping of a network onto a target."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import cli_calibrate
from .content import write_atomic
from .errors import ConfigError

PRECISIONS = ("fp32", "int8", "int4", "binary")
Add = Callable[[Callable[..., int], str, str], ArgumentParser]


def register(add: Add) -> None:
    """Add the commands."""
    p = add(
        _audit,
        "audit",
        "Recompute what a report claims: exit 0 consistent, 1 inconsistent, 3 unverifiable, 2 a bad file.",
    )
    p.add_argument("claims", type=Path, help="TOML file of claims; see examples/claims")
    p.add_argument("--json", type=Path, metavar="FILE", help="write the verdicts as JSON, too")
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write them as a Markdown table, too")

    p = add(_map, "map", "Tell what a converted model takes on a chip: exit 0 it fits, 1 it breaks a limit.")
    p.add_argument("model", nargs="?", help="as of report; without one, both embedded models")
    p.add_argument("--target", required=True, help="loihi1, loihi2, many-core, or one of --targets")
    p.add_argument(
        "--targets", type=Path, metavar="FILE", help="TOML file of further targets, each limit with its source"
    )
    p.add_argument("--precision", choices=PRECISIONS, default="int8", help="of weights (int8)")
    p.add_argument("--weights", help="as of report")
    p.add_argument("--data", help="as of report; finds the neurons that stay silent")
    p.add_argument("--calibration", help="as of report")
    p.add_argument("-T", "--timesteps", nargs=1, type=int, metavar="T", help="time steps of that run")
    p.add_argument("--mode", help="of the threshold calibration (99.9%%)")
    cli_calibrate.conversion(p)
    cli_calibrate.options(p)
    p.add_argument("--seed", type=int, help="of everything random (0)")
    p.add_argument("--samples", type=int, default=200, help="of the data in that run (200)")
    p.add_argument(
        "--netx",
        type=Path,
        metavar="FILE",
        help="write it as NetX, too, with Loihi's 8-bit weights; one model "
        "without bias (bias=False), with --v-init zero and --reset value",
    )
    p.add_argument(
        "--nir", type=Path, metavar="FILE", help="write it as NIR, too, weights as of --precision; one model"
    )
    p.add_argument(
        "--json", type=Path, metavar="FILE", help="write the report as JSON, with versions, seed and digests"
    )
    p.add_argument("--markdown", type=Path, metavar="FILE", help="write the report as Markdown, too")


def _audit(*, claims: Path, json: Path | None, markdown: Path | None, command: str) -> int:
    from .hardware.audit import audit, exit_code, record
    from .hardware.claims import read_claims
    from .report.hardware import markdown_audit, render_audit

    read = read_claims(claims)
    findings = audit(read)
    if json:
        write_atomic(json, _dumped(record(read, findings)))
    if markdown:
        write_atomic(markdown, markdown_audit(read, findings))
    print(render_audit(read, findings))
    return exit_code(findings)


def _dumped(tree: object) -> str:
    return json.dumps(tree, indent=1, ensure_ascii=False) + "\n"


def _map(*, target: str, targets: Path | None, precision: str, samples: int, netx: Path | None, nir: Path | None,
         json: Path | None, markdown: Path | None, command: str, **options: Any) -> int:  # fmt: skip
    from .cli import Progress
    from .config import merge, read_config
    from .hardware import targets as known
    from .pipeline import provenance
    from .pipeline.mapped import mapped
    from .report.hardware import map_record, markdown_map, render_map

    if samples < 1:
        raise ConfigError(f"--samples = {samples}: at least 1")
    if (netx or nir) and options["model"] is None:
        raise ConfigError("model: --netx and --nir write one network; name the model")
    chip = known.target(target, targets)
    settings = merge(options, read_config())
    files: dict[Path, bytes] = {}
    with Progress() as progress:
        found = list(mapped(settings, chip, precision, samples, progress,
                            lambda network: files.update(_artefacts(network, precision, netx, nir))))  # fmt: skip
    about = provenance(settings, 0.0, False)
    about.pop("seconds")
    if json:
        files[json] = _dumped(map_record(found, chip, precision, about)).encode()
    if markdown:
        files[markdown] = "\n".join(markdown_map(m, chip, precision) for m in found).encode()
    for path, content in files.items():
        write_atomic(path, content)
    print("\n\n".join(render_map(m, chip, precision) for m in found))
    print("\n" + "\n".join(f"{k}: {about[k]}" for k in ("command", "seed", "snnverify", "python", "numpy", "torch")))
    return 1 if any(m.placement.violations or m.removal.changed for m in found) else 0


def _artefacts(network: Any, precision: str, netx: Path | None, nir: Path | None) -> Iterator[tuple[Path, bytes]]:
    """Contents of the deployable files; `Unsupported` names all that a format cannot say."""
    from .errors import Unsupported
    from .exchange import netx_bytes, to_bytes, to_nir
    from .loihi import lava_blocks
    from .loihi.quantise import SCALE
    from .pipeline.mapped import lost, unheld
    from .quantise import Grid, quantise

    if netx:
        if refused := unheld(network):
            raise Unsupported(f"--netx {netx}", f"its blocks do not have {refused}", "or leave --netx out")
        blocks = lava_blocks(network, ties="keep", delay=1)  # fires as it did, a step later
        yield netx, netx_bytes(blocks)
        print(f"NetX has weights on the 8-bit grid of 2 / {SCALE}, whatever --precision: greatest weight error "
              f"{lost(network, blocks, SCALE):.2g}", file=sys.stderr)  # fmt: skip
    if nir:
        if precision != "fp32":
            network = quantise(network, Grid(precision)).network
        graph, losses = to_nir(network, dt=1e-4)
        print("\n".join(f"NIR does not say: {loss}" for loss in losses), file=sys.stderr)
        yield nir, to_bytes(graph)
