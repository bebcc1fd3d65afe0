"""A pickle is a program for a stack machine; here it is read and nothing of it is run.

What it would build is written down in four inert forms: names, calls, instances with their state, references to
storages. No name is looked up and nothing is called, so that a hostile file can at most be refused. The opcodes are those
of the standard library's `pickletools`, which parses them and stops where a length says more than the file holds.
"""

from __future__ import annotations

import pickletools
import re
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import DataError

# An opcode of one byte makes a set of 216: this bounds the memory that a hostile pickle can take. Nets have kilobytes.
LARGEST = 16 << 20

# Calls that a checkpoint of weights needs. They are written down, too; whoever wants a tensor makes it (`checkpoint`).
CALLS = frozenset({
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch.Size", "torch.device",
    "collections.OrderedDict", "builtins.set", "_codecs.encode", "datetime.datetime", "datetime.date",
    "numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct",
    "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath", "pathlib.PurePosixPath", "pathlib.PureWindowsPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath",
})  # fmt: skip
_VALUES = re.compile(
    r"torch\.(\w+Storage|storage\.(Untyped|Typed)Storage|b?float\d+|u?int\d+|bool|complex\d+|Tensor)|numpy\.ndarray"
)
_INSTANCES = re.compile(r"torch\.nn\.(modules|parallel)\..*|argparse\.Namespace")
# Of these packages a checkpoint may name what stands above and nothing else.
_KNOWN = frozenset({*sys.stdlib_module_names, "builtins", "torch", "numpy", "nt"})

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_FRESH: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
_LITERALS = frozenset({
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE",
    "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BINSTRING", "SHORT_BINSTRING",
})  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_KEYS = (str, int, float, bool, bytes, type(None))  # keys that are cheap and safe to hash


@dataclass(frozen=True)
class Name:
    """A class or function, by its dotted name alone."""

    path: str
    role: str


@dataclass(eq=False)
class Call:
    """What a function would have been called with."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(eq=False)
class Instance:
    """An object: the dotted name of its class, and what its ``__dict__`` would have held."""

    kind: str
    arguments: tuple[Any, ...]
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Storage:
    """Persistent id of a storage: the name of its type, the record that holds it, its number of elements."""

    kind: str
    record: str
    elements: int


class Ordered(dict[Any, Any]):
    """An ``OrderedDict``; what a state dict carries beside its items is dropped."""


def read(data: bytes) -> Any:
    """Return what a pickle holds, in inert forms.

    Raises
    ------
    DataError
        It names or calls what no checkpoint needs, is damaged or truncated, or too large.
    """
    if len(data) > LARGEST:
        raise DataError(f"its pickle has {len(data)} bytes, at most {LARGEST} are read: a net takes kilobytes")
    machine = _Machine()
    try:
        for code, argument, _ in pickletools.genops(data):
            if code.name == "STOP":
                if len(machine.stack) != 1 or machine.below:
                    raise DataError("its pickle is damaged: it leaves more than one value, or none")
                return machine.stack[0]
            machine.step(code.name, argument)
    except DataError:
        raise
    except (Exception, RecursionError) as e:  # damage shows in many ways
        raise DataError(f"its pickle is damaged ({type(e).__name__}: {str(e)[:120]})") from e
    raise DataError("its pickle is truncated")


class _Machine:
    """The stack, the stacks below its marks, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, code: str, argument: Any) -> None:
        push, pop = self.stack.append, self.stack.pop
        if code in _CONSTANTS:
            push(_CONSTANTS[code])
        elif code in _FRESH:
            push(_FRESH[code]())
        elif code in _LITERALS:
            push(argument)
        elif code in ("PROTO", "FRAME"):
            pass
        elif code in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if code == "MEMOIZE" else argument] = self.stack[-1]
        elif code in ("GET", "BINGET", "LONG_BINGET"):
            push(self.memo[argument])
        elif code == "MARK":
            self.below.append(self.stack)
            self.stack = []
        elif code in _TUPLES:
            n = _TUPLES[code]
            items = tuple(self.stack[-n:])
            if len(items) < n:
                raise DataError("its pickle is damaged: a tuple of values that are not there")
            self.stack[-n:] = [items]
        elif code in ("GLOBAL", "STACK_GLOBAL"):
            if code == "GLOBAL":
                module, _, name = argument.partition(" ")
            else:
                name, module = pop(), pop()
            push(_named(module, name))
        elif code == "BINPERSID":
            push(_storage(pop()))
        elif code in _ACTIONS:
            _ACTIONS[code](self)
        else:
            raise DataError(f"its pickle holds the opcode {code}, which torch.save does not write; not executed")

    def marked(self) -> list[Any]:
        """Values above the last mark, which is taken away."""
        items, self.stack = self.stack, self.below.pop()
        return items


