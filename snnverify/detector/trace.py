"""What a forward pass did: every operation that the image reached, the module it ran in, and where its operands came from.

Tensors are followed by identity and by storage below all of torch's Python faces (`TorchDispatchMode`), so that a sum is
found whether it is written ``+``, ``add_`` or ``out=``, in the shipped family or in a user's module. Nothing is read off
class names or source text.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from ..errors import SnnverifyError, Unsupported

IMAGE = 0  # index of the operation that stands for the input
ROOT = 0  # index of the call of the model itself
# In-place operations that leave nothing of what they overwrite.
OVERWRITES = frozenset({"copy_", "fill_", "zero_"})
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Operation:
    """One operation on values that depend on the image.

    Parameters
    ----------
    index : int
    name : str
        Torch's name, for example ``add`` or ``cat``; ``image`` for the input.
    call : int
        Index of the innermost call that it ran in; -1 for the image.
    operands : tuple of tuple of int
        For each tensor operand that depends on the image, the operations that made or last wrote it.
    shape : tuple of int
        Of its first result.
    detail : str
        Its other arguments, in short.
    """

    index: int
    name: str
    call: int
    operands: tuple[tuple[int, ...], ...]
    shape: Shape
    detail: str = ""


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Parameters
    ----------
    index : int
    path : str
        Module path; empty for the model itself.
    number : int
        1 for the first call of this module, 2 for the second ...
    parent : int
        Index of the call that it ran in; -1 for the model's own.
    inputs, outputs : tuple of shapes
    made : tuple of tuple of int
        For each output, the operations that made it.
    identity : bool
        What came out is what went in: the same memory in the same form, nothing written meanwhile.
    taken : str or None
        Values of the first input: ``silent``, ``binary``, ``integer`` or ``analog``.
    given : str or None
        Those of the first output.
    rate : float or None
        Mean of the first output where it is silent or binary.
    began : int
        Index of the next operation when it was entered: its place among them.
    """

    index: int
    path: str
    number: int
    parent: int
    inputs: tuple[Shape, ...]
    outputs: tuple[Shape, ...]
    made: tuple[tuple[int, ...], ...]
    identity: bool
    taken: str | None
    given: str | None
    rate: float | None
    began: int


@dataclass(frozen=True)
class Run:
    """A forward pass: its operations and calls by index, and modules whose tensors were used without a call."""

    operations: tuple[Operation, ...]
    calls: tuple[Call, ...]
    touched: frozenset[str]


def run(model: nn.Module, image: torch.Tensor) -> Run:
    """Trace a copy of the model, in evaluation mode and without gradients; the model itself is left alone.

    Raises
    ------
    Unsupported
        A model that cannot be copied, or whose forward pass raises on this image; names the module.
    SnnverifyError
        What the shipped family refuses.
    """
    try:
        twin = copy.deepcopy(model).eval()
    except Exception as e:
        raise Unsupported("model", f"it cannot be copied to be traced ({_line(e)})", "draw it without a trace") from e
    recorder, image = _Recorder(twin), image.clone()  # a model may write into what it is given
    try:
        with torch.inference_mode(), recorder:
            recorder.start(image)
            twin(image)
    except SnnverifyError:
        raise
    except Exception as e:
        raise Unsupported(
            recorder.where(), f"the traced forward pass on an input {list(image.shape)} failed: {_line(e)}",
            "give an image of the form that the model takes, or draw it without a trace",
        ) from e  # fmt: skip
    finally:
        recorder.stop()
    return Run(tuple(recorder.operations), tuple(recorder.done()), frozenset(recorder.touched))


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Tensors in nested lists, tuples and mappings, in order."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors(item)


def values_of(x: torch.Tensor) -> str:
    """Class of a tensor's values: ``silent`` (all 0), ``binary`` (all 0 or 1), ``integer`` or ``analog``."""
    if not bool((x != 0).any()):
        return "silent"
    if bool(((x == 0) | (x == 1)).all()):
        return "binary"
    return "integer" if bool((x == x.round()).all()) else "analog"


