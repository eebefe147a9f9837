"""What a model of segmentation answers: a mask of the input's size, to save, draw and count."""

import colorsys
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image

from vitrail.data.images import MAX_LABEL, Photo
from vitrail.data.rasters import Raster
from vitrail.data.volumes import Volume
from vitrail.errors import UsageError
from vitrail.files import check_writable, write_text, write_whole
from vitrail.tasks.base import Line, Prediction

_OPACITY = 0.45  # of a class over the photo


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation(Prediction):
    """The class of each place of a photo; of volumes see ``VolumeSegmentation``.

    Args:
        labels: the number of a class each.
        classes: their names.
        values: what stands for each in a saved mask, as in the label maps of the training.
        colours: of each class, as #rrggbb.
        photo: what was segmented: a photo, a volume, or a raster.
        background: whether class 0 is what remains, which is not drawn.
        objects: numbers of the objects, 0 being none, where such were found.
    """

    columns: ClassVar[tuple[str, ...]] = ("class", "pixels", "share", "objects")
    endings: ClassVar[tuple[str, ...]] = (".png", ".tif", ".tiff")
    pictures: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".webp")
    """Endings of a picture with the mask."""

    labels: Integer[np.ndarray, "*spatial"]
    classes: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[str, ...]
    photo: Photo | Volume | Raster
    background: bool = True
    objects: Integer[np.ndarray, "*spatial"] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Pixels and share of each class, the number of objects, and notes on the input."""
        pixels = np.bincount(self.labels.ravel(), minlength=len(self.classes)).tolist()
        rows = [
            {"class": name, "index": n, "pixels": count, "share": count / self.labels.size}
            for n, (name, count) in enumerate(zip(self.classes, pixels, strict=True))
        ]
        found: dict[str, Any] = {"notes": list(self.photo.notes), "size": list(self.labels.shape)}
        if self.objects is not None:
            found["objects"] = int(self.objects.max())
        return found | {"classes": rows}

    @classmethod
    def files(cls, name: str) -> dict[str, str]:
        """The mask, and the photo with it; the mask of a TIFF is one too, that of an array also."""
        ending = Path(name).suffix.lower()
        kinds = {".tif": ".tif", ".tiff": ".tif", ".npy": ".npy", ".npz": ".npy"}
        return {"mask": kinds.get(ending, ".png"), "overlay": "-overlay.jpg"}

    @classmethod
    def rows(cls, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """One for each class."""
        return [{**row, "objects": answer.get("objects", "")} for row in answer["classes"]]

    @classmethod
    def lines(cls, answer: dict[str, Any]) -> list[Line]:
        """The number of objects, and the share of each class that is there."""
        count = answer.get("objects")
        objects = [] if count is None else [Line(f"{count:,} object{'' if count == 1 else 's'}")]
        there = [row for row in answer["classes"] if row["pixels"]]
        return [*objects, *(Line(row["class"], row["share"]) for row in there)]

    def numbers(self) -> Integer[np.ndarray, "*spatial"]:
        """What the mask has at each place: the objects' numbers, or the labels of the classes.

        Raises:
            UsageError: more objects than 16 bits number.
        """
        if self.objects is None:
            return np.array(self.values)[self.labels]
        if self.objects.max() > MAX_LABEL:
            raise UsageError(
                given=f"{self.objects.max():,} objects",
                allowed=f"at most {MAX_LABEL:,} in a mask of 16 bits",
                fix="cut the image into several, or raise the task's option least",
            )
        return self.objects

    def mask(self) -> Image.Image:
        """The mask: palette indices, or 16-bit grey of objects and of labels above 255.

        Raises:
            UsageError: more objects than 16 bits number.
        """
        numbers = self.numbers()
        if self.objects is not None or numbers.max() > 255:
            return Image.fromarray(numbers.astype(np.uint16))
        mask = Image.fromarray(numbers.astype(np.uint8), "P")
        palette = np.zeros((256, 3), np.uint8)
        palette[list(value for value in self.values if value < 256)] = _rgb(
            [c for c, value in zip(self.colours, self.values, strict=True) if value < 256]
        )
        mask.putpalette(palette.tobytes())
        return mask

    def draw(self) -> Image.Image:
        """The photo with the classes laid over it, or the objects with their outlines."""
        assert isinstance(self.photo, Photo)
        return self.laid_over(np.asarray(self.photo.image), np.s_[:, :])

    def laid_over(self, photo: UInt8[np.ndarray, "height width 3"], plane: Any) -> Image.Image:
        """A plane of the input with what was found there laid over it.

        Args:
            photo: the plane in colours.
            plane: what picks it out of the labels.
        """
        if self.objects is None:
            labels = self.labels[plane]
            shown, over = labels > 0, _rgb(list(self.colours))[labels]
            if not self.background:
                shown = np.ones_like(shown)
        else:
            objects = self.objects[plane]
            shown = objects > 0
            over = _rgb(default_colours(int(self.objects.max()) + 1))[objects]
        page = photo.copy()
        page[shown] = ((1 - _OPACITY) * photo[shown] + _OPACITY * over[shown]).astype(np.uint8)
        if self.objects is not None:
            edge = outlines(self.objects[plane])
            page[edge] = over[edge]
        return Image.fromarray(page)

    def save(self, path: str | Path) -> Path:
        """Write the mask, the input with it as a picture, or JSON, by the ending.

        The mask is ``.png`` or ``.tif``, of a volume ``.nii.gz`` or ``.nii``; the picture ``.jpg``
        or ``.webp``, of a volume ``.png`` too.

        Raises:
            UsageError: another ending, or a place that cannot be written.
        """
        path = Path(path)
        name = path.name.lower()
        if not name.endswith((*self.endings, *self.pictures, ".json")):
            stem = path.with_name(path.name.removesuffix(path.suffix))
            raise UsageError(
                given=f"{str(path)!r}, a file ending in {path.suffix or 'nothing'}",
                allowed=f"a file ending in {' or '.join(self.endings[:2])} for the mask, "
                f"{', '.join(self.pictures)} for a picture with it, or .json",
                fix=f"write {str(stem) + self.endings[0]!r}",
            )
        check_writable(path, "the file")
        if name.endswith(".json"):
            text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
            write_text(path, text.encode("utf-8", "backslashreplace").decode() + "\n")
        elif name.endswith(self.endings):
            self.save_mask(path)
        else:
            write_whole(path, self.draw().save)
        return path

    def save_mask(self, path: Path) -> None:
        """Write the mask, at a place that was checked."""
        write_whole(path, self.mask().save)


def default_colours(count: int) -> list[str]:
    """Black, and then hues that lie far from the ones before them."""
    hues = (colorsys.hsv_to_rgb(n * 0.618034 % 1, 0.75, 0.95) for n in range(count - 1))
    return ["#000000", *("#{:02x}{:02x}{:02x}".format(*(round(255 * c) for c in h)) for h in hues)]


def outlines(objects: Integer[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Pixels of an object beside which another number lies."""
    edge = np.zeros(objects.shape, dtype=bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = objects[one] != objects[other]
        edge[one] |= differ
        edge[other] |= differ
    return edge & (objects > 0)


def _rgb(colours: list[str]) -> UInt8[np.ndarray, "colours 3"]:
    return np.array([[*bytes.fromhex(colour.lstrip("#"))] for colour in colours], dtype=np.uint8)
