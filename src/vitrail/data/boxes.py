"""Images with the boxes of objects: COCO's JSON or Pascal VOC's XML, beside folders or zips."""

import logging
import os
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from vitrail.data.coco import read_coco
from vitrail.data.dataset import Subset
from vitrail.data.images import SUFFIXES, ImageError, decode
from vitrail.data.layout import CLASS_LISTS
from vitrail.data.listing import Listed, Listing, Objects
from vitrail.data.outline import Outline
from vitrail.data.rle import ShapeError, mask_of
from vitrail.data.rng import key, permutation
from vitrail.data.sources import expand
from vitrail.data.stores import FolderStore, Store, ZipStore
from vitrail.data.voc import read_voc
from vitrail.errors import UsageError

ALLOWED = (
    "folders or zips of images with COCO's JSON beside them (train.zip with train.json) or in them "
    "(annotations.json), or with VOC's Annotations/*.xml and JPEGImages/"
)
_NAMES = ("annotations.json", "_annotations.coco.json", "instances.json")
_log = logging.getLogger("vitrail.data")


class _Entry(NamedTuple):
    store: int
    file: str
    listed: Listed


class BoxSource:
    """Images with boxes, in the order of their stores and lists."""

    def __init__(self, stores: Sequence[Store], listings: Sequence[Listing]) -> None:
        """Joins lists and files; decodes none.

        Args:
            stores: where the images are.
            listings: of each store.
        Raises:
            UsageError: the classes differ, or an image that is listed is not there.
        """
        self.stores = tuple(stores)
        self.classes = listings[0].classes
        self._entries: list[_Entry] = []
        for number, (store, listing) in enumerate(zip(stores, listings, strict=True)):
            if listing.classes != self.classes:
                raise UsageError(
                    given=f"{store.shown} with the classes {', '.join(listing.classes[:8])}, the "
                    f"data before it with {', '.join(self.classes[:8])}",
                    allowed="the same classes in the same order for all data",
                    fix="write all categories into each list, or a classes.txt beside Annotations",
                )
            files = _files_of(store, listing)
            pairs = zip(files, listing.images, strict=True)
            self._entries += [_Entry(number, file, listed) for file, listed in pairs]

    def __len__(self) -> int:
        return len(self._entries)

    def name(self, index: int) -> str:
        """The image's path."""
        entry = self._entries[index]
        return self.stores[entry.store].name(entry.file)

    def size(self, index: int) -> tuple[int, ...]:
        """Height and width of number ``index``, as they are listed."""
        return self._entries[index].listed.size

    def objects(self, index: int) -> Objects:
        """The objects in number ``index``."""
        return self._entries[index].listed.objects

    def image(self, index: int) -> UInt8[np.ndarray, "channels height width"]:
        """Number ``index``, decoded.

        Raises:
            ImageError: it cannot be read, or is of another size than it is listed with.
        """
        entry, name = self._entries[index], self.name(index)
        photo = np.array(decode(self.stores[entry.store].read(entry.file), name).image)
        own, listed = (" x ".join(map(str, s)) for s in (photo.shape[:2], entry.listed.size))
        if own != listed:
            raise ImageError(
                given=f"{name!r}, a picture of {own} listed as {listed} (height x width)",
                allowed="boxes of the picture as it is shown upright",
                fix="correct the list, or leave the picture out",
            )
        return np.moveaxis(photo, -1, 0)

    def masks(self, index: int) -> UInt8[np.ndarray, "objects height width"]:
        """The masks of the objects in number ``index``.

        Raises:
            ImageError: an object has none, or it cannot be read.
        """
        entry = self._entries[index]
        size, objects = entry.listed.size, entry.listed.objects
        found = np.zeros((len(objects), *size), dtype=np.uint8)
        for number, shape in enumerate(objects.shapes):
            if objects.crowd[number]:
                continue  # its outline is of several, and not learnt
            try:
                found[number] = mask_of(shape, size)
            except ShapeError as error:
                raise ImageError(
                    given=f"{self.name(index)!r}, whose object {number + 1} has {error}",
                    allowed="a segmentation of polygons or run lengths for each object",
                    fix="correct or remove the object; --head faster_rcnn needs boxes only",
                ) from None
        return found


