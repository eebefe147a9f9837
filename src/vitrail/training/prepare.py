"""From labelled images to a run's batches: in memory where they fit, streamed otherwise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitrail.data.dataset import Part, Pictures, Skipped, load_into_memory
from vitrail.data.transforms import eval_transform, train_transform
from vitrail.training.augment import BatchAugment
from vitrail.training.loader import FromMemory, FromSource, Maker, Plan
from vitrail.training.recipe import Recipe


@dataclass(frozen=True, slots=True)
class MemorySource:
    """A source whose pictures lie decoded in memory."""

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


def into_memory(part: Part, size: tuple[int, int], budget: int, skipped: Skipped) -> Part | None:
    """The same part decoded into memory, or None where that is not possible."""
    loaded = load_into_memory(part, size, budget, skipped)
    if loaded is None:
        return None
    kept, pixels = loaded
    names = tuple(part.source.name(int(index)) for index in kept.indices)
    source = MemorySource(part.source.classes, kept.labels, pixels, names)
    return Part(source, np.arange(len(pixels)))


def training_maker(
    part: Part, recipe: Recipe, preprocessing: Any, size: tuple[int, int], plan: Plan
) -> Maker:
    """What makes batches with the recipe's augmentation."""
    if isinstance(part.source, MemorySource) and recipe.crop == "pad":
        augment = BatchAugment(preprocessing, size, recipe)
        return FromMemory(part, part.source.pixels, plan, augment)
    transform = train_transform(
        preprocessing, size, crop=recipe.crop, randaugment=recipe.randaugment, erase=recipe.erase
    )
    return FromSource(Pictures(part, transform), plan)


def validation_pictures(part: Part, preprocessing: Any, size: tuple[int, int]) -> Pictures:
    """Pictures with the model's own preprocessing."""
    return Pictures(part, eval_transform(preprocessing, size))


def target_device() -> torch.device:
    """The device to use when none is named."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
