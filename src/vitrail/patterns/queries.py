"""Pooled queries: cells of neighbouring tokens attend, and see what their tokens may see (ADR 40).

Source: Ryali et al. 2023, Hiera, arXiv 2306.00989, section 3 (from MViT, Fan et al. 2021, arXiv
2104.11227). Differs from the official code in that any length works: the last cell of an axis may
have fewer tokens, and windows that are not full are padded, a region of its own (ADR 2).
"""

import math
from dataclasses import dataclass

import torch

from vitrail.errors import UsageError
from vitrail.patterns.base import Cut, Groups, Pattern, check_axes, window_cut
from vitrail.patterns.global_ import Global
from vitrail.patterns.lines import arange, cross, within
from vitrail.patterns.sets import TokenSet, joined
from vitrail.patterns.window import Window
from vitrail.shapes import Size, as_size, known


@dataclass(frozen=True, slots=True)
class PooledQueries(Pattern):
    """Cells of ``stride`` tokens see the tokens that their own tokens may see.

    Args:
        tokens: the pattern before queries are pooled: regular windows that cells divide, or all.
        stride: tokens of a cell along each axis, e.g. ``(2, 2)``.
    Raises:
        UsageError: windows that are shifted, or that cells do not divide; prefix tokens.
    """

    tokens: Window | Global
    stride: Size

    def __post_init__(self) -> None:
        object.__setattr__(self, "stride", as_size(self.stride, len(self.stride), "stride"))
        if isinstance(self.tokens, Global):
            if self.tokens.prefix:
                raise UsageError(
                    f"pooled queries beside prefix={self.tokens.prefix}",
                    "no prefix tokens, which lie in no cell",
                    "use Global()",
                )
            return
        size, regular = self.tokens.size, Window(self.tokens.size, (0,) * len(self.tokens.size))
        if self.tokens != regular:
            raise UsageError(
                f"pooled queries of {self.tokens}",
                "windows of one size that are not shifted, with padding that no token sees",
                f"use Window({size}, {regular.shift})",
            )
        check_axes("stride", self.stride, size)
        if any(m % s for m, s in zip(size, self.stride, strict=True)):
            raise UsageError(
                f"stride={self.stride} in windows of {size} tokens",
                "a stride that divides the window",
                f"use stride={tuple(map(math.gcd, size, self.stride))}",
            )

    def cells(self, spatial: Size) -> Size:
        """Return the lengths of the grid of queries on ``spatial`` tokens."""
        check_axes("stride", self.stride, spatial)
        return tuple((n + s - 1) // s for n, s in zip(spatial, self.stride, strict=True))

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the windows down, with their cells as queries, row-major both."""
        cells = self.cells(spatial)
        if isinstance(self.tokens, Global):
            queries, keys = (arange(math.prod(n), device)[None] for n in (cells, spatial))
            return Groups(queries, keys, q_grid=cells, full=True, unique_keys=True, all_keys=True,
                          cut=Cut((math.prod(cells),), (0,)))  # fmt: skip
        size = self.tokens.size
        small = tuple(m // s for m, s in zip(size, self.stride, strict=True))
        counts = [(n + m - 1) // m for n, m in zip(spatial, size, strict=True)]
        full = all(known(n == c * m) for n, c, m in zip(spatial, counts, size, strict=True))
        queries, keys = (
            cross(
                [within(arange(c * m, device), n)
                 for c, m, n in zip(counts, window, lengths, strict=True)],
                window, lengths, marked=not full,
            )
            for window, lengths in ((small, cells), (size, spatial))
        )  # fmt: skip
        return Groups(
            queries,
            keys,
            None if full else queries.clamp(max=0),
            None if full else keys.clamp(max=0),
            q_grid=cells,
            full=full,
            unique_keys=True,
            cut=window_cut(cells, small) if full else None,
        )

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: along each axis, the cells of a window times its tokens."""
        if isinstance(self.tokens, Global):
            return math.prod(self.cells(spatial)) * math.prod(spatial)
        check_axes("stride", self.stride, spatial)
        total = 1
        for n, m, s in zip(spatial, self.tokens.size, self.stride, strict=True):
            full, rest = divmod(n, m)
            total *= full * (m // s) * m + -(-rest // s) * rest
        return total

    def scores(self, spatial: Size) -> int:
        """Count all products: every window is full, padding included."""
        if isinstance(self.tokens, Global):
            return self.pairs(spatial)
        check_axes("stride", self.stride, spatial)
        size = self.tokens.size
        windows = math.prod(-(-n // m) for n, m in zip(spatial, size, strict=True))
        return windows * math.prod(size) ** 2 // math.prod(self.stride)

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the tokens that some cells attend to; see the base class."""
        spans = []
        for n, s in zip(spatial, self.stride, strict=True):
            start = torch.arange(-(-n // s)) * s
            spans.append(torch.stack((start, start + s), dim=-1).clamp(max=n))
        own = joined([tokens.spread(spans)])
        return joined(found for one in own for found in self.tokens.seen(spatial, one))
