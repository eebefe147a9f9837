"""Photos as a model's inputs: noise alone would not show whether a file works on what it is for."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from vitrail.data.images import open_photo
from vitrail.export.sizes import Exported, size_range
from vitrail.shapes import Size

_NAMES = ("chelsea.png", "coffee.png", "rocket.jpg")  # in scikit-image's folder of data

Photos = Sequence[str | Path] | None  # files; None for those that scikit-image brings along


def photo_inputs(
    model: Exported, photos: Photos, size: Size, *, dynamic: bool
) -> Iterator[tuple[str, Float[Tensor, "1 3 height width"]]]:
    """Give photos as a model takes them, with their names.

    Args:
        model: any backbone; one that does not take colour images gets no photos.
        photos: files; None for those that scikit-image brings along, if it and torchvision are
            installed.
        size: height and width of the input, in pixels.
        dynamic: give the first photo in its own proportions too.
    Raises:
        UsageError: a file that is no photo, or photos were given and torchvision is missing.
    """
    if not model.config.takes_photos:
        return
    files = own_photos() if photos is None else [Path(photo) for photo in photos]
    if not files:
        return
    from vitrail.data.transforms import eval_transform

    for number, file in enumerate(files):
        image = open_photo(file).image
        yield file.name, eval_transform(model.preprocessing, (size[0], size[1]))(image)[None]
        if dynamic and number == 0:
            height, width = _in_proportion(model, size, (image.height, image.width))
            yield file.name, eval_transform(model.preprocessing, (height, width))(image)[None]


def own_photos() -> list[Path]:
    """Return the photos of scikit-image, if it and torchvision are installed."""
    found = [importlib.util.find_spec(name) for name in ("skimage", "torchvision")]
    if None in found or found[0] is None or found[0].origin is None:
        return []
    folder = Path(found[0].origin).parent / "data"
    return [folder / name for name in _NAMES if (folder / name).is_file()]


def _in_proportion(model: Exported, size: Size, photo: Size) -> Size:
    smallest, largest = size_range(model)
    lengths = (min(size) * n // min(photo) for n in photo)
    return tuple(
        min(max(n, low), high) for n, low, high in zip(lengths, smallest, largest, strict=True)
    )
