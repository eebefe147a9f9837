"""Tiny images with label maps: what a pixel's class is can be seen from its colour."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def pair(number: int, size: tuple[int, int] = (24, 20)) -> tuple[np.ndarray, np.ndarray]:
    """An RGB image and the numbers of its objects: two boxes on a dark ground."""
    noise = np.random.default_rng(number)
    image = noise.integers(0, 50, (*size, 3), dtype=np.uint8)
    objects = np.zeros(size, dtype=np.uint16)
    for n in range(2):
        top, left = 1 + 12 * n, int(noise.integers(0, 8))
        where = np.s_[top : top + 9, left : left + 10]
        image[where] += np.array([150, 100, 60] if n else [60, 100, 150], dtype=np.uint8)
        objects[where] = n + 1
    return image, objects


def pair_files(number: int, size: tuple[int, int] = (24, 20)) -> dict[str, bytes]:
    """An image with its label map, as a sample of a shard."""
    image, objects = (Image.fromarray(one) for one in pair(number, size))
    return {"png": encoded(image), "seg.png": encoded(objects)}


def write_pairs(
    path: Path, count: int, *, sizes: tuple[tuple[int, int], ...] = ((24, 20),)
) -> Path:
    """A zip of ``count`` images with label maps 0, 1 and 2, and the kind of each in a CSV."""
    rows = ["id,kind"]
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            image, objects = pair(number, sizes[number % len(sizes)])
            archive.writestr(f"images/{number:03d}.png", encoded(Image.fromarray(image)))
            archive.writestr(f"labels/{number:03d}.png", encoded(Image.fromarray(objects)))
            rows.append(f"{number:03d},{'even' if number % 2 == 0 else 'odd'}")
    path.with_suffix(".csv").write_text("\n".join(rows))
    return path
