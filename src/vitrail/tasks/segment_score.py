"""How well a model segments: Dice and IoU, and the precision of objects; also by kinds of image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from vitrail.data.batch import Batch
from vitrail.tasks.base import Forward, Score
from vitrail.tasks.instances import INSIDE, Matches, match, objects_of
from vitrail.tasks.losses import IGNORED

if TYPE_CHECKING:
    from vitrail.tasks.segment import Segment

MAX_LOGITS = 1 << 26
"""Numbers of one forward pass; more images are measured one part after the other."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured on one image.

    Args:
        name: of the image.
        kind: of the image, if the data have such.
        loss: sum of the cross-entropy over its places.
        both: places of each class in both the labels and the prediction.
        found: places of each class in the prediction.
        true: places of each class in the labels.
        objects: how its objects were found, if it has such.
    """

    name: str
    kind: str
    loss: float
    both: Int64[np.ndarray, "classes"]
    found: Int64[np.ndarray, "classes"]
    true: Int64[np.ndarray, "classes"]
    objects: Matches | None = None

    def dice(self, background: bool) -> float:
        """Mean Dice of the classes that are there or were found; 1 where there is none."""
        first = int(background)
        either = (self.found + self.true)[first:]
        here = either > 0
        return float((2 * self.both[first:][here] / either[here]).mean()) if here.any() else 1.0


class SegmentScore(Score):
    """Dice, IoU and loss of a model, image by image."""

    def __init__(self, task: "Segment") -> None:
        self.task = task
        self.rows: list[Measured] = []

    def add(self, model: Forward, batch: Batch) -> None:
        """Measure one batch, of one shape or of several."""
        if not isinstance(batch.inputs, Tensor):
            for n in range(len(batch)):
                part = Batch(
                    batch.inputs[n][None],
                    {name: values[n : n + 1] for name, values in batch.targets.items()},
                    batch.names[n : n + 1],
                    batch.real[n : n + 1],
                )
                self._add(model, part)
            return
        places = batch.inputs[0, 0].numel() * len(self.task.classes)
        share = max(1, MAX_LOGITS // places)
        for first in range(0, len(batch), share):
            rows = slice(first, first + share)
            targets = {name: values[rows] for name, values in batch.targets.items()}
            part = Batch(batch.inputs[rows], targets, batch.names[rows], batch.real[rows])
            self._add(model, part)

    def _add(self, model: Forward, batch: Batch) -> None:
        task, targets, start = self.task, batch.targets, 0
        true = torch.stack([*targets["labels"]])
        losses = torch.zeros(len(batch), dtype=torch.float64)
        found: list[Tensor] = []
        insides: list[Tensor] = []
        for logits in task.outputs(model, batch.inputs):
            wanted = true[:, start : start + logits.shape[2]]
            start += logits.shape[2]
            each = F.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="none")
            losses += each.flatten(1).double().sum(1).cpu()
            found.append(logits.argmax(1).cpu())
            if task.finds_objects:
                insides.append(logits.softmax(1)[:, INSIDE].cpu())
        labels, true = torch.cat(found, 1), true.cpu()
        for n in np.flatnonzero(batch.real.cpu().numpy()):
            matches = None
            if insides:
                inside = torch.cat([band[n] for band in insides]).numpy()
                ours = objects_of(labels[n].numpy(), inside, task.options.least)
                matches = match(targets["numbers"][n].cpu().numpy(), ours)
            counts = _counts(task.as_judged(labels[n]), true[n], task)
            kind = targets["kinds"][n]
            self.rows.append(
                Measured(batch.names[n], kind, float(losses[n]), *counts, objects=matches)
            )

    def state(self) -> list[Measured]:
        """What was measured on each image."""
        return self.rows

    def merge(self, states: Sequence[list[Measured]]) -> None:
        """Put the images of all together."""
        self.rows = [row for state in states for row in state]

    @property
    def count(self) -> int:
        """Images measured."""
        return len(self.rows)

    def result(self) -> dict[str, float]:
        """Loss, mean Dice over images, mean IoU over classes, precision of objects."""
        return _means(sorted(self.rows, key=lambda row: row.name), self.task)

    def details(self) -> dict[str, Any]:
        """Dice of each class as the mean over images, its IoU over all of them, and the results of
        each kind of image.
        """
        rows = sorted(self.rows, key=lambda row: row.name)
        dice, iou = _dice_of_classes(rows), _iou_of_classes(rows)
        kinds = sorted({row.kind for row in rows if row.kind})
        classes = {
            name: {"dice": float(d), "iou": float(i)}
            for name, d, i in zip(self.task.judged, dice, iou, strict=True)
            if not np.isnan(i)
        }
        per_kind = {kind: [row for row in rows if row.kind == kind] for kind in kinds}
        return {
            "per_class": classes,
            "per_kind": {
                kind: {"images": len(some)} | _means(some, self.task)
                for kind, some in per_kind.items()
            },
        }


def _means(rows: list[Measured], task: "Segment") -> dict[str, float]:
    """Results of some images; their order is that of the sums, to the last bit."""
    places = sum(int(row.true.sum()) for row in rows)
    iou = _iou_of_classes(rows)
    result = {
        "loss": sum(row.loss for row in rows) / max(places, 1),
        "dice": _mean(row.dice(task.options.background) for row in rows),
        "iou": _mean(float(value) for value in iou if not np.isnan(value)),
    }
    if task.finds_objects:
        result["ap50"] = _mean(row.objects.precision for row in rows if row.objects is not None)
    return result


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found) if found else 0.0


def _dice_of_classes(rows: list[Measured]) -> Float[np.ndarray, "classes"]:
    """Mean over the images where a class is or was found; NaN where it nowhere is."""
    both, either = (
        np.array([row.both for row in rows]),
        np.array([row.found + row.true for row in rows]),
    )
    with np.errstate(invalid="ignore"):
        dice = np.where(either > 0, 2 * both / either, 0)
        return dice.sum(0) / (either > 0).sum(0)


def _iou_of_classes(rows: list[Measured]) -> Float[np.ndarray, "classes"]:
    """Over all images; NaN where a class is neither there nor found."""
    if not rows:
        return np.zeros(0)
    both, found, true = (
        np.sum([getattr(row, name) for row in rows], 0) for name in ("both", "found", "true")
    )
    with np.errstate(invalid="ignore"):
        return both / (found + true - both)


def _counts(
    found: Int64[Tensor, "*spatial"], true: Int64[Tensor, "*spatial"], task: "Segment"
) -> tuple[Any, Any, Any]:
    """Places of each judged class in both, in the prediction, and in the labels."""
    counted = true != IGNORED
    found, true = found[counted], task.as_judged(true[counted])
    count = len(task.judged)
    both, ours, theirs = (
        torch.bincount(labels, minlength=count).numpy()
        for labels in (found[found == true], found, true)
    )
    return both, ours, theirs
