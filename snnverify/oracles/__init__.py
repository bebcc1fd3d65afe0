"""Oracles: whatever turns a Case into a Trace, converts a network, or offers an operator of either.

An oracle has up to three kinds of subject: a *simulator* (``run``), a *converter* (``convert``) and *operators* (pure
functions such as ``fold_batchnorm``). A check asks for one kind; an oracle without it is ``unsupported`` there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from ..activation import Act
from ..errors import ConfigError, OracleError, Unsupported
from ..objects import nearest
from ..trace import Case, Record, Trace
from .conversion import Converted, LibraryConversion

ANY = "any"  # in a family: an axis that takes whatever a Neuron takes
ONE = "one"  # likewise, but the same for all channels
# Axis of an activation -> tuple of legal values, ANY or ONE; an axis not named has the default. "type" names the class of
# activation, where it is not Neuron.
Family = Mapping[str, Any]
Families = Mapping[str, Family]


@dataclass(frozen=True)
class Oracle:
    """A subject of checks.

    Parameters
    ----------
    name, version : str
    simulator : callable (Case, Record) -> Trace, optional
        Raises `Unsupported` where it cannot express the case.
    converter : callable (Network, calibration, **options) -> converted network, optional
    operators : mapping of str to callable
    families : mapping of str to mapping
        Neuron classes of the simulator, and the values of each axis that they express; empty for every activation.
    boxes : mapping of str to mapping of str to float
        Raw neurons for fingerprints, by the name that a user would write, with their nominal parameters; operator
        ``box(name, calls, params)`` runs one.
    """

    name: str
    version: str
    simulator: Callable[[Case, Record], Trace] | None = None
    converter: Callable[..., Any] | None = None
    operators: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    families: Families = field(default_factory=dict)
    boxes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def run(self, case: Case, record: Record = "full") -> Trace:
        """Trace of a case."""
        if self.simulator is None:
            raise Unsupported(self.name, "it has no simulator")
        trace = self.simulator(case, record)
        if not isinstance(trace, Trace):
            raise OracleError(f"{self.name}: its simulator returned a {type(trace).__name__}; return a Trace")
        return trace

    def convert(self, network: Any, calibration: Any = None, **options: Any) -> Any:
        """Conversion of an ANN network: a `ConvertedNetwork`, or what has its face."""
        if self.converter is None:
            raise Unsupported(self.name, "it has no converter")
        made = self.converter(network, calibration, **options)
        if not isinstance(made, Converted):
            return made
        again = self.converter
        return LibraryConversion(lambda x, steps: again(network, calibration, x=x, steps=steps, **options), made)

    def operator(self, name: str) -> Callable[..., Any]:
        """One pure function, by the name that the checks know it by."""
        if name not in self.operators:
            raise Unsupported(self.name, f"it has no operator {name!r}")
        return self.operators[name]


def family_of(act: Act, families: Families) -> str:
    """Name of the neuron class that expresses `act`; `Unsupported` with the axis that the nearest class lacks."""
    lacking: dict[str, list[str]] = {}
    for name, family in families.items():
        if family.get("type", "Neuron") != type(act).__name__:
            continue
        lacking[name] = [
            f.name for f in fields(type(act))  # type: ignore[arg-type]
            if (legal := family.get(f.name, (f.default,))) != ANY and not _among(getattr(act, f.name), legal)
        ]  # fmt: skip
        if not lacking[name]:
            return name
    if not lacking:
        raise Unsupported(type(act).__name__, "it is none of the library's neurons")
    nearest = min(lacking, key=lambda name: len(lacking[name]))
    axes = ", ".join(f"{axis} = {getattr(act, axis)!r}" for axis in lacking[nearest])
    raise Unsupported(nearest, f"it cannot express {axes}")


def _among(value: Any, legal: Any) -> bool:
    """Whether a value, or every entry of an array, is one of the legal ones."""
    if legal == ONE:
        return np.ndim(value) == 0
    return all(v in legal for v in np.ravel(value).tolist()) if isinstance(value, np.ndarray) else value in legal


# of this interpreter: name -> module that defines `oracle() -> Oracle`
ADAPTERS = {"snnverify": "own", "reference": "reference"}


def names() -> tuple[str, ...]:
    """Oracles that come with the package: our own, and the libraries of the table of environments."""
    from .environments import table

    return (*ADAPTERS, *table())


@cache
def get(name: str) -> Oracle:
    """Oracle by name (the package's, ``recorded:NAME``, the project's table, an entry point) or by ``path.py:callable``.

    Raises
    ------
    ConfigError
        There is none; names the nearest match.
    Unavailable
        A library that is not installed; names the command that installs it.
    """
    from . import environments, recorded, users

    if name in ADAPTERS:
        oracle: Oracle = import_module(f".{ADAPTERS[name]}", __name__).oracle()
        return oracle
    if name in environments.table():
        return environments.connect(name)
    if name.startswith(recorded.PREFIX):
        return recorded.oracle(name.removeprefix(recorded.PREFIX))
    found = users.declared(name) or users.resolve(name)
    if found is None:
        raise ConfigError(f"oracle = {name!r}: no such oracle{nearest(name, (*names(), *users.known()))}")
    return found
