"""Augmentation of an image together with the boxes and masks of its objects.

torchvision's v2 operations move the image, its boxes and its masks alike. Everything random depends
on the key alone.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from vitrail.data.joint import Flip
from vitrail.data.rng import uniforms
from vitrail.shapes import Size


class Moved(NamedTuple):
    """An image of the model's size, with the objects that are left in it.

    Args:
        image: what of it is not covered is 0.
        boxes: left, top, right and bottom in samples.
        kept: numbers of the objects that they are of.
        masks: of these objects, where there are such.
    """

    image: Float[Tensor, "channels height width"]
    boxes: Float[Tensor, "objects 4"]
    kept: Int64[Tensor, "objects"]
    masks: UInt8[Tensor, "objects height width"] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxMotion:
    """How an image and its objects are moved.

    Args:
        size: height and width of the input, in which the image fits if it is not enlarged.
        scale: largest factor of enlargement, and its inverse the least.
        flip: which axes are flipped in half of the cases: none, the last one (left and right), or
            all.
        visible: an object of which less than this share is left in the input is none.
    """

    size: Size
    scale: float = 1.0
    flip: Flip = "none"
    visible: float = 0.3

    def __call__(
        self,
        image: Float[Tensor, "channels tall wide"],
        boxes: Float[Tensor, "all_objects 4"],
        masks: UInt8[Tensor, "all_objects tall wide"] | None,
        seed: int,
    ) -> Moved:
        """Move all.

        Args:
            image: of any size.
            boxes: left, top, right and bottom of each object, within the image.
            masks: of each object, if they are wanted.
            seed: key of the sample.
        """
        factor, *draws = uniforms(seed, np.zeros(1), 5)[0].tolist()
        flips = {"none": (), "last": (1,), "all": (0, 1)}[self.flip]
        flipped = tuple(n for n in flips if draws[n] < 0.5)
        lengths = fitted(tuple(image.shape[1:]), self.size, self.scale ** (1 - 2 * factor))
        room = [have - want for have, want in zip(lengths, self.size, strict=True)]
        # A part of an enlarged image; a reduced one lies anywhere in the input.
        first = tuple(
            int(draw * (abs(n) + 1)) * (1 if n > 0 else -1)
            for n, draw in zip(room, draws[2:], strict=True)
        )
        return moved(image, boxes, masks, lengths, first, self.size, flipped, self.visible)


def fitted(image: Size, size: Size, factor: float = 1.0) -> Size:
    """Return the lengths at which an image fits in a size in its own proportions, times a factor.

    Args:
        image: height and width of the image.
        size: of the input.
        factor: of enlargement.
    """
    scale = factor * min(n / length for n, length in zip(size, image, strict=True))
    return tuple(max(1, round(length * scale)) for length in image)


def moved(
    image: Float[Tensor, "channels tall wide"],
    boxes: Float[Tensor, "all_objects 4"],
    masks: UInt8[Tensor, "all_objects tall wide"] | None,
    lengths: Size,
    first: Size = (0, 0),
    size: Size | None = None,
    flipped: tuple[int, ...] = (),
    visible: float = 0.0,
) -> Moved:
    """Flip, resize and cut an image and its objects.

    Args:
        image: of any size.
        boxes: of its objects.
        masks: of its objects, if they are wanted.
        lengths: height and width to make of the image.
        first: row and column of these at which the input begins; it may begin before.
        size: height and width of the input; default ``lengths``.
        flipped: axes that are flipped: 0 up and down, 1 left and right.
        visible: an object of which less than this share is left is none.
    """
    from torchvision import tv_tensors
    from torchvision.transforms.v2 import functional as move

    whole = tuple(image.shape[1:])
    frame: dict[str, Any] = {"format": "XYXY", "canvas_size": whole}
    parts: list[Any] = [tv_tensors.Image(image), tv_tensors.BoundingBoxes(boxes, **frame)]
    parts += [] if masks is None else [tv_tensors.Mask(masks)]
    for axis in flipped:
        turn = (move.vertical_flip, move.horizontal_flip)[axis]
        parts = [turn(part) for part in parts]
    parts = [move.resize(part, list(lengths), antialias=True) for part in parts]
    before = _areas(parts[1].as_subclass(torch.Tensor))
    parts = [move.crop(part, *first, *(size or lengths)) for part in parts]
    new, *more = (part.as_subclass(torch.Tensor) for part in parts[1:])
    sides = new[:, 2:] - new[:, :2]
    good = (sides >= 1).all(1) & (_areas(new) >= visible * before)
    kept = good.nonzero().flatten()
    left = more[0][kept] if more else None
    return Moved(parts[0].as_subclass(torch.Tensor), new[kept], kept, left)


def _areas(boxes: Float[Tensor, "objects 4"]) -> Float[Tensor, "objects"]:
    return (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(1)
