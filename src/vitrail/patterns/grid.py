"""Grid attention: tokens see the tokens of their own strided (dilated) window.

Source: Tu et al. 2022, MaxViT: Multi-Axis Vision Transformer, arXiv 2204.01697, section 3.2.
Differs from the official code in that a grid of any length works: the stride is rounded up, and
what the last rows of a group then lack is padding, a region of its own (ADR 35).
"""

import math
from dataclasses import dataclass

import torch

from vitrail.patterns.base import Cut, Groups, Pattern, check_axes
from vitrail.patterns.lines import arange, cross, within
from vitrail.patterns.sets import TokenSet
from vitrail.shapes import Size, as_size, known


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

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the groups down, row-major by their first token; tokens row-major in a group."""
        strides, lines = self.fit(spatial), []
        for n, m, stride in zip(spatial, self.size, strides, strict=True):
            place = arange(stride * m, device)
            lines.append(within(place // m + place % m * stride, n))
        full = all(known(m * s == n) for n, m, s in zip(spatial, self.size, strides, strict=True))
        index = cross(lines, self.size, spatial, marked=not full)
        cut = None
        if full:
            pairs = zip(self.size, strides, strict=True)
            cut = Cut(
                tuple(n for pair in pairs for n in pair), tuple(range(0, 2 * len(spatial), 2))
            )
        region = None if full else index.clamp(max=0)
        return Groups(index, index, region, region, full=full, unique_keys=True, cut=cut,
                      extent=self.size)  # fmt: skip

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: along each axis, the squared lengths of its groups."""
        total = 1
        for n, stride in zip(spatial, self.fit(spatial), strict=True):
            short, longer = divmod(n, stride)
            total *= longer * (short + 1) ** 2 + (stride - longer) * short**2
        return total

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the tokens at whole strides from some tokens; see the base class."""
        edges, mask = tokens.tiles
        for axis, (n, stride) in enumerate(zip(spatial, self.fit(spatial), strict=True)):
            own = edges[axis]
            # Where some tile begins within a stride, tiles begin within every stride.
            begin = torch.cat((own % stride, own.new_zeros(1))).unique()
            lines = (torch.arange(0, n, stride)[:, None] + begin).flatten()
            held = torch.searchsorted(own, lines, right=True) - 1
            mask = mask.movedim(axis, 0)[held.clamp(0, len(own) - 2)]
            mask[(lines < own[0]) | (lines >= own[-1])] = False
            groups = mask.unflatten(0, (-1, len(begin)))
            mask = groups.any(0).expand_as(groups).flatten(0, 1)[lines < n].movedim(0, axis)
            edges[axis] = torch.cat((lines[lines < n], own.new_tensor([n])))
        found = TokenSet.of_tiles(edges, mask)
        return [] if found is None else [found]

    def scores(self, spatial: Size) -> int:
        """Count all products: every group is full, padding included."""
        return math.prod(self.fit(spatial)) * math.prod(self.size) ** 2
