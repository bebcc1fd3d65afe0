"""What the checks on NetX files draw, and one file written by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ..activation import Cuba, SigmaDelta
from ..content import Array
from ..network import INPUT, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, Shape, output_shape
from ..strategies import integer_acts


@st.composite
def integers(draw: st.DrawFn, /, shape: Shape, low: int, high: int, even: bool = False) -> Array:
    """Integers of one of the types that files hold."""
    step = 2 if even else 1
    dtype = draw(st.sampled_from(["<f4", "<f8", "<i2", "<i8"]))
    a = draw(hnp.arrays(np.int16, shape, elements=st.integers(low // step, high // step), fill=st.nothing()))
    return (a * step).astype(dtype)


HELD = {"delay": 1, "bias_exponent": 6, "reset_interval": None, "reset_offset": 0, "overflow": "refuse"}
PLAIN = {"axon_delay": 0, "weight_exponent": 0, "refractory": 1}
HELD_SDNN = {"delay": 1, "cum_error": False, "spike_exponent": 6, "state_exponent": 6}


def acts(kind: str, shape: Shape, plain: bool, flat: bool = False) -> st.SearchStrategy[Cuba | SigmaDelta]:
    """Neurons of a hidden layer; plain ones are obeyed by lava's reader in every parameter."""
    bias = st.just(0) | integers(shape[:1], -64, 64)
    if kind == "SDNN":
        plainly = {"axon_delay": 0, "activation": "relu"} if plain else {}
        return integer_acts(SigmaDelta, shape, bias=bias, **HELD_SDNN, **plainly)
    recurrent = st.none() | integers(shape * 2, -128, 127, even=True) if flat else st.none()
    return integer_acts(Cuba, shape, **{"bias": bias, "recurrent": recurrent, **HELD, **(PLAIN if plain else {})})


