"""Segmentation of images of any channels and size: read, predicted and written tile by tile."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor, nn

from vitrail.data.images import MAX_PIXELS
from vitrail.data.rasters import Moments, Raster, write_labels
from vitrail.errors import UsageError
from vitrail.files import write_whole
from vitrail.models import backbone_of
from vitrail.shapes import Size
from vitrail.tasks.instances import INSIDE
from vitrail.tasks.segment_samples import as_samples, standardised
from vitrail.tasks.segmentation import Segmentation
from vitrail.tasks.tiles import bands_of

if TYPE_CHECKING:
    from vitrail.tasks.segment import Segment

_SHOWN = 1024  # pixels of a picture's longer side
_IN_MEMORY = 1 << 26  # labels; more lie in a temporary file
_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class RasterSegmentation(Segmentation):
    """The class of each place of a raster; labels of a large one lie in a temporary file."""

    endings: ClassVar[tuple[str, ...]] = (".tif", ".tiff", ".npy", ".png")

    @property
    def raster(self) -> Raster:
        """What was segmented."""
        assert isinstance(self.photo, Raster)
        return self.photo

    def as_dict(self) -> dict[str, Any]:
        """Pixels and share of each class, the number of objects, and notes on the input."""
        pixels = np.zeros(len(self.classes), np.int64)
        for first in range(0, len(self.labels), _ROWS):
            rows = self.labels[first : first + _ROWS]
            pixels += np.bincount(rows.ravel(), minlength=len(pixels))
        rows = [
            {"class": name, "index": n, "pixels": int(count), "share": count / self.labels.size}
            for n, (name, count) in enumerate(zip(self.classes, pixels, strict=True))
        ]
        found: dict[str, Any] = {"notes": list(self.raster.notes), "size": [*self.labels.shape]}
        if self.objects is not None:
            found["objects"] = int(self.objects.max())
        return found | {"classes": rows}

    def save_mask(self, path: Path) -> None:
        """Write the mask: a tiled TIFF with the input's georeference, ``.npy``, or ``.png``."""
        ending = path.suffix.lower()
        if ending == ".npy":
            write_whole(path, lambda part: _save_array(part, self.numbers()))
        elif ending == ".png" or self.labels.ndim != 2:
            self._check_small(path)
            write_whole(path, self.mask().save)
        else:
            values = np.array(self.values)
            most = values.max() if self.objects is None else self.objects.max()
            kind = np.uint8 if most < 256 else np.uint16

            def numbers(part: tuple[slice, ...]) -> np.ndarray:
                return values[self.labels[part]] if self.objects is None else self.objects[part]

            write_labels(path, numbers, self.labels.shape, kind, self.raster.tags)

    def _check_small(self, path: Path) -> None:
        shape = " x ".join(map(str, self.labels.shape))
        if self.labels.ndim != 2:
            raise UsageError(
                given=f"{str(path)!r} for a mask of {shape}",
                allowed=".npy, for a mask with other axes than height and width",
                fix=f"write {str(path.with_suffix('.npy'))!r}",
            )
        if self.labels.size > MAX_PIXELS:
            raise UsageError(
                given=f"{str(path)!r} for a mask of {shape}",
                allowed=f"at most {MAX_PIXELS:,} pixels in a PNG",
                fix=f"write {str(path.with_suffix('.tif'))!r}",
            )

    def draw(self) -> Image.Image:
        """A reduced picture of the raster, with the classes laid over it.

        The first three channels are red, green and blue, each stretched to its range; of three
        axes the middle plane is shown, of one a strip.
        """
        labels, spatial = self.labels, self.raster.spatial
        step = max(1, math.ceil(max(spatial[-2:]) / _SHOWN))
        middle = tuple(slice(n // 2, n // 2 + 1) for n in spatial[:-2])
        part = (*middle, *(slice(0, n, step) for n in spatial[-2:]))
        picture = _in_colours(
            self.raster.read(part).reshape(self.raster.shape[0], *_flat(part, labels))
        )
        plane = labels[part].reshape(_flat(part, labels))
        objects = None if self.objects is None else self.objects[part].reshape(plane.shape)
        shown = RasterSegmentation(
            plane, self.classes, self.values, self.colours, self.raster, self.background, objects
        )
        page = shown.laid_over(picture, np.s_[:, :])
        return page if len(spatial) > 1 else page.resize((page.width, 32))


def predict_raster(
    task: "Segment", model: nn.Module, raster: Raster, size: Size | None
) -> Segmentation:
    """The class of each place of a raster, tile by tile.

    Args:
        task: of the model.
        model: in any mode and on any device.
        raster: its parts are read when they are predicted.
        size: cannot be given: it would be read whole.
    Raises:
        UsageError: the model's outputs are not finite, a size, or objects in too large an image.
    """
    backbone = backbone_of(model)
    assert backbone is not None
    if size is not None:
        raise UsageError(
            given=f"the size {'x'.join(map(str, size))} for {raster.name!r}",
            allowed="the image's own size: it is predicted by tiles",
            fix="leave the size out",
        )
    places = math.prod(raster.spatial)
    if task.finds_objects and places > MAX_PIXELS:
        raise UsageError(
            given=f"objects in {raster.name!r}, an image of {places:,} pixels",
            allowed=f"at most {MAX_PIXELS:,} pixels, where objects are numbered",
            fix="cut it into several",
        )
    mean, std, raw = _scale(task, backbone.preprocessing, raster)
    parameter, was_training = next(model.parameters()), model.training

    def run(part: tuple[slice, ...]) -> Tensor:
        x = standardised(as_samples(raster.read(part)), mean, std, raw)[None]
        return next(task.outputs(model, x.to(parameter.device, parameter.dtype)))

    labels = _room(raster.spatial, len(task.classes))
    insides: list[np.ndarray] = []
    tile, first = (task.tile,) * len(raster.spatial), 0
    model.eval()
    try:
        with torch.no_grad():
            for logits in bands_of(run, raster.spatial, tile, task.options.overlap):
                rows = logits[0].argmax(0).cpu().numpy()
                labels[first : first + len(rows)] = rows
                first += len(rows)
                if task.finds_objects:
                    insides.append(logits[0].softmax(0)[INSIDE].cpu().numpy())
    finally:
        model.train(was_training)
    return task.prediction(labels, raster, np.concatenate(insides) if insides else None)


def _scale(
    task: "Segment", facts: Any, raster: Raster
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Mean and deviation of each channel, or of all, and whether samples are raw."""
    raw = raster.dtype != np.uint8
    if task.options.normalise in ("fixed", "data"):
        return facts.mean, facts.std, raw
    moments = Moments()
    for block in raster.blocks():
        moments.add(block if raw else block / np.float32(255))
    mean, std = moments.result()
    if raw:
        return mean, std, raw
    whole = float(np.mean(mean))
    spread = float(np.mean(moments.squares) / moments.count - whole**2)
    return (whole,), (max(math.sqrt(max(spread, 0.0)), 1e-3),), raw


def _room(spatial: Size, classes: int) -> np.ndarray:
    """An array for the labels, in memory or in a file that vanishes with it."""
    kind = np.uint8 if classes <= 256 else np.uint16
    if math.prod(spatial) <= _IN_MEMORY:
        return np.empty(spatial, kind)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, kind, "w+", shape=spatial)


def _flat(part: tuple[slice, ...], labels: np.ndarray) -> tuple[int, int]:
    """Height and width of a plane that slices pick out."""
    lengths = [len(range(*one.indices(n))) for one, n in zip(part, labels.shape, strict=True)]
    return (1, lengths[0]) if len(lengths) == 1 else (lengths[-2], lengths[-1])


def _in_colours(image: np.ndarray) -> UInt8[np.ndarray, "height width 3"]:
    """The first three channels, or the first as grey; each from its 2nd to its 98th percentile."""
    shown = [image[n] for n in range(3)] if len(image) >= 3 else [image[0]] * 3
    pages = []
    for channel in shown:
        low, high = np.percentile(channel.astype(np.float64), (2, 98))
        scaled = (channel - low) / (high - low if high > low else 1.0)
        pages.append((255 * scaled.clip(0, 1)).astype(np.uint8))
    return np.stack(pages, -1)


def _save_array(path: Path, numbers: np.ndarray) -> None:
    with open(path, "wb") as file:
        np.save(file, numbers.astype(np.uint8 if numbers.max(initial=0) < 256 else np.uint16))
