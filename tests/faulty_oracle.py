"""A user's oracle with planted faults; it runs in a worker."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import neighbour  # beside the copy of this file that runs
import numpy as np

from snnverify.activation import Neuron
from snnverify.errors import NetworkError, Unsupported
from snnverify.oracles import ANY, Oracle
from snnverify.trace import Trace

C = ctypes.CDLL(None)


def oracle():
    print("made with", neighbour.WORD)
    return Oracle(
        "faulty",
        "0.9",
        simulator=simulator,
        operators={f.__name__: f for f in OPERATORS},
        families={"Cell": {"fires": (">",), "theta": ANY, "v_floor": (None, 0.5)}, "Hard": {"reset": ("value",)}},
        boxes={"Cell(a=1)": {"theta": 1.0}},
    )


def simulator(case, record):
    if isinstance(case.network.output.act, Neuron):
        raise Unsupported("cell", "it has no neurons", "take a Scale")
    return Trace(case.x.sum(0, keepdims=True)[None], (case.steps,), {}, {})


def echo(*args, **kwargs):
    return {"args": args, **kwargs}


def segfault():
    print("about to read address 0", file=sys.stderr)
    ctypes.string_at(0)


def leave():
    sys.stderr.write("\n".join(f"line {i}" for i in range(5000)) + "\n\n")
    os._exit(7)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def quits():
    sys.exit("the library gives up")


def hang():
    print("waiting for a licence", flush=False)
    time.sleep(1000)


def hang_hard():
    """The interpreter is held by C code: no other thread runs, no signal handler either."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def scribble():
    """On every descriptor but the three standard ones."""
    for fd in range(3, 32):
        try:
            os.write(fd, b"Epoch 1/10")
        except OSError:
            continue


def closes():
    time.sleep(0.1)  # so that the worker's listener waits in its read, and never tries one on a closed stream
    for fd in range(3, 32):
        try:
            os.close(fd)
        except OSError:
            continue
    time.sleep(1000)


def chatter():
    """By Python, by C, by a child: none of it may reach the wire."""
    print("loss 0.1")
    C.puts(b"loss 0.2")
    C.fflush(None)
    os.write(1, b"loss 0.3\n")
    subprocess.run([sys.executable, "-c", "import sys; print('loss 0.4', repr(sys.stdin.read()))"], check=True)
    sys.stderr.write("x" * 300_000)
    return sys.stdin.read()


def fails():
    raise ValueError("two\nlines")


def refuses():
    raise NetworkError("layer 'a': no")


def memory():
    return np.ones(1 << 50)


def no_frame():
    return object()


def objects():
    return np.array([{}], dtype=object)


def identity():
    return os.getpid(), os.getppid(), os.getsid(0)


def surroundings():
    variables = [k for k in os.environ if k.startswith(("PYTHON", "VIRTUAL_ENV"))]
    return {"path": sys.path, "variables": variables, "threads": os.environ.get("OMP_NUM_THREADS"),
            "modules": list(sys.modules), "package": str(Path(sys.modules["snnverify"].__file__).parent)}  # fmt: skip


def grandchild():
    return subprocess.Popen(["sleep", "1000"]).pid


def fork():
    child = os.fork()
    if child == 0:
        time.sleep(1000)
    return child


def fork_of_a_fork(files):
    """Two generations, the older with `files` open where the worker's streams were; whether the younger has them too."""
    incoming, outgoing = os.pipe()
    child = os.fork()
    if child == 0:
        opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(files)]
        if os.fork() == 0:
            there = sum(os.path.exists(f"/proc/self/fd/{fd}") for fd in opened)
            os.write(outgoing, f"{os.getpid()} {there} {min(opened, default=0) < incoming}".encode())
        time.sleep(1000)
    grandchild, there, low = os.read(incoming, 64).decode().split()
    os.close(incoming), os.close(outgoing)
    return child, int(grandchild), int(there), low == "True"


def killed_with_a_fork():
    fork()
    killed()


def imports(name):
    return __import__(name).__name__


OPERATORS = [v for k, v in list(globals().items()) if callable(v) and getattr(v, "__module__", "") == __name__
             and k != "oracle"]  # fmt: skip
