"""Layers of inference whose parts are computed together, while the numbers are in the cache."""

from vitrail.fused.fuse import fuse
from vitrail.fused.kernel import why_not

__all__ = ["fuse", "why_not"]
