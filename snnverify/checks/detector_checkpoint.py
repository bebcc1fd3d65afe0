"""The reader of checkpoints: held to torch's own readers, to bounds that are counted, and to pickles that would do harm."""

from __future__ import annotations

import io
import itertools
import json
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ..content import Content
from ..detector import written
from ..errors import SnnverifyError
from ..findings import Measure
from ..oracles import Oracle
from . import check
from .wired import detectors, images


@dataclass(frozen=True, eq=False)
class Saved(Content):
    """Tensors of a mapping, (dtype, shape, view) each, and a seed of their values."""

    tensors: tuple[tuple[str, tuple[int, ...], str], ...]
    seed: int


@dataclass(frozen=True, eq=False)
class View(Content):
    """A tensor of four bytes an element, as a pickle may claim it, and the least storage that it is tried in."""

    elements: int
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Harm(Content):
    """A call that makes a folder; a pickle can make it in each of `HOW`, and hold it in each of `PLACES`."""

    function: str


@dataclass(frozen=True, eq=False)
class Whole(Content):
    """A detector's description, as JSON, a seed of its weights, and whether they are of float16."""

    description: str
    seed: int
    half: bool


_SHAPES = st.lists(st.integers(0, 4), max_size=3).map(tuple)
_TENSORS = st.tuples(
    st.sampled_from(written.DTYPES), _SHAPES, st.sampled_from(["", "turned", "part", "tied", "parameter"])
)
saved = st.builds(Saved, st.lists(_TENSORS, min_size=1, max_size=5).map(tuple), st.integers(0, 99))
_AXES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=3)


@st.composite
def views(draw: st.DrawFn) -> View:
    """Views, and the storage that is two elements too small for them."""
    axes, offset = draw(_AXES), draw(st.integers(0, 3))
    last = offset + sum((n - 1) * s for n, s in axes) if all(n for n, _ in axes) else 0
    return View(max(0, last - 1), offset, tuple(n for n, _ in axes), tuple(s for _, s in axes))


wholes = (detectors(True) | detectors(False)).flatmap(
    lambda d: st.builds(Whole, st.just(d.description), st.just(d.seed), st.booleans())
)
# Each makes a folder of the name it is given, were it called.
HARM = {
    "os.mkdir": "{}", "posix.mkdir": "{}", "os.makedirs": "{}", "os.system": "mkdir {}", "os.popen": "mkdir {}",
    "subprocess.getoutput": "mkdir {}", "builtins.eval": "__import__('os').mkdir('{}')",
    "builtins.exec": "__import__('os').mkdir('{}')", "__builtin__.eval": "__import__('os').mkdir('{}')",
    "timeit.timeit": "__import__('os').mkdir('{}')", "numpy.f2py.crackfortran.myeval": "__import__('os').mkdir('{}')",
    "torch.utils.collect_env.run": "mkdir {}", "torch._inductor.codecache.compile_file": "{}", "evil.run": "{}",
    "commands.getoutput": "mkdir {}", "pip._internal.main": "{}",
}  # fmt: skip
# Classes of packages that are not known may stand where a module does; what makes a tensor may not be an instance.
UNKNOWN = ("evil.run", "commands.getoutput", "pip._internal.main")
_TENSOR = "torch._utils._rebuild_tensor_v2"
HOW = ("REDUCE", "STACK_GLOBAL", "NEWOBJ", "INST", "OBJ")
PLACES = ("alone", "in a list", "as a tensor", "in a state", "as a state", "thrown away")
harms = st.builds(Harm, st.sampled_from(list(HARM)))


@check("operators", saved)
def checkpoint_tensors_are_torchs(case: Saved, subject: Oracle) -> Iterator[Measure]:
    """Every tensor that torch.save wrote is read, without unpickling, with the dtype, shape and bytes that torch gives it [torch.load, weights_only]."""
    content = written.mapping(case.tensors, case.seed)
    found, expected = subject.operator("read_tensors")(content), written.by_torch(content)
    wrong = [k for k in expected.keys() | found if expected.get(k) != found.get(k)]
    yield Measure("tensors that differ", float(len(wrong)), detail=f"{wrong}")


@check("operators", wholes)
def checkpoint_net_is_the_executed_one(case: Whole, subject: Oracle) -> Iterator[Measure]:
    """A net that is rebuilt from a pickle's names and tensors is, in structure, routes, bytes and outputs, the one that executing the pickle gives [torch.load]."""
    content = written.whole(json.loads(case.description), case.seed, case.half)
    ask = subject.operator("open_checkpoint")  # outside: another implementation has none, and that is no refusal
    try:
        net = ask(content)
    except SnnverifyError as e:  # an `Unsupported`, too: these nets are of the family
        yield Measure("refused", 1.0, detail=str(e))
        return
    expected = written.executed(content)
    a, b = written.told(net), written.told(expected)
    wrong = [k for k in a.keys() | b if a.get(k) != b.get(k)]
    yield Measure("parts that differ", float(len(wrong)), detail=f"{sorted(wrong)[:4]}")
    x = images(1, case.seed)
    pairs = zip(written.outputs(net, x), written.outputs(expected, x), strict=True)
    yield Measure("outputs that differ", float(sum(not np.array_equal(p, q) for p, q in pairs)))


