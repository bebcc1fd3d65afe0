"""The user's model: a callable that builds it, and a weights file that is read without running code."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from ..errors import ConfigError, DataError, SnnverifyError
from ..objects import last_line, load_object

_RESAVE = "torch.save(model.state_dict(), 'weights.pt') or safetensors.torch.save_file(model.state_dict(), ...)"
_CHECKPOINT_KEYS = ("state_dict", "model_state_dict", "model")
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def load_model(
    spec: str, weights: str | os.PathLike[str] | None = None, root: str | os.PathLike[str] | None = None
) -> tuple[nn.Module, str]:
    """Build a model and load its weights.

    Parameters
    ----------
    spec : str
        ``module:callable`` or ``path.py:callable``: an ``nn.Module`` class or a function, called without arguments.
    weights : path, optional
        ``.safetensors`` or a file of ``torch.save(model.state_dict(), ...)``; without it the model comes as built.
    root : path, optional
        Where a relative spec is looked for; the current folder by default.

    Returns
    -------
    module : torch.nn.Module
        As it was built, perhaps in training mode; whoever runs it does so on a copy in eval mode, and says so.
    sha256 : str
        Of the weights file (hex); empty without one.

    Raises
    ------
    ConfigError
        The callable cannot be found, fails, or does not return an ``nn.Module``.
    DataError
        The weights cannot be read, do not fit the model, or hold NaN or infinity.
    """
    build = load_object(spec, root)
    try:
        module = build if isinstance(build, nn.Module) else build()
    except SnnverifyError:
        raise
    except Exception as e:
        raise ConfigError(f"model {spec!r}: calling it failed: {last_line(e)}; it is called without arguments") from e
    if not isinstance(module, nn.Module):
        raise ConfigError(f"model {spec!r}: it returned a {type(module).__name__}; return an nn.Module")
    sha256 = ""
    if weights is not None:
        state, sha256 = load_weights(weights)
        _fit(module, state, f"{os.fspath(weights)} does not fit model {spec!r}")
    _finite(module.state_dict(), f"model {spec!r}")
    return module, sha256


def load_weights(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], str]:
    """Read named tensors; a pickle that needs code is refused, never executed.

    Returns
    -------
    state : dict of str to torch.Tensor
    sha256 : str
        Of the file (hex).

    Raises
    ------
    DataError
        No such file, a damaged one, one that needs code, one without tensors, NaN or infinity (names the tensor).
    """
    file = Path(path)
    try:
        content = file.read_bytes()
    except OSError as e:
        raise DataError(f"weights {path}: cannot be read ({e.strerror}); give .safetensors or a state_dict") from None
    state = _safetensors(file, content) if file.suffix == ".safetensors" else _torch(file, content)
    _finite(state, f"weights {path}")
    return state, hashlib.sha256(content).hexdigest()


def _safetensors(path: Path, content: bytes) -> dict[str, torch.Tensor]:
    try:
        state: dict[str, torch.Tensor] = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as e:
        raise DataError(f"weights {path}: not a safetensors file ({last_line(e)}); save it again") from e
    return state


def _torch(path: Path, content: bytes) -> dict[str, torch.Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, about a file that is then refused in one line of our own
            # weights_only is set here, so that no environment variable can turn it off.
            value = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        needs = _GLOBAL.search(str(e))
        what = f"needs code ({needs[1]})" if needs else "is not a plain state_dict"
        raise DataError(f"weights {path}: the pickle {what} and was not executed; re-save with {_RESAVE}") from e
    except Exception as e:  # torch.load answers damage with many types
        raise DataError(f"weights {path}: not a torch file ({last_line(e)[:200]}); re-save with {_RESAVE}") from e
    for key in _CHECKPOINT_KEYS:
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
            break
    if not isinstance(value, Mapping) or not value:
        raise DataError(f"weights {path}: holds a {type(value).__name__} and no named tensors; re-save with {_RESAVE}")
    other = [str(k) for k, v in value.items() if not isinstance(v, torch.Tensor)]
    if other:
        raise DataError(f"weights {path}: {_few(other)} hold no tensor; re-save with {_RESAVE}")
    return {str(k): v for k, v in value.items()}


def _fit(module: nn.Module, state: Mapping[str, torch.Tensor], what: str) -> None:
    """Load `state` into the module, or name in one line all that does not fit."""
    own = module.state_dict()
    # The counter of batch normalisation plays no part in inference, and many files leave it out.
    missing = [k for k in own if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in own]
    unlike = [
        f"{k} is {_form(state[k])}, the model's {_form(own[k])}"
        for k in own
        if k in state and (state[k].shape != own[k].shape or state[k].is_floating_point() != own[k].is_floating_point())
    ]
    found = {"missing": missing, "unexpected": unexpected, "of another form": unlike}
    parts = [f"{len(names)} {kind} ({_few(names)})" for kind, names in found.items() if names]
    if parts:
        raise DataError(f"{what}: {'; '.join(parts)}; give the weights of this architecture")
    module.load_state_dict(state, strict=False)


def _finite(state: Mapping[str, torch.Tensor], what: str) -> None:
    bad = {k: int((~torch.isfinite(v)).sum()) for k, v in state.items() if v.is_floating_point()}
    names = [f"{k}: {count}" for k, count in bad.items() if count]
    if names:
        raise DataError(f"{what}: NaN or infinite values in {_few(names)}; the training diverged, use an earlier state")


def _form(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _few(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
