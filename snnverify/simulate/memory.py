"""Memory of what runs record, kept for the next one: pages that the system hands out anew cost as much as the work."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from ..network import Array
from .kept import forgotten_by

LINE = 64  # bytes of a cache line and of a vector
KEPT = 2**27  # bytes of a block that is kept when its arrays are gone; of four at most


class Block:
    """Bytes that arrays lie in. When the last of them is gone the bytes serve another block."""

    lasting = True  # nothing but arrays that were frozen refers to it; see `content.frozen`

    def __init__(self, size: int) -> None:
        self.bytes = _spare(size)
        self.__array_interface__ = {**self.bytes.__array_interface__, "shape": (size,)}

    def __del__(self) -> None:
        if self.bytes.size <= KEPT:
            _free.append(self.bytes)


_free: deque[Array] = deque(maxlen=4)
forgotten_by(_free.clear)


def _spare(size: int) -> Array:
    """Bytes that nobody uses any more, not many more than asked for, or fresh ones."""
    for _ in range(len(_free)):
        try:
            found = _free.popleft()
        except IndexError:  # other threads take them, too
            break
        if size <= found.size <= 2 * size + 2**16:
            return found
        _free.append(found)
    return aligned((size,), np.uint8)


def arrays(shapes: Mapping[str, tuple[int, ...]], kinds: Mapping[str, Any]) -> dict[str, Array]:
    """Arrays of these shapes and dtypes in one block, each from a cache line on; they hold anything."""
    if not shapes:
        return {}
    sizes = {name: math.prod(shape) * np.dtype(kinds[name]).itemsize for name, shape in shapes.items()}
    *starts, end = accumulate((-(-size // LINE) * LINE for size in sizes.values()), initial=0)
    whole = np.asarray(Block(end))
    return {
        name: whole[start : start + sizes[name]].view(kinds[name]).reshape(shapes[name])
        for name, start in zip(sizes, starts, strict=True)
    }


def aligned(shape: tuple[int, ...], dtype: Any) -> Array:
    """Zeros that begin at a cache line: a vector that straddles two costs up to 1.6 times as much, and numpy's do."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.zeros(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    found: Array = raw[start : start + size].view(dtype).reshape(shape)
    return found
