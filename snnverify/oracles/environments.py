"""The libraries' interpreters: pinned in ``environments.toml``, built on demand, found, and looked over.

An environment lies in ``$SNNVERIFY_HOME/oracles/<name>-<digest of its pins>``, by default below the user's cache.
Its marker file is written last: without it a folder counts for nothing and is built anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..activation import Cuba, Neuron, SigmaDelta
from ..content import write_atomic
from ..errors import ConfigError, OracleError, Unavailable, Unsupported
from ..network import Branch, Dense, Layer, Network, Scale
from ..objects import last_line, nearest
from ..trace import Case
from . import ANY, ONE, Families, Oracle
from .hosts import clean_environment, remote, versions

MARKER = "snnverify.json"
_TAIL = 5  # lines of a failed command that a message ends with
_KINDS: Mapping[str, Any] = {kind.__name__: kind for kind in (Neuron, Cuba, SigmaDelta)}  # what families speak of
_SOURCES = ("find-links", "index-url", "no-index")  # settings of pip that tell where packages come from


@dataclass(frozen=True)
class Environment:
    """An interpreter with pinned packages.

    Parameters
    ----------
    name, python : str
    requirements, alone : tuple of str
        ``package==version``, installed with and without what they depend on.
    """

    name: str
    python: str
    requirements: tuple[str, ...]
    alone: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Twelve hex digits over all pins."""
        return hashlib.sha256(json.dumps([self.python, self.requirements, self.alone]).encode()).hexdigest()[:12]

    @property
    def folder(self) -> Path:
        """Where it is, or is to be."""
        return home() / "oracles" / f"{self.name}-{self.digest}"

    @property
    def interpreter(self) -> Path:
        """Its Python."""
        return self.folder / "bin" / "python"

    @property
    def whole(self) -> bool:
        """Whether it is built to the end, and its interpreter still there."""
        return (self.folder / MARKER).is_file() and os.access(self.interpreter, os.X_OK)


@dataclass(frozen=True)
class Row:
    """An oracle of the table: its environment, adapter module, and the pinned library (distribution, version)."""

    name: str
    environment: Environment
    adapter: str
    library: tuple[str, str]


@dataclass(frozen=True)
class Diagnosis:
    """What `doctor` found: ``ok``, or what is wrong, in one line."""

    oracle: str
    state: str
    versions: Mapping[str, str]


@cache
def table() -> Mapping[str, Row]:
    """The oracles that can be installed, by name."""
    import tomllib

    document = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    environments = {
        name: Environment(name, e["python"], tuple(e["requirements"]), tuple(e.get("alone", ())))
        for name, e in document["environments"].items()
    }
    rows = {}
    for name, row in document["oracles"].items():
        environment = environments[row["environment"]]
        pins = dict(pin.split("==") for pin in environment.requirements + environment.alone)
        rows[name] = Row(name, environment, row["adapter"], (row["library"], pins[row["library"]]))
    return rows


def home() -> Path:
    """``$SNNVERIFY_HOME``, or ``snnverify`` in the user's cache."""
    if given := os.environ.get("SNNVERIFY_HOME"):
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "snnverify"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "snnverify"


def find(name: str) -> Path:
    """Interpreter of an oracle; `Unavailable` with the command that installs it, and what shares its environment."""
    environment = _row(name).environment
    if not environment.whole:
        what = name if oracles_of(environment.name) == (name,) else environment.name
        raise Unavailable(f"{name}: not installed; run `snnverify oracle install {what}`")
    return environment.interpreter


def connect(name: str) -> Oracle:
    """Oracle of the table, in its environment; `Unavailable` where that is not installed."""
    row = _row(name)
    return remote(name, find(name), row.adapter, library=row.library)


def install(name: str, progress: Callable[[str], None] = lambda line: None, *, anew: bool = False) -> Path:
    """Build the environment of an oracle, or the environment of that name, unless it is there.

    Parameters
    ----------
    name : str
    progress : callable, optional
        Told each step before it is taken.
    anew : bool
        Build it also where it is there.

    Returns
    -------
    Path
        Its interpreter.

    Raises
    ------
    OracleError
        No such Python, or a command failed (with the end of what it said); nothing is left that counts as built.
    """
    environments = {row.environment.name: row.environment for row in table().values()}
    environment = environments[name] if name in environments else _row(name).environment
    folder = environment.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(f"{folder}.lock", lambda: progress(f"{environment.name}: another process builds it; waiting")) as lock:
        if environment.whole and not anew:
            return environment.interpreter
        _remove(folder)
        try:
            for line, command in _commands(environment):
                progress(f"{environment.name}: {line}")
                _execute(environment.name, line, command, lock)
            pins = {"python": environment.python, "pins": [*environment.requirements, *environment.alone]}
            write_atomic(folder / MARKER, json.dumps(pins, indent=1))
        except BaseException:
            _remove(folder)
            raise
    return environment.interpreter


def oracles_of(name: str) -> tuple[str, ...]:
    """Oracles that a name stands for: one of the table, or all of an environment."""
    within = tuple(row.name for row in table().values() if row.environment.name == name)
    return within if within and name not in table() else (_row(name).name,)


