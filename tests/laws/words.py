"""Which tokens may attend to which, by each mechanism's words, without ``Pattern.groups``.

Layers, kernels and ``Pattern.allowed`` all follow from ``groups``; a law that compared one of them
with another would not notice a mistake in what they share. Here two tokens, their coordinates, and
the numbers of the mechanism (window, shift, block, ...) decide, in the words of its paper.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vitrail.patterns import (
    Axial,
    Focal,
    Global,
    Grid,
    Nearest,
    Pattern,
    Pooled,
    PooledQueries,
    Reduced,
    SparseFixed,
    SparseStrided,
    Window,
)
from vitrail.shapes import Size


def allowed(pattern: Pattern, spatial: Size) -> Tensor:
    """Return ``[queries, keys]``: prefix tokens, the grid's, then pooled cells, level by level."""
    return WORDS[type(pattern)](pattern, spatial)


def coordinates(spatial: Size) -> Tensor:
    """Return ``[tokens, axes]``, in row-major order."""
    lines = [torch.arange(n) for n in spatial]
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)


def window(pattern: Window, spatial: Size) -> Tensor:
    """Along every axis windows end at ``shift``, ``shift + size``, ...; the first one early."""
    covered = [n <= m for n, m in zip(spatial, pattern.size, strict=True)]
    size, shift = list(pattern.size), list(pattern.shift)
    if pattern.shift_rule == "never":
        shift = [0 for _ in shift]
    elif pattern.shift_rule == "shortest" and any(covered):
        size, shift = [min(*spatial, *size) for _ in size], [0 for _ in shift]
    elif pattern.shift_rule in ("axis", "clamp"):
        shift = [0 if whole else s for s, whole in zip(shift, covered, strict=True)]
    place = (coordinates(spatial) - torch.tensor(shift)).div(
        torch.tensor(size), rounding_mode="floor"
    )
    return (place[:, None] == place[None, :]).all(-1)


def axial(pattern: Axial, spatial: Size) -> Tensor:
    """Two tokens differ along the axis, or not at all."""
    place = coordinates(spatial)
    place[:, pattern.axis] = 0
    return (place[:, None] == place[None, :]).all(-1)


