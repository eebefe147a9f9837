"""Patterns that are the product of what they are along each axis: lines, and their crossing.

A line holds, for each group along one axis, the places of its keys: numbers of tokens (or cells)
from 0 up; ``PADDING`` for a place beyond the last token; ``OUTSIDE`` for none at all. The groups of
a line follow one another in one row: a tensor with an axis of groups would tie a traced graph to
inputs with more than one.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from vitrail.shapes import Size

PADDING, OUTSIDE = -1, -2

Line = Int[Tensor, " _"]  # lines of one grid differ in length


def arange(length: int, device: torch.device | None = None) -> Int[Tensor, " length"]:
    """Return the whole numbers below ``length``, in 32 bits."""
    return torch.arange(length, dtype=torch.int32, device=device)


def mesh(lines: Sequence[Line]) -> Int[Tensor, "places axes"]:
    """Return every place whose coordinates are in ``lines``, in row-major order."""
    return torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1).flatten(0, -2)


def number(places: Int[Tensor, "*any axes"], lengths: Size) -> Int[Tensor, "*any"]:
    """Return the numbers of places on the flattened grid."""
    index, *rest = places.unbind(-1)
    for line, n in zip(rest, lengths[1:], strict=True):
        index = index * n + line
    return index


def steps(groups: int, width: int, step: int, device: torch.device | None) -> Line:
    """Return ``width`` places for each group, the first of which are ``step`` apart."""
    place = arange(groups * width, device)
    return place if step == width else place + place // width * (step - width)


def within(place: Line, length: int, mark: int = PADDING) -> Line:
    """Mark places beyond the last token."""
    return place.masked_fill(place >= length, mark)


def cross(
    lines: Sequence[Line], widths: Size, lengths: Size, *, marked: bool = True
) -> Int[Tensor, "groups places"]:
    """Combine one line for each axis.

    Args:
        lines: places of all groups along each axis.
        widths: places of each group along each axis.
        lengths: of the grid that the places count in.
        marked: some place may be none; what is known to have no marks takes a third of the time.
    Returns:
        Groups, and the places of each, in row-major order: the number on the flattened grid, or
        the least mark of any axis.
    """
    index = lines[0]
    for line, n in zip(lines[1:], lengths[1:], strict=True):
        index = index[..., None] * n + line
    if marked:
        worst = lines[0].clamp(max=0)
        for line in lines[1:]:
            worst = torch.minimum(worst[..., None], line.clamp(max=0))
        index = torch.where(worst < 0, worst, index)
    counts = [line.shape[0] // width for line, width in zip(lines, widths, strict=True)]
    shape = [n for pair in zip(counts, widths, strict=True) for n in pair]
    order = (*range(0, len(shape), 2), *range(1, len(shape), 2))
    # Not ``reshape``, whose question whether it must copy ties a graph to a length.
    index = index.view(shape).permute(order).clone(memory_format=torch.contiguous_format)
    return index.view(math.prod(counts), math.prod(widths))
