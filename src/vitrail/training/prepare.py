"""From labelled images to a run's batches: in memory where they fit, streamed otherwise."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from vitrail.data.dataset import ImageDataset, Skipped, Subset, load_into_memory
from vitrail.data.transforms import eval_transform, train_transform
from vitrail.errors import UsageError
from vitrail.training.augment import BatchAugment
from vitrail.training.loader import BatchSource, FromMemory, FromSource, Plan
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


def image_size(model: Any, size: tuple[int, int] | None) -> tuple[int, int]:
    """The (height, width) that a model is trained at.

    Raises:
        UsageError: if the model does not take colour images, or does not classify them.
    """
    name = model.name or type(model).__name__
    if not model.takes_photos:
        raise UsageError(
            given=f"{name}, whose input has {model.config.axes} axes "
            f"and {model.config.in_channels} channels, to train on images",
            allowed="a model with 2 axes and 3 channels",
            fix="use --model swin_nano or another that `vitrail list` shows with HxW",
        )
    if model.bare or not model.global_pool:
        raise UsageError(
            given=f"{name}, which returns {'maps' if model.bare else 'tokens'}, to train as a "
            "classifier",
            allowed="a model that pools its tokens and has a head",
            fix="use the checkpoint of a classifier, or a name out of `vitrail list`",
        )
    height, width = size or model.preprocessing.size
    return height, width


def into_memory(
    subset: Subset, size: tuple[int, int], budget: int, skipped: Skipped
) -> Subset | None:
    """The same images decoded into memory, or None where that is not possible."""
    loaded = load_into_memory(subset, size, budget, skipped)
    if loaded is None:
        return None
    kept, pixels = loaded
    names = tuple(subset.source.name(int(index)) for index in kept.indices)
    source = MemorySource(subset.source.classes, kept.labels, pixels, names)
    return Subset(source, np.arange(len(pixels)))


def batch_source(
    subset: Subset, recipe: Recipe, preprocessing: Any, size: tuple[int, int], plan: Plan
) -> BatchSource:
    """What makes batches with the recipe's augmentation."""
    if isinstance(subset.source, MemorySource) and recipe.crop == "pad":
        augment = BatchAugment(preprocessing, size, recipe)
        return FromMemory(subset, subset.source.pixels, plan, augment)
    transform = train_transform(
        preprocessing, size, crop=recipe.crop, randaugment=recipe.randaugment, erase=recipe.erase
    )
    return FromSource(ImageDataset(subset, transform), plan)


def validation_dataset(subset: Subset, preprocessing: Any, size: tuple[int, int]) -> ImageDataset:
    """Images with the model's own preprocessing."""
    return ImageDataset(subset, eval_transform(preprocessing, size))
