"""Frozen values: equality by content digest, owned read-only arrays, and one codec (JSON tree + named arrays).

The codec serves files, the wire, failure artefacts and digests. Arrays travel in ``.npz``; pickles are never read.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from .errors import CodecError, ConfigError

Array = npt.NDArray[Any]
_REGISTRY: dict[str, type[Content]] = {}
_TREE = "__tree__"
C = TypeVar("C", bound="Content")


def frozen(array: npt.ArrayLike, dtype: npt.DTypeLike | None = None) -> Array:
    """Return an owned, C-contiguous, read-only copy (or the array itself where it is one already)."""
    a = np.asarray(array, dtype=dtype)
    owner = a.base if isinstance(a.base, np.ndarray) else a  # a view of what is frozen is frozen
    owned = owner.base is None or getattr(owner.base, "lasting", False)
    if a.flags.writeable or owner.flags.writeable or not owned or not a.flags.c_contiguous:
        a = np.array(a, order="C", copy=True)
        a.setflags(write=False)
    return a


class Content:
    """Base of the frozen dataclasses: equal when the content is equal; arrays are copied and made read-only."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _REGISTRY[cls.__name__] = cls

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):  # type: ignore[arg-type]
            object.__setattr__(self, f.name, _own(getattr(self, f.name)))

    @property
    def digest(self) -> str:
        """sha256 over the JSON tree and the bytes of every array (hex)."""
        cached: str | None = self.__dict__.get("_digest")
        if cached is None:
            tree, arrays = encode(self)
            h = hashlib.sha256(json.dumps(tree, sort_keys=True).encode())
            for name in sorted(arrays):
                a = arrays[name]
                h.update(f"{name}{a.dtype.str}{a.shape}".encode() + a.tobytes())
            cached = h.hexdigest()
            object.__setattr__(self, "_digest", cached)
        return cached

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def _own(value: Any) -> Any:
    if value is None or type(value) in (int, str, float):  # most of what a trace holds
        return value
    if isinstance(value, np.ndarray):
        return frozen(value)
    if isinstance(value, (np.integer, np.floating, np.bool_)):
        return value.item()
    if isinstance(value, (list, tuple)):
        return tuple(_own(v) for v in value)
    if isinstance(value, dict):
        return {k: _own(v) for k, v in value.items()}
    return value


def encode(value: Any) -> tuple[Any, dict[str, Array]]:
    """Split a value into a JSON tree and the arrays that the tree names."""
    arrays: dict[str, Array] = {}

    def walk(v: Any, path: str) -> Any:
        if isinstance(v, Content):
            fields = dataclasses.fields(v)  # type: ignore[arg-type]
            return {"type": type(v).__name__, **{f.name: walk(getattr(v, f.name), f"{path}.{f.name}") for f in fields}}
        if isinstance(v, np.ndarray):
            arrays[path] = v.astype(v.dtype.newbyteorder("<"), copy=False)
            return {"array": path}
        if isinstance(v, (tuple, list)):
            return [walk(item, f"{path}.{i}") for i, item in enumerate(v)]
        if isinstance(v, Mapping):
            return {"map": {str(k): walk(item, f"{path}.{k}") for k, item in v.items()}}
        if v is None or isinstance(v, (bool, int, str)):
            return v
        if isinstance(v, float):
            return {"float": v.hex()}
        raise CodecError(f"{path}: cannot encode a {type(v).__name__}")

    return walk(value, "root"), arrays


def decode(tree: Any, arrays: Mapping[str, Array]) -> Any:
    """Rebuild what `encode` split. Unknown types, fields and arrays are `CodecError`."""
    if isinstance(tree, list):
        return tuple(decode(item, arrays) for item in tree)
    if not isinstance(tree, dict):
        return tree
    if "array" in tree:
        if tree["array"] not in arrays:
            raise CodecError(f"array {tree['array']!r} is named in the file but not in it")
        return arrays[tree["array"]]
    if "float" in tree:
        return float.fromhex(tree["float"])
    if "map" in tree:
        return {k: decode(v, arrays) for k, v in tree["map"].items()}
    cls = _REGISTRY.get(str(tree.get("type")))
    if cls is None:
        raise CodecError(f"unknown type {tree.get('type')!r}; known: {', '.join(sorted(_REGISTRY))}")
    fields = {k: decode(v, arrays) for k, v in tree.items() if k != "type"}
    try:
        return cls(**fields)
    except TypeError as e:
        raise CodecError(f"{tree['type']}: {e}") from e


def save(value: Content, path: str | os.PathLike[str]) -> Path:
    """Write one value as ``.npz`` (to a temporary name, then renamed)."""
    tree, arrays = encode(value)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{_TREE: np.array(json.dumps(tree))}, **arrays)  # type: ignore[arg-type]
    return write_atomic(path, buffer.getvalue())


def load(path: str | os.PathLike[str], kind: type[C]) -> C:
    """Read one value of type `kind` written by `save`."""
    try:
        # opened here: numpy leaves a file open that turns out to be damaged
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as npz:
            arrays = {name: npz[name] for name in npz.files}
        value = decode(json.loads(str(arrays.pop(_TREE))), arrays)
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file") from None
    except CodecError as e:
        raise CodecError(f"{path}: {e}") from e
    except Exception as e:  # damage shows in many ways: zlib, zipfile, json, tokenize, a wrong type
        raise CodecError(f"{path}: not a file written by snnverify ({type(e).__name__}: {e})") from e
    if not isinstance(value, kind):
        raise CodecError(f"{path}: holds a {type(value).__name__}, not a {kind.__name__}")
    return value


def check_folder(path: str | os.PathLike[str] | None, option: str) -> None:
    """Refuse, before any work, a file whose folder is not there: a slip of the pen must not make folders."""
    if path is not None and not Path(path).resolve().parent.is_dir():
        raise ConfigError(f"{option} {str(path)!r}: there is no folder {Path(path).resolve().parent}; make it first")


def write_atomic(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write a file whole or not at all."""
    target = Path(path)
    if target.is_dir():  # renaming onto it would fail too, but name the temporary file
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = tempfile.mkstemp(dir=target.parent, prefix=target.name, suffix=".tmp")
    try:
        with os.fdopen(fd, "wb") as f:
            f.write(data.encode() if isinstance(data, str) else data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
