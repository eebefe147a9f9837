"""Volumes in NIfTI: what is read of them, what is refused, and masks with their headers."""

import gzip
import struct
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tests.support import refuses
from tests.tasks.volumes import loaded, nifti, volume, write_volumes
from vitrail.data.dataset import Skipped
from vitrail.data.images import ImageError
from vitrail.data.pairs import load_pairs, open_pairs, split_pairs
from vitrail.data.volumes import as_volume, decode_volume, decode_volume_labels, open_volume

ONE = volume(0)[0]


def test_voxels_lie_between_zero_and_one_whatever_their_scale() -> None:
    one, large = (decode_volume(nifti(ONE * scale), "x").voxels for scale in (1e-3, 1e6))
    assert np.allclose(one, large, atol=1e-5)
    assert (one.min(), one.max(), one.dtype) == (0, 1, np.float32)
    flat = decode_volume(nifti(np.full((2, 3, 4), 7.0)), "x").voxels
    assert not flat.any()
    few = np.zeros((20, 20, 20))
    few[0, 0, 0] = 5.0  # fewer than the percentile
    assert decode_volume(nifti(few), "x").voxels.sum() == 1


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float64])
def test_any_type_and_both_versions(kind) -> None:
    voxels = (ONE * 20).astype(kind)
    expected = decode_volume(nifti(voxels.astype(np.float32)), "x").voxels
    for opener in (nib.Nifti1Image, nib.Nifti2Image):
        data = opener(voxels, np.eye(4)).to_bytes()
        assert np.allclose(decode_volume(data, "x").voxels, expected, atol=1e-6)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SAR", "PIR"])
def test_axes_come_in_one_order_and_masks_go_back(tmp_path, axes) -> None:
    """The same patient in any orientation is the same input, and its mask lies where it lay."""
    place = np.diag([1.0, 2.0, 3.0, 1.0])
    place[:3, 3] = (-10, 20, 30)
    standard = nib.Nifti1Image(ONE.astype(np.float32), place)
    wanted = nib.orientations.axcodes2ornt(tuple(axes))
    own: Any = nib.orientations.axcodes2ornt("RAS")
    change: Any = nib.orientations.ornt_transform(own, wanted)
    turned: Any = standard.as_reoriented(change)
    assert "".join(nib.aff2axcodes(turned.affine)) == axes
    found = decode_volume(turned.to_bytes(), "x")
    assert np.allclose(found.voxels, decode_volume(standard.to_bytes(), "x").voxels)
    assert np.allclose(found.affine, place)
    assert found.spacing == (1, 2, 3)
    numbers = np.arange(ONE.size).reshape(ONE.shape) % 7
    found.save_mask(numbers, tmp_path / "mask.nii.gz")
    mask = loaded(tmp_path / "mask.nii.gz")
    assert np.array_equal(mask.affine, turned.affine)
    assert mask.shape == turned.shape
    back = decode_volume_labels((tmp_path / "mask.nii.gz").read_bytes(), "x")
    assert np.array_equal(back.numbers, numbers)


def test_a_mask_has_the_volumes_own_header(tmp_path) -> None:
    image = nib.Nifti1Image(np.rint(ONE * 9).astype(np.int16)[..., None], np.diag([-1, 1, 2, 1]))
    image.header["descrip"] = b"scanner"
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(2.0, 1.0)
    image.set_qform(image.affine, 3)
    (tmp_path / "in.nii").write_bytes(image.to_bytes())
    found = open_volume(tmp_path / "in.nii")
    for numbers, kind in ((found.voxels > 0.5, np.uint8), (np.full(ONE.shape, 300), np.uint16)):
        found.save_mask(numbers.astype(np.int64), tmp_path / "out.nii")
        mask, own = loaded(tmp_path / "out.nii"), loaded(tmp_path / "in.nii")
        both = (
            (name, own.header[name].tobytes(), mask.header[name].tobytes()) for name in own.header
        )
        changed = {name for name, one, other in both if one != other}
        assert changed <= {"datatype", "bitpix", "scl_slope", "scl_inter"}
        assert mask.shape == own.shape
        assert mask.get_data_dtype() == kind
        assert np.array_equal(np.asanyarray(mask.dataobj)[..., 0], np.flip(numbers, 0))


def test_labels_are_whole_numbers_of_any_type() -> None:
    numbers = volume(0)[1]
    for kind in (np.float32, np.uint8, np.int32):
        assert np.array_equal(
            decode_volume_labels(nifti(numbers.astype(kind)), "x").numbers, numbers
        )
    for bad, words in ((numbers + 0.5, "with fractions"), (numbers - 1.0, "with -1 to")):
        with refuses(words, "not an image or probabilities"):
            decode_volume_labels(nifti(bad.astype(np.float32)), "x")


