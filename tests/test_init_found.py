"""`snnverify init`: a model that is not there is refused, and the workflow installs what a runner can reach."""

import shlex
from types import SimpleNamespace

import pytest
from test_init import contents, steps

from snnverify import __version__, scaffold


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("def build(): ...\n", "biuld", "did you mean 'build'?"),
        ("def build(:\n", "build", "mend the file"),
        ("", "build", "has no 'build'"),
    ],
)
def test_a_model_that_its_file_lacks_is_refused_and_nothing_is_imported(tmp_path, cli, text, name, said):
    (tmp_path / "nets.py").write_text("open('ran', 'w')\n" + text)
    before = contents(tmp_path)
    done = cli("init", tmp_path, "--model", f"nets.py:{name}")
    assert (done.code, done.err.count("\n"), said in done.err) == (2, 1, True), done.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize("text", ["build = 3\n", "from torch.nn import Linear as build\n", "from other import *\n",
                                  "if True:\n    def build(): ...\n"])  # fmt: skip
def test_a_model_may_be_bound_in_any_way(tmp_path, cli, text):
    (tmp_path / "nets.py").write_text(text)
    assert cli("init", tmp_path, "--model", "nets.py:build").code == 0


CAME = {  # direct_url.json as PEP 610 has it: what the workflow installs, and whether a wheel has to be made
    None: ("snnverify==VERSION", False),
    '{"url": "https://h/o/r", "vcs_info": {"vcs": "git", "commit_id": "abc"}}': ("snnverify @ git+https://h/o/r@abc", False),
    '{"url": "https://h/s.whl", "archive_info": {}}': ("snnverify @ https://h/s.whl", False),
    '{"url": "file:///a%20b/s", "dir_info": {}}': ("wheels/snnverify-VERSION-py3-none-any.whl", True),
    '{"url": "file:///a/s.whl", "archive_info": {}}': ("wheels/snnverify-VERSION-py3-none-any.whl", True),
}  # fmt: skip


@pytest.mark.parametrize("came", CAME)
def test_the_workflow_installs_what_a_runner_can_reach(tmp_path, cli, monkeypatch, came):
    """Only a copy that an index gave is asked of an index by its name: an unpublished name is anybody's to take."""
    monkeypatch.setattr(scaffold, "distribution", lambda _: SimpleNamespace(read_text=lambda _: came))
    done = cli("init", tmp_path)
    packages, made = CAME[came]
    (todo, *_), _ = steps(tmp_path / scaffold.WORKFLOW)
    assert shlex.split(todo["run"])[4:] == [packages.replace("VERSION", __version__)]
    assert ("python -m pip wheel --no-deps -w wheels " in done.out) == made
    assert ("'/a b/s'" in done.out) == (came is not None and "a%20b" in came)
    told = cli("init", tmp_path, "--force", "--requirement", "snnverify @ git+https://h/o/r@v1")
    assert "git+https://h/o/r@v1" in (tmp_path / scaffold.WORKFLOW).read_text()
    assert "pip wheel" not in told.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--weights", "nosuch.pt"), "--weights 'nosuch.pt': no file "),
        (("--weights", "net.pt", "--data", "nosuch.npz"), "--data 'nosuch.npz': no file "),
        (("--data", "net.pt,labels"), "labels; write it first"),
        (("--data", "nosuch.npz[0:8000]"), "nosuch.npz; write it first"),
        (("--data", "wav@train"), "no file "),
        (("--data", "net.pt", "--calibration", "nosuch"), "--calibration 'nosuch': no file "),
    ],
)
def test_files_that_are_not_there_are_refused(tmp_path, cli, options, said):
    (tmp_path / "nets.py").write_text("def build(): ...\n")
    (tmp_path / "net.pt").touch()
    before = contents(tmp_path)
    done = cli("init", tmp_path, "--model", "nets.py:build", *options)
    assert (done.code, done.err.count("\n"), said in done.err) == (2, 1, True), done.err
    assert contents(tmp_path) == before


def test_data_that_are_called_or_a_part_of_a_folder_are_no_missing_file(tmp_path, cli):
    (tmp_path / "nets.py").write_text("def build(): ...\n")
    (tmp_path / "wav").mkdir()
    given = ("--data", "mine.data:load[0:9]", "--calibration", "wav@train")
    assert cli("init", tmp_path, "--model", "nets.py:build", *given).code == 0
