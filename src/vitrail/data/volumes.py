"""Volumes in NIfTI: voxels and where they lie, read safely, and masks of them.

Axes are put in the order left to right, back to front, bottom to top (RAS+), whatever order a file
has them in: that moves voxels and changes none. A mask goes back into its volume's own order, shape
and header. Nothing is resampled.
"""

import gzip
import io
import itertools
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Integer, Shaped

from vitrail.data.images import MAX_BYTES, MAX_LABEL, Encoded, ImageError, LabelPicture
from vitrail.extras import missing_extra
from vitrail.files import write_whole

SUFFIXES = (".nii.gz", ".nii")
MAX_VOXELS = 1 << 28  # 1 GB in float32
_PERCENTILES = (0.5, 99.5)
_ENOUGH = 1 << 20  # voxels by which percentiles are known
_HEADERS = {348: "Nifti1Header", 540: "Nifti2Header"}
_WHOLE = "a whole NIfTI file: .nii or .nii.gz"


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """A volume.

    Args:
        voxels: from 0, at the 0.5th percentile of the volume, to 1, at the 99.5th: the scales of
            scanners differ by orders of magnitude.
        affine: from numbers of a voxel along these axes to mm, of patients to the right, front and
            top.
        stored: the image as nibabel opened it, whose header a mask of it has.
        notes: plain sentences for the user.
    """

    voxels: Float32[np.ndarray, "right front top"]
    affine: Float[np.ndarray, "4 4"]
    stored: Any
    notes: tuple[str, ...] = ()

    @property
    def spacing(self) -> tuple[float, ...]:
        """Lengths of a voxel, in mm."""
        return spacing_of(self.affine)

    def save_mask(self, numbers: Integer[np.ndarray, "right front top"], path: Path) -> None:
        """Write numbers of each voxel as NIfTI with the volume's own shape, affine and header.

        Args:
            numbers: from 0 to 65,535.
            path: ending in .nii or .nii.gz; whole or absent.
        """
        nib, header = nibabel(), self.stored.header.copy()
        kind = np.uint8 if numbers.max(initial=0) < 256 else np.uint16
        shape = self.stored.shape
        back = nib.orientations.ornt_transform(_RAS, _order(self.stored.affine))
        own = nib.orientations.apply_orientation(numbers.astype(kind), back).reshape(shape)
        header.set_data_dtype(kind)
        header.set_slope_inter(1, 0)
        header["cal_min"] = header["cal_max"] = 0  # the display range of the volume's voxels
        data = type(self.stored)(own, self.stored.affine, header).to_bytes()
        if path.name.lower().endswith(".gz"):
            data = gzip.compress(data, mtime=0)
        write_whole(path, lambda part: part.write_bytes(data))


_RAS = np.array([[0, 1], [1, 1], [2, 1]])


def is_volume(name: str | os.PathLike[str]) -> bool:
    """Whether a file is a volume by its name."""
    return os.fspath(name).lower().endswith(SUFFIXES)


def spacing_of(affine: Float[np.ndarray, "4 4"]) -> tuple[float, ...]:
    """Lengths of a voxel in mm, to a thousandth."""
    return tuple(round(float(n), 3) for n in np.linalg.norm(affine[:3, :3], axis=0))


def shown_spacing(spacing: tuple[float, ...]) -> str:
    """A spacing for people."""
    return " x ".join(f"{n:g}" for n in spacing) + " mm"


def misplaced(
    one: Float[np.ndarray, "4 4"] | None, other: Float[np.ndarray, "4 4"], shape: tuple[int, ...]
) -> bool:
    """Whether a corner of a volume lies half a voxel or more elsewhere by another affine."""
    if one is None:
        return False
    ends = [(-0.5, n - 0.5) for n in shape]
    corners = np.array([[*corner, 1.0] for corner in itertools.product(*ends)])
    apart = np.linalg.norm(corners @ (one - other).T, axis=1).max()
    return bool(apart >= 0.5 * min(spacing_of(other)))


