"""What `fuzz` gives its inputs to: for every reader a valid file and the call that reads it."""

import io
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]


def _npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _seed_npz():
    return _npz(x=np.ones((3, 4), "f4"), y=np.array([0, 1, 2]))


def _seed_idx():
    return bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(range(8))


def _seed_wav():
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as w:
        w.setnchannels(1), w.setsampwidth(2), w.setframerate(8000)
        w.writeframes(bytes(range(256)) * 20)
    return buffer.getvalue()


def _network():
    from snnverify import Branch, Dense, Layer, Network, Neuron

    return Network((2,), (Layer("a", (Branch(Dense(np.array([[1.0, -0.5], [0.25, 0.75]]))),), Neuron()),))


def _seed_case():
    from snnverify import Case, save

    with tempfile.TemporaryDirectory() as folder:
        return save(Case(_network(), np.ones((1, 2)), 3), Path(folder) / "case.npz").read_bytes()


def _seed_netx():
    from snnverify.exchange import netx_bytes
    from snnverify.loihi import chain, dense

    return netx_bytes(chain((4,), [dense(np.ones((3, 4)), threshold=1.0)]))


def _seed_nir():
    import nir

    graph = nir.NIRGraph.from_list(
        nir.Affine(np.ones((2, 3)), np.zeros(2)), nir.IF(r=np.ones(2), v_threshold=np.ones(2), v_reset=np.zeros(2))
    )
    with tempfile.TemporaryDirectory() as folder:
        nir.write(Path(folder) / "net.nir", graph)
        return (Path(folder) / "net.nir").read_bytes()


def _seed_safetensors():
    from safetensors.numpy import save

    return save({"0.weight": np.ones((3, 4), "f4"), "0.bias": np.zeros(3, "f4")})


def _seed_pt():
    import torch

    buffer = io.BytesIO()
    torch.save({"0.weight": torch.ones(3, 4), "0.bias": torch.zeros(3)}, buffer)
    return buffer.getvalue()


def _seed_record():
    from report_runs import assessment, run_of

    from snnverify.report.record import to_json

    return to_json(run_of(assessment())).encode()


def _seed_pyproject():
    return b"""[tool.snnverify]
model = "nets.py:build"
data = "test.npz"
timesteps = [4, 8, 16]
max_drop = 1.0
mode = "99.9%"
seed = 3
[tool.snnverify.oracles.mine]
target = "x.py:oracle"
"""


def _weights(path):
    from snnverify.convert.load import load_weights

    load_weights(path)


def _case(path):
    from snnverify import Case, load

    load(path, Case)


def _nir(path):
    from snnverify.exchange import PRESETS, from_nir

    from_nir(path, semantics=next(iter(PRESETS.values())))


def _netx(path):
    from snnverify.exchange import read_netx

    read_netx(path)


def _data(path):
    from snnverify.data import load_data

    load_data(str(path))


def _wav(path):
    from snnverify.sound import read

    read(path)


def _idx(path):
    from snnverify.idx import read

    read(path, 3)


def _config(path):
    from snnverify.config import read_config

    read_config(path.parent)


def _claims(path):
    from snnverify.hardware.audit import audit
    from snnverify.hardware.claims import read_claims

    audit(read_claims(path))


def _targets(path):
    from snnverify.hardware.targets import target

    target("mine", path)


def _energy(path):
    from snnverify.hardware.energy import read

    read(path)


def _log(path):
    from snnverify.hardware.measured import read_log

    read_log(path)


def _record(path):
    from snnverify.report.store import judge_again

    judge_again(path)


def _description(path):
    from snnverify.detector.model import Detector, described

    Detector(described(str(path)))


def _seed_checkpoint():
    import torch

    from snnverify.detector.model import Detector, described

    buffer = io.BytesIO()
    torch.save({"epoch": 1, "model": None, "ema": Detector(described("digits")).half()}, buffer)
    return buffer.getvalue()


def _checkpoint(path):
    from snnverify.detector import load

    load(path)


def _seed_dataset():
    return b"""path: .
train: images/train
val: [images/val]
test: images/val
nc: 4
names: {0: red square, 1: green bar, 2: blue pillar, 3: yellow tile}
download: https://example.org/x.zip
"""


def _dataset(path):
    from snnverify.detector.dataset import label_path, read_labels, read_split
    from snnverify.detector.generated import write_rectangles

    if not (path.parent / "images").is_dir():
        write_rectangles(path.parent, 1, 1)
    for split in ("train", "val", "test"):
        found = read_split(path, split)
        for image in found.images:
            read_labels(label_path(image), found.names)


def _labels(path):
    from snnverify.detector.dataset import read_labels

    read_labels(path, ("a", "b", "c"))


def _text(path):
    return lambda: (ROOT / path).read_bytes()


# name: (seed, file name, reader)
READERS = {
    "npz": (_seed_npz, "data.npz", _data),
    "idx": (_seed_idx, "images-idx3-ubyte", _idx),
    "wav": (_seed_wav, "a_b_0.wav", _wav),
    "case": (_seed_case, "case.npz", _case),
    "nir": (_seed_nir, "net.nir", _nir),
    "netx": (_seed_netx, "net.net", _netx),
    "safetensors": (_seed_safetensors, "w.safetensors", _weights),
    "pt": (_seed_pt, "w.pt", _weights),
    "config": (_seed_pyproject, "pyproject.toml", _config),
    "claims": (_text("examples/claims/walkthrough.toml"), "claims.toml", _claims),
    "targets": (_text("examples/my_target.toml"), "targets.toml", _targets),
    "energy": (_text("snnverify/hardware/energy_tables.toml"), "tables.toml", _energy),
    "log": (lambda: b"sample,prediction,energy_uJ,latency_ms\n0,1,2.5,3\n1,0,2.4,3\n", "board.csv", _log),
    "record": (_seed_record, "report.json", _record),
    "yaml": (_text("snnverify/detector/models/digits.yaml"), "model.yaml", _description),
    "checkpoint": (_seed_checkpoint, "best.pt", _checkpoint),
    "dataset": (_seed_dataset, "mine.yaml", _dataset),
    "labels": (lambda: b"0 0.5 0.5 0.25 0.25\n2 0.1 0.1 0.4 0.1 0.4 0.3\n", "0.txt", _labels),
}
TEXT = {"config", "claims", "targets", "energy", "log", "record", "yaml", "dataset", "labels"}
