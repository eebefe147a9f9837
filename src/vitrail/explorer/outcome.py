"""What a model gives for a photo, as a page draws it: a class, or the class of every pixel."""

from typing import Any

import numpy as np
from jaxtyping import Integer

from vitrail.explain import Trace
from vitrail.explorer.arrays import Arrays
from vitrail.models import Backbone, TaskModel
from vitrail.tasks import task_of
from vitrail.tasks.segment import Segment
from vitrail.tasks.segmentation import default_colours

MAPPED = 4  # classes of a mask whose maps are made unasked


def describe_outcome(trace: Trace, model: Backbone | TaskModel, arrays: Arrays) -> dict[str, Any]:
    """Return a manifest's outcome, whose arrays are stored.

    Args:
        trace: what was captured.
        model: the traced model.
        arrays: where a mask is stored.
    """
    if trace.dense is None:
        nothing = {"mask": None, "certainty": None}
        return {"kind": "class", **nothing, "background": False, "classes": []}
    task = task_of(model)
    assert isinstance(task, Segment)
    certainty, labels = trace.dense.softmax(0).max(0)
    mask = labels.numpy().astype(np.uint8)
    sure = (255 * certainty).round().numpy().astype(np.uint8)
    names, own = task.classes, task.options.colours
    colours = own or default_colours(len(names))
    return {
        "kind": "mask",
        "mask": arrays.add("outcome/mask", mask),
        "certainty": arrays.add("outcome/certainty", sure),
        "background": task.options.background,
        "classes": [
            {"class": number, "label": name, "colour": colour, "share": share}
            for number, (name, colour, share) in enumerate(
                zip(names, colours, shares(mask, len(names)), strict=True)
            )
        ],
    }


def mapped_classes(trace: Trace, outcome: dict[str, Any]) -> list[int]:
    """Return the classes whose maps are made unasked: the best, or those that cover most."""
    if outcome["kind"] == "class":
        return [int(trace.logits.argmax()) if trace.logits.numel() else 0]
    found = sorted((row for row in outcome["classes"] if row["share"]), key=lambda r: -r["share"])
    objects = [row for row in found if row["class"] or not outcome["background"]]
    return [row["class"] for row in (objects or found)[:MAPPED]]


def shares(mask: Integer[np.ndarray, "height width"], classes: int) -> list[float]:
    """Return each class' share of the pixels."""
    return (np.bincount(mask.ravel(), minlength=classes) / mask.size).tolist()
