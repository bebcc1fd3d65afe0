"""Every block of docs/tutorials.md as it stands: ``python tests/tutorials.py [--libraries] [WORD ...]``.

Blocks that install another library first are run with ``--libraries`` alone. Words choose blocks by their text.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path

from quickstart import ROOT, shell

PAGE = ROOT / "docs" / "tutorials.md"
INSTALL = "snnverify oracle install"


def tutorials() -> list[tuple[str, str]]:
    """Heading and text of every block of commands."""
    parts = re.split(r"^## (.*)\n", PAGE.read_text("utf-8"), flags=re.M)[1:]
    return [(title, block) for title, text in zip(parts[::2], parts[1::2], strict=True)
            for block in re.findall(r"^```bash\n(.*?)^```", text, re.S | re.M)]  # fmt: skip


def run(block: str) -> int:
    """Run a block in a folder that looks like a checkout; print what it prints, return its exit code."""
    with tempfile.TemporaryDirectory() as room:
        for name in ("examples", "suites"):
            (Path(room) / name).symlink_to(ROOT / name)
        done = shell(block, Path(room))
    print(done.stdout, done.stderr if done.returncode else "", sep="\n", flush=True)
    return done.returncode


def main(arguments: list[str] | None = None) -> int:
    """Run the blocks that are asked for; print a line each, return how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="of the blocks to run; all by default")
    parser.add_argument("--libraries", action="store_true", help="those that need another library, too")
    options = parser.parse_args(arguments)
    rows = []
    for title, block in tutorials():
        if options.words and not any(word in block for word in options.words):
            continue
        if INSTALL in block and not options.libraries:
            rows.append(f"left out: {title}")
            continue
        start = time.monotonic()
        code = run(block)
        rows.append(f"{'passed' if code == 0 else f'failed ({code})'}: {title}, {time.monotonic() - start:.0f} s")
    print("\n".join(rows))
    return sum(row.startswith("failed") for row in rows)


if __name__ == "__main__":
    sys.exit(main())
