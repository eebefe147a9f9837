"""Axial attention: tokens see the tokens of their own line."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vitrail.attention import Places
from vitrail.layers.grouped_attention import GroupedAttention
from vitrail.ops.windows import copy_as
from vitrail.patterns import Axial
from vitrail.shapes import Size


class AxialAttention(GroupedAttention):
    """Let every token see its own line along one axis; blocks cycle through the axes.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom.
        options: as ``GroupedAttention``.
    Source: Ho et al. 2019, Axial Attention in Multidimensional Transformers, arXiv 1912.12180.
    """

    pattern: Axial

    def arrange(
        self, x: Float[Tensor, "batch *spatial channels"]
    ) -> Float[Tensor, "batch lines tokens channels"]:
        """Cut the grid into lines, row-major in the other axes."""
        shape = (x.shape[0], *self.pattern.fit(x.shape[1:-1]), x.shape[-1])
        return copy_as(x.movedim(1 + self.pattern.axis, -2), shape)

    def restore(
        self, x: Float[Tensor, "batch lines tokens channels"], spatial: Size
    ) -> Float[Tensor, "batch *spatial channels"]:
        """Put the lines together to a grid."""
        axis = self.pattern.axis
        others = [*spatial[:axis], *spatial[axis + 1 :]]
        lines = x.view(x.shape[0], *others, spatial[axis], x.shape[-1])
        return copy_as(lines.movedim(-2, 1 + axis), (x.shape[0], *spatial, x.shape[-1]))

    def span(self, spatial: Size) -> Size:
        """Return the lengths of one line."""
        return tuple(n if axis == self.pattern.axis else 1 for axis, n in enumerate(spatial))

    def meetings(self, spatial: Size) -> tuple[int, int]:
        """Return how many tokens meet: those of a line."""
        _, length = self.pattern.fit(spatial)
        return length, length

    def who(self, spatial: Size, device: torch.device) -> Places:
        """Return the tokens of every line."""
        index = torch.arange(math.prod(spatial), dtype=torch.int32, device=device).view(spatial)
        index = copy_as(index.movedim(self.pattern.axis, -1), self.pattern.fit(spatial))
        return Places(index, index, unique_keys=True)
