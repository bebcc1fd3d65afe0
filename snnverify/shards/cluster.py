"""Pieces on the workers of a Dask scheduler. A worker that is lost costs time alone: what it had is computed again."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ..errors import ConfigError
from ..kernels import blas
from . import Execute, Function, Piece, identity

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT = 5.0  # seconds to wait for a scheduler, and for its first worker
LARGE = "distributed.admin.large-graph-warning-threshold"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # a Ctrl-C is for us, who then stop our workers
AHEAD = 2  # pieces for every thread that are with the scheduler: none idles, and no more of the data is on its way


@contextmanager
def connected(scheduler: str) -> Iterator[Execute]:
    """Give an executor for `snnverify.shards.run`.

    Parameters
    ----------
    scheduler : str
        ``local`` for a worker for each processor of this machine, as long as the context lasts; or the address of a
        scheduler, ``tcp://host:8786``.

    Raises
    ------
    ConfigError
        Dask is not installed; nobody answers at the address; there is no worker, or one whose versions are others.
    """
    where = f"scheduler = {scheduler!r}"
    try:
        import dask
        from dask.system import CPU_COUNT
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError(f"{where}: it needs Dask; install it with `pip install 'snnverify[dask]'`") from None
    with ExitStack() as stack:
        stack.enter_context(dask.config.set({LARGE: "1TiB"}))  # a tile of data is meant to be sent
        stack.enter_context(_without_chatter())
        address: Any = scheduler
        if scheduler == "local":
            address = stack.enter_context(LocalCluster(
                n_workers=CPU_COUNT, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL,
                preload=[DEAF],
            ))  # fmt: skip
        else:
            try:
                asyncio.run(_ask(address))
            except (OSError, ValueError, RuntimeError) as e:
                raise ConfigError(f"{where}: no Dask scheduler answers there ({type(e).__name__}); start one with "
                                  "`dask scheduler`, or give local") from None  # fmt: skip
        client = stack.enter_context(Client(address, timeout=CONNECT, set_as_default=False))
        try:
            client.wait_for_workers(1, timeout=CONNECT)
        except TimeoutError:
            raise ConfigError(f"{where}: it has no workers; start some with `dask worker {scheduler}`") from None
        yield partial(_execute, client, where)


async def _ask(address: str) -> None:
    """Hear from a scheduler at all: a client that gets no answer tries for long, and complains when it is taken down."""
    from distributed import Security, rpc

    arguments = Security().get_connection_args("client")
    async with rpc(address, timeout=CONNECT, connection_args=arguments) as scheduler:
        await asyncio.wait_for(scheduler.identity(), CONNECT)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Keep what Dask says of workers that come and go away from people: what matters is raised."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # among them of versions, which `_task` compares
            yield
    finally:
        logger.setLevel(level)


def _execute(
    client: Client, where: str, function: Function[Any], pieces: Sequence[tuple[int, Piece]]
) -> Iterator[tuple[int, Any]]:
    """Yield results as they come, and what Dask raises as one line."""
    from distributed import CancelledError, KilledWorker

    try:
        yield from _results(client, function, pieces)
    except KilledWorker as e:
        raise ConfigError(f"{where}: {e.allowed_failures + 1} workers died on the same tile (out of memory?); give them "
                          "more memory, and run the same command again to go on") from None  # fmt: skip
    except (CancelledError, OSError) as e:
        raise ConfigError(f"{where}: it is gone ({type(e).__name__}); run the same command again to go on, with a scheduler "
                          "that lives or without one") from None  # fmt: skip
    except ImportError as e:
        raise ConfigError(
            f"{where}: a worker has no {e.name}; install snnverify {identity()['snnverify']} there"
        ) from None


def _results(client: Client, function: Function[Any], pieces: Sequence[tuple[int, Piece]]) -> Iterator[tuple[int, Any]]:
    """Keep every worker supplied."""
    from distributed import as_completed

    run = uuid4().hex  # what another run failed at or took back is none of this one's
    expected, waiting = dict(identity()), deque(pieces)
    needed = Counter(digest for _, piece in pieces for digest in piece.heavy.values())
    held: dict[str, Future[Any]] = {}
    running: dict[Any, tuple[int, Piece]] = {}
    finished = as_completed(loop=client.loop)
    while waiting or running:
        while waiting and len(running) < AHEAD * max(1, sum(client.nthreads().values())):
            number, piece = waiting.popleft()
            given = dict(piece.given)
            for k, digest in piece.heavy.items():
                if (
                    digest not in held
                ):  # made by a task, which is run again where its worker is lost; a scattered one is not
                    held[digest] = client.submit(_kept, given[k], key=f"snnverify-data-{digest}-{run}")
                given[k] = held[digest]
            future = client.submit(_task, function, expected, given, key=f"snnverify-piece-{piece.name}-{run}")
            running[future.key] = number, piece
            finished.add(future)
        future = next(finished)
        number, piece = running.pop(future.key)
        yield number, future.result()
        for digest in piece.heavy.values():
            needed[digest] -= 1
            if not needed[digest]:
                del held[digest]


def _kept(value: Any) -> Any:
    return value


def _task(function: Function[Any], expected: Mapping[str, str], given: Mapping[str, Any]) -> Any:
    """Compute one piece on a worker, if its versions are those of the client."""
    from distributed import get_worker

    found = identity()
    for name, wanted in expected.items():
        if found[name] != wanted:
            raise ConfigError(f"scheduler: worker {get_worker().address} has {name} {found[name]}, here it is {wanted}; "
                              "results could differ, install the same on both")  # fmt: skip
    blas.one_thread()  # for good: where a process has several workers' threads, none may give another one's back
    return function(**given, threads=1)
