"""What `snnverify init` writes into a project: settings, a suite and a workflow, from `templates/`."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import tomllib

from . import __version__
from .config import SECTION, Settings, merge
from .content import write_atomic
from .data import files_of
from .errors import ConfigError
from .gate.policy import in_points, policy
from .objects import nearest
from .sound import SPLITS

WORKFLOW = ".github/workflows/snnverify.yml"
EMBEDDED = "digits_mlp"
OURS = re.compile(r"tool\.snnverify(\.gate(\..+)?)?")  # tables that are written; those of oracles are the user's
_HEADER = re.compile(r"\s*\[\[?\s*([^\[\]]+?)\s*\]\]?\s*(#.*)?")
_SPLIT = re.compile(f"@({'|'.join(SPLITS)})$")  # a part of a folder of WAV files
_EXAMPLES = {"weights": "net.safetensors", "data": "test.npz", "calibration": "train.npz"}


def scaffold(
    folder: Path, given: Mapping[str, Any], *, suite: str = "tests/test_fidelity.py", requirement: str | None = None,
    force: bool = False,
) -> list[Path]:  # fmt: skip
    """Write the settings, a suite and a GitHub Actions workflow into a project: all of them, or nothing.

    Parameters
    ----------
    folder : Path
        The project; it is made where it does not exist.
    given : mapping
        Settings, by the keys of ``[tool.snnverify]``; None is left to the default. Without a model, an embedded one.
    suite : str
        Path of the suite, from `folder`.
    requirement : str, optional
        What the workflow has pip install; this copy of snnverify by default, see `installable`.
    force : bool
        Replace what is there: files, and the tables ``[tool.snnverify]`` and ``[tool.snnverify.gate]``.

    Returns
    -------
    list of Path
        Files written. The workflow lies in the root of the git repository that `folder` is in.

    Raises
    ------
    ConfigError
        A setting that cannot be followed, a model that is not there; something is there already; a ``pyproject.toml``
        that cannot be read, or that no
        table can be appended to.
    """
    project, root = folder.resolve(), _repository(folder.resolve())
    inside = PurePosixPath(suite)
    if inside.is_absolute() or ".." in inside.parts or not re.fullmatch(r"test_.*\.py|.*_test\.py", inside.name):
        raise ConfigError(f"--suite {suite!r}: give a path inside the project that pytest collects, test_<name>.py")
    settings, tests, workflow = project / "pyproject.toml", project / suite, root / WORKFLOW
    there = [str(p) for p in (tests, workflow) if p.exists()]
    if there and not force:
        raise ConfigError(
            f"{' and '.join(there)}: there already; --force replaces {'it' if len(there) == 1 else 'them'}"
        )
    place = PurePosixPath(project.relative_to(root))
    packages = [requirement or installable()[0]]
    packages += ["-r", "requirements.txt"] * (project / "requirements.txt").is_file()
    texts = {
        settings: _settings(settings, _section(given, project), force),
        tests: _filled("test_fidelity.py.in"),
        workflow: _filled(
            "snnverify.yml.in",
            place=json.dumps(str(place)), suite=shlex.quote(suite), packages=shlex.join(packages),
            reports=json.dumps(str(place / "reports")),
        ),
    }  # fmt: skip
    _write_all(texts)
    return list(texts)


def _repository(project: Path) -> Path:
    """Root of the git repository, the only place where workflows are looked for; the project itself outside of one."""
    return next((p for p in (project, *project.parents) if (p / ".git").exists()), project)


def _filled(template: str, **values: str) -> str:
    return Template(files(__package__).joinpath("templates", template).read_text("utf-8")).substitute(values)


def installable() -> tuple[str, str]:
    """What a runner can have pip install to get this copy, and the command that makes it reachable; empty where it is.

    An index or a repository that it came from (PEP 610) serves the runner, too. A folder or a wheel of this machine does
    not, and the name of a version that no index has would be anybody's to take: then it is a wheel to be committed.
    """
    try:
        text = distribution(__package__).read_text("direct_url.json")
    except PackageNotFoundError:  # run from its source
        text = json.dumps({"url": Path(__file__).resolve().parents[1].as_uri()})
    if text is None:
        return f"{__package__}=={__version__}", ""
    came = json.loads(text)
    if vcs := came.get("vcs_info"):
        return f"{__package__} @ {vcs['vcs']}+{came['url']}@{vcs['commit_id']}", ""
    if not came["url"].startswith("file:"):
        return f"{__package__} @ {came['url']}", ""
    source = url2pathname(urlsplit(came["url"]).path)
    wheel = f"wheels/{__package__}-{__version__}-py3-none-any.whl"
    return wheel, f"python -m pip wheel --no-deps -w wheels {shlex.quote(source)}"


def _there(model: str, project: Path) -> None:
    """Refuse a model whose file, module or name is not there; nothing of it is imported."""
    where, _, name = model.rpartition(":")
    file = project / where if where.endswith(".py") else project / f"{where.replace('.', '/')}.py"
    if where.endswith(".py") and not file.is_file():
        raise ConfigError(
            f"--model {model!r}: no file {file}; write it first, or mend the path, which starts at {project}"
        )
    if not file.is_file():
        first = where.partition(".")[0]
        if not (project / first).is_dir() and find_spec(first) is None:
            raise ConfigError(f"--model {model!r}: no module {first!r} in {project} or installed; write it first, or name "
                              "a file: path.py:callable")  # fmt: skip
        return
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError) as e:
        raise ConfigError(
            f"--model {model!r}: {file} cannot be read ({' '.join(str(e).split())}); mend the file"
        ) from None
    bound: set[str] = set()
    for v in ast.walk(tree):
        if isinstance(v, (ast.FunctionDef, ast.ClassDef)):
            bound.add(v.name)
        elif isinstance(v, ast.Name) and isinstance(v.ctx, ast.Store):
            bound.add(v.id)
        elif isinstance(v, (ast.Import, ast.ImportFrom)):
            bound |= {(alias.asname or alias.name).partition(".")[0] for alias in v.names}
    if name.partition(".")[0] not in bound and "*" not in bound:
        raise ConfigError(f"--model {model!r}: {file} has no {name!r}{nearest(name, bound)}")


def _section(given: Mapping[str, Any], project: Path) -> str:
    """Text of the two tables; a key that nothing was said of stands there as a comment."""
    told = {key: value for key, value in given.items() if value is not None}
    drop = in_points(str(told.pop("max_drop", "1.0")))
    checked = merge(told, Settings())
    policy({"max_drop": drop}, "command line:")
    model = told.get("model", EMBEDDED)
    if ":" not in model:
        if "model" in told:
            from .pipeline import embedded_names

            embedded_names(model)
        if own := [key for key in _EXAMPLES if key in told]:
            raise ConfigError(f"--{own[0]} {told[own[0]]!r}: it goes with a model of your own; name that by --model")
    else:
        _there(model, project)
        for key in (k for k in _EXAMPLES if k in told):
            named = [project / told[key]] if key == "weights" else files_of(told[key], project)
            for file in (f for f in named if not Path(_SPLIT.sub("", str(f))).exists()):
                where = f"no file {file}; write it first, or mend the path, which starts at {project}"
                raise ConfigError(f"--{key} {told[key]!r}: {where}")
    hint = "" if "model" in told else "  # an embedded one; yours: nets.py:build, a callable that returns an nn.Module"
    lines = {key: f"{key} = {_quoted(told[key])}" if key in told else f'# {key} = "{example}"'
             for key, example in _EXAMPLES.items()}  # fmt: skip
    return _filled("pyproject.toml.in", model=f"model = {_quoted(model)}{hint}", **lines,
                   timesteps=str(list(checked.timesteps)), max_drop=f"max_drop = {_quoted(drop)}")  # fmt: skip


def _quoted(text: str) -> str:
    """A basic string of TOML, which escapes as JSON does, but for DEL and what JSON writes as surrogates."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _settings(file: Path, section: str, force: bool) -> str:
    """Text of a ``pyproject.toml`` with the section; what else it says stays as it is, which is made sure of."""
    try:
        text = file.read_bytes().decode("utf-8") if file.exists() else ""
        document = tomllib.loads(text)
    except (OSError, ValueError) as e:
        raise ConfigError(f"{file}: cannot be read ({e}); mend the file") from None
    others = _without(document)
    if others != document:
        if not force:
            raise ConfigError(f"{file}: it has {SECTION} already; edit it there, or replace it by --force")
        text = _cut(text)
    end = "\r\n" if "\r\n" in text else "\n"
    joined = text + ("" if not text or text.endswith(("\n", "\r")) else end) + (end if text.strip() else "")
    joined += section.replace("\n", end)
    try:
        kept = _without(tomllib.loads(joined)) == others
    except tomllib.TOMLDecodeError:
        kept = False
    if not kept:
        raise ConfigError(f"{file}: {SECTION} cannot be put there without touching the rest (a table written in another "
                          "form?); write it yourself, as docs/gate.md shows")  # fmt: skip
    return joined


