"""Tiny volumes with label maps: what a voxel's class is can be seen from its brightness."""

import gzip
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

PLACE = np.diag([1.0, 1.0, 2.0, 1.0])


def nifti(voxels: np.ndarray, affine: np.ndarray | None = None) -> bytes:
    image = nib.Nifti1Image(
        voxels.astype(np.float32) if voxels.dtype == np.float64 else voxels,
        PLACE if affine is None else affine,
        dtype=voxels.dtype if voxels.dtype == np.int64 else None,
    )
    return gzip.compress(image.to_bytes(), mtime=0)


def volume(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of a scale of their own, and two boxes in them."""
    noise = np.random.default_rng(number)
    voxels, labels = noise.random((12, 10, 9)), np.zeros((12, 10, 9), np.uint8)
    for n, where in enumerate((np.s_[1:6, 1:9, 1:8], np.s_[7:11, 1:9, 1:8]), 1):
        voxels[where] += 3 * n
        labels[where] = n
    return voxels * 10.0**number, labels


def write_volumes(path: Path, count: int, affine: np.ndarray | None = None) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(count):
            voxels, labels = volume(number)
            archive.writestr(f"images/{number:03d}.nii.gz", nifti(voxels, affine))
            archive.writestr(f"labels/{number:03d}.nii.gz", nifti(labels, affine))
    return path


def loaded(path: Path) -> Any:
    """A file as nibabel opens it."""
    return nib.load(path)
