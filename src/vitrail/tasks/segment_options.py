"""What segmentation may do otherwise than by default."""

from dataclasses import dataclass
from typing import Literal

from vitrail.data.images import MAX_LABEL
from vitrail.errors import UsageError
from vitrail.tasks.instances import CLASSES
from vitrail.tasks.tiles import MAX_OVERLAP

IMAGE_TILE, VOLUME_TILE = 512, 96
UNUSED = (
    *("smoothing", "mixup", "cutmix", "mix_probability"),
    *("crop", "randaugment", "erase"),
)
"""Fields of the recipe that are of classification."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentOptions:
    """What segmentation may do otherwise.

    Args:
        classes: names of the classes; by default those of classes.txt, or one for each label.
        values: the label of each class; by default 0, 1, 2, ..., or the labels that occur.
        colours: of each class as #rrggbb, for pictures; by default those of the label maps.
        ignore: a label that counts nowhere, or none.
        background: whether class 0 is what remains, and left out of the mean Dice.
        instances: the labels number objects, 0 being the background. The model learns background,
            inside and border, and objects are made of these.
        border: width of an object's border, in samples.
        least: objects of fewer samples are left out of a prediction.
        normalise: each image by its own mean and deviation ("image"), by those of the model's
            weights ("fixed"), or by those of each channel of the training data ("data"). "auto" is
            "image", and "data" where samples are neither of 8 bits nor volumes.
        dice: weight of the Dice loss beside the cross-entropy.
        class_weights: of each class in the cross-entropy.
        flip: axes that are flipped: sides (left and right: the last axis of an image, the first of
            a volume), none, first, last, or all.
        rotate: largest angle, in degrees.
        scale: largest enlargement.
        brightness: most that is added to an image, whose samples are from 0 to 1.
        contrast: largest factor of the contrast.
        gamma: largest exponent.
        channels: whether the order of the channels is drawn too.
        invert: share of the images in which light and dark are exchanged.
        tile: inputs longer than that are predicted by tiles, in samples; by default 512 of images,
            96 of volumes.
        overlap: share of a tile that its neighbour has too.
        spacing: lengths of a voxel of the volumes that were learnt from, in mm; known from the
            data.
        mixed_spacing: learn from volumes of several spacings, as they are.
    Raises:
        UsageError: a value that cannot be.
    """

    classes: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    colours: tuple[str, ...] = ()
    ignore: int | None = 255
    background: bool = True
    instances: bool = False
    border: int = 2
    least: int = 10
    normalise: Literal["auto", "image", "fixed", "data"] = "auto"
    dice: float = 1.0
    class_weights: tuple[float, ...] = ()
    flip: Literal["sides", "none", "first", "last", "all"] = "sides"
    rotate: float = 10.0
    scale: float = 1.25
    brightness: float = 0.1
    contrast: float = 1.25
    gamma: float = 1.25
    channels: bool = False
    invert: float = 0.0
    tile: int | None = None
    overlap: float = 0.25
    spacing: tuple[float, ...] = ()
    mixed_spacing: bool = False

    def __post_init__(self) -> None:
        for name, low, high in _RANGES:
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if any(one is not None and not low <= one <= high for one in values):
                raise UsageError(
                    f"{name}={value!r}",
                    f"from {low:g} to {high:g}",
                    f"leave {name} out, or use {name}={low:g}",
                )
        odd = [colour for colour in self.colours if not _is_colour(colour)]
        if odd:
            raise UsageError(f"colours={odd[0]}", "#rrggbb each", "use colours=#000000,#ff0000")
        own = {"classes": self.classes, "values": self.values}
        for name, value in own.items():
            if len(set(value)) < len(value) or len(value) == 1:
                raise UsageError(
                    f"{name}={','.join(map(str, value))}",
                    "two different ones at least",
                    f"leave {name} out, or name each class once",
                )
        counted = own | {"colours": self.colours, "class_weights": self.class_weights}
        if self.instances:
            counted |= {"the objects' classes": CLASSES}
        lengths = {name: len(value) for name, value in counted.items() if value}
        if len(set(lengths.values())) > 1:
            raise UsageError(
                " and ".join(f"{count} {name}" for name, count in lengths.items()),
                "one for each class",
                "give as many of each, or leave some out",
            )


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("ignore", 0, MAX_LABEL),
    ("values", 0, MAX_LABEL),
    ("border", 1, 64),
    ("least", 0, 1e9),
    ("dice", 0, 1e3),
    ("class_weights", 0, 1e6),
    ("rotate", 0, 180),
    ("scale", 1, 8),
    ("brightness", 0, 1),
    ("contrast", 1, 8),
    ("gamma", 1, 8),
    ("invert", 0, 1),
    ("tile", 8, 1e5),
    ("overlap", 0, MAX_OVERLAP),
    ("spacing", 1e-6, 1e6),
)


def _is_colour(text: str) -> bool:
    digits = text.lstrip("#")
    return len(digits) == 6 and all(c in "0123456789abcdefABCDEF" for c in digits)
