"""Fingerprints: which value each semantic axis of a black box has, from its spikes alone."""

from .axes import AXES, MOOT, UNDECIDED, Decided, Fingerprint
from .decide import fingerprint
from .present import evidence, score_table, table, text
from .probes import Box, from_operator

__all__ = [
    "AXES", "MOOT", "UNDECIDED", "Box", "Decided", "Fingerprint", "evidence", "fingerprint", "from_operator",
    "score_table", "table", "text",
]  # fmt: skip
