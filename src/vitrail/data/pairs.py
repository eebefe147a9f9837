"""Inputs with label maps: folders or zips with ``images/`` and ``labels/`` of equal stems."""

import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8, UInt16

from vitrail.data.batch import Unreadable
from vitrail.data.dataset import Skipped, Subset
from vitrail.data.images import MAX_LABEL, ImageError, LabelPicture
from vitrail.data.layout import LAYOUT, Files, Layout, facts_of
from vitrail.data.readers import IMAGES, LABELS, Picture, suffix_of
from vitrail.data.rng import key, permutation
from vitrail.data.shards import ShardLayout, is_shard
from vitrail.data.sources import expand
from vitrail.data.stores import FolderStore, Store, ZipStore
from vitrail.data.tars import OpenFiles, TarStore
from vitrail.data.volumes import misplaced, spacing_of
from vitrail.errors import UsageError


@dataclass(frozen=True, slots=True)
class Pair:
    """An input with a number at each of its places.

    Args:
        image: samples of 8 bits, or from 0 to 1; channels first.
        labels: as they are stored.
        colours: red, green and blue of the numbers from 0 on, where the file has them.
    """

    image: UInt8[np.ndarray, "channels *spatial"] | Float32[np.ndarray, "channels *spatial"]
    labels: UInt16[np.ndarray, "*spatial"]
    colours: tuple[tuple[int, int, int], ...] = ()


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


class PairSource:
    """Images with label maps, in the order of their stores and stems.

    ``kinds`` and ``groups`` come from a CSV beside the data (``train.csv`` for ``train.zip``) with
    a column ``id``, the stem: a word for each image by which scores are also given, and a number
    that images of one origin share, so that a split does not part them. ``shards`` are the numbers
    of the shards that the images lie in, where all lie in such.
    """

    def __init__(self, stores: Sequence[Store], tables: Sequence[Path]) -> None:
        """Lists the files; decodes none.

        Args:
            stores: where the files are.
            tables: the CSV beside each; it may be absent.
        Raises:
            UsageError: another layout, or a file of a pair is missing.
        """
        self.stores = tuple(stores)
        self._files: list[Files] = []
        self.classes: tuple[str, ...] = ()
        kinds: list[str] = []
        groups: list[tuple[int, str]] = []
        for number, (store, table) in enumerate(zip(stores, tables, strict=True)):
            layout = ShardLayout(store) if isinstance(store, TarStore) else Layout(store)
            self._files += layout.pairs(number)
            classes = layout.classes()
            if classes and self.classes and classes != self.classes:
                raise UsageError(
                    given=f"{store.name('classes.txt')!r} with other classes, or another order, "
                    "than the data before it",
                    allowed="one list of classes for all data",
                    fix="make the lists and the labels equal, or learn from one of them",
                )
            self.classes = self.classes or classes
            facts = facts_of(table)
            for file in self._files[len(kinds) :]:
                row = facts.get(file.stem, {})
                kinds.append(row.get("kind") or "")
                groups.append((number, row.get("group") or f"alone {file.stem}"))
        self.kinds = tuple(kinds)
        tars = all(isinstance(store, TarStore) for store in stores)
        self.shards = np.array([f.store for f in self._files]) if tars else None
        self.groups = np.unique([f"{n} {group}" for n, group in groups], return_inverse=True)[1]

    def __len__(self) -> int:
        return len(self._files)

    def name(self, index: int) -> str:
        """The image's path."""
        file = self._files[index]
        return self.stores[file.store].name(file.image)

    def labels(self, index: int) -> LabelPicture:
        """The label map of number ``index``.

        Raises:
            ImageError: it cannot be read.
        """
        file = self._files[index]
        store = self.stores[file.store]
        read = LABELS[suffix_of(file.labels)]
        return read(store.read(file.labels), store.name(file.labels))

    def image(self, index: int) -> Picture:
        """The image of number ``index``.

        Raises:
            ImageError: it cannot be read.
        """
        file = self._files[index]
        store = self.stores[file.store]
        return IMAGES[suffix_of(file.image)](store.read(file.image), store.name(file.image))

    def pair(self, index: int) -> Pair:
        """Number ``index``.

        Raises:
            ImageError: one of its files cannot be read, or the two differ in size or in place.
        """
        image, labels = self.image(index), self.labels(index)
        file = self._files[index]
        name, spatial = self.stores[file.store].name(file.labels), image.samples.shape[1:]
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
        return Pair(image.samples, labels.numbers, labels.colours)

    @cached_property
    def form(self) -> tuple[int, int]:
        """How many spatial axes and channels the first image has that can be read.

        Raises:
            ImageError: none can be read.
        """
        first: ImageError | None = None
        for index in range(len(self)):
            try:
                channels, *spatial = self.image(index).samples.shape
            except ImageError as error:
                first = first or error
                continue
            return len(spatial), channels
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


