"""Blocks and layers of inference: weights packed once, results kept while they are in the cache."""

from vitrail.fused.inference.batch_norms import fold_in_head
from vitrail.fused.inference.fuse import fuse

__all__ = ["fold_in_head", "fuse"]
