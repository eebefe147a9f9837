"""Where labelled images come from: folders, zips and named torchvision data sets."""

import glob
import inspect
import os
import re
import shlex
import zipfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from vitrail.data.images import SUFFIXES, decode, to_rgb
from vitrail.data.shards import ShardImages, is_shard
from vitrail.data.stores import FolderStore, ZipStore, is_hidden, paths_of, unlisted, unreadable
from vitrail.errors import UsageError
from vitrail.extras import missing_extra

_MAX_RANGE = 1_000_000
_FIX_LAYOUT = "put the images into one folder a class: DATA/cat/1.jpg, DATA/dog/2.jpg, ..."


@runtime_checkable
class Source(Protocol):
    """Data of any task that can be read one by one, in any order, from any process."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers."""
        ...

    def name(self, index: int) -> str:
        """What to call number ``index`` in a message: its path."""
        ...


@runtime_checkable
class LabelledImages(Source, Protocol):
    """Images with a class number each; the classes are sorted by name."""

    @property
    def labels(self) -> np.ndarray:
        """int64, one class number an image."""
        ...

    def image(self, index: int) -> Image.Image:
        """Image ``index`` as upright 8-bit RGB; ImageError if it cannot be read."""
        ...


class FolderSource:
    """A folder with one folder of images a class; deeper folders are searched too."""

    def __init__(self, root: Path) -> None:
        """Lists the files; opens none."""
        self.root = root
        found: dict[str, list[str]] = {}
        try:
            for entry in sorted(root.iterdir()):
                if entry.is_dir() and not entry.name.startswith("."):
                    found[entry.name] = image_files(entry, root)
        except OSError as error:
            raise unlisted(root, error) from None
        self.classes, self.labels, self._files = _index(found, str(root))

    def name(self, index: int) -> str:
        """The file's path."""
        return str(self.root / self._files[index])

    def image(self, index: int) -> Image.Image:
        """The picture in that file."""
        return decode(FolderStore(self.root).read(self._files[index]), self.name(index)).image


class ZipSource:
    """One or several zips of class folders, read in place."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Reads the zips' tables of contents."""
        self.stores = [ZipStore(path) for path in paths]
        found: dict[str, list[tuple[int, str]]] = {}
        for number, store in enumerate(self.stores):
            for kind, entry in _zip_entries(store.archive):
                files = found.setdefault(kind, [])
                if entry is not None:
                    files.append((number, entry))
        self.classes, self.labels, self._files = _index(found, paths_of(self.stores))

    def name(self, index: int) -> str:
        """The zip's path and the entry's name in it."""
        number, entry = self._files[index]
        return self.stores[number].name(entry)

    def image(self, index: int) -> Image.Image:
        """The picture in that entry."""
        number, entry = self._files[index]
        return decode(self.stores[number].read(entry), self.name(index)).image


class TorchvisionSource:
    """A data set of ``torchvision.datasets`` by its name."""

    def __init__(self, name: str, *, train: bool, root: Path, download: bool) -> None:
        """Opens the data set, downloading it first when that is allowed."""
        self._name = name
        self._set = _torchvision_set(name, train=train, root=root, download=download)
        try:
            self.labels = np.asarray([int(label) for label in self._labels()], dtype=np.int64)
        except (TypeError, ValueError):
            raise self._other_task("labels that are no class numbers") from None
        names = getattr(self._set, "classes", None)
        self.classes = tuple(map(str, names or range(int(self.labels.max()) + 1)))

    def name(self, index: int) -> str:
        """The data set's name and the image's number."""
        return f"torchvision:{self._name}[{index}]"

    def image(self, index: int) -> Image.Image:
        """The picture as the data set gives it, in RGB."""
        try:
            image = self._set[index][0]
        except Exception as error:  # decoders raise errors of many types
            raise unreadable(self.name(index), error) from None
        if not isinstance(image, Image.Image):
            raise self._other_task(type(image).__name__)
        return to_rgb(image).image

    def _labels(self) -> Iterable[Any]:
        for field in ("targets", "labels", "_labels"):
            labels = getattr(self._set, field, None)
            if labels is not None:
                return labels
        return [self._set[i][1] for i in range(len(self._set))]

    def _other_task(self, what: str) -> UsageError:
        return UsageError(
            given=f"data set torchvision:{self._name}, which gives {what}",
            allowed="a torchvision data set of pictures and class numbers",
            fix="use an image classification set such as torchvision:CIFAR10",
        )


