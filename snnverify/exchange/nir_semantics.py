"""What NIR leaves open, as one object that an importer must be given; and how continuous dynamics become a step.

NIR's nodes are differential equations with a jump (https://neuroir.org/docs; Pedersen et al., Nature Communications 15,
8122, 2024): ``tau dv/dt = (v_leak - v) + R I``, a spike where ``v > v_threshold``, then ``v = v_reset``. A simulator adds
a time step, a comparison, a reset, a start and a reading of what a spike is; two that differ in these spike differently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array, Content
from ..errors import ConfigError, Unsupported
from ..network import Network

# What each field may be; a tuple is checked by membership, a text is what the error says.
LEGAL: Mapping[str, tuple[Any, ...] | str] = {
    "dt": "a number > 0, in the unit of the graph's time constants",
    "method": ("euler", "exponential"),
    "drive": ("held", "unit"),
    "fires": (">=", ">"),
    "reset": ("subtract", "value", "none"),
    "reset_delay": (0, 1),
    "v_init": "a number, an array (C,), 'v_leak' or 'v_reset'",
    "max_spikes": "a whole number >= 1, or None for no limit",
    "v_floor": "a number, None for no floor, or '-v_threshold'",
    "order": ("leak-integrate", "integrate-leak"),
    "syn_order": ("decay-add", "add-decay"),
    "delay": (0, 1),
    "count_include_pad": (True, False),
}


@dataclass(frozen=True, eq=False)
class Semantics(Content):
    """What NIR leaves open. Every field is required: there is no neutral choice.

    Parameters
    ----------
    dt : float
        Time step, in the unit of the graph's time constants.
    method : {"euler", "exponential"}
        ``leak = 1 - dt / tau`` (forward Euler) or ``exp(-dt / tau)`` (exact for an input that is constant in the step).
    drive : {"held", "unit"}
        ``held``: the input is a current that lasts for the step, so it raises v by ``R I (1 - leak)`` (IF: ``R I dt``).
        ``unit``: the input raises v by ``R I`` at once, whatever the step.
    fires : {">=", ">"}
    reset : {"subtract", "value", "none"}
        ``value``: to the node's v_reset.
    reset_delay : {0, 1}
    v_init : float, array or str
        A potential, or the node's v_leak or v_reset (0 where the node has none).
    max_spikes : int or None
    v_floor : float, None or "-v_threshold"
    order : {"leak-integrate", "integrate-leak"}
    syn_order : {"decay-add", "add-decay"}
    delay : {0, 1}
        Steps between a spike and its effect on the next neuron's potential.
    count_include_pad : bool
        Whether a padded average divides by the whole kernel.

    Raises
    ------
    ConfigError
        A field that is missing or out of range; names its legal values.
    """

    dt: float = ...  # type: ignore[assignment]  # `...` is "not given", so that the error can say what is legal
    method: str = ...  # type: ignore[assignment]
    drive: str = ...  # type: ignore[assignment]
    fires: str = ...  # type: ignore[assignment]
    reset: str = ...  # type: ignore[assignment]
    reset_delay: int = ...  # type: ignore[assignment]
    v_init: Array | float | str = ...  # type: ignore[assignment]
    max_spikes: int | None = ...  # type: ignore[assignment]
    v_floor: float | str | None = ...  # type: ignore[assignment]
    order: str = ...  # type: ignore[assignment]
    syn_order: str = ...  # type: ignore[assignment]
    delay: int = ...  # type: ignore[assignment]
    count_include_pad: bool = ...  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        for f in fields(self):
            value, legal = getattr(self, f.name), LEGAL[f.name]
            said = legal if isinstance(legal, str) else "one of " + ", ".join(map(repr, legal))
            if value is ...:
                raise ConfigError(f"semantics: {f.name} is missing, and NIR leaves it open; give {said}")
            if not (_fits(f.name, value) if isinstance(legal, str) else value in legal):
                raise ConfigError(f"semantics: {f.name} = {value!r}; {said}")

    def decay(self, where: str, name: str, tau: float) -> float:
        """Return the factor per step of a time constant; `Unsupported` where forward Euler overshoots."""
        if not tau > 0 or not math.isfinite(tau):
            raise Unsupported(where, f"{name} = {tau:g} is no time constant", "give a finite one > 0")
        if self.method == "exponential":
            return math.exp(-self.dt / tau)
        if self.dt > tau:
            raise Unsupported(where, f"{name} = {tau:g} is shorter than dt = {self.dt:g}, which forward Euler cannot follow",
                              "choose a smaller dt, or method='exponential'")  # fmt: skip
        return 1 - self.dt / tau


def _fits(name: str, value: Any) -> bool:
    words = {"v_init": ("v_leak", "v_reset"), "v_floor": ("-v_threshold",)}.get(name, ())
    if isinstance(value, str) or value is None:
        return value in words or (value is None and name in ("max_spikes", "v_floor"))
    if isinstance(value, np.ndarray):
        return name == "v_init" and value.ndim <= 1 and bool(np.all(np.isfinite(value)))
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    return value >= 1 and isinstance(value, int) if name == "max_spikes" else name != "dt" or value > 0


def semantics_of(
    network: Network, *, dt: float, method: str = "euler", drive: str = "held", count_include_pad: bool = True
) -> dict[str, Semantics]:
    """Semantics of every spiking layer by its name: what brings ``to_nir(network)`` back as it was."""
    found = {}
    for layer in network.spiking:
        act = layer.act
        if isinstance(act, Neuron):
            kept = {k: getattr(act, k) for k in
                    ("fires", "reset", "reset_delay", "v_init", "max_spikes", "v_floor", "order", "syn_order")}  # fmt: skip
            found[layer.name] = Semantics(dt=dt, method=method, drive=drive, delay=0,  # `to_nir` writes a Delay node
                                          count_include_pad=count_include_pad, **kept)  # fmt: skip
    return found


def inverse(f: Callable[[float], float], guess: float, target: float) -> float:
    """Return the float nearest to `guess` whose image is exactly `target`; `guess` itself where no neighbour's is."""
    low = high = guess
    for _ in range(32):
        for candidate in (low, high):
            if f(candidate) == target:
                return candidate
        low, high = math.nextafter(low, 0.0), math.nextafter(high, math.inf)
    return guess


