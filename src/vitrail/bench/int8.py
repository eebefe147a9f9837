"""8-bit integers: images to calibrate with, and accuracy before and after."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, nn

from vitrail.data.batch import Unreadable
from vitrail.data.dataset import ImageSamples, Skipped, Subset, split
from vitrail.data.sources import LabelledImages, open_source, relabel
from vitrail.data.transforms import eval_transform
from vitrail.errors import UsageError
from vitrail.export import ExportReport, Int8Report, export_int8, open_export
from vitrail.models import Backbone, TaskModel
from vitrail.tasks.classify import ClassifyScore
from vitrail.training.evaluation import evaluate

_BATCH = 64


class Done(NamedTuple):
    """What was found: of the float32 file, for `--json`, and for people."""

    whole: ExportReport
    answer: dict[str, Any]
    lines: list[str]


class Runs(nn.Module):
    """An exported file in the place of a model."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.run = open_export(path)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        return self.run(images)[0]


def export_and_measure(
    model: Backbone | TaskModel,
    out: Path,
    size: tuple[int, ...] | None,
    calibrate: list[str],
    count: int,
    test: list[str] | None,
    about: dict[str, Any],
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Done:
    """Export in 8-bit integers, and measure accuracy before and after where there are labels.

    Args:
        model: the model.
        out: the file to write.
        size: of its input; None for that of the weights.
        calibrate: where images to calibrate with are.
        count: how many of them to take.
        test: where labelled images to measure on are.
        about: what else `export_int8` takes.
        track: passes on the numbers of the images that are read, for a display of progress.
    Raises:
        UsageError: data that cannot be read, or a model that takes no images or gives no classes.
    """
    if isinstance(model, TaskModel):
        raise UsageError(
            f"--int8 for a model for task {model.task.name}",
            "a backbone or a classifier, whose images --calibrate reads",
            "use vitrail.export.export_int8 in Python, with your own inputs",
        )
    if not model.takes_photos or (test and model.bare):
        raise UsageError(
            f"--int8 {'--test ' if test else ''}for a model with {model.config.axes} axes, "
            f"{model.config.in_channels} channels{' and no classes' if model.bare else ''}",
            "a model of colour images; with classes, where accuracy is measured",
            "use vitrail.export.export_int8 in Python, with your own inputs",
        )
    shape = size or model.preprocessing.size
    transform = eval_transform(model.preprocessing, (shape[0], shape[1]))
    options: dict[str, Any] = {"root": "~/.cache/vitrail/data"}
    tested = _test_part(model, open_source(test, train=False, **options)) if test else None
    images = _drawn(open_source(calibrate, train=True, **options), count, transform, track)
    report = export_int8(model, out, images, size, timed=True, **about)
    answer, lines = _in_words(report)
    if tested is not None:
        batch = _BATCH if about["dynamic"] else 1
        before = _measured(model, model, tested, transform, batch)
        after = _measured(Runs(out), model, tested, transform, batch)
        answer["accuracy"] = {"images": after["images"], "before": before, "after": after}
        drop = after["top1"] - before["top1"]
        lines.append(
            f"top-1 on {after['images']:,} images: {before['top1']:.2%} before, "
            f"{after['top1']:.2%} after ({100 * drop:+.2f} points)"
        )
    return Done(report.whole, answer, lines)


def _drawn(
    source: LabelledImages,
    count: int,
    transform: Any,
    track: Callable[[Iterable[int]], Iterable[int]],
) -> list[Tensor]:
    """Return images drawn at random, the same ones every time; unreadable ones are left out."""
    order = np.random.default_rng(0).permutation(len(source.labels))
    part = ImageSamples(Subset(source, order), transform)
    images, skipped = [], Skipped(100)
    for position in track(range(min(count, len(order)))):
        sample = part[position, 0]
        if isinstance(sample, Unreadable):
            skipped.add(sample)
        else:
            images.append(sample.input)
    return images


def _test_part(model: Backbone, source: LabelledImages) -> Subset[LabelledImages]:
    """Return labelled images with the model's class numbers; known before anything is exported."""
    names = model.preprocessing.classes or source.classes
    return split(relabel(source, names, model.config.num_classes), 0.0, 0)[0]


def _measured(
    run: nn.Module, model: Backbone, tested: Subset[LabelledImages], transform: Any, batch: int
) -> dict[str, Any]:
    scores = evaluate(
        run,
        ImageSamples(tested, transform),
        ClassifyScore(model.config.num_classes),
        batch_size=batch,
        skipped=Skipped(100),
        device=next(model.parameters()).device,
    )
    return {"images": scores.count, "top1": scores.top1, "top5": scores.top5, "loss": scores.loss}


def _in_words(report: Int8Report) -> tuple[dict[str, Any], list[str]]:
    assert report.seconds is not None
    (before, after), (slow, fast) = report.file_bytes, report.seconds
    answer = {
        "int8": {
            "calibrated_on": report.inputs,
            "bytes_before": before,
            "bytes_after": after,
            "error": report.error,
            "same_first_guess": report.same,
            "batch": report.batch,
            "seconds_before": slow,
            "seconds_after": fast,
        }
    }
    guesses = "" if report.same is None else f", first guess the same on {report.same:.1%}"
    lines = [
        f"int8: {before / 1e6:.1f} -> {after / 1e6:.1f} MB, calibrated on {report.inputs} images; "
        f"there the outputs change by {report.error:.1%}{guesses}",
        f"time for {report.batch} at once, in turns: {1e3 * slow:.1f} ms in float32, "
        f"{1e3 * fast:.1f} ms in int8 ({slow / fast:.2f} times the speed)",
    ]
    return answer, lines