def open_source(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    train: bool = True,
    root: str | os.PathLike[str] = "~/.cache/vitrail/data",
    download: bool = False,
) -> LabelledImages:
    """Open labelled images.

    Args:
        data: a folder of class folders, a zip of class folders, a pattern such as ``train-*.zip``,
            several zips; tar shards, also as ``train-{0000..0009}.tar``; or ``torchvision:NAME``.
        train: which part of a torchvision data set.
        root: where torchvision data sets lie.
        download: whether a missing torchvision data set may be downloaded.
    Returns:
        The images with their classes, sorted by name.
    Raises:
        UsageError: if there are no such data, a class is empty, or the layout is another.
    """
    given = [data] if isinstance(data, str | os.PathLike) else list(data)
    if len(given) == 1 and str(given[0]).startswith("torchvision:"):
        name = str(given[0]).partition(":")[2]
        folder = Path(root).expanduser()
        return TorchvisionSource(name, train=train, root=folder, download=download)
    paths = [path for item in given for path in expand(os.fspath(item))]
    if len(paths) == 1 and paths[0].is_dir():
        return FolderSource(paths[0])
    if all(map(is_shard, paths)):
        return ShardImages(paths)
    for path in paths:
        _check_zip(path)
    return ZipSource(paths)


def _check_zip(path: Path) -> None:
    if zipfile.is_zipfile(path):
        return
    if path.suffix.lower() == ".zip" and path.is_file():
        raise UsageError(
            given=f"{str(path)!r}, a zip that is damaged or truncated",
            allowed="a whole zip of class folders",
            fix="copy or download it again",
        )
    what = "a folder among several data paths" if path.is_dir() else "neither a folder nor a zip"
    packed = path.is_file() and {".tar", ".tgz", ".tbz", ".txz"} & set(path.suffixes)
    raise UsageError(
        given=f"{str(path)!r}, which is {what}",
        allowed="one folder of class folders, zips of class folders, or torchvision:NAME",
        fix=f"unpack it first: tar -xf {shlex.quote(str(path))}" if packed else _FIX_LAYOUT,
    )


ALLOWED = "a folder of class folders, zips ('train-*.zip'), tar shards, or torchvision:NAME"


def expand(item: str, allowed: str = ALLOWED) -> list[Path]:
    """Return the paths that a word of the command line means.

    Raises:
        UsageError: there is none.
    """
    if Path(item).exists():
        return [Path(item)]
    found = {word: sorted(glob.glob(os.path.expanduser(word))) for word in braces(item)}
    matches = [path for paths in found.values() for path in paths]
    lost = [word for word, paths in found.items() if not paths]
    if matches and lost:
        raise UsageError(
            given=f"{item!r}, of which {lost[0]!r} does not exist",
            allowed="a range whose files are all there",
            fix="fetch what is missing, or name a shorter range",
        )
    if not matches:
        raise UsageError(
            given=f"{item!r}, which does not exist"
            + (" (no file matches)" if glob.has_magic(item) else ""),
            allowed=allowed,
            fix="check the path; relative paths start at the current folder",
        )
    return [Path(match) for match in matches]


def braces(word: str) -> list[str]:
    """What a word with ranges such as ``{0000..0009}`` stands for."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", word)
    if match is None or int(match[2]) - int(match[1]) > _MAX_RANGE:
        return [word]
    wide = len(match[1])
    numbers = (f"{n:0{wide}d}" for n in range(int(match[1]), int(match[2]) + 1))
    before, after = word[: match.start()], word[match.end() :]
    return [full for n in numbers for full in braces(before + n + after)]


def image_files(folder: Path, root: Path, endings: Collection[str] = SUFFIXES) -> list[str]:
    """Names of the image files below ``folder``, by their endings, without hidden ones.

    Args:
        folder: searched with all folders in it.
        root: a folder above it, to which the names are relative.
        endings: in small letters, each with its dot.
    Returns:
        The names, sorted.
    Raises:
        OSError: a folder cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise error

    found = []
    for where, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = [file for file in files if _is_image(file, endings)]
        found += [str((Path(where) / file).relative_to(root)) for file in here]
    return sorted(found)


def _is_image(name: str, endings: Collection[str] = SUFFIXES) -> bool:
    return not name.startswith(".") and name.lower().endswith(tuple(endings))


