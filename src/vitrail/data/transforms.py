"""From a picture to what a model takes: torchvision v2 transforms made from the model's
preprocessing.
"""

import os
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from vitrail.data.images import to_rgb
from vitrail.data.pixels import covering, cut_out, frame_of, normalised, resize
from vitrail.errors import UsageError
from vitrail.extras import missing_extra

try:
    import torch
    from torchvision import tv_tensors
    from torchvision.transforms import InterpolationMode, v2
except ImportError:
    raise missing_extra("image transforms without the package torchvision", "train") from None


@runtime_checkable
class HasPreprocessing(Protocol):
    """What of a model the transforms need."""

    preprocessing: Any


class ToRGB(v2.Transform):
    """Pillow pictures of any mode to upright 8-bit RGB, as ``vitrail predict`` opens photos.

    Alpha is laid over white, EXIF rotation is applied. Tensors and arrays stay as they are.
    """

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse what holds no image.

        Raises:
            UsageError: no picture, tensor or array among the inputs, for example a path.
        """
        if any(isinstance(one, Image.Image | torch.Tensor | np.ndarray) for one in flat_inputs):
            return
        given = flat_inputs[0] if flat_inputs else None
        path = isinstance(given, str | os.PathLike)
        raise UsageError(
            given=f"{str(given)!r}, a path, to a transform"
            if path
            else f"an object of type {type(given).__name__} to a transform",
            allowed="a Pillow picture, or a uint8 tensor (3, height, width)",
            fix=f"open it first: PIL.Image.open({str(given)!r})"
            if path
            else "convert it with PIL.Image.fromarray(...)",
        )

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Convert one input."""
        return to_rgb(inpt).image if isinstance(inpt, Image.Image) else inpt


class Cover(v2.Transform):
    """Scale a picture until it just covers a box, so that a centre crop of that size holds no
    border.

    For a square box this is ``Resize`` of the short side; it also serves boxes that are not square.
    """

    def __init__(self, size: tuple[int, int], interpolation: str) -> None:
        super().__init__()
        self.size = size
        self.interpolation = interpolation

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Resize by the larger of the two ratios."""
        lengths = covering(inpt.shape[-2:], self.size)
        return tv_tensors.Image(resize(inpt, lengths, self.interpolation))


class CentreInput(v2.Transform):
    """A picture as a model's input: resized, the centre cut out, and normalised."""

    def __init__(self, preprocessing: Any, size: tuple[int, int]) -> None:
        super().__init__()
        self.preprocessing = preprocessing
        self.size = size

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Return float32 numbers."""
        wanted, pixels = self.preprocessing, inpt.as_subclass(torch.Tensor)
        frame = frame_of(tuple(pixels.shape[-2:]), self.size, wanted.crop)
        return normalised(cut_out(pixels, frame, wanted.interpolation), wanted.mean, wanted.std)


def transform(model: HasPreprocessing, *, train: bool = False) -> v2.Compose:
    """The preprocessing that belongs to a model and its weights.

    Args:
        model: a Vitrail model; its ``preprocessing`` gives size, crop, interpolation, mean and
            standard deviation.
        train: whether to add the random augmentation of the paper's recipe (crop, flip,
            RandAugment, erasing).
    Returns:
        A transform from a Pillow picture of any mode, as ``PIL.Image.open`` gives it, or a uint8
        tensor (3, height, width), to a float tensor (3, height, width). It raises ``UsageError``
        for a path, and ``ImageError``, which is one, for a damaged picture.
    """
    return train_transform(model.preprocessing) if train else eval_transform(model.preprocessing)


def eval_transform(preprocessing: Any, size: tuple[int, int] | None = None) -> v2.Compose:
    """Resize, centre crop, normalise.

    Args:
        preprocessing: a model's preprocessing.
        size: (height, width) to use instead of the model's own.
    """
    size = size or tuple(preprocessing.size)
    return v2.Compose([ToRGB(), v2.ToImage(), CentreInput(preprocessing, size)])


def train_transform(
    preprocessing: Any,
    size: tuple[int, int] | None = None,
    *,
    crop: str = "resized",
    randaugment: int = 9,
    erase: float = 0.25,
) -> v2.Compose:
    """Random crop, flip, RandAugment, normalise, random erasing: one picture at a time.

    Args:
        preprocessing: a model's preprocessing.
        size: (height, width) to use instead of the model's own.
        crop: "resized" for a random part of 8-100 % of the picture, or "pad" for small pictures:
            cover the size, pad by an eighth, crop.
        randaugment: magnitude, 0 for none.
        erase: probability of erasing a box.
    """
    height, width = size or preprocessing.size
    mode = InterpolationMode(preprocessing.interpolation)
    steps: list[Any] = [ToRGB(), v2.ToImage()]
    if crop == "resized":
        steps.append(v2.RandomResizedCrop([height, width], interpolation=mode, antialias=True))
    else:
        margin = [width // 8, height // 8]
        steps += [
            Cover((height, width), preprocessing.interpolation),
            v2.RandomCrop([height, width], padding=margin, padding_mode="constant"),
        ]
    steps.append(v2.RandomHorizontalFlip())
    if randaugment:
        steps.append(rand_augment(randaugment))
    mean, std = list(preprocessing.mean), list(preprocessing.std)
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std), v2.ToPureTensor()]
    if erase:
        steps.append(v2.RandomErasing(p=erase))
    return v2.Compose(steps)


def rand_augment(magnitude: int) -> v2.RandAugment:
    """RandAugment as the recipe has it: two operations; what moves in from outside is mid-grey."""
    return v2.RandAugment(
        num_ops=2,
        magnitude=magnitude,
        interpolation=InterpolationMode.BILINEAR,
        fill=[128, 128, 128],
    )
