"""Axial attention: tokens see the tokens of their own line along one axis.

Source: Ho et al. 2019, Axial Attention in Multidimensional Transformers, arXiv 1912.12180.
Differs from the paper in that no line is masked to be causal; blocks cycle through the axes.
"""

import math
from dataclasses import dataclass

import torch

from vitrail.errors import UsageError
from vitrail.patterns.base import Cut, Groups, Pattern, check_whole
from vitrail.patterns.lines import arange
from vitrail.patterns.sets import TokenSet
from vitrail.shapes import Size


@dataclass(frozen=True, slots=True)
class Axial(Pattern):
    """Tokens see the tokens of their own line along one axis.

    Args:
        axis: the spatial axis along which lines run, 0 for the first.
    Raises:
        UsageError: an axis that is no whole number, or below zero; a grid without that axis.
    """

    axis: int

    def __post_init__(self) -> None:
        check_whole("axis", self.axis, 0)

    def fit(self, spatial: Size) -> tuple[int, int]:
        """Return how many lines a grid of ``spatial`` tokens has, and the tokens of each.

        Whole-number arithmetic without branches on a length: it also runs on symbolic ones.
        """
        if self.axis >= len(spatial):
            raise UsageError(
                f"axis={self.axis} on a grid of {tuple(spatial)} tokens",
                f"an axis below {len(spatial)}",
                f"use axis={self.axis % len(spatial)}",
            )
        others = [n for axis, n in enumerate(spatial) if axis != self.axis]
        return math.prod(others), spatial[self.axis]

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the lines down, row-major in the other axes; nothing is padded."""
        lines, length = self.fit(spatial)
        axes = [axis for axis in range(len(spatial)) if axis != self.axis]
        grid = arange(lines * length, device).view(spatial).permute(*axes, self.axis)
        # Not ``reshape``, whose question whether it must copy ties a graph to a length.
        index = grid.clone(memory_format=torch.contiguous_format).view(lines, length)
        extent = tuple(n if axis == self.axis else 1 for axis, n in enumerate(spatial))
        cut = Cut(spatial, (self.axis,))
        return Groups(index, index, full=True, unique_keys=True, cut=cut, extent=extent)

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: every line, squared."""
        lines, length = self.fit(spatial)
        return lines * length**2

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the lines through some tokens; see the base class."""
        self.fit(spatial)
        edges, mask = tokens.tiles
        edges[self.axis] = torch.tensor([0, spatial[self.axis]])
        found = TokenSet.of_tiles(edges, mask.any(self.axis, keepdim=True))
        return [] if found is None else [found]

    def scores(self, spatial: Size) -> int:
        """Count all products: nothing is padded."""
        return self.pairs(spatial)
