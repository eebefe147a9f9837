"""Bring a grid of tokens together into fewer."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.shapes import Size


def adaptive_mean(
    x: Float[Tensor, "batch *spatial channels"], size: Size
) -> Float[Tensor, "batch *size channels"]:
    """Average over ``size`` cells along each axis, whatever the length of the grid.

    Cell ``i`` of ``s`` on ``n`` tokens reaches from ``floor(i n / s)`` to ``ceil((i + 1) n / s)``,
    as in torch's adaptive average pooling: neighbours may share a token, and a grid shorter than
    ``s`` repeats tokens. Here it is arithmetic on lengths, which torch's own is not when exported
    (it takes lengths that ``size`` divides, and no others).

    Args:
        x: tokens on a grid.
        size: cells along each axis.
    Returns:
        The means, on a grid of ``size``.
    """
    for axis, cells in enumerate(size, start=1):
        n = x.shape[axis]
        cell = torch.arange(cells, device=x.device)[:, None]
        start, stop = cell * n // cells, ((cell + 1) * n + cells - 1) // cells
        longest = (n + cells - 1) // cells + 1
        place = start + torch.arange(longest, device=x.device)
        wide = torch.promote_types(x.dtype, torch.float32)
        share = ((place < stop).to(wide) / (stop - start)).to(x.dtype)
        parts = x.index_select(axis, place.clamp(max=n - 1).flatten())
        shape = [1] * (x.ndim + 1)
        shape[axis : axis + 2] = cells, longest
        x = (parts.unflatten(axis, (cells, longest)) * share.view(shape)).sum(axis + 1)
    return x


def cell_max(
    x: Float[Tensor, "batch *spatial channels"], stride: Size
) -> Float[Tensor, "batch *cells channels"]:
    """Return the greatest values of each cell of ``stride`` tokens.

    The last cell of an axis has the tokens that are left. Equal values share a gradient evenly.
    """
    lengths = [(n + s - 1) // s for n, s in zip(x.shape[1:-1], stride, strict=True)]
    amounts = [0, 0]
    for n, cells, s in zip(
        reversed(x.shape[1:-1]), reversed(lengths), reversed(stride), strict=True
    ):
        amounts += [0, cells * s - n]
    if torch.compiler.is_compiling() or any(amounts):
        x = F.pad(x, amounts, value=-math.inf)
    shape = [n for pair in zip(lengths, stride, strict=True) for n in pair]
    x = x.reshape(x.shape[0], *shape, x.shape[-1])
    return x.amax(tuple(range(2, 2 * len(stride) + 1, 2)))
