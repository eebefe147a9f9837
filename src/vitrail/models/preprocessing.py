"""What must happen to an input before a model with given weights sees it."""

import math
from dataclasses import dataclass
from typing import Literal

from vitrail.errors import UsageError, shown
from vitrail.fields import check_fields
from vitrail.shapes import Size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_SAMPLES = 2**28  # of one channel: 16,384 x 16,384


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocessing:
    """The input that a model's weights were made for.

    Args:
        size: lengths of the input along each spatial axis, in samples.
        crop: part of the resized short side that the centre crop keeps, up to 1.
        interpolation: how images are resized.
        mean: subtracted from each channel of an image scaled to 0..1.
        std: divides each channel after that.
        classes: name of each class, if known.
        trained: the weights come from training, not from initialisation.
    Raises:
        UsageError: a value of another type, or one that no input can have.
    """

    size: Size = (224, 224)
    crop: float = 0.9
    interpolation: Literal["bilinear", "bicubic"] = "bicubic"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    classes: tuple[str, ...] | None = None
    trained: bool = False

    def __post_init__(self) -> None:
        # JSON knows lists only; a value read from a file equals the one that was written.
        for name in ("size", "mean", "std", "classes"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        check_fields(self)
        size = self.size
        if not isinstance(size, tuple) or min(size, default=0) < 1 or math.prod(size) > _SAMPLES:
            raise UsageError(
                f"size={shown(size)}",
                f"one length for each axis, at most {_SAMPLES:,} samples together",
                "use size=(224, 224)",
            )
        if not 0 < self.crop <= 1:
            raise UsageError(f"crop={self.crop}", "more than 0, up to 1", "use crop=1.0")
        if len(self.mean) != len(self.std) or min(self.std, default=0) <= 0:
            raise UsageError(
                f"mean={shown(self.mean)}, std={shown(self.std)}",
                "one number each for every channel, deviations above 0",
                f"use mean={IMAGENET_MEAN}, std={IMAGENET_STD}",
            )
