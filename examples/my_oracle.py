"""A simulator and a converter of your own as an oracle: the laws that hold for every library are asked of it too.

Check it:  pytest suites/ --oracle examples/my_oracle.py:oracle
Try it:    python examples/my_oracle.py

What your code cannot express it refuses with `Unsupported`, and the checks count it as such. Where it needs packages of
its own, name their interpreter in pyproject.toml, and it runs there in a process of its own, with this same file:

    [tool.snnverify.oracles.mine]
    target = "examples/my_oracle.py:oracle"
    python = "/path/to/its/environment/bin/python"
"""

import numpy as np

from snnverify import Branch, Case, Dense, Layer, Network, Neuron, Relu, Scale, Trace, Unsupported
from snnverify.oracles import ANY, Oracle, family_of
from snnverify.oracles.conversion import Converted

# The neurons that `simulate` has: an axis of Neuron that is not named keeps its default. The checks draw from these only.
FAMILIES = {"my integrate-and-fire": {"theta": ANY, "amplitude": ANY, "v_init": ANY}}


def simulate(case, record="full"):
    """Integrate the input, fire at the threshold, subtract it."""
    if case.encoding == "poisson":
        raise Unsupported("encoding = 'poisson'", "no random numbers here", "give the spikes themselves")
    T, shape = case.steps, case.x.shape[-len(case.network.input_shape) :]
    x = np.broadcast_to(case.x.astype(case.dtype), (T, *case.x.shape[-len(shape) - 1 :]))
    values, spikes, v_peak, v = {"input": x}, {}, {}, {}
    for layer in case.network.layers:
        summed = sum(_apply(branch, values) for branch in layer.branches)
        values[layer.name] = summed
        if layer.act is None:
            continue
        if not isinstance(layer.act, Neuron):
            raise Unsupported(layer.name, f"a {type(layer.act).__name__} is no neuron of mine")
        family_of(layer.act, FAMILIES)  # raises Unsupported, and tells which axis
        theta, amplitude = (np.asarray(a, case.dtype) for a in (layer.act.theta, layer.act.amplitude))
        peaks, fired, after = np.empty_like(summed), np.empty(summed.shape, np.int32), np.empty_like(summed)
        potential = np.zeros_like(summed[0]) + np.asarray(layer.act.v_init, case.dtype)
        for t in range(T):
            peaks[t] = potential + summed[t]
            fired[t] = peaks[t] >= theta
            potential = after[t] = peaks[t] - fired[t] * theta
        values[layer.name] = fired * amplitude
        spikes[layer.name], v_peak[layer.name], v[layer.name] = fired, peaks, after
    counts, v_end = {k: s.sum(0, dtype=np.int64) for k, s in spikes.items()}, {k: a[-1] for k, a in v.items()}
    readout = values[case.network.output.name].sum(0, keepdims=True)
    return Trace(readout, (T,), counts, v_end, spikes=spikes, v=v, v_peak=v_peak)


def convert(network, calibration, *, mode="max", batch_size=None, x=None, steps=0, **options):
    """Threshold balancing: every ReLU becomes a neuron whose threshold is the largest activation."""
    if mode != "max" or options:
        raise Unsupported("mode", f"{mode!r} with {sorted(options)}", "take mode = 'max' and no other option")
    values, layers = {"input": np.asarray(calibration, float)}, []
    for layer in network.layers:
        y = sum(_apply(branch, values) for branch in layer.branches)
        if layer.act not in (None, Relu()):
            raise Unsupported(layer.name, f"a {type(layer.act).__name__} is no ReLU")
        values[layer.name] = y if layer.act is None else np.maximum(y, 0)
        theta = float(values[layer.name].max()) or 1.0
        act = layer.act and Neuron(theta=theta, amplitude=theta, v_init=theta / 2)
        layers.append(Layer(layer.name, layer.branches, act))
    snn = Network(network.input_shape, tuple(layers))
    if not snn.spiking:
        raise Unsupported("network", "it has no ReLU, so nothing would spike")
    units = {
        layer.name: np.array(1.0) for layer in layers
    }  # a spike hands on its threshold: everything is in ANN units
    if x is None:
        return Converted(network, snn, units)
    trace = simulate(Case(snn, x, steps))
    return Converted(network, snn, units, trace, trace.readout / steps)


def _apply(branch, values):
    x, op = values[branch.source], branch.op
    if isinstance(op, Scale) and np.ndim(op.factor) == 0 and op.bias is None:
        return x * x.dtype.type(op.factor)
    if not isinstance(op, Dense):
        raise Unsupported(type(op).__name__, "only dense layers and plain skips here")
    y = x @ op.weight.T.astype(x.dtype)
    return y if op.bias is None else y + op.bias.astype(x.dtype)


def oracle():
    """What `--oracle` and the table name."""
    return Oracle("my-oracle", "1.0", simulator=simulate, converter=convert, families=FAMILIES)


if __name__ == "__main__":
    layers = (Layer("hidden", (Branch(Dense(np.array([[1.0, -0.5], [0.25, 0.75]]))),), Relu()),
              Layer("out", (Branch(Dense(np.array([[1.0, -1.0]])), "hidden"),)))  # fmt: skip
    samples = np.array([[1.0, 0.5], [0.25, 1.0]])
    converted = oracle().convert(Network((2,), layers), samples)
    print("thresholds:", converted.thresholds)
    print("spikes in 8 steps:", converted.simulate(samples, 8).counts["hidden"].tolist())
