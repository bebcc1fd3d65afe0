"""The architecture diagram: what the checks do not draw, what it refuses, and the pages that are made with it."""

import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from snnverify.cli import main
from snnverify.detector.blocks import Constants
from snnverify.detector.describe import describe
from snnverify.detector.draw import VIEWS, write
from snnverify.detector.draw_json import record, schema
from snnverify.detector.draw_text import text
from snnverify.detector.model import Detector, described
from snnverify.errors import ConfigError, DataError, Unsupported
from snnverify.schema import breaches

DOCS = Path(__file__).parents[1] / "docs"


class Net(nn.Module):
    """A forward function as a module, with children by name."""

    def __init__(self, forward, **children):
        super().__init__()
        self.body = forward
        for name, child in children.items():
            self.add_module(name, child)

    def forward(self, x):
        return self.body(self, x)


def conv():
    return nn.Conv2d(2, 2, 1)


def drawn(forward, **children):
    return describe(Net(forward, **children).eval(), torch.rand(1, 2, 4, 4))


def edges(d):
    return set(d.edges)


def test_a_write_through_a_view_reaches_whoever_reads_the_rest():
    def forward(m, x):
        y = m.a(x)
        y[:, :1].add_(m.b(x)[:, :1])
        return m.c(y)

    d = drawn(forward, a=conv(), b=conv(), c=conv())
    assert {("b", "/slice:2"), ("/slice:2", "/add"), ("/add", "c"), ("a", "c")} <= edges(d)


def test_a_write_into_the_input_of_an_earlier_reader_does_not_reach_it():
    def forward(m, x):
        y = m.a(x)
        z = m.b(y)
        y.mul_(2)
        return m.c(y) + z

    d = drawn(forward, a=conv(), b=conv(), c=conv())
    assert ("a", "b") in edges(d)
    assert ("/mul", "b") not in edges(d)
    assert ("/mul", "c") in edges(d)


@pytest.mark.parametrize(
    "added",
    [
        lambda a, b: a + b, lambda a, b: torch.add(a, b), lambda a, b: a.clone().add_(b), lambda a, b: sum([a, b]),
        lambda a, b: torch.add(a, b, out=torch.empty_like(a)),
    ],
)  # fmt: skip
def test_a_sum_is_found_however_it_is_written(added):
    d = drawn(lambda m, x: added(m.f(x), x), f=conv())
    (join,) = d.joins
    assert (join.kind, join.fork) == ("add", "image")
    assert [(r.label, r.identity) for r in join.routes] == [("residual path", False), ("shortcut path", True)]


def test_an_empty_shortcut_that_is_scaled_is_no_identity():
    d = drawn(lambda m, x: m.f(x) + m.shortcut(x) * 0.9, f=conv(), shortcut=nn.Sequential())
    assert [(r.label, r.identity) for r in d.joins[0].routes] == [("residual path", False), ("shortcut path", False)]


def test_an_unet_nests_and_a_map_that_is_used_elsewhere_does_not():
    def unet(m, x):
        return torch.cat([m.up(m.down(x)), x], 1)

    def tapped(m, x):
        y = m.down(x)
        return torch.cat([m.up(y), x], 1), y

    assert drawn(unet, up=conv(), down=conv()).joins[0].nested
    d = drawn(tapped, up=conv(), down=conv())
    assert (d.joins[0].nested, d.joins[0].fork) == (False, "image")
    assert len(d.outputs) == 2


def test_a_module_whose_weights_are_used_without_a_call_is_executed():
    d = drawn(lambda m, x: nn.functional.conv2d(x, m.f.weight), f=conv())
    assert [(m.path, m.status, m.calls) for m in d.modules if m.path] == [("f", "executed", 0)]
    assert dict(d.counts) == {"convolutions of unclassed input": 1}


def test_a_module_at_two_paths_is_one_module():
    shared = conv()
    d = drawn(lambda m, x: m.b(m.a(x)), a=shared, b=shared)
    assert edges(d) == {("image", "a"), ("a", "a:2"), ("a:2", "output")}
    assert [(m.path, m.calls, m.aliases) for m in d.modules if m.path] == [("a", 2, ("b",))]


