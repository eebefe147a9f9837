"""Data sets for training and evaluation: parts of a source, in memory or read as needed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitrail.data.batch import Sample, Unreadable
from vitrail.data.images import ImageError
from vitrail.data.rng import key, permutation
from vitrail.data.sources import LabelledImages, Source
from vitrail.errors import UsageError

MAX_SHOWN = 5

S = TypeVar("S", bound=Source, covariant=True)


@dataclass
class Skipped:
    """Images that could not be read, with the reasons; more than ``limit`` are an error."""

    limit: int
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, unreadable: Unreadable) -> None:
        """Count one image, once.

        Raises:
            UsageError: if more than ``limit`` images could not be read.
        """
        self.reasons[unreadable.name] = unreadable.reason
        if len(self.reasons) > self.limit:
            shown = "; ".join(list(self.reasons.values())[:MAX_SHOWN])
            raise UsageError(
                given=f"{len(self.reasons)} unreadable images: {shown}",
                allowed=f"at most {self.limit} unreadable images",
                fix="remove or replace them, or raise --max-bad",
            )


@dataclass(frozen=True, slots=True)
class Subset(Generic[S]):
    """Some of what a source has, by numbers in it."""

    source: S
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)


def split(
    source: LabelledImages, fraction: float, seed: int
) -> tuple[Subset[LabelledImages], Subset[LabelledImages]]:
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


@dataclass(frozen=True, slots=True)
class MemorySource:
    """Labelled images that lie decoded in memory."""

    classes: tuple[str, ...]
    labels: np.ndarray
    pixels: Tensor
    names: tuple[str, ...]

    def name(self, index: int) -> str:
        """Its name in the source it was read from."""
        return self.names[index]

    def image(self, index: int) -> Any:
        """The picture as a uint8 tensor, which the transforms take like a PIL picture."""
        return self.pixels[index]


def load_into_memory(
    part: Subset[LabelledImages], size: tuple[int, int], budget: int, skipped: Skipped
) -> Subset[MemorySource] | None:
    """Decode images once, when all of them have the wanted size and fit the budget.

    Args:
        part: the images.
        size: (height, width) the model takes.
        budget: bytes.
        skipped: counts images that cannot be read; they are left out.
    Returns:
        The images that can be read, ``source.pixels`` being uint8 (images, 3, height, width);
        None if they do not fit, differ in size or have another size than wanted.
    """
    if len(part) * 3 * size[0] * size[1] > budget:
        return None
    pixels = torch.empty(len(part), 3, *size, dtype=torch.uint8)
    source, good = part.source, []
    for index in map(int, part.indices):
        try:
            image = source.image(index)
        except ImageError as error:
            skipped.add(Unreadable(source.name(index), error.given))
            continue
        if (image.height, image.width) != tuple(size):
            return None
        pixels[len(good)] = torch.from_numpy(np.array(image)).permute(2, 0, 1)
        good.append(index)
    labels = source.labels[np.asarray(good, dtype=np.int64)]
    names = tuple(map(source.name, good))
    kept = MemorySource(source.classes, labels, pixels[: len(good)], names)
    return Subset(kept, np.arange(len(good)))


class ImageSamples:
    """A part's images, transformed, with their class numbers.

    The index of a sample is (position, key). The key seeds the transform's random numbers, so that
    an image is the same in whatever process and order it is prepared.
    """

    def __init__(
        self, part: Subset[LabelledImages], transform: Callable[[Image.Image], Any]
    ) -> None:
        self.part = part
        self.transform = transform

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, item: tuple[int, int]) -> Sample | Unreadable:
        position, seed = item
        source, index = self.part.source, int(self.part.indices[position])
        try:
            image = source.image(index)
        except ImageError as error:
            return Unreadable(source.name(index), error.given)
        # The transforms draw from the CPU's generator alone; seeding every device's would cost more
        # than a crop.
        torch.default_generator.manual_seed(seed)
        return Sample(self.transform(image), int(source.labels[index]), source.name(index))
