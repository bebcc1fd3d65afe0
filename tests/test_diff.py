"""Two runs side by side: figures worked out by hand from reports with known answers."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from report_runs import assessment, run_of

from snnverify.cli import main
from snnverify.cli_diff import _diff
from snnverify.errors import EvidenceError
from snnverify.report import difference, store
from snnverify.report.plots import accuracies


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name, a in {
        "good": assessment(),
        "bad": assessment(at_last=(20, 0)),
        "other": assessment(name="other", n=100),
    }.items():
        store.write(run_of(a), folder / name)
    store.write(run_of(assessment(), assessment(name="second")), folder / "two")
    return folder


def tables(runs, first, second):
    return difference.differences(store.load(runs / first), store.load(runs / second))


def test_accuracy_is_compared_sample_by_sample(runs):
    rows = {row["T"]: row for row in tables(runs, "good", "bad")["Accuracy"]}
    # of 400 samples the second run loses 20 more at T = 4: 5 points; nothing changes at T = 1
    assert (rows[4]["only first"], rows[4]["only second"]) == (20, 0)
    assert rows[4]["SNN %, first"] - rows[4]["SNN %, second"] == pytest.approx(5)
    assert rows[4]["second loses at most"] > 5
    assert (rows[1]["only first"], rows[1]["only second"]) == (0, 0)


def test_a_run_beside_itself_differs_in_nothing(runs):
    found = tables(runs, "good", "good")
    assert set(found) == {"Verdicts", "Accuracy", next(t for t in found if t.startswith("Spikes"))}
    assert not difference.worse(store.load(runs / "good"), store.load(runs / "good"))


def test_a_worse_verdict_is_exit_1_and_a_better_one_0(runs, capsys, tmp_path):
    assert main(["diff", str(runs / "good"), str(runs / "bad"), "--json", str(tmp_path / "d.json")]) == 1
    assert "FAIL: a verdict is worse" in capsys.readouterr().out
    assert json.loads((tmp_path / "d.json").read_text())["worse"] is True
    assert main(["diff", str(runs / "bad"), str(runs / "good")]) == 0


def test_other_samples_are_not_paired(runs):
    """Two models alone in their runs are compared whatever their names; of other samples only the percentages."""
    assert all("only first" not in row for row in tables(runs, "good", "other")["Accuracy"])


def test_models_are_matched_by_name(runs):
    assert tables(runs, "two", "good")["Models in one run alone"] == [{"model": "second"}]
    with pytest.raises(EvidenceError, match="no model in common"):
        tables(runs, "two", "other")


def test_the_page_stands_alone(runs, tmp_path):
    page = tmp_path / "d.html"
    main(["diff", str(runs / "good"), str(runs / "bad"), "--html", str(page)])
    text = page.read_text()
    assert "Requirements of another outcome" in text
    assert "http" not in text.replace("http://www.w3.org", "")


def test_what_is_not_alike_is_said_first(runs, capsys, tmp_path):
    """Other data, another number of samples, and another conversion: each in a line above the tables."""
    page, file = tmp_path / "d.html", tmp_path / "d.json"
    for name, change in {
        "data": lambda a: a["digests"].update(data="f" * 64),
        "mode": lambda a: a["conversion"].update(mode="50%"),
        "limit": lambda a: a.update(policy={"max_drop": "3 points"}),
    }.items():
        record = json.loads((runs / "good" / store.RECORD).read_text())
        change(record["assessments"][0])
        (tmp_path / name).mkdir()
        (tmp_path / name / store.RECORD).write_text(json.dumps(record))
    first = store.load(runs / "good")
    assert difference.unlike(first, first) == []
    for name, words in {"data": "other data", "mode": "mode max and 50%", "limit": "max_drop – and 3 points"}.items():
        (said,) = difference.unlike(first, store.load(tmp_path / name))
        assert words in said
    main(["diff", str(runs / "good"), str(tmp_path / "mode"), "--html", str(page), "--json", str(file)])
    assert capsys.readouterr().out.startswith("not alike: net: converted otherwise: mode max and 50%")
    assert json.loads(file.read_text())["unlike"] == difference.unlike(first, store.load(tmp_path / "mode"))
    text = page.read_text()
    assert text.index("Not alike") < text.index("<table")


def test_other_steps_are_told(runs):
    """The first run has T = 1 and 4, the second, made by hand, T = 1 and 4 of another size."""
    said = difference.unlike(store.load(runs / "good"), store.load(runs / "other"))
    assert any("400 and 100 samples" in line for line in said)
    good = store.load(runs / "good")
    o = good[0].evidence.outcomes
    later = replace(good[0], evidence=replace(good[0].evidence, outcomes=replace(o, steps=(1, 8))))
    (line,) = difference.unlike(good, [later])
    assert "T = 1, 4 and 1, 8: accuracy is compared where both have it, rates and operations at T = 4 and 8" in line


def test_the_accuracies_of_both_runs_are_drawn(runs, tmp_path):
    """400 samples, the ANN right on 390: 97.5 %; a line for each network of each run."""
    picture = difference.overlay(store.load(runs / "good"), store.load(runs / "bad"))
    assert picture.startswith("<svg")
    for name in ("ANN, first", "SNN, first", "ANN, second", "SNN, second"):
        assert name in picture
    figure = accuracies("t", {"SNN, first": [(1, 88.5), (4, 97.5)], "SNN, second": [(1, 88.5), (4, 92.5)]})
    first, second = figure.axes[0].get_lines()
    assert (list(first.get_xdata()), list(second.get_ydata())) == ([1, 4], [88.5, 92.5])
    assert first.get_linestyle() != second.get_linestyle()


def test_no_report_is_one_line(runs, capsys):
    assert main(["diff", str(runs / "good"), str(Path("no") / "where")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


class Closed(io.StringIO):
    """The output of a command whose reader has gone."""

    def write(self, text):
        raise BrokenPipeError


def test_files_are_written_though_nobody_reads_what_is_printed(runs, tmp_path, monkeypatch):
    page, file = tmp_path / "d.html", tmp_path / "d.json"
    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(BrokenPipeError):
        _diff(first=runs / "good", second=runs / "bad", as_json=file, html=page, command="diff")
    assert page.exists()
    assert json.loads(file.read_text())["worse"] is True


def test_limits_are_told_as_they_are_written_not_as_python_has_them(runs):
    (one,) = store.load(runs / "good")
    two = replace(
        one, asked={"max_energy": {"loihi": "2 uJ"}, "firing_rate": [0.01, 0.3], "allow_unpriced": ["update"]}
    )
    (said,) = difference.unlike([one], [two])
    for words in ("max_energy.loihi – and 2 uJ", "firing_rate – and [0.01, 0.3]", 'allow_unpriced – and ["update"]'):
        assert words in said
    assert "{" not in said
    assert "'" not in said