def _without(document: Mapping[str, Any]) -> dict[str, Any]:
    """All of a document but what the two tables hold."""
    tool = document.get("tool")
    if not isinstance(tool, dict) or "snnverify" not in tool:
        return dict(document)
    mine = tool["snnverify"]
    own = {"oracles": mine["oracles"]} if isinstance(mine, dict) and "oracles" in mine else {}
    rest = {key: value for key, value in tool.items() if key != "snnverify"} | ({"snnverify": own} if own else {})
    return {key: value for key, value in document.items() if key != "tool"} | ({"tool": rest} if rest else {})


def _cut(text: str) -> str:
    """A document without the two tables, line by line; comments that stand right above another table stay with it."""
    kept: list[str] = []
    above: list[str] = []
    ours = False
    for line in text.splitlines(keepends=True):
        if header := _HEADER.fullmatch(line.rstrip("\r\n")):
            ours = OURS.fullmatch(re.sub(r"[\s\"']", "", header[1])) is not None
            kept += [] if ours else above
            above = []
        if not ours:
            kept.append(line)
        elif line.lstrip().startswith("#"):
            above.append(line)
        else:
            above = []
    return "".join(kept).rstrip() + "\n" if kept else ""


def _write_all(texts: Mapping[Path, str]) -> None:
    """Write all files, or leave everything as it was."""
    before = {path: path.read_bytes() if path.exists() else None for path in texts}
    missing = {folder for path in texts for folder in path.parents if not folder.exists()}
    try:
        for path, text in texts.items():
            write_atomic(path.resolve(), text)  # a link stays one
    except BaseException:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != content:
                write_atomic(path.resolve(), content)
        for folder in sorted(missing, key=lambda p: len(p.parts), reverse=True):
            if folder.exists():
                folder.rmdir()
        raise
