"""The quick start as its page has it, block by block, in an empty folder: ``python tests/quickstart.py [--install]``.

Without ``--install`` the page's first block, which makes an environment, is left out: the commands then run in this one.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "quickstart.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)


def environment() -> dict[str, str]:
    """This one, with its commands first on the path, and the package of this checkout; no CI service's variables."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    seen = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")} | {"PATH": path, "PYTHONPATH": seen}


def shell(script: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a GitHub Actions step does: bash, the first failure ends it."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    return subprocess.run(command, cwd=folder, env=environment() | env, capture_output=True, text=True, check=False)


def write_project(folder: Path) -> None:
    """Write the page's ``nets.py``, whose first line names it."""
    (code,) = blocks("python")
    name = re.match(r"# (\w+\.py)\n", code)[1]
    (folder / name).write_text(code, "utf-8")


def main() -> int:
    """Print what the blocks print and how long they took; return the exit code of the first that fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--install", action="store_true", help="into an environment of its own, as on the page")
    install, verdict, pipeline = blocks("bash")
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "project"
        folder.mkdir()
        (Path(room) / "snnverify").symlink_to(ROOT)
        prefix, env, seconds = "", {}, {}
        if parser.parse_args().install:
            prefix, env = ". .venv/bin/activate\n", {"PYTHONPATH": ""}
        else:
            install = ""
        for name, script in (
            ("install", install),
            ("first verdict", prefix + verdict),
            ("pipeline", prefix + pipeline),
        ):
            write_project(folder)
            start = time.monotonic()
            done = shell(script, folder, **env)
            seconds[name] = time.monotonic() - start
            print(done.stdout, done.stderr, sep="\n", flush=True)
            if done.returncode:
                return done.returncode
    print("; ".join(f"{name}: {s:.0f} s" for name, s in seconds.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
