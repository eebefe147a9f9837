"""Inputs of models that segment: read, checked against the task, normalised, moved and shaded."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.data.batch import Sample, Unreadable
from vitrail.data.dataset import Subset
from vitrail.data.images import ImageError, Photo
from vitrail.data.joint import Motion, Shade
from vitrail.data.pairs import KeptPairs, PairSource
from vitrail.data.rng import key
from vitrail.data.volumes import Volume, shown_spacing
from vitrail.errors import UsageError
from vitrail.heads.align import stretched
from vitrail.models import Preprocessing
from vitrail.shapes import Size
from vitrail.tasks.segment_options import SegmentOptions

if TYPE_CHECKING:
    from vitrail.tasks.segment import Segment


class PairSamples:
    """Images or volumes with their labels, whole or moved.

    The key of a sample seeds all that is random about it.
    """

    def __init__(
        self,
        part: Subset[PairSource] | Subset[KeptPairs],
        task: "Segment",
        facts: Preprocessing,
        augment: tuple[Motion, Shade] | None = None,
    ) -> None:
        self.part, self.task, self.facts, self.augment = part, task, facts, augment

    def __len__(self) -> int:
        return len(self.part)

    def __getitem__(self, item: tuple[int, int]) -> Sample | Unreadable:
        position, seed = item
        source, index = self.part.source, int(self.part.indices[position])
        name, task = source.name(index), self.task
        try:
            pair = source.pair(index)
            numbers = task.numbers(pair.labels, name)
        except ImageError as error:
            return Unreadable(name, error.given)
        channels, *spatial = pair.image.shape
        if (len(spatial), channels) != (task.axes, task.channels):
            wanted = f"{task.axes} axes and {task.channels} channels"
            reason = f"{name!r}, of {len(spatial)} axes and {channels} channels among {wanted}"
            return Unreadable(name, reason)
        image = as_samples(pair.image)
        if self.augment is None:
            image = task.normalised(image, self.facts)
        else:
            motion, shade = self.augment
            # Normalised before it is cropped, as it is where whole images are measured.
            image = task.normalised(shade(image, key(seed, 1)), self.facts)
            image, numbers = motion(image, numbers, seed)
        labels = task.targets(numbers)
        target = {"labels": labels, "numbers": numbers, "kind": source.kinds[index]}
        return Sample(image, target, name)


def as_samples(image: np.ndarray) -> Float[Tensor, "channels *spatial"]:
    """Samples between 0 and 1, in float32, of 8-bit ones or such."""
    samples = torch.from_numpy(image)
    return samples / 255 if samples.dtype == torch.uint8 else samples


def samples_of(opened: Photo | Volume) -> Float[Tensor, "channels *spatial"]:
    """Samples between 0 and 1 of what was opened to be predicted."""
    if isinstance(opened, Volume):
        return as_samples(opened.voxels[None])
    return as_samples(np.array(opened.image)).movedim(-1, 0)


def motion_of(task: "Segment", size: Size) -> Motion:
    """How training samples are moved and cropped."""
    own = task.options
    sides = "first" if task.axes == 3 else "last"
    flip = sides if own.flip == "sides" else own.flip
    return Motion(size=size, rotate=own.rotate, scale=own.scale, flip=flip)


def shade_of(task: "Segment") -> Shade:
    """How the intensities of training samples are changed."""
    own = task.options
    return Shade(
        brightness=own.brightness,
        contrast=own.contrast,
        gamma=own.gamma,
        channels=own.channels,
        invert=own.invert,
    )


def resized(
    x: Float[Tensor, "batch channels *spatial"], size: Size
) -> Float[Tensor, "batch channels *resized"]:
    """Resize an input linearly; images with antialiasing, which torch has for these alone."""
    if len(size) == 2:
        return F.interpolate(x, size, mode="bilinear", antialias=True)
    return stretched(x, size)


def one_spacing(found: Counter[tuple[float, ...]], options: SegmentOptions) -> tuple[float, ...]:
    """The spacing of volumes to learn from; none where several are allowed.

    Raises:
        UsageError: there are several.
    """
    if len(found) > 1 and not options.mixed_spacing:
        raise UsageError(
            given=f"volumes of several spacings: {_counts(found)}",
            allowed="one spacing, as nothing is resampled",
            fix="resample them to one, or learn from voxels as they are: --set mixed_spacing=true",
        )
    return next(iter(found)) if len(found) == 1 else ()


def check_form(task: "Segment", source: PairSource) -> None:
    """Refuse data whose axes, channels or spacing are not those that a model learnt from."""
    axes, channels = source.form
    if (axes, channels) != (task.axes, task.channels):
        raise UsageError(
            given=f"data of {axes} axes and {channels} channels, such as {source.name(0)!r}",
            allowed=f"{task.axes} axes and {task.channels} channels, as the model has",
            fix="use a model of such data, or other data",
        )
    wanted = task.options.spacing
    if not wanted or axes != 3:
        return
    others = Counter({one: n for one, n in source.survey.spacings.items() if one != wanted})
    if others:
        raise UsageError(
            given=f"volumes of other spacings: {_counts(others)}",
            allowed=f"{shown_spacing(wanted)}, from which the model learnt; nothing is resampled",
            fix=f"resample them to {shown_spacing(wanted)}, or train with --set mixed_spacing=true",
        )


def _counts(spacings: Counter[tuple[float, ...]]) -> str:
    shown = [f"{count} of {shown_spacing(one)}" for one, count in spacings.most_common(5)]
    return ", ".join(shown) + (", ..." if len(spacings) > 5 else "")
