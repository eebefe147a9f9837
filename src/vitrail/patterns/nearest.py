"""Attention of a window to the tokens nearest to its middle, and to the nearest pooled windows.

Source: the second version ("fast") of the official Focal Transformer. Differs from it in that ties
of distance go to the token that comes first in row-major order, where the official code leaves
them to ``torch.topk``; and that maps which the window does not divide are padded, unseen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from vitrail.patterns.base import (
    Groups,
    Pattern,
    check_axes,
    check_whole,
    coordinates,
    window_cut,
)
from vitrail.patterns.lines import OUTSIDE, arange, cross, within
from vitrail.shapes import Size, as_size, known, sym_max, sym_min


@dataclass(frozen=True, slots=True)
class Nearest(Pattern):
    """A window's tokens see the ``count`` tokens nearest to its middle, and as many cells.

    A cell is a window, pooled. The middle of a window is the token ``window // 2`` after its first,
    or the last token of the axis if that comes before. Keys of a window, in this order: tokens,
    then cells, both by rising distance, and in row-major order where that is equal. On a grid of
    fewer tokens or cells, all are seen.

    Args:
        window: tokens along each axis, e.g. ``(7, 7)``.
        count: keys at each of the two levels.
    Raises:
        UsageError: a number below one, or a grid of other axes.
    """

    window: Size
    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", as_size(self.window, len(self.window), "window"))
        check_whole("count", self.count, 1)

    def fit(self, spatial: Size) -> Size:
        """Return the windows along each axis."""
        check_axes("window", self.window, spatial)
        return tuple((n + m - 1) // m for n, m in zip(spatial, self.window, strict=True))

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the windows down, in row-major order."""
        grid = self.fit(spatial)
        own, tokens, cells = [], [], []
        for n, count, m in zip(spatial, grid, self.window, strict=True):
            own.append(within(arange(count * m, device), n))
            last = torch.zeros((), dtype=torch.int32, device=device) + (n - 1)
            tokens.append(torch.minimum(arange(count, device) * m + m // 2, last))
            cells.append(arange(count, device))
        q_index, _ = cross(own, self.window, spatial)
        near, near_cells = nearest(tokens, spatial, self.count), nearest(cells, grid, self.count)
        full = all(known(n == c * m) for n, c, m in zip(spatial, grid, self.window, strict=True))
        return Groups(
            q_index, torch.cat((near, near_cells + math.prod(spatial)), dim=-1), grids=(grid,),
            full=full, cut=window_cut(spatial, self.window) if full else None,
        )  # fmt: skip

    def cell_boxes(self, spatial: Size) -> Int[Tensor, "cells bounds"]:
        """Return the tokens of each window."""
        size = torch.tensor(self.window)
        first = coordinates(self.fit(spatial)) * size
        return torch.stack((first, torch.minimum(first + size, torch.tensor(spatial))), -1).flatten(
            1
        )

    def num_keys(self, spatial: Size) -> int:
        """Return how many keys each window has."""
        return min(self.count, math.prod(spatial)) + min(self.count, math.prod(self.fit(spatial)))

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: every token has all keys of its window."""
        return math.prod(spatial) * self.num_keys(spatial)

    def scores(self, spatial: Size) -> int:
        """Count all products: every window is full, padding included."""
        return math.prod(self.fit(spatial)) * math.prod(self.window) * self.num_keys(spatial)


def nearest(
    middles: Sequence[Int[Tensor, " windows"]], spatial: Size, count: int
) -> Int[Tensor, "all_windows keys"]:
    """Return the ``count`` places of a grid that are nearest to the middle of each window.

    Args:
        middles: along each axis, the place on the grid that is the middle of each window.
        spatial: lengths of the grid.
        count: how many; all, on a grid that has fewer.
    Returns:
        Numbers by rising distance, in row-major order where that is equal.
    """
    device, lines, steps = middles[0].device, [], []
    far = reach(spatial, count)
    for middle, n, r in zip(middles, spatial, far, strict=True):
        step = arange(2 * r + 1, device) - r
        place = (middle[:, None] + step).flatten()
        lines.append(within(torch.where(place < 0, OUTSIDE, place), n, OUTSIDE))
        steps.append((step * step)[None])
    index, marks = cross(lines, tuple(2 * r + 1 for r in far), spatial)
    distance = torch.zeros(1, 1, dtype=torch.int64, device=device)
    for square in steps:
        distance = (distance[:, :, None] + square[:, None, :]).flatten(1)
    # One whole number that orders by distance first and by place second, so that no two are equal.
    candidates = distance.shape[1]
    order = distance * candidates + torch.arange(candidates, device=device)
    order = torch.where(marks < 0, order + _FAR, order)
    chosen = order.topk(sym_min(count, math.prod(spatial)), dim=-1, largest=False).indices
    return index.gather(-1, chosen)


_FAR = 1 << 50


def reach(spatial: Size, count: int) -> Size:
    """Return how far along each axis the nearest ``count`` places can lie.

    A box of ``side`` places along each axis (of all of them where the axis is shorter) holds
    ``count`` of them and can be laid on the grid around any middle: none of its places is farther
    than ``sqrt(axes) * (side - 1)``, and so no nearer place lies beyond that.
    """
    axes = len(spatial)
    shortest = sym_min(*spatial)
    cube = next(side for side in range(1, count + 1) if side**axes >= count)
    side = sym_max((count + shortest - 1) // shortest, cube)
    numerator, denominator = {1: (1, 1), 2: (3, 2), 3: (7, 4)}[axes]  # at least sqrt(axes)
    far = ((side - 1) * numerator + denominator - 1) // denominator
    return tuple(sym_min(far, n - 1) for n in spatial)
