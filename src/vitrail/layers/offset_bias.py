"""A position bias for grids of any size: a small network on log-spaced offsets."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vitrail.ops.relative import log_offsets, offset_index
from vitrail.ops.windows import copy_as
from vitrail.shapes import Size


class OffsetBias(nn.Module):
    """Map the offset of two tokens, log-spaced, to one number for each head.

    Offsets are not divided by a window's length: the same parameters serve windows, lines, whole
    grids and lists of any size, and models that differ in their pattern alone.

    Args:
        axes: number of spatial axes.
        num_heads: attention heads.
        hidden: channels between the network's two layers.
    Source: Liu et al. 2022, Swin Transformer V2, arXiv 2111.09883, section 3.3. Differs in that
    offsets are not normalised; that the network is a quarter as wide, as it runs over
    ``2 n - 1`` offsets of every axis of the grid at hand; and that values lie between -8 and 8
    where the paper's lie between 0 and 16. Softmax cancels the difference, but bfloat16 has its
    digits near 0.
    """

    def __init__(self, axes: int, num_heads: int, *, hidden: int = 128) -> None:
        super().__init__()
        first = nn.Linear(axes, hidden)
        self.mlp = nn.Sequential(first, nn.ReLU(), nn.Linear(hidden, num_heads, bias=False))

    def forward(self, lengths: Size) -> Float[Tensor, "heads queries keys"]:
        """Return the bias for all pairs of a box of tokens.

        Args:
            lengths: of the box, in tokens; tokens are numbered row-major.
        """
        place = torch.arange(math.prod(lengths), device=next(self.parameters()).device)[None]
        index = offset_index(place, place, lengths)[0]
        return self._selected(index, lengths)

    def between(
        self,
        q_place: Int[Tensor, "groups queries"],
        k_place: Int[Tensor, "groups keys"],
        lengths: Size,
    ) -> Float[Tensor, "groups heads queries keys"]:
        """Return the bias for the pairs of each group.

        Args:
            q_place: row-major number of each query's token on the grid.
            k_place: row-major number of each key's token on the grid.
            lengths: of the grid, in tokens.
        """
        index = offset_index(q_place, k_place, lengths)
        return self._selected(index, lengths).movedim(0, 1)

    def _selected(self, index: Tensor, lengths: Size) -> Tensor:
        # Select from rows of heads: three times as fast as from a row for each offset.
        bias = self.rows(lengths).T.index_select(1, index.flatten())
        return copy_as(bias, (bias.shape[0], *index.shape))

    def rows(self, lengths: Size) -> Float[Tensor, "offsets heads"]:
        """Compute the number of every head for every offset within a box of ``lengths``."""
        weight = next(self.parameters())
        offsets = log_offsets(lengths, weight.device, weight.dtype)
        return 8 * torch.tanh(self.mlp(offsets) / 2)
