"""Inputs to be predicted: files, folders of them, patterns, tar shards, and standard input."""

import glob
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from vitrail.data.images import MAX_BYTES, Encoded
from vitrail.data.shards import image_of, is_shard, samples_in
from vitrail.data.sources import braces, expand, image_files
from vitrail.data.stores import unlisted
from vitrail.data.tars import Member, OpenFiles, TarStore
from vitrail.errors import UsageError

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Input:
    """One of them.

    Args:
        name: as a user would write it.
        place: path of its results below their folder, without an ending.
        store: the shard it lies in.
        member: where in that.
    """

    name: str
    place: PurePath
    store: TarStore | None = None
    member: Member | None = None

    def read(self) -> str | Encoded:
        """What a task's ``read`` opens.

        Raises:
            ImageError: a shard's member cannot be read.
        """
        if self.store is not None and self.member is not None:
            return Encoded(self.store.content(self.member), self.name)
        if self.name == STANDARD_INPUT:
            return Encoded(sys.stdin.buffer.read(MAX_BYTES + 1), "standard input")
        return self.name

    def stamp(self) -> tuple[int, int] | None:
        """Bytes and time of the file, which change with it; None where there is none."""
        try:
            facts = os.stat(self.name if self.store is None else self.store.path)
        except (OSError, ValueError):
            return None
        return facts.st_size, facts.st_mtime_ns


def inputs_of(
    words: Sequence[str], endings: Collection[str], results: Path | None = None
) -> list[Input]:
    """Return the inputs that arguments stand for, each once.

    Results are laid out as the inputs lie below the folder that all arguments share: a folder
    itself, the folder of a file, or that of a pattern's part without wildcards.

    Args:
        words: files, folders, which are searched with the folders in them, patterns, shards, of
            which every image is an input, also as ``train-{0000..0009}.tar``, and "-" for standard
            input.
        endings: of the files that count in a folder.
        results: a folder of results, in which folders and patterns find no input.
    Raises:
        UsageError: a folder without an input, or a pattern that nothing matches.
    """
    found, homes = dict[str, None](), list[str]()
    for word in words:
        if word == STANDARD_INPUT:
            found[word] = None
            continue
        homes.append(_home(word))
        names = list(_files(word, endings))
        if results is not None and names != [word]:
            names = [name for name in names if not _inside(name, results)]
            if not names:
                raise UsageError(
                    f"the folder {results} for results, in which the inputs {word!r} lie",
                    "a folder of its own: results would be inputs of the same command later",
                    f"use --output {results.parent / (results.absolute().name + '-results')}",
                )
        found |= dict.fromkeys(names)
    root, files, inputs = os.path.commonpath(homes) if homes else "", OpenFiles(), list[Input]()
    for name in found:
        if is_shard(Path(name)):
            inputs += _of_shard(TarStore(Path(name), files), root, endings)
        else:
            inputs.append(Input(name, _place(name, root, endings)))
    return inputs


def _of_shard(store: TarStore, root: str, endings: Collection[str]) -> Iterator[Input]:
    """The inputs in a shard; label maps and classes are none."""
    place = _place(str(store.path), root, (".tar",))
    for key, sample in samples_in(store).items():
        member = image_of(store, sample, endings)
        if member is not None:
            yield Input(store.name(member.name), place / key, store, member)


def _files(word: str, endings: Collection[str]) -> Iterator[str]:
    """The files of one argument."""
    if Path(word).is_dir():
        try:
            found = [
                str(Path(word) / name) for name in image_files(Path(word), Path(word), endings)
            ]
        except OSError as error:
            raise unlisted(Path(word), error) from None
        if not found:
            raise UsageError(
                f"the folder {word!r}, which holds no picture or other input",
                f"a folder with files ending in {', '.join(sorted(endings))}",
                "name the files themselves, if their names end otherwise",
            )
        yield from found
    elif not Path(word).exists() and braces(word) != [word]:
        yield from map(str, expand(word))
    elif glob.has_magic(word) and not Path(word).exists():
        matches = sorted(glob.glob(word, recursive=True))
        if not matches:
            raise UsageError(
                f"the pattern {word!r}, which no file matches",
                "a pattern such as 'photos/*.jpg'",
                "check the path; relative paths start at the current folder",
            )
        for match in matches:  # they are there, and so no patterns
            yield from _files(match, endings)
    else:
        yield word


def _home(word: str) -> str:
    """The folder below which an argument's files lie, whichever they are."""
    path = Path(word).absolute()
    if path.is_dir():
        return str(path)
    if path.exists():
        return str(path.parent)
    fixed = Path(path.anchor)
    for part in path.parts[1:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return str(fixed)


def _place(name: str, root: str, endings: Collection[str]) -> PurePath:
    if name == STANDARD_INPUT:
        return PurePath("standard-input")
    inner = os.path.relpath(Path(name).absolute(), root)
    known = [one for one in endings if inner.lower().endswith(one)]
    longest = max(map(len, known), default=len(PurePath(inner).suffix))
    return PurePath(inner[: len(inner) - longest])


def _inside(name: str, folder: Path) -> bool:
    return Path(os.path.abspath(name)).is_relative_to(os.path.abspath(folder))
