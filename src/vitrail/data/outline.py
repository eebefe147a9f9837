"""What data look like from outside: names of folders and endings of files, nothing opened."""

import os
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vitrail.data.sources import expand
from vitrail.data.stores import is_hidden, unlisted

_MOST = 256  # files that are looked at, of each folder and of a tar


@dataclass(frozen=True, slots=True)
class Outline:
    """What data look like; a single folder around everything is left out.

    Args:
        name: as given.
        folders: for each folder at the top, how its own files end: from the first dot on, in small
            letters.
        files: names of the files at the top, or of a tar's first members.
        tar: whether it is one.
    """

    name: str
    folders: dict[str, frozenset[str]]
    files: frozenset[str]
    tar: bool = False

    @property
    def lower(self) -> frozenset[str]:
        """Names of the folders in small letters."""
        return frozenset(map(str.lower, self.folders))

    def holds(self, endings: Iterable[str], *folders: str) -> bool:
        """Whether a file of these folders, or of any, ends so."""
        names = folders or tuple(self.folders)
        found = {end for name in names for end in self.folders.get(name, ())}
        return any(end.endswith(tuple(endings)) for end in found)


def outline(word: str) -> Outline:
    """Return what data look like.

    Args:
        word: a path, a pattern, of which the first match counts, or ``torchvision:NAME``.
    Raises:
        UsageError: there is nothing, or a folder that cannot be listed.
    """
    if word.startswith("torchvision:"):
        return Outline(word, {}, frozenset())
    path = expand(word)[0]
    if path.is_dir():
        return _of_folder(word, path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not is_hidden(name)]
        return _of_names(word, names)
    if path.suffix.lower() == ".tar":
        return Outline(word, {}, frozenset(_members(path)), tar=True)
    return Outline(word, {}, frozenset([path.name]))


def _of_folder(word: str, root: Path) -> Outline:
    try:
        folders, files = _listed(root)
        if len(folders) == 1 and not files and _listed(root / folders[0])[0]:
            root = root / folders[0]
            folders, files = _listed(root)
        inside = {name: frozenset(map(_ending, _listed(root / name)[1])) for name in folders}
    except OSError as error:
        raise unlisted(root, error) from None
    return Outline(word, inside, frozenset(files))


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the first files in a folder, without hidden ones."""
    folders, files = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.name)
            elif len(files) < _MOST:
                files.append(entry.name)
    return sorted(folders), files


def _of_names(word: str, names: list[str]) -> Outline:
    parts = [PurePosixPath(name).parts for name in names if not name.endswith("/")]
    if parts and all(len(p) > 2 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    folders: dict[str, set[str]] = {}
    for p in parts:
        if len(p) > 1:
            found = folders.setdefault(p[0], set())
            if len(p) == 2:
                found.add(_ending(p[1]))
    files = frozenset(p[0] for p in parts if len(p) == 1)
    return Outline(word, {name: frozenset(found) for name, found in folders.items()}, files)


def _members(path: Path) -> list[str]:
    """Names of the first members; none of a damaged tar, which is reported where it is read."""
    names: list[str] = []
    try:
        with tarfile.open(path, "r:") as archive:
            while len(names) < _MOST and (member := archive.next()) is not None:
                names.append(member.name)
    except (tarfile.TarError, OSError):
        return names
    return names


def _ending(name: str) -> str:
    return "." + name.lower().partition(".")[2]
