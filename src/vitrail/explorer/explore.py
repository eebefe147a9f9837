"""From a model and a photo to a report."""

import os
import platform
import re
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vitrail.data.images import as_photo
from vitrail.errors import UsageError
from vitrail.explain import Trace, capture, digest
from vitrail.explain.modes import evaluating
from vitrail.explorer.arrays import Arrays
from vitrail.explorer.checks import Adapted, Compared, Unobserved
from vitrail.explorer.manifest import Blocks, Subject, check_size, describe
from vitrail.explorer.photo import (
    LONGEST,
    SHORTER,
    Prepared,
    prepare,
    whole_at_most,
    whole_photo,
)
from vitrail.explorer.recipe import model_source, photo_source
from vitrail.explorer.report import Report
from vitrail.models import Backbone, TaskModel, backbone_of, unwrapped
from vitrail.shapes import Size
from vitrail.tasks import task_of
from vitrail.tasks.segment import Segment
from vitrail.weights import from_model, load_backbone, peer_difference

Explored = Backbone | TaskModel
# What each step of ``iter_trace`` adds, as a person waiting for it reads it.
STEPS = ("attention", "maps", "checks and costs", "scores of the maps")


class Options(TypedDict, total=False):
    """Options beside a model and a picture.

    Args:
        size: height and width of the model's input, in pixels; default see ``default_size``.
        source: where the weights came from, for the record.
        name: what the picture is called: its file's name, where it has one.
        notes: what was done to the photo before, one step each.
        scored: as for ``explore``.
    """

    size: Size | None
    source: str | None
    name: str
    notes: Sequence[str]
    scored: bool | None


def explore(
    model: nn.Module,
    photo: Any,
    *,
    size: int | Size | None = None,
    source: str | None = None,
    name: str | None = None,
    scored: bool | None = None,
    begin: Callable[[str], object] | None = None,
) -> Report:
    """Run a model on a photo and return the page that shows how it attends.

    Args:
        model: a Vitrail model that classifies or segments images, or one of timm, torchvision or
            transformers, which is converted and compared with the conversion on this photo; it is
            left as it was found.
        photo: a file, a Pillow image, or an array or tensor of one; see ``data.images.as_photo``.
        size: height and width of the model's input, in pixels; default see ``default_size``.
        source: where the weights came from, for the record.
        name: what the page calls the photo; default its file's name.
        scored: measure how faithful the maps are, by hundreds of forward passes; default where
            these take at most half a minute or so.
        begin: called with the name of each step (``STEPS``) as it begins, for progress.
    Returns:
        The report: ``save(path)`` writes it, a notebook shows it, ``trace``, ``manifest`` and
        ``arrays`` hold the numbers.
    Raises:
        UsageError: a model that is not for photos, a size too large or one that another library's
            model does not take, or a photo that cannot be opened.
    """
    opened = as_photo(photo)
    name = name or (Path(photo).name if isinstance(photo, str | os.PathLike) else "photo")
    picture, notes = opened.image, opened.notes
    size = (size, size) if isinstance(size, int) else size
    return Report(
        *build_trace(
            model,
            picture,
            size=size,
            source=source,
            name=name,
            notes=notes,
            scored=scored,
            begin=begin,
        )
    )


def build_trace(
    model: nn.Module,
    picture: Image.Image,
    *,
    begin: Callable[[str], object] | None = None,
    **options: Unpack[Options],
) -> tuple[Trace, dict[str, Any], Arrays]:
    """Run a model on a picture and return the trace, its manifest and its arrays.

    Args:
        model: as for ``explore``.
        picture: 8-bit RGB.
        begin: as for ``explore``.
        options: see there.
    """
    steps = iter_trace(model, picture, **options)
    complete = None
    for name in STEPS:
        if begin is not None:
            begin(name)
        complete = next(steps)
    assert complete is not None
    return complete


def iter_trace(
    model: nn.Module, picture: Image.Image, **options: Unpack[Options]
) -> Iterator[tuple[Trace, dict[str, Any], Arrays]]:
    """As ``build_trace``, in steps: what can be drawn comes first, what takes longer is added.

    Args:
        model: as for ``explore``.
        picture: 8-bit RGB.
        options: see there.
    Returns:
        The trace, with manifests that grow (see ``manifest.describe``); the last is complete.
    """
    source, name = options.get("source"), options.get("name", "photo")
    peer, warned = None, ""
    model = unwrapped(model)
    if not isinstance(model, Backbone | TaskModel):
        peer = model
        model, warned = _converted(model)
    whole = _checked(model)
    prepared = _prepared(whole, picture, options.get("size"))
    wanted = () if peer is None else (_wanted(peer),)
    trace = capture(
        whole,
        prepared.input,
        weights=_source(source),
        transform=(*options.get("notes", ()), *prepared.steps, *wanted),
    )
    if source is None and peer is None and _is_bundled(whole, trace.model.sha256):
        source = "bundled"
    subject = Subject(
        trace=trace,
        model=whole,
        prepared=prepared,
        name=single_line(name),
        versions=_versions(),
        python=(model_source(whole, source and _source(source), peer), photo_source(name)),
        scored=options.get("scored"),
    )

    def compare() -> Compared:
        own = _plain_run(whole, prepared.input, trace)
        theirs = None
        if peer is not None:
            assert isinstance(whole, Backbone)
            theirs = _compared(peer, whole, prepared.input, warned)
        return Compared(own, theirs, _at_trained_size(whole, trace, picture))

    for manifest, arrays in describe(subject, compare):
        yield trace, manifest, arrays


