"""What a detector answers for a photo: boxes and masks in its own pixels, to save and draw."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from vitrail.data.images import Photo
from vitrail.data.rle import mask_of, run_lengths
from vitrail.errors import UsageError
from vitrail.files import check_writable, write_text, write_whole
from vitrail.shapes import Size
from vitrail.tasks.base import Line, Prediction
from vitrail.tasks.segmentation import default_colours

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Objects in an image, in its own pixels.

    Args:
        boxes: left, top, right and bottom of each.
        labels: number of each one's class.
        scores: of each, the surest first; None for objects that are known.
        masks: of each, in COCO's run lengths; None for none.
    """

    boxes: Float[np.ndarray, "objects 4"]
    labels: Int64[np.ndarray, "objects"]
    scores: Float[np.ndarray, "objects"] | None = None
    masks: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def over(self, score: float) -> "Found":
        """Those of at least a score."""
        assert self.scores is not None
        some = np.flatnonzero(self.scores >= score)
        masks = None if self.masks is None else [self.masks[n] for n in some]
        return Found(self.boxes[some], self.labels[some], self.scores[some], masks)

    def rows(self) -> list[dict[str, Any]]:
        """Each as COCO has it: ``bbox`` of left, top, width and height, ``area``, and more."""
        rows = []
        for n, (left, top, right, bottom) in enumerate(self.boxes.astype(float).tolist()):
            box = [left, top, right - left, bottom - top]
            row: dict[str, Any] = {"bbox": box, "area": box[2] * box[3]}
            if self.scores is not None:
                row["score"] = float(self.scores[n])
            if self.masks is not None:
                row["segmentation"] = self.masks[n]
            rows.append(row | {"category_id": int(self.labels[n]) + 1})
        return rows


def found_in(answer: dict[str, Tensor], lengths: Size, size: Size) -> Found:
    """What a detector found, in the pixels of the photo.

    Args:
        answer: of the detector, for one input.
        lengths: height and width of the photo in the input, where it begins in the corner.
        size: of the photo.
    Raises:
        UsageError: numbers are not finite.
    """
    numbers = {name: values.detach().float().cpu() for name, values in answer.items()}
    if not all(values.isfinite().all() for values in numbers.values()):
        raise UsageError(
            given="a model whose outputs are not finite (NaN or infinite)",
            allowed="a model with finite outputs",
            fix="use other weights; these hold NaN or infinite numbers, or overflow",
        )
    factors = [whole / part for whole, part in zip(size, lengths, strict=True)]
    boxes = numbers["boxes"] * torch.tensor([factors[1], factors[0]] * 2)
    limits = torch.tensor([size[1], size[0]] * 2)
    boxes = torch.minimum(boxes.clamp_min(0), limits)
    good = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)  # not in the margin of the input
    order = numbers["scores"].argsort(descending=True, stable=True)
    kept = order[good[order]]
    masks = None
    if "masks" in numbers:
        masks = [run_lengths(pasted(numbers["masks"][n, 0], boxes[n].tolist(), size)) for n in kept]
    labels = answer["labels"].cpu()[kept].numpy()
    return Found(boxes[kept].numpy(), labels, numbers["scores"][kept].numpy(), masks)


def pasted(
    mask: Float[Tensor, "rows columns"], box: Sequence[float], size: Size
) -> Bool[np.ndarray, "height width"]:
    """A mask of an image's size from probabilities within a box.

    Args:
        mask: probabilities.
        box: left, top, right and bottom in pixels.
        size: height and width of the image.
    """
    left, top, right, bottom = box
    whole = np.zeros(size, dtype=bool)
    (first, last), (begin, end) = (
        (int(np.floor(low)), min(int(np.ceil(high)), length))
        for low, high, length in ((top, bottom, size[0]), (left, right, size[1]))
    )
    y = (torch.arange(first, last) + 0.5 - top) / (bottom - top) * 2 - 1
    x = (torch.arange(begin, end) + 0.5 - left) / (right - left) * 2 - 1
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None].to(mask.dtype)
    inside = F.grid_sample(mask[None, None], grid, padding_mode="border", align_corners=False)
    whole[first:last, begin:end] = (inside[0, 0] >= 0.5).numpy()
    return whole


