"""`snnverify init` on sample projects: what it writes is run as it stands, by bash, pytest and pre-commit."""

import os
import shutil
import stat
import subprocess

import pytest
import tomllib
import yaml
from quickstart import ROOT, blocks, shell, write_project

from snnverify import scaffold, zoo
from snnverify.config import read_config

FILES = {"pyproject.toml", "tests/test_fidelity.py", ".github/workflows/snnverify.yml"}
GIT = ["git", "-c", "user.name=sample", "-c", "user.email=sample@example.org", "-c", "init.defaultBranch=main"]


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def steps(workflow):
    """The steps of a workflow that run something, with the folder that they run in."""
    (job,) = yaml.safe_load(workflow.read_text())["jobs"].values()
    place = workflow.parents[2] / job["defaults"]["run"]["working-directory"]
    return [step for step in job["steps"] if "run" in step], place


def run_workflow(workflow, summary):
    """Run every step as GitHub does: bash, in order; after a failure only those that ask for it. Exit codes by step.

    The install is left out: the environment of this test takes its place.
    """
    ran, (todo, place) = {}, steps(workflow)
    for step in todo:
        if step["name"] == "Install" or (any(ran.values()) and step.get("if") != "${{ !cancelled() }}"):
            continue
        done = shell(step["run"], place, GITHUB_STEP_SUMMARY=str(summary), CI="true")
        ran[step["name"]] = done.returncode
        print(done.stdout, done.stderr)
    return ran


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a project with weights and data of its own: the quick start's."""
    folder = tmp_path_factory.mktemp("trained")
    write_project(folder)
    assert shell("python nets.py", folder).returncode == 0
    return folder


@pytest.fixture
def sample(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "sample")


OPTIONS = ["--model", "nets.py:build", "--weights", "net.pt", "--data", "test.npz", "--calibration", "train.npz",
           "--max-drop", "2"]  # fmt: skip


def test_the_workflow_passes_where_nothing_is_lost(sample, cli, tmp_path):
    assert cli("init", sample, *OPTIONS, "-T", 16, 64).code == 0
    summary = tmp_path / "summary.md"
    assert run_workflow(sample / scaffold.WORKFLOW, summary) == {"Convert, measure, hold every law": 0, "Verdict": 0}
    assert "PASS" in summary.read_text()
    assert "<testsuite" in (sample / "reports" / "snnverify-gate.xml").read_text()
    assert (sample / "reports" / "snnverify" / "index.html").is_file()


def test_the_workflow_fails_where_accuracy_is_lost(sample, cli, tmp_path):
    assert cli("init", sample, *OPTIONS, "-T", 1).code == 0  # one time step holds one bit a unit
    assert run_workflow(sample / scaffold.WORKFLOW, tmp_path / "summary.md") == {
        "Convert, measure, hold every law": 1, "Verdict": 1}  # fmt: skip
    assert "FAIL" in (tmp_path / "summary.md").read_text()


def test_pre_commit_runs_the_hook_of_this_repository(sample, cli, tmp_path):
    """The hook's repository is made of the manifest alone: pre-commit takes committed ones, and this may be no checkout."""
    assert cli("init", sample, *OPTIONS, "-T", 16, 64).code == 0
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    shutil.copy(ROOT / ".pre-commit-hooks.yaml", hooks)
    for folder in (hooks, sample):
        subprocess.run([*GIT, "init", "-q"], cwd=folder, check=True)
        subprocess.run([*GIT, "add", "."], cwd=folder, check=True)
    subprocess.run([*GIT, "commit", "-q", "-m", "hooks"], cwd=hooks, check=True)
    revision = subprocess.run([*GIT, "rev-parse", "HEAD"], cwd=hooks, check=True, capture_output=True, text=True).stdout
    shown = yaml.safe_load(blocks("yaml")[0])
    shown["repos"][0] |= {"repo": str(hooks), "rev": revision.strip()}
    (sample / ".pre-commit-config.yaml").write_text(yaml.safe_dump(shown))
    subprocess.run([*GIT, "add", ".pre-commit-config.yaml"], cwd=sample, check=True)
    kept = {"PRE_COMMIT_HOME": str(tmp_path / "cache")}

    def commit():
        return shell("pre-commit run --verbose", sample, **kept)

    done = commit()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr
    assert "Passed" in done.stdout
    assert "verdict: PASS" in done.stdout
    subprocess.run([*GIT, "commit", "-q", "-m", "all"], cwd=sample, check=True)
    (sample / "README.md").write_text("words\n")
    subprocess.run([*GIT, "add", "README.md"], cwd=sample, check=True)
    assert "no files to check" in commit().stdout
    settings = (sample / "pyproject.toml").read_text()
    (sample / "pyproject.toml").write_text(settings.replace("[16, 64]", "[1]"))
    subprocess.run([*GIT, "add", "pyproject.toml"], cwd=sample, check=True)
    done = commit()
    assert done.returncode == 1
    assert "verdict: FAIL" in done.stdout


