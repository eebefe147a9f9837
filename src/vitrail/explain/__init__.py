"""Look inside a model without changing it."""

from vitrail.explain.capture import capture, digest
from vitrail.explain.trace import BlockTrace, MergeTrace, ModelFacts, Trace

__all__ = ["BlockTrace", "MergeTrace", "ModelFacts", "Trace", "capture", "digest"]
