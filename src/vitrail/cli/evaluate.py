"""`vitrail evaluate`: a model's accuracy on labelled images."""

import csv
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitrail.cli import _task_scores
from vitrail.cli._failures import printable
from vitrail.cli._models import OptionalModel, OptionalWeights, choose_device, load_model
from vitrail.cli._shared import (
    DeviceOption,
    JsonOption,
    SizeOption,
    parse_size,
    print_json,
    progress,
    size_words,
)
from vitrail.errors import UsageError
from vitrail.files import check_apart, check_writable, write_text, write_whole

if TYPE_CHECKING:
    from vitrail.data.dataset import Skipped
    from vitrail.tasks.classify import ClassifyScore


def run(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA",
            help="A folder of class folders, zips of class folders ('test-*.zip'), or "
            "torchvision:CIFAR10 (its test part); of a model that segments, folders or zips with "
            "images/ and labels/; of a detector, images with COCO's JSON or VOC's XML.",
        ),
    ],
    model: OptionalModel = None,
    weights: OptionalWeights = None,
    size: SizeOption = None,
    batch_size: Annotated[
        int, typer.Option("--batch-size", "-b", help="Images a forward pass.", min=1)
    ] = 64,
    workers: Annotated[
        int, typer.Option(help="Processes that read images; 0 for none.", min=0)
    ] = 0,
    device: DeviceOption = None,
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Show the accuracy on each class too.")
    ] = False,
    confusion: Annotated[
        Path | None,
        typer.Option(help="Write true against predicted classes to this file: .csv or .png."),
    ] = None,
    max_bad: Annotated[
        int, typer.Option(help="Unreadable images that are skipped before it is an error.")
    ] = 100,
    root: Annotated[Path, typer.Option(help="Where torchvision's data sets lie.")] = Path(
        "~/.cache/vitrail/data"
    ),
    download: Annotated[
        bool, typer.Option("--download", help="Download a torchvision data set that is missing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure a model on labelled images: top-1 and top-5 accuracy, and loss.

    A model that segments is measured by its mean Dice over images, IoU and loss, and the precision
    of objects where it finds such; on whole images of any size, and by the kinds of a CSV beside
    the data. A detector is measured by its mean average precision, as COCO defines it.

    Each image is resized and cropped as for a prediction, in 32-bit floats. The first images that
    cannot be read are named on stderr, and all of them by --json.
    """
    from vitrail.data.dataset import Skipped
    from vitrail.data.sources import open_source
    from vitrail.models import TaskModel
    from vitrail.tasks import task_of

    if confusion is not None and confusion.suffix not in (".csv", ".png"):
        raise UsageError(
            f"--confusion {confusion}", "a .csv or .png file", "use --confusion confusion.png"
        )
    if confusion is not None:
        check_apart(confusion, model, weights, *data)
        check_writable(confusion, "--confusion")
    lengths: Any = parse_size(size)
    loaded, named = load_model(model, weights, any_task=True)
    if isinstance(loaded, TaskModel):
        _task_scores.refuse(loaded.task.name, size=size, confusion=confusion)
        task = task_of(loaded)
        pictures = _task_scores.samples_of(task, loaded, data, root, download)
        skipped = Skipped(max_bad)
        score = measure_samples(
            loaded,
            pictures,
            task.score(),
            task.collate,
            batch_size,
            workers,
            skipped,
            choose_device(device),
        )
        if int(os.environ.get("RANK", "0")) == 0:
            report(
                skipped,
                _task_scores.summary(loaded, named, task, score, len(pictures)),
                lambda answer: _task_scores.print_text(answer, task, per_class=per_class),
                as_json=as_json,
            )
        return
    source = open_source(data, train=False, root=root, download=download)
    skipped = Skipped(max_bad)
    scores, names = measure(
        loaded, source, lengths, batch_size, workers, skipped, choose_device(device)
    )
    if int(os.environ.get("RANK", "0")) > 0:
        return
    answer = summary(loaded, named, lengths, scores, names, per_class=per_class or as_json)
    if confusion is not None:
        write_confusion(scores.confusion, names, confusion)
    report(skipped, answer, lambda answer: print_text(answer, per_class=per_class), as_json=as_json)


def report(
    skipped: "Skipped",
    answer: dict[str, Any],
    show: Callable[[dict[str, Any]], object],
    *,
    as_json: bool,
) -> None:
    """Print the measures, and which images could not be read."""
    from vitrail.data.dataset import MAX_SHOWN

    for reason in list(skipped.reasons.values())[:MAX_SHOWN]:
        print(printable(f"skipped {reason}"), file=sys.stderr)
    if as_json:
        unread = [{"image": name, "error": reason} for name, reason in skipped.reasons.items()]
        print_json({**answer, "skipped_images": unread})
    else:
        show(answer)


def measure(
    model: Any,
    source: Any,
    size: tuple[int, int] | None,
    batch_size: int,
    workers: int,
    skipped: "Skipped",
    device: Any,
) -> "tuple[ClassifyScore, tuple[str, ...]]":
    """Measure a classifier on ``source``."""
    from vitrail.data.batch import collate
    from vitrail.data.dataset import ImageSamples, split
    from vitrail.data.sources import relabel
    from vitrail.data.transforms import eval_transform
    from vitrail.tasks.classify import ClassifyScore

    names = model.preprocessing.classes or source.classes
    whole = split(relabel(source, names, model.config.num_classes), 0.0, 0)[0]
    pictures = ImageSamples(whole, eval_transform(model.preprocessing, size))
    score = ClassifyScore(model.config.num_classes)
    scores = measure_samples(model, pictures, score, collate, batch_size, workers, skipped, device)
    return scores, tuple(names)


def measure_samples(
    model: Any,
    samples: Any,
    score: Any,
    collate: Any,
    batch_size: int,
    workers: int,
    skipped: "Skipped",
    device: Any,
) -> Any:
    """Measure ``model``; started with torchrun, each process takes its share of the samples."""
    import torch

    from vitrail.training.evaluation import evaluate
    from vitrail.training.parallel import gather_reasons

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1 and not torch.distributed.is_initialized():
        from accelerate import PartialState

        device = PartialState(cpu=device.type == "cpu").device
    rank = int(os.environ.get("RANK", "0"))
    with progress(hidden=rank > 0) as bar:
        task = bar.add_task("evaluating", total=-(-len(samples) // processes))
        scores = evaluate(
            model.to(device),
            samples,
            score,
            collate=collate,
            batch_size=batch_size,
            workers=workers,
            skipped=skipped,
            device=device,
            rank=rank,
            processes=processes,
            on_batch=lambda done: bar.update(task, completed=done),
        )
    skipped.reasons = gather_reasons(skipped, processes)
    return scores


def summary(
    model: Any,
    weights: str,
    size: tuple[int, int] | None,
    scores: "ClassifyScore",
    names: tuple[str, ...],
    *,
    per_class: bool,
) -> dict[str, Any]:
    """Return what `--json` prints."""
    answer: dict[str, Any] = {
        "model": model.name,
        "weights": weights,
        "size": list(size or model.preprocessing.size),
        "trained_size": list(model.preprocessing.size),
        "images": scores.count,
        "skipped": scores.skipped,
        "top1": scores.top1,
        "top5": scores.top5,
        "loss": scores.loss,
    }
    if per_class:
        answer["per_class"] = {
            name: value
            for name, value, count in zip(
                names, scores.per_class.tolist(), scores.confusion.sum(1), strict=True
            )
            if count
        }
    return answer


def print_text(answer: dict[str, Any], *, per_class: bool) -> None:
    """Print the measures for people."""
    size = size_words(answer["size"], answer["trained_size"])
    print(f"{answer['model']} ({answer['weights']}) on {answer['images']:,} images at {size}")
    print(f"  top-1 {answer['top1']:.2%}")
    print(f"  top-5 {answer['top5']:.2%}")
    print(f"  loss  {answer['loss']:.4f}")
    if answer["skipped"]:
        print(f"  skipped {answer['skipped']} unreadable image(s)")
    if per_class:
        width = max(map(len, answer["per_class"]))
        for name, value in answer["per_class"].items():
            print(f"  {printable(name):<{width}}  {value:.2%}")


def write_confusion(matrix: Any, names: tuple[str, ...], path: Path) -> None:
    """Write the confusion matrix as a table or a picture."""
    if path.suffix == ".png":
        write_whole(path, _draw(matrix, names).save)
        return
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["true\\predicted", *names])
    writer.writerows([name, *row] for name, row in zip(names, matrix.tolist(), strict=True))
    write_text(path, rows.getvalue())


def _draw(matrix: Any, names: tuple[str, ...]) -> Any:
    """Draw the matrix with rows scaled to their sums: white is none, dark blue is all."""
    import numpy as np
    from PIL import Image, ImageDraw

    cell = max(4, min(48, 960 // len(names)))
    text = 8 * max(map(len, names)) + 8 if cell >= 12 else 8
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = cell * len(names)
    image = Image.new("RGB", (text + side + 8, text + side + 8), "white")
    draw = ImageDraw.Draw(image)
    for row, name in enumerate(names):
        top = text + row * cell
        if cell >= 12:
            draw.text((4, top + cell // 2 - 6), name, fill="black")
            label = Image.new("RGB", (text, 14), "white")
            ImageDraw.Draw(label).text((0, 0), name, fill="black")
            image.paste(label.rotate(90, expand=True), (top + cell // 2 - 7, 0))
        for column in range(len(names)):
            value = float(share[row, column])
            left = text + column * cell
            box = (left, top, left + cell - 1, top + cell - 1)
            draw.rectangle(box, fill=tuple(round(255 - value * (255 - c)) for c in (8, 48, 107)))
            if cell >= 32 and matrix[row, column]:
                dark = "white" if value > 0.5 else "black"
                draw.text((left + 4, top + cell // 2 - 6), str(matrix[row, column]), fill=dark)
    return image
