"""Masks of objects as COCO stores them: run lengths down the columns, as numbers or as text."""

from typing import Any

import numpy as np
from jaxtyping import Bool, UInt8

from vitrail.extras import missing_extra
from vitrail.shapes import Size

_MOST_POINTS = 1 << 20
"""Numbers of the polygons of one object."""


class ShapeError(ValueError):
    """An object's shape cannot be read; the message says why."""


def mask_of(shape: Any, size: Size) -> UInt8[np.ndarray, "height width"]:
    """Return an object's mask, 1 inside.

    Args:
        shape: polygons, each a list x1, y1, x2, y2, ... in pixels; or run lengths: an object with
            ``size`` (height, width) and ``counts``, numbers or COCO's text.
        size: height and width of the image.
    Raises:
        ShapeError: it is none of these, or of another size.
        UsageError: polygons, without faster-coco-eval.
    """
    if isinstance(shape, dict):
        if shape.get("size") != list(size):
            raise ShapeError(f"run lengths of size {shape.get('size')!r:.40}, not {list(size)}")
        return _filled(_counts(shape.get("counts")), size)
    if not isinstance(shape, list) or not shape:
        raise ShapeError("neither polygons nor run lengths")
    if sum(len(one) for one in shape if isinstance(one, list)) > _MOST_POINTS:
        raise ShapeError(f"polygons of more than {_MOST_POINTS:,} numbers")
    polygons = [_polygon(one, size) for one in shape]
    mask = coco_masks()
    runs = mask.merge(mask.frPyObjects(polygons, *size))
    return _filled(_counts(runs["counts"]), size)


def run_lengths(mask: Bool[np.ndarray, "height width"]) -> dict[str, Any]:
    """Return a mask as COCO's run lengths in text, fit for JSON."""
    flat = np.asarray(mask, dtype=bool).ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    if flat.size and flat[0]:
        runs = [0, *runs]
    text = []
    for n, run in enumerate(runs):
        value = run - runs[n - 2] if n > 2 else run  # COCO stores differences from the third on
        more = True
        while more:
            low, value = value & 0x1F, value >> 5
            more = value != (-1 if low & 0x10 else 0)
            text.append(chr((low | (0x20 if more else 0)) + 48))
    return {"size": list(mask.shape), "counts": "".join(text)}


def coco_masks() -> Any:
    """COCO's operations on masks.

    Raises:
        UsageError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval.core import mask
    except ImportError:
        raise missing_extra("masks of objects, without faster-coco-eval", "detect") from None
    return mask


def _counts(stored: Any) -> np.ndarray:
    """Run lengths from numbers or from text, of which each character holds 5 bits."""
    if isinstance(stored, list):
        if not all(type(run) is int and 0 <= run < 1 << 40 for run in stored):
            raise ShapeError("run lengths that are no whole numbers from 0 on")
        return np.array(stored, dtype=np.int64)
    if isinstance(stored, bytes):
        stored = stored.decode("latin-1")
    if not isinstance(stored, str):
        raise ShapeError("run lengths without counts")
    runs: list[int] = []
    value = shift = 0
    for character in stored:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            raise ShapeError("run lengths in damaged text")
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    if shift or min(runs, default=0) < 0:
        raise ShapeError("run lengths in damaged text")
    return np.array(runs, dtype=np.int64)


def _filled(runs: np.ndarray, size: Size) -> UInt8[np.ndarray, "height width"]:
    height, width = size
    if int(runs.sum()) != height * width:
        raise ShapeError(f"run lengths of {int(runs.sum()):,} pixels for {height * width:,}")
    values = np.arange(len(runs), dtype=np.uint8) % 2
    return np.ascontiguousarray(np.repeat(values, runs).reshape(size, order="F"))


def _polygon(points: Any, size: Size) -> list[float]:
    """A polygon whose corners lie within the image, so that its outline has a bounded length."""
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2:
        raise ShapeError("a polygon without three corners x, y")
    if not all(isinstance(n, int | float) and not isinstance(n, bool) for n in points):
        raise ShapeError("a polygon whose corners are no numbers")
    if not all(abs(n) < 1e9 for n in points):  # NaN too
        raise ShapeError("a polygon whose corners are no finite numbers")
    corners = np.array(points, dtype=np.float64).reshape(-1, 2)
    return corners.clip(0, (size[1], size[0])).ravel().tolist()
