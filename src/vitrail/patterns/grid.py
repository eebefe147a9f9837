"""Grid attention: tokens see the tokens of their own strided (dilated) window.

Source: Tu et al. 2022, MaxViT: Multi-Axis Vision Transformer, arXiv 2204.01697, section 3.2.
Differs from the official code in that a grid of any length works: the stride is rounded up, and
what the last rows of a group then lack is padding, a region of its own (ADR 35).
"""

import math
from dataclasses import dataclass

import torch

from vitrail.patterns.base import Groups, Pattern, check_axes
from vitrail.patterns.lines import PADDING, cross
from vitrail.shapes import Size, as_size


@dataclass(frozen=True, slots=True)
class Grid(Pattern):
    """Tokens see the tokens that lie a multiple of the stride away along every axis.

    The stride is the length of the axis over ``size``, rounded up: a group has at most ``size``
    tokens along each axis, spread evenly over the whole of it.

    Args:
        size: tokens of a group along each axis, e.g. ``(7, 7)``.
    Raises:
        UsageError: a length below one; a grid with another number of axes.
    """

    size: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", as_size(self.size, len(self.size), "grid"))

    def fit(self, spatial: Size) -> Size:
        """Return the stride along each axis, in tokens: also the number of groups along it.

        Whole-number arithmetic without branches on a length: it also runs on symbolic ones.
        """
        check_axes("grid", self.size, spatial)
        return tuple((n + m - 1) // m for n, m in zip(spatial, self.size, strict=True))

    def groups(self, spatial: Size) -> Groups:
        """Write the groups down, row-major by their first token; tokens row-major in a group.

        Where ``size`` divides the grid, that is, axis by axis, ``x.unflatten(axis, (size, -1))``
        with the axes of strides moved before those of tokens.
        """
        lines = []
        for n, m, stride in zip(spatial, self.size, self.fit(spatial), strict=True):
            place = torch.arange(m * stride).view(m, stride).T
            lines.append(place.masked_fill(place >= n, PADDING))
        index, worst = cross(lines, spatial)
        region = worst[None]
        return Groups(index, index, region, region)

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: along each axis, the squared lengths of its groups."""
        total = 1
        for n, stride in zip(spatial, self.fit(spatial), strict=True):
            short, longer = divmod(n, stride)
            total *= longer * (short + 1) ** 2 + (stride - longer) * short**2
        return total

    def scores(self, spatial: Size) -> int:
        """Count all products: every group is full, padding included."""
        return math.prod(self.fit(spatial)) * math.prod(self.size) ** 2
