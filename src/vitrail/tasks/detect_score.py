"""How well a model detects: mean average precision as COCO defines it, by faster-coco-eval."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from vitrail.data.batch import Batch
from vitrail.extras import missing_extra
from vitrail.shapes import Size
from vitrail.tasks.base import Forward, Score
from vitrail.tasks.detection import Found, found_in


class Judged(NamedTuple):
    """What is in an image, and what was found there.

    Args:
        name: of the image.
        size: its height and width.
        true: its objects.
        crowd: which of them count neither as found nor as missed.
        found: what the model found.
    """

    name: str
    size: Size
    true: Found
    crowd: Bool[np.ndarray, "objects"]
    found: Found


class DetectScore(Score):
    """Average precision of boxes, over thresholds of 0.5 to 0.95, and at 0.5.

    Args:
        classes: names of the classes.
    Raises:
        UsageError: faster-coco-eval is not installed.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        _coco()
        self.classes = classes
        self.rows: list[Judged] = []

    def add(self, model: Forward, batch: Batch) -> None:
        """Measure one batch."""
        answers = model(batch.inputs)
        for n in np.flatnonzero(batch.real.cpu().numpy()):
            about = batch.targets[n]
            found = found_in(answers[n], about["lengths"], about["size"])
            row = (batch.names[n], about["size"], about["true"], about["crowd"], found)
            self.rows.append(Judged(*row))

    def state(self) -> list[Judged]:
        """What was found in each image: average precision is no sum."""
        return self.rows

    def merge(self, states: Sequence[list[Judged]]) -> None:
        """Put the images of all together."""
        self.rows = [row for state in states for row in state]

    def result(self) -> dict[str, float]:
        """Mean over the classes that occur."""
        precision = self.precision("bbox")
        return {"map": _mean(precision), "map50": _mean(precision[0])}

    def details(self) -> dict[str, Any]:
        """Average precision of each class that occurs."""
        precision = self.precision("bbox")
        rows = {
            name: {"ap": _mean(precision[..., k]), "ap50": _mean(precision[0, :, k])}
            for k, name in enumerate(self.classes)
            if (precision[..., k] > -1).any()
        }
        return {"per_class": rows}

    def precision(self, kind: str) -> np.ndarray:
        """Precision by threshold, recall and class; -1 for a class that does not occur.

        Args:
            kind: ``"bbox"`` for boxes, ``"segm"`` for masks.
        """
        library = _coco()
        rows = sorted(self.rows, key=lambda row: row.name)  # whatever process saw them
        true = library.COCO(self._data(rows))
        found = [
            {"image_id": n, **one} for n, row in enumerate(rows, 1) for one in row.found.rows()
        ]
        if not found:
            there = np.bincount(
                np.concatenate([row.true.labels[~row.crowd] for row in rows]),
                minlength=len(self.classes),
            )
            return np.tile(np.where(there > 0, 0.0, -1.0), (10, 101, 1))
        judge = library.COCOeval_faster(true, true.loadRes(found), kind)
        judge.evaluate()
        judge.accumulate()
        return np.asarray(judge.eval["precision"])[:, :, :, 0, -1]

    def _data(self, rows: list[Judged]) -> dict[str, Any]:
        """The objects as a file of COCO has them."""
        objects = [
            {"image_id": n, **one, "iscrowd": int(crowd)}
            for n, row in enumerate(rows, 1)
            for one, crowd in zip(row.true.rows(), row.crowd, strict=True)
        ]
        return {
            "images": [
                {"id": n, "height": row.size[0], "width": row.size[1]}
                for n, row in enumerate(rows, 1)
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(self.classes, 1)],
            "annotations": [{"id": n, **one} for n, one in enumerate(objects, 1)],
        }


class MaskScore(DetectScore):
    """Average precision of boxes and of masks."""

    def result(self) -> dict[str, float]:
        """Means over the classes that occur."""
        return super().result() | {"mask_map": _mean(self.precision("segm"))}


def _mean(precision: np.ndarray) -> float:
    there = precision[precision > -1]
    return float(there.mean()) if there.size else 0.0


def _coco() -> Any:
    try:
        import faster_coco_eval
    except ImportError:
        raise missing_extra("mean average precision, without faster-coco-eval", "detect") from None
    return faster_coco_eval
