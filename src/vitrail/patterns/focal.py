"""Focal attention: the own window and its halo finely, what lies farther away ever more coarsely.

Source: Yang et al. 2021, Focal Self-attention for Local-Global Interactions in Vision
Transformers, arXiv 2107.00641, section 3.2.
``halo="exact"`` is the paper's neighbourhood. ``halo="rolled"`` is what the official code makes of
it: four copies of the map, rolled towards the four corners, give some tokens of the halo twice and
wrap around at the borders (ADR 9).
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.patterns.base import Groups, Pattern, check_axes, check_word
from vitrail.patterns.lines import OUTSIDE, PADDING, boxes, cross
from vitrail.patterns.window import Padding
from vitrail.shapes import Size, as_size

Halo = Literal["exact", "rolled"]


@dataclass(frozen=True, slots=True)
class Focal(Pattern):
    """A window's tokens see it, the tokens around it, and a coarser region at each level.

    Keys of a window, in this order: its own tokens; the halo; the cells of each pooled level. The
    exact halo comes in row-major order. The rolled one comes corner by corner (first towards the
    end of every axis), each corner in row-major order without the window's own tokens.

    Level ``k`` pools the grid ``2**k`` cells a window and axis. A window sees its own cells and
    ``(focal - 1) / 2`` more on every side.

    Args:
        window: tokens along each axis, e.g. ``(7, 7)``.
        margin: tokens on each side of the window that are keys too, e.g. ``(3, 3)``.
        levels: focal window of each pooled level, in cells along each axis, odd, e.g.
            ``((7, 7),)``; as many levels as there are entries.
        halo: ``"exact"``: each surrounding token once, none beyond a border; ``"rolled"``: the
            official code's four rolls, none while one window covers the shortest axis.
        padding: ``"masked"``: tokens never see padding, nor a cell of nothing else; ``"visible"``:
            padding joins the softmax as it does in the official code.
    Raises:
        UsageError: a length out of range, an unknown word, or a grid of other axes.
    """

    window: Size
    margin: Size
    levels: tuple[Size, ...] = ()
    halo: Halo = "exact"
    padding: Padding = "masked"

    def __post_init__(self) -> None:
        axes = len(self.window)
        object.__setattr__(self, "window", as_size(self.window, axes, "window"))
        object.__setattr__(self, "margin", as_size(self.margin, axes, "margin", minimum=0))
        levels = tuple(as_size(level, axes, "levels") for level in self.levels)
        object.__setattr__(self, "levels", levels)
        check_word("halo", self.halo, ("exact", "rolled"))
        check_word("padding", self.padding, ("masked", "visible"))
        self._check_margin()
        for k in range(len(levels)):
            self._check_level(k)

    def _check_margin(self) -> None:
        if self.halo == "rolled" and any(
            2 * e > m for e, m in zip(self.margin, self.window, strict=True)
        ):
            raise UsageError(
                f"margin={self.margin} for window={self.window} and halo='rolled'",
                "a margin of at most half the window along every axis",
                f"use margin={tuple(m // 2 for m in self.window)}, or halo='exact'",
            )

    def _check_level(self, k: int) -> None:
        if any(f % 2 == 0 for f in self.levels[k]):
            raise UsageError(
                f"levels[{k}]={self.levels[k]}",
                "odd numbers of cells",
                f"use levels[{k}]={tuple(f | 1 for f in self.levels[k])}",
            )
        short = any(m < 2**k for m in self.window)
        if short or (self.halo == "exact" and any(m % 2**k for m in self.window)):
            raise UsageError(
                f"{len(self.levels)} levels for window={self.window}",
                f"a window whose lengths {2**k} divides",
                f"use window={tuple(-(-m // 2**k) * 2**k for m in self.window)}, or {k} levels",
            )

    def fit(self, spatial: Size) -> Size:
        """Return the lengths of ``spatial`` tokens once padded to whole windows."""
        check_axes("window", self.window, spatial)
        return tuple(-(-n // m) * m for n, m in zip(spatial, self.window, strict=True))

    @property
    def halo_keys(self) -> int:
        """Keys of the halo of one window."""
        if self.halo == "rolled":
            inner = math.prod([m - e for m, e in zip(self.window, self.margin, strict=True)])
            return 2 ** len(self.window) * (math.prod(self.window) - inner)
        outer = math.prod([m + 2 * e for m, e in zip(self.window, self.margin, strict=True)])
        return outer - math.prod(self.window)

    @property
    def keys(self) -> int:
        """All keys of one window, padding and duplicates included."""
        pooled = (math.prod(self.reach(k)) for k in range(len(self.levels)))
        return math.prod(self.window) + self.halo_keys + sum(pooled)

    def groups(self, spatial: Size) -> Groups:
        """Write the windows down, in row-major order; for the order of keys see the class."""
        padded = self.fit(spatial)
        own = [_padded(_starts(n, m) + torch.arange(m), n)
               for n, m in zip(spatial, self.window, strict=True)]  # fmt: skip
        q_index, q_worst = cross(own, spatial)
        fine, worst = self._halo(spatial, padded)
        index = [q_index, fine]
        status = [q_worst, worst]
        bounds = [_of_tokens(torch.cat(index, dim=-1), spatial)]
        grids, offset = [], math.prod(spatial)
        for k in range(len(self.levels)):
            cells, told, box, grid = self._level(k, spatial, padded)
            index.append(torch.where(cells < 0, -1, cells + offset))
            status.append(told)
            bounds.append(box)
            grids.append(grid)
            offset += math.prod(grid)
        hidden = OUTSIDE if self.padding == "visible" else PADDING
        k_region = torch.where(torch.cat(status, dim=-1) <= hidden, -1, 0)[None]
        k_box = torch.cat(bounds, dim=1) if grids else None
        q_region = torch.zeros_like(q_index)[None]
        k_index = torch.cat(index, dim=-1)
        return Groups(q_index, k_index, q_region, k_region, tuple(grids), k_box)

    def _halo(self, spatial: Size, padded: Size) -> tuple[Tensor, Tensor]:
        """Return number and status of the keys around each window."""
        sizes = tuple(zip(spatial, padded, self.window, self.margin, strict=True))
        if self.halo == "exact":
            lines, inside = [], []
            for n, length, m, e in sizes:
                step = torch.arange(-e, m + e)
                place = _starts(n, m) + step
                outside = (place < 0) | (place >= length)
                lines.append(_padded(place, n).masked_fill(outside, OUTSIDE))
                inside.append(torch.where((step >= 0) & (step < m), 0, -1)[None])
            around = cross(inside, (1,) * len(inside))[1][0] < 0
            index, worst = cross(lines, spatial)
            return index[:, around], worst[:, around]
        corners = [self._corner(signs, sizes) for signs in product((1, -1), repeat=len(sizes))]
        index, worst = (torch.cat(parts, dim=-1) for parts in zip(*corners, strict=True))
        if any(n <= m for n, m in zip(spatial, self.window, strict=True)):
            return torch.full_like(index, -1), torch.full_like(worst, OUTSIDE)
        return index, worst

    def _corner(
        self, signs: tuple[int, ...], sizes: tuple[tuple[int, int, int, int], ...]
    ) -> tuple[Tensor, Tensor]:
        """Return what one roll brings from outside of each window: around, at the borders."""
        lines, inside = [], []
        for sign, (n, length, m, e) in zip(signs, sizes, strict=True):
            step = sign * e + torch.arange(m)
            lines.append(_padded((_starts(n, m) + step) % length, n))
            inside.append(torch.where((step >= 0) & (step < m), 0, -1)[None])
        around = cross(inside, (1,) * len(inside))[1][0] < 0
        index, worst = cross(lines, [n for n, *_ in sizes])
        return index[:, around], worst[:, around]

    def _level(self, k: int, spatial: Size, padded: Size) -> tuple[Tensor, Tensor, Tensor, Size]:
        """Return number, status and box of the cells that each window sees, and their grid."""
        grid = tuple(length // m * 2**k for length, m in zip(padded, self.window, strict=True))
        lines, starts, stops = [], [], []
        for axis, (n, cells) in enumerate(zip(spatial, grid, strict=True)):
            size, first = self._cells(k, axis, padded[axis])
            reach, side = self.reach(k)[axis], self.levels[k][axis] // 2
            place = torch.arange(cells // 2**k)[:, None] * 2**k - side + torch.arange(reach)
            start = first + place * size
            line = place.masked_fill(start >= n, PADDING)
            lines.append(line.masked_fill((place < 0) | (place >= cells), OUTSIDE))
            starts.append(start)
            stops.append((start + size).clamp(max=n))
        index, worst = cross(lines, grid)
        box = boxes(starts, stops).masked_fill(worst[..., None] < 0, -1)
        return index, worst, box, grid

    def reach(self, k: int) -> Size:
        """Return the cells of level ``k`` that a window sees along each axis."""
        return tuple(f - 1 + 2**k for f in self.levels[k])

    def _cells(self, k: int, axis: int, length: int) -> tuple[int, int]:
        """Return the tokens of a cell along one axis, and the first token of the first cell.

        Cells of the official code are rounded down; what is left over is cut off at both ends.
        """
        size = self.window[axis] // 2**k
        return size, (length - length // self.window[axis] * 2**k * size) // 2

    def pairs(self, spatial: Size) -> int:
        """Count permitted pairs: along each axis, queries times keys of every window."""
        padded = self.fit(spatial)
        covered = any(n <= m for n, m in zip(spatial, self.window, strict=True))
        fine = 1
        pooled = [1] * len(self.levels)
        for axis, (n, length, m) in enumerate(zip(spatial, padded, self.window, strict=True)):
            rolled = self.halo == "rolled"
            e = 0 if rolled and covered else self.margin[axis]
            asking = [min(n, a + m) - a for a in range(0, n, m)]
            if rolled:  # a run of m + 2e places on a circle of which the first n are tokens
                run = min(length, m + 2 * e)
                seen = [sum((p % length) < n for p in range(a - e, a - e + run))
                        for a in range(0, n, m)]  # fmt: skip
            else:
                seen = [min(n, a + m + e) - max(0, a - e) for a in range(0, n, m)]
            fine *= _dot(asking, seen)
            for k in range(len(self.levels)):
                size, first = self._cells(k, axis, length)
                full = min(length // m * 2**k, -(-(n - first) // size))
                side = self.levels[k][axis] // 2
                near = [max(0, min(full, (i + 1) * 2**k + side) - max(0, i * 2**k - side))
                        for i in range(length // m)]  # fmt: skip
                pooled[k] *= _dot(asking, near)
        return fine + sum(pooled)

    def scores(self, spatial: Size) -> int:
        """Count all products: every window is full, and so are its keys."""
        return math.prod(self.fit(spatial)) * self.keys


def _dot(asking: list[int], seen: list[int]) -> int:
    return sum(a * s for a, s in zip(asking, seen, strict=True))


def _starts(length: int, window: int) -> Tensor:
    """Return ``[windows, 1]``: the first token of each window along an axis."""
    return torch.arange(0, length, window)[:, None]


def _padded(place: Tensor, length: int) -> Tensor:
    """Mark places beyond the last token as padding."""
    return place.masked_fill(place >= length, PADDING)


def _of_tokens(index: Tensor, spatial: Size) -> Tensor:
    """Return the box of each token, -1 for padding."""
    sides: list[Tensor] = []
    rest = index
    for n in reversed(spatial):
        place = rest % n
        sides = [place, place + 1, *sides]
        rest = rest // n
    return torch.stack(sides, dim=-1).masked_fill(index[..., None] < 0, -1)
