"""Bring weights to another window, grid, number of channels or axes.

Everything here is a function from a tensor to a tensor. Swin V2's position bias is a function of
offsets, so that a new window needs no resizing: its configuration's ``pretrained_window`` says in
which window offsets span -1 to 1.
"""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.errors import UsageError
from vitrail.shapes import Size


def resize_axes(
    x: Float[Tensor, "batch *spatial channels"], lengths: Size
) -> Float[Tensor, "batch *resized channels"]:
    """Interpolate a grid, cubic along each axis in turn.

    For two axes this is the official code's bicubic interpolation, which is separable; the same
    lines serve sequences and volumes, where torch has no cubic interpolation.

    Args:
        x: values on a grid.
        lengths: lengths wanted.
    """
    for axis, length in enumerate(lengths, start=1):
        if x.shape[axis] == length:
            continue
        rows = x.movedim(axis, -1)
        # Bicubic over an image of one column: across it, nothing is interpolated.
        flat = rows.reshape(1, -1, rows.shape[-1], 1)
        flat = F.interpolate(flat, size=(length, 1), mode="bicubic", align_corners=False)
        x = flat.reshape(*rows.shape[:-1], length).movedim(-1, axis)
    return x


def resize_table(
    table: Float[Tensor, "rows heads"], window: Size, new_window: Size
) -> Float[Tensor, "new_rows heads"]:
    """Bring a relative bias to another window.

    Args:
        table: one row for each offset within ``window``, row-major.
        window: the window that the table was made for, in tokens.
        new_window: the window wanted. With one axis more than ``window``, the table is repeated
            along a new first axis (time), as Video Swin inflates image weights.
    Raises:
        UsageError: the table is not of that window, or the windows have too different axes.
    Source: Liu et al. 2021, official loader (bicubic); Liu et al. 2022, arXiv 2106.13230,
    section 3.3 (inflation).
    """
    offsets = tuple(2 * m - 1 for m in window)
    if math.prod(offsets) != table.shape[0]:
        raise UsageError(
            f"a relative bias of {table.shape[0]} rows for window={window}",
            f"{math.prod(offsets)} rows",
            "give the window that the table was made for",
        )
    if len(new_window) not in (len(window), len(window) + 1):
        raise UsageError(
            f"window={window} to become {new_window}",
            "windows of equally many axes, or one more (image to video)",
            "load weights of a model with as many axes",
        )
    spatial = new_window[len(new_window) - len(window) :]
    grid = table.unflatten(0, offsets)[None]
    grid = resize_axes(grid, tuple(2 * m - 1 for m in spatial))[0]
    if len(new_window) > len(window):
        grid = grid.expand(2 * new_window[0] - 1, *grid.shape)
    return grid.flatten(0, -2).contiguous()


def resize_stem(
    weight: Float[Tensor, "dim channels *patch"], channels: int, patch: Size
) -> Float[Tensor, "dim new_channels *new_patch"]:
    """Bring a patch embedding to other input channels, or from images to video.

    One channel gets the sum of all; other numbers repeat the channels in turn, scaled by old over
    new. An input with the same values in every channel is thus embedded as before: exactly for
    one channel and for multiples of the old number, nearly otherwise. A time axis repeats the
    weight, divided by its length, so that a still clip is embedded as its frame.

    Args:
        weight: the patch embedding.
        channels: input channels wanted.
        patch: patch wanted; the same, or with a new first axis.
    """
    old = weight.shape[1]
    if channels == 1 and old != 1:
        weight = weight.sum(dim=1, keepdim=True)
    elif channels != old:
        copies = -(-channels // old)
        weight = weight.repeat(1, copies, *(1,) * (weight.ndim - 2))
        weight = weight[:, :channels] * (old / channels)
    if len(patch) == weight.ndim - 1:
        weight = weight[:, :, None].expand(-1, -1, patch[0], *weight.shape[2:]) / patch[0]
    return weight.contiguous()