@dataclass(frozen=True, slots=True, eq=False)
class Detection(Prediction):
    """The objects in a photo.

    Args:
        found: in the photo's pixels, the surest first.
        classes: their names.
        photo: in which they are.
    """

    columns: ClassVar[tuple[str, ...]] = ("class", "score", "left", "top", "right", "bottom")
    endings: ClassVar[tuple[str, ...]] = _PICTURES

    found: Found
    classes: tuple[str, ...]
    photo: Photo

    @classmethod
    def files(cls, name: str) -> dict[str, str]:
        """The photo with its objects."""
        return {"overlay": "-overlay.jpg"}

    @classmethod
    def rows(cls, answer: dict[str, Any]) -> list[dict[str, Any]]:
        """One for each object."""
        sides = cls.columns[2:]
        return [one | dict(zip(sides, one["box"], strict=True)) for one in answer["objects"]]

    @classmethod
    def lines(cls, answer: dict[str, Any]) -> list[Line]:
        """The number of objects, and the box and score of each."""
        objects = answer["objects"]
        count = Line(f"{len(objects):,} object{'' if len(objects) == 1 else 's'}")
        width = max((len(one["class"]) for one in objects), default=0)
        rows = (
            Line(
                f"{one['class']:<{width}}  " + " ".join(f"{n:7.1f}" for n in one["box"]),
                one["score"],
            )
            for one in objects
        )
        return [count, *rows]

    @classmethod
    def together(cls, answers: list[dict[str, Any]], classes: tuple[str, ...]) -> dict[str, str]:
        """All objects in COCO's form, with their scores."""
        images, objects = [], []
        for number, answer in enumerate((a for a in answers if "error" not in a), 1):
            height, width = answer["size"]
            about = {"file_name": answer["photo"], "height": height, "width": width}
            images.append({"id": number} | about)
            for one in answer["objects"]:
                left, top, right, bottom = one["box"]
                box = [left, top, round(right - left, 2), round(bottom - top, 2)]
                row = {"id": len(objects) + 1, "image_id": number, "category_id": one["index"] + 1}
                row |= {"bbox": box, "area": round(box[2] * box[3], 2), "iscrowd": 0}
                row |= {"segmentation": one["mask"]} if "mask" in one else {}
                objects.append(row | {"score": one["score"]})
        categories = [{"id": n, "name": name} for n, name in enumerate(classes, 1)]
        content = {"images": images, "categories": categories, "annotations": objects}
        return {"detections.json": json.dumps(content) + "\n"}

    def as_dict(self) -> dict[str, Any]:
        """The class, score and box of each object, and notes on the photo.

        A box is left, top, right and bottom in pixels; a mask, where there is one, has COCO's run
        lengths.
        """
        found = self.found
        rows = []
        assert found.scores is not None
        for n, label in enumerate(found.labels.tolist()):
            row = {"class": self.classes[label], "index": label, "score": float(found.scores[n])}
            row["box"] = [round(value, 2) for value in found.boxes[n].astype(float).tolist()]
            rows.append(row if found.masks is None else row | {"mask": found.masks[n]})
        size = [self.photo.image.height, self.photo.image.width]
        return {"notes": list(self.photo.notes), "size": size, "objects": rows}

    def draw(self) -> Image.Image:
        """The photo with the boxes, and the masks where there are such."""
        from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

        found = self.found
        assert found.scores is not None
        page = torch.from_numpy(np.array(self.photo.image)).movedim(-1, 0)
        if not len(found):
            return self.photo.image
        palette = default_colours(len(self.classes) + 1)[1:]
        colours: list[Any] = [palette[label] for label in found.labels]
        if found.masks is not None:
            size = tuple(page.shape[1:])
            masks = np.stack([mask_of(mask, size) for mask in found.masks]) > 0
            page = draw_segmentation_masks(page, torch.from_numpy(masks), 0.45, colours)
        width = max(1, round(min(page.shape[1:]) / 250))
        names = [
            f"{self.classes[label]} {score:.0%}"
            for label, score in zip(found.labels, found.scores, strict=True)
        ]
        boxes = torch.from_numpy(found.boxes)
        page = draw_bounding_boxes(page, boxes, names, colours, width=width)
        return Image.fromarray(page.movedim(0, -1).numpy())

    def save(self, path: str | Path) -> Path:
        """Write the photo with the objects (``.png``, ``.jpg``, ``.webp``, ``.tif``), or JSON.

        Raises:
            UsageError: another ending, or a place that cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (*_PICTURES, ".json"):
            raise UsageError(
                given=f"{str(path)!r}, a file ending in {path.suffix or 'nothing'}",
                allowed=f"a file ending in {', '.join(_PICTURES)} for the photo with its objects, "
                "or .json",
                fix=f"write {str(path.with_suffix('.png'))!r}",
            )
        check_writable(path, "the file")
        if suffix == ".json":
            text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False)
            write_text(path, text.encode("utf-8", "backslashreplace").decode() + "\n")
        else:
            write_whole(path, self.draw().save)
        return path