def open_boxes(data: Sequence[str | os.PathLike[str]]) -> BoxSource:
    """Open images with boxes.

    Boxes that had to be cut or left out are counted, and reported by the log ``vitrail.data``.

    Args:
        data: folders, zips, lists of COCO's form whose images lie beside them, or patterns such as
            ``train-*.zip``.
    Raises:
        UsageError: there are no such data, a list is damaged, or an image of it is not there.
    """
    stores, listings = [], []
    for path in (path for item in data for path in expand(os.fspath(item), ALLOWED)):
        store, listing = _opened(path)
        for reason, (count, first) in listing.flaws.items():
            _log.warning("%s: %d boxes %s, such as %s", path, count, reason, first)
        stores.append(store)
        listings.append(listing)
    return BoxSource(stores, listings)


def boxes_in(data: Outline) -> str | None:
    """Why data look like images with boxes, in words; None where they do not."""
    path = None if data.name.startswith("torchvision:") else expand(data.name, ALLOWED)[0]
    if path is not None and path.suffix.lower() == ".json":
        return "images listed in JSON"
    if path is not None and (beside := _list_beside(path)):
        return f"images with {beside.name} beside them"
    if data.holds((".xml",), "Annotations"):
        return "images with Annotations/ in XML"
    inside = sorted(name for name in data.files if name in _NAMES)
    if inside or data.holds((".json",), "annotations"):
        return f"images with {inside[0] if inside else 'annotations/ in JSON'}"
    return None


def split_boxes(
    source: BoxSource, share: float, seed: int
) -> tuple[Subset[BoxSource], Subset[BoxSource]]:
    """Cut a source into a training and a validation subset.

    Args:
        source: images with boxes.
        share: of the images for validation, in [0, 1).
        seed: decides which images those are.
    Raises:
        UsageError: there are too few to give any to both parts.
    """
    count = max(1, round(share * len(source))) if share else 0
    if count >= len(source):
        raise UsageError(
            given=f"{len(source)} image(s) and a validation part of {share:g}",
            allowed="at least one image in both parts",
            fix="add images, or name validation data with --val",
        )
    held = np.zeros(len(source), dtype=bool)
    held[permutation(key(seed, 0x5EED), len(source))[:count]] = True
    return Subset(source, np.flatnonzero(~held)), Subset(source, np.flatnonzero(held))


def _opened(path: Path) -> tuple[Store, Listing]:
    """Where the images are, and what is listed of them."""
    if path.suffix.lower() == ".json" and path.is_file():
        folder = FolderStore(path.absolute().parent)
        return _images_of(path), read_coco(folder.read(path.name), str(path))
    if not path.is_dir() and not zipfile.is_zipfile(path):
        damaged = path.suffix.lower() == ".zip"
        raise UsageError(
            given=f"{str(path)!r}, which is "
            + ("a damaged or truncated zip" if damaged else "neither a folder, a zip nor a list"),
            allowed=ALLOWED,
            fix="copy or download it again" if damaged else "name the folder that holds the images",
        )
    store: Store = FolderStore(path) if path.is_dir() else ZipStore(path)
    beside = _list_beside(path)
    if beside is not None:
        return store, read_coco(FolderStore(beside.parent).read(beside.name), str(beside))
    inside = _list_inside(store)
    if inside is not None:
        return store, read_coco(store.read(inside), store.name(inside))
    if _xmls(store):
        return store, _voc_of(store)
    raise UsageError(
        given=f"{str(path)!r}, without a list of boxes beside it or in it",
        allowed=ALLOWED,
        fix=f"write {str(_beside(path))!r}, or name the list: DATA can be a .json file",
    )


def _beside(path: Path) -> Path:
    path = path.absolute()
    return path.with_name(path.name + ".json") if path.is_dir() else path.with_suffix(".json")


