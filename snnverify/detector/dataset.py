"""Labelled images in the YOLO form: a YAML file that names a root, splits and classes; nothing in it is ever run.

::

    path: ../shapes          # root, relative to the YAML's folder (else to the current one)
    train: images/train      # a folder (searched to any depth), a .txt list of images, or a list of either
    val: images/val
    names: [square, bar]     # or a map {0: square, 1: bar}
    nc: 2                    # optional; checked

The boxes of ``images/val/3.png`` are in ``labels/val/3.txt``: the last folder called ``images`` becomes ``labels``, and
without one the text lies beside its image. A line is ``class x y width height``, centre and size as shares of the image,
or ``class x1 y1 x2 y2 ...``, an outline, of which the enclosing box is taken. An image without a label file, or with an
empty one, holds no object. ``download:`` is reported and never executed.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image, ImageOps

from ..content import Array, frozen
from ..errors import ConfigError, DataError
from ..objects import nearest

SPLITS = ("train", "val", "test")
SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
MODES = {1: "L", 3: "RGB"}


@dataclass(frozen=True)
class Split:
    """The images of one split, by path: pixels are read when they are asked for.

    Parameters
    ----------
    source : Path
        The YAML file.
    root : Path
    name : str
        ``train``, ``val`` or ``test``.
    names : tuple of str
        Classes in order.
    images : tuple of Path
        In the order of their names, or of the list files.
    notes : tuple of str
        What a user should know: a ``download:`` that was not executed, images without labels.
    """

    source: Path
    root: Path
    name: str
    names: tuple[str, ...]
    images: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        """Root, split, and how much there is of it."""
        return f"{self.source}: root {self.root}, split {self.name}: {len(self)} images, {len(self.names)} classes"

    @cached_property
    def digest(self) -> str:
        """sha256 over the classes and, in order, the bytes of every image and of its label file (hex)."""
        h = hashlib.sha256("\n".join(self.names).encode())
        for path in self.images:
            for file in (path, label_path(path)):
                h.update(hashlib.sha256(file.read_bytes()).digest() if file.is_file() else b"none")
        return h.hexdigest()


def read_split(path: str | Path, split: str = "val") -> Split:
    """Read the YAML file, and list the images of one split.

    Raises
    ------
    ConfigError
        A key of the file that cannot be followed, or a split that it does not have.
    DataError
        No such file, no YAML, or a split without images or without any label file.
    """
    file = Path(path)
    table = _table(file)
    names = _names(table, file)
    if split not in SPLITS:
        raise ConfigError(f"split = {split!r}: one of {', '.join(SPLITS)}")
    if table.get(split) in (None, "", []):
        held = ", ".join(s for s in SPLITS if table.get(s))
        raise ConfigError(f"{file}: it has no {split}:; {f'it has {held}' if held else 'add one'}")
    root = _root(table, file)
    images = _images(table[split], root, f"{file}: {split}")
    notes = []
    if table.get("download"):
        notes.append(f"{_download(table)} not executed; fetch the data yourself")
    bare = sum(not label_path(p).is_file() for p in images)
    if bare == len(images):
        raise DataError(f"{images[0]}: no image of {split} has a label file; its own would be {label_path(images[0])}")
    if bare:
        notes.append(f"{bare} of {len(images)} images have no label file: they count as images without objects")
    return Split(file, root, split, names, images, tuple(notes))


def label_path(image: Path) -> Path:
    """``.../images/a/b.png`` -> ``.../labels/a/b.txt``, the last folder of that name; else beside the image."""
    parts = list(image.parts)
    at = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if at:
        parts[at[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def read_image(path: Path, channels: int = 3) -> Array:
    """Pixels uint8 [channels, H, W], turned upright as its EXIF data say.

    Raises
    ------
    DataError
        No image of 8 bits that can be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as opened:
                if opened.mode[0] in "IF":  # conversion would clip 16 bits at 255
                    raise DataError(f"{path}: an image of mode {opened.mode}; save it with 8 bits a channel")
                upright = ImageOps.exif_transpose(opened)
                pixels = np.asarray(upright.convert(MODES[channels]))
    except DataError:
        raise
    except KeyError:
        raise ConfigError(f"channels = {channels}: images have 1 or 3") from None
    except (
        Exception
    ) as e:  # PIL answers damage with OSError, SyntaxError, ValueError, struct.error, its bomb warning ...
        raise DataError(
            f"{path}: not an image that can be read ({type(e).__name__}: {' '.join(str(e).split())})"
        ) from e
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def read_labels(path: Path, names: Sequence[str]) -> Array:
    """Boxes of one label file, float64 [n, 5]: class, then centre and size as shares; [0, 5] where there is no file.

    Raises
    ------
    DataError
        A line of another form: names file, line and value.
    """
    if not path.is_file():
        return frozen(np.zeros((0, 5)))
    try:
        lines = path.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{path}: no text; a label file has lines of: class x y width height") from None
    rows = [_label(line, f"{path}:{i}", names) for i, line in enumerate(lines, 1) if line.strip()]
    return frozen(np.array(rows, float).reshape(-1, 5))


