"""A file of weights as inert values: the zip of ``torch.save``, read without torch's unpickler and without running code."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from . import pickled
from .pickled import Call, Storage

_DTYPES = {
    "torch.FloatStorage": torch.float32, "torch.HalfStorage": torch.float16, "torch.BFloat16Storage": torch.bfloat16,
    "torch.DoubleStorage": torch.float64, "torch.LongStorage": torch.int64, "torch.IntStorage": torch.int32,
    "torch.ShortStorage": torch.int16, "torch.CharStorage": torch.int8, "torch.ByteStorage": torch.uint8,
    "torch.BoolStorage": torch.bool,
}  # fmt: skip
_AGAIN = "load it where it was made, with torch 1.6 or later, and torch.save it again"


@dataclass(eq=False)
class Archive:
    """A checkpoint file, read once.

    Parameters
    ----------
    path : str
        For messages.
    sha256 : str
        Of the file (hex).
    value : object
        What its pickle holds, in the inert forms of `pickled`.
    records : mapping of str to zipfile entry
        Storages by their names in the pickle.
    """

    path: str
    sha256: str
    value: Any
    file: zipfile.ZipFile
    records: dict[str, zipfile.ZipInfo]
    _tensors: dict[int, torch.Tensor] = field(default_factory=dict)
    _storages: dict[str, torch.Tensor] = field(default_factory=dict)

    def tensor(self, value: Any) -> torch.Tensor:
        """Return the tensor that an inert call describes, in its own dtype; one and the same for one and the same call.

        Raises
        ------
        DataError
            It is no plain tensor, or reaches outside its storage.
        """
        if isinstance(value, torch.Tensor):
            return value
        if id(value) not in self._tensors:
            self._tensors[id(value)] = self._tensor(value)
        return self._tensors[id(value)]

    def _tensor(self, value: Any) -> torch.Tensor:
        if isinstance(value, Call) and value.function == "torch._utils._rebuild_parameter" and value.arguments:
            return self.tensor(value.arguments[0])
        if not isinstance(value, Call) or value.function != "torch._utils._rebuild_tensor_v2":
            what = value.function if isinstance(value, Call) else type(value).__name__
            raise DataError(f"{self.path}: {what} stands where a tensor belongs")
        match value.arguments:
            case (Storage() as storage, int(offset), tuple(size), tuple(stride), *_):
                pass
            case _:
                raise DataError(f"{self.path}: a tensor without storage, offset, size and stride")
        numbers = [offset, *size, *stride]
        if len(size) != len(stride) or any(type(n) is not int or not 0 <= n < 2**48 for n in numbers):
            raise DataError(f"{self.path}: a tensor of size {list(size)[:8]} and stride {list(stride)[:8]}")
        elements = math.prod(size)
        if not elements:
            return torch.empty(size, dtype=self._storage(storage).dtype)
        last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) + 1
        # a stride of 0 repeats values without end; no parameter is stored so
        if last > storage.elements or elements > storage.elements:
            raise DataError(
                f"{self.path}: a tensor of size {list(size)[:8]} reaches outside its {storage.elements} stored values"
            )
        # a view: many tensors of one storage take no memory, and what was tied stays tied
        return self._storage(storage).as_strided(size, stride, offset)

    def _storage(self, storage: Storage) -> torch.Tensor:
        dtype, entry = _DTYPES.get(storage.kind), self.records.get(storage.record)
        if dtype is None:
            raise DataError(f"{self.path}: storage {storage.record} is of {storage.kind}, which is not read")
        if entry is None or entry.file_size != storage.elements * dtype.itemsize:
            held = "is missing" if entry is None else f"has {entry.file_size} bytes"
            raise DataError(
                f"{self.path}: storage {storage.record[:40]} {held}, its tensors need {storage.elements * dtype.itemsize}"
            )
        key = f"{storage.kind} {storage.record}"
        if key not in self._storages:
            content = bytearray(_entry(self.path, self.file, entry))
            if dtype is torch.bool and any(b > 1 for b in content):
                raise DataError(f"{self.path}: storage {storage.record} of bool holds bytes above 1")
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
        return self._storages[key]


def read_archive(path: str | os.PathLike[str], content: bytes | None = None) -> Archive:
    """Read a file that ``torch.save`` wrote, as inert values; `content` is what it holds, where that was read already.

    Raises
    ------
    DataError
        No such file; not such a zip, a damaged one, one that unpacks to more than it is, or with paths in it; a pickle
        that names or calls what no checkpoint needs.
    """
    name = os.fspath(path)
    content = read_bytes(path) if content is None else content
    if not content.startswith(b"PK"):
        old = content.startswith((b"\x80\x02\x8a\x0a", b"\x80"))
        what = "a pickle of torch before 1.6, or another one" if old else "no file of torch.save"
        raise DataError(f"{name}: {what}; {_AGAIN}")
    try:
        file = zipfile.ZipFile(io.BytesIO(content))
        entries = _entries(name, file, len(content))
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, UnicodeDecodeError) as e:
        raise DataError(f"{name}: the zip is damaged ({e}); copy or download the file again") from e
    try:
        value = pickled.read(_entry(name, file, entries["data.pkl"]))
    except DataError as e:
        raise DataError(str(e) if str(e).startswith(name) else f"{name}: {e}") from e
    if "byteorder" in entries and _entry(name, file, entries["byteorder"]) != b"little":
        raise DataError(f"{name}: written on a big-endian machine; {_AGAIN} on a little-endian one")
    records = {k.removeprefix("data/"): v for k, v in entries.items() if re.fullmatch(r"data/\d+", k)}
    return Archive(name, hashlib.sha256(content).hexdigest(), value, file, records)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file of weights, read once: what is hashed is what is read.

    Raises
    ------
    DataError
        It cannot be read, or is empty.
    """
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as e:
        reason = getattr(e, "strerror", None) or e
        raise DataError(f"{os.fspath(path)!r}: cannot be read ({reason}); give a file of torch.save") from e
    if not content:
        raise DataError(f"{os.fspath(path)}: the file is empty; copy or download it again")
    return content


