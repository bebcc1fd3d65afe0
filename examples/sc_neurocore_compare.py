"""sc-neurocore's convert, run, classify and QCFS beside ours and the exact reference, on one model.

Run: ``snnverify oracle install sc-neurocore``, then
``python examples/sc_neurocore_compare.py [--samples 60] [--steps 4 8 16 ...]``

The model is the embedded digits_mlp, calibrated on its training images, judged on held-out ones. Accuracy over T, with
and without calibration, whole batches and image by image; how many images change with the batch; QCFS at points of
which some tie; and what sc-neurocore's own run counts against the reference on the weights that it made, fed with the
input spikes that it drew.
"""

import argparse
import sys
import warnings
from dataclasses import replace
from fractions import Fraction

import numpy as np

from snnverify import Case, Network, convert, reference, zoo
from snnverify.activation import ClipFloor
from snnverify.errors import Unavailable
from snnverify.oracles import get
from snnverify.report import render_rows
from snnverify.simulate import forward

STEPS = (4, 8, 16, 32, 64, 128, 256, 512)
LEVELS = 8  # of the QCFS activations
REFERENCE_SAMPLES, REFERENCE_STEPS = 2, (4, 8)  # exact fractions are slow


def problem(samples):
    """The model as a chain of dense layers, the same with QCFS at its calibrated maxima, its data, held-out images."""
    model = zoo.load_default("digits_mlp")
    flat, x = (a.reshape(len(a), -1) for a in (model.train_x, model.evaluation_x[:samples]))
    folded = convert(model.module, model.train_x).ann
    _, first, *rest = folded.layers  # without the flattening, which an image in one row does not need
    ann = Network(x.shape[1:], (replace(first, branches=(replace(first.branches[0], source="input"),)), *rest))
    peaks = forward(ann, flat)
    layers = [v if v.act is None else replace(v, act=ClipFloor(LEVELS, float(peaks[v.name].max()))) for v in ann.layers]
    return ann, replace(ann, layers=tuple(layers)), flat, x, model.evaluation_y[:samples]


def ours(network, calibration, mode="99.9%"):
    """Function (x, T) -> read-out of our conversion, [N, 10] for a batch and [10] for an image."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without calibration it warns that every threshold is 1
        converted = convert(network, calibration, mode=mode)
    return converted.run


def theirs(oracle, network, calibration):
    """The same of sc-neurocore's convert and run."""
    library = oracle.operator("sc_convert_run")
    return lambda x, steps: library(network, calibration, x, steps)[0]


def batched_and_single(subjects, x, y, steps):
    """Rows of accuracy over T, for batches and image by image; rows of images whose read-out hangs on the batch."""
    accuracy, changed = [], []
    for name, run in subjects:
        batch = [run(x, t) for t in steps]
        single = [np.stack([run(image, t) for image in x]) for t in steps]
        for form, outputs in (("batch", batch), ("single", single)):
            accuracy.append([name, form, *(f"{100 * np.mean(o.argmax(1) == y):.1f}" for o in outputs)])
        apart = [~np.isclose(b, s, rtol=1e-5, atol=1e-6).all(1) for b, s in zip(batch, single, strict=True)]
        changed.append([name, *(str(np.sum(a)) for a in apart)])
    return accuracy, changed


def qcfs_rows(oracle, levels=4):
    """QCFS of threshold 1 at multiples of an eighth, where every other one ties: the formula, ours, the library's."""
    x = np.arange(-2, 11).reshape(-1, 1) / 8
    steps = [min(max((Fraction(float(v)) * levels + Fraction(1, 2)).__floor__(), 0), levels) for v in x[:, 0]]
    told = [get("snnverify").operator("qcfs")(x, levels, 1.0), oracle.operator("qcfs")(x, levels, 1.0)]
    columns = [x, np.array(steps).reshape(-1, 1) / levels, *told]
    return [[f"{float(v):g}" for v in row] for row in np.concatenate(columns, axis=1)]


def reference_rows(oracle, ann, calibration, x, steps):
    """Output spikes of the library's run, and how many of them the reference counts on the network read back."""
    rows = []
    for t in [t for t in REFERENCE_STEPS if t in steps]:
        for name, data in (("calibrated", calibration), ("uncalibrated", None)):
            converted = oracle.convert(ann, data, steps=t)
            outputs, _ = oracle.operator("sc_convert_run")(ann, data, x, t)
            out = ann.output.name
            counts = np.rint(outputs * t / converted.units[out]).astype(int)
            drawn = oracle.operator("sc_input_spikes")(x, t)
            exact = reference.run(Case(converted.snn, drawn, t, "spikes")).counts[out]
            rows.append([name, str(t), str(counts.sum()), str(exact.sum()), str(np.abs(counts - exact).sum())])
    return rows


def main(argv=None):
    """Print the tables; 2 where sc-neurocore is not installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=60, help="held-out images")
    parser.add_argument("--steps", type=int, nargs="+", default=STEPS, help="T")
    options = parser.parse_args(argv)
    try:
        oracle = get("sc-neurocore")
    except Unavailable as e:
        print(e, file=sys.stderr)
        return 2
    ann, qcfs, calibration, x, y = problem(options.samples)
    poisson = convert(ann, calibration)
    exact = {k: np.mean(forward(net, x)[net.output.name].argmax(1) == y) for k, net in (("ANN", ann), ("QCFS", qcfs))}
    subjects = [
        ("snnverify max", ours(ann, calibration, "max")),
        ("snnverify 99.9%", ours(ann, calibration)),
        ("snnverify uncalibrated", ours(ann, None)),
        ("snnverify QCFS", ours(qcfs, None)),
        ("sc-neurocore calibrated", theirs(oracle, ann, calibration)),
        ("sc-neurocore uncalibrated", theirs(oracle, ann, None)),
        ("sc-neurocore QCFS", theirs(oracle, qcfs, None)),
    ]
    accuracy, changed = batched_and_single(subjects, x, y, options.steps)
    drawn = [poisson.run(x, t, encoding="poisson").argmax(1) == y for t in options.steps]
    accuracy.insert(4, ["snnverify 99.9%, random input", "batch", *(f"{100 * np.mean(p):.1f}" for p in drawn)])
    over_time = [f"T = {t}" for t in options.steps]
    print(f"\nAccuracy in % on {len(y)} held-out images; the ANN reaches {100 * exact['ANN']:.1f}, "
          f"with QCFS of {LEVELS} levels {100 * exact['QCFS']:.1f}\n")  # fmt: skip
    print(render_rows(accuracy, ["conversion", "run", *over_time]))
    print("\nImages whose read-out differs between the batch and a run of their own\n")
    print(render_rows(changed, ["conversion", *over_time]))
    print("\nQCFS of 4 levels and threshold 1\n")
    print(render_rows(qcfs_rows(oracle), ["x", "formula", "snnverify", "sc-neurocore"]))
    print(f"\nOutput spikes of sc-neurocore's own run and of the reference on the network read back, "
          f"{REFERENCE_SAMPLES} images\n")  # fmt: skip
    rows = reference_rows(oracle, ann, calibration, x[:REFERENCE_SAMPLES], options.steps)
    print(render_rows(rows, ["conversion", "T", "sc-neurocore", "reference", "differ"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
