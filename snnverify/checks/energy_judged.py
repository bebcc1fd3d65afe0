"""The operations of a conversion that a release is judged by."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from hypothesis import strategies as st

from ..activation import Relu
from ..content import Array
from ..convert import convert
from ..findings import Measure
from ..kernels import encode
from ..network import INPUT, Branch, Dense, Flatten, Layer, Network
from ..oracles import Oracle
from ..simulate import simulate
from ..strategies.conversions import Conversion, convnets
from ..strategies.neurons import dyadic
from . import check
from .energy import by_hand


@st.composite
def flattened(draw: st.DrawFn) -> Conversion:
    """Fully connected ANNs on images, which are flattened first; some of their weights are 0."""
    first, second = (Dense(draw(dyadic(shape)), draw(dyadic(shape[:1]))) for shape in ((3, 6), (2, 3)))
    layers = (
        Layer("flat", (Branch(Flatten()),)),
        Layer("hidden", (Branch(first, "flat"),), Relu()),
        Layer("out", (Branch(second, "hidden"),)),
    )
    return Conversion(
        Network((1, 2, 3), layers), draw(dyadic((draw(st.integers(1, 4)), 1, 2, 3), 0, 8)), draw(st.integers(1, 16))
    )


@check("operators", st.one_of(convnets(), flattened()))
def judged(d: Conversion, subject: Oracle) -> Iterator[Measure]:
    """A release's synaptic operations are the non-zero connections that spikes go over, those of an encoded input with them, and its MACs all connections that analog values go over, in every step [definition; loops over connections]."""
    x = d.x / max(1.0, float(d.x.max()))
    snn = convert(d.network, x).snn
    for encoding in ("constant", "poisson"):
        trace = simulate(snn, x, d.steps, encoding=encoding, record="spikes")
        handed: dict[str, Array] = dict(trace.spikes)
        if encoding == "poisson":
            handed[INPUT] = encode.poisson(x, 0, d.steps, 0, 0)
        due = {"synops": 0, "macs": 0}
        for layer in snn.layers:
            first = layer.branches[0]
            if layer.act is None and isinstance(first.op, Flatten):  # it renames spikes, or values
                if first.source in handed:
                    handed[layer.name] = handed[first.source].reshape(d.steps, len(x), -1)
                continue
            for b in layer.branches:
                spikes = b.source in handed
                some = handed.get(b.source, np.zeros((d.steps, len(x), *snn.shapes[b.source])))
                found = by_hand(b.op, some, spikes)
                due["synops"] += found["synops_nonzero"]
                due["macs"] += found["macs_every"]
        told = subject.operator("judged_operations")(d.network, x, d.steps, encoding)
        for kind, number in due.items():
            yield Measure(f"{kind} off", abs(told[kind] - number), where=encoding)
