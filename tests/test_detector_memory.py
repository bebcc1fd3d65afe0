"""Images that cannot fit are refused before anything is made of them, and estimates are those of layers by hand."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from snnverify.cli import main
from snnverify.detector import memory, save
from snnverify.detector.generated import write_rectangles
from snnverify.detector.model import described
from snnverify.detector.specimens import built
from snnverify.errors import ConfigError


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save(built(described("resnet10"), 0), "w.pt")
    write_rectangles(Path("shapes"), 2, 2)
    return "--data", "shapes/data.yaml"


@pytest.mark.parametrize("command", [
    "binarize --weights w.pt", "binarize --weights w.pt DATA", "verify-binary w.pt w.pt", "verify-binary w.pt w.pt DATA",
    "fidelity --before w.pt DATA", "quantize --quant-type static_int8 --weights w.pt DATA",
])  # fmt: skip
def test_an_image_that_cannot_fit_is_refused_in_a_line_before_anything_is_written(command, files, capsys):
    before = {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()}
    given = [part for word in command.split() for part in (files if word == "DATA" else [word])]
    side = 2**30 // 32 * 32  # a channel of its float32 alone takes 4 EB, more than any machine has
    assert main([*given, "--img-size", str(side)]) == 2
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("snnverify: ")]
    assert len(told) == 1
    assert re.search(
        rf"--img-size {side}: .* would take [\d,.]+ GB at the least, and [\d,.]+ GB are free; take a smaller", told[0]
    )
    assert {p: p.read_bytes() for p in Path().rglob("*") if p.is_file()} == before


def test_a_diagram_of_an_image_that_cannot_fit_is_refused(capsys):
    assert main(["diagram", "digits", "--size", str(2**30)]) == 2
    assert re.search("size 1073741824: an image .* GB are free", capsys.readouterr().err)


def test_what_is_needed_grows_with_the_area_and_is_that_of_the_layers(monkeypatch):
    """A convolution of 3 to 16 channels, float32, the side kept: it takes 3 and gives 16 values a place."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 4, 1))
    assert memory.measured(net, 32) == (4 * 32**2 * (16 + 4), 4 * 32**2 * (16 + 4))
    whole = 4 * (3 + 4) * 32**2  # of the chain itself: more is alive inside
    assert whole < memory.measured(net, 32)[0]
    needed = 4 * 100**2 * 20
    monkeypatch.setattr(memory, "free_memory", lambda device: needed)
    memory.check_memory(net, 100)
    monkeypatch.setattr(memory, "free_memory", lambda device: needed - 1)
    with pytest.raises(ConfigError, match="above 99 none fits"):
        memory.check_memory(net, 100)
    with pytest.raises(ConfigError, match="2 images"):
        memory.check_memory(net, 99, images=2)
    assert memory.measured(net.half(), 32)[0] == 2 * 32**2 * 20


def test_steps_of_spikes_count_beside_their_train():
    """A unit holds what it takes, its steps, and the train that these are put together to: three times one of float32."""
    net = built(described("digits"), 0)
    unit, taken = net.get_submodule("model.1.residual_function.0"), []
    unit.register_forward_hook(lambda m, x, y: taken.append(y.numel()))
    with torch.no_grad():
        net(torch.zeros(1, 1, 32, 32))
    assert memory.measured(net, 32)[0] >= 3 * 4 * taken[0]


def test_a_net_that_does_not_run_on_a_small_image_is_not_asked():
    assert memory.measured(nn.Sequential(nn.Conv2d(3, 4, 64)), 32) == (0, 0)
    memory.check_memory(nn.Linear(2, 2), 2**30)


def test_free_memory_is_what_linux_tells():
    told = memory.free_memory(torch.device("cpu"))
    assert told is not None
    assert 0 < told < 2**50