def _list_beside(path: Path) -> Path | None:
    found = _beside(path)
    return found if found.is_file() else None


def _list_inside(store: Store) -> str | None:
    """The list in a store: of a usual name, or the only JSON.

    Raises:
        UsageError: there are several, none of a usual name.
    """
    lists = [entry for entry in store.entries() if PurePosixPath(entry).suffix.lower() == ".json"]
    usual = [entry for entry in lists if PurePosixPath(entry).name in _NAMES]
    found = usual or lists
    if len(found) > 1:
        raise UsageError(
            given=f"{store.shown} with the lists {', '.join(found[:4])}",
            allowed=f"one list, or one named {_NAMES[0]}",
            fix=f"name the list to use: {store.name(found[0])}",
        )
    return found[0] if found else None


def _images_of(path: Path) -> Store:
    """Where the images of a list are: beside it, under its name or in images/."""
    path = path.absolute()
    stem = path.stem.removeprefix("instances_")
    for folder in dict.fromkeys((path.parent, path.parent.parent)):
        if (folder / f"{stem}.zip").is_file():
            return ZipStore(folder / f"{stem}.zip")
        if (folder / stem).is_dir():
            return FolderStore(folder / stem)
    images = path.parent / "images"
    return FolderStore(images if images.is_dir() else path.parent)


def _files_of(store: Store, listing: Listing) -> list[str]:
    """The file of each image that is listed.

    A listed name may leave out folders above it, where only one file ends with it.

    Raises:
        UsageError: one is not there.
    """
    entries = set(store.entries())
    by_name: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        by_name[PurePosixPath(entry).name].append(entry)
    found, used = [], set()
    for image in listing.images:
        wanted = PurePosixPath(image.file.replace("\\", "/").removeprefix("./")).as_posix()
        candidates = [wanted] if wanted in entries else [
            entry
            for entry in by_name[PurePosixPath(wanted).name]
            if entry.endswith(f"/{wanted}")
        ]  # fmt: skip
        if len(candidates) != 1:
            many = "which is there several times" if candidates else "which is not there"
            raise UsageError(
                given=f"the image {image.file!r} of the list for {store.shown}, {many}",
                allowed="one file for each image that is listed",
                fix="add the file, or remove the image and its annotations from the list",
            )
        found.append(candidates[0])
    used = set(found)
    lonely = [e for e in entries if PurePosixPath(e).suffix.lower() in SUFFIXES and e not in used]
    if lonely:
        _log.warning(
            "%s: %d images without an entry in the list left out, such as %s",
            *(store.shown, len(lonely), min(lonely)),
        )
    return found


def _xmls(store: Store) -> list[str]:
    """Annotations of VOC in a store."""
    paths = ((entry, PurePosixPath(entry)) for entry in store.entries())
    return [
        entry
        for entry, path in paths
        if path.suffix.lower() == ".xml" and path.parent.name == "Annotations"
    ]


def _voc_of(store: Store) -> Listing:
    """The list that a store's XML files make.

    Raises:
        UsageError: an annotation has no image.
    """
    images: dict[tuple[str, str], str] = {}
    classes: tuple[str, ...] = ()
    for entry in store.entries():
        path = PurePosixPath(entry)
        if path.parent.name == "JPEGImages" and path.suffix.lower() in SUFFIXES:
            images[str(path.parent.parent), path.stem] = entry
        elif path.name in CLASS_LISTS:
            lines = store.read(entry).decode("utf-8-sig", "replace").splitlines()
            classes = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    files = []
    for entry in _xmls(store):
        path = PurePosixPath(entry)
        image = images.get((str(path.parent.parent), path.stem))
        if image is None:
            raise UsageError(
                given=f"the annotation {store.name(entry)!r} without its image",
                allowed="JPEGImages/NAME.jpg for each Annotations/NAME.xml",
                fix=f"add JPEGImages/{path.stem}.jpg, or remove the annotation",
            )
        files.append((store.read(entry), store.name(entry), image))
    return read_voc(iter(files), classes)
