"""Every call of a model gets a verdict, before any conversion, and the first problem hides no other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from snnverify.convert.analyze import LayerVerdict, analyze
from snnverify.convert.qcfs import QCFS
from snnverify.zoo.corpus.modules import EQUAL, Calls, Entry, randomise
from snnverify.zoo.corpus.refused import REFUSED, Branching


def by_path(rows: list[LayerVerdict]) -> dict[str, LayerVerdict]:
    return {row.path: row for row in rows}


@pytest.mark.parametrize("entry", EQUAL, ids=lambda e: e.name)
def test_nothing_that_imports_is_unsupported_but_max_pooling(entry: Entry) -> None:
    rows = analyze(randomise(entry.factory()).eval(), entry.input_shape)
    assert {row.operation for row in rows if row.verdict == "unsupported"} <= {"MaxPool2d"}


@pytest.mark.parametrize("entry", REFUSED, ids=lambda e: e.name)
def test_what_is_refused_is_unsupported_under_the_same_path(entry: Entry) -> None:
    assert entry.refused is not None
    row = next(r for r in analyze(randomise(entry.factory()).eval(), entry.input_shape)
               if r.path == entry.refused[0] and r.verdict == "unsupported")  # fmt: skip
    assert row.why


def test_every_problem_gets_a_row() -> None:
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.GELU(), nn.BatchNorm2d(2, track_running_stats=False), nn.MaxPool2d(2), nn.Dropout(),
        nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), nn.LayerNorm(2), nn.Linear(2, 3), nn.ReLU(), nn.Softmax(1),
    )  # fmt: skip
    rows = analyze(model.eval(), (1, 6, 6))
    assert [(r.path, r.verdict) for r in rows] == [
        ("0", "exact"), ("1", "unsupported"), ("2", "unsupported"), ("3", "unsupported"), ("4", "exact"),
        ("5", "unsupported"), ("6", "exact"), ("7", "exact"), ("8", "unsupported"), ("9", "exact"),
        ("10", "approximate"), ("11", "unsupported"),
    ]  # fmt: skip
    assert all(r.remedy for r in rows if r.verdict == "unsupported")


def test_functional_calls_skips_and_shared_modules() -> None:
    model = Calls(lambda m, x: m.fc(m.act(F.relu(m.fc(x)) + x)), fc=nn.Linear(3, 3), act=QCFS(4))
    rows = analyze(model.eval(), (3,))
    assert [(r.path, r.operation, r.verdict) for r in rows] == [
        ("fc", "Linear", "exact"), ("relu", "relu", "approximate"), ("add", "add", "exact"), ("act", "QCFS", "approximate"),
        ("fc", "Linear", "exact"),
    ]  # fmt: skip
    assert "1/T" in rows[1].why
    assert "branches" in rows[2].why
    assert "used 2 times" in rows[0].why
    assert "used" not in rows[3].why


def test_bn_is_judged_by_whether_it_folds() -> None:
    blocked = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.BatchNorm2d(2), nn.AvgPool2d(2),
                            nn.Conv2d(2, 2, 3, padding=1))  # fmt: skip
    rows = by_path(analyze(randomise(blocked).eval(), (1, 4, 4)))
    assert rows["1"].verdict == "exact"
    assert rows["3"].verdict == "unsupported"
    assert "fold_batchnorm=False" in rows["3"].remedy


def test_an_unfoldable_bn_is_found_behind_an_unsupported_layer() -> None:
    model = nn.Sequential(nn.GELU(), nn.BatchNorm2d(2), nn.Conv2d(2, 2, 3, padding=1), nn.Tanh())
    rows = by_path(analyze(randomise(model).eval(), (2, 4, 4)))
    assert [rows[p].verdict for p in ("0", "1", "2", "3")] == ["unsupported", "unsupported", "exact", "unsupported"]


def test_training_mode_has_a_row_and_stays() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    first = analyze(model, (2,))[0]
    assert (first.operation, "eval" in first.remedy) == ("training mode", True)
    assert model.training
    assert len(analyze(model.eval(), (2,))) == 2


def test_without_a_shape_the_table_alone_judges_and_a_row_says_so() -> None:
    rows = analyze(next(e for e in EQUAL if e.name == "squeezenet").factory().eval())
    assert rows[0].operation == "input_shape"
    assert {"cat", "relu", "classifier", "clamp", "reshape"} <= by_path(rows).keys()
    assert all(r.verdict != "unsupported" for r in rows)


def test_a_model_that_cannot_be_traced_is_walked_by_module() -> None:
    rows = analyze(nn.Sequential(nn.GELU(), Branching()).eval(), (4,))
    assert rows[0].path == "1"
    assert "control flow" in rows[0].why
    assert [(r.path, r.verdict) for r in rows[1:]] == [("0", "unsupported"), ("1.fc", "exact")]


def test_a_shape_that_does_not_fit_is_said_and_the_modules_are_walked() -> None:
    rows = analyze(nn.Sequential(nn.Linear(4, 2)).eval(), (3,))
    assert "input of shape (3,)" in rows[0].why
    assert rows[1].path == "0"


def test_analyze_leaves_the_model() -> None:
    model = randomise(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    state = {k: v.clone() for k, v in model.state_dict().items()}
    analyze(model, (2,))
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
