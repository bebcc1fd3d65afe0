"""What docs/extending.md shows runs as it stands: a law, an implementation and a chip, each of one file."""

import re
import subprocess
import sys
from pathlib import Path

import tomllib

from snnverify.checks import select
from snnverify.cli import main
from snnverify.hardware.targets import Mesh, target

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()


def test_the_files_that_are_shown_whole_are_there():
    shown = re.findall(r"\{literalinclude\} (\S+)", PAGE)
    assert len(shown) == 2
    assert all((ROOT / "docs" / name).exists() for name in shown)


def test_a_law_of_ones_own_runs_and_is_judged():
    assert "pytest examples/test_my_check.py" in PAGE
    line = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "examples/test_my_check.py",
        "--examples",
        "5",
    ]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[1-9]\d* passed", done.stdout)


def test_a_chip_of_ones_own_takes_a_network(monkeypatch, capsys):
    (command,) = re.findall(r"^snnverify (map .*)$", PAGE, re.M)
    monkeypatch.chdir(ROOT)
    assert main(command.split()) in (0, 1)
    assert "digits_mlp on a board of ours" in capsys.readouterr().out


def test_its_mesh_is_read_as_the_page_tells(monkeypatch, capsys):
    """Three layers on three cores of the 16: each spike goes to the next core, one router further E-W."""
    (command,) = re.findall(r"^snnverify (energy .*)$", PAGE, re.M)
    monkeypatch.chdir(ROOT)
    mesh = tomllib.loads((ROOT / "examples" / "my_target.toml").read_text())["mine"]["mesh"]
    assert all(f"`{key}`" in PAGE for key in ("columns", "rows", "cores"))
    read = target("mine", ROOT / "examples" / "my_target.toml").mesh
    assert read == Mesh(**mesh)
    assert main(command.split()) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert f"3 of {mesh['columns']} x {mesh['rows']} routers, {mesh['cores']} core each" in told
    assert main(["map", "digits_mlp", "--targets", "examples/my_target.toml", "--target", "mine", "-T", "4"]) == 0
    assert "hops: 1.00 a spike (E-W 1.00, N-S 0.00), in 1.00 packets" in capsys.readouterr().out


def test_every_law_that_the_derivations_name_is_a_check():
    page = (ROOT / "docs" / "derivations.md").read_text()
    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", page)) - {"snnverify.stats"}
    assert len(named) > 8
    assert named <= {c.name for c in select()}
