"""`vitrail train`: train a model on data of a task, such as folders or zips of images."""

import inspect
import os
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli._models import (
    OptionalModel,
    OptionalWeights,
    model_to_train,
    task_model_to_train,
)
from vitrail.cli._shared import SizeOption, option_words, parse_memory, parse_size
from vitrail.errors import UsageError

if TYPE_CHECKING:
    from vitrail.data.dataset import Subset
    from vitrail.tasks import Task


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, **more)


DATA_HELP = (
    "A folder of class folders, zips of class folders ('train-*.zip'), or torchvision:CIFAR10; "
    "to segment, folders or zips with images/ and labels/; to detect, images with COCO's JSON "
    "(train.zip with train.json) or VOC's XML."
)


def run(
    data: Annotated[list[str], typer.Argument(metavar="DATA", help=DATA_HELP)],
    model: OptionalModel = None,
    task: Annotated[
        str | None,
        _option("What is learnt: classify, detect or segment; by default what DATA look like."),
    ] = None,
    settings_of_task: Annotated[
        list[str] | None,
        _option(
            "An option of the task as NAME=VALUE, e.g. balance=true; may be repeated. "
            "`vitrail list --task segment` shows them.",
            "--set",
        ),
    ] = None,
    head: Annotated[
        str | None,
        _option(
            "Head of --task segment: semantic_fpn (default), unet, upernet or segformer; of --task "
            "detect: fcos (default), retinanet, faster_rcnn or mask_rcnn."
        ),
    ] = None,
    out: Annotated[
        Path, _option("Folder for weights, checkpoints and logs.", "--output", "-o")
    ] = Path("runs/train"),
    val: Annotated[list[str] | None, _option("Validation data, as DATA; may be repeated.")] = None,
    val_part: Annotated[
        float, _option("Share of DATA held back for validation when --val is not given.")
    ] = 0.05,
    weights: OptionalWeights = None,
    freeze: Annotated[
        str, _option("What is not trained: a number of stages, or 'backbone' for all but the head.")
    ] = "0",
    epochs: Annotated[
        int | None,
        _option("Passes over the data; by default 300, or those of the run that is resumed."),
    ] = None,
    batch_size: Annotated[
        int, _option("Images an optimiser step, over all processes.", "--batch-size", "-b")
    ] = 128,
    optimizer: Annotated[
        str, _option("adamw; or muon, for the matrices inside the blocks.")
    ] = "adamw",
    lr: Annotated[
        float | None, _option("Highest learning rate; by default 5e-4 for 512 images, scaled.")
    ] = None,
    min_lr: Annotated[float, _option("Learning rate after the last step.")] = 5e-6,
    weight_decay: Annotated[float, _option("Weight decay of the optimiser.")] = 0.05,
    layer_decay: Annotated[
        float, _option("Factor on the learning rate for each layer further from the head.")
    ] = 1.0,
    warmup_epochs: Annotated[
        float | None, _option("Epochs of linear warm-up; by default 20, at most a fifth of all.")
    ] = None,
    clip: Annotated[float, _option("Largest norm of the gradient; 0 for no limit.")] = 5.0,
    smoothing: Annotated[float, _option("Label smoothing.")] = 0.1,
    mixup: Annotated[float, _option("Mixup's alpha; 0 for none.")] = 0.8,
    cutmix: Annotated[float, _option("CutMix's alpha; 0 for none.")] = 1.0,
    mix_probability: Annotated[float, _option("Share of the images that are mixed.")] = 1.0,
    crop: Annotated[
        str, _option("'resized': random parts; 'pad': small shifts; 'auto': pad up to 64 pixels.")
    ] = "auto",
    randaugment: Annotated[int, _option("Magnitude of RandAugment, to 30; 0 for none.")] = 9,
    erase: Annotated[float, _option("Probability of erasing a box of an image.")] = 0.25,
    drop_path: Annotated[
        float | None, _option("Stochastic depth; by default the model's own.")
    ] = None,
    ema: Annotated[float, _option("Decay of the weights' moving average; 0 for none.")] = 0.9998,
    precision: Annotated[str, _option("bf16 or fp32.")] = "bf16",
    accumulate: Annotated[int, _option("Parts that a batch is cut into, to save memory.")] = 1,
    compile: Annotated[
        bool, _option("Compile the model: slower to start, then faster.", "--compile")
    ] = False,
    fsdp: Annotated[
        bool, _option("Cut parameters over the processes instead of copying them.", "--fsdp")
    ] = False,
    seed: Annotated[int, _option("Seed of everything random.")] = 0,
    workers: Annotated[
        int, _option("Processes that prepare batches ahead; 0 for none.", min=0)
    ] = 1,
    size: SizeOption = None,
    checkpoint_every: Annotated[
        int, _option("Steps between checkpoints besides one an epoch; 0 for none.", min=0)
    ] = 0,
    resume: Annotated[
        bool, _option("Continue the run in --output; with --epochs N, to another end.", "--resume")
    ] = False,
    max_bad: Annotated[
        int, _option("Unreadable images that are skipped before it is an error.", min=0)
    ] = 100,
    memory: Annotated[
        str, _option("What decoded images that are kept may take, e.g. 8GB; 0 keeps none.")
    ] = "2GB",
    device: Annotated[
        str | None, _option("cpu or cuda (a GPU for each process); by default the faster one here.")
    ] = None,
    root: Annotated[Path, _option("Where torchvision's data sets lie.")] = Path(
        "~/.cache/vitrail/data"
    ),
    download: Annotated[
        bool, _option("Download a torchvision data set that is missing.", "--download")
    ] = False,
) -> None:
    """Train a model on labelled images and write its weights.

    It starts from random numbers, or from a checkpoint: --model FILE takes its model and its
    weights, as --weights FILE without --model does; the head is drawn anew for other classes.

    The folder --output then holds best.safetensors and last.safetensors (for predict, evaluate and
    explore), checkpoints, epochs.csv, steps.csv, logs for TensorBoard, and skipped.csv if images
    could not be read. Ctrl-C stops a run after the current step. A run that was stopped, however it
    was stopped, continues with the same command and --resume; so does a finished one with more
    --epochs, whose learning rate warms up once more and then decays.

    On several processes or machines:
    torchrun --nproc-per-node N -m vitrail train ...; on GPUs accelerate launch -m vitrail train ...
    does it too. --batch-size stays the number of images of one step, over all of them.
    """
    import torch

    from vitrail.files import check_apart, check_folder, check_outside
    from vitrail.tasks import task_for, task_named
    from vitrail.tasks.options import options_of
    from vitrail.training.checkpoint import read_run
    from vitrail.training.interrupt import TrainingStopped
    from vitrail.training.loop import fit
    from vitrail.training.machine import Settings
    from vitrail.training.recipe import Recipe

    check_outside(out, *data, *(val or ()))
    check_folder(out, "--output")
    for name in ("best.safetensors", "last.safetensors"):
        check_apart(out / name, model, weights)
    kept_bytes = 0 if memory.strip() == "0" else parse_memory(memory)
    if device not in (None, "cpu", "cuda"):
        raise UsageError(
            f"--device {device}",
            "cpu, or cuda: each process takes a GPU of its own",
            "use --device cuda; CUDA_VISIBLE_DEVICES=1 chooses the second GPU",
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda", "a machine with a GPU that torch finds", "--device cpu")
    parse_size(size, axes=None)  # the model's axes are known later
    if task is None:
        kind, reason = task_for(data)
        if kind.name != "classify" and int(os.environ.get("RANK", "0")) == 0:
            typer.echo(f"task {kind.name}, as the data look: {reason}", err=True)
    else:
        with option_words(task="--task"):
            kind = task_named(task)
    _refuse_unused(kind, locals())
    options = options_of(kind, settings_of_task or ())
    resumed = read_run(out) if resume else None
    default: int = resumed["recipe"]["epochs"] if resumed else 300
    passes = default if epochs is None else epochs
    names = [field.name for field in dataclass_fields(Recipe)]
    with option_words(**{name: "--" + name.replace("_", "-") for name in names}):
        recipe = Recipe(
            epochs=passes,
            batch_size=batch_size,
            optimizer=optimizer,
            lr=lr,
            min_lr=min_lr,
            weight_decay=weight_decay,
            layer_decay=layer_decay,
            warmup_epochs=min(20.0, passes / 5) if warmup_epochs is None else warmup_epochs,
            clip=clip,
            smoothing=smoothing,
            mixup=mixup,
            cutmix=cutmix,
            mix_probability=mix_probability,
            crop="resized" if crop == "auto" else crop,
            randaugment=randaugment,
            erase=erase,
            ema=ema,
            precision=precision,
            accumulate=accumulate,
            seed=seed,
        )
    train, held = open_parts(kind, data, val, val_part, seed, root, download)
    learnt = kind.build(train, options)
    torch.manual_seed(seed)
    fields: dict[str, Any] = {} if drop_path is None else {"drop_path": drop_path}
    fields["frozen_stages"] = frozen_stages(freeze)  # and not those of a checkpoint's own run
    with option_words(frozen_stages="--freeze", drop_path="--drop-path"):
        if kind.name == "classify":
            if head is not None:
                raise UsageError(
                    f"--head {head} for --task classify",
                    "a head for another task: a classifier has its own",
                    "leave --head out, or add --task segment",
                )
            network = model_to_train(model, weights, num_classes=len(learnt.classes), **fields)
        else:
            names = learnt.classes
            fields |= learnt.model_fields()
            network = task_model_to_train(kind.name, head, model, weights, names, **fields)
    lengths = parse_size(size, axes=network.config.axes)
    if freeze == "backbone":
        network.requires_grad_(False)
        network.head.requires_grad_(True)  # type: ignore[union-attr]  # it was given classes
    if crop == "auto" and max(lengths or network.preprocessing.size) <= 64:
        recipe = replace(recipe, crop="pad")
    settings = Settings(
        out=out,
        resume=resume,
        workers=workers,
        compile=compile,
        fsdp=fsdp,
        checkpoint_every=checkpoint_every,
        memory=kept_bytes,
        max_bad=max_bad,
        cpu=device == "cpu",
    )
    try:
        typer.echo(str(fit(network, learnt, train, held, recipe, settings, lengths)))
    except TrainingStopped as stopped:
        if int(os.environ.get("RANK", "0")) == 0:
            typer.echo(str(stopped), err=True)
        raise typer.Exit(128 + stopped.signal) from None


def _refuse_unused(task: "type[Task]", given: dict[str, Any]) -> None:
    """Refuse options of the recipe that mean nothing to a task.

    Args:
        task: the task.
        given: arguments of ``run`` by name.
    Raises:
        UsageError: one is not its default.
    """
    options = inspect.signature(run).parameters
    for name in task.unused:
        if given[name] != options[name].default:
            option = "--" + name.replace("_", "-")
            raise UsageError(
                given=f"{option} for --task {task.name}",
                allowed="options that mean something to the task; its own are --set NAME=VALUE",
                fix=f"leave {option} out",
            )


def open_parts(
    task: "type[Task]",
    data: list[str],
    val: list[str] | None,
    share: float,
    seed: int,
    root: Path,
    download: bool,
) -> "tuple[Subset[Any], Subset[Any]]":
    """Return the training and the validation data.

    Raises:
        UsageError: the data cannot be used, or the two have different classes.
    """
    if not 0 <= share < 1:
        raise UsageError(f"--val-part {share}", "a number from 0 to below 1", "use --val-part 0.05")
    source = task.open(data, train=True, root=root, download=download)
    if not val:
        return task.split(source, share, seed)
    held = task.open(val, train=False, root=root, download=download)
    # Of some tasks they are not known before reading.
    if held.classes and source.classes and held.classes != source.classes:
        odd = sorted(set(held.classes) ^ set(source.classes))
        raise UsageError(
            given="validation data whose classes "
            + (f"differ in {', '.join(odd[:5])}" if odd else "are in another order"),
            allowed="the same classes as in the training data",
            fix="rename, add or remove class folders, or correct the list of classes",
        )
    return task.split(source, 0.0, seed)[0], task.split(held, 0.0, seed)[0]


def frozen_stages(freeze: str) -> int:
    """Return how many stages an option freezes; 0 for "backbone", which is not counted in stages.

    Raises:
        UsageError: neither a number nor "backbone".
    """
    if freeze == "backbone":
        return 0
    if not freeze.isdigit():
        raise UsageError(
            given=f"--freeze {freeze}",
            allowed="a number of stages, or 'backbone'",
            fix="write --freeze backbone to train the head alone",
        )
    return int(freeze)
