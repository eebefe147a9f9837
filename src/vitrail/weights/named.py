"""Weights that are known by a name: which there are for a model, and where to fetch them."""

import os
import re
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from huggingface_hub import constants

from vitrail.errors import UsageError
from vitrail.models import Backbone, BackboneConfig, Entry, Preprocessing
from vitrail.shapes import Size
from vitrail.weights.load import create_with_weights
from vitrail.weights.published import PUBLISHED, Published
from vitrail.weights.sources import Source

ALIAS = "imagenet1k"
_SOURCES = ("timm", "torchvision", "transformers")
_SECONDS = 10  # to wait for the first response of a server


def published(model: str) -> list[Published]:
    """Return the published weights of a model of the catalog, the usual ones first."""
    return list(PUBLISHED.get(model, {}).values())


def usual(model: str) -> Published | None:
    """Return what ``"imagenet1k"`` stands for: the first weights for ImageNet's 1,000 classes.

    Rows stand in the order of the package that lists them, timm's before torchvision's: of
    several, it is the one that timm takes for ``pretrained=True``.
    """
    return next((row for row in published(model) if row.classes == 1000), None)


def is_name(weights: Any) -> bool:
    """Return whether something names published weights, rather than a file or repository."""
    return isinstance(weights, str) and weights.partition(":")[0] in (ALIAS, *_SOURCES)


def find(model: str, weights: Any) -> Published | None:
    """Return the published weights that a name stands for; None if it is no such name.

    Args:
        model: a name of the catalog.
        weights: ``"imagenet1k"``, a tag such as ``"timm:ms_in1k"``, or any other source.
    Raises:
        UsageError: such a name, but this model has no weights of it.
    """
    if not is_name(weights):
        return None
    row = usual(model) if weights == ALIAS else PUBLISHED.get(model, {}).get(weights)
    if row is not None:
        return row
    tags = list(PUBLISHED.get(model, {}))
    others = [name for name in PUBLISHED if usual(name) or weights != ALIAS]
    raise UsageError(
        f"weights {weights!r} for {model}",
        ", ".join(tags) or "a checkpoint file or a hub repository: none are known by name",
        f"use weights={tags[0]!r}"
        if tags
        else f"use a model that has some, e.g. {others[0]!r}; `vitrail list --weights` shows all",
    )


def source_of(row: Published) -> Source:
    """Return published weights as a source, fetched or from the cache of their package.

    Raises:
        UsageError: torchvision is not installed, or there is no copy and no way to its server.
    """
    if row.licence is not None and "-nc" in row.licence:
        warnings.warn(
            f"weights {row.tag} ({row.where}) are licensed {row.licence}: not for commercial use",
            stacklevel=3,
        )
    return _from_torchvision(row) if row.source == "torchvision" else row.where


def preprocessing_of(row: Published, usual: Preprocessing, channels: int) -> dict[str, Any]:
    """Return the fields of a model's preprocessing that its weights decide.

    Args:
        row: the weights.
        usual: what the catalog says: the frames of a video, and what the table leaves open.
        channels: of the model's input; means are for three.
    """
    size: Size = (*usual.size[:-2], row.size, row.size)
    found: dict[str, Any] = {"size": size, "interpolation": row.interpolation}
    if row.crop is not None:
        found["crop"] = row.crop
    if channels == len(row.mean) and row.source != "transformers":
        found |= {"mean": row.mean, "std": row.std}
    return found


def class_names(row: Published) -> tuple[str, ...] | None:
    """Return what the classes of published weights are called, if that is known here."""
    if row.classes == 1000:
        return imagenet1k()
    if row.source == "torchvision":
        return tuple(_member(row).meta["categories"])
    return None


@cache
def imagenet1k() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes by their index."""
    file = resources.files("vitrail.weights") / "classes" / "imagenet1k.txt"
    lines = file.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if not line.startswith("#"))


def _member(row: Published) -> Any:
    try:
        from torchvision.models import get_weight
    except ImportError as error:
        raise UsageError(
            f"weights {row.tag}, which torchvision publishes, without torchvision",
            "an environment with torchvision",
            "install torchvision, or take weights of timm: `vitrail list --weights` shows them",
        ) from error
    return get_weight(row.where)


def _from_torchvision(row: Published) -> Path:
    """Return the file of weights in torch's own cache, fetched if it is not there."""
    url = _member(row).url
    name = os.path.basename(urlparse(url).path)
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    if file.exists():
        return file
    digest = re.search(r"-([0-9a-f]{8,})\.", name)  # as torchvision names its files
    try:
        _reach(url)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(file), digest[1] if digest else None, progress=sys.stderr.isatty()
        )
    except OSError as error:
        raise UsageError(
            f"weights {row.tag}, with no copy here and their server out of reach ({error})",
            f"a copy at {file}, or a connection",
            f"connect and try again, or put {name} there",
        ) from error
    except RuntimeError as error:  # of the file's hash
        raise UsageError(
            f"weights {row.tag}, whose file is not the published one ({error})",
            "the file as torchvision publishes it",
            "try again; if it stays so, something between here and their server changes it",
        ) from error
    return file


def _reach(url: str) -> None:
    """Fail at once where there is no connection; torch's own download waits without a limit."""
    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    request = urllib.request.Request(url, method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
        raise OSError(str(error)) from error


def create_published(
    name: str,
    entry: Entry,
    config: BackboneConfig,
    row: Published,
    *,
    chosen: Collection[str] = (),
) -> Backbone:
    """Build a model of the catalog with published weights, their input and their classes' names.

    Args:
        name: the model's name.
        entry: its catalog entry.
        config: its configuration, with the caller's changes.
        row: the weights.
        chosen: the fields that the caller chose, also where that is the default.
    Returns:
        The model, in evaluation mode.
    Raises:
        UsageError: weights that cannot be had, or do not fit the caller's changes.
    """
    if row.classes == 0 and "num_classes" not in chosen:
        config = replace(config, num_classes=0)
    model = create_with_weights(name, entry, config, source_of(row), chosen=chosen)
    known = preprocessing_of(row, entry.preprocessing, config.in_channels)
    if not model.bare and model.num_classes == row.classes:
        known["classes"] = class_names(row)
    model._set_preprocessing(**known)
    return model