@st.composite
def windows(draw: st.DrawFn, /, shape: Shape, plain: bool) -> Op:
    """A convolution, or where not plain a transposed one, not the same along y and x."""
    groups = draw(st.sampled_from([g for g in (1, 2) if shape[0] % g == 0]))
    out, turned = groups * draw(st.integers(1, 2)), not plain and draw(st.booleans())
    kernel, stride, dilation, pad = (
        [draw(st.sampled_from(k)) for _ in range(2)] for k in ((2, 1, 3), (1, 2), (1, 2), (0, 1))
    )
    weight = (shape[0], out // groups) if turned else (out, shape[0] // groups)
    after = [(n - 1) * s + d * (k - 1) + 1 - 2 * p if turned else n + 2 * p - d * (k - 1)
             for n, k, s, d, p in zip(shape[1:], kernel, stride, dilation, pad, strict=True)]  # fmt: skip
    assume(min(after) >= 1 and max(after) <= 12)
    return Conv(draw(integers((*weight, *kernel), -256, 254, even=True)), None, tuple(stride),
                tuple((p, p) for p in pad), tuple(dilation), groups, turned)  # fmt: skip


@st.composite
def netx_networks(draw: st.DrawFn, /, plain: bool = False, kind: str = "", first: bool | None = None) -> Network:
    """Chains that a NetX file holds; plain ones are obeyed by lava's reader in every parameter.

    Parameters
    ----------
    plain : bool
    kind : {"", "CUBA", "SDNN"}
        Neurons; drawn where not given.
    first : bool, optional
        Whether the first layer is an input layer with neurons; drawn where not given.
    """
    shape = stated = draw(st.sampled_from([(2, 4, 3), (1, 3, 5), (3,), (1,)]))
    layers: list[Layer] = []
    kind = kind or draw(st.sampled_from(["CUBA", "SDNN"]))

    def add(op: Op, act: Any = None, name: str = "") -> Shape:
        source = layers[-1].name if layers else INPUT
        layers.append(Layer(name or f"layer{len(layers)}", (Branch(op, source),), act))
        return output_shape(op, shape)

    if draw(st.booleans()) if first is None else first:
        scale = Scale(draw(st.integers(-256, 254)), draw(st.none() | st.integers(-64, 64)))
        encoder = draw(acts(kind, shape, True))
        role: Any = {"drive": "bias"} if kind == "CUBA" else {"role": "delta"}
        shape = add(scale, replace(encoder, bias=0, delay=0, **role))
    for _ in range(draw(st.integers(1, 2)) if len(shape) == 3 else 0):
        if not plain and min(shape[1:]) >= 2 and draw(st.booleans()):
            stride, pad = (tuple(draw(st.sampled_from(k)) for _ in range(2)) for k in ((1, 2), (0, 1)))
            shape = add(Pool("sum", (2, 2), stride, pad))
            shape = add(Scale(draw(st.integers(-128, 127)) * 2), draw(acts(kind, shape, plain)))
        else:
            op = draw(windows(shape, plain))
            shape = add(op, draw(acts(kind, output_shape(op, shape), plain)))
    if len(shape) == 3 and (draw(st.booleans()) or not layers):
        shape = add(Flatten())
    for _ in range(draw(st.integers(1, 2)) if len(shape) == 1 else 0):
        out = draw(st.integers(1, 4))
        weight = draw(integers((out, shape[0]), -256, 254, even=True))
        shape = add(Dense(weight), draw(acts(kind, (out,), plain, flat=True)))
    if len(shape) == 1 and not plain and draw(st.booleans()):
        average = np.kron(np.eye(shape[0] // 2), np.full((1, 2), 0.5)) if shape[0] % 2 == 0 else None
        weight = draw(integers((2, shape[0]), -256, 254, even=True))
        _ = add(Dense(weight if average is None or draw(st.booleans()) else average))
    return Network(stated, tuple(layers))


def handmade(
    texts: str = "S10",
    one: Shape = (),
    trailing: bool = False,
    dtype: str = "<f4",
    weighted: bool = True,
    flat: bool = False,
) -> dict[str, Any]:
    """Datasets of a file as slayer writes it, by path; no two numbers that could be taken for each other are equal.

    Parameters
    ----------
    texts : {"S10", "O"}
        Fixed or variable length.
    one : {(), (1,)}
        Shape of a single number.
    trailing : bool
        Whether kernels have an axis of time, of length 1.
    dtype : str
        Of weights.
    weighted : bool
        Whether the input layer states its weight and bias; 64 and none where it does not.
    flat : bool
        Whether weights of dense layers have one axis, row after row.
    """

    def word(text: str) -> Any:
        return np.array([text.encode()], "S10") if texts == "S10" else text

    def number(value: Any) -> Array:
        return np.full(one, value)

    def neuron(i: int, decay: int, **more: Any) -> dict[str, Any]:
        cuba = {"type": word("CUBA"), "iDecay": number(decay), "vDecay": number(decay + 1), "vThMant": number(decay + 2),
                "refDelay": number(1), "gradedSpike": np.array(False), **more}  # fmt: skip
        return {f"layer/{i}/neuron/{key}": value for key, value in cuba.items()}

    def layer(i: int, kind: str, shape: Shape, **more: Any) -> dict[str, Any]:
        return {
            f"layer/{i}/{key}": value for key, value in {"type": word(kind), "shape": np.array(shape), **more}.items()
        }

    def kernel(key: str) -> Array:
        return KERNELS[key].astype(dtype)[(..., None) if trailing else ...]

    def matrix(key: str) -> Array:
        return KERNELS[key].astype(dtype).reshape(-1 if flat else KERNELS[key].shape)

    transform = {"weight": number(36.0), "bias": number(34.0)} if weighted else {}
    two = {key: np.array(value) for key, value in (("stride", (2, 1)), ("padding", (1, 0)), ("dilation", (1, 2)))}
    plain = {key: np.array(value) for key, value in (("padding", (0, 0)), ("dilation", (1, 1)))}
    return {
        **layer(0, "input", (2, 4, 6), **transform), **neuron(0, 100),
        **layer(1, "conv", (2, 3, 2), inChannels=2, outChannels=2, groups=2, kernelSize=np.array((2, 3)),
                weight=kernel("conv"), bias=np.array([5.0, -7.0]), delay=np.array([3.0, 62.0]), **two),
        **neuron(1, 200, iDecay=np.array([4096, 17]), refDelay=number(3), wgtExp=number(2)),
        **layer(2, "convT", (3, 4, 3), inChannels=2, outChannels=3, groups=1, kernelSize=np.array((2, 2)),
                stride=np.array((1, 1)), weight=kernel("convT"), **plain),
        **neuron(2, 300, theta=number(302 * 64), scaleRho=number(1.0), tauRho=number(0.5)),
        **layer(3, "pool", (3, 2, 2), kernelSize=np.array((2, 1)), stride=np.array((2, 2)), weight=kernel("pool"), **plain),
        **neuron(3, 400),
        **layer(4, "unpool", (3, 4, 2), kernelSize=np.array((2, 1)), stride=np.array((2, 1)), weight=kernel("unpool"), **plain),
        **neuron(4, 500),
        **layer(5, "flatten", (24, 1, 1)),
        **layer(6, "dense_rec", (4,), inFeatures=24, outFeatures=4, weight=matrix("dense_rec"),
                weight_rec=matrix("weight_rec")), **neuron(6, 600),
        **layer(7, "average", (2, 1, 1)),
    }  # fmt: skip


KERNELS = {
    "conv": 2 * np.arange(-6, 6).reshape(2, 1, 2, 3), "convT": 2 * np.arange(-12, 12).reshape(2, 3, 2, 2),
    "pool": np.full((1, 1, 2, 1), 28), "unpool": np.full((1, 1, 2, 1), -54), "dense_rec": 2 * np.arange(-48, 48).reshape(4, 24),
    "weight_rec": 2 * np.arange(16).reshape(4, 4),
}  # fmt: skip


def by_hand(dtype: str = "<f4", weighted: bool = True) -> Network:
    """Network that the file of `handmade` means."""
    kernel = {key: value.astype(dtype) for key, value in KERNELS.items()}
    unpool = np.repeat(kernel["unpool"], 3, 0)

    def neuron(decay: int, **more: Any) -> Cuba:
        return Cuba(**{"current_decay": decay, "voltage_decay": decay + 1, "threshold": decay + 2, **more})

    bent = {"current_decay": np.array([4096, 17]), "refractory": 3, "weight_exponent": 2}
    average = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]])
    ops: list[tuple[str, Op, Cuba | None]] = [
        ("0", Scale(36, 34) if weighted else Scale(64), neuron(100, drive="bias", delay=0)),
        ("1", Conv(kernel["conv"], None, (2, 1), ((1, 1), (0, 0)), (1, 2), 2),
         neuron(200, bias=np.array([5.0, -7.0]), axon_delay=np.array([3.0, 62.0]), **bent)),
        ("2", Conv(kernel["convT"], transposed=True), neuron(300)),
        ("3.sum", Pool("sum", (2, 1), (2, 2)), None), ("3", Scale(28), neuron(400)),
        ("4", Conv(unpool, None, (2, 1), groups=3, transposed=True), neuron(500)), ("5", Flatten(), None),
        ("6", Dense(kernel["dense_rec"]), neuron(600, recurrent=kernel["weight_rec"])), ("7", Dense(average), None),
    ]  # fmt: skip
    sources = [INPUT, *(name for name, _, _ in ops)]
    layers = [Layer(name, (Branch(op, source),), act) for (name, op, act), source in zip(ops, sources, strict=False)]
    return Network((2, 4, 6), tuple(layers))


