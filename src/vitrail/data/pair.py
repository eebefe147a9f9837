"""An input with a label map, and many of them, wherever they lie."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt16

from vitrail.data.images import MAX_LABEL, ImageError, LabelPicture
from vitrail.data.readers import Picture
from vitrail.data.volumes import misplaced, spacing_of


@dataclass(frozen=True, slots=True)
class Pair:
    """An input with a number at each of its places.

    Args:
        image: channels first; samples of 8 bits, or from 0 to 1, if it is not raw.
        labels: as they are stored.
        colours: red, green and blue of the numbers from 0 on, where the file has them.
        raw: samples have a range of their own.
    """

    image: Shaped[np.ndarray, "channels *spatial"]
    labels: UInt16[np.ndarray, "*spatial"]
    colours: tuple[tuple[int, int, int], ...] = ()
    raw: bool = False


class Form(NamedTuple):
    """What images are like.

    Args:
        axes: how many spatial axes.
        channels: how many.
        raw: whether samples have a range of their own.
    """

    axes: int
    channels: int
    raw: bool


class Survey(NamedTuple):
    """What all label maps together hold; those that cannot be read are left out.

    Args:
        numbers: that occur, sorted.
        colours: the first palette.
        spacings: how many volumes have which lengths of a voxel, in mm.
    """

    numbers: np.ndarray
    colours: tuple[tuple[int, int, int], ...]
    spacings: Counter[tuple[float, ...]]


class Pairs(ABC):
    """Images with label maps.

    Args:
        classes: names of the classes, where the data have a list of them.
        kinds: a word for each image by which scores are also given; empty for none.
        groups: a number that images of one origin share, so that a split does not part them.
    """

    classes: tuple[str, ...]
    kinds: tuple[str, ...]
    groups: np.ndarray

    @abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call an image in a message: its path."""

    @abstractmethod
    def label_name(self, index: int) -> str:
        """What to call a label map in a message."""

    @abstractmethod
    def image(self, index: int) -> Picture:
        """The image of number ``index``.

        Raises:
            ImageError: it cannot be read.
        """

    @abstractmethod
    def labels(self, index: int) -> LabelPicture:
        """The label map of number ``index``.

        Raises:
            ImageError: it cannot be read.
        """

    def pair(self, index: int) -> Pair:
        """Number ``index``.

        Raises:
            ImageError: one of its files cannot be read, or the two differ in size or in place.
        """
        image, labels = self.image(index), self.labels(index)
        name, spatial = self.label_name(index), image.samples.shape[1:]
        if labels.numbers.shape != spatial:
            own, wanted = (" x ".join(map(str, s)) for s in (labels.numbers.shape, spatial))
            raise ImageError(
                given=f"{name!r}, a label map of {own} for an image of {wanted}",
                allowed="a label map of its image's size",
                fix="make it of the image as it is, or leave both out",
            )
        if image.affine is not None and misplaced(labels.affine, image.affine, spatial):
            raise ImageError(
                given=f"{name!r}, a label map that lies elsewhere than its volume (its affine)",
                allowed="voxels of the label map where those of the volume are",
                fix="resample it onto the volume, or copy the volume's affine if that is right",
            )
        return Pair(image.samples, labels.numbers, labels.colours, image.raw)

    @cached_property
    def form(self) -> Form:
        """What the first image is like that can be read.

        Raises:
            ImageError: none can be read.
        """
        first: ImageError | None = None
        for index in range(len(self)):
            try:
                image = self.image(index)
            except ImageError as error:
                first = first or error
                continue
            channels, *spatial = image.samples.shape
            return Form(len(spatial), channels, image.raw)
        assert first is not None, "a source has pairs"
        raise first

    @cached_property
    def survey(self) -> Survey:
        """What all label maps hold, read once.

        Raises:
            ImageError: none can be read.
        """
        seen = np.zeros(MAX_LABEL + 1, dtype=bool)
        colours: tuple[tuple[int, int, int], ...] = ()
        spacings: Counter[tuple[float, ...]] = Counter()
        first: ImageError | None = None
        for index in range(len(self)):
            try:
                labels = self.labels(index)
            except ImageError as error:
                first = first or error
                continue
            seen[labels.numbers] = True
            colours = colours or labels.colours
            if labels.affine is not None:
                spacings[spacing_of(labels.affine)] += 1
        if not seen.any():
            assert first is not None, "a source has pairs"
            raise first
        return Survey(np.flatnonzero(seen), colours, spacings)
