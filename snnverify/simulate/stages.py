"""A network as the fused engine runs it: which layers are computed, which are views of others, how weights lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..activation import Cuba, Integer, Neuron
from ..bounds import fan_in
from ..errors import Unsupported
from ..kernels.arguments import CubaUnits, Images, Neurons
from ..kernels.fused_neuron import settings
from ..kernels.fused_synapse import BITS, VALUES
from ..network import INPUT, Array, Branch, Conv, Dense, Flatten, Layer, Network, Op, Pool, Scale, gated, output_shape
from .dense import Matrix, images_of, matrix_of
from .kept import PerNetwork
from .layout import Frame, Synapses, as_weights, synapses, windows


@dataclass(frozen=True)
class View:
    """What a layer hands on, in terms of what is stored: numbers of `source`, or its spikes, perhaps summed over windows.

    Parameters
    ----------
    source : str
        A layer that is computed, or the input.
    kind : int
        BITS or VALUES.
    stored, frame : Frame
        Of the source, and of what is handed on, before flattening.
    worth : array [C]
        What a spike, or a value of 1, is worth.
    varies : bool
        Whether it differs from step to step.
    windows : array [P, M] or None
    flat : bool
        Whether all units count as channels.
    """

    source: str
    kind: int
    stored: Frame
    frame: Frame
    worth: Array
    varies: bool = True
    windows: Array | None = None
    flat: bool = False


@dataclass(frozen=True)
class Part:
    """A branch: synapses of a view, or the spikes in its windows times a factor per channel, [C] with padding.

    `single`: all units of the source count as one pixel. `images`: the same synapses for samples of many spikes; `matrix`:
    for numbers that are bytes.
    """

    view: View
    dtype: np.dtype[Any]
    synapses: Synapses | None = None
    factor: Array | None = None
    single: bool = False
    images: Images | None = None
    matrix: Matrix | None = None

    @property
    def channels(self) -> int:
        """Of a pixel of the source."""
        return self.view.stored.units if self.single else self.view.stored.channels


@dataclass(frozen=True)
class Stage:
    """A layer that is computed: its biases as a frame's pattern, its branches, its neurons (None where it is analog).

    Of the branches that vary, the last synapses act in the step in which their neurons do, and one skip does with them; the
    others are added up before.
    """

    name: str
    frame: Frame
    bias: Array
    constant: tuple[Part, ...]
    others: tuple[Part, ...]
    skip: Part | None
    last: Part | None
    neurons: Neurons | None
    worth: Array  # of a spike
    v_init: Array
    currents: int  # synaptic currents that a unit keeps: 2 or none
    cuba: Cuba | None = None
    units: CubaUnits | None = None
    reach: float = 0.0  # of a Cuba: how far the sum of its weights may go


Plan = tuple[Stage, ...]
COUNTED = 255  # pixels of a window at most whose spikes are counted, in bytes


@PerNetwork
def plan_of(network: Network, encoding: str, dtype: str) -> Plan:
    """Plan a network; the last stage is its output.

    Raises
    ------
    Unsupported
        What the kernels do not hold, by layer.
    """
    if any(isinstance(v.act, Integer) for v in network.layers):
        for layer in network.layers if dtype != "float64" else ():
            if isinstance(layer.act, Neuron):  # its current is a float64, its potential is not
                what = f"the fused engine has no neurons of {dtype} beside integer ones"
                raise Unsupported(layer.name, what, "use dtype='float64' or engine='numpy'")
        dtype = "float64"  # of what reads an integer layer
    frame = Frame(network.input_shape)
    spikes, once = encoding == "bits", np.ones(network.input_shape[0])
    views = {INPUT: View(INPUT, BITS if spikes else VALUES, frame, frame, once, encoding != "constant")}
    plan = []
    for layer in network.layers:
        view = None if layer is network.output else _view(layer, views)
        if view is None:
            stage, view = _computed(
                layer, Frame(network.shapes[layer.name]), views, np.dtype(dtype), layer is network.output
            )
            plan.append(stage)
        views[layer.name] = view
    return tuple(plan)


def _view(layer: Layer, views: dict[str, View]) -> View | None:
    """What an analog layer hands on as a view of its source, where it is one."""
    if layer.act is not None or len(layer.branches) > 1:
        return None
    op, of = layer.branches[0].op, views[layer.branches[0].source]
    if isinstance(op, Flatten):
        return _channels(of) if of.frame.pixels == 1 else replace(of, flat=True)
    if isinstance(op, Scale) and op.bias is None and not of.flat:
        return replace(of, worth=of.worth * op.factor)
    if _sums(op) and of.kind == BITS and of.windows is None and not of.flat:
        frame = Frame(output_shape(op, of.frame.shape))
        return replace(of, frame=frame, worth=of.worth * _share(op), windows=windows(op, of.frame))
    return None


def _channels(view: View) -> View:
    """A view of one pixel without its other axes."""
    return replace(view, frame=Frame(view.frame.shape[:1]))


def _sums(op: Op) -> bool:
    """Whether an operation is a pooling whose every output is one factor times a sum."""
    return isinstance(op, Pool) and (
        op.kind == "sum" or (op.kind == "average" and (op.count_include_pad or not any(op.padding)))
    )


def _share(op: Op) -> float:
    return 1.0 / float(np.prod(op.kernel)) if isinstance(op, Pool) and op.kind == "average" else 1.0


def _computed(
    layer: Layer, frame: Frame, views: dict[str, View], dtype: np.dtype[Any], output: bool
) -> tuple[Stage, View]:
    act = layer.act
    if isinstance(act, Cuba):
        return _cuba(layer, act, frame, views, output)
    if act is not None and not isinstance(act, Neuron):
        raise Unsupported(layer.name, f"the fused engine has no {type(act).__name__}", "use engine='numpy'")
    if act is not None and act.max_spikes != 1:
        raise Unsupported(layer.name, f"the fused engine has no max_spikes = {act.max_spikes}", "use engine='numpy'")
    parts = [_part(layer, b, views[b.source], frame, dtype) for b in layer.branches]
    bias = sum((np.asarray(p) for b in layer.branches if (p := getattr(b.op, "bias", None)) is not None), np.zeros(()))
    constant, varying = (tuple(p for p in parts if p.view.varies == varies) for varies in (False, True))
    kind, worth, neurons, v_init, currents = VALUES, np.ones(frame.shape[0]), None, frame.of(0.0, 0.0, dtype), 0
    if act is not None:
        neurons = Neurons(*settings(act, dtype), frame.pattern(act.theta, np.inf, dtype))
        kind, worth = BITS, worth * act.amplitude
        v_init = frame.of(act.v_init, 0.0, dtype)
        currents = 2 if act.syn_decay is not None or act.delay else 0
    bias = frame.pattern(bias, 0.0, dtype)
    others, skip, last = _roles(varying, act is not None)
    stage = Stage(
        name=layer.name, frame=frame, bias=bias, constant=constant, others=others, skip=skip, last=last,
        neurons=neurons, worth=worth, v_init=v_init, currents=currents,
    )  # fmt: skip
    return stage, View(layer.name, kind, frame, frame, worth, act is not None or bool(varying))


def _cuba(layer: Layer, act: Cuba, frame: Frame, views: dict[str, View], output: bool) -> tuple[Stage, View]:
    """A layer of integer neurons behind one branch of spikes; its sums are int32 at most, and exact."""
    branch, view = layer.branches[0], views[layer.branches[0].source]
    held = act.drive == "current" and act.recurrent is None and len(layer.branches) == 1 and view.kind == BITS
    held = held and view.windows is None
    if not held or not isinstance(branch.op, (Conv, Dense)) or not np.all(view.worth == 1):
        raise Unsupported(
            layer.name, "the fused engine has Cuba behind one Dense or Conv of spikes alone", "use engine='numpy'"
        )
    if output and np.any(act.axon_delay):
        raise Unsupported(layer.name, "the fused engine has no axon_delay of the output", "use engine='numpy'")
    reach = fan_in(branch.op)[0]
    if reach >= 2**31:
        raise Unsupported(layer.name, "its sums leave 32 bits", "use engine='numpy'")
    part = _part(layer, branch, view, frame, np.dtype(np.int32))
    never = np.iinfo(np.int64).max
    values = ((4096 - np.asarray(act.current_decay), 0), (4096 - np.asarray(act.voltage_decay), 0),
              (np.asarray(act.bias) << act.bias_exponent, 0), (64 * np.asarray(act.threshold), never))  # fmt: skip
    u_left, v_left, bias, theta = (frame.pattern(value, rest, np.int64) for value, rest in values)
    zeros, worth = frame.of(0, 0, np.int64), np.ones(frame.shape[0])
    stage = Stage(
        name=layer.name, frame=frame, bias=zeros, constant=(), others=(), skip=None, last=part,
        neurons=Neurons(zeros, zeros, zeros), worth=worth, v_init=zeros, currents=0,
        cuba=act, units=CubaUnits(u_left, v_left, bias, theta), reach=reach,
    )  # fmt: skip
    return stage, View(layer.name, BITS, frame, frame, worth)


def _roles(varying: tuple[Part, ...], spiking: bool) -> tuple[tuple[Part, ...], Part | None, Part | None]:
    """The branches that are added up before, the skip, and the last synapses."""
    last = next((p for p in reversed(varying) if spiking and p.synapses is not None), None)
    skip = next((p for p in varying if last is not None and p.synapses is None), None)
    return tuple(p for p in varying if p is not last and p is not skip), skip, last


def _part(layer: Layer, branch: Branch, view: View, frame: Frame, dtype: np.dtype[Any]) -> Part:
    op = branch.op
    if isinstance(op, Flatten) and view.frame.pixels == 1:
        op, view = Scale(), _channels(view)
    if (
        gated(branch)
        or isinstance(op, Flatten)
        or (isinstance(op, Pool) and not _sums(op))
        or (view.flat and not isinstance(op, Dense))
    ):
        what = f"a {op.kind} Pool" if isinstance(op, Pool) else f"a {type(op).__name__}"
        raise Unsupported(layer.name, f"the fused engine has no {what} here", "use engine='numpy'")
    if isinstance(op, (Pool, Scale)):
        if view.kind == BITS and (view.windows is None or isinstance(op, Scale)):
            seen = windows(op, view.frame) if view.windows is None else view.windows
            if seen.shape[1] > COUNTED:
                raise Unsupported(
                    layer.name, f"the fused engine has no windows of {seen.shape[1]} spikes here", "use engine='numpy'"
                )
            factor = np.zeros(frame.channels, dtype)
            factor[: frame.shape[0]] = view.worth * getattr(op, "factor", 1.0) * _share(op)
            return Part(replace(view, windows=seen), dtype, None, factor)
        op = as_weights(op, view.frame)
    most = None if view.kind == VALUES else 1 if view.windows is None else view.windows.shape[1]
    single = isinstance(op, Dense) and view.windows is None
    laid = synapses(op, view.frame, frame, view.worth, single, most, dtype)
    images, matrix = None, None
    if isinstance(op, Conv):
        images = images_of(op, view.frame, frame, view.worth, most, laid) if most else None
    elif not (most or view.varies or np.any(view.worth != 1)):
        matrix = matrix_of(op, view.frame, frame)
    return Part(view, dtype, laid, single=single, images=images, matrix=matrix)
