"""What a file of annotations lists: images, and the boxes of the objects in each."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int64

from vitrail.errors import UsageError, shown
from vitrail.shapes import Size

_ROUNDING = 0.01  # pixels by which sums of decimal numbers may exceed an edge
MAX_SIDE = 1 << 20  # pixels of a listed width or height


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The objects in an image.

    Args:
        boxes: left, top, right and bottom of each in pixels, where pixel 0 covers 0 to 1.
        labels: number of each one's class.
        crowd: whether it stands for several, or is too difficult: not learnt, and counted neither
            as found nor as missed.
        shapes: outline of each, as it is stored; None for none.
    """

    boxes: Float32[np.ndarray, "objects 4"]
    labels: Int64[np.ndarray, "objects"]
    crowd: Bool[np.ndarray, "objects"]
    shapes: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, slots=True)
class Listed:
    """An image in a list.

    Args:
        file: its name as it is listed.
        size: height and width in pixels.
        objects: what is in it; nothing is a fact too.
    """

    file: str
    size: Size
    objects: Objects


@dataclass(slots=True)
class Listing:
    """Images with their objects.

    Args:
        classes: names of the classes, in the order of their numbers.
        images: in the order of the file.
        flaws: how many boxes were cut or left out, by the reason, and one of them.
    """

    classes: tuple[str, ...]
    images: list[Listed] = field(default_factory=list)
    flaws: dict[str, tuple[int, str]] = field(default_factory=dict)

    def flaw(self, reason: str, where: str) -> None:
        """Count one."""
        count, first = self.flaws.get(reason, (0, where))
        self.flaws[reason] = count + 1, first

    def add(self, file: str, size: Size, rows: Iterable[tuple[Any, int, bool, Any]]) -> None:
        """Add an image.

        A box that extends beyond its image is cut; one that has no area, or none within the image,
        is left out. Both are counted.

        Args:
            file: its name.
            size: height and width.
            rows: of each object the corners of its box, the number of its class, whether it is a
                crowd, and its outline.
        """
        kept = []
        height, width = size
        for box, label, crowd, shape in rows:
            left, top, right, bottom = box
            inside = (
                *(min(max(left, 0.0), width), min(max(top, 0.0), height)),
                *(min(max(right, 0.0), width), min(max(bottom, 0.0), height)),
            )
            where = f"{file} has {shown(tuple(round(n, 2) for n in box))}"
            if not (right > left and bottom > top):
                self.flaw("of no area left out", where)
            elif not (inside[2] > inside[0] and inside[3] > inside[1]):
                self.flaw("outside their images left out", where)
            else:
                if max(abs(a - b) for a, b in zip(inside, box, strict=True)) > _ROUNDING:
                    self.flaw("cut at the edges of their images", where)
                kept.append((inside, label, crowd, shape))
        boxes, labels, crowds, shapes = zip(*kept, strict=True) if kept else ((), (), (), ())
        objects = Objects(
            np.array(boxes, dtype=np.float32).reshape(-1, 4),
            np.array(labels, dtype=np.int64),
            np.array(crowds, dtype=bool),
            tuple(shapes),
        )
        self.images.append(Listed(file, size, objects))


def length(value: Any, what: str, name: str) -> int:
    """Return a listed width or height.

    Raises:
        UsageError: it is no whole number of pixels.
    """
    if type(value) is not int or not 0 < value <= MAX_SIDE:
        raise UsageError(
            given=f"{name}, with {what}={shown(value)}",
            allowed=f"whole numbers of pixels from 1 to {MAX_SIDE:,}",
            fix="write the size of the picture there",
        )
    return value
