"""Cases of lava-dl 0.6.0's CUBA blocks: synapses, pooling, export."""

from __future__ import annotations

from typing import Any

from . import Cases
from .lava_slayer import tie_at_a_high_threshold, train

IF = {"threshold": 1.0, "current_decay": 1.0, "voltage_decay": 0.0}


def blocks() -> Any:
    """Module of the CUBA blocks."""
    from lava.lib.dl.slayer.block import cuba

    return cuba


def spikes(y: Any) -> tuple[int, ...]:
    """Spikes of all units and steps."""
    return tuple(int(s) for s in y.detach().flatten())


def exported(block: Any, *shape: int) -> Any:
    """What a block writes after it ran on ones, as a mapping of paths to values."""
    import h5py
    import torch

    found: dict[str, Any] = {}
    with torch.no_grad(), h5py.File("finding", "w", driver="core", backing_store=False) as file:
        block(torch.ones(*shape))
        block.export_hdf5(file)
        file.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


def pool_straddles_channels() -> Any:
    """A 3x3 window of stride 1 over 2 channels of 3x3 sums each channel once."""
    import torch
    from lava.lib.dl.slayer.synapse import Pool

    y = Pool(3, 1)(torch.arange(18.0).reshape(1, 2, 3, 3, 1))
    return (tuple(y.shape[1:4]), tuple(y.flatten().tolist())), ((2, 1, 1), (36.0, 117.0))


def pool_rest() -> Any:
    """A rest is padded to a whole window: 5 by 2 gives 3, so 4 by 3 gives 2."""
    import torch
    from lava.lib.dl.slayer.synapse import Pool

    return tuple(Pool(k)(torch.ones(1, 1, n, n, 1)).shape[2] for n, k in ((5, 2), (4, 3))), (3, 2)


def pool_with_padding() -> Any:
    """Padding, dilation and strides of pooling are documented options: 2 channels of 4x4 give (2, 3, 3), (2, 2, 2)."""
    import torch
    from lava.lib.dl.slayer.synapse import Pool

    x, shapes = torch.ones(1, 2, 4, 4, 1), []
    for options in ({"padding": 1}, {"stride": 1, "dilation": 2}):
        try:
            shapes.append(tuple(Pool(2, **options)(x).shape[1:4]))
        except RuntimeError:
            shapes.append(())
    return tuple(shapes), ((2, 3, 3), (2, 2, 2))


def hook_of_recurrent() -> Any:
    """``pre_hook_fx`` is applied to the weights; None means no transformation."""
    made = blocks().Recurrent(dict(IF), 1, 1, pre_hook_fx=None)
    return made.input_synapse.pre_hook_fx is None, True


def callers_parameters() -> Any:
    """A block leaves its caller's parameters as they are: what is built from them next is the same."""
    from lava.lib.dl.slayer.neuron.norm import MeanOnlyBatchNorm

    given = {**IF, "norm": MeanOnlyBatchNorm}
    blocks().Pool(given, 2)
    blocks().Recurrent(given, 1, 1)
    return tuple(sorted(given)) if given["norm"] else ("no norm", *sorted(given)), tuple(sorted({**IF, "norm": 0}))


def feedback_over_calls() -> Any:
    """With its persistent state, a recurrent block run in two parts gives what it gives in one."""
    import torch

    found = []
    for split in (4, 1):
        made = blocks().Recurrent(dict(IF), 1, 1, delay_shift=False)
        made.input_synapse.weight.data.fill_(1.5)
        made.recurrent_synapse.weight.data.fill_(-1.5)
        with torch.no_grad():
            found.append(tuple(s for x in torch.split(torch.ones(1, 1, 4), split, -1) for s in spikes(made(x))))
    return tuple(found), ((1, 0, 1, 0),) * 2


def average_export() -> Any:
    """Average and time decimation blocks have an export to HDF5."""
    found = []
    for made in (blocks().Average(2), blocks().TimeDecimation(2)):
        try:
            found.append(bytes(exported(made, 1, 4, 4)["type"][0]).decode())
        except AttributeError:
            found.append("AttributeError")
    return tuple(found), ("average", "timeDecimation")


def plain_input() -> Any:
    """An input block without neuron hands its input on a step late, as its defaults say."""
    return tuple(blocks().Input()(train(1.0, 2.0)).flatten().tolist()), (0.0, 1.0)


def flatten_of_a_row() -> Any:
    """The flatten block takes NCT input too."""
    import torch

    return tuple(blocks().Flatten()(torch.ones(1, 2, 3)).shape), (1, 2, 3)


def affine_of_a_map() -> Any:
    """The affine block takes NCHWT input, as a dense block does."""
    import torch

    x = torch.ones(1, 2, 1, 1, 3)
    return tuple(blocks().Affine(dict(IF), 2, 2)(x).shape), tuple(blocks().Dense(dict(IF), 2, 2)(x).shape)


def export_without_hook() -> Any:
    """A block with ``pre_hook_fx=None`` (no transformation of weights) can be exported."""
    return tuple(exported(blocks().Dense(dict(IF), 1, 1, pre_hook_fx=None), 1, 1, 2)["weight"].shape), (1, 1)


def kwta_export() -> Any:
    """A block writes itself, or says that it cannot."""
    return "type" in exported(blocks().KWTA(dict(IF), 2, 2, 1), 1, 2, 3), True


def kwta_training() -> Any:
    """A k-winner-take-all block can be run with gradients."""
    import torch

    return tuple(blocks().KWTA(dict(IF), 2, 2, 1)(torch.ones(1, 2, 3)).shape), (1, 2, 3)


def count_log() -> Any:
    """``count_log=True`` returns the mean event rate too."""
    import torch

    made = blocks().Dense(dict(IF), 1, 1, count_log=True)
    made.synapse.weight.data.fill_(2.0)
    return float(made(torch.ones(1, 1, 2))[1]), 0.5


CASES: Cases = {
    "LV-1": tie_at_a_high_threshold,
    "LV-3": pool_straddles_channels,
    "LV-4": pool_rest,
    "LV-5": pool_with_padding,
    "LV-8": hook_of_recurrent,
    "LV-10": callers_parameters,
    "LV-11": feedback_over_calls,
    "LV-12": average_export,
    "LV-13": plain_input,
    "LV-14": flatten_of_a_row,
    "LV-15": affine_of_a_map,
    "LV-16": export_without_hook,
    "LV-18": kwta_export,
    "LV-19": kwta_training,
    "LV-22": count_log,
}
