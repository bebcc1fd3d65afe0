"""A net from a file: whole checkpoints in the wild, our own results, state dicts with the user's module."""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ..convert.load import load_model
from ..errors import ConfigError, DataError, SnnverifyError, Unsupported
from ..objects import last_line
from .archive import read_archive, read_bytes
from .blocks import Constants, SpikingActivation
from .complete import agreed, complete
from .lineage import earlier, origins
from .model import Detector, available, described
from .pickled import Call, Instance
from .rebuild import Description, build, describe, differences

FORMAT = "snnverify.detector/1"
# A loader takes the first that is there: the average of the weights is what a training judges.
_HELD = ("ema", "model", "state_dict", "model_state_dict")


@dataclass(frozen=True)
class Opened:
    """A net and where all of it comes from.

    Parameters
    ----------
    net : torch.nn.Module
        In eval mode, tensors in their stored dtype.
    configuration : mapping
        What `rebuild.build` makes it from, or ``{"model": spec}`` of a user's module.
    constants : mapping of str to (value, origin)
        T, threshold, decay; the origin is ``checkpoint``, ``model``, ``option`` or ``assumed default``, of a file of ours
        that which its manifest says. Where units differ the value is None and each unit's own is in the manifest.
    source : mapping
        File, sha256, what of it was taken, how it was read, classes and unused attributes; of a file of ours the manifests
        that led to it (``earlier``).
    """

    net: nn.Module
    configuration: Mapping[str, Any]
    constants: Mapping[str, tuple[Any, str]]
    source: Mapping[str, Any]


def load(
    path: str | os.PathLike[str], *, model: str | None = None, device: str | torch.device = "cpu",
) -> nn.Module:  # fmt: skip
    """Open a net for inference: a result of `snnverify binarize`, or a checkpoint it can read; no code of the file runs.

    Parameters
    ----------
    path : path
    model : str, optional
        ``module:callable`` that builds a user's own module, the name of a shipped description or a YAML file: for files
        that hold tensors alone.
    device : str or torch.device
        Where it is put.

    Returns
    -------
    net : torch.nn.Module
        In eval mode, in the stored dtype: a net of float16 takes images of float16, or ``load(path).float()``.

    Raises
    ------
    DataError, Unsupported, ConfigError
        As `open_net`.
    """
    return open_net(path, model=model).net.to(device).eval()


