"""Images of any channels and numbers: TIFF read by tiles, arrays, and label maps written by tiles.

A TIFF may be tiled, a pyramid (its finest level is read) or a GeoTIFF; only the tiles that a part
of it needs are decoded.
"""

import importlib.util
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Integer, Shaped

from vitrail.data.images import MAX_PIXELS, ImageError
from vitrail.extras import missing_extra
from vitrail.files import write_whole

GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""Of GeoTIFF: pixel scale, tie points, transformation, keys and their numbers and texts."""
TILE = 256  # pixels of a written one
_CHANNELS = "SCQI"  # what tifffile calls axes of samples, of channels, and of pages
_BLOCK = 1 << 24  # samples that are looked at together


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """An image whose parts are read where they are needed.

    Args:
        name: for messages.
        shape: channels, and lengths of the spatial axes.
        dtype: of its samples.
        read: returns a part, channels first, of a slice for each spatial axis.
        tags: of GeoTIFF, as tifffile writes them.
        plain: an 8-bit grey or colour picture of a size that a photo may have.
        notes: plain sentences for the user.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[tuple[slice, ...]], Shaped[np.ndarray, "channels *part"]]
    tags: tuple[tuple[Any, ...], ...] = ()
    plain: bool = False
    notes: tuple[str, ...] = ()

    @property
    def spatial(self) -> tuple[int, ...]:
        """Lengths of the spatial axes."""
        return self.shape[1:]

    def whole(self) -> Shaped[np.ndarray, "channels *spatial"]:
        """All of it."""
        return self.read(tuple(slice(0, n) for n in self.spatial))

    def blocks(self) -> Iterator[Shaped[np.ndarray, "channels rows *others"]]:
        """All of it, some rows of the first spatial axis after the others."""
        rows = max(1, _BLOCK // max(1, math.prod(self.shape) // self.spatial[0]))
        rows = -(-rows // TILE) * TILE  # whole tiles, as a rule
        others = tuple(slice(0, n) for n in self.spatial[1:])
        for first in range(0, self.spatial[0], rows):
            yield self.read((slice(first, min(first + rows, self.spatial[0])), *others))


class Moments:
    """Mean and deviation of each channel of images that are looked at one after the other."""

    def __init__(self) -> None:
        self.count = 0
        self.sums: Float64[np.ndarray, "channels"] = np.zeros(1)
        self.squares: Float64[np.ndarray, "channels"] = np.zeros(1)

    def add(self, image: Shaped[np.ndarray, "channels *spatial"]) -> None:
        """Look at one more."""
        flat = image.reshape(len(image), -1).astype(np.float64)
        self.count += flat.shape[1]
        self.sums = self.sums + flat.sum(1)
        self.squares = self.squares + (flat**2).sum(1)

    def result(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean, and deviation; one where a channel has no two different samples."""
        mean = self.sums / max(self.count, 1)
        deviation = np.sqrt(np.maximum(self.squares / max(self.count, 1) - mean**2, 0))
        deviation = np.where(deviation > 1e-12 * np.abs(mean) + 1e-30, deviation, 1.0)
        return tuple(map(float, mean)), tuple(map(float, deviation))


def is_tiff(file: bytes) -> bool:
    """Whether bytes begin as a TIFF does."""
    return file[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def of_array(array: Any, name: str) -> Raster:
    """Return an array as a raster: channels first.

    Raises:
        ImageError: it has no spatial axis, no samples, or others than real numbers.
    """
    array = np.asarray(array)
    if not 2 <= array.ndim <= 4 or not array.size or array.dtype.kind not in "buif":
        raise ImageError(
            given=f"{name!r}, an array of {array.dtype} with shape {array.shape}",
            allowed="real numbers, channels first, with one to three spatial axes",
            fix="give an image of one channel as array[None]",
        )
    return Raster(name, array.shape, array.dtype, lambda part: array[(slice(None), *part)])


def open_raster(source: str | os.PathLike[str] | bytes, name: str | None = None) -> Raster:
    """Open a TIFF, by its path or its bytes; reads its description alone.

    Raises:
        ImageError: it is no TIFF, damaged, a stack of several, or not of real numbers.
    """
    name = name or (os.fspath(source) if not isinstance(source, bytes) else "a TIFF")
    with _tiff_errors(name), _opened(source) as file:
        series = file.series[0]
        axes, shape, page = series.axes, series.shape, series.keyframe
        kept = [(axis, n) for axis, n in zip(axes, shape, strict=True) if n > 1 or axis in "YX"]
        channels = [(axis, n) for axis, n in kept if axis not in "YX"]
        if len(channels) > 1 or any(axis not in _CHANNELS for axis, _ in channels):
            lengths = ", ".join(f"{axis} {n}" for axis, n in zip(axes, shape, strict=True))
            raise ImageError(
                given=f"{name!r}, a TIFF with the axes {lengths}",
                allowed="height and width, and at most one axis of channels",
                fix="save each of its planes as a TIFF of its own",
            )
        count = channels[0][1] if channels else 1
        height, width = (n for axis, n in kept if axis in "YX")
        dtype = np.dtype(series.dtype)
        if dtype.kind not in "buif" or min(height, width) < 1:
            raise ImageError(
                given=f"{name!r}, a TIFF of {dtype}, {height} x {width}",
                allowed="real numbers, and at least one pixel",
                fix="save its parts as numbers of a real type",
            )
        tags = tuple(
            (tag.code, int(tag.dtype), tag.count, tag.value, True)
            for tag in page.tags.values()
            if tag.code in GEO_TAGS
        )
        small = height * width <= MAX_PIXELS
        plain = dtype.kind == "b" or (dtype == np.uint8 and count <= 4)
        levels = len(series.levels)
        notes = (f"a pyramid of {levels} levels; the finest is used",) if levels > 1 else ()
    reader = _Reader(source, name, tuple(axes), tuple(shape))
    plain = plain and small and not tags
    return Raster(name, (count, height, width), dtype, reader, tags, plain, notes)


@dataclass(frozen=True, slots=True, eq=False)
class _Reader:
    """Reads parts of a TIFF; opens it for each, so that nothing stays open."""

    source: Any
    name: str
    axes: tuple[str, ...]
    shape: tuple[int, ...]

    def __call__(self, part: tuple[slice, ...]) -> np.ndarray:
        import zarr

        with _tiff_errors(self.name), _opened(self.source) as file:
            store = file.aszarr(series=0, level=0)
            try:
                # Of bytes it is a store that could be written, which zarr refuses to open as "r".
                array: Any = zarr.open(store, mode="r" if store.read_only else "r+")
                slices = dict(zip("YX", part, strict=True))
                one = [
                    slices.get(axis, slice(None) if n > 1 else 0)
                    for axis, n in zip(self.axes, self.shape, strict=True)
                ]
                found = np.asarray(array[tuple(one)])
            finally:
                store.close()
        if found.ndim == 2:
            return found[None]
        left = [a for a, n in zip(self.axes, self.shape, strict=True) if n > 1 or a in "YX"]
        where = next(n for n, axis in enumerate(left) if axis not in "YX")
        return np.moveaxis(found, where, 0)


def write_labels(
    path: Path,
    numbers: Callable[[tuple[slice, ...]], Integer[np.ndarray, "height width"]],
    shape: tuple[int, ...],
    kind: type[np.unsignedinteger],
    tags: tuple[tuple[Any, ...], ...] = (),
) -> None:
    """Write a tiled TIFF of numbers, tile by tile.

    Args:
        path: the file; whole or absent.
        numbers: returns a part of them.
        shape: height and width.
        kind: their type.
        tags: of the input's georeference.
    """
    height, width = shape

    def tiles() -> Iterator[np.ndarray]:
        for top in range(0, height, TILE):
            for left in range(0, width, TILE):
                part = (slice(top, min(top + TILE, height)), slice(left, min(left + TILE, width)))
                yield numbers(part).astype(kind)

    def write(part: Path) -> None:
        tifffile().imwrite(
            part,
            tiles(),
            shape=shape,
            dtype=kind,
            tile=(TILE, TILE),
            compression="zlib",
            photometric="minisblack",
            metadata=None,
            extratags=tags,
            bigtiff=height * width * np.dtype(kind).itemsize > 1 << 31,
        )

    write_whole(path, write)


def decode_array(file: bytes, name: str) -> np.ndarray:
    """Decode .npy, or the one array of an .npz.

    Raises:
        ImageError: it is damaged, holds Python objects, or several arrays.
    """
    try:
        found = np.load(io.BytesIO(file), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            names = found.files
            if len(names) == 1:
                return found[names[0]]
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise ImageError(
            given=f"{name!r}, no whole array of numpy ({str(error).splitlines()[0][:100]})",
            allowed=".npy, or .npz with one array, of numbers",
            fix="save it anew with numpy.save",
        ) from None
    raise ImageError(
        given=f"{name!r}, with the arrays {', '.join(names[:5]) or 'none'}",
        allowed="one array",
        fix="save it alone with numpy.save",
    )


def tifffile() -> Any:
    """Return the package tifffile.

    Raises:
        UsageError: it, or zarr, is not there.
    """
    try:
        import tifffile
        import zarr  # noqa: F401
    except ImportError:
        raise missing_extra(
            "a TIFF of many channels, or a large one, without tifffile and zarr", "tiff"
        ) from None
    return tifffile


def has_tifffile() -> bool:
    """Whether tifffile and zarr are there."""
    return all(importlib.util.find_spec(name) for name in ("tifffile", "zarr"))


def _opened(source: Any) -> Any:
    return tifffile().TiffFile(io.BytesIO(source) if isinstance(source, bytes) else source)


class _tiff_errors:
    """Turn whatever tifffile, zarr and codecs raise into an ``ImageError``."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        from vitrail.errors import UsageError

        if not isinstance(error, Exception) or isinstance(error, UsageError):
            return
        text = (str(error).splitlines() or [type(error).__name__])[0][:200]
        packed = "imagecodecs" in str(error)
        raise ImageError(
            given=f"{self.name!r}, a TIFF that cannot be read ({text})",
            allowed="a whole TIFF" + (", of a compression that is installed" if packed else ""),
            fix="pip install imagecodecs" if packed else "copy or download it again",
        ) from None