def doctor(names: Iterable[str] | None = None) -> Iterator[Diagnosis]:
    """Look over oracles of the table (by default all; by the name of an environment its own), one after the other."""
    for name in table() if names is None else (each for given in names for each in oracles_of(given)):
        yield diagnose(name, lambda name=name: connect(name))  # type: ignore[misc]


def diagnose(name: str, make: Callable[[], Oracle]) -> Diagnosis:
    """Make an oracle and let its simulator, where it has one, run one neuron for four steps."""
    found: dict[str, str] = {}
    try:
        oracle = make()
        found = {"version": oracle.version, **(versions(oracle) or {"python": platform.python_version()})}
        state = "ok" if oracle.simulator is None else _tried(oracle)
    except Exception as e:  # whatever it is, it is the diagnosis
        state = str(e) if isinstance(e, OracleError | ConfigError | Unsupported) else last_line(e)
    return Diagnosis(name, state, found)


def _tried(oracle: Oracle) -> str:
    said = ""
    for act in _acts(oracle.families):
        plain = isinstance(act, Neuron)
        op = Scale() if plain else Dense(np.full((1, 1), 2.0))  # Loihi's blocks begin with a synapse, of an even weight
        case = Case(Network((1,), (Layer("cell", (Branch(op),), act),)), np.ones((1, 1)), 4,
                    kind="rough" if plain else "integer")  # fmt: skip
        try:
            spikes = oracle.run(case).spikes.get("cell")
        except Unsupported as e:
            said = f"it runs none of its own neurons: {e}"
            continue
        told = spikes is not None and spikes.shape == (4, 1, 1)
        return "ok" if told else "its trace has no spikes [4, 1, 1] of a neuron that was run for 4 steps"
    return said


def _acts(families: Families) -> Iterator[Neuron | Cuba | SigmaDelta]:
    """A neuron of each family, with the first legal value of each axis."""
    for family in families.values() or ({},):
        kind = _KINDS[family.get("type", "Neuron")]
        given = {f.name: family[f.name][0] for f in fields(kind) if family.get(f.name, ANY) not in (ANY, ONE)}
        yield Cuba(**({"threshold": 1} | given)) if kind is Cuba else kind(**given)


def _row(name: str) -> Row:
    if name not in table():
        raise ConfigError(f"oracle = {name!r}: there is no environment for it{nearest(name, table())}")
    return table()[name]


def _commands(e: Environment) -> list[tuple[str, Sequence[str]]]:
    """What builds an environment, each command with what to say of it."""
    uv, python = shutil.which("uv"), _interpreter(e.python)
    if uv and (python is None or not _pip_is_configured()):
        make, install = (
            [uv, "venv", "--python", e.python, str(e.folder)],
            [uv, "pip", "install", "--python", str(e.interpreter)],
        )
    elif python:
        make, install = [python, "-m", "venv", str(e.folder)], [str(e.interpreter), "-m", "pip", "install"]
    else:
        raise OracleError(f"{e.name}: it needs Python {e.python}, and there is none on PATH; install that, or uv, which "
                          "fetches it")  # fmt: skip
    steps: list[tuple[str, Sequence[str]]] = [(f"making it with Python {e.python}", make)]
    for pins, option in ((e.requirements, []), (e.alone, ["--no-deps"])):
        if pins:
            steps.append((f"installing {', '.join(pins[:8])}{', ...' if pins[8:] else ''}", [*install, *option, *pins]))
    return steps


def _interpreter(version: str) -> str | None:
    """A Python of that version that really starts: this one, or one on PATH or among pyenv's (whose shims may not)."""
    if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"*/bin/python{version}")))]
    return next((p for p in found if p and subprocess.run([p, "-c", ""], capture_output=True).returncode == 0), None)


def _pip_is_configured() -> bool:
    """Whether pip was told where packages come from; uv reads nothing of that."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, capture_output=True, text=True, env=clean_environment()).stdout
    return any(source in line.split("=")[0] for line in said.splitlines() for source in _SOURCES)


def _execute(name: str, line: str, command: Sequence[str], lock: int) -> None:
    """Run a command to its end; on any exception, such as Ctrl-C, it and what it started are killed.

    It holds the lock too: should this process be killed, nobody builds there before the command has ended.
    """
    options: dict[str, Any] = {"text": True, "errors": "replace", "start_new_session": True, "pass_fds": (lock,)}
    options |= {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    children: list[subprocess.Popen[str]] = []
    try:
        with ThreadPoolExecutor(1) as other:  # which Ctrl-C never interrupts: no child is started and then forgotten
            other.submit(
                lambda: children.append(subprocess.Popen(command, env=clean_environment(), **options))
            ).result()
        child = children[0]
        said = child.communicate()[0]
    except BaseException:
        for child in children:
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        raise
    if child.returncode:
        last = [" ".join(text.split()) for text in said.splitlines() if text.strip()][-_TAIL:]
        raise OracleError(f"{name}: {line} failed (exit code {child.returncode}): {' | '.join(last)}")


def _remove(folder: Path) -> None:
    (folder / MARKER).unlink(missing_ok=True)  # first: a removal that is broken off must not leave a marked ruin
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def _locked(path: str, busy: Callable[[], Any]) -> Iterator[int]:
    """Hold a lock between processes (a descriptor); it ends with the last process that has it."""
    import fcntl

    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            busy()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()
