"""A user's pair of nets under pytest and on the command line, and a conversion with a data set in the YOLO form."""

import hashlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tomllib
import torch
from torch import nn

from snnverify.checks import select
from snnverify.checks.detector_pairs import PLANTED
from snnverify.cli import main
from snnverify.detector import load, save
from snnverify.detector.behave import LAWS, alive, recurrences
from snnverify.detector.binarize import binarize
from snnverify.detector.blocks import mem_update
from snnverify.detector.compare import Pair
from snnverify.detector.executed import SILU_ROUNDOFFS
from snnverify.detector.generated import write_rectangles
from snnverify.detector.model import described
from snnverify.detector.specimens import built
from snnverify.detector.verify import judge, judged, opened

ROOT = Path(__file__).parents[1]
select("detector.*")  # pytester forgets what its runs import, and some of it can be imported only once


@pytest.fixture
def pair(tmp_path):
    """Files of a net, of its conversion, and of one in which the last bit of a weight is another."""
    before = built(described("digits"), 0)
    after, _ = binarize(before)
    save(before, tmp_path / "b.pt")
    save(after, tmp_path / "a.pt")
    with torch.no_grad():
        w = after.model[0].conv.weight.view(-1)
        w[0] = torch.nextafter(w[0], w[0] + 1)
    save(after, tmp_path / "wrong.pt")
    return tmp_path


@pytest.fixture
def suite(pytester, isolated, unpainted, pair):
    """Run the suite of detectors, without the laws on drawn nets, in a process that has the package loaded."""

    def run(*options):
        shutil.copy(ROOT / "suites" / "test_detector.py", pytester.path)
        common = "-p", "no:cacheprovider", "-k", "test_pair", "-rs"
        return pytester.runpytest_inprocess(*common, *map(str, options))

    return run


def test_pytest_holds_a_pair_to_every_law(suite, pair):
    done = suite("--before", pair / "b.pt", "--after", pair / "a.pt", "--img-size", "8")
    done.assert_outcomes(passed=len(LAWS), deselected=done.parseoutcomes()["deselected"])
    done.stdout.fnmatch_lines([f"a.pt: {len(LAWS)} checks on * cases: {len(LAWS)} pass"])


def test_pytest_fails_the_law_that_a_pair_breaks(suite, pair):
    done = suite("--before", pair / "b.pt", "--after", pair / "wrong.pt", "--img-size", "8")
    found = done.parseoutcomes()
    assert (found["failed"], found["passed"]) == (1, len(LAWS) - 1)
    done.stdout.fnmatch_lines(
        ["*test_pair[[]tensors]*", "*tensors of other bytes*: 1, limit 0", "*model.0.conv.weight"]
    )