def test_modules_of_a_user_that_declare_the_protocol_count_as_spiking():
    class Mine(nn.Module):
        act, constants = False, Constants(2, 0.3, 0.5)

        def forward(self, x):
            return (x > 0.3).float()

    d = describe(Net(lambda m, x: m.spike(x), spike=Mine()), torch.rand(2, 3, 4, 5, 5))
    assert dict(d.counts) == {"spiking activations": 1, "spiking neurons": 4 * 5 * 5}
    assert dict(d.parameters)["threshold"] == "0.3"
    assert dict(d.parameters)["classes"] == "not declared"


def test_values_are_classed_by_what_they_are():
    given = torch.tensor([[[[0.0, 2.0]], [[1.0, 3.0]]]])
    d = describe(nn.Sequential(conv(), nn.ReLU()), given)
    assert dict(d.counts)["convolutions of integer input"] == 1
    d = describe(nn.Sequential(conv(), nn.ReLU()), torch.zeros(1, 2, 1, 1))
    assert dict(d.counts)["convolutions of silent input"] == 1


def test_the_model_is_left_alone():
    model = nn.Sequential(conv(), nn.BatchNorm2d(2), nn.Dropout()).train()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    describe(model, torch.rand(1, 2, 4, 4))
    assert model.training
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_image_is_left_alone():
    x = np.ones((1, 2, 3, 3), np.float32)
    describe(Net(lambda m, x: m.f(x.mul_(2)), f=conv()), x)
    assert (x == 1).all()


def test_the_dummy_image_is_of_its_seed_and_is_told():
    model = Detector(described("digits"))
    first, again, other = (describe(model, seed=s) for s in (0, 0, 1))
    assert first == again != other
    assert "a dummy image, uniform in [0, 1), seed 1" in text(other)
    assert other.shape == (1, 1, 64, 64)
    assert describe(model, size=8).shape == (1, 1, 8, 8)
    assert "a given input" in text(describe(model, np.zeros((2, 1, 8, 8), np.float32)))


def test_without_a_trace_every_module_is_shown_and_that_is_told():
    model = Detector(described("digits"))
    d = describe(model, trace=False)
    assert {b.name for b in d.blocks} == {p for p, _ in model.named_modules() if p}
    assert "No trace: every module is listed" in text(d)
    assert {m.status for m in d.modules} == {"untraced"}
    assert (d.edges, d.joins, d.activities, d.counts) == ((), (), (), ())


def test_a_module_that_runs_for_nothing_is_told():
    def forward(m, x):
        m.aside(x)
        return m.main(x)

    assert "the output does not depend on it: Conv2d aside" in text(drawn(forward, aside=conv(), main=conv()))


def test_a_module_that_raises_and_is_caught_does_not_take_over_what_follows():
    def forward(m, x):
        try:
            return m.wrong(x)
        except RuntimeError:
            return m.right(x)

    d = drawn(forward, wrong=nn.Linear(7, 7), right=conv())
    assert {("image", "right"), ("right", "output")} <= edges(d)
    assert ("right", "wrong") not in edges(d)


def test_an_output_that_left_torch_is_told_in_every_form():
    d = drawn(lambda m, x: torch.from_numpy(m.f(x).numpy() * 2), f=conv())
    assert "output: no value that was traced reaches it" in text(d)
    assert all(draw(d) for draw in VIEWS.values())


def test_a_model_that_returns_no_tensor_is_drawn():
    d = drawn(lambda m, x: str(m.f(x)), f=conv())
    assert "output that holds no tensor" in text(d)
    assert all(draw(d) for draw in VIEWS.values())


def test_a_model_that_is_a_single_module_shows_its_operations():
    d = describe(conv(), torch.rand(1, 2, 3, 3))
    assert d.edges == (("image", "/conv2d"), ("/conv2d", "output"))
    assert [m.status for m in d.modules] == ["executed"]


def test_the_blocks_of_a_transformer_are_residual():
    """A class of torch's own, in its own code: two sums, of which each adds the value before it."""
    d = describe(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.rand(2, 3, 8))
    sums = [j for j in d.joins if j.kind == "add"]
    assert [j.fork for j in sums] == ["image", "norm1"]
    assert [{r.label: r.identity for r in j.routes} for j in sums] == [
        {"residual path": False, "shortcut path": True}
    ] * 2


