"""Open photos safely: upright 8-bit RGB, or an error in three lines.

Pillow leaves to its caller what is done here, once: size limits, EXIF rotation, alpha over white,
16-bit and float greys, the first frame of an animation, formats that start another program, and
one error type for whatever a decoder raises.
"""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float, UInt16
from PIL import Image, ImageOps

from vitrail.errors import UsageError

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO", "JPEG2000", "TGA", "AVIF")
LABEL_FORMATS = ("PNG", "TIFF")  # without loss
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".tga"}
)
MAX_LABEL = 65_535
MAX_PIXELS = 100_000_000  # about 300 MB once decoded
MAX_BYTES = 512 << 20  # of a file; some decoders read it whole before they look at it
_SHAPES = ((2,), (3, 3))  # of arrays: grey; RGB, and its number of channels
MAX_ASPECT = 200  # a longer strip would grow without bound when its short side is resized


class ImageError(UsageError):
    """One image cannot be read: it is absent, damaged, too large, or no picture."""


@dataclass(frozen=True, slots=True)
class Photo:
    """A decoded photo and what had to be done to it."""

    image: Image.Image
    """8-bit RGB, upright."""
    notes: tuple[str, ...]
    """Plain sentences for the user, for example that only the first frame is used."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A file's bytes.

    Args:
        data: the bytes.
        name: the path, or what else says where they come from; its ending says of which kind.
    """

    data: bytes
    name: str


def open_photo(path: str | os.PathLike[str]) -> Photo:
    """Open a photo file.

    Args:
        path: a file in any of the common picture formats.
    Returns:
        The picture as upright 8-bit RGB and notes on what was changed.
    Raises:
        ImageError: there is no such file, or it is no picture, damaged, or too large.
    """
    name = os.fspath(path)
    if not name or not Path(name).exists():
        raise ImageError(
            given=f"{name!r}, which does not exist",
            allowed="a picture file",
            fix="check the path; relative paths start at the current folder",
        )
    if not Path(name).is_file():
        raise ImageError(
            given=f"{name!r}, which is not a file",
            allowed="a picture file",
            fix="name the pictures themselves, for example FOLDER/*.jpg",
        )
    try:
        with open(name, "rb") as file:
            return decode(file, name)
    except PermissionError:
        raise ImageError(
            given=f"{name!r}, which this user may not read",
            allowed="a readable picture file",
            fix="change the file's permissions or copy it",
        ) from None


def decode(file: IO[bytes] | bytes, name: str) -> Photo:
    """Decode one picture.

    Args:
        file: its bytes, or a stream that can seek.
        name: of the picture, for errors.
    Raises:
        ImageError: it is no picture, damaged, or too large.
    """
    stream = io.BytesIO(file) if isinstance(file, bytes) else file
    with _loaded(stream, name) as image:
        frames = getattr(image, "n_frames", 1)
        animated = frames > 1 and image.format != "MPO"  # MPO: other views of one photo
        photo = _to_rgb(image)
    if animated:
        note = f"an animation of {frames} frames; only the first is used"
        photo = Photo(photo.image, (note, *photo.notes))
    return photo


@dataclass(frozen=True, slots=True)
class LabelPicture:
    """A decoded picture, or volume, whose places have numbers and no colours."""

    numbers: UInt16[np.ndarray, "*spatial"]
    """As they are stored, upright."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """Of the numbers from 0 on, where it has a palette."""
    affine: Float[np.ndarray, "4 4"] | None = None
    """From places to mm, where it is a volume."""


def decode_labels(file: bytes, name: str) -> LabelPicture:
    """Decode a picture of numbers: 1, 2, 4, 8 or 16-bit grey, or indices into a palette.

    Args:
        file: its bytes.
        name: of the picture, for errors.
    Raises:
        ImageError: it is no picture, damaged, too large, of colours, or of several pages.
    """
    stream = io.BytesIO(file)
    with _loaded(stream, name, LABEL_FORMATS) as image:
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise _no_labels(f"{name!r}, a label map of {pages} pages")
        colours: tuple[Any, ...] = ()
        if image.mode == "P":
            flat = image.getpalette("RGB") or []
            colours = tuple(zip(*(iter(flat),) * 3, strict=True))
        upright = np.asarray(ImageOps.exif_transpose(image))
        if upright.ndim != 2 or upright.dtype.kind not in "bui":
            raise _no_labels(f"{name!r}, a label map in {image.mode}")
        if not 0 <= int(upright.min()) <= int(upright.max()) <= MAX_LABEL:
            raise _no_labels(f"{name!r}, with labels from {upright.min()} to {upright.max()}")
    return LabelPicture(upright.astype(np.uint16) // _grey_step(file), colours)


def _grey_step(file: bytes) -> int:
    """What Pillow multiplies the numbers of a grey PNG of 2 or 4 bits by, to spread them to 8."""
    is_grey = file[:8] == b"\x89PNG\r\n\x1a\n" and len(file) > 25 and file[25] == 0
    return {2: 85, 4: 17}.get(file[24], 1) if is_grey else 1


def _no_labels(given: str) -> ImageError:
    return ImageError(
        given=given,
        allowed=f"one page of grey or of palette indices, numbers from 0 to {MAX_LABEL}",
        fix="save one number a pixel as PNG: PIL.Image.fromarray(numbers.astype('uint8'))",
    )


@contextmanager
def _loaded(stream: Any, name: str, formats: tuple[str, ...] = FORMATS) -> Iterator[Image.Image]:
    """Give the picture of a binary stream, its first frame decoded, its size checked before."""
    with _decoder_errors(name, formats):
        if stream.seek(0, os.SEEK_END) > MAX_BYTES:
            raise ImageError(
                given=f"{name!r}, a file of {stream.tell():,} bytes",
                allowed=f"at most {MAX_BYTES:,} bytes",
                fix="save the picture smaller, for example as JPEG",
            )
        stream.seek(0)
        with Image.open(stream, formats=formats) as image:
            _check_size(image, name)
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
                image.seek(0)
            image.load()
            _check_size(image, name)  # an icon's header may differ from the picture in it
            yield image


def as_photo(source: Any) -> Photo:
    """Open a photo in whatever form a user has it.

    Args:
        source: a file's path; a file's bytes, with a name or without; a Pillow image of any mode;
            a uint8 array (height, width), or (height, width, 3) in RGB; or a uint8 tensor
            (3, height, width).
    Raises:
        ImageError: it cannot be read, or is nothing of these.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, str | os.PathLike):
        return open_photo(source)
    if isinstance(source, bytes):
        return decode(source, "a picture")
    if isinstance(source, Encoded):
        return decode(source.data, source.name)
    if isinstance(source, Image.Image):
        return to_rgb(source)
    given = f"an object of type {type(source).__name__}"
    if hasattr(source, "dtype") and hasattr(source, "shape"):
        given = f"a {type(source).__name__} of {source.dtype} with shape {tuple(source.shape)}"
        array = source if isinstance(source, np.ndarray) else _of_tensor(source)
        if array.dtype == np.uint8 and array.size and (array.ndim, *array.shape[2:]) in _SHAPES:
            return to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    raise ImageError(
        given=f"{given} as a photo",
        allowed="a path, a Pillow image, a uint8 array (height, width, 3) or a uint8 tensor "
        "(3, height, width)",
        fix="give the path of a picture file",
    )