def open_net(
    path: str | os.PathLike[str], *, model: str | None = None, given: Mapping[str, Any] | None = None,
    code: str | os.PathLike[str] | None = None, trust: bool = False, content: bytes | None = None,
) -> Opened:  # fmt: skip
    """Open a net, and tell where all of it comes from.

    Parameters
    ----------
    path : path
    model : str, optional
        As `load`.
    given : mapping, optional
        ``steps``, ``threshold``, ``decay``, for what the file does not say.
    code, trust : path, bool
        Folder of the code that a checkpoint's pickle needs, and leave to run both; together or not at all.
    content : bytes, optional
        What the file holds, where that was read already.

    Raises
    ------
    ConfigError
        One of `code` and `trust` without the other, a given constant that the file contradicts, no such model.
    DataError
        A file that is damaged or malicious, tensors with NaN, or tensors alone without a model to put them in.
    Unsupported
        A module outside the family; names it by its path.
    """
    name = os.fspath(path)
    if (code is not None) != trust:
        raise ConfigError("--code DIR and --trust-pickle: both or neither; the pickle's code runs where both are given")
    if code is not None and not os.path.isdir(code):
        raise ConfigError(f"--code {os.fspath(code)}: no such folder")
    content = read_bytes(path) if content is None else content
    about: dict[str, Any] = {"file": os.path.basename(name), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        if name.endswith(".safetensors"):
            held, tensor = _safetensors(name, content), _same
        elif trust and code is not None:
            held, tensor = _executed(name, content, code), _same
            about["read"] = "its pickle was executed"
        else:
            archive = read_archive(path, content)
            held, tensor = archive.value, archive.tensor
        about.setdefault("read", "without executing it")
        opened = _net(name, held, tensor, model, given or {}, about)
    except Unsupported as e:
        raise Unsupported(f"{name}: {_line(e.where)}", _line(e.what), e.remedy) from e
    except (ConfigError, DataError) as e:
        told = _line(str(e))
        raise type(e)(told if name in told else f"{name}: {told}") from e
    for at, values in opened.net.state_dict().items():
        if values.is_floating_point() and not bool(torch.isfinite(values).all()):
            raise DataError(f"{name}: {at} holds NaN or infinity; the training diverged, use an earlier state")
    return opened


def _net(
    name: str, held: Any, tensor: Callable[[Any], torch.Tensor], model: str | None, given: Mapping[str, Any],
    about: dict[str, Any],
) -> Opened:  # fmt: skip
    if isinstance(held, Mapping) and held.get("format") == FORMAT:
        about["taken"] = FORMAT
        return _own(held, tensor, model, given, about)
    about["taken"], chosen = _chosen(held)
    if isinstance(chosen, (Instance, nn.Module)) and model is None:
        found = describe(chosen, tensor)
        constants = complete(found.tree, given)
        net = build(found.tree, found.tensors)
        _proven(found, net)
        about |= {"classes": found.classes, "unused": dict(found.unused), "modules": found.modules}
        return Opened(net, found.tree, constants, about)
    state = _state(chosen, tensor)
    if model is None:
        raise DataError(
            "it holds tensors and no net; say which with --model (module:callable, a shipped name or a YAML)"
        )
    net, configuration = _of_user(model)
    _fill(net, state, model)
    return Opened(net, configuration, _constants_of(net, given), about)


def _own(
    held: Mapping[str, Any], tensor: Callable[[Any], torch.Tensor], model: str | None, given: Mapping[str, Any],
    about: dict[str, Any],
) -> Opened:  # fmt: skip
    """Open what `manifest.write` wrote."""
    configuration, stored, manifest = held.get("configuration"), held.get("tensors"), held.get("manifest")
    if not all(isinstance(part, Mapping) for part in (configuration, stored, manifest)):
        raise DataError(f"a {FORMAT} file without configuration, tensors and manifest; write it again")
    state = {str(k): tensor(v).detach() for k, v in stored.items()}  # type: ignore[union-attr]
    about["earlier"] = earlier(manifest)  # type: ignore[arg-type]
    if "kind" in configuration:  # type: ignore[operator]
        if model is not None:
            raise ConfigError(f"--model {model}: the file holds the net; leave the option out")
        tree = dict(configuration)  # type: ignore[arg-type]
        net = build(tree, state)
        return Opened(net, tree, origins(complete(tree, given), manifest), about)  # type: ignore[arg-type]
    spec = configuration.get("model")  # type: ignore[union-attr]
    if model is None:  # a data file must not name code that runs
        raise ConfigError(
            f"its net is made by {spec!r}; give it yourself: --model {spec}, or load(path, model={spec!r})"
        )
    net, now = _of_user(model)
    from .binarize import activations, binarize

    units = manifest.get("units", {})  # type: ignore[union-attr]
    if any(isinstance(u, Mapping) and u.get("now") == "binary" for u in units.values()):
        net, _ = binarize(net)
        kept = [
            p for p, u in activations(net).items() if not isinstance(units.get(p), Mapping) or u.now != units[p]["now"]
        ]
        if kept:
            raise DataError(f"--model {model}: its activations are not those of the manifest ({', '.join(kept[:4])})")
    _fill(net, state, model)
    return Opened(net, now, origins(_constants_of(net, given), manifest), about)  # type: ignore[arg-type]


def _proven(found: Description, net: nn.Module) -> None:
    """Hold the rebuilt net against what the file says: anything else than equality is our error, and is told."""
    parted = differences(found, describe(net))
    if parted:
        raise DataError(f"the net that was rebuilt differs from the file: {'; '.join(parted[:3])}; please report it")


def _chosen(held: Any) -> tuple[str, Any]:
    """The net of a checkpoint, and the name of what was taken."""
    taken = "the whole file"
    if isinstance(held, Mapping):
        key = next((k for k in _HELD if held.get(k) is not None), None)
        taken, held = (f"its {key!r}", held[key]) if key else (taken, held)
    if isinstance(held, Instance) and held.kind.startswith("torch.nn.parallel."):
        below = held.state.get("_modules")
        held = below.get("module") if isinstance(below, Mapping) else None
    return taken, getattr(held, "module", held) if isinstance(held, nn.parallel.DataParallel) else held


def _state(held: Any, tensor: Callable[[Any], torch.Tensor]) -> dict[str, torch.Tensor]:
    """Named tensors, of a state dict or of a module that is not looked into."""
    if isinstance(held, nn.Module):
        return dict(held.state_dict())
    if isinstance(held, Instance):
        held = dict(_named(held, "", 0))
    if not isinstance(held, Mapping) or not held or not all(isinstance(v, (Call, torch.Tensor)) for v in held.values()):
        raise DataError(
            f"it holds neither a net nor named tensors, at 'ema', 'model' or the top: {type(held).__name__}"
        )
    return {str(k): tensor(v).detach() for k, v in held.items()}


def _named(net: Instance, path: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > 100:
        raise DataError("the net is nested too deep, or holds itself")
    for part in ("_parameters", "_buffers", "_modules"):
        held = net.state.get(part, {})
        for name, value in held.items() if isinstance(held, Mapping) else ():
            if isinstance(value, Instance):
                yield from _named(value, f"{path}{name}.", depth + 1)
            elif value is not None:
                yield f"{path}{name}", value


def _of_user(model: str) -> tuple[nn.Module, dict[str, Any]]:
    if model in available() or model.endswith((".yaml", ".yml")):
        net: nn.Module = Detector(described(model))
        return net.eval(), describe(net).tree
    return load_model(model)[0].eval(), {"model": model}


def _fill(net: nn.Module, state: Mapping[str, torch.Tensor], model: str) -> None:
    try:
        net.load_state_dict(state, strict=True, assign=True)  # the stored dtype stays
    except (RuntimeError, ValueError) as e:
        lines = [line.strip() for line in str(e).splitlines()[1:3]]
        raise DataError(f"its tensors do not fit --model {model}: {' '.join(lines)[:200]}; give those of it") from e


def _constants_of(net: nn.Module, given: Mapping[str, Any]) -> dict[str, tuple[Any, str]]:
    held = [
        m.constants for m in net.modules() if isinstance(m, SpikingActivation) and isinstance(m.constants, Constants)
    ]
    return agreed([asdict(c) for c in held], given, "model")


def _line(text: str) -> str:
    """One line for a terminal: a hostile file may name things by line ends and escape codes."""
    return "".join(c if c.isprintable() else "?" for c in text)[:600]


def _same(value: Any) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise DataError(f"a {type(value).__name__} stands where a tensor belongs")
    return value


def _safetensors(name: str, content: bytes) -> Any:
    try:
        tensors = safetensors.torch.load(content)
        (length,) = struct.unpack("<Q", content[:8])
        told = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        if told.get("format") != FORMAT:
            return tensors
        parts = {k: json.loads(told[k]) for k in ("configuration", "manifest")}
    except Exception as e:  # the library's own error, and what json and struct have
        raise DataError(f"{name}: no safetensors file, or a damaged one ({last_line(e)[:160]}); write it again") from e
    return {"format": FORMAT, "tensors": tensors, **parts}


def _executed(name: str, content: bytes, code: str | os.PathLike[str]) -> Any:
    folder = os.path.abspath(code)
    sys.path.insert(0, folder)
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    except SnnverifyError:
        raise
    except (Exception, SystemExit) as e:  # whatever the code that was trusted raises
        raise DataError(f"{name}: executing its pickle failed: {last_line(e)[:200]}; is --code {code} its code?") from e
    finally:
        sys.path.remove(folder)
