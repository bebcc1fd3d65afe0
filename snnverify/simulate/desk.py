"""What a worker has at hand: arrays that outlast a run, and what its layers hand on in the block that is at work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..network import Array
from .memory import aligned

Calls = list[Callable[[], object]]
Room = Callable[[str, tuple[int, ...], Any], Array]


class Desk:
    """Arrays by layer and use, and bits or values of the layers in this block, [n, T or 1, ...]."""

    def __init__(self) -> None:
        self.arrays: dict[tuple[str, str], Array] = {}
        self.held: dict[str, Array] = {}
        self.clock = np.zeros(1, np.int64)  # the block's first step, for calls that were put together before

    def room(self, name: str, what: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array; it holds what it held."""
        array = self.arrays.get((name, what))
        if array is None or (array.shape, array.dtype) != (shape, dtype):
            array = self.arrays[name, what] = aligned(shape, dtype)
        return array
