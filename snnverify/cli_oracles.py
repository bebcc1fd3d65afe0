"""Commands about other implementations: oracle, fingerprint, compare, golden."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .config import read_config
from .content import write_atomic
from .errors import ConfigError, Unavailable

FINGERPRINTS = """# Fingerprints

What the neurons of each library do in a time step, told from their spikes alone. Made by `snnverify fingerprint --all`;
`snnverify fingerprint ORACLE:NEURON` shows the probe that decided each axis, and [scores](scores.md) how far to trust it.

"""
Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]


def register(add: Add) -> None:
    """Add the commands to the command line."""
    oracle = add(_oracle, "oracle", "Other implementations: list, install, look them over, print their known defects.")
    oracle.add_argument("action", choices=("list", "install", "doctor", "findings"))
    oracle.add_argument("names", nargs="*", help="oracles or environments; all by default (install: name them, or all)")

    fingerprint = add(_fingerprint, "fingerprint", "Tell from spikes alone what a library's neurons do in a time step.")
    fingerprint.add_argument("name", nargs="?", help="oracle, or oracle:neuron such as 'snntorch:Leaky(beta=0.5)'")
    fingerprint.add_argument("--all", action="store_true", help="every neuron of every library that is installed")
    fingerprint.add_argument("--score", action="store_true", help="score the method on planted subjects instead")
    fingerprint.add_argument("--seed", type=int, default=0, help="of the planted subjects (0)")
    fingerprint.add_argument("--out", type=Path, help="write the table there, in Markdown")

    compare = add(_compare, "compare", "Run two implementations, tell where they first part, and why.")
    compare.add_argument("a", help="oracle, or oracle:neuron")
    compare.add_argument("b", help="oracle, or oracle:neuron")
    compare.add_argument(
        "--network", type=Path, help="a .nir file that both import; by default they run a probe network"
    )
    compare.add_argument("--input", type=Path, help=".npz with x [T, N, *shape]; drawn by --seed without it")
    compare.add_argument("--seed", type=int, default=0, help="of the drawn input (0)")

    golden = add(_golden, "golden", "Recorded truth: record, diff, accept, reject, verify.")
    golden.add_argument("action", choices=("record", "diff", "accept", "reject", "verify"))
    golden.add_argument("oracle", nargs="?", help="whose; every installed library's with record by default")
    golden.add_argument("cases", nargs="*", help="names of cases; all by default")
    golden.add_argument(
        "--check", action="store_true", help="record: write nothing, exit 1 where a library has drifted"
    )
    golden.add_argument("--why", default="", help="accept: why this is the truth now")
    golden.add_argument("--confirm", default="reference", help="accept: who confirms the spikes (reference)")


def _oracle(*, action: str, names: list[str], command: str) -> int:
    read_config()  # the project's table of oracles
    return {"list": _list, "install": _install, "doctor": _doctor, "findings": _findings}[action](names)


def _list(names: list[str]) -> int:
    from .oracles.environments import oracles_of, table
    from .oracles.users import registered
    from .report import render_rows

    rows = [("snnverify", "", "this interpreter"), ("reference", "", "this interpreter")]
    rows += [(r.name, " ".join(r.library), "installed" if r.environment.whole else f"snnverify oracle install {r.name}")
             for r in table().values()]  # fmt: skip
    rows += [(name, spec, "this interpreter") for name, spec in registered().items()]
    wanted = {each for name in names for each in ((name,) if name in {r[0] for r in rows} else oracles_of(name))}
    print(render_rows([r for r in rows if not names or r[0] in wanted], ["oracle", "library", "where"]))
    return 0


def _install(names: list[str]) -> int:
    from .oracles.environments import install, table

    if not names:
        raise ConfigError(f"oracle install: name one of {', '.join(table())}, or all")
    for name in table() if names == ["all"] else names:
        print(f"{name}: {install(name, lambda line: print(line, flush=True))}")
    return 0


def _doctor(names: list[str]) -> int:
    from .oracles.environments import doctor

    well = True
    for d in doctor(names or None):
        versions = ", ".join(f"{k} {v}" for k, v in d.versions.items())
        print(
            f"{d.oracle}: {d.state.removeprefix(f'{d.oracle}: ')}" + (f" ({versions})" if versions else ""), flush=True
        )
        well &= d.state == "ok"
    return 0 if well else 1


def _findings(names: list[str]) -> int:
    from .oracles.known import defects
    from .report import render_defects

    print(render_defects(d for d in defects() if not names or {*names} & {*d.oracles}), end="")
    return 0


def _fingerprint(*, name: str | None, all: bool, score: bool, seed: int, out: Path | None, command: str) -> int:
    from . import fingerprint

    read_config()
    if score:
        text, wrong = _score(seed)
    else:
        if (name is None) == (not all):
            raise ConfigError("fingerprint: name an oracle, or give --all")
        found, wrong = [], 0
        for oracle, box in _boxes(name):
            asked = fingerprint.from_operator(oracle.operator("box"), box)
            found.append((oracle.name, fingerprint.fingerprint(asked, oracle.boxes[box], box)))
            print(f"{oracle.name}:{box}", file=sys.stderr, flush=True)
        text = FINGERPRINTS + fingerprint.table(found) if all else "\n\n".join(fingerprint.text(f) for _, f in found)
    print(text)
    if out is not None:
        write_atomic(out, text)
    return 1 if wrong else 0


def _score(seed: int) -> tuple[str, int]:
    """Page of both methods' scores on planted subjects, and the number of wrong answers."""
    from . import diagnosis, fingerprint
    from .diagnosis import planted as compared
    from .fingerprint import planted as printed

    prints, causes = printed.score(seed), compared.score(seed)
    lines = [f"# Scores on planted subjects\n\nMade by `snnverify fingerprint --score --seed {seed}`. Wrong must be 0.",
             f"## Fingerprints, axis by axis\n\n{fingerprint.score_table(prints).rstrip()}",
             f"## Comparisons, cause by cause\n\n{diagnosis.planted.score_table(causes)}"]  # fmt: skip
    return "\n\n".join(lines).rstrip() + "\n", sum(r.wrong for r in prints) + sum(r.wrong for r in causes)


