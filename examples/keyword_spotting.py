"""A keyword spotter from WAV files to a chip's budget: every station of a published walkthrough, by the library's commands.

python examples/keyword_spotting.py [--data FOLDER] [--out FOLDER] [-T 20] [--epochs 8] [--native-epochs 5] [--seed 0]

FOLDER holds ``label/*.wav`` or ``digit_speaker_i.wav``; without one, a small set of chirps is made up. The walkthrough's
figures are in examples/claims/walkthrough.toml; each has its counterpart in the last table, and the figures of this run are
written down as claims and audited in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.io import wavfile
from tabulate import tabulate
from torch import nn

from snnverify import convert, sound
from snnverify.cli import main as snnverify
from snnverify.config import merge, read_config
from snnverify.content import write_atomic
from snnverify.convert.load import load_model
from snnverify.errors import ConfigError, DataError, SnnverifyError
from snnverify.hardware.energy import tables as tables_of
from snnverify.hardware.measured import idle, meters, on_host
from snnverify.hardware.targets import target
from snnverify.pipeline.mapped import mapped
from snnverify.quantise import Grid, quantise
from snnverify.simulate import simulate
from snnverify.waterfall.fixed import fixed_point

WIDTHS = (4040, 512, 256, 128)
CLASSES = 10  # of the digits; more where a folder has more labels
RATE = 8000
PLACES = 12  # binary ones, of thresholds, biases and sums in fixed point
ME = f"{Path(__file__).resolve()}:build"


def build(classes: int = CLASSES) -> nn.Module:
    """The walkthrough's network, 4040-512-256-128, and its classes."""
    layers: list[nn.Module] = [nn.Flatten()]
    for a, b in pairwise((*WIDTHS, classes)):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def __getattr__(name: str) -> Any:
    """``build35`` is `build` with 35 classes, for the commands, which call it without an argument."""
    if name.startswith("build") and name[5:].isdecimal():
        return partial(build, int(name[5:]))
    raise AttributeError(name)


def chirps(folder: Path, seed: int, words: int = 4, takes: int = 30) -> Path:
    """Write half a second of noise and a chirp per file; every word has its own two frequencies."""
    rng = np.random.default_rng(seed)
    t = np.arange(RATE // 2) / RATE
    folder.mkdir(parents=True, exist_ok=True)
    for word in range(words):
        for take in range(takes):
            start, end = np.array([300 + 500 * word, 2200 - 400 * word]) * rng.uniform(0.95, 1.05, 2)
            tone = np.sin(2 * np.pi * (start * t + (end - start) * t**2 / t[-1] / 2)) * rng.uniform(0.2, 0.6)
            samples = tone + 0.02 * rng.normal(size=t.shape)
            wavfile.write(folder / f"{word}_made_{take}.wav", RATE, (samples * 2**14).astype(np.int16))
    return folder


def features(folder: Path, out: Path) -> int:
    """Write MFCC of both splits, each coefficient standardised by the training set; how many classes they need."""
    (x, y, _), (test_x, test_y, _) = (sound.features(folder, split) for split in ("train", "test"))
    if not np.any(y != y[0]):
        raise DataError(f"{folder}: its training files have one label; a classifier needs two")
    mean, spread = (f(x, axis=(0, 2), keepdims=True) for f in (np.mean, np.std))
    out.mkdir(parents=True, exist_ok=True)
    np.savez(out / "train.npz", x=(x - mean) / spread, y=y)
    np.savez(out / "test.npz", x=(test_x - mean) / spread, y=test_y)
    return max(CLASSES, int(max(y.max(), test_y.max())) + 1)


def train(out: Path, epochs: int, seed: int, classes: int) -> float:
    """Train the ANN; seconds."""
    torch.manual_seed(seed)
    started, data, model = time.perf_counter(), np.load(out / "train.npz"), build(classes)
    x, y = torch.tensor(data["x"]), torch.tensor(data["y"])
    step = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-5)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(32):
            step.zero_grad()
            nn.functional.cross_entropy(model(x[part] + 0.3 * torch.randn(len(part), *x.shape[1:])), y[part]).backward()
            step.step()
    save_file(model.state_dict(), out / "mlp.safetensors")
    return time.perf_counter() - started


