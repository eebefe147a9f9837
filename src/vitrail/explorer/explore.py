"""From a model and a photo to a report."""

import os
import platform
import re
import unicodedata
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from vitrail.data.images import open_photo
from vitrail.errors import UsageError
from vitrail.explain import attention_layers, capture
from vitrail.explorer.manifest import Blocks, check_size, fits
from vitrail.explorer.photo import SHORTER, prepare, whole_photo
from vitrail.explorer.report import Report, build
from vitrail.models import Backbone
from vitrail.shapes import Size


def explore(
    model: nn.Module,
    photo: str | os.PathLike[str] | Image.Image,
    *,
    size: int | Size | None = None,
    source: str | None = None,
    name: str | None = None,
) -> Report:
    """Run a model on a photo and return the page that shows how it attends.

    Args:
        model: a Vitrail model for images; it is left as it was found.
        photo: a file, or a Pillow image.
        size: height and width of the model's input, in pixels; default see ``default_size``.
        source: where the weights came from, for the record.
        name: what the page calls the photo; default its file's name.
    Returns:
        The report: ``save(path)`` writes it, a notebook shows it, ``trace`` holds the numbers.
    Raises:
        UsageError: a model that is not for photos, a size too large, or a photo that cannot be
            opened.
    """
    model = _checked(model)
    if isinstance(photo, Image.Image):
        picture, notes, name = photo.convert("RGB"), (), name or "photo"
    else:
        opened = open_photo(photo)
        picture, notes, name = opened.image, opened.notes, name or Path(photo).name
    if size is None:
        size = default_size(model, (picture.height, picture.width))
    size = (size, size) if isinstance(size, int) else tuple(size)
    prepared = prepare(picture, model.preprocessing, size)
    check_size(blocks_at(model, size), size)
    parameter = next(model.parameters())
    trace = capture(
        model,
        prepared.input.to(parameter.device, parameter.dtype),
        weights=_source(source),
        transform=(*notes, *prepared.steps),
    )
    return build(trace, prepared, plain(name), _versions())


def default_size(model: Backbone, photo: Size | None = None) -> Size:
    """Return the height and width at which a model is explored unless told otherwise.

    That is the size of its weights, or the next smaller one whose weights a report can hold. A
    model of small images gets the whole photo at a larger size: 64 pixels along its shorter side,
    and at most 128 along the longer one.

    Args:
        model: a model for images.
        photo: height and width of the photo, which otherwise counts as a square.
    """
    shorter = SHORTER.get(model.name or "")
    if shorter is not None:
        return whole_photo(photo or (1, 1), shorter, model.config.patch)
    size, stride = model.preprocessing.size, model.config.stage_strides[-1]
    while not fits(blocks_at(model, size)):
        size = tuple(max(s, (n - 1) // s * s) for n, s in zip(size, stride, strict=True))
    return size


def _checked(model: nn.Module) -> Backbone:
    config = getattr(model, "config", None)
    axes, channels = getattr(config, "axes", 2), getattr(config, "in_channels", 3)
    if not isinstance(model, Backbone) or (axes, channels) != (2, 3):
        kind = f"{type(model).__name__} with {axes} spatial axes and {channels} channels"
        raise UsageError(
            f"a model of class {kind}",
            "a Vitrail model for photos: two spatial axes, three channels",
            "use e.g. vitrail.create_model('swin_nano'), or vitrail.from_model(...) for a peer's",
        )
    return model


def blocks_at(model: Backbone, size: Size) -> Blocks:
    """Return every block's pattern with the grid that it will meet, give or take a token."""
    blocks = []
    for name, layer in attention_layers(model).items():
        stride = model.config.stage_strides[int(name.split(".")[1])]
        spatial = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
        blocks.append((layer.pattern, spatial))
    return blocks


def _source(source: str | None) -> str:
    """A report is for sharing: it names a file of weights, not the folders of this machine."""
    if source is None:
        return "the model as given"
    return Path(source).name if Path(source).exists() else source


def plain(text: str) -> str:
    """Return a name as one short line of plain text, without control or direction marks."""
    shown = "".join("�" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in text)
    shown = re.sub(r"\s+", " ", shown)
    return shown if len(shown) <= 80 else f"{shown[:50]}…{shown[-25:]}"


def _versions() -> str:
    try:
        own = version("vitrail")
    except PackageNotFoundError:
        own = "from source"
    return f"vitrail {own}, torch {torch.__version__}, Python {platform.python_version()}"
