"""What must happen to an input before a model with given weights sees it."""

from dataclasses import dataclass
from typing import Literal

from vitrail.shapes import Size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


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
