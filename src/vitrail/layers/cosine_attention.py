"""Swin V2's window attention: cosine similarity, a learned logit scale, a continuous bias."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vitrail.layers.grouped_attention import WindowAttention
from vitrail.layers.position import ContinuousBias
from vitrail.patterns import Window
from vitrail.shapes import Size


class CosineWindowAttention(WindowAttention):
    """Window attention whose scores are cosines, so that they cannot grow with the width.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: the groups of tokens that attend to one another.
        normaliser: the window in which the bias's offsets span -1 to 1; default the pattern's.
        qkv_bias: queries and values have a bias; keys have none, as it would cancel.
        options: as ``GroupedAttention``.
    Source: Liu et al. 2022, Swin Transformer V2, arXiv 2111.09883, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Window,
        *,
        normaliser: Size | None = None,
        qkv_bias: bool = True,
        **options: Any,
    ) -> None:
        bias = ContinuousBias(pattern.size, num_heads, normaliser=normaliser)
        super().__init__(dim, num_heads, pattern, qkv_bias=False, bias=bias, **options)
        self.scale = 1.0
        self.q_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.logit_scale = nn.Parameter(torch.empty(num_heads, 1, 1))

    def reset_parameters(self) -> None:
        """Start as the official code does: cosines are multiplied by ten, no bias."""
        nn.init.constant_(self.logit_scale, math.log(10))
        for bias in (self.q_bias, self.v_bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch triple"]:
        """Project to queries, keys and values; keys have no bias."""
        return F.linear(x, self.qkv.weight, self.projection_bias())

    def projection_bias(self) -> Float[Tensor, " triple"] | None:
        """Return what ``project`` adds: nothing to keys."""
        if self.q_bias is None or self.v_bias is None:
            return None
        return torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])

    def logit_factor(self) -> Float[Tensor, " heads"]:
        """Return what multiplies the cosine of a query and a key, at most 100."""
        return self.logit_scale.clamp(max=math.log(100)).exp().flatten()
