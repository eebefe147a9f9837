"""Objects from maps of classes and back: background, inside and border, of any rank."""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64, Integer
from torch import Tensor
from torch.nn import functional as F

from vitrail.extras import missing_extra

BACKGROUND, INSIDE, BORDER = 0, 1, 2
CLASSES = ("background", "inside", "border")


class Matches(NamedTuple):
    """How the objects of one input were found.

    Args:
        found: predicted objects that share more than half of their union with a true one.
        extra: the other predicted objects.
        missed: the other true objects.
    """

    found: int
    extra: int
    missed: int

    @property
    def precision(self) -> float:
        """The average precision of the Data Science Bowl 2018 at an IoU of 0.5, which is
        found / (found + extra + missed); 1 where there is no object at all.
        """
        total = sum(self)
        return self.found / total if total else 1.0


def with_borders(objects: Int64[Tensor, "*spatial"], border: int) -> Int64[Tensor, "*spatial"]:
    """Number background, inside and border of objects.

    The border belongs to the object: it is what lies at most ``border`` samples from another
    number, diagonals included. An object without an inside by that has a thinner border, or none.
    Where an object meets the end of the input, it has no border.

    Args:
        objects: 0 for the background, another number for each object.
        border: width in samples.
    """
    numbers = objects[None, None].float()
    inside = torch.zeros_like(objects, dtype=torch.bool)
    for width in range(border, -1, -1):
        free = _far_from_others(numbers, width) & (objects > 0)
        if width == border:
            inside = free
            continue
        without = torch.ones(int(objects.max()) + 1, dtype=torch.bool)
        without[objects[inside]] = False
        without[BACKGROUND] = False
        if not without[objects].any():
            break
        inside |= free & without[objects]
    return torch.where(objects == 0, BACKGROUND, torch.where(inside, INSIDE, BORDER))


def _far_from_others(
    numbers: Float[Tensor, "1 1 *spatial"], width: int
) -> Bool[Tensor, "*spatial"]:
    """Where all of the box that reaches ``width`` to each side has one number."""
    pools = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
    pool = pools[numbers.ndim - 3]
    side = 2 * width + 1
    highest = pool(numbers, side, 1, width)
    lowest = -pool(-numbers, side, 1, width)
    return ((highest == numbers) & (lowest == numbers))[0, 0]


def objects_of(
    labels: Integer[np.ndarray, "*spatial"], inside: Float[np.ndarray, "*spatial"], least: int
) -> Integer[np.ndarray, "*spatial"]:
    """Number the objects in a map of background, inside and border.

    Each connected inside is an object and grows over the border around it, from where the inside is
    most probable (a watershed).

    Args:
        labels: background, inside or border.
        inside: probability of the inside.
        least: objects of fewer samples are left out.
    Returns:
        0 for the background, 1 and so on for the objects.
    Raises:
        UsageError: scikit-image is not there.
    """
    measure, segmentation = scikit_image()
    seeds = measure.label(labels == INSIDE)
    grown = segmentation.watershed(-inside, seeds, mask=labels != BACKGROUND)
    sizes = np.bincount(grown.ravel())
    kept = sizes >= least
    kept[0] = False
    numbers = np.zeros(len(sizes), dtype=np.int64)
    numbers[kept] = np.arange(1, kept.sum() + 1)
    return numbers[grown]


def match(true: Integer[np.ndarray, "*spatial"], found: Integer[np.ndarray, "*spatial"]) -> Matches:
    """Compare objects at an IoU above 0.5, at which no object has two partners.

    Args:
        true: 0 for the background, any other number for an object.
        found: likewise.
    """
    (ours, areas), (theirs, wanted) = (
        np.unique(numbers[numbers > 0], return_counts=True) for numbers in (found, true)
    )
    both = (true > 0) & (found > 0)
    pairs, shared = np.unique(
        np.stack([found[both], true[both]]).astype(np.int64), axis=1, return_counts=True
    )
    union = (
        areas[np.searchsorted(ours, pairs[0])] + wanted[np.searchsorted(theirs, pairs[1])] - shared
    )
    hits = int((2 * shared > union).sum())
    return Matches(hits, len(ours) - hits, len(theirs) - hits)


def scikit_image() -> tuple[Any, Any]:
    """Return what of scikit-image is used: its modules ``measure`` and ``segmentation``.

    Raises:
        UsageError: it is not there.
    """
    try:
        from skimage import measure, segmentation
    except ImportError:
        raise missing_extra("objects without the package scikit-image", "segment") from None
    return measure, segmentation


def extents_of(labels: Integer[np.ndarray, "*spatial"]) -> Float[np.ndarray, "objects axes"]:
    """Lengths along each axis of what hangs together under one label that is not 0.

    Raises:
        UsageError: scikit-image is not there.
    """
    measure, _ = scikit_image()
    parts = measure.regionprops(measure.label(labels, background=0))
    axes = labels.ndim
    boxes = np.array([part.bbox for part in parts], dtype=np.float64).reshape(-1, 2 * axes)
    return boxes[:, axes:] - boxes[:, :axes]