@check("operators", views())
def checkpoint_views_stay_in_their_storage(case: View, subject: Oracle) -> Iterator[Measure]:
    """A tensor is read where every element of it lies in its storage, and has no more of them than that; else it is refused [by counting]."""
    reached = [
        case.offset + sum(i * s for i, s in zip(at, case.stride, strict=True))
        for at in itertools.product(*map(range, case.size))
    ]
    ask = subject.operator("read_tensors")  # outside: another implementation has none, and that is no refusal
    for elements in range(case.elements, case.elements + 4):  # two too few, one, just enough, one more
        lawful = all(i < elements for i in reached) and len(reached) <= elements
        values = np.arange(elements, dtype="<f4")
        content = _zip(_mapping(_tensor(replace(case, elements=elements))), {"data/0": values.tobytes()})
        try:
            dtype, shape, octets = ask(content)["x"]
        except SnnverifyError as e:
            yield Measure("lawful tensors refused", float(lawful), where=f"{elements} stored", detail=str(e))
            continue
        yield Measure("tensors read from outside their storage", float(not lawful), where=f"{elements} stored")
        expected = (dtype, shape, octets) == ("float32", case.size, values[reached].tobytes() if lawful else b"")
        yield Measure("tensors of other elements", float(not expected), detail=f"{dtype} {shape}")


@check("operators", harms)
def checkpoint_harm_is_refused(case: Harm, subject: Oracle) -> Iterator[Measure]:
    """A pickle that calls, or makes an instance of, anything but what tensors and modules need is refused in one line, and nothing of it runs [definition]."""
    asked = {name: subject.operator(name) for name in ("read_tensors", "open_checkpoint")}
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary"
        for how, place in itertools.product(HOW, PLACES):
            harm = _harm(case.function, how, HARM[case.function].format(canary))
            content, lines = _zip(_placed(harm, place), {"data/0": b"\0" * 4}), 0
            for operator, ask in asked.items():
                try:
                    ask(content)
                except SnnverifyError as e:
                    lines = max(lines, len(str(e).splitlines()))
                else:
                    yield Measure("read", 1.0, where=f"{operator}, {how} {place}")
            yield Measure("lines of a refusal beside the first", float(lines - 1), where=f"{how} {place}")
        yield Measure("executed", float(canary.exists()))


def _zip(data: bytes, records: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        for name, content in {"data.pkl": data, **records}.items():
            z.writestr(f"archive/{name}", content)
    return buffer.getvalue()


def _bare(value: Any) -> bytes:
    """A plain value's opcodes, without memo."""
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_bare, value)) + b"t"
    if isinstance(value, str):
        return b"X" + struct.pack("<I", len(value)) + value.encode()
    return b"J" + struct.pack("<i", value)


def _named(path: str) -> bytes:
    module, _, name = path.rpartition(".")
    return f"c{module}\n{name}\n".encode()


def _tensor(case: View) -> bytes:
    kind = _named("torch.FloatStorage")
    pid = b"(" + _bare("storage") + kind + _bare("0") + _bare("cpu") + _bare(case.elements) + b"tQ"
    place = b"".join(map(_bare, (case.offset, case.size, case.stride)))
    return _named(_TENSOR) + b"(" + pid + place + pickle.NEWFALSE + b"}tR"


def _mapping(value: bytes) -> bytes:
    return b"\x80\x02}" + _bare("x") + value + b"s."


def _harm(function: str, how: str, argument: str) -> bytes:
    module, _, name = function.rpartition(".")
    given = _bare(argument)
    return {
        "REDUCE": _named(function) + given + b"\x85R",
        "STACK_GLOBAL": _bare(module) + _bare(name) + b"\x93" + given + b"\x85R",
        "NEWOBJ": _named(_TENSOR if function in UNKNOWN else function) + given + b"\x85\x81",
        "INST": b"(" + given + f"i{module}\n{name}\n".encode(),
        "OBJ": b"(" + _named(function) + given + b"o",
    }[how]


def _placed(harm: bytes, place: str) -> bytes:
    net = _named("models.yolo.Model") + b")\x81"
    return {
        "alone": b"\x80\x02" + harm + b".",
        "in a list": _mapping(b"]" + harm + b"a"),
        "as a tensor": _mapping(harm),
        "in a state": _mapping(net + b"}" + _bare("y") + harm + b"sb"),
        "as a state": _mapping(net + harm + b"b"),
        "thrown away": b"\x80\x02" + harm + b"0" + _mapping(_tensor(View(1, 0, (1,), (1,))))[2:],
    }[place]
