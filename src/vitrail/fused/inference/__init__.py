"""Blocks and layers of inference: weights packed once, results kept while they are in the cache."""

from vitrail.fused.inference.fuse import fuse

__all__ = ["fuse"]