def stations(out: Path, o: argparse.Namespace) -> dict[str, Any]:
    """Run the commands, their tables into ``out/report.txt``; what they wrote, by name."""
    model = [
        o.model,
        "--weights",
        f"{out}/mlp.safetensors",
        "--data",
        f"{out}/test.npz",
        "--calibration",
        f"{out}/train.npz",
    ]
    both = [*model, "-T", f"{o.T}", "--seed", f"{o.seed}"]
    walk = ["--mode", "rate", "--target-rate", "0.05", "0.20", "--encoding", "poisson", "--unit-range"]
    trained = ["--train", f"{out}/train.npz"]
    commands = {
        "analyze": ["analyze", o.model, "--weights", f"{out}/mlp.safetensors", "--data", f"{out}/train.npz"],
        "calibrate": ["calibrate", *both, *walk, "--json", f"{out}/calibrate.json"],
        "stations": ["stations", *both, *trained, "--precision", "int4", "--seeds", "1", "--epochs", "5", "--out",
                     f"{out}/stations.json"],
        "map": ["map", *model, "-T", f"{o.T}", "--target", "many-core", "--precision", "int4", "--markdown",
                f"{out}/map.md"],
        "energy": ["energy", *both, "--hops", "many-core", "--precision", "int4", "--json", f"{out}/energy.json"],
        "native": ["native", *both, *trained, "--epochs", f"{o.native_epochs}", "--lr", "0.001", "--out",
                   f"{out}/native.json"],
    }  # fmt: skip
    with open(out / "report.txt", "w") as report:
        for name, command in commands.items():
            print(f"{name} ...", flush=True)
            with contextlib.redirect_stdout(report):
                print(f"\n$ snnverify {' '.join(command)}\n", flush=True)
                if (code := snnverify(command)) not in (0, 1, 3):  # a broken limit, a rate out of range or in doubt
                    sys.exit(code)
    return {
        name: json.loads((out / f"{name}.json").read_text()) for name in ("calibrate", "stations", "energy", "native")
    }


def on_this_host(out: Path, spec: str, steps: int) -> tuple[str, str, str]:
    """What INT4 costs in a chip's arithmetic, latencies of an inference here, and its energy where there is a meter."""
    x, y = (np.load(out / "test.npz")[k] for k in "xy")
    model, _ = load_model(spec, out / "mlp.safetensors")
    net = convert(model.eval(), np.load(out / "train.npz")["x"])
    int4 = quantise(net.snn, Grid("int4")).network
    floating, fixed = (simulate(v, x, steps).readout[-1].argmax(-1) for v in (int4, fixed_point(int4, PLACES)))
    chip = f"{100 * np.mean(fixed == y):.2f} %; {np.sum(fixed != floating)} of {len(y)} samples in another class"
    spent = []
    net.simulate(x[:1], steps=steps)  # compiled when it is first used
    for sample in x[:200]:
        started = time.perf_counter()
        net.simulate(sample[None], steps=steps)
        spent.append(1e3 * (time.perf_counter() - started))
    p50, p99 = np.percentile(spent, (50, 99), method="inverted_cdf")
    found, _ = meters()
    measured = [
        f"{1e6 * np.mean(on_host(lambda n: net.classify(x[n], steps), min(len(x), 20), meter).energy):.4g} uJ by {name}"
        for name, meter in found.items()
        if not idle(name)
    ]
    said = "; ".join(measured) or "no meter on this host; a board's log goes to `snnverify energy --measured`"
    return chip, f"{1e3 * p50:.0f}, {1e3 * p99:.0f} us on this host", said


