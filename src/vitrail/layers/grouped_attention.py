"""What attention by groups has in common: projections, heads, and the way there and back."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vitrail.attention import Places, Region, attend_groups
from vitrail.layers.attend import Attend
from vitrail.layers.offset_bias import OffsetBias
from vitrail.patterns import Pattern
from vitrail.shapes import Size


class GroupedAttention(nn.Module):
    """Multi-head attention within the groups of a pattern, on a grid of any rank and size.

    A kind of attention says how tokens are arranged in groups and restored to their grid, in the
    order of its ``pattern.groups``; all else is here. Tokens are projected before they are
    arranged: padding costs no projection. One that can also say, number by number, who meets whom
    may attend in place, and then arranges nothing.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom.
        bias: what is added to scores for the places of two tokens, if anything.
        qkv_bias: queries, keys and values have a bias.
        attn_drop: probability of dropping an attention weight.
        proj_drop: probability of dropping an output value.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Pattern,
        *,
        bias: OffsetBias | None = None,
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
    ) -> None:
        super().__init__()
        self.pattern = pattern
        self.num_heads = num_heads
        self.scale = (dim // num_heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.bias = bias
        self.attend = Attend(dropout=attn_drop)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def extra_repr(self) -> str:
        """Show the heads, and who sees whom."""
        return f"num_heads={self.num_heads}, {self.pattern}"

    def arrange(
        self, x: Float[Tensor, "batch *spatial channels"]
    ) -> Float[Tensor, "batch groups tokens channels"]:
        """Put tokens into the groups in which they ask."""
        raise NotImplementedError

    def restore(
        self, x: Float[Tensor, "batch groups tokens channels"], spatial: Size
    ) -> Float[Tensor, "batch *spatial channels"]:
        """Undo ``arrange``: put tokens back to their places on the grid."""
        raise NotImplementedError

    def keys(
        self, x: Float[Tensor, "batch groups heads tokens head_dim"], spatial: Size
    ) -> Float[Tensor, "batch groups heads keys head_dim"]:
        """Return what the tokens of each group may see; by default one another."""
        del spatial
        return x

    def pair_bias(self, spatial: Size) -> Tensor | None:
        """Return the bias of every pair that meets in a group, or None."""
        return None if self.bias is None else self.bias(self.span(spatial))

    def span(self, spatial: Size) -> Size:
        """Return the lengths of the least box that holds every pair's offset, in tokens."""
        return spatial

    def region(self, spatial: Size, device: torch.device) -> Region | None:
        """Return the labels of queries and keys, or None where all of a group may meet."""
        del spatial, device
        return None

    def meetings(self, spatial: Size) -> tuple[int, int] | None:
        """Return how many queries and keys meet in a group; None: they never meet in place."""
        del spatial
        return None

    def who(self, spatial: Size, device: torch.device) -> Places:
        """Return which tokens meet in every group."""
        raise NotImplementedError

    def forward(
        self, x: Float[Tensor, "batch *spatial dim"]
    ) -> Float[Tensor, "batch *spatial dim"]:
        """Let every token attend to the tokens that the pattern allows it."""
        spatial = x.shape[1:-1]
        meetings = self.meetings(spatial)
        backend = None
        if meetings is not None:
            backend = self.attend.kernel(
                x, x.shape[-1] // self.num_heads, queries=meetings[0], keys=meetings[1],
                bias=self.bias is not None,
            )  # fmt: skip
        if backend is None:
            return self._composed(x)
        qkv, bias = self.qkv(x), self.pair_bias(spatial)
        out = attend_groups(
            qkv.flatten(1, -2).unflatten(-1, (3, self.num_heads, -1)),
            self.who(spatial, x.device),
            scale=self.scale,
            bias=bias[None] if bias is not None and bias.ndim == 3 else bias,
            backend=backend,
        )
        return self.proj_drop(self.proj(out)).view(x.shape)

    def _composed(self, x: Tensor) -> Tensor:
        """Arrange the tokens in groups, attend, and restore the grid."""
        spatial = x.shape[1:-1]
        qkv = self.arrange(self.qkv(x)).unflatten(-1, (3, self.num_heads, -1))
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)
        where: dict[str, Any] = {
            "bias": self.pair_bias(spatial),
            "region": self.region(spatial, x.device),
        }
        k, v = self.keys(k, spatial), self.keys(v, spatial)
        out = self.attend(q, k, v, scale=self.scale, **where).transpose(2, 3).flatten(3)
        return self.proj_drop(self.proj(self.restore(out, spatial)))
