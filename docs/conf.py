"""Sphinx: `pip install -c constraints.txt -e '.[docs]'`, then `sphinx-build -W --keep-going docs site`."""

import re
from pathlib import Path

import snnverify

project, author, release = "snnverify", "the snnverify authors", snnverify.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
html_theme = "furo"
html_title = "snnverify"
default_role = "literal"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
napoleon_google_docstring = False
exclude_patterns = ["site"]
# A class that two modules hand on has two pages; a type that names it may lead to either.
suppress_warnings = ["ref.python"]

HERE, PACKAGE = Path(__file__).parent, Path(snnverify.__file__).parent
FOREIGN = ("zoo/corpus",)  # other people's style


def _pages(app):
    """Write a page for every public module, under docs/api/, which is not kept."""
    folder = HERE / "api"
    folder.mkdir(exist_ok=True)
    names = []
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE.parent).with_suffix("")
        parts = inside.parts[:-1] if inside.name == "__init__" else inside.parts
        if not any(p.startswith("_") for p in parts) and not any(f in path.as_posix() for f in FOREIGN):
            names.append(".".join(parts))
    for name in names:
        title = f"{name}\n{'=' * len(name)}\n\n"
        # a function named as the module that it lives in is described there
        inner = ", ".join(n.rsplit(".", 1)[1] for n in names if n.rpartition(".")[0] == name)
        # public names live in other modules, where links to them lead
        own = "" if name != PACKAGE.name else "   :no-index:\n"
        (folder / f"{name}.rst").write_text(
            f"{title}.. automodule:: {name}\n   :members:\n   :exclude-members: {inner}\n   :show-inheritance:\n{own}"
        )
    tree = "\n".join(f"   {name}" for name in names)
    (folder / "index.rst").write_text(f"API\n===\n\nEvery public module.\n\n.. toctree::\n   :maxdepth: 1\n\n{tree}\n")


def _plain(app, what, name, obj, options, lines):
    """Stars and bars are arithmetic in this package's docstrings, outside literals: never emphasis or substitutions."""
    for i, line in enumerate(lines):
        pieces = re.split(r"(``.*?``|`.*?`)", line)
        lines[i] = "".join(p if p.startswith("`") else re.sub(r"(?<!\\)([*|])", r"\\\1", p) for p in pieces)


def setup(app):
    """Hooks."""
    app.connect("builder-inited", _pages)
    app.connect("autodoc-process-docstring", _plain, priority=400)  # before napoleon
