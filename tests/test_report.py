import re
from fractions import Fraction
from html.parser import HTMLParser

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from report_runs import assessment, layer, passes, run_of

from snnverify.activation import Neuron
from snnverify.convert.analyze import LayerVerdict
from snnverify.findings import Finding, Measure
from snnverify.hardware.energy import Range
from snnverify.report import judge_again, looks, render_summary, render_text, render_verdicts, tables, write
from snnverify.report import plots as plots_module
from snnverify.report.energy import _ratio as command_ratio
from snnverify.report.present import ratio, view
from snnverify.report.words import explain

PASSING = run_of(assessment())


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write(PASSING, tmp_path_factory.mktemp("out") / "deep" / "report")


def test_accuracy_table_by_hand():
    first, last = tables(PASSING)["accuracy"].to_dict("records")
    # 390 of 400; then 390 - 40 + 4 = 354 of 400
    assert (first["ann_percent"], first["snn_percent"], first["drop_points"]) == (97.5, 88.5, 9.0)
    assert (first["T"], first["n"], first["b"], first["c"], first["ties"], first["verdict"]) == (
        1,
        400,
        40,
        4,
        3,
        "FAIL",
    )
    assert first["agreement_percent"] == 89.0  # 44 of 400 differ
    # Wilson: (p + z^2/2n -+ z sqrt(p q / n + z^2 / 4 n^2)) / (1 + z^2 / n), z = 1.959964, worked out with p = 0.885
    z, p, n = 1.959963984540054, 0.885, 400
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    low, high = (100 * (centre + s * half) / (1 + z * z / n) for s in (-1, 1))
    assert first["snn_low"] == pytest.approx(low, abs=1e-9)
    assert first["snn_high"] == pytest.approx(high, abs=1e-9)
    assert (last["drop_points"], last["b"], last["c"], last["verdict"]) == (0.0, 0, 0, "PASS")
    # without a discordance the bound solves (1 - d)^n = 5 %
    assert last["upper_points"] == pytest.approx(100 * (1 - 0.05 ** (1 / 400)), abs=2e-3)


def test_class_layer_and_operation_tables_by_hand():
    frames = tables(run_of(assessment(at_last=(20, 2))))
    zero, one = frames["classes"].to_dict("records")
    assert (zero["class"], zero["n"], zero["ann_percent"], zero["snn_percent"]) == (0, 200, 95.0, 86.0)
    assert (zero["drop_points"], zero["b"], zero["c"], zero["T"]) == (9.0, 20, 2, 4)
    assert (one["ann_percent"], one["snn_percent"], one["b"], one["c"]) == (100.0, 100.0, 0, 0)
    hidden, deep = frames["layers"].to_dict("records")
    assert (hidden["error_mean"], hidden["left_over"], hidden["dead"], hidden["saturated"]) == (0.02, 0.5, 1, 2)
    assert hidden["own"] == 0.02  # at most the error where nothing is inherited
    assert deep["own"] == 0.03125  # at most the potential left over
    assert hidden["threshold"] == 1.0
    # activations of the calibration set: [.5, 1, .75], [1, .25, .625]; mean 0.6875
    assert hidden["calibrated_mean_rate"] == pytest.approx(0.6875)
    operations = {row["layer"]: row for row in frames["operations"].to_dict("records")}
    assert operations["deep"]["synaptic_operations_per_sample"] == 4.0
    assert operations["hidden"]["spikes_per_step"] == 0.5  # 800 / (400 samples, 4 steps)
    facts = {(r["model"], r["key"]): r["value"] for r in frames["provenance"].to_dict("records")}
    assert facts["", "libraries.numpy"] == "2.0"
    assert facts["net", "data"] == "made by hand"
    assert facts["net", "conversion mode"] == "max"


def test_failing_checks_come_first():
    broken = Finding("model.z", "net", "fail", "law", "source", 3, Measure("gap", 0.5, 0.25, "deep"), "", "replay it")
    frame = tables(run_of(assessment(findings=[*passes("net"), broken])))["checks"]
    top = frame.iloc[0]
    assert (top["check"], top["outcome"], top["measured"], top["limit"], top["where"]) == \
        ("model.z", "fail", 0.5, 0.25, "gap deep")  # fmt: skip