def grid(pattern: Grid, spatial: Size) -> Tensor:
    """A multiple of the stride apart along every axis: the length over the size, rounded up."""
    stride = torch.tensor([-(-n // m) for n, m in zip(spatial, pattern.size, strict=True)])
    place = coordinates(spatial) % stride
    return (place[:, None] == place[None, :]).all(-1)


def everyone(pattern: Global, spatial: Size) -> Tensor:
    """Every token sees every token."""
    tokens = pattern.prefix + math.prod(spatial)
    return torch.ones(tokens, tokens, dtype=torch.bool)


def _block(block: int | None, tokens: int) -> int:
    return block or next(b for b in range(1, tokens + 1) if b * b >= tokens)


def fixed(pattern: SparseFixed, spatial: Size) -> Tensor:
    """The own block, and every token with which a block or the list ends."""
    token, tokens = torch.arange(math.prod(spatial)), math.prod(spatial)
    block = _block(pattern.block, tokens)
    ends = ((token + 1) % block == 0) | (token + 1 == tokens)
    return (token[:, None] // block == token[None, :] // block) | ends[None, :]


def strided(pattern: SparseStrided, spatial: Size) -> Tensor:
    """The own block; or the tokens as far from the beginning of their block."""
    token = torch.arange(math.prod(spatial))
    block = _block(pattern.block, math.prod(spatial))
    part = token // block if pattern.part == "local" else token % block
    return part[:, None] == part[None, :]


def _prefix_and_cells(prefix: int, spatial: Size, cells: int) -> Tensor:
    tokens = math.prod(spatial)
    found = torch.ones(prefix + tokens, prefix + tokens + cells, dtype=torch.bool)
    found[:, prefix : prefix + tokens] = False
    return found


def reduced(pattern: Reduced, spatial: Size) -> Tensor:
    """Prefix tokens and all cells that are whole; one of an axis that is shorter than a cell."""
    cells = math.prod(max(1, n // r) for n, r in zip(spatial, pattern.reduction, strict=True))
    return _prefix_and_cells(pattern.prefix, spatial, cells)


def pooled(pattern: Pooled, spatial: Size) -> Tensor:
    """All cells."""
    return _prefix_and_cells(0, spatial, math.prod(pattern.size))


def focal(pattern: Focal, spatial: Size) -> Tensor:
    """Tokens at most a margin away from the window; cells at most half a focal window away.

    The rolled halo goes around the padded map, and is not there while one window covers an axis.
    """
    size = pattern.window
    padded = [-(-n // m) * m for n, m in zip(spatial, size, strict=True)]
    place = coordinates(spatial)
    first = place.div(torch.tensor(size), rounding_mode="floor") * torch.tensor(size)
    margin = list(pattern.margin)
    if pattern.halo == "rolled" and any(n <= m for n, m in zip(spatial, size, strict=True)):
        margin = [0 for _ in margin]
    fine = torch.ones(len(place), len(place), dtype=torch.bool)
    for axis, (m, e, length) in enumerate(zip(size, margin, padded, strict=True)):
        ahead = place[None, :, axis] - (first[:, None, axis] - e)
        if pattern.halo == "rolled":
            ahead = ahead % length
        fine &= (ahead >= 0) & (ahead < m + 2 * e)
    levels = [fine]
    for k, level in enumerate(pattern.levels):
        grid = tuple(length // m * 2**k for length, m in zip(padded, size, strict=True))
        cells = coordinates(grid)
        near = torch.ones(len(place), len(cells), dtype=torch.bool)
        for axis, (m, length, f) in enumerate(zip(size, padded, level, strict=True)):
            cell = m // 2**k  # rounded down, and what is left over is cut off at both ends
            cut = (length - grid[axis] * cell) // 2
            start = first[:, None, axis] // m * 2**k
            at = cells[None, :, axis]
            near &= (at >= start - f // 2) & (at < start + 2**k + f // 2)
            near &= cut + at * cell < spatial[axis]  # a cell of padding is none
        levels.append(near)
    return torch.cat(levels, dim=1)


def nearest(pattern: Nearest, spatial: Size) -> Tensor:
    """The ``count`` tokens, and windows, at the least distance; the first of those as far."""
    size = torch.tensor(pattern.window)
    place, windows = (
        coordinates(spatial),
        tuple(-(-n // m) for n, m in zip(spatial, pattern.window, strict=True)),
    )
    own = place.div(size, rounding_mode="floor")
    middle = torch.minimum(own * size + size // 2, torch.tensor(spatial) - 1)
    parts = []
    for centre, there in ((middle, place), (own, coordinates(windows))):
        distance = (centre[:, None] - there[None, :]).square().sum(-1)
        order = sorted_places(distance)[:, : pattern.count]
        parts.append(torch.zeros(distance.shape, dtype=torch.bool).scatter(1, order, True))
    return torch.cat(parts, dim=1)


def sorted_places(distance: Tensor) -> Tensor:
    """Return the places of each row by rising distance; of equal ones, the first first."""
    count = distance.shape[1]
    return (distance * count + torch.arange(count)).argsort(dim=1)


def reach(pattern: Focal | Nearest, spatial: Size) -> Tensor:
    """Return ``[queries, tokens]``: who is seen, as a token or as a part of a pooled cell."""
    size, place = pattern.window, coordinates(spatial)
    padded = [-(-n // m) * m for n, m in zip(spatial, size, strict=True)]
    parts = [torch.eye(len(place), dtype=torch.bool)]
    for k in range(len(pattern.levels) if isinstance(pattern, Focal) else 1):
        cells = coordinates(tuple(n // m * 2**k for n, m in zip(padded, size, strict=True)))
        inside = torch.ones(len(cells), len(place), dtype=torch.bool)
        for axis, (m, length) in enumerate(zip(size, padded, strict=True)):
            cell = m // 2**k
            cut = (length - length // m * 2**k * cell) // 2
            start = cut + cells[:, None, axis] * cell
            inside &= (place[None, :, axis] >= start) & (place[None, :, axis] < start + cell)
        parts.append(inside)
    return (allowed(pattern, spatial).float() @ torch.cat(parts).float()) > 0


def pooled_queries(pattern: PooledQueries, spatial: Size) -> Tensor:
    """A cell sees what any of its tokens sees; the cell of a token is its place over the stride."""
    whole = allowed(pattern.tokens, spatial)
    cells = [-(-n // s) for n, s in zip(spatial, pattern.stride, strict=True)]
    seen = torch.zeros(math.prod(cells), len(whole), dtype=torch.bool)
    for token, place in enumerate(coordinates(spatial).tolist()):
        number = 0
        for p, s, n in zip(place, pattern.stride, cells, strict=True):
            number = number * n + p // s
        seen[number] |= whole[token]
    return seen


WORDS: dict[type[Pattern], Callable[[Any, Size], Tensor]] = {
    Window: window,
    Axial: axial,
    Grid: grid,
    Global: everyone,
    SparseFixed: fixed,
    SparseStrided: strided,
    Reduced: reduced,
    Pooled: pooled,
    PooledQueries: pooled_queries,
    Focal: focal,
    Nearest: nearest,
}