@pytest.mark.parametrize(("options", "said"), [
    (("--before", "b.pt"), "--after is missing"), (("--after", "b.pt"), "--before is missing"),
    (("--before", "none.pt", "--after", "none.pt"), "--before none.pt: there is no such file"),
])  # fmt: skip
def test_half_a_pair_is_refused_before_anything_runs(suite, options, said):
    done = suite(*options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert said in done.stderr.str()


def test_without_a_pair_one_skip_says_how_to_give_it(suite):
    done = suite()
    done.assert_outcomes(skipped=1, deselected=done.parseoutcomes()["deselected"])
    done.stdout.fnmatch_lines(["SKIPPED*no pair of nets; give --before FILE and --after FILE"])


class Own(nn.Module):
    """A net of a user's own around the family's activation."""

    def __init__(self):
        super().__init__()
        self.first, self.spikes, self.last = nn.Conv2d(3, 8, 3), mem_update(True), nn.Linear(8, 10)

    def forward(self, x):
        y = self.spikes(torch.stack([self.first(x)] * 5))
        return self.last(y.mean((0, 3, 4)))


def own():
    torch.manual_seed(0)
    return Own()


@pytest.fixture
def users(tmp_path):
    """Options of a pair whose numpy simulation cannot be asked for: its forward is known to itself alone."""
    torch.save(own().state_dict(), tmp_path / "u.pt")
    x = np.random.default_rng(0).uniform(size=(8, 3, 8, 8)).astype("f4")
    np.savez(tmp_path / "d.npz", x=x, y=np.arange(8))
    assert main(["binarize", "--weights", str(tmp_path / "u.pt"), "--model", f"{__file__}:own"]) == 0
    return [str(tmp_path / n) for n in ("u.pt", "u_binary.pt")] + [
        "--model", f"{__file__}:own", "--data", str(tmp_path / "d.npz")
    ]  # fmt: skip


def test_a_law_that_cannot_be_asked_is_no_pass(users, capsys):
    capsys.readouterr()
    assert main(["verify-binary", *users]) == 3
    out = capsys.readouterr().out
    assert re.search("^unsupported  simulation .*what it computes is known of the family's modules alone", out, re.M)
    assert main(["verify-binary", *users, "--allow-unsupported"]) == 0


def test_images_that_the_net_before_does_not_take_are_one_line(users, tmp_path, capsys):
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 3, 2, 2), np.float32), y=np.arange(2))
    capsys.readouterr()
    assert main(["verify-binary", *users]) == 2
    assert re.fullmatch(r"snnverify: .*u.pt: it does not run on images \[3, 2, 2\] \(.*\n", capsys.readouterr().err)


def test_a_law_that_cannot_be_asked_fails_under_pytest(suite, users):
    before, after, *options = users
    done = suite("--before", before, "--after", after, *options)
    assert done.parseoutcomes()["failed"] == 1
    done.stdout.fnmatch_lines(['unsupported: *; -k "not simulation" leaves the law out'])


def test_a_data_set_in_the_yolo_form_is_traced_and_named(tmp_path, capsys):
    data = write_rectangles(tmp_path / "shapes", 2, 2)
    save(built(described("resnet10"), 0), tmp_path / "w.pt")
    options = ["binarize", "--weights", str(tmp_path / "w.pt"), "--data", str(data)]
    assert main([*options, "--img-size", "64"]) == 0
    image, root = data.parent / "images" / "val" / "0000.png", data.parent
    told = f"({image} traced; {data}: root {root}, split val: 2 images, 4 classes)"
    assert told in capsys.readouterr().out
    drawn = (tmp_path / "w_binary.txt").read_text()
    assert "dummy" not in drawn
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert main([*options, "--img-size", "70"]) == 2  # before anything is written, and with the next sizes
    assert re.search("70.*64.*96", capsys.readouterr().err)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    mark = data.parent / "ran"
    data.write_text(f"{data.read_text()}download: touch {mark}\n")
    pair, given = [str(tmp_path / n) for n in ("w.pt", "w_binary.pt")], options[3:]
    int8 = ["quantize", "--quant-type", "static_int8", "--weights", pair[1]]
    for command in (options, ["verify-binary", *pair, *given], [*int8, *given]):
        assert main([*command, "--img-size", "64"]) == 0
        told = capsys.readouterr()
        assert f"download: touch {mark}"[:70] in told.out + told.err
        assert "not executed" in told.out + told.err
        assert not mark.exists()
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    (data.parent / "empty").mkdir()
    (data.parent / "other.yaml").write_text("names: [a, b, c, d]\nval: empty\n")
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert main([*options[:-1], str(data.parent / "other.yaml"), "--img-size", "64"]) == 2
    assert "val = 'empty': no image there" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_the_page_on_the_laws_lists_all_of_them():
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "binarize-checks.md").read_text(), re.M)
    assert rows == [law.__name__ for law in LAWS]


def test_something_is_planted_for_every_law():
    assert {law for law, _ in PLANTED.values()} == {law.__name__ for law in LAWS}


