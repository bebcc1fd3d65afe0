"""The table of torch operations: how each is drawn, what its conversion keeps, and what to do about the others."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from . import handlers
from .drawing import Value

Verdict = Literal["exact", "approximate", "unsupported"]


@dataclass(frozen=True)
class Rule:
    """One operation.

    Attributes
    ----------
    build : callable
        Handler of `snnverify.convert.handlers`.
    verdict, why, remedy
        What the conversion to a spiking network keeps of it.
    """

    build: Callable[..., Value]
    verdict: Verdict
    why: str
    remedy: str = ""


LINEAR = Rule(handlers.linear, "exact", "a weighted sum of spikes is a weighted sum of rates")
CONV = Rule(handlers.conv, "exact", LINEAR.why)
CONV_TRANSPOSE = Rule(handlers.conv_transpose, "exact", LINEAR.why)
BATCH_NORM = Rule(handlers.batch_norm, "exact", "folded into the weights beside it: W' = gamma / sqrt(var + eps) W")
RELU = Rule(handlers.relu, "approximate", "rate code: steps of 1/T of the threshold, clipped at the threshold",
            "more steps, or QCFS")  # fmt: skip
CLAMP = Rule(handlers.clamp, RELU.verdict, RELU.why, RELU.remedy)
QCFS = Rule(handlers.qcfs, "approximate",
            "a layer of neurons equals it at T = levels under constant input; deeper layers see uneven input")  # fmt: skip
AVG_POOL = Rule(handlers.avg_pool, "exact", "the average of spikes is the average of rates")
ADAPTIVE_AVG = Rule(handlers.adaptive_avg_pool, "exact", AVG_POOL.why)
MEAN = Rule(handlers.mean, "exact", AVG_POOL.why)
MAX_POOL = Rule(handlers.max_pool, "unsupported", "the maximum of spikes is not the spike train of the greatest rate",
                "train with average pooling or a strided convolution, or convert with maxpool='gate'")  # fmt: skip
ADAPTIVE_MAX = Rule(handlers.adaptive_max_pool, MAX_POOL.verdict, MAX_POOL.why, MAX_POOL.remedy)
RESHAPE = Rule(handlers.reshape, "exact", "the order of units alone")
UNCHANGED = Rule(handlers.unchanged, "exact", "nothing happens")
DROPOUT = Rule(handlers.dropout, "exact", "inactive in eval mode")
CAT = Rule(handlers.cat, "exact", "the next layer takes one branch per part, each with the threshold of its source")
ADD = Rule(handlers.add, "exact", "a sum of branches; each branch is scaled by its source's threshold")
SUB = Rule(handlers.sub, "exact", ADD.why)
MUL = Rule(handlers.mul, "exact", "a constant factor, folded into the weights beside it")
DIV = Rule(handlers.div, "exact", MUL.why)
NEG = Rule(handlers.neg, "exact", MUL.why)

CALLS: dict[object, Rule] = {
    target: rule
    for rule, targets in (
        (LINEAR, (F.linear,)),
        (CONV, (F.conv1d, F.conv2d)),
        (CONV_TRANSPOSE, (F.conv_transpose1d, F.conv_transpose2d)),
        (BATCH_NORM, (F.batch_norm,)),
        (RELU, (F.relu, torch.relu, torch.relu_, "relu", "relu_")),
        (CLAMP, (torch.clamp, torch.clamp_, torch.clamp_min, torch.clamp_min_, torch.clip, "clamp", "clamp_", "clamp_min",
                 "clamp_min_", "clip", "clip_")),
        (AVG_POOL, (F.avg_pool1d, F.avg_pool2d)),
        (ADAPTIVE_AVG, (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d)),
        (MEAN, (torch.mean, "mean")),
        (MAX_POOL, (F.max_pool1d, F.max_pool2d)),
        (ADAPTIVE_MAX, (F.adaptive_max_pool1d, F.adaptive_max_pool2d)),
        (RESHAPE, (torch.flatten, torch.reshape, torch.squeeze, "flatten", "view", "reshape", "squeeze")),
        (UNCHANGED, (torch.clone, "clone", "contiguous", "detach", "to", "float", "double")),
        (DROPOUT, (F.dropout, F.dropout1d, F.dropout2d)),
        (CAT, (torch.cat, torch.concat, torch.concatenate)),
        (ADD, (operator.add, operator.iadd, torch.add, "add", "add_")),
        (SUB, (operator.sub, operator.isub, torch.sub, "sub", "sub_")),
        (MUL, (operator.mul, operator.imul, torch.mul, "mul", "mul_")),
        (DIV, (operator.truediv, operator.itruediv, torch.div, "div", "div_")),
        (NEG, (operator.neg, torch.neg, "neg", "neg_")),
    )
    for target in targets
}  # fmt: skip

_CONV = ("weight", "bias", "stride", "padding", "dilation", "groups", "padding_mode")
_MAX = ("kernel_size", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
MODULES: dict[type[nn.Module], tuple[Rule, tuple[str, ...]]] = {
    cls: (rule, attributes)
    for rule, attributes, classes in (
        (LINEAR, ("weight", "bias"), (nn.Linear,)),
        (CONV, _CONV, (nn.Conv1d, nn.Conv2d)),
        (CONV_TRANSPOSE, (*_CONV, "output_padding"), (nn.ConvTranspose1d, nn.ConvTranspose2d)),
        (BATCH_NORM, ("running_mean", "running_var", "weight", "bias", "training", "eps"),
         (nn.BatchNorm1d, nn.BatchNorm2d)),
        (RELU, (), (nn.ReLU,)),
        (AVG_POOL, _AVG, (nn.AvgPool1d,)),
        (AVG_POOL, (*_AVG, "divisor_override"), (nn.AvgPool2d,)),
        (ADAPTIVE_AVG, ("output_size",), (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)),
        (MAX_POOL, _MAX, (nn.MaxPool1d, nn.MaxPool2d)),
        (ADAPTIVE_MAX, ("output_size", "return_indices"), (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)),
        (RESHAPE, (), (nn.Flatten, nn.Unflatten)),
        (UNCHANGED, (), (nn.Identity,)),
        (DROPOUT, ("p", "training"), (nn.Dropout, nn.Dropout1d, nn.Dropout2d)),
    )
    for cls in classes
}  # fmt: skip
_QCFS = (QCFS, ("levels", "theta", "shift"))

_OTHER = ("a layer is a sum of linear operations, then an activation, and this is neither",
          "replace it by linear layers, ReLU or QCFS, pooling, addition or concatenation")  # fmt: skip
_REFUSED: dict[str, tuple[str, str]] = {
    name: reason
    for names, reason in (
        ("gelu silu mish elu selu celu softplus hardswish sigmoid tanh logsigmoid hardsigmoid softsign exp",
         ("its curve is not that of a firing rate, which is piecewise linear", "use ReLU or QCFS and fine-tune")),
        ("leakyrelu prelu rrelu", ("a firing rate is never negative", "use ReLU or QCFS and fine-tune")),
        ("relu6 hardtanh threshold", ("a ceiling or an offset threshold", "use ReLU, or QCFS whose theta is the ceiling")),
        ("softmax logsoftmax softmin",
         ("it divides by a sum over units", "at the output leave it out (the argmax stays); inside there is no form")),
        ("layernorm groupnorm instancenorm instancenorm1d instancenorm2d rmsnorm localresponsenorm normalize",
         ("it normalises by the statistics of each sample", "use BatchNorm, which folds into the weights")),
        ("multiheadattention scaleddotproductattention multiheadattentionforward matmul bmm einsum transformer "
         "transformerencoder transformerencoderlayer transformerdecoder transformerdecoderlayer bilinear",
         ("it multiplies two activations (attention)", "use convolutions or linear layers")),
        ("lstm gru rnn lstmcell grucell rnncell", ("it has a recurrent state of its own", "use a feed-forward model")),
        ("interpolate upsample upsamplingnearest2d upsamplingbilinear2d pixelshuffle",
         ("interpolation", "use ConvTranspose2d with stride 2")),
        ("getitem select narrow chunk split unbind", ("slicing", "use a 1x1 convolution with weights 0 and 1, or a stride")),
        ("pad zeropad1d zeropad2d", ("padding as a step of its own", "use padding= of the convolution that follows")),
        ("permute transpose movedim unsqueeze t", ("it moves axes", "keep samples channel first")),
        ("dataparallel distributeddataparallel", ("a wrapper that copies the model", "convert its .module")),
        ("batchnorm3d conv3d maxpool3d avgpool3d", ("three spatial axes", "use samples of one or two spatial axes")),
    )
    for name in names.split()
}  # fmt: skip


def is_qcfs(module: nn.Module) -> bool:
    """Whether a module is a QCFS activation by its attributes."""
    levels, theta, shift = (getattr(module, name, None) for name in ("levels", "theta", "shift"))
    return isinstance(levels, int) and isinstance(theta, torch.Tensor) and isinstance(shift, float)


def _class(module: nn.Module) -> type[nn.Module]:
    """Class as it was written; a parametrization puts one of its own on top."""
    cls: type[nn.Module] = type(module).__mro__[1] if is_parametrized(module) else type(module)
    return cls


def module_rule(module: nn.Module) -> tuple[Rule, tuple[str, ...]] | None:
    """Rule of a module and the attributes that its handler takes; None where the table has none."""
    if is_qcfs(module):
        return _QCFS
    cls = _class(module)
    known = next((c for c in cls.__mro__ if c in MODULES), None)
    return MODULES[known] if known is not None and cls.forward is known.forward else None


def is_leaf(module: nn.Module) -> bool:
    """Whether a module is one node of the graph: in the table, or torch's own; others are traced through."""
    if "forward" in vars(module):  # replaced on the instance: what runs is not what the class says
        return False
    own = _class(module).__module__.startswith("torch.nn.") and not isinstance(module, nn.Sequential)
    return own or module_rule(module) is not None


def refusal(operation: str) -> tuple[str, str]:
    """Why an operation outside the table cannot be converted, and the remedy."""
    return _REFUSED.get(operation.lower().replace("_", "").lstrip("."), _OTHER)
