"""Inputs with label maps: folders or zips with ``images/`` and ``labels/`` of equal stems."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitrail.data.array_pairs import ArrayPairs
from vitrail.data.batch import Unreadable
from vitrail.data.dataset import Skipped, Subset
from vitrail.data.images import ImageError, LabelPicture
from vitrail.data.layout import LAYOUT, Files, Layout, facts_of
from vitrail.data.pair import Pair, Pairs
from vitrail.data.readers import IMAGES, LABELS, Picture, suffix_of
from vitrail.data.rng import key, permutation
from vitrail.data.shards import ShardLayout, is_shard
from vitrail.data.sources import expand
from vitrail.data.stores import FolderStore, Store, ZipStore
from vitrail.data.tars import OpenFiles, TarStore
from vitrail.errors import UsageError


class PairSource(Pairs):
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

    def label_name(self, index: int) -> str:
        """The label map's path."""
        file = self._files[index]
        return self.stores[file.store].name(file.labels)

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


def open_pairs(data: Sequence[str | os.PathLike[str]]) -> Pairs:
    """Open images with label maps.

    Args:
        data: folders, zips, or patterns such as ``train-*.zip``, each with ``images/`` and
            ``labels/`` (or ``masks/``), perhaps below one folder more; tar shards; or one .npz
            with the arrays ``images`` and ``labels``.
    Raises:
        UsageError: there are no such data, or a file of a pair is missing.
    """
    allowed = (
        "folders or zips that hold images/ and labels/ (or masks/), tar shards, or one .npz of "
        "arrays"
    )
    paths = [path for item in data for path in expand(os.fspath(item), allowed)]
    if len(paths) == 1 and paths[0].is_file() and paths[0].suffix.lower() == ".npz":
        return ArrayPairs(paths[0])
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


def split_pairs(source: Pairs, share: float, seed: int) -> tuple[Subset[Pairs], Subset[Pairs]]:
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
    part: Subset[Pairs], budget: int, skipped: Skipped
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
