"""Inputs of models that segment: read, checked against the task, normalised, moved and shaded."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vitrail.data.batch import Sample, Unreadable
from vitrail.data.dataset import Subset
from vitrail.data.images import Encoded, ImageError, Photo, as_photo
from vitrail.data.joint import Motion, Shade
from vitrail.data.pair import Pairs
from vitrail.data.pairs import KeptPairs
from vitrail.data.rasters import (
    Moments,
    Raster,
    decode_array,
    has_tifffile,
    of_array,
    open_raster,
)
from vitrail.data.readers import suffix_of
from vitrail.data.rng import key
from vitrail.data.volumes import Volume, as_volume, shown_spacing
from vitrail.errors import UsageError, shown
from vitrail.heads.align import stretched
from vitrail.models import Preprocessing
from vitrail.shapes import Size
from vitrail.tasks.segment_options import SegmentOptions

if TYPE_CHECKING:
    from vitrail.tasks.segment import Segment


Opened = Photo | Volume | Raster
DEVIATIONS = 4.0
"""Raw samples further from the mean are clipped: so that shading has a range to work in."""


class PairSamples:
    """Images or volumes with their labels, whole or moved.

    The key of a sample seeds all that is random about it.
    """

    def __init__(
        self,
        part: Subset[Pairs] | Subset[KeptPairs],
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
            image = task.normalised(image, self.facts, pair.raw)
        elif pair.raw:
            motion, shade = self.augment
            image = task.normalised(image, self.facts, raw=True) / (2 * DEVIATIONS) + 0.5
            image = (shade(image, key(seed, 1)) - 0.5) * (2 * DEVIATIONS)
            image, numbers = motion(image, numbers, seed)
        else:
            motion, shade = self.augment
            # Normalised before it is cropped, as it is where whole images are measured.
            image = task.normalised(shade(image, key(seed, 1)), self.facts)
            image, numbers = motion(image, numbers, seed)
        labels = task.targets(numbers)
        target = {"labels": labels, "numbers": numbers, "kind": source.kinds[index]}
        return Sample(image, target, name)


def as_samples(image: np.ndarray) -> Float[Tensor, "channels *spatial"]:
    """Samples in float32: between 0 and 1 of 8-bit ones, others as they are."""
    if image.dtype == np.uint8:
        return torch.from_numpy(image) / 255
    return torch.from_numpy(np.asarray(image, np.float32))


def standardised(
    image: Float[Tensor, "channels *spatial"],
    mean: Sequence[float],
    std: Sequence[float],
    raw: bool,
) -> Float[Tensor, "channels *spatial"]:
    """Subtract the mean of each channel, or the one of all, and divide by the deviation."""
    shape = (-1, *(1,) * (image.ndim - 1))
    found = (image - torch.tensor(mean).reshape(shape)) / torch.tensor(std).reshape(shape)
    return found.clamp(-DEVIATIONS, DEVIATIONS) if raw else found


def moments_of(part: Subset[Pairs]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of the images that can be read.

    Raises:
        ImageError: images of several numbers of channels.
    """
    moments, source = Moments(), part.source
    for index in map(int, part.indices):
        try:
            image = source.image(index).samples
        except ImageError:  # reported where it is read to be learnt from
            continue
        if len(image) == source.form.channels:
            moments.add(image / np.float32(255) if image.dtype == np.uint8 else image)
    return moments.result()


def open_input(input: Any, axes: int, channels: int) -> Opened:
    """Open what a user gives to a model.

    Args:
        input: a file (a picture, NIfTI, TIFF, .npy), its bytes, a picture or volume in memory, or
            an array (channels, *spatial).
        axes: of the model's input.
        channels: likewise.
    Raises:
        ImageError: it cannot be read, or is of another kind.
    """
    name = input.name if isinstance(input, Encoded) else input
    ending = suffix_of(os.fspath(name)) if isinstance(name, str | os.PathLike) else ""
    shape: Any = getattr(input, "shape", ())
    pictured = (axes, channels) == (2, 3)
    if ending in (".npy", ".npz"):
        return _of_channels(of_array(decode_array(_content(input), str(name)), str(name)), channels)
    if len(shape) == axes + 1 and shape[0] == channels and not pictured:
        return of_array(input.numpy() if isinstance(input, Tensor) else input, "an array")
    if axes == 3:
        return as_volume(input)
    if axes == 2 and ending in (".tif", ".tiff") and (has_tifffile() or not pictured):
        content = input.data if isinstance(input, Encoded) else os.fspath(input)
        raster = open_raster(content, str(name))
        if not (pictured and raster.plain):
            return _of_channels(raster, channels)
    if pictured:
        return as_photo(input)
    raise ImageError(
        given=f"{shown(input)}, for a model of {axes} axes and {channels} channels",
        allowed="an array (channels, *spatial), a .npy file" + ", a TIFF" * (axes == 2),
        fix="give the file or the array that has all channels",
    )


def _of_channels(raster: Raster, channels: int) -> Raster:
    if raster.shape[0] == channels:
        return raster
    raise ImageError(
        given=f"{raster.name!r}, of {raster.shape[0]} channels",
        allowed=f"{channels} channels, as the model has",
        fix="use a model of such data, or the channels that it learnt from",
    )


def _content(input: Any) -> bytes:
    if isinstance(input, Encoded):
        return input.data
    try:
        return Path(input).read_bytes()
    except OSError as error:
        raise ImageError(
            given=f"{os.fspath(input)!r}, which cannot be read ({error.strerror or error})",
            allowed="a readable .npy file",
            fix="check the path; relative paths start at the current folder",
        ) from None


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


def check_form(task: "Segment", source: Pairs) -> None:
    """Refuse data whose axes, channels or spacing are not those that a model learnt from."""
    axes, channels, _ = source.form
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
