"""From 8-bit pixels to a model's input, in operations of torch alone.

The one path for ``vitrail.transform``, ``predict``, ``evaluate`` and the explorer: a photo is
resized until it covers a box somewhat larger than the input, and the centre of that is the input.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Num
from torch import Tensor
from torch.nn import functional as F

from vitrail.shapes import Size


class Frame(NamedTuple):
    """Where an input lies in a photo.

    Args:
        resized: height and width of the whole photo after resizing, in pixels.
        first: row and column in it at which the input begins.
        size: height and width of the input, in pixels.
    """

    resized: Size
    first: Size
    size: Size


def frame_of(photo: Size, size: Size, crop: float) -> Frame:
    """Return where the input lies: no border shows, whatever the photo's proportions.

    Args:
        photo: height and width of the photo, in pixels.
        size: height and width of the input, in pixels.
        crop: part of the resized short side that the input keeps, up to 1.
    """
    box = [max(n, math.floor(n / crop)) for n in size]
    resized = covering(photo, box)
    first = tuple(round((t - n) / 2) for t, n in zip(resized, size, strict=True))
    return Frame(resized, first, tuple(size))


def covering(photo: Sequence[int], box: Sequence[int]) -> Size:
    """Return the height and width at which a photo, in its proportions, just covers a box."""
    scale = max(n / length for n, length in zip(box, photo, strict=True))
    return tuple(max(n, int(length * scale)) for n, length in zip(box, photo, strict=True))


def resize(
    pixels: Num[Tensor, "*any channels height width"], lengths: Size, interpolation: str
) -> Num[Tensor, "*any channels tall wide"]:
    """Resize with antialiasing, in the type of the pixels: whole numbers are rounded.

    Args:
        pixels: 8-bit pixels, or floating-point numbers.
        lengths: height and width to make of them; pixels that have these already stay as they are.
        interpolation: ``"bilinear"`` or ``"bicubic"``.
    """
    if lengths == tuple(pixels.shape[-2:]):
        return pixels
    own = pixels.dtype == torch.uint8 and pixels.device.type == "cpu"  # torch resizes these as such
    x = pixels if own or pixels.dtype in (torch.float32, torch.float64) else pixels.float()
    x = F.interpolate(x.reshape(-1, *x.shape[-3:]), lengths, mode=interpolation, antialias=True)
    if x.dtype != pixels.dtype and not pixels.is_floating_point():
        limits = torch.iinfo(pixels.dtype)
        x = x.clamp(limits.min, limits.max).round()
    return x.to(pixels.dtype).reshape(*pixels.shape[:-2], *lengths)


def cut_out(
    pixels: Num[Tensor, "*any channels height width"], frame: Frame, interpolation: str
) -> Num[Tensor, "*any channels tall wide"]:
    """Return the pixels of the input: resized, and the centre cut out."""
    (top, left), (height, width) = frame.first, frame.size
    pixels = resize(pixels, frame.resized, interpolation)
    return pixels[..., top : top + height, left : left + width]


def normalised(
    pixels: Num[Tensor, "*any channels height width"], mean: Sequence[float], std: Sequence[float]
) -> Float[Tensor, "*any channels height width"]:
    """Return float32 numbers: whole numbers scaled to 0..1, the mean subtracted, divided by std."""
    scale = 1.0 if pixels.is_floating_point() else 1.0 / torch.iinfo(pixels.dtype).max
    shift, width = (
        torch.tensor(values, dtype=torch.float32, device=pixels.device)[:, None, None]
        for values in (mean, std)
    )
    return (pixels.float() * scale - shift) / width
