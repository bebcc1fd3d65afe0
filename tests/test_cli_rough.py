"""Rough handling of the command line: interrupts, closed pipes, odd paths."""

import os
import signal
import subprocess
import sys

import pytest
from conftest import NETS

from snnverify.checks import select

COMMAND = (sys.executable, "-m", "snnverify.cli")
CHECKS = len([c for c in select("model.*") if c.kind == "model"])


def last_line(text):
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize("where", ["measure", "conversion.convert"])
def test_an_interrupt_leaves_nothing(project, cli, monkeypatch, where):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    before = sorted(project.rglob("*"))
    monkeypatch.setattr(f"snnverify.pipeline.{where}", interrupted)
    done = cli("report", "nets.py:build", "--data", "data.npz", "-T", 4)
    assert (done.code, done.out) == (130, "")
    assert last_line(done.err) == "snnverify: interrupted; nothing half-written is left"
    assert sorted(project.rglob("*")) == before


def test_an_interrupt_while_writing_keeps_the_report_before(project, cli, monkeypatch):
    common = ("report", "nets.py:build", "--data", "data.npz", "-T", 4, "--out", "r")
    cli(*common)
    before = {p: p.read_bytes() for p in (project / "r").rglob("*") if p.is_file()}

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr("snnverify.report.store.render_html", interrupted)
        done = cli(*common)
    kept = "snnverify: interrupted; tiles kept: 2; run the same command again to go on"
    assert (done.code, last_line(done.err)) == (130, kept)
    assert {p: p.read_bytes() for p in (project / "r").rglob("*") if p.is_file()} == before
    assert [p.name for p in project.iterdir() if p.name.startswith(".")] == [".unfinished"]
    assert "resuming: 1 of 1 tiles are done" in cli(*common).err
    assert [p.name for p in project.iterdir() if p.name.startswith(".")] == []


def test_blanks_commas_and_colons_in_paths(project, cli):
    odd = project / "my nets, new" / "a:b"
    odd.mkdir(parents=True)
    (odd / "the net.py").write_text(NETS)
    (odd / "x, y.npz").write_bytes((project / "data.npz").read_bytes())
    done = cli("report", odd / "the net.py:build", "--data", odd / "x, y.npz", "-T", 4, "--out", odd / "a report")
    assert (done.code, cli("gate", odd / "a report").code) == (0, 1)


def test_a_closed_pipe_costs_neither_the_report_nor_a_failed_gate(project):
    """As in ``snnverify report ... --gate | head -1``: the report is written first, and the exit code is no pass."""
    command = [*COMMAND, "report", "nets.py:build", "--data", "data.npz", "-T", "1", "--out", "r", "--gate"]
    read, write = os.pipe()
    os.close(read)
    try:
        unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}  # the first print meets the closed pipe
        done = subprocess.run(command, cwd=project, stdout=write, stderr=subprocess.PIPE, env=unbuffered, timeout=120)
    finally:
        os.close(write)
    assert done.returncode == 141
    said = done.stderr.decode().splitlines()
    assert said[:3] == ["nets.build: ANN (216)", "nets.build: SNN (216)", f"nets.build: checks ({CHECKS})"]
    assert all(line.startswith("nets.build: ") for line in said)
    assert (project / "r" / "index.html").is_file()


def test_ctrl_c_from_outside(project):
    command = [*COMMAND, "report", "nets.py:build", "--data", "data.npz", "-T", "20000"]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert line == "nets.build: ANN (216)\n"
    assert (process.returncode, out) == (130, "")
    assert last_line(err) == "snnverify: interrupted; nothing half-written is left"
    assert not (project / "reports").exists()
