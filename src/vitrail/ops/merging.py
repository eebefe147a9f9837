"""Bring neighbouring tokens together: the reshaping half of patch merging."""

import math
from collections.abc import Sequence

from jaxtyping import Shaped
from torch import Tensor

from vitrail.ops.windows import copy_as, pad, padded_lengths


def merge(
    x: Shaped[Tensor, "batch *spatial channels"], factor: Sequence[int]
) -> Shaped[Tensor, "batch *merged joined"]:
    """Concatenate the channels of each block of ``factor`` neighbours.

    Neighbours follow one another with the first spatial axis fastest: (0, 0), (1, 0), (0, 1),
    (1, 1). The order is part of a checkpoint's format; this is the official one. Lengths that
    ``factor`` does not divide are padded with zeros at their end.

    Args:
        x: tokens on a grid.
        factor: how many neighbours become one along each axis, in tokens.
    Returns:
        A grid shorter by ``factor``, with ``prod(factor)`` times the channels.
    Source: Liu et al. 2021, arXiv 2103.14030, section 3.1.
    """
    axes = len(factor)
    x = pad(x, padded_lengths(x.shape[1:-1], factor))
    batch, *spatial, channels = x.shape
    counts = [n // f for n, f in zip(spatial, factor, strict=True)]
    cut = [length for pair in zip(counts, factor, strict=True) for length in pair]
    x = x.reshape(batch, *cut, channels)
    # Last axis' neighbours outermost, first axis' innermost, just before the channels.
    x = x.permute(0, *range(1, 2 * axes, 2), *range(2 * axes, 1, -2), 2 * axes + 1)
    return copy_as(x, (batch, *counts, math.prod(factor) * channels))