def _boxes(name: str | None) -> Iterable[tuple[Any, str]]:
    """Oracles and names of the neurons that are meant; every one of the libraries by None."""
    from .diagnosis.named import box_named
    from .oracles import get

    if name and ":" in name:
        yield box_named(name)
        return
    for oracle in [get(name)] if name else _installed(None):
        if name and not oracle.boxes:
            raise ConfigError(f"fingerprint {name!r}: it offers no neuron by itself")
        yield from ((oracle, box) for box in oracle.boxes)


def _compare(*, a: str, b: str, network: Path | None, input: Path | None, seed: int, command: str) -> int:
    from .diagnosis import named, text

    read_config()
    if network is not None:
        return _imported(a, b, network, input, seed)
    if input is not None:
        raise ConfigError(f"input = {str(input)!r}: it goes with --network")
    if (":" in a) != (":" in b):
        raise ConfigError(f"compare {a} {b}: name two oracles, or two neurons as oracle:neuron")
    if ":" in a:
        print(text(named.compare_named_boxes(a, b, seed)))
        return 0
    found, where = named.compare_on_grid(a, b)
    print(f"{a} against {b}: equal spikes on {where}" if found is None else f"{where}\n{text(found)}")
    return 0


def _imported(a: str, b: str, network: Path, input: Path | None, seed: int) -> int:
    """Compare what two importers make of one file, beside the table of their spike trains."""
    from . import exchange
    from .diagnosis import named, text
    from .oracles import get
    from .report import render_rows

    graph = exchange.read_nir(network)
    base = exchange.from_nir(graph, semantics=exchange.PRESETS["snnverify"])
    x, oracles = named.input_for(base, input, seed), [get(name) for name in (a, b)]
    rows = exchange.importer_table(graph, x, oracles)
    cells = [(r.importer, r.node, *((r.spikes, "".join(map(str, r.train))[:48]) if r.group >= 0 else ("-", r.refusal[:80])))
             for r in rows]  # fmt: skip
    print(render_rows(cells, ["importer", "node", "spikes", "first sample, in each step"]))
    if all(r.group >= 0 for r in rows):
        print(text(named.compare_importers(graph, base, x, *oracles)))
    return 0


def _golden(
    *, action: str, oracle: str | None, cases: list[str], check: bool, why: str, confirm: str, command: str
) -> int:
    from . import golden
    from .report import render_rows

    read_config()
    if action == "verify":
        rows = tuple(r for r in golden.verify() if oracle in (None, r.oracle) and (not cases or r.case in cases))
        print(f"goldens of {golden.folder()}")
    elif action == "record":
        rows = tuple(row for each in _installed(oracle) for row in golden.record(each, check=check))
    elif oracle is None:
        raise ConfigError(f"golden {action}: name the oracle")
    elif action == "diff":
        rows = golden.diff(oracle)
    elif action == "accept":
        rows = golden.accept(oracle, cases, why=why, confirm=confirm)
    else:
        rows = golden.reject(oracle, cases)
    shown = [r for r in rows if r.state not in ("unsupported", "unchanged", "ok")] or rows
    print(
        render_rows([(r.oracle, r.case, r.state, r.detail[:120]) for r in shown], ["oracle", "case", "state", "detail"])
    )
    states = [r.state for r in rows]
    print(", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)))
    return 1 if golden.FAILING & set(states) else 0


def _installed(oracle: str | None) -> Iterable[Any]:
    """One oracle, or every library that is installed."""
    from .oracles import get
    from .oracles.environments import table

    for name in [oracle] if oracle else table():
        try:
            yield get(name)
        except Unavailable:
            if oracle:
                raise
