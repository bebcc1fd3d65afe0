"""Embedded default models: trained on scikit-learn's digits, shipped with weights and provenance."""

from .models import DEFAULT, MODELS, ZooModel, digits_cnn, digits_mlp, load_default, tensor_digest
from .train import retrain, train_default

__all__ = [
    "DEFAULT", "MODELS", "ZooModel", "digits_cnn", "digits_mlp", "load_default", "retrain", "tensor_digest",
    "train_default",
]  # fmt: skip
