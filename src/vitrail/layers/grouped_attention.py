"""Attention by groups: of any pattern, and within windows with a table of biases."""

import math
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import Attend
from vitrail.errors import UsageError
from vitrail.layers.offset_bias import OffsetBias
from vitrail.layers.position import BiasLookup, ContinuousBias, RelativeBias
from vitrail.patterns import Grid, Groups, Pattern, Window
from vitrail.shapes import Size


class GroupedAttention(nn.Module):
    """Multi-head attention within the groups of a pattern, on a grid of any rank and size.

    Global, axial, sparse, strided and window attention are this layer with another pattern. With
    prefix tokens it takes the list of all tokens, ``(batch, prefix + tokens, dim)``, else a grid.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: the groups of tokens that attend to one another.
        bias: what is added to scores for the places of two tokens, if anything.
        qkv_bias: queries, keys and values have a bias.
        mask_value: added to scores across regions; minus infinity unless a checkpoint needs -100.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    Raises:
        UsageError: a bias by offset for prefix tokens, which have no place.
    """

    bias: Any  # a module, or None

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Pattern,
        *,
        bias: OffsetBias | RelativeBias | ContinuousBias | None = None,
        qkv_bias: bool = True,
        mask_value: float = -math.inf,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        if pattern.prefix and bias is not None:
            raise UsageError(
                f"a bias by offset with prefix={pattern.prefix}",
                "no prefix tokens, as they have no place, or no bias",
                "use bias=None, or a pattern with prefix=0",
            )
        self.pattern = pattern
        self.num_heads = num_heads
        self.head_dim = dim // num_heads
        self.scale = self.head_dim**-0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.bias = bias
        self.attend = Attend(mask_value=mask_value, dropout=attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def project(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch triple"]:
        """Project to queries, keys and values, side by side, each head by head."""
        return self.qkv(x)

    def projection_bias(self) -> Float[Tensor, " triple"] | None:
        """Return what ``project`` adds, which is what it makes of padding."""
        return self.qkv.bias

    def logit_factor(self) -> Float[Tensor, " heads"] | None:
        """Return what multiplies the cosine of a query and a key; None: their product counts."""
        return None

    def pair_bias(self, groups: Groups, spatial: Size) -> Tensor | None:
        """Return what is added to the scores of every pair: of all groups alike, or of each."""
        if self.bias is None:
            return None
        if groups.extent is not None:
            return self.bias(groups.extent)
        # Padding is nowhere; any place will do, as no token sees it.
        return self.bias.between(groups.q_index.clamp(min=0), groups.k_index.clamp(min=0), spatial)

    def pooled_kv(self, x: Tensor) -> Float[Tensor, "batch cells double"] | None:
        """Return keys and values of pooled cells, grid by grid, if the pattern has any."""
        del x
        return None

    def padding_kv(self, x: Tensor) -> Float[Tensor, " triple"] | None:
        """Return queries, keys and values of padding; None: it is not seen."""
        if self.pattern.padding != "visible":
            return None
        bias = self.projection_bias()
        return x.new_zeros(3 * self.num_heads * self.head_dim) if bias is None else bias

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Let every token attend to the tokens that the pattern allows it."""
        spatial = self.pattern.grid(x.shape[1:-1])
        groups = self.pattern.groups(spatial, x.device)
        out = self.attend.grouped(
            x,
            self.project,
            groups,
            heads=(self.num_heads, self.head_dim),
            scale=self.scale,
            bias=self.pair_bias(groups, spatial),
            logit_scale=self.logit_factor(),
            pooled=self.pooled_kv(x),
            padding_kv=self.padding_kv(x),
        )
        return self.proj_drop(self.proj(out))

    def extra_repr(self) -> str:
        """Show the heads and the pattern."""
        return f"num_heads={self.num_heads}, {self.pattern}"


class WindowAttention(GroupedAttention):
    """Multi-head attention within windows, with a relative position bias.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: windows, or other groups that are all alike.
        bias: what is added to scores by offset; default a table with a row for each.
        bias_lookup: how a window smaller than the pattern's finds its row of that table.
        options: as ``GroupedAttention``.
    Source: Liu et al. 2021, Swin Transformer, arXiv 2103.14030, section 3.2.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Window | Grid,
        *,
        bias: OffsetBias | RelativeBias | ContinuousBias | None = None,
        bias_lookup: BiasLookup = "offset",
        **options: Any,
    ) -> None:
        bias = bias or RelativeBias(pattern.size, num_heads, lookup=bias_lookup)
        super().__init__(dim, num_heads, pattern, bias=bias, **options)
