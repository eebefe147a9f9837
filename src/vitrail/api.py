"""What ``import vitrail`` offers: each function composes the rooms below, and imports them late."""

from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch
from torch import Tensor, nn

from vitrail.errors import UsageError, shown
from vitrail.heads import HeadConfig, head_for
from vitrail.models import CATALOG, Backbone, TaskModel, backbone_of, canonical_name, unwrapped
from vitrail.models.task_model import new_task_model
from vitrail.models.words import check_fields
from vitrail.shapes import as_size

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

    from vitrail.analysis import Cost
    from vitrail.explorer import Report
    from vitrail.tasks import Prediction

Weights = str | Path | Mapping[str, Tensor] | None


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of all models that match ``pattern``, a shell-style wildcard."""
    return [name for name in CATALOG if fnmatch(name, pattern)]


@overload
def create_model(
    name: str,
    *,
    task: Literal["classify"] = "classify",
    head: None = None,
    num_classes: int | None = None,
    weights: Weights = None,
    in_channels: int | None = None,
    **config_fields: Any,
) -> Backbone: ...


@overload
def create_model(
    name: str,
    *,
    task: str,
    head: str | HeadConfig | None = None,
    num_classes: int | None = None,
    weights: Weights = None,
    in_channels: int | None = None,
    **config_fields: Any,
) -> TaskModel: ...


def create_model(
    name: str,
    *,
    task: str = "classify",
    head: str | HeadConfig | None = None,
    num_classes: int | None = None,
    weights: Weights = None,
    in_channels: int | None = None,
    **config_fields: Any,
) -> Backbone | TaskModel:
    """Build a model by name, with or without weights.

    Args:
        name: one of ``list_models()``, or what timm, torchvision or transformers calls it.
        task: ``"classify"`` for a backbone with a classifier; ``"segment"`` for one with a head
            that has an answer for every input sample.
        head: of another task than classification: a name out of ``vitrail.heads.HEADS``, or its
            config; default that of the weights, or the task's first.
        num_classes: classes of the head; 0 for none; default those of the weights or the paper.
        weights: None for a fresh start, ``"bundled"``, a file, a folder as ``save_pretrained``
            writes it, a state dict, a hub repository id, or published weights by name:
            ``"imagenet1k"``, or a tag of ``vitrail list --weights`` such as ``"timm:ms_in1k"``.
            Those are fetched once, and bring their preprocessing and the names of their classes.
            What their own library's models do (padding, shifts, ...) comes with all weights,
            unless ``config_fields`` say otherwise.
        in_channels: channels of the input, by default the model's own; the stem of loaded weights
            adapts.
        config_fields: any field of the model's config, e.g. ``window=(12, 12)``.
    Returns:
        The model, in evaluation mode if it has weights. A model of a task takes the backbone's
        weights of any file, and the head's from a file of the same task and head.
    Raises:
        UsageError: an unknown name or field, a value that cannot be, or weights that do not fit.
    """
    channels = {} if in_channels is None else {"in_channels": in_channels}
    if task != "classify" or head is not None:
        head_for(task, head)
        return _with_head(name, task, head, num_classes, weights, config_fields | channels)
    name = canonical_name(name)
    entry = CATALOG[name]
    check_fields(name, entry.config, config_fields)
    config = replace(entry.config, **channels, **config_fields)
    if num_classes is not None:
        config = replace(config, num_classes=num_classes)
    if weights is None:
        return entry.model(config, preprocessing=entry.preprocessing, name=name)
    from vitrail.weights import create_published, create_with_weights, find

    chosen = {*config_fields, *(["num_classes"] if num_classes is not None else [])}
    row = find(name, weights)
    if row is not None:
        return create_published(name, entry, config, row, chosen=chosen)
    return create_with_weights(name, entry, config, weights, chosen=chosen)


def _with_head(
    name: str,
    task: str,
    head: str | HeadConfig | None,
    classes: int | None,
    weights: Weights,
    fields: dict[str, Any],
) -> TaskModel:
    """Build a bare backbone, and a head on its maps."""
    from vitrail.weights import find, open_head, take_head

    name = canonical_name(name)
    entry = CATALOG[name]
    published = weights is not None and find(name, weights) is not None
    opened = None if weights is None or published else open_head(weights, entry.config)
    if opened is not None and opened.task.name == task and head in (None, opened.head.name):
        head = opened.head.config
    kind = head_for(task, head)
    if opened is not None and (opened.task.name, opened.head.name) != (task, kind[0]):
        opened = None  # the backbone's weights are taken, the rest is listed
    if classes is None:
        if opened is None:
            raise UsageError(
                f"task={task!r} without num_classes",
                "the number of classes" + ("" if task == "detect" else ", the background included"),
                "add num_classes=2, say",
            )
        classes = opened.task.classes
    fewest, which = (
        (1, "1 or more") if task == "detect" else (2, "2 or more, the background included")
    )
    if classes < fewest:
        raise UsageError(f"num_classes={classes} for task={task!r}", which, "use num_classes=2")
    stages = kind[1].stages(len(fields.get("depths", entry.config.depths)))
    fields = {"out_indices": stages, "feature_norms": not entry.model.stage_normed, **fields}
    backbone = create_model(name, num_classes=0, weights=weights, **fields)
    model = new_task_model(backbone, task, *kind, classes)
    if opened is not None:
        take_head(model, opened)
    return model if weights is None else model.eval()


def load(
    source: str | Path | Mapping[str, Tensor], *, window: Any = None, **config_fields: Any
) -> Backbone | TaskModel:
    """Return the model that a source of weights is of, with these weights and its task's head.

    Args:
        source: a file, such as a run's ``best.safetensors``, a folder, ``"bundled"``, a hub
            repository id or a state dict, of any known format.
        window: the window, where the file does not show it (Swin V2 of timm or transformers).
        config_fields: fields of the model's config to change.
    Returns:
        The model, in evaluation mode.
    Raises:
        UsageError: unreadable, of no known model, or the window or heads cannot be determined.
    """
    from vitrail.weights import load_model

    return load_model(source, window=window, **config_fields)


def predict(
    model: nn.Module, input: Any, *, size: int | tuple[int, ...] | None = None
) -> "Prediction":
    """Return what a model answers for one input.

    Args:
        model: a Vitrail model, or a copy that ``optimize`` made; its task decides what is returned.
        input: a photo: a file, a Pillow image, a uint8 array (height, width[, 3]) or a uint8 tensor
            (3, height, width); of a model of volumes, a NIfTI file, an image of nibabel or an
            array of three axes.
        size: lengths to use instead of the model's own; one number for all axes.
    Returns:
        The prediction: ``save(path)`` writes it, ``draw()`` shows it, ``as_dict()`` has its
        numbers.
    Raises:
        UsageError: no Vitrail model, one without a head, another kind of input, or one that cannot
            be read.
    """
    from vitrail.tasks import task_of

    if not isinstance(model, nn.Module):
        raise UsageError(
            f"{shown(model)} to predict with",
            "a model",
            "make one: vitrail.load(path), or vitrail.create_model(name, weights=...)",
        )
    task = task_of(model)
    backbone = backbone_of(model)
    axes = 2 if backbone is None else backbone.config.axes
    lengths = None if size is None else as_size(size, axes, "size")
    return task.predict(model, task.read(input), lengths)


def from_model(model: nn.Module, *, check: bool = True) -> Any:
    """Return the Vitrail model with the outputs of a live model of another library.

    Args:
        model: a backbone or classifier of timm, torchvision or transformers; a SegFormer or UPerNet
            of transformers; segmentation_models_pytorch's Segformer. It is not changed.
        check: run a copy of it beside the conversion, on one input of its own size and on one that
            it pads, and refuse what differs.
    Returns:
        A ``Backbone``; of a peer with the head of a task, a ``TaskModel``.
    Raises:
        UsageError: a module of another kind, one with settings that no model here has, or one that
            computes something else than its class does.
    """
    from vitrail.weights import from_model

    return from_model(model, check=check)


def transform(model: nn.Module, *, train: bool = False) -> "Transform":
    """Return the torchvision v2 preprocessing that belongs to a model and its weights.

    Args:
        model: a Vitrail model for images, or a module with one inside (compiled, data parallel,
            ``nn.Sequential(backbone, head)``).
        train: return the training augmentation instead of the evaluation's resize and crop.
    Raises:
        UsageError: there is no Vitrail model in it, or it has the head of a task, whose inputs
            ``vitrail.predict`` prepares.
    """
    from vitrail.data.transforms import transform

    backbone, whole = backbone_of(model), unwrapped(model)
    if isinstance(whole, TaskModel):
        raise UsageError(
            f"a model for task {whole.task.name}, whose inputs are not those of its backbone",
            "a backbone, or a classifier",
            "use vitrail.predict(model, photo), or vitrail.transform(model.backbone)",
        )
    if backbone is None:
        raise UsageError(
            f"a model of class {type(model).__name__}",
            "a Vitrail model, whose weights say their input",
            "convert a peer's with vitrail.from_model(model)",
        )
    return transform(backbone, train=train)


def explore(
    model: nn.Module | str, photo: str | Path | Any, *, weights: Weights = "bundled", **options: Any
) -> "Report":
    """Run a model on a photo and return the report that shows how it attends.

    Args:
        model: a model, also a Swin of timm, torchvision or transformers; or the name of one.
        photo: a file or a Pillow image.
        weights: of a model given by name, as in ``create_model``; None for random numbers.
        options: see ``vitrail.explorer.explore``.
    Returns:
        The report: ``save(path)`` writes it, a notebook shows it, ``trace`` holds the numbers.
    """
    from vitrail.explorer import explore

    if isinstance(model, str):
        if isinstance(weights, str | Path):
            options.setdefault("source", str(weights))
        model = create_model(model, weights=weights)
    return explore(model, photo, **options)


def cost(
    model: nn.Module | str,
    size: int | tuple[int, ...] | None = None,
    *,
    batch: int = 1,
    dtype: torch.dtype | None = None,
    training: bool = True,
    **config_fields: Any,
) -> "Cost":
    """Return what a model costs at an input size, exactly and without computing it.

    Args:
        model: a model, or the name of one, which is then never given memory.
        size: input samples along each axis; one number for every axis; default what the model
            was made for.
        batch: inputs at once.
        dtype: of weights and inputs; default the model's own.
        training: also return the memory of training.
        config_fields: of a model given by name, as in ``create_model``, e.g. ``window=(12, 12)``.
    Returns:
        FLOPs (a multiply-add is two), attention pairs, padding, parameters and memory, in total
        and for each stage.
    Raises:
        UsageError: what ``create_model`` refuses, fields for a model that exists already, or a
            size, batch or dtype that cannot be.
    """
    from vitrail.analysis import cost

    if isinstance(model, str):
        with torch.device("meta"):
            built: nn.Module = create_model(model, **config_fields)
        model = built
    elif config_fields:
        raise UsageError(
            f"{', '.join(config_fields)} for a model that exists already",
            "fields of the config where the model is given by name",
            "give the name, or leave them out",
        )
    preprocessing = getattr(unwrapped(model), "preprocessing", None)
    own = getattr(preprocessing, "size", 224)
    return cost(model, own if size is None else size, batch=batch, dtype=dtype, training=training)
