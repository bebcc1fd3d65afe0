"""The page of tutorials: it is whole, its runner runs what stands there, and the cheapest of its blocks do run."""

import pytest
import tutorials
from quickstart import ROOT

from snnverify.cli import _parser


def commands():
    return [line.split("#")[0].split() for _, block in tutorials.tutorials() for line in block.splitlines()]


def test_every_example_is_on_the_page():
    page = tutorials.PAGE.read_text()
    for path in (ROOT / "examples").iterdir():
        assert path.is_dir() or f"examples/{path.name}" in page, path.name


def test_every_command_parses():
    for command in commands():
        assert command[0] in ("python", "snnverify")
        if command[0] == "snnverify":
            _parser().parse_args(command[1:])


@pytest.mark.parametrize("word", ["lava_blocks", "test_my_check"])
def test_cheap_blocks_run(word, capsys):
    assert tutorials.main([word]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("passed: ")


def test_the_runner_runs_every_block_and_tells_which_fail(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr(tutorials, "run", lambda block: ran.append(block) or int("waterfall" in block))
    assert tutorials.main([]) == 1
    own = [block for _, block in tutorials.tutorials() if tutorials.INSTALL not in block]
    assert ran == own
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if "failed" in line] == ["failed (1): Where accuracy went, 0 s"]
    assert tutorials.main(["--libraries"]) == 1
    assert len(ran) - len(own) == len(tutorials.tutorials()) > len(own) >= 8


def test_a_block_that_fails_is_a_failure():
    assert tutorials.run("ls examples > /dev/null") == 0
    assert tutorials.run("snnverify map digits_mlp --target nowhere | cat") == 2
