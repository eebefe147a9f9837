"""Bring a grid of values to other lengths."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.shapes import Size, known, sym_max

# What torch offers for each number of axes; the official code uses bicubic for images.
_MODES = {1: "linear", 2: "bicubic", 3: "trilinear"}


def resize_grid(
    x: Float[Tensor, "batch *spatial channels"], spatial: Size
) -> Float[Tensor, "batch *resized channels"]:
    """Interpolate a grid smoothly: linear in 1-D, bicubic in 2-D, trilinear in 3-D.

    Args:
        x: values on a grid.
        spatial: lengths wanted.
    Returns:
        Values on a grid of those lengths; ``x`` itself where they are its own.
    """
    if all(known(n == m) for n, m in zip(x.shape[1:-1], spatial, strict=True)):
        return x
    mode = _MODES[len(spatial)]
    x = F.interpolate(x.movedim(-1, 1), size=tuple(spatial), mode=mode, align_corners=False)
    return x.movedim(1, -1)


def resize_linear(
    x: Float[Tensor, "batch *spatial channels"], spatial: Size
) -> Float[Tensor, "batch *resized channels"]:
    """Interpolate a grid between its two nearest values along each axis: bilinear in 2-D.

    The same numbers as ``F.interpolate`` with its corners not aligned, by arithmetic on lengths
    alone, so that one exported graph serves every size, down to a single token.

    Args:
        x: values on a grid.
        spatial: lengths wanted.
    Returns:
        Values on a grid of those lengths; ``x`` itself where they are its own.
    """
    for axis, length in enumerate(spatial, start=1):
        n = x.shape[axis]
        if known(n == length):
            continue
        # Twice the middle of each cell, in units of 1 / length of the old grid; never negative,
        # as ONNX divides towards zero.
        middle = 2 * torch.arange(length, device=x.device) + 1
        middle = (middle * n - length).clamp(min=0)
        first = middle // (2 * length)
        shape = [1] * x.ndim
        shape[axis] = length
        share = (middle - first * (2 * length)).to(torch.promote_types(x.dtype, torch.float32))
        share = (share / (2 * length)).to(x.dtype).view(shape)
        near = x.index_select(axis, first)
        far = x.index_select(axis, (first + 1).clamp(max=n - 1))
        x = near + (far - near) * share
    return x


def resize_antialiased(
    x: Float[Tensor, "batch *spatial channels"], spatial: Size
) -> Float[Tensor, "batch *resized channels"]:
    """Interpolate a grid by a cubic that spans all values that a step to a shorter grid covers.

    The same numbers as ``F.interpolate`` with ``mode="bicubic", antialias=True``, one axis after
    the other, by a product with a matrix that arithmetic on lengths makes.

    Args:
        x: values on a grid.
        spatial: lengths wanted.
    Returns:
        Values on a grid of those lengths; ``x`` itself where they are its own.
    Source: Keys 1981, "Cubic convolution interpolation for digital image processing", a = -1/2.
    """
    for axis, length in enumerate(spatial, start=1):
        n = x.shape[axis]
        if known(n == length):
            continue
        kind = torch.promote_types(x.dtype, torch.float32)
        middle = (torch.arange(length, device=x.device, dtype=kind) + 0.5) * (n / length)
        place = torch.arange(n, device=x.device, dtype=kind) + 0.5
        # A step shorter than one place does not narrow the cubic.
        far = (place - middle[:, None]).abs() / (sym_max(n, length) / length)
        near = (1.5 * far - 2.5) * far * far + 1
        tail = ((2.5 - 0.5 * far) * far - 4) * far + 2
        weights = torch.where(far < 1, near, torch.where(far < 2, tail, torch.zeros_like(far)))
        weights = weights / weights.sum(dim=1, keepdim=True)
        x = (weights @ x.movedim(axis, -2).to(kind)).movedim(-2, axis).to(x.dtype)
    return x
