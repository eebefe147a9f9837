"""Data sets for training and evaluation on top of a source of labelled images."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from vitrail.data.images import ImageError
from vitrail.data.rng import key, permutation
from vitrail.data.sources import Source
from vitrail.errors import UsageError

MAX_SHOWN = 5


@dataclass
class Skipped:
    """Images that could not be read, with the reasons; more than ``limit`` are an error."""

    limit: int
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, error: ImageError) -> None:
        """Count one image, once.

        Raises:
            UsageError: if more than ``limit`` images could not be read.
        """
        self.reasons[name] = error.given
        if len(self.reasons) > self.limit:
            shown = "; ".join(list(self.reasons.values())[:MAX_SHOWN])
            raise UsageError(
                given=f"{len(self.reasons)} unreadable images: {shown}",
                allowed=f"at most {self.limit} unreadable images",
                fix="remove or replace them, or raise --max-bad",
            )


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of a source's images, by their numbers in it."""

    source: Source
    indices: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Class numbers of these images."""
        return self.source.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)


def split(source: Source, fraction: float, seed: int) -> tuple[Subset, Subset]:
    """Cut a source into a training and a validation subset, each class in the same proportion.

    Args:
        source: labelled images.
        fraction: share of each class for validation, in [0, 1).
        seed: decides which images those are.
    Raises:
        UsageError: if a class has too few images to give any to both parts.
    """
    everything = np.arange(len(source.labels))
    if not fraction:
        return Subset(source, everything), Subset(source, everything[:0])
    held = []
    for number, name in enumerate(source.classes):
        members = everything[source.labels == number]
        count = max(1, round(fraction * len(members)))
        if count >= len(members):
            raise UsageError(
                given=f"class {name!r} with {len(members)} image(s) "
                f"and a validation part of {fraction:g}",
                allowed="at least one image of each class in both parts",
                fix="add images, or name validation data with --val",
            )
        held.append(members[permutation(key(seed, 0x5EED, number), len(members))[:count]])
    mask = np.zeros(len(everything), dtype=bool)
    mask[np.concatenate(held)] = True
    return Subset(source, everything[~mask]), Subset(source, everything[mask])


def load_into_memory(
    subset: Subset, size: tuple[int, int], budget: int, skipped: Skipped
) -> tuple[Subset, Tensor] | None:
    """Decode a subset once, when all its pictures have the wanted size and fit the budget.

    Args:
        subset: the images.
        size: (height, width) the model takes.
        budget: bytes.
        skipped: counts images that cannot be read; they are left out.
    Returns:
        The subset without unreadable images and its pictures, uint8 (images, 3, height, width);
        None if the pictures do not fit, differ in size or have another size than wanted.
    """
    if len(subset) * 3 * size[0] * size[1] > budget:
        return None
    pixels = torch.empty(len(subset), 3, *size, dtype=torch.uint8)
    good = []
    for index in subset.indices:
        try:
            image = subset.source.image(int(index))
        except ImageError as error:
            skipped.add(subset.source.name(int(index)), error)
            continue
        if (image.height, image.width) != tuple(size):
            return None
        pixels[len(good)] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        good.append(index)
    return Subset(subset.source, np.asarray(good, dtype=np.int64)), pixels[: len(good)]


class ImageDataset(Dataset[tuple[Tensor | ImageError, int, str]]):
    """Images of a subset, transformed, with their class numbers and names.

    The index of an item is (position, key). The key seeds the transform's random numbers, so that
    an image is the same in whatever process and order it is prepared. In the place of an unreadable
    image stands its error, which the caller counts.
    """

    def __init__(self, subset: Subset, transform: Callable[[Image.Image], Any]) -> None:
        self.subset = subset
        self.transform = transform

    def __len__(self) -> int:
        return len(self.subset)

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor | ImageError, int, str]:
        position, seed = item
        index = int(self.subset.indices[position])
        name, label = self.subset.source.name(index), int(self.subset.source.labels[index])
        try:
            image = self.subset.source.image(index)
        except ImageError as error:
            return error, label, name
        # The transforms draw from the CPU's generator alone; seeding every device's would cost more
        # than a crop.
        torch.default_generator.manual_seed(seed)
        return self.transform(image), label, name
