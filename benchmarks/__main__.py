"""``python -m benchmarks``: nets x simulators, in one run, on this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from snnverify.errors import ConfigError, DataError, SnnverifyError, Unavailable
from snnverify.objects import nearest
from snnverify.simulate.parallel import cores

from . import loop, machine, scaling, table, where
from .judge import judged, rates
from .measure import OURS, SIMULATORS, Peers, Simulator, compiling, prepare, take_turns
from .nets import NETS, Subject

SCALED = ("mlp", "cnn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; returns the exit code: 1 where our own spikes are wrong, 2 for bad input."""
    options = parser().parse_args(arguments)
    try:
        for name in ("repeats", "rounds", "threads"):
            if getattr(options, name) < 1:
                raise ConfigError(f"--{name} = {getattr(options, name)}: at least 1")
        nets = chosen("--nets", options.nets, NETS)
        simulators = chosen("--simulators", options.simulators, {s.name: s for s in SIMULATORS})
        print("\n".join(machine.described()))
        if options.profile:
            profile(nets, 1 if options.short else 20 * options.repeats, options.short)
        elif options.scaling:
            grow(options, nets if options.nets else SCALED)
        else:
            compare(options, nets, [s for s in SIMULATORS if s.name in simulators])
    except AssertionError as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return 1
    except SnnverifyError as e:
        print(f"benchmarks: {e}", file=sys.stderr)
        return 2
    return 0


def parser() -> argparse.ArgumentParser:
    """The options."""
    p = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    p.add_argument("--nets", nargs="+", metavar="NET", help=f"of {', '.join(NETS)}; all that are there by default")
    names = ", ".join(dict.fromkeys(s.name for s in SIMULATORS))
    p.add_argument("--simulators", nargs="+", metavar="NAME", help=f"of {names}; all that are installed by default")
    p.add_argument("--repeats", type=int, default=7, help="turns of each simulator in a round (7)")
    p.add_argument("--rounds", type=int, default=1, help="rounds, whose medians' spread is shown (1)")
    p.add_argument("--seconds", type=float, default=0.1, help="of calls in a turn (0.1)")
    p.add_argument("--threads", type=int, default=cores(), help="of every simulator (all cores)")
    p.add_argument("--short", action="store_true", help="small batches, few steps, single calls: correctness alone")
    p.add_argument("--scaling", action="store_true", help="instead: our cost over T, batch and spikes, and our memory")
    p.add_argument("--profile", action="store_true", help="instead: where our time goes, by layer, in one thread")
    p.add_argument("--csv", type=Path, metavar="FILE", help=f"write {', '.join(table.COLUMNS)}")
    p.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture")
    return p


def chosen(option: str, given: Sequence[str] | None, known: Iterable[str]) -> list[str]:
    """Names of an option, all by default; `ConfigError` for others."""
    names = list(known)
    for name in given or ():
        if name not in names:
            raise ConfigError(f"{option} {name}: there is no such one{nearest(name, names)}")
    return list(dict.fromkeys(given)) if given else names


def compare(options: argparse.Namespace, nets: Sequence[str], simulators: Sequence[Simulator]) -> None:
    """Every net in every simulator."""
    peaks = machine.peaks(options.threads, options.short)
    print(
        "sgemm     "
        + ", ".join(f"{k} {v / 1e9:.0f}" for k, v in peaks.items())
        + f" GFLOP/s; {options.threads} threads"
    )
    peers, found, rng = Peers(), [], np.random.default_rng(0)
    rounds, repeats, seconds = (1, 1, 0.0) if options.short else (options.rounds, options.repeats, options.seconds)
    for name in nets:
        try:
            subject = NETS[name](options.short)
        except (DataError, Unavailable) as e:
            if options.nets:
                raise
            print(f"\n{name}: left out: {e}")
            continue
        case, dense = subject.case, {k: machine.bound(subject.case, peak) for k, peak in peaks.items()}
        print("\n" + headline(name, subject, dense), flush=True)
        exact = loop.run(case)
        asked, wrong = judged(case, exact, rng)
        if wrong:
            raise AssertionError(f"{name}: {wrong} of {asked} spikes of the obvious loop are not the reference's")
        print(f"the loop is the reference in {asked:,} sampled spikes; firing rates: "
              + ", ".join(f"{k} {r:.3f}" for k, r in rates(exact)))  # fmt: skip
        with Progress(name, rounds * repeats) as progress:
            notes: list[str] = []
            ready = prepare(peers, simulators, case, exact, options.threads, notes.append, progress.tell)
            take_turns(ready, rounds, repeats, seconds, progress.step)
        print("\n".join(notes), end="\n" if notes else "")
        if not ready:
            continue
        mine = table.rows(name, ready, dense)
        found += mine
        print(f"{table.text(mine)}\n{table.verdict(mine)}", flush=True)
    if not found:
        raise Unavailable("no net ran in any simulator")
    print(f"\nnot in these times:\n{table.warm_up(found)}")
    if not options.short and any(s.name == OURS for s in simulators):
        told = compiling(NETS["mlp"](True).case, options.threads)
        print(
            f"compiling our kernels, once: first call {told['empty']:.1f} s; in the next process {told['cached']:.2f} s"
        )
    if options.csv:
        table.write_csv(found, options.csv)
    if options.plot:
        table.plot(found, options.plot)


def profile(nets: Sequence[str], repeats: int, short: bool) -> None:
    """Where the fused engine's time goes."""
    for name in nets:
        print(f"\n{where.text(name, where.parts(NETS[name](short).case, repeats))}", flush=True)


def headline(name: str, subject: Subject, dense: dict[str, float]) -> str:
    """What is run, and its dense bounds."""
    case = subject.case
    samples = case.x.shape[1 if case.encoding == "spikes" else 0]
    bounds = ", ".join(f"{1e3 * b:.3g} ms ({k})" for k, b in dense.items())
    return (f"== {name}: {subject.title}; batch {samples}, T {case.steps}, {case.kind}\n"
            f"dense bound {machine.multiply_adds(case) / 1e6:,.0f} M multiply-adds: {bounds}")  # fmt: skip


def grow(options: argparse.Namespace, nets: Sequence[str]) -> None:
    """Curves and memory of ours."""
    if "pilotnet" in nets:
        raise ConfigError("--scaling --nets pilotnet: its input is one recorded train of spikes; take another net")
    repeats, seconds = (1, 0.0) if options.short else (options.repeats, options.seconds)
    found = []
    for curve in scaling.curves(nets, options.threads, repeats, seconds, options.short, print):
        print(f"{curve.net}, {curve.engine}, {curve.along}: done", file=sys.stderr, flush=True)
        found.append(curve)
    print(f"\n{scaling.text(found)}\n\n{scaling.memory_text(list(scaling.memory(nets, options.short)))}")
    if options.plot:
        scaling.plot(found, options.plot)


class Progress:
    """A bar on a terminal, lines otherwise."""

    def __init__(self, name: str, total: int) -> None:
        from tqdm import tqdm

        self.name, self.terminal = name, sys.stderr.isatty()
        self.bar = tqdm(total=total, desc=name, leave=False) if self.terminal else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def tell(self, what: str) -> None:
        """Say what is done now."""
        if self.bar is not None:
            self.bar.set_postfix_str(what)
        else:
            print(f"{self.name}: {what}", file=sys.stderr, flush=True)

    def step(self) -> None:
        """Count one."""
        if self.bar is not None:
            self.bar.set_postfix_str("in turn")
            self.bar.update()


if __name__ == "__main__":
    sys.exit(main())
