"""From a torch model to Loihi's blocks and a NetX file, without Lava: ``python examples/lava_blocks.py [file.net]``.

What a block does not hold is refused by name; here a model without biases, with hard reset, is converted whole.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from snnverify.convert import convert
from snnverify.errors import Unsupported
from snnverify.exchange import read_netx, write_netx
from snnverify.loihi import lava_blocks
from snnverify.simulate import run
from snnverify.trace import Case


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1, bias=False), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 2, stride=2, bias=False),
        torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(64, 10, bias=False), torch.nn.ReLU(),
    )  # fmt: skip


def main(path: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.random((32, 1, 8, 8))
    try:
        lava_blocks(convert(model(), images).snn)
    except Unsupported as e:
        print(f"refused: {e}")
    spiking = convert(model(), images, reset="value", v_init="zero").snn
    blocks = lava_blocks(spiking)
    spikes = (rng.random((24, 8, 1, 8, 8)) < images[:8]).astype(float)
    trace = run(Case(blocks, spikes, 24, "spikes", kind="integer"))
    for name, counts in trace.counts.items():
        print(f"layer {name}: threshold {blocks[name].act.threshold} mantissas, {counts.sum()} spikes")
    chip = read_netx(write_netx(lava_blocks(spiking, delay=1), path), input_shape=(1, 8, 8))
    late = np.concatenate([spikes, np.zeros((len(chip.spiking), *spikes.shape[1:]))])
    counts = run(Case(chip, late, len(late), "spikes", kind="integer")).counts[chip.output.name]
    same = np.array_equal(counts, trace.counts[blocks.output.name])
    print(f"{path}: read back, {len(chip.spiking)} steps late, the same outputs: {same}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "blocks.net"))