_TORCH = {"reset_delay": 0, "max_spikes": 1, "v_floor": None, "order": "leak-integrate", "syn_order": "decay-add",
          "delay": 0, "count_include_pad": True}  # fmt: skip
_SNNTORCH = Semantics(dt=1e-4, method="euler", drive="held", fires=">", reset="value", v_init=0.0, **_TORCH)  # type: ignore[arg-type]
_NORSE = Semantics(dt=1e-3, method="euler", drive="held", fires=">", reset="value", v_init="v_leak", **_TORCH)  # type: ignore[arg-type]
_JELLY = Semantics(dt=1e-4, method="euler", drive="held", fires=">=", reset="value", v_init="v_reset", **_TORCH)  # type: ignore[arg-type]
_NEUROCORE = Semantics(dt=1.0, method="euler", drive="held", fires=">", reset="value", v_init="v_leak", **_TORCH)  # type: ignore[arg-type]
_SINABS = {"method": "exponential", "drive": "unit", "fires": ">=", "reset": "subtract", "v_init": 0.0}
_NIR = Semantics(dt=1e-4, method="euler", drive="held", fires=">", reset="value", v_init="v_reset", **_TORCH)  # type: ignore[arg-type]


def _with(base: Semantics, **changes: Any) -> Semantics:
    return Semantics(**({f.name: getattr(base, f.name) for f in fields(base)} | changes))


# What each library's own importer makes of a spiking node, read from its source (below), not from its behaviour. The kind
# that comes first is the one that the structure of graphs is judged with.
PRESETS: Mapping[str, Mapping[str, Semantics]] = {
    # NIR's own equations, as they stand, by forward Euler
    "snnverify": dict.fromkeys(("IF", "LIF", "CubaLIF", "Threshold"), _NIR),
    # IF: a Leaky with the default reset, by subtraction, and r = 1 asked for.
    "snntorch": {"LIF": _SNNTORCH, "IF": _with(_SNNTORCH, drive="unit", reset="subtract"), "CubaLIF": _SNNTORCH},
    # IAFCell adds its input as it is and starts at v_reset.
    "norse": {"IF": _with(_NORSE, drive="unit", v_init="v_reset"), "LIF": _NORSE, "CubaLIF": _NORSE},
    # Time constants are taken in steps; spikes of a step are not limited.
    "sinabs": {
        "IF": Semantics(dt=1.0, **_SINABS, **(_TORCH | {"max_spikes": None, "v_floor": "-v_threshold"})),  # type: ignore[arg-type]
        "LIF": Semantics(dt=1.0, **_SINABS, **(_TORCH | {"max_spikes": None})),  # type: ignore[arg-type]
    },
    "spikingjelly": {"IF": _JELLY, "LIF": _JELLY, "CubaLIF": _with(_JELLY, v_init=0.0)},
    # The defaults dt = 1 and reset_mode = "reset".
    "sc-neurocore": {"IF": _with(_NEUROCORE, v_init=0.0), "LIF": _NEUROCORE, "CubaLIF": _NEUROCORE},
}
SOURCES: Mapping[str, str] = {
    "snnverify": "nir 1.0.8, ir/neuron.py: the equations of the nodes, by forward Euler",
    "snntorch": "snntorch 1.0.0, import_nir.py, _nir_to_snntorch_module",
    "norse": "norse 1.1.0, torch/utils/import_nir.py, _import_norse_module",
    "sinabs": "sinabs 3.1.3, nir.py, _import_sinabs_module",
    "spikingjelly": "spikingjelly 2.0.0, activation_based/nir_exchange/from_nir.py, _NodeMapper",
    "sc-neurocore": "sc-neurocore 3.16.0, nir_bridge/node_map.py, SCIFNode, SCLIFNode, SCCubaLIFNode; parser.py, from_nir",
}
