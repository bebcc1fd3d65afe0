"""Evaluation and calibration data: ``.npz``, MNIST-style IDX pairs, WAV folders, or the user's own callable."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import idx, sound
from .content import Array, frozen
from .errors import DataError, SnnverifyError
from .objects import last_line, load_object, nearest

_SLICE = re.compile(r"(?P<path>.+)\[(?P<start>\d*):(?P<stop>\d*)\]")
_CALLABLE = re.compile(r".+\.py:[\w.]+|[A-Za-z_][\w.]*:[\w.]+")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled samples.

    Parameters
    ----------
    x : array
        float32 [N, *shape], finite; in the unit that the model was trained on.
    y : array
        int64 [N], >= 0: classes. Or float64 [N, outputs], finite: the targets of a regression.
    scaling : str
        What was done to the stored values: ``uint8 / 255`` or ``none``.
    source : str
        The spec.
    first_sample : int
        Absolute number of ``x[0]`` in its source.
    note : str
        What else was done, for example an axis that was added.
    """

    x: Array
    y: Array
    scaling: str
    source: str
    first_sample: int = 0
    note: str = ""

    def __len__(self) -> int:
        return len(self.y)

    @cached_property
    def digest(self) -> str:
        """sha256 over dtype, shape and little-endian bytes of x and y (hex)."""
        h = hashlib.sha256()
        for a in (self.x, self.y):
            a = a.astype(a.dtype.newbyteorder("<"))
            h.update(f"{a.dtype.str} {a.shape}\n".encode() + a.tobytes())
        return h.hexdigest()


def load_data(spec: str, *, limit: int | None = None, root: str | Path | None = None) -> Dataset:
    """Load labelled samples.

    Floats in y are the targets of a regression, [N, outputs] or [N]; a y of whole numbers stored as floats is refused,
    unless it has two axes, because those are classes in most files.

    Parameters
    ----------
    spec : str
        ``file.npz`` with arrays x and y; one file of an IDX pair (plain or .gz), a folder that holds one pair, or
        ``images,labels``; a folder of WAV files (`sound`), ``folder@train`` or ``folder@test`` for a part of it;
        ``module:callable`` or ``path.py:callable``, which returns (x, y) or a `Dataset`. A slice may
        follow: ``file.npz[0:8000]``. Values of type uint8 are divided by 255.
    limit : int, optional
        Take at most so many samples, from the start (of the slice).
    root : path, optional
        Where relative paths and modules are looked for; the current folder by default.

    Raises
    ------
    DataError
        The data cannot be read or used: names file, field and value.
    ConfigError
        The callable cannot be found or imported.
    """
    if limit is not None and limit < 1:
        raise DataError(f"limit = {limit}: take at least 1 sample")
    path, window = _split_slice(spec, root)
    if _CALLABLE.fullmatch(path):
        data = _from_callable(path, root)
    elif "," in path and not _at(path, root).exists():
        images, labels, *more = path.split(",")
        if more:
            raise DataError(f"data {spec!r}: {len(more) + 2} files; give 'images,labels'")
        data = _from_idx(spec, _at(images.strip(), root), _at(labels.strip(), root))
    else:
        data = _from_file(spec, _at(path, root))
    start, stop = _window(spec, window, len(data))
    stop = stop if limit is None else min(stop, start + limit)
    if (start, stop) == (0, len(data)):
        return data
    kept = slice(start, stop)
    return replace(data, x=frozen(data.x[kept]), y=frozen(data.y[kept]), first_sample=data.first_sample + start)


def resolve_spec(spec: str, folder: Path) -> str:
    """Make the relative paths of a data or model spec absolute against `folder`; modules stay as they are."""
    path, window = _split_slice(spec, folder)
    suffix = f"[{window[0]}:{window[1]}]" if window else ""
    if _CALLABLE.fullmatch(path):
        where, _, name = path.rpartition(":")
        return f"{folder / where}:{name}{suffix}" if where.endswith(".py") else spec
    return ",".join(map(str, files_of(path, folder))) + suffix


def files_of(spec: str, folder: Path) -> list[Path]:
    """Files and folders that a data spec names; none where it names a callable."""
    path, _ = _split_slice(spec, folder)
    parts = path.split(",") if "," in path and not (folder / path).exists() else [path]
    return [] if _CALLABLE.fullmatch(path) else [folder / p.strip() for p in parts]


def check_labels(y: Array, classes: int) -> None:
    """`DataError` where a label is not below the number of classes, or a target has another number of outputs."""
    if y.dtype.kind == "f":
        if y.shape[1] != classes:
            raise DataError(
                f"y holds {y.shape[1]} targets a sample, the model has {classes} outputs; give one for each"
            )
        return
    over = np.flatnonzero(y >= classes)
    if len(over):
        raise DataError(
            f"y[{over[0]}] = {y[over[0]]} and {len(over) - 1} more: the model has {classes} outputs, so labels are "
            f"0 ... {classes - 1}; use the data set the model was trained on"
        )


