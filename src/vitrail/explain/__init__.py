"""Look inside a model without changing it."""

from vitrail.explain.capture import attention_layers, capture, digest
from vitrail.explain.trace import BlockTrace, MergeTrace, ModelFacts, Trace

__all__ = [
    "BlockTrace",
    "MergeTrace",
    "ModelFacts",
    "Trace",
    "attention_layers",
    "capture",
    "digest",
]
