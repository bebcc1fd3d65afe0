"""Accuracy over T of the embedded models for every way to choose thresholds and initial potentials.

Run: ``python examples/modes.py [SAMPLES]``
"""

import sys

import numpy as np
import torch
from tabulate import tabulate

from snnverify import convert, zoo
from snnverify.fidelity import measure

T = (4, 8, 16, 32, 64)


def table(samples: int | None = None) -> list[list[str]]:
    """One row per model, mode and initial potential: accuracy of the ANN, and of the SNN at each T, in percent."""
    rows = []
    for name in zoo.MODELS:
        m = zoo.load_default(name)
        x, y = m.evaluation_x[:samples], m.evaluation_y[:samples]
        with torch.no_grad():
            logits = m.module(torch.tensor(x)).numpy()
        ann = 100 * np.mean(logits.argmax(1) == y)
        for mode in ("max", "99.9%", "1/2", "channel-wise"):
            for v_init in ("zero", "half"):
                converted = convert(m.module, m.train_x, mode=mode, v_init=v_init)
                fidelity = measure(converted, x, y, logits, T)
                snn = [f"{100 * np.mean(p == y):.2f}" for p in fidelity.snn]
                rows.append([name, mode, v_init, f"{ann:.2f}", *snn])
    return rows


if __name__ == "__main__":
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else None
    print(tabulate(table(limit), ["model", "mode", "V0", "ANN", *(f"T = {t}" for t in T)], disable_numparse=True))
