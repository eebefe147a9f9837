"""Tar shards as the package `webdataset` writes them: members of one key are one sample.

A key is a member's path up to the first dot of its name: ``0001.jpg`` with ``0001.cls``, or
``0001.png`` with ``0001.seg.png``.
"""

import io
import json
import re
import shlex
import tarfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vitrail.data.images import SUFFIXES, ImageError, decode
from vitrail.data.layout import CLASS_LISTS, Files, distinct
from vitrail.data.tars import Member, OpenFiles, TarStore
from vitrail.errors import UsageError
from vitrail.files import write_whole

LABEL_MAPS = ("seg.png", "mask.png", "label.png", "seg.tif", "mask.tif", "seg.tiff", "mask.tiff")
_NAME = re.compile(r"((?:.*/|)[^./]+)[.]([^/]*)", re.DOTALL)
_LAYOUT = "1.jpg with 1.cls (a class), or 1.jpg with 1.seg.png (a label map), in the tar"


def is_shard(path: Path) -> bool:
    """Whether a path is that of a shard, by its name."""
    return path.suffix.lower() == ".tar"


def samples_in(store: TarStore) -> dict[str, dict[str, Member]]:
    """The members of each key, by what follows the key and a dot, in small letters.

    Raises:
        UsageError: one of them is there twice.
    """
    found: dict[str, dict[str, Member]] = {}
    for member in store.members:
        match = _NAME.fullmatch(member.name)
        if match is None:
            continue
        own, ending = found.setdefault(match[1], {}), match[2].lower()
        if ending in own:
            raise UsageError(
                given=f"{store.name(own[ending].name)!r} and {store.name(member.name)!r}",
                allowed="one member of each kind for a key",
                fix="write the shard again with a key of its own for each sample",
            )
        own[ending] = member
    return found


def image_of(
    store: TarStore, sample: Mapping[str, Member], suffixes: Collection[str] = SUFFIXES
) -> Member | None:
    """The image, or another input, among the members of one key, if there is one.

    Args:
        store: the shard.
        sample: the members by their endings.
        suffixes: endings of inputs, in small letters, each with its dot.
    Raises:
        UsageError: there are several.
    """
    images = [member for ending, member in sample.items() if f".{ending}" in suffixes]
    if len(images) > 1:
        raise UsageError(
            given=f"{store.name(images[0].name)!r} and {store.name(images[1].name)!r}",
            allowed=f"one image for a key, and label maps ending in {', '.join(LABEL_MAPS[:2])}",
            fix="write the shard again with a key of its own for each sample",
        )
    return images[0] if images else None


class ShardImages:
    """Images with a class each: ``.cls`` (a number or a name) or ``.json`` (its ``label``).

    Numbers are those of the lines of ``classes.txt`` beside the first shard, if it is there. An
    image without a label, or a label without an image, counts as one that cannot be read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Reads the indices of the shards, and no image.

        Raises:
            UsageError: a damaged shard, no labels at all, or labels that no class has.
        """
        files = OpenFiles()
        self.stores = [TarStore(path, files) for path in paths]
        self._members: list[tuple[int, Member]] = []
        words: list[str] = []
        missing: list[int] = []
        for number, store in enumerate(self.stores):
            for sample in samples_in(store).values():
                image, word = image_of(store, sample), _label(sample)
                if image is None and word is None:
                    continue
                if image is None or word is None:
                    missing.append(len(words))
                member = image or next(iter(sample.values()))
                self._members.append((number, member._replace(text="")))
                words.append(word or "")
        there = [word for word in words if word]
        if not there:
            raise UsageError(
                given=f"{self.stores[0].shown}, which holds no image with a class",
                allowed=_LAYOUT,
                fix=f"unpack class folders first: tar -xf {shlex.quote(self.stores[0].shown)}",
            )
        self.classes, labels = _numbered(there, paths[0])
        self.shards = np.array([number for number, _ in self._members], dtype=np.int64)
        self.labels = np.array([labels.get(word, 0) for word in words], dtype=np.int64)
        self._missing = frozenset(missing)

    def name(self, index: int) -> str:
        """The shard's path and the member's name in it."""
        number, member = self._members[index]
        return self.stores[number].name(member.name)

    def image(self, index: int) -> Image.Image:
        """The picture in that member."""
        if index in self._missing:
            raise ImageError(
                given=f"{self.name(index)!r} without an image and a label",
                allowed=_LAYOUT,
                fix="write the shard again, or leave the member out",
            )
        number, member = self._members[index]
        return decode(self.stores[number].content(member), self.name(index)).image


