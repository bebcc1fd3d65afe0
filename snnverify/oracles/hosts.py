"""An oracle in another interpreter: a worker process and the faults it may show (POSIX)."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from threading import RLock
from typing import Any

from ..errors import CodecError, OracleDied, OracleError, Unsupported
from . import Oracle, wire

TIMEOUT = 120.0  # seconds
_WORKER = Path(__file__).with_name("worker.py")
_TAIL = 3  # lines of stderr that a message ends with; a note on the error has the rest
_KEPT = 20_000  # bytes of stderr that are kept
_GRACE = 5.0  # seconds between the end of a child's output and its own
_CHUNK = 1 << 16
_ASKED = frozenset({"version", "simulator", "converter", "operators", "families", "boxes"})


def remote(
    name: str,
    python: Path,
    target: str,
    *,
    root: Path | None = None,
    library: tuple[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Oracle:
    """Oracle of another interpreter: a worker process, started when something is first asked of it, and kept.

    Parameters
    ----------
    name : str
        What the oracle is called here.
    python : Path
        The interpreter, >= 3.10, with numpy and the library.
    target : str
        An adapter module of `snnverify.oracles` (``"spikingjelly"``), or the user's ``module:callable`` or
        ``path.py:callable`` that returns an `Oracle`.
    root : Path, optional
        Where a relative target is looked for; the current folder by default.
    library : (distribution, version), optional
        What must be installed there.
    timeout : float
        Seconds that the start may take, and each call.

    Returns
    -------
    Oracle
        Its fields and callables raise `Unsupported` where the worker does, and else `OracleError` in one line that
        names the oracle; the notes on the error have the traceback and stderr. After a crash or a time-out the next
        call starts another worker. The worker ends with the last reference to the oracle, and with this process.
    """
    oracle = object.__new__(_Remote)
    worker = _Worker(name, Path(python), target, Path(root or os.curdir).resolve(), library, timeout)
    vars(oracle).update(name=name, _worker=worker)
    return oracle


def versions(oracle: Oracle) -> Mapping[str, str]:
    """What is installed where a remote oracle runs: ``python``, its library, numpy, torch; nothing for a local one."""
    worker = vars(oracle).get("_worker")
    if not isinstance(worker, _Worker):
        return {}
    worker.about()
    return worker.versions


def clean_environment() -> dict[str, str]:
    """The environment variables but for those by which this interpreter would leak into another one."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "__PYVENV", "CONDA_"))}


class _Remote(Oracle):
    """An Oracle whose fields but the name are asked of its worker when one is first read."""

    def __getattribute__(self, field: str) -> Any:
        if field in _ASKED and field not in vars(self):
            worker = vars(self)["_worker"]
            about = worker.about()
            parts = {
                part: partial(worker.call, part, "") if about[part] else None for part in ("simulator", "converter")
            }
            operators = {name: partial(worker.call, "operator", name) for name in about["operators"]}
            told = {field: about[field] for field in ("version", "families", "boxes")}
            vars(self).update(parts, operators=operators, **told)
        return super().__getattribute__(field)

    def __repr__(self) -> str:
        return f"<oracle {self.name}>"  # an error message must not start a worker


