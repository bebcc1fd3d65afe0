"""The IDX files of MNIST: big-endian magic 0x000008dd (unsigned bytes, dd axes), dd sizes of 4 bytes, then the bytes.

Format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np

from .content import Array
from .errors import DataError

_NAME = re.compile(r"(?P<start>.*)(?P<kind>images|labels)(?P<dot>[-.])idx(?P<axes>[13])-ubyte(?:\.gz)?")
_OTHER = {"images": ("labels", 1), "labels": ("images", 3)}
MOST_PER_BYTE = 1032  # what a byte of a deflate stream can unpack to (zlib's technical details, section 2)
_GZIP = b"\x1f\x8b"


def looks_like(path: Path) -> bool:
    """Whether the name or the first bytes are those of an IDX file, plain or compressed."""
    if _NAME.fullmatch(path.name):
        return True
    with path.open("rb") as f:
        head = f.read(3)
    return head[:2] == _GZIP or head == b"\x00\x00\x08"


def pair_of(path: Path) -> tuple[Path, Path]:
    """The images and labels file of the pair that `path` belongs to, by the usual names."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise DataError(f"{path}: images or labels? its name does not tell; give both as 'images,labels'")
    kind, axes = _OTHER[match["kind"]]
    stem = f"{match['start']}{kind}{match['dot']}idx{axes}-ubyte"
    suffixes = (".gz", "") if path.suffix == ".gz" else ("", ".gz")
    for name in (stem + suffix for suffix in suffixes):
        if (other := path.with_name(name)).is_file():
            return (path, other) if kind == "labels" else (other, path)
    raise DataError(f"{path}: its {kind}, {stem} or {stem}.gz, are not beside it; give both as 'images,labels'")


def pair_in(folder: Path) -> tuple[Path, Path]:
    """The one pair that a folder holds; a file that is there plain and compressed counts once, plain."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and match["kind"] == "images":
            found.setdefault(path.name.removesuffix(".gz"), path)
    if len(found) != 1:
        names = ", ".join(p.name for p in found.values()) or "none"
        raise DataError(f"{folder}: it holds {len(found)} files *images-idx3-ubyte[.gz] ({names}); give one of them, "
                        "or a folder of label/*.wav or digit_speaker_i.wav")  # fmt: skip
    return pair_of(next(iter(found.values())))


def read(path: Path, axes: int) -> Array:
    """Read one file as uint8 of `axes` axes: 3 for images [N, H, W], 1 for labels [N].

    Raises
    ------
    DataError
        No such file, another magic number, or a length that the header does not announce.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file; give an IDX pair as 'images,labels'")
    with path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP
    try:
        with gzip.open(path) if compressed else path.open("rb") as f:
            magic = f.read(4)
            if magic != bytes((0, 0, 8, axes)):
                kind = "images" if axes == 3 else "labels"
                raise DataError(f"{path}: magic 0x{magic.hex()}, IDX {kind} have 0x0000080{axes}; give an IDX pair")
            shape = struct.unpack(f">{axes}I", f.read(4 * axes))
            size = math.prod(shape)
            if size > MOST_PER_BYTE * path.stat().st_size:  # before so much is asked for
                raise DataError(f"{path}: its header says {size} bytes {shape}, it cannot hold them; fetch it again")
            content = f.read(size + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile, struct.error, OSError) as e:
        raise DataError(f"{path}: damaged or cut short ({e}); fetch it again") from e
    if len(content) != size:
        held = f"{len(content)}" if len(content) < size else f"over {size}"
        raise DataError(f"{path}: its header says {size} bytes {shape}, it holds {held}; fetch it again")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape)
