"""A model applied to large inputs by tiles that overlap and are blended, in bounded memory."""

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from vitrail.errors import UsageError
from vitrail.shapes import Size

MAX_OVERLAP = 0.9


class Cuts(NamedTuple):
    """How tiles lie along one axis.

    Args:
        starts: first sample of each tile; all have the same length, and the last one ends the axis.
        weights: of each sample of each tile; those of one sample of the input sum to one.
    """

    starts: tuple[int, ...]
    weights: Float64[Tensor, "tiles samples"]


def cuts(length: int, tile: int, overlap: float) -> Cuts:
    """Lay tiles along an axis.

    Args:
        length: of the axis, in samples.
        tile: length of a tile at most, in samples.
        overlap: least share of a tile that its neighbour has too, from 0 to 0.9.
    Raises:
        UsageError: no such tiles.
    """
    if tile < 1 or not 0 <= overlap <= MAX_OVERLAP:
        raise UsageError(
            given=f"tile={tile}, overlap={overlap:g}",
            allowed=f"tiles of at least one sample, an overlap from 0 to {MAX_OVERLAP}",
            fix="use tile=512, overlap=0.25",
        )
    tile = min(tile, length)
    step = max(1, int(tile * (1 - overlap)))
    count = 1 + -(-(length - tile) // step)
    starts = tuple(round(n * (length - tile) / max(count - 1, 1)) for n in range(count))
    # A pyramid: the middle of a tile, which sees most around it, counts most.
    places = torch.arange(tile, dtype=torch.float64)
    pyramid = torch.minimum(places, places.flip(0)) + 1
    total = torch.zeros(length, dtype=torch.float64)
    for start in starts:
        total[start : start + tile] += pyramid
    return Cuts(starts, torch.stack([pyramid / total[start : start + tile] for start in starts]))


def bands(
    forward: Callable[[Tensor], Tensor],
    x: Float[Tensor, "batch channels *spatial"],
    tile: Size,
    overlap: float = 0.25,
) -> Iterator[Float[Tensor, "batch classes ..."]]:
    """Apply a model tile by tile, and give the blended outputs from the first row on.

    Args:
        forward: a model whose output has the lengths of its input.
        x: the input, of any rank.
        tile: lengths of a tile at most, in samples.
        overlap: least share of a tile that its neighbour has too.
    Yields:
        As ``bands_of``.
    """
    return bands_of(lambda part: forward(x[:, :, *part]), tuple(x.shape[2:]), tile, overlap)


def bands_of(
    run: Callable[[tuple[slice, ...]], Tensor], lengths: Size, tile: Size, overlap: float = 0.25
) -> Iterator[Float[Tensor, "batch classes ..."]]:
    """Blend what is computed tile by tile, from the first row on.

    Outputs of one row of tiles are in memory, and no more.

    Args:
        run: returns the output of a tile, given its slice along each axis.
        lengths: of the whole, in samples.
        tile: lengths of a tile at most, in samples.
        overlap: least share of a tile that its neighbour has too.
    Yields:
        The next rows along the first axis, whole along the others; together they are all rows.
    """
    first, *others = (cuts(n, t, overlap) for n, t in zip(lengths, tile, strict=True))
    pending: Tensor | None = None  # what the tiles so far give to rows that the next ones share
    ends = [*first.starts[1:], lengths[0]]
    for start, end, weights in zip(first.starts, ends, first.weights, strict=True):
        rows = slice(start, start + first.weights.shape[1])
        band = _band(run, rows, others, lengths[1:])
        band *= _along(weights, 0, band)
        if pending is not None:
            band[:, :, : pending.shape[2]] += pending
        yield band[:, :, : end - start]
        pending = band[:, :, end - start :].clone()


def tiled(
    forward: Callable[[Tensor], Tensor],
    x: Float[Tensor, "batch channels *spatial"],
    tile: Size,
    overlap: float = 0.25,
) -> Float[Tensor, "batch classes *spatial"]:
    """Apply a model tile by tile; see ``bands``. An input no longer than a tile is one."""
    if all(n <= t for n, t in zip(x.shape[2:], tile, strict=True)):
        return forward(x)
    return torch.cat(list(bands(forward, x, tile, overlap)), 2)


def _band(
    run: Callable[[tuple[slice, ...]], Tensor], rows: slice, axes: list[Cuts], lengths: Size
) -> Tensor:
    """One row of tiles, blended along all axes but the first."""
    found: Tensor | None = None
    for numbers in itertools.product(*(range(len(axis.starts)) for axis in axes)):
        where: list[slice] = []
        for axis, n in zip(axes, numbers, strict=True):
            where.append(slice(axis.starts[n], axis.starts[n] + axis.weights.shape[1]))
        out = run((rows, *where))
        for number, (axis, n) in enumerate(zip(axes, numbers, strict=True), 1):
            out = out * _along(axis.weights[n], number, out)
        if found is None:
            found = out.new_zeros(*out.shape[:3], *lengths)
        found[:, :, :, *where] += out
    assert found is not None
    return found


def _along(weights: Tensor, axis: int, like: Tensor) -> Tensor:
    """Weights of one spatial axis, to be multiplied with an output."""
    shape = [1] * like.ndim
    shape[2 + axis] = len(weights)
    return weights.to(like.device, like.dtype).reshape(shape)