class KeptPairs:
    """Pairs that lie decoded in memory."""

    def __init__(
        self, classes: tuple[str, ...], pairs: list[Pair], names: list[str], kinds: list[str]
    ) -> None:
        self.classes, self._pairs, self._names = classes, pairs, names
        self.kinds = tuple(kinds)

    def name(self, index: int) -> str:
        """Its name in the source it was read from."""
        return self._names[index]

    def pair(self, index: int) -> Pair:
        """Number ``index``."""
        return self._pairs[index]


def open_pairs(data: Sequence[str | os.PathLike[str]]) -> PairSource:
    """Open images with label maps.

    Args:
        data: folders, zips, or patterns such as ``train-*.zip``, each with ``images/`` and
            ``labels/`` (or ``masks/``), perhaps below one folder more; or tar shards.
    Raises:
        UsageError: there are no such data, or a file of a pair is missing.
    """
    allowed = "folders or zips that hold images/ and labels/ (or masks/), or tar shards"
    paths = [path for item in data for path in expand(os.fspath(item), allowed)]
    stores: list[Store] = []
    files = OpenFiles()
    for path in paths:
        if is_shard(path):
            stores.append(TarStore(path, files))
            continue
        if not path.is_dir() and not zipfile.is_zipfile(path):
            damaged = path.suffix.lower() == ".zip"
            raise UsageError(
                given=f"{str(path)!r}, which is "
                + ("a damaged or truncated zip" if damaged else "neither a folder nor a zip"),
                allowed=allowed,
                fix="copy or download it again" if damaged else f"lay the files out as {LAYOUT}",
            )
        stores.append(FolderStore(path) if path.is_dir() else ZipStore(path))
    tables = [
        path.with_name(path.name + ".csv") if path.is_dir() else path.with_suffix(".csv")
        for path in (path.absolute() for path in paths)
    ]
    return PairSource(stores, tables)


def split_pairs(
    source: PairSource, share: float, seed: int
) -> tuple[Subset[PairSource], Subset[PairSource]]:
    """Cut a source into a training and a validation subset; images of one group stay together.

    Args:
        source: images with label maps.
        share: of the images for validation, in [0, 1).
        seed: decides which images those are.
    Raises:
        UsageError: there are too few images, or groups of them, to give any to both parts.
    """
    groups = np.unique(source.groups)
    held = np.zeros(len(source), dtype=bool)
    if share:
        for group in groups[permutation(key(seed, 0x5EED), len(groups))]:
            if held.sum() >= max(1, round(share * len(source))):
                break
            held |= source.groups == group
    if held.all():
        raise UsageError(
            given=f"{len(source)} image(s) in {len(groups)} group(s) and a validation part of "
            f"{share:g}",
            allowed="at least one image in both parts",
            fix="add images, or name validation data with --val",
        )
    return Subset(source, np.flatnonzero(~held)), Subset(source, np.flatnonzero(held))


def load_pairs(
    part: Subset[PairSource], budget: int, skipped: Skipped
) -> tuple[Subset[KeptPairs], int] | None:
    """Decode pairs once, if they fit.

    Args:
        part: the pairs.
        budget: bytes.
        skipped: counts pairs that cannot be read; they are left out.
    Returns:
        The pairs that can be read and the bytes they take, or None if they do not fit.
    """
    source, taken = part.source, 0
    good: list[tuple[Pair, int]] = []
    bad: list[Unreadable] = []
    for index in map(int, part.indices):
        try:
            pair = source.pair(index)
        except ImageError as error:
            bad.append(Unreadable(source.name(index), error.given))
            continue
        taken += pair.image.nbytes + pair.labels.nbytes
        if taken > budget:
            return None
        good.append((pair, index))
    for one in bad:
        skipped.add(one)
    where = [index for _, index in good]
    names, kinds = [source.name(i) for i in where], [source.kinds[i] for i in where]
    kept = KeptPairs(source.classes, [pair for pair, _ in good], names, kinds)
    return Subset(kept, np.arange(len(good))), taken
