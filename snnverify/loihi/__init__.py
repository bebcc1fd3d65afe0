"""Loihi's numbers and blocks: quantisation, layers as lava-dl's blocks are, conversion of IF and LIF networks."""

from .blocks import affine, average, chain, conv, dense, flatten, named, pool
from .convert import blockers, lava_blocks, lava_cuba, lava_op, to_nxt, to_tnx
from .quantise import (
    decay_mantissa,
    loihi_weights,
    optimize_weights,
    quantize_8bit,
    threshold_mantissa,
    weight_mantissa,
)

__all__ = [
    "affine", "average", "blockers", "chain", "conv", "decay_mantissa", "dense", "flatten", "lava_blocks", "lava_cuba",
    "lava_op", "loihi_weights", "named", "optimize_weights", "pool", "quantize_8bit", "threshold_mantissa", "to_nxt",
    "to_tnx", "weight_mantissa",
]  # fmt: skip