def as_volume(source: Any) -> Volume:
    """Open a volume in whatever form a user has it.

    Args:
        source: a file's path; a file's bytes, with a name or without; an image of nibabel; or an
            array of three axes, whose voxels are taken as 1 mm long and its axes as right, front
            and top.
    Raises:
        ImageError: it cannot be read, or is nothing of these.
    """
    if isinstance(source, Volume):
        return source
    if isinstance(source, str | os.PathLike):
        return open_volume(source)
    if isinstance(source, bytes):
        return decode_volume(source, "a volume")
    if isinstance(source, Encoded):
        return decode_volume(source.data, source.name)
    if hasattr(source, "dataobj") and hasattr(source, "affine"):
        return decode_volume(source.to_bytes(), "a volume")
    array = np.asarray(source) if hasattr(source, "shape") and hasattr(source, "dtype") else None
    if array is not None and array.ndim == 3 and array.size and array.dtype.kind in "buif":
        kept = array.astype(np.float32)
        return _volume(nibabel().Nifti1Image(kept, np.eye(4)), "a volume")
    shape = "" if array is None else f" of {array.dtype} with shape {tuple(array.shape)}"
    raise ImageError(
        given=f"an object of type {type(source).__name__}{shape} as a volume",
        allowed="a path, an image of nibabel, or an array of three axes",
        fix="give the path of a NIfTI file",
    )


def open_volume(path: str | os.PathLike[str]) -> Volume:
    """Open a NIfTI file.

    Raises:
        ImageError: there is no such file, or it is no volume, damaged or too large.
    """
    name = os.fspath(path)
    try:
        if Path(name).stat().st_size > MAX_BYTES:
            raise _too_large(f"{name!r}, a file of {Path(name).stat().st_size:,} bytes")
        return decode_volume(Path(name).read_bytes(), name)
    except OSError as error:
        raise ImageError(
            given=f"{name!r}, which cannot be read ({error.strerror or error})",
            allowed="a readable NIfTI file",
            fix="check the path; relative paths start at the current folder",
        ) from None


def decode_volume(file: bytes, name: str) -> Volume:
    """Decode one volume.

    Args:
        file: its bytes.
        name: of the file, for errors.
    Raises:
        ImageError: it is no NIfTI, damaged, too large, not of three axes, or has voxels that are
            not finite.
    """
    return _volume(_image(file, name), name)


def decode_volume_labels(file: bytes, name: str) -> LabelPicture:
    """Decode a volume of numbers, of whole ones in any type.

    Raises:
        ImageError: as ``decode_volume``, or numbers that are not whole or not from 0 to 65,535.
    """
    voxels, affine = _oriented(_image(file, name), name)
    least, most = float(voxels.min()), float(voxels.max())
    if not 0 <= least <= most <= MAX_LABEL or not np.array_equal(voxels, np.rint(voxels)):
        what = "fractions" if 0 <= least <= most <= MAX_LABEL else f"{least:g} to {most:g}"
        raise ImageError(
            given=f"{name!r}, a label map with {what}",
            allowed=f"whole numbers from 0 to {MAX_LABEL}",
            fix="save the numbers of the classes, not an image or probabilities",
        )
    return LabelPicture(voxels.astype(np.uint16), affine=affine)


def nibabel() -> Any:
    """Return the package nibabel.

    Raises:
        UsageError: it is not there.
    """
    try:
        import nibabel
    except ImportError:
        raise missing_extra("volumes without the package nibabel", "volumes") from None
    return nibabel


def _volume(image: Any, name: str) -> Volume:
    voxels, affine = _oriented(image, name)
    return Volume(_to_unit(voxels), affine, image)


