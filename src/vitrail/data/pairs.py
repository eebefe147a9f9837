"""Inputs with label maps: folders or zips that hold ``images/`` and ``labels/`` with equal stems.

Both are read by a function for each ending, so that another kind of file is another line of
``IMAGES`` or ``LABELS``.
"""

import csv
import os
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8, UInt16

from vitrail.data.batch import Unreadable
from vitrail.data.dataset import Skipped, Subset
from vitrail.data.images import MAX_LABEL, SUFFIXES, ImageError, LabelPicture, decode, decode_labels
from vitrail.data.rng import key, permutation
from vitrail.data.sources import expand
from vitrail.data.stores import FolderStore, Store, ZipStore
from vitrail.errors import UsageError

LABEL_FOLDERS = ("labels", "masks")
CLASS_LISTS = ("classes.txt", "labels.txt")
_LAYOUT = "DATA/images/1.png with DATA/labels/1.png, DATA/images/2.png with DATA/labels/2.png, ..."
_MAX_TABLE = 64 << 20  # bytes of a CSV beside the data


@dataclass(frozen=True, slots=True)
class Pair:
    """An input with a number at each of its places.

    Args:
        image: 8-bit samples, channels first.
        labels: as they are stored.
        colours: red, green and blue of the numbers from 0 on, where the file has them.
    """

    image: UInt8[np.ndarray, "channels *spatial"]
    labels: UInt16[np.ndarray, "*spatial"]
    colours: tuple[tuple[int, int, int], ...] = ()


def _photo(file: bytes, name: str) -> UInt8[np.ndarray, "channels *spatial"]:
    return np.moveaxis(np.array(decode(file, name).image), -1, 0)  # of its own: writable


IMAGES: dict[str, Callable[[bytes, str], np.ndarray]] = dict.fromkeys(sorted(SUFFIXES), _photo)
LABELS: dict[str, Callable[[bytes, str], LabelPicture]] = {
    ".png": decode_labels,
    ".tif": decode_labels,
    ".tiff": decode_labels,
}


class _Files(NamedTuple):
    store: int
    stem: str
    image: str
    labels: str


