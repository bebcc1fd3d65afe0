"""Shared by the tests of other interpreters."""

import os
import sys
import time
import venv
from pathlib import Path

import numpy as np


def make_environment(folder, numpy=True):
    """A bare environment, with numpy or with nothing; returns its interpreter."""
    venv.create(folder, symlinks=True, with_pip=False)
    if numpy:
        link_numpy(folder)
    return folder / "bin" / "python"


def link_numpy(folder):
    (packages,) = (folder / "lib").glob("python*/site-packages")
    home = Path(np.__file__).parents[1]
    for part in ("numpy", "numpy.libs", f"numpy-{np.__version__}.dist-info"):
        if (home / part).exists():
            (packages / part).symlink_to(home / part)


def script(path, text):
    """An executable shell script."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def gone(pid, within=5.0):
    """Whether a process ends within some seconds; an orphan that nobody waits for counts as ended."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)  # a child of ours that has ended stays a zombie until it is waited for
            if sys.platform == "linux" and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False
