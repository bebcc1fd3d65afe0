"""Frames between a host and its worker: a mark, a length, and one value as ``.npz`` (named arrays and a JSON tree).

Never a pickle: an array of objects is refused on either side.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..content import decode, encode
from ..errors import CodecError
from . import conversion  # noqa: F401 - whatever a library may answer must be known to the codec

HEAD = struct.Struct("<8sQ")  # mark, number of bytes that follow
_MARK = b"snnverif"
_TREE = "tree"  # the codec's own names of arrays begin with "root"


def pack(value: Any) -> bytes:
    """One value as a frame.

    Parameters
    ----------
    value : Content, array, number, string, None, or a tuple or mapping of those
        Numbers of numpy become Python's.

    Raises
    ------
    CodecError
        Something else is in it; names where.
    """
    tree, arrays = encode(_plain(value))
    for path, a in arrays.items():
        if a.dtype.hasobject:
            raise CodecError(f"{path}: cannot encode an array of {a.dtype}")
    buffer = io.BytesIO()
    np.savez(buffer, **{_TREE: np.array(json.dumps(tree))}, **arrays)  # type: ignore[arg-type]
    payload = buffer.getvalue()
    return HEAD.pack(_MARK, len(payload)) + payload


def length(head: bytes) -> int:
    """Bytes that follow a whole head; `CodecError` where it is none."""
    mark, following = HEAD.unpack(head)
    if mark != _MARK:
        raise CodecError(f"{head!r} does not begin a frame")
    return int(following)


def payload(received: bytearray) -> memoryview | None:
    """What a received frame carries, or None while some of it must still come.

    Raises
    ------
    CodecError
        The bytes do not begin as a frame does, or go on behind its end.
    """
    if received[: len(_MARK)] != _MARK[: len(received)]:
        raise CodecError(f"{bytes(received[:60])!r} does not begin a frame")
    if len(received) < HEAD.size:
        return None
    end = HEAD.size + length(bytes(received[: HEAD.size]))
    if len(received) > end:
        raise CodecError(f"{bytes(received[end : end + 60])!r} follows a frame")
    return memoryview(received)[HEAD.size :] if len(received) == end else None


def unpack(carried: bytes | memoryview) -> Any:
    """Value of a payload; `CodecError` where it is damaged."""
    try:
        with np.load(io.BytesIO(carried), allow_pickle=False) as npz:
            arrays = {name: npz[name] for name in npz.files}
        return decode(json.loads(str(arrays.pop(_TREE))), arrays)
    except CodecError:
        raise
    except Exception as e:  # damage shows in many ways: zlib, zipfile, json, a wrong type
        raise CodecError(f"a frame that cannot be read ({type(e).__name__}: {e})") from e


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (tuple, list)) else value
