"""Augmentation of whole batches: cheap where pictures already lie in memory, and mixing of
pictures.
"""

from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor
from torchvision.transforms import v2

from vitrail.data.rng import key, uniforms
from vitrail.data.transforms import rand_augment

GROUP = 32
"""Images that share one draw of RandAugment, mixup or CutMix. A process' share of a batch is cut
into groups from its start, so a batch means the same on one process and on several whenever their
shares are multiples of it."""


@runtime_checkable
class Augmentation(Protocol):
    """What of a training recipe decides how pictures are augmented."""

    @property
    def crop(self) -> str:
        """Either "resized" for random resized crops, "pad" to pad and crop."""
        ...

    @property
    def randaugment(self) -> int:
        """Magnitude of RandAugment; 0 for none."""
        ...

    @property
    def erase(self) -> float:
        """Probability of random erasing."""
        ...

    @property
    def mixup(self) -> float:
        """Parameter of mixup's beta distribution; 0 for none."""
        ...

    @property
    def cutmix(self) -> float:
        """Parameter of CutMix's beta distribution; 0 for none."""
        ...

    @property
    def mix_probability(self) -> float:
        """Share of the groups of images that mixup or CutMix is applied to."""
        ...


def crop_and_flip(
    pixels: UInt8[Tensor, "batch channels height width"],
    draws: np.ndarray,
    margin: tuple[int, int],
) -> UInt8[Tensor, "batch channels height width"]:
    """Shift every picture by its own offset, black moving in, and mirror half of them.

    Args:
        pixels: pictures, black outside.
        draws: (batch, 3) numbers in [0, 1): offset along height, along width, mirror below one
            half.
        margin: largest offset along height and width, in pixels.
    """
    batch, _, height, width = pixels.shape
    rows, columns = (
        torch.from_numpy((draws[:, axis] * (2 * margin[axis] + 1)).astype(np.int64))
        for axis in (0, 1)
    )
    mirrored = torch.from_numpy(draws[:, 2] < 0.5)
    padded = torch.nn.functional.pad(pixels, (margin[1], margin[1], margin[0], margin[0]))
    across = torch.arange(width).expand(batch, width)
    across = torch.where(mirrored[:, None], across.flip(1), across) + columns[:, None]
    down = torch.arange(height) + rows[:, None]
    which = torch.arange(batch)[:, None, None]
    # Indexing with three tensors puts their axes first, hence channels come last here.
    return padded.permute(0, 2, 3, 1)[which, down[:, :, None], across[:, None, :]].permute(
        0, 3, 1, 2
    )


class BatchAugment:
    """The recipe's augmentation for pictures that lie in memory at the model's own size."""

    def __init__(self, preprocessing: Any, size: tuple[int, int], recipe: Augmentation) -> None:
        self.margin = (size[0] // 8, size[1] // 8)
        self.randaugment = rand_augment(recipe.randaugment) if recipe.randaugment else None
        self.erase = recipe.erase
        self.eraser = v2.RandomErasing(p=1.0)
        # Whole-batch arithmetic with two constants is several times cheaper than ToDtype and
        # Normalize.
        std = torch.tensor(preprocessing.std).view(1, -1, 1, 1)
        self.scale = 1.0 / (255.0 * std)
        self.offset = -torch.tensor(preprocessing.mean).view(1, -1, 1, 1) / std

    def __call__(
        self, pixels: UInt8[Tensor, "batch 3 height width"], indices: np.ndarray, seed: int
    ) -> Float[Tensor, "batch 3 height width"]:
        """Augment and normalise.

        Args:
            pixels: pictures.
            indices: the pictures' numbers in the data set; crop, flip and erasing depend on them
                and the seed alone.
            seed: key of the epoch.
        Returns:
            float32 pictures.
        """
        draws = uniforms(seed, indices, 4)
        pixels = crop_and_flip(pixels, draws, self.margin)
        if self.randaugment is not None:
            groups = pixels.split(GROUP)
            pixels = torch.cat(
                [self._rand(g, seed, int(indices[i * GROUP])) for i, g in enumerate(groups)]
            )
        images = torch.addcmul(self.offset, pixels.to(torch.float32), self.scale)
        for row in np.flatnonzero(draws[:, 3] < self.erase):
            torch.default_generator.manual_seed(key(seed, int(indices[row]), 0xE2A5E))
            images[row] = self.eraser(images[row])
        return images

    def _rand(self, group: Tensor, seed: int, first: int) -> Tensor:
        assert self.randaugment is not None
        torch.default_generator.manual_seed(key(seed, first, 0x2A4D))
        return self.randaugment(group)


class Mix:
    """Mixup or CutMix, drawn anew for each group of pictures."""

    def __init__(self, recipe: Augmentation, classes: int) -> None:
        self.classes = classes
        self.probability = recipe.mix_probability
        ways: list[v2.Transform] = []
        if recipe.mixup:
            ways.append(v2.MixUp(alpha=recipe.mixup, num_classes=classes))
        if recipe.cutmix:
            ways.append(v2.CutMix(alpha=recipe.cutmix, num_classes=classes))
        self.ways = ways

    def __call__(
        self,
        images: Float[Tensor, "batch channels height width"],
        labels: Int64[Tensor, "batch"],
        seed: int,
        first: int = 0,
    ) -> tuple[Float[Tensor, "batch channels height width"], Float[Tensor, "batch classes"]]:
        """Mix pictures of one group with one another.

        Args:
            images: normalised pictures.
            labels: their class numbers.
            seed: key of the step.
            first: place of these images in the whole batch, over all processes.
        Returns:
            Images and target probabilities (batch, classes).
        """
        one_hot = torch.nn.functional.one_hot(labels, self.classes).to(images.dtype)
        if not self.ways:
            return images, one_hot
        mixed, targets = [], []
        starts = np.arange(0, len(labels), GROUP)  # in these images
        draws = uniforms(seed, starts + first, 2)
        for start, (apply, way) in zip(starts, draws, strict=True):
            part = slice(int(start), int(start) + GROUP)
            if apply >= self.probability:
                mixed.append(images[part])
                targets.append(one_hot[part])
                continue
            torch.default_generator.manual_seed(key(seed, first + int(start)))
            image, target = self.ways[int(way * len(self.ways))](images[part], labels[part])
            mixed.append(image)
            targets.append(target)
        return torch.cat(mixed), torch.cat(targets)
