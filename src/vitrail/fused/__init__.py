"""Layers whose parts are computed together, while the numbers are in the cache.

Two doors: ``inference`` makes a copy with packed weights, ``training`` one that shares parameters.
"""

from vitrail.fused.inference import fold_in_head, fuse
from vitrail.fused.support import why_not
from vitrail.fused.training import build_for_training, train_fused, with_same_parameters

__all__ = [
    "build_for_training",
    "fold_in_head",
    "fuse",
    "train_fused",
    "why_not",
    "with_same_parameters",
]
