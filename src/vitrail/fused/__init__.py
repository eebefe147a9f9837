"""Layers whose parts are computed together, while the numbers are in the cache."""

from vitrail.fused.fuse import fuse
from vitrail.fused.kernel import why_not
from vitrail.fused.trained import train_fused, with_same_parameters
from vitrail.fused.training import build_for_training

__all__ = [
    "build_for_training",
    "fuse",
    "train_fused",
    "why_not",
    "with_same_parameters",
]
