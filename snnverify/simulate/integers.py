"""Layers of integer neurons in the fused engine: their calls of a block, and spikes that arrive late."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..activation import Cuba
from ..errors import Unsupported
from ..kernels import fused_loihi
from ..kernels.arguments import CubaScratch, CubaState, CubaUnits, Images, Kept, Source, Weights, bound
from ..kernels.loihi import EDGE
from ..network import Array
from .desk import Calls, Room
from .layout import Frame
from .stages import Stage

NO_TIMES = np.zeros((0, 0), np.int64)


def narrow(stage: Stage, steps: int, full: bool) -> bool:
    """Whether 32 bits hold whatever the states can come to in a run of `steps`, and the short kernel what is recorded."""
    act = stage.cuba
    if act is None or stage.units is None or full or act.refractory > 1 or act.overflow == "wrap":
        return False
    current = stage.reach * 2.0 ** (6 + max(act.weight_exponent, 0))
    bias = float(np.abs(stage.units.bias).max())
    steps = steps if act.overflow == "none" else 1  # else both begin a step within 24 bits
    held = 0 if act.overflow == "none" else 2.0**23
    u = held + steps * current
    return held + steps * (u + bias) < 2**31


def calm(stage: Stage, steps: int) -> bool:
    """Whether currents last a step, and no potential can leave 24 bits, nor its product with its decay 32.

    A potential that decays to a part f of it is at most (|u| + |bias|) / (1 - f), and |u| what the weights can add up to.
    """
    act, units = stage.cuba, stage.units
    assert act is not None
    assert units is not None
    u = stage.reach * 2.0 ** (6 + max(act.weight_exponent, 0))
    f = float(units.v_left.max()) / 4096
    v = (u + float(np.abs(units.bias).max())) * min(steps, 1 / (1 - f) if f < 1 else steps)
    return bool(np.all(np.asarray(act.current_decay) == 4096)) and v < EDGE and v * 4096 + 4095 < 2**31


def state(room: Room, shape: tuple[int, int], short: bool) -> CubaState:
    """Currents, potentials and refractory times before the first step, in 32 bits where `short`: those need no times."""
    kind = np.int32 if short else np.int64
    begun = CubaState(room("u", shape, kind), room("v", shape, kind), NO_TIMES if short else room("wait", shape, kind))
    for array in begun:
        array.fill(0)
    return begun


def late(room: Room, name: str, bits: Array, delay: int) -> tuple[Array, Calls]:
    """Bits [n, T, bytes] a delay later: where they will be, and the calls before the first block and in each."""
    if not delay:
        return bits, []
    out, line = room(name, bits.shape, np.uint8), room(f"{name} line", (len(bits), delay, bits.shape[2]), np.uint8)
    return out, [partial(line.fill, 0), partial(_shift, bits, line, out)]


def _shift(bits: Array, line: Array, out: Array) -> None:
    """Take `out` from the head of a line of bits, and put `bits` at its end."""
    delay, steps = line.shape[1], bits.shape[1]
    out[:, :delay] = line[:, :steps]
    out[:, delay:] = bits[:, : max(steps - delay, 0)]
    line[:, : max(delay - steps, 0)] = line[:, steps:]
    line[:, max(delay - steps, 0) :] = bits[:, max(steps - delay, 0) :]


def handed_on(room: Room, act: Cuba, frame: Frame, bits: Array) -> tuple[Array, Calls, Calls]:
    """Bits that reach the next layers, those of each channel as late as its axon delay: where they will be, and calls."""
    delays = np.broadcast_to(np.asarray(act.axon_delay), frame.shape[:1])
    if not delays.any():
        return bits, [], []
    sent, at_start, in_block = room("sent", bits.shape, np.uint8), Calls(), Calls()
    in_block.append(partial(sent.fill, 0))
    for d in np.unique(delays).tolist():
        mask = np.packbits(frame.of(delays == d, 0, np.uint8), bitorder="little")
        some = room(f"axon {d}", bits.shape, np.uint8)
        arriving, calls = late(room, f"axon {d} late", some, d)
        at_start += calls[:1]
        in_block += [
            partial(np.bitwise_and, bits, mask, out=some),
            *calls[1:],
            partial(np.bitwise_or, sent, arriving, out=sent),
        ]
    return sent, at_start, in_block


def call(stage: Stage, state: CubaState, source: Source, weights: Weights, images: Images, sums: Array, index: Array,
         bits: Array, steps: int, kept: Kept, clock: Array, total: int) -> Callable[[], None]:  # fmt: skip
    """The kernel of a block, in a run of `total` steps, with its arguments; `clock` [1] holds the block's first step."""
    act, units, flat, short = stage.cuba, stage.units, bits.reshape(-1), not state.wait.size
    assert act is not None
    assert units is not None
    numbers = fused_loihi.settings(act, short and calm(stage, total))
    if short:
        units = CubaUnits(*(np.minimum(u, 2**31 - 1).astype(np.int32) for u in units))
        kernel: Callable[[int], int] = bound(fused_loihi.spiking_in_32_bits, source, weights, images, sums, numbers, units,
                                             state, flat, index, steps)  # fmt: skip
    else:
        x, nothing, before = np.zeros((3, 64), np.int64)
        scratch, keep = CubaScratch(index, x, nothing, before), Kept(*(k.reshape(-1) for k in kept))
        kernel = bound(fused_loihi.spiking, source, weights, sums, numbers, units, state, flat, keep, scratch, steps)
    return partial(_checked, kernel, clock)


def _checked(kernel: Callable[[int], int], clock: Array) -> None:
    failed = kernel(int(clock[0]))
    if failed:
        what = f"{'uv'[failed % 2]} leaves 24 bits in step {failed // 2 - 1}"
        raise Unsupported("Cuba", what, "scale weights, bias or input down")
