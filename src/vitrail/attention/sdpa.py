"""Attention through torch's ``scaled_dot_product_attention``."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.attention.problem import Bias, Problem, Region
from vitrail.ops.windows import copy_as


def why_not(problem: Problem) -> str | None:
    """Return why SDPA should not serve ``problem``, or None if it should."""
    if problem.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return f"{problem.dtype}: torch's fused kernels take float32, bfloat16 and float16"
    if problem.bias_gradient:
        return "the bias needs a gradient, which torch's fused kernels do not give"
    if problem.dropout > 0 and problem.device == "cpu":
        return "dropout of attention weights: torch's fused kernel for the CPU has none"
    return None


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
    """Return what ``reference.attend`` returns, by the kernel that torch picks."""
    batch, windows = q.shape[:2]
    mask = None if bias is None else bias.to(q.dtype)
    if mask is not None and mask.ndim == 3:
        mask = mask[None]
    if region is not None:
        q_region, k_region = region
        hidden = (q_region[..., :, None] != k_region[..., None, :])[:, :, None]
        zeros = torch.zeros((), dtype=q.dtype, device=q.device) if mask is None else mask
        # -100 is added, like the bias; -inf replaces, as it would after adding.
        mask = (
            zeros.masked_fill(hidden, -math.inf)
            if mask_value == -math.inf
            else zeros + hidden.to(q.dtype) * mask_value
        )
    if mask is not None and (region is not None or mask.ndim == 5 or mask.shape[0] != 1):
        mask = mask.expand(batch, windows, -1, -1, -1)
        mask = copy_as(mask, (batch * windows, *mask.shape[-3:]))
    # The fused kernels take four axes: windows go to the batch.
    out = F.scaled_dot_product_attention(
        q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1), mask, dropout_p=dropout, scale=scale
    )
    return out.unflatten(0, (batch, windows))