# forms in which a file may store the switch `sigma_output`; None where it has none
SIGMA = (None, True, False, np.array([True]), np.array([False]), 1, 0)


def sigma(stored: Any) -> tuple[dict[str, Any], Network]:
    """Datasets of a sigma-delta network with such a switch on its second layer, and the network that they mean."""
    weight = 2 * np.arange(6).reshape(2, 3)
    file = {
        "layer/0/type": "input", "layer/0/shape": np.array([3]), "layer/0/weight": 12,
        "layer/0/neuron/type": "SDNN", "layer/0/neuron/vThMant": 5,
        "layer/1/type": "dense", "layer/1/shape": np.array([2]), "layer/1/weight": weight,
        "layer/1/neuron/type": "SDNN", "layer/1/neuron/vThMant": 7,
    }  # fmt: skip
    switch = {} if stored is None else {"layer/1/neuron/sigma_output": stored}
    on = stored is not None and bool(np.all(stored))
    layers = (
        Layer("0", (Branch(Scale(12)),), SigmaDelta(5, role="delta", delay=0)),
        Layer("1", (Branch(Dense(weight), "0"),), SigmaDelta(7, role="sigma" if on else "sigma-delta")),
    )
    return {**file, **switch}, Network((3,), layers)


def chain(*ops: tuple[Op, Any]) -> Network:
    """Layers `layer0`, `layer1`, ... of an operation and a neuron each, on two inputs."""
    sources = [INPUT, *(f"layer{i}" for i in range(len(ops)))]
    return Network((2,), tuple(Layer(f"layer{i}", (Branch(op, sources[i]),), act) for i, (op, act) in enumerate(ops)))
