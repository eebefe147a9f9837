"""What reads an image or a label map: a function for each ending of a file."""

from collections.abc import Callable
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8

from vitrail.data import volumes
from vitrail.data.images import SUFFIXES, LabelPicture, decode, decode_labels


class Picture(NamedTuple):
    """A decoded image of any rank.

    Args:
        samples: 8-bit, or from 0 to 1; channels first.
        affine: from its places to mm, where it is a volume.
    """

    samples: UInt8[np.ndarray, "channels *spatial"] | Float32[np.ndarray, "channels *spatial"]
    affine: Float[np.ndarray, "4 4"] | None = None


def _photo(file: bytes, name: str) -> Picture:
    # Of its own: writable.
    return Picture(np.moveaxis(np.array(decode(file, name).image), -1, 0))


def _volume(file: bytes, name: str) -> Picture:
    volume = volumes.decode_volume(file, name)
    return Picture(volume.voxels[None], volume.affine)


IMAGES: dict[str, Callable[[bytes, str], Picture]] = {
    **dict.fromkeys(sorted(SUFFIXES), _photo),
    **dict.fromkeys(volumes.SUFFIXES, _volume),
}
LABELS: dict[str, Callable[[bytes, str], LabelPicture]] = {
    ".png": decode_labels,
    ".tif": decode_labels,
    ".tiff": decode_labels,
    **dict.fromkeys(volumes.SUFFIXES, volumes.decode_volume_labels),
}


def suffix_of(entry: str) -> str:
    """The ending by which a file is read: its last word, or more of it where a reader has more."""
    name = PurePosixPath(entry).name.lower()
    longest = sorted((end for end in IMAGES if name.endswith(end) and name != end), key=len)
    return longest[-1] if longest else PurePosixPath(name).suffix
