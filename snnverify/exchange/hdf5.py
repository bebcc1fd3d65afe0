"""HDF5 files of other people: opened in memory, and refused where they reach out, turn in a circle or unpack to too much."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..content import Array
from ..errors import CodecError, ConfigError, SnnverifyError, Unsupported

if TYPE_CHECKING:
    import h5py

BUDGET = 2**32  # bytes that a file may unpack to: a few kilobytes of HDF5 can declare terabytes of zeros
DEPTH = 64  # groups within groups
ITEMS = 2**16  # groups and arrays in all: the largest networks hold some thousands

Source = str | os.PathLike[str] | bytes | Array


def named(source: Source, kind: str) -> tuple[str, bytes]:
    """Return what to call a source in messages, and its bytes; `CodecError` for a file that is not there."""
    if isinstance(source, (bytes, np.ndarray)):
        return f"{kind} data", bytes(source)
    try:
        return os.fspath(source), Path(source).read_bytes()
    except FileNotFoundError:
        raise CodecError(f"{source}: no such file") from None
    except OSError as e:
        raise CodecError(f"{source}: it cannot be read ({e.strerror})") from None


@contextmanager
def opened(source: Source, kind: str, budget: int = BUDGET) -> Iterator[h5py.File]:
    """Open a file, or its bytes, for reading, once it is known to be inert.

    Parameters
    ----------
    source : path, bytes, or array of uint8
    kind : str
        The format, for messages.
    budget : int
        Bytes that it may unpack to.

    Raises
    ------
    CodecError
        Missing, truncated, no HDF5, links out of the file or in a circle, more than `ITEMS` items or `budget` bytes, data
        that cannot be read. Errors of ours from the caller's reading get the file's name; but `ConfigError`, and whatever
        is no error of ours, pass as they are.
    """
    name, data = named(source, kind)
    if not isinstance(source, (bytes, np.ndarray)) and not _survived(data, kind, budget):
        raise CodecError(f"{name}: the HDF5 library crashes on it; the file is damaged")
    try:
        with _opened(data, kind, budget) as file:
            yield file
    except ConfigError:  # an option of the caller's, not the file
        raise
    except (CodecError, Unsupported) as e:
        raise type(e)(*_under(name, e)) from None
    except SnnverifyError as e:
        raise CodecError(f"{name}: {e}") from None
    except OSError as e:  # a dataset that is damaged
        raise CodecError(f"{name}: {_damaged(kind, e)}") from None


def _opened(data: bytes, kind: str, budget: int) -> h5py.File:
    """Open the bytes of a file and walk all of it, so that damage shows here and not in what is made of the data."""
    import h5py

    with ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(io.BytesIO(data), "r"))
            inert(file, kind, budget)
        except SnnverifyError:
            raise
        except Exception as e:  # it shows in many ways: OSError, KeyError, RuntimeError, TypeError, UnicodeDecodeError
            raise CodecError(_damaged(kind, e)) from None
        stack.pop_all()
    return file


def _survived(data: bytes, kind: str, budget: int) -> bool:
    """Whether a process of its own lives through reading what HDF5 follows pointers for: its C code trusts a damaged heap.

    True where processes cannot be forked.
    """
    if not hasattr(os, "fork"):
        return True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads: the child calls HDF5 alone
        child = os.fork()
    if child == 0:
        try:
            with _opened(data, kind, budget) as file:
                found: list[Any] = []
                file.visititems(lambda path, item: found.append(item))
                _ = [d[()] for d in found if getattr(d, "dtype", None) is not None and d.dtype.hasobject]
        finally:
            os._exit(0)  # an exception is told by the reading that follows
    return os.WIFEXITED(os.waitpid(child, 0)[1])


def _damaged(kind: str, e: Exception) -> str:
    return f"no {kind} file in HDF5 ({type(e).__name__}: {' '.join(str(e).split())[:200]})"


def written(values: Mapping[str, Any]) -> bytes:
    """Return the content of a file with these datasets, by path."""
    import h5py

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for path, value in values.items():
            file.create_dataset(path, data=value)
    return buffer.getvalue()


def datasets(source: Source, kind: str) -> dict[str, Array]:
    """Return all datasets of an inert file, by path."""
    import h5py

    found: dict[str, Array] = {}
    with opened(source, kind) as file:
        file.visititems(
            lambda path, d: found.update({path: np.asarray(d[()])}) if isinstance(d, h5py.Dataset) else None
        )
    return found


def _under(name: str, e: SnnverifyError) -> tuple[str, ...]:
    """Arguments of the same error, with the file before its place."""
    return (f"{name}: {e.where}", e.what, e.remedy) if isinstance(e, Unsupported) else (f"{name}: {e}",)


def inert(file: Any, kind: str, budget: int = BUDGET) -> None:
    """Refuse what reaches out of the file, turns in a circle, or unpacks to more than the budget."""
    import h5py

    total, seen, groups = 0, set[int](), [("", file, 0)]
    while groups:
        path, group, depth = groups.pop()
        if depth > DEPTH:
            raise CodecError(f"{path}: groups nest deeper than {DEPTH}")
        if len(group) + len(seen) > ITEMS:
            raise CodecError(f"{path or '/'}: it holds {len(group)} items; a {kind} file has at most {ITEMS} in all")
        for key in group:
            here, link = f"{path}/{key}", group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise CodecError(f"{here}: a {type(link).__name__}; a {kind} file holds its data itself")
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise CodecError(f"{here}: linked twice; a {kind} file is a tree")
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append((here, item, depth + 1))
                continue
            if not isinstance(item, h5py.Dataset):
                raise CodecError(f"{here}: a {type(item).__name__}, not an array")
            if item.external or item.is_virtual:
                raise CodecError(f"{here}: its data lie in another file")
            total += item.nbytes if item.shape is not None else 0
            if total > budget:
                raise CodecError(f"{here}: the file unpacks to more than {budget} bytes")
