"""`vitrail train`: train a model on folders or zips of images."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vitrail.cli._shared import ModelOption, SizeOption, WeightsOption, parse_size
from vitrail.errors import UsageError


def _option(text: str, *names: str, **more: Any) -> Any:
    return typer.Option(*names, help=text, **more)


def run(
    data: Annotated[
        list[str],
        typer.Argument(
            help="A folder of class folders, zips of class folders ('train-*.zip'), or torchvision:CIFAR10."
        ),
    ],
    model: ModelOption = "swin_nano",
    out: Annotated[Path, _option("Folder for checkpoints, logs and weights.", "--out", "-o")] = Path("runs/train"),
    val: Annotated[list[str] | None, _option("Validation data; may be repeated.")] = None,
    val_part: Annotated[
        float, _option("Share of DATA held back for validation when --val is not given.")
    ] = 0.05,
    weights: WeightsOption = None,
    freeze: Annotated[
        str, _option("What stays as it is: a number of stages from the input, or 'backbone' for all but the head.")
    ] = "0",
    epochs: Annotated[int, _option("Passes over the data.")] = 300,
    batch_size: Annotated[int, _option("Images an optimiser step, over all processes.", "--batch-size", "-b")] = 128,
    lr: Annotated[float | None, _option("Highest learning rate; by default 5e-4 for 512 images, scaled.")] = None,
    min_lr: Annotated[float, _option("Learning rate after the last step.")] = 5e-6,
    weight_decay: Annotated[float, _option("Weight decay of AdamW.")] = 0.05,
    layer_decay: Annotated[float, _option("Factor on the rate for each layer further from the head.")] = 1.0,
    warmup_epochs: Annotated[float | None, _option("Epochs of linear warm-up; 20, at most a fifth.")] = None,
    clip: Annotated[float, _option("Largest gradient norm; 0 for none.")] = 5.0,
    smoothing: Annotated[float, _option("Label smoothing.")] = 0.1,
    mixup: Annotated[float, _option("Mixup's alpha; 0 for none.")] = 0.8,
    cutmix: Annotated[float, _option("CutMix's alpha; 0 for none.")] = 1.0,
    mix_probability: Annotated[float, _option("Share of images mixed.")] = 1.0,
    crop: Annotated[
        str, _option("'resized' for random resized crops, 'pad' to pad and crop; 'auto' by the model's size.")
    ] = "auto",
    randaugment: Annotated[int, _option("Magnitude of RandAugment, 0 to 30; 0 for none.")] = 9,
    erase: Annotated[float, _option("Probability of random erasing.")] = 0.25,
    drop_path: Annotated[float | None, _option("Stochastic depth; the model's own by default.")] = None,
    ema: Annotated[float, _option("Decay of the weights' moving average; 0 for none.")] = 0.9998,
    precision: Annotated[str, _option("bf16 or fp32.")] = "bf16",
    accumulate: Annotated[int, _option("Parts a batch is cut into, to save memory.")] = 1,
    compile: Annotated[bool, _option("Compile the model first; faster after the first minutes.")] = False,
    fsdp: Annotated[bool, _option("Cut parameters over the processes (FSDP2) instead of copying them.")] = False,
    seed: Annotated[int, _option("Seed of everything random.")] = 0,
    workers: Annotated[int, _option("Processes that prepare batches ahead.")] = 1,
    size: SizeOption = None,
    checkpoint_every: Annotated[int, _option("Steps between checkpoints besides one an epoch.")] = 0,
    resume: Annotated[bool, _option("Go on with the run in --out.", "--resume")] = False,
    max_bad: Annotated[int, _option("Unreadable images that are skipped before it is an error.")] = 100,
    memory: Annotated[int, _option("MB that decoded images may take.")] = 2048,
    cpu: Annotated[bool, _option("Use the CPU even where there is a GPU.", "--cpu")] = False,
    root: Annotated[Path, _option("Where torchvision's data sets lie.")] = Path("~/.cache/vitrail/data"),
    download: Annotated[bool, _option("Download a torchvision data set that is missing.", "--download")] = False,
) -> None:
    """Train a model on labelled images and write its weights.

    DATA is a folder with one folder of images a class, one or several zips of such folders, or a torchvision data set.
    OUT then holds best.safetensors and last.safetensors (for predict, evaluate and explore), checkpoints, epochs.csv,
    steps.csv and TensorBoard logs. A run that was stopped goes on with the same command and --resume. On several
    processes: torchrun --nproc-per-node N -m vitrail train ..., or accelerate launch -m vitrail train ...
    """
    import torch

    from vitrail import create_model
    from vitrail.data.dataset import split
    from vitrail.data.sources import open_source
    from vitrail.training.loop import Settings, fit
    from vitrail.training.recipe import Recipe

    wanted = parse_size(size)
    warmup = min(20.0, epochs / 5) if warmup_epochs is None else warmup_epochs
    source = open_source(data, train=True, root=root, download=download)
    held = open_source(val, train=False, root=root, download=download) if val else None
    if held is not None and held.classes != source.classes:
        raise _other_classes(held.classes, source.classes)
    train_part, val_part_ = split(source, 0.0 if held else val_part, seed)
    if held is not None:
        val_part_ = split(held, 0.0, seed)[0]
    torch.manual_seed(seed)
    fields: dict[str, Any] = {} if drop_path is None else {"drop_path": drop_path}
    fields |= {"frozen_stages": int(freeze)} if freeze.isdigit() and int(freeze) else {}
    network = create_model(model, num_classes=len(source.classes), weights=weights, **fields)
    _freeze(network, freeze)
    input_size: Any = wanted or network.preprocessing.size
    recipe = Recipe(
        epochs=epochs, batch_size=batch_size, lr=lr, min_lr=min_lr, weight_decay=weight_decay,
        layer_decay=layer_decay, warmup_epochs=warmup, clip=clip, smoothing=smoothing, mixup=mixup,
        cutmix=cutmix, mix_probability=mix_probability,
        crop=("pad" if max(input_size) <= 64 else "resized") if crop == "auto" else crop,
        randaugment=randaugment, erase=erase, ema=ema, precision=precision, accumulate=accumulate, seed=seed,
    )
    settings = Settings(
        out=out, resume=resume, workers=workers, compile=compile, fsdp=fsdp,
        checkpoint_every=checkpoint_every, memory=memory << 20, max_bad=max_bad, cpu=cpu,
    )
    best = fit(network, train_part, val_part_, recipe, settings, input_size)
    typer.echo(str(best))


def _freeze(model: Any, what: str) -> None:
    if what == "backbone":
        model.requires_grad_(False)
        model.get_classifier().requires_grad_(True)
    elif not what.isdigit():
        raise UsageError(
            given=f"--freeze {what}",
            allowed="a number of stages, or 'backbone'",
            fix="write --freeze backbone to train the head alone",
        )


def _other_classes(val: tuple[str, ...], train: tuple[str, ...]) -> UsageError:
    odd = sorted(set(val) ^ set(train))
    return UsageError(
        given=f"validation data whose classes differ from the training data's: {', '.join(odd[:5])}",
        allowed="the same class folders in both",
        fix="rename or add the class folders",
    )
