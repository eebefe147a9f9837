"""Spatial-reduction attention: every token sees a coarser grid, pooled from the tokens.

Source: Wang et al. 2021, Pyramid Vision Transformer, arXiv 2102.12122, section 3.3, for
``Reduced``; Wang et al. 2022, PVT v2, arXiv 2106.13797, section 3.2 (linear), for ``Pooled``.
Differs from the official code in that the pooled grid is never empty: along an axis shorter than
the reduction there is one cell, which stands for the whole axis (ADR 7).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from vitrail.patterns.base import Cut, Groups, Pattern, check_axes, check_whole, coordinates
from vitrail.patterns.lines import arange
from vitrail.patterns.sets import TokenSet
from vitrail.shapes import Size, as_size, sym_max

# Along one axis: each cell's first token and the token past its last.
_Bounds = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Reduced(Pattern):
    """Every token sees the grid reduced by a convolution whose stride is its kernel.

    Along an axis of ``n`` tokens there are ``n // reduction`` cells, but at least one. What is
    left over at the end of an axis belongs to no cell: those tokens are queries, but no keys.

    Args:
        reduction: tokens along each axis that one cell stands for, e.g. ``(8, 8)``.
        prefix: tokens that stand before the grid, such as CLS; they are seen as they are.
    Raises:
        UsageError: a reduction below one, a prefix below zero, or a grid of other axes.
    """

    reduction: Size
    prefix: int = 0

    def __post_init__(self) -> None:
        reduction = as_size(self.reduction, len(self.reduction), "reduction")
        object.__setattr__(self, "reduction", reduction)
        check_whole("prefix", self.prefix, 0)

    def fit(self, spatial: Size) -> Size:
        """Return the lengths of the pooled grid on ``spatial`` tokens, in cells.

        Whole-number arithmetic without branches on a length: it also runs on symbolic ones.
        """
        check_axes("reduction", self.reduction, spatial)
        return tuple(sym_max(1, n // r) for n, r in zip(spatial, self.reduction, strict=True))

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write one group down: all tokens are queries; keys are the prefix tokens, then all cells.

        Queries: the prefix tokens, then the grid in row-major order. Keys: the prefix tokens,
        then the pooled grid in row-major order, as a convolution's output is flattened.
        """
        return _pooled(spatial, self.fit(spatial), self.prefix, device)

    def cell_boxes(self, spatial: Size) -> Int[Tensor, "cells bounds"]:
        """Return the tokens that each cell stands for."""
        lines = zip(spatial, self.reduction, self.fit(spatial), strict=True)
        return _boxes([[(i * r, min((i + 1) * r, n)) for i in range(count)]
                       for n, r, count in lines])  # fmt: skip

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: every token and every key."""
        keys = self.prefix + math.prod(self.fit(spatial))
        return (self.prefix + math.prod(spatial)) * keys

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the tokens of all cells; see the base class."""
        lengths = zip(spatial, self.fit(spatial), self.reduction, strict=True)
        return [TokenSet.whole(tuple(min(n, c * r) for n, c, r in lengths))]

    def scores(self, spatial: Size) -> int:
        """Count all products: nothing is padded."""
        return self.pairs(spatial)


@dataclass(frozen=True, slots=True)
class Pooled(Pattern):
    """Every token sees the grid averaged down to one fixed size (adaptive average pooling).

    Along an axis of ``n`` tokens, cell ``i`` of ``s`` stands for the tokens from ``floor(i n / s)``
    up to, not including, ``ceil((i + 1) n / s)``: cells overlap where ``s`` does not divide ``n``,
    and repeat tokens where the axis is shorter than ``s``.

    Args:
        size: cells along each axis, e.g. ``(7, 7)``.
    Raises:
        UsageError: a size below one, or a grid of other axes.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size, len(self.size), "size"))

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write one group down: the tokens are queries, the cells keys, both in row-major order."""
        check_axes("size", self.size, spatial)
        return _pooled(spatial, self.size, 0, device)

    def cell_boxes(self, spatial: Size) -> Int[Tensor, "cells bounds"]:
        """Return the tokens that each cell is the mean of."""
        lines = zip(spatial, self.size, strict=True)
        return _boxes([[(i * n // s, -(-(i + 1) * n // s)) for i in range(s)] for n, s in lines])

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: every token and every cell."""
        check_axes("size", self.size, spatial)
        return math.prod(spatial) * math.prod(self.size)

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return all tokens; see the base class."""
        check_axes("size", self.size, spatial)
        return [TokenSet.whole(spatial)]

    def scores(self, spatial: Size) -> int:
        """Count all products: nothing is padded."""
        return self.pairs(spatial)


def _pooled(spatial: Size, cells: Size, prefix: int, device: torch.device | None) -> Groups:
    """Return one group in which every token meets the prefix tokens and every cell."""
    tokens = prefix + math.prod(spatial)
    numbers = arange(tokens + math.prod(cells), device)
    keys = numbers[tokens:]
    if prefix:
        keys = torch.cat((numbers[:prefix], keys))
    queries, cut = numbers[:tokens].view(1, -1), Cut((tokens,), (0,))
    keys = keys.view(1, -1)
    return Groups(queries, keys, grids=(cells,), full=True, unique_keys=True, all_keys=not prefix,
                  cut=cut)  # fmt: skip


def _boxes(bounds: list[_Bounds]) -> Int[Tensor, "cells bounds"]:
    """Return the box of every cell of the grid, in row-major order."""
    lines = [torch.tensor(axis) for axis in bounds]
    place = coordinates(tuple(len(line) for line in lines)).unbind(-1)
    return torch.cat([line[cell] for line, cell in zip(lines, place, strict=True)], dim=-1)
