"""What a model of segmentation answers for a photo: a mask of its size, to save, draw and count."""

import colorsys
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image

from vitrail.data.images import MAX_LABEL, Photo
from vitrail.errors import UsageError
from vitrail.files import check_writable, write_text, write_whole
from vitrail.tasks.base import Line, Prediction

_MASKS, _PICTURES = (".png", ".tif", ".tiff"), (".jpg", ".jpeg", ".webp")
_OPACITY = 0.45  # of a class over the photo


@dataclass(frozen=True, slots=True, eq=False)
class Segmentation(Prediction):
    """The class of each pixel of a photo.

    Args:
        labels: the number of a class each.
        classes: their names.
        values: what stands for each in a saved mask, as in the label maps of the training.
        colours: of each class, as #rrggbb.
        photo: what was segmented.
        background: whether class 0 is what remains, which is not drawn.
        objects: numbers of the objects, 0 being none, where such were found.
    """

    columns: ClassVar[tuple[str, ...]] = ("class", "pixels", "share", "objects")
    endings: ClassVar[tuple[str, ...]] = _MASKS

    labels: Integer[np.ndarray, "height width"]
    classes: tuple[str, ...]
    values: tuple[int, ...]
    colours: tuple[str, ...]
    photo: Photo
    background: bool = True
    objects: Integer[np.ndarray, "height width"] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Pixels and share of each class, the number of objects, and notes on the photo."""
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
        """The mask, and the photo with it."""
        return {"mask": ".png", "overlay": "-overlay.jpg"}

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

    def mask(self) -> Image.Image:
        """The mask: palette indices, or 16-bit grey of objects and of labels above 255.

        Raises:
            UsageError: more objects than 16 bits number.
        """
        if self.objects is not None:
            if self.objects.max() > MAX_LABEL:
                raise UsageError(
                    given=f"{self.objects.max():,} objects",
                    allowed=f"at most {MAX_LABEL:,} in a mask of 16 bits",
                    fix="cut the image into several, or raise the task's option least",
                )
            return Image.fromarray(self.objects.astype(np.uint16))
        numbers = np.array(self.values)[self.labels]
        if numbers.max() > 255:
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
        photo = np.asarray(self.photo.image)
        if self.objects is None:
            shown, over = self.labels > 0, _rgb(list(self.colours))[self.labels]
            if not self.background:
                shown = np.ones_like(shown)
        else:
            shown = self.objects > 0
            over = _rgb(default_colours(int(self.objects.max()) + 1))[self.objects]
        page = photo.copy()
        page[shown] = ((1 - _OPACITY) * photo[shown] + _OPACITY * over[shown]).astype(np.uint8)
        if self.objects is not None:
            edge = outlines(self.objects)
            page[edge] = over[edge]
        return Image.fromarray(page)

    def save(self, path: str | Path) -> Path:
        """Write the mask (``.png``, ``.tif``), the photo with it (``.jpg``, ``.webp``), or JSON.

        Raises:
            UsageError: another ending, or a place that cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (*_MASKS, *_PICTURES, ".json"):
            raise UsageError(
                given=f"{str(path)!r}, a file ending in {path.suffix or 'nothing'}",
                allowed="a file ending in .png or .tif for the mask, .jpg or .webp for the photo "
                "with it, or .json",
                fix=f"write {str(path.with_suffix('.png'))!r}",
            )
        check_writable(path, "the file")
        if suffix == ".json":
            text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
            write_text(path, text.encode("utf-8", "backslashreplace").decode() + "\n")
        else:
            write_whole(path, (self.mask() if suffix in _MASKS else self.draw()).save)
        return path


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
