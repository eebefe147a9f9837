"""What detection may do otherwise than by default."""

from dataclasses import dataclass

from vitrail.data.joint import Flip
from vitrail.errors import UsageError
from vitrail.tasks.segment_options import UNUSED

__all__ = ["UNUSED", "DetectOptions"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectOptions:
    """What detection may do otherwise.

    Args:
        score: least score of a box in a prediction; measures take all that the head returns.
        flip: axes that are flipped: none, last (left and right), or all.
        scale: largest enlargement, and its inverse the least.
        visible: an object of which less than this share is left in a training input is none.
        brightness: most that is added to an image, whose samples are from 0 to 1.
        contrast: largest factor of the contrast.
        gamma: largest exponent.
        channels: whether the order of the channels is drawn too.
    Raises:
        UsageError: a value that cannot be.
    """

    score: float = 0.3
    flip: Flip = "last"
    scale: float = 1.25
    visible: float = 0.3
    brightness: float = 0.1
    contrast: float = 1.25
    gamma: float = 1.25
    channels: bool = False

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(
                    f"{name}={value!r}",
                    f"from {low:g} to {high:g}",
                    f"leave {name} out, or use {name}={low:g}",
                )


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("score", 0, 1),
    ("scale", 1, 8),
    ("visible", 0, 1),
    ("brightness", 0, 1),
    ("contrast", 1, 8),
    ("gamma", 1, 8),
)