def _of_tensor(tensor: Any) -> np.ndarray:
    """Channels last, of a tensor of torch, which this module does not need."""
    return np.asarray(tensor.cpu().movedim(0, -1)) if tensor.ndim == 3 else np.empty(0)


def to_rgb(image: Image.Image) -> Photo:
    """Convert an opened Pillow picture of any mode as ``decode`` does: upright, alpha over white.

    Raises:
        ImageError: its file is damaged.
    """
    with _decoder_errors(getattr(image, "filename", "") or "a picture"):
        return _to_rgb(image)


@contextmanager
def _decoder_errors(name: str, formats: tuple[str, ...] = FORMATS) -> Iterator[None]:
    """Turn whatever Pillow and its decoders raise or warn about into an ``ImageError``."""
    try:
        with warnings.catch_warnings():
            # Pillow's own warning and error fire at other limits than ours, so ours is checked
            # alone.
            warnings.simplefilter("ignore")
            yield
    except UsageError:
        raise
    except Image.DecompressionBombError:
        raise _too_large(f"{name!r}, which claims to hold more pixels than Pillow opens") from None
    except Image.UnidentifiedImageError:
        raise ImageError(
            given=f"{name!r}, which is no picture in a known format",
            allowed=f"one of {', '.join(formats)}",
            fix="convert it to PNG or JPEG first" if formats is FORMATS else "convert it to PNG",
        ) from None
    except Exception as error:  # decoders raise RuntimeError, MemoryError, and types of their own
        raise ImageError(
            given=f"{name!r}, a damaged or truncated picture ({error or type(error).__name__})",
            allowed="a whole picture file",
            fix="copy or download it again, or leave it out",
        ) from None


def _too_large(given: str) -> ImageError:
    return ImageError(
        given=given,
        allowed=f"at most {MAX_PIXELS:,} pixels",
        fix="scale the picture down first",
    )


def _check_size(image: Image.Image, name: str) -> None:
    """Judge the size from the header alone, before any pixel is decoded."""
    width, height = image.size
    if min(width, height) < 1:
        raise ImageError(
            given=f"{name!r}, a picture of {width} x {height} pixels",
            allowed="at least one pixel along both sides",
            fix="use a picture with pixels in it",
        )
    if width * height > MAX_PIXELS:
        raise _too_large(f"{name!r}, a picture of {width} x {height} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            given=f"{name!r}, a strip of {width} x {height} pixels",
            allowed=f"a long side of at most {MAX_ASPECT} times the short side",
            fix="crop the picture first",
        )


def _to_rgb(image: Image.Image) -> Photo:
    mend = image.info.keys() & {"exif", "transparency"}
    if image.mode == "RGB" and image.format in ("JPEG", None) and not mend:
        image.load()  # by far the most frequent case; nothing to mend
        return Photo(image.convert("RGB") if image.format else image, ())
    notes: list[str] = []
    image.load()
    upright = _upright(image, notes)
    return Photo(_flatten(upright, notes), tuple(notes))


def _upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        turned = ImageOps.exif_transpose(image)
    except Exception:  # as above: EXIF parsers raise anything
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
    """Scale deep greys: 16 bits by 1/257, floats in [0, 1] by 255, others by their range."""
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