def test_dead_and_saturated_channels_are_told_for_each_layer_and_whole_layers_found(tmp_path, capsys):
    """Norms whose weight is 0 give their bias everywhere: -1 never reaches 0.5, 1 does in each step, 0.45 in every other."""
    before = built(described("digits"), 0)
    some, whole = (before.get_submodule(p) for p in ("model.1.residual_function.2.bn", "model.3.bn.bn"))
    with torch.no_grad():
        for bn, biases in ((some, [-1.0] * 3 + [1.0] * 2), (whole, [1.0] * whole.num_features)):
            bn.weight[:] = 0
            bn.bias[:] = 0.45
            bn.bias[: len(biases)] = torch.tensor(biases)
    save(before, tmp_path / "b.pt")
    save(binarize(before)[0], tmp_path / "a.pt")
    np.savez(tmp_path / "d.npz", x=np.random.default_rng(0).uniform(size=(4, 1, 8, 8)).astype("f4"), y=np.arange(4))
    files = [str(tmp_path / n) for n in ("b.pt", "a.pt")]
    assert main(["verify-binary", *files, "--img-size", "8"]) == 0
    told = capsys.readouterr().out
    n, m = some.num_features, whole.num_features
    shares = [f"{k} of {n} channels {w} ({100 * k / n:.0f} %)" for k, w in ((3, "dead"), (2, "saturated"))]
    assert f"  model.1.residual_function.3: {', '.join(shares)}\n" in told
    full = f"0 of {m} channels dead (0 %), {m} of {m} channels saturated (100 %): the whole layer is saturated"
    assert f"  model.3.act: {full}\n" in told
    assert main(["verify-binary", *files, "--data", str(tmp_path / "d.npz")]) == 1
    assert re.search("^fail +alive +layers with all units saturated at model.3.act", capsys.readouterr().out, re.M)


@pytest.mark.parametrize("command", ["verify-binary b.pt a.pt", "fidelity --before b.pt --after a.pt",
                                     "quantize --quant-type static_int8 --weights a.pt --train odd.npz"])  # fmt: skip