@pytest.mark.parametrize("trace", [True, False])
def test_the_schema_takes_what_is_written_and_refuses_what_is_not(tmp_path, trace):
    read = json.loads(write(Detector(described("resnet10")), tmp_path / "d.json", trace=trace).read_text())
    assert list(breaches(read, schema(), "diagram")) == []
    read["elements"][0]["role"] = "guess"
    read["modules"][0]["calls"] = -1
    read["more"] = 1
    assert len(list(breaches(read, schema(), "diagram"))) == 3


def test_every_form_is_written(tmp_path):
    model = Detector(described("digits"))
    files = {form: write(model, tmp_path / f"d{form}").read_bytes() for form in VIEWS}
    assert files[".mmd"].startswith(b"flowchart TB\n")
    assert Image.open(io.BytesIO(files[".png"])).size[0] > 1000
    assert b"shortcut path, identity" in files[".svg"]


@pytest.mark.parametrize(
    ("refused", "error", "words"),
    [
        (lambda m, p: write(m, p / "d.gif"), ConfigError, r"no form ends in .gif; take .txt, .json, .mmd, .svg, .png"),
        (lambda m, p: write(m, p / "d.txt", image="a cat"), DataError, "image: a str that is no array of numbers"),
        (lambda m, p: write(m, p / "d.txt", image=torch.full((1, 1, 8, 8), torch.nan)), DataError, "NaN"),
        (lambda m, p: write(m, p / "d.txt", size=7), DataError, "7x7 is no multiple of the stride 2; the next is 8x8"),
        (lambda m, p: write(m, p / "d.txt", size=0), ConfigError, "size = 0"),
        (lambda m, p: write(nn.Sequential(conv(), nn.Linear(3, 1)), p / "d.txt"), Unsupported, "^1: the traced forward"),
        (lambda m, p: write(torch.jit.trace(conv(), torch.rand(1, 2, 3, 3)), p / "d.txt"), Unsupported, "takes no hooks"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which users have all the same
def test_what_cannot_be_drawn_is_refused_in_one_line(tmp_path, refused, error, words):
    with pytest.raises(error, match=words) as e:
        refused(Detector(described("digits")), tmp_path)
    assert "\n" not in str(e.value)
    assert not list(tmp_path.iterdir())


def test_the_command_prints_and_writes(tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((1, 1, 8, 8), np.float32))
    assert main(["diagram", "digits", "--image", str(tmp_path / "x.npy")]) == 0
    assert "Input [1, 1, 8, 8]; output [1, 10]" in capsys.readouterr().out
    torch.save(Detector(described("digits")).state_dict(), tmp_path / "w.pt")
    out = [str(tmp_path / "d.svg"), str(tmp_path / "d.json")]
    assert main(["diagram", "digits", "--weights", str(tmp_path / "w.pt"), "--out", *out]) == 0
    assert "w.pt, sha256" in json.loads((tmp_path / "d.json").read_text())["weights"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet19"], "resnet19"), (["digits", "--out", "d.bmp"], "no form ends in .bmp"),
        (["digits", "--image", "no.npy"], "image no.npy: it cannot be read"),
        (["digits", "--no-trace", "--image", "no.npy"], "nothing runs"),
        (["resnet10", "--weights", "{digits}"], "they do not fit resnet10"),
    ],
)  # fmt: skip
def test_the_command_refuses_in_one_line(tmp_path, capsys, arguments, words):
    torch.save(Detector(described("digits")).state_dict(), tmp_path / "w.pt")
    assert main(["diagram", *(a.format(digits=tmp_path / "w.pt") for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1


def test_the_page_shows_what_the_command_prints(capsys):
    """Rates are those of one machine's rounding, and versions those of one day; all else is compared."""

    def lasting(page):
        return re.sub(r"Made by .*|\d+\.\d\d %", "", page)

    assert main(["diagram", "resnet18"]) == 0
    printed = capsys.readouterr().out
    assert lasting(printed) == lasting((DOCS / "architecture-resnet18.txt").read_text("utf-8"))
    shown = re.findall(r"```text\n(.*?)```", (DOCS / "diagram.md").read_text("utf-8"), re.S)
    assert shown
    for part in shown:
        assert lasting(part) in lasting(printed)


def test_names_of_the_picture_are_those_of_the_page():
    svg = (DOCS / "architecture-resnet18.svg").read_text("utf-8")
    d = record(describe(Detector(described("resnet18"))))
    assert {f'"{b}"' for b, _ in d["edges"] if "/add" in b} <= set(re.findall(r'data-name=("[^"]*")', svg))
