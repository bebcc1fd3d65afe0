"""sc-neurocore's operators: QCFS, quantisers, encoders, surrogate gradients, NIR. Portable types in and out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ..activation import Neuron
from ..content import Array
from ..errors import Unsupported
from ..network import Dense, Flatten, Network
from .sinabs_modules import is_chain

Node = Any
Module = Any


def qcfs(x: Array, levels: int, theta: float = 1.0) -> Array:
    """``QCFSActivation``, documented as ``clip(floor(x T / theta + 1/2), 0, T) theta / T``."""
    return _forward(_qcfs(levels, theta), x)


def derivative_qcfs(x: Array, levels: int, theta: float = 1.0) -> Array:
    """Derivative of ``QCFSActivation``; documented as straight through, 1 inside the clip and 0 outside."""
    return _backward(_qcfs(levels, theta), x)


def quantize_pact(x: Array, bits: int = 4, alpha: float = 1.0) -> Array:
    """``PACTActivation``: ``clip(x, 0, alpha)`` on ``2^bits - 1`` steps."""
    return _forward(_pact(bits, alpha), x)


def derivative_pact(x: Array, bits: int, alpha: float) -> Array:
    """Derivative of ``PACTActivation`` with respect to its input."""
    return _backward(_pact(bits, alpha), x)


def derivative_pact_alpha(x: Array, bits: int, alpha: float) -> float:
    """Derivative of the sum with respect to ``alpha``; documented as the number of inputs above it."""
    module = _pact(bits, alpha)
    _backward(module, x)
    return float(module.alpha.grad)


def quantize_lsq(x: Array, bits: int = 4, step: float = 0.125) -> Array:
    """``LSQQuantizer`` with its step set: ``round(clip(x / s, qmin, qmax)) s``."""
    return _forward(_lsq(bits, step), x)


def derivative_lsq_step(x: Array, bits: int, step: float) -> float:
    """Derivative of the sum with respect to the step (Esser et al., ICLR 2020), times ``1 / sqrt(qmax n)``."""
    module = _lsq(bits, step)
    _backward(module, x)
    return float(module.step.grad)


def quantize_ste(x: Array, bits: int = 4, symmetric: bool = True) -> Array:
    """``qat.ste_quantize``: a uniform grid over the range of x."""
    from sc_neurocore.qat import ste_quantize

    return _forward(lambda t: ste_quantize(t, bits, symmetric), x)


def quantize_weights(x: Array, bits: int = 4, symmetric: bool = True) -> Array:
    """``compression.quantize_weights`` of one matrix."""
    from sc_neurocore.compression import quantize_weights as library

    return np.asarray(library([np.asarray(x, float)], bits, symmetric)[0])


def quantize_exported(x: Array, bits: int = 4) -> Array:
    """Weights as ``QuantizedLinear.export_quantized`` stores them: integer codes times their scale."""
    import torch
    from sc_neurocore.qat import QuantizedLinear

    weight = torch.tensor(np.atleast_2d(np.asarray(x, np.float32)))
    layer = QuantizedLinear(weight.shape[1], weight.shape[0], n_bits=bits)
    with torch.no_grad():
        layer.linear.weight.copy_(weight)
    told = layer.export_quantized()
    codes = told["weight_int"].numpy().reshape(np.shape(x))
    return np.asarray(codes * float(told["scale"]))


def quantize_ternary(x: Array, levels: int = 3) -> Array:
    """``qat.TernaryWeights``: -1, 0, 1 by a threshold; it has no levels to choose."""
    from sc_neurocore.qat import TernaryWeights

    return np.asarray(TernaryWeights().quantize(np.asarray(x, float)))


def prune_stochastic(x: Array, length: int = 256) -> Array:
    """``compression.prune_stochastic`` of one matrix of weights in [0, 1]."""
    from sc_neurocore.compression import prune_stochastic as library

    return np.asarray(library([np.asarray(x, float)], length)[0][0])


def encode(name: str, x: Array, steps: int, seed: int = 42) -> Array:
    """Spikes [T, *shape] of values [*shape] in [0, 1] by ``encoding.encoders.<name>_encode``, which takes a vector."""
    from sc_neurocore.encoding import encoders

    given = {"seed": seed} if name == "rate" else {}
    x = np.asarray(x, float)
    spikes = getattr(encoders, f"{name}_encode")(x.ravel(), steps, **given)
    return np.asarray(spikes).reshape(steps, *x.shape)


def change(name: str, x: Array, threshold: float = 0.1) -> Array:
    """Spikes [T, n] of a signal [T, n] by ``encoding.encoders.<name>_encode`` (delta, sigma_delta)."""
    from sc_neurocore.encoding import encoders

    return np.asarray(getattr(encoders, f"{name}_encode")(np.asarray(x, float), threshold))


def encode_training(name: str, x: Array, steps: int, seed: int = 0) -> Array:
    """Spikes [T, *shape] of values in [0, 1] by ``training.<name>_encode`` (rate, latency)."""
    import torch
    from sc_neurocore import training

    torch.manual_seed(seed)
    return _forward(lambda t: getattr(training, f"{name}_encode")(t, steps), x)


def bitstream(value: int, steps: int, width: int = 16, seed: int = 0xACE1) -> Array:
    """Bits [T] of ``FixedPointBitstreamEncoder``; documented as ``P(1) ~ value / (2^width - 1)``."""
    from sc_neurocore.neurons import FixedPointBitstreamEncoder

    encoder = FixedPointBitstreamEncoder(data_width=width, seed_init=seed)
    return np.array([encoder.step(value) for _ in range(steps)], np.uint8)


def gradient(name: str, x: Array, path: str = "custom_op", **given: float) -> Array:
    """Derivative of ``training.<name>`` at ``x = v - theta``, with its own defaults.

    Parameters
    ----------
    path : {"custom_op", "legacy_autograd"}
        The library's two implementations.
    """
    from sc_neurocore import training

    return _backward(lambda t: getattr(training, name)(t, path=path, **given), x)


def nir_run(graph: Array, x: Array, reset_mode: str = "reset") -> dict[str, Array]:
    """Run a NIR graph by the library's importer and simulator, sample by sample.

    Parameters
    ----------
    graph : uint8 array
        Bytes of a ``.nir`` file.
    x : array [T, N, *shape]
    reset_mode : {"reset", "subtract"}
        The importer's option.

    Returns
    -------
    mapping of node to array [T, N, *shape]
        What the spiking nodes emit, and the outputs.
    """
    import nir
    from sc_neurocore.nir_bridge import from_nir

    with TemporaryDirectory() as folder:
        path = Path(folder, "graph.nir")
        path.write_bytes(np.asarray(graph, np.uint8).tobytes())
        network, read = from_nir(path, reset_mode=reset_mode), nir.read(str(path))
    told: dict[str, list[Array]] = {}

    def watched(name: str, forward: Callable[[Array], Array]) -> Callable[[Array], Array]:
        def run(value: Array) -> Array:
            y = forward(value)
            told.setdefault(name, []).append(np.array(y))
            return y

        return run

    for name, node in network.nodes.items():
        if hasattr(node, "v_threshold") or name in network.output_nodes:
            node.forward = watched(name, node.forward)
    T, N = x.shape[:2]
    for n in range(N):
        network.reset()
        for t in range(T):
            network.step({network.input_nodes[0]: np.asarray(x[t, n], float)})
    # a spiking node hands on a vector; its parameters have the shape of a sample, or none where all units share them
    shapes = {name: np.shape(getattr(read.nodes[name], "v_threshold", 0.0)) or v[0].shape for name, v in told.items()}
    return {name: np.stack(v).reshape(N, T, *shapes[name]).swapaxes(0, 1) for name, v in told.items()}


def nir_export(network: Network) -> Array:
    """Bytes of the ``.nir`` file that the library makes of a chain of its nodes.

    Parameters
    ----------
    network : Network
        A chain of dense layers and flattenings with neurons that its NIR nodes express.
    """
    import nir
    from sc_neurocore.nir_bridge import SCNetwork, node_map, to_nir

    from .sc_neurocore import node_of

    if not is_chain(network):
        raise Unsupported("to_nir", "only chains are built here", "use a chain")
    nodes: dict[str, Node] = {"input": node_map.SCInputNode("input", network.input_shape)}
    for layer in network.layers:
        op = layer.branches[0].op
        if isinstance(op, Flatten):
            nodes[layer.name] = node_map.SCFlattenNode(layer.name, 0, -1)
        elif isinstance(op, Dense):
            weight = np.asarray(op.weight, float)
            nodes[layer.name] = (
                node_map.SCLinearNode(layer.name, weight)
                if op.bias is None
                else node_map.SCAffineNode(layer.name, weight, np.asarray(op.bias, float))
            )
        else:
            raise Unsupported(layer.name, f"{type(op).__name__} is not exported here", "use dense layers")
        if isinstance(layer.act, Neuron):
            nodes[f"{layer.name}_act"] = node_of(layer.act, network.shapes[layer.name])
    nodes["output"] = node_map.SCOutputNode("output", network.shapes[network.output.name])
    names = list(nodes)
    made = SCNetwork(nodes, list(pairwise(names)), ["input"], ["output"])
    with TemporaryDirectory() as folder:
        path = Path(folder, "graph.nir")
        nir.write(str(path), to_nir(made))
        return np.frombuffer(path.read_bytes(), np.uint8)


def _qcfs(levels: int, theta: float) -> Module:
    from sc_neurocore.conversion import QCFSActivation

    return QCFSActivation(T=levels, theta=theta)


def _pact(bits: int, alpha: float) -> Module:
    from sc_neurocore.qat import PACTActivation

    return PACTActivation(n_bits=bits, alpha_init=alpha)


def _lsq(bits: int, step: float) -> Module:
    import torch
    from sc_neurocore.qat import LSQQuantizer

    module = LSQQuantizer(bits)
    with torch.no_grad():
        module.step.fill_(step)
        module._initialized.fill_(True)  # else the first input would set the step
    return module


def _forward(f: Callable[..., Any], x: Array) -> Array:
    import torch

    with torch.no_grad():
        y: Array = f(torch.tensor(np.asarray(x, np.float32))).numpy()
    return y


def _backward(f: Callable[..., Any], x: Array) -> Array:
    import torch

    v = torch.tensor(np.asarray(x, np.float32), requires_grad=True)
    f(v).sum().backward()
    assert v.grad is not None
    back: Array = v.grad.numpy()
    return back


SURROGATES = ("fast_sigmoid", "superspike", "atan_surrogate", "sigmoid_surrogate", "straight_through", "triangular")
OPERATORS: Mapping[str, Callable[..., Any]] = {
    "qcfs": qcfs,
    "derivative_qcfs": derivative_qcfs,
    "quantize_pact": quantize_pact,
    "derivative_pact": derivative_pact,
    "derivative_pact_alpha": derivative_pact_alpha,
    "quantize_lsq": quantize_lsq,
    "derivative_lsq_step": derivative_lsq_step,
    "quantize_ste": quantize_ste,
    "quantize_weights": quantize_weights,
    "quantize_exported": quantize_exported,
    "quantize_ternary": quantize_ternary,
    "prune_stochastic": prune_stochastic,
    **{f"encode_{name}": partial(encode, name) for name in ("rate", "latency", "phase", "burst", "rank_order")},
    **{f"encode_training_{name}": partial(encode_training, name) for name in ("rate", "latency")},
    **{f"change_{name}": partial(change, name) for name in ("delta", "sigma_delta")},
    "bitstream": bitstream,
    **{f"gradient_{name}": partial(gradient, name) for name in SURROGATES},
    "nir_run": nir_run,
    "nir_export": nir_export,
}