def test_images_of_a_size_that_the_net_does_not_take_are_one_line(command, pair, capsys, monkeypatch):
    monkeypatch.chdir(pair)
    x = np.zeros((4, 1, 9, 8), np.float32)
    np.savez("odd.npz", x=x, y=np.arange(4))
    assert main([*command.split(), "--data", "odd.npz"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    told = [line for line in shown.err.splitlines() if line.startswith("snnverify: ")]
    assert told == ["snnverify: odd.npz: images of 9 x 8, no multiple of the net's stride 2; crop them, say to 8 x 8"]


def test_a_side_of_images_that_have_another_is_one_line(pair, capsys, monkeypatch):
    monkeypatch.chdir(pair)
    np.savez("d.npz", x=np.zeros((4, 1, 8, 8), np.float32), y=np.arange(4))
    assert main(["verify-binary", "b.pt", "a.pt", "--data", "d.npz", "--img-size", "16"]) == 2
    assert capsys.readouterr().err == "snnverify: --img-size 16: the images of d.npz are 8 high; leave the option out\n"


def test_a_diagram_is_drawn_of_a_file_of_ours_and_of_a_checkpoint(pair, capsys, monkeypatch):
    monkeypatch.chdir(pair)
    assert main(["diagram", "a.pt", "--size", "8"]) == 0
    told = capsys.readouterr().out
    assert f"a.pt, sha256 {hashlib.sha256(Path('a.pt').read_bytes()).hexdigest()}" in told
    assert "model.3.act" in told
    assert main(["diagram", "a.pt", "--weights", "b.pt"]) == 2
    assert (
        capsys.readouterr().err
        == "snnverify: --weights b.pt: a.pt holds the weights and the net; leave one of them out\n"
    )


def test_weights_without_a_model_are_told_which_quantisation_takes_them(pair, capsys, monkeypatch):
    monkeypatch.chdir(pair)
    assert main(["quantize", "--weights", "a.pt"]) == 2
    assert re.search(
        "^snnverify: --weights a.pt: name the model.*--quant-type static_int8$", capsys.readouterr().err, re.M
    )


def test_a_net_of_silu_alone_has_no_layer_that_is_dead_or_saturated(pair):
    stored, run = opened(pair / "a.pt", pair / "b.pt", size=8)
    list(judged(stored, run, "reversed", [alive]))
    assert not [n for n in run.notes if n.startswith(("model.3.act", "model.4.act"))]


@pytest.mark.parametrize(("given", "near"), [
    ("binarize --wieghts x", "--weights"), ("fidelity --before b.pt --data x --devise=cpu", "--device"),
    ("verify-binary b.pt a.pt --hardwre", "--hardware"), ("diagram resnet81", "resnet18"),
    ("binarise --weights b.pt", "binarize"), ("quantize --quant-type static_int9", "static_int8"),
    ("--verison", "--version"), ("binarize --weights sd.pt --model digts", "digits"),
])  # fmt: skip
def test_what_is_misspelt_is_answered_by_the_nearest(given, near, pair, capsys, monkeypatch):
    monkeypatch.chdir(pair)
    torch.save(load("b.pt").state_dict(), "sd.pt")
    assert main(given.split()) == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("snnverify: ")]
    assert f"did you mean {near!r}?" in told


class Doubled(mem_update):
    def forward(self, x):
        return 2 * super().forward(x)


def test_a_net_without_silu_has_no_recurrence_to_tell_and_another_function_is_told():
    before = built(described("digits"), 0)
    after, _ = binarize(before)
    x = np.zeros((1, 1, 8, 8), np.float32)
    assert judge(recurrences, Pair(after, after, x), "a").outcome == "unsupported"
    assert judge(recurrences, Pair(before, after, x), "a").outcome == "pass"
    before.get_submodule("model.3.act").__class__ = Doubled
    found = judge(recurrences, Pair(before, after, x), "a")
    assert (found.outcome, found.worst.name, found.worst.where) == ("fail", "s[0] is not silu(x[0])", "model.3.act")
    assert abs(found.worst.value - 1) <= 2 * SILU_ROUNDOFFS * 2**-53  # 2 silu / silu - 1


def converted_arms():
    """Drop and changed weights of the arm `converted` of each net, as the page's tables of digits have them."""
    page = (ROOT / "docs" / "binarize-fidelity.md").read_text().split("## Digits", 1)[1].split("\n## ", 1)[0]
    found = {}
    for name in ("head-only SiLU", "all SiLU"):
        table = page.split(f"### {name}: ", 1)[1].split("###", 1)[0]
        rows = [[c.strip() for c in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
        found[name] = dict(zip(rows[0], next(r for r in rows if r[0] == "converted"), strict=True))
    return found


def test_claims_are_judged_by_the_figures_of_the_page():
    given = tomllib.loads((ROOT / "examples" / "claims" / "detectors.toml").read_text())["given"]
    values, arms = {g["name"]: g["value"] for g in given}, converted_arms()
    for name, arm in arms.items():
        assert values[f"mean drop of {name}"] == arm["drop"]
    changed = [arm["weights"].split(" of ")[0] for arm in arms.values()]
    assert values["tensors that differ, head-only and all SiLU"] == changed


def test_analog_synapses_are_named_and_fail_where_hardware_is_asked_for(tmp_path, capsys):
    """What the page says of a ResNet-10 detector: the image, and two residual sums."""
    before = built(described("resnet10"), 0)
    save(before, tmp_path / "b.pt")
    save(binarize(before)[0], tmp_path / "a.pt")
    files = [str(tmp_path / "b.pt"), str(tmp_path / "a.pt"), "--img-size", "32"]
    assert main(["verify-binary", *files]) == 0
    assert "3 of 19 synapses get analog inputs" in capsys.readouterr().out
    assert main(["verify-binary", *files, "--hardware"]) == 1
    assert "synapses with analog inputs that are not the image" in capsys.readouterr().out