class _Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.links = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data", "action")]


def test_requirements_that_are_broken_come_first():
    lacking = assessment(at_last=(20, 0), findings=passes("net", without=("model.agreement",)))
    said = tables(run_of(lacking))["requirements"]["outcome"].tolist()
    assert said[:2] == ["FAIL", "NO EVIDENCE"]
    assert set(said[2:]) == {"PASS"}


def test_a_bound_beside_its_limit_is_told_from_it_in_the_table():
    frames = tables(PASSING)
    frames["accuracy"].loc[1, "upper_points"] = 1.0003
    shown = view("accuracy", frames, "net")
    assert (shown.rows[1][shown.headings.index("bound")], frames["accuracy"]["limit_points"][1]) == ("1.0003", 1.0)


def test_energies_say_what_has_no_price_and_their_ratio_is_the_commands():
    """The input is constant, so that its layer is made of MACs, which Loihi's table does not price."""
    rows = {row["energy_model"]: row for row in tables(PASSING)["energy"].to_dict("records")}
    assert rows["loihi"]["not_priced"] == "mac"
    assert "mac" not in rows["cmos45-fp32-cache"]["not_priced"]
    assert ratio((1.0, 3.0), (2.0, 4.0)) == "0.5–0.75"
    assert ratio((1234.5, 1234.5), (1000.0, 1000.0)) == "1.23"
    assert ratio((1.0, 3.0), (None, None)) == ratio((1.0, 3.0), (0.0, 0.0)) == "–"
    snn, ann = (Range(Fraction(a), Fraction(b)) for a, b in ((1, 3), (2, 4)))
    assert (command_ratio(snn, ann), command_ratio(snn, None)) == ("0.5-0.75", "-")


def test_the_page_needs_nothing_from_elsewhere(report):
    html = (report / "index.html").read_text()
    page = _Links()
    page.feed(html)
    assert not page.tags & {"link", "iframe", "object", "embed", "base"}
    assert {"svg", "table", "style", "script"} <= page.tags
    assert page.links
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert not re.search(r"url\((?!#|['\"]?(?:#|data:))|@import|@font-face", html)
    assert html.count("<svg") == 7
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|WebSocket|eval\(", html)
    assert "snnverify report --seed 3" in html
    assert html.index('class="outcome"') < html.index("<table")


def test_names_are_text_on_every_face(tmp_path):
    name = "<b>x</b> $a_1 | {{ 7 * 7 }}\n\x1b[31m"
    run = run_of(assessment(name=name, findings=passes(name)))
    write(run, tmp_path / "r")
    html = (tmp_path / "r" / "index.html").read_text()
    assert "<b>x" not in html
    assert "&lt;b&gt;x&lt;/b&gt; $a_1 | {{ 7 * 7 }}" in html
    assert "<b>x" not in (tmp_path / "r" / "report.md").read_text()
    assert r"\<b\>x" in (tmp_path / "r" / "report.md").read_text()
    assert "\x1b" not in render_text(run)
    assert judge_again(tmp_path / "r")[0][0] == name


def test_text_fits_a_terminal_and_ends_with_the_verdict():
    long = "a_module.with.a.very.long.dotted.path.of.layers." * 4
    run = run_of(assessment(name=long, layers=(layer(long, 0.5, 0.125, 0.25, 0.0),), findings=passes(long)))
    text = render_text(run)
    assert max(map(len, text.splitlines())) <= 120
    assert text.isascii()
    assert "PASS: a_module" in text.split("\n\n")[-1]
    assert "88.50" in text
    assert "97.50" in text


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        # (error, inherited, left over, clipped) of two layers; the greatest error decides
        (
            ((0.5, 0.0, 0.1, 0.75), (0.1, 0.0, 0.1, 0.0)),
            ("Layer hidden", "clipped (up to 0.75)", "representative|reach"),
        ),
        (((0.01, 0.0, 0.01, 0.0), (0.5, 0.1, 0.6, 0.0)), ("Layer deep", "left over", "a larger T")),
        (((0.2, 0.0, 0.3, 0.0), (0.5, 0.8, 0.1, 0.0)), ("Layer deep", "inherited", "in layer hidden", "a larger T")),
    ],
)
def test_a_failing_model_names_layer_part_and_remedy(parts, words):
    layers = tuple(layer(name, *p) for name, p in zip(("hidden", "deep"), parts, strict=True))
    said = explain(assessment(at_last=(40, 4), layers=layers))
    assert "T = 4" in said.meaning
    assert "9.00 points" in said.meaning
    for word in words:
        assert re.search(re.escape(word).replace(r"\|", "|"), said.cause + said.remedy)


