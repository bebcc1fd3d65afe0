"""Datasets of a NetX file, read and checked one by one; what they mean together is `netx_read`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..content import Array
from ..errors import CodecError, Unsupported
from .netx_format import LAYERS, NEURONS, TEXTS, whole, wrong_weights

LONGEST_TEXT = 64


@dataclass(frozen=True)
class Fields:
    """Datasets of one layer, by name; whatever is wrong with one is said with its place."""

    where: str
    values: Mapping[str, Any]

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def at(self, key: str) -> str:
        """Where a dataset lies in the file."""
        return f"{self.where}/{key}"

    def text(self, key: str) -> str:
        """Return a text."""
        return str(self._get(key))

    def whole(self, key: str, default: Any = None) -> Array:
        """Return integers, whatever their dtype."""
        value = np.asarray(self._get(key, default))
        if not whole(value):
            raise CodecError(f"{self.at(key)}: it must hold integers; quantise what was exported")
        return value

    def number(self, key: str, default: Any = None) -> Any:
        """Return one integer, in an array of any shape and dtype."""
        value = self.whole(key, default)
        if value.size != 1:
            raise CodecError(f"{self.at(key)}: shape {value.shape}; one number for the layer")
        return int(value.item())

    def per_channel(self, key: str, channels: int, default: Any = None) -> Any:
        """Return one integer, or one for each channel."""
        value = self.whole(key, default)
        if value.ndim and value.shape == (channels,):
            return value
        if value.size == 1:
            return int(value.item())
        raise CodecError(f"{self.at(key)}: shape {value.shape}; one number, or one for each of {channels} channels")

    def pair(self, key: str) -> tuple[int, int]:
        """Return two integers (y, x); one stands for both."""
        value = self.whole(key).reshape(-1)
        if value.size not in (1, 2):
            raise CodecError(f"{self.at(key)}: {value.size} numbers; one for each of the axes y and x")
        return int(value[0]), int(value[-1])

    def flag(self, key: str) -> bool:
        """Whether a switch is there and set."""
        return key in self and bool(np.any(self.values[key]))

    def weight(self, key: str, axes: int) -> Array:
        """Return integer weights that netx takes as they are, without axes of length 1 beyond `axes`."""
        value = np.asarray(self._get(key))
        if wrong := wrong_weights(value):
            raise Unsupported(self.at(key), wrong)
        while value.ndim > axes and value.shape[-1] == 1:
            value = value[..., 0]
        return value

    def agrees(self, key: str, found: Sequence[int]) -> None:
        """Refuse a dataset that says something else than the rest of the layer."""
        if key in self and self.whole(key).reshape(-1).tolist() != list(found):
            said = self.whole(key).reshape(-1).tolist()
            raise CodecError(f"{self.at(key)}: {said}, but weights and layers before make it {list(found)}")

    def _get(self, key: str, default: Any = None) -> Any:
        value = self.values.get(key, default)
        if value is None:
            raise CodecError(f"{self.at(key)}: missing; every {self.values.get('type', 'layer')} layer has it")
        return value


def layers_of(file: Any, count: int | None) -> list[Fields]:
    """Read all datasets of the first `count` layers."""
    import h5py

    group = file.get("layer")
    if not isinstance(group, h5py.Group) or not len(group):
        raise CodecError("layer: there is no such group, or nothing in it; a NetX file has layer/0, layer/1, ...")
    names = [str(i) for i in range(len(group))]
    if odd := sorted(set(group) - set(names)):
        raise CodecError(f"layer/{odd[0]}: the {len(names)} layers must be numbered 0 ... {len(names) - 1}")
    return [_fields(f"layer/{name}", group[name]) for name in names[:count]]


def _fields(where: str, group: Any) -> Fields:
    import h5py

    if not isinstance(group, h5py.Group):
        raise CodecError(f"{where}: an array, not a group")
    found: dict[str, Any] = {}
    group.visititems(lambda key, item: found.update({key: item}) if isinstance(item, h5py.Dataset) else None)
    fields = Fields(where, {key: _value(f"{where}/{key}", key, data) for key, data in found.items()})
    _known(fields)
    return fields


def _value(where: str, key: str, data: Any) -> Any:
    """Return the content of one dataset: a text, or finite numbers."""
    import h5py

    if data.shape is None or data.size == 0:
        raise CodecError(f"{where}: it is empty")
    if key in TEXTS:
        if h5py.check_string_dtype(data.dtype) is None or data.size != 1:
            raise CodecError(f"{where}: {data.dtype} of shape {data.shape}, not a text")
        text: bytes = np.asarray(data[()], object).reshape(-1)[0]
        if len(text) > LONGEST_TEXT or not text.isascii():
            raise CodecError(f"{where}: {len(text)} bytes; a type is a word in ASCII")
        return text.decode("ascii")
    if data.dtype.kind not in "iufb":
        raise CodecError(f"{where}: dtype {data.dtype}; it must hold numbers")
    value = np.asarray(data[()])
    if not np.all(np.isfinite(value)):
        raise CodecError(f"{where}: it holds NaN or infinity; mend what was exported")
    return value


def _known(f: Fields) -> None:
    """Refuse layer types, neuron types and datasets whose meaning is not known: nothing is dropped silently."""
    kind = f.text("type")
    if kind not in LAYERS:
        raise Unsupported(f.at("type"), f"a layer of type {kind!r}", f"those that can be read: {', '.join(LAYERS)}")
    if any(key.startswith("weight/") for key in f.values):
        raise Unsupported(f.at("weight"), "complex weights", "only resonators have them; export CUBA or SDNN neurons")
    known = {"type", *LAYERS[kind]}
    if "neuron/type" in f and kind not in ("flatten", "average"):
        neuron = f.text("neuron/type")
        if neuron not in NEURONS:
            raise Unsupported(f.at("neuron/type"), f"a neuron of type {neuron!r}",
                              f"those that can be read: {', '.join(NEURONS)}")  # fmt: skip
        known |= {"neuron/type", *(f"neuron/{key}" for key in NEURONS[neuron])}
    if odd := sorted(set(f.values) - known):
        raise Unsupported(f.at(odd[0]), f"its meaning in a layer of type {kind!r} is not known", "leave it out")
