"""What a manifest says: each entry is held to the files, and what led to them is kept."""

import copy
import hashlib
import json

import pytest
import torch

from snnverify.cli import main
from snnverify.detector import save
from snnverify.detector.model import described
from snnverify.detector.record import record
from snnverify.detector.specimens import built
from snnverify.detector.verify import judged, opened
from snnverify.errors import DataError

EDITS = {  # a key of the manifest, and what is written there
    "comparison": lambda m: m.update(comparison="s = mem >= threshold"),
    "reset": lambda m: m.update(reset="by subtraction of the threshold"),
    "activation": lambda m: m.update(activation="silu"),
    "threshold.value": lambda m: m["threshold"].update(value=0.9),
    "decay.value": lambda m: m["decay"].update(value=0.9),
    "inplace.value": lambda m: m["inplace"].update(value=not m["inplace"]["value"]),
    "statistics.total": lambda m: m["statistics"].update(total=99),
    "source.sha256": lambda m: m["source"].update(sha256="0" * 64),
    "tensors.sha256": lambda m: m["tensors"].update(sha256="0" * 64),
    "units.none.now": lambda m: m["units"].update(none={"now": "binary"}),
}


def test_what_is_recorded_is_what_the_files_show(tmp_path, capsys):
    """Each key of a manifest, edited alone, breaks the law on it and is named."""
    save(built(described("digits-silu"), 0), tmp_path / "w.pt")
    assert main(["binarize", "--weights", str(tmp_path / "w.pt"), "--no-trace"]) == 0
    before, whole = tmp_path / "w.pt", tmp_path / "w_binary.pt"
    content = torch.load(whole, weights_only=True)
    for key, edit in EDITS.items():
        edited = copy.deepcopy(content)
        edit(edited["manifest"])
        torch.save(edited, tmp_path / "edited.pt")
        stored, run = opened(before, tmp_path / "edited.pt", size=8)
        (found,) = judged(stored, run, "edited.pt", [record])
        assert (found.outcome, found.worst.where) == ("fail", key)
    capsys.readouterr()
    stored, run = opened(before, whole, size=8)
    (found,) = judged(stored, run, "whole", [record])
    assert found.outcome == "pass"
    assert found.cases > 20


def test_what_led_to_a_file_is_kept_by_a_second_conversion(tmp_path, capsys):
    """A constant that was assumed stays assumed, and the file that was converted first stays named, with its digest."""
    net = built(described("digits-silu"), 0)
    for m in net.modules():
        vars(m).pop("constants", None)  # as checkpoints in the wild have none
    torch.save({"model": net}, tmp_path / "w.pt")
    for source in ("w.pt", "w_binary.pt"):
        assert main(["binarize", "--weights", str(tmp_path / source), "--no-trace", "--allow-none"]) == 0
    first, second = tmp_path / "w_binary.pt", tmp_path / "w_binary_binary.pt"
    digest = hashlib.sha256((tmp_path / "w.pt").read_bytes()).hexdigest()
    assert f"made of w.pt, sha256 {digest[:16]}: 7 converted" in capsys.readouterr().out
    before, said = (json.loads(p.with_suffix(".json").read_text()) for p in (first, second))
    assert said["source"]["sha256"] == hashlib.sha256(first.read_bytes()).hexdigest()
    assert said["source"]["earlier"] == [{k: v for k, v in before.items() if k != "files"}]
    assert said["source"]["earlier"][0]["source"]["sha256"] == digest
    assert {said[k]["from"] for k in ("T", "threshold", "decay")} == {"assumed default"}


def test_a_history_that_was_edited_breaks_the_law_on_records(tmp_path):
    save(built(described("digits-silu"), 0), tmp_path / "w.pt")
    for source in ("w.pt", "w_binary.pt"):
        assert main(["binarize", "--weights", str(tmp_path / source), "--no-trace", "--allow-none"]) == 0
    before, after = tmp_path / "w_binary.pt", tmp_path / "w_binary_binary.pt"
    content = torch.load(after, weights_only=True)
    assert len(content["manifest"]["source"]["earlier"]) == 2
    for key, edit in {
        "source.earlier.1.source.sha256": lambda m: m["source"]["earlier"][1]["source"].update(sha256="0" * 64),
        "source.earlier.0.T.from": lambda m: m["source"]["earlier"][0]["T"].update({"from": "option"}),
        "T.from": lambda m: m["T"].update({"from": "option"}),
    }.items():
        edited = copy.deepcopy(content)
        edit(edited["manifest"])
        torch.save(edited, tmp_path / "edited.pt")
        (found,) = judged(*opened(before, tmp_path / "edited.pt", size=8), "edited.pt", [record])
        assert (found.outcome, found.worst.where) == ("fail", key)
    (found,) = judged(*opened(before, after, size=8), "whole", [record])
    assert found.outcome == "pass"
    content["manifest"]["source"]["earlier"] = "none"
    torch.save(content, tmp_path / "edited.pt")
    with pytest.raises(DataError, match="no list of manifests"):
        opened(tmp_path / "edited.pt", after)
