"""Damaged and odd lists of boxes: images with objects, or the three lines."""

import copy
import json
import random
import zipfile
from pathlib import Path
from typing import Any

from tests.fuzz import frame
from tests.tasks.boxes import listed, picture, write_voc
from vitrail.data.boxes import open_boxes
from vitrail.data.images import ImageError
from vitrail.data.stores import MAX_ENTRY_BYTES

COUNT = 3
VALUES = (
    *(None, True, -1, 0, 1, 7, 5, 2**31, 2**70, 0.5, -3.25, float("inf"), float("nan")),
    *("", "000.png", "../001.png", "oooo", "\0", [], [1], [0, 0, 5, 5], [[1, 2, 3, 4, 5, 6]], {}),
    *({"size": [24, 20], "counts": [480]}, {"size": [24, 20], "counts": "oo1"}, [[1e308] * 6]),
)


def changed(rng: random.Random, content: Any) -> Any:
    """The list with some values exchanged, anywhere in it."""
    content = copy.deepcopy(content)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        where = content
        while True:
            keys = [*where] if isinstance(where, dict) else [*range(len(where))]
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(where[key], dict | list) and where[key] and rng.random() < 0.85:
                where = where[key]
                continue
            where[key] = copy.deepcopy(rng.choice(VALUES))
            break
    return content


def opened(path: Path) -> None:
    source = open_boxes([path])
    for n in range(len(source)):
        objects, (height, width) = source.objects(n), source.size(n)
        left, top, right, bottom = objects.boxes.T
        assert (left >= 0).all() and (top >= 0).all() and (left < right).all()
        assert (top < bottom).all() and (right <= width).all() and (bottom <= height).all()
        assert ((objects.labels >= 0) & (objects.labels < len(source.classes))).all()
        try:
            image = source.image(n)
            masks = source.masks(n)
        except ImageError:
            continue
        assert image.shape == (3, height, width)
        assert masks.shape == (len(objects), height, width)


@frame.LONG
def test_lists(tmp_path: Path) -> None:
    path, content = tmp_path / "set.zip", listed(COUNT)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(COUNT):
            archive.writestr(f"{number:03d}.png", picture(number, COUNT))

    def case(rng: random.Random) -> None:
        text = json.dumps(changed(rng, content)).encode()
        text = frame.mutated(rng, text) if rng.random() < 0.2 else text
        path.with_suffix(".json").write_bytes(text)
        with frame.nothing_executed():
            opened(path)

    outcomes = frame.fuzz("boxes", case, memory=MAX_ENTRY_BYTES + (64 << 20))
    assert min(outcomes["accepted"], outcomes["refused"]) > 0


@frame.LONG
def test_annotations(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "voc", COUNT)
    files = {path: path.read_bytes() for path in (folder / "Annotations").iterdir()}
    words = (b"<size>", b"</object>", b"<name>", b"2", b"24", b"annotation", b"xmin")

    def case(rng: random.Random) -> None:
        for path, text in files.items():
            if rng.random() < 0.3:
                old, new = rng.choice(words), rng.choice((*words, b"-9", b"nan", b"1e999", b"&x;"))
                text = text.replace(old, new, 1)
            path.write_bytes(frame.mutated(rng, text) if rng.random() < 0.1 else text)
        with frame.nothing_executed():
            opened(folder)

    outcomes = frame.fuzz("annotations", case, memory=MAX_ENTRY_BYTES + (64 << 20))
    assert min(outcomes["accepted"], outcomes["refused"]) > 0
