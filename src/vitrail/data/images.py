"""Open photos safely: the right RGB picture, or an error in three lines.

Pillow opens nearly anything; what it leaves to the caller is done here, once: size limits, EXIF
rotation, alpha over white, 16-bit and float greys, the first frame of an animation, and formats
that would start another program.
"""

import io
import os
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from vitrail.errors import UsageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000", "TGA", "AVIF")
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga"}
)
MAX_PIXELS = 100_000_000  # about 300 MB once decoded
MAX_ASPECT = 200  # a longer strip would grow without bound when its short side is resized
_BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    zlib.error,
    IndexError,
    KeyError,
    TypeError,
)


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo and what had to be done to it."""

    image: Image.Image
    """8-bit RGB, upright."""
    notes: tuple[str, ...]
    """Plain sentences for the user, for example that only the first frame is used."""


def open_photo(path: str | os.PathLike[str]) -> Photo:
    """Open a photo file.

    Args:
        path: a file in any of the common picture formats.
    Returns:
        The picture as upright 8-bit RGB and notes on what was changed.
    Raises:
        UsageError: if there is no such file, it is no picture, it is damaged, or it is too large.
    """
    name = os.fspath(path)
    if not name or not Path(name).exists():
        raise UsageError(
            given=f"{name!r}, which does not exist",
            allowed="a picture file",
            fix="check the path; relative paths start at the current folder",
        )
    if not Path(name).is_file():
        raise UsageError(
            given=f"{name!r}, which is not a file",
            allowed="a picture file",
            fix="name the pictures themselves, for example FOLDER/*.jpg",
        )
    try:
        with open(name, "rb") as file:
            return decode(file, name)
    except PermissionError:
        raise UsageError(
            given=f"{name!r}, which this user may not read",
            allowed="a readable picture file",
            fix="change the file's permissions or copy it",
        ) from None


def decode(file: IO[bytes] | bytes, name: str) -> Photo:
    """Decode one picture; ``name`` is used in errors only.

    Raises:
        UsageError: if it is no picture, it is damaged, or it is too large.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    try:
        with warnings.catch_warnings():
            # Pillow's own warning and error fire at other limits than ours, so ours is checked
            # alone.
            warnings.simplefilter("ignore")
            with Image.open(stream, formats=FORMATS) as image:
                _check_size(image, name)
                return _to_rgb(image)
    except UsageError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(f"{name!r}, which claims to hold more pixels than Pillow opens") from None
    except Image.UnidentifiedImageError:
        raise UsageError(
            given=f"{name!r}, which is no picture in a known format",
            allowed=f"one of {', '.join(FORMATS)}",
            fix="convert it to PNG or JPEG first",
        ) from None
    except PermissionError:
        raise
    except _BROKEN as error:
        raise UsageError(
            given=f"{name!r}, a damaged or truncated picture ({error})",
            allowed="a whole picture file",
            fix="copy or download it again, or leave it out",
        ) from None


def _too_large(given: str) -> UsageError:
    return UsageError(
        given=given,
        allowed=f"at most {MAX_PIXELS:,} pixels",
        fix="scale the picture down first",
    )


def _check_size(image: Image.Image, name: str) -> None:
    """Judge the size from the header alone, before any pixel is decoded."""
    width, height = image.size
    if min(width, height) < 1:
        raise UsageError(
            given=f"{name!r}, a picture of {width} x {height} pixels",
            allowed="at least one pixel along both sides",
            fix="use a picture with pixels in it",
        )
    if width * height > MAX_PIXELS:
        raise _too_large(f"{name!r}, a picture of {width} x {height} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UsageError(
            given=f"{name!r}, a strip of {width} x {height} pixels",
            allowed=f"a long side of at most {MAX_ASPECT} times the short side",
            fix="crop the picture first",
        )


def _to_rgb(image: Image.Image) -> Photo:
    if image.format == "JPEG" and image.mode == "RGB" and not image.info.get("exif"):
        image.load()  # by far the most frequent case; nothing to mend
        return Photo(image.convert("RGB"), ())
    notes: list[str] = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        image.seek(0)
        notes.append(f"an animation of {frames} frames; only the first is used")
    image.load()
    upright = _upright(image, notes)
    return Photo(_flatten(upright, notes), tuple(notes))


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except _BROKEN:
        notes.append("its EXIF data is damaged; shown as stored")
        return image
    if image.getexif().get(0x0112, 1) not in (0, 1):
        notes.append("turned upright as its EXIF data says")
    return turned


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    """Any Pillow mode to 8-bit RGB."""
    if image.mode.startswith("I") or image.mode == "F":
        return _grey_to_rgb(np.asarray(image), notes)
    if image.mode == "CMYK":
        notes.append("converted from CMYK without its colour profile")
    has_alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if not has_alpha:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() != (255, 255):
        notes.append("transparent parts are laid over white")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")


def _grey_to_rgb(grey: np.ndarray, notes: list[str]) -> Image.Image:
    """Deep greys keep their meaning: 16 bits by 1/257, floats in [0, 1] by 255, others by their
    range.
    """
    values = grey.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise ValueError("it holds values that are not finite")
    if np.issubdtype(grey.dtype, np.integer) and low >= 0 and high <= 65535:
        values /= 257.0
        notes.append("16-bit grey reduced to 8 bits")
    elif low >= 0 and high <= 1:
        values *= 255.0
        notes.append("float grey in [0, 1] scaled to 8 bits")
    else:
        values = (values - low) * (255.0 / max(high - low, 1e-12))
        notes.append(f"grey values from {low:g} to {high:g} stretched to 8 bits")
    return Image.fromarray(np.rint(values).astype(np.uint8)).convert("RGB")
