"""The quick start runs as it is written, and what it says of files and exit codes is so."""

import pytest
import quickstart
import tomllib
from quickstart import PAGE, blocks, shell, write_project

from snnverify.config import read_config


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Return the folder after the page's second block, and what the block printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    write_project(folder)
    done = shell(blocks("bash")[1], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


def test_the_blocks_give_a_verdict(followed):
    folder, said = followed
    assert said.splitlines()[-1] == "verdict: PASS nets.build"
    assert (folder / "reports" / "first" / "index.html").is_file()


def test_the_pipeline_gives_the_same_and_its_settings_are_those_of_the_page(followed):
    folder, _ = followed
    done = shell(blocks("bash")[2], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verdict: PASS" in done.stdout
    (shown,) = blocks("toml")
    written = tomllib.loads((folder / "pyproject.toml").read_text())
    assert written == tomllib.loads(shown)
    settings = read_config(folder)
    assert (settings.timesteps, settings.gate) == ((4, 16, 64), {"max_drop": "2 points"})


def test_exit_codes_are_those_of_the_table(followed, cli, monkeypatch):
    monkeypatch.chdir(followed[0])
    wanted = {
        ("reports/first",): 0,
        ("reports/first", "--gate-t", "4", "--max-drop", "0"): 1,
        ("reports/nowhere",): 2,
        ("reports/first", "--max-drop", "0"): 3,
    }
    assert {arguments: cli("gate", *arguments).code for arguments in wanted} == wanted
    assert [f"\n| {code} | " in PAGE.read_text() for code in wanted.values()] == [True] * 4


def test_the_script_that_measures_it_runs_the_same_blocks(monkeypatch, capsys):
    ran = []
    monkeypatch.setattr("sys.argv", ["quickstart.py"])
    monkeypatch.setattr(quickstart, "shell", lambda script, folder, **env: ran.append(script) or shell("true", folder))
    assert quickstart.main() == 0
    assert ran == ["", *blocks("bash")[1:]]
    assert "first verdict: " in capsys.readouterr().out