def _zip_entries(archive: zipfile.ZipFile) -> list[tuple[str, str | None]]:
    """(class, entry) for each image and (class, None) for each class folder, one common top folder
    left out.
    """
    names = [n for n in sorted(archive.namelist()) if PurePosixPath(n).parts and not is_hidden(n)]
    parts = {name: PurePosixPath(name).parts for name in names}
    files = [name for name in names if not name.endswith("/") and _is_image(parts[name][-1])]
    deep = bool(files) and all(len(parts[name]) > 2 for name in files)
    skip = int(deep and len({parts[name][0] for name in files}) == 1)
    found: list[tuple[str, str | None]] = []
    for name in names:
        if name.endswith("/") and len(parts[name]) == skip + 1:
            found.append((parts[name][skip], None))
    found += [(parts[name][skip], name) for name in files if len(parts[name]) > skip + 1]
    return found


def _index(
    found: dict[str, list[Any]], shown: str
) -> tuple[tuple[str, ...], np.ndarray, list[Any]]:
    """Class names, labels and files from files by class."""
    if not found:
        raise UsageError(
            given=f"{shown}, which holds no class folder with images",
            allowed="one folder a class, with images in it",
            fix=_FIX_LAYOUT,
        )
    empty = sorted(name for name, files in found.items() if not files)
    if empty:
        raise UsageError(
            given=f"class folder {empty[0]!r} of {shown}, which holds no image"
            + (f" (and {len(empty) - 1} more such)" if len(empty) > 1 else ""),
            allowed="at least one image in each class folder",
            fix=f"remove the folder {empty[0]!r} or put images into it",
        )
    classes = tuple(sorted(found))
    files = [file for name in classes for file in found[name]]
    labels = np.repeat(np.arange(len(classes)), [len(found[name]) for name in classes])
    return classes, labels.astype(np.int64), files


def _torchvision_set(name: str, *, train: bool, root: Path, download: bool) -> Any:
    try:
        from torchvision import datasets
    except ImportError:
        given = f"data set torchvision:{name} without the package torchvision"
        raise missing_extra(given, "train") from None
    kind = getattr(datasets, name, None)
    if not (name[:1].isupper() and callable(kind)):
        raise UsageError(
            given=f"data set torchvision:{name}",
            allowed="the name of an image classification set in torchvision.datasets",
            fix=f"use one of {', '.join(_nearest(name, datasets.__all__))}",
        )
    wanted: dict[str, Any] = {
        "root": str(root),
        "train": train,
        "split": "train" if train else "test",
        "download": download,
    }
    accepted = inspect.signature(kind).parameters
    try:
        return kind(**{k: v for k, v in wanted.items() if k in accepted})
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        raise UsageError(
            given=f"data set torchvision:{name} at {str(root)!r} ({error})",
            allowed="a data set that is there, or may be downloaded",
            fix="add --download, or name its folder with --root",
        ) from None


def _nearest(name: str, names: Sequence[str]) -> list[str]:
    import difflib

    sets = {known.lower(): known for known in names if known[0].isupper()}
    return [sets[k] for k in difflib.get_close_matches(name.lower(), sets, n=3, cutoff=0.0)]


@dataclass(frozen=True, slots=True)
class Relabelled:
    """A source under a model's class numbers."""

    source: LabelledImages
    classes: tuple[str, ...]
    labels: np.ndarray

    def name(self, index: int) -> str:
        """The image's name in the source."""
        return self.source.name(index)

    def image(self, index: int) -> Image.Image:
        """The image as the source gives it."""
        return self.source.image(index)


def relabel(source: LabelledImages, classes: Sequence[str], count: int) -> LabelledImages:
    """Number a source's classes as a model does.

    Args:
        source: labelled images; their classes may be some of the model's.
        classes: the model's class names, or the source's own where a model has none.
        count: number of the model's classes.
    Raises:
        UsageError: if the source has a class that the model has not.
    """
    strange = [name for name in source.classes if name not in classes]
    if strange or len(classes) != count:
        given = f"images of class {strange[0]!r}" if strange else f"{len(classes)} classes"
        raise UsageError(
            given=f"{given} for a model of {count} classes",
            allowed=f"class folders named {', '.join(classes[:10])}"
            + (", ..." if len(classes) > 10 else "")
            if strange
            else f"{count} classes",
            fix="rename the class folders, or use weights that were trained on these classes",
        )
    table = np.array([list(classes).index(name) for name in source.classes], dtype=np.int64)
    return Relabelled(source, tuple(classes), table[source.labels])
