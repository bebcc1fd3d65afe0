"""The shell face: thin.

Exit codes: 0 done or pass, 1 fail, 2 bad input or no evidence, 3 inconclusive, 130 Ctrl-C, 141 nobody reads the output.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from . import (
    __version__,
    cli_analyze,
    cli_calibrate,
    cli_detector,
    cli_detector_fidelity,
    cli_detector_verify,
    cli_diagram,
    cli_diff,
    cli_energy,
    cli_explain,
    cli_gate,
    cli_hardware,
    cli_init,
    cli_lava,
    cli_oracles,
    cli_quantise,
    cli_vectors,
)
from .errors import CodecError, ConfigError, SnnverifyError
from .objects import nearest


class _Parser(argparse.ArgumentParser):
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # a misspelt option is told before what is missing because of it; those of a command are its own parser's
        own = (lambda w: w.startswith("-")) if self._subparsers else (lambda w: w != "--")
        known = [k for k in self._option_string_actions if k.startswith("--")]
        for word in itertools.takewhile(own, sys.argv[1:] if args is None else args):
            option = re.fullmatch(r"(--[\w-]+)(=.*)?", word, re.DOTALL)
            if option and not any(k.startswith(option[1]) for k in known):
                self.error(f"{option[1]}: no such option{nearest(option[1], known)}")
        return super().parse_known_args(args, namespace)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(
                action, f"there is no {value!r}{nearest(str(value), map(str, action.choices))}"
            )

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; see `{self.prog} --help`")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    try:
        options = vars(_parser().parse_args(arguments))
        command: Callable[..., int] = options.pop("run")
        code = command(**options)
        sys.stdout.flush()
        return code
    except SnnverifyError as e:
        print(f"snnverify: {e}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # as in `snnverify list | head -1`; not 0, which would be a verdict
        for stream in (sys.stdout, sys.stderr):  # so that the interpreter's own flush at the end has nothing to say
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return 141  # 128 + SIGPIPE
    except OSError as e:  # a folder or file that may not be read or written, a full disk
        print(
            f"snnverify: {e.filename or 'system'}: {e.strerror or e}; mend that, or choose another path",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as e:
        print(f"\nsnnverify: interrupted; {str(e) or 'nothing half-written is left'}", file=sys.stderr)
        return 130


def _parser() -> _Parser:
    parser = _Parser(prog="snnverify", description="Did the ANN-to-SNN conversion keep what the trained network knew?")
    parser.add_argument("--version", action="version", version=f"snnverify {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def add(run: Callable[..., int], name: str, summary: str) -> argparse.ArgumentParser:
        p = commands.add_parser(name, help=summary, description=summary)
        p.set_defaults(run=run)
        return p

    report = add(_report, "report", "Convert, simulate, check, and write a fidelity report with a verdict.")
    report.add_argument("model", nargs="?", help="module:callable or path.py:callable returning an nn.Module, or the name "
                        "of an embedded model; without one, both embedded models")  # fmt: skip
    report.add_argument("--weights", help="safetensors, or a state dict that torch reads with weights_only")
    report.add_argument("--data", help=".npz with x and y, an MNIST-style IDX pair, or module:callable")
    report.add_argument("--calibration", help="as --data; without it a tenth of the data is held back for it")
    report.add_argument(
        "-T", "--timesteps", nargs="+", type=int, metavar="T", help="numbers of time steps (4 8 16 32 64)"
    )
    report.add_argument("--mode", help=cli_calibrate.MODE)
    cli_calibrate.conversion(report)
    cli_calibrate.options(report)
    report.add_argument("--modes", action="store_true", default=None, help="accuracy over T of six modes side by side")
    report.add_argument(
        "--waterfall", action=argparse.BooleanOptionalAction, help="split the drop over its causes (yes)"
    )
    report.add_argument("--max-drop", help=f"{cli_gate.DROP} (1.0)")
    cli_gate.options(report)
    report.add_argument("--max-disagreement", help="greatest share classified differently, percent (5.0)")
    report.add_argument("--seed", type=int, help="of everything random (0)")
    report.add_argument("--scheduler", help="where the data set is evaluated: tcp://host:port of a Dask scheduler, or local "
                        "for a worker for each processor; without it, in this process")  # fmt: skip
    report.add_argument("--out", help="folder of this report; default reports/<time>")
    report.add_argument("--gate", action="store_true", help="make the verdict the exit code")
    report.add_argument("--quick", action="store_true", help="a first look: few samples, T up to 16")

    listing = add(_list, "list", "List the checks with claim and source.")
    listing.add_argument("patterns", nargs="*", help="for example 'dynamics.*'")
    listing.add_argument("--markdown", action="store_true", help="as the page docs/laws.md")

    replay = add(_replay, "replay", "Run the smallest case of a failed check again.")
    replay.add_argument("case", type=Path, help="file named by the failure")
    replay.add_argument("--oracle", help="another oracle than the one that failed")

    cli_init.register(add)
    cli_analyze.register(add)
    cli_calibrate.register(add)
    cli_oracles.register(add)
    cli_lava.register(add)
    cli_vectors.register(add)
    cli_quantise.register(add)
    cli_energy.register(add)
    cli_detector.register(add)
    cli_detector_fidelity.register(add)
    cli_detector_verify.register(add)
    cli_gate.register(add)
    cli_diff.register(add)
    cli_hardware.register(add)
    cli_diagram.register(add)
    cli_explain.register(add)

    mutants = add(_mutants, "mutants", "Break the package in many ways and tell which checks notice.")
    mutants.add_argument("patterns", nargs="*", help="names of mutants; all by default")
    mutants.add_argument("--examples", type=_positive, default=25, help="cases per check (25)")
    mutants.add_argument("--jobs", type=_positive, default=2, help="processes (2)")
    mutants.add_argument(
        "--all", action="store_true", dest="every", help="ask all checks, not those that killed before"
    )

    train = add(_train_default, "train-default", "Train the embedded models again and compare their digests.")
    train.add_argument("--out", type=Path, default=Path("zoo"), help="folder for the weights (zoo)")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give an integer >= 1")
    return number


def _report(
    *, gate: bool, quick: bool, out: str | None, gate_set: list[str], baseline: str | None, command: str, **options: Any
) -> int:
    from . import report
    from .config import merge, read_config
    from .pipeline import assess
    from .shards import Journal, Shards

    v_init = options.pop("v_init")
    asked = cli_gate.assignments(gate_set, baseline)
    settings = merge({**options, "v_init": v_init, "out": out, "gate": asked}, read_config())
    target = Path(settings.out) if out else Path(settings.out) / _now()
    report.check_target(target)
    journal = Journal(target.parent / ".unfinished")  # the report's own folder may be named by the time
    try:
        with _workers(settings.scheduler) as execute, Progress() as progress:
            run = assess(settings, quick=quick, progress=progress, shards=Shards(execute, journal, progress.line))
            written = report.write(run, target)  # before anything is printed: a closed pipe must not cost the report
    except KeyboardInterrupt:
        kept = f"tiles kept: {len(journal)}; run the same command again to go on" if journal else ""
        raise KeyboardInterrupt(kept) from None
    journal.clear()
    print(report.render_text(run))
    print(f"\nreport: {written / 'index.html'}")
    verdicts = [(a.model.name, a.verdict) for a in run.assessments]
    code = _verdicts(verdicts)
    return code if gate else 0


@contextmanager
def _workers(scheduler: str | None) -> Iterator[Any]:
    """Give what computes the tiles of a report."""
    from .shards import here

    if scheduler is None:
        yield here
    else:
        from .shards.cluster import connected

        with connected(scheduler) as execute:
            yield execute


def _verdicts(verdicts: Sequence[tuple[str, Any]]) -> int:
    """Print the verdict of every model, last; return the worst exit code (fail, no evidence, inconclusive, pass)."""
    for name, verdict in verdicts:
        print(f"verdict: {_coloured(verdict.outcome)} {name}")
    codes = {verdict.exit_code for _, verdict in verdicts}
    return next(code for code in (1, 2, 3, 0) if code in codes)


def _coloured(outcome: str) -> str:
    colours = {"PASS": 32, "FAIL": 31, "INCONCLUSIVE": 33, "NO EVIDENCE": 35}
    return f"\033[1;{colours[outcome]}m{outcome}\033[0m" if sys.stdout.isatty() else outcome


def _list(*, patterns: list[str], markdown: bool, command: str) -> int:
    from .checks import select

    if markdown:
        from .report import render_laws

        print(render_laws(select(*patterns)), end="")
        return 0
    for c in select(*patterns):
        print(c.name)
        print(textwrap.fill(f"{c.claim}  [{c.source}]", 118, initial_indent="    ", subsequent_indent="    "))
    return 0


def _replay(*, case: Path, oracle: str | None, command: str) -> int:
    from .config import read_config
    from .oracles import get
    from .run import load_failure, replay

    read_config()  # the project's table of oracles
    try:
        failure = load_failure(case)
    except CodecError as e:
        raise CodecError(f"{e}; give the .npz file that a failing check names") from e
    if oracle is None and ":" in failure.oracle:  # a data file must not name code that runs
        raise ConfigError(f"{case}: its oracle is {failure.oracle!r}; give it yourself: --oracle {failure.oracle}")
    finding = replay(failure, get(oracle or failure.oracle))
    print(finding.explain())
    return 0 if finding.outcome == "pass" else 1


def _mutants(*, patterns: list[str], examples: int, jobs: int, every: bool, command: str) -> int:
    from .mutation import matrix

    return matrix(patterns, examples=examples, jobs=jobs, every=every, out=print)


def _train_default(*, out: Path, command: str) -> int:
    from . import zoo

    out.mkdir(parents=True, exist_ok=True)  # before minutes of training, not after them
    with Progress() as progress:
        rows = zoo.train_default(out, progress=lambda name, done, todo: progress(f"{name}: training", done, todo))
    for row in rows:
        name, digest, shipped, same, why = row
        print(f"{name}: digest {digest[:16]} {'equals' if same else 'differs from'} the shipped {shipped[:16]}"
              + (f": {why}" if why else ""))  # fmt: skip
    return 0 if all(row[3] for row in rows) else 1


def _now() -> str:
    from datetime import datetime

    return datetime.now().strftime("%Y%m%d-%H%M%S")


class Progress:
    """A bar on a terminal, plain lines elsewhere, both on stderr."""

    def __init__(self) -> None:
        self.stage, self.done = "", 0
        self.bar: Any = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` of a stage are done."""
        from tqdm import tqdm

        terminal = sys.stderr.isatty()
        if stage != self.stage:
            self._close()
            self.stage, self.done = stage, 0
            self.bar = tqdm(total=total, desc=stage, leave=False) if terminal else None
            if not terminal:
                print(f"{stage} ({total})", file=sys.stderr, flush=True)
        if self.bar is not None:
            self.bar.update(done - self.done)
        self.done = done

    def line(self, text: str) -> None:
        """Say something beside the bar."""
        if self.bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self.bar.write(text, file=sys.stderr)

    def said(self, text: str) -> None:
        """Print a result, on stdout, above the bar."""
        if self.bar is None:
            print(text, flush=True)
        else:
            self.bar.write(text, file=sys.stdout)

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
        self.bar = None


if __name__ == "__main__":
    sys.exit(main())
