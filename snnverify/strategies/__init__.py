"""hypothesis strategies: exact dyadic, rough and integer Cases, and the inputs of conversion checks.

An exact case draws every number as ``k / 2^m`` so that every intermediate is representable: all correct simulators
agree bit for bit. The budget is computed by `exact_bits` and decides the dtype; a case that fits neither is not drawn.
"""

from .cases import MANTISSA, SHAPES, exact, exact_bits, exact_cases, layered, ops, rough_cases, units, wide_cases
from .conversions import BatchNorm, Conversion, batchnorms, blurred, conversions, convnets, max_pooled
from .loihi import biased_inputs, graded_cases, integer_acts, integer_cases, integer_ops, integers
from .neurons import GRID, dyadic, neurons, within

__all__ = [
    "GRID", "MANTISSA", "SHAPES", "BatchNorm", "Conversion", "batchnorms", "biased_inputs", "blurred", "conversions",
    "convnets", "dyadic", "exact", "exact_bits", "exact_cases", "graded_cases", "integer_acts", "integer_cases",
    "integer_ops", "integers", "layered", "max_pooled", "neurons", "ops", "rough_cases", "units", "wide_cases",
    "within",
]  # fmt: skip