def _to_unit(voxels: Shaped[np.ndarray, "*any"]) -> Float32[np.ndarray, "*any"]:
    some = voxels.ravel()[:: max(1, voxels.size // _ENOUGH)].astype(np.float64)
    low, high = np.percentile(some, _PERCENTILES)
    if high <= low:  # all but a few voxels are the same
        low, high = (np.float64(n) for n in (voxels.min(), voxels.max()))
    # In float64: the range of float32 numbers may be none of these.
    scale = 1 / (high - low) if high > low else 0.0
    return np.clip((voxels - low) * scale, 0, 1).astype(np.float32)


def _image(file: bytes, name: str) -> Any:
    """Open with nibabel what was checked to be whole and not too large."""
    nib = nibabel()
    try:
        packed = file[:2] == b"\x1f\x8b"
        with gzip.GzipFile(fileobj=io.BytesIO(file)) if packed else io.BytesIO(file) as stream:
            start = stream.read(max(_HEADERS))
            kinds = {int.from_bytes(start[:4], order) for order in ("little", "big")}
            size = next((size for size in _HEADERS if size in kinds), None)
            if size is None or len(start) < size:
                raise ImageError(given=f"{name!r}, no NIfTI file", allowed=_WHOLE, fix=_CONVERT)
            header = getattr(nib, _HEADERS[size])(start[:size])
            _check_header(header, name)
            voxels = math.prod(header.get_data_shape())
            length = int(header.get_data_offset()) + voxels * header.get_data_dtype().itemsize
            if length > MAX_BYTES * 8:
                raise _too_large(f"{name!r}, which unpacks to {length:,} bytes")
            # One byte more, so that a gzip is read to its checksum.
            data = start + stream.read(max(0, length + 1 - len(start)))
            if len(data) < length:
                raise EOFError(f"{len(data):,} of {length:,} bytes")
        opener = nib.Nifti1Image if size == 348 else nib.Nifti2Image
        return opener.from_bytes(data[:length])
    except ImageError:
        raise
    except Exception as error:  # nibabel, gzip and zlib each raise errors of their own
        raise ImageError(
            given=f"{name!r}, a damaged or truncated NIfTI ({error or type(error).__name__})",
            allowed=_WHOLE,
            fix="copy or download it again, or leave it out",
        ) from None


_CONVERT = "convert it to NIfTI first, for example with dcm2niix or nibabel"


def _check_header(header: Any, name: str) -> None:
    """Judge the shape and the type from the header alone, before any voxel is decoded."""
    shape, kind = header.get_data_shape(), header.get_data_dtype()
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    lengths = " x ".join(map(str, shape))
    if len(shape) != 3 or min(shape) < 1:
        first = "img.slicer[..., 0], of nibabel, is the first of several volumes"
        raise ImageError(
            given=f"{name!r}, a NIfTI of {len(shape)} axes ({lengths})",
            allowed="one volume: three axes",
            fix=first if len(shape) > 3 else "use a volume with voxels along three axes",
        )
    if kind.kind not in "buif":
        raise ImageError(
            given=f"{name!r}, a NIfTI of {kind}",
            allowed="one real number a voxel",
            fix="save the channel, or the magnitude, that is meant",
        )
    if math.prod(shape) > MAX_VOXELS:
        raise _too_large(f"{name!r}, a volume of {lengths} voxels")


def _too_large(given: str) -> ImageError:
    return ImageError(
        given=given,
        allowed=f"at most {MAX_VOXELS:,} voxels, in at most {MAX_BYTES:,} bytes",
        fix="cut it into several, or resample it coarser",
    )


def _oriented(image: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Voxels and affine with the axes in their standard order.

    Raises:
        ImageError: voxels that are not finite or cannot be decoded, or an affine of no volume.
    """
    orientations = nibabel().orientations
    try:
        voxels = np.asanyarray(image.dataobj)
    except Exception as error:  # as above
        raise ImageError(
            given=f"{name!r}, whose voxels cannot be decoded ({error})",
            allowed=_WHOLE,
            fix="copy or download it again, or leave it out",
        ) from None
    finite = np.abs(voxels) <= np.finfo(np.float32).max  # NaN is not
    if not finite.all():
        raise ImageError(
            given=f"{name!r}, with {int((~finite).sum()):,} voxels that are NaN or infinite",
            allowed="numbers of float32",
            fix="replace them where they come from, for example by numpy.nan_to_num",
        )
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise ImageError(
            given=f"{name!r}, whose affine {affine[:3].tolist()} is that of no volume",
            allowed="an affine that has an inverse",
            fix="mend its header, for example with nibabel: Nifti1Image(voxels, affine)",
        )
    voxels, order = voxels.reshape(voxels.shape[:3]), _order(affine)
    place = affine @ orientations.inv_ornt_aff(order, voxels.shape)
    return np.ascontiguousarray(orientations.apply_orientation(voxels, order)), place


def _order(affine: np.ndarray) -> np.ndarray:
    """Which axis of a patient each axis is, and whether it is reversed."""
    return nibabel().orientations.io_orientation(affine)
