"""Did the ANN-to-SNN conversion keep what the trained network knew, and if not, where and why was it lost?"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "activation": ("Clip", "ClipFloor", "Cuba", "Neuron", "Relu", "SigmaDelta"),
    "content": ("load", "save"),
    "convert": ("ConvertedNetwork", "QCFS", "analyze", "convert", "from_torch"),
    "errors": (
        "CodecError", "ConfigError", "DataError", "EvidenceError", "NetworkError", "SnnverifyError", "Unsupported",
    ),
    "network": ("Branch", "Conv", "Dense", "Flatten", "Layer", "Network", "Pool", "Scale"),
    "simulate": ("forward", "simulate"),
    "trace": ("Case", "Divergence", "Trace", "compare"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    """Resolve public names at first use (PEP 562): importing the package stays cheap and needs numpy alone."""
    if name not in _HOME_OF:
        raise AttributeError(f"module 'snnverify' has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


class _Package(ModuleType):
    """Keeps `snnverify.convert` the function: importing a submodule would put the module of that name in its place."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _HOME_OF):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