class ShardLayout:
    """Which members of a shard are images and label maps; as ``Layout`` of folders."""

    def __init__(self, store: TarStore) -> None:
        self.store = store

    def pairs(self, number: int) -> list[Files]:
        """The pairs, in the order of the shard.

        Raises:
            UsageError: there are none, or one without its partner.
        """
        found: list[Files] = []
        for key, sample in samples_in(self.store).items():
            image = image_of(self.store, sample)
            labels = next((sample[one] for one in LABEL_MAPS if one in sample), None)
            if image is None and labels is None:
                continue
            if image is None or labels is None:
                there = image or labels
                assert there is not None
                raise UsageError(
                    given=f"{self.store.name(there.name)!r} without its "
                    + ("image" if image is None else "label map"),
                    allowed=f"an image and a label map ({', '.join(LABEL_MAPS[:2])}) of each key",
                    fix="write the shard again with both, or without the key",
                )
            found.append(Files(number, key, image.name, labels.name))
        if not found:
            raise UsageError(
                given=f"{self.store.shown}, which holds no image with a label map",
                allowed=_LAYOUT,
                fix="write the shard again: NAME.png beside NAME.seg.png",
            )
        return found

    def classes(self) -> tuple[str, ...]:
        """The names in the list of classes beside the shard; none without one."""
        return classes_beside(self.store.path)


def classes_beside(path: Path) -> tuple[str, ...]:
    """The names in the list of classes in a shard's folder; none without one."""
    for name in CLASS_LISTS:
        beside = path.with_name(name)
        if beside.is_file():
            lines = beside.read_text("utf-8-sig", "replace").splitlines()
            return distinct([line.strip() for line in lines], str(beside))
    return ()


def write_shards(
    samples: Iterable[tuple[str, Mapping[str, bytes]]],
    folder: Path,
    *,
    name: str = "shard",
    most: int = 256 << 20,
) -> list[Path]:
    """Write samples into shards that this package and `webdataset` read.

    Args:
        samples: of each its key, and the files by their endings:
            ``("0001", {"jpg": ..., "cls": b"3"})``.
        folder: where ``NAME-000000.tar``, ... are written; each is whole or absent.
        name: how they begin.
        most: bytes after which the next one begins.
    Returns:
        Their paths.
    Raises:
        UsageError: a key or an ending that would be read as another one, or no room.
    """
    paths: list[Path] = []
    held: list[tuple[str, bytes]] = []
    taken = 0
    for key, files in samples:
        for ending, data in files.items():
            member = f"{key}.{ending}"
            match = _NAME.fullmatch(member)
            if match is None or match.groups() != (key, ending):
                raise UsageError(
                    given=f"a sample of key {key!r} with a file ending in {ending!r}",
                    allowed="keys without a dot in their last part, such as 'train/0001'",
                    fix=f"use {key.replace('.', '-')!r}",
                )
            held.append((member, data))
            taken += len(data)
        if taken >= most:
            paths.append(_write(folder / f"{name}-{len(paths):06d}.tar", held))
            held, taken = [], 0
    if held:
        paths.append(_write(folder / f"{name}-{len(paths):06d}.tar", held))
    return paths


def _write(path: Path, files: list[tuple[str, bytes]]) -> Path:
    def write(part: Path) -> None:
        with tarfile.open(part, "w") as archive:
            for name, data in files:
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(data), 0o644
                archive.addfile(entry, io.BytesIO(data))

    write_whole(path, write)
    return path


def _label(sample: Mapping[str, Member]) -> str | None:
    """The class of a sample in words, if it has one."""
    if "cls" in sample:
        return sample["cls"].text or None
    if "json" in sample:
        try:
            facts = json.loads(sample["json"].text)
            value = facts.get("label", facts.get("cls"))
        except (ValueError, AttributeError, RecursionError):
            return None
        return str(value) if isinstance(value, int | str) and str(value) else None
    return None


def _numbered(words: list[str], first: Path) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the classes, and the number of each label."""
    listed, kinds = classes_beside(first), sorted(set(words))
    if all(word.isascii() and word.isdigit() for word in kinds):
        numbers = {word: int(word) for word in kinds}
        names = listed or tuple(map(str, range(min(max(numbers.values()), 1 << 20) + 1)))
        odd = [word for word, number in numbers.items() if number >= len(names)]
    else:
        names = listed or tuple(kinds)
        numbers = {name: number for number, name in enumerate(names)}
        odd = [word for word in kinds if word not in numbers]
    if odd:
        raise UsageError(
            given=f"shards with the label {odd[0][:100]!r}",
            allowed=f"{len(names)} classes: {', '.join(names[:10])}",
            fix=f"correct {first.with_name(CLASS_LISTS[0])}, or write the shards again",
        )
    return names, numbers
