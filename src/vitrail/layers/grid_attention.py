"""Grid attention: tokens see the tokens of their own strided window."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.attention import Places, Region
from vitrail.layers.grouped_attention import GroupedAttention
from vitrail.layers.offset_bias import OffsetBias
from vitrail.layers.position import RelativeBias
from vitrail.ops.windows import copy_as, crop, pad
from vitrail.patterns import Grid
from vitrail.shapes import Size


class GridAttention(GroupedAttention):
    """Let every token see the tokens a multiple of the stride away, with a relative position bias.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom.
        bias: what is added to scores by offset, counted in strides; default a table.
        options: as ``GroupedAttention``.
    Source: Tu et al. 2022, MaxViT: Multi-Axis Vision Transformer, arXiv 2204.01697, section 3.2.
    """

    pattern: Grid

    def __init__(
        self,
        dim: int,
        num_heads: int,
        pattern: Grid,
        *,
        bias: OffsetBias | RelativeBias | None = None,
        **options: float,
    ) -> None:
        bias = bias or RelativeBias(pattern.size, num_heads)
        super().__init__(dim, num_heads, pattern, bias=bias, **options)  # type: ignore[arg-type]

    def arrange(
        self, x: Float[Tensor, "batch *spatial channels"]
    ) -> Float[Tensor, "batch groups tokens channels"]:
        """Pad the grid, and bring together what lies a multiple of the stride apart."""
        size, strides = self.pattern.size, self.pattern.fit(x.shape[1:-1])
        axes = len(size)
        x = pad(x, tuple(m * s for m, s in zip(size, strides, strict=True)))
        cut = [length for pair in zip(size, strides, strict=True) for length in pair]
        x = x.reshape(x.shape[0], *cut, x.shape[-1])
        x = x.permute(0, *range(2, 2 * axes + 1, 2), *range(1, 2 * axes, 2), 2 * axes + 1)
        return copy_as(x, (x.shape[0], math.prod(strides), math.prod(size), x.shape[-1]))

    def restore(
        self, x: Float[Tensor, "batch groups tokens channels"], spatial: Size
    ) -> Float[Tensor, "batch *spatial channels"]:
        """Put the tokens back, and leave the padding out."""
        size, strides = self.pattern.size, self.pattern.fit(spatial)
        axes = len(size)
        lengths = tuple(m * s for m, s in zip(size, strides, strict=True))
        x = x.reshape(x.shape[0], *strides, *size, x.shape[-1])
        order = [axis for i in range(1, axes + 1) for axis in (axes + i, i)]
        x = x.permute(0, *order, 2 * axes + 1)
        return crop(copy_as(x, (x.shape[0], *lengths, x.shape[-1])), spatial)

    def span(self, spatial: Size) -> Size:
        """Return the lengths of one group."""
        del spatial
        return self.pattern.size

    def region(self, spatial: Size, device: torch.device) -> Region | None:
        """Return the labels of queries and keys, or None where nothing is padded."""
        groups = self.pattern.groups(spatial, device)
        return None if groups.full else (groups.labels[0][None], groups.labels[1][None])

    def meetings(self, spatial: Size) -> tuple[int, int]:
        """Return how many tokens meet: those of a group."""
        del spatial
        tokens = math.prod(self.pattern.size)
        return tokens, tokens

    def who(self, spatial: Size, device: torch.device) -> Places:
        """Return the tokens of every group; padding is not there."""
        groups = self.pattern.groups(spatial, device)
        return Places(groups.q_index, groups.k_index, unique_keys=True)
