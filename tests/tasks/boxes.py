"""Tiny images with the boxes and outlines of their objects, as COCO and as Pascal VOC list them."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.tasks.pairs import encoded, pair

CLASSES = ("cold", "warm")


def listed(count: int, size: tuple[int, int] = (24, 20)) -> dict[str, Any]:
    """What COCO's file says of ``pair(0)`` to ``pair(count - 1)``; the last image has no object."""
    annotations: list[dict[str, Any]] = []
    for number in range(count - 1):
        objects = pair(number, size)[1]
        for value in np.unique(objects[objects > 0]).tolist():
            rows, columns = np.nonzero(objects == value)
            left, top = int(columns.min()), int(rows.min())
            right, bottom = int(columns.max()) + 1, int(rows.max()) + 1
            corners = [[left, top, right, top, right, bottom, left, bottom]]
            box = [left, top, right - left, bottom - top]
            row = {"id": len(annotations) + 1, "image_id": number + 5, "category_id": 7 * value}
            annotations.append(row | {"bbox": box, "segmentation": corners, "iscrowd": 0})
    images = [
        {"id": n + 5, "file_name": f"{n:03d}.png", "height": size[0], "width": size[1]}
        for n in range(count)
    ]
    categories = [{"id": 14, "name": "warm"}, {"id": 7, "name": "cold"}]
    return {"images": images, "categories": categories, "annotations": annotations}


def picture(number: int, count: int, size: tuple[int, int] = (24, 20)) -> bytes:
    if number < count - 1:
        return encoded(Image.fromarray(pair(number, size)[0]))
    return encoded(Image.fromarray(np.full((*size, 3), 20, np.uint8)))


def write_boxes(path: Path, count: int, size: tuple[int, int] = (24, 20)) -> Path:
    """A zip of images, and its list beside it."""
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            archive.writestr(f"{number:03d}.png", picture(number, count, size))
    path.with_suffix(".json").write_text(json.dumps(listed(count, size)))
    return path


def write_voc(folder: Path, count: int) -> Path:
    """The same as Pascal VOC has it."""
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    content = listed(count)
    for number, image in enumerate(content["images"]):
        stem = image["file_name"].removesuffix(".png")
        (folder / "JPEGImages" / f"{stem}.png").write_bytes(picture(number, count))
        words = [f"<size><width>{image['width']}</width><height>{image['height']}</height></size>"]
        for one in content["annotations"]:
            if one["image_id"] == image["id"]:
                left, top, wide, tall = one["bbox"]
                words.append(
                    f"<object><name>{CLASSES[one['category_id'] // 7 - 1]}</name><bndbox>"
                    f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin>"
                    f"<xmax>{left + wide}</xmax><ymax>{top + tall}</ymax></bndbox></object>"
                )
        text = f"<annotation>{''.join(words)}</annotation>"
        (folder / "Annotations" / f"{stem}.xml").write_text(text)
    return folder
