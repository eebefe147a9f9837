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
from vitrail.explain import capture
from vitrail.explorer.manifest import check_size
from vitrail.explorer.photo import SIZES, prepare
from vitrail.explorer.report import Report, build
from vitrail.models import Backbone
from vitrail.patterns import Window
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
        size: height and width of the model's input, in pixels; default that of its weights.
        source: where the weights came from, for the record.
        name: what the page calls the photo; default its file's name.
    Returns:
        The report: ``save(path)`` writes it, a notebook shows it, ``trace`` holds the numbers.
    Raises:
        UsageError: a model that is not for photos, a size too large, or a photo that cannot be
            opened.
    """
    model = _checked(model)
    size = default_size(model) if size is None else (size, size) if isinstance(size, int) else size
    if isinstance(photo, Image.Image):
        picture, notes, name = photo.convert("RGB"), (), name or "photo"
    else:
        opened = open_photo(photo)
        picture, notes, name = opened.image, opened.notes, name or Path(photo).name
    prepared = prepare(picture, model.preprocessing, tuple(size))
    check_size(_patterns(model, tuple(size)), tuple(size))
    parameter = next(model.parameters())
    trace = capture(
        model,
        prepared.input.to(parameter.device, parameter.dtype),
        weights=_source(source),
        transform=(*notes, *prepared.steps),
    )
    return build(trace, prepared, plain(name), _versions())


def default_size(model: Backbone) -> Size:
    """Return the height and width at which a model is explored unless told otherwise."""
    return SIZES.get(model.name or "", model.preprocessing.size)


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


def _patterns(model: Backbone, size: Size) -> list[tuple[Window, Size]]:
    """Return every block's pattern with the grid that it will meet."""
    config = model.config
    spatial = tuple(-(-n // p) for n, p in zip(size, config.patch, strict=True))
    found = []
    for stage, part in enumerate(model.stages):
        if stage > 0:
            spatial = tuple(-(-n // f) for n, f in zip(spatial, config.merge, strict=True))
        patterns = [getattr(module, "pattern", None) for module in part.modules()]
        found += [(p, spatial) for p in patterns if isinstance(p, Window)]
    return found


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