class PairSource:
    """Images with label maps, in the order of their stores and stems.

    ``kinds`` and ``groups`` come from a CSV beside the data (``train.csv`` for ``train.zip``) with
    a column ``id``, the stem: a word for each image by which scores are also given, and a number
    that images of one origin share, so that a split does not part them.
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
        self._files: list[_Files] = []
        self.classes: tuple[str, ...] = ()
        kinds: list[str] = []
        groups: list[tuple[int, str]] = []
        for number, (store, table) in enumerate(zip(stores, tables, strict=True)):
            layout = _Layout(store)
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
            facts = _facts(table)
            for file in self._files[len(kinds) :]:
                row = facts.get(file.stem, {})
                kinds.append(row.get("kind") or "")
                groups.append((number, row.get("group") or f"alone {file.stem}"))
        self.kinds = tuple(kinds)
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
        read = LABELS[_suffix(file.labels)]
        return read(store.read(file.labels), store.name(file.labels))

    def pair(self, index: int) -> Pair:
        """Number ``index``.

        Raises:
            ImageError: one of its files cannot be read, or the two differ in size.
        """
        file = self._files[index]
        store = self.stores[file.store]
        image = IMAGES[_suffix(file.image)](store.read(file.image), store.name(file.image))
        labels = self.labels(index)
        if labels.numbers.shape != image.shape[1:]:
            own, wanted = (" x ".join(map(str, s)) for s in (labels.numbers.shape, image.shape[1:]))
            raise ImageError(
                given=f"{store.name(file.labels)!r}, a label map of {own} for an image of {wanted}",
                allowed="a label map of its image's size",
                fix="make it of the image as it is, or leave both out",
            )
        return Pair(image, labels.numbers, labels.colours)

    def survey(self) -> tuple[np.ndarray, tuple[tuple[int, int, int], ...]]:
        """Read all label maps.

        Returns:
            The numbers that occur in them, sorted, and the first palette; what cannot be read is
            left out.
        Raises:
            ImageError: none can be read.
        """
        seen = np.zeros(MAX_LABEL + 1, dtype=bool)
        colours: tuple[tuple[int, int, int], ...] = ()
        first: ImageError | None = None
        for index in range(len(self)):
            try:
                labels = self.labels(index)
            except ImageError as error:
                first = first or error
                continue
            seen[labels.numbers] = True
            colours = colours or labels.colours
        if not seen.any():
            assert first is not None, "a source has pairs"
            raise first
        return np.flatnonzero(seen), colours


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
            ``labels/`` (or ``masks/``), perhaps below one folder more.
    Raises:
        UsageError: there are no such data, or a file of a pair is missing.
    """
    allowed = "folders or zips that hold images/ and labels/ (or masks/)"
    paths = [path for item in data for path in expand(os.fspath(item), allowed)]
    stores: list[Store] = []
    for path in paths:
        if not path.is_dir() and not zipfile.is_zipfile(path):
            damaged = path.suffix.lower() == ".zip"
            raise UsageError(
                given=f"{str(path)!r}, which is "
                + ("a damaged or truncated zip" if damaged else "neither a folder nor a zip"),
                allowed=allowed,
                fix="copy or download it again" if damaged else f"lay the files out as {_LAYOUT}",
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


class _Layout:
    """What of a store's files are images, label maps and the list of classes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        parts = {entry: PurePosixPath(entry).parts for entry in store.entries()}
        tops = {found[0] for found in parts.values()}
        lone = len(tops) == 1 and not tops & {"images", *LABEL_FOLDERS}
        self.parts = {entry: found[int(lone) :] for entry, found in parts.items()}

    def pairs(self, number: int) -> Iterator[_Files]:
        """The pairs, sorted by stem."""
        there = [name for name in LABEL_FOLDERS if self._below(name)]
        images = self._stems("images", IMAGES)
        if len(there) != 1 or not images:
            what = "no images in images/" if not images else "no label maps in labels/"
            both = "both labels/ and masks/"
            raise UsageError(
                given=f"{self.store.shown}, which holds {both if len(there) > 1 else what}",
                allowed="images/, and one of labels/ and masks/ with a file of the same stem each",
                fix=f"lay the files out as {_LAYOUT}",
            )
        folder = there[0]
        labels = self._stems(folder, LABELS)
        self._refuse_lonely(sorted(images.keys() - labels.keys()), "image", images, folder)
        self._refuse_lonely(sorted(labels.keys() - images.keys()), "label map", labels, "images")
        return (_Files(number, stem, images[stem], labels[stem]) for stem in sorted(images))

    def classes(self) -> tuple[str, ...]:
        """The names in the list of classes; none without such a list."""
        for name in CLASS_LISTS:
            for entry, parts in self.parts.items():
                if parts == (name,):
                    lines = self.store.read(entry).decode("utf-8-sig", "replace").splitlines()
                    return _distinct([line.strip() for line in lines], self.store.name(entry))
        return ()

    def _below(self, folder: str) -> list[str]:
        return [
            entry for entry, parts in self.parts.items() if len(parts) > 1 and parts[0] == folder
        ]

    def _stems(self, folder: str, readers: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in self._below(folder):
            suffix = _suffix(entry)
            if suffix not in readers:
                if suffix in SUFFIXES:
                    raise UsageError(
                        given=f"{self.store.name(entry)!r}, a label map in {suffix[1:].upper()}",
                        allowed=f"label maps in {', '.join(readers)}, which lose no numbers",
                        fix="save it as PNG where it was made: numbers cannot be got back from it",
                    )
                continue
            inner = PurePosixPath(*self.parts[entry][1:])
            stem = inner.with_suffix("").as_posix()
            if stem in found:
                raise UsageError(
                    given=f"{self.store.name(found[stem])!r} and {self.store.name(entry)!r}",
                    allowed=f"one file of a stem in {folder}/",
                    fix="remove one of them, or rename it together with its partner",
                )
            found[stem] = entry
        return found

    def _refuse_lonely(
        self, stems: list[str], what: str, files: dict[str, str], other: str
    ) -> None:
        if stems:
            more = f" (and {len(stems) - 1} more such)" if len(stems) > 1 else ""
            raise UsageError(
                given=f"the {what} {self.store.name(files[stems[0]])!r} without a file of its "
                f"stem in {other}/{more}",
                allowed="an image and a label map of each stem",
                fix=f"add {other}/{stems[0]}.png, or remove the {what}",
            )


def _distinct(lines: list[str], name: str) -> tuple[str, ...]:
    names = tuple(line for line in lines if line)
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice or not names:
        raise UsageError(
            given=f"{name!r} with " + (f"{twice[0]!r} twice" if twice else "no names"),
            allowed="one name a line, each once: the first is that of number 0",
            fix="correct the list, or remove it to number the classes",
        )
    return names


def _facts(table: Path) -> dict[str, dict[str, str]]:
    """Rows of a CSV by their ``id``; none if there is no such file.

    Raises:
        UsageError: it has no column ``id``, is no CSV, or is too large.
    """
    if not table.is_file():
        return {}
    problem = UsageError(
        given=f"{str(table)!r} beside the data, which is no CSV with a column id",
        allowed="a CSV with the columns id, kind and group, of at most "
        f"{_MAX_TABLE >> 20} MiB, or none",
        fix="correct it, or give it another name",
    )
    if table.stat().st_size > _MAX_TABLE:
        raise problem
    with open(table, newline="", encoding="utf-8-sig", errors="replace") as file:
        reader = csv.DictReader(file)
        try:
            if "id" not in (reader.fieldnames or ()):
                raise problem
            return {row["id"]: row for row in reader if row["id"]}
        except csv.Error:
            raise problem from None


def _suffix(entry: str) -> str:
    return PurePosixPath(entry).suffix.lower()
