"""Look inside a model without changing it."""

from vitrail.explain.capture import capture, digest
from vitrail.explain.distance import attention_distance, attention_stats, entropy
from vitrail.explain.erf import erf
from vitrail.explain.gradcam import gradcam
from vitrail.explain.gradient_rollout import gradient_rollout
from vitrail.explain.methods import METHODS, Method
from vitrail.explain.rollout import rollout, rollout_all, rollout_from, rollout_stages
from vitrail.explain.routing import to_input
from vitrail.explain.targets import Target, class_at
from vitrail.explain.trace import BlockTrace, MergeTrace, ModelFacts, Trace

__all__ = [
    "METHODS",
    "BlockTrace",
    "MergeTrace",
    "Method",
    "ModelFacts",
    "Target",
    "Trace",
    "attention_distance",
    "attention_stats",
    "capture",
    "class_at",
    "digest",
    "entropy",
    "erf",
    "gradcam",
    "gradient_rollout",
    "rollout",
    "rollout_all",
    "rollout_from",
    "rollout_stages",
    "to_input",
]
