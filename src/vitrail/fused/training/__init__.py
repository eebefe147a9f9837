"""Blocks and layers of a training step: the model's own parameters, whole branches at a time."""

from vitrail.fused.training.fused_mlp import build_for_training
from vitrail.fused.training.layers import train_fused, with_same_parameters

__all__ = ["build_for_training", "train_fused", "with_same_parameters"]
