"""Exchange formats: what each direction needs to be told, and what it loses."""

from .nir import from_nir
from .nir_export import to_nir
from .nir_read import read_nir, to_bytes, write_nir
from .nir_semantics import PRESETS, SOURCES, Semantics, semantics_of
from .nir_table import importer_table, nir_export, nir_run

__all__ = [
    "PRESETS", "SOURCES", "Semantics", "from_nir", "importer_table", "nir_export", "nir_run", "read_nir", "semantics_of",
    "to_bytes", "to_nir", "write_nir",
]  # fmt: skip
