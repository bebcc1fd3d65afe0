# ruff: noqa: F811 (fixtures are imported)
"""Pieces on Dask's workers: the results of one process, whatever becomes of a worker; one line where none can be had."""

import logging
import os
import signal
import socket
import sys
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from sharded import REPORT, STEPS, Square, digests, digits, many, small_tiles  # noqa: F401

from snnverify import shards
from snnverify.content import Content
from snnverify.errors import ConfigError, DataError
from snnverify.fidelity import measure
from snnverify.shards import Journal, Shards, cluster


@dataclass(frozen=True, eq=False)
class Loaded(Content):
    x: np.ndarray
    sent: ClassVar[list] = []

    def __getstate__(self):
        self.sent.append(os.getpid())
        return self.__dict__


def square_of_loaded(x, seen, threads=None):
    return Square(int(x.x.sum()) ** 2 + seen)


@pytest.fixture(scope="module")
def two_workers():
    from distributed import LocalCluster

    quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as c:
        yield c


# --- workers


def test_a_worker_that_is_killed_loses_nothing(digits, small_tiles, two_workers):
    whole = measure(*digits, STEPS)
    killed = []

    def done(samples):
        if not killed:
            killed.append(two_workers.workers[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    with cluster.connected(two_workers.scheduler_address) as execute:
        found = measure(*digits, STEPS, shards=Shards(execute), progress=done)
        assert killed
        assert found == whole
        assert measure(*digits, STEPS, shards=Shards(execute)) == whole  # and again, with what is left or came back


def test_trains_are_drawn_by_number_on_workers_and_by_a_run_that_goes_on(tmp_path, digits, small_tiles, two_workers):
    """Samples that are numbered with gaps, whose tiles are computed by workers, half of them in an earlier run."""
    converted, x, y, logits = digits
    numbers = np.flatnonzero(np.arange(2 * len(x)) % 3 > 0)[: len(x)]
    how = {"encoding": "poisson", "seed": 2, "first_sample": numbers}
    whole, half = measure(*digits, STEPS, **how), len(x) // 32 * 16
    assert whole != measure(*digits, STEPS, **how | {"first_sample": 0})
    told, journal = [], Journal(tmp_path)
    measure(converted, x[:half], y[:half], logits[:half], STEPS, shards=Shards(journal=journal),
            **how | {"first_sample": numbers[:half]})  # fmt: skip
    with cluster.connected(two_workers.scheduler_address) as execute:
        assert measure(*digits, STEPS, shards=Shards(execute, journal, told.append), **how) == whole
    assert len(told) == 1  # it went on


def test_a_report_on_workers_is_that_of_one_process(many, cli, two_workers):
    address = two_workers.scheduler_address
    (many / "pyproject.toml").write_text(f'[tool.snnverify]\nscheduler = "{address}"\n')
    on_workers = cli(*REPORT, "--modes", "--out", "workers")
    (many / "pyproject.toml").unlink()
    here = cli(*REPORT, "--modes", "--out", "here")
    assert (on_workers.code, here.code) == (0, 0)
    assert digests(many / "workers") == digests(many / "here")
    assert len(digests(many / "here")[0]["curves"]) == 6


def test_what_many_pieces_need_is_sent_once(two_workers):
    def sent(n):  # pickled in this process; what workers hand to each other is not counted
        before = len(Loaded.sent)
        tasks = [{"x": Loaded(np.full(10, n)), "seen": k} for k in range(n)]
        with cluster.connected(two_workers.scheduler_address) as execute:
            found = shards.run(square_of_loaded, tasks, Square, Shards(execute))
        assert [f.value for f in found] == [(10 * n) ** 2 + k for k in range(n)]
        return len(Loaded.sent) - before

    assert sent(40) == sent(1) > 0


def test_what_a_tile_raises_is_raised_as_in_one_process(digits, small_tiles, two_workers):
    converted, x, y, logits = digits
    bad = x.copy()
    bad[100] = np.nan
    with cluster.connected(two_workers.scheduler_address) as execute:
        said = []
        for given in (Shards(), Shards(execute)):
            with pytest.raises(DataError) as e:
                measure(converted, bad, y, logits, STEPS, shards=given)
            said.append(str(e.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("name", ["snnverify", "numpy", "numba"])
def test_workers_of_other_versions_are_refused(digits, two_workers, monkeypatch, name):
    real = dict(shards.identity())
    monkeypatch.setattr(cluster, "identity", lambda: real | {name: "0.0.1"})
    with (
        cluster.connected(two_workers.scheduler_address) as execute,
        pytest.raises(ConfigError, match=rf"worker tcp://\S+ has {name} .*, here it is 0\.0\.1; .*install the same on"),
    ):
        measure(*digits, STEPS, shards=Shards(execute))


# --- schedulers that cannot be had


def refused(cli, address):
    done = cli(*REPORT, "--scheduler", address)
    assert (done.code, done.out, len(done.err.strip().splitlines())) == (2, "", 1)
    return done.err


def test_an_address_where_nobody_answers(project, cli, monkeypatch):
    before = sorted(project.rglob("*"))
    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        for port in (1, deaf.getsockname()[1]):  # closed; open, but it says nothing
            address = f"tcp://127.0.0.1:{port}"
            assert f"scheduler = '{address}': no Dask scheduler answers there" in refused(cli, address)
    assert "no Dask scheduler answers there (ValueError)" in refused(cli, "tcp://127.0.0.1")
    assert "scheduler = '10.0.0.1': give local, or the address of" in refused(cli, "10.0.0.1")
    assert sorted(project.rglob("*")) == before


def test_a_scheduler_without_workers(monkeypatch):
    from distributed import LocalCluster

    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with (
        LocalCluster(n_workers=0, dashboard_address=":0") as c,
        pytest.raises(ConfigError, match="it has no workers; start some with `dask worker tcp://"),
        cluster.connected(c.scheduler_address),
    ):
        pass


def test_without_dask(project, cli, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "it needs Dask; install it with `pip install 'snnverify[dask]'`" in refused(cli, "local")
    assert cli(*REPORT, "--out", "r").code == 0


def test_a_cluster_of_this_machine(digits, small_tiles, monkeypatch):
    monkeypatch.setattr("dask.system.CPU_COUNT", 1)
    with cluster.connected("local") as execute:
        assert measure(*digits, STEPS, shards=Shards(execute)) == measure(*digits, STEPS)
