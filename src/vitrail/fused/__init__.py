"""Layers whose parts are computed together, while the numbers are in the cache."""

from vitrail.fused.fuse import fuse
from vitrail.fused.kernel import why_not
from vitrail.fused.trained import train_fused, with_same_parameters

__all__ = ["fuse", "train_fused", "why_not", "with_same_parameters"]
