"""Annotations as Pascal VOC has them: one XML file an image."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from vitrail.data.listing import Listing, length
from vitrail.errors import UsageError, shown
from vitrail.extras import missing_extra
from vitrail.shapes import Size


class _Read(NamedTuple):
    file: str
    size: Size
    objects: list[tuple[tuple[float, ...], str, bool]]


def read_voc(files: Iterator[tuple[bytes, str, str]], classes: tuple[str, ...]) -> Listing:
    """Read annotations.

    Corners are VOC's: pixels from 1 on, the last one included. An object that is marked difficult
    is treated as a crowd: not learnt, counted neither as found nor as missed.

    Args:
        files: bytes of each XML file, its path for errors, and its image as the list shall have it.
        classes: names of the classes; without any those that occur, sorted.
    Raises:
        UsageError: a file is no such annotation, or names a class that there is not.
    """
    read = [(_read(data, name, image), name) for data, name, image in files]
    found = sorted({label for one, _ in read for _, label, _ in one.objects})
    listing = Listing(classes or tuple(found))
    numbers = {name: number for number, name in enumerate(listing.classes)}
    for one, name in read:
        strange = [label for _, label, _ in one.objects if label not in numbers]
        if strange:
            raise UsageError(
                given=f"{name!r}, with an object {strange[0]!r}, which is no class",
                allowed=f"the names in classes.txt: {', '.join(listing.classes[:8])}",
                fix="add the name to classes.txt, or remove the object",
            )
        rows = [(box, numbers[label], hard, None) for box, label, hard in one.objects]
        listing.add(one.file, one.size, rows)
    return listing


def _read(file: bytes, name: str, image: str) -> _Read:
    tree = _tree(file, name)
    sides = []
    for side in ("height", "width"):
        text = tree.findtext(f"size/{side}") or ""
        value = int(text) if text.strip().isdecimal() and len(text) < 16 else text
        sides.append(length(value, f"size/{side}", repr(name)))
    objects = []
    for one in tree.findall("object"):
        label = (one.findtext("name") or "").strip()
        if not label:
            raise _no_voc(f"{name!r}, with an object without a name")
        left, top, right, bottom = (
            _number(one, corner, name) for corner in ("xmin", "ymin", "xmax", "ymax")
        )
        hard = (one.findtext("difficult") or "0").strip() == "1"
        objects.append(((left - 1, top - 1, right, bottom), label, hard))
    return _Read(image, tuple(sides), objects)


def _tree(file: bytes, name: str) -> Any:
    try:
        from defusedxml import DefusedXmlException
        from defusedxml.ElementTree import ParseError, fromstring
    except ImportError:
        raise missing_extra("annotations in XML, without defusedxml", "detect") from None
    try:
        tree = fromstring(file)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise _no_voc(f"{name!r}, which cannot be read as XML ({str(error)[:100]})") from None
    if tree.tag != "annotation":
        raise _no_voc(f"{name!r}, whose XML is of <{tree.tag[:40]}>")
    return tree


def _number(one: Any, corner: str, name: str) -> float:
    text = (one.findtext(f"bndbox/{corner}") or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 1e9:
        raise _no_voc(f"{name!r}, with an object whose bndbox/{corner} is {shown(text)}")
    return value


def _no_voc(given: str) -> UsageError:
    return UsageError(
        given=given,
        allowed="an annotation of Pascal VOC: <annotation> with <size> and each <object>'s <name> "
        "and <bndbox> of xmin, ymin, xmax, ymax",
        fix="correct it, or leave it out together with its image",
    )
