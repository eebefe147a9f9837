"""Bring a map to a finer grid.

``"strides"`` keeps every cell where it is: a cell of stride 32 covers 32 samples, also where the
end of the input was padded to a whole cell; what lies beyond the input is cut off. ``"stretch"``
fits the grid to the given lengths, as transformers, mmsegmentation and segmentation_models_pytorch
do; the two differ where a stride does not divide the input. ``"corners"`` is ``"stretch"`` among
maps, and puts the centres of a map's outermost cells on the outermost samples of the input, as
segmentation_models_pytorch does.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.shapes import Size, known

Align = Literal["strides", "stretch", "corners"]
_LINEAR = ("linear", "bilinear", "trilinear")


def on_grid(
    x: Float[Tensor, "batch dim *spatial"], strides: tuple[Size, Size], lengths: Size, align: Align
) -> Float[Tensor, "batch dim *finer"]:
    """Return a map on a finer grid.

    Args:
        x: a coarse map.
        strides: input samples per cell and axis, of the finer grid and of the map.
        lengths: of the finer grid.
        align: how.
    """
    if align != "strides":
        return stretched(x, lengths)
    fine, coarse = strides
    ratio = tuple(c // f for f, c in zip(fine, coarse, strict=True))
    return aligned(x, ratio, lengths, smooth=True)


def to_samples(
    x: Float[Tensor, "batch dim *spatial"], stride: Size, lengths: Size, align: Align
) -> Float[Tensor, "batch dim *samples"]:
    """Return a map at the resolution of the input.

    Args:
        x: a map.
        stride: input samples per cell and axis.
        lengths: of the input, in samples.
        align: how.
    """
    if align == "corners":
        mode = _LINEAR[len(lengths) - 1]
        return F.interpolate(x, list(lengths), mode=mode, align_corners=True)
    return on_grid(x, ((1,) * len(lengths), stride), lengths, align)


def stretched(
    x: Float[Tensor, "batch dim *spatial"], lengths: Size
) -> Float[Tensor, "batch dim *finer"]:
    """Return a map interpolated linearly to other lengths, its borders on theirs."""
    if all(known(n == length) for n, length in zip(x.shape[2:], lengths, strict=True)):
        return x
    return F.interpolate(x, list(lengths), mode=_LINEAR[len(lengths) - 1], align_corners=False)


def aligned(
    x: Float[Tensor, "batch dim *spatial"], ratio: Size, lengths: Size, *, smooth: bool
) -> Float[Tensor, "batch dim *finer"]:
    """Return a map on a finer grid, each cell where it was: not stretched where an end was padded.

    Args:
        x: a coarse map.
        ratio: cells of the finer grid per cell and axis.
        lengths: of the finer grid; an end that no cell covers repeats the last one.
        smooth: interpolate linearly; otherwise repeat.
    """
    axes = len(lengths)
    if any(factor != 1 for factor in ratio):
        size = [n * factor for n, factor in zip(x.shape[2:], ratio, strict=True)]
        mode = _LINEAR[axes - 1] if smooth else "nearest"
        x = F.interpolate(x, size, mode=mode)
    return fitted(x, lengths)


def fitted(
    x: Float[Tensor, "batch dim *spatial"], lengths: Size
) -> Float[Tensor, "batch dim *cut"]:
    """Return a map cut off at the ends of its axes; a short axis repeats its last cell."""
    for axis, length in enumerate(lengths, 2):
        if torch.compiler.is_exporting():  # one graph for both, whichever is longer
            if not known(length == x.shape[axis]):
                places = torch.arange(length, device=x.device).clamp(max=x.shape[axis] - 1)
                x = x.index_select(axis, places)
        elif length < x.shape[axis]:
            x = x.narrow(axis, 0, length)
        elif length > x.shape[axis]:
            last = x.narrow(axis, x.shape[axis] - 1, 1)
            rest = [-1] * x.ndim
            rest[axis] = length - x.shape[axis]
            x = torch.cat([x, last.expand(rest)], axis)
    return x