def _tuple(m: _Machine) -> None:
    items = tuple(m.marked())
    m.stack.append(items)


def _append(m: _Machine) -> None:
    _extend(m, [m.stack.pop()])


def _appends(m: _Machine) -> None:
    _extend(m, m.marked())


def _extend(m: _Machine, items: list[Any]) -> None:
    if type(m.stack[-1]) is not list:
        raise DataError(f"its pickle appends to a {type(m.stack[-1]).__name__}; not executed")
    m.stack[-1].extend(items)


def _setitem(m: _Machine) -> None:
    value, key = m.stack.pop(), m.stack.pop()
    _update(m, [key, value])


def _setitems(m: _Machine) -> None:
    _update(m, m.marked())


def _update(m: _Machine, items: list[Any]) -> None:
    if type(m.stack[-1]) not in (dict, Ordered) or len(items) % 2:
        raise DataError(f"its pickle sets items of a {type(m.stack[-1]).__name__}; not executed")
    for key, value in zip(items[::2], items[1::2], strict=True):
        m.stack[-1][_key(key)] = value


def _additems(m: _Machine) -> None:
    items = m.marked()
    if type(m.stack[-1]) is not set:
        raise DataError(f"its pickle adds items to a {type(m.stack[-1]).__name__}; not executed")
    m.stack[-1].update(_key(i) for i in items)


def _key(key: Any) -> Any:
    if not isinstance(key, _KEYS):
        raise DataError(f"its pickle has a {type(key).__name__} for a key; not executed")
    return key


def _newobj(m: _Machine) -> None:
    arguments, kind = m.stack.pop(), m.stack.pop()
    if not isinstance(kind, Name) or kind.role != "instance" or type(arguments) is not tuple:
        what = kind.path if isinstance(kind, Name) else type(kind).__name__
        raise DataError(f"its pickle makes an instance of {what}; not executed")
    m.stack.append(Instance(kind.path, arguments))


def _reduce(m: _Machine) -> None:
    arguments, function = m.stack.pop(), m.stack.pop()
    if not isinstance(function, Name) or function.role != "call" or type(arguments) is not tuple:
        what = function.path if isinstance(function, Name) else f"a {type(function).__name__}"
        raise DataError(f"its pickle calls {what}; not executed")
    if function.path == "collections.OrderedDict":
        pairs = arguments[0] if arguments else []
        if type(pairs) is not list or any(type(p) not in (list, tuple) or len(p) != 2 for p in pairs):
            raise DataError("its pickle calls collections.OrderedDict with something else than pairs; not executed")
        m.stack.append(Ordered((_key(k), v) for k, v in pairs))
    else:
        m.stack.append(Call(function.path, arguments))


def _build(m: _Machine) -> None:
    state = m.stack.pop()
    target = m.stack[-1]
    if isinstance(target, Instance):
        if isinstance(state, tuple) and len(state) == 2 and isinstance(state[0], dict) and state[1] is None:
            state = state[0]
        if not isinstance(state, dict) or target.state:
            raise DataError(f"its pickle sets the state of {target.kind} to no mapping, or twice; not executed")
        target.state.update(state)
    elif isinstance(target, Call) and target.state is None and target.function.startswith("numpy."):
        target.state = state
    elif not isinstance(target, Ordered):
        raise DataError(f"its pickle sets the state of a {type(target).__name__}; not executed")


_ACTIONS: dict[str, Callable[[_Machine], Any]] = {
    "TUPLE": _tuple, "APPEND": _append, "APPENDS": _appends, "SETITEM": _setitem, "SETITEMS": _setitems,
    "ADDITEMS": _additems, "NEWOBJ": _newobj, "REDUCE": _reduce, "BUILD": _build,
    "POP": lambda m: m.stack.pop() if m.stack else m.marked(), "POP_MARK": lambda m: m.marked(),
}  # fmt: skip


def _named(module: Any, name: Any) -> Name:
    if type(module) is not str or type(name) is not str:
        raise DataError("its pickle names something by no text; not executed")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    path = f"{module}.{name}"
    if path in CALLS:
        return Name(path, "call")
    if _VALUES.fullmatch(path):
        return Name(path, "value")
    if _INSTANCES.fullmatch(path) or module.split(".")[0] not in _KNOWN:
        return Name(path, "instance")
    raise DataError(f"its pickle names {path}, which no checkpoint of weights needs; not executed")


def _storage(pid: Any) -> Storage:
    if type(pid) is not tuple or len(pid) != 5 or pid[0] != "storage" or not isinstance(pid[1], Name):
        raise DataError("its pickle refers to something outside it that is no storage; not executed")
    _, kind, record, _, elements = pid
    if type(record) is not str or type(elements) is not int or elements < 0:
        raise DataError("its pickle refers to a storage without a name, or of a negative size")
    return Storage(kind.path, record, elements)
