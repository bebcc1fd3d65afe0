"""Fuzzing of every reader: what it is given ends in a value or in one of the package's own errors, and soon.

    python tests/fuzz.py --inputs 2000 --seed 0            # every reader; exit 1 if one crashed or hung
    python tests/fuzz.py --readers netx nir --inputs 20000

Inputs are valid files with bytes flipped, cut out, doubled or put in, with tokens of text exchanged for hostile ones, and
archives with a member damaged in that way. Each batch runs in a process of its own with a limit on memory, so that a
library that crashes is seen, and the input that did it is kept.
"""

import argparse
import io
import json
import multiprocessing
import re
import resource
import signal
import sys
import tempfile
import warnings
import zipfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
from fuzz_readers import READERS, TEXT

from snnverify.errors import SnnverifyError

TOKENS = [
    b"nan", b"-1", b"1e400", b"0", b"''", b"[]", b"{}", b"null", b"true", b"99999999999999999999", b"\xff\xfe",
    b"../../x", b"2020-01-01", b'"x"', b"[[[[", b"\x00", b"-0.0", b"inf", b"a" * 3000,
]  # fmt: skip
SECONDS, WAITING, MEMORY = 10, 120, 4 << 30  # of the processor; by the clock, for what waits; bytes


def mutate(data, rng, text):
    """One to four edits of a valid file."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, max(len(data), 1)))
        kind = rng.integers(0, 6)
        size = int(rng.integers(1, 40))
        if text and kind < 4:
            words = list(re.finditer(rb"[-+.\w]+|\"[^\"\n]*\"", data))
            if words:
                word = words[int(rng.integers(0, len(words)))]
                other, hostile = (
                    words[int(rng.integers(0, len(words)))].group(),
                    TOKENS[int(rng.integers(0, len(TOKENS)))],
                )
                data[word.start() : word.end()] = other if kind < 2 else hostile
        elif kind == 0:
            data[at : at + size] = b""
        elif kind == 1:
            data[at:at] = data[at : at + size]
        elif kind == 2:
            data[at:at] = TOKENS[int(rng.integers(0, len(TOKENS)))]
        elif kind == 3:
            data = data[:at]
        else:
            for _ in range(rng.integers(1, 6)):
                if data:
                    data[int(rng.integers(0, len(data)))] = int(rng.integers(0, 256))
    return bytes(data)


def mutate_archive(data, rng):
    """Damage one member of an archive, or the archive; checksums hold, so that readers get past them."""
    if rng.random() < 0.2:
        return mutate(data, rng, False)
    source = zipfile.ZipFile(io.BytesIO(data))
    names = source.namelist()
    hit = names[int(rng.integers(0, len(names)))]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name in names:
            content = source.read(name)
            kind = rng.random()
            if name == hit and kind < 0.1:
                continue
            target.writestr(TOKENS[5].decode() if name == hit and kind < 0.15 else name,
                            mutate(content, rng, content[:1] == b"{") if name == hit else content)  # fmt: skip
    return buffer.getvalue()


@cache
def seed_of(reader):
    """The valid file that inputs are made from."""
    return READERS[reader][0]()


def made(reader, number, seed):
    """Input `number` of a reader: the valid file itself first."""
    data = seed_of(reader)
    if number == 0:
        return data
    rng = np.random.default_rng([seed, number, *reader.encode()])
    return mutate_archive(data, rng) if data[:2] == b"PK" else mutate(data, rng, reader in TEXT)


def _alarm(number, _):
    raise TimeoutError(
        f"more than {SECONDS} s of the processor" if number == signal.SIGPROF else f"more than {WAITING} s"
    )


def _watch(on):
    """Set both alarms, or take them back: a busy machine must not make a slow reader of a quick one."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS * on)
    signal.alarm(WAITING * on)


def batch(reader, first, last, seed, out):
    """In a process of its own: read inputs first ... last - 1; put (number, outcome) for each."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, _alarm)
    warnings.simplefilter("ignore")
    _, name, read = READERS[reader]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(seed_of(reader))
        with suppress(Exception):  # what it imports is loaded, unwatched: an alarm in the midst of that spoils the rest
            read(path)
        for number in range(first, last):
            path.write_bytes(made(reader, number, seed))
            out.put((number, "started"))
            _watch(True)
            try:
                read(path)
                outcome = "read"
            except SnnverifyError as e:
                outcome = "refused" if "\n" not in str(e) else f"an error of several lines: {e!r}"
            except BaseException as e:
                outcome = f"{type(e).__name__}: {e}"
            _watch(False)
            out.put((number, outcome))


def fuzz(reader, inputs, seed):
    """Give the inputs to a reader; returns counts, and what went wrong by number of input."""
    context = multiprocessing.get_context("fork")
    counts, wrong, first = {"read": 0, "refused": 0}, {}, 0
    while first < inputs:
        out = context.SimpleQueue()
        process = context.Process(target=batch, args=(reader, first, inputs, seed, out))
        process.start()
        running = first
        while process.is_alive() or not out.empty():
            if out.empty():
                process.join(0.01)
                continue
            number, outcome = out.get()
            if outcome == "started":
                running = number
            elif outcome in counts:
                counts[outcome] += 1
            else:
                wrong[number] = outcome
        process.join()
        if process.exitcode != 0:
            wrong[running] = f"the process died (exit {process.exitcode})"
        first = running + 1
    return counts, wrong


def main(argv=None):
    """Fuzz, print a line for each reader; 1 if anything but our own errors came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--readers", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for inputs that went wrong")
    options = parser.parse_args(argv)
    failed = 0
    for reader in options.readers:
        counts, wrong = fuzz(reader, options.inputs, options.seed)
        told = f"{counts['read']:6} read, {counts['refused']:6} refused, {len(wrong)} wrong"
        print(f"{reader:12} {options.inputs:6} inputs: {told}", flush=True)
        for number, what in list(wrong.items())[:5]:
            print(f"    input {number}: {json.dumps(what)[:300]}")
        for number in wrong if options.keep else ():
            options.keep.mkdir(parents=True, exist_ok=True)
            (options.keep / f"{reader}-{number}").write_bytes(made(reader, number, options.seed))
        failed += len(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
