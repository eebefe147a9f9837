"""What reads an image or a label map: a function for each ending of a file."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from vitrail.data import rasters, volumes
from vitrail.data.images import (
    MAX_LABEL,
    SUFFIXES,
    ImageError,
    LabelPicture,
    decode,
    decode_labels,
)


class Picture(NamedTuple):
    """A decoded image of any rank.

    Args:
        samples: channels first; 8-bit, or from 0 to 1, if it is not raw.
        affine: from its places to mm, where it is a volume.
        raw: its samples have a range of their own: they are neither 8-bit nor from 0 to 1.
    """

    samples: Shaped[np.ndarray, "channels *spatial"]
    affine: Float[np.ndarray, "4 4"] | None = None
    raw: bool = False


def _photo(file: bytes, name: str) -> Picture:
    # Of its own: writable.
    return Picture(np.moveaxis(np.array(decode(file, name).image), -1, 0))


def _tiff(file: bytes, name: str) -> Picture:
    """As a photo what Pillow opens; with tifffile what has other channels or numbers."""
    try:
        return _photo(file, name)
    except ImageError:
        if not rasters.is_tiff(file):
            raise
    return samples_of_array(rasters.open_raster(file, name).whole(), name)


def _array(file: bytes, name: str) -> Picture:
    return samples_of_array(rasters.decode_array(file, name), name)


def samples_of_array(array: np.ndarray, name: str) -> Picture:
    """An array, channels first, as an image.

    Raises:
        ImageError: it is none, or has samples that are not finite.
    """
    array = rasters.of_array(array, name).whole()
    if array.dtype == np.uint8:
        return Picture(array)
    if not (np.abs(array) <= np.finfo(np.float32).max).all():  # NaN is not
        raise ImageError(
            given=f"{name!r}, with samples that are NaN or infinite",
            allowed="numbers of float32",
            fix="replace them where they come from, for example by numpy.nan_to_num",
        )
    return Picture(array.astype(np.float32), raw=True)


def _array_labels(file: bytes, name: str) -> LabelPicture:
    return labels_of_array(rasters.decode_array(file, name), name)


def labels_of_array(array: np.ndarray, name: str) -> LabelPicture:
    """An array of whole numbers as a label map.

    Raises:
        ImageError: it is none.
    """
    whole = array.dtype.kind in "buif" and array.size and 1 <= array.ndim <= 3
    if not whole or not (array.min() >= 0 and array.max() <= MAX_LABEL and not (array % 1).any()):
        raise ImageError(
            given=f"{name!r}, a label map of {array.dtype} with shape {array.shape}"
            + (f", from {array.min()} to {array.max()}" if whole else ""),
            allowed=f"whole numbers from 0 to {MAX_LABEL} with one to three axes",
            fix="save the numbers of the classes, one at each place",
        )
    return LabelPicture(array.astype(np.uint16))


def _volume(file: bytes, name: str) -> Picture:
    volume = volumes.decode_volume(file, name)
    return Picture(volume.voxels[None], volume.affine)


IMAGES: dict[str, Callable[[bytes, str], Picture]] = {
    **dict.fromkeys(sorted(SUFFIXES), _photo),
    **dict.fromkeys((".tif", ".tiff"), _tiff),
    **dict.fromkeys((".npy", ".npz"), _array),
    **dict.fromkeys(volumes.SUFFIXES, _volume),
}
LABELS: dict[str, Callable[[bytes, str], LabelPicture]] = {
    ".png": decode_labels,
    ".tif": decode_labels,
    ".tiff": decode_labels,
    **dict.fromkeys((".npy", ".npz"), _array_labels),
    **dict.fromkeys(volumes.SUFFIXES, volumes.decode_volume_labels),
}


def suffix_of(entry: str) -> str:
    """The ending by which a file is read: its last word, or more of it where a reader has more."""
    name = PurePosixPath(entry).name.lower()
    longest = sorted((end for end in IMAGES if name.endswith(end) and name != end), key=len)
    return longest[-1] if longest else PurePosixPath(name).suffix