def check_shape(x: Array, input_shape: tuple[int, ...]) -> tuple[Array, str]:
    """Bring samples to the input shape of a model where that changes no order of values.

    Parameters
    ----------
    x : array
        [N, *shape].
    input_shape : tuple of int
        Sample axes that the model takes.

    Returns
    -------
    x : array
        [N, *input_shape].
    note : str
        What was done; empty where nothing was.

    Raises
    ------
    DataError
        The shapes do not fit: only a channel axis of 1 is added, and flat samples made images or images flat.
    """
    shape, wanted = x.shape[1:], tuple(input_shape)
    if shape == wanted:
        return x, ""
    if wanted == (1, *shape):
        return frozen(x[:, None]), f"channel axis added: {shape} to {wanted}"
    if 1 in (len(shape), len(wanted)) and math.prod(shape) == math.prod(wanted):
        return frozen(x.reshape(-1, *wanted)), f"reshaped in C order: {shape} to {wanted}"
    last = len(shape) > 1 and (shape[-1], *shape[:-1]) == wanted
    way = "move its last axis, the channels, to axis 1" if last else "bring x to [N, *shape] of the model"
    raise DataError(f"x holds samples of shape {shape}, the model takes {wanted}; {way}")


def shared_samples(a: Array, b: Array) -> Array:
    """Samples of `b` that are also in `a`, such as evaluation samples that calibrated the model.

    Parameters
    ----------
    a, b : array
        [N, *shape] and [M, *shape]; compared as float32 by a hash of their values.

    Returns
    -------
    array
        int64 [K, 2]: for every such sample its first index in `a`, and its index in `b`.
    """
    first: dict[bytes, int] = {}
    for i, key in enumerate(_row_hashes(a)):
        first.setdefault(key, i)
    pairs = [(first[key], j) for j, key in enumerate(_row_hashes(b)) if key in first]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _row_hashes(x: Array) -> list[bytes]:
    rows = x.reshape(len(x), -1).astype(np.float32) + np.float32(0)  # + 0 makes -0 and 0 one value
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]


def _at(path: str, root: str | Path | None) -> Path:
    return Path(root or ".") / path


def _split_slice(spec: str, root: str | Path | None) -> tuple[str, tuple[str, str] | None]:
    if not spec.endswith("]") or _at(spec, root).exists():
        return spec, None
    match = _SLICE.fullmatch(spec)
    if match is None:
        raise DataError(f"data {spec!r}: a slice is [start:stop] with numbers >= 0, for example [0:8000]")
    return match["path"], (match["start"], match["stop"])


def _window(spec: str, window: tuple[str, str] | None, n: int) -> tuple[int, int]:
    start, stop = (int(window[0] or 0), int(window[1] or n)) if window else (0, n)
    if not start < stop <= n:
        raise DataError(f"data {spec!r}: there are {n} samples; a slice has 0 <= start < stop <= {n}")
    return start, stop


def _from_file(spec: str, path: Path) -> Dataset:
    folder, _, split = str(path).rpartition("@")
    if split in sound.SPLITS and Path(folder).is_dir() and not path.exists():
        return _from_wav(spec, Path(folder), split)
    if path.is_dir() and sound.holds(path):
        return _from_wav(spec, path, None)
    if path.is_dir():
        return _from_idx(spec, *idx.pair_in(path))
    if not path.is_file():
        raise DataError(f"data {spec!r}: no file {path}; give .npz, an IDX pair or 'module:callable'")
    if path.suffix != ".npz" and idx.looks_like(path):
        return _from_idx(spec, *idx.pair_of(path))
    return _from_npz(spec, path)


def _from_wav(spec: str, folder: Path, split: str | None) -> Dataset:
    x, y, note = sound.features(folder, split)
    return replace(checked(x, y, spec), note=note)


def _from_idx(spec: str, images: Path, labels: Path) -> Dataset:
    x, y = idx.read(images, 3), idx.read(labels, 1)
    if len(x) != len(y):
        raise DataError(f"{images} holds {len(x)} images, {labels} holds {len(y)} labels: give the files of one pair")
    return checked(x[:, None], y, spec)


