"""Patterns that are the product of what they are along each axis: lines, and their crossing.

A line holds, for each window along one axis, the places of its keys: numbers of tokens (or cells)
from 0 up; ``PADDING`` for a place beyond the last token; ``OUTSIDE`` for none at all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

PADDING, OUTSIDE = -1, -2


def cross(lines: Sequence[Tensor], lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Combine one line for each axis.

    Args:
        lines: ``[windows, places]`` along each axis.
        lengths: of the grid that the places count in.
    Returns:
        ``[windows, places]`` of all axes together, both in row-major order: the number on the
        flattened grid, or -1; and the worst that an axis said, 0 for nothing bad.
    """
    index = torch.zeros(1, 1, dtype=torch.int64)
    worst = torch.zeros(1, 1, dtype=torch.int64)
    for line, n in zip(lines, lengths, strict=True):
        here = line[None, :, None, :]
        index = _joined(index[:, None, :, None] * n + here)
        worst = _joined(torch.minimum(worst[:, None, :, None], here))
    return index.masked_fill(worst < 0, -1), worst


def boxes(starts: Sequence[Tensor], stops: Sequence[Tensor]) -> Tensor:
    """Return ``[windows, places, 2 * axes]``: first token and one past the last, axis by axis."""
    sides: list[Tensor] = []
    for start, stop in zip(starts, stops, strict=True):
        windows, places = start.shape
        ones = torch.ones_like(start)
        spread = [_joined(side[:, None, :, None] * ones[None, :, None, :]) for side in sides]
        before = sides[0].shape if sides else (1, 1)
        here = (before[0], windows, before[1], places)
        sides = spread + [
            _joined(side[None, :, None, :].expand(here).contiguous()) for side in (start, stop)
        ]
    return torch.stack(sides, dim=-1)


def _joined(x: Tensor) -> Tensor:
    """Flatten ``[windows, windows, places, places]`` to ``[windows, places]``."""
    return x.flatten(2).flatten(0, 1)