class _Worker:
    """One child process that answers one call at a time, started when it is needed."""

    def __init__(self, name: str, python: Path, target: str, root: Path, library: Any, timeout: float) -> None:
        self.name, self.python, self.target, self.root = name, python, target, root
        self.library, self.timeout = library, timeout
        self.process: subprocess.Popen[bytes] | None = None
        self.said = b""
        self.lock = RLock()
        self.versions: Mapping[str, str] = {}
        self.description: Mapping[str, Any] = {}
        self.stop: Callable[[], Any] = lambda: None

    def about(self) -> Mapping[str, Any]:
        """What the worker's oracle has; asked once."""
        with self.lock:
            if not self.description:
                self.start()
            return self.description

    def call(self, part: str, name: str, *args: Any, **kwargs: Any) -> Any:
        """Result of one callable of the worker's oracle."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:  # in a fork of the host it counts as ended too
                self.start()
            return self.ask(part, name, args, kwargs)

    def start(self) -> None:
        """Start a child and let it tell what it has."""
        self.stop()
        environment = clean_environment() | {"OMP_NUM_THREADS": "1"}
        command = [str(self.python), "-I", "-u", str(_WORKER), self.target, str(self.root)]
        try:
            # a session of its own: Ctrl-C in the terminal is for the host alone
            child = _spawner(os.getpid()).submit(
                subprocess.Popen, command, bufsize=0, env=environment, start_new_session=True, stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE).result()  # fmt: skip
        except OSError as e:
            raise OracleError(
                f"{self.name}: cannot start {self.python} ({e.strerror}); name a Python 3.10 or later"
            ) from e
        for stream in _streams(child):
            os.set_blocking(stream.fileno(), False)
        self.process = child
        self.stop = weakref.finalize(self, _stop, child, os.getpid())
        library, pinned = self.library or ("numpy", None)
        self.versions = self.ask("versions", "", (library, "numpy", "torch"), {})
        if pinned is not None and (found := self.versions.get(library)) != pinned:
            self.stop()
            has = f"{library} {found}" if found else f"no {library}"
            raise OracleError(f"{self.name}: {self.python} has {has}, and {pinned} is pinned; install that one there")
        self.description = self.ask("describe", "", (), {})

    def ask(self, part: str, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Send one request, and return or raise what the child answers."""
        starting = part in ("versions", "describe")
        asked = "start" if starting else f"operator {name!r}" if name else part
        try:
            frame = wire.pack((part, name, args, dict(kwargs)))
        except CodecError as e:
            raise OracleError(f"{self.name}: {asked} is given what cannot be sent: {e}") from e
        try:
            answer = self.exchange(frame)
        except _Fault as e:
            error: OracleError = OracleDied(f"{self.name}: its worker {e} ({asked}){self.tail()}")
            error.add_note(self.said.decode(errors="replace"))
            raise error from None
        except BaseException:  # Ctrl-C: the answer to this call must not be taken for that to the next
            self.stop()
            raise
        if "unsupported" in answer:
            raise Unsupported(*answer["unsupported"])
        if "raised" in answer:
            error = OracleError(f"{self.name}: {asked} failed: {answer['raised']}")
            error.add_note(answer["traceback"])
            raise error
        return answer["value"]

    def exchange(self, frame: bytes) -> Any:
        """Write the frame, read the answer, keep the end of stderr; `_Fault` leaves no child."""
        child = self.process
        assert child is not None
        self.said, rest, received = b"", memoryview(frame), bytearray()
        end = time.monotonic() + self.timeout
        stdin, stdout, stderr = _streams(child)
        with selectors.DefaultSelector() as ready:
            ready.register(stdin, selectors.EVENT_WRITE)
            ready.register(stdout, selectors.EVENT_READ)
            ready.register(stderr, selectors.EVENT_READ)
            while (left := end - time.monotonic()) > 0:
                for key, _ in ready.select(left):
                    if key.fileobj is stdin:
                        try:
                            rest = rest[os.write(key.fd, rest[:_CHUNK]) :]
                        except BrokenPipeError:  # why, the end of its output tells
                            rest = rest[:0]
                        if not rest:
                            ready.unregister(stdin)
                        continue
                    data = os.read(key.fd, _CHUNK)
                    if key.fileobj is stderr:
                        self.said = (self.said + data)[-_KEPT:]
                        if not data:
                            ready.unregister(stderr)
                    elif not data:
                        raise _Fault(self.ended())
                    else:
                        received += data
                        try:
                            if (carried := wire.payload(received)) is not None:
                                return wire.unpack(carried)
                        except CodecError as e:
                            self.stop()
                            raise _Fault(f"talked nonsense ({e})") from e
        self.stop()
        raise _Fault(f"gave no answer within {self.timeout:g} s and was stopped")

    def ended(self) -> str:
        """How a child that closed its output came to its end."""
        child = self.process
        assert child is not None
        with suppress(subprocess.TimeoutExpired):
            child.wait(_GRACE)
        code = child.returncode
        with suppress(BlockingIOError):  # a child of the child may hold it open
            while data := os.read(_streams(child)[2].fileno(), _CHUNK):
                self.said = (self.said + data)[-_KEPT:]
        self.stop()
        if code is None:
            return "closed its output and was stopped"
        if code >= 0:
            return f"ended with exit code {code}"
        cause = ", most likely for want of memory" if -code == signal.SIGKILL else ""
        return f"was ended by {signal.Signals(-code).name}{cause}"

    def tail(self) -> str:
        """End of stderr, in one line."""
        lines = [" ".join(line.split()) for line in self.said.decode(errors="replace").splitlines()]
        last = [line[-200:] for line in lines if line][-_TAIL:]
        return f"; its stderr ends: {' | '.join(last)}" if last else "; its stderr is empty"


@cache
def _spawner(process: int) -> ThreadPoolExecutor:
    """The thread that starts children: on Linux they die with the thread that did, and a caller's may be short-lived."""
    return ThreadPoolExecutor(1, f"snnverify-{process}")


class _Fault(Exception):
    """The child did not answer."""


def _streams(child: subprocess.Popen[bytes]) -> tuple[Any, Any, Any]:
    return child.stdin, child.stdout, child.stderr


def _stop(child: subprocess.Popen[bytes], owner: int) -> None:
    """Kill a child with all that it started; a fork of the owner lets it be."""
    if os.getpid() != owner:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    for stream in _streams(child):
        stream.close()
