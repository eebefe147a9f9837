"""From a photo to what the server keeps of it: a manifest, and arrays by name."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from vitrail.explain import capture
from vitrail.explorer.explore import _source, _versions, blocks_at, default_size
from vitrail.explorer.manifest import check_size, describe
from vitrail.explorer.photo import picture_bytes, prepare
from vitrail.explorer.server.store import Arrays
from vitrail.models import Backbone
from vitrail.shapes import Size


class Stored:
    """Arrays that are all there."""

    def __init__(self, by_name: Mapping[str, np.ndarray]) -> None:
        self._by_name = by_name

    def get(self, name: str) -> np.ndarray:
        """Return an array, or raise ``KeyError``."""
        return self._by_name[name]


def trace_photo(
    model: Backbone,
    picture: Image.Image,
    *,
    size: Size | None,
    source: str,
    name: str,
    notes: Sequence[str],
) -> tuple[Mapping[str, Any], Arrays]:
    """Run a model on a picture and return the manifest and the arrays."""
    if size is None:
        size = default_size(model, (picture.height, picture.width))
    prepared = prepare(picture, model.preprocessing, size)
    check_size(blocks_at(model, size), size)
    transform = (*notes, *prepared.steps)
    trace = capture(model, prepared.input, weights=_source(source), transform=transform)
    photo = {"name": name, "original": list(prepared.original)}
    manifest, arrays = describe(trace, photo, _versions())
    by_name = dict(arrays.by_name)
    for which, image in (("seen", prepared.seen), ("shown", prepared.shown)):
        media, data = picture_bytes(image, exact=which == "seen")
        by_name[f"image/{which}"] = np.frombuffer(data, np.uint8)
        manifest["arrays"][f"image/{which}"] = {
            "dtype": "bytes",
            "shape": [len(data)],
            "type": media,
        }
    return manifest, Stored(by_name)