def _at_trained_size(
    model: Explored, trace: Trace, picture: Image.Image
) -> Float[Tensor, "classes"] | None:
    """Return the logits at the size of the weights, where the trace is of another size.

    None for weights that were not trained, and for models without classes.
    """
    own = model.preprocessing.size
    if not trace.model.trained or not trace.logits.numel() or trace.spatial == own:
        return None
    with evaluating(model):
        return model(_prepared(model, picture, own).input)[0].float().cpu()


def _prepared(model: Explored, picture: Image.Image, size: Size | None) -> Prepared:
    """Make the model's input from a picture, unless its attention would take minutes."""
    size = default_size(model, (picture.height, picture.width)) if size is None else tuple(size)
    facts, task = model.preprocessing, None
    if isinstance(model, TaskModel):
        facts, task = replace(facts, crop=1.0), task_of(model)
        assert isinstance(task, Segment)
    prepared = prepare(picture, facts, size, task)
    check_size(blocks_at(model, size), size)
    parameter = next(model.parameters())
    return replace(prepared, input=prepared.input.to(parameter.device, parameter.dtype))


def default_size(model: Explored, photo: Size | None = None) -> Size:
    """Return the height and width at which a model is explored by default.

    That is the size of its weights. A model of small images gets the whole photo at a larger size:
    64 pixels along its shorter side, and at most 128 along the longer one. A model of segmentation
    gets the whole photo at its own size, or with 512 pixels along its longer side.

    Args:
        model: a model for images.
        photo: height and width of the photo, which otherwise counts as a square.
    """
    if isinstance(model, TaskModel) and photo is not None:
        return whole_at_most(photo, LONGEST)
    shorter = None if isinstance(model, TaskModel) else SHORTER.get(model.name or "")
    if shorter is not None:
        return whole_photo(photo or (1, 1), shorter, model.config.patch)
    return model.preprocessing.size


def _checked(model: nn.Module) -> Explored:
    assert isinstance(model, Backbone | TaskModel)
    if isinstance(model, TaskModel) and model.task.name != Segment.name:
        raise UsageError(
            f"a model for task {model.task.name}",
            "a model that classifies or segments photos",
            "explore its backbone: vitrail.explore(model.backbone, photo)",
        )
    if not model.config.takes_photos:
        axes, channels = model.config.axes, model.config.in_channels
        raise UsageError(
            f"a {type(model).__name__} with {axes} spatial axes and {channels} channels",
            "a Vitrail model for photos: two spatial axes, three channels",
            "use e.g. vitrail.create_model('swin_nano'), or vitrail.from_model(...) for a peer's",
        )
    return model


def _is_bundled(model: Explored, sha256: str) -> bool:
    """Return whether a model that was given as it is has the weights that come with the package."""
    if model.name not in SHORTER or isinstance(model, TaskModel):
        return False
    bundled = load_backbone("bundled")
    return bundled.name == model.name and digest(bundled) == sha256


def blocks_at(model: Explored, size: Size) -> Blocks:
    """Return every block's pattern with the grid that it will meet, give or take a token."""
    backbone = backbone_of(model)
    assert backbone is not None
    blocks = []
    for layer in backbone.attention_layers():
        stride = model.config.stage_strides[layer.stage]
        spatial = tuple(-(-n // s) for n, s in zip(size, stride, strict=True))
        blocks.append((layer.module.pattern, spatial))
    return blocks


def _plain_run(
    model: Explored, image: Float[Tensor, "1 3 height width"], trace: Trace
) -> Unobserved:
    """Run the model without hooks: its output then, and how long it takes."""
    with evaluating(model):
        start = time.perf_counter()
        out = model(image)
        seconds = time.perf_counter() - start
    # Without logits there is nothing to compare; the blocks' own outputs are checked besides.
    logits = trace.logits if trace.dense is None else trace.dense
    answered = isinstance(out, Tensor) and logits.numel() > 0
    difference = _difference(out[0].float().cpu(), logits) if answered else 0.0
    return Unobserved(difference, 1000 * seconds)


def _converted(peer: nn.Module) -> tuple[Backbone, str]:
    """Return our model of another library's, and in words where the two differ."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = from_model(peer)
    for warning in said:
        warnings.warn(warning.message, stacklevel=5)
    return model, "; ".join(str(warning.message) for warning in said)


def _compared(
    peer: nn.Module, model: Backbone, image: Float[Tensor, "1 3 height width"], warned: str
) -> Adapted:
    """Run another library's model on the input of its conversion."""
    kind = f"{type(peer).__module__.partition('.')[0]} {type(peer).__name__}"
    try:
        with evaluating(model):
            difference, largest = peer_difference(peer, model, image)
    except (AssertionError, ValueError, RuntimeError) as error:
        height, width = image.shape[2:]
        raise UsageError(
            f"{height}x{width} pixels for a {kind}, which refuses them: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}",
            "a size that the model itself takes, to compare its conversion with it",
            "leave size out, make the model for this size, or explore vitrail.from_model(model)",
        ) from None
    return Adapted(kind, difference, largest, warned)


def _difference(a: Float[Tensor, "*a"], b: Float[Tensor, "*b"]) -> float:
    return float((a - b).abs().max()) if a.numel() else 0.0


def _wanted(peer: nn.Module) -> str:
    """Say where the preprocessing of another library's model comes from."""
    package = type(peer).__module__.partition(".")[0]
    if getattr(peer, "pretrained_cfg", None):
        return f"mean, deviation and crop as the {package} model has them"
    return f"the {package} model names no mean and deviation: ImageNet's were taken"


def _source(source: str | None) -> str:
    """A report is for sharing: it names a file of weights, not the folders of this machine."""
    if source is None:
        return "the model as given"
    return Path(source).name if Path(source).exists() else source


def single_line(text: str) -> str:
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
