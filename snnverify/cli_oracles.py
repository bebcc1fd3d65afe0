"""Commands about other implementations: oracle, fingerprint, compare, golden."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .content import write_atomic
from .errors import ConfigError, Unavailable

Add = Callable[[Callable[..., int], str, str], argparse.ArgumentParser]
BAD = {"fault", "drifted", "missing", "differs"}  # states of goldens that are no success


def register(add: Add) -> None:
    """Add the commands to the command line."""
    oracle = add(_oracle, "oracle", "Other implementations: list, install, look them over, print their known defects.")
    oracle.add_argument("action", choices=("list", "install", "doctor", "findings"))
    oracle.add_argument("names", nargs="*", help="oracles; all of them by default (install: name them, or all)")

    fingerprint = add(_fingerprint, "fingerprint", "Tell from spikes alone what a library's neurons do in a time step.")
    fingerprint.add_argument("name", nargs="?", help="oracle, or oracle:neuron such as 'snntorch:Leaky(beta=0.5)'")
    fingerprint.add_argument("--all", action="store_true", help="every neuron of every library that is installed")
    fingerprint.add_argument("--score", action="store_true", help="score the method on planted subjects instead")
    fingerprint.add_argument("--seed", type=int, default=0, help="of the planted subjects (0)")
    fingerprint.add_argument("--out", type=Path, help="write the table there, in Markdown")

    compare = add(_compare, "compare", "Run two implementations, tell where they first part, and why.")
    compare.add_argument("a", help="oracle, or oracle:neuron")
    compare.add_argument("b", help="oracle, or oracle:neuron")
    compare.add_argument("--network", type=Path, help="a .nir file that both import; by default they run a probe network")
    compare.add_argument("--input", type=Path, help=".npz with x [T, N, *shape]; drawn by --seed without it")
    compare.add_argument("--seed", type=int, default=0, help="of the drawn input (0)")

    golden = add(_golden, "golden", "Recorded truth: record, diff, accept, reject, verify.")
    golden.add_argument("action", choices=("record", "diff", "accept", "reject", "verify"))
    golden.add_argument("oracle", nargs="?", help="whose; every installed library's with record by default")
    golden.add_argument("cases", nargs="*", help="names of cases; all by default")
    golden.add_argument("--check", action="store_true", help="record: write nothing, exit 1 where a library has drifted")
    golden.add_argument("--why", default="", help="accept: why this is the truth now")
    golden.add_argument("--confirm", default="reference", help="accept: who confirms the spikes (reference)")


def _oracle(*, action: str, names: list[str], command: str) -> int:
    return {"list": _list, "install": _install, "doctor": _doctor, "findings": _findings}[action](names)


def _list(names: list[str]) -> int:
    from .oracles.environments import table
    from .oracles.users import registered
    from .report import render_rows

    rows = [("snnverify", "", "this interpreter"), ("reference", "", "this interpreter")]
    rows += [(r.name, " ".join(r.library), "installed" if r.environment.whole else f"snnverify oracle install {r.name}")
             for r in table().values()]  # fmt: skip
    rows += [(name, spec, "this interpreter") for name, spec in registered().items()]
    print(render_rows([r for r in rows if not names or r[0] in names], ["oracle", "library", "where"]))
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
        print(f"{d.oracle}: {d.state}" + (f" ({versions})" if versions else ""), flush=True)
        well &= d.state == "ok"
    return 0 if well else 1


def _findings(names: list[str]) -> int:
    from .oracles.known import defects
    from .report import render_defects

    print(render_defects(d for d in defects() if not names or {*names} & {*d.oracles}), end="")
    return 0


def _fingerprint(*, name: str | None, all: bool, score: bool, seed: int, out: Path | None, command: str) -> int:
    from . import fingerprint

    if score:
        text = fingerprint.score_table(fingerprint.score(seed))
    else:
        if (name is None) == (not all):
            raise ConfigError("fingerprint: name an oracle, or give --all")
        found = [fingerprint.of_oracle(oracle, box) for oracle, box in _boxes(name)]
        text = fingerprint.table(found) if all or len(found) > 1 else fingerprint.text(found[0])
    print(text)
    if out is not None:
        write_atomic(out, text)
    return 0


def _boxes(name: str | None) -> Iterable[tuple[Any, str]]:
    """Oracles and names of the neurons that are meant; every one of the libraries by None."""
    from .objects import nearest
    from .oracles import get
    from .oracles.environments import table

    wanted, _, neuron = (name or "").partition(":")
    for each in [wanted] if name else table():
        try:
            oracle = get(each)
        except Unavailable:
            if name:
                raise
            continue
        if neuron and neuron not in oracle.boxes:
            raise ConfigError(f"fingerprint {name!r}: {each} has no neuron {neuron!r}{nearest(neuron, oracle.boxes)}")
        if not oracle.boxes:
            raise ConfigError(f"fingerprint {name!r}: {each} offers no neuron by itself")
        yield from ((oracle, box) for box in ([neuron] if neuron else oracle.boxes))


def _compare(*, a: str, b: str, network: Path | None, input: Path | None, seed: int, command: str) -> int:
    raise NotImplementedError


def _golden(*, action: str, oracle: str | None, cases: list[str], check: bool, why: str, confirm: str, command: str) -> int:
    from . import golden
    from .report import render_rows

    if action == "verify":
        rows = golden.verify()
    elif action == "record":
        rows = tuple(row for each in _recorded(oracle) for row in golden.record(each, check=check))
    elif oracle is None:
        raise ConfigError(f"golden {action}: name the oracle")
    elif action == "diff":
        rows = golden.diff(oracle)
    elif action == "accept":
        rows = golden.accept(oracle, cases, why=why, confirm=confirm)
    else:
        rows = golden.reject(oracle, cases)
    shown = [r for r in rows if r.state not in ("unsupported", "unchanged", "ok")] or rows
    print(render_rows([(r.oracle, r.case, r.state, r.detail[:120]) for r in shown], ["oracle", "case", "state", "detail"]))
    states = [r.state for r in rows]
    print(", ".join(f"{states.count(s)} {s}" for s in dict.fromkeys(states)))
    return 1 if BAD & set(states) else 0


def _recorded(oracle: str | None) -> Iterable[Any]:
    from .oracles import get
    from .oracles.environments import table

    for name in [oracle] if oracle else table():
        try:
            yield get(name)
        except Unavailable:
            if oracle:
                raise