def test_without_options_an_embedded_model_is_set_up(tmp_path, cli):
    done = cli("init", tmp_path / "new")
    assert done.code == 0
    assert set(contents(tmp_path / "new")) == FILES
    settings = read_config(tmp_path / "new")
    assert settings.model in zoo.MODELS
    assert settings.gate == {"max_drop": "1.0 points"}
    assert [line for line in done.out.splitlines() if line.startswith("written: ")] == [
        f"written: {tmp_path / 'new' / name}"
        for name in ("pyproject.toml", "tests/test_fidelity.py", ".github/workflows/snnverify.yml")
    ]


def test_what_is_given_is_what_is_read(tmp_path, cli):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("class c: ...\n")
    odd = 'd"a\\t é\x7f.npz'
    (tmp_path / odd).touch()
    given = [
        "--model",
        "a.b:c",
        "--data",
        odd,
        "-T",
        3,
        5,
        "--max-drop",
        "1 % relative",
        "--suite",
        "checks/x y_test.py",
    ]
    assert cli("init", tmp_path, *given).code == 0
    settings = read_config(tmp_path)
    assert (settings.model, settings.data, settings.timesteps) == ("a.b:c", str(tmp_path / odd), (3, 5))
    assert settings.gate == {"max_drop": "1 % relative"}
    todo, _ = steps(tmp_path / scaffold.WORKFLOW)
    assert "'checks/x y_test.py' --report" in todo[1]["run"]


