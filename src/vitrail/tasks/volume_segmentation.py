"""What a model of segmentation answers for a volume: a mask in NIfTI, and three planes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from vitrail.data.volumes import Volume
from vitrail.tasks.segmentation import Segmentation

_HEIGHT = 320  # pixels of a picture, about
_GAP = 4


@dataclass(frozen=True, slots=True, eq=False)
class VolumeSegmentation(Segmentation):
    """The class of each voxel; axes are right, front and top."""

    endings: ClassVar[tuple[str, ...]] = (".nii.gz", ".nii")
    pictures: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg", ".webp", ".png")

    @classmethod
    def files(cls, name: str) -> dict[str, str]:
        """The mask, and three planes with it."""
        return {"mask": ".nii.gz", "overlay": "-overlay.jpg"}

    @property
    def volume(self) -> Volume:
        """What was segmented."""
        assert isinstance(self.photo, Volume)
        return self.photo

    def as_dict(self) -> dict[str, Any]:
        """Voxels ("pixels"), share and volume in millilitres of each class, and the spacing."""
        found = Segmentation.as_dict(self)  # zero-argument super() does not survive slots=True
        voxel = float(np.prod(self.volume.spacing)) / 1000
        rows = [row | {"ml": row["pixels"] * voxel} for row in found["classes"]]
        return found | {"spacing": list(self.volume.spacing), "classes": rows}

    def save_mask(self, path: Path) -> None:
        """Write the mask with the volume's own shape, affine and header."""
        self.volume.save_mask(self.numbers(), path)

    def draw(self) -> Image.Image:
        """The planes through the middle of what was found, or of the volume, with the classes.

        They are seen from the right, the front and the top, in the volume's proportions.
        """
        found = self.labels > 0 if self.objects is None else self.objects > 0
        middle = [n // 2 for n in found.shape]
        if found.any():
            middle = [int(where.mean() + 0.5) for where in np.nonzero(found)]
        spacing = self.volume.spacing
        scale = _HEIGHT / max(n * mm for n, mm in zip(found.shape, spacing, strict=True))
        pages: list[Image.Image] = []
        for axis in range(3):
            plane = tuple(middle[n] if n == axis else slice(None) for n in range(3))
            grey = (255 * self.volume.voxels[plane]).astype(np.uint8)
            page = self.laid_over(np.stack([grey] * 3, -1), plane)
            page = page.transpose(Image.Transpose.ROTATE_90)  # the second axis upwards
            across, up = (scale * spacing[n] for n in range(3) if n != axis)
            width, height = max(1, round(page.width * across)), max(1, round(page.height * up))
            pages.append(page.resize((width, height), Image.Resampling.NEAREST))
        wide = sum(page.width for page in pages) + _GAP * 2
        whole = Image.new("RGB", (wide, max(page.height for page in pages)))
        left = 0
        for page in pages:
            whole.paste(page, (left, (whole.height - page.height) // 2))
            left += page.width + _GAP
        return whole