def _label(line: str, where: str, names: Sequence[str]) -> list[float]:
    try:
        values = [float(word) for word in line.split()]
    except ValueError:
        raise DataError(f"{where}: {line.strip()[:60]!r} holds no numbers; give: class x y width height") from None
    if len(values) != 5 and (len(values) < 7 or len(values) % 2 == 0):
        raise DataError(f"{where}: {len(values)} numbers; give: class x y width height, or a class and points x y")
    kind, shares = values[0], values[1:]
    if kind not in range(len(names)):
        raise DataError(f"{where}: class {values[0]:g}; there are {len(names)}, numbered from 0")
    if not all(0 <= v <= 1 for v in shares):
        wrong = next(v for v in shares if not 0 <= v <= 1)
        raise DataError(f"{where}: {wrong:g} lies outside of 0 ... 1; boxes are shares of the image")
    if len(shares) > 4:
        (left, right), (top, bottom) = ((min(v), max(v)) for v in (shares[::2], shares[1::2]))
        shares = [(left + right) / 2, (top + bottom) / 2, right - left, bottom - top]
    if min(shares[2:]) <= 0:
        raise DataError(f"{where}: a box of size {shares[2]:g} x {shares[3]:g}; it must be above 0")
    return [kind, *shares]


def _table(file: Path) -> Mapping[str, Any]:
    try:
        table = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; give a YAML file with path, train, val and names") from None
    except IsADirectoryError:
        raise DataError(f"{file}: a folder; give the YAML file that describes the data") from None
    except (UnicodeDecodeError, yaml.YAMLError) as e:
        said = " ".join(str(e).split())
        raise DataError(f"{file}: not YAML that can be read without running code ({said})") from None
    if not isinstance(table, dict):
        raise DataError(f"{file}: it holds a {type(table).__name__}; give keys path, train, val and names")
    return table


def _names(table: Mapping[str, Any], file: Path) -> tuple[str, ...]:
    if "names" not in table:
        near = nearest("names", [str(k) for k in table])
        raise ConfigError(f"{file}: names is missing{near}; list the classes")
    given = table["names"]
    if isinstance(given, dict):
        if sorted(given, key=str) != sorted(range(len(given)), key=str) or any(isinstance(k, bool) for k in given):
            raise ConfigError(
                f"{file}: names has the keys {', '.join(map(str, given))}; number them 0 ... {len(given) - 1}"
            )
        given = [given[i] for i in range(len(given))]
    if not isinstance(given, list) or not given or not all(isinstance(n, (str, int)) for n in given):
        raise ConfigError(f"{file}: names = {given!r}; give a list of names, or a map from 0 on")
    names = tuple(str(n) for n in given)
    nc = table.get("nc", len(names))
    if isinstance(nc, bool) or nc != len(names):
        raise ConfigError(f"{file}: nc = {nc!r}, but there are {len(names)} names; mend either, or leave nc out")
    return names


def _download(table: Mapping[str, Any]) -> str:
    """The entry in a line for a terminal: it may be a script, or hold codes for one."""
    first, *more = str(table["download"]).strip().splitlines() or [""]
    return (
        "download: "
        + "".join(c if c.isprintable() else "?" for c in first[:60])
        + (" ..." if more or first[60:] else "")
    )


def _root(table: Mapping[str, Any], file: Path) -> Path:
    given = table.get("path") or "."
    if not isinstance(given, str):
        raise ConfigError(f"{file}: path = {given!r}; give a folder")
    tried = [file.parent / given, Path(given)]
    for root in tried:
        if os.path.isdir(root):  # False, too, of a name too long for the disk, of which `Path.is_dir` raises
            return root.resolve()
    hint = f"; {_download(table)} was not executed, so fetch the data yourself" if table.get("download") else ""
    where = " nor ".join(dict.fromkeys(str(p) for p in tried))
    raise ConfigError(f"{file}: path = {given!r}: there is no folder {where}{hint}")


def _images(entries: Any, root: Path, where: str) -> tuple[Path, ...]:
    """Paths of the images that a split names."""
    found: list[Path] = []
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, str):
            raise ConfigError(f"{where} = {entry!r}: give a folder, a .txt list of images, or a list of these")
        place = root / entry
        if os.path.isdir(place):
            found += sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
        elif os.path.isfile(place) and place.suffix == ".txt":
            found += _listed(place, root)
        else:
            raise DataError(f"{where} = {entry!r}: there is no folder and no .txt list {place}")
    if not found:
        raise DataError(f"{where} = {entries!r}: no image there ({', '.join(sorted(SUFFIXES))})")
    return tuple(dict.fromkeys(found))


def _listed(file: Path, root: Path) -> list[Path]:
    """Images of a list file: ``./`` is its own folder, another relative path starts at the root."""
    try:
        lines = file.read_text("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{file}: no text; give one path of an image a line") from None
    paths = []
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        path = (file.parent if line.startswith("./") else root) / line.strip()
        if path.suffix.lower() not in SUFFIXES or not os.path.isfile(path):
            raise DataError(f"{file}:{i}: {line.strip()!r}: there is no image {path}")
        paths.append(path)
    return paths
