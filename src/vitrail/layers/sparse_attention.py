"""Sparse attention on the row-major list of a grid's tokens, cut into blocks.

Source: Child et al. 2019, Generating Long Sequences with Sparse Transformers, arXiv 1904.10509;
``patterns/sparse.py`` names the differences.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from vitrail.attention import Places, Region
from vitrail.layers.grouped_attention import GroupedAttention
from vitrail.ops.windows import copy_as, known_zero
from vitrail.patterns import SparseFixed, SparseStrided
from vitrail.shapes import Size


class _BlockAttention(GroupedAttention):
    """The list of tokens, padded at its end and cut into blocks."""

    pattern: SparseFixed | SparseStrided

    def arrange(
        self, x: Float[Tensor, "batch *spatial channels"]
    ) -> Float[Tensor, "batch groups tokens channels"]:
        """Cut the list of tokens into blocks, the last one padded with zeros."""
        blocks, block = self.pattern.fit(x.shape[1:-1])
        x = x.flatten(1, -2)
        x = F.pad(x, (0, 0, 0, blocks * block - x.shape[1]))
        return x.view(x.shape[0], blocks, block, x.shape[-1])

    def restore(
        self, x: Float[Tensor, "batch groups tokens channels"], spatial: Size
    ) -> Float[Tensor, "batch *spatial channels"]:
        """Put the blocks together to a grid, without the padding."""
        x = x.flatten(1, 2).narrow(1, 0, math.prod(spatial))
        return copy_as(x, (x.shape[0], *spatial, x.shape[-1]))

    def pair_bias(self, spatial: Size) -> Tensor | None:
        """Return the bias of each group: on a grid of several axes, offsets differ by group."""
        if self.bias is None:
            return None
        device = next(self.bias.parameters()).device
        # Padding is nowhere; any place will do, as nothing sees it.
        q, k = (place.clamp(0, math.prod(spatial) - 1) for place in self.places(spatial, device))
        return self.bias.between(q, k, spatial)

    def region(self, spatial: Size, device: torch.device) -> Region | None:
        """Return the labels of queries and keys: -1 for padding, and what must not count twice."""
        q, k = self.places(spatial, device)
        return _label(q), _label(k)

    def places(
        self, spatial: Size, device: torch.device
    ) -> tuple[Int[Tensor, "groups queries"], Int[Tensor, "groups keys"]]:
        """Return which token each query and key is; -1 for padding and what is masked."""
        raise NotImplementedError

    def meetings(self, spatial: Size) -> tuple[int, int]:
        """Return how many tokens meet: those of a block."""
        _, block = self.pattern.fit(spatial)
        return block, block

    def who(self, spatial: Size, device: torch.device) -> Places:
        """Return the tokens of every group; padding is not there, and needs no label."""
        q, k = self.places(spatial, device)
        return Places(q.to(torch.int32), k.to(torch.int32), unique_keys=q is k)

    def cut(self, spatial: Size, device: torch.device) -> Int[Tensor, "blocks block"]:
        """Return the numbers of the tokens of each block, -1 for padding."""
        blocks, block = self.pattern.fit(spatial)
        place = torch.arange(blocks * block, device=device)
        return place.masked_fill(place >= math.prod(spatial), -1).view(blocks, block)


class SparseFixedAttention(_BlockAttention):
    """Let every token see its own block, and the last token of every other block.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom.
        options: as ``GroupedAttention``.
    """

    pattern: SparseFixed  # type: ignore[assignment]  # set once, when built

    def keys(
        self, x: Float[Tensor, "batch groups heads tokens head_dim"], spatial: Size
    ) -> Float[Tensor, "batch groups heads keys head_dim"]:
        """Return the tokens of each block, then the last token of all blocks."""
        batch, blocks, heads, _, head_dim = x.shape
        last = self._last(spatial, x.device)
        ends = x.transpose(2, 3).flatten(1, 2).index_select(1, last)
        ends = ends.transpose(1, 2)[:, None].expand(batch, blocks, heads, -1, head_dim)
        return torch.cat((x, ends), dim=-2)

    def meetings(self, spatial: Size) -> tuple[int, int]:
        """Return how many tokens meet: a block asks, and sees one more of every block."""
        blocks, block = self.pattern.fit(spatial)
        return block, block + blocks

    def places(
        self, spatial: Size, device: torch.device
    ) -> tuple[Int[Tensor, "groups queries"], Int[Tensor, "groups keys"]]:
        """Return a block, and then the last tokens; each block's own is there already."""
        own, last = self.cut(spatial, device), self._last(spatial, device)
        block = torch.arange(last.shape[0], device=device)
        others = torch.where(block[:, None] == block, -1, last)
        return own, torch.cat((own, others), dim=1)

    def _last(self, spatial: Size, device: torch.device) -> Int[Tensor, " blocks"]:
        blocks, block = self.pattern.fit(spatial)
        past = torch.arange(1, blocks + 1, device=device) * block
        return past.clamp(max=math.prod(spatial)) - 1


class SparseStridedAttention(_BlockAttention):
    """Let every token see its own block, or the tokens at the same place of every block.

    Args:
        dim: channels.
        num_heads: attention heads; divides ``dim``.
        pattern: who sees whom; models alternate its two parts.
        options: as ``GroupedAttention``.
    """

    pattern: SparseStrided  # type: ignore[assignment]  # set once, when built

    def arrange(
        self, x: Float[Tensor, "batch *spatial channels"]
    ) -> Float[Tensor, "batch groups tokens channels"]:
        """Cut the list of tokens into blocks, or into one group for each place of a block."""
        x = super().arrange(x)
        return x if self.pattern.part == "local" else x.transpose(1, 2)

    def restore(
        self, x: Float[Tensor, "batch groups tokens channels"], spatial: Size
    ) -> Float[Tensor, "batch *spatial channels"]:
        """Put the groups together to a grid, without the padding."""
        return super().restore(x if self.pattern.part == "local" else x.transpose(1, 2), spatial)

    def meetings(self, spatial: Size) -> tuple[int, int]:
        """Return how many tokens meet: those of a block, or one of every block."""
        blocks, block = self.pattern.fit(spatial)
        return (block, block) if self.pattern.part == "local" else (blocks, blocks)

    def places(
        self, spatial: Size, device: torch.device
    ) -> tuple[Int[Tensor, "groups queries"], Int[Tensor, "groups keys"]]:
        """Return the tokens of each group, for both."""
        place = self.cut(spatial, device)
        if self.pattern.part == "residue":
            place = place.T
        return place, place

    def region(self, spatial: Size, device: torch.device) -> Region | None:
        """Return the labels of queries and keys, or None where nothing is padded."""
        blocks, block = self.pattern.fit(spatial)
        if known_zero(blocks * block - math.prod(spatial)):
            return None
        return super().region(spatial, device)


def _label(place: Tensor) -> Tensor:
    """Return the regions of one batch: 0 for tokens, -1 for what no token may see."""
    return place.clamp(max=0)[None]
