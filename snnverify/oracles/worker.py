"""The other end of `hosts.remote`: ``python -I -u worker.py TARGET ROOT`` answers framed calls, one at a time.

Runs in the library's own interpreter, which has numpy and never sees the packages of the host: this package is loaded
from its folder, without that folder's parent on the search path. Whatever the library prints goes to stderr.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import Any


def main(target: str, root: str) -> None:
    """Answer until stdin ends. This file is read by older Pythons too, as far as the line that refuses them.

    Parameters
    ----------
    target : str
        An adapter module of this package, or ``module:callable`` or ``path.py:callable`` returning an Oracle.
    root : str
        Where a relative path or a module is looked for.
    """
    incoming, outgoing = os.dup(0), os.dup(1)  # first of all: what is imported, and its C code, never gets at these two
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if sys.version_info < (3, 10):  # noqa: UP036 - any interpreter may be named
        sys.exit(f"Python {sys.version.split()[0]} is too old: an oracle's interpreter needs 3.10 or later")
    _die_with_parent(os.getppid())
    streams = [incoming, outgoing]
    parents = [os.getpid()]
    os.register_at_fork(  # who forks is asked before: afterwards it may be dead, and getppid() names its heir
        before=lambda: parents.__setitem__(0, os.getpid()), after_in_child=lambda: _forked(parents[0], streams)
    )
    _load_package()
    from snnverify.oracles import wire

    requests = _listen(incoming)
    state: dict[str, Any] = {}
    while True:
        request = requests.get()
        try:
            answer = wire.pack(_answer(request, state, target, root))
        except BaseException as e:  # also the library's own sys.exit; what it returned may not fit into a frame
            answer = wire.pack(_told(e))
        while answer:
            answer = answer[os.write(outgoing, answer) :]


def _die_with_parent(parent: int) -> None:
    """Let Linux kill this process when its parent dies, also where C code holds the interpreter for good."""
    import signal

    if sys.platform == "linux":
        try:
            import ctypes

            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        except (ImportError, OSError):  # a Python without ctypes: the end of stdin must do
            return
    if os.getppid() != parent:
        os._exit(1)  # after a fork, an exception would be printed and forgotten


def _forked(parent: int, streams: list[int]) -> None:
    """What a library forks dies with this process, too, and keeps no end of its streams open.

    A fork of a fork comes here as well: it has nothing to close any more, and the numbers may be those of its own files.
    """
    _die_with_parent(parent)
    while streams:
        with suppress(OSError):
            os.close(streams.pop())


def _load_package() -> None:
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = spec_from_file_location(
        "snnverify", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    sys.modules["snnverify"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


def _listen(incoming: int) -> Any:
    """Queue of requests, read by a thread: so the end of stdin ends this process in the midst of a computation too."""
    import queue
    import threading

    from snnverify.oracles import wire

    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def listen() -> None:
        with os.fdopen(incoming, "rb") as stream:
            head = stream.read(wire.HEAD.size)
            while len(head) == wire.HEAD.size:
                try:
                    requests.put(wire.unpack(stream.read(wire.length(head))))
                except Exception as e:  # such as a type that only the host knows: the answer tells it
                    requests.put(e)
                head = stream.read(wire.HEAD.size)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    return requests


def _answer(request: Any, state: dict[str, Any], target: str, root: str) -> dict[str, Any]:
    """Call what a request (part, name, args, kwargs) names; the oracle is made when it is first needed."""
    if isinstance(request, Exception):
        raise request
    part, name, args, kwargs = request
    if part == "versions":  # before the library is imported: another one than the adapter knows may fail in any way
        return {"value": _versions(*args)}
    if "oracle" not in state:
        from snnverify.oracles.users import local

        state["oracle"] = local(target, root)
    oracle = state["oracle"]
    if part == "describe":
        parts = {part: getattr(oracle, part) is not None for part in ("simulator", "converter")}
        told = {field: getattr(oracle, field) for field in ("version", "families", "boxes")}
        return {"value": {"operators": tuple(oracle.operators), **parts, **told}}
    call = (
        oracle.operator(name) if part == "operator" else {"simulator": oracle.run, "converter": oracle.converter}[part]
    )
    return {"value": call(*args, **kwargs)}


def _versions(*distributions: str) -> dict[str, str]:
    """What is installed here, of those that are asked for."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for d in distributions:
        try:
            found[d] = version(d)
        except PackageNotFoundError:
            continue
    return found


def _told(e: BaseException) -> dict[str, Any]:
    """An exception in words: the type does not exist in the host, but for `Unsupported`."""
    import traceback

    from snnverify.errors import SnnverifyError, Unsupported
    from snnverify.objects import last_line

    if isinstance(e, Unsupported):
        return {"unsupported": (str(e.where), str(e.what), str(e.remedy))}
    at = traceback.extract_tb(e.__traceback__)[-1]
    raised = f"{last_line(e)} ({os.path.basename(at.filename)}:{at.lineno}, {at.name})"
    return {
        "raised": str(e) if isinstance(e, SnnverifyError) else raised,
        "traceback": "".join(traceback.format_exception(type(e), e, e.__traceback__)),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