def test_summary_and_analysis():
    text = render_summary(run_of(assessment(), assessment(at_last=(40, 4), name="second")))
    assert text.endswith("FAIL: 1 of 2 models")
    assert render_summary(run_of(assessment(), assessment(name="second"))).endswith("PASS: 2 models")
    assert text.count("88.50") == 3
    rows = [
        LayerVerdict("features.0", "Conv2d", "exact", "its weights are used as they are"),
        LayerVerdict("features.1", "GELU", "unsupported", "it is not monotonic " * 8, "train with ReLU"),
    ]
    text = render_verdicts(rows)
    assert max(map(len, text.splitlines())) <= 120
    assert "features.1: train with ReLU" in text
    assert text.splitlines()[-1] == "1 exact, 1 unsupported"


def test_undecided_names_the_samples_that_decide():
    said = explain(assessment(n=100))
    # (1 - 0.01)^n <= 5 % from n = 299 on
    assert "about 299 samples (now 100)" in said.remedy
    assert "T = 4" in explain(assessment()).meaning


def test_plots_show_the_figures_and_leave_nothing_behind():
    before, frames = dict(mpl.rcParams), tables(PASSING)
    a = PASSING.assessments[0]
    with looks.styled():
        drawn = {name: draw(a, frames) for name, draw in plots_module.PLOTS.items()}
    lines = {line.get_label(): line for line in drawn["accuracy"].axes[0].lines}
    assert lines["SNN"].get_ydata().tolist() == [88.5, 97.5]
    assert lines["SNN"].get_xdata().tolist() == [1, 4]
    assert lines["ANN − limit of 1"].get_ydata()[0] == 96.5
    bars = [patch.get_width() for patch in drawn["layers"].axes[0].patches]
    assert bars == pytest.approx([0.0, 0.25, 0.02, 0.03125, 0.125, 0.0])  # inherited, own, clipped of both layers
    assert plt.get_fignums() == []
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize(("start", "bound"), [(0.5, 1 / 256), (0.0, 1 / 128)])
def test_one_neuron_keeps_the_law_of_constant_input(start, bound):
    # |rate - clip(x)| <= max(v, 1 - v) / T; the threshold 4 must not matter
    x, rate = plots_module.transfer(Neuron(theta=4.0, amplitude=2.0, v_init=4.0 * start))
    gap = np.abs(rate - np.clip(x, 0, 1))
    assert gap.max() <= bound + 1e-12
    assert gap.max() > 0.9 * bound
    assert (x[0], x[-1], rate[0], rate[-1]) == (-0.2, pytest.approx(1.2), 0.0, 1.0)


def test_neighbouring_lines_of_one_style_become_one_path():
    red, wide = (f' clip-path="url(#p)" style="fill: none; stroke: red{more}"' for more in ("", "; stroke-width: 2"))
    lines = [
        f'<path d="M {x}.123456 0 \nL {x} 1 \n"{style}/>' for x, style in ((1, red), (2, red), (3, wide), (4, red))
    ]
    seen = plots_module.joined("<g>" + "\n ".join(lines) + "</g>")
    both = f'<path d="M 1.12 0 \nL 1 1 \nM 2.12 0 \nL 2 1 \n"{red}/>'
    assert seen == "<g>" + "\n ".join([both, *lines[2:]]) + "</g>"
    clear = [line.replace("red", "red; stroke-opacity: 0.5") for line in lines[:2]]
    assert plots_module.joined("".join(clear)) == "".join(clear)
