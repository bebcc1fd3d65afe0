"""The shape of the package, held by walking its syntax trees."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "snnverify"
ROOT = PACKAGE.parent
# Rooms in the order in which imports may run: a room imports earlier ones, or those of its own line.
ORDER = (
    ("errors", "content", "objects", "schema"),
    ("activation", "stats", "idx", "sound"),
    ("kernels", "network", "findings"),
    ("trace", "bounds", "loihi", "shards", "quantise"),
    ("simulate", "reference", "oracles", "data", "gate"),
    ("convert", "config"),
    ("fidelity", "zoo", "strategies", "exchange", "detector"),
    ("golden", "fingerprint", "diagnosis", "hardware", "waterfall"),
    ("checks",),
    ("run",),
    ("pipeline", "mutation", "lava_demo"),
    ("report", "scaffold"),
    ("cli", *(path.stem for kind in ("cli_*", "plugin*") for path in PACKAGE.glob(f"{kind}.py"))),
    ("__main__",),
)  # fmt: skip
LEVEL = {room: level for level, rooms in enumerate(ORDER) for room in rooms}
# A heavy dependency is imported in its home alone.
HOMES = {
    "pandas": {"report", "mutation"}, "matplotlib": {"report"}, "jinja2": {"report"}, "tabulate": {"report"},
    "pyarrow": {"report"},
    "hypothesis": {"strategies", "run", "checks", "mutation"}, "pytest": {"plugin", "plugin_models", "plugin_pair"},
    "sklearn": {"zoo", "mutation"},
    "torch": {"checks", "convert", "detector", "zoo", "pipeline", "mutation", "oracles"},
    "safetensors": {"convert", "detector", "zoo"}, "tqdm": {"cli"}, "yaml": {"detector"}, "PIL": {"detector"},
    "pycocotools": {"detector"},
    "scipy": {"stats", "gate", "checks", "hardware", "sound"}, "nir": {"exchange", "oracles"},
    "h5py": {"exchange", "oracles", "checks"},
    "distributed": {"shards"}, "dask": {"shards"}, "numba": {"kernels"}, "llvmlite": {"kernels"},
    "threadpoolctl": {"kernels"}, "kaldi_native_fbank": {"sound"},
}  # fmt: skip
PORTABLE = {"__init__", "errors", "content", "objects", "activation", "network", "trace", "oracles", "loihi"}
# The adapter of our own package reaches everything, inside its function and in this interpreter alone; that of netx writes
# its files with `exchange`.
LAZY = {"oracles/own.py", "oracles/reference.py", "oracles/lava_netx_file.py",
        *(f"oracles/{path.name}" for path in (PACKAGE / "oracles").glob("own_*.py"))}  # fmt: skip
WRITERS = ("exchange/hdf5.py", "exchange/netx_format.py", "exchange/netx_write.py")  # run in Lava's interpreter, too


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def room(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path, inside=True):
    """Absolute dotted name of every import of a file, but those for the type checker alone; without those in functions."""
    tree = ast.parse(path.read_text())
    package = ["snnverify", *path.relative_to(PACKAGE).parts[:-1]]
    guards = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n.test)]
    functions = [] if inside else [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    typing = {id(n) for guard in guards + functions for n in ast.walk(guard)}
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            yield from ([name] if node.module else [f"{name}.{alias.name}" for alias in node.names])


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path):
    mine = room(path)
    if mine == "__init__" or str(path.relative_to(PACKAGE)) in LAZY:
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "snnverify" and len(parts) > 1 and parts[1] in LEVEL:
            assert LEVEL[parts[1]] <= LEVEL[mine], (
                f"{mine} (level {LEVEL[mine]}) imports {name} (level {LEVEL[parts[1]]})"
            )
        homes = HOMES.get(parts[0])
        assert homes is None or mine in homes, f"{mine} imports {name}, whose home is {homes}"


def test_every_room_has_a_level():
    assert {room(p) for p in modules()} - {"__init__"} == set(LEVEL)


def test_reference_and_simulator_are_independent():
    for path in modules():
        reached = {n.split(".")[1] for n in imports(path) if n.startswith("snnverify.")}
        if room(path) == "reference":
            assert not reached & {"kernels", "simulate", "convert", "oracles", "fidelity"}
        if room(path) in ("kernels", "simulate"):
            assert "reference" not in reached


@pytest.mark.parametrize("name", WRITERS)
def test_what_the_adapter_of_netx_reaches_is_python_310(name):
    ast.parse((PACKAGE / name).read_text(), feature_version=(3, 10))


@pytest.mark.parametrize(
    "path", [p for p in modules() if room(p) in PORTABLE], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_portable_set_needs_numpy_and_python_310_alone(path):
    ast.parse(path.read_text(), feature_version=(3, 10))
    if str(path.relative_to(PACKAGE)) in LAZY:
        return
    for name in imports(path, inside=False):  # a library is imported only inside its adapter's functions
        first = name.split(".")[0]
        assert first in ("snnverify", "numpy") or first in sys.stdlib_module_names, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "path", [*modules(), *(ROOT / "suites").glob("*.py"), *(ROOT / "tests").rglob("*.py")], ids=str
)
def test_a_file_can_be_read_in_one_go(path):
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("start", ["import snnverify", "from snnverify.cli import _parser; _parser().format_help()"])
def test_heavy_libraries_load_lazily(start):
    """Importing the package, or asking it for help, costs numpy at most."""
    import subprocess

    heavy = "{'torch','pandas','hypothesis','numba','pytest','scipy'}"
    code = f"import sys; {start}; print(sorted({heavy} & set(sys.modules)))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
