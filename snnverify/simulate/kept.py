"""What is kept for the next run: of a network no longer than the network is there, and all of it until `forget`."""

from __future__ import annotations

import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial, update_wrapper
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
        update_wrapper(self, make)
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
            while len(self.results) > MOST:
                with suppress(KeyError):
                    self.results.popitem(last=False)
        try:  # noqa: SIM105 - as long as all the rest of a call
            self.results.move_to_end(key)
        except KeyError:  # another thread dropped it
            pass
        return kept[1]

    def _gone(self, key: tuple[str, ...], network: weakref.ref[Network]) -> None:
        kept = self.results.get(key)
        if kept is not None and kept[0] is network:
            self.results.pop(key, None)


class Spare(Generic[T]):
    """The last few things that runs gave back, for the next one to take; what belongs to a network goes with it."""

    def __init__(self, most: int = 4) -> None:
        self.items: deque[tuple[weakref.ref[Network] | None, T]] = deque(maxlen=most)
        forgotten_by(self.items.clear)

    def take(self, fits: Callable[[T], bool]) -> T | None:
        """One that fits, which is this caller's alone; None where none does."""
        for _ in range(len(self.items)):
            try:
                item = self.items.popleft()
            except IndexError:  # other threads take them, too
                break
            if fits(item[1]):
                return item[1]
            self.items.append(item)
        return None

    def give(self, thing: T, network: Network | None = None) -> None:
        """Keep something, for no longer than a network lives."""
        self.items.append((None if network is None else weakref.ref(network, self._gone), thing))

    def _gone(self, network: weakref.ref[Network]) -> None:
        for item in list(self.items):
            if item[0] is network:
                try:  # noqa: SIM105 - when the process ends, names of modules go before the last networks
                    self.items.remove(item)
                except (ValueError, IndexError):  # another thread took it, or is taking one
                    pass
