"""Where images and their label maps lie: folders or zips with ``images/`` and ``labels/``."""

import csv
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from vitrail.data.images import SUFFIXES
from vitrail.data.readers import IMAGES, LABELS, suffix_of
from vitrail.data.stores import Store
from vitrail.data.volumes import is_volume
from vitrail.errors import UsageError

LABEL_FOLDERS = ("labels", "masks")
CLASS_LISTS = ("classes.txt", "labels.txt")
LAYOUT = "DATA/images/1.png with DATA/labels/1.png, DATA/images/2.png with DATA/labels/2.png, ..."
_MAX_TABLE = 64 << 20  # bytes of a CSV beside the data


class Files(NamedTuple):
    """Files of a pair: the number of their store, their common stem, and their names there."""

    store: int
    stem: str
    image: str
    labels: str


class Layout:
    """What of a store's files are images, label maps and the list of classes."""

    def __init__(self, store: Store) -> None:
        self.store = store
        parts = {entry: PurePosixPath(entry).parts for entry in store.entries()}
        tops = {found[0] for found in parts.values()}
        lone = len(tops) == 1 and not tops & {"images", *LABEL_FOLDERS}
        self.parts = {entry: found[int(lone) :] for entry, found in parts.items()}

    def pairs(self, number: int) -> Iterator[Files]:
        """The pairs, sorted by stem."""
        there = [name for name in LABEL_FOLDERS if self._below(name)]
        images = self._stems("images", IMAGES)
        if len(there) != 1 or not images:
            what = "no images in images/" if not images else "no label maps in labels/"
            both = "both labels/ and masks/"
            raise UsageError(
                given=f"{self.store.shown}, which holds {both if len(there) > 1 else what}",
                allowed="images/, and one of labels/ and masks/ with a file of the same stem each",
                fix=f"lay the files out as {LAYOUT}",
            )
        folder = there[0]
        labels = self._stems(folder, LABELS)
        self._refuse_lonely(sorted(images.keys() - labels.keys()), "image", images, folder)
        self._refuse_lonely(sorted(labels.keys() - images.keys()), "label map", labels, "images")
        return (Files(number, stem, images[stem], labels[stem]) for stem in sorted(images))

    def classes(self) -> tuple[str, ...]:
        """The names in the list of classes; none without such a list."""
        for name in CLASS_LISTS:
            for entry, parts in self.parts.items():
                if parts == (name,):
                    lines = self.store.read(entry).decode("utf-8-sig", "replace").splitlines()
                    return distinct([line.strip() for line in lines], self.store.name(entry))
        return ()

    def _below(self, folder: str) -> list[str]:
        return [
            entry for entry, parts in self.parts.items() if len(parts) > 1 and parts[0] == folder
        ]

    def _stems(self, folder: str, readers: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for entry in self._below(folder):
            suffix = suffix_of(entry)
            if suffix not in readers:
                if suffix in SUFFIXES:
                    raise UsageError(
                        given=f"{self.store.name(entry)!r}, a label map in {suffix[1:].upper()}",
                        allowed=f"label maps in {', '.join(readers)}, which lose no numbers",
                        fix="save it as PNG where it was made: numbers cannot be got back from it",
                    )
                continue
            inner = PurePosixPath(*self.parts[entry][1:])
            stem = inner.as_posix()[: -len(suffix)]
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
            ending = suffix_of(files[stems[0]])
            ending = ending if is_volume(ending) else ".png"
            raise UsageError(
                given=f"the {what} {self.store.name(files[stems[0]])!r} without a file of its "
                f"stem in {other}/{more}",
                allowed="an image and a label map of each stem",
                fix=f"add {other}/{stems[0]}{ending}, or remove the {what}",
            )


def distinct(lines: list[str], name: str) -> tuple[str, ...]:
    """The names in the lines of a list of classes.

    Raises:
        UsageError: one is there twice, or there are none.
    """
    names = tuple(line for line in lines if line)
    twice = sorted({one for one in names if names.count(one) > 1})
    if twice or not names:
        raise UsageError(
            given=f"{name!r} with " + (f"{twice[0]!r} twice" if twice else "no names"),
            allowed="one name a line, each once: the first is that of number 0",
            fix="correct the list, or remove it to number the classes",
        )
    return names


def facts_of(table: Path) -> dict[str, dict[str, str]]:
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
