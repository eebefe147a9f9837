"""From a photo to the model's input, remembering which part of the photo that is."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vitrail.data.pixels import cut_out, frame_of, normalised
from vitrail.errors import UsageError
from vitrail.models import Preprocessing
from vitrail.shapes import Size
from vitrail.tasks.segment import Segment

# Shorter side of the input where the user gives no size, for models of small images: more than
# their weights were made for, so that the photo can still be recognised by eye.
SHORTER: dict[str, int] = {"swin_nano": 64}
SHOWN = 800  # longest side of the picture in the report, in pixels
Box = tuple[float, float, float, float]  # left, top, right, bottom
LONGEST = 512  # side of the input of a model of segmentation, where the user gives no size
LARGEST = 2048  # longest side of an input: beyond it a report would be too large to open


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photo made ready for a model.

    Args:
        input: what the model is given.
        seen: the same as a picture, before normalisation.
        shown: the same part of the photo, with more pixels where the photo has them.
        original: height and width of the photo.
        steps: what was done, one step a line.
    """

    input: Float[Tensor, "1 3 height width"]
    seen: Image.Image
    shown: Image.Image
    original: Size
    steps: tuple[str, ...]


def whole_photo(photo: Size, shorter: int, patch: Size) -> Size:
    """Return an input size in the proportions of a photo, in whole patches.

    Args:
        photo: height and width of the photo.
        shorter: length of the input's shorter side, in pixels; the longer one is at most twice it.
        patch: pixels along each axis that the lengths are multiples of.
    """
    longest = max(photo) / min(photo) * shorter
    lengths = [shorter if n == min(photo) else min(longest, 2 * shorter) for n in photo]
    return tuple(max(1, round(n / p)) * p for n, p in zip(lengths, patch, strict=True))


def prepare(
    photo: Image.Image, preprocessing: Preprocessing, size: Size, task: Segment | None = None
) -> Prepared:
    """Resize, crop the centre and normalise.

    Args:
        photo: 8-bit RGB.
        preprocessing: the preprocessing of the model's weights.
        size: height and width of the input, in pixels.
        task: of a model of segmentation, which normalises in a way of its own.
    Raises:
        UsageError: not a height and a width, or too large a size.
    """
    if len(size) != 2 or not all(1 <= n <= LARGEST for n in size):
        raise UsageError(
            f"size={tuple(size)} for a photo",
            f"a height and a width of 1 to {LARGEST} pixels",
            "use a size such as 224x224",
        )
    height, width = photo.height, photo.width
    frame = frame_of((height, width), size, preprocessing.crop)
    target, (top, left) = frame.resized, frame.first
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    pixels = cut_out(pixels, frame, preprocessing.interpolation)
    ratio = (width / target[1], height / target[0])
    part = (
        left * ratio[0],
        top * ratio[1],
        (left + size[1]) * ratio[0],
        (top + size[0]) * ratio[1],
    )
    mean, std = _numbers(preprocessing.mean), _numbers(preprocessing.std)
    said = f"mean {mean} subtracted, divided by {std}"
    if task is None:
        input = normalised(pixels, preprocessing.mean, preprocessing.std)
    else:
        input = task.normalised(pixels.float() / 255, preprocessing)
        if task.options.normalise == "image":
            said = "its own mean subtracted, divided by its own deviation"
    return Prepared(
        input=input[None],
        seen=Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()),
        shown=_enlarged(photo, part, size),
        original=(height, width),
        steps=(
            f"resized to {target[0]} × {target[1]} ({preprocessing.interpolation}, antialiased)",
            f"centre {size[0]} × {size[1]} kept",
            said,
        ),
    )


def whole_at_most(photo: Size, longest: int) -> Size:
    """Return a photo's own height and width, or smaller ones in its proportions.

    Args:
        photo: height and width of the photo.
        longest: length that no side exceeds, in pixels.
    """
    factor = min(1.0, longest / max(photo))
    return tuple(max(1, round(n * factor)) for n in photo)


def picture_bytes(picture: Image.Image, *, exact: bool) -> tuple[str, bytes]:
    """Return the media type and bytes of a picture: PNG where exactness is affordable, or JPEG."""
    stream = io.BytesIO()
    if exact and picture.width * picture.height <= 300 * 300:
        picture.save(stream, "PNG", optimize=True)
        return "image/png", stream.getvalue()
    picture.save(stream, "JPEG", quality=88)
    return "image/jpeg", stream.getvalue()


def _enlarged(photo: Image.Image, part: Box, size: Size) -> Image.Image:
    """Cut ``part`` out of the photo at the shape of the input, at most ``SHOWN`` pixels long."""
    finest = max(1.0, (part[2] - part[0]) / size[1])
    factor = max(1.0, min(finest, SHOWN / max(size)))
    shape = (round(size[1] * factor), round(size[0] * factor))
    return photo.resize(shape, Image.Resampling.BICUBIC, box=_inside(part, photo))


def _inside(part: Box, photo: Image.Image) -> Box:
    """Rounding may put an edge a hair outside the photo, which Pillow refuses."""
    left, top, right, bottom = part
    return max(0.0, left), max(0.0, top), min(right, photo.width), min(bottom, photo.height)


def _numbers(values: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in values) + ")"