BEFORE = """# a comment
[project]   # odd   spacing
name = "p"

[tool.ruff]
lint = [
  [
]]
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "before", [BEFORE, BEFORE.rstrip(), "", "\n", "x = 1", "[tool.snnverify.oracles.mine]\ntarget = 'm:o'"]
)
def test_the_rest_of_a_pyproject_stays_byte_by_byte(tmp_path, before, end):
    before = before.replace("]]\n", "]\n]\n") if "lint" in before else before
    file = tmp_path / "pyproject.toml"
    file.write_bytes(before.replace("\n", end).encode())
    scaffold.scaffold(tmp_path, {})
    after = file.read_bytes()
    assert after.startswith(before.replace("\n", end).encode())
    assert (b"\r\n" in after) == (end == "\r\n" and "\n" in before)
    document = tomllib.loads(after.decode())
    assert document["tool"]["snnverify"]["timesteps"] == [4, 8, 16, 32, 64]
    for key, value in tomllib.loads(before).items():
        assert key == "tool" or document[key] == value


def test_what_is_there_is_refused_and_force_replaces_that_alone(tmp_path, cli):
    others = '[tool.a]\nx = """\n[b]\n"""\n\n# about c\n[tool.c]\ny = [\n  1,\n]\n'
    mine = "[tool.snnverify]\nmodel = 'digits_cnn'\n# gone\n\n[tool.snnverify.gate]\nmax_drop = '3 points'\n"
    nested = "[tool.snnverify.gate.max_energy]\nloihi = '1 uJ'\n[ tool . 'snnverify' . oracles.mine ]\ntarget = 'm:o'\n"
    file = tmp_path / "pyproject.toml"
    file.write_text(others.replace("# about c", mine + nested + "\n# about c"))
    before = contents(tmp_path)
    done = cli("init", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "[tool.snnverify] already" in done.err
    assert contents(tmp_path) == before
    assert cli("init", tmp_path, "--force").code == 0
    text = file.read_text()
    document = tomllib.loads(text)
    assert document["tool"].pop("snnverify") == {
        "model": "digits_mlp", "timesteps": [4, 8, 16, 32, 64], "gate": {"max_drop": "1.0 points"},
        "oracles": {"mine": {"target": "m:o"}}}  # fmt: skip
    assert document == tomllib.loads(others)
    assert "# about c\n[tool.c]" in text
    assert "gone" not in text
    again = cli("init", tmp_path, "--force", "-T", 7)
    assert again.code == 0
    assert read_config(tmp_path).timesteps == (7,)
    assert "# about c\n[tool.c]" in file.read_text()


@pytest.mark.parametrize("name", ["tests/test_fidelity.py", ".github/workflows/snnverify.yml"])
def test_a_file_that_is_there_stays(tmp_path, cli, name):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("mine")
    done = cli("init", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert str(tmp_path / name) in done.err
    assert contents(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"[tool", "mend the file"),
        (b"\xff\xfe", "mend the file"),
        (b"tool = {a = 1}", "without touching the rest"),
        (b"[tool]\nsnnverify = {model = 'm:f'}", "already"),
        (b"tool.snnverify.model = 'm:f'", "already"),
    ],
)
def test_a_pyproject_that_cannot_be_appended_to_is_refused_in_one_line(tmp_path, cli, text, said):
    (tmp_path / "pyproject.toml").write_bytes(text)
    done = cli("init", tmp_path)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err
    assert str(tmp_path / "pyproject.toml") in done.err
    assert contents(tmp_path) == {"pyproject.toml": text}


@pytest.mark.parametrize("text", [b"[tool]\nsnnverify = {model = 'm:f'}\n", b"tool.snnverify.model = 'm:f'\n"])
def test_force_does_not_touch_what_it_cannot_tell_apart(tmp_path, cli, text):
    (tmp_path / "pyproject.toml").write_bytes(text)
    done = cli("init", tmp_path, "--force")
    assert (done.code, contents(tmp_path)) == (2, {"pyproject.toml": text})
    assert "write it yourself" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "digits_mpl"],
        ["--model", "nets.py"],
        ["--model", "nosuch.py:x"],
        ["--model", "nosuch.package:x"],
        ["--data", "test.npz"],
        ["--model", "digits_mlp", "--weights", "w.pt"],
        ["-T", 8, 4],
        ["--max-drop", "much"],
        ["--max-drop", "3 percent"],
        ["--suite", "../test_x.py"],
        ["--suite", "/test_x.py"],
        ["--suite", "fidelity.py"],
    ],
)
def test_options_that_cannot_be_followed_write_nothing(tmp_path, cli, arguments):
    done = cli("init", tmp_path / "new", *arguments)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert str(arguments[-1]).partition(" ")[0] in done.err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_interruption_leaves_everything_as_it_was(tmp_path, cli, monkeypatch, at, fault):
    (tmp_path / "pyproject.toml").write_text(BEFORE[: BEFORE.index("[tool")])
    before, write, calls = contents(tmp_path), scaffold.write_atomic, []

    def broken(path, data):
        calls.append(path)
        if len(calls) == at + 1:
            path.parent.mkdir(parents=True, exist_ok=True)  # as far as it comes
            raise fault
        return write(path, data)

    monkeypatch.setattr(scaffold, "write_atomic", broken)
    assert cli("init", tmp_path).code == (130 if fault is KeyboardInterrupt else 2)
    assert contents(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["pyproject.toml"]


def test_a_folder_that_is_a_file_is_named(tmp_path, cli):
    (tmp_path / "file").write_text("")
    done = cli("init", tmp_path / "file")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert str(tmp_path / "file") in done.err


def test_below_the_root_of_a_repository_the_workflow_lies_in_the_root(tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "nets" / "one").mkdir(parents=True)
    (tmp_path / "nets" / "one" / "requirements.txt").write_text("einops\n")
    scaffold.scaffold(tmp_path / "nets" / "one", {})
    todo, place = steps(tmp_path / scaffold.WORKFLOW)
    assert place == tmp_path / "nets" / "one"
    assert todo[0]["run"].endswith(" -r requirements.txt")
    (job,) = yaml.safe_load((tmp_path / scaffold.WORKFLOW).read_text())["jobs"].values()
    assert job["steps"][-1]["with"]["path"] == "nets/one/reports"


def test_links_stay_links_and_modes_are_plain(tmp_path):
    (tmp_path / "real.toml").write_text("x = 1\n")
    (tmp_path / "pyproject.toml").symlink_to("real.toml")
    scaffold.scaffold(tmp_path, {})
    assert (tmp_path / "pyproject.toml").is_symlink()
    assert "snnverify" in (tmp_path / "real.toml").read_text()
    assert stat.S_IMODE(os.stat(tmp_path / scaffold.WORKFLOW).st_mode) == 0o644


def test_the_suite_written_is_short():
    assert len((ROOT / "snnverify/templates/test_fidelity.py.in").read_text().splitlines()) <= 15
