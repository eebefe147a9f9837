"""Annotations as COCO has them: one JSON file with images, categories and annotations."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from vitrail.data.listing import Listing, length
from vitrail.errors import UsageError, shown

_PARTS = ("images", "annotations", "categories")


def read_coco(file: bytes, name: str) -> Listing:
    """Read a list of images, classes and objects.

    Classes are the categories in the order of their ids. An image without annotations is one
    without objects.

    Args:
        file: its bytes.
        name: of the file, for errors.
    Raises:
        UsageError: it is no such list; or an id or a name stands twice in it, or an annotation is
            of an image or a category that is not listed.
    """
    content = _parsed(file, name)
    categories = {
        _id(one, "id", "category", name): _text(one, "name", "category", name)
        for one in _distinct(content["categories"], "id", "category", name)
    }
    _distinct(content["categories"], "name", "category", name)
    images = {
        _id(one, "id", "image", name): one
        for one in _distinct(content["images"], "id", "image", name)
    }
    _distinct(content["images"], "file_name", "image", name)
    numbered = [one for one in content["annotations"] if "id" in one]
    _distinct(numbered, "id", "annotation", name)
    numbers = {key: number for number, key in enumerate(sorted(categories))}
    found: dict[int, list[Any]] = defaultdict(list)
    for one in content["annotations"]:
        image = _id(one, "image_id", "annotation", name)
        category = _id(one, "category_id", "annotation", name)
        if image not in images:
            raise _unlisted(name, one, "image", image, "images", images)
        if category not in categories:
            raise _unlisted(name, one, "category", category, "categories", categories)
        row = (_box(one, name), numbers[category], bool(one.get("iscrowd")))
        found[image].append((*row, one.get("segmentation")))
    listing = Listing(tuple(categories[key] for key in sorted(categories)))
    for key, image in images.items():
        file_name = _text(image, "file_name", "image", name)
        about = f"{name!r}, image {file_name!r}"
        size = tuple(length(image.get(side), side, about) for side in ("height", "width"))
        listing.add(file_name, size, found[key])
    return listing


def _parsed(file: bytes, name: str) -> dict[str, list[dict[str, Any]]]:
    try:
        content = json.loads(file)
    except (ValueError, RecursionError) as error:
        raise _no_coco(f"{name!r}, which is no JSON ({str(error)[:100]})") from None
    if not isinstance(content, dict):
        raise _no_coco(f"{name!r}, which holds no object")
    for part in _PARTS:
        rows = content.get(part)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise _no_coco(f"{name!r} without a list of objects {part!r}")
    for part in ("images", "categories"):
        if not content[part]:
            raise _no_coco(f"{name!r}, whose list {part!r} is empty")
    return {part: content[part] for part in _PARTS}


def _no_coco(given: str) -> UsageError:
    return UsageError(
        given=given,
        allowed="a file of COCO's form: an object with the lists " + ", ".join(_PARTS),
        fix="write images [{id, file_name, width, height}], categories [{id, name}] and "
        "annotations [{id, image_id, category_id, bbox: [x, y, width, height]}]",
    )


def _id(row: dict[str, Any], key: str, what: str, name: str) -> int:
    value = row.get(key)
    if type(value) is not int:
        raise UsageError(
            given=f"{name!r}, with {what} {shown(row.get('id'))} whose {key} is {shown(value)}",
            allowed=f"a whole number as {key} of each {what}",
            fix=f"number the {key}s",
        )
    return value


def _text(row: dict[str, Any], key: str, what: str, name: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value:
        raise UsageError(
            given=f"{name!r}, with {what} {shown(row.get('id'))} whose {key} is {shown(value)}",
            allowed=f"text as {key} of each {what}",
            fix=f"give each {what} its {key}",
        )
    return value


def _distinct(
    rows: Sequence[dict[str, Any]], key: str, what: str, name: str
) -> Sequence[dict[str, Any]]:
    """The rows, of which no two have the same value.

    Raises:
        UsageError: two have.
    """
    seen: set[Any] = set()
    for row in rows:
        value = row.get(key)
        if isinstance(value, str | int):
            if value in seen:
                raise UsageError(
                    given=f"{name!r}, in which two entries of kind {what} have {key}="
                    f"{shown(value)}",
                    allowed=f"a {key} of its own for each {what}",
                    fix="remove one of them, or number them anew",
                )
            seen.add(value)
    return rows


def _unlisted(
    name: str, row: dict[str, Any], what: str, value: int, part: str, known: dict[int, Any]
) -> UsageError:
    some = ", ".join(map(str, sorted(known)[:8])) + (", ..." if len(known) > 8 else "")
    return UsageError(
        given=f"{name!r}, whose annotation {shown(row.get('id'))} is of {what} {value}, which is "
        "not listed",
        allowed=f"ids of the list {part!r}: {some}",
        fix=f"add {what} {value} to {part!r}, or remove its annotations",
    )


def _box(row: dict[str, Any], name: str) -> tuple[float, float, float, float]:
    box = row.get("bbox")
    numbers = isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))
    if not numbers:
        raise UsageError(
            given=f"{name!r}, whose annotation {shown(row.get('id'))} has bbox={shown(box)}",
            allowed="four finite numbers: left, top, width and height in pixels",
            fix="write the box, or remove the annotation",
        )
    left, top, width, height = map(float, box)  # type: ignore[arg-type]  # four numbers
    return left, top, left + width, top + height


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
