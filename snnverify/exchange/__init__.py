"""Exchange formats: what each direction needs to be told, and what it loses.

Names resolve at first use (PEP 562): the writer of NetX files also runs inside Lava's interpreter, which has no nir.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .netx_read import read_netx as read_netx
    from .netx_write import netx_bytes as netx_bytes
    from .netx_write import netx_ignores as netx_ignores
    from .netx_write import write_netx as write_netx
    from .nir import from_nir as from_nir
    from .nir_export import to_nir as to_nir
    from .nir_read import read_nir as read_nir
    from .nir_read import to_bytes as to_bytes
    from .nir_read import write_nir as write_nir
    from .nir_semantics import PRESETS as PRESETS
    from .nir_semantics import SOURCES as SOURCES
    from .nir_semantics import Semantics as Semantics
    from .nir_semantics import semantics_of as semantics_of
    from .nir_table import importer_table as importer_table
    from .nir_table import nir_run as nir_run

_HOMES = {
    "netx_read": ("read_netx",),
    "netx_write": ("netx_bytes", "netx_ignores", "write_netx"),
    "nir": ("from_nir",),
    "nir_export": ("to_nir",),
    "nir_read": ("read_nir", "to_bytes", "write_nir"),
    "nir_semantics": ("PRESETS", "SOURCES", "Semantics", "semantics_of"),
    "nir_table": ("importer_table", "nir_run"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