def figures(out: Path, found: dict[str, Any], o: argparse.Namespace, training: float) -> list[tuple[str, str, str]]:
    """Each figure of the walkthrough, and its counterpart here."""
    rates, remedies, right = (found["calibrate"][k] for k in ("rates", "remedies", "ann_right"))
    rows = {(r["station"], r["net"]): r for r in found["stations"]["models"][0]["stations"]}
    converted, native = found["native"]["models"][0]["sides"]
    settings = merge({"model": o.model, "weights": f"{out}/mlp.safetensors", "data": f"{out}/test.npz", "timesteps": [o.T],
                      "calibration": f"{out}/train.npz"}, read_config())  # fmt: skip
    many = target("many-core")
    room = many.limits["cores"].value * many.limits["weight_bits_per_core"].value
    chip = next(mapped(settings, many, "int4", 200))
    n, tables = remedies[0]["samples"], next(iter(found["energy"]["models"].values()))
    totals = next(t for t in tables["Totals by convention"] if t["connections"] == "every")
    counted = counted_samples(tables)
    sent = next(t for name, t in tables.items() if name.startswith("Operations"))[-1]
    priced = {r["model"]: r["SNN nJ"] for name, t in tables.items() if name.startswith("Energy") for r in t}
    arithmetic, latencies, measured = on_this_host(out, o.model, o.T)
    coefficients, frames = np.load(out / "test.npz")["x"].shape[1:]
    operations, spikes = totals["synop"] / counted, sent["spikes"] / counted
    prices, hops = tables_of(["loihi"])[0].pJ, {way: sent[f"hops {way}"] / counted for way in ("E-W", "N-S")}
    routed = float(hops["E-W"] * prices["hop_ew"].high + hops["N-S"] * prices["hop_ns"].high) / 1e3
    overheads = [routed / (float(end) - routed) for end in reversed(priced["loihi"].split(" - "))]

    def percent(share: float) -> str:
        return f"{100 * share:.2f} %"

    def each(name: str, as_text: Any) -> str:
        return " / ".join(as_text(r[name]) for r in rates)

    post, tuned = rows["post-training", "SNN"], rows["fine-tuned scales", "SNN"]
    ann, snn = rows["float", "ANN"]["accuracy"][0], rows["float", "SNN"]
    needs, dead = chip.placement.needs, sum(chip.removal.removed.values())
    return [
        ("features", "40 x 101 MFCC", f"{coefficients} x {frames} MFCC"),
        ("network", "4040-512-256-128-35", "-".join(map(str, o.widths))),
        ("calibration samples; T", "1000; 20", f"{found['calibrate']['facts']['calibration samples']}; {o.T}"),
        ("ANN accuracy", "80.3 %", f"{percent(ann)} of {n}"),
        ("thresholds (99.9th percentile, lowered or raised to the target rate)", "1.34 / 0.92 / 0.85",
         each("threshold", lambda v: f"{v:.2f}")),
        ("average rates; target 5-20 %", "11.2 / 8.7 / 9.1 %", each("average", percent)),
        ("maximum rates", "48.3 / 31.5 / 29.8 %", each("maximum", percent)),
        *((f"SNN accuracy, Poisson input: {r['name']}", "78.1 %" if i == 0 else "", percent(r["right"] / n))
          for i, r in enumerate(remedies)),
        ("... within 3 points of the ANN", "yes, from 77.3 % on",
         f"{'yes' if right - remedies[0]['right'] <= 0.03 * n else 'no'}, from {percent(right / n - 0.03)} on"),
        ("SNN accuracy, constant input", "", f"{percent(snn['accuracy'][0])}; drop at most "
         f"{100 * snn['paired'][0]['upper']:.2f} points (95 %, paired)"),
        ("INT4 before fine-tuning", "1.5-2.5 points lower", percent(post["accuracy"][0])),
        ("INT4, scales fine-tuned for 5 epochs", "77.4 %", percent(tuned["accuracy"][0])),
        ("... to the float SNN, to the ANN", "-0.7, -2.9 points",
         f"{100 * (tuned['accuracy'][0] - snn['accuracy'][0]):+.2f}, {100 * (tuned['accuracy'][0] - ann):+.2f} points"),
        ("layers of weights; neurons", "3; 931", f"{len(needs)}; {sum(v.units for v in needs)}"),
        ("weights", "339,968", f"{sum(v.stored for v in needs):,}"),
        ("cores", "4 of 80", f"{len(chip.placement.cores)} of {many.most('cores')} of a generic many-core"),
        ("synapse memory at INT4", "168 KB of 2 MB",
         f"{sum(v.stored for v in needs) / 2 / 1024:,.0f} KiB of {room / 8192:,.0f} KiB on the many-core"),
        ("dead neurons; spikes of others that change without them", "47 (5.0 %); not told",
         f"{dead} ({percent(dead / sum(v.units for v in needs))}); {chip.removal.changed}"),
        ("synaptic operations an inference", "312,000", f"{operations:,.0f}"),
        ("... at an average rate of", "10 %", percent(spikes / o.T / sum(WIDTHS[1:]))),
        ("multiply-adds of the analog input, paid in each step", "not told", f"{totals['mac'] / counted:,.0f}"),
        ("energy an inference", "0.81 uJ at 0.8 pJ", f"{operations * 0.8e-6:.3f} uJ at 0.8 pJ; {priced['odin']} nJ (ODIN, "
         f"operations alone) to {priced['cmos45-fp32-cache']} nJ"),
        (f"accuracy in a chip's arithmetic: INT4 before fine-tuning, {PLACES} binary places", "77.1 %; 0.3 % variation",
         arithmetic),
        ("measured energy", "0.88 uJ", measured),
        ("routing overhead", "8.6 %", f"{' to '.join(dict.fromkeys(f'{100 * v:.2f}' for v in overheads))} %: "
         f"{sum(hops.values()) / spikes:.1f} hops a spike on the many-core's mesh, at Loihi's prices"),
        ("latency P50, P99", "312, 580 us", latencies),
        ("natively trained: accuracy", "79.3 %, 2.2 points better",
         f"{percent(native['accuracy'])}, {100 * (native['accuracy'] - converted['accuracy']):+.2f} points to converted"),
        ("... average rate, converted's", "7.1, 10.2 %", f"{percent(native['rate'])}, {percent(converted['rate'])}"),
        ("... energy of its operations at 0.8 pJ, converted's", "0.58, 0.88 uJ (34 % lower)",
         f"{native['operations'] * 0.8e-6:.3f}, {converted['operations'] * 0.8e-6:.3f} uJ "
         f"({100 * (native['operations'] / converted['operations'] - 1):+.0f} %)"),
        ("... operations, converted's", "not told", f"{native['operations']:,.0f}, {converted['operations']:,.0f}"),
        ("... training, converting", "8 h, 30 min",
         f"{native['seconds']:.0f} s, {training:.0f} + {converted['seconds']:.1f} s"),
    ]  # fmt: skip


