"""The drop in accuracy split over its causes, one change at a time; and where one sample's ANN and SNN part."""

from .diagnose import Cause, causes
from .measure import Split, Waterfall, measure, split, waterfall
from .remedies import Remedy, tried
from .stations import Chain, Deployment, Station, chain

__all__ = [
    "Cause", "Chain", "Deployment", "Remedy", "Split", "Station", "Waterfall", "causes", "chain", "measure", "split",
    "tried", "waterfall",
]  # fmt: skip
