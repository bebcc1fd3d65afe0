"""Every pattern is named with its module path and its remedy, also in models that cannot be converted."""

import json
import warnings

import numpy as np
import pytest
from torch import nn

from snnverify.cli import main
from snnverify.convert import ConversionWarning
from snnverify.convert.difficulty import examine
from snnverify.zoo.corpus.modules import Calls


def one(layer, shape=(8,)):
    return examine(nn.Sequential(nn.Linear(shape[-1], 8), layer).eval(), shape)


@pytest.mark.parametrize(
    ("layer", "pattern", "difficulty"),
    [(nn.BatchNorm1d(8), "batch normalisation", "moderate"), (nn.Dropout(), "dropout", "easy"),
     (nn.GELU(), "activation without a rate", "hard"),
     (nn.SiLU(), "activation without a rate", "hard"), (nn.LeakyReLU(), "signed activation", "hard"),
     (nn.Softmax(-1), "softmax", "hard"), (nn.LayerNorm(8), "normalisation of each sample", "redesign"),
     (nn.LSTM(8, 8), "recurrent cell", "redesign"), (nn.GRUCell(8, 8), "recurrent cell", "redesign")],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)  # fmt: skip
def test_patterns(layer, pattern, difficulty):
    found = one(layer)
    (p,) = [p for p in found.patterns if p.name == pattern]
    assert (p.paths, found.difficulty) == (("1",), difficulty)
    assert p.remedy


def test_max_pooling_attention_and_merges():
    pooled = examine(nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.MaxPool1d(2)).eval(), (1, 8))
    assert ([p.name for p in pooled.patterns], pooled.convertible) == (["max pooling"], True)
    attended = Calls(lambda m, x: m.att(x, x, x)[0], att=nn.MultiheadAttention(8, 2)).eval()
    assert [p.name for p in examine(attended, (8,)).patterns] == ["attention"]
    skip = examine(Calls(lambda m, x: m.fc(x) + x, fc=nn.Linear(8, 8)).eval(), (8,))
    assert [(p.name, p.paths) for p in skip.patterns] == [("skip merge", ("add",))]
    assert not examine(Calls(lambda m, x: m.fc(x) + 1, fc=nn.Linear(8, 8)).eval(), (8,)).patterns


def test_signed_inputs_are_seen_in_samples_alone():
    model = nn.Sequential(nn.Linear(8, 2), nn.ReLU()).eval()
    assert examine(model, (8,)).patterns == ()
    assert [p.name for p in examine(model, (8,), np.full((1, 8), -1.0)).patterns] == ["signed input"]
    assert examine(model, (8,), np.ones((1, 8))).patterns == ()


def test_warnings_are_those_with_something_to_do():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        one(nn.Dropout()).warn()
        one(nn.GELU()).warn()
    assert [w.category for w in told] == [ConversionWarning]
    assert "1" in str(told[0].message)
    assert "fine-tune" in str(told[0].message)


def test_the_command_writes_json(tmp_path, capsys):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\nbuild = lambda: nn.Sequential(nn.Linear(4, 4), nn.GELU())\n"
    )
    out = tmp_path / "a.json"
    assert main(["analyze", f"{tmp_path / 'nets.py'}:build", "--input-shape", "4", "--json", str(out)]) == 1
    told = json.loads(out.read_text())
    assert (told["difficulty"], told["score"], told["patterns"][0]["paths"]) == ("hard", 2, ["1"])
    assert "difficulty: hard" in capsys.readouterr().out
