"""What is kept for the next run: of a network no longer than the network is there, and all of it until `forget`."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

from ..network import Network

T = TypeVar("T")
MOST = 8  # results of each function
_forgetting: list[Callable[[], object]] = []


def forgotten_by(clear: Callable[[], object]) -> None:
    """Have `forget` call something."""
    _forgetting.append(clear)


def forget() -> None:
    """Let go of everything that is kept for the next run, memory above all; the next run makes it anew."""
    for clear in _forgetting:
        clear()


class PerNetwork(Generic[T]):
    """A function of a network, and of strings, whose last `MOST` results are kept for as long as their network lives.

    Equal networks share a result; the one that asked last is the one that counts.
    """

    def __init__(self, make: Callable[..., T]) -> None:
        self.make = make
        self.results: OrderedDict[tuple[str, ...], tuple[weakref.ref[Network], T]] = OrderedDict()
        forgotten_by(self.results.clear)

    def __call__(self, network: Network, *more: str) -> T:
        """What the function gives. No lock: threads and finalisers come between steps, and no step minds."""
        key = (network.digest, *more)
        kept = self.results.get(key)
        if kept is None or kept[0]() is not network:
            result = self.make(network, *more) if kept is None else kept[1]
            kept = self.results[key] = weakref.ref(network, partial(self._gone, key)), result
        with suppress(KeyError):  # another thread may have dropped it
            self.results.move_to_end(key)
            while len(self.results) > MOST:
                self.results.popitem(last=False)
        return kept[1]

    def _gone(self, key: tuple[str, ...], network: weakref.ref[Network]) -> None:
        kept = self.results.get(key)
        if kept is not None and kept[0] is network:
            self.results.pop(key, None)