def test_what_a_user_has_in_python(tmp_path) -> None:
    (tmp_path / "x.nii.gz").write_bytes(nifti(ONE))
    image = loaded(tmp_path / "x.nii.gz")
    same = [as_volume(one).voxels for one in (tmp_path / "x.nii.gz", image, nifti(ONE), ONE)]
    assert all(np.allclose(same[0], one, atol=1e-6) for one in same)
    with refuses("with shape (3, 4) as a volume", "path of a NIfTI"):
        as_volume(np.zeros((3, 4)))
    with refuses("type dict as a volume", "path of a NIfTI"):
        as_volume({})
    with refuses("cannot be read", "check the path"):
        as_volume(tmp_path / "nowhere.nii")


def header_of(shape: tuple[int, ...]) -> bytes:
    """A header of any shape, of float32, without voxels."""
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float32)
    data = bytearray(header.structarr.tobytes())
    struct.pack_into("<8h", data, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<f", data, 108, 352.0)
    return bytes(data) + b"\0" * 4


def flat() -> bytes:
    """A volume whose affine has no inverse."""
    data = bytearray(gzip.decompress(nifti(ONE)))
    struct.pack_into("<h", data, 254, 1)
    data[280:328] = bytes(48)
    return bytes(data)


NAN = np.where(volume(0)[1], np.nan, ONE)
RGB = np.zeros((2, 2, 2), [("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("data", "given", "fix"),
    [
        (b"", "no NIfTI file", "convert it"),
        (b"\x89PNG" * 200, "no NIfTI file", "convert it"),
        (nifti(ONE)[:-900], "truncated NIfTI", "download it again"),
        (gzip.decompress(nifti(ONE))[:-9], "truncated NIfTI", "download it again"),
        (nifti(ONE)[:-8] + b"\0" * 8, "truncated NIfTI", "download it again"),  # its checksum
        (nifti(np.zeros((2, 3, 4, 5))), "of 4 axes (2 x 3 x 4 x 5)", "img.slicer[..., 0]"),
        (nifti(np.zeros((2, 3))), "of 2 axes", "three axes"),
        (nifti(NAN), "voxels that are NaN or infinite", "nan_to_num"),
        (nifti(RGB), "a NIfTI of [(", "save the channel"),
        (flat(), "that of no volume", "mend its header"),
        (header_of((20_000, 20_000, 20_000)), "20000 x 20000 x 20000 voxels", "cut it"),
    ],
)
def test_what_is_no_volume(data, given, fix) -> None:
    with pytest.raises(ImageError, match="'scan'") as caught:
        decode_volume(data, "scan")
    with refuses(given, fix):
        raise caught.value


def test_headers_are_judged_before_voxels_are_unpacked() -> None:
    bomb = gzip.compress(header_of((2_000, 2_000, 2_000)) + b"\0" * 4_000_000)
    with refuses("2000 x 2000 x 2000 voxels", "resample it coarser"):
        decode_volume(bomb, "x")


# ---- pairs -----------------------------------------------------------------------------------


def test_pairs_of_volumes(tmp_path) -> None:
    source = open_pairs([write_volumes(tmp_path / "set.zip", 3)])
    assert source.form == (3, 1, False)
    assert source.survey.numbers.tolist() == [0, 1, 2]
    assert dict(source.survey.spacings) == {(1, 1, 2): 3}
    pair = source.pair(1)
    assert pair.image.shape == (1, *pair.labels.shape)
    assert np.array_equal(pair.labels, volume(1)[1])


def test_bad_ones_are_left_out_and_reported(tmp_path) -> None:
    path = write_volumes(tmp_path / "set.zip", 2)
    elsewhere = np.diag([1.0, 1.0, 2.0, 1.0])
    elsewhere[0, 3] = 3
    voxels, labels = volume(0)
    with zipfile.ZipFile(path, "a") as archive:
        for name, image, numbers, place in (
            ("cut", nifti(voxels)[:300], labels, None),
            ("shape", nifti(voxels), labels[:-1], None),
            ("place", nifti(voxels), labels, elsewhere),
        ):
            archive.writestr(f"images/{name}.nii.gz", image)
            archive.writestr(f"labels/{name}.nii.gz", nifti(numbers, place))
    skipped = Skipped(10)
    kept = load_pairs(split_pairs(open_pairs([path]), 0.0, 0)[0], 1 << 30, skipped)
    assert kept is not None
    assert len(kept[0]) == 2
    reasons = " | ".join(skipped.reasons.values())
    for words in ("truncated NIfTI", "a label map of 11 x 10 x 9", "lies elsewhere"):
        assert words in reasons


def test_a_volume_without_its_label_map(tmp_path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "images/a.nii.gz").write_bytes(nifti(ONE))
    (tmp_path / "labels/b.nii").write_bytes(nifti(ONE))
    with refuses("a.nii.gz' without a file of its stem in labels/", "add labels/a.nii.gz"):
        open_pairs([tmp_path])


def test_the_real_hippocampus(data_dir: Path) -> None:
    source = open_pairs([data_dir / "hippocampus" / "val.zip"])
    kept = load_pairs(split_pairs(source, 0.0, 0)[0], 1 << 30, Skipped(0))
    assert kept is not None
    labels = np.concatenate([kept[0].source.pair(n).labels.ravel() for n in range(26)])
    assert np.bincount(labels)[1:].tolist() == [45_057, 39_745]
    assert dict(source.survey.spacings) == {(1, 1, 1): 26}