class _Recorder(TorchDispatchMode):
    """Sees every operation, and, through hooks, which call it runs in."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.touched: set[str] = set()
        self._calls: list[dict[str, Any]] = []
        self._stack: list[int] = []
        self._numbers: dict[str, int] = {}
        self._paused, self._failed = False, ""
        self._made = WeakTensorKeyDictionary()
        # storages by address, each with the operations that wrote it; the weak reference keeps the address from being
        # given to another storage, not the memory from being freed
        self._written: dict[int, tuple[StorageWeakRef, list[int]]] = {}
        self._owners = {
            id(t): path
            for path, m in model.named_modules()
            for t in (*m.parameters(recurse=False), *m.buffers(recurse=False))
        }
        self._hooks = [hook for path, m in model.named_modules() for hook in self._watch(path, m)]

    def _watch(self, path: str, m: nn.Module) -> Iterator[Any]:
        try:
            yield m.register_forward_pre_hook(
                lambda m, args, kwargs: self._enter(path, (args, kwargs)), with_kwargs=True
            )
            # called where the module raises, too: its caller may go on without it
            yield m.register_forward_hook(lambda m, args, out: self._leave(out), always_call=True)
        except RuntimeError as e:
            raise Unsupported(
                path or "model", f"a {type(m).__name__} takes no hooks, so it cannot be traced",
                "give the module that it was made from, or draw it without a trace",
            ) from e  # fmt: skip

    def start(self, image: torch.Tensor) -> None:
        """Take the image for the source of all values."""
        self._add("image", -1, (), [], [image])

    def stop(self) -> None:
        """Take the hooks off."""
        for hook in self._hooks:
            hook.remove()

    def where(self) -> str:
        """Path of the innermost module that raised."""
        return self._failed or "model"

    def done(self) -> Iterator[Call]:
        """Calls that returned, all of them."""
        return (Call(**{k: v for k, v in c.items() if k != "before"}) for c in self._calls)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        name = func._schema.name.split("::")[-1]
        given, written = list(tensors((args, kwargs))), _written(func, args, kwargs)
        self.touched |= {self._owners[id(t)] for t in given if id(t) in self._owners}
        read = [t for t in given if name not in OVERWRITES or not any(t is w for w in written)]
        operands = tuple(made for made in map(self._sources, read) if made)
        reached = operands or any(self._sources(w) for w in written)
        reached = reached and not name.endswith("_like") and not name.startswith("new_")  # takes the form alone
        out = func(*args, **kwargs)
        fresh = [t for t in tensors(out) if not any(t is g for g in given)]
        if reached and (fresh or written):
            self._add(name, self._stack[-1] if self._stack else -1, operands, written, fresh, _detail(args, kwargs))
        return out

    def _add(
        self, name: str, call: int, operands: Any, written: list[torch.Tensor], fresh: list[torch.Tensor], detail: str = "",
    ) -> None:  # fmt: skip
        index = len(self.operations)
        self.operations.append(Operation(index, name, call, operands, tuple([*fresh, *written][0].shape), detail))
        for t in (*written, *fresh):
            self._made[t] = index
            storage = t.untyped_storage()
            known = self._written.get(storage._cdata)
            if known is None or known[0].expired():
                self._written[storage._cdata] = (StorageWeakRef(storage), [index])
            elif any(t is w for w in written):
                known[1].append(index)

    def _sources(self, t: torch.Tensor) -> tuple[int, ...]:
        """Operations that made a tensor or have written its memory since; empty for what the image never reached."""
        made, writers = self._made.get(t), self._writers(t)
        return writers if made is None else (made, *(w for w in writers if w > made))

    def _writers(self, t: torch.Tensor) -> tuple[int, ...]:
        """The operation that filled a tensor's memory first, and those that wrote it since."""
        known = self._written.get(t.untyped_storage()._cdata)
        return () if known is None or known[0].expired() else tuple(known[1])

    def _enter(self, path: str, given: Any) -> None:
        self._numbers[path] = self._numbers.get(path, 0) + 1
        self._failed = ""
        inputs = list(tensors(given))
        self._paused = True
        self._calls.append({
            "index": len(self._calls), "path": path, "number": self._numbers[path],
            "parent": self._stack[-1] if self._stack else -1, "inputs": tuple(tuple(t.shape) for t in inputs),
            "outputs": (), "made": (), "identity": False, "taken": _class(inputs), "given": None, "rate": None,
            "before": [(_form(t), self._writers(t)) for t in inputs], "began": len(self.operations),
        })  # fmt: skip
        self._paused = False
        self._stack.append(len(self._calls) - 1)

    def _leave(self, out: Any) -> Any:
        call = self._calls[self._stack[-1]]
        self._failed = self._failed or call["path"] if out is None else ""
        results = list(tensors(out))
        self._paused = True
        call["identity"] = bool(results) and all((_form(t), self._writers(t)) in call["before"] for t in results)
        call["outputs"], call["given"] = tuple(tuple(t.shape) for t in results), _class(results)
        call["rate"] = float(results[0].double().mean()) if call["given"] in ("silent", "binary") else None
        self._paused = False
        # an alias tells a value that came through this module from the same value that did not
        marked = torch.ops.aten.alias(out) if call["identity"] and isinstance(out, torch.Tensor) else out
        call["made"] = tuple(self._sources(t) for t in tensors(marked))
        self._stack.pop()
        return marked


def _written(func: Any, args: Any, kwargs: Any) -> list[torch.Tensor]:
    """Tensors that an operation overwrites, as its schema declares."""
    found: list[torch.Tensor] = []
    for i, a in enumerate(func._schema.arguments):
        if a.alias_info is not None and a.alias_info.is_write:
            found += tensors(args[i] if i < len(args) else kwargs.get(a.name))
    return found


def _form(t: torch.Tensor) -> tuple[Any, ...]:
    return t.untyped_storage()._cdata, t.storage_offset(), tuple(t.shape), t.stride()


def _class(found: list[torch.Tensor]) -> str | None:
    return values_of(found[0]) if found and not found[0].is_complex() and found[0].numel() else None


def _detail(args: Any, kwargs: Mapping[str, Any]) -> str:
    """Arguments that are no tensors, in short."""
    plain: Iterable[Any] = (a for a in (*args, *kwargs.values()) if not any(True for _ in tensors(a)) and a is not None)
    said = ", ".join(str(a) for a in plain if isinstance(a, (int, float, list, tuple)))
    return said if len(said) <= 40 else f"{said[:37]}..."


def _line(e: BaseException) -> str:
    text = str(e).strip().splitlines()
    return f"{type(e).__name__}: {text[0] if text else ''}"[:200]
