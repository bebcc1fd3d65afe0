"""The obvious simulation: one step after the other, one layer after the other, float64 or int64, nothing clever.

Written apart from `snnverify.kernels`; `judge` holds it to the exact reference in sampled units.
"""

from __future__ import annotations

import numpy as np

from snnverify.content import Array
from snnverify.errors import Unsupported
from snnverify.network import INPUT, Conv, Cuba, Dense, Flatten, Layer, Neuron, Op, Pool, Scale
from snnverify.trace import Case, Trace

State = dict[str, Array]


def run(case: Case) -> Trace:
    """Spikes and potentials before the reset of every layer.

    Parameters
    ----------
    case : Case
        Constant input or given spikes. Neurons are `Neuron` without leak, synaptic filter or delays and with soft reset,
        or `Cuba` without resets, recurrence and axonal delays.

    Returns
    -------
    Trace
        Spikes uint8 [T, N, *shape]; potentials before the reset, float64, of rough cases alone.

    Raises
    ------
    Unsupported
        Other neurons or operations.
    """
    network, whole = case.network, case.kind == "integer"
    for layer in network.spiking:
        known(layer)
    x = case.x.astype(np.int64 if whole else np.float64)
    states: dict[str, State] = {v.name: {} for v in network.spiking}
    spikes: dict[str, list[Array]] = {v.name: [] for v in network.spiking}
    peaks: dict[str, list[Array]] = {name: [] for name in spikes}
    handed: list[dict[str, Array]] = []  # what every layer handed on, step by step
    readout: Array | float = 0.0
    for t in range(case.steps):
        values = {INPUT: x[t] if case.encoding == "spikes" else x}
        handed.append(values)
        for layer in network.layers:
            late = t - layer.act.delay if isinstance(layer.act, Cuba) else t
            shape = (len(values[INPUT]), *network.shapes[layer.name])
            total = np.zeros(shape, x.dtype)
            for b in layer.branches if late >= 0 else ():
                total = total + operation(b.op, handed[late][b.source])
            if layer.act is None:
                values[layer.name] = total
                continue
            s, peak = step(layer, total, states[layer.name])
            spikes[layer.name].append(s.astype(np.uint8))
            if case.kind == "rough":
                peaks[layer.name].append(peak)
            values[layer.name] = s * along(getattr(layer.act, "amplitude", 1), s)
        readout = readout + values[network.output.name].astype(float)
        if not whole:  # only the delays of integer neurons look back
            handed[t] = {}
    trains = {k: np.stack(a) for k, a in spikes.items()}
    return Trace(
        np.asarray(readout)[None], (case.steps,), counts={k: a.sum(0, dtype=np.int64) for k, a in trains.items()},
        v_end={}, spikes=trains, v_peak={k: np.stack(a) for k, a in peaks.items() if a},
    )  # fmt: skip


def known(layer: Layer) -> None:
    """Refuse neurons that the loop does not have."""
    act = layer.act
    plain = isinstance(act, Neuron) and act == Neuron(act.theta, act.amplitude, act.v_init)
    integer = isinstance(act, Cuba) and act.reset_interval is None and act.recurrent is None and act.drive == "current"
    if not (plain or (integer and not np.any(act.axon_delay) and act.refractory == 1)):  # type: ignore[union-attr]
        raise Unsupported(layer.name, f"{type(act).__name__} with settings that the obvious loop does not have",
                          "take IF with soft reset, or Cuba with its defaults")  # fmt: skip


def step(layer: Layer, x: Array, state: State) -> tuple[Array, Array]:
    """One step of a layer's neurons on their summed input [N, *shape]: spikes, and potentials before the reset."""
    act = layer.act
    if isinstance(act, Neuron):
        v = state.get("v", along(act.v_init, x)) + x
        s = v >= along(act.theta, v)
        state["v"] = v - s * along(act.theta, v)
        return s, v
    assert isinstance(act, Cuba)
    u, v = state.get("u", np.zeros_like(x)), state.get("v", np.zeros_like(x))
    arriving = x << act.weight_exponent if act.weight_exponent >= 0 else x >> -act.weight_exponent
    state["u"] = u = towards_zero(u * (4096 - along(act.current_decay, x))) + 64 * arriving
    v = towards_zero(v * (4096 - along(act.voltage_decay, x))) + u + (along(act.bias, x) << act.bias_exponent)
    s = v > 64 * along(act.threshold, x)
    state["v"] = np.where(s, 0, v)
    return s, v


def towards_zero(a: Array) -> Array:
    """``a / 4096``, rounded toward zero."""
    return np.asarray(np.sign(a) * (np.abs(a) // 4096))


def operation(op: Op, x: Array) -> Array:
    """One operation on x [N, *shape]."""
    if isinstance(op, Flatten):
        return x.reshape(len(x), -1)
    if isinstance(op, Scale):
        y: Array = x * along(op.factor, x).astype(x.dtype)
        return y if op.bias is None else y + along(op.bias, x)
    if isinstance(op, Pool):
        return pooled(op, x)
    weight = op.weight.astype(x.dtype)
    y = x @ weight.T if isinstance(op, Dense) else convolved(op, weight, x)
    return y if op.bias is None else y + along(op.bias, y).astype(x.dtype)


def pooled(op: Pool, x: Array) -> Array:
    """Means of windows that lie side by side."""
    (a, b), (H, W) = op.kernel, x.shape[2:]
    if op.kind != "average" or op.stride != op.kernel or any(op.padding):
        raise Unsupported("Pool", f"{op} is none of the obvious loop's", "average pooling, stride = kernel, no padding")
    cut = x[:, :, : H // a * a, : W // b * b]
    return np.asarray(cut.reshape(*x.shape[:2], H // a, a, W // b, b).mean((3, 5)))


def convolved(op: Conv, weight: Array, x: Array) -> Array:
    """``y[n, o, i, j] = sum w[o, c, k, l] x[n, c, i s + k, j s + l]``, place by place in the kernel."""
    if op.transposed or op.groups > 1 or set(op.dilation) != {1} or weight.ndim != 4:
        raise Unsupported("Conv", "the obvious loop convolves over two axes, without groups, dilation or transposition")
    x = np.pad(x, ((0, 0), (0, 0), *op.padding))
    (a, b), (r, s) = weight.shape[2:], op.stride
    H, W = (x.shape[2] - a) // r + 1, (x.shape[3] - b) // s + 1
    y = np.zeros((len(x), len(weight), H, W), x.dtype)
    for k in range(a):
        for j in range(b):
            part = x[:, :, k : k + r * H - r + 1 : r, j : j + s * W - s + 1 : s]
            y += np.moveaxis(np.tensordot(weight[:, :, k, j], part, (1, 1)), 0, 1)
    return y


def along(value: Array | float, x: Array) -> Array:
    """Parameter of shape () or (C,) along the channel axis of x [N, C, ...]."""
    a = np.asarray(value)
    return a.reshape(a.shape + (1,) * (x.ndim - 2)) if a.ndim else a
