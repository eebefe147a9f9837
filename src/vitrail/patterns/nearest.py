"""Attention of a window to the tokens nearest to its middle, and to the nearest pooled windows.

Source: the second version ("fast") of the official Focal Transformer. Differs from it in that ties
of distance go to the token that comes first in row-major order, where the official code leaves
them to ``torch.topk``; and that maps which the window does not divide are padded, unseen.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vitrail.patterns.base import Groups, Pattern, check_axes, check_whole
from vitrail.shapes import Size, as_size


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
        return tuple(-(-n // m) for n, m in zip(spatial, self.window, strict=True))

    def groups(self, spatial: Size) -> Groups:
        """Write the windows down, in row-major order."""
        grid = self.fit(spatial)
        windows = _places(grid)
        size, lengths = torch.tensor(self.window), torch.tensor(spatial)
        first = windows * size
        middle = torch.minimum(first + size // 2, lengths - 1)
        tokens, cells = _places(spatial), windows
        near = _nearest(middle, tokens, self.count)
        near_cells = _nearest(cells, cells, self.count)
        asking = first[:, None] + _places(self.window)
        beyond = (asking >= lengths).any(-1)
        q_index = _number(asking, spatial).masked_fill(beyond, -1)
        box = torch.stack((tokens, tokens + 1), dim=-1).flatten(1)[near]
        stop = torch.minimum(first + size, lengths)
        cell_box = torch.stack((first, stop), dim=-1).flatten(1)[near_cells]
        k_index = torch.cat((near, near_cells + len(tokens)), dim=-1)
        q_region, k_region = torch.zeros_like(q_index)[None], torch.zeros_like(k_index)[None]
        k_box = torch.cat((box, cell_box), dim=1)
        return Groups(q_index, k_index, q_region, k_region, (grid,), k_box)

    def keys(self, spatial: Size) -> int:
        """Return how many keys each window has."""
        return min(self.count, math.prod(spatial)) + min(self.count, math.prod(self.fit(spatial)))

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: every token has all keys of its window."""
        return math.prod(spatial) * self.keys(spatial)

    def scores(self, spatial: Size) -> int:
        """Count all products: every window is full, padding included."""
        return math.prod(self.fit(spatial)) * math.prod(self.window) * self.keys(spatial)


def _places(spatial: Size) -> Tensor:
    """Return ``[tokens, axes]``: where each token of a grid lies, in row-major order."""
    lines = [torch.arange(n) for n in spatial]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)


def _number(places: Tensor, spatial: Size) -> Tensor:
    """Return the row-major number of each place."""
    number = torch.zeros_like(places[..., 0])
    for place, n in zip(places.unbind(-1), spatial, strict=True):
        number = number * n + place
    return number


def _nearest(middles: Tensor, places: Tensor, count: int) -> Tensor:
    """Return for each of ``middles`` the numbers of the ``count`` nearest ``places``."""
    distance = (middles[:, None] - places).square().sum(-1)
    return distance.argsort(dim=-1, stable=True)[:, :count]