def _from_npz(spec: str, path: Path) -> Dataset:
    with path.open("rb") as f:
        if f.read(2) != b"PK":
            raise DataError(f"{path}: neither .npz nor IDX; write it with np.savez_compressed(path, x=x, y=y)")
    try:
        # opened here: numpy leaves a file open that turns out to be damaged
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
            names = list(npz.files)
            arrays = {name: npz[name] for name in ("x", "y") if name in names}
    except Exception as e:  # np.load answers a damaged archive with many kinds, according to where the damage lies
        if "allow_pickle" in str(e):
            raise DataError(
                f"{path}: an array of Python objects (a pickle) is not read; save x as numbers, y as integers"
            ) from e
        raise DataError(f"{path}: a damaged .npz ({last_line(e)}); write it again") from e
    for name in ("x", "y"):
        if name in arrays and not isinstance(arrays[name], np.ndarray):  # a member that does not begin as an array does
            raise DataError(f"{path}: {name} is no array; save as np.savez(path, x=x, y=y)")
        if name not in arrays:
            raise DataError(f"{path}: no array {name!r}{nearest(name, names)}; save as np.savez(path, x=x, y=y)")
    return checked(arrays["x"], arrays["y"], spec)


def _from_callable(spec: str, root: str | Path | None) -> Dataset:
    function: Callable[[], Any] = load_object(spec, root)
    try:
        value = function()
    except SnnverifyError:
        raise
    except Exception as e:
        raise DataError(f"data {spec!r}: calling it failed: {last_line(e)}; it is called without arguments") from e
    if isinstance(value, Dataset):
        found = checked(value.x, value.y, spec)
        scaling = value.scaling if found.scaling == "none" else f"{value.scaling}; {found.scaling}"
        return replace(found, scaling=scaling, first_sample=value.first_sample, note=value.note)
    if not (isinstance(value, (tuple, list)) and len(value) == 2):
        raise DataError(f"data {spec!r}: it returned a {type(value).__name__}; return (x, y)")
    try:
        x, y = (np.asarray(part) for part in value)
    except Exception as e:
        raise DataError(f"data {spec!r}: x and y cannot be made arrays: {last_line(e)}") from e
    return checked(x, y, spec)


def checked(x: Array, y: Array, source: str) -> Dataset:
    """A `Dataset` of stored arrays, or `DataError`."""
    if x.dtype.kind not in "fiub":
        raise DataError(f"data {source!r}: x is of type {x.dtype}; give numbers")
    if x.ndim < 2 or x.size == 0:
        raise DataError(f"data {source!r}: x has shape {x.shape}; give [N, *shape] with at least one sample")
    labels = _targets(y, source) if y.dtype.kind == "f" else _labels(y, source)
    if len(x) != len(y):
        raise DataError(f"data {source!r}: x holds {len(x)} samples and y {len(y)} labels; give one label per sample")
    pixels = x.dtype == np.uint8
    with np.errstate(over="ignore"):
        values: npt.NDArray[np.float32] = x.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        at_x = tuple(int(i) for i in np.argwhere(bad)[0])
        raise DataError(
            f"data {source!r}: {int(bad.sum())} values of x are NaN or infinite in float32, the first is x{list(at_x)} "
            f"= {x[at_x]}; mend or drop these samples"
        )
    if pixels:
        values = values / np.float32(255)
    return Dataset(frozen(values), frozen(labels), "uint8 / 255" if pixels else "none", source)


def _labels(y: Array, source: str) -> Array:
    """Classes, int64 [N]."""
    if y.ndim != 1 or y.dtype.kind not in "iu":
        way = "y.argmax(1)" if y.ndim == 2 else "y.astype(int)"
        raise DataError(f"data {source!r}: y is {y.dtype} of shape {y.shape}; give integer labels [N], such as {way}")
    labels: Array = y.astype(np.int64)
    if labels.size and labels.min() < 0:
        at = int(labels.argmin())
        raise DataError(f"data {source!r}: y[{at}] = {y[at]}; labels are class numbers 0, 1, 2, ...")
    return labels


def _targets(y: Array, source: str) -> Array:
    """Targets of a regression, float64 [N, outputs]; what looks like classes is refused."""
    said = f"data {source!r}: y is {y.dtype} of shape {y.shape}"
    if y.ndim not in (1, 2) or not y.size:
        raise DataError(f"{said}; give integer labels [N], or the targets of a regression [N, outputs]")
    bad = np.argwhere(~np.isfinite(y))
    if len(bad):
        at = [int(i) for i in bad[0]]
        raise DataError(f"data {source!r}: targets that are NaN or infinite: {len(bad)}, the first is y{at} = "
                        f"{y[tuple(at)]}; mend or drop these samples")  # fmt: skip
    if y.ndim == 1 and np.all(y == np.round(y)):
        raise DataError(
            f"{said} and holds whole numbers; give integer labels [N], such as y.astype(int), or y[:, None] if they are the "
            "targets of a regression"
        )
    if y.ndim == 2 and y.shape[1] > 1 and np.all((y == 0) | (y == 1)) and np.all(y.sum(1) == 1):
        raise DataError(f"{said} and one-hot; give integer labels [N], such as y.argmax(1)")
    targets: Array = y.astype(np.float64).reshape(len(y), -1)
    return targets