def counted_samples(tables: dict[str, Any]) -> int:
    """How many samples the command counted the operations of."""
    return int(next(k for k in tables if k.startswith("Operations")).split()[2])


def claims(found: dict[str, Any], o: argparse.Namespace) -> str:
    """Figures of this run, as claims."""
    tables = next(iter(found["energy"]["models"].values()))
    name, n = next(k for k in tables if k.startswith("Operations")), counted_samples(tables)
    hidden = [r for r in tables[name] if r["spikes"] and r["layer"] != "all"]
    rates = [r["spikes"] / (n * o.T * units) for r, units in zip(hidden, WIDTHS[1:], strict=True)]
    operations = round(sum(r["SynOps"] for r in tables[name] if r["layer"] != "all") / n)
    weights, net = sum(a * b for a, b in pairwise(o.widths)), [str(w) for w in o.widths]
    lines = ['title = "Keyword spotting, this run"', 'source = "examples/keyword_spotting.py"']
    for key, value, unit in (("net", net, ""), ("T", str(o.T), ""), ("bits", "4", "bit"),
                             ("rates", [f"{100 * r:.4f}" for r in rates], "%"), ("each", "12.7", "pJ")):  # fmt: skip
        lines += [
            "[[given]]",
            f"name = {json.dumps(key)}",
            f"value = {json.dumps(value)}",
            f'unit = "{unit}"' if unit else "",
        ]
    for key, value, unit, relation, of in (
        ("weights", f"{weights}", "", "weights", {"widths": "net"}),
        ("neurons", f"{sum(o.widths[1:])}", "", "neurons", {"widths": "net"}),
        ("memory", f"{weights / 2 / 1024:.2f}", "KiB", "memory", {"weights": "weights", "bits": "bits"}),
        ("operations", f"{operations}", "", "operations_by_layer", {"rates": "rates", "widths": "net", "steps": "T"}),
        ("energy", f"{operations * 12.7e-6:.3f}", "uJ", "energy", {"operations": "operations", "each": "each"}),
    ):
        of_text = ", ".join(f'{k} = "{v}"' for k, v in of.items())
        lines += ["[[claim]]", f'name = "{key}"', 'quote = "this run"', f'value = "{value}"',
                  f'unit = "{unit}"' if unit else "", 'rounded_to = "1"' if key == "operations" else "",
                  "[[claim.check]]", f'relation = "{relation}"', f"of = {{ {of_text} }}"]  # fmt: skip
    return "\n".join(filter(None, lines)) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run every station."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of WAV files; chirps are made up without it")
    parser.add_argument(
        "--out", type=Path, default=Path("keyword-spotting"), help="for what is written (keyword-spotting)"
    )
    for name, usual, what in (("-T", 20, "time steps"), ("--epochs", 8, "of the ANN"), ("--native-epochs", 5, "natively"),
                              ("--seed", 0, "of everything random")):  # fmt: skip
        parser.add_argument(name, type=int, default=usual, help=f"{what} ({usual})")
    o = parser.parse_args(arguments)
    for name, least in (("T", 1), ("epochs", 1), ("native_epochs", 1), ("seed", 0)):
        if getattr(o, name) < least:
            raise ConfigError(f"{name.replace('_', '-')} = {getattr(o, name)}: an integer >= {least}")
    classes = features(o.data or chirps(o.out / "chirps", o.seed), o.out)
    o.widths, o.model = (*WIDTHS, classes), ME if classes == CLASSES else f"{ME}{classes}"
    training = train(o.out, o.epochs, o.seed, classes)
    found = stations(o.out, o)
    table = tabulate(
        figures(o.out, found, o, training), ("figure", "walkthrough", "here"), "github", disable_numparse=True
    )
    write_atomic(o.out / "figures.md", table + "\n")
    print(table + "\n")
    return snnverify(["audit", str(write_atomic(o.out / "claims.toml", claims(found, o)))])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except SnnverifyError as e:  # of the data, before any command runs
        print(f"keyword_spotting: {e}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("keyword_spotting: interrupted", file=sys.stderr)
        sys.exit(130)
