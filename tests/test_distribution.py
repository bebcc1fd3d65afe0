"""What the wheel and the source archive hold: everything that an installed snnverify needs, and nothing else."""

import ast
import email
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

import snnverify

ROOT = Path(__file__).parents[1]
VERSION = snnverify.__version__
# folder of the checkout -> folder of the wheel
SHIPPED = {"snnverify": "snnverify", "suites": "snnverify/suites", "golden": "snnverify/goldens"}
OF_A_CHECKOUT = {".ci", ".git", ".github"}
LEFT = {"__pycache__", "api"}  # made by tools, and ignored by git


def tracked(folder):
    """Files of a folder that git knows; in an unpacked source archive, which holds these alone, all but what tools left.

    A file that lies about and is in no commit would be packed, and is found by its absence here.
    """
    if (ROOT / ".git").exists():
        said = subprocess.run(
            ["git", "ls-files", "-z", "--", folder], cwd=ROOT, check=True, capture_output=True, text=True
        )
        return {name for name in said.stdout.split("\0") if name and (ROOT / name).is_file()}
    found = (p for p in (ROOT / folder).rglob("*") if p.is_file() and not LEFT & set(p.parts))
    return {p.relative_to(ROOT).as_posix() for p in found}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Return wheel and source archive, built by the build backend itself from this checkout: no network, no isolation."""
    from hatchling import build

    out = str(tmp_path_factory.mktemp("dist"))
    here = os.getcwd()
    os.chdir(ROOT)
    try:
        wheel, sdist = build.build_wheel(out), build.build_sdist(out)
    finally:
        os.chdir(here)
    return Path(out) / wheel, Path(out) / sdist


def test_the_wheel_holds_the_package_the_suites_and_the_goldens_alone(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
    info = f"snnverify-{VERSION}.dist-info"
    wanted = {inside + name.removeprefix(folder) for folder, inside in SHIPPED.items() for name in tracked(folder)}
    assert names == wanted | {
        f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    must = ("py.typed", "report/page.html.j2", "report/schema.json", "mutants/killers.json", "oracles/environments.toml",
            "templates/snnverify.yml.in", "templates/pyproject.toml.in", "suites/test_model.py",
            "goldens/schema.json")  # fmt: skip
    assert {f"snnverify/{name}" for name in must} <= names
    assert not [n for n in names if n.endswith((".pt", ".pth", ".pkl", ".pyc"))]


def test_what_the_wheel_says_of_itself(built):
    with zipfile.ZipFile(built[0]) as wheel:
        said = email.message_from_bytes(wheel.read(f"snnverify-{VERSION}.dist-info/METADATA"))
        points = wheel.read(f"snnverify-{VERSION}.dist-info/entry_points.txt").decode()
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("snnverify", VERSION, "Apache-2.0")
    assert said["Requires-Python"] == ">=3.11"
    assert "snnverify = snnverify.cli:main" in points
    assert "[pytest11]\nsnnverify = snnverify.plugin" in points
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    needed = {r.split(">=")[0].split(";")[0].strip().lower().replace("_", "-") for r in said.get_all("Requires-Dist")}
    assert needed <= pinned, "constraints.txt pins the tested set, whole"


def test_the_source_archive_holds_what_tests_and_documentation_need(built):
    with tarfile.open(built[1]) as archive:
        names = {n.removeprefix(f"snnverify-{VERSION}/") for n in archive.getnames()}
    for folder in ("snnverify", "suites", "golden", "tests", "docs", "examples", "benchmarks", "reports/release"):
        assert tracked(folder) <= names, folder
    assert {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "SECURITY.md",
        "CITATION.cff",
        "constraints.txt",
        "pyproject.toml",
    } <= names
    assert {".pre-commit-hooks.yaml", "PKG-INFO"} <= names
    assert not {n.split("/")[0] for n in names} & OF_A_CHECKOUT
    assert not [n for n in names if LEFT & set(n.split("/"))]


def test_the_source_is_of_the_oldest_python_that_is_claimed():
    for folder in SHIPPED:
        for name in (n for n in tracked(folder) if n.endswith(".py")):
            ast.parse((ROOT / name).read_text(), feature_version=(3, 11))
