"""Attention of a window to the tokens nearest to its middle, and to the nearest pooled windows.

Source: the second version ("fast") of the official Focal Transformer. Differs from it in that ties
of distance go to the token that comes first in row-major order, where the official code leaves
them to ``torch.topk``; and that maps which the window does not divide are padded, unseen.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from vitrail.patterns.base import (
    Groups,
    Pattern,
    check_axes,
    check_whole,
    coordinates,
    window_cut,
)
from vitrail.patterns.lines import arange, cross, mesh, number, within
from vitrail.patterns.sets import Spans, TokenSet, joined
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
        own = [within(arange(count * m, device), n)
               for n, count, m in zip(spatial, grid, self.window, strict=True)]  # fmt: skip
        q_index = cross(own, self.window, spatial)
        near, near_cells = (
            number(places, lengths)
            for places, lengths in zip(
                self._near(mesh([arange(n, device) for n in grid]), spatial),
                (spatial, grid), strict=True,
            )
        )  # fmt: skip
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

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the keys of all windows that hold some tokens; see the base class."""
        lines = [torch.arange(n) // m for n, m in zip(spatial, self.window, strict=True)]
        of_windows = [torch.stack((line, line + 1), dim=-1) for line in lines]
        windows = tokens.spread(of_windows)
        assert windows is not None
        places = (windows.box & ~self._deep(spatial, tokens, windows, of_windows)).nonzero()
        if not len(places):
            return []
        # A near token lies in a near cell: the cell is at most as far, and of each cell before it
        # there is a token as far away in the same direction, which comes before the token.
        places, grid = places + torch.tensor(windows.first), self.fit(spatial)
        kind, some = self._kinds(places, grid)
        away = number(nearest(some, grid, self.count), grid) - number(some, grid)[:, None]
        mask = torch.zeros(math.prod(grid), dtype=torch.bool)
        mask[number(places, grid)[:, None] + away[kind]] = True
        start = [torch.arange(0, n, m) for n, m in zip(spatial, self.window, strict=True)]
        ends = zip(start, self.window, spatial, strict=True)
        return joined([TokenSet.of((0,) * len(grid), mask.view(grid)).spread(
            [torch.stack((a, (a + m).clamp(max=n)), dim=-1) for a, m, n in ends])])  # fmt: skip

    def _kinds(self, windows: Tensor, grid: Size) -> tuple[Tensor, Tensor]:
        """Return the kind of each window, and a window of each kind.

        Windows as far from every border are of one kind, and their cells lie alike: a border that
        is farther than any cell can be makes no difference. However large the grid, kinds are few.
        """
        kind = torch.zeros(len(windows), dtype=torch.int64)
        for place, n, far in zip(windows.unbind(-1), grid, reach(grid, self.count), strict=True):
            for distance in (place, n - 1 - place):
                kind = kind * (far + 1) + distance.clamp(max=far)
        _, kind = kind.unique(return_inverse=True)
        one_each = torch.zeros(int(kind.max()) + 1, dtype=torch.int64)
        one_each[kind] = torch.arange(len(windows))  # any of a kind will do
        return kind, windows[one_each]

    def _deep(
        self, spatial: Size, tokens: TokenSet, windows: TokenSet, of_windows: list[Spans]
    ) -> Tensor:
        """Return which windows, of those a set lies in, surely see nothing but the set.

        Where a set is large, most of its windows are such.
        """
        ends = zip(windows.first, windows.stop, self.window, spatial, strict=True)
        first, stop = zip(*((a * m, min(b * m, n)) for a, b, m, n in ends), strict=True)
        missing = tokens.missing(first, stop)
        full = torch.ones(windows.lengths, dtype=torch.bool)
        if missing is not None:
            lacking = missing.spread(of_windows)
            assert lacking is not None
            full = ~lacking.within(windows.first, windows.lengths)
        side = _far(self.count, len(spatial))
        deep = full
        for axis, n in enumerate(windows.lengths):
            near = deep.new_zeros(deep.shape)
            if n > 2 * side:
                # Sums up to each place count what a stretch holds, however long it is.
                sums = F.pad(deep.movedim(axis, -1).cumsum(-1, dtype=torch.int32), (1, 0))
                held = sums[..., 2 * side + 1 :] - sums[..., : n - 2 * side]
                near.movedim(axis, -1)[..., side : n - side] = held == 2 * side + 1
            deep = near
        return deep

    def _near(self, windows: Tensor, spatial: Size) -> tuple[Tensor, Tensor]:
        """Return the places ``[windows, keys, axes]`` of the tokens and cells of some windows."""
        lines = zip(windows.unbind(-1), self.window, spatial, strict=True)
        middles = torch.stack([(line * m + m // 2).clamp(max=n - 1) for line, m, n in lines], -1)
        return (
            nearest(middles, spatial, self.count),
            nearest(windows, self.fit(spatial), self.count),
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
    middles: Int[Tensor, "windows axes"], spatial: Size, count: int
) -> Int[Tensor, "windows keys axes"]:
    """Return the ``count`` places of a grid that are nearest to the middle of each window.

    Args:
        middles: the place on the grid that is the middle of each window.
        spatial: lengths of the grid.
        count: how many; all, on a grid that has fewer.
    Returns:
        Places by rising distance, in row-major order where that is equal.
    """
    lines = [arange(2 * r + 1, middles.device) - r for r in reach(spatial, count)]
    distance = torch.zeros(1, dtype=torch.int64, device=middles.device)
    inside = torch.ones(1, 1, dtype=torch.bool, device=middles.device)
    for line, middle, n in zip(lines, middles.unbind(-1), spatial, strict=True):
        distance = (distance[:, None] + line * line).flatten()
        place = middle[:, None] + line
        inside = (inside[:, :, None] & ((place >= 0) & (place < n))[:, None, :]).flatten(1)
    # One whole number that orders by distance first and by place second, so that no two are equal.
    candidates = distance.shape[0]  # ``len`` would tie a graph to it
    order = distance * candidates + torch.arange(candidates, device=middles.device)
    order = torch.where(inside, order, _FAR)
    chosen = order.topk(sym_min(count, math.prod(spatial)), dim=-1, largest=False).indices
    return middles[:, None] + mesh(lines)[chosen]


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


def _far(count: int, axes: int) -> int:
    """Return how far along an axis the nearest ``count`` places lie, where no border is near."""
    middle = torch.full((1, axes), count)
    return int((nearest(middle, (2 * count + 1,) * axes, count) - count).abs().max())
