"""What a conversion refuses: one clear line with the field, its value and the way out, or the layer by name."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from snnverify.activation import Cuba, Neuron, Relu
from snnverify.convert import convert
from snnverify.errors import ConfigError, DataError, NetworkError, SnnverifyError, Unsupported
from snnverify.network import Branch, Dense, Layer, Network, Scale

ANN = Network((2,), (Layer("r", (Branch(Dense(np.eye(2))),), Relu()), Layer("o", (Branch(Scale(), "r"),))))
TWO = np.ones((3, 2))
IMAGES = np.random.default_rng(0).random((3, 2, 6, 6))
LINE = nn.Sequential(nn.Linear(1, 1), nn.ReLU()).eval()
REFUSED = {
    "mode": ({"mode": "maximum"}, ConfigError, r"mode = 'maximum': one of max, NN\.N%.*channel-wise"),
    "mode empty": ({"mode": ""}, ConfigError, r"mode = ''"),
    "mode 1/0": ({"mode": "1/0"}, ConfigError, r"mode = '1/0'"),
    "percentile 0": ({"mode": "0%"}, ConfigError, r"mode = '0%': a percentile lies in \(0, 100\]"),
    "percentile 101": ({"mode": "101%"}, ConfigError, r"mode = '101%': a percentile lies in \(0, 100\]"),
    "percentile as a number": ({"mode": 99.9}, ConfigError, r"mode = 99\.9: a fraction.*; a percentile ends in %"),
    "fraction 0": ({"mode": 0}, ConfigError, r"mode = 0: a fraction"),
    "fraction nan": ({"mode": float("nan")}, ConfigError, r"mode = nan"),
    "v_init name": ({"v_init": "quarter"}, ConfigError, r"v_init = 'quarter': half, zero, or a fraction"),
    "v_init 1": ({"v_init": 1}, ConfigError, r"v_init = 1: .*\[0, 1\)"),
    "v_init negative": ({"v_init": -0.5}, ConfigError, r"v_init = -0\.5"),
    "v_init nan": ({"v_init": float("nan")}, ConfigError, r"v_init = nan"),
    "reset": ({"reset": "soft"}, ConfigError, r"reset = 'soft': one of subtract"),
    "form": ({"form": "scale"}, ConfigError, r"form = 'scale': one of normalise, balance"),
    "population": ({"population": "postive"}, ConfigError, r"population = 'postive': one of all, positive"),
    "readout": ({"readout": "spikes"}, ConfigError, r"readout = 'spikes': one of auto, membrane, count"),
    "nan": ({"calibration": [[1.0, np.nan]]}, DataError, "calibration set: it holds NaN or infinity; mend"),
    "infinity": ({"calibration": [[1.0, np.inf]]}, DataError, "calibration set: it holds NaN or infinity"),
    "empty": ({"calibration": np.ones((0, 2))}, DataError, "calibration set: it is empty; give at least one"),
}  # fmt: skip


@pytest.mark.parametrize("torch_model", [False, True], ids=["network", "torch"])
@pytest.mark.parametrize(("change", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(change: dict[str, object], error: type[Exception], message: str, torch_model: bool) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval() if torch_model else ANN
    with pytest.raises(error, match=message) as e:
        convert(model, **({"calibration": TWO} | change))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("calibration", [np.ones((3, 5)), np.ones(2), np.ones((3, 2, 1))])
def test_a_calibration_set_of_another_shape_is_refused(calibration: object) -> None:
    for model in (ANN, nn.Sequential(nn.Linear(2, 2), nn.ReLU()).eval()):
        with pytest.raises(SnnverifyError, match="shape") as e:
            convert(model, calibration)  # type: ignore[arg-type]
        assert "\n" not in str(e.value)
    with pytest.raises(DataError, match=r"calibration set of shape .*: \[N, \*shape\] with shape \(2,\)"):
        convert(ANN, calibration)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::snnverify.convert.ConversionWarning")
def test_a_misspelt_population_is_refused_without_calibration_too() -> None:
    with pytest.raises(ConfigError, match="population = 'postive'"):
        convert(ANN, population="postive")  # type: ignore[arg-type]


def test_read_outs_that_contradict_the_network_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"readout = 'membrane': the ANN ends in an activation.*use count or auto"):
        convert(LINE, [[1.0]], readout="membrane")
    assert convert(LINE, [[1.0]], readout="count").readout == "count"
    assert convert(ANN, TWO, readout="membrane").readout == "membrane"


@pytest.mark.filterwarnings("ignore::snnverify.convert.ConversionWarning")
def test_what_cannot_spike_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="no ReLU-like activation to replace; convert a network with ReLU"):
        convert(nn.Linear(2, 2).eval(), TWO)
    with pytest.raises(Unsupported, match=r"no ReLU-like activation"):
        convert(nn.Linear(2, 2).eval(), TWO, readout="count")
    pool = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU(), nn.MaxPool2d(2)).eval()
    with pytest.raises(Unsupported, match="2: max pooling has no spiking form; use average pooling"):
        convert(pool, IMAGES)
    with pytest.raises(Unsupported, match="1: "):
        convert(nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2), nn.ReLU()).eval(), TWO)
    for act in (Neuron(), Cuba(3)):
        half_spiking = Network((2,), (*ANN.layers, Layer("s", (Branch(Scale(), "r"),), act)))
        with pytest.raises(Unsupported, match="s: "):
            convert(half_spiking)


def test_the_input_shape_is_asked_for_where_nothing_tells_it() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.ReLU()).eval()
    with pytest.raises(ConfigError, match=r"input_shape: neither .*; give input_shape=\(\.\.\.\)"):
        convert(model)
    with pytest.raises((NetworkError, DataError)):
        convert(model, IMAGES, input_shape=(2, 5, 5))
    c = convert(model.append(nn.Flatten()), IMAGES)
    with pytest.raises(DataError, match=r"x of shape \(3, 2, 6, 5\)"):
        c.run(IMAGES[:, :, :, :5], 4)
    with pytest.raises(DataError, match="at least 1 time step"):
        c.classify(IMAGES[0], 0)
