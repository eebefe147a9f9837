"""Standard attention: every token sees every token.

Source: Vaswani et al. 2017, arXiv 1706.03762; for images Dosovitskiy et al. 2020, arXiv 2010.11929.
"""

import math
from dataclasses import dataclass

import torch

from vitrail.patterns.base import Cut, Groups, Pattern, check_whole
from vitrail.patterns.lines import arange
from vitrail.patterns.sets import TokenSet
from vitrail.shapes import Size


@dataclass(frozen=True, slots=True)
class Global(Pattern):
    """Every token sees every token, prefix tokens included.

    Args:
        prefix: tokens that stand before the grid, such as CLS.
    Raises:
        UsageError: a prefix that is no whole number, or below zero.
    """

    prefix: int = 0

    def __post_init__(self) -> None:
        check_whole("prefix", self.prefix, 0)

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write one group down: the prefix tokens, then the grid in row-major order."""
        tokens = self.prefix + math.prod(spatial)
        index = arange(tokens, device)[None]
        extent = None if self.prefix else spatial
        cut = Cut((tokens,), (0,))
        return Groups(index, index, full=True, unique_keys=True, all_keys=True, cut=cut,
                      extent=extent)  # fmt: skip

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: all of them."""
        return (self.prefix + math.prod(spatial)) ** 2

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return all tokens; see the base class."""
        return [TokenSet.whole(spatial)]

    def scores(self, spatial: Size) -> int:
        """Count all products: nothing is padded."""
        return self.pairs(spatial)
