"""Images and label maps in the arrays of one .npz."""

from pathlib import Path

import numpy as np

from vitrail.data.images import LabelPicture
from vitrail.data.pair import Pairs
from vitrail.data.readers import Picture, labels_of_array, samples_of_array
from vitrail.errors import UsageError


class ArrayPairs(Pairs):
    """Images and label maps in the arrays of one .npz.

    Args:
        path: with ``images``, (number, channels, *spatial), or (number, *spatial) of one channel;
            ``labels``, (number, *spatial); and perhaps ``classes``, their names.
    Raises:
        UsageError: it cannot be read, or its arrays do not fit together.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        arrays = _arrays(path)
        self._images, self._labels = arrays["images"], arrays["labels"]
        if self._images.ndim == self._labels.ndim:
            self._images = self._images[:, None]
        images, labels = self._images.shape, self._labels.shape
        if not images or (images[0], *images[2:]) != labels or not labels[0]:
            raise UsageError(
                given=f"{str(path)!r} with images of shape {arrays['images'].shape} and labels of "
                f"shape {labels}",
                allowed="images (number, channels, *spatial) or (number, *spatial), and labels "
                "(number, *spatial)",
                fix="put the channels second: numpy.moveaxis(images, -1, 1)",
            )
        self.classes = tuple(map(str, arrays.get("classes", ())))
        self.kinds = ("",) * len(self)
        self.groups = np.arange(len(self))

    def __len__(self) -> int:
        return len(self._labels)

    def name(self, index: int) -> str:
        """The file and the number."""
        return f"{self.path}/images[{index}]"

    def label_name(self, index: int) -> str:
        """Likewise."""
        return f"{self.path}/labels[{index}]"

    def image(self, index: int) -> Picture:
        """The image of number ``index``."""
        return samples_of_array(self._images[index], self.name(index))

    def labels(self, index: int) -> LabelPicture:
        """The label map of number ``index``."""
        return labels_of_array(self._labels[index], self.label_name(index))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz that has ``images`` and ``labels``.

    Raises:
        UsageError: it is damaged, or has others.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: file[name] for name in ("images", "labels", "classes") if name in file}
            names = file.files
    except Exception as error:  # numpy, zipfile and zlib each raise errors of their own
        text = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise UsageError(
            given=f"{str(path)!r}, which is no whole .npz of numbers ({text})",
            allowed="an .npz with the arrays images and labels",
            fix="save it anew: numpy.savez(path, images=..., labels=...)",
        ) from None
    if not {"images", "labels"} <= found.keys():
        raise UsageError(
            given=f"{str(path)!r} with the arrays {', '.join(names[:5]) or 'none'}",
            allowed="the arrays images and labels",
            fix="save it anew: numpy.savez(path, images=..., labels=...)",
        )
    return found