def _entries(path: str, file: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Entries by their names below the archive's one folder."""
    infos = file.infolist()
    names = [i.filename for i in infos]
    if len(set(names)) != len(names):
        raise DataError(f"{path}: the zip holds two entries of one name")
    for i in infos:
        if i.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", i.filename) or ":" in i.filename:
            raise DataError(f"{path}: the zip holds the path {i.filename[:80]!r}")
        # torch.save stores and does not compress, so that entries that unpack to more than the file are none of its
        if i.compress_type != zipfile.ZIP_STORED or i.flag_bits & 1:
            raise DataError(
                f"{path}: {i.filename[:80]!r} in the zip is compressed or encrypted, as torch.save writes none"
            )
    if sum(i.file_size for i in infos) > size:
        raise DataError(f"{path}: the zip says that it holds {sum(i.file_size for i in infos)} bytes, and has {size}")
    root = names[0].partition("/")[0] if names else ""
    entries = {n.removeprefix(f"{root}/"): i for n, i in zip(names, infos, strict=True) if n.startswith(f"{root}/")}
    if "constants.pkl" in entries or any(n.startswith("code/") for n in entries):
        raise DataError(
            f"{path}: a TorchScript archive, which holds code; torch.save the module itself, or its state_dict"
        )
    if "data.pkl" not in entries:
        raise DataError(f"{path}: a zip without data.pkl, so not of torch.save; {_AGAIN}")
    return entries


def _entry(path: str, file: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    try:
        return file.read(entry)
    except Exception as e:  # zipfile, struct and zlib each have their own
        raise DataError(f"{path}: {entry.filename[:80]!r} in the zip is damaged ({e})") from e
