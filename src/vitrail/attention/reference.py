"""The specification: attention in plain products, in at least float32."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.attention.problem import Bias, Problem, Region


def why_not(problem: Problem) -> str | None:
    """Return why the reference cannot serve ``problem``: it always can."""
    del problem
    return None


def probabilities(
    q: Float[Tensor, "batch windows heads queries head_dim"],
    k: Float[Tensor, "batch windows heads keys head_dim"],
    *,
    scale: float,
    bias: Bias | None = None,
    region: Region | None = None,
    mask_value: float = -math.inf,
) -> Float[Tensor, "batch windows heads queries keys"]:
    """Return how each query divides its attention among the keys of its window.

    Args:
        q: queries.
        k: keys.
        scale: multiplies ``q k^T``.
        bias: added to the scores: one for every window, or one for each.
        region: labels of queries and keys; a query sees the keys of its own label.
        mask_value: added to the score of a key of another label. Peers use -100, which leaks
            where scores are large (ADR 5).
    Returns:
        Rows that sum to one, in float32 or wider.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    scores = (q.to(wide) * scale) @ k.to(wide).mT
    if bias is not None:
        scores = scores + bias.to(scores.dtype)
    if region is not None:
        q_region, k_region = region
        hidden = (q_region[..., :, None] != k_region[..., None, :])[:, :, None]
        if mask_value == -math.inf:
            scores = scores.masked_fill(hidden, -math.inf)
        else:
            scores = scores + hidden.to(scores.dtype) * mask_value
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(dim=-1)


def attend(
    q: Float[Tensor, "batch windows heads queries head_dim"],
    k: Float[Tensor, "batch windows heads keys head_dim"],
    v: Float[Tensor, "batch windows heads keys head_dim"],
    *,
    scale: float,
    bias: Bias | None = None,
    region: Region | None = None,
    mask_value: float = -math.inf,
    dropout: float = 0.0,
) -> Float[Tensor, "batch windows heads queries head_dim"]:
    """Return each query's weighted mean of the values of its window, in ``v``'s dtype."""
    weights = probabilities(q, k, scale=scale, bias=bias, region=region, mask_value=mask_value)
    if dropout > 0:
        weights = F.dropout(weights, dropout)
    return (weights @ v.to(weights.dtype)).to(v.dtype)
