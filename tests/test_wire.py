"""Frames between a host and its worker: damaged ones are refused."""

import io

import numpy as np
import pytest

from snnverify.errors import CodecError
from snnverify.oracles import wire


@pytest.mark.parametrize("damage", ["cut", "flipped", "pickle", "tree"])
def test_a_damaged_frame_is_refused(damage):
    frame = wire.pack((np.arange(1000), "text"))
    carried = bytearray(wire.payload(bytearray(frame)))
    if damage == "cut":
        carried = carried[: len(carried) // 2]
    elif damage == "flipped":
        carried[len(carried) // 3] ^= 0xFF
    else:
        buffer = io.BytesIO()
        np.savez(buffer, tree=np.array([{}], dtype=object) if damage == "pickle" else np.array('{"type": "Oracle"}'))
        carried = buffer.getvalue()
    with pytest.raises(CodecError):
        wire.unpack(bytes(carried))


def test_a_frame_is_known_by_every_part_of_it():
    frame = wire.pack(1)
    assert [wire.payload(bytearray(frame[:n])) for n in range(len(frame))] == [None] * len(frame)
    assert wire.unpack(wire.payload(bytearray(frame))) == 1
    for bad in (b"s\n", b"\n" + frame, frame + b"\n"):
        with pytest.raises(CodecError):
            wire.payload(bytearray(bad))
