"""The NetX file of a network, written by this package: the one adapter that reaches into the room `exchange`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..activation import Cuba
from ..content import Array
from ..errors import Unsupported
from ..network import Integer, Layer, Network


def file_of(network: Network) -> Array:
    """Content of the file, as bytes in a uint8 array; `Unsupported` for what netx cannot load or does not obey.

    What is an option of a run, and the delay of an input layer, are left out: netx is told, and driven, accordingly.
    """
    from ..exchange.netx_write import netx_bytes, netx_ignores

    network = replace(network, layers=tuple(_writable(layer) for layer in network.layers))
    for ignored in netx_ignores(network):
        raise Unsupported(ignored, "netx leaves it out or cannot load it")
    return np.frombuffer(netx_bytes(network), np.uint8)


def _writable(layer: Layer) -> Layer:
    from ..exchange.netx_format import encodes

    act = layer.act
    if isinstance(act, Cuba):
        act = replace(act, overflow="refuse", reset_interval=None, reset_offset=0)
    if isinstance(act, Integer) and encodes(layer):
        act = replace(act, delay=0)
    return replace(layer, act=act)
