"""Which keys a window gathers: those around it, pooled cells, or the nearest tokens.

Each function returns numbers of places on a grid, computed from lengths alone, so that a layer
gathers keys and values once instead of rolling and unfolding them. None branches on a length, so
all of them trace with symbolic sizes.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from vitrail.shapes import Size, sym_max, sym_min


class Keys(NamedTuple):
    """Places that each window gathers, in row-major order of the windows.

    Args:
        places: row-major number of a place on its grid; any place where nothing is seen.
        seen: whether there is something to see.
    """

    places: Int[Tensor, "windows keys"]
    seen: Bool[Tensor, "windows keys"]


# Along one axis: a place for each window and key, and whether there is one.
_Line = tuple[Tensor, Tensor]


def own(spatial: Sequence[int], lengths: Sequence[int], window: Size, device: torch.device) -> Keys:
    """Return each window's own tokens.

    Args:
        spatial: tokens that are seen along each axis; what follows them is padding.
        lengths: of the padded grid, which the window divides.
        window: lengths of the window, in tokens.
        device: where the numbers are needed.
    """
    lines = []
    for n, length, m in zip(spatial, lengths, window, strict=True):
        place = _starts(length // m, m, device) + torch.arange(m, device=device)
        lines.append((place, place < n))
    return _crossed(lines, lengths)


def exact_halo(
    spatial: Sequence[int],
    seen: Sequence[int],
    lengths: Sequence[int],
    window: Size,
    margin: Size,
    device: torch.device,
) -> Keys:
    """Return the tokens around each window, at most ``margin`` away along each axis.

    Args:
        spatial: tokens along each axis.
        seen: tokens that are seen along each axis; those, or padding too.
        lengths: of the padded grid, which the window divides.
        window: lengths of the window, in tokens.
        margin: tokens on each side of it.
        device: where the numbers are needed.
    Returns:
        The box around the window in row-major order, without the window.
    """
    del spatial
    lines, inside = [], []
    for n, length, m, e in zip(seen, lengths, window, margin, strict=True):
        step = torch.arange(-e, m + e, device=device)
        place = _starts(length // m, m, device) + step
        lines.append(
            (place.clamp(min=0).minimum(_last(length, device)), (place >= 0) & (place < n))
        )
        inside.append((step[None], ((step >= 0) & (step < m))[None]))
    return _around(lines, inside, lengths, window)


def rolled_halo(
    spatial: Sequence[int],
    seen: Sequence[int],
    lengths: Sequence[int],
    window: Size,
    margin: Size,
    device: torch.device,
) -> Keys:
    """Return what rolling the map towards its corners brings around each window.

    Rolls wrap at the border of the padded grid. As in the official code nothing is seen while one
    window covers the shortest axis.

    Args:
        spatial: tokens along each axis.
        seen: tokens that are seen along each axis; those, or padding too.
        lengths: of the padded grid, which the window divides.
        window: lengths of the window, in tokens.
        margin: tokens that each roll moves the map, along each axis.
        device: where the numbers are needed.
    Returns:
        Corner by corner, the one towards the end of every axis first; in each, the tokens of the
        rolled window that do not lie in the window itself, in row-major order.
    """
    corners = []
    for signs in product((1, -1), repeat=len(window)):
        lines, inside = [], []
        for sign, n, length, m, e in zip(signs, seen, lengths, window, margin, strict=True):
            step = sign * e + torch.arange(m, device=device)
            # Never negative: ONNX and Python differ in the remainder of negative numbers.
            place = _starts(length // m, m, device) + step + length
            # A length that is a tensor: ONNX has no remainder of a symbolic number.
            place = place % (_last(length, device) + 1)
            lines.append((place, place < n))
            inside.append((step[None], ((step >= 0) & (step < m))[None]))
        kept = tuple(m - e for m, e in zip(window, margin, strict=True))
        corners.append(_around(lines, inside, lengths, kept))
    index = torch.cat([corner.places for corner in corners], dim=-1)
    there = torch.cat([corner.seen for corner in corners], dim=-1)
    free = 1
    for n, m in zip(spatial, window, strict=True):
        free = free * sym_min(1, (n - 1) // m)  # 0 once one window covers an axis
    return Keys(index, there & (torch.ones_like(index) * free > 0))


def cells(
    spatial: Sequence[int], windows: Sequence[int], window: Size, k: int, focal: Size,
    device: torch.device,
) -> Keys:  # fmt: skip
    """Return the pooled cells in the focal window of each window.

    Args:
        spatial: tokens along each axis; a cell without any is not seen.
        windows: windows along each axis; there are ``2**k`` cells to each.
        window: lengths of the window, in tokens.
        k: level, from 0.
        focal: cells along each axis, odd.
        device: where the numbers are needed.
    """
    lines = []
    for n, count, m, f in zip(spatial, windows, window, focal, strict=True):
        size, first = cell_size(m, count, k)
        place = _starts(count, 2**k, device) - f // 2 + torch.arange(f - 1 + 2**k, device=device)
        there = (place >= 0) & (place < count * 2**k) & (first + place * size < n)
        lines.append((place.clamp(min=0).minimum(_last(count * 2**k, device)), there))
    return _crossed(lines, [count * 2**k for count in windows])


def cell_size(window: int, windows: int, k: int) -> tuple[int, int]:
    """Return the tokens of a cell of level ``k`` along an axis, and the first cell's first token.

    Lengths are rounded down; what is then left over is cut off at both ends of the axis.
    """
    size = window // 2**k
    return size, (windows * window - windows * 2**k * size) // 2


def nearest(middles: Sequence[Tensor], spatial: Sequence[int], count: int) -> Keys:
    """Return the ``count`` places of a grid that are nearest to the middle of each window.

    Args:
        middles: along each axis, the place on the grid that is the middle of each window.
        spatial: lengths of the grid.
        count: how many; all, on a grid that has fewer.
    Returns:
        Places by rising distance, in row-major order where that is equal.
    """
    lines, distance = [], torch.zeros(1, 1, dtype=torch.int64, device=middles[0].device)
    reach = nearest_reach(spatial, count)
    for middle, n, r in zip(middles, spatial, reach, strict=True):
        step = torch.arange(2 * r + 1, device=middle.device) - r
        place = middle[:, None] + step
        lines.append(
            (place.clamp(min=0).minimum(_last(n, middle.device)), (place >= 0) & (place < n))
        )
        distance = _joined(distance[:, None, :, None] + (step * step)[None, None, None, :])
    index, seen = _crossed(lines, spatial)
    # One whole number that orders by distance first and by place second, so that no two are equal.
    candidates = index.shape[-1]
    order = distance * candidates + torch.arange(candidates, device=index.device)
    order = torch.where(seen, order, order + _FAR)
    chosen = order.topk(sym_min(count, math.prod(spatial)), dim=-1, largest=False).indices
    return Keys(index.gather(-1, chosen), seen.gather(-1, chosen))


_FAR = 1 << 50


def nearest_reach(spatial: Sequence[int], count: int) -> Size:
    """Return how far along each axis the nearest ``count`` places can lie.

    A box of ``side`` places along each axis (of all of them where the axis is shorter) holds
    ``count`` of them and can be laid on the grid around any middle: none of its places is farther
    than ``sqrt(axes) * (side - 1)``, and so no nearer place lies beyond that.
    """
    axes = len(spatial)
    shortest = sym_min(*spatial)
    side = sym_max((count + shortest - 1) // shortest, _side(count, axes))
    numerator, denominator = {1: (1, 1), 2: (3, 2), 3: (7, 4)}[axes]  # at least sqrt(axes)
    reach = ((side - 1) * numerator + denominator - 1) // denominator
    return tuple(sym_min(reach, n - 1) for n in spatial)


def _side(count: int, axes: int) -> int:
    """Return the least side of a cube of at least ``count`` places."""
    return next(side for side in range(1, count + 1) if side**axes >= count)


def _starts(windows: int, step: int, device: torch.device) -> Tensor:
    """Return ``[windows, 1]``: the first place of each window along an axis."""
    return (torch.arange(windows, device=device) * step)[:, None]


def _last(length: int, device: torch.device) -> Tensor:
    """Return the last place of an axis; a tensor, as a bound that may be symbolic."""
    return torch.zeros((), dtype=torch.int64, device=device) + (length - 1)


def _around(
    lines: Sequence[_Line], inside: Sequence[_Line], lengths: Sequence[int], left_out: Size
) -> Keys:
    """Cross ``lines``, and drop the ``left_out`` places that are inside along every axis."""
    index, seen = _crossed(lines, lengths)
    within = _crossed(inside, (1,) * len(inside)).seen[0]
    # The kept ones first, in their order: a count that is known before any length is.
    number = torch.arange(within.shape[0], device=within.device)
    order = (number + within * within.shape[0]).argsort()
    kept = order[: within.shape[0] - math.prod(left_out)]
    return Keys(index[:, kept], seen[:, kept])


def _crossed(lines: Sequence[_Line], lengths: Sequence[int]) -> Keys:
    """Combine one line for each axis; windows and places both in row-major order."""
    device = lines[0][0].device
    index = torch.zeros(1, 1, dtype=torch.int64, device=device)
    seen = torch.ones(1, 1, dtype=torch.bool, device=device)
    for (place, there), n in zip(lines, lengths, strict=True):
        index = _joined(index[:, None, :, None] * n + place[None, :, None, :])
        seen = _joined(seen[:, None, :, None] & there[None, :, None, :])
    return Keys(index, seen)


def _joined(x: Tensor) -> Tensor:
    """Flatten ``[windows, windows, places, places]`` to ``[windows, places]``."""
    return x.flatten(2).flatten(0, 1)
