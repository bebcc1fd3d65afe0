"""The README's examples run, and its pictures of the program are true."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import tomllib

from snnverify.checks import select
from snnverify.cli import _parser
from snnverify.config import read_config
from snnverify.oracles.known import defects
from snnverify.report import render_defects, render_laws

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
GUIDES = sorted(p.name for p in (ROOT / "docs").glob("guide-*.md"))
PAGES = ["README.md", *(f"docs/{name}" for name in GUIDES)]


def blocks(language, page="README.md"):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.S)


@pytest.mark.parametrize("page", PAGES)
def test_python_examples_run(page, capsys):
    for code in blocks("python", page):
        exec(compile(code, page, "exec"), {})
    assert ("print(" in "".join(blocks("python", page))) == bool(capsys.readouterr().out)


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_parse(page):
    lines = "\n".join(blocks("bash", page)).replace("\\\n", " ").splitlines()
    commands = [line for line in lines if line.startswith("snnverify ")]
    commands += re.findall(r"^\|.*?`(snnverify [^`]+)`", (ROOT / page).read_text(), re.M)
    assert len(commands) >= 3
    for command in commands:
        _parser().parse_args(shlex.split(command, comments=True)[1:])


def test_the_readme_is_short_and_its_picture_small():
    assert len(README.splitlines()) <= 120
    (picture,) = re.findall(r"!\[.+\]\((.+)\)", README)
    assert (ROOT / picture).stat().st_size < 200_000


def test_settings_example_is_read(tmp_path):
    (tmp_path / "pyproject.toml").write_text(blocks("toml")[0])
    settings = read_config(tmp_path)
    assert settings.timesteps == (4, 8, 16, 32, 64)
    assert settings.model == f"{tmp_path / 'nets.py'}:build"
    assert set(tomllib.loads(blocks("toml")[0])["tool"]["snnverify"]) >= {"model", "data", "max_drop"}


def test_exactly_two_set_up_commands():
    assert sum("venv .venv" in block for block in blocks("bash")) == 2


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        assert (ROOT / page).parent.joinpath(target).exists(), target


@pytest.mark.parametrize(
    ("page", "made", "command"),
    [
        ("laws", lambda: render_laws(select()), "snnverify list --markdown"),
        ("findings", lambda: render_defects(defects()), "snnverify oracle findings"),
    ],
)
def test_a_made_page_is_as_it_is_made(page, made, command):
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert command in text
    assert text == made(), f"run `{command} > docs/{page}.md`"


def test_example_of_modes_runs():
    example = runpy.run_path(str(ROOT / "examples" / "modes.py"))
    rows = example["table"](40)
    assert len(rows) == 16
    assert all(0 <= float(cell) <= 100 for row in rows for cell in row[3:])
