"""Our own simulator, converter and operators, as one subject among others."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import Oracle


def oracle() -> Oracle:
    """Everything that the package offers, under test."""
    from .. import __version__, reference, stats
    from ..convert import convert, from_torch
    from ..convert.fold import fold, fold_batchnorm
    from ..convert.lif import rate
    from ..detector import written
    from ..detector.draw import VIEWS, describe
    from ..exchange import from_nir, netx_bytes, netx_ignores, read_netx, to_nir
    from ..exchange.nir_table import nir_export, nir_run
    from ..gate import judge
    from ..hardware import mesh
    from ..hardware.audit import audit
    from ..hardware.claims import parse_claims
    from ..hardware.dead import remove_dead
    from ..hardware.mapping import place
    from ..kernels import encode
    from ..simulate import forward, run
    from ..trace import compare
    from .own_detector import operators as detector
    from .own_energy import operators as energy
    from .own_gate import operators as gate
    from .own_loihi import operators as loihi
    from .own_quantise import operators as quantisation
    from .own_waterfall import operators as waterfall

    own: dict[str, Any] = {
        "fold_batchnorm": fold_batchnorm,
        "fold": fold,
        "fi_rate": rate,
        "leak_costs": _leak_costs,
        "unlike": _unlike,
        "from_torch": from_torch,
        "forward": forward,
        "from_nir": from_nir,
        "to_nir": to_nir,
        "nir_run": nir_run,
        "nir_export": nir_export,
        "netx_bytes": lambda network: np.frombuffer(netx_bytes(network), np.uint8),
        "netx_ignores": netx_ignores,
        "read_netx": read_netx,
        "poisson": encode.poisson,
        "encode_poisson": lambda x, steps, seed: encode.poisson(x, 0, steps, seed, 0),
        "qcfs": _qcfs,
        "replaced_relus": _replaced_relus,
        "simulate": run,
        "compare": compare,
        "unit": reference.unit,
        "exact_upper": stats.exact_upper,
        "verdict": stats.verdict,
        "gate": judge,
        "audit": lambda table: audit(parse_claims(table, "drawn")),
        "place": place,
        "mesh_routes": lambda network, target, bits: mesh.routes(network, place(network, target, bits), target),
        "remove_dead": remove_dead,
        "read_tensors": written.by_reader,
        "open_checkpoint": written.opened,
        "diagram": describe,
        # a PNG is painted of the SVG's marks, and takes ten times as long
        "diagram_views": lambda d: {form: draw(d) for form, draw in VIEWS.items() if form != ".png"},
    }
    # as keywords, of which none may come twice: a room that took another's name would be judged in its place
    operators = dict(**own, **loihi(), **quantisation(), **energy(), **gate(), **detector(), **waterfall())
    return Oracle("snnverify", __version__, simulator=run, converter=convert, operators=operators)


def _qcfs(x: Any, levels: int, theta: float) -> Any:
    """Apply the trainable activation, in float64."""
    import torch

    from ..convert.qcfs import QCFS

    with torch.no_grad():
        return QCFS(levels, theta).double()(torch.tensor(x)).numpy()


def _replaced_relus(weights: tuple[Any, ...], x: Any, levels: int, thetas: tuple[float, ...]) -> Any:
    """Output, in float64, of a chain of linear maps [out, in] and ReLUs that are QCFS now, with thresholds learned."""
    import torch

    from ..convert.qcfs import QCFS, replace_relu

    relu, chain = torch.nn.ReLU(), torch.nn.Sequential()  # one module in many places, as models often have it
    for w in weights:
        linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
        linear.weight = torch.nn.Parameter(torch.tensor(w))
        chain.extend([linear, relu])
    model = replace_relu(chain, levels).double()
    with torch.no_grad():
        for k, theta in enumerate(thetas):
            act = model.get_submodule(str(2 * k + 1))
            assert isinstance(act, QCFS)
            act.theta.fill_(theta)
        return np.asarray(model(torch.tensor(x)))


def _leak_costs(network: Any, x: Any, leak: float) -> tuple[Any, Any]:
    """Costs of every layer of a conversion at the maximum, and its thresholds."""
    from ..convert import convert
    from ..convert.rates import Setting
    from ..convert.remedies import leak_costs

    converted = convert(network, x, mode="max", leak=leak)
    return leak_costs(converted, x, Setting(4)), converted.scales


def _unlike(known: Any, elsewhere: Any, low: float, high: float) -> str:
    """What is said of a layer by average, its standard error and number of samples, on the calibration set and on others."""
    from ..convert.rates import LayerRates, Target, unlike

    one, two = ((LayerRates("layer", False, 1.0, average, 0.0, 0.0, 0.0, 0, 1, error, samples),)
                for average, error, samples in (known, elsewhere))  # fmt: skip
    (row,) = unlike(one, two, Target(low, high))
    return "too few" if row.undecided else "unlike" if row.causes else "edge" if row.note else "inside"
