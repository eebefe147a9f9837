"""The model of an argument, or of the options --model and --weights."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._shared import complete_model
from vitrail.errors import UsageError

if TYPE_CHECKING:
    import torch

    from vitrail.models import Backbone, TaskModel
    from vitrail.weights import Misfit

DEFAULT_MODEL = "swin_nano"  # the model whose weights come with the package

_MODEL_HELP = "Name out of `vitrail list`, or a checkpoint (file, folder or owner/name)"
ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help=f"{_MODEL_HELP}.", autocompletion=complete_model),
]
ModelArguments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL",
        help="Names out of `vitrail list`, or checkpoints (files, folders or owner/name).",
        autocompletion=complete_model,
    ),
]
OptionalModel = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help=f"{_MODEL_HELP}; by default what --weights hold, or {DEFAULT_MODEL}.",
        autocompletion=complete_model,
    ),
]
OptionalWeights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        "-w",
        help="A checkpoint file, a folder as save_pretrained writes it, 'bundled' or "
        "'bundled:NAME' (`vitrail list --bundled`), a hub repository id (owner/name), published "
        "weights by name ('imagenet1k', or a tag of `vitrail list --weights`), or 'none' for "
        "random numbers.",
    ),
]


def load_model(
    name: str | None, weights: str | None, *, any_task: bool = False, **config_fields: Any
) -> "tuple[Any, str]":
    """Return the model of the options, and in words where its weights came from.

    Args:
        name: of the model, or a checkpoint; None for the model the weights are of.
        weights: where they are; "none" for random numbers, None for the bundled ones.
        any_task: whether a checkpoint may have the head of another task than classification.
        config_fields: fields of its configuration to change.
    Raises:
        UsageError: a model without weights, without ``none`` for random ones, or a checkpoint
            with other weights.
    """
    import torch

    from vitrail import create_model, load
    from vitrail.models import canonical_name
    from vitrail.weights import Misfit, is_name, load_backbone, open_head, usual

    opened = load if any_task else load_backbone
    if name is not None and is_checkpoint(name):
        if weights is not None:
            raise UsageError(
                f"the checkpoint {name} as the model, and --weights {weights}",
                "a checkpoint with its own weights, or a name out of `vitrail list` with --weights",
                "leave --weights out",
            )
        return opened(name, **config_fields), name
    if weights == "none":
        torch.manual_seed(0)  # the same random numbers every time
        made = create_model(name or DEFAULT_MODEL, **config_fields)
        return made.eval(), "none: random numbers, seed 0"
    if weights is None:
        if name is not None and (name := canonical_name(name)) != DEFAULT_MODEL:
            known = "imagenet1k" if usual(name) else "FILE"
            raise UsageError(
                f"--model {name} without weights; none come with the package for it",
                "published weights by name (`vitrail list --weights`), a checkpoint file, a hub "
                "repository id, or 'none' for random numbers",
                f"add --weights {known}, or --weights none to see untrained {name}",
            )
        weights = "bundled"
    if name is None and is_name(weights):
        raise UsageError(
            f"--weights {weights} without a model",
            "the model that they are of",
            f"add --model swin_tiny, say: --model swin_tiny --weights {weights}",
        )
    if name is not None and not is_name(weights) and (of := open_head(weights)) is not None:
        raise UsageError(  # it would be a classifier of random numbers
            f"--weights {weights}, of a model for task {of.task.name}, for {name} as a classifier",
            "weights of a classifier, or a model of another task as its file has it",
            f"name {weights} alone, without {name}",
        )
    if name is not None:
        return _created(name, weights, **config_fields), weights
    try:
        return opened(weights, **config_fields), weights
    except Misfit as error:
        raise UsageError(error.given, error.allowed, _fix(error, name, weights)) from error


def model_to_train(name: str | None, weights: str | None, **config_fields: Any) -> "Backbone":
    """Return the classifier that training starts from: without a checkpoint, of random numbers.

    Of a checkpoint of another task, the backbone is taken and what is left out is listed.

    Args:
        name: of the model, or a checkpoint; None for the model the weights are of.
        weights: where they are; None or "none" for random numbers, drawn as torch is seeded.
        config_fields: fields of its configuration to change.
    Raises:
        UsageError: as ``load_model``.
    """
    from vitrail import create_model
    from vitrail.weights import is_name, open_head

    if weights in (None, "none") and (name is None or not is_checkpoint(name)):
        return create_model(name or DEFAULT_MODEL, **config_fields)
    source = name if name is not None and is_checkpoint(name) else weights
    whole = source if name in (None, source) and not is_name(source) else None
    if whole is not None and open_head(whole) is not None:
        found, _ = load_model(name, weights, any_task=True)
        inner = found.backbone.config
        own = {field.name: getattr(inner, field.name) for field in fields(inner)}
        for what in ("num_classes", "out_indices", "feature_norms"):  # as the head wanted them
            del own[what]
        return create_model(found.name, weights=whole, **{**own, **config_fields})
    if name not in (None, source) and weights not in (None, "none"):
        return _created(name, weights, **config_fields)
    return load_model(name, weights, **config_fields)[0]


def _created(name: str, weights: str, **config_fields: Any) -> "Backbone":
    """Return a model of the catalog with weights, or say how to mend a misfit."""
    from vitrail import create_model
    from vitrail.weights import Misfit

    try:
        return create_model(name, weights=weights, **config_fields)
    except Misfit as error:
        raise UsageError(error.given, error.allowed, _fix(error, name, weights)) from error


def task_model_to_train(
    task: str,
    head: str | None,
    name: str | None,
    weights: str | None,
    classes: tuple[str, ...],
    **config_fields: Any,
) -> "TaskModel":
    """Return the model of a task that training starts from.

    A checkpoint of the same task, head and classes is continued; of another one, and of a
    classifier, the backbone is taken and the head is new.

    Args:
        task: its name.
        head: name of the head; None for the checkpoint's, or the task's first one.
        name: of the backbone, or a checkpoint; None for the model the weights are of.
        weights: where they are; None or "none" for random numbers, drawn as torch is seeded.
        classes: their names.
        config_fields: fields of the backbone's configuration to change.
    Raises:
        UsageError: as ``load_model``.
    """
    from vitrail import create_model
    from vitrail.heads import head_for
    from vitrail.models import TaskModel
    from vitrail.models.task_model import new_task_model, with_maps

    known = name is not None and not is_checkpoint(name)
    if known or (weights in (None, "none") and name is None):
        given = None if weights == "none" else weights
        chosen = name or DEFAULT_MODEL
        model = create_model(
            chosen, task=task, head=head, num_classes=len(classes), weights=given, **config_fields
        )
        if model.preprocessing.classes not in (None, classes):
            model.head.reset_parameters()
        return model
    found, _ = load_model(name, weights, any_task=True, **config_fields)
    chosen_head: Any = head
    if isinstance(found, TaskModel):
        if found.task.name == task and head in (None, found.head_facts.name):
            named = found.preprocessing.classes
            if found.task.classes == len(classes) and named in (None, classes):
                return found
            chosen_head = found.head_facts.config
        bare = found.backbone
    else:
        everything, norms = tuple(range(len(found.config.depths))), not found.stage_normed
        bare_fields = {"num_classes": 0, "out_indices": everything, "feature_norms": norms}
        bare = load_model(name, weights, **{**bare_fields, **config_fields})[0]
    kind, config = head_for(task, chosen_head)
    bare = with_maps(bare, config.stages(len(bare.config.depths)))
    return new_task_model(bare, task, kind, config, len(classes))


def _fix(error: "Misfit", name: str | None, weights: str) -> str:
    """Return what a user of the command line can do about weights that do not fit."""
    kinds = {problem.status for problem in error.problems}
    if kinds == {"not finite"}:
        return "use weights from before the training diverged"
    if kinds == {"unexpected"} and not any(problem.fix for problem in error.problems):
        return f"drop what is not known: vitrail convert {weights} new.safetensors --to vitrail"
    if name is not None and error.alone:
        return "leave --model out, for the model that the weights are of"
    return f"use weights of {name or 'one whole model'}, or --weights none for random numbers"


def is_checkpoint(model: str) -> bool:
    """Return whether a model argument is a source of weights, and no name of a model."""
    from vitrail.models import CATALOG
    from vitrail.models.aliases import alias_of
    from vitrail.weights.shipped import is_shipped

    named = model in CATALOG or alias_of(model) is not None
    return not named and (is_shipped(model) or "/" in model or Path(model).exists())


def checked_models(models: list[str] | None) -> list[str]:
    """Return the models of arguments: checkpoints as they are, names as the catalog has them.

    Raises:
        UsageError: an unknown name.
    """
    from vitrail.models import canonical_name

    return [name if is_checkpoint(name) else canonical_name(name) for name in models or ()]


def choose_device(text: str | None) -> "torch.device":
    """Return the device that an option names, or the fastest one there is.

    Args:
        text: for example "cpu" or "cuda:1"; None for a choice.
    Raises:
        UsageError: there is no such device here.
    """
    import torch

    if text is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(text)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            given=f"--device {text} ({str(error).splitlines()[0]})",
            allowed="a device of this machine",
            fix="use --device cpu, or leave --device out",
        ) from None
    return device
