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
from jaxtyping import Int
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.patterns.base import (
    Groups,
    Padding,
    Pattern,
    check_axes,
    check_word,
    coordinates,
    window_cut,
)
from vitrail.patterns.lines import OUTSIDE, PADDING, arange, cross, steps, within
from vitrail.patterns.sets import Spans, TokenSet, joined
from vitrail.shapes import Size, as_size, known, sym_min

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
        return tuple((n + m - 1) // m * m for n, m in zip(spatial, self.window, strict=True))

    @property
    def halo_keys(self) -> int:
        """Keys of the halo of one window."""
        if self.halo == "rolled":
            inner = math.prod([m - e for m, e in zip(self.window, self.margin, strict=True)])
            return 2 ** len(self.window) * (math.prod(self.window) - inner)
        outer = math.prod([m + 2 * e for m, e in zip(self.window, self.margin, strict=True)])
        return outer - math.prod(self.window)

    @property
    def num_keys(self) -> int:
        """All keys of one window, padding and duplicates included."""
        pooled = (math.prod(self.reach(k)) for k in range(len(self.levels)))
        return math.prod(self.window) + self.halo_keys + sum(pooled)

    def groups(self, spatial: Size, device: torch.device | None = None) -> Groups:
        """Write the windows down, in row-major order; for the order of keys see the class."""
        padded = self.fit(spatial)
        own = [within(arange(length, device), n) for n, length in zip(spatial, padded, strict=True)]
        whole = all(known(n == length) for n, length in zip(spatial, padded, strict=True))
        q_index = cross(own, self.window, spatial, marked=not whole)
        index = [q_index, self._halo(spatial, padded, device)]
        grids, before = [], math.prod(spatial)
        for k in range(len(self.levels)):
            grid = self._grid(k, padded)
            cells = cross(self._level(k, spatial, padded, device), self.reach(k), grid)
            index.append(torch.where(cells < 0, cells, cells + before))
            grids.append(grid)
            before = before + math.prod(grid)
        k_index = torch.cat(index, dim=-1)
        full = (
            whole and not any(self.margin) and all(f == 1 for level in self.levels for f in level)
        )
        q_region = k_region = None
        if not full:
            hidden = OUTSIDE if self.padding == "visible" else PADDING
            q_region, k_region = torch.zeros_like(q_index), -(k_index <= hidden).to(torch.int32)
        return Groups(
            q_index, k_index.clamp(min=-1), q_region, k_region, grids=tuple(grids), full=full,
            cut=window_cut(spatial, self.window) if whole else None,
        )  # fmt: skip

    def _halo(self, spatial: Size, padded: Size, device: torch.device | None) -> Tensor:
        """Return number or mark of the keys around each window."""
        sizes = tuple(zip(spatial, padded, self.window, self.margin, strict=True))
        if self.halo == "exact":
            lines = []
            for n, length, m, e in sizes:
                place = steps(length // m, m + 2 * e, m, device) - e
                outside = (place < 0) | (place >= length)
                lines.append(within(place, n).masked_fill(outside, OUTSIDE))
            around = [range(-e, m + e) for m, e in zip(self.window, self.margin, strict=True)]
            return self._without_own(lines, spatial, around)
        corners = []
        for signs in product((1, -1), repeat=len(sizes)):
            lines, around = [], []
            for sign, (n, length, m, e) in zip(signs, sizes, strict=True):
                place = arange(length, device) + sign * e
                place = torch.where(place < 0, place + length, place)  # around, at the borders
                lines.append(within(torch.where(place >= length, place - length, place), n))
                around.append(range(sign * e, sign * e + m))
            corners.append(self._without_own(lines, spatial, around))
        index = torch.cat(corners, dim=-1)
        # 0 once one window covers an axis: then nothing is rolled.
        free = sym_min(1, *((n - 1) // m for n, m in zip(spatial, self.window, strict=True)))
        return index.masked_fill(torch.zeros_like(index) + free < 1, OUTSIDE)

    def _without_own(self, lines: list[Tensor], spatial: Size, around: list[range]) -> Tensor:
        """Cross ``lines`` and leave out the tokens of the window itself.

        Args:
            lines: places of keys along each axis.
            spatial: of the grid.
            around: how far those places are from the window's first token, along each axis.
        """
        own = {0}  # numbers of the window's own tokens in the box that is crossed
        for line, m in zip(around, self.window, strict=True):
            inside = [k for k, place in enumerate(line) if 0 <= place < m]
            own = {number * len(line) + k for number in own for k in inside}
        count = math.prod([len(line) for line in around])
        kept = [number for number in range(count) if number not in own]
        places = torch.tensor(kept, dtype=torch.int64, device=lines[0].device)
        index = cross(lines, tuple(len(line) for line in around), spatial)
        return index.index_select(1, places)

    def _grid(self, k: int, padded: Size) -> Size:
        """Return the cells of level ``k`` along each axis."""
        return tuple(length // m * 2**k for length, m in zip(padded, self.window, strict=True))

    def _level(
        self, k: int, spatial: Size, padded: Size, device: torch.device | None
    ) -> list[Tensor]:
        """Return the cells of level ``k`` that each window sees along each axis."""
        lines = []
        for axis, (n, cells) in enumerate(zip(spatial, self._grid(k, padded), strict=True)):
            size, first = self.cell(k, axis, padded[axis])
            place = steps(cells // 2**k, self.reach(k)[axis], 2**k, device)
            place = place - self.levels[k][axis] // 2
            line = place
            if self.padding == "masked":
                line = place.masked_fill(first + place * size >= n, PADDING)
            lines.append(line.masked_fill((place < 0) | (place >= cells), OUTSIDE))
        return lines

    def cell_boxes(self, spatial: Size) -> Int[Tensor, "cells bounds"] | None:
        """Return the tokens that each cell of each level stands for."""
        padded, boxes = self.fit(spatial), []
        for k in range(len(self.levels)):
            sizes, firsts = zip(
                *(self.cell(k, axis, n) for axis, n in enumerate(padded)), strict=True
            )
            start = coordinates(self._grid(k, padded)) * torch.tensor(sizes) + torch.tensor(firsts)
            stop = torch.minimum(start + torch.tensor(sizes), torch.tensor(spatial))
            boxes.append(torch.stack((start, stop), dim=-1).flatten(1))
        return torch.cat(boxes) if boxes else None

    def reach(self, k: int) -> Size:
        """Return the cells of level ``k`` that a window sees along each axis."""
        return tuple(f - 1 + 2**k for f in self.levels[k])

    def cell(self, k: int, axis: int, length: int) -> tuple[int, int]:
        """Return the tokens of a cell of level ``k`` along one axis, and its first cell's first.

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
            queries = [min(n, a + m) - a for a in range(0, n, m)]
            if rolled:  # a run of m + 2e places on a circle of which the first n are tokens
                run = min(length, m + 2 * e)
                seen = [sum((p % length) < n for p in range(a - e, a - e + run))
                        for a in range(0, n, m)]  # fmt: skip
            else:
                seen = [min(n, a + m + e) - max(0, a - e) for a in range(0, n, m)]
            fine *= _dot(queries, seen)
            for k in range(len(self.levels)):
                size, first = self.cell(k, axis, length)
                full = min(length // m * 2**k, -(-(n - first) // size))
                side = self.levels[k][axis] // 2
                near = [max(0, min(full, (i + 1) * 2**k + side) - max(0, i * 2**k - side))
                        for i in range(length // m)]  # fmt: skip
                pooled[k] *= _dot(queries, near)
        return fine + sum(pooled)

    def seen(self, spatial: Size, tokens: TokenSet) -> list[TokenSet]:
        """Return the surroundings of all windows that hold some tokens; see the base class."""
        padded = self.fit(spatial)
        covered = any(n <= m for n, m in zip(spatial, self.window, strict=True))
        fine: list[list[Spans]] = []
        for n, length, m, e in zip(spatial, padded, self.window, self.margin, strict=True):
            start = torch.arange(n) // m * m
            e = 0 if self.halo == "rolled" and covered else e
            parts = [(start - e, start + m + e)]
            if self.halo == "rolled":  # what passes one border comes in at the other
                parts += [(start - e + length, start * 0 + n), (start * 0, start + m + e - length)]
            fine.append([torch.stack(part, dim=-1).clamp(0, n) for part in parts])
        relations = [*product(*fine), *(self._level_spans(k, spatial, padded)
                                        for k in range(len(self.levels)))]  # fmt: skip
        return joined(tokens.spread(spans) for spans in relations)

    def _level_spans(self, k: int, spatial: Size, padded: Size) -> list[Spans]:
        """Return the tokens of the cells of a level that a token sees, along each axis."""
        spans = []
        for axis, (n, length, m) in enumerate(zip(spatial, padded, self.window, strict=True)):
            size, first = self.cell(k, axis, length)
            cell = torch.arange(n) // m * 2**k - self.levels[k][axis] // 2
            ends = torch.stack((cell, cell + self.reach(k)[axis]), dim=-1)
            spans.append((first + ends.clamp(0, length // m * 2**k) * size).clamp(0, n))
        return spans

    def scores(self, spatial: Size) -> int:
        """Count all products: every window is full, and so are its keys."""
        return math.prod(self.fit(spatial)) * self.num_keys


def _dot(queries: list[int], seen: list[int]) -> int:
    return sum(a * s for a, s in zip(queries, seen, strict=True))
